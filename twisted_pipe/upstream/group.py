"""A group of servers that stand for one upstream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.interfaces import IUpstreamBalancerFactory
from twisted_pipe.upstream.balancer import BalancerPlugin

__all__ = ["ROUND_ROBIN", "UpstreamGroup", "UpstreamServer"]

ROUND_ROBIN = BalancerPlugin(
    "round-robin", "One server after the other.", "twisted_pipe.upstream.round_robin:RoundRobin"
)


@attrs.frozen
class UpstreamServer:
    """
    @ivar name: how the configuration wrote it; for logs.
    @ivar endpoint: an C{IStreamClientEndpoint}.
    @ivar address: the same as a socket address, if nothing but a socket is needed to connect to it: (IPv4, port), (IPv6, port, 0,
        scope), or a path; else None.
    """

    name: str
    endpoint: Any = attrs.field(repr=False)
    address: Any = attrs.field(default=None, repr=False)


class UpstreamGroup:
    """
    One server or more, among which a balancer chooses.

    @ivar servers: in the order of the configuration.
    """

    def __init__(self, servers: Sequence[UpstreamServer], balancer: IUpstreamBalancerFactory = ROUND_ROBIN) -> None:
        """
        @raise BadConfiguration: there is no server.
        """
        if not servers:
            raise BadConfiguration("upstream", "", "at least one server is needed")
        self.servers = tuple(servers)
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
