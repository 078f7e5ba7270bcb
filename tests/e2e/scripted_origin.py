"""A server that keeps what it is sent, byte for byte, and sends what it is told, whatever that is."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import attrs

__all__ = ["ScriptedOrigin", "scripted_origin"]

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked\r\n", re.IGNORECASE)
_LAST_CHUNK = re.compile(rb"(?:^|\r\n)0\r\n(?:[^\r\n]+\r\n)*\r\n")


@attrs.define
class ScriptedOrigin:
    """
    @ivar port: of 127.0.0.1.
    @ivar answer: what each connection gets for its request, before it is closed.
    @ivar requests: what connections have sent, one request each.
    """

    port: int
    answer: bytes = b""
    requests: list[bytes] = attrs.field(factory=list)

    def serve(self, sock: socket.socket) -> None:
        """One connection."""
        sock.settimeout(10)
        with sock, suppress(OSError):
            self.requests.append(_request(sock))
            sock.sendall(self.answer)


def _request(sock: socket.socket) -> bytes:
    """A request, or as much of it as comes."""
    data = b""
    while not _is_whole(data) and (part := sock.recv(65536)):
        data += part
    return data


def _is_whole(data: bytes) -> bool:
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return False
    head += b"\r\n"
    if _CHUNKED.search(head):
        return _LAST_CHUNK.search(body) is not None
    length = _LENGTH.search(head)
    return length is None or len(body) >= int(length[1])


@contextmanager
def scripted_origin() -> Iterator[ScriptedOrigin]:
    """It listens until the end."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        origin = ScriptedOrigin(listener.getsockname()[1])

        def accept() -> None:
            with suppress(OSError):  # it is closed
                while True:
                    origin.serve(listener.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield origin
        finally:
            listener.shutdown(socket.SHUT_RDWR)
