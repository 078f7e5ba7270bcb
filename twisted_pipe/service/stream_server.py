"""A server that passes connections on as they are, or speaks what a plugin speaks."""

from __future__ import annotations

from typing import Any

import attrs

from twisted_pipe.interfaces import IPipeProtocolFactory
from twisted_pipe.net.spillfile import SpillDirectory
from twisted_pipe.proxies.context import ProxyContext
from twisted_pipe.proxies.protocol import TCP
from twisted_pipe.proxies.settings import ProxySettings
from twisted_pipe.service.configuration import ServiceParts
from twisted_pipe.service.describing import describe_limits, shown_time
from twisted_pipe.service.endpoints import Listener
from twisted_pipe.units import format_size
from twisted_pipe.upstream.group import UpstreamGroup

__all__ = ["StreamServer"]


@attrs.frozen(kw_only=True)
class StreamServer:
    """
    @ivar listeners: where clients connect. The demo has a place of its own if there is none.
    @ivar group: the upstream servers. None for the demo, which is its own upstream.
    @ivar settings: the filters, bounds and timeouts.
    @ivar protocol: what the listeners speak.
    """

    listeners: tuple[Listener, ...]
    group: UpstreamGroup | None
    settings: ProxySettings
    protocol: IPipeProtocolFactory = TCP

    @property
    def groups(self) -> tuple[UpstreamGroup, ...]:
        found = [self.group, *(route.group for route in self.settings.routes or ())]
        return tuple(group for group in found if group is not None)

    @property
    def spills(self) -> bool:
        return bool(self.settings.limits.file_size)

    def build(self, parts: ServiceParts) -> Any:
        assert self.group is not None
        return self.protocol.build(ProxyContext(self.group, self.settings, parts.spill, parts.reactor))

    def describe(self, spill: SpillDirectory) -> str:
        settings, limits, group = self.settings, self.settings.limits, self.group
        assert group is not None
        said = [f"passes {self.protocol.name} on to " + ", ".join(server.name for server in group.servers)]
        if len(group.servers) > 1:
            said.append(f"by {group.balancer}")
        if settings.routes is not None:
            servers = [server.name for route in settings.routes for server in route.group.servers]
            if servers:
                said.append("by what clients say of TLS to " + ", ".join(dict.fromkeys(servers)))
        for direction, filters in (
            ("filters", settings.response_filters),
            ("request filters", settings.request_filters),
        ):
            if filters:
                said.append(f"{direction} " + ", ".join(str(each.name) for each in filters))
        said += describe_limits(limits, spill)
        if settings.upload_rate:
            said.append(f"at most {format_size(settings.upload_rate)}/s from clients")
        timeouts = {
            "connect": settings.connect_timeout,
            "read": limits.read_timeout,
            "send": limits.send_timeout,
            "idle": settings.idle_timeout,
            "lingering": settings.lingering_timeout,
        }
        said.append("timeouts: " + ", ".join(f"{name} {shown_time(seconds)}" for name, seconds in timeouts.items()))
        return "; ".join(said)
