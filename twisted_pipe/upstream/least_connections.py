"""
The server with the fewest connections for its weight.

The servers stand in a heap, by load and then by turn. An entry may say less than is true, never more: it is corrected when it comes
up, so that a connection which begins and ends meanwhile moves nothing. When more is said than is true any more, because connections
have ended, another entry is added, and the old one is dropped when it comes up, or with all others when they are too many. So a
choice takes the logarithm of the number of servers, on average.

Turns are as of round robin: a server that is chosen gets its next turn one I{weight}th later than this one. One that was not chosen
for long gets one turn for that, not many.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
from zope.interface import implementer

from twisted_pipe.interfaces import IUpstreamBalancer

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from twisted_pipe.upstream.peer import Peer

__all__ = ["LeastConnections"]

#: Load, turn, number: nothing behind that is compared, for no two entries are alike in all of these.
_Entry = tuple[float, float, int, "_Place"]


@attrs.define(eq=False)
class _Place:
    """
    A server in the heap.

    @ivar number: in the order of the configuration.
    @ivar pace: 1 / weight.
    @ivar turn: when it is its turn, among servers of equal load.
    @ivar entry: the one that counts; None while it has none, because it could not be had.
    """

    peer: Peer
    number: int
    pace: float
    turn: float
    entry: _Entry | None = None

    def rank(self) -> tuple[float, float, int]:
        """Its load and its turn now."""
        return self.peer.active * self.pace, self.turn, self.number

    def new_entry(self) -> _Entry:
        """What is true now."""
        entry = self.entry = (self.peer.active * self.pace, self.turn, self.number, self)
        return entry


@implementer(IUpstreamBalancer)
@attrs.define(eq=False)
class LeastConnections:
    """
    The next connection goes to the server that has the fewest now, divided by its weight; among equals, to each in turn, by weight
    (nginx least_conn).
    """

    key: ClassVar[str] = ""

    peers: Sequence[Peer]
    _places: dict[Peer, _Place] = attrs.field(init=False, factory=dict)
    _heap: list[_Entry] = attrs.field(init=False, factory=list)
    _turn: float = attrs.field(init=False, default=0.0)  # whose it was when the last one was chosen

    def __attrs_post_init__(self) -> None:
        self.update(self.peers)

    def update(self, peers: Sequence[Peer]) -> None:
        known = self._places
        self.peers = peers
        self._places = {
            peer: _Place(peer, number, 1 / peer.weight, known[peer].turn if peer in known else self._turn)
            for number, peer in enumerate(peers)
        }
        self._tidy()

    def _tidy(self) -> None:
        self._heap = [place.new_entry() for place in self._places.values()]
        heapify(self._heap)

    def pick(self, key: bytes | None, tried: Collection[Peer]) -> Peer | None:
        heap = self._heap
        while heap:
            entry = heap[0]
            load, turn, _, place = entry
            peer = place.peer
            if place.entry is not entry:
                heappop(heap)
            elif place.turn > turn or peer.active * place.pace > load:
                heapreplace(heap, place.new_entry())
            elif not peer.available:
                heappop(heap)
                place.entry = None  # until release() or update()
            elif tried and peer in tried:
                return self._pick_another(tried)
            else:
                return self._chosen(place)
        return None

    def _pick_another(self, tried: Collection[Peer]) -> Peer | None:
        """The best one was tried. That is rare enough to look at all of them."""
        places = [each for each in self._places.values() if each.peer.available and each.peer not in tried]
        return self._chosen(min(places, key=_Place.rank)) if places else None

    def _chosen(self, place: _Place) -> Peer:
        if place.turn > self._turn:
            self._turn = place.turn
        place.turn = self._turn + place.pace
        return place.peer

    def release(self, peer: Peer) -> None:
        place = self._places.get(peer)
        if place is None:
            return
        entry = place.entry
        if entry is None or peer.active * place.pace < entry[0]:
            heap = self._heap
            heappush(heap, place.new_entry())
            if len(heap) > 4 * len(self._places) + 64:
                self._tidy()

    def statistics(self) -> dict[str, Any]:
        """Connections of the servers that may be chosen, by name."""
        return {peer.name: peer.active for peer in self.peers}
