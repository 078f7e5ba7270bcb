"""Names that stand for addresses in the DNS."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.names import dns
from zope.interface import implementer

from twisted_pipe.interfaces import IUpstreamResolver
from twisted_pipe.plugin.options import one_of, option
from twisted_pipe.upstream.dns_addresses import HostAddresses
from twisted_pipe.upstream.host_port import split_host_port
from twisted_pipe.upstream.nameservers import Nameserver, Nameservers, parse_nameservers
from twisted_pipe.upstream.resolution import FoundServer, Resolution

__all__ = ["KINDS", "DnsResolver"]

#: What C{family} means.
KINDS = {"any": (dns.A, dns.AAAA), "ipv4": (dns.A,), "ipv6": (dns.AAAA,)}


@implementer(IUpstreamResolver)
@attrs.define(eq=False)
class DnsResolver:
    """
    Asks nameservers for the addresses of HOST in HOST:PORT: A and AAAA. The answer holds for as long as it says (its TTL).

    @ivar reactor: an C{IReactorFDSet}, C{IReactorTCP} and C{IReactorTime}.
    """

    reactor: Any
    nameserver: tuple[Nameserver, ...] = option(
        parse_nameservers, default=(), help="who is asked, one after the other; by default as /etc/resolv.conf says"
    )
    family: str = option(one_of(*KINDS), default="any", help="which kind of address is wanted")
    _addresses: HostAddresses = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._addresses = HostAddresses(Nameservers(self.reactor, self.nameserver), KINDS[self.family])

    def takes(self, address: str) -> bool:
        return split_host_port(address) is not None

    def resolve(self, address: str) -> Deferred[Resolution]:
        return Deferred.fromCoroutine(self._resolve(address))

    async def _resolve(self, address: str) -> Resolution:
        named = split_host_port(address)
        assert named is not None, "takes() was asked"
        host, port = named
        known = await self._addresses.of(host)
        return Resolution(tuple(FoundServer(each, port) for each in known.hosts), known.valid, known.problem)
