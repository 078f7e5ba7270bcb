"""
One name that is kept looked up.

::

    NEW ──▶ KNOWN ◀──▶ PARTLY KNOWN
      ╲       ▲ ╲          ▲ │
       ╲      │  ▼         │ ▼
        ───▶ UNKNOWN: what was known before stays; asked again after 1, 2, 4 … 60 s

A line is logged when it becomes another one of these, and when it stands for other servers.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_pipe.errors import NotResolved
from twisted_pipe.interfaces import IUpstreamResolver
from twisted_pipe.plugin.declared import one_line
from twisted_pipe.upstream.resolution import Bounds, FoundServer, Resolution

__all__ = ["NameState", "NameStatistics", "NameWatch"]

_log = Logger()

_FIRST_DELAY = 1.0  # seconds, doubled at each failure
_LONGEST_DELAY = 60.0
_SHOWN = 8  # servers in a line of the log


class NameState(enum.Enum):
    """What is known of a name."""

    NEW = "not looked up yet"
    KNOWN = "known"
    PARTLY_KNOWN = "partly known"  #: of a part of the answer what was known before stays
    UNKNOWN = "cannot be looked up"  #: what was known before stays

    def __str__(self) -> str:
        return self.value


@attrs.frozen(kw_only=True)
class NameStatistics:
    """
    @ivar address: as the configuration wrote it.
    @ivar state: what is known of it.
    @ivar problem: what it is that cannot be had; empty for nothing.
    @ivar servers: for which it stands.
    @ivar lookups: how often it was looked up.
    @ivar failures: how many of these look-ups failed.
    """

    address: str
    state: NameState
    problem: str
    servers: tuple[str, ...]
    lookups: int
    failures: int


class NameWatch:
    """
    @ivar address: as the configuration wrote it.
    @ivar state: what is known of it.
    @ivar found: the servers for which it stands, as far as that is known.
    @ivar problem: why not everything is known; empty if it is.
    """

    def __init__(
        self,
        group: str,
        address: str,
        resolver: IUpstreamResolver,
        bounds: Bounds,
        clock: Any,
        changed: Callable[[], object],
    ) -> None:
        """
        @param group: its name, for logs.
        @param clock: an C{IReactorTime}.
        @param changed: called when anything of what is known has become something else, and after the first look-up since L{start}.
        """
        self.address = address
        self.state = NameState.NEW
        self.found: tuple[FoundServer, ...] = ()
        self.problem = ""
        self._name = f"upstream {group}: {address}" if group else address
        self._resolver = resolver
        self._bounds = bounds
        self._clock = clock
        self._changed = changed
        self._asking: Deferred[Any] | None = None
        self._timer: Any = None
        self._in_a_row = 0
        self._lookups = self._failures = 0

    def __repr__(self) -> str:
        return f"<NameWatch {self.address} {self.state}, {len(self.found)} servers>"

    def start(self) -> None:
        """Look it up now, and again whenever that is due. What was known when it was stopped stays until then."""
        self.state, self.problem = NameState.NEW, ""
        self._look_up()

    def _look_up(self) -> None:
        self._timer = None
        self._lookups += 1
        asking = self._asking = maybeDeferred(self._resolver.resolve, self.address)
        asking.addTimeout(self._bounds.timeout, self._clock, _too_late)
        asking.addCallback(self._bounds.applied)
        asking.addCallbacks(self._told, self._not_told)
        asking.addErrback(lambda failure: _log.failure("{name}", failure, name=self._name))

    def stop(self) -> None:
        """Nothing is asked any more. What is known stays."""
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def statistics(self) -> NameStatistics:
        """Its state now."""
        return NameStatistics(
            address=self.address,
            state=self.state,
            problem=self.problem,
            servers=tuple(each.address for each in self.found),
            lookups=self._lookups,
            failures=self._failures,
        )

    def _told(self, resolution: Resolution) -> None:
        if self._asking is None:
            return  # stopped
        self._in_a_row = 0
        self._asked_again_in(resolution.valid)
        state = NameState.PARTLY_KNOWN if resolution.problem else NameState.KNOWN
        self._become(state, resolution.problem, resolution.found)

    def _not_told(self, failure: Failure) -> None:
        if self._asking is None:
            return  # stopped
        self._failures += 1
        self._in_a_row += 1
        self._asked_again_in(min(_FIRST_DELAY * 2 ** min(self._in_a_row - 1, 10), _LONGEST_DELAY))
        error: Any = failure.value
        why = str(error) if isinstance(error, NotResolved) else one_line(error)
        self._become(NameState.UNKNOWN, why, self.found)

    def _asked_again_in(self, seconds: float | None) -> None:
        self._asking = None
        if seconds is not None:
            self._timer = self._clock.callLater(seconds, self._look_up)

    def _become(self, state: NameState, problem: str, found: tuple[FoundServer, ...]) -> None:
        was, before = (self.state, self.problem), self.found
        self.state, self.problem, self.found = state, problem, found
        if state is not was[0]:
            self._say(was[0], before)
        if found != before:
            gone = [each for each in before if each not in found]
            _log.info(
                "{name}: {count}{added}{removed}",
                name=self._name,
                count=_counted(found),
                added=_listed("; added", [each for each in found if each not in before]),
                removed=_listed("; removed", gone),
            )
        if found != before or (state, problem) != was:
            self._changed()

    def _say(self, was: NameState, before: tuple[FoundServer, ...]) -> None:
        """Its state is another one."""
        state = self.state
        if state is NameState.KNOWN and not (self.found or before):
            _log.error("{name}: stands for no server", name=self._name)
        elif state is NameState.KNOWN:
            if was is not NameState.NEW:
                _log.info("{name}: can be looked up again", name=self._name)
        elif state is NameState.PARTLY_KNOWN:
            _log.warn("{name}: is known in part only: {problem}", name=self._name, problem=self.problem)
        else:
            kept = f"stays with {_counted(self.found)}" if self.found else "no server is known"
            _log.error(
                "{name}: cannot be looked up, {kept}: {problem}", name=self._name, kept=kept, problem=self.problem
            )


def _counted(found: Sequence[FoundServer]) -> str:
    return "1 server" if len(found) == 1 else f"{len(found)} servers"


def _listed(what: str, servers: Sequence[FoundServer]) -> str:
    if not servers:
        return ""
    shown = ", ".join(each.address for each in servers[:_SHOWN])
    return f"{what} {shown}" + (f" and {len(servers) - _SHOWN} more" if len(servers) > _SHOWN else "")


def _too_late(result: Any, timeout: float) -> Any:
    raise NotResolved(f"no answer within {timeout:g} s")
