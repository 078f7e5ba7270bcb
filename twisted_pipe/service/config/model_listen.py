"""The tables of a configuration file that say where clients connect."""

# ruff: noqa: RUF009 (what key() makes is a field)

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import attrs

from twisted_pipe.service.config.keys import Table, key
from twisted_pipe.service.config.values import (
    Duration,
    Endpoint,
    FileMode,
    FileOwner,
    Flag,
    Keepalive,
    Network,
    PositiveCount,
    Size,
)

__all__ = ["ListenTable", "ProxyProtocolTable"]


@attrs.frozen(kw_only=True)
class ProxyProtocolTable(Table):
    """Clients come by another proxy, which says first, by a PROXY header of version 1 or 2, on whose behalf it connects."""

    trusted: Sequence[Network] = key(
        "proxies that are believed; all other connections are closed",
        nginx="set_real_ip_from",
        required='must say which proxies are believed, such as ["10.0.0.0/8", "unix:"]',
        absent=(),
    )
    timeout: Duration | None = key(
        "for the header to be whole; 0: for ever", default='"30s"', nginx="proxy_protocol_timeout (stream)"
    )
    max_size: Size | None = key("a header may have, 107 to 65551; more is refused", default='"4k"')


@attrs.frozen(kw_only=True)
class ListenTable(Table):
    """A place where clients connect. Servers that share it say the same of it, or only one of them says anything."""

    shorthand: ClassVar[str] = "address"

    address: Endpoint | None = key("where", nginx="listen", required='must be an address, such as "8080"')
    tls: Flag | None = key(
        "TLS is spoken, as the tls table of the server says",
        default="true if the server, or another one that listens there, has that table",
        nginx="listen … ssl",
    )
    proxy_protocol: ProxyProtocolTable | None = key(
        "connections begin with a PROXY header", default="none", nginx="listen … proxy_protocol"
    )
    backlog: PositiveCount | None = key(
        "connections that may wait to be accepted; the kernel takes at most net.core.somaxconn",
        default="511",
        nginx="listen … backlog=",
    )
    reuse_port: Flag | None = key(
        "several processes may listen there; the kernel chooses among them", default="false", nginx="listen … reuseport"
    )
    ipv6_only: Flag | None = key(
        "an IPv6 address takes no IPv4 connections",
        default="the system's net.ipv6.bindv6only",
        nginx="listen … ipv6only=",
    )
    socket_keepalive: Keepalive | None = key(
        "when a silent client is asked for a sign of life", default="false", nginx="listen … so_keepalive="
    )
    user_timeout: Duration | None = key(
        "what is sent may stay without an acknowledgement, then the connection is reset; 0: as long as the system says",
        default="0",
    )
    receive_buffer: Size | None = key(
        "of each connection, in the kernel; 0: the system's, which grows", default="0", nginx="listen … rcvbuf="
    )
    send_buffer: Size | None = key(
        "of each connection, in the kernel; 0: the system's, which grows", default="0", nginx="listen … sndbuf="
    )
    mode: FileMode | None = key("of a UNIX socket's file", default='"0666"')
    owner: FileOwner | None = key("of a UNIX socket's file", default="who starts the process")
