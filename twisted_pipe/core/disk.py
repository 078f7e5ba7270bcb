"""
Where spilled bytes lie: one range of a file that is written at its end and read at its start.

Contiguous spills are one range, whatever their number. Nothing is ever written where bytes were sent from: sendfile hands pages
of the file to the socket without a copy, and what is written to such a page before the peer has acknowledged it goes out in
place of the bytes that were meant. (A ring, nginx's cyclic mode, does just that.) Instead the driver punches holes behind the
range, so the limit bounds what is outstanding, on disk, too; where a file system has no holes, it bounds what was written
since the file was last empty. When the last byte is taken the range starts anew at 0, in a new file.
"""

from __future__ import annotations

__all__ = ["DiskRange"]


class DiskRange:
    """
    @ivar limit: bytes that may be outstanding; 0 for none at all.
    @ivar read_offset: where the oldest byte lies.
    @ivar write_offset: where the next byte goes.
    @ivar reclaims: whether the space before C{read_offset} is given back; cleared by the driver if it cannot be.
    """

    __slots__ = ("limit", "read_offset", "reclaims", "write_offset")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.read_offset = 0
        self.write_offset = 0
        self.reclaims = True

    def __repr__(self) -> str:
        return f"<DiskRange {self.outstanding}/{self.limit} from {self.read_offset}>"

    @property
    def outstanding(self) -> int:
        """Bytes on disk that wait for the downstream."""
        return self.write_offset - self.read_offset

    @property
    def room(self) -> int:
        """How many bytes may be added."""
        used = self.outstanding if self.reclaims else self.write_offset
        return max(self.limit - used, 0)

    def added(self, count: int) -> None:
        """C{count} bytes, at most L{room}, were written."""
        self.write_offset += count

    def took(self, count: int) -> None:
        """C{count} bytes, at most L{outstanding}, are not needed any more."""
        self.read_offset += count
        if self.read_offset == self.write_offset:
            self.read_offset = self.write_offset = 0
