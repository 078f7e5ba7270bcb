"""Groups for tests: servers are called a, b, c …"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from string import ascii_lowercase
from typing import Any

from twisted.internet.task import Clock

from twisted_pipe.upstream.balancer import BALANCERS
from twisted_pipe.upstream.group import UpstreamGroup
from twisted_pipe.upstream.peer import Peer
from twisted_pipe.upstream.server import UpstreamServer

__all__ = ["group_of", "names", "peers_of", "picks", "servers"]


def servers(count: int, **parameters: Any) -> list[UpstreamServer]:
    """So many, with these parameters."""
    return [UpstreamServer(letter, None, **parameters) for letter in ascii_lowercase[:count]]


def peers_of(*weights: int) -> list[Peer]:
    """With these weights."""
    return [
        Peer(UpstreamServer(letter, None, weight=weight))
        for letter, weight in zip(ascii_lowercase, weights, strict=False)
    ]


def group_of(*weights: int, balance: str = "round-robin", clock: Any = None, **parameters: Any) -> UpstreamGroup:
    """
    @param weights: of its servers.
    @param parameters: of the servers.
    """
    configured = [
        UpstreamServer(letter, None, weight=weight, **parameters)
        for letter, weight in zip(ascii_lowercase, weights, strict=False)
    ]
    return UpstreamGroup(configured, BALANCERS.parse(balance), name="app", clock=clock or Clock())


def names(peers: Iterable[Peer | None]) -> str:
    """All in a row; a dash for None."""
    return "".join("-" if peer is None else peer.name for peer in peers)


def picks(group: UpstreamGroup, count: int, key: bytes | None = None, tried: Sequence[Peer] = ()) -> str:
    """Who is chosen so many times; all connections go on."""
    return names(group.pick(key, tried) for _ in range(count))
