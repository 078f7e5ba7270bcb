"""
A server as its group knows it: what it has to do now, and how it is.

::

    UP ── failed too often ─▶ RESTING ── fail_timeout ─▶ TRIAL ── chosen ─▶ TRIED ── it went well ─▶ UP
                                 ▲                                            │
                                 └────────────── it failed ───────────────────┘

The health checks make of any of these UNHEALTHY, and UP of that again. DOWN is what the configuration says, REMOVED what the
resolver says of an address that the name has no more.
"""

from __future__ import annotations

import enum
import sys
from collections import deque
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from twisted_pipe.upstream.server import UpstreamServer

__all__ = ["FULL_SHARE", "Peer", "PeerState", "PeerStatistics"]

FULL_SHARE = 10  #: the tenths of its weight that a server has which is not slowly starting


class PeerState(enum.Enum):
    """How a server is."""

    UP = "up"  #: as far as is known
    RESTING = "resting"  #: it failed too often, and is left alone for C{fail_timeout}
    TRIAL = "on trial"  #: it has rested: one request may show how it is now
    TRIED = "being tried"  #: that request is under way
    UNHEALTHY = "unhealthy"  #: its health check says so
    DOWN = "down"  #: the configuration says so
    REMOVED = "removed"  #: it is not of the group any more, and finishes what it has

    def __str__(self) -> str:
        return self.value


_USABLE = frozenset({PeerState.UP, PeerState.TRIAL, PeerState.TRIED})


@attrs.frozen(kw_only=True)
class PeerStatistics:
    """
    @ivar name: of the server.
    @ivar state: how it is.
    @ivar active: connections or requests it has now.
    @ivar picked: how often it was chosen.
    @ivar failed: how many of these attempts failed.
    @ivar weight: as configured, a slow start taken into account.
    """

    name: str
    state: PeerState
    active: int
    picked: int
    failed: int
    weight: float


class Peer:
    """
    One server of one group. The group changes it; balancers read it.

    @ivar server: the configuration.
    @ivar name: of the server.
    @ivar active: connections or requests it has now.
    @ivar available: whether it may be chosen now: it is usable, not full, and not just being tried.
    @ivar limit: the group has to look after it when C{active} reaches that.
    @ivar state: how it is.
    @ivar share: tenths of its weight that count.
    @ivar suspect: it was out, and has not done anything well since.
    @ivar spared: its rest was cut short because no server was left, and it has not done anything well since.
    @ivar picked: how often it was chosen.
    @ivar failed: how many of these attempts failed.
    @ivar failures: when the last of them failed, at most C{max_fails}.
    @ivar timer: for the end of its rest, of a trial that nobody has told the end of, or the next step of its slow start.
    """

    __slots__ = (
        "active",
        "available",
        "failed",
        "failures",
        "limit",
        "name",
        "picked",
        "server",
        "share",
        "spared",
        "state",
        "suspect",
        "timer",
    )

    def __init__(self, server: UpstreamServer) -> None:
        self.active = self.picked = self.failed = 0
        self.share = FULL_SHARE
        self.suspect = self.spared = False
        self.timer: Any = None
        self.failures: deque[float] = deque()
        self.configure(server)
        self.become(PeerState.DOWN if server.down else PeerState.UP)

    def __repr__(self) -> str:
        return f"<Peer {self.name} {self.state} active={self.active}>"

    @property
    def usable(self) -> bool:
        """Whether it may be chosen when it has room."""
        return self.state in _USABLE

    @property
    def full(self) -> bool:
        """Whether it has as many connections as it may."""
        most = self.server.max_conns
        return bool(most) and self.active >= most

    @property
    def weight(self) -> int:
        """In tenths of the unit that the configuration uses, because of slow starts."""
        return self.server.weight * self.share

    def configure(self, server: UpstreamServer) -> None:
        """It is the same server, with other parameters; C{settle} is called next."""
        self.server = server
        self.name = server.name
        self.failures = deque(self.failures, maxlen=server.max_fails or 1)

    def become(self, state: PeerState) -> None:
        """From now on it is that."""
        self.state = state
        self.settle()

    def settle(self) -> None:
        """Conclude from everything else whether it may be chosen."""
        state = self.state
        self.limit = 1 if state is PeerState.TRIAL else self.server.max_conns or sys.maxsize
        self.available = state in (PeerState.UP, PeerState.TRIAL) and not self.full

    def stop_timer(self) -> None:
        """Whatever was to come, it comes no more."""
        timer, self.timer = self.timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def statistics(self) -> PeerStatistics:
        """Its state now."""
        return PeerStatistics(
            name=self.name,
            state=self.state,
            active=self.active,
            picked=self.picked,
            failed=self.failed,
            weight=self.weight / FULL_SHARE,
        )
