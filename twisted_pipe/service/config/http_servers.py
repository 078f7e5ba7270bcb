"""
Servers of a configuration file that speak http: those that share an address are the virtual servers of one listener, and listeners
of the same servers share one proxy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.http.routing import SiteTable
from twisted_pipe.proxies.http_settings import ClientSettings, Site
from twisted_pipe.service.config.addresses import Address, Addresses, with_tls
from twisted_pipe.service.config.http_sites import MadeSite
from twisted_pipe.service.config.layers import Layers
from twisted_pipe.service.config.model import HttpDefaults, HttpServerTable
from twisted_pipe.service.config.problems import Problems, dotted
from twisted_pipe.service.config.tls import TlsMaker
from twisted_pipe.service.endpoints import Listener
from twisted_pipe.service.http_server import HttpServer

__all__ = ["http_servers"]

#: The key of each field of L{ClientSettings}.
_CLIENT = {
    "header_buffer_size": "client_header_buffer_size",
    "max_headers": "client_max_headers",
    "header_timeout": "client_header_timeout",
    "body_timeout": "client_body_timeout",
    "keepalive_timeout": "keepalive_timeout",
    "keepalive_requests": "keepalive_requests",
    "keepalive_time": "keepalive_time",
    "lingering_timeout": "lingering_timeout",
    "bare_lf": "bare_lf",
}


def http_servers(
    addresses: Addresses, made: Sequence[MadeSite | None], defaults: HttpDefaults, tls: TlsMaker
) -> Iterator[HttpServer]:
    """
    A server for each set of virtual servers that some listener has.

    @param tls: makes what speaks TLS.
    @param made: of all tables that could be made; nothing is built of an address some of whose are missing.
    """
    sites = {id(each.table): each for each in made if each is not None}
    built: dict[tuple[int, ...], HttpServer] = {}
    for address in addresses:
        tables = [each for each in address.servers if isinstance(each, HttpServerTable)]
        if not tables:
            continue
        default = _check(address, tables, defaults, addresses.problems)
        ordered = [default, *(each for each in tables if each is not default)]
        listener = addresses.problems.attempt(with_tls, address, ordered, tls)
        key = tuple(id(each) for each in tables)
        here = [sites[each] for each in key if each in sites]
        if listener is None:
            continue
        if key in built:
            built[key] = attrs.evolve(built[key], listeners=(*built[key].listeners, listener))
        elif len(here) == len(tables) and not addresses.problems:
            built[key] = _build(listener, here, default)
    yield from built.values()


def _build(listener: Listener, here: Sequence[MadeSite], default: HttpServerTable) -> HttpServer:
    table: SiteTable[Site] = SiteTable()
    for each in here:
        table.add(each.table.names, each.site, each.table is default)
    (layers,) = (each.layers for each in here if each.table is default)
    return HttpServer(
        listeners=(listener,),
        sites=table,
        client=_client(layers),
        purpose="serves http for " + "; ".join(_described(each.table) for each in here),
        logs=tuple(dict.fromkeys(log for each in here for settings in each.settings for log in settings.logs or ())),
        spills=any(settings.limits.file_size for each in here for settings in each.settings),
    )


def _client(layers: Layers) -> ClientSettings:
    given = layers.fields(_CLIENT)
    if "bare_lf" in given:
        given["bare_lf"] = given["bare_lf"] == "accept"
    return ClientSettings(**given)


def _described(table: HttpServerTable) -> str:
    names = ", ".join(table.names) or "any host"
    return f"{names} ({len(table.routes)} route{'s' * (len(table.routes) != 1)})"


def _check(
    address: Address, tables: Sequence[HttpServerTable], defaults: HttpDefaults, problems: Problems
) -> HttpServerTable:
    """What the virtual servers of an address have to agree on. Returns the one for all other hosts."""
    chosen = [each for each in tables if each.default]
    for other in chosen[1:]:
        problems.add((*other.where, "default"), f"must be said once for an address: {dotted(chosen[0].where)} says it")
    default = chosen[0] if chosen else tables[0]
    layers = Layers((default, defaults))
    for table in tables:
        for name in _CLIENT.values():
            value = getattr(table, name)
            if value is not None and value != layers.get(name):
                problems.add(
                    (*table.where, name),
                    f"must be said in {dotted(default.where)}, the default server of {address.listener.text}: "
                    "it holds before a server is chosen",
                )
    _check_names(tables, problems)
    return default


def _check_names(tables: Sequence[HttpServerTable], problems: Problems) -> None:
    """Every name is that of one server."""
    seen: SiteTable[HttpServerTable] = SiteTable()
    for table in tables:
        for place, name in enumerate(table.names or ("",)):
            try:
                SiteTable([([name], table)])
            except BadConfiguration:
                continue  # has been reported
            try:
                seen.add([name], table)
            except BadConfiguration:
                where = (*table.where, "names", place) if table.names else (*table.where, "names")
                problems.add(where, "must be a name that no other server on the address has")
