"""What the service is to do, once every option has been understood."""

from __future__ import annotations

import attrs

from twisted_pipe.interfaces import IPipeProtocolFactory, IUpstreamBalancerFactory
from twisted_pipe.net.spillfile import SpillDirectory
from twisted_pipe.proxies.protocol import TCP
from twisted_pipe.proxies.settings import ProxySettings
from twisted_pipe.service.endpoints import Listener
from twisted_pipe.service.pidfile import PidFile
from twisted_pipe.units import format_duration, format_size
from twisted_pipe.upstream.group import ROUND_ROBIN, UpstreamServer

__all__ = ["PipeConfiguration"]


@attrs.frozen(kw_only=True)
class PipeConfiguration:
    """
    A checked configuration.

    @ivar listeners: where clients connect. The demo has a place of its own if there is none.
    @ivar servers: the upstream servers. None for the demo, which is its own upstream.
    @ivar settings: the filters, bounds and timeouts.
    @ivar spill: where what waits for slow clients is written.
    @ivar protocol: what the listeners speak.
    @ivar balancer: what chooses among the servers.
    @ivar pid_file: written once every listener is bound; None for none.
    @ivar worker_connections: connections above which idle ones are closed for new ones, 0 for no limit.
    @ivar debug_events: whether to log what the engine does.
    @ivar demo: whether to run the demonstration.
    """

    listeners: tuple[Listener, ...]
    servers: tuple[UpstreamServer, ...]
    settings: ProxySettings
    spill: SpillDirectory
    protocol: IPipeProtocolFactory = TCP
    balancer: IUpstreamBalancerFactory = ROUND_ROBIN
    pid_file: PidFile | None = None
    worker_connections: int = 0
    debug_events: bool = False
    demo: bool = False

    def describe(self) -> str:
        """What is done with a connection, for the log."""
        settings, limits = self.settings, self.settings.limits
        said = [f"passes {self.protocol.name} on to " + ", ".join(server.name for server in self.servers)]
        if len(self.servers) > 1:
            said.append(f"by {self.balancer.name}")
        for direction, filters in (
            ("filters", settings.response_filters),
            ("request filters", settings.request_filters),
        ):
            if filters:
                said.append(f"{direction} " + ", ".join(str(each.name) for each in filters))
        if limits.buffering:
            said.append(f"{limits.buffers} buffers of {format_size(limits.buffer_size)}")
            said.append(f"busy size {format_size(limits.busy_size)}")
            spills = (
                f"spill up to {format_size(limits.file_size)} in {self.spill.path}" if limits.file_size else "no spill"
            )
            said.append(spills)
        else:
            said.append(f"no buffering: one buffer of {format_size(limits.buffer_size)}")
        if limits.limit_rate:
            said.append(f"at most {format_size(limits.limit_rate)}/s")
        if settings.upload_rate:
            said.append(f"at most {format_size(settings.upload_rate)}/s from clients")
        timeouts = {
            "connect": settings.connect_timeout,
            "read": limits.read_timeout,
            "send": limits.send_timeout,
            "idle": settings.idle_timeout,
            "lingering": settings.lingering_timeout,
        }
        said.append("timeouts: " + ", ".join(f"{name} {_time(seconds)}" for name, seconds in timeouts.items()))
        return "; ".join(said)


def _time(seconds: float) -> str:
    return format_duration(seconds) if seconds else "off"
