"""A group of servers that stand for one upstream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.interfaces import IUpstreamBalancerFactory
from twisted_pipe.upstream.balancer import BalancerPlugin

__all__ = ["MAX_WEIGHT", "ROUND_ROBIN", "UpstreamGroup", "UpstreamServer"]

MAX_WEIGHT = 65535

ROUND_ROBIN = BalancerPlugin(
    "round-robin", "One server after the other, by weight.", "twisted_pipe.upstream.round_robin:RoundRobin"
)


@attrs.frozen
class UpstreamServer:
    """
    @ivar name: how the configuration wrote it; for logs.
    @ivar endpoint: an C{IStreamClientEndpoint}.
    @ivar address: the same as a socket address, if nothing but a socket is needed to connect to it: (IPv4, port), (IPv6, port, 0,
        scope), or a path; else None.
    @ivar weight: how many connections it gets beside another's one (nginx C{server … weight=}). Default 1.
    @raise BadConfiguration: C{weight} is not from 1 to 65535.
    """

    name: str
    endpoint: Any = attrs.field(repr=False)
    address: Any = attrs.field(default=None, repr=False)
    weight: int = attrs.field(default=1, repr=False)

    @weight.validator
    def _check_weight(self, field: attrs.Attribute[int], value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_WEIGHT:
            raise BadConfiguration("weight", value, f"must be a whole number from 1 to {MAX_WEIGHT}")


class UpstreamGroup:
    """
    One server or more, among which a balancer chooses.

    @ivar servers: in the order of the configuration.
    @ivar balancer: how they are chosen, for logs: the balancer's name.
    """

    def __init__(self, servers: Sequence[UpstreamServer], balancer: IUpstreamBalancerFactory = ROUND_ROBIN) -> None:
        """
        @raise BadConfiguration: there is no server.
        """
        if not servers:
            raise BadConfiguration("upstream", "", "at least one server is needed")
        self.servers = tuple(servers)
        self.balancer: str = balancer.name
        self._balancer = balancer.build(self.servers)

    def __repr__(self) -> str:
        return f"<UpstreamGroup {', '.join(server.name for server in self.servers)}>"

    def pick(self, key: bytes | None = None) -> UpstreamServer:
        """
        The server for the next connection. Whoever calls this calls L{release} once that connection is over.

        @param key: what the connection is about, for balancers that care.
        """
        server: UpstreamServer = self._balancer.pick(key)
        return server

    def release(self, server: UpstreamServer) -> None:
        """A connection to C{server} is over, or could not be made."""
        self._balancer.release(server)

    def statistics(self) -> Any:
        """What the balancer tells of itself."""
        return self._balancer.statistics()
