"""
Peers side by side: C{python tests/benchmarks [http | postgres | websocket] [CASE...] [--rounds N] [--seconds S]}.

Each round measures every peer once, in turn, in the same run; the figure is the CPU time of the peer's own process (and
children) per unit of work, or its memory, the median over the rounds, and its ratio to the first peer. A bare time means
nothing on a noisy machine; the ratios hold. A bar is what ours has to keep to. Peers that are not installed are left out
(C{apt-get install nginx-full haproxy wrk postgresql}; C{pip install uvloop trustme aiohttp}). Run it alone.

The first word C{http} is for the cases of HTTP, C{postgres} for those of a database, whose figures are its load tool's,
C{balancers} for what chooses among servers, C{websocket} for WebSocket; without it they are those of bytes.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import attrs
from balancer_cases import BALANCER_CASES, without_upstream
from cases import CASES, Case
from http_cases import HTTP_CASES
from http_origin import serving_http
from outcome import Outcome, keep
from peers import free_port
from plot import draw
from postgres_cases import POSTGRES_CASES, serving_postgres
from usage import raise_file_limit
from websocket import WEBSOCKET_CASES, serving_websocket


def machine() -> str:
    """Date and machine, for people."""
    version = platform.python_version()
    return f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, Linux {platform.release()}, Python {version}"


def measured(case: Case, rounds: int, seconds: float, upstream: int) -> Outcome | None:
    """What a case comes to; None if the peers that it is about are not installed."""
    present = [peer for peer in case.peers if peer.installed]
    if not present:
        return None
    figures: dict[str, list[float]] = {peer.name: [] for peer in present}
    bases: dict[str, list[float]] = {peer.name: [] for peer in present}
    for _ in range(rounds):
        for peer in present:
            once = case.measure(peer, upstream, seconds)
            figures[peer.name].append(once.figure)
            bases[peer.name].append(figures[present[0].name][-1] if once.base is None else once.base)
    return Outcome(
        title=case.title,
        unit=case.unit,
        when=machine(),
        figures=figures,
        bases=bases,
        against=case.against or present[0].name,
        bars=case.bars,
    )


def show(outcome: Outcome) -> None:
    """The table of one case, and its bars."""
    rounds = len(next(iter(outcome.figures.values())))
    print(f"\n{outcome.title} ({outcome.unit}; median of {rounds})")
    for name in outcome.figures:
        ratios = outcome.ratios(name)
        own = "" if outcome.against in outcome.figures else f" ({statistics.median(outcome.bases[name]):.2f})"
        print(
            f"  {name:22} {outcome.median(name):9.2f}   {statistics.median(ratios):5.2f} x {outcome.against}{own}"
            f"   (ratios {min(ratios):.2f} to {max(ratios):.2f})"
        )
    for bar in outcome.bars:
        print(f"  bar: {outcome.verdict(bar)}")
    sys.stdout.flush()


@contextmanager
def serving() -> Iterator[int]:
    """The port of the upstream, while it runs."""
    port = free_port()
    server = subprocess.Popen([sys.executable, str(Path(__file__).resolve().parent / "load.py"), "serve", str(port)])
    try:
        time.sleep(0.5)
        yield port
    finally:
        server.terminate()
        server.wait(5)


@attrs.frozen
class Suite:
    """
    Cases that have an upstream in common.

    @ivar cases: by name.
    @ivar serving: the upstream: gives its port, while it runs.
    @ivar rounds: by default.
    @ivar seconds: of work for each peer in a round, by default.
    """

    cases: dict[str, Case]
    serving: Callable[[], AbstractContextManager[int]]
    rounds: int
    seconds: float


BYTES = Suite(CASES, serving, rounds=5, seconds=1.5)
HTTP = Suite(HTTP_CASES, serving_http, rounds=3, seconds=1.0)
POSTGRES = Suite(POSTGRES_CASES, serving_postgres, rounds=3, seconds=3.0)
BALANCING = Suite(BALANCER_CASES, without_upstream, rounds=5, seconds=1.0)
WEBSOCKET = Suite(WEBSOCKET_CASES, serving_websocket, rounds=5, seconds=1.5)
#: By the first word.
SUITES = {"http": HTTP, "postgres": POSTGRES, "balancers": BALANCING, "websocket": WEBSOCKET}


def arguments() -> tuple[Suite, argparse.Namespace]:
    """What to measure, and how."""
    parser = argparse.ArgumentParser(
        prog="python tests/benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    named = "".join(f"; of {name}: {', '.join(suite.cases)}" for name, suite in SUITES.items())
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"default all: {', '.join(CASES)}{named}")
    rounds = "".join(f"; {name}: {suite.rounds}" for name, suite in SUITES.items())
    parser.add_argument("--rounds", type=int, help=f"rounds [default: {BYTES.rounds}{rounds}]")
    seconds = "".join(f"; {name}: {suite.seconds:g}" for name, suite in SUITES.items())
    parser.add_argument(
        "--seconds", type=float, help=f"seconds of work for each peer in a round [default: {BYTES.seconds:g}{seconds}]"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures; other cases in FILE stay")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw them, and those that --json keeps")
    parser.add_argument("--strict", action="store_true", help="exit with 1 unless all bars are measured and met")
    options = parser.parse_args()
    suite = SUITES.get(options.cases[0], BYTES) if options.cases else BYTES
    if suite is not BYTES:
        del options.cases[0]
    for case in options.cases:
        if case not in suite.cases:
            parser.error(f"{case!r} is no case; cases are {', '.join(suite.cases)}")
    options.rounds = suite.rounds if options.rounds is None else options.rounds
    options.seconds = suite.seconds if options.seconds is None else options.seconds
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds must be at least 1, and --seconds more than 0")
    return suite, options


def main() -> int:
    suite, options = arguments()
    cases = suite.cases
    raise_file_limit()
    outcomes: dict[str, Outcome] = {}
    kept = outcomes
    all_met = True
    with suite.serving() as upstream:
        print(machine())
        for name in options.cases or cases:
            outcome = measured(cases[name], options.rounds, options.seconds, upstream)
            if outcome is None:
                print(f"\n{cases[name].title}: left out, nothing that it needs is installed")
                all_met = all_met and not cases[name].bars
            else:
                show(outcome)
                outcomes[name] = outcome
                all_met = all_met and all(outcome.is_met(bar) for bar in outcome.bars)
            if options.json:
                kept = keep(options.json, outcomes, cases)
    if options.plot:
        options.plot.write_text(draw(kept))
    return 1 if options.strict and not all_met else 0


if __name__ == "__main__":
    sys.exit(main())
