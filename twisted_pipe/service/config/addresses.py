"""Which servers of a configuration file listen where. Only servers that speak http share an address."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Union

import attrs

from twisted_pipe.net.listening import DEFAULT_LISTENING
from twisted_pipe.service.config.listeners import listener_of
from twisted_pipe.service.config.model import HttpServerTable, StreamServerTable
from twisted_pipe.service.config.model_listen import ListenTable
from twisted_pipe.service.config.problems import Problems, dotted
from twisted_pipe.service.config.tls import TlsMaker
from twisted_pipe.service.endpoints import Listener

__all__ = ["Address", "Addresses", "with_tls"]

_TWICE_TLS = "must not be ssl: where tls is said as well; the address alone, such as tcp:8443, is enough"
_SHARED_SSL = "must not share its address, because of ssl: there; each server needs a table tls instead"

_ServerTable = Union[HttpServerTable, StreamServerTable]


@attrs.define
class Address:
    """
    @ivar listener: as the first of the servers wrote it, or the first that says more than where.
    @ivar servers: in the order of the file.
    @ivar tls: whether TLS is spoken there; None if nobody says so.
    """

    listener: Listener
    servers: list[_ServerTable] = attrs.field(factory=list)
    tls: bool | None = None


@attrs.define
class Addresses:
    """
    @ivar problems: where what is wrong is said.
    @ivar reactor: for the endpoints.
    @ivar folder: the file's directory.
    """

    problems: Problems
    reactor: Any
    folder: str
    _places: dict[tuple[object, ...], Address] = attrs.field(factory=dict, init=False)

    def __iter__(self) -> Any:
        return iter(self._places.values())

    def add(self, table: _ServerTable) -> None:
        """All that a server listens on."""
        for entry in table.listen:
            where = entry.where
            listener = self.problems.attempt(listener_of, entry, self.problems, self.reactor, self.folder)
            if listener is None:
                continue
            address = self._places.setdefault(listener.place, Address(listener))
            if address.listener.settings == DEFAULT_LISTENING:
                address.listener = attrs.evolve(address.listener, settings=listener.settings)
            elif listener.settings not in (DEFAULT_LISTENING, address.listener.settings):
                self.problems.add(where, f"must say the same of {listener.text} as {dotted(address.servers[0].where)}")
            self._add_proxy_protocol(address, entry, listener)
            if listener.entrance.tls is None:
                self._add_tls(address, entry, table)
            elif entry.tls is not None or table.tls is not None:
                self.problems.add(where, _TWICE_TLS)
            sharing = [each for each in (*address.servers, table) if not isinstance(each, HttpServerTable)]
            if any(each is table for each in address.servers):
                self.problems.add(where, "must be given once")
            elif sharing and address.servers:
                other = dotted(address.servers[0].where)
                self.problems.add(where, f"must be another address: {other} listens there, and not both speak http")
            elif address.servers and (listener.entrance.tls or address.listener.entrance.tls):
                self.problems.add(where, _SHARED_SSL)
            else:
                address.servers.append(table)

    def _add_proxy_protocol(self, address: Address, entry: ListenTable, listener: Listener) -> None:
        said, known = listener.entrance.proxy_protocol, address.listener.entrance.proxy_protocol
        if known is None and said is not None:
            entrance = attrs.evolve(address.listener.entrance, proxy_protocol=said)
            address.listener = attrs.evolve(address.listener, entrance=entrance)
        elif said not in (None, known):
            said_by = dotted(address.servers[0].where)
            rule = f"must be the same for all servers there: see {said_by}"
            self.problems.add((*entry.where, "proxy_protocol"), rule)

    def _add_tls(self, address: Address, entry: ListenTable, table: _ServerTable) -> None:
        said = entry.tls if entry.tls is not None else True if table.tls is not None else None
        if entry.tls and table.tls is None and table.protocol not in (None, "http"):
            self.problems.add((*entry.where, "tls"), f"must not be true: {dotted(table.where)} has no table tls")
        if address.tls is None:
            address.tls = said
        elif said not in (None, address.tls):
            other = "TLS" if address.tls else "no TLS"
            said_by = dotted(address.servers[0].where)
            self.problems.add(entry.where, f"must be the same for all servers there: {said_by} speaks {other}")

    def of(self, table: _ServerTable, tls: TlsMaker) -> tuple[Listener, ...]:
        """
        The listeners of a server that shares none.

        @raise Skip: its TLS is wrong, which has been reported.
        """
        here = [address for address in self if any(each is table for each in address.servers)]
        return tuple(with_tls(address, [table], tls) for address in here)


def with_tls(address: Address, tables: Sequence[_ServerTable], tls: TlsMaker) -> Listener:
    """
    Its listener, which speaks TLS if it is to.

    @param tables: the servers there, its default first.
    @raise Skip: its TLS is wrong, which has been reported.
    """
    if not address.tls:
        return address.listener
    made = tls.entrance(tables)
    entrance = attrs.evolve(address.listener.entrance, tls=made.tls, handshake_timeout=made.handshake_timeout)
    return attrs.evolve(address.listener, entrance=entrance)
