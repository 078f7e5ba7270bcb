"""
Connections of health checks, on a private reactor and loopback sockets; each test both ways: by a Twisted endpoint, and by a socket
address.
"""

from __future__ import annotations

import errno
import select
import socket
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectBindError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.net.fakes import Peer
from tests.net.loopback import Loopback
from tests.net.tls_peer import TlsPeer, serve
from twisted_pipe.errors import CheckFailed, NotChecked
from twisted_pipe.interfaces import IHealthCheckStream
from twisted_pipe.net.tls_socket import TlsSocket
from twisted_pipe.net.wire import TransportWire
from twisted_pipe.preface.proxy_header import Version
from twisted_pipe.proxies.check_stream import CheckConnector, CheckStream
from twisted_pipe.tls.client import ClientTls
from twisted_pipe.tls.settings import ClientTlsSettings
from twisted_pipe.upstream.connect_settings import ConnectSettings
from twisted_pipe.upstream.group import UpstreamGroup, UpstreamServer
from twisted_pipe.upstream.health_check import CHECKS


class EndpointTests(SynchronousTestCase):
    """By a Twisted endpoint."""

    def setUp(self) -> None:
        self.engine = Loopback(self)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listener.close)
        self.registered = self.engine.statistics.registered

    def server(self, port: int = 0) -> UpstreamServer:
        host, own = self.listener.getsockname()
        return UpstreamServer("origin:80", TCP4ClientEndpoint(self.engine.reactor, host, port or own))

    def connecting(self, settings: ConnectSettings, place: Any = None) -> Deferred[CheckStream]:
        group = UpstreamGroup([self.server()], clock=self.engine.clock, connect=settings)
        connector = CheckConnector(group, self.engine.reactor, *([place] if place else []))
        return connector(group.servers[0])

    def settle_until(self, condition: Any) -> None:
        for _ in range(500):
            self.engine.settle()
            if condition():
                return
            select.select([], [], [], 0.002)
        raise AssertionError("it does not happen")

    def accept(self) -> Peer:
        self.settle_until(lambda: select.select([self.listener], [], [], 0)[0])
        peer = Peer(self.listener.accept()[0])
        self.addCleanup(peer.close)
        return peer

    def opened(self, **settings: Any) -> tuple[CheckStream, Peer]:
        connecting = self.connecting(ConnectSettings(**settings))
        peer = self.accept()
        if "tls" in settings:
            peer = TlsPeer(peer.socket, serve(None))
            self.settle_until(peer.shake)
        self.settle_until(lambda: connecting.called)
        stream = self.successResultOf(connecting)
        self.addCleanup(self.check_closed, stream)
        return stream, peer

    def check_closed(self, stream: CheckStream) -> None:
        """Nothing is left behind."""
        stream.close()
        self.settle_until(lambda: self.engine.statistics.registered == self.registered)

    def result(self, receiving: Deferred[bytes]) -> Any:
        self.settle_until(lambda: receiving.called)
        results: list[Any] = []
        receiving.addBoth(results.append)
        return results[0] if isinstance(results[0], bytes) else str(results[0].value)

    def test_no_descriptor_is_left(self) -> None:
        """That is no fault of the server's, and nothing is known of it."""

        class NoSocket:
            def connect(self, factory: Any) -> Deferred[Any]:
                return fail(ConnectBindError(errno.EMFILE, "Too many open files"))

        connecting = self.connecting(ConnectSettings(), lambda server: UpstreamServer(server.name, NoSocket()))
        self.assertIn("Too many open files", str(self.failureResultOf(connecting, NotChecked).value))

    def test_sent_and_received(self) -> None:
        stream, peer = self.opened()
        self.assertTrue(verifyObject(IHealthCheckStream, stream))
        stream.send(b"ping")
        self.settle_until(lambda: peer.read() == b"ping")
        receiving = stream.receive()
        self.assertNoResult(receiving)
        peer.write(b"pong")
        self.assertEqual(self.result(receiving), b"pong")

    def test_what_came_before_it_is_asked_for(self) -> None:
        stream, peer = self.opened()
        peer.write(b"x" * 20_000)
        peer.close()
        self.engine.settle()
        received = b""
        while data := self.result(stream.receive()):
            received += data
        self.assertEqual(received, b"x" * 20_000)
        self.assertEqual(self.result(stream.receive()), b"")

    def test_broken_off(self) -> None:
        stream, peer = self.opened()
        receiving = stream.receive()
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
        self.assertRegex(self.result(receiving), "(?i)reset|lost in a non-clean")

    def test_closed(self) -> None:
        stream, peer = self.opened()
        receiving = stream.receive()
        stream.close()
        self.settle_until(lambda: peer.read() == b"" and (peer.ended or peer.reset))
        self.assertNoResult(receiving)
        receiving.cancel()
        self.failureResultOf(receiving)

    def test_given_up_while_connecting(self) -> None:
        connecting = self.connecting(ConnectSettings())
        connecting.cancel()
        self.failureResultOf(connecting)
        self.settle_until(lambda: self.engine.statistics.registered == self.registered)

    def test_refused(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        connecting = self.connecting(ConnectSettings())
        self.settle_until(lambda: connecting.called)
        error = self.failureResultOf(connecting, CheckFailed).value
        self.assertRegex(str(error), "(?i)connection.*refused")

    def test_a_proxy_header_says_that_it_is_our_own_connection(self) -> None:
        for version, header in (
            (Version.TEXT, b"PROXY UNKNOWN\r\n"),
            (Version.BINARY, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"),
        ):
            stream, peer = self.opened(proxy_protocol=version)
            stream.send(b"ping")
            received = bytearray()

            def all_came(peer: Peer = peer, received: bytearray = received, header: bytes = header) -> bool:
                received += peer.read()
                return received == header + b"ping"

            self.settle_until(all_came)
            stream.close()

    def test_tls(self) -> None:
        stream, peer = self.opened(tls=ClientTls(ClientTlsSettings(verify=False)))
        stream.send(b"ping")
        self.settle_until(lambda: peer.read() == b"ping")
        receiving = stream.receive()
        peer.write(b"pong")
        self.assertEqual(self.result(receiving), b"pong")

    def test_no_tls_there(self) -> None:
        connecting = self.connecting(ConnectSettings(tls=ClientTls(ClientTlsSettings(verify=False))))
        self.accept().write(b"220 mail\r\n")
        self.settle_until(lambda: connecting.called)
        self.failureResultOf(connecting, CheckFailed)

    def test_another_place(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            connecting = self.connecting(ConnectSettings(), lambda server: self.server(other.getsockname()[1]))
            self.settle_until(lambda: connecting.called)
            self.check_closed(self.successResultOf(connecting))
            self.assertTrue(select.select([other], [], [], 0)[0])
            self.assertFalse(select.select([self.listener], [], [], 0)[0])

    def test_a_whole_check(self) -> None:
        group = UpstreamGroup([self.server()], clock=self.engine.clock)
        checking = (
            CHECKS.parse("http:body=fine").build(CheckConnector(group, self.engine.reactor)).check(group.servers[0])
        )
        peer = self.accept()
        self.settle_until(lambda: peer.read().startswith(b"GET / HTTP/1.1\r\n"))
        for part in (b"HTTP/1.1 200 OK\r\n", b"Content-Length: 4\r\n\r\nfi", b"ne"):
            self.assertNoResult(checking)
            peer.write(part)
            self.engine.settle()
        self.settle_until(lambda: checking.called)
        self.assertIsNone(self.successResultOf(checking))
        self.settle_until(lambda: self.engine.statistics.registered == self.registered)


class SocketTests(EndpointTests):
    """By a socket address."""

    def server(self, port: int = 0) -> UpstreamServer:
        host, own = self.listener.getsockname()
        return UpstreamServer("origin:80", None, (host, port or own))

    def test_what_is_not_taken(self) -> None:
        stream, _ = self.opened()
        self.assertRaises(CheckFailed, stream.send, b"x" * (64 << 20))

    def test_it_is_no_transport(self) -> None:
        stream, _ = self.opened(tls=ClientTls(ClientTlsSettings(verify=False)))
        self.assertIsInstance(stream._wire, TlsSocket)
        self.assertNotIsInstance(stream._wire, TransportWire)
