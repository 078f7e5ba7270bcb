"""
Two servers at random, and of these the one with fewer connections for its weight.

It comes close to the fewest of all, and where several proxies share the servers, each of which sees its own connections only, it
does not send all of them to the same server at the same time (nginx C{random two least_conn}).
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
from zope.interface import implementer

from twisted_pipe.interfaces import IUpstreamBalancer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from twisted_pipe.upstream.peer import Peer

__all__ = ["RandomOfTwo"]

_ATTEMPTS = 8  # to draw two that can be had, before all are looked at


@implementer(IUpstreamBalancer)
@attrs.define(eq=False)
class RandomOfTwo:
    """
    The one with fewer connections for its weight, of two that are drawn by weight (nginx random two least_conn).

    @ivar generator: what is drawn with.
    """

    key: ClassVar[str] = ""

    peers: Sequence[Peer]
    generator: Random = attrs.field(factory=Random, kw_only=True)
    _random: Callable[[], float] = attrs.field(init=False)
    _weights: Sequence[int] = attrs.field(init=False)
    _total: int = attrs.field(init=False)
    _bounds: Sequence[int] = attrs.field(init=False)  # where each but the last ends, if they lie side by side

    def __attrs_post_init__(self) -> None:
        self._random = self.generator.random
        self.update(self.peers)

    def update(self, peers: Sequence[Peer]) -> None:
        self.peers = peers
        self._weights = [peer.weight for peer in peers]
        self._total = sum(self._weights)
        self._bounds = list(accumulate(self._weights[:-1]))

    def pick(self, key: bytes | None, tried: Collection[Peer]) -> Peer | None:
        bounds = self._bounds
        if not bounds or tried:
            return self._pick_patiently(tried)
        peers, weights, total, random = self.peers, self._weights, self._total, self._random
        attempts = 1
        while True:
            first, second = bisect_right(bounds, random() * total), bisect_right(bounds, random() * total)
            one, other = peers[first], peers[second]
            if first != second and one.available and other.available:
                return one if one.active * weights[second] <= other.active * weights[first] else other
            attempts += 1
            if attempts > _ATTEMPTS:
                return self._pick_patiently(tried)

    def _pick_patiently(self, tried: Collection[Peer]) -> Peer | None:
        """The same among those that can be had; of two as well, the first of which is the one chosen when both do as much."""
        found = [peer for peer in self.peers if peer.available and peer not in tried]
        if len(found) > 1:
            one = self._drawn(found)
            found.remove(one)
            found = [one, self._drawn(found)]
        return min(found, key=lambda peer: peer.active / peer.weight, default=None)

    def _drawn(self, peers: Sequence[Peer]) -> Peer:
        (drawn,) = self.generator.choices(peers, [peer.weight for peer in peers])
        return drawn

    def release(self, peer: Peer) -> None:
        """Servers count their connections themselves."""

    def statistics(self) -> dict[str, Any]:
        return {}
