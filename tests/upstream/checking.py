"""Connections of health checks in the memory of a test."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from twisted_pipe.errors import CheckFailed
from twisted_pipe.interfaces import IHealthCheckStream

__all__ = ["FakeConnector", "FakeStream"]


@implementer(IHealthCheckStream)
@attrs.define(eq=False)
class FakeStream:
    """
    @ivar sent: what the check has sent.
    @ivar open: whether it is not closed yet.
    """

    sent: bytes = b""
    open: bool = True
    _come: list[bytes | CheckFailed] = attrs.field(factory=list, init=False)
    _waiting: Deferred[bytes] | None = attrs.field(default=None, init=False)

    def send(self, data: bytes) -> None:
        self.sent += data

    def receive(self) -> Deferred[bytes]:
        waiting: Deferred[bytes] = Deferred(self._given_up)
        self._waiting = waiting
        self._give()
        return waiting

    def close(self) -> None:
        assert self.open
        self.open = False

    # the server's side

    def say(self, *data: bytes | CheckFailed) -> None:
        """Send pieces; C{b""} is the end, an error breaks it off."""
        self._come += data
        self._give()

    @property
    def reads(self) -> bool:
        """Whether more is wanted."""
        return self._waiting is not None

    def _give(self) -> None:
        while self._come and self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            piece = self._come.pop(0)
            if isinstance(piece, bytes):
                waiting.callback(piece)
            else:
                waiting.errback(piece)

    def _given_up(self, _: object) -> None:
        self._waiting = None


@attrs.define(eq=False)
class FakeConnector:
    """
    @ivar asked: the servers that were connected to.
    @ivar streams: the connections.
    """

    asked: list[str] = attrs.field(factory=list)
    streams: list[FakeStream] = attrs.field(factory=list)

    def __call__(self, server: Any) -> Deferred[FakeStream]:
        self.asked.append(server.name)
        self.streams.append(FakeStream())
        return succeed(self.streams[-1])
