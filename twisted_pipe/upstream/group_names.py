"""The names of one group, kept looked up while the service runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Union

import attrs

from twisted_pipe.interfaces import IUpstreamResolver
from twisted_pipe.upstream.group import UpstreamGroup
from twisted_pipe.upstream.name_watch import NameState, NameStatistics, NameWatch
from twisted_pipe.upstream.resolution import Bounds, FoundServer
from twisted_pipe.upstream.server import UpstreamServer

__all__ = ["GroupNames", "NamedServers"]


@attrs.frozen
class NamedServers:
    """
    A place in a group's configuration whose servers the resolver finds.

    @ivar address: the name, as the resolver takes it.
    @ivar make: makes a server of what was found.
    """

    address: str
    make: Callable[[FoundServer], UpstreamServer]


@attrs.frozen
class _Named:
    watch: NameWatch
    make: Callable[[FoundServer], UpstreamServer]

    def servers(self) -> Iterator[UpstreamServer]:
        return map(self.make, self.watch.found)


class GroupNames:
    """
    Replaces a group's servers when its names stand for others.

    Until each name was looked up once, or one of them has given a server, the group expects servers: who asks for one waits.

    @ivar group: the group, which begins empty if all of its servers have names.
    """

    def __init__(
        self,
        group: UpstreamGroup,
        servers: Sequence[Union[UpstreamServer, NamedServers]],
        resolver: IUpstreamResolver,
        bounds: Bounds,
        clock: Any,
    ) -> None:
        """
        @param servers: in the order of the configuration.
        @param resolver: looks all names up.
        @param bounds: of its answers.
        @param clock: an C{IReactorTime}.
        """
        self.group = group
        self._places: list[UpstreamServer | _Named] = [
            _Named(NameWatch(group.name, each.address, resolver, bounds, clock, self._changed), each.make)
            if isinstance(each, NamedServers)
            else each
            for each in servers
        ]
        self._found = [name.found for name in self.names]  # of which the group's servers were made

    @property
    def names(self) -> list[NameWatch]:
        """What is looked up."""
        return [each.watch for each in self._places if isinstance(each, _Named)]

    def start(self) -> None:
        """Look all names up, and again whenever that is due."""
        self.group.expect(not self._has_server)
        for name in self.names:
            name.start()

    def stop(self) -> None:
        """Ask no more; queries that are under way are cancelled. The group keeps its servers; nobody waits for others."""
        for name in self.names:
            name.stop()
        self.group.expect(False, self._why())

    def statistics(self) -> tuple[NameStatistics, ...]:
        """Their state now."""
        return tuple(name.statistics() for name in self.names)

    def _changed(self) -> None:
        """Something else is known of a name, or it was looked up for the first time."""
        found = [name.found for name in self.names]
        if found != self._found:
            self._found = found
            servers: list[UpstreamServer] = []
            for place in self._places:
                servers += place.servers() if isinstance(place, _Named) else [place]
            self.group.replace(servers)
        new = any(name.state is NameState.NEW for name in self.names)
        self.group.expect(new and not self._has_server, self._why())

    @property
    def _has_server(self) -> bool:
        """Whether any may be asked, as far as the configuration is concerned."""
        return any(not server.down for server in self.group.servers)

    def _why(self) -> str:
        """Why there is no server, if there is none."""
        said = [f"{name.address} {name.state}: {name.problem}" for name in self.names if name.problem]
        return "; ".join(said) or f"{', '.join(name.address for name in self.names)} stands for no server"
