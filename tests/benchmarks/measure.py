"""How a peer is measured, once, in a process of its own: what it computes, or the memory it takes."""

from __future__ import annotations

import time
from collections.abc import Callable

import attrs
import load
from peers import Peer, started
from usage import anonymous_kib, cpu_seconds, file_limit

__all__ = ["IDLE", "IDLE_FEW", "IDLE_PROXIED", "Measured", "Work", "beside_idle", "cpu", "memory"]

#: Takes a port and how many seconds to work; returns how many units were done.
Work = Callable[[int, float], int]

#: Files that a process has open beside its connections, generously.
_OTHER_FILES = 500
#: Idle connections to an echo server, which has a file for each. Fewer if it may not open so many.
IDLE = min(10_000, file_limit() - _OTHER_FILES)
IDLE_FEW = 10
#: Connections that stand before memory is looked at first.
WARM_UP = 200
#: Idle connections through a proxy that are opened after those. It has two files for each.
IDLE_PROXIED = min(2_000, (file_limit() - _OTHER_FILES) // 2 - WARM_UP)
#: Connections that are busy beside the idle ones.
BUSY = 10
#: Seconds of work that do not count, before those that do.
_WARM = 0.3
#: Seconds in which a peer comes to rest before its memory is looked at.
_REST = 0.5


@attrs.frozen
class Measured:
    """
    @ivar figure: in the case's unit.
    @ivar base: what the figure is compared with, if it is another of the same peer; else None.
    """

    figure: float
    base: float | None = None


def cpu(peer: Peer, upstream: int, seconds: float, *, work: Work, scale: float) -> Measured:
    """CPU time for each unit of work, in seconds times C{scale}."""
    with started(peer, upstream) as (pid, port):
        return Measured(_cost(pid, port, work, seconds) * scale)


def beside_idle(peer: Peer, upstream: int, seconds: float) -> Measured:
    """
    CPU microseconds for a round trip on L{BUSY} connections beside L{IDLE} idle ones; compared with beside L{IDLE_FEW}.

    The same process is measured with few, and then with many.
    """

    def work(port: int, seconds: float) -> int:
        return load.round_trips(port, BUSY, seconds)

    with started(peer, upstream) as (pid, port):
        sockets = load.idle(port, IDLE_FEW)
        few = _cost(pid, port, work, seconds)
        sockets += load.idle(port, IDLE - IDLE_FEW)
        many = _cost(pid, port, work, seconds)
        load.drop(sockets)
    return Measured(many * 1e6, few * 1e6)


def memory(peer: Peer, upstream: int, seconds: float) -> Measured:
    """
    Anonymous memory for each of L{IDLE_PROXIED} connections that have been used once and stand idle, in KiB.

    It is what L{IDLE_PROXIED} more take when L{WARM_UP} stand already, used like them. The first connections pay for what a
    process loads and allocates once for all, and find room that its start has left free; neither says what one costs. (Had
    they been closed again, what they leave behind would be room as well.)
    """
    with started(peer, upstream) as (pid, port):
        sockets = load.idle(port, WARM_UP)
        time.sleep(_REST)
        before = anonymous_kib(pid)
        sockets += load.idle(port, IDLE_PROXIED)
        time.sleep(_REST)
        after = anonymous_kib(pid)
        load.drop(sockets)
    return Measured((after - before) / IDLE_PROXIED)


def _cost(pid: int, port: int, work: Work, seconds: float) -> float:
    """CPU seconds for each unit of work."""
    work(port, _WARM)
    before = cpu_seconds(pid)
    count = work(port, seconds)
    return (cpu_seconds(pid) - before) / count
