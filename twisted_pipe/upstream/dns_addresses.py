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
from twisted_pipe.upstream.host_port import is_host_name
from twisted_pipe.upstream.nameservers import Nameservers

__all__ = ["Addresses", "HostAddresses", "addresses_in", "all_of"]

T = TypeVar("T")

_NAMES = {dns.A: "A", dns.AAAA: "AAAA"}
_MOST_ALIASES = 8  # one of another, that are asked for


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
        answers = [each for each in told if not isinstance(each, NotResolved)]
        for kind, each in zip(self.kinds, told, strict=True):
            if not isinstance(each, NotResolved):
                self._known[host, kind] = each.hosts
        hosts = self.known(host)
        if problems and not hosts:
            raise NotResolved("; ".join(problems))  # that there are none of the other kind says nothing of this one
        return Addresses(hosts, _valid(answers, bool(problems)), "; ".join(problems))

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
        """
        An alias of which no more is told than where it leads is followed: a nameserver that answers for its own zones only has no
        more to tell.
        """
        name = host.encode("idna").decode("ascii").lower().removesuffix(".")
        seconds: list[int] = []
        for _ in range(_MOST_ALIASES):
            records = await self.nameservers.ask(name, kind)
            seconds += [each.ttl for each in records.answers]
            hosts = tuple(dict.fromkeys(addresses_in(records.answers, kind)))
            if hosts:
                return Addresses(hosts, float(min(seconds)))
            end = _end_of_aliases(name, records.answers)
            if end == name or records.negative_ttl or not is_host_name(end):
                return Addresses((), min([records.negative_ttl, *map(float, seconds)]))
            name = end
        raise NotResolved(f"{host}: more than {_MOST_ALIASES} aliases, one of another")


def _valid(answers: Sequence[Addresses], partly: bool) -> float:
    """
    For how long answers about A and AAAA hold together.

    @param partly: whether one of the two could not be had: then "none of the other kind" is no reason to wait.
    """
    positive = [each.valid for each in answers if each.hosts]
    negative = [each.valid for each in answers if not each.hosts]
    if positive:
        return min([*positive, *filter(None, negative)])  # RFC 2308, section 5; 0: it does not say
    return 0.0 if partly else min(negative)


def _end_of_aliases(name: str, answers: Iterable[Any]) -> str:
    """To what C{name} leads, in the end."""
    aliases = {_text(each.name): _text(each.payload.name) for each in answers if each.type == dns.CNAME}
    for _ in aliases:
        name = aliases.get(name, name)
    return name


def _text(name: dns.Name) -> str:
    return name.name.lower().decode("ascii", "replace")


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
