"""
The same client network, the same server (nginx C{ip_hash}, which finds the same servers).

Of an IPv4 address the first three octets count, of an IPv6 address all; clients of UNIX sockets are one network.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
from zope.interface import implementer

from twisted_pipe.interfaces import IUpstreamBalancer
from twisted_pipe.upstream.key_hash import ATTEMPTS
from twisted_pipe.upstream.round_robin import RoundRobin
from twisted_pipe.upstream.shares import Shares, configured_weight

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from twisted_pipe.upstream.peer import Peer

__all__ = ["IpHash"]

_FIRST = 89  # the hash of nothing
_FACTOR, _MODULUS = 113, 6271
_NO_NETWORK = bytes(3)


@lru_cache(maxsize=4096)
def _network(address: bytes) -> bytes:
    """What counts of an address, as text."""
    text = address.decode("ascii", "replace")
    try:
        return socket.inet_pton(socket.AF_INET6, text) if ":" in text else socket.inet_pton(socket.AF_INET, text)[:3]
    except OSError:
        return _NO_NETWORK


def _next_hash(before: int, network: bytes) -> int:
    for octet in network:
        before = (before * _FACTOR + octet) % _MODULUS
    return before


@lru_cache(maxsize=4096)
def _first_hash(address: bytes) -> int:
    return _next_hash(_FIRST, _network(address))


def _hashes(address: bytes) -> Iterator[int]:
    """What is tried for a client, in order."""
    hashed = _first_hash(address)
    for _ in range(ATTEMPTS):
        yield hashed
        hashed = _next_hash(hashed, _network(address))


@implementer(IUpstreamBalancer)
@attrs.define(eq=False)
class IpHash:
    """
    Clients of one network go to the same server (nginx ip_hash). When that cannot be had, another one is found by the address, too.
    """

    key: ClassVar[str] = "$remote_addr"

    peers: Sequence[Peer]
    _line: Shares = attrs.field(init=False)
    _in_turn: RoundRobin = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._line = Shares(self.peers, configured_weight)
        self._in_turn = RoundRobin(self.peers)

    def update(self, peers: Sequence[Peer]) -> None:
        self._in_turn.update(peers)

    def pick(self, key: bytes | None, tried: Collection[Peer]) -> Peer | None:
        line = self._line
        if line.total and key is not None:
            first = line.owner(_first_hash(key) % line.total)
            if first.available and not tried:
                return first
            for hashed in _hashes(key):
                peer = line.owner(hashed % line.total)
                if peer.available and peer not in tried:
                    return peer
        return self._in_turn.pick(key, tried)

    def release(self, peer: Peer) -> None:
        """It counts nothing."""

    def statistics(self) -> dict[str, Any]:
        return {}
