"""Servers side by side on a line, each as long as its weight: a number falls on one of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate

from twisted_pipe.upstream.peer import Peer

__all__ = ["Shares", "configured_weight"]


def configured_weight(peer: Peer) -> int:
    """A weight that does not change while the server starts slowly: what hashes to a server stays there."""
    return peer.server.weight


class Shares:
    """
    @ivar total: of all weights; 0 if there is no server.
    """

    __slots__ = ("_bounds", "_peers", "total")

    def __init__(self, peers: Sequence[Peer], weight: Callable[[Peer], int]) -> None:
        self._peers = tuple(peers)
        self._bounds = list(accumulate(map(weight, peers)))
        self.total = self._bounds[-1] if peers else 0

    def owner(self, number: int) -> Peer:
        """On whom C{number}, from 0 to C{total - 1}, falls."""
        return self._peers[bisect_right(self._bounds, number)]
