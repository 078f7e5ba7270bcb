"""
The slow client of the demonstration: asks for much, stops reading for a while, then reads it all and checks every byte.

What it gets it compares with what the origin makes up, through the same filter, by two digests that grow side by side;
it holds no more of either than one block.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_pipe.service.demo_origin import BLOCK

__all__ = ["SlowClient", "Taken"]


@attrs.frozen
class Taken:
    """
    What a slow client got.

    @ivar received: bytes of body.
    @ivar right: whether these are the bytes it should have got so far.
    @ivar seconds: from the connection to its end.
    @ivar status: the first line of the answer, empty if there was none.
    """

    received: int
    right: bool
    seconds: float
    status: str


class SlowClient(Protocol):
    """One request, over HTTP/1.1."""

    transport: Any
    _log = Logger()

    def __init__(
        self,
        clock: Any,
        path: str,
        stall: float,
        expected: Callable[[int], bytes],
        done: Callable[[Taken], None],
    ) -> None:
        """
        @param path: what to ask for.
        @param stall: for how many seconds to read nothing, once the first bytes have come.
        @param expected: block C{n} of the right answer.
        @param done: called once, when the connection is over.
        """
        self._clock = clock
        self._path = path
        self._stall = stall
        self._expected = expected
        self._done = done
        self._opened = 0.0
        self._waiting: Any = None
        self._head: bytes | None = b""
        self._status = ""
        self._received = 0
        self._compared = 0
        self._is = hashlib.sha256()
        self._should_be = hashlib.sha256()

    def connectionMade(self) -> None:
        self._opened = self._clock.seconds()
        self.transport.write(f"GET {self._path} HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n".encode("ascii"))

    def dataReceived(self, data: bytes) -> None:
        if self._waiting is None:
            self.transport.pauseProducing()
            self._waiting = self._clock.callLater(self._stall, self._resume)
        if self._head is None:
            self._take(data)
            return
        head, end, body = (self._head + data).partition(b"\r\n\r\n")
        self._head = None if end else head
        if end:
            self._status = head.split(b"\r\n", 1)[0].decode("ascii", "replace")
            self._take(body)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._waiting is not None and self._waiting.active():
            self._waiting.cancel()
        self._compare(self._received)
        self._done(
            Taken(
                received=self._received,
                right=self._is.digest() == self._should_be.digest(),
                seconds=self._clock.seconds() - self._opened,
                status=self._status,
            )
        )

    def _resume(self) -> None:
        self._log.info("demo: the slow client reads on")
        self.transport.resumeProducing()

    def _take(self, body: bytes) -> None:
        self._received += len(body)
        self._is.update(body)
        self._compare(self._received - self._received % BLOCK)

    def _compare(self, end: int) -> None:
        """Make up what should have come, from where the last call stopped (whole blocks) to C{end}."""
        while self._compared < end:
            block = self._expected(self._compared // BLOCK)[: end - self._compared]
            self._should_be.update(block)
            self._compared += len(block)
