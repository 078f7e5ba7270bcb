"""The groups of servers of a configuration file: those with names, and those that a C{proxy = "HOST:PORT"} makes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.interfaces import IUpstreamBalancerFactory
from twisted_pipe.plugin.declared import nearest
from twisted_pipe.proxies.http_upstream import HttpUpstream, KeepaliveSettings
from twisted_pipe.service.config.keys import Path
from twisted_pipe.service.config.layers import Layers
from twisted_pipe.service.config.model_upstreams import UpstreamServerTable, UpstreamTable
from twisted_pipe.service.config.problems import Problems, Skip
from twisted_pipe.service.endpoints import UPSTREAM_RULE, parse_upstream
from twisted_pipe.service.upstream_url import split_url
from twisted_pipe.upstream.balancer import BALANCERS
from twisted_pipe.upstream.group import ROUND_ROBIN, UpstreamGroup, UpstreamServer

__all__ = ["Upstreams"]

_NO_TIMEOUT = 0  # of the endpoint's own: connect_timeout is a matter of the route
_KEEPALIVE = {
    "connections": "keepalive",
    "timeout": "keepalive_timeout",
    "requests": "keepalive_requests",
    "time": "keepalive_time",
}


@attrs.define
class Upstreams:
    """
    @ivar tables: by name.
    @ivar problems: where what is wrong is said.
    @ivar reactor: for the endpoints.
    @ivar http: the connections to each group that is used for http, by what the C{proxy} keys say.
    """

    tables: Mapping[str, UpstreamTable]
    problems: Problems
    reactor: Any
    http: dict[str, HttpUpstream] = attrs.field(factory=dict, init=False)
    _groups: dict[str, UpstreamGroup | None] = attrs.field(factory=dict, init=False)

    def check(self) -> None:
        """Make all groups that have names, so that mistakes in those that nobody uses are found too."""
        for name in self.tables:
            self._named(name)

    def group(self, text: str, where: Path) -> UpstreamGroup:
        """
        What C{proxy} means, for connections that are passed on as they are.

        @raise Skip: nothing that could be.
        """
        if self._is_name(text):
            group = self._named(text)
        else:
            if text not in self._groups:
                self._groups[text] = UpstreamGroup([self.problems.checked(where, self._server, text)])
            group = self._groups[text]
        if group is None:
            raise Skip
        return group

    def target(self, text: str, where: Path) -> tuple[HttpUpstream, str | None]:
        """
        What C{proxy} means, for http: the group, and what replaces the route's prefix.

        @raise Skip: nothing that could be.
        """
        try:
            url = split_url(text)
        except ValueError as error:
            self.problems.add(where, str(error))
            raise Skip from error
        name = url.address if self._is_name(url.address) else url.place
        group = self.group(name, where)
        if name not in self.http:
            table = self.tables.get(name)
            given = Layers((table,)).fields(_KEEPALIVE) if table is not None else {}
            self.http[name] = HttpUpstream(group, self.reactor, KeepaliveSettings(**given))
        return self.http[name], url.uri

    def _is_name(self, text: str) -> bool:
        """Whether it is the name of a group, even of one that is wrong."""
        return self.problems.given(("upstreams", text))

    def _server(self, address: str) -> UpstreamServer:
        """
        @raise BadConfiguration: it is no address.
        """
        if not any(sign in address for sign in ":/") and not address.isdigit():
            known = nearest(address, self.tables, "Known")
            raise BadConfiguration("upstream", address, f"no such upstream{known}; or an address: {UPSTREAM_RULE}")
        return parse_upstream(self.reactor, address, _NO_TIMEOUT)

    def _named(self, name: str) -> UpstreamGroup | None:
        if name not in self._groups:
            table = self.tables.get(name)
            self._groups[name] = None if table is None else self._build(table)
        return self._groups[name]

    def _build(self, table: UpstreamTable) -> UpstreamGroup | None:
        """The group; None if anything of it is wrong."""
        checked, attempt = self.problems.checked, self.problems.attempt
        servers = [attempt(self._member, each) for each in table.servers if each.address is not None]
        balancer: IUpstreamBalancerFactory | None = ROUND_ROBIN
        if table.balance is not None:
            balancer = attempt(checked, (*table.where, "balance"), BALANCERS.parse, table.balance)
        right = [each for each in servers if each is not None]
        if not right or len(right) < len(table.servers) or balancer is None:
            return None
        return UpstreamGroup(right, balancer)

    def _member(self, table: UpstreamServerTable) -> UpstreamServer:
        where = (*table.where, "address")
        server = self.problems.checked(where, parse_upstream, self.reactor, table.address, _NO_TIMEOUT)
        return attrs.evolve(server, weight=table.weight or 1)
