"""
A group of servers and the idle connections to them, kept alive between requests.

Idle ones are taken again newest first, so that the oldest run into their timeout or are closed for new ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from twisted_pipe.http.facts import ExchangeFacts
from twisted_pipe.http.template import Template
from twisted_pipe.net.deadline import Deadline
from twisted_pipe.preface.proxy_header import Version
from twisted_pipe.proxies.upstream_connection import UpstreamConnection, UpstreamUser
from twisted_pipe.upstream.group import UpstreamGroup
from twisted_pipe.upstream.peer import Peer, PeerState

__all__ = ["HttpUpstream", "HttpUpstreamStatistics", "KeepaliveSettings"]


@attrs.frozen(kw_only=True)
class KeepaliveSettings:
    """
    @ivar connections: how many idle ones are kept, for all servers of the group together (nginx C{keepalive}); 0 for none.
    @ivar timeout: seconds one may be idle (nginx C{keepalive_timeout}); 0 for ever.
    @ivar requests: how many one may carry (nginx C{keepalive_requests}).
    @ivar time: seconds one may be used (nginx C{keepalive_time}); 0 for ever.
    """

    connections: int = 32
    timeout: float = 60.0
    requests: int = 1000
    time: float = 3600.0


@attrs.define
class HttpUpstreamStatistics:
    """
    @ivar opened: connections made.
    @ivar reused: requests sent on one that had carried others.
    @ivar failed: connections that could not be made.
    @ivar idle: connections idle now.
    @ivar evicted: idle ones closed because there were too many.
    @ivar lost: idle ones that the server closed.
    """

    opened: int = 0
    reused: int = 0
    failed: int = 0
    idle: int = 0
    evicted: int = 0
    lost: int = 0


class HttpUpstream:
    """
    A group of servers and the idle connections to them.

    @ivar group: the servers.
    @ivar keepalive: how many are kept, and for how long.
    @ivar clock: the reactor.
    @ivar takes_sockets: whether it is an C{epollet} reactor.
    @ivar counted: see L{HttpUpstreamStatistics}.
    @ivar proxy_protocol: the version of the PROXY header that connections begin with; None for none.
    @ivar key_of: makes of an exchange what the group's balancer wants to know of it; None if that is nothing.
    """

    def __init__(self, group: UpstreamGroup, clock: Any, keepalive: KeepaliveSettings = KeepaliveSettings()) -> None:
        """
        @raise BadConfiguration: the balancer wants to know a variable that does not exist.
        """
        self.group = group
        self.clock = clock
        self.key_of: Callable[[ExchangeFacts], bytes] | None = None
        if group.key:
            self.key_of = Template.compile(f"balancer {group.balancer}: key", group.key).render
        self.proxy_protocol: Version | None = group.connect.proxy_protocol
        self.keepalive = keepalive
        self.takes_sockets = hasattr(clock, "add_edge")
        self.counted = HttpUpstreamStatistics()
        self.pick, self.release = group.pick, group.release
        self._most_idle = keepalive.connections
        self._idle: dict[UpstreamConnection, float] = {}  # since when; the oldest first
        self._stacks: dict[Peer, list[UpstreamConnection]] = {}
        self._deadline = Deadline(clock, keepalive.timeout, self._close_expired)
        group.on_removed(self._close_idle)

    def __repr__(self) -> str:
        return f"<HttpUpstream {self.group!r} idle={len(self._idle)}>"

    def statistics(self) -> HttpUpstreamStatistics:
        """The counters since the start."""
        return attrs.evolve(self.counted, idle=len(self._idle))

    def connection(self, peer: Peer, user: UpstreamUser, fresh: bool = False) -> UpstreamConnection:
        """
        A connection to C{peer} for C{user}: an idle one, which is C{open}, or a new one, for which C{connect} is to be called.

        @param fresh: not an idle one: the last of these has just failed.
        """
        stack = self._stacks.get(peer)
        if stack is None:
            stack = []
            if peer.state is not PeerState.REMOVED:  # of which nothing is kept, and nobody tells again
                self._stacks[peer] = stack
        while stack:
            found = stack.pop()
            del self._idle[found]
            if fresh or found.useless:
                self.counted.lost += not fresh
                found.close()
                continue
            found.user = user
            self.counted.reused += 1
            return found
        return UpstreamConnection(self, peer, user, stack)

    def prefaced_connection(
        self, peer: Peer, user: UpstreamUser, preface: bytes, fresh: bool = False
    ) -> UpstreamConnection:
        """
        As L{connection}, one that has begun, or will begin, with the PROXY header C{preface}. It carries requests of nobody else:
        what that says of the client holds as long as it lives.
        """
        for found in [each for each in reversed(self._idle) if each.peer is peer and each.preface == preface]:
            self.forget(found)
            if fresh or found.useless:
                self.counted.lost += not fresh
                found.close()
                continue
            found.user = user
            self.counted.reused += 1
            return found
        return UpstreamConnection(self, peer, user, [], preface)

    def give_back(self, connection: UpstreamConnection, now: float) -> None:
        """An exchange is over, and its connection can carry another: keep it if there is room."""
        connection.user = None
        source = connection.source
        if (
            connection.requests >= self.keepalive.requests
            or now >= connection.good_until
            or connection.peer.state is PeerState.REMOVED
            or (source is None and connection.wire.readable)  # it has ended, or said something behind the response
        ):
            connection.close()
            return
        idle = self._idle
        if len(idle) >= self._most_idle and not self._make_room():
            connection.close()
            return
        idle[connection] = now
        connection.stack.append(connection)
        if not self._deadline.running:
            self._deadline.restart(now)
        if source is not None and source.readable:
            # the last read took all that it asked for: there may be more, or nothing. Not now: the response may still be lent
            source.reactor.loop.post(source)

    def _make_room(self) -> bool:
        """Close the connection that has been idle for longest; False if none may be idle."""
        if not self._idle:
            return False
        oldest = next(iter(self._idle))
        self.forget(oldest)
        self.counted.evicted += 1
        oldest.close()
        return True

    def forget(self, connection: UpstreamConnection) -> None:
        """It is not idle any more."""
        if self._idle.pop(connection, None) is not None:
            connection.stack.remove(connection)

    def close(self) -> None:
        """The service stops: close every idle connection, and let nobody wait for a server."""
        self._deadline.cancel()
        self.group.stop()
        for connection in list(self._idle):
            self.forget(connection)
            connection.close()

    def _close_idle(self, peer: Peer) -> None:
        """C{peer} is not of the group any more."""
        self._stacks.pop(peer, None)
        for connection in [each for each in self._idle if each.peer is peer]:
            self.forget(connection)
            connection.close()

    def _close_expired(self) -> None:
        now = self.clock.seconds()
        for connection, since in list(self._idle.items()):
            if now - since < self.keepalive.timeout:
                self._deadline.restart(since)
                return
            self.forget(connection)
            connection.close()
