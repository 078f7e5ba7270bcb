"""Servers of a configuration file that pass connections on as they are."""

from __future__ import annotations

from twisted_pipe.limits import PipeLimits
from twisted_pipe.proxies.settings import ProxySettings
from twisted_pipe.service.config.addresses import Addresses
from twisted_pipe.service.config.layers import Layers, pipe_limits
from twisted_pipe.service.config.model import StreamDefaults, StreamServerTable
from twisted_pipe.service.config.problems import Skip
from twisted_pipe.service.config.upstreams import Upstreams
from twisted_pipe.service.protocols import parse_protocol
from twisted_pipe.service.stream_server import StreamServer

__all__ = ["STREAM_LIMITS", "stream_server"]

#: A session that nobody talks in is legitimate: idle_timeout ends it.
STREAM_LIMITS = PipeLimits(read_timeout=0.0)
_TAKEN = {name: name for name in ("connect_timeout", "idle_timeout", "lingering_timeout", "upload_rate")} | {
    "access_log": "log_sessions"
}


def stream_server(
    table: StreamServerTable, defaults: StreamDefaults, addresses: Addresses, upstreams: Upstreams
) -> StreamServer:
    """
    @raise Skip: anything of it is wrong; all of that has been reported.
    """
    problems = upstreams.problems
    layers = Layers((table, defaults))
    protocol = problems.attempt(problems.checked, (*table.where, "protocol"), parse_protocol, table.protocol)
    limits = problems.attempt(pipe_limits, layers, problems, "send_timeout", STREAM_LIMITS)
    group = None
    if table.proxy is not None:
        group = problems.attempt(upstreams.group, table.proxy, (*table.where, "proxy"))
    if protocol is None or limits is None or group is None:
        raise Skip
    settings = ProxySettings(
        limits=limits,
        response_filters=tuple(each.factory for each in layers.get("filters") or ()),
        request_filters=tuple(each.factory for each in layers.get("request_filters") or ()),
        **layers.fields(_TAKEN),
    )
    return StreamServer(listeners=addresses.of(table), group=group, settings=settings, protocol=protocol)
