"""
The shape of the configuration file.

Each class is a table of it, each field a key. C{None} says that a key is not given: then the table around it counts (route,
server, C{[defaults.*]}; a key given nearer wins whole), and at last the default, which stands in the key's description and is
that of the object it is made into (a test compares them).

Names are nginx's, without C{proxy_}; where nginx has the same name for the client's side, ours begins with C{client_}.
"""

# ruff: noqa: RUF009 (what key() makes is a field)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Union

import attrs

from twisted_pipe.service.config.filter_value import HttpFilter, MessageFilterGiven, StreamFilter
from twisted_pipe.service.config.keys import Table, key
from twisted_pipe.service.config.model_listen import ListenTable
from twisted_pipe.service.config.model_stream import StreamRouteTable
from twisted_pipe.service.config.model_tls import ServerTlsTable
from twisted_pipe.service.config.model_upstreams import UpstreamTable
from twisted_pipe.service.config.values import (
    Address,
    Body,
    BodyText,
    Buffers,
    Count,
    Duration,
    ErrorStatus,
    ExactPath,
    Flag,
    Forwarded,
    HeaderName,
    HeaderText,
    LineEnd,
    NextUpstreamWord,
    PageStatus,
    Pattern,
    PositiveCount,
    Protocol,
    RedirectStatus,
    RoutePath,
    ServerName,
    Size,
    Status,
    Text,
    UpgradeProtocol,
    UriPath,
)

__all__ = [
    "AccessLogTable",
    "AnswerTable",
    "ConfigurationFile",
    "DefaultsTable",
    "ErrorPageTable",
    "HttpDefaults",
    "HttpKeys",
    "HttpServerKeys",
    "HttpServerTable",
    "RedirectTable",
    "RequestHeadersTable",
    "ResponseHeadersTable",
    "RouteTable",
    "ServerTable",
    "StreamDefaults",
    "StreamKeys",
    "StreamServerTable",
]


@attrs.frozen(kw_only=True)
class PipeKeys(Table):
    """What bounds a pipe, whatever is spoken."""

    buffering: Flag | None = key(
        "read ahead of a slow client, into the buffers and then a temporary file; else hold one buffer",
        default="true",
        nginx="proxy_buffering",
    )
    buffers: Buffers | None = key(
        "how many buffers, and bytes of each, per direction; at least 2", default='"8 32k"', nginx="proxy_buffers"
    )
    busy_size: Size | None = key(
        "what may be on its way to a client at once; a buffer counts whole",
        default="all buffers but one",
        nginx="proxy_busy_buffers_size",
    )
    max_temp_file_size: Size | None = key(
        "what may wait on disk at one time; 0: never spill", default='"1g"', nginx="proxy_max_temp_file_size"
    )
    temp_file_write_size: Size | None = key(
        "one write to the temporary file", default="two buffers", nginx="proxy_temp_file_write_size"
    )
    limit_rate: Size | None = key(
        "what is read from an upstream, per connection; 0: no limit",
        default="0",
        nginx="proxy_limit_rate",
        unit="bytes/s",
    )
    limit_rate_after: Size | None = key(
        "what of each response comes before that limit begins", default="0", nginx="limit_rate_after"
    )
    upload_rate: Size | None = key(
        "what is read from a client, per connection; 0: no limit",
        default="0",
        nginx="proxy_upload_rate (stream)",
        unit="bytes/s",
    )
    connect_timeout: Duration | None = key(
        "for an upstream to accept a connection; 0: the system's", default='"60s"', nginx="proxy_connect_timeout"
    )


@attrs.frozen(kw_only=True)
class StreamKeys(PipeKeys):
    """What is done with a connection that is passed on as it is."""

    read_timeout: Duration | None = key(
        "the upstream may be silent while the pipe waits for it; 0: for ever, because a session that nobody talks in is "
        "legitimate",
        default="0",
    )
    send_timeout: Duration | None = key(
        "between two successful writes to a receiver that has bytes waiting; 0: for ever", default='"60s"'
    )
    idle_timeout: Duration | None = key(
        "no byte flows either way, then the session ends; 0: never",
        default='"10m"',
        nginx="proxy_timeout (stream)",
    )
    lingering_timeout: Duration | None = key(
        "a client may stay silent after the upstream has ended its side", default='"5s"'
    )
    next_upstream_tries: Count | None = key(
        "servers that are asked for a connection at most; 1: no other one; 0: each once",
        default="0",
        nginx="proxy_next_upstream_tries (stream)",
    )
    next_upstream_timeout: Duration | None = key(
        "since the first was asked, after which no other one is; 0: no limit",
        default="0",
        nginx="proxy_next_upstream_timeout (stream)",
    )
    preread_timeout: Duration | None = key(
        "with routes, or a balancer's key of `$ssl_preread_…`: for what a client says of TLS to be whole; 0: for ever",
        default='"30s"',
        nginx="preread_timeout",
    )
    preread_size: Size | None = key(
        "with routes, or a balancer's key of `$ssl_preread_…`: what a client says of TLS may have, at least 512",
        default='"16k"',
        nginx="preread_buffer_size",
    )
    filters: Sequence[StreamFilter] | None = key("on what clients get, in this order", default="none")
    request_filters: Sequence[StreamFilter] | None = key("on what the upstream gets, in this order", default="none")
    log_sessions: Flag | None = key(
        "a line in the log for each session that begins, and for each that ends well", default="false"
    )


@attrs.frozen(kw_only=True)
class RequestHeadersTable(Table):
    """Fields of a request's head, changed on its way to the upstream: removed first, then set, then added."""

    set: Mapping[HeaderName, HeaderText] = key(
        "replaces every field of that name; an empty value sends none", nginx="proxy_set_header", absent={}
    )
    add: Mapping[HeaderName, Sequence[HeaderText]] = key("adds a field, or one for each value", absent={})
    remove: Sequence[HeaderName] = key("removes every field of that name", absent=())


@attrs.frozen(kw_only=True)
class ResponseHeadersTable(Table):
    """Fields of a response's head, changed on its way to the client: removed first, then set, then added."""

    set: Mapping[HeaderName, HeaderText] = key(
        "replaces every field of that name; an empty value sends none", absent={}
    )
    add: Mapping[HeaderName, Sequence[HeaderText]] = key(
        "adds a field, or one for each value", nginx="add_header", absent={}
    )
    remove: Sequence[HeaderName] = key("removes every field of that name", nginx="proxy_hide_header", absent=())
    always: Flag | None = key(
        "add also to answers other than 200, 201, 204, 206, 301-304, 307 and 308",
        default="false",
        nginx="add_header … always",
    )


@attrs.frozen(kw_only=True)
class ErrorPageTable(Table):
    """What a client gets instead of our own page for some statuses."""

    alternatives: ClassVar[Sequence[Sequence[str]]] = (("body", "file"),)

    statuses: Sequence[PageStatus] = key(
        "which statuses", nginx="error_page", required="must say for which statuses, such as [502, 504]", absent=()
    )
    body: Body | None = key("the page")
    file: Text | None = key("a file that holds the page; read at start-up")
    content_type: Text | None = key("its media type", default='"text/html; charset=utf-8"')
    status: Status | None = key("a new status", default="the same", nginx="error_page … =CODE")


@attrs.frozen(kw_only=True)
class AccessLogTable(Table):
    """A file to which a line is written for each request."""

    shorthand: ClassVar[str] = "path"

    path: Text | None = key(
        'the file, opened anew on SIGUSR1; "off" for none',
        nginx="access_log",
        required='must be a file, such as "access.log"',
    )
    format: HeaderText | None = key('"combined", "json", or a TEMPLATE', default='"combined"', nginx="log_format")


@attrs.frozen(kw_only=True)
class HttpKeys(PipeKeys):
    """How requests are passed on."""

    buffer_size: Size | None = key(
        "a response's head may have; more is 502", default='"32k"', nginx="proxy_buffer_size"
    )
    read_timeout: Duration | None = key(
        "an upstream may be silent while it is waited for; 504", default='"60s"', nginx="proxy_read_timeout"
    )
    send_timeout: Duration | None = key(
        "between two writes of a request to an upstream; 504", default='"60s"', nginx="proxy_send_timeout"
    )
    client_send_timeout: Duration | None = key(
        "between two writes of a response to a client that has bytes waiting", default='"60s"', nginx="send_timeout"
    )
    request_buffering: Flag | None = key(
        "receive a request's body whole before an upstream is chosen", default="true", nginx="proxy_request_buffering"
    )
    request_body_buffer_size: Size | None = key(
        "of a request's body are kept in memory", default='"64k"', nginx="client_body_buffer_size"
    )
    client_max_body_size: Size | None = key(
        "a request's body may have, 0: any; more is 413", default='"1m"', nginx="client_max_body_size"
    )
    ignore_client_abort: Flag | None = key(
        "receive a response to its end for a client that is gone", default="false", nginx="proxy_ignore_client_abort"
    )
    next_upstream: Sequence[NextUpstreamWord] | None = key(
        "when a request goes to another server, as long as nothing of a response was passed on",
        default='["error", "timeout"]',
        nginx="proxy_next_upstream",
    )
    next_upstream_tries: Count | None = key(
        "servers that are asked at most; 0: each once", default="0", nginx="proxy_next_upstream_tries"
    )
    next_upstream_timeout: Duration | None = key(
        "since the first was asked, after which no other one is; 0: no limit",
        default="0",
        nginx="proxy_next_upstream_timeout",
    )
    upgrade: Sequence[UpgradeProtocol] | None = key(
        "protocols that a client may change to (HTTP/1.1 Upgrade); []: none", default='["websocket"]'
    )
    upgrade_timeout: Duration | None = key(
        "no byte flows either way after such a change, then the connection ends; 0: never",
        default='"1h"',
        nginx="proxy_read_timeout",
    )
    upgrade_filters: Sequence[StreamFilter] | None = key(
        "on what clients get after such a change, in this order", default="none"
    )
    upgrade_request_filters: Sequence[StreamFilter] | None = key("on what the upstream gets then", default="none")
    pass_host: Flag | None = key(
        "the upstream gets the client's Host; else, or if it names none, the server's address",
        default="true",
        nginx="proxy_set_header Host $host",
    )
    forwarded: Forwarded | None = key(
        "whom an upstream is told it serves: X-Forwarded-For, -Proto and -Host, or Forwarded (RFC 7239)",
        default='"x-forwarded"',
    )
    via: Body | None = key("our name in Via; empty: none", default='"twisted_pipe"')
    request_headers: RequestHeadersTable | None = key("changes toward the upstream", default="none")
    response_headers: ResponseHeadersTable | None = key("changes toward the client", default="none")
    message_filters: Sequence[MessageFilterGiven] | None = key(
        "on heads: of requests in this order, of responses in the reverse one",
        default="none",
        nginx="auth_basic, auth_request …",
    )
    filters: Sequence[HttpFilter] | None = key("on bodies of responses, in this order", default="none")
    request_filters: Sequence[HttpFilter] | None = key("on bodies of requests, in this order", default="none")
    intercept_errors: Flag | None = key(
        "an upstream's own responses of 300 and more are replaced where there is an error page",
        default="false",
        nginx="proxy_intercept_errors",
    )
    error_pages: Sequence[ErrorPageTable] | None = key("pages of ours", default="our own", nginx="error_page")
    access_log: Sequence[AccessLogTable] | None = key("where requests are written", default='"off"', nginx="access_log")


@attrs.frozen(kw_only=True)
class HttpServerKeys(HttpKeys):
    """And what a client may do to its connection: the same for all servers that share an address."""

    client_header_buffer_size: Size | None = key(
        "a request's head may have; more is 431, or 414 if its first line has more",
        default='"32k"',
        nginx="large_client_header_buffers",
    )
    client_max_headers: PositiveCount | None = key("fields a request's head may have; more is 431", default="100")
    client_header_timeout: Duration | None = key(
        "for a request's head to arrive whole; 408", default='"60s"', nginx="client_header_timeout"
    )
    client_body_timeout: Duration | None = key(
        "between two reads of a request's body; 408", default='"60s"', nginx="client_body_timeout"
    )
    keepalive_timeout: Duration | None = key(
        "an idle connection is kept; 0: closed after each response", default='"75s"', nginx="keepalive_timeout"
    )
    keepalive_requests: PositiveCount | None = key(
        "requests a connection may carry", default="1000", nginx="keepalive_requests"
    )
    keepalive_time: Duration | None = key(
        "a connection may be used before it is closed after a response; 0: for ever",
        default='"1h"',
        nginx="keepalive_time",
    )
    lingering_timeout: Duration | None = key(
        "to wait for more of what a client still sends after its last response",
        default='"5s"',
        nginx="lingering_timeout",
    )
    bare_lf: LineEnd | None = key("lines that end with LF instead of CR LF (RFC 9112, section 2.2)", default='"reject"')


@attrs.frozen(kw_only=True)
class AnswerTable(Table):
    """An answer of our own."""

    status: Status | None = key("the status", default="200", nginx="return")
    body: BodyText | None = key("a TEMPLATE", default="the error page, if the status is an error")
    content_type: Text | None = key("its media type", default='"text/plain; charset=utf-8"')


@attrs.frozen(kw_only=True)
class RedirectTable(Table):
    """The client is sent elsewhere."""

    shorthand: ClassVar[str] = "location"

    location: HeaderText | None = key(
        "where to", nginx="return", required='must say where to, such as "https://$host$request_uri"'
    )
    status: RedirectStatus | None = key("the status", default="302")


@attrs.frozen(kw_only=True)
class RouteTable(HttpKeys):
    """
    What is done with requests for some paths. Exactly one of C{exact}, C{prefix} and C{regex}; exactly one of C{proxy}, C{answer},
    C{redirect} and C{refuse}.
    """

    alternatives: ClassVar[Sequence[Sequence[str]]] = (
        ("exact", "prefix", "regex"),
        ("proxy", "answer", "redirect", "refuse"),
    )

    exact: ExactPath | None = key(
        "requests for this path, decoded (`/my files`), before all others", nginx="location = PATH"
    )
    prefix: RoutePath | None = key(
        "requests for paths that begin so, decoded (`/my files/`); the longest counts", nginx="location PATH"
    )
    final: Flag | None = key(
        "with prefix: regular expressions are not asked if it is the longest", default="false", nginx="location ^~ PATH"
    )
    regex: Pattern | None = key(
        "requests whose path it is found in: the first counts, before prefixes", nginx="location ~ REGEX"
    )
    ignore_case: Flag | None = key("with regex: letters in either case", default="false", nginx="location ~* REGEX")
    proxy: Address | None = key(
        "pass them on: to an upstream by NAME, or http://NAME/URI, http:// or https://HOST:PORT/URI, HOST:PORT, unix:/PATH",
        nginx="proxy_pass",
    )
    uri: UriPath | None = key(
        "with proxy: what replaces the prefix in the path; same as /URI", nginx="proxy_pass http://NAME/URI"
    )
    answer: AnswerTable | None = key("answer ourselves", nginx="return CODE TEXT")
    redirect: RedirectTable | None = key("send the client elsewhere", nginx="return CODE URL")
    refuse: ErrorStatus | None = key("answer with an error", nginx="return CODE")


@attrs.frozen(kw_only=True)
class HttpServerTable(HttpServerKeys):
    """A virtual server: several may share an address."""

    protocol: Protocol | None = key("what is spoken: http, tcp, or that of a plugin", default='"http"')
    listen: Sequence[ListenTable] = key(
        "where clients connect",
        nginx="listen",
        required='must say where clients connect, such as ["tcp:8080"]',
        absent=(),
    )
    tls: ServerTlsTable | None = key("TLS, wherever it listens", default="none", nginx="listen … ssl")
    names: Sequence[ServerName] = key(
        "hosts it is for: example.org, *.example.org, .example.org, ~REGEX",
        default="none: as the default of its address",
        nginx="server_name",
        absent=(),
    )
    default: Flag | None = key(
        "it is for hosts that no server on its address is for", default="the first", nginx="listen … default_server"
    )
    routes: Sequence[RouteTable] = key(
        "what is done with requests",
        nginx="location",
        required='must hold a route, such as { prefix = "/", proxy = "127.0.0.1:9000" }',
        absent=(),
    )


@attrs.frozen(kw_only=True)
class StreamServerTable(StreamKeys):
    """A server that passes connections on as they are."""

    protocol: Protocol | None = key("what is spoken: tcp, or that of a plugin", default='"http"')
    listen: Sequence[ListenTable] = key(
        "where clients connect",
        nginx="listen",
        required='must say where clients connect, such as ["tcp:5433"]',
        absent=(),
    )
    tls: ServerTlsTable | None = key("TLS, wherever it listens", default="none", nginx="listen … ssl")
    proxy: Address | None = key(
        "where to: an upstream by NAME, HOST:PORT, or unix:/PATH",
        nginx="proxy_pass",
        required='must say where to pass them on to, such as "127.0.0.1:9000"',
    )
    routes: Sequence[StreamRouteTable] = key(
        "with protocol tcp: elsewhere, by what clients say of TLS, which is not decrypted",
        default="none",
        nginx="ssl_preread",
        absent=(),
    )


#: A server is one of these, as its C{protocol} says.
ServerTable = Union[HttpServerTable, StreamServerTable]


@attrs.frozen(kw_only=True)
class HttpDefaults(HttpServerKeys):
    """What holds for all servers that speak http, and their routes."""


@attrs.frozen(kw_only=True)
class StreamDefaults(StreamKeys):
    """What holds for all other servers."""


@attrs.frozen(kw_only=True)
class DefaultsTable(Table):
    """What holds where servers and routes say nothing else."""

    http: HttpDefaults = key("for servers that speak http, and their routes", absent=HttpDefaults())
    tcp: StreamDefaults = key("for all other servers", absent=StreamDefaults())


@attrs.frozen(kw_only=True)
class ConfigurationFile(Table):
    """The whole file."""

    temp_path: Text | None = key(
        "directory of the temporary files, which have no name there", default='"/var/tmp"', nginx="proxy_temp_path"
    )
    spill_quota: Size | None = key("what all connections together may have on disk; 0: no limit", default="0")
    temp_file_threads: Count | None = key(
        "threads that write to disk while it is slow; 0: none", default="2", nginx="thread_pool"
    )
    pid_file: Text | None = key(
        "file for the process number, written once every listener is bound", default="none", nginx="pid"
    )
    worker_connections: Count | None = key(
        "connections, clients and upstreams together, above which the oldest idle ones are closed; 0: no limit",
        default="0",
        nginx="worker_connections",
    )
    defaults: DefaultsTable = key("what holds where nothing else is said", absent=DefaultsTable())
    upstreams: Mapping[str, UpstreamTable] = key("groups of servers, by name", nginx="upstream", absent={})
    servers: Sequence[ServerTable] = key(
        "where clients connect, and what they get",
        nginx="server",
        required='must hold a server: [[servers]] with listen = ["tcp:8080"]',
        absent=(),
    )
