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
import resource
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any

from twisted_pipe.core.readiness import ET, EXCLUSIVE, IN, RDHUP

__all__ = ["Epoll", "NotSupported", "accept", "check_system"]

_CTL_ADD, _CTL_DEL, _CTL_MOD = 1, 2, 3
_CLOEXEC = 0o2000000
BATCH = 512
_FEW = 32  # batches up to this size have their slice of the buffer ready
_FEWEST_FILES = 32  # Python, Twisted and a handful of connections
# struct epoll_event is packed on x86-64 only (include/uapi/linux/eventpoll.h).
_EVENT = struct.Struct("=IQ" if platform.machine() in ("x86_64", "AMD64") else "@IxxxxQ")


class NotSupported(ImportError):
    """This system has no epoll."""


def _libc() -> ctypes.CDLL:
    if not sys.platform.startswith("linux"):
        raise NotSupported(f"the epollet reactor needs Linux (epoll); this is {sys.platform}")
    libc = ctypes.CDLL(None, use_errno=True)
    for name in ("epoll_create1", "epoll_ctl", "epoll_wait", "accept4"):
        if not hasattr(libc, name):
            raise NotSupported(f"the epollet reactor needs {name}() in the C library")
    return libc


def check_system() -> None:
    """
    @raise NotSupported: this system lacks what the reactor needs. One sentence says what.
    """
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files != resource.RLIM_INFINITY and files < _FEWEST_FILES:
        raise NotSupported(
            f"the epollet reactor needs at least {_FEWEST_FILES} open files, this process may have {files}: "
            f"raise the limit (ulimit -n)"
        )
    epoll = Epoll()
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        for name, flags in (("EPOLLET with EPOLLRDHUP", IN | RDHUP | ET), ("EPOLLEXCLUSIVE", IN | EXCLUSIVE)):
            try:
                epoll.add(reader, flags, 0)
            except OSError as error:
                raise NotSupported(
                    f"the epollet reactor needs {name}, which this kernel ({platform.release()}) does not have: {error.strerror}"
                ) from None
            epoll.remove(reader)
    finally:
        os.close(reader)
        os.close(writer)
        epoll.close()


class Epoll:
    """
    One epoll instance. Every method raises C{OSError} with the kernel's errno.

    @ivar control_calls: how often epoll_ctl was called.
    @ivar waits: how often epoll_wait was called.
    @ivar events: how many events it gave.
    """

    def __init__(self) -> None:
        libc = _libc()
        # Without argtypes, and with arguments that are C objects already where they never change: a third of the time of a call.
        self._ctl_call: Any = libc.epoll_ctl
        self._wait_call: Any = libc.epoll_wait
        self._fd: int = libc.epoll_create1(_CLOEXEC)
        if self._fd < 0:
            raise _os_error()
        self._buffer = ctypes.create_string_buffer(_EVENT.size * BATCH)
        self._c_fd = ctypes.c_int(self._fd)
        self._c_buffer = ctypes.c_void_p(ctypes.addressof(self._buffer))
        self._c_batch = ctypes.c_int(BATCH)
        self._view = memoryview(self._buffer).cast("B")
        self._views = [self._view[: count * _EVENT.size] for count in range(_FEW + 1)]
        self.control_calls = self.waits = self.events = 0

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
        if self._ctl_call(self._c_fd, operation, fd, event) < 0:
            raise _os_error()

    def wait(self, milliseconds: int) -> Iterator[tuple[int, int]] | None:
        """
        Wait for events.

        @param milliseconds: at most so long, -1 for ever, 0 only to look.
        @return: at most 512 pairs (events, tag), to be used before the next wait. None if there are none, also after a
            signal (EINTR).
        """
        self.waits += 1
        count: int = self._wait_call(self._c_fd, self._c_buffer, self._c_batch, milliseconds)
        if count <= 0:
            if count < 0 and ctypes.get_errno() != errno.EINTR:
                raise _os_error()
            return None
        self.events += count
        return _EVENT.iter_unpack(self._views[count] if count <= _FEW else self._view[: count * _EVENT.size])

    def close(self) -> None:
        """Close the instance; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._c_fd = ctypes.c_int(-1)


_accept4: Any = None
_LONGEST_ADDRESS = 128  # sizeof(struct sockaddr_storage)
_address = ctypes.create_string_buffer(_LONGEST_ADDRESS)
_length = ctypes.c_int(0)
_length_pointer = ctypes.pointer(_length)
_ACCEPT_FLAGS = ctypes.c_int(socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)


def accept(fd: int) -> tuple[int, bytes]:
    """
    Accept a connection of the listening socket C{fd}.

    @return: the number of its socket, which is non-blocking and not inherited by other programs, and its address as the kernel
        wrote it (C{struct sockaddr}).

    @raise OSError: the kernel's errno; C{BlockingIOError} when nobody waits.
    """
    global _accept4
    if _accept4 is None:
        _accept4 = _libc().accept4
    _length.value = _LONGEST_ADDRESS
    number: int = _accept4(fd, _address, _length_pointer, _ACCEPT_FLAGS)
    if number < 0:
        raise _os_error()
    return number, _address.raw[: _length.value]


def _os_error() -> OSError:
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code))
