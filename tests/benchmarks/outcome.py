"""
What a case came to: the figures of each peer, round by round, their ratios, and whether the bars are met.

It can be kept as JSON, one file for any number of cases, and read again.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs

__all__ = ["Bar", "Outcome", "keep", "read_outcomes"]


@attrs.frozen
class Bar:
    """
    What a figure has to keep to.

    @ivar peer: whose figure, by name.
    @ivar limit: the most it may be, times that of L{against}; in the case's unit if that is empty.
    @ivar against: the name of a peer, or what the case compares each peer with (L{Outcome.against}), or empty.
    """

    peer: str
    limit: float
    against: str = ""


@attrs.frozen(kw_only=True)
class Outcome:
    """
    @ivar title: what was measured, for people.
    @ivar unit: of the figures.
    @ivar when: date and machine, for people.
    @ivar figures: by the peer's name, one figure for each round.
    @ivar bases: by the peer's name, what each of its figures is compared with.
    @ivar against: what L{bases} are: the name of the first peer, or words for another figure of the same peer.
    @ivar bars: what has to be kept to.
    """

    title: str
    unit: str
    when: str
    figures: dict[str, list[float]]
    bases: dict[str, list[float]]
    against: str
    bars: list[Bar]

    def median(self, peer: str) -> float:
        """In the case's unit."""
        return statistics.median(self.figures[peer])

    def ratios(self, peer: str, against: str = "") -> list[float]:
        """
        One for each round.

        @param against: the name of a peer; by default what the case compares with.
        """
        own = against in ("", self.against)
        bases = self.bases[peer] if own else self.figures[against]
        return [figure / base for figure, base in zip(self.figures[peer], bases, strict=True)]

    def figure(self, bar: Bar) -> float | None:
        """What the bar limits: a median of ratios or of figures; None if it was not measured."""
        if bar.peer not in self.figures:
            return None
        if not bar.against:
            return self.median(bar.peer)
        if bar.against not in (self.against, *self.figures):
            return None
        return statistics.median(self.ratios(bar.peer, bar.against))

    def is_met(self, bar: Bar) -> bool:
        """Whether it is known to be met."""
        figure = self.figure(bar)
        return figure is not None and figure <= bar.limit

    def verdict(self, bar: Bar) -> str:
        """For people: C{twistd pipe <= 1.15 x nginx stream: NOT met (1.58)}."""
        limit = f"{bar.limit:g} x {bar.against}" if bar.against else f"{bar.limit:g} {self.unit}"
        figure = self.figure(bar)
        met = "not measured" if figure is None else f"{'met' if self.is_met(bar) else 'NOT met'} ({figure:.2f})"
        return f"{bar.peer} <= {limit}: {met}"

    def limit_as_ratio(self, bar: Bar) -> float | None:
        """Where the bar lies among the ratios of the case; None if it was not measured."""
        if self.figure(bar) is None:
            return None
        if bar.against == self.against:
            return bar.limit
        if bar.against:
            return bar.limit * statistics.median(self.ratios(bar.against))
        return bar.limit / statistics.median(self.bases[bar.peer])


def read_outcomes(path: Path) -> dict[str, Outcome]:
    """What L{keep} has kept, by the case's name."""

    def outcome(record: dict[str, Any]) -> Outcome:
        return Outcome(**{**record, "bars": [Bar(**bar) for bar in record["bars"]]})

    return {case: outcome(record) for case, record in json.loads(path.read_text()).items()}


def keep(path: Path, outcomes: dict[str, Outcome], order: Iterable[str]) -> dict[str, Outcome]:
    """
    Put these outcomes into the file, in place of older ones of the same cases.

    @param order: of the cases; others that the file has come last.
    @return: all that it has now.
    """
    merged = {**(read_outcomes(path) if path.exists() else {}), **outcomes}
    kept = {case: merged[case] for case in [*order, *merged] if case in merged}
    path.write_text(json.dumps({case: attrs.asdict(each) for case, each in kept.items()}, indent=1) + "\n")
    return kept
