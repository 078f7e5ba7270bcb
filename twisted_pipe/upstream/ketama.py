"""
Consistent hashing: servers have points on a circle, and a key belongs to the server of the next point.

When a server leaves, only its own keys move, to their next points; a new one takes its share from all others. The points are
those of C{ketama_points => 160} of Perl's Cache::Memcached::Fast, and so of nginx's C{hash … consistent}: both find the same server
for a key if they write the servers' names alike. 160 points for each unit of weight; the first is the CRC-32 of C{HOST NUL PORT}
and four zero bytes, each other that of C{HOST NUL PORT} and the point before, little-endian.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from zlib import crc32

from twisted_pipe.upstream.peer import Peer
from twisted_pipe.upstream.shares import configured_weight

__all__ = ["POINTS", "Ring", "points_of"]

POINTS = 160  #: of a server of weight 1
_MOST_WEIGHT = 2_000  # of all servers: 0.3 s and 50 MB; beyond it points become coarser

_PORT = re.compile(r"(.*):([0-9]*)", re.DOTALL)


def points_of(name: str, weight: int) -> Iterator[int]:
    """Where a server stands on the circle of 2**32."""
    base = crc32(_hashed(name).encode("utf-8", "surrogateescape"))
    point = 0
    for _ in range(POINTS * weight):
        point = crc32(point.to_bytes(4, "little"), base)
        yield point


def _hashed(name: str) -> str:
    """C{HOST NUL PORT}; both may be missing in part: C{unix:/PATH}, C{HOST}."""
    if name.lower().startswith("unix:"):
        return name[5:] + "\0"
    found = _PORT.fullmatch(name)
    return f"{found[1]}\0{found[2]}" if found else name + "\0"


class Ring:
    """The circle."""

    __slots__ = ("_owners", "_points")

    def __init__(self, peers: Sequence[Peer]) -> None:
        total = sum(map(configured_weight, peers))
        scale = max(1.0, total / _MOST_WEIGHT)
        owners: dict[int, Peer] = {}
        for peer in peers:
            for point in points_of(peer.name, max(1, int(configured_weight(peer) / scale))):
                owners.setdefault(point, peer)
        self._points = sorted(owners)
        self._owners = [owners[point] for point in self._points]
        self._owners += self._owners[:1]  # behind the last point is the first

    def __len__(self) -> int:
        return len(self._points)

    def owner(self, key: bytes) -> Peer:
        """To whom C{key} belongs, if there is anybody."""
        return self._owners[bisect_left(self._points, crc32(key))]

    def owners(self, key: bytes) -> Iterator[Peer]:
        """The same, and then those of the points that follow, for ever."""
        place, count = bisect_left(self._points, crc32(key)), len(self._points)
        while count:
            place %= count
            yield self._owners[place]
            place += 1
