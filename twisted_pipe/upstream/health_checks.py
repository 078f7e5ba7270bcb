"""The servers of one group, checked while the service runs."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from twisted_pipe.interfaces import IHealthCheckFactory
from twisted_pipe.upstream.group import UpstreamGroup
from twisted_pipe.upstream.peer import Peer, PeerState
from twisted_pipe.upstream.peer_check import CheckStatistics, PeerCheck

__all__ = ["HealthChecks"]


class HealthChecks:
    """
    Tells a group which of its servers are healthy. Servers that are added later are checked as well, those that are removed no
    more.

    @ivar group: the group. Servers that its configuration calls down are not checked.
    """

    def __init__(
        self,
        group: UpstreamGroup,
        factory: IHealthCheckFactory,
        connect: Callable[[Any], Deferred[Any]],
        clock: Any,
        random: Callable[[], float] = random.random,
    ) -> None:
        """
        @param connect: as L{IHealthCheckFactory.build} wants it.
        @param clock: an C{IReactorTime}.
        @param random: numbers from 0 to 1.
        """
        self.group = group
        self._check = factory.build(connect)
        self._schedule = factory.schedule
        self._clock = clock
        self._random = random
        self._checks: dict[Peer, PeerCheck] = {}
        self._running = False
        group.on_added(self._added)
        group.on_removed(self._removed)

    def start(self) -> None:
        """Begin."""
        self._running = True
        for peer in self.group.peers:
            self._added(peer)

    def stop(self) -> None:
        """Check nobody any more; what is under way is cancelled."""
        self._running = False
        for peer in list(self._checks):
            self._removed(peer)

    def statistics(self) -> tuple[CheckStatistics, ...]:
        """Their state now, in the order of the group."""
        return tuple(self._checks[peer].statistics() for peer in self.group.peers if peer in self._checks)

    def _added(self, peer: Peer) -> None:
        if not self._running or peer.server.down:
            return
        mark = partial(self.group.mark, peer)
        check = PeerCheck(peer.server, self._check, self._schedule, self._clock, self._random, mark)
        if peer.state is PeerState.UNHEALTHY:
            check.healthy = False  # it was so when the checks were stopped
        self._checks[peer] = check
        check.start()

    def _removed(self, peer: Peer) -> None:
        check = self._checks.pop(peer, None)
        if check is not None:
            check.stop()
