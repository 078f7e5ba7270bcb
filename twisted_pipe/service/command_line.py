"""From the options of the command line to what the service does: one server, of the protocol that they name."""

from __future__ import annotations

import os
from typing import Any

import attrs
from twisted.python.usage import UsageError

from twisted_pipe.core.disk import SpillQuota
from twisted_pipe.errors import BadConfiguration
from twisted_pipe.net.diskthreads import DiskThreads
from twisted_pipe.net.spillfile import SpillDirectory
from twisted_pipe.proxies.protocol import PROTOCOLS, TCP
from twisted_pipe.proxies.settings import ProxySettings
from twisted_pipe.proxies.stream_variables import key_template
from twisted_pipe.service.configuration import PipeConfiguration
from twisted_pipe.service.endpoints import Listener, parse_listener, parse_upstream
from twisted_pipe.service.entrance_settings import HTTP_ALPN
from twisted_pipe.service.option_values import OptionValues
from twisted_pipe.service.pidfile import PidFile
from twisted_pipe.service.protocols import HTTP, parse_protocol
from twisted_pipe.service.quick_http import quick_http, upstream_url
from twisted_pipe.service.stream_server import StreamServer
from twisted_pipe.service.upstream_url import UpstreamUrl
from twisted_pipe.service.worker_connections import check_worker_connections
from twisted_pipe.tls.client import ClientTls
from twisted_pipe.upstream.balancer import BALANCERS
from twisted_pipe.upstream.connect_settings import ConnectSettings
from twisted_pipe.upstream.group import UpstreamGroup

__all__ = ["command_line", "debug_events", "pid_file"]


def command_line(options: Any, given: frozenset[str], reactor: Any) -> PipeConfiguration:
    """
    What the options say, checked.

    @param options: the text of each, and the defaults.
    @param given: the names of those that were given.
    @param reactor: which the endpoints are to use.
    @raise BadConfiguration: which option, which value, and what would be right.
    @raise UsageError: when one is missing.
    """
    values = OptionValues(options)
    is_http = options["protocol"] == HTTP
    settings = None if is_http else _stream_settings(values)
    spill = SpillDirectory(
        options["temp-path"] and os.path.abspath(options["temp-path"]),
        SpillQuota(values.size("spill-quota")),
        DiskThreads(reactor, values.count("temp-file-threads")),
    )
    _check_places(options, is_http)
    alpn = HTTP_ALPN if is_http else ()
    listeners = tuple(parse_listener(reactor, text, alpn=alpn) for text in options["listen"])
    configuration = PipeConfiguration(
        servers=(),
        spill=spill,
        pid_file=pid_file(options),
        debug_events=debug_events(options, reactor),
        worker_connections=check_worker_connections(
            "--worker-connections", values.count("worker-connections"), reactor
        ),
    )
    if settings is not None:
        server = _stream_server(values, listeners, settings, reactor)
        configuration = attrs.evolve(configuration, servers=(server,))
    else:
        http, upstream = quick_http(values, given, listeners, _group(values, 0, reactor), reactor)
        configuration = attrs.evolve(configuration, servers=(http,), upstreams=(upstream,))
    values.named(spill.check)
    return configuration


def debug_events(options: Any, reactor: Any) -> bool:
    """
    Whether to log what the engine does.

    @raise BadConfiguration: it is asked of another reactor than ours.
    """
    wanted = bool(options["debug-events"])
    if wanted and not hasattr(reactor, "loop"):
        raise BadConfiguration(
            "--debug-events", "", "must be left out on this reactor: only epollet can (twistd --reactor=epollet)"
        )
    return wanted


def pid_file(options: Any) -> PidFile | None:
    """
    The file that C{--pid-file} names.

    @raise BadConfiguration: there cannot be such a file.
    """
    if options["pid-file"] is None:
        return None
    file = PidFile(os.path.abspath(options["pid-file"]))
    file.check()
    return file


def _check_places(options: Any, is_http: bool) -> None:
    if options["demo"]:
        if options["upstream"]:
            raise BadConfiguration("--upstream", options["upstream"][0], "must be left out: --demo brings its own")
        if is_http:
            raise BadConfiguration("--protocol", HTTP, "must be left out: the demo looks at what TCP carries")
    elif not options["listen"]:
        raise UsageError(
            "--listen: missing: must say where clients connect, such as --listen 8080 (or --config FILE, or try --demo)"
        )
    elif not options["upstream"]:
        raise UsageError("--upstream: missing: must say where to pass them on to, such as --upstream 127.0.0.1:9000")


def _stream_settings(values: OptionValues) -> ProxySettings:
    limits = values.limits(read_timeout=0.0)
    filters, request_filters = values.filters("filter"), values.filters("request-filter")
    return values.named(
        lambda: ProxySettings(
            limits=limits,
            response_filters=filters,
            request_filters=request_filters,
            connect_timeout=values.time("connect-timeout"),
            idle_timeout=values.time("idle-timeout"),
            lingering_timeout=values.time("lingering-timeout"),
            upload_rate=values.size("upload-rate"),
            access_log=values.choice("access-log", "off", "on") == "on",
        )
    )


def _stream_server(
    values: OptionValues, listeners: tuple[Listener, ...], settings: ProxySettings, reactor: Any
) -> StreamServer:
    protocol = values.plugin(parse_protocol, PROTOCOLS.noun, "protocol", values.options["protocol"])
    group = _group(values, settings.connect_timeout, reactor)
    if group is not None and protocol.name == TCP.name:
        key_template(group, "--balancer")
    return StreamServer(listeners=listeners, group=group, settings=settings, protocol=protocol)


def _group(values: OptionValues, connect_timeout: float, reactor: Any) -> UpstreamGroup | None:
    """
    The upstream servers; None for the demo.

    @param connect_timeout: that is told to the endpoints, 0 for none.
    """
    options = values.options
    balancer = values.plugin(BALANCERS.parse, BALANCERS.noun, "balancer", options["balancer"])
    is_http = options["protocol"] == HTTP
    urls = [upstream_url(text) if is_http else UpstreamUrl(text) for text in options["upstream"]]
    servers = [parse_upstream(reactor, url.place, connect_timeout) for url in urls]
    for text, url in zip(options["upstream"], urls, strict=True):
        if url.tls is not urls[0].tls:
            raise BadConfiguration("--upstream", text, "must be http or https, as the others are")
    connect = ConnectSettings(tls=ClientTls()) if urls and urls[0].tls else ConnectSettings()
    return UpstreamGroup(servers, balancer, clock=reactor, connect=connect) if servers else None
