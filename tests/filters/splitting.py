"""Small streams, cut in every way there is."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

__all__ = ["every_split"]


def every_split(data: bytes) -> Iterator[list[bytes]]:
    """All ways to cut C{data}: 2 to the power of its length less one."""
    for count in range(len(data)):
        for places in combinations(range(1, len(data)), count):
            ends = [*places, len(data)]
            yield [data[start:end] for start, end in zip([0, *places], ends, strict=False)]
