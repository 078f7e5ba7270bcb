"""
The temporary files that pipes spill to.

A spill file has no name: it is made with O_TMPFILE, or created and unlinked at once where the file system has none of that. So
nothing is left behind, whatever happens to the process. Mode 0600.

What was sent is given back by punching holes, whole pages only: a page that is zeroed or written while the socket still sends
from it would change what the peer gets.

The default directory is not C{/tmp}, which is memory on many systems: spilling there would be spilling from memory to memory.
"""

from __future__ import annotations

import ctypes
import errno
import os
import tempfile
from collections.abc import Sequence
from typing import Any

from twisted_pipe.core.buffers import Data
from twisted_pipe.errors import BadConfiguration

__all__ = ["SpillDirectory", "SpillFile", "default_temp_path"]

_NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL)
_PAGE = os.sysconf("SC_PAGE_SIZE")
_WORTH_PUNCHING = 4 * 1024 * 1024
_PUNCH_HOLE, _KEEP_SIZE = 2, 1  # linux/falloc.h


def _find_fallocate() -> Any:
    """C{fallocate(2)} with its flags, which C{os} has not; None where the C library has none."""
    libc = ctypes.CDLL(None, use_errno=True)
    function = getattr(libc, "fallocate64", None) or getattr(libc, "fallocate", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return function


_fallocate = _find_fallocate()


def default_temp_path() -> str:
    """C{/var/tmp}, which is on disk by convention, if it is there; else what C{tempfile} takes."""
    return "/var/tmp" if os.path.isdir("/var/tmp") else tempfile.gettempdir()


class SpillFile:
    """One open file without a name. All methods raise C{OSError} for what the disk says."""

    __slots__ = ("_forgotten", "fd")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._forgotten = 0

    def write(self, offset: int, parts: Sequence[Data]) -> int:
        """Write C{parts} (at most IOV_MAX) at C{offset}; returns how many bytes were written, which may be fewer."""
        written = os.pwritev(self.fd, parts, offset)
        if written == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written

    def read(self, offset: int, count: int) -> bytes:
        """
        1 to C{count} bytes from C{offset}.

        @raise EOFError: the file ends there.
        """
        data = os.pread(self.fd, count, offset)
        if not data:
            raise EOFError("the file was truncated")
        return data

    def forget(self, offset: int) -> bool:
        """
        Nothing before C{offset} is needed any more: give the space back, if it is worth a system call.

        @return: False if the file system cannot do that.
        """
        end = offset - offset % _PAGE
        if end - self._forgotten < _WORTH_PUNCHING:
            return True
        if _fallocate is None:
            return False
        if _fallocate(self.fd, _PUNCH_HOLE | _KEEP_SIZE, self._forgotten, end - self._forgotten) != 0:
            return False
        self._forgotten = end
        return True

    def close(self) -> None:
        """A second call does nothing."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)


class SpillDirectory:
    """
    Where spill files are made.

    @param path: an existing, writable directory; default L{default_temp_path}.
    """

    def __init__(self, path: str | None = None) -> None:
        self.path = path or default_temp_path()

    def __repr__(self) -> str:
        return f"<SpillDirectory {self.path}>"

    def check(self) -> None:
        """
        Make and forget a file, so that a bad directory is found at start-up and not behind the first slow client.

        @raise BadConfiguration: it is missing, no directory, or not writable.
        """
        if not os.path.isdir(self.path):
            what = "is not a directory" if os.path.exists(self.path) else "does not exist"
            raise BadConfiguration("temp_path", self.path, f"{what}; an existing, writable directory is needed")
        try:
            self.open().close()
        except OSError as error:
            raise BadConfiguration(
                "temp_path", self.path, f"cannot be written to ({error.strerror}); a writable directory is needed"
            ) from error

    def open(self) -> SpillFile:
        """
        A new, empty file.

        @raise OSError: as the disk says.
        """
        try:
            return SpillFile(os.open(self.path, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC | os.O_EXCL, 0o600))
        except OSError as error:
            if error.errno not in _NO_TMPFILE:
                raise
        fd, name = tempfile.mkstemp(prefix="twisted_pipe.", dir=self.path)
        try:
            os.unlink(name)
        except BaseException:
            os.close(fd)
            raise
        return SpillFile(fd)
