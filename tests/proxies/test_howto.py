"""The protocol and the balancer of docs/howto/protocol.md do what its text says."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.test_docs import listings
from twisted_pipe.filters.discovery import find_filter
from twisted_pipe.interfaces import IPipeProtocol, IUpstreamBalancer
from twisted_pipe.net.spillfile import SpillDirectory
from twisted_pipe.proxies.context import ProxyContext
from twisted_pipe.proxies.protocol import ProtocolPlugin
from twisted_pipe.proxies.settings import ProxySettings
from twisted_pipe.upstream.balancer import BalancerPlugin, ConfiguredBalancer
from twisted_pipe.upstream.group import UpstreamGroup, UpstreamServer


class Connection(StringTransport):
    """One end of a connection."""

    def __init__(self, protocol: Any, host: str = "10.0.0.1") -> None:
        super().__init__(peerAddress=IPv4Address("TCP", host, 40001), lenient=True)
        self.protocol = protocol
        protocol.makeConnection(self)


class Endpoint:
    """A server that connects at once, or when it is told to, or not at all."""

    def __init__(self) -> None:
        self.refuses = self.waits = False
        self.waiting: tuple[Any, Deferred[Any]] | None = None
        self.connections: list[Connection] = []

    def connect(self, factory: Any) -> Deferred[Any]:
        if self.refuses:
            return fail(ConnectionRefusedError(111, "Connection refused"))
        connecting: Deferred[Any] = Deferred()
        self.waiting = factory, connecting
        if not self.waits:
            self.answer()
        return connecting

    def answer(self) -> None:
        assert self.waiting is not None
        factory, connecting = self.waiting
        self.connections.append(Connection(factory.buildProtocol(None)))
        connecting.callback(self.connections[-1].protocol)


class ListingTests(SynchronousTestCase):
    def setUp(self) -> None:
        names: dict[str, Any] = {"__name__": "listings"}
        for listing in listings("docs/howto/protocol.md"):
            exec(listing, names)
        self.assertIsInstance(names["sticky"], ProtocolPlugin)
        self.assertIsInstance(names["by_key"], BalancerPlugin)
        self.endpoints = [Endpoint() for _ in range(2)]
        self.servers = [UpstreamServer(f"server{number}", each) for number, each in enumerate(self.endpoints)]
        settings = ProxySettings(response_filters=(find_filter("upper"),))
        self.balancer = names["ByKey"](())
        self.group = UpstreamGroup(self.servers, ConfiguredBalancer(names["by_key"], names["ByKey"]))
        self.protocol = names["Sticky"](ProxyContext(self.group, settings, SpillDirectory(), Clock()))

    def connect(self, host: str = "10.0.0.7") -> Connection:
        return Connection(self.protocol.buildProtocol(None), host)

    def test_interfaces(self) -> None:
        self.assertTrue(verifyObject(IPipeProtocol, self.protocol))
        self.assertTrue(verifyObject(IUpstreamBalancer, self.balancer))

    def test_same_client_same_server(self) -> None:
        for number in range(20):
            for _ in range(3):
                self.connect(f"10.0.0.{number}")
        counts = [len(each.connections) for each in self.endpoints]
        self.assertEqual([count % 3 for count in counts], [0, 0])
        self.assertTrue(min(counts) > 0, counts)
        self.assertEqual(self.protocol.statistics(), {"clients": 60})

    def test_both_ways(self) -> None:
        """Through the filters, and each end is passed on for its way."""
        client = self.connect()
        [upstream] = [each for endpoint in self.endpoints for each in endpoint.connections]
        client.protocol.dataReceived(b"question")
        self.assertEqual(upstream.value(), b"question")
        upstream.protocol.dataReceived(b"answer")
        self.assertEqual(client.value(), b"ANSWER")
        client.protocol.readConnectionLost()
        self.assertEqual((upstream.disconnecting, client.disconnecting), (True, False))
        upstream.protocol.readConnectionLost()
        self.assertTrue(client.disconnecting)
        self.assertEqual(self.protocol.statistics(), {"clients": 0})

    def test_what_came_early(self) -> None:
        """The client said it, and all of it, before there was an upstream."""
        for endpoint in self.endpoints:
            endpoint.waits = True
        client = self.connect()
        client.protocol.dataReceived(b"question")
        client.protocol.readConnectionLost()
        [endpoint] = [each for each in self.endpoints if each.waiting is not None]
        endpoint.answer()
        self.assertEqual(endpoint.connections[0].value(), b"question")
        self.assertTrue(endpoint.connections[0].disconnecting)

    def test_client_lost_while_connecting(self) -> None:
        for endpoint in self.endpoints:
            endpoint.waits = True
        client = self.connect()
        client.connected = False
        client.protocol.connectionLost(Failure(ConnectionDone()))
        [endpoint] = [each for each in self.endpoints if each.waiting is not None]
        endpoint.answer()
        self.assertTrue(endpoint.connections[0].disconnecting)
        self.assertEqual(self.protocol.statistics(), {"clients": 0})

    def test_shutdown(self) -> None:
        client = self.connect()
        self.protocol.shutdown()
        self.assertTrue(client.disconnecting)
        self.assertEqual(self.protocol.statistics(), {"clients": 0})

    def test_no_server(self) -> None:
        self.group.replace([])
        client = self.connect()
        self.assertTrue(client.disconnecting)
        self.assertEqual(self.protocol.statistics(), {"clients": 0})

    def test_servers_that_cannot_be_had(self) -> None:
        """The balancer goes on to the next one."""
        one, other = self.group.peers
        self.group.mark(one, False)
        self.assertEqual([self.group.pick(b"%d" % number) for number in range(5)], [other] * 5)
        self.group.mark(one, True)
        tried = [self.group.pick(b"%d" % number, (other,)) for number in range(5)]
        self.assertEqual(tried, [one] * 5)

    def test_refused(self) -> None:
        for endpoint in self.endpoints:
            endpoint.refuses = True
        client = self.connect()
        self.assertTrue(client.disconnecting)
        self.assertEqual(self.protocol.statistics(), {"clients": 0})
