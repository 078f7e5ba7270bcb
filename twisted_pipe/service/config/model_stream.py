"""The tables of a configuration file that say where connections are passed on to by what their clients say of TLS."""

# ruff: noqa: RUF009 (what key() makes is a field)

from __future__ import annotations

from collections.abc import Sequence

import attrs

from twisted_pipe.service.config.keys import Table, key
from twisted_pipe.service.config.values import Address, AlpnName, ServerName

__all__ = ["StreamRouteTable"]


@attrs.frozen(kw_only=True)
class StreamRouteTable(Table):
    """
    Where connections go whose clients ask for one of C{names} and offer one of C{alpn}. The best name counts, as among virtual
    servers; of its routes the first whose C{alpn} fits; then those without C{names}; then the server's own C{proxy}.
    """

    names: Sequence[ServerName] = key(
        "servers asked for by SNI: example.org, *.example.org, .example.org, ~REGEX",
        default="any, even none",
        nginx="map $ssl_preread_server_name",
        absent=(),
    )
    alpn: Sequence[AlpnName] = key(
        'protocols, one of which is offered: "h2", "http/1.1", "acme-tls/1"',
        default="any, even none",
        nginx="map $ssl_preread_alpn_protocols",
        absent=(),
    )
    proxy: Address | None = key(
        "where to: an upstream by NAME, HOST:PORT, or unix:/PATH",
        nginx="proxy_pass",
        required='must say where to pass them on to, such as "127.0.0.1:9000"',
    )
