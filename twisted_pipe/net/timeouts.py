"""
The timeouts of one pipe. None fires while the wait is the pipe's own doing.

===============  ================================================================================
read             runs while the upstream is silent and bytes that came would be taken
send             runs while something waits for a downstream that takes nothing
idle             runs from the last byte either way, unless a rate, a filter or the disk is waited for
total            runs from the start, whatever happens
===============  ================================================================================

Only numbers move on the byte path (L{twisted_pipe.net.deadline}).
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted_pipe.core.pipe import Pipe
from twisted_pipe.errors import PipeError, Side, TimedOut
from twisted_pipe.limits import PipeLimits
from twisted_pipe.net.deadline import Deadline

__all__ = ["Timed", "Timeouts"]


class Timed(Protocol):
    """The pipe, for its timeouts."""

    @property
    def last_progress(self) -> float:
        """When bytes last moved, in the clock's seconds, the fast path's too."""

    @property
    def last_relayed(self) -> float:
        """When bytes last went past it on the fast path."""

    def timed_out(self, error: TimedOut) -> None:
        """It did."""

    def abandon(self, error: PipeError) -> None:
        """End it."""


class Timeouts:
    """Of one pipe."""

    __slots__ = ("_clock", "_excused", "_idle", "_limits", "_owner", "_pipe", "_read", "_read_since", "_send", "_total")

    def __init__(self, pipe: Pipe, limits: PipeLimits, clock: Any, owner: Timed, now: float) -> None:
        self._pipe = pipe
        self._limits = limits
        self._clock = clock
        self._owner = owner
        self._read_since = now
        self._read = Deadline(clock, limits.read_timeout, self._read_expired)
        self._send = Deadline(clock, limits.send_timeout, self._send_expired)
        self._idle = Deadline(clock, limits.idle_timeout, self._idle_expired)
        self._total = Deadline(clock, limits.total_timeout, self._total_expired)
        self._excused = now

    def start(self, now: float) -> None:
        """The pipe begins."""
        self._idle.restart(now)
        self._total.restart(now)

    def excuse(self, now: float) -> None:
        """What ended at C{now} was a wait of the pipe's own doing."""
        self._excused = now

    def measure(self, now: float, reads: bool, came: bool, writes: bool, went: bool) -> None:
        """
        After a turn of the pipe.

        @param reads: whether the upstream is waited for.
        @param came: whether it sent something.
        @param writes: whether the downstream is waited for.
        @param went: whether it took something.
        """
        if came:
            self._read_since = now
        _measure(self._read, reads, came, now)
        _measure(self._send, writes, went, now)

    def cancel(self) -> None:
        """Leave nothing behind in the reactor."""
        for deadline in (self._read, self._send, self._idle, self._total):
            deadline.cancel()

    def _read_expired(self) -> None:
        moved = self._owner.last_relayed
        if moved > self._read_since:
            # bytes went past on the fast path, and nobody moved the deadline for them
            self._read_since = moved
            self._read.restart(moved)
        else:
            self._owner.timed_out(TimedOut(Side.UPSTREAM, "read timeout", self._limits.read_timeout))

    def _send_expired(self) -> None:
        self._owner.timed_out(TimedOut(Side.DOWNSTREAM, "send timeout", self._limits.send_timeout))

    def _idle_expired(self) -> None:
        pipe, now = self._pipe, self._clock.seconds()
        ours = pipe.delayed or pipe.waits_for_filter or pipe.writing_file
        since = now if ours else max(self._owner.last_progress, self._excused)
        if now < since + self._limits.idle_timeout:
            self._idle.restart(since)
        else:
            self._owner.abandon(TimedOut(Side.CALLER, "idle timeout", self._limits.idle_timeout))

    def _total_expired(self) -> None:
        self._owner.abandon(TimedOut(Side.CALLER, "total timeout", self._limits.total_timeout))


def _measure(deadline: Deadline, waiting: bool, progressed: bool, now: float) -> None:
    """It runs while its side is waited for, from its last progress."""
    if not waiting:
        deadline.stop()
    elif progressed or not deadline.running:
        deadline.restart(now)
