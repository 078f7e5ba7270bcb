"""
The ratios as a bar chart in SVG: C{python tests/benchmarks/plot.py FILE.json FILE.svg} draws what C{--json} has kept.

All lengths are in pixels of a picture 800 wide. All cases have the same scale; a bar too long for it is cut, and its number says
how long it would be.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path

import attrs
from outcome import Outcome, read_outcomes

__all__ = ["draw"]

WIDTH = 800
MARGIN = 16
#: Where ratio 0 is, where the scale ends, and which ratio that is.
LEFT, RIGHT, LONGEST = 160, 680, 3.0
LINE = 17  # of text
ROW = 22  # of one peer
THICK = 14  # its bar

#: The programs that are this project's; the rest is there to compare.
OURS = frozenset({"epollet", "twistd pipe", "pipe --filter pass"})

STYLE = """
text { font: 12px "Helvetica Neue", Helvetica, Arial, "DejaVu Sans", sans-serif; fill: #222 }
.head { font-size: 17px; font-weight: bold } .case { font-size: 14px; font-weight: bold }
.small { fill: #555 } .name { text-anchor: end } .tick { text-anchor: middle; fill: #777; font-size: 11px }
.value { paint-order: stroke; stroke: #fff; stroke-width: 3px }
.met { fill: #1b6e32 } .not { fill: #b3261e } .ours-name { text-anchor: end; font-weight: bold }
.ours { fill: #1f6fb2 } .peer { fill: #b9c3cc } .cut { fill: #fff }
.grid { stroke: #e3e3e3 } .one { stroke: #888 } .spread { stroke: #222 } .limit { stroke: #b3261e; stroke-width: 2 }
.limit { stroke-dasharray: 5 3 }
"""


@attrs.define
class Picture:
    """
    Shapes, from the top down.

    @ivar y: how far down it has come.
    @ivar parts: elements of SVG.
    """

    y: float = MARGIN
    parts: list[str] = attrs.field(factory=list)

    def text(self, x: float, y: float, css: str, words: str) -> None:
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{css}">{escape(words)}</text>')

    def line(self, css: str, x1: float, y1: float, x2: float, y2: float) -> None:
        self.parts.append(f'<line class="{css}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')

    def box(self, css: str, x: float, y: float, width: float, height: float) -> None:
        self.parts.append(f'<rect class="{css}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>')

    def paragraph(self, css: str, words: str, height: float = LINE) -> None:
        """A line of text at the left, and on to the next."""
        self.y += height
        self.text(MARGIN, self.y - 4, css, words)


def draw(outcomes: dict[str, Outcome]) -> str:
    """The whole picture."""
    picture = Picture()
    picture.paragraph("head", "twisted_pipe beside its peers", 22)
    picture.paragraph(
        "small", "Ratio to the peer named; shorter is better. Thin line: smallest to largest of the rounds."
    )
    picture.paragraph("small", "Blue: this project. Red dashes: what the blue bar they cross has to stay left of.")
    for when in sorted({outcome.when for outcome in outcomes.values()}):
        picture.paragraph("small", when)
    for name, outcome in outcomes.items():
        picture.y += 16
        _case(picture, name, outcome)
    height = picture.y + MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}">',
            "<title>twisted_pipe beside its peers: ratios</title>",
            f"<style>{STYLE}</style>",
            f'<rect width="{WIDTH}" height="{height:.0f}" fill="#fff"/>',
            *picture.parts,
            "</svg>\n",
        ]
    )


def _case(picture: Picture, name: str, outcome: Outcome) -> None:
    picture.paragraph("case", f"{name}: {outcome.title}", 20)
    rounds = len(next(iter(outcome.figures.values())))
    about = f"ratio to {outcome.against}; in brackets {outcome.unit}; median of {rounds}"
    picture.paragraph("small", about)
    for bar in outcome.bars:
        picture.paragraph("met" if outcome.is_met(bar) else "not", f"bar: {outcome.verdict(bar)}")
    top = picture.y + 4
    bottom = top + ROW * len(outcome.figures)
    for tick in range(int(LONGEST) + 1):
        picture.line("one" if tick == 1 else "grid", _x(tick), top, _x(tick), bottom)
        picture.text(_x(tick), bottom + 12, "tick", f"{tick}")
    for row, peer in enumerate(outcome.figures):
        _peer(picture, outcome, peer, top + ROW * row)
    picture.y = bottom + 14


def _peer(picture: Picture, outcome: Outcome, peer: str, y: float) -> None:
    ratios = outcome.ratios(peer)
    ratio = statistics.median(ratios)
    middle, top = y + ROW / 2, y + (ROW - THICK) / 2
    picture.text(LEFT - 8, middle + 4, "ours-name" if peer in OURS else "name", peer)
    picture.box("ours" if peer in OURS else "peer", LEFT, top, _x(ratio) - LEFT, THICK)
    if ratio > LONGEST:
        picture.box("cut", RIGHT - 14, top, 4, THICK)
    picture.line("spread", _x(min(ratios)), middle, _x(max(ratios)), middle)
    free = _x(max(ratios))
    for limit in _limits(outcome, peer):
        picture.line("limit", _x(limit), y - 4, _x(limit), y + ROW + 4)
        free = max(free, _x(limit))
    picture.text(free + 6, middle + 4, "value", f"{ratio:.2f} ({outcome.median(peer):.2f})")


def _limits(outcome: Outcome, peer: str) -> Iterator[float]:
    """The bars of one peer, as ratios."""
    for bar in outcome.bars:
        ratio = outcome.limit_as_ratio(bar) if bar.peer == peer else None
        if ratio is not None:
            yield ratio


def _x(ratio: float) -> float:
    """Where a ratio is, across."""
    return LEFT + (RIGHT - LEFT) * max(0.0, min(ratio, LONGEST)) / LONGEST


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python tests/benchmarks/plot.py FILE.json FILE.svg")
    Path(sys.argv[2]).write_text(draw(read_outcomes(Path(sys.argv[1]))))
