"""
What the peers are loaded with: plain non-blocking sockets on one epoll, no framework. Bounded in count or time.

C{load.py serve PORT} is the upstream: it echoes, except that a connection whose first byte is C{B} is sent bulk for ever, and
one that begins with C{1} is answered with one byte and closed.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import sys
import time

from certificate import CIPHER

__all__ = ["bulk", "bulk_tls", "connects", "drop", "idle", "round_trips"]

MESSAGE = b"x" * 64
BULK = b"b" * (256 * 1024)
#: How many connections are opened before the first of them is used: no listener's queue overflows.
BATCH = 200


def _connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def round_trips(port: int, connections: int, seconds: float) -> int:
    """64 bytes there and back on each connection, again and again. Returns how many."""
    poll = select.epoll()
    sockets: dict[int, socket.socket] = {}
    for _ in range(connections):
        connection = _connect(port)
        sockets[connection.fileno()] = connection
        poll.register(connection, select.EPOLLIN)
        connection.send(MESSAGE)
    count, pending = 0, dict.fromkeys(sockets, 64)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for fd, _ in poll.poll(1):
            got = len(sockets[fd].recv(4096))
            if got == 0:
                raise RuntimeError("the connection was closed")
            pending[fd] -= got
            if pending[fd] == 0:
                pending[fd] = 64
                count += 1
                sockets[fd].send(MESSAGE)
    for connection in sockets.values():
        connection.close()
    return count


def bulk(port: int, seconds: float) -> int:
    """One connection that receives as fast as it can. Returns how many bytes."""
    with _connect(port) as connection:
        return _receive(connection, seconds)


def bulk_tls(port: int, seconds: float) -> int:
    """The same over TLS 1.2 with L{CIPHER}. The certificate is not checked, and no ALPN is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHER)
    with _connect(port) as plain, context.wrap_socket(plain) as connection:
        return _receive(connection, seconds)


def _receive(connection: socket.socket, seconds: float) -> int:
    connection.send(b"B")
    buffer, count = bytearray(1 << 20), 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        got = connection.recv_into(buffer)
        if got == 0:
            raise RuntimeError("the connection was closed")
        count += got
    return count


def connects(port: int, seconds: float) -> int:
    """Connect, send a byte, receive a byte and the end, close; one after the other. Returns how many."""
    count = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with _connect(port) as connection:
            connection.send(b"1")
            while connection.recv(16):
                pass
        count += 1
    return count


def idle(port: int, connections: int) -> list[socket.socket]:
    """So many connections, each of which has been used once (64 bytes there and back) and then does nothing."""
    sockets: list[socket.socket] = []
    while len(sockets) < connections:
        batch = [_connect(port) for _ in range(min(BATCH, connections - len(sockets)))]
        for connection in batch:
            connection.send(MESSAGE)
        for connection in batch:
            if len(connection.recv(64, socket.MSG_WAITALL)) < 64:
                raise RuntimeError("the connection was closed")
        sockets += batch
    return sockets


def drop(sockets: list[socket.socket]) -> None:
    """Reset them, so that thousands of ports are free again at once, instead of after a minute in TIME_WAIT."""
    for connection in sockets:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


def serve(port: int) -> None:
    """The upstream."""
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    listener.setblocking(False)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    sockets: dict[int, socket.socket] = {}
    sending: set[int] = set()
    fresh: set[int] = set()
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                connection, _address = listener.accept()
                connection.setblocking(False)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sockets[connection.fileno()] = connection
                fresh.add(connection.fileno())
                poll.register(connection, select.EPOLLIN)
                continue
            connection = sockets[fd]
            try:
                if fd in sending:
                    connection.send(BULK)
                    continue
                data = connection.recv(65536)
                if data and fd in fresh:
                    fresh.discard(fd)
                    if data[:1] == b"B":
                        sending.add(fd)
                        poll.modify(connection, select.EPOLLOUT)
                        continue
                    if data[:1] == b"1":
                        connection.send(b"1")
                        data = b""
                if data:
                    connection.send(data)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not data:
                poll.unregister(connection)
                connection.close()
                del sockets[fd]
                sending.discard(fd)
                fresh.discard(fd)


if __name__ == "__main__" and sys.argv[1:2] == ["serve"]:
    serve(int(sys.argv[2]))
