"""
Very short waits of many, with one delayed call for all of them: it looks every L{MOMENT}, while anybody waits.
"""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["MOMENT", "Moments", "Waiting"]

MOMENT = 0.005  #: seconds; a wait lasts from one to two of them


class Waiting(Protocol):
    """Who waits."""

    def moment_is_over(self) -> None:
        """It need not wait any longer."""


class Moments:
    """Who waits for a moment, and since when."""

    def __init__(self, clock: Any) -> None:
        """
        @param clock: an C{IReactorTime}.
        """
        self._clock = clock
        self._since: dict[Any, float] = {}  # the longest waits first
        self._call: Any = None

    def __repr__(self) -> str:
        return f"<Moments {len(self._since)} waiting>"

    def begin(self, waiting: Waiting, now: float) -> None:
        """C{waiting} waits, until L{end} or until it is told that its moment is over."""
        self._since[waiting] = now
        if self._call is None:
            self._call = self._clock.callLater(MOMENT, self._look)

    def end(self, waiting: Waiting) -> None:
        """It does not wait, or not any more."""
        self._since.pop(waiting, None)

    def stop(self) -> None:
        """Leave nothing behind in the reactor."""
        self._since.clear()
        if self._call is not None:
            call, self._call = self._call, None
            call.cancel()

    def _look(self) -> None:
        self._call = None
        latest = self._clock.seconds() - MOMENT
        over = [waiting for waiting, since in self._since.items() if since <= latest]
        for waiting in over:
            self._since.pop(waiting, None)
            waiting.moment_is_over()
        if self._since and self._call is None:
            self._call = self._clock.callLater(MOMENT, self._look)
