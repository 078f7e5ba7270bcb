"""The listings of docs/howto/twisted.md do what the page says."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone
from twisted.web.server import Site

from tests.net.fakes import MemoryTransport
from tests.test_docs import listings


def listing(word: str) -> dict[str, Any]:
    """What the listing that has C{word} in it defines."""
    found = [each for each in listings("docs/howto/twisted.md") if word in each]
    names: dict[str, Any] = {}
    exec(found[0], names)
    return names


class Server:
    """An endpoint whose connection is in memory."""

    def __init__(self, transport: MemoryTransport) -> None:
        self.transport = transport

    def connect(self, factory: Factory) -> Deferred[Any]:
        protocol = factory.buildProtocol(None)
        assert protocol is not None
        protocol.makeConnection(self.transport)
        self.protocol: Any = protocol
        return succeed(protocol)


class RelayTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.client, self.server = MemoryTransport(), MemoryTransport()
        for transport in (self.client, self.server):
            transport.reactor = self.clock
        self.endpoint = Server(self.server)
        self.protocol = listing("class Relay")["Relay"](self.endpoint).buildProtocol(None)
        self.protocol.makeConnection(self.client)

    def test_both_ways_until_both_ends(self) -> None:
        self.protocol.dataReceived(b"question")
        self.protocol.readConnectionLost()
        self.assertEqual((self.server.value(), self.server.ends), (b"question", ["half"]))
        self.assertEqual(self.client.ends, [])
        self.endpoint.protocol.dataReceived(b"answer")
        self.endpoint.protocol.readConnectionLost()
        self.assertEqual(self.client.value(), b"answer")
        for transport in (self.client, self.server):
            self.assertEqual(transport.ends, ["half", "lose"])

    def test_one_way_may_be_silent(self) -> None:
        self.clock.advance(3600)
        self.assertEqual((self.client.ends, self.server.ends), ([], []))


class Response:
    """One that has begun."""

    code = 203

    def deliverBody(self, protocol: Any) -> None:
        self.protocol = protocol
        protocol.makeConnection(StringTransport())


class Agent:
    """Its responses come when the test says so."""

    def __init__(self) -> None:
        self.asked: Deferred[Response] = Deferred()

    def request(self, method: bytes, url: bytes) -> Deferred[Response]:
        return self.asked


class DownloadTests(SynchronousTestCase):
    def setUp(self) -> None:
        clock = Clock()
        self.agent, self.response, self.client = Agent(), Response(), StringTransport()
        site = Site(listing("class Download")["Download"](self.agent, b"http://a/", clock), reactor=clock)
        self.channel = site.buildProtocol(None)
        self.channel.makeConnection(self.client)
        self.channel.dataReceived(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")

    def begin(self) -> None:
        self.agent.asked.callback(self.response)
        self.response.protocol.dataReceived(b"body")

    def test_whole(self) -> None:
        self.begin()
        self.response.protocol.connectionLost(Failure(ResponseDone()))
        self.assertTrue(self.client.value().startswith(b"HTTP/1.1 203"))
        self.assertTrue(self.client.value().endswith(b"body\r\n0\r\n\r\n"))
        self.assertFalse(self.client.disconnecting)

    def test_broken(self) -> None:
        self.begin()
        self.response.protocol.connectionLost(Failure(ConnectionLost()))
        self.assertTrue(self.client.value().endswith(b"body\r\n"))
        self.assertTrue(self.client.disconnecting)

    def test_no_server(self) -> None:
        self.agent.asked.errback(ConnectionLost())
        self.assertTrue(self.client.value().startswith(b"HTTP/1.1 502"))

    def test_client_goes(self) -> None:
        self.begin()
        self.channel.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.response.protocol.transport.producerState, "stopped")
        self.assertTrue(self.response.protocol.pipe.done.called)

    def test_client_goes_before_the_response(self) -> None:
        self.channel.connectionLost(Failure(ConnectionDone()))
        self.assertTrue(self.agent.asked.called)  # it was cancelled
