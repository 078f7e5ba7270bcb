"""
How many connections there may be at once.

Before a listener accepts one more than that, the oldest idle ones are closed, a few at a time; only if nobody is idle does the
listener rest (L{twisted_pipe.net.port}). Idle is a connection that was accepted, for which nothing has happened and no byte
has moved for a second, and that has nothing to send.

Source: nginx C{worker_connections} and C{ngx_drain_connections()}.
"""

from __future__ import annotations

from errno import EMFILE
from typing import Any

from twisted.logger import Logger

from twisted_pipe.net.loop import EventLoop, edge_sockets

__all__ = ["IDLE", "NoRoom", "WorkerConnections"]

IDLE = 1.0  #: seconds without an event after which a connection may be closed to make room
_AT_ONCE = 32  # closed for one that comes, at most: looking for them is the dear part

_log = Logger()


class NoRoom(OSError):
    """There are as many connections as there may be, and nobody is idle."""


class WorkerConnections:
    """
    @ivar limit: descriptors that the reactor may watch at once (clients, upstreams, listeners), 0 for no limit.
    """

    def __init__(self, loop: EventLoop, limit: int = 0) -> None:
        self.limit = limit
        self._loop = loop
        self._told = False

    def __repr__(self) -> str:
        return f"<WorkerConnections {len(self._loop.table)} of {self.limit or 'any number'}>"

    def make(self) -> None:
        """
        Room for one more, if need be by closing idle connections.

        @raise NoRoom: nobody is idle.
        """
        loop = self._loop
        if not self.limit or len(loop.table) < self.limit:
            return
        if not self._told:
            self._told = True
            _log.warn("{limit} worker_connections are not enough: idle ones are closed for new ones", limit=self.limit)
        idle = [(active, edge) for edge in edge_sockets(loop) if (active := _last_active(edge)) <= loop.now - IDLE]
        idle.sort(key=_first)
        for _, edge in idle[: max(1, min(_AT_ONCE, len(idle) // 8))]:
            loop.drained += 1
            edge.transport.loseConnection()
        if not idle:
            raise NoRoom(EMFILE, f"{self.limit} worker_connections are not enough, and none is idle")


def _first(pair: tuple[float, Any]) -> float:
    return pair[0]


def _last_active(edge: Any) -> float:
    """When it last had something to do; never, for what must not be closed."""
    transport = edge.transport
    if not (transport.connected and getattr(transport, "accepted", False)) or edge.writing or edge.posted:
        return float("inf")
    active: float = edge.active
    for mover in (edge.relay, edge.feeder, edge.reader, edge.writer):
        # who moves nothing, as most owners of a half, has no such time
        active = max(active, getattr(mover, "last_progress", active))
    return active
