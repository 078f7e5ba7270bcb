"""
Threads for a disk that blocks.

A write to the page cache takes some 20 microseconds, handing it to a thread and back some 100: so writes are made in the reactor's
own thread, as nginx does by default. But a disk that cannot keep up makes writers wait, and with them every connection of
the process, which is where nginx's default hurts. So each write is timed. After one that took longer than L{SLOW} seconds, the
writes of the next L{REST} seconds go to threads; the first after that is tried again without. At most one write of each
pipe is under way, so what waits for a thread is bounded.

Source: nginx C{aio_write}; the measurement is in docs/explanation/performance.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

__all__ = ["REST", "SLOW", "DiskThreads"]

SLOW = 0.005  #: seconds of one write after which the disk counts as slow
REST = 2.0  #: seconds it counts as that


class DiskThreads:
    """
    @ivar count: how many threads at most; 0 for none, ever.
    @ivar writes: how many writes they have made.
    @ivar slow: how often a write was slow.
    """

    def __init__(self, reactor: Any, count: int, clock: Callable[[], float] = time.monotonic) -> None:
        """
        @param reactor: whose thread the results come back to.
        @param clock: seconds, for the time a write takes.
        """
        self.count = count
        self.writes = self.slow = 0
        self.clock = clock
        self._reactor = reactor
        self._until = 0.0
        self._pool: ThreadPool | None = None

    def __repr__(self) -> str:
        return f"<DiskThreads {self.count}, {self.writes} writes, {'' if self.wanted else 'not '}wanted>"

    @property
    def wanted(self) -> bool:
        """Whether the next write should go to a thread."""
        return self.count > 0 and self.clock() < self._until

    def took(self, seconds: float) -> None:
        """A write in the reactor's thread, or in one of ours, took so long."""
        if seconds > SLOW:
            self.slow += 1
            self._until = self.clock() + REST

    def run(self, function: Callable[..., int], *arguments: Any) -> Deferred[int]:
        """Call C{function} in a thread, or here if none can be started; fires in this one with what it returns or raises."""
        pool = self._pool
        if pool is None:
            pool = self._pool = ThreadPool(0, self.count, "twisted_pipe disk")
            pool.start()
        try:
            result = deferToThreadPool(self._reactor, pool, self._timed, function, *arguments)
        except RuntimeError:  # the user, or the container, has as many as there may be
            # those that were not started cannot be waited for
            pool.threads[:] = [each for each in pool.threads if each.ident is not None]
            return maybeDeferred(self._timed, function, *arguments)
        self.writes += 1
        return result

    def _timed(self, function: Callable[..., int], *arguments: Any) -> int:
        before = self.clock()
        try:
            return function(*arguments)
        finally:
            self._reactor.callFromThread(self.took, self.clock() - before)

    def stop(self) -> None:
        """Wait for the writes under way, and end the threads."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            pool.stop()
