"""Handshakes on bare sockets: both roles, cut anywhere, and peers that mean no good."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from typing import Any

from OpenSSL import SSL

from tests.net.test_edge import Owner
from tests.net.tls_case import TlsCase
from tests.net.tls_peer import SMALL, TlsPeer, ask, raw_pair, serve
from twisted_pipe.net.tls_socket import TlsSocket

_VERSIONS = (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION)


class HandshakeTests(TlsCase):
    def setUp(self) -> None:
        TlsCase.setUp(self)
        self.told: list[str | None] = []
        self.ours, self.raw = raw_pair(self.engine, tcp=True)

    def test_both_roles_and_versions(self) -> None:
        for version in _VERSIONS:
            for server in (True, False):
                ours, peer = self.pair(server=server, version=version)
                self.assertEqual(ours.connection.get_protocol_version(), version)  # type: ignore[union-attr]
                found = self.reading(ours)
                peer.write(b"hello")
                self.engine.settle()
                self.assertEqual(found, [b"hello"])
                self.assertEqual(ours.send([b"wor", b"ld"]), 5)
                self.assertEqual(peer.read(), b"world")

    def test_byte_by_byte(self) -> None:
        """Cut wherever it can be, both ways."""
        self.ours.handshake(serve, self.told.append)
        client = ask(None)
        for _ in range(4):
            with contextlib.suppress(SSL.WantReadError):
                client.do_handshake()
            try:
                flight = client.bio_read(1 << 16)
            except SSL.WantReadError:
                flight = b""
            for at in range(len(flight)):
                self.raw.send(flight[at : at + 1])
                self.engine.turn()
            self.engine.settle()
            try:
                client.bio_write(self.raw.recv(1 << 16))
            except BlockingIOError:
                break
        self.assertEqual(self.told, [None])

    def test_a_request_that_comes_with_its_last_flight(self) -> None:
        """No edge tells of it any more: whoever is the reader then is told."""
        owner = Owner(self.ours)

        def done(why: str | None) -> None:
            self.told.append(why)
            self.ours.reader = owner

        self.ours.handshake(serve, done)
        peer = TlsPeer(self.raw, ask(None))
        peer.shake()
        self.engine.settle()
        peer._feed()
        peer.connection.do_handshake()
        peer.connection.send(b"early")
        peer.flush()
        self.engine.settle()
        self.assertEqual(self.told, [None])
        self.assertEqual(owner.calls, 1)
        self.assertEqual(self.ours.socket.recv(100), b"early")

    def test_what_stands_before_it_is_plain(self) -> None:
        """A PROXY header, both ways, under the same registration."""
        calls = self.engine.statistics.control_calls
        self.raw.send(b"header")
        self.engine.settle()
        self.assertEqual(self.ours.socket.recv(100), b"header")
        self.assertEqual(self.ours.send([b"reply"]), 5)
        self.assertEqual(self.raw.recv(100), b"reply")
        self.ours.handshake(serve, self.told.append)
        peer = TlsPeer(self.raw, ask(None))
        for _ in range(4):
            peer.shake()
            self.engine.settle()
        self.assertEqual((self.told, self.engine.statistics.control_calls), ([None], calls))

    def test_by_connecting(self) -> None:
        listener = socket.socket()
        self.addCleanup(listener.close)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        ours = TlsSocket.connecting(
            self.engine.reactor,
            listener.getsockname(),
            lambda error: ours.handshake(ask, self.told.append),
        )
        self.addCleanup(ours.close)
        self.engine.settle()
        sock, _ = listener.accept()
        peer = TlsPeer(sock, serve(None))
        self.addCleanup(sock.close)
        for _ in range(5):
            peer.shake()
            self.engine.settle()
        self.assertEqual(self.told, [None])

    def refused(self, why: str) -> None:
        self.engine.settle()
        self.assertEqual(self.told, [why])
        self.assertFalse(self.ours.open)
        self.assertIsNone(self.ours.connection)
        self.assertEqual(self.engine.statistics.registered, self.registered)

    def test_the_end_in_the_middle(self) -> None:
        client = ask(None)
        self.assertRaises(SSL.WantReadError, client.do_handshake)
        hello = client.bio_read(1 << 16)
        for count in (0, 1, 5, 6, len(hello) - 1, len(hello)):
            self.told = []
            self.ours, raw = raw_pair(self.engine, tcp=True)
            self.registered = self.engine.statistics.registered - 1
            self.ours.handshake(serve, self.told.append)
            raw.send(hello[:count])
            raw.close()
            self.refused("the connection ended during the handshake")

    def test_a_reset(self) -> None:
        self.ours.handshake(serve, self.told.append)
        self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.raw.close()
        self.refused("Connection reset by peer")

    def test_no_tls_at_all(self) -> None:
        for junk in (
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            bytes(100),
            os.urandom(60_000),
            b"\x16\x03\x01\xff\xff" + bytes(70_000),
        ):
            self.told = []
            self.ours, raw = raw_pair(self.engine, tcp=True)
            self.ours.handshake(serve, self.told.append)
            raw.send(junk)
            self.engine.settle()
            self.assertEqual(len(self.told), 1, junk[:10])
            self.assertTrue(self.told[0], junk[:10])
            self.assertFalse(self.ours.open)

    def test_a_peer_that_is_refused_gets_the_alert(self) -> None:
        """Though it has sent more, which nobody reads: a reset would take the alert away."""
        self.ours.handshake(lambda sock: serve(sock, SSL.TLS1_3_VERSION), self.told.append)
        peer = TlsPeer(self.raw, ask(None, SSL.TLS1_2_VERSION))
        peer.shake()
        peer.socket.send(bytes(100_000))
        self.engine.settle()
        self.assertEqual(self.told, ["TLS: unsupported protocol"])
        error = self.assertRaises(SSL.Error, peer.shake)
        self.assertIn("alert protocol version", str(error.args))
        self.assertEqual(
            self.raw.recv(100), b"", "a clean end, which no system takes for a reason to drop what came before"
        )

    def test_words_of_the_caller(self) -> None:
        self.ours.handshake(serve, self.told.append, lambda error: f"so: {type(error).__name__}")
        self.raw.send(b"nonsense that is long enough")
        self.refused("so: Error")

    def test_what_a_callback_of_the_context_raises(self) -> None:
        """As a certificate that is refused by us."""

        def make(sock: Any) -> SSL.Connection:
            context = SSL.Context(SSL.TLS_CLIENT_METHOD)

            def verify(*arguments: Any) -> bool:
                raise ZeroDivisionError("of its own")

            context.set_verify(SSL.VERIFY_PEER, verify)
            connection = SSL.Connection(context, sock)
            connection.set_connect_state()
            return connection

        self.ours.handshake(make, self.told.append)
        peer = TlsPeer(self.raw, serve(None))
        with contextlib.suppress(SSL.Error):
            for _ in range(4):
                peer.shake()
                self.engine.settle()
        self.refused("ZeroDivisionError: of its own")

    def test_a_peer_that_says_nothing(self) -> None:
        self.ours.handshake(serve, self.told.append)
        self.assert_at_rest()
        self.assertEqual(self.told, [])
        self.ours.close()
        self.engine.settle()
        self.assertEqual((self.told, self.ours.open), ([], False))
        self.assertEqual(self.engine.statistics.registered, self.registered)

    def test_somebody_else_closes_it(self) -> None:
        """As worker_connections does."""
        self.ours.handshake(serve, self.told.append)
        self.ours.loseConnection()
        self.assertEqual(self.told, ["Connection was closed cleanly: Connection done."])

    def test_the_kernel_takes_no_more(self) -> None:
        """A flight that does not fit waits for room."""
        self.ours, raw = raw_pair(self.engine)
        self.ours.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        filler = 0
        try:
            while True:
                filler += self.ours.socket.send(bytes(500))
        except BlockingIOError:
            pass
        self.ours.handshake(serve, self.told.append)
        peer = TlsPeer(raw, ask(None))
        self.assertRaises(SSL.WantReadError, peer.connection.do_handshake)
        peer.flush()
        self.assert_at_rest()
        self.assertTrue(self.ours.writing)
        while filler:
            filler -= len(raw.recv(filler))
        for _ in range(10):
            peer.shake()
            self.engine.settle()
        self.assertEqual((self.told, self.ours.writing), ([None], False))
