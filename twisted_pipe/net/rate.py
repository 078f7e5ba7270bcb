"""
The rate of one pipe: a L{Pacer}, the clock, and the delayed call that ends a pause.

It may be changed at any time, also from and to no limit. The first C{after} bytes are free (nginx C{limit_rate_after}).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted_pipe.core.pacing import Pacer

__all__ = ["NO_LIMIT", "RateLimit"]

NO_LIMIT = -1
_LEAST_DELAY = 0.001  # seconds


class RateLimit:
    """
    @ivar delayed: whether it forbids reading now; a delayed call ends that.
    """

    __slots__ = ("_after", "_call", "_clock", "_go_on", "_pacer", "delayed")

    def __init__(self, clock: Any, rate: int, after: int, go_on: Callable[[], object]) -> None:
        """
        @param clock: an C{IReactorTime}.
        @param rate: bytes a second, 0 for no limit.
        @param after: bytes that are free.
        @param go_on: called when reading is allowed again.
        """
        self._clock = clock
        self._after = after
        self._go_on = go_on
        self._call: Any = None
        self.delayed = False
        self._pacer = Pacer(rate, clock.seconds()) if rate else None

    @property
    def rate(self) -> int:
        """Bytes a second, 0 for no limit."""
        return 0 if self._pacer is None else self._pacer.rate

    @rate.setter
    def rate(self, rate: int) -> None:
        if not rate:
            self._pacer = None
        elif self._pacer is None:
            self._pacer = Pacer(rate, self._clock.seconds())
        else:
            self._pacer.change(rate, self._clock.seconds())
        if self.delayed:
            self.cancel()
            self._go_on()

    def budget(self, now: float, total: int) -> int:
        """
        How many bytes may be read at C{now}, L{NO_LIMIT} for any number; at 0 reading is delayed.

        @param total: bytes that were read so far.
        """
        pacer = self._pacer
        if pacer is None:
            return NO_LIMIT
        if total < self._after:
            return self._after - total
        budget = pacer.budget(now)
        if not budget:
            self.delayed = True
            self._call = self._clock.callLater(max(pacer.delay(now), _LEAST_DELAY), self._again)
        return budget

    def passed(self, count: int, total: int) -> None:
        """C{count} bytes were read, C{total} with them. What is more than the budget is made up for."""
        paid = min(count, total - self._after)
        if self._pacer is not None and paid > 0:
            self._pacer.passed(paid)

    def cancel(self) -> None:
        """Leave nothing behind in the reactor."""
        self.delayed = False
        if self._call is not None:
            call, self._call = self._call, None
            call.cancel()

    def _again(self) -> None:
        self._call = None
        self.delayed = False
        self._go_on()
