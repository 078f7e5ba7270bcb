"""
Rates in bytes per second, without bursts.

A bucket fills at the rate and is emptied by what passes. It starts with one quantum (20 ms worth, at least a byte) and holds at
most a quarter of a second's worth: a timer that fires late loses nothing, an idle hour saves up nothing. nginx counts whole
seconds and lets a second's worth through at once; the long-run rate is the same.

Time is a parameter, in seconds; nothing here reads a clock.
"""

from __future__ import annotations

__all__ = ["Pacer"]

_QUANTUM = 0.02
_SAVED = 0.25


class Pacer:
    """
    @ivar rate: bytes per second, at least 1.
    """

    __slots__ = ("_level", "_then", "rate")

    def __init__(self, rate: int, now: float) -> None:
        self.rate = rate
        self._level = self._quantum
        self._then = now

    @property
    def _quantum(self) -> float:
        return max(1.0, self.rate * _QUANTUM)

    def change(self, rate: int, now: float) -> None:
        """Another rate from now on. What the old one had saved up is worth no more than a quantum of the new one."""
        self._fill(now)
        self.rate = rate
        self._level = min(self._level, self._quantum)

    def _fill(self, now: float) -> None:
        if now > self._then:
            most = max(self._quantum, self.rate * _SAVED)
            self._level = min(most, self._level + (now - self._then) * self.rate)
            self._then = now

    def budget(self, now: float) -> int:
        """How many bytes may pass now; 0 until at least a quantum may."""
        self._fill(now)
        # the tolerance takes up the rounding of the clock, so that a timer of delay() seconds never comes too early
        tolerance = max(1e-6, self.rate * 1e-6)  # a microsecond: seconds since 1970 are not told more exactly
        return max(1, int(self._level + 1e-6)) if self._level + tolerance >= self._quantum else 0

    def delay(self, now: float) -> float:
        """Seconds until the budget is not 0."""
        self._fill(now)
        return max(0.0, (self._quantum - self._level) / self.rate)

    def passed(self, count: int) -> None:
        """C{count} bytes went through. What is more than the budget has to be made up for before any others may."""
        self._level -= count
