"""A group of servers that stand for one upstream, taken in turn."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import attrs

from twisted_pipe.errors import BadConfiguration

__all__ = ["UpstreamGroup", "UpstreamServer"]


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
    Round robin over one server or more.

    @raise BadConfiguration: there is none.
    """

    def __init__(self, servers: Sequence[UpstreamServer]) -> None:
        if not servers:
            raise BadConfiguration("upstream", "", "at least one server is needed")
        self.servers = tuple(servers)
        self._turn = cycle(self.servers)

    def __repr__(self) -> str:
        return f"<UpstreamGroup {', '.join(server.name for server in self.servers)}>"

    def next(self) -> UpstreamServer:
        """The server for the next connection."""
        return next(self._turn)
