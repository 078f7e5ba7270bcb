"""
The server with the fewest connections for its weight.

The servers stand in rows, one for each load (connections / weight) that there is. A connection that begins or ends moves its server
to another row; the next one goes to whoever stands first in the row of the least load. All of that takes the same time for any
number of servers; a heap of the rows' loads is only touched when a row is new, or has become empty.

A server whose connection has ended goes to the end of its new row; or to the front, as many times in a row as its weight says. So
servers that have nothing to do are asked in turn, by weight.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
from zope.interface import implementer

from twisted_pipe.interfaces import IUpstreamBalancer

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from twisted_pipe.upstream.peer import Peer

__all__ = ["LeastConnections"]

_Row = OrderedDict["_Place", None]


@attrs.define(eq=False)
class _Place:
    """
    A server in its row.

    @ivar pace: 1 / weight.
    @ivar run: how often it is asked before the others in its row are.
    @ivar left: of these, how many are to come.
    @ivar row: where it stands; none while it cannot be had.
    """

    peer: Peer
    pace: float = 1.0
    run: int = 1
    left: int = 1
    row: _Row | None = None

    @property
    def load(self) -> float:
        return self.peer.active * self.pace


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
    _rows: dict[float, _Row] = attrs.field(init=False, factory=dict)  # by load; some are empty
    _loads: list[float] = attrs.field(init=False, factory=list)  # of the rows, a heap
    _most: int = attrs.field(init=False, default=0)  # rows, before the empty ones are dropped

    def __attrs_post_init__(self) -> None:
        self.update(self.peers)

    def update(self, peers: Sequence[Peer]) -> None:
        known: dict[Peer, _Place] = self._places
        self.peers = peers
        self._places = {peer: known.pop(peer) if peer in known else _Place(peer) for peer in peers}
        for place in known.values():
            self._leave(place)
        common = math.gcd(*(peer.weight for peer in peers))
        for place in self._places.values():
            place.pace = 1 / place.peer.weight
            place.run = place.peer.weight // common
            place.left = min(place.left, place.run)
            if place.row is None or self._rows.get(place.load) is not place.row:
                self._leave(place)
                self._enter(place)
        self._most = 2 * len(peers) + 64

    def _enter(self, place: _Place) -> None:
        row = place.row = self._row(place.load)
        row[place] = None

    def _leave(self, place: _Place) -> None:
        row, place.row = place.row, None
        if row is not None:
            del row[place]

    def _row(self, load: float) -> _Row:
        """The row of that load, which may be new."""
        row = self._rows.get(load)
        if row is None:
            if len(self._rows) > self._most:
                self._rows = {each: row for each, row in self._rows.items() if row}
                self._loads = list(self._rows)
                heapify(self._loads)
            row = self._rows[load] = OrderedDict()
            heappush(self._loads, load)
        return row

    def pick(self, key: bytes | None, tried: Collection[Peer]) -> Peer | None:
        rows = self._rows
        while self._loads:
            row = rows[self._loads[0]]
            if not row:
                del rows[heappop(self._loads)]
                continue
            place, _ = row.popitem(last=False)
            peer = place.peer
            if not peer.available:
                place.row = None  # until release() or update()
                continue
            if tried and peer in tried:
                row[place] = None
                row.move_to_end(place, last=False)
                return self._pick_another(tried)
            load = (peer.active + 1) * place.pace
            following = rows.get(load)
            if following is None:
                following = self._row(load)
            following[place] = None
            place.row = following
            return peer
        return None

    def _pick_another(self, tried: Collection[Peer]) -> Peer | None:
        """The best one was tried. That is rare enough to look at all of them."""
        standing = (place for load in sorted(self._rows) for place in self._rows[load])
        place = next((each for each in standing if each.peer.available and each.peer not in tried), None)
        if place is None:
            return None
        self._leave(place)
        row = place.row = self._row((place.peer.active + 1) * place.pace)
        row[place] = None
        return place.peer

    def release(self, peer: Peer) -> None:
        place = self._places.get(peer)
        if place is None:
            return
        row = place.row
        if row is not None:
            del row[place]
        load = peer.active * place.pace
        row = self._rows.get(load)
        if row is None:
            row = self._row(load)
        row[place] = None
        place.row = row
        if place.left > 1:
            place.left -= 1
            row.move_to_end(place, last=False)
        else:
            place.left = place.run

    def statistics(self) -> dict[str, Any]:
        """Connections of the servers that may be chosen, by name."""
        return {peer.name: peer.active for peer in self.peers}
