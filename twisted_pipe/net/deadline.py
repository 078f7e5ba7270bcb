"""
A timeout that is moved far more often than it expires.

Restarting it stores one number. A single delayed call looks, when it fires, whether the deadline has moved meanwhile, and goes
back to sleep for the rest: the byte path never touches the reactor's heap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Deadline"]


class Deadline:
    """
    @ivar seconds: how long, from the last L{restart}.
    """

    __slots__ = ("_at", "_call", "_clock", "_expired", "seconds")

    def __init__(self, clock: Any, seconds: float, expired: Callable[[], object]) -> None:
        """
        @param clock: an C{IReactorTime}.
        @param seconds: 0 for a deadline that never comes.
        @param expired: called once each time it comes.
        """
        self.seconds = seconds
        self._clock = clock
        self._expired = expired
        self._at: float | None = None
        self._call: Any = None

    @property
    def running(self) -> bool:
        return self._at is not None

    def restart(self, now: float) -> None:
        """It comes C{seconds} after C{now}, unless moved again; C{now} may lie in the past."""
        if self.seconds:
            self._at = now + self.seconds
            if self._call is None:
                self._call = self._clock.callLater(max(0.0, self._at - self._clock.seconds()), self._look)

    def stop(self) -> None:
        """It does not come. The delayed call finds out by itself."""
        self._at = None

    def cancel(self) -> None:
        """Stop it and leave nothing behind in the reactor."""
        self._at = None
        if self._call is not None:
            call, self._call = self._call, None
            call.cancel()

    def _look(self) -> None:
        self._call = None
        if self._at is None:
            return
        left = self._at - self._clock.seconds()
        if left > 0:
            self._call = self._clock.callLater(left, self._look)
        else:
            self._at = None
            self._expired()
