"""
The temporary files that pipes spill to.

They have no names: made with O_TMPFILE, or created and unlinked at once where the file system has none of that. So nothing is
left behind, whatever happens to the process. Mode 0600.

The default directory is not C{/tmp}, which is memory on many systems: spilling there would be spilling from memory to memory.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Callable, Sequence

from twisted_pipe.core.buffers import Data
from twisted_pipe.core.disk import SpillQuota
from twisted_pipe.errors import BadConfiguration
from twisted_pipe.net.diskthreads import DiskThreads

__all__ = ["SpillDirectory", "SpillFile", "default_temp_path", "write_parts"]

_NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL)


def default_temp_path() -> str:
    """C{/var/tmp}, which is on disk by convention, if it is there and is; else what C{tempfile} takes."""
    if os.path.isdir("/var/tmp") and not _in_memory("/var/tmp"):
        return "/var/tmp"
    return tempfile.gettempdir()


def _in_memory(path: str) -> bool:
    """Whether C{path} lies on a tmpfs or ramfs, as far as C{/proc} tells."""
    try:
        device = os.stat(path).st_dev
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
            lines = mounts.read().splitlines()
    except OSError:
        return False
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in lines:
        before, _, after = line.partition(" - ")
        if before.split()[2:3] == [number]:
            return after.split()[:1] in (["tmpfs"], ["ramfs"])
    return False


class SpillFile:
    """
    What one pipe has on disk: nameless files of a C{piece} each, opened as the offsets reach them and closed as they leave them
    (L{twisted_pipe.core.disk} says why). No call crosses from one piece into the next. All methods raise C{OSError} for what
    the disk says.
    """

    __slots__ = ("_fds", "_open", "_piece")

    def __init__(self, open_file: Callable[[], int], piece: int) -> None:
        """
        @param open_file: makes a new, empty file; returns its descriptor.
        @param piece: bytes of each.
        """
        self._open = open_file
        self._piece = piece
        self._fds: dict[int, int] = {}  # number of the piece -> descriptor

    def write(self, offset: int, parts: Sequence[Data]) -> int:
        """Write C{parts} (at most IOV_MAX) at C{offset}; returns how many bytes were written, which may be fewer."""
        self.prepare(offset)
        fd, within = self.locate(offset)
        return write_parts(fd, parts, within)

    def prepare(self, offset: int) -> None:
        """Make a new file if a piece begins at C{offset}: then L{write} opens nothing, and may be called in any thread."""
        number = offset // self._piece
        if number not in self._fds:
            self._fds[number] = self._open()

    def locate(self, offset: int) -> tuple[int, int]:
        """The descriptor and the offset in it where the byte at C{offset} lies; for sendfile."""
        number, within = divmod(offset, self._piece)
        return self._fds[number], within

    def read(self, offset: int, count: int) -> bytes:
        """
        1 to C{count} bytes from C{offset}.

        @raise EOFError: the file ends there.
        """
        fd, within = self.locate(offset)
        data = os.pread(fd, count, within)
        if not data:
            raise EOFError("the file was truncated")
        return data

    def forget(self, offset: int) -> None:
        """Nothing before C{offset} is needed any more: close the pieces that end there."""
        current = offset // self._piece
        for number in [number for number in self._fds if number < current]:
            _close(self._fds.pop(number))

    def close(self) -> None:
        """Give all of it back. A second call does nothing."""
        while self._fds:
            _close(self._fds.popitem()[1])


def write_parts(fd: int, parts: Sequence[Data], offset: int) -> int:
    """
    Write C{parts} (at most IOV_MAX) at C{offset}; returns how many bytes were written, which may be fewer. In any thread.

    @raise OSError: as the disk says.
    """
    written = os.pwritev(fd, parts, offset)
    if written == 0:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return written


def _close(fd: int) -> None:
    """Network file systems may report at close what went wrong at some write; nobody needs the bytes any more."""
    with contextlib.suppress(OSError):
        os.close(fd)


class SpillDirectory:
    """
    Where spill files are made, and what the pipes that spill there share.

    @ivar path: the directory.
    @ivar quota: bytes they may have on disk together.
    @ivar threads: who writes while the disk is slow; None for nobody.
    @ivar failures: how often the disk took no more.
    """

    def __init__(
        self, path: str | None = None, quota: SpillQuota | None = None, threads: DiskThreads | None = None
    ) -> None:
        """
        @param path: an existing, writable directory; default L{default_temp_path}.
        """
        self.path = path or default_temp_path()
        self.quota = quota if quota is not None else SpillQuota()
        self.threads = threads
        self.failures = 0

    def __repr__(self) -> str:
        return f"<SpillDirectory {self.path}>"

    @property
    def in_memory(self) -> bool:
        """Whether it lies on a file system that is memory: spilling there would be spilling from memory to memory."""
        return _in_memory(self.path)

    def check(self) -> None:
        """
        Make and forget a file, so that a bad directory is found at start-up and not behind the first slow client.

        @raise BadConfiguration: it is missing, no directory, or not writable.
        """
        if not os.path.isdir(self.path):
            what = "is not a directory" if os.path.exists(self.path) else "does not exist"
            raise BadConfiguration("temp_path", self.path, f"{what}; an existing, writable directory is needed")
        try:
            os.close(self._make())
        except OSError as error:
            raise BadConfiguration(
                "temp_path", self.path, f"cannot be written to ({error.strerror}); a writable directory is needed"
            ) from error

    def open(self, piece: int) -> SpillFile:
        """
        A new, empty spill file; it makes its files when they are written to.

        @param piece: bytes of each of its files.
        @raise OSError: as the disk says.
        """
        return SpillFile(self._make, piece)

    def _make(self) -> int:
        try:
            return os.open(self.path, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC | os.O_EXCL, 0o600)
        except OSError as error:
            if error.errno not in _NO_TMPFILE:
                raise
        fd, name = tempfile.mkstemp(prefix="twisted_pipe.", dir=self.path)
        try:
            os.unlink(name)
        except BaseException:
            os.close(fd)
            raise
        return fd
