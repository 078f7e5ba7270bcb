"""
Memory that is lent, counted and probed.

A slab is a fixed-size bytearray that is read into. What waits to be sent are segments: slices of a slab, or bytes of a
filter's own. A slab knows how many holders it has and goes back to its pool when the last lets go; no segment is ever
copied to be kept.

A filter may break its promise and keep a slice of what it was lent. So a slab that a filter has seen is probed before it is
used again: a bytearray cannot be resized while a view of it lives. Such a slab is lost to the pool, and nothing else happens:
its bytes can never change under the filter or under the wire.
"""

from __future__ import annotations

from collections import deque
from typing import Union

import attrs

__all__ = ["PoolStatistics", "Segment", "Slab", "SlabPool"]

Data = Union[bytes, memoryview]

#: Free memory that a pool keeps for the next pipe; more is returned to the system.
KEEP_BYTES = 8 * 1024 * 1024


class Slab:
    """
    One buffer.

    @ivar data: its memory.
    @ivar view: all of it, writable, while it is in use.
    @ivar holders: how many segments and fillers point into it.
    @ivar lent: whether a filter has seen it.
    """

    __slots__ = ("data", "holders", "lent", "view")

    def __init__(self, size: int) -> None:
        self.data = bytearray(size)
        self.view = memoryview(self.data)
        self.holders = 0
        self.lent = False

    def still_viewed(self) -> bool:
        """Whether anybody but us has a view of it. Our own must have been let go."""
        try:
            last = self.data.pop()
        except BufferError:
            return True
        self.data.append(last)
        return False


class Segment:
    """
    Some bytes in their place in the stream.

    @ivar data: the bytes not yet taken.
    @ivar slab: whose memory they are in, None for memory of their own.
    @ivar stop: where they end in the slab.
    """

    __slots__ = ("data", "slab", "stop")

    def __init__(self, data: Data, slab: Slab | None = None, stop: int = 0) -> None:
        self.data = data
        self.slab = slab
        self.stop = stop

    @property
    def weight(self) -> int:
        """What it costs: a slab counts whole, however few of its bytes are left."""
        return len(self.data) if self.slab is None else len(self.slab.data)


@attrs.frozen
class PoolStatistics:
    """
    @ivar size: bytes of one slab.
    @ivar in_use: slabs that pipes hold now.
    @ivar free: slabs kept for the next.
    @ivar lost: slabs given up because a filter kept a view of them.
    """

    size: int
    in_use: int
    free: int
    lost: int


class SlabPool:
    """
    Slabs of one size, shared by all pipes of a process. Not for several threads.

    @param size: bytes of one slab.
    @param keep: bytes of free slabs to keep.
    """

    __slots__ = ("_free", "_keep", "in_use", "lost", "size")

    def __init__(self, size: int, keep: int = KEEP_BYTES) -> None:
        self.size = size
        self._keep = max(keep // size, 1)
        self._free: deque[Slab] = deque()
        self.in_use = 0
        self.lost = 0

    def statistics(self) -> PoolStatistics:
        return PoolStatistics(size=self.size, in_use=self.in_use, free=len(self._free), lost=self.lost)

    def take(self) -> Slab:
        """A slab with one holder, its contents undefined."""
        self.in_use += 1
        slab = self._free.pop() if self._free else Slab(self.size)
        slab.holders = 1
        return slab

    def let_go(self, slab: Slab) -> None:
        """One holder less; with the last, the slab comes back."""
        slab.holders -= 1
        if slab.holders:
            return
        self.in_use -= 1
        if slab.lent:
            slab.view.release()
            if slab.still_viewed():
                self.lost += 1
                return
            slab.view = memoryview(slab.data)
            slab.lent = False
        if len(self._free) < self._keep:
            self._free.append(slab)
