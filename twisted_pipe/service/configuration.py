"""What the service is to do, once every option, or the whole configuration file, has been understood."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import attrs

from twisted_pipe.net.spillfile import SpillDirectory
from twisted_pipe.service.access_log import LogFiles
from twisted_pipe.service.endpoints import Listener
from twisted_pipe.service.pidfile import PidFile
from twisted_pipe.upstream.group import UpstreamGroup

__all__ = ["Background", "PipeConfiguration", "ServerConfiguration", "ServiceParts"]


@attrs.frozen(kw_only=True)
class ServiceParts:
    """
    What the servers of a service share.

    @ivar reactor: the reactor.
    @ivar spill: where what waits for slow clients is written.
    @ivar logs: the files of the access logs.
    """

    reactor: Any
    spill: SpillDirectory
    logs: LogFiles


class Background(Protocol):
    """What goes on while the service runs, beside its connections."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End, with whatever is under way."""

    def statistics(self) -> Any:
        """Its state now."""


class ServerConfiguration(Protocol):
    """One protocol, and where its clients connect."""

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Where clients connect."""

    @property
    def groups(self) -> Sequence[UpstreamGroup]:
        """The groups of its own; L{PipeConfiguration.upstreams} are not."""

    @property
    def spills(self) -> bool:
        """Whether anything may be written to disk."""

    def describe(self, spill: SpillDirectory) -> str:
        """What is done with a connection, for the log."""

    def build(self, parts: ServiceParts) -> Any:
        """
        The C{IPipeProtocol} behind the listeners.

        @raise twisted_pipe.errors.BadConfiguration: a file that it needs cannot be opened.
        """


@attrs.frozen(kw_only=True)
class PipeConfiguration:
    """
    A checked configuration.

    @ivar servers: what is listened on, and what is spoken there.
    @ivar spill: where what waits for slow clients is written.
    @ivar pid_file: written once every listener is bound; None for none.
    @ivar worker_connections: connections above which idle ones are closed for new ones, 0 for no limit.
    @ivar debug_events: whether to log what the engine does.
    @ivar upstreams: the C{HttpUpstream}s of all servers; their idle connections are closed at the end.
    @ivar background: what looks names up and checks servers.
    @ivar tls: the C{ClientTls} of all upstreams.
    """

    servers: tuple[ServerConfiguration, ...]
    spill: SpillDirectory
    pid_file: PidFile | None = None
    worker_connections: int = 0
    debug_events: bool = False
    upstreams: tuple[Any, ...] = ()
    background: tuple[Background, ...] = ()
    tls: tuple[Any, ...] = ()

    @property
    def groups(self) -> tuple[UpstreamGroup, ...]:
        """Every group of servers."""
        own = [group for server in self.servers for group in server.groups]
        return tuple(dict.fromkeys([*own, *(each.group for each in self.upstreams)]))

    @property
    def all_tls(self) -> tuple[Any, ...]:
        """Every C{ServerTls} and C{ClientTls}: their files are loaded anew when they change."""
        listeners = [listener for server in self.servers for listener in server.listeners]
        servers = [each.entrance.tls for each in listeners if each.entrance.tls is not None]
        return tuple(dict.fromkeys([*servers, *self.tls]))
