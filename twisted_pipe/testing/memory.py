"""
Memory as filters are lent it: in a real slab, which is overwritten as soon as it comes back.

So a filter that keeps a view puts out rubbish; and it is found out before that, because a slab that is still viewed cannot be
resized.
"""

from __future__ import annotations

from twisted_pipe.core.buffers import Segment, Slab
from twisted_pipe.testing.words import sized

__all__ = ["LentMemory"]

_POISON = b"\xdd"


class LentMemory:
    """All that is lent to one row of filters."""

    def __init__(self) -> None:
        self._lent: dict[Slab, bytes] = {}
        self._viewed: list[tuple[Slab, bytes]] = []
        self._modified: list[str] = []

    def lend(self, data: bytes) -> Segment:
        """A piece of input, of one byte or more."""
        slab = Slab(len(data))
        slab.view[:] = data
        self._lent[slab] = data
        return Segment(slab.view[:], slab, len(data))

    def give_back(self, segment: Segment) -> None:
        """The filters are done with it."""
        slab = segment.slab
        assert slab is not None
        data = self._lent.pop(slab)
        segment.data = b""
        segment.slab = None
        slab.view.release()
        if slab.data != data:
            self._modified.append(f"the input was modified: {sized(data)} were lent, {sized(slab.data)} came back")
        if slab.still_viewed():
            self._viewed.append((slab, data))
        slab.data[:] = _POISON * len(data)

    def faults(self) -> list[str]:
        """
        What was done with it that must not be, since the last call.

        To be asked when nothing of the filters is running: an exception that is being handled keeps the frames it went through, and
        their variables.
        """
        faults, self._modified = self._modified, []
        viewed, self._viewed = self._viewed, []
        return faults + [
            f"a view of the input, {sized(data)}, was kept after the output of its call had ended;"
            " what is kept has to be copied: bytes(data)"
            for slab, data in viewed
            if slab.still_viewed()
        ]
