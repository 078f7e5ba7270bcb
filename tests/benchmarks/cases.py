"""The cases: what is measured, of whom, and what ours has to keep to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import attrs
import load
from certificate import CIPHER
from measure import BUSY, IDLE, IDLE_FEW, IDLE_PROXIED, Measured, beside_idle, cpu, memory
from outcome import Bar
from peers import ECHO_PEERS, FILTER_PEERS, PROXY_PEERS, TLS_PEERS, Peer

__all__ = ["CASES", "Case"]

_MS_A_MIB = 1e3 * 2**20
_US = 1e6


@attrs.frozen(kw_only=True)
class Case:
    """
    @ivar title: what is measured, for people.
    @ivar peers: whom, the one that the others are compared with first.
    @ivar unit: of the figure.
    @ivar measure: takes the peer, the port of the upstream and how many seconds to work.
    @ivar bars: what ours has to keep to.
    @ivar against: words for what a peer's figure is compared with, if it is another figure of the same peer.
    """

    title: str
    peers: list[Peer]
    unit: str
    measure: Callable[[Peer, int, float], Measured]
    bars: list[Bar] = attrs.field(factory=list)
    against: str = ""


def _round_trips(connections: int) -> Callable[[Peer, int, float], Measured]:
    return partial(cpu, work=lambda port, seconds: load.round_trips(port, connections, seconds), scale=_US)


def _wanted(number: int, wanted: int) -> str:
    """How many connections, and why they are fewer than they should be."""
    return f"{number:,}" if number == wanted else f"{number:,} (not {wanted:,}: ulimit -Hn)"


_FEW_IDLE = f"itself beside {IDLE_FEW}"

CASES: dict[str, Case] = {
    "echo": Case(
        title="echo server, 64 B, 100 connections",
        peers=ECHO_PEERS,
        unit="CPU, us a message",
        measure=_round_trips(100),
        bars=[Bar("epollet", 0.6, "epoll")],
    ),
    "trip4": Case(
        title="proxy, round trip of 64 B, 4 connections",
        peers=PROXY_PEERS,
        unit="CPU, us",
        measure=_round_trips(4),
        bars=[Bar("twistd pipe", 1.15, "nginx stream")],
    ),
    "trip100": Case(
        title="proxy, round trip of 64 B, 100 connections",
        peers=PROXY_PEERS,
        unit="CPU, us",
        measure=_round_trips(100),
        bars=[Bar("twistd pipe", 1.15, "nginx stream")],
    ),
    "bulk": Case(
        title="proxy, bulk",
        peers=PROXY_PEERS,
        unit="CPU, ms a MiB",
        measure=partial(cpu, work=load.bulk, scale=_MS_A_MIB),
        bars=[Bar("twistd pipe", 0.5, "nginx stream"), Bar("twistd pipe", 1, "uvloop")],
    ),
    "filter": Case(
        title="proxy, bulk through a filter that does nothing (the others: no filter)",
        peers=FILTER_PEERS,
        unit="CPU, ms a MiB",
        measure=partial(cpu, work=load.bulk, scale=_MS_A_MIB),
        bars=[Bar("pipe --filter pass", 0.8, "nginx stream")],
    ),
    "connect": Case(
        title="proxy, connect, 1 byte, close",
        peers=PROXY_PEERS,
        unit="CPU, us",
        measure=partial(cpu, work=load.connects, scale=_US),
        bars=[Bar("twistd pipe", 1.5, "nginx stream")],
    ),
    "memory": Case(
        title=f"proxy, anonymous memory for each of {_wanted(IDLE_PROXIED, 2_000)} idle connections",
        peers=PROXY_PEERS,
        unit="KiB",
        measure=memory,
        bars=[Bar("twistd pipe", 3.3)],
    ),
    "idle10k": Case(
        title=f"echo server, 64 B, {BUSY} connections beside {_wanted(IDLE, 10_000)} idle ones",
        peers=ECHO_PEERS,
        unit="CPU, us a message",
        measure=beside_idle,
        bars=[Bar("epollet", 1.1, _FEW_IDLE)],
        against=_FEW_IDLE,
    ),
    "tls": Case(
        title=f"proxy, bulk, TLS to the client ({CIPHER})",
        peers=TLS_PEERS,
        unit="CPU, ms a MiB",
        measure=partial(cpu, work=load.bulk_tls, scale=_MS_A_MIB),
        bars=[Bar("twistd pipe", 1.5, "nginx stream")],
    ),
}
