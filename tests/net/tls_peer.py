"""The other end of a TLS socket: what a test does there, record by record."""

from __future__ import annotations

import contextlib
import socket
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

from OpenSSL import SSL

from tests.net.fakes import Peer
from tests.net.loopback import Loopback
from tests.net.tls import _options
from twisted_pipe.net.tls_socket import TlsSocket

#: Of each end, in TLS 1.3: with what it protects its bytes first, and how many records (of tickets) it sends so by itself.
SECRETS: WeakKeyDictionary[SSL.Connection, tuple[bytes, int]] = WeakKeyDictionary()
RECORD = 16384
SMALL = 4096  # bytes of a send buffer that is soon full


@lru_cache
def server_context(version: int = SSL.TLS1_3_VERSION) -> SSL.Context:
    """Of a server with a certificate of its own."""
    options = _options()
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(options.certificate)
    context.use_privatekey(options.privateKey)
    context.set_session_id(b"test")
    return _of_version(context, version, b"SERVER_TRAFFIC_SECRET_0", 2)


@lru_cache
def client_context(version: int = SSL.TLS1_3_VERSION) -> SSL.Context:
    """Of a client that believes everybody."""
    return _of_version(SSL.Context(SSL.TLS_CLIENT_METHOD), version, b"CLIENT_TRAFFIC_SECRET_0", 0)


def _of_version(context: SSL.Context, version: int, own_secret: bytes, tickets: int) -> SSL.Context:
    def note(connection: SSL.Connection, line: bytes) -> None:
        label, _, secret = line.split()
        if label == own_secret:
            SECRETS[connection] = (bytes.fromhex(secret.decode()), tickets)

    context.set_keylog_callback(note)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    return context


def serve(sock: Any, version: int = SSL.TLS1_3_VERSION) -> SSL.Connection:
    """A server's connection on C{sock}."""
    connection = SSL.Connection(server_context(version), sock)
    connection.set_accept_state()
    return connection


def ask(sock: Any, version: int = SSL.TLS1_3_VERSION) -> SSL.Connection:
    """A client's."""
    connection = SSL.Connection(client_context(version), sock)
    connection.set_connect_state()
    return connection


class TlsPeer(Peer):
    """
    As a L{Peer}, in plaintext.

    @ivar connection: OpenSSL's; its bytes are carried by this.
    @ivar outgoing: bytes that the kernel has not taken yet.
    @ivar record: bytes of plaintext that are put into one record.
    @ivar cut: whether the stream was ended without a close_notify. C{reset} says so, too.
    """

    def __init__(self, sock: socket.socket, connection: SSL.Connection) -> None:
        Peer.__init__(self, sock)
        self.connection: Any = connection
        self.outgoing = b""
        self.record = RECORD
        self.cut = False
        self.shaken = False
        self._ends = False
        self._raw_end = False

    def shake(self) -> bool:
        """Go on with the handshake. Returns whether it is over."""
        if not self.shaken:
            with contextlib.suppress(SSL.WantReadError):
                self._feed()
                self.connection.do_handshake()
                self.shaken = True
            self.flush()
        return self.shaken

    def write(self, data: bytes) -> int:
        """Send as much of C{data} as the kernel takes; of the last record it may have to be asked again."""
        sent = 0
        while sent < len(data) and self.flush():
            sent += self.connection.send(data[sent : sent + self.record])
        self.flush()
        return sent

    def flush(self) -> bool:
        """Carry bytes to the socket. Returns whether none are left."""
        while True:
            if not self.outgoing:
                try:
                    self.outgoing = self.connection.bio_read(1 << 20)
                except SSL.WantReadError:
                    break
            try:
                sent = self.socket.send(self.outgoing)
            except BlockingIOError:
                return False
            self.outgoing = self.outgoing[sent:]
            self.acknowledge()
        if self._ends:
            self._ends = False
            self.socket.shutdown(socket.SHUT_WR)
        return True

    def _feed(self) -> bool:
        """Carry bytes from the socket. Returns whether there were any."""
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            self.reset = True
            return False
        if not data:
            self._raw_end = True
            return False
        self.acknowledge()
        self.connection.bio_write(data)
        return True

    def acknowledge(self) -> None:
        """
        What has come, now, read or not. After a handshake, in which both have answered at once, TCP would take some real time for
        that.
        """
        if self.socket.fileno() >= 0 and self.socket.family == socket.AF_INET:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def read(self, most: int = 1 << 30) -> bytes:
        found = bytearray()
        with contextlib.suppress(OSError):
            self.flush()
        if not self.shake():
            return b""
        while len(found) < most and not (self.ended or self.reset):
            try:
                found += self.connection.recv(min(65536, most - len(found)))
            except SSL.ZeroReturnError:  # noqa: PERF203  # it is how OpenSSL says so
                self.ended = True
            except SSL.WantReadError:
                if not self._feed():
                    if self._raw_end:
                        self.cut = self.reset = True
                    break
        return bytes(found)

    def half_close(self) -> None:
        """close_notify, and the end of the connection's sending."""
        self.connection.shutdown()
        self._ends = True
        self.flush()

    def close(self) -> None:
        """Cleanly, if there is somebody to take it."""
        with contextlib.suppress(OSError, SSL.Error):
            self.connection.shutdown()
            self.flush()
        self.socket.close()

    def break_off(self) -> None:
        """By a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def cut_off(self) -> None:
        """The end without a close_notify."""
        self.flush()
        self.socket.shutdown(socket.SHUT_WR)


def raw_pair(engine: Loopback, tcp: bool = False, buffer: int = 0) -> tuple[TlsSocket, socket.socket]:
    """A socket that is yet to speak TLS, and what is at its other end."""
    ours, peer = engine.tcp_pair() if tcp else engine.pair()
    if buffer:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
    if tcp:
        for sock in (ours, peer.socket):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return TlsSocket(engine.reactor, ours, accepted=True), peer.socket


def tls_pair(
    engine: Loopback, *, server: bool = True, tcp: bool = False, buffer: int = 0, version: int = SSL.TLS1_3_VERSION
) -> tuple[TlsSocket, TlsPeer]:
    """
    A TLS socket whose handshake is over, and its other end.

    @param server: its role.
    @param buffer: bytes of its kernel send buffer; 0 for the system's own.
    """
    ours, sock = raw_pair(engine, tcp, buffer)
    peer = TlsPeer(sock, (ask if server else serve)(None, version))
    told: list[str | None] = []
    make = serve if server else ask
    ours.handshake(lambda raw: make(raw, version), told.append)
    for _ in range(20):
        peer.shake()
        engine.settle()
    if told != [None] or not peer.shaken:
        raise AssertionError(f"no handshake: {told}")
    peer.read()  # takes in the tickets
    engine.settle()
    return ours, peer
