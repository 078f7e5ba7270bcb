"""Servers of a configuration file that pass connections on as they are."""

from __future__ import annotations

from collections.abc import Sequence

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.limits import PipeLimits
from twisted_pipe.preface.client_hello import ClientHelloParser
from twisted_pipe.proxies.protocol import TCP
from twisted_pipe.proxies.settings import ProxySettings
from twisted_pipe.proxies.stream_routes import StreamRoute, StreamRoutes
from twisted_pipe.proxies.stream_variables import key_template, wants_hello
from twisted_pipe.proxies.upstream_search import NextServer
from twisted_pipe.service.config.addresses import Addresses
from twisted_pipe.service.config.layers import Layers, pipe_limits
from twisted_pipe.service.config.model import StreamDefaults, StreamServerTable
from twisted_pipe.service.config.model_stream import StreamRouteTable
from twisted_pipe.service.config.problems import Problems, Skip
from twisted_pipe.service.config.upstreams import Upstreams
from twisted_pipe.service.protocols import parse_protocol
from twisted_pipe.service.stream_server import StreamServer
from twisted_pipe.upstream.group import UpstreamGroup

__all__ = ["STREAM_LIMITS", "stream_server"]

#: A session that nobody talks in is legitimate: idle_timeout ends it.
STREAM_LIMITS = PipeLimits(read_timeout=0.0)
_TAKEN = {name: name for name in ("connect_timeout", "idle_timeout", "lingering_timeout", "upload_rate")} | {
    "access_log": "log_sessions"
}
_NEXT_SERVER = {"tries": "next_upstream_tries", "timeout": "next_upstream_timeout"}
_PREREAD = {"timeout": "preread_timeout"}


def stream_server(
    table: StreamServerTable, defaults: StreamDefaults, addresses: Addresses, upstreams: Upstreams
) -> StreamServer:
    """
    Its listeners, and what they speak.

    @raise Skip: anything of it is wrong; all of that has been reported.
    """
    problems = upstreams.problems
    layers = Layers((table, defaults))
    protocol = problems.attempt(problems.checked, (*table.where, "protocol"), parse_protocol, table.protocol)
    limits = problems.attempt(pipe_limits, layers, problems, "send_timeout", STREAM_LIMITS)
    group = None
    if table.proxy is not None:
        group = problems.attempt(upstreams.group, table.proxy, (*table.where, "proxy"))
    listeners = problems.attempt(addresses.of, table, upstreams.tls)
    routes = [problems.attempt(_route, each, upstreams) for each in table.routes]
    if protocol is None or limits is None or group is None or listeners is None or None in routes:
        raise Skip
    if table.routes and protocol.name != TCP.name:
        problems.add((*table.where, "routes"), f"must be left out: they are for protocol = {TCP.name!r}")
    if protocol.name == TCP.name:
        for name in (table.proxy, *(each.proxy for each in table.routes)):
            _check_key(name or "", upstreams)
    looked_at = routes or (protocol.name == TCP.name and wants_hello(group.key))
    taken = [each for each in routes if each is not None]
    found = _stream_routes(table, layers, taken, problems) if looked_at else None
    settings = ProxySettings(
        limits=limits,
        response_filters=tuple(each.factory for each in layers.get("filters") or ()),
        request_filters=tuple(each.factory for each in layers.get("request_filters") or ()),
        next_server=NextServer(**layers.fields(_NEXT_SERVER)),
        routes=found,
        **layers.fields(_TAKEN),
    )
    return StreamServer(listeners=listeners, group=group, settings=settings, protocol=protocol)


def _check_key(proxy: str, upstreams: Upstreams) -> None:
    """
    @raise Skip: what the group's balancer wants to know of a connection is not to be had, which has been reported.
    """
    where = upstreams.place_of_key(proxy)
    group = upstreams.group(proxy, where)
    if group.key:
        upstreams.problems.checked(where, key_template, group)


def _route(table: StreamRouteTable, upstreams: Upstreams) -> StreamRoute:
    """
    @raise Skip: it is wrong, which has been reported.
    """
    problems = upstreams.problems
    wrong = not (table.names or table.alpn) and any(problems.given((*table.where, name)) for name in ("names", "alpn"))
    if table.proxy is None or wrong:
        raise Skip
    group = upstreams.group(table.proxy, (*table.where, "proxy"))
    alpn = tuple(name.encode() for name in table.alpn)
    return problems.checked(table.where, _made_route, group, tuple(table.names), alpn)


def _made_route(group: UpstreamGroup, names: tuple[str, ...], alpn: tuple[bytes, ...]) -> StreamRoute:
    return StreamRoute(group=group, names=names, alpn=alpn)


def _stream_routes(
    table: StreamServerTable, layers: Layers, routes: Sequence[StreamRoute], problems: Problems
) -> StreamRoutes:
    """
    What is done with what clients say of TLS.

    @param routes: none if only a balancer's key wants to know it.
    @raise Skip: they are wrong, which has been reported.
    """
    given = layers.fields(_PREREAD)
    size = layers.get("preread_size")
    if size is not None:
        given["parser"] = problems.checked(layers.where("preread_size"), ClientHelloParser, size)
    try:
        return StreamRoutes(routes, **given)
    except BadConfiguration as error:
        (*_, route) = (each for each in table.routes if error.value in each.names)
        problems.add((*route.where, "names"), error.expected)
        raise Skip from error
