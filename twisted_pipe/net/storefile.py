"""
A file that a stream is stored in while its client is fed from it.

It is written beside its destination under a name of its own, mode 0600, and put in its place when it is whole, by one
rename: nobody ever sees a part of it. If the stream breaks off it is removed.

It is not synced, no more than nginx's: that would make everybody wait for the disk. After a loss of power it may be missing, or be
there and empty or short; whoever cannot make it anew checks its length.

Source: nginx C{proxy_store} and C{proxy_cache}.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence

from twisted_pipe.core.buffers import Data
from twisted_pipe.net.spillfile import write_parts

__all__ = ["StoreFile"]


class StoreFile:
    """
    As L{twisted_pipe.net.spillfile.SpillFile}, but one file that is kept.

    @ivar path: where it is to be.
    """

    __slots__ = ("_fd", "_name", "path")

    def __init__(self, path: str) -> None:
        """
        @raise OSError: it cannot be created.
        """
        self.path = os.path.abspath(path)
        self._fd, self._name = tempfile.mkstemp(prefix=".twisted_pipe.", dir=os.path.dirname(self.path))

    def prepare(self, offset: int) -> None:
        """It is open already."""

    def write(self, offset: int, parts: Sequence[Data]) -> int:
        """As L{twisted_pipe.net.spillfile.SpillFile.write}."""
        return write_parts(self._fd, parts, offset)

    def locate(self, offset: int) -> tuple[int, int]:
        """The same for reading."""
        return self._fd, offset

    def read(self, offset: int, count: int) -> bytes:
        """
        1 to C{count} bytes from C{offset}.

        @raise EOFError: the file ends there.
        """
        data = os.pread(self._fd, count, offset)
        if not data:
            raise EOFError("the file was truncated")
        return data

    def forget(self, offset: int) -> None:
        """Nothing is forgotten."""

    def keep(self) -> None:
        """
        It is whole: put it in its place.

        @raise OSError: it cannot be; then it is removed.
        """
        fd, self._fd = self._fd, -1
        try:
            os.close(fd)
            os.replace(self._name, self.path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(self._name)
            raise

    def close(self) -> None:
        """Remove it, unless it was kept."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with contextlib.suppress(OSError):
                os.close(fd)
            with contextlib.suppress(OSError):
                os.unlink(self._name)
