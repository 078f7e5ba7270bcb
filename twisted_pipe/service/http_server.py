"""A server that speaks HTTP: the virtual servers of one or more listeners."""

from __future__ import annotations

from typing import Any

import attrs

from twisted_pipe.http.routing import SiteTable
from twisted_pipe.net.spillfile import SpillDirectory
from twisted_pipe.proxies.http import AccessLog, HttpProxy
from twisted_pipe.proxies.http_settings import ClientSettings, Site
from twisted_pipe.service.access_log import AccessLogPlace
from twisted_pipe.service.configuration import ServiceParts
from twisted_pipe.service.endpoints import Listener
from twisted_pipe.upstream.group import UpstreamGroup

__all__ = ["HttpServer"]


@attrs.frozen(kw_only=True)
class HttpServer:
    """
    @ivar listeners: where clients connect.
    @ivar sites: what a request's host chooses among.
    @ivar client: what clients may do to their connections.
    @ivar purpose: what is done with requests, for the log.
    @ivar logs: where requests are logged, of all sites together.
    @ivar spills: whether anything may be written to disk.
    """

    listeners: tuple[Listener, ...]
    sites: SiteTable[Site]
    client: ClientSettings
    purpose: str
    logs: tuple[AccessLogPlace, ...] = ()
    spills: bool = True

    @property
    def groups(self) -> tuple[UpstreamGroup, ...]:
        """None: they are the C{HttpUpstream}s' of the configuration."""
        return ()

    def build(self, parts: ServiceParts) -> Any:
        def open_log(place: AccessLogPlace) -> AccessLog:
            return AccessLog(place.form, parts.logs.open(place))

        for place in self.logs:
            open_log(place)  # one that cannot be is told now, and not when the first request is logged
        return HttpProxy(self.sites, parts.reactor, parts.spill, self.client, open_log=open_log)

    def describe(self, spill: SpillDirectory) -> str:
        return f"{self.purpose}; spill in {spill.path}" if self.spills else f"{self.purpose}; no spill"
