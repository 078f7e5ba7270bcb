"""
Where spilled bytes lie: one range that is written at its end and read at its start, in files of a C{piece} each.

Contiguous spills are one range, whatever their number; only no single read or write crosses from one piece into the next.
Nothing is ever written, or punched, where bytes were sent from: sendfile lends pages of the file to the socket (over loopback
even to the reader), and what changes them before the reader has them changes what it gets. nginx's cyclic mode does just
that; so would holes, because the kernel zeroes part of a large folio in place. Space is given back by closing a whole piece
once the range has left it, which touches no page. So at most C{limit} bytes are outstanding, to the byte, and at most a piece
more is on disk. When the last byte is taken the range starts anew at 0, in a new file.

That is so for what is spilled. L{FileUse} names what else a pipe may have a file for; such a file is one piece, and all that was
written stays in it.
"""

from __future__ import annotations

from twisted_pipe.core.file_use import FileUse

__all__ = ["UNLIMITED", "DiskRange", "SpillQuota"]

_PIECES = 8
_SMALLEST_PIECE = 1024 * 1024
UNLIMITED = 1 << 62  #: bytes


class SpillQuota:
    """
    How many bytes all pipes together may have on disk.

    @ivar limit: bytes; 0 for any number.
    @ivar used: bytes that are on disk now, those of a piece that are not needed any more included.
    """

    __slots__ = ("limit", "used")

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self.used = 0

    def __repr__(self) -> str:
        return f"<SpillQuota {self.used}/{self.limit or 'any'}>"

    @property
    def room(self) -> int:
        """Bytes that may be added."""
        return max(self.limit - self.used, 0) if self.limit else UNLIMITED


class DiskRange:
    """
    @ivar quota: shared with other pipes.
    @ivar reserved: bytes of a write that is under way (in a thread); None for none. Meanwhile the range does not start anew.
    @ivar use: what the file is for; perhaps something else once it is L{closed} to more.
    @ivar limit: bytes that may be outstanding; 0 for none at all, or no more.
    @ivar piece: bytes of one file: an eighth of the limit, or of the quota if that is less, but at least 1 MiB; without end, if it
        keeps what was sent.
    @ivar read_offset: where the oldest byte lies.
    @ivar write_offset: where the next byte goes.
    """

    __slots__ = ("limit", "piece", "quota", "read_offset", "reserved", "use", "write_offset")

    def __init__(
        self,
        limit: int,
        smallest_piece: int = _SMALLEST_PIECE,
        quota: SpillQuota | None = None,
        use: FileUse = FileUse.SPILL,
        held: int = 0,
    ) -> None:
        """
        @param limit: of what is to be stored there is none.
        @param held: bytes that the file has already; it is HELD then.
        """
        self.use = use
        self.reserved: int | None = None
        self.limit = UNLIMITED if use is FileUse.STORE else limit
        self.quota = quota if quota is not None else SpillQuota()
        self.piece = UNLIMITED if use.keeps else max(min(limit, self.quota.limit or limit) // _PIECES, smallest_piece)
        self.read_offset = 0
        self.write_offset = held
        self.quota.used += held

    def __repr__(self) -> str:
        return f"<DiskRange {self.outstanding}/{self.limit} from {self.read_offset}>"

    @property
    def outstanding(self) -> int:
        """Bytes on disk that wait for the downstream."""
        return self.write_offset - self.read_offset

    @property
    def _occupied(self) -> int:
        """Bytes that count for the quota: those of whole pieces, for no part of one is given back. What is kept is no spill."""
        return self.outstanding if self.use.keeps else self.write_offset - self.read_offset // self.piece * self.piece

    @property
    def readable(self) -> int:
        """How many bytes lie in one piece from C{read_offset}."""
        return min(self.outstanding, self.piece - self.read_offset % self.piece)

    @property
    def room(self) -> int:
        """How many bytes may be added in one piece at C{write_offset}."""
        return min(self.limit - self.outstanding, self.piece - self.write_offset % self.piece, self.quota.room)

    def refused(self) -> None:
        """The disk took nothing of a write, or has no room for one: there will be none any more."""
        self.release()
        self.closed()
        self.took(0)  # all of it may have been taken under the write

    def closed(self) -> None:
        """Nothing is added any more, but by a write that is under way."""
        before = self._occupied
        self.limit = 0
        self.use = self.use.when_closed
        self.quota.used += self._occupied - before

    def reserve(self, count: int) -> None:
        """A write of C{count} bytes has begun; L{added} or L{release} ends it."""
        self.reserved = count
        self.quota.used += count

    def release(self) -> None:
        """No write is under way any more."""
        if self.reserved is not None:
            self.quota.used -= self.reserved
            self.reserved = None

    def added(self, count: int) -> None:
        """C{count} bytes, at most L{room}, were written."""
        self.release()
        self.write_offset += count
        self.quota.used += count

    def took(self, count: int) -> None:
        """C{count} bytes, at most L{outstanding}, are not needed any more."""
        before = self._occupied
        self.read_offset += count
        if self.read_offset == self.write_offset and not self.use.keeps and self.reserved is None:
            self.read_offset = self.write_offset = 0
        self.quota.used -= before - self._occupied
