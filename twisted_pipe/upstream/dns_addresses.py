"""The addresses of a host, as nameservers tell them."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.names import dns
from twisted.python.failure import Failure

from twisted_pipe.errors import NotResolved
from twisted_pipe.upstream.nameservers import Nameservers

__all__ = ["Addresses", "HostAddresses", "addresses_in", "all_of"]

T = TypeVar("T")

_NAMES = {dns.A: "A", dns.AAAA: "AAAA"}


@attrs.frozen
class Addresses:
    """
    @ivar hosts: IPv4 and IPv6 addresses, as text.
    @ivar valid: seconds for which that holds; 0 if it should be asked again as soon as may be.
    @ivar problem: which kind could not be had, and why; then those of it that were known before are among C{hosts}.
    """

    hosts: tuple[str, ...]
    valid: float
    problem: str = ""


@attrs.define
class HostAddresses:
    """
    Asks for A and AAAA at the same time. If one of the two cannot be had, what is known of it stays: a nameserver that never
    answers questions about AAAA is no rarity, and neither is one packet that gets lost.

    @ivar nameservers: who is asked.
    @ivar kinds: what is asked for, C{dns.A} and C{dns.AAAA} or one of them.
    """

    nameservers: Nameservers
    kinds: tuple[int, ...]
    _known: dict[tuple[str, int], tuple[str, ...]] = attrs.field(factory=dict, init=False)

    async def of(self, host: str) -> Addresses:
        """
        @raise NotResolved: nobody can tell; or nobody can of one kind, and no address of either is known.
        """
        asking = [self._ask(host, kind).addErrback(_not_resolved) for kind in self.kinds]
        told = await all_of(asking)
        problems = [
            f"{_NAMES[kind]}: {each}"
            for kind, each in zip(self.kinds, told, strict=True)
            if isinstance(each, NotResolved)
        ]
        if len(problems) == len(told):
            raise NotResolved("; ".join(dict.fromkeys(problems)))
        positive: list[float] = []
        negative = [0.0]
        for kind, each in zip(self.kinds, told, strict=True):
            if not isinstance(each, NotResolved):
                self._known[host, kind] = each.hosts
                (positive if each.hosts else negative).append(each.valid)
        hosts = self.known(host)
        if problems and not hosts:
            raise NotResolved("; ".join(problems))  # that there are none of the other kind says nothing of this one
        # of what could not be told, "none of the other kind" is no reason to wait
        valid = min(positive) if positive else 0.0 if problems else max(negative)
        return Addresses(hosts, valid, "; ".join(problems))

    def known(self, host: str) -> tuple[str, ...]:
        """What was told of it last."""
        return tuple(each for kind in self.kinds for each in self._known.get((host, kind), ()))

    def remember(self, host: str, told: Mapping[int, tuple[str, ...]]) -> None:
        """
        Somebody else has told the addresses of C{host}, all that there are.

        @param told: by kind.
        """
        self._known.update({(host, kind): told.get(kind, ()) for kind in self.kinds})

    def keep_only(self, hosts: Collection[str]) -> None:
        """Forget what is known of all other hosts."""
        self._known = {key: known for key, known in self._known.items() if key[0] in hosts}

    def _ask(self, host: str, kind: int) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._addresses(host, kind))

    async def _addresses(self, host: str, kind: int) -> Addresses:
        records = await self.nameservers.ask(host, kind)
        hosts = tuple(dict.fromkeys(addresses_in(records.answers, kind)))
        if not hosts:
            return Addresses((), records.negative_ttl)
        return Addresses(hosts, float(min(each.ttl for each in records.answers)))


async def all_of(results: Sequence[Deferred[T]]) -> list[T]:
    """What they fire with, or the failure of the first that fails; all others are then cancelled, as when this is."""
    try:
        return await gatherResults(results, consumeErrors=True)
    except FirstError as error:
        for each in results:
            each.cancel()
        error.subFailure.raiseException()
        raise  # for who reads types


def addresses_in(records: Iterable[Any], kind: int) -> Iterable[str]:
    """
    The addresses among C{dns.RRHeader}s. Without those that nobody can connect to: multicast, and 0.0.0.0, which many nameservers
    give for names that they block, and which would be this machine.
    """
    for each in records:
        if each.type == kind:
            address = ipaddress.ip_address(each.payload.address)
            if not (address.is_unspecified or address.is_multicast):
                yield str(address)


def _not_resolved(failure: Failure) -> NotResolved:
    failure.trap(NotResolved)
    error: Any = failure.value
    return error  # type: ignore[no-any-return]
