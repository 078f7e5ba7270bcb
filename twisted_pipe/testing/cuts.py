"""A stream may be cut anywhere: ways to cut one."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from twisted_pipe.limits import DEFAULT_LIMITS

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = ["as_read", "many_cuts", "splits"]

#: Bytes up to which every cut in two is tried.
_SHORT = 256
#: Bytes at each end that are given one by one.
_SINGLE = 1024
_RANDOM = 10
_MOST_CUTS = 20


def as_read(data: bytes) -> list[bytes]:
    """C{data} as a pipe passes it on that reads as much as it can: in pieces of a buffer."""
    size = DEFAULT_LIMITS.buffer_size
    return [data[start : start + size] for start in range(0, len(data), size)]


def many_cuts(data: bytes) -> Iterator[list[bytes]]:
    """C{data} cut in ways that break filters, the same ones each time; no piece is larger than a buffer."""
    size = len(data)
    if size < 2:
        return
    yield _cut(data, [*range(1, min(size, _SINGLE)), *range(max(size - _SINGLE, _SINGLE), size)])
    if size <= _SHORT:
        for at in range(1, size):
            yield _cut(data, [at])
    chance = random.Random(size)
    for _ in range(_RANDOM):
        count = chance.randint(1, min(size - 1, _MOST_CUTS))
        yield _cut(data, chance.sample(range(1, size), count))


def splits(data: bytes) -> SearchStrategy[list[bytes]]:
    """
    A strategy for hypothesis (which has to be installed): lists of pieces of one byte or more that joined are C{data}. Fewer pieces
    are simpler.

    Of any data: C{st.binary().flatmap(splits)}.
    """
    from hypothesis import strategies as st

    if len(data) < 2:
        return st.just([data] if data else [])
    return st.lists(st.integers(1, len(data) - 1), unique=True).map(lambda places: _pieces(data, places))


def _cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    return [part for piece in _pieces(data, places) for part in as_read(piece)]


def _pieces(data: bytes, places: Iterable[int]) -> list[bytes]:
    ends = [*sorted(places), len(data)]
    return [data[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
