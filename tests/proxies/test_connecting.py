"""
Connections to servers being made. On a private reactor and loopback sockets, each test both ways: by a socket address, and by a
Twisted endpoint.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from unittest import mock

import attrs
import trustme
from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectBindError, ConnectingCancelledError
from twisted.internet.protocol import Protocol
from twisted.protocols import tls
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import Peer
from tests.net.loopback import Loopback
from tests.net.tls_peer import TlsPeer
from twisted_pipe.core.keepalive_probes import KeepaliveProbes
from twisted_pipe.net import bare
from twisted_pipe.net.bare import BareSocket
from twisted_pipe.net.connect_protocol import connect_protocol
from twisted_pipe.net.socket_options import socket_below
from twisted_pipe.net.tls_socket import TlsSocket
from twisted_pipe.net.wire import TransportWire
from twisted_pipe.preface.proxy_header import Version
from twisted_pipe.proxies.connecting import Connecting
from twisted_pipe.proxies.connection_facts import facts_of
from twisted_pipe.proxies.context import ProxyContext
from twisted_pipe.proxies.settings import ProxySettings
from twisted_pipe.tls.client import ClientTls
from twisted_pipe.tls.problems import explain
from twisted_pipe.tls.settings import ClientTlsSettings
from twisted_pipe.upstream.connect_settings import ConnectSettings
from twisted_pipe.upstream.group import UpstreamGroup, UpstreamServer

PLAIN = ConnectSettings()
OPTIONS = ConnectSettings(bind="127.0.0.2", nodelay=False, keepalive=KeepaliveProbes(30, 10, 3), user_timeout=5)


@lru_cache
def _authority() -> trustme.CA:
    return trustme.CA()


@lru_cache
def _server_context() -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    _authority().issue_cert("origin").configure_cert(context)
    return context


class ConnectingTests(SynchronousTestCase):
    """By a Twisted endpoint."""

    wire: Any = TransportWire

    def setUp(self) -> None:
        self.engine = Loopback(self)
        self.registered = self.engine.statistics.registered
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.peers: list[Peer] = []
        self.wires: list[Any] = []
        self.problems: list[str] = []
        self.addCleanup(self.close)

    def close(self) -> None:
        for wire in self.wires:
            wire.transport.abortConnection()
        for peer in self.peers:
            peer.close()
        self.listener.close()
        self.engine.settle()
        self.assertEqual([call for call in self.engine.reactor.getDelayedCalls() if call.active()], [])
        self.assertEqual(self.engine.statistics.registered, self.registered)

    def server(self, name: str = "origin:80") -> UpstreamServer:
        host, port = self.listener.getsockname()
        return UpstreamServer(name, TCP4ClientEndpoint(self.engine.reactor, host, port))

    def begin(self, settings: ConnectSettings = PLAIN, preface: bytes = b"", name: str = "origin:80") -> Connecting:
        connecting = Connecting(
            self.engine.reactor, self.server(name), settings, self.wires.append, self.problems.append, preface
        )
        connecting.begin()
        return connecting

    def settle_until(self, condition: Any) -> None:
        for _ in range(500):
            self.engine.settle()
            if condition():
                return
            select.select([], [], [], 0.002)
        raise AssertionError("it does not happen")

    def accept(self) -> Peer:
        self.settle_until(lambda: select.select([self.listener], [], [], 0)[0])
        self.peers.append(Peer(self.listener.accept()[0]))
        return self.peers[-1]

    def opened(self) -> Any:
        self.settle_until(lambda: self.wires or self.problems)
        self.assertEqual(self.problems, [])
        self.assertEqual(len(self.wires), 1)
        self.assertIsInstance(self.wires[0], self.wire)
        return self.wires[0]

    def failed(self) -> str:
        self.settle_until(lambda: self.wires or self.problems)
        self.assertEqual(self.wires, [])
        self.assertEqual(len(self.problems), 1)
        return self.problems[0]

    def send(self, data: bytes) -> None:
        wire = self.wires[0]
        if isinstance(wire, BareSocket):
            wire.send((data,))
        else:
            wire.write(data)

    def test_opened(self) -> None:
        self.begin()
        peer = self.accept()
        wire = self.opened()
        self.assertEqual(wire.transport.getPeer().port, self.listener.getsockname()[1])
        self.send(b"hello")
        self.settle_until(lambda: peer.read() == b"hello")

    def test_whose_fault_it_is(self) -> None:
        """What this process has none of any more speaks against no server."""
        for code in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNREFUSED, errno.ENETUNREACH):
            with self.no_socket(code):
                connecting = self.begin()
                self.assertIn(os.strerror(code), self.failed())
            self.assertEqual(connecting.own_fault, code not in (errno.ECONNREFUSED, errno.ENETUNREACH), code)
            self.problems.clear()

    @contextmanager
    def no_socket(self, code: int) -> Iterator[None]:
        """None can be had."""

        class NoSocket:
            def connect(self, factory: Any) -> Deferred[Any]:
                return fail(ConnectBindError(code, os.strerror(code)))

        with mock.patch.object(self, "server", lambda name: UpstreamServer(name, NoSocket())):
            yield

    def test_refused(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)  # it has its port, and listens no more
        self.begin()
        self.assertRegex(self.failed(), "(?i)connection.*refused")

    def test_cancelled(self) -> None:
        connecting = self.begin()
        connecting.cancel()
        connecting.cancel()
        for _ in range(20):
            self.engine.settle()
            select.select([], [], [], 0.002)
        self.assertEqual((self.wires, self.problems), ([], []))

    def test_a_preface_comes_first(self) -> None:
        self.begin(preface=b"PROXY UNKNOWN\r\n")
        peer = self.accept()
        self.opened()
        self.send(b"hello")
        found = b""
        for _ in range(100):
            self.engine.settle()
            found += peer.read()
        self.assertEqual(found, b"PROXY UNKNOWN\r\nhello")

    def test_options(self) -> None:
        self.begin(OPTIONS)
        self.assert_options(self.accept())

    def test_options_under_tls(self) -> None:
        self.begin(attrs.evolve(OPTIONS, tls=self.tls().tls))
        peer = self.accept_tls()
        self.settle_until(peer.shake)
        self.assert_options(peer)

    def assert_options(self, peer: Peer) -> None:
        wire = self.opened()
        self.assertEqual(peer.socket.getpeername()[0], "127.0.0.2")
        sock: Any = wire.socket if isinstance(wire, BareSocket) else socket_below(wire.transport)
        for level, option, value in (
            (socket.IPPROTO_TCP, socket.TCP_NODELAY, 0),
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
            (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
            (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
            (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 5000),
        ):
            self.assertEqual(sock.getsockopt(level, option), value, option)

    def test_a_local_address_of_somebody_else(self) -> None:
        self.begin(ConnectSettings(bind="192.0.2.1"))
        self.assertRegex(self.failed(), "192.0.2.1|annot assign requested address")

    # TLS

    def tls(self, **settings: Any) -> ConnectSettings:
        path = self.mktemp()
        _authority().cert_pem.write_to_path(path)
        return ConnectSettings(tls=ClientTls(ClientTlsSettings(trusted_ca=path, **settings)))

    def accept_tls(self) -> TlsPeer:
        peer = self.accept()
        return self.speak(peer)

    def speak(self, peer: Peer) -> TlsPeer:
        connection = SSL.Connection(_server_context())
        connection.set_accept_state()
        return TlsPeer(peer.socket, connection)

    def test_tls(self) -> None:
        self.begin(self.tls())
        peer = self.accept_tls()
        self.settle_until(peer.shake)
        wire = self.opened()
        self.assertEqual(peer.connection.get_servername(), b"origin")
        facts = facts_of(wire.transport)
        assert facts.tls is not None
        self.assertEqual(facts.tls.version, "TLSv1.3")
        self.send(b"hello")
        self.settle_until(lambda: peer.read() == b"hello")

    def test_a_preface_comes_before_tls(self) -> None:
        self.begin(self.tls(), preface=b"PROXY UNKNOWN\r\n")
        peer = self.accept()
        found = b""
        for _ in range(100):
            self.engine.settle()
            found += peer.read(15 - len(found)) if len(found) < 15 else b""
            if len(found) == 15:
                break
        self.assertEqual(found, b"PROXY UNKNOWN\r\n")
        secure = self.speak(peer)
        self.settle_until(secure.shake)
        self.opened()
        self.send(b"hello")
        self.settle_until(lambda: secure.read() == b"hello")

    def test_a_certificate_for_somebody_else(self) -> None:
        self.begin(self.tls(), name="elsewhere:80")
        peer = self.accept_tls()
        with self.assertRaises(SSL.Error):
            self.settle_until(peer.shake)
        self.assertEqual(self.failed(), "its certificate is not for elsewhere but for origin")

    def test_an_authority_that_is_not_trusted(self) -> None:
        path = self.mktemp()
        trustme.CA().cert_pem.write_to_path(path)
        self.begin(ConnectSettings(tls=ClientTls(ClientTlsSettings(trusted_ca=path))))
        peer = self.accept_tls()
        with self.assertRaises(SSL.Error):
            self.settle_until(peer.shake)
        self.assertRegex(self.failed(), "certificate")

    def test_not_verified(self) -> None:
        self.begin(self.tls(verify=False), name="elsewhere:80")
        peer = self.accept_tls()
        self.settle_until(peer.shake)
        self.opened()

    def test_a_server_that_does_not_speak_tls(self) -> None:
        self.begin(self.tls())
        self.accept().write(b"220 smtp.example.org\r\n")
        self.assertTrue(self.failed())

    def test_a_server_that_goes(self) -> None:
        self.begin(self.tls())
        peer = self.accept()
        self.engine.settle()
        peer.close()
        self.assertTrue(self.failed())

    def test_cancelled_in_the_handshake(self) -> None:
        connecting = self.begin(self.tls())
        peer = self.accept()
        self.engine.settle()
        connecting.cancel()
        self.settle_until(lambda: peer.read() is not None and (peer.ended or peer.reset))
        self.assertEqual((self.wires, self.problems), ([], []))


class ProtocolTests(ConnectingTests):
    """What protocols of plugins connect by: the group's settings hold for them, too."""

    wire = Protocol

    def test_whose_fault_it_is(self) -> None:
        """They see the error themselves."""
        with self.no_socket(errno.EMFILE):
            self.begin()
            self.assertIn("Too many open files", self.failed())

    def begin(self, settings: ConnectSettings = PLAIN, preface: bytes = b"", name: str = "origin:80") -> Any:
        if preface:
            settings = attrs.evolve(settings, proxy_protocol=Version.TEXT)
        group = UpstreamGroup([self.server(name)], clock=self.engine.reactor, connect=settings)
        context = ProxyContext(group, ProxySettings(), None, self.engine.reactor)  # type: ignore[arg-type]
        connecting = context.connect(group.peers[0].server, Said)
        connecting.addCallbacks(self.wires.append, self._failed)
        return connecting

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError, ConnectingCancelledError):
            tls = failure.check(SSL.Error)
            self.problems.append(explain(failure.value) if tls else failure.getErrorMessage())

    def send(self, data: bytes) -> None:
        self.wires[0].transport.write(data)

    def test_connected_once_and_only_when_all_stands(self) -> None:
        self.begin(self.tls())
        peer = self.accept_tls()
        self.assertEqual(self.wires, [])
        self.settle_until(peer.shake)
        self.assertEqual(self.opened().connected_times, 1)
        peer.write(b"hello")
        self.settle_until(lambda: self.wires[0].received == b"hello")

    def test_a_preface_to_an_endpoint_that_wraps_the_transport(self) -> None:
        self.patch(tls, "_get_default_clock", lambda: self.engine.reactor)
        creator = self.tls().tls.creator(self.server())  # type: ignore[union-attr]
        endpoint = wrapClientTLS(creator, self.server().endpoint)
        connect_protocol(endpoint, Said, preface=b"first").addCallback(self.wires.append)
        peer = self.accept_tls()
        self.settle_until(peer.shake)
        self.settle_until(lambda: peer.read() == b"first")
        self.assertEqual(self.opened().connected_times, 1)
        peer.write(b"hello")
        self.settle_until(lambda: self.wires[0].received == b"hello")


class Said(Protocol):
    """One of a plugin."""

    def __init__(self) -> None:
        self.connected_times = 0
        self.received = b""

    def connectionMade(self) -> None:
        self.connected_times += 1

    def dataReceived(self, data: bytes) -> None:
        self.received += data


class BareConnectingTests(ConnectingTests):
    """By a socket address."""

    wire = BareSocket

    @contextmanager
    def no_socket(self, code: int) -> Iterator[None]:
        with mock.patch.object(bare.socket, "SocketType", side_effect=OSError(code, os.strerror(code))):
            yield

    def server(self, name: str = "origin:80") -> UpstreamServer:
        return UpstreamServer(name, None, self.listener.getsockname())

    def test_no_descriptor(self) -> None:
        """What C{BareSocket.connecting} raises is a failure like others."""
        settings = ConnectSettings(bind="::1")
        self.begin(settings)
        self.assertTrue(self.failed())

    def test_tls_socket(self) -> None:
        self.begin(self.tls())
        peer = self.accept_tls()
        self.settle_until(peer.shake)
        self.assertIsInstance(self.opened(), TlsSocket)
