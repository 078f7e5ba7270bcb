"""
Where spilled bytes lie: one range of a ring.

Bytes are added at the end and taken from the start, so contiguous spills are one range, whatever their number. The file is a
ring of C{limit} bytes: the limit bounds what is outstanding, not what was ever written. When the last byte is taken the ring
starts anew at offset 0 (and the driver gives the blocks back).
"""

from __future__ import annotations

__all__ = ["DiskRange"]


class DiskRange:
    """
    @ivar limit: bytes that may be outstanding; 0 for none at all.
    @ivar outstanding: bytes that are.
    """

    __slots__ = ("_start", "limit", "outstanding")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.outstanding = 0
        self._start = 0

    def __repr__(self) -> str:
        return f"<DiskRange {self.outstanding}/{self.limit} from {self._start}>"

    @property
    def read_offset(self) -> int:
        """Where the oldest byte lies."""
        return self._start

    @property
    def readable(self) -> int:
        """How many bytes lie in one piece from there."""
        return min(self.outstanding, self.limit - self._start)

    @property
    def write_offset(self) -> int:
        """Where the next byte goes."""
        end = self._start + self.outstanding
        return end if end < self.limit else end - self.limit

    @property
    def room(self) -> int:
        """How many bytes may be added in one piece from there."""
        if self.outstanding == self.limit:
            return 0
        end = self._start + self.outstanding
        return self.limit - end if end < self.limit else self.limit - self.outstanding

    def added(self, count: int) -> None:
        """C{count} bytes, at most L{room}, were written."""
        self.outstanding += count

    def took(self, count: int) -> None:
        """C{count} bytes, at most L{outstanding}, are not needed any more."""
        self.outstanding -= count
        self._start = (self._start + count) % self.limit if self.outstanding else 0
