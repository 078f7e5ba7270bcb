"""
Peers side by side: C{python tests/benchmarks [CASE...] [--rounds N] [--seconds S]}.

Each round measures every peer once, in turn, in the same run; the figure is the CPU time of the peer's own process (and
children) per unit of work, or its memory, the median over the rounds, and its ratio to the first peer. A bare time means
nothing on a noisy machine; the ratios hold. A bar is what ours has to keep to. Peers that are not installed are left out
(C{apt-get install nginx-full haproxy}; C{pip install uvloop trustme}). Run it alone.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cases import CASES, Case
from outcome import Outcome, keep
from peers import free_port
from plot import draw
from usage import raise_file_limit


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


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python tests/benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"default all: {', '.join(CASES)}")
    parser.add_argument("--rounds", type=int, default=5, help="rounds [default: 5]")
    parser.add_argument(
        "--seconds", type=float, default=1.5, help="seconds of work for each peer in a round [default: 1.5]"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures; other cases in FILE stay")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw them, and those that --json keeps")
    parser.add_argument("--strict", action="store_true", help="exit with 1 unless all bars are measured and met")
    options = parser.parse_args()
    for case in options.cases:
        if case not in CASES:
            parser.error(f"{case!r} is no case; cases are {', '.join(CASES)}")
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds must be at least 1, and --seconds more than 0")
    return options


def main() -> int:
    options = arguments()
    raise_file_limit()
    outcomes: dict[str, Outcome] = {}
    kept = outcomes
    all_met = True
    with serving() as upstream:
        print(machine())
        for name in options.cases or CASES:
            outcome = measured(CASES[name], options.rounds, options.seconds, upstream)
            if outcome is None:
                print(f"\n{CASES[name].title}: left out, nothing that it needs is installed")
                all_met = all_met and not CASES[name].bars
            else:
                show(outcome)
                outcomes[name] = outcome
                all_met = all_met and all(outcome.is_met(bar) for bar in outcome.bars)
            if options.json:
                kept = keep(options.json, outcomes, CASES)
    if options.plot:
        options.plot.write_text(draw(kept))
    return 1 if options.strict and not all_met else 0


if __name__ == "__main__":
    sys.exit(main())
