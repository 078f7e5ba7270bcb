"""
A rate limit on one direction of one connection.

Every slice has a moment at which it is due, one slice's time after that of the slice before; until then the filter waits.
Moments are whole numbers, milliseconds times C{rate}, in which one byte takes 1000: nothing is rounded but the waiting
itself, and as the next moment is counted from the last moment and not from when the timer fired, what one wait is too long
the next is shorter. So the long-run rate is exact.

A pause (no data, or nobody to take it) makes the filter fall behind its moments. It may catch up C{burst} bytes of that, and
what its own timer was late, for a busy reactor must not lower the rate. Both are bounded, and so is the wait, because the
reactor's clock is the wall clock and may jump.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs
from twisted.internet.task import deferLater

from twisted_pipe.filters.base import PipeFilter, at_least, option
from twisted_pipe.interfaces import FilterGenerator, FilterOutput
from twisted_pipe.units import parse_size

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

__all__ = ["Throttle"]

_BYTE = 1000
_SLICE_MS = 50
_LATE_MS = 1000


@attrs.define
class Throttle(PipeFilter):
    """
    Passes on at most C{rate} bytes a second, in slices of at most 50 ms' worth (one byte at least).

    In any C{t} seconds it passes on at most C{burst + rate * t} bytes and one slice; more only to make up for a timer that
    fired late, and never more than a second's worth of that.

    @ivar rate: bytes per second; has to be given.
    @ivar burst: bytes that may go at once at the start and after a pause. Default 0.
    """

    any_coding: ClassVar[bool] = True
    keeps_bytes: ClassVar[bool] = True

    rate: int = option(at_least(1, parse_size), help="the most to pass on, such as 100k", unit="bytes/s")
    burst: int = option(parse_size, default=0, help="what may go at once at the start and after a pause", unit="bytes")
    _due: int = attrs.field(default=0, init=False)
    _late: int = attrs.field(default=0, init=False)
    _delay: Deferred[None] | None = attrs.field(default=None, init=False)

    def started(self) -> FilterOutput:
        self._due = self._now() - self.burst * _BYTE
        return ()

    def received(self, data: memoryview) -> FilterGenerator:
        size = self._slice
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            wait = self._wait()
            if wait > 0:
                self._delay = deferLater(self.context.clock, wait / 1000)
                yield self._delay
            self._due += len(piece) * _BYTE
            self._late = self._now() - self._due
            yield piece

    def stopped(self, reason: BaseException | None) -> None:
        if self._delay is not None and not self._delay.called:
            self._delay.cancel()
            self._delay.addErrback(lambda cancelled: None)

    @property
    def _slice(self) -> int:
        return max(self.rate * _SLICE_MS // 1000, 1)

    def _now(self) -> int:
        milliseconds: int = round(self.context.clock.seconds() * 1000)
        return milliseconds * self.rate

    def _wait(self) -> int:
        """Milliseconds until the next slice is due, rounded up."""
        now = self._now()
        catch_up = max(self.burst * _BYTE, min(self._late, _LATE_MS * self.rate))
        self._due = min(max(self._due, now - catch_up), now + self._slice * _BYTE)
        return -((now - self._due) // self.rate)
