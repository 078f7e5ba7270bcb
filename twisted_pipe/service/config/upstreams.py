"""The groups of servers of a configuration file: those with names, and those that a C{proxy = "HOST:PORT"} makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Union

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.http.template import Template
from twisted_pipe.interfaces import IUpstreamBalancerFactory, IUpstreamResolver
from twisted_pipe.plugin.declared import nearest
from twisted_pipe.proxies.http_upstream import HttpUpstream, KeepaliveSettings
from twisted_pipe.proxies.stream_variables import key_template
from twisted_pipe.service.config.background import background_of, name_of
from twisted_pipe.service.config.connect_settings import connect_settings
from twisted_pipe.service.config.keys import Path
from twisted_pipe.service.config.layers import Layers
from twisted_pipe.service.config.model_upstreams import UpstreamServerTable, UpstreamTable
from twisted_pipe.service.config.problems import Problems, Skip, dotted
from twisted_pipe.service.config.tls import TlsMaker
from twisted_pipe.service.configuration import Background
from twisted_pipe.service.endpoints import UPSTREAM_RULE, parse_upstream
from twisted_pipe.service.upstream_url import split_url
from twisted_pipe.upstream.balancer import BALANCERS
from twisted_pipe.upstream.connect_settings import ConnectSettings
from twisted_pipe.upstream.group import ROUND_ROBIN, UpstreamGroup, UpstreamServer
from twisted_pipe.upstream.group_names import NamedServers
from twisted_pipe.upstream.resolution import FoundServer
from twisted_pipe.upstream.waiting_line import QueueSettings

__all__ = ["Upstreams"]

_NO_TIMEOUT = 0  # of the endpoint's own: connect_timeout is a matter of the route
_KEEPALIVE = {
    "connections": "keepalive",
    "timeout": "keepalive_timeout",
    "requests": "keepalive_requests",
    "time": "keepalive_time",
}
_SERVER = {name: name for name in ("weight", "max_conns", "max_fails", "fail_timeout", "slow_start", "backup", "down")}
_QUEUE = {"size": "queue", "timeout": "queue_timeout"}


@attrs.define
class Upstreams:
    """
    @ivar tables: by name.
    @ivar problems: where what is wrong is said.
    @ivar reactor: for the endpoints.
    @ivar tls: makes what speaks TLS.
    @ivar folder: the file's directory.
    @ivar http: the connections to each group that is used for http, by what the C{proxy} keys say.
    @ivar background: what looks names up and checks servers.
    """

    tables: Mapping[str, UpstreamTable]
    problems: Problems
    reactor: Any
    tls: TlsMaker
    folder: str
    http: dict[str, HttpUpstream] = attrs.field(factory=dict, init=False)
    background: list[Background] = attrs.field(factory=list, init=False)
    _groups: dict[str, UpstreamGroup | None] = attrs.field(factory=dict, init=False)

    def check(self) -> None:
        """Make all groups that have names, so that mistakes in those that nobody uses are found too."""
        for name in self.tables:
            self._named(name)

    def group(self, text: str, where: Path, tls: bool = False) -> UpstreamGroup:
        """
        What C{proxy} means, for connections that are passed on as they are.

        @param tls: whether the servers are to be spoken to by TLS. Whether those of a group are, the group says.
        @raise Skip: nothing that could be.
        """
        if self._is_name(text):
            group = self._named(text)
        else:
            key = f"https://{text}" if tls else text
            if key not in self._groups:
                connect = ConnectSettings(tls=self.tls.default_client() if tls else None)
                servers = [self.problems.checked(where, self._server, text)]
                self._groups[key] = UpstreamGroup(servers, clock=self.reactor, connect=connect)
            group = self._groups[key]
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
        table = self.tables.get(name)
        if url.tls and table is not None and table.tls is None:
            said = f"must be http://{name}, or {dotted(table.where)} have a table tls: what is spoken is a matter of the group"
            self.problems.add(where, said)
            raise Skip
        group = self.group(name, where, url.tls)
        key = f"https://{name}" if url.tls and table is None else name
        if key not in self.http:
            given = Layers((table,)).fields(_KEEPALIVE) if table is not None else {}
            keepalive = KeepaliveSettings(**given)
            self.http[key] = self.problems.checked(
                self.place_of_key(name), HttpUpstream, group, self.reactor, keepalive
            )
        return self.http[key], url.uri

    def for_http(self, where: Path) -> dict[str, HttpUpstream]:
        """
        The groups that requests can be sent to, by name. Those are left out whose balancer wants to know what only a connection has
        that is passed on as it is.

        @raise Skip: one of the others is wrong, which has been reported.
        """
        names = [name for name in self.tables if not self._is_for_tcp(name)]
        found = {name: self.problems.attempt(self.target, name, where) for name in names}
        if None in found.values():
            raise Skip
        return {name: target[0] for name, target in found.items() if target}

    def _is_for_tcp(self, name: str) -> bool:
        """Whether the key of a group's balancer is one for connections, and none for requests."""
        group = self._named(name)
        return group is not None and not _taken(Template.compile, "", group.key) and _taken(key_template, group)

    def place_of_key(self, name: str) -> Path:
        """Where the file says what a group's balancer wants to know."""
        return ("upstreams", name, "balance")

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
        return self._parsed(address)

    def _parsed(self, address: str) -> UpstreamServer:
        """
        @raise BadConfiguration: it is no address.
        """
        return parse_upstream(self.reactor, address, _NO_TIMEOUT, self.folder)

    def _named(self, name: str) -> UpstreamGroup | None:
        if name not in self._groups:
            table = self.tables.get(name)
            self._groups[name] = None if table is None else self.problems.attempt(self._build, name, table)
        return self._groups[name]

    def _build(self, name: str, table: UpstreamTable) -> UpstreamGroup | None:
        """
        The group; None if anything of it is wrong.

        @raise Skip: likewise.
        """
        checked, attempt = self.problems.checked, self.problems.attempt
        resolver: IUpstreamResolver | None = None
        if table.resolve is not None:
            resolver = checked((*table.where, "resolve"), table.resolve.build, self.reactor)
        servers = [attempt(self._member, each, resolver) for each in table.servers if each.address is not None]
        balancer: IUpstreamBalancerFactory | None = ROUND_ROBIN
        if table.balance is not None:
            balancer = attempt(checked, (*table.where, "balance"), BALANCERS.parse, table.balance)
        right = [each for each in servers if each is not None]
        tls = None
        if table.tls is not None:
            addresses = [each.address for each in table.servers if each.address is not None]
            tls = attempt(self.tls.client, table.tls, addresses)
        if not right or len(right) < len(table.servers) or balancer is None:
            return None
        fixed = [each for each in right if isinstance(each, UpstreamServer)]
        connect = connect_settings(table, fixed, self.problems, tls)
        queue = QueueSettings(**Layers((table,)).fields(_QUEUE))
        make = partial(UpstreamGroup, name=name, clock=self.reactor, queue=queue, connect=connect)
        group = checked((*table.where, "balance"), make, fixed, balancer)
        self.background += background_of(table, group, right, resolver, self.problems, self.reactor)
        return group

    def _member(
        self, table: UpstreamServerTable, resolver: IUpstreamResolver | None
    ) -> Union[UpstreamServer, NamedServers]:
        address = table.address or ""
        if resolver is not None and resolver.takes(address):
            return NamedServers(address, partial(self._found, table))
        server = self.problems.checked((*table.where, "address"), self._parsed, address)
        return attrs.evolve(server, **_parameters(table))

    def _found(self, table: UpstreamServerTable, found: FoundServer) -> UpstreamServer:
        """A server that the resolver has found where the file has a name."""
        parameters = _parameters(table) | {"host": name_of(table.address or "")}
        if found.weight is not None:
            parameters["weight"] = found.weight
        if found.backup:
            parameters["backup"] = True
        return attrs.evolve(self._parsed(found.address), **parameters)


def _taken(compile: Callable[..., object], *arguments: object) -> bool:
    try:
        compile(*arguments)
    except BadConfiguration:
        return False
    return True


def _parameters(table: UpstreamServerTable) -> dict[str, Any]:
    """What the file says of a server beside its address."""
    return Layers((table,)).fields(_SERVER)
