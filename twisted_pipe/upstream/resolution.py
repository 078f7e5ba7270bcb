"""What a resolver finds, and for how long that holds."""

from __future__ import annotations

import ipaddress

import attrs

from twisted_pipe.errors import BadConfiguration

__all__ = ["Bounds", "FoundServer", "Resolution"]


@attrs.frozen
class FoundServer:
    """
    One server that a name stands for.

    @ivar host: an IPv4 or IPv6 address, as text.
    @ivar port: from 1 to 65535.
    @ivar weight: how many connections it gets beside another one's, from 1 to 65535; None: what the configuration says of the name.
    @ivar backup: whether it is only asked when no other can be; or the configuration says so of the name.
    """

    host: str
    port: int
    weight: int | None = None
    backup: bool = False

    @property
    def address(self) -> str:
        """C{"10.0.0.7:8080"}, C{"[2001:db8::7]:8080"}."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def order(self) -> tuple[object, ...]:
        """
        For sorting. Nameservers turn the order of their answers round, and a group's order should not change by that.
        """
        host = ipaddress.ip_address(self.host)
        return self.backup, host.version, host.packed, self.port


@attrs.frozen
class Resolution:
    """
    The answer about one name.

    @ivar found: in any order; none, if the name stands for no server now.
    @ivar valid: seconds for which it holds; None: for ever.
    @ivar problem: what of the answer could not be had, if the rest is of use without it; empty if nothing is missing.
    """

    found: tuple[FoundServer, ...]
    valid: float | None
    problem: str = ""


@attrs.frozen(kw_only=True)
class Bounds:
    """
    What is made of answers, whoever gives them.

    @ivar valid: seconds for which an answer holds, whatever it says itself; 0: what it says.
    @ivar min_valid: seconds for which it holds at least, if it says less. More than 0.
    @ivar max_valid: seconds for which it holds at most, if it says more.
    @ivar timeout: seconds that one look-up may take.
    @ivar max_servers: how many servers a name may stand for; of more answers the rest is left out.
    @raise BadConfiguration: C{max_valid} is less than C{min_valid}, or C{min_valid} or C{timeout} not more than 0.
    """

    valid: float = 0.0
    min_valid: float = 5.0
    max_valid: float = 3600.0
    timeout: float = 15.0
    max_servers: int = 256

    def __attrs_post_init__(self) -> None:
        for name in ("min_valid", "timeout"):
            if getattr(self, name) <= 0:
                raise BadConfiguration(name, getattr(self, name), "must be more than 0 s")
        if self.max_valid < self.min_valid:
            raise BadConfiguration("max_valid", self.max_valid, f"must be at least min_valid, {self.min_valid:g} s")

    def applied(self, resolution: Resolution) -> Resolution:
        """C{resolution} within these bounds: each address once, always in the same order, not too many."""
        each_once: dict[str, FoundServer] = {}
        for each in sorted(resolution.found, key=lambda each: each.order):
            each_once.setdefault(each.address, each)
        found = tuple(each_once.values())
        problem = resolution.problem
        if len(found) > self.max_servers:
            problem = (
                problem or f"it stands for {len(found)} servers, of which max_servers, {self.max_servers}, are used"
            )
        return Resolution(found[: self.max_servers], self._validity(resolution.valid), problem)

    def _validity(self, valid: float | None) -> float | None:
        if self.valid:
            return self.valid
        return None if valid is None else min(max(valid, self.min_valid), self.max_valid)
