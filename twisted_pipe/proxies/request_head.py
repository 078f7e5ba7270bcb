"""The head that a server gets of a client's request."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from twisted_pipe.http.forwarding import without
from twisted_pipe.http.message import Framing, RequestHead
from twisted_pipe.http.target import BadTarget, check_host, replace_prefix
from twisted_pipe.proxies.head_changes import change_request
from twisted_pipe.proxies.http_settings import ProxyTo, Route

if TYPE_CHECKING:
    from twisted_pipe.proxies.upstream_side import UpstreamSide
    from twisted_pipe.upstream.group import UpstreamServer

__all__ = ["request_head"]

_OF_UPGRADE = frozenset({b"connection", b"upgrade"})  # a route may set them, as is done for nginx


def request_head(exchange: UpstreamSide, route: Route, server: UpstreamServer) -> bytes:
    """
    The request of C{exchange} as C{server} gets it by C{route}, with its empty line.

    What follows the first line of one without a body is remembered in its head: the client's next one is likely to have the same.
    """
    request: RequestHead = exchange.head
    settings = route.settings
    forwarder = exchange.client.forwarder(settings)
    named = request.host_value
    if route.plain and named and request.framing is Framing.NONE and exchange.body is None and not exchange.upgrade:
        request.forwarded_by, request.forwarded = route, forwarder.block(request)
        return b"%b %b HTTP/1.1\r\n%b" % (request.method, request.origin_target, request.forwarded)
    lines = forwarder.lines(request)
    host = named if named and settings.pass_host else _host_of(server)
    target = request.origin_target
    filtered = exchange.filtered
    retargeted = filtered is not None and filtered.retargeted
    apart = target == b"*" != route.prefix  # from all paths: OPTIONS of the whole server, by the route of "/"
    if isinstance(route.action, ProxyTo) and route.action.uri is not None and not (retargeted or apart):
        target = replace_prefix(target, route.prefix, route.action.uri)
    if settings.request_headers:
        host, lines = change_request(host, lines, settings.request_headers, exchange)
    if exchange.body is not None:
        lines = [*lines, exchange.body.framing_line]
    elif request.framing is Framing.LENGTH:
        lines = [*lines, b"Content-Length: 0"]
    if exchange.upgrade:
        lines = [*without(lines, _OF_UPGRADE), b"Connection: Upgrade", b"Upgrade: " + b", ".join(exchange.upgrade)]
    first = b"%b %b HTTP/1.1" % (request.method, target)
    return b"\r\n".join([first, b"Host: " + host, *lines, b"", b""])


@functools.lru_cache(maxsize=1024)
def _host_of(server: UpstreamServer) -> bytes:
    """A server's own C{Host}: its name, if it is one, else its address; C{localhost} if it has none (nginx: UNIX sockets)."""
    name = server.name.removeprefix("tcp:").encode()
    if server.name.startswith("unix:"):
        return b"localhost"
    try:
        if check_host(name):
            return name
    except BadTarget:
        pass  # an endpoint string of another kind
    if isinstance(server.address, tuple):
        host, port = server.address[:2]
        return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode()
    return b"localhost"
