"""Sessions that look at what a client says of TLS first: on bare sockets, and on transports."""

from __future__ import annotations

import select
import socket
import struct
from typing import Any

import attrs
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.protocols.policies import WrappingFactory
from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import Peer
from tests.net.tls_peer import TlsPeer, ask
from tests.preface.hellos import cut_anew, of_openssl
from tests.proxies.bare_case import PATIENT, BareCase
from tests.proxies.tls_case import Door
from twisted_pipe.errors import BadConfiguration
from twisted_pipe.net import driver
from twisted_pipe.proxies import tcp_session, tunnel
from twisted_pipe.proxies.context import ProxyContext
from twisted_pipe.proxies.settings import ProxySettings
from twisted_pipe.proxies.stream_routes import StreamRoute, StreamRoutes
from twisted_pipe.proxies.tcp import TcpProxyFactory
from twisted_pipe.upstream.balancer import BALANCERS
from twisted_pipe.upstream.group import UpstreamGroup, UpstreamServer

HELLO = of_openssl(b"a.example", [b"h2"])


class RoutingCase(BareCase):
    """
    @ivar others: listening sockets, those of the routes.
    """

    takes_sockets = True

    def setUp(self) -> None:
        BareCase.setUp(self)
        self.groups: list[UpstreamGroup] = []
        self.others = [self.make_origin() for _ in range(2)]
        for other in self.others:
            self.addCleanup(other.close)
        by_name, by_protocol = (self.group_of(other) for other in self.others)
        routes = [StreamRoute(group=by_name, names=("a.example",)), StreamRoute(group=by_protocol, alpn=(b"imap",))]
        self.route(attrs.evolve(PATIENT, routes=StreamRoutes(routes, timeout=3.0)))

    def group_of(self, origin: socket.socket) -> UpstreamGroup:
        host, port = origin.getsockname()
        endpoint = TCP4ClientEndpoint(self.engine.reactor, host, port)
        address = (host, port) if self.takes_sockets else None
        group = UpstreamGroup([UpstreamServer(f"origin:{port}", endpoint, address)], clock=self.engine.reactor)
        self.groups.append(group)
        return group

    def route(self, settings: ProxySettings, group: UpstreamGroup | None = None) -> None:
        for port in self.ports:
            port.stopListening()
        context = ProxyContext(group or self.group_of(self.origin), settings, self.spill, self.engine.reactor)
        self.factory = TcpProxyFactory(context)
        self.factory.takes_sockets = self.takes_sockets
        self.ports = [self.engine.reactor.listenTCP(0, self.listener(), interface="127.0.0.1")]
        self.engine.settle()
        self.registered = self.engine.statistics.registered

    def listener(self) -> Any:
        """What clients come to."""
        return self.factory

    def accepted_by(self, origin: socket.socket) -> Peer:
        self.origin, kept = origin, self.origin
        try:
            return self.accept()
        finally:
            self.origin = kept

    def exchange(self, client: Peer, server: Peer, sent: bytes) -> None:
        """The server has got all that was sent, and what it answers comes."""
        self.assertEqual(self.engine.take(server, len(sent)), sent)
        server.write(b"answer")
        self.assertEqual(self.engine.take(client, 6), b"answer")
        client.close()
        self.assertEqual(self.engine.end_of(server), b"")
        server.close()
        self.assert_over()
        self.assertEqual({peer.active for group in self.groups for peer in group.peers}, {0})


class RoutingTests(RoutingCase):
    def test_by_name(self) -> None:
        client = self.connect()
        client.write(HELLO)
        self.exchange(client, self.accepted_by(self.others[0]), HELLO)

    def test_by_protocol(self) -> None:
        hello = of_openssl(b"c.example", [b"imap"])
        client = self.connect()
        client.write(hello)
        self.exchange(client, self.accepted_by(self.others[1]), hello)

    def test_of_another_name(self) -> None:
        hello = of_openssl(b"c.example")
        client = self.connect()
        client.write(hello)
        self.exchange(client, self.accept(), hello)

    def test_whatever_it_is_cut_into(self) -> None:
        """Nobody is asked before it is whole; and every byte arrives, in its order."""
        hello = cut_anew(HELLO, len(HELLO) // 30)
        for size in (1, 50, 700):
            client = self.connect()
            client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(0, len(hello), size):
                self.assertEqual(len(self.factory.sessions), int(at > 0))
                client.write(hello[at : at + size])
                self.engine.settle()
            client.write(b"more")
            self.settle_until(lambda: "reading" not in repr(self.session))
            self.exchange(client, self.accepted_by(self.others[0]), hello + b"more")

    def test_no_tls_is_for_the_servers_own_group(self) -> None:
        client = self.connect()
        client.write(b"GET / HTTP/1.1\r\n")
        self.exchange(client, self.accept(), b"GET / HTTP/1.1\r\n")

    def test_who_says_nothing_too(self) -> None:
        """It may wait for the server to speak first."""
        client = self.connect()
        self.engine.settle()
        self.assertRegex(repr(self.session), "reading>")
        self.engine.advance(2.9)
        self.assertEqual(self.engine.statistics.registered, self.registered + 1)
        self.engine.advance(0.2)
        self.exchange(client, self.accept(), b"")

    def test_who_is_too_slow_too(self) -> None:
        client = self.connect()
        client.write(HELLO[:100])
        self.engine.settle()
        self.engine.advance(3.1)
        client.write(HELLO[100:])
        self.exchange(client, self.accept(), HELLO)

    def test_who_ends_within_it_too(self) -> None:
        client = self.connect()
        client.write(HELLO[:100])
        client.half_close()
        server = self.accept()
        self.assertEqual(self.engine.end_of(server), HELLO[:100])
        server.write(b"what?")
        server.close()
        self.assertEqual(self.engine.end_of(client), b"what?")
        self.assert_over()

    def test_a_client_that_is_gone(self) -> None:
        client = self.connect()
        client.write(HELLO[:100])
        self.engine.settle()
        with capturedLogs() as logs:
            self.factory.shutdown()
        self.assertIn("the service stops", self.lines(logs))
        self.assert_over()

    def test_a_client_that_breaks_off(self) -> None:
        client = self.connect()
        client.write(HELLO[:100])
        self.engine.settle()
        with capturedLogs() as logs:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            self.settle_until(lambda: not self.factory.sessions)
        self.assertIn("client: ", self.lines(logs))
        self.assert_over()

    def test_the_log_says_who_is_asked_for(self) -> None:
        self.route(attrs.evolve(self.factory.settings, access_log=True))
        client = self.connect()
        with capturedLogs() as logs:
            client.write(HELLO)
            server = self.accepted_by(self.others[0])
            self.engine.settle()
        self.assertRegex(self.lines(logs), r"127.0.0.1:\d+ -> origin:\d+: open: a.example")
        self.exchange(client, server, HELLO)

    def test_hostile_ten_megabytes(self) -> None:
        """Nothing of a hello without an end is kept: it is for the server's own group, which takes it as it comes."""
        client = self.connect()
        endless = (b"\x16\3\1\x40\0" + bytes(1 << 14)) * 4
        client.write(endless[:5] + b"\1\0\x3f\xfe" + endless[9:])
        server = self.accept()
        self.assertEqual(self.engine.take(server, 5), endless[:5])
        client.close()
        server.close()
        self.engine.settle()
        self.settle_until(lambda: not self.factory.sessions)

    def test_who_waits_for_a_server_of_a_route_gets_it_when_it_is_free(self) -> None:
        host, port = self.others[0].getsockname()
        endpoint = TCP4ClientEndpoint(self.engine.reactor, host, port)
        address = (host, port) if self.takes_sockets else None
        full = UpstreamGroup([UpstreamServer("full", endpoint, address, max_conns=1)], clock=self.engine.reactor)
        self.route(attrs.evolve(PATIENT, routes=StreamRoutes([StreamRoute(group=full, names=("a.example",))])))
        first, second = self.connect(), self.connect()
        for client in (first, second):
            client.write(HELLO)
            self.engine.settle()
        server = self.accepted_by(self.others[0])
        self.assertEqual(self.engine.take(server, len(HELLO)), HELLO)
        self.assertEqual(len([each for each in self.factory.sessions if "waiting" in repr(each)]), 1)
        first.close()
        server.close()
        self.exchange(second, self.accepted_by(self.others[0]), HELLO)


class TransportRoutingTests(RoutingTests):
    """The same on the C{epollet} reactor's transports."""

    takes_sockets = False


class WireRoutingTests(TransportRoutingTests):
    """The same on transports that nobody knows what they are."""

    def setUp(self) -> None:
        TransportRoutingTests.setUp(self)
        for module in (tcp_session, tunnel, driver):
            self.patch(module, "edge_of", lambda transport: None)


class WrappedRoutingTests(RoutingCase):
    """Transports that say of their clean end only that they are gone."""

    takes_sockets = False

    def listener(self) -> Any:
        return WrappingFactory(self.factory)

    def test_no_server_is_looked_for_when_a_client_has_gone(self) -> None:
        client = self.connect()
        client.write(HELLO[:100])
        self.engine.settle()
        self.assertEqual(len(self.factory.sessions), 1)
        client.close()
        self.settle_until(lambda: not self.factory.sessions)
        self.assertFalse(select.select([self.origin, *self.others], [], [], 0.01)[0], "a server was connected to")
        self.assertEqual({peer.active for group in self.groups for peer in group.peers}, {0})
        self.assertEqual(self.engine.statistics.registered, self.registered)


class TlsEndedTests(RoutingCase):
    """The same for clients whose TLS ends here."""

    def listener(self) -> Any:
        return Door(self.factory)

    def ask(self, name: bytes) -> TlsPeer:
        connection = ask(None)
        connection.set_tlsext_host_name(name)
        client = TlsPeer(self.connect().socket, connection)
        self.settle_until(client.shake)
        return client

    def test_by_name(self) -> None:
        for name in (b"a.example", b"A.Example."):
            client = self.ask(name)
            server = self.accepted_by(self.others[0])
            client.write(b"hello")
            self.assertEqual(self.engine.take(server, 5), b"hello")
            client.break_off()
            server.close()
            self.settle_until(lambda: not self.factory.sessions)

    def test_what_is_no_hosts_name_is_for_the_servers_own_group(self) -> None:
        """OpenSSL takes any bytes for one. They are not written to the log."""
        self.route(attrs.evolve(self.factory.settings, access_log=True))
        for name in (b"a b", b"a..example", b"a\r\nb", b"\xff.example", b"a.example:99999", b"[::g]", b"."):
            with capturedLogs() as logs:
                client = self.ask(name)
                server = self.accept()
            self.assertRegex(self.lines(logs), r"\A127.0.0.1:\d+ -> origin:\d+: open\Z", name)
            client.write(b"hello")
            self.assertEqual(self.engine.take(server, 5), b"hello")
            client.break_off()
            server.close()
            self.settle_until(lambda: not self.factory.sessions)


class KeyTests(RoutingCase):
    def test_a_balancer_may_ask_for_what_the_client_says(self) -> None:
        """Without routes, too: the hello is waited for because of the key."""
        hash_of = BALANCERS.parse("hash:key=$ssl_preread_server_name")
        servers = [UpstreamServer(str(number), None, each.getsockname()) for number, each in enumerate(self.others)]
        group = UpstreamGroup(servers, hash_of, clock=self.engine.reactor)
        self.route(PATIENT, group)
        for name in (b"a.example", b"b.example", b"c.example", b"d.example"):
            hello = of_openssl(name)
            expected = group.pick(name)
            assert expected is not None
            group.release(expected)
            for _ in range(2):
                client = self.connect()
                client.write(hello)
                self.exchange(client, self.accepted_by(self.others[int(expected.name)]), hello)


class SettingsTests(SynchronousTestCase):
    def test_a_key_with_a_variable_that_there_is_not(self) -> None:
        group = UpstreamGroup([UpstreamServer("a", None)], BALANCERS.parse("hash:key=$request_uri"), clock=Clock())
        context: Any = ProxyContext(group, ProxySettings(), None, Clock())  # type: ignore[arg-type]
        error = self.assertRaises(BadConfiguration, TcpProxyFactory, context)
        self.assertIn("there is no variable $request_uri", str(error))
