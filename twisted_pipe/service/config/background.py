"""What goes on for a group of the configuration file while the service runs: names are looked up, servers are checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Union

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.interfaces import IUpstreamResolver
from twisted_pipe.proxies.check_stream import CheckConnector
from twisted_pipe.service.config.model_upstreams import UpstreamTable
from twisted_pipe.service.config.problems import Problems
from twisted_pipe.service.configuration import Background
from twisted_pipe.service.endpoints import parse_upstream
from twisted_pipe.upstream.group import UpstreamGroup, UpstreamServer
from twisted_pipe.upstream.group_names import GroupNames, NamedServers
from twisted_pipe.upstream.health_checks import HealthChecks
from twisted_pipe.upstream.host_port import split_host_port

__all__ = ["background_of", "name_of"]

_NOTHING_TO_LOOK_UP = (
    "must be left out, or a server be given by name: there is none that it looks up; dns and static take HOST:PORT, "
    "srv names such as _http._tcp.example.org"
)
_NO_TIMEOUT = 0  # of the endpoint's own: a check has one


def background_of(
    table: UpstreamTable,
    group: UpstreamGroup,
    servers: Sequence[Union[UpstreamServer, NamedServers]],
    resolver: IUpstreamResolver | None,
    problems: Problems,
    reactor: Any,
) -> Iterator[Background]:
    """
    What is wrong is reported.

    @param servers: of the group, in the order of the file.
    @param resolver: what C{resolve} says, built.
    """
    if resolver is not None and table.resolve is not None:
        if not any(isinstance(each, NamedServers) for each in servers):
            problems.add((*table.where, "resolve"), _NOTHING_TO_LOOK_UP)
        yield GroupNames(group, servers, resolver, table.resolve.bounds, reactor)
    if table.health is not None:
        where = (*table.where, "health")
        connector = CheckConnector(group, reactor)
        port = table.health.schedule.port
        if port:
            for server in group.servers:
                problems.attempt(problems.checked, where, _at_port, reactor, port, server)
            connector = CheckConnector(group, reactor, partial(_at_port, reactor, port))
        checks = problems.attempt(problems.checked, where, HealthChecks, group, table.health, connector, reactor)
        if checks is not None:
            yield checks


def name_of(address: str) -> str:
    """
    The host that a certificate has to be for, of a name that is looked up: that of HOST:PORT, and of a service's name what the
    service is of (RFC 6125, section 6.2.1): what the DNS says beyond that anybody may have said.
    """
    named = split_host_port(address)
    if named is not None:
        return named[0]
    labels = address.split(".")
    while labels and labels[0].startswith("_"):
        labels.pop(0)
    return ".".join(labels)


def _at_port(reactor: Any, port: int, server: UpstreamServer) -> UpstreamServer:
    """
    The same server at another port.

    @raise BadConfiguration: it has none.
    """
    if isinstance(server.address, tuple):
        host = server.address[0]
    else:
        named = split_host_port(server.name)
        if named is None:
            raise BadConfiguration(
                "port", port, f"port must be left out: {server.name} has none that could be another one"
            )
        host = named[0]
    other = parse_upstream(reactor, f"[{host}]:{port}" if ":" in host else f"{host}:{port}", _NO_TIMEOUT)
    return attrs.evolve(server, endpoint=other.endpoint, address=other.address)
