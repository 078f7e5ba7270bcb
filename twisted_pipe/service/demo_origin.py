"""
A small HTTP/1.1 server for the demonstration, with data of any size made up as it goes.

It is not a web server: it answers one request per connection, GET and HEAD only. In memory it holds one block per
connection, for it makes the next one only when the last one has gone (a pull producer).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import attrs
from twisted.internet.interfaces import IPullProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.units import format_duration, format_size, parse_size

__all__ = ["BLOCK", "Origin", "OriginProtocol", "Served", "lines", "noise"]

BLOCK = 64 * 1024
_LINE = b"%019d the quick brown fox jumps over the lazy dog\n"
_LINES = BLOCK // len(_LINE % 0)
_MAX_HEAD = 16 * 1024
_REQUEST = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([!-~]+) HTTP/1\.[0-9]", re.ASCII)
_DATA = re.compile(r"/(lines|bytes)/([^/]*)", re.IGNORECASE)

_WHAT_TO_TRY = """\
an origin that makes up data as it goes. try:

  /lines/1k     numbered lines of lower-case text, in all 1 kib
  /bytes/1m     1 mib of bytes at random, always the same ones
  /lines/100g   any size: a number of bytes, or with k, m or g
"""


def lines(index: int) -> bytes:
    """Block C{index} of the numbered lines: 1,024 lines of 64 bytes."""
    first = index * _LINES
    return b"".join([_LINE % number for number in range(first, first + _LINES)])


def noise(index: int) -> bytes:
    """Block C{index} of the random bytes: the same at every call."""
    return random.Random(index).randbytes(BLOCK)


_BLOCKS: dict[str, Callable[[int], bytes]] = {"lines": lines, "bytes": noise}
_TYPES = {"lines": "text/plain; charset=us-ascii", "bytes": "application/octet-stream"}


@attrs.frozen
class Served:
    """
    One connection that is over.

    @ivar path: what was asked for, empty if nothing was.
    @ivar sent: bytes of body that were handed to the connection.
    @ivar seconds: how long the connection was open.
    """

    path: str
    sent: int
    seconds: float


@implementer(IPullProducer)
class OriginProtocol(Protocol):
    """One request, one answer, and close."""

    transport: Any
    _log = Logger()

    def __init__(self, clock: Any, served: Callable[[Served], None]) -> None:
        self._clock = clock
        self._served = served
        self._head = b""
        self._answered = False
        self._path = ""
        self._opened = 0.0
        self._block: Callable[[int], bytes] = lines
        self._size = 0
        self._sent = 0

    def connectionMade(self) -> None:
        self._opened = self._clock.seconds()

    def dataReceived(self, data: bytes) -> None:
        if self._answered:
            return
        self._head += data
        head, end, _ = self._head.partition(b"\r\n\r\n")
        if end or len(self._head) > _MAX_HEAD:
            self._head = b""
            self._answered = True
            request = _REQUEST.fullmatch(head.split(b"\r\n", 1)[0]) if end else None
            if request is None:
                self._say(HTTPStatus.BAD_REQUEST, "this is no HTTP/1 request\n")
            else:
                self._path = request[2].decode("ascii")
                self._answer(request[1].decode("ascii"), self._path.partition("?")[0])

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._size = 0
        seconds = self._clock.seconds() - self._opened
        self._served(Served(self._path, self._sent, seconds))
        self._log.info(
            "demo origin: {path}: sent {sent}, connection closed after {seconds}",
            path=self._path or "no request",
            sent=format_size(self._sent),
            seconds=format_duration(seconds),
        )

    def resumeProducing(self) -> None:
        """The next block, or the end."""
        left = self._size - self._sent
        if left > 0:
            block = self._block(self._sent // BLOCK)[:left]
            self._sent += len(block)
            self.transport.write(block)
        else:
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def stopProducing(self) -> None:
        self._size = 0

    def _answer(self, method: str, path: str) -> None:
        bare = method == "HEAD"
        data = _DATA.fullmatch(path)
        if method not in ("GET", "HEAD"):
            self._say(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD\n", "Allow: GET, HEAD")
        elif path == "/":
            self._say(HTTPStatus.OK, _WHAT_TO_TRY, bare=bare)
        elif data is None:
            self._say(HTTPStatus.NOT_FOUND, "there is /, /lines/SIZE and /bytes/SIZE\n", bare=bare)
        else:
            self._make_up(data[1].lower(), data[2], bare)

    def _make_up(self, kind: str, text: str, bare: bool) -> None:
        try:
            size = parse_size("SIZE", text)
        except BadConfiguration as error:
            self._say(HTTPStatus.BAD_REQUEST, f"{error}\n", bare=bare)
            return
        self._block = _BLOCKS[kind]
        self._start(HTTPStatus.OK, size, _TYPES[kind])
        self._size = 0 if bare else size
        self.transport.registerProducer(self, False)

    def _say(self, status: HTTPStatus, text: str, *headers: str, bare: bool = False) -> None:
        body = text.encode("ascii", "backslashreplace")
        self._start(status, len(body), "text/plain; charset=us-ascii", *headers)
        if not bare:
            self._sent = len(body)
            self.transport.write(body)
        self.transport.loseConnection()

    def _start(self, status: HTTPStatus, length: int, content_type: str, *headers: str) -> None:
        head = [
            f"HTTP/1.1 {status.value} {status.phrase}",
            f"Content-Type: {content_type}",
            f"Content-Length: {length}",
            *headers,
            "Connection: close",
        ]
        self.transport.write("\r\n".join([*head, "", ""]).encode("ascii"))


class Origin(Factory):
    """
    The server.

    @ivar served: called with each connection that is over.
    """

    noisy = False

    def __init__(self, clock: Any, served: Callable[[Served], None]) -> None:
        self._clock = clock
        self.served = served

    def buildProtocol(self, address: Any) -> OriginProtocol:
        return OriginProtocol(self._clock, self.served)
