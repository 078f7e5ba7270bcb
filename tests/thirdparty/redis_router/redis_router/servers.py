"""What all clients together know of a server."""

from __future__ import annotations

import attrs

from twisted_pipe.upstream.group import UpstreamServer

__all__ = ["Server", "ServerStatistics"]


@attrs.frozen(kw_only=True)
class ServerStatistics:
    """
    @ivar name: how the configuration wrote it.
    @ivar commands: passed on to it.
    @ivar connections: to it, now.
    @ivar connect_failures: how often it could not be reached.
    @ivar losses: connections that were lost while replies were awaited.
    """

    name: str
    commands: int
    connections: int
    connect_failures: int
    losses: int


@attrs.define(eq=False)
class Server:
    """
    One of the group.

    @ivar upstream: how to connect to it.
    """

    upstream: UpstreamServer
    commands: int = 0
    connections: int = 0
    connect_failures: int = 0
    losses: int = 0
    _problem: str = ""
    _rests_until: float = 0.0

    @property
    def name(self) -> str:
        return self.upstream.name

    def failed(self, problem: str, rests_until: float) -> None:
        """It could not be reached, and is not to be tried again before C{rests_until}."""
        self.connect_failures += 1
        self._problem = problem
        self._rests_until = rests_until

    def problem(self, now: float) -> str:
        """Why not to try connecting to it, empty if there is no reason."""
        return self._problem if now < self._rests_until else ""

    def statistics(self) -> ServerStatistics:
        return ServerStatistics(
            name=self.name,
            commands=self.commands,
            connections=self.connections,
            connect_failures=self.connect_failures,
            losses=self.losses,
        )
