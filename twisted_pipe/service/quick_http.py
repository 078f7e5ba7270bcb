"""C{--protocol http}: HTTP from the command line, one route for everything. A configuration file can say more."""

from __future__ import annotations

import os
from typing import Any

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.http.body_filters import FilterUse
from twisted_pipe.http.log_format import log_format
from twisted_pipe.http.routing import RouteTable, SiteTable
from twisted_pipe.proxies.http_settings import ClientSettings, HttpSettings, ProxyTo, Route, Site
from twisted_pipe.proxies.http_upstream import HttpUpstream
from twisted_pipe.service.access_log import STANDARD, AccessLogPlace, check_log_path
from twisted_pipe.service.endpoints import Listener
from twisted_pipe.service.http_server import HttpServer
from twisted_pipe.service.option_values import OptionValues
from twisted_pipe.service.upstream_url import UpstreamUrl, split_url
from twisted_pipe.upstream.group import UpstreamGroup

__all__ = ["quick_http", "upstream_url"]

_READ_TIMEOUT = HttpSettings().limits.read_timeout


def upstream_url(text: str) -> UpstreamUrl:
    """
    What C{--upstream http://HOST:PORT} says.

    @raise BadConfiguration: it is no such URL, or has a path.
    """
    try:
        url = split_url(text)
    except ValueError as error:
        raise BadConfiguration("--upstream", text, str(error)) from error
    if url.uri not in (None, "/"):
        raise BadConfiguration("--upstream", text, "must have no path: what replaces one is said in a file (--config)")
    return url


def quick_http(
    values: OptionValues,
    given: frozenset[str],
    listeners: tuple[Listener, ...],
    group: UpstreamGroup | None,
    reactor: Any,
) -> tuple[HttpServer, HttpUpstream]:
    """
    The server, and what it passes requests on to.

    @param given: the names of the options that were given.
    @raise BadConfiguration: one is wrong, or means nothing here.
    """
    assert group is not None
    if "idle-timeout" in given:
        raise BadConfiguration(
            "--idle-timeout", values.options["idle-timeout"], "must be left out: it is for tcp; http has --read-timeout"
        )
    logs = _logs(values)
    upstream = HttpUpstream(group, reactor)
    settings = _settings(values, logs)
    route = Route(action=ProxyTo(upstream=upstream), settings=settings, prefix=b"/")
    site = Site(name="", routes=RouteTable(prefixes={b"/": route}), settings=settings)
    servers = ", ".join(server.name for server in group.servers)
    server = HttpServer(
        listeners=listeners,
        sites=SiteTable([((), site)]),
        client=ClientSettings(lingering_timeout=values.time("lingering-timeout")),
        purpose=f"passes http on to {servers}" + f" by {group.balancer}" * (len(group.servers) > 1),
        logs=logs,
        spills=bool(settings.limits.file_size),
    )
    return server, upstream


def _settings(values: OptionValues, logs: tuple[AccessLogPlace, ...]) -> HttpSettings:
    limits = values.limits(_READ_TIMEOUT)
    rate = values.size("upload-rate")
    return HttpSettings(
        limits=limits,
        request_limits=attrs.evolve(limits, limit_rate=rate, limit_rate_after=0, read_timeout=0.0),
        connect_timeout=values.time("connect-timeout"),
        send_timeout=values.time("send-timeout"),
        response_filters=tuple(FilterUse(factory=each) for each in values.filters("filter")),
        request_filters=tuple(FilterUse(factory=each) for each in values.filters("request-filter")),
        logs=logs,
    )


def _logs(values: OptionValues) -> tuple[AccessLogPlace, ...]:
    text: str = values.options["access-log"]
    if text == "off":
        return ()
    path = "stdout" if text == "on" else text if text in STANDARD else os.path.abspath(text)
    if not text:
        raise BadConfiguration("--access-log", text, "must be off, on or a file")
    try:
        check_log_path(path)
    except BadConfiguration as error:
        raise BadConfiguration("--access-log", text, error.expected) from error
    return (AccessLogPlace(path, log_format("combined"), "--access-log"),)
