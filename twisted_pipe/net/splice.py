"""
splice(2) from socket to socket: the pages of what was received are passed on and never copied.

A kernel pipe is borrowed for one transfer from the process's few (L{pipes}) and given back empty; one that is not is thrown
away, because bytes of one connection must never reach another.
"""

from __future__ import annotations

import fcntl
import os

__all__ = ["KEPT", "KernelPipe", "KernelPipes", "pipes"]

_SIZE = 1024 * 1024  # bytes; what an unprivileged process may ask for (/proc/sys/fs/pipe-max-size)
_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


class KernelPipe:
    """
    @ivar held: bytes in it.
    @ivar size: bytes it takes at most.
    """

    __slots__ = ("_in", "_out", "held", "size")

    def __init__(self) -> None:
        self.held = 0
        self._out, self._in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self.size = fcntl.fcntl(self._in, fcntl.F_SETPIPE_SZ, _SIZE)
        except OSError:  # the user's pipes have too many pages already (/proc/sys/fs/pipe-user-pages-soft)
            self.size = fcntl.fcntl(self._in, fcntl.F_GETPIPE_SZ)

    def __repr__(self) -> str:
        return f"<KernelPipe {self.held} of {self.size} bytes>"

    def fill(self, fd: int, count: int) -> int:
        """
        Receive at most C{count} bytes from the socket C{fd}.

        @return: how many, 0 for the end of the stream.
        @raise BlockingIOError: there is nothing.
        @raise OSError: the connection is lost.
        """
        assert not self.held
        got = os.splice(fd, self._in, count, flags=_FLAGS)
        self.held = got
        return got

    def empty(self, fd: int) -> int:
        """
        Send what it holds to the socket C{fd}. Returns how many bytes were taken.

        @raise BlockingIOError: none.
        @raise OSError: the connection is lost.
        """
        sent = os.splice(self._out, fd, self.held, flags=_FLAGS)
        self.held -= sent
        return sent

    def read_back(self) -> bytes:
        """What it holds, and it is empty."""
        parts = []
        while self.held:
            part = os.read(self._out, self.held)
            self.held -= len(part)
            parts.append(part)
        return b"".join(parts)

    def close(self) -> None:
        """Throw it away, with what it holds."""
        os.close(self._in)
        os.close(self._out)
        self.held = 0


KEPT = 8  #: kernel pipes that are kept for the next transfers, two descriptors each
_MOST = 64


class KernelPipes:
    """
    The kernel pipes of a process.

    @ivar lent: how many are in use.
    """

    def __init__(self) -> None:
        self.lent = 0
        self._free: list[KernelPipe] = []

    def __repr__(self) -> str:
        return f"<KernelPipes {self.lent} lent, {len(self._free)} free>"

    @property
    def scarce(self) -> bool:
        """Whether so many are in use that nobody should keep one while it waits: two descriptors and a MiB each."""
        return self.lent >= _MOST

    def take(self) -> KernelPipe:
        """
        An empty one.

        @raise OSError: no descriptor is free.
        """
        pipe = self._free.pop() if self._free else KernelPipe()
        self.lent += 1
        return pipe

    def give_back(self, pipe: KernelPipe) -> None:
        """C{pipe} is not needed any more."""
        self.lent -= 1
        if pipe.held or len(self._free) >= KEPT:
            pipe.close()
        else:
            self._free.append(pipe)


pipes = KernelPipes()
