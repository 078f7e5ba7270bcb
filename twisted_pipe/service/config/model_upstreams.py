"""The tables of a configuration file that say where connections are made to."""

# ruff: noqa: RUF009 (what key() makes is a field)

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import attrs

from twisted_pipe.service.config.keys import Table, key
from twisted_pipe.service.config.values import Address, Balancer, Count, Duration, PositiveCount, Weight

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


@attrs.frozen(kw_only=True)
class UpstreamTable(Table):
    """Servers that stand for one upstream."""

    servers: Sequence[UpstreamServerTable] = key(
        "the servers", nginx="server", required='must hold a server, such as { address = "127.0.0.1:9000" }', absent=()
    )
    balance: Balancer | None = key("what chooses among them", default='"round-robin"', nginx="least_conn, …")
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
