"""Which servers of a configuration file listen where. Only servers that speak http share an address."""

from __future__ import annotations

from typing import Any, Union

import attrs

from twisted_pipe.service.config.model import HttpServerTable, StreamServerTable
from twisted_pipe.service.config.problems import Problems, dotted
from twisted_pipe.service.endpoints import Listener, parse_listener

__all__ = ["Address", "Addresses"]

_ServerTable = Union[HttpServerTable, StreamServerTable]


@attrs.frozen
class Address:
    """
    @ivar listener: as the first of the servers wrote it.
    @ivar servers: in the order of the file.
    """

    listener: Listener
    servers: list[_ServerTable] = attrs.field(factory=list)


@attrs.define
class Addresses:
    """
    @ivar problems: where what is wrong is said.
    @ivar reactor: for the endpoints.
    """

    problems: Problems
    reactor: Any
    _places: dict[tuple[object, ...], Address] = attrs.field(factory=dict, init=False)

    def __iter__(self) -> Any:
        return iter(self._places.values())

    def add(self, table: _ServerTable) -> None:
        """All that a server listens on."""
        for place, text in enumerate(table.listen):
            where = (*table.where, "listen", place)
            option = self.problems.name_of(where)
            listener = self.problems.attempt(self.problems.checked, where, parse_listener, self.reactor, text, option)
            if listener is None:
                continue
            address = self._places.setdefault(listener.place, Address(listener))
            sharing = [each for each in (*address.servers, table) if not isinstance(each, HttpServerTable)]
            if any(each is table for each in address.servers):
                self.problems.add(where, "must be given once")
            elif sharing and address.servers:
                other = dotted(address.servers[0].where)
                self.problems.add(where, f"must be another address: {other} listens there, and not both speak http")
            else:
                address.servers.append(table)

    def of(self, table: _ServerTable) -> tuple[Listener, ...]:
        """The listeners of a server that shares none."""
        return tuple(address.listener for address in self if any(each is table for each in address.servers))
