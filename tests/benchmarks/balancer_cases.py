"""What a choice among a hundred servers costs: in this process, without sockets."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice

from cases import Case
from measure import Measured
from outcome import Bar
from peers import Peer

from twisted_pipe.upstream.balancer import BALANCERS
from twisted_pipe.upstream.group import UpstreamGroup
from twisted_pipe.upstream.server import UpstreamServer

__all__ = ["BALANCER_CASES", "without_upstream"]

_SERVERS = 100
_HELD = 300  # connections at a time
_BATCH = 2000  # choices between two looks at the clock
_KEYS = [f"/some/where/{number}?page={number % 7}" for number in range(997)]
_ADDRESSES = [f"10.{number % 250}.{number % 13}.{number % 251}" for number in range(997)]
_RING = "hash:key=$request_uri:consistent=on"
_PEERS = [
    Peer(said, "balancer")
    for said in ("round-robin", "least-connections", "random", "ip-hash", "hash:key=$request_uri", _RING)
]


@contextmanager
def without_upstream() -> Iterator[int]:
    """They need none."""
    yield 0


def _choices(peer: Peer, upstream: int, seconds: float) -> Measured:
    """CPU microseconds to choose a server and give it back, the median of many batches; weights are 1, 2 and 3."""
    servers = [UpstreamServer(f"10.0.0.{number}:80", None, weight=1 + number % 3) for number in range(_SERVERS)]
    group = UpstreamGroup(servers, BALANCERS.parse(peer.name))
    asked = [text.encode() for text in (_ADDRESSES if group.key == "$remote_addr" else _KEYS)]
    keys = cycle(asked if group.key else [None])
    held = deque(group.pick(key) for key in islice(keys, _HELD))
    costs = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        batch = list(islice(keys, _BATCH))
        pick, release, keep, drop = group.pick, group.release, held.append, held.popleft
        began = time.process_time()
        for key in batch:
            keep(pick(key))
            release(drop())  # type: ignore[arg-type]
        costs.append((time.process_time() - began) / _BATCH)
    return Measured(statistics.median(costs) * 1e6)


BALANCER_CASES: dict[str, Case] = {
    "choice": Case(
        title=f"a choice among {_SERVERS} servers, and its end",
        peers=_PEERS,
        unit="CPU, us",
        measure=_choices,
        bars=[Bar(peer.name, 1) for peer in _PEERS],
    )
}
