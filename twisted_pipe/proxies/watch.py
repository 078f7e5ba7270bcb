"""
The timeouts of many sessions, with one delayed call for all of them.

A session says when it is due at the earliest; moving bytes moves that, and touches nothing here. Every period, a quarter of the
shortest timeout, all are asked, and those due before the next period get a delayed call of their own: so a timeout is exact, and
arming or re-arming one costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

__all__ = ["Watch", "Watched"]

_EARLY = 0.001  # seconds
_LONGEST, _SHORTEST = 15.0, 0.02  # seconds of a period
NEVER = float("inf")


class Watched(Protocol):
    """A session."""

    def due(self) -> float:
        """When something is to be done at the earliest, in the clock's seconds; C{NEVER} for nothing."""

    def expire(self) -> None:
        """It is due, or was: look what is to be done now."""


class Watch:
    """
    @ivar period: seconds between two looks.
    """

    def __init__(self, clock: Any, timeouts: Iterable[float], members: Iterable[Any]) -> None:
        """
        @param clock: an C{IReactorTime}.
        @param timeouts: seconds of every timeout there is; 0 for one that is off.
        @param members: the L{Watched}; looked at anew each time.
        """
        self._clock = clock
        self._members = members
        self._call: Any = None
        self._exact: dict[Any, Any] = {}
        self.period = max(min([_LONGEST, *(timeout / 4 for timeout in timeouts if timeout)]), _SHORTEST)

    def start(self) -> None:
        """Someone is to be watched. It stops by itself when there is nobody."""
        if self._call is None:
            self._call = self._clock.callLater(self.period, self._look)

    def stop(self) -> None:
        """Leave nothing behind in the reactor."""
        calls, self._exact = list(self._exact.values()), {}
        if self._call is not None:
            calls.append(self._call)
            self._call = None
        for call in calls:
            call.cancel()

    def forget(self, member: Watched) -> None:
        """C{member} is over."""
        if self._exact:
            call = self._exact.pop(member, None)
            if call is not None:
                call.cancel()

    def _look(self) -> None:
        self._call = None
        now = self._clock.seconds()
        horizon = now + self.period
        members = list(self._members)
        for member in members:
            if member.due() < horizon and member not in self._exact:
                self._arm(member, now)
        if members:
            self.start()

    def _arm(self, member: Watched, now: float) -> None:
        self._exact[member] = self._clock.callLater(max(member.due() - now, 0.0), self._expire, member)

    def _expire(self, member: Watched) -> None:
        del self._exact[member]
        now = self._clock.seconds()
        if now < member.due() < now + _EARLY:  # a call that came a rounding error too early
            self._arm(member, now)
        else:
            member.expire()
