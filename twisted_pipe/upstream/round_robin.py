"""
One server after the other, by weight.

Weights are honoured smoothly, as by nginx: with 5, 1 and 1 the first server gets five of seven connections, but not five in a row
(a a b a c a a). At each turn every server earns its weight, the richest is chosen and pays for all of them; among equals the first.

A server that cannot be had when it is its turn loses it to the next one. If none of as many turns as there are servers is of one
that can be had, because others weigh so much more, those that can share these turns likewise, by an account of their own.

The turns repeat. Once a whole period of them has led back to where it began, it is played again from memory, which takes the same
time for any number of servers. What the servers have earned is kept when some of them come or go.
"""

from __future__ import annotations

import math
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
from zope.interface import implementer

from twisted_pipe.interfaces import IUpstreamBalancer

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from twisted_pipe.upstream.peer import Peer

__all__ = ["RoundRobin"]

_LONGEST = 65536  # turns that are remembered; longer periods are worked out again and again


@implementer(IUpstreamBalancer)
@attrs.define(eq=False)
class RoundRobin:
    """
    Every server gets connections in proportion to its weight; with equal weights, in the order in which they were configured. A
    server that is full, or not wanted, loses its turn (nginx without any other method).
    """

    key: ClassVar[str] = ""

    peers: Sequence[Peer]
    _weights: Sequence[int] = attrs.field(init=False, default=())
    _earned: list[int] = attrs.field(init=False, factory=list)  # at a played period's beginning
    _played: Sequence[Peer] = attrs.field(init=False, default=())  # the period that is played, if one is
    _place: int = attrs.field(init=False, default=0)  # turns of it that are over
    _turn: Iterator[Peer] = attrs.field(init=False)
    # earned of the turns of those that could not be had
    _shared: dict[Peer, int] = attrs.field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        peers, self.peers = self.peers, ()
        self.update(peers)

    def update(self, peers: Sequence[Peer]) -> None:
        earned, before = self._earned_by_now(), sum(self._weights) or 1
        self.peers = peers
        self._weights = [peer.weight for peer in peers]
        total = sum(self._weights)
        self._earned = [earned.get(peer, 0) * total // before for peer in peers]
        self._played, self._place = (), 0
        self._turn = self._turns()
        self._shared = dict.fromkeys(peers, 0)

    def pick(self, key: bytes | None, tried: Collection[Peer]) -> Peer | None:
        for peer in self._turn:
            if peer.available and peer not in tried:
                return peer
            break
        return self._pick_another(tried)

    def release(self, peer: Peer) -> None:
        """It counts nothing."""

    def statistics(self) -> dict[str, Any]:
        """How many turns are remembered."""
        return {"remembered": len(self._played)}

    def _pick_another(self, tried: Collection[Peer]) -> Peer | None:
        """Whose turn it was cannot take it."""
        for peer in islice(self._turn, len(self.peers)):
            if peer.available and peer not in tried:
                return peer
        others = [peer for peer in self.peers if peer.available and peer not in tried]
        if not others:
            return None
        earned = self._shared
        for peer in others:
            earned[peer] += peer.weight
        richest = max(others, key=earned.__getitem__)
        earned[richest] -= sum(peer.weight for peer in others)
        return richest

    def _turns(self) -> Iterator[Peer]:
        """The servers in turn, for ever; none if there are none."""
        peers, weights, total = self.peers, self._weights, sum(self._weights)
        if not peers:
            return
        period = total // math.gcd(*weights)
        while True:
            began, turns = self._earned, []
            for _ in range(period):
                earned = [each + weight for each, weight in zip(self._earned, weights, strict=True)]
                richest = earned.index(max(earned))
                earned[richest] -= total
                self._earned = earned
                if period <= _LONGEST:
                    turns.append(peers[richest])
                yield peers[richest]
            if turns and self._earned == began:
                break
        self._played = turns
        while True:
            for self._place, peer in enumerate(turns, 1):
                yield peer

    def _earned_by_now(self) -> dict[Peer, int]:
        total, place = sum(self._weights), self._place
        paid = Counter(self._played[:place])
        return {
            peer: each + place * weight - total * paid[peer]
            for peer, each, weight in zip(self.peers, self._earned, self._weights, strict=True)
        }
