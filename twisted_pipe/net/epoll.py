"""
epoll(7) with 64 bits of user data, through ctypes.

C{select.epoll} carries only the descriptor number. The tags of L{twisted_pipe.core.slots} need the whole C{epoll_data};
the price is 0.7 microseconds a wait, nothing an event: a batch is unpacked from one buffer by C{struct}.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterator

__all__ = ["Epoll", "NotSupported"]

_CTL_ADD, _CTL_DEL, _CTL_MOD = 1, 2, 3
_CLOEXEC = 0o2000000
BATCH = 512
# struct epoll_event is packed on x86-64 only (include/uapi/linux/eventpoll.h).
_EVENT = struct.Struct("=IQ" if platform.machine() in ("x86_64", "AMD64") else "@IxxxxQ")


class NotSupported(ImportError):
    """This system has no epoll."""


def _libc() -> ctypes.CDLL:
    if not sys.platform.startswith("linux"):
        raise NotSupported(f"the epollet reactor needs Linux (epoll); this is {sys.platform}")
    libc = ctypes.CDLL(None, use_errno=True)
    for name in ("epoll_create1", "epoll_ctl", "epoll_wait"):
        if not hasattr(libc, name):
            raise NotSupported(f"the epollet reactor needs {name}() in the C library")
    libc.epoll_ctl.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_char_p)
    libc.epoll_wait.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_int)
    return libc


class Epoll:
    """
    One epoll instance. Every method raises C{OSError} with the kernel's errno.

    @ivar control_calls: how often epoll_ctl was called.
    """

    def __init__(self) -> None:
        libc = _libc()
        self._ctl_call = libc.epoll_ctl
        self._wait_call = libc.epoll_wait
        self._fd: int = libc.epoll_create1(_CLOEXEC)
        if self._fd < 0:
            raise _os_error()
        self._buffer = ctypes.create_string_buffer(_EVENT.size * BATCH)
        self._address = ctypes.addressof(self._buffer)
        self._view = memoryview(self._buffer).cast("B")
        self.control_calls = 0

    def add(self, fd: int, events: int, tag: int) -> None:
        """Register C{fd}: C{tag} comes back with each of its events."""
        self._control(_CTL_ADD, fd, _EVENT.pack(events, tag))

    def modify(self, fd: int, events: int, tag: int) -> None:
        """Change what C{fd} is registered for."""
        self._control(_CTL_MOD, fd, _EVENT.pack(events, tag))

    def remove(self, fd: int) -> None:
        """Forget C{fd}. Not needed before close, unless a duplicate of it lives on."""
        self._control(_CTL_DEL, fd, None)

    def _control(self, operation: int, fd: int, event: bytes | None) -> None:
        self.control_calls += 1
        if self._ctl_call(self._fd, operation, fd, event) < 0:
            raise _os_error()

    def wait(self, milliseconds: int) -> Iterator[tuple[int, int]]:
        """
        Wait for events.

        @param milliseconds: at most so long, -1 for ever, 0 only to look.
        @return: at most 512 pairs (events, tag), to be used before the next wait. Nothing after a signal (EINTR).
        """
        count = self._wait_call(self._fd, self._address, BATCH, milliseconds)
        if count <= 0:
            if count < 0 and ctypes.get_errno() != errno.EINTR:
                raise _os_error()
            return iter(())
        return _EVENT.iter_unpack(self._view[: count * _EVENT.size])

    def close(self) -> None:
        """Close the instance; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _os_error() -> OSError:
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code))
