"""
Peers side by side: C{python tests/benchmarks [CASE...] [--rounds N] [--seconds S]}.

Each round measures every peer once, in turn, in the same run; the figure is the CPU time of the peer's own process (and
children) per unit of work, the median over the rounds, and its ratio to the first peer. A bare time means nothing on a noisy
machine; the ratios hold. Peers that are not installed are left out (C{apt-get install nginx-full haproxy}; C{pip install
uvloop}). Run it alone.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import load
from peers import ECHO_PEERS, PROXY_PEERS, Peer, cpu_seconds, free_port, started

Work = Callable[[int, float], int]

#: case -> (title, peers, unit, its scale, work)
CASES: dict[str, tuple[str, list[Peer], str, float, Work]] = {
    "echo": (
        "echo server, 64 B, 100 connections",
        ECHO_PEERS,
        "us a message",
        1e6,
        lambda p, s: load.round_trips(p, 100, s),
    ),
    "trip4": (
        "proxy, round trip of 64 B, 4 connections",
        PROXY_PEERS,
        "us",
        1e6,
        lambda p, s: load.round_trips(p, 4, s),
    ),
    "trip100": (
        "proxy, round trip of 64 B, 100 connections",
        PROXY_PEERS,
        "us",
        1e6,
        lambda p, s: load.round_trips(p, 100, s),
    ),
    "bulk": ("proxy, bulk", PROXY_PEERS, "ms a MiB", 1e3 * 2**20, load.bulk),
    "connect": ("proxy, connect, 1 byte, close", PROXY_PEERS, "us", 1e6, load.connects),
}


def measure(peer: Peer, work: Work, upstream: int, seconds: float) -> float:
    """CPU seconds of the peer per unit of work."""
    with started(peer, 0 if peer in ECHO_PEERS else upstream) as (pid, port):
        work(port, 0.3)  # warm up
        before = cpu_seconds(pid)
        count = work(port, seconds)
        return (cpu_seconds(pid) - before) / count


def run(case: str, rounds: int, seconds: float, upstream: int) -> None:
    title, peers, unit, scale, work = CASES[case]
    present = [peer for peer in peers if peer.installed]
    figures: dict[str, list[float]] = {peer.name: [] for peer in present}
    for _ in range(rounds):
        for peer in present:
            figures[peer.name].append(measure(peer, work, upstream, seconds) * scale)
    print(f"\n{title} (CPU, {unit}; median of {rounds})")
    first = present[0].name
    for name, values in figures.items():
        ratios = [value / base for value, base in zip(values, figures[first], strict=True)]
        print(
            f"  {name:22} {statistics.median(values):9.2f}   {statistics.median(ratios):5.2f} x {first}"
            f"   (ratios {min(ratios):.2f} to {max(ratios):.2f})",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"default all: {', '.join(CASES)}")
    parser.add_argument("--rounds", type=int, default=5, help="rounds [default: 5]")
    parser.add_argument(
        "--seconds", type=float, default=1.5, help="seconds of work for each peer in a round [default: 1.5]"
    )
    options = parser.parse_args()
    for case in options.cases:
        if case not in CASES:
            parser.error(f"{case!r} is no case; cases are {', '.join(CASES)}")
    upstream = free_port()
    command = [
        sys.executable,
        os.path.join(os.path.dirname(os.path.abspath(__file__)), "load.py"),
        "serve",
        str(upstream),
    ]
    server = subprocess.Popen(command)
    try:
        time.sleep(0.5)
        print(
            f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, Linux {platform.release()}, Python {platform.python_version()}"
        )
        for case in options.cases or CASES:
            run(case, options.rounds, options.seconds, upstream)
    finally:
        server.terminate()
        server.wait(5)


if __name__ == "__main__":
    main()
