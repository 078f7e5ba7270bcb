"""
WebSocket through HTTP proxies: messages of 64 bytes, echoed, in frames as RFC 6455 has them.

Both ends are plain sockets on one epoll, so that the proxy has most of the machine. C{websocket.py serve PORT} is the origin.
"""

from __future__ import annotations

import base64
import hashlib
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cases import Case
from http_peers import HAPROXY, NGINX, PIPE, started
from measure import Measured
from outcome import Bar
from peers import Peer, free_port
from usage import cpu_seconds

__all__ = ["WEBSOCKET_CASES", "serving_websocket"]

_CONNECTIONS = 32
_WARM = 0.3  # seconds of work that do not count, before those that do
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT = b"x" * 64
_MASK = b"\x00" * 4  # by which the text stays as it is: nobody between looks
_ASKED = b"\x82\xc0" + _MASK + _TEXT  # a whole binary message, masked, of 64 bytes
_ANSWERED = b"\x82\x40" + _TEXT
_PATIENCE = 10


def _connect(port: int) -> socket.socket:
    """
    A connection that has changed to WebSocket.

    @raise RuntimeError: it has not.
    """
    key = base64.b64encode(os.urandom(16))
    connection = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(
        b"GET /websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n" % key
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        part = connection.recv(1)
        if not part:
            break
        head += part
    if not head.startswith(b"HTTP/1.1 101 ") or _accept(key) not in head:
        raise RuntimeError(f"it does not change to WebSocket: {head!r}")
    return connection


def _accept(key: bytes) -> bytes:
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def _echoes(sockets: dict[int, socket.socket], seconds: float) -> int:
    """A message there and back on each connection, again and again. Returns how many."""
    poll = select.epoll()
    for fd, connection in sockets.items():
        poll.register(fd, select.EPOLLIN)
        connection.send(_ASKED)
    count, pending = 0, dict.fromkeys(sockets, len(_ANSWERED))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for fd, _ in poll.poll(1):
            got = len(sockets[fd].recv(4096))
            if got == 0:
                raise RuntimeError("the connection was closed")
            pending[fd] -= got
            if pending[fd] == 0:
                pending[fd] = len(_ANSWERED)
                count += 1
                sockets[fd].send(_ASKED)
    poll.close()
    for fd, connection in sockets.items():
        while pending[fd]:
            pending[fd] -= len(connection.recv(pending[fd]))
    return count


def echo(peer: Peer, origin: int, seconds: float) -> Measured:
    """CPU time of the proxy for each message and its echo, in microseconds."""
    with started(peer, origin) as proxy:
        connections = [_connect(proxy.port) for _ in range(_CONNECTIONS)]
        sockets = {each.fileno(): each for each in connections}
        _echoes(sockets, _WARM)
        before = cpu_seconds(proxy.pid)
        count = _echoes(sockets, seconds)
        used = cpu_seconds(proxy.pid) - before
        for connection in connections:
            connection.close()
        proxy.check_log(_CONNECTIONS)
    return Measured(used / count * 1e6)


WEBSOCKET_CASES = {
    "echo": Case(
        title=f"WebSocket, {len(_TEXT)} bytes echoed on {_CONNECTIONS} connections",
        peers=[NGINX, HAPROXY, PIPE],
        unit="CPU, us a message",
        measure=echo,
        bars=[Bar(PIPE.name, 1.3, NGINX.name)],
    )
}


@contextmanager
def serving_websocket() -> Iterator[int]:
    """The port of the origin, while it runs."""
    port = free_port()
    server = subprocess.Popen([sys.executable, str(Path(__file__).resolve()), "serve", str(port)])
    try:
        time.sleep(0.5)
        yield port
    finally:
        server.terminate()
        server.wait(5)


def _serve(port: int) -> None:
    """Echo. A message is taken to come in one read, as it was sent."""
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    sockets: dict[int, socket.socket] = {}
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                connection, _address = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sockets[connection.fileno()] = connection
                poll.register(connection, select.EPOLLIN)
                continue
            connection = sockets[fd]
            try:
                data = connection.recv(65536)
                if data[:1] == b"G":
                    start = data.lower().index(b"sec-websocket-key: ") + 19
                    key = data[start : data.index(b"\r", start)]
                    connection.send(
                        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                        b"Sec-WebSocket-Accept: %b\r\n\r\n" % _accept(key)
                    )
                elif data:
                    connection.send(_ANSWERED)
            except OSError:
                data = b""
            if not data:
                poll.unregister(fd)
                connection.close()
                del sockets[fd]


if __name__ == "__main__" and sys.argv[1:2] == ["serve"]:
    _serve(int(sys.argv[2]))
