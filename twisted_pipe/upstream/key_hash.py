"""
The same key, the same server.

nginx C{hash KEY} and C{hash KEY consistent}, which find the same servers for the same keys. When the server of a key cannot be had,
another one is found by the key, too; after 20 attempts, or without a key, it is by turns.
"""

from __future__ import annotations

from itertools import count, islice
from typing import TYPE_CHECKING, Any
from zlib import crc32

import attrs
from zope.interface import implementer

from twisted_pipe.interfaces import IUpstreamBalancer
from twisted_pipe.plugin.options import option
from twisted_pipe.units import parse_flag, parse_text
from twisted_pipe.upstream.ketama import Ring
from twisted_pipe.upstream.round_robin import RoundRobin
from twisted_pipe.upstream.shares import Shares, configured_weight

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from twisted_pipe.upstream.peer import Peer

__all__ = ["ATTEMPTS", "KeyHash"]

ATTEMPTS = 21  #: servers that are looked at before it is by turns


def _hash(key: bytes) -> int:
    return crc32(key) >> 16 & 0x7FFF


@implementer(IUpstreamBalancer)
@attrs.define(eq=False)
class KeyHash:
    """
    Connections with the same key go to the same server (nginx hash). With consistent=on few keys change their servers when one is
    added or removed, otherwise most do; when one is out for a while only its own keys move, either way.
    """

    peers: Sequence[Peer]
    key: str = option(parse_text, help="a TEMPLATE of what decides, such as $request_uri or $remote_addr")
    consistent: bool = option(parse_flag, default=False, help="ketama: few keys move when the servers change")
    _line: Shares = attrs.field(init=False)
    _ring: Ring | None = attrs.field(init=False)
    _in_turn: RoundRobin = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._line = Shares(self.peers, configured_weight)
        self._ring = Ring(self.peers) if self.consistent else None
        self._in_turn = RoundRobin(self.peers)

    def update(self, peers: Sequence[Peer]) -> None:
        self._in_turn.update(peers)

    def pick(self, key: bytes | None, tried: Collection[Peer]) -> Peer | None:
        line, ring = self._line, self._ring
        if not key or not line.total:
            return self._in_turn.pick(key, tried)
        peer = line.owner(_hash(key) % line.total) if ring is None else ring.owner(key)
        if peer.available and not tried:
            return peer
        for each in islice(self._on_line(key) if ring is None else ring.owners(key), ATTEMPTS):
            if each.available and each not in tried:
                return each
        return self._in_turn.pick(key, tried)

    def _on_line(self, key: bytes) -> Iterator[Peer]:
        """As Perl's Cache::Memcached and nginx: each attempt adds the hash of its number and the key."""
        line, hashed = self._line, 0
        for attempt in count():
            hashed += _hash(b"%d%b" % (attempt, key) if attempt else key)
            yield line.owner(hashed % line.total)

    def release(self, peer: Peer) -> None:
        """It counts nothing."""

    def statistics(self) -> dict[str, Any]:
        """The points on the circle."""
        return {"points": len(self._ring)} if self._ring is not None else {}
