"""Who waits for a server when all of them have as many connections as they may (nginx C{queue})."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail

from twisted_pipe.errors import BadConfiguration, NoServer
from twisted_pipe.upstream.peer import Peer

__all__ = ["QueueSettings", "Waiter", "WaitingLine"]


@attrs.frozen(kw_only=True)
class QueueSettings:
    """
    The queue of a group whose servers have C{max_conns} (nginx C{queue NUMBER timeout=TIME}, which has none by default).

    @ivar size: how many may wait at one time; 0 for none. Default 1024.
    @ivar timeout: seconds one may wait; 0 for ever. Default 60.
    @raise BadConfiguration: either is negative.
    """

    size: int = 1024
    timeout: float = 60.0

    def __attrs_post_init__(self) -> None:
        for name, value in (("queue", self.size), ("queue_timeout", self.timeout)):
            if value < 0:
                raise BadConfiguration(name, value, "must be 0 or more")


@attrs.define(eq=False)
class Waiter:
    """
    @ivar key: what its connection is about.
    @ivar tried: the servers that it does not want.
    @ivar until: when it has waited for too long, in the clock's seconds.
    @ivar waiting: fires with its server.
    """

    key: bytes | None
    tried: Collection[Peer]
    until: float
    waiting: Deferred[Peer]


class WaitingLine:
    """First come, first served; those who give up (cancel their Deferred) leave at once."""

    def __init__(self, clock: Any, settings: QueueSettings) -> None:
        """
        @param clock: an C{IReactorTime}.
        """
        self._clock = clock
        self._settings = settings
        self._waiters: dict[Waiter, None] = {}  # in the order of their coming, and of their timeouts
        self._timer: Any = None

    def __len__(self) -> int:
        return len(self._waiters)

    def join(self, key: bytes | None, tried: Collection[Peer]) -> Deferred[Peer]:
        """
        Wait.

        @return: fires with a server; fails with L{NoServer} at once if the queue is full, and after its timeout.
        """
        settings = self._settings
        if len(self._waiters) >= settings.size:
            return fail(NoServer(f"all servers are busy, and {settings.size} wait already"))
        waiter: Waiter
        waiting: Deferred[Peer] = Deferred(lambda _: self._leave(waiter))
        waiter = Waiter(key, tried, self._clock.seconds() + settings.timeout, waiting)
        self._waiters[waiter] = None
        self._watch()
        return waiting

    def serve_one(self, pick: Callable[[bytes | None, Collection[Peer]], Peer | None]) -> bool:
        """Give the first for whom C{pick} finds a server that server; False if there is no such one."""
        for waiter in self._waiters:
            peer = pick(waiter.key, waiter.tried)
            if peer is not None:
                break
        else:
            return False
        self._leave(waiter)
        waiter.waiting.callback(peer)
        return True

    def refuse(self, reason: str, hopeless: Callable[[Waiter], bool]) -> None:
        """Those for whom there is no hope wait no more."""
        for waiter in [each for each in self._waiters if hopeless(each)]:
            self._fail(waiter, reason)

    def _leave(self, waiter: Waiter) -> None:
        self._waiters.pop(waiter, None)
        if not self._waiters:
            self._stop_timer()

    def _fail(self, waiter: Waiter, reason: str) -> None:
        if waiter in self._waiters:
            self._leave(waiter)
            waiter.waiting.errback(NoServer(reason))

    # one timer, for the first

    def _watch(self) -> None:
        if self._settings.timeout and self._timer is None and self._waiters:
            first = next(iter(self._waiters))
            self._timer = self._clock.callLater(max(0.0, first.until - self._clock.seconds()), self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        reason = f"all servers were busy for {self._settings.timeout:g} s"
        for waiter in list(self._waiters):
            if waiter.until > now:
                break
            self._fail(waiter, reason)
        self._watch()

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
