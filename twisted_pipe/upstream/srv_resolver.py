"""
Names that stand for services in the DNS: SRV records (RFC 2782), which give servers with their ports and weights.

Those of the best priority, which is the lowest number, are the group's servers, all others its backup servers, as with nginx
C{server … service=}. A weight of 0 is taken for 1. The addresses of the servers are taken from what the nameserver has told beside
its answer; those that it has not told are asked for.
"""

from __future__ import annotations

import re
from typing import Any

import attrs
from twisted.internet.defer import Deferred, DeferredSemaphore, succeed
from twisted.names import dns
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_pipe.errors import NotResolved
from twisted_pipe.interfaces import IUpstreamResolver
from twisted_pipe.plugin.options import one_of, option
from twisted_pipe.upstream.dns_addresses import Addresses, HostAddresses, addresses_in, all_of
from twisted_pipe.upstream.dns_resolver import KINDS
from twisted_pipe.upstream.host_port import is_host_name
from twisted_pipe.upstream.nameservers import Nameserver, Nameservers, Records, parse_nameservers
from twisted_pipe.upstream.resolution import FoundServer, Resolution

__all__ = ["SrvResolver"]

_AT_ONCE = 8  # hosts whose addresses are asked for
_MOST_RECORDS = 256
_NAME = re.compile(r"[^:/\\=\[\]\s]*[^:/\\=\[\]\s\d.][^:/\\=\[\]\s]*")


@implementer(IUpstreamResolver)
@attrs.define(eq=False)
class SrvResolver:
    """
    Asks nameservers for the SRV records of a name such as _http._tcp.example.org. They give servers, ports and weights; those of
    the lowest priority are used, the others are backup servers. The answer holds for as long as it says (its TTL).

    @ivar reactor: an C{IReactorFDSet}, C{IReactorTCP} and C{IReactorTime}.
    """

    reactor: Any
    nameserver: tuple[Nameserver, ...] = option(
        parse_nameservers, default=(), help="who is asked, one after the other; by default as /etc/resolv.conf says"
    )
    family: str = option(one_of(*KINDS), default="any", help="which kind of address is wanted")
    _nameservers: Nameservers = attrs.field(init=False)
    _targets: dict[str, HostAddresses] = attrs.field(factory=dict, init=False)  # of each service, by its name

    def __attrs_post_init__(self) -> None:
        self._nameservers = Nameservers(self.reactor, self.nameserver)

    def takes(self, address: str) -> bool:
        return _NAME.fullmatch(address) is not None and is_host_name(address)

    def resolve(self, address: str) -> Deferred[Resolution]:
        return Deferred.fromCoroutine(self._resolve(address))

    async def _resolve(self, name: str) -> Resolution:
        records = await self._nameservers.ask(name, dns.SRV)
        services = [each for each in records.answers if each.type == dns.SRV and _is_usable(each)]
        if not services:
            self._targets.pop(name, None)
            return Resolution((), records.negative_ttl)
        services = sorted(services, key=_order)[:_MOST_RECORDS]
        addresses = self._targets.setdefault(name, HostAddresses(self._nameservers, KINDS[self.family]))
        hosts = await _all_hosts(addresses, services, records)
        best = services[0].payload.priority
        found = tuple(
            FoundServer(host, each.payload.port, max(each.payload.weight, 1), each.payload.priority > best)
            for each in services
            for host in hosts[_target(each)].hosts
        )
        problems = [f"{host}: {known.problem}" for host, known in hosts.items() if known.problem]
        if problems and not found:
            raise NotResolved(problems[0])
        answers = min(each.ttl for each in records.answers)
        return Resolution(found, float(min(answers, *(each.valid for each in hosts.values()))), "; ".join(problems[:1]))


async def _all_hosts(addresses: HostAddresses, services: list[Any], records: Records) -> dict[str, Addresses]:
    """
    The addresses of all targets.

    @param addresses: what is known of them, and who asks.
    """
    targets = list(dict.fromkeys(_target(each) for each in services))
    at_once = DeferredSemaphore(_AT_ONCE)
    asking = [at_once.run(_host, addresses, each, records) for each in targets]
    found = await all_of(asking)
    addresses.keep_only(targets)
    return dict(zip(targets, found, strict=True))


def _host(addresses: HostAddresses, host: str, records: Records) -> Deferred[Addresses]:
    told = [each for each in records.additional if _same(each.name.name, host)]
    by_kind = {kind: tuple(addresses_in(told, kind)) for kind in addresses.kinds}
    if any(by_kind.values()):
        addresses.remember(host, by_kind)
        return succeed(Addresses(addresses.known(host), float(min(each.ttl for each in told))))
    return Deferred.fromCoroutine(addresses.of(host)).addErrback(_unknown, addresses, host)


def _unknown(failure: Failure, addresses: HostAddresses, host: str) -> Addresses:
    """Nothing can be said about one of the servers: the others are of use without it. It is asked for again after C{min_valid}."""
    failure.trap(NotResolved)
    return Addresses(addresses.known(host), 0.0, str(failure.value))


def _is_usable(record: Any) -> bool:
    """Not the one that says that there is no such service: its target is the root."""
    return bool(record.payload.port) and is_host_name(_target(record))


def _order(record: Any) -> tuple[int, int, int, bytes]:
    service = record.payload
    return service.priority, -service.weight, service.port, service.target.name.lower()


def _target(record: Any) -> str:
    target: bytes = record.payload.target.name
    return target.lower().decode("ascii", "replace")


def _same(name: bytes, host: str) -> bool:
    return name.lower().decode("ascii", "replace") == host
