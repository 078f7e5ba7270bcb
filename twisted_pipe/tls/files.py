"""Whether files have changed, told as cheaply as C{make} does."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

import attrs

__all__ = ["Stamp"]


@attrs.frozen
class Stamp:
    """
    @ivar marks: of each file when it was last written (ns), its inode and its size; None for one that is not there.
    """

    marks: tuple[tuple[int, int, int] | None, ...]

    @classmethod
    def of(cls, paths: Iterable[str]) -> Stamp:
        """As they are now."""
        return cls(tuple(_mark(path) for path in paths))


def _mark(path: str) -> tuple[int, int, int] | None:
    with suppress(OSError):
        found = os.stat(path)
        return found.st_mtime_ns, found.st_ino, found.st_size
    return None
