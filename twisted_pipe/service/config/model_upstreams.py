"""The tables of a configuration file that say where connections are made to."""

# ruff: noqa: RUF009 (what key() makes is a field)

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import attrs

from twisted_pipe.service.config.keys import Table, key
from twisted_pipe.service.config.model_tls import UpstreamTlsTable
from twisted_pipe.service.config.plugin_value import Check, Resolver
from twisted_pipe.service.config.values import (
    Address,
    Balancer,
    Count,
    Duration,
    Fails,
    Flag,
    Keepalive,
    LocalAddress,
    PositiveCount,
    ProxyVersion,
    Weight,
)

__all__ = ["UpstreamServerTable", "UpstreamTable"]


@attrs.frozen(kw_only=True)
class UpstreamServerTable(Table):
    """A server of a group."""

    shorthand: ClassVar[str] = "address"

    address: Address | None = key(
        "where to connect", nginx="server", required='must be an address, such as "127.0.0.1:9000"'
    )
    weight: Weight | None = key(
        "how many connections it gets beside another's one", default="1", nginx="server … weight="
    )
    max_conns: Count | None = key(
        "connections, for http requests, it may have at one time; 0: any number",
        default="0",
        nginx="server … max_conns=",
    )
    max_fails: Fails | None = key(
        "failed attempts within fail_timeout that take it out; 0: never. An upstream's only server is never taken out",
        default="1",
        nginx="server … max_fails=",
    )
    fail_timeout: Duration | None = key(
        "within which failures count, and for how long it is out then", default='"10s"', nginx="server … fail_timeout="
    )
    slow_start: Duration | None = key(
        "in which its weight grows to the full one after it was out; not for hash, ip-hash; 0: at once",
        default="0",
        nginx="server … slow_start=",
    )
    backup: Flag | None = key("it is asked when none of the others can be", default="false", nginx="server … backup")
    down: Flag | None = key("it is never asked", default="false", nginx="server … down")


@attrs.frozen(kw_only=True)
class UpstreamTable(Table):
    """Servers that stand for one upstream."""

    servers: Sequence[UpstreamServerTable] = key(
        "the servers", nginx="server", required='must hold a server, such as { address = "127.0.0.1:9000" }', absent=()
    )
    balance: Balancer | None = key(
        "what chooses among them: round-robin, least-connections, random, ip-hash, hash:key=TEMPLATE, "
        "hash:key=TEMPLATE:consistent=on, or a plugin",
        default='"round-robin"',
        nginx="least_conn, random, ip_hash, hash",
    )
    queue: Count | None = key(
        "how many may wait when all servers have max_conns; 0: none", default="1024", nginx="queue"
    )
    queue_timeout: Duration | None = key("one may wait; 0: for ever", default='"60s"', nginx="queue … timeout=")
    resolve: Resolver | None = key(
        "what looks up the names of servers, and again when they may have changed",
        default="each connection has the system look its server's name up",
        nginx="resolve",
    )
    health: Check | None = key("how servers are checked", default="not at all", nginx="health_check")
    keepalive: Count | None = key("idle connections that are kept, for http; 0: none", default="32", nginx="keepalive")
    keepalive_timeout: Duration | None = key(
        "an idle connection is kept", default='"60s"', nginx="keepalive_timeout (upstream)"
    )
    keepalive_requests: PositiveCount | None = key(
        "requests a connection may carry", default="1000", nginx="keepalive_requests (upstream)"
    )
    keepalive_time: Duration | None = key(
        "a connection may be used before it is closed after a response; 0: for ever",
        default='"1h"',
        nginx="keepalive_time (upstream)",
    )
    bind: LocalAddress | None = key(
        "where connections come from; not for UNIX sockets", default="the system's choice", nginx="proxy_bind"
    )
    socket_keepalive: Keepalive | None = key(
        "when a silent server is asked for a sign of life", default="false", nginx="proxy_socket_keepalive"
    )
    nodelay: Flag | None = key("servers are sent small packets at once", default="true", nginx="tcp_nodelay")
    user_timeout: Duration | None = key(
        "what is sent may stay without an acknowledgement, then the connection is reset; 0: as long as the system says",
        default="0",
    )
    send_proxy_protocol: ProxyVersion | None = key(
        "a PROXY header comes first, before TLS, that names the client; with http each client has connections of its own",
        default="none",
        nginx="proxy_protocol (stream)",
    )
    tls: UpstreamTlsTable | None = key("TLS to the servers; {}: as its defaults say", default="none", nginx="https://")
