"""
One server that is checked.

C{fall} failures in a row make it unhealthy, C{rise} passed checks in a row healthy again. The group is told of changes only, and
logs them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_pipe.errors import CheckFailed, NotChecked, PipeError
from twisted_pipe.interfaces import IHealthCheck
from twisted_pipe.plugin.declared import one_line
from twisted_pipe.upstream.health_check import CheckSchedule, Initially
from twisted_pipe.upstream.server import UpstreamServer

__all__ = ["CheckStatistics", "PeerCheck"]

_log = Logger()


@attrs.frozen(kw_only=True)
class CheckStatistics:
    """
    @ivar server: its name.
    @ivar healthy: what it is taken for.
    @ivar checks: how often it was checked.
    @ivar failures: how many of these checks failed.
    @ivar in_a_row: how many of the last checks went as the last one did.
    @ivar why: why the last one failed, or could not be made; empty if neither.
    """

    server: str
    healthy: bool
    checks: int
    failures: int
    in_a_row: int
    why: str


class PeerCheck:
    """
    @ivar server: what is checked.
    @ivar healthy: what it is taken for.
    """

    def __init__(
        self,
        server: UpstreamServer,
        check: IHealthCheck,
        schedule: CheckSchedule,
        clock: Any,
        random: Callable[[], float],
        mark: Callable[[bool, str], object],
    ) -> None:
        """
        @param clock: an C{IReactorTime}.
        @param random: numbers from 0 to 1.
        @param mark: called when it has become healthy or unhealthy, with which, and why.
        """
        self.server = server
        self.healthy = schedule.initially is Initially.HEALTHY
        self._check = check
        self._schedule = schedule
        self._clock = clock
        self._random = random
        self._mark = mark
        self._checking: Deferred[Any] | None = None
        self._timer: Any = None
        self._passed = self._failed = 0  # in a row
        self._checks = self._failures = 0
        self._why = ""

    def __repr__(self) -> str:
        return f"<PeerCheck {self.server.name} {'healthy' if self.healthy else 'unhealthy'}>"

    def start(self) -> None:
        """Check it soon, and then again and again."""
        if not self.healthy:
            self._mark(False, "not checked yet")
        self._timer = self._clock.callLater(self._random() * self._schedule.jitter, self._begin)

    def stop(self) -> None:
        """A check that is under way is cancelled."""
        checking, self._checking = self._checking, None
        if checking is not None:
            checking.cancel()
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def statistics(self) -> CheckStatistics:
        """Its state now."""
        return CheckStatistics(
            server=self.server.name,
            healthy=self.healthy,
            checks=self._checks,
            failures=self._failures,
            in_a_row=self._passed or self._failed,
            why=self._why,
        )

    def _begin(self) -> None:
        self._timer = None
        self._checks += 1
        checking = self._checking = maybeDeferred(self._check.check, self.server)
        checking.addTimeout(self._schedule.timeout, self._clock, _too_late)
        checking.addCallbacks(self._well, self._unwell)
        checking.addErrback(lambda failure: _log.failure("check of {name}", failure, name=self.server.name))

    def _well(self, _: object) -> None:
        if self._checking is None:
            return  # stopped
        self._over()
        self._why = ""
        self._failed = 0
        self._passed += 1
        first = self._schedule.initially is Initially.UNHEALTHY and self._checks == 1 + self._failures
        if not self.healthy and (first or self._passed >= self._schedule.rise):
            self.healthy = True
            self._mark(
                True, "its check was passed" if self._passed == 1 else f"{self._passed} checks in a row were passed"
            )

    def _unwell(self, failure: Failure) -> None:
        if self._checking is None:
            return  # stopped
        self._over()
        error: Any = failure.value
        before, self._why = self._why, str(error) if isinstance(error, PipeError) else one_line(error)
        if isinstance(error, NotChecked):
            self._checks -= 1
            if self._why != before:
                self._say_not_checked()
            return
        self._failures += 1
        self._passed = 0
        self._failed += 1
        if self.healthy and self._failed >= self._schedule.fall:
            self.healthy = False
            self._mark(False, self._why)

    def _say_not_checked(self) -> None:
        stays = "healthy" if self.healthy else "unhealthy"
        _log.warn(
            "{name} cannot be checked, and stays {stays}: {why}", name=self.server.name, stays=stays, why=self._why
        )

    def _over(self) -> None:
        """The next check begins after the interval."""
        self._checking = None
        schedule = self._schedule
        self._timer = self._clock.callLater(schedule.interval + self._random() * schedule.jitter, self._begin)


def _too_late(result: Any, timeout: float) -> Any:
    raise CheckFailed(f"no answer within {timeout:g} s")
