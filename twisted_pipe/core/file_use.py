"""What the temporary file of a pipe is for, and so what becomes of it."""

from __future__ import annotations

import enum

__all__ = ["FileUse"]


class FileUse(enum.Enum):
    """
    @ivar takes_all: whether everything goes to it, and the downstream is fed from there; else only what that cannot take yet.
    @ivar keeps: whether what was sent stays in it; else its place is given back.
    """

    #: What a slow downstream cannot take yet, and no longer.
    SPILL = ("spill", False, False)
    #: The whole stream, within the limit, for an owner who takes it and delivers it himself, perhaps more than once.
    REPLAY = ("replay", True, True)
    #: The whole stream, however long, to be put in its place at the end.
    STORE = ("store", True, True)
    #: What it has is all that it will ever have: it was given, or no more comes of what was to be stored.
    HELD = ("held", False, True)

    def __init__(self, label: str, takes_all: bool, keeps: bool) -> None:
        self.takes_all = takes_all
        self.keeps = keeps

    @property
    def when_closed(self) -> FileUse:
        """What it is for when no more comes to it."""
        if self is FileUse.REPLAY:
            return FileUse.SPILL  # its owner wants all or nothing: what is there is sent, and forgotten
        return FileUse.HELD if self is FileUse.STORE else self
