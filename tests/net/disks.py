"""Disks for tests: threads that are done when the test says so, a small real one, and what lies in a directory."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import formatEvent

from tests.net.fakes import MemoryTransport, PipeCase, WatchedSpill, os_error
from twisted_pipe.limits import PipeLimits
from twisted_pipe.net import spillfile, storefile

#: 4 buffers of 100 bytes, without timeouts.
DISK = PipeLimits(
    buffers=4,
    buffer_size=100,
    busy_size=200,
    temp_file_write_size=200,
    max_temp_file_size=10_000,
    read_timeout=0,
    send_timeout=0,
)
NO_SPILL = attrs.evolve(DISK, max_temp_file_size=0)


_write_parts = spillfile.write_parts


class HandThreads:
    """
    C{DiskThreads} whose writes are made, or fail, when the test says so.

    @ivar wanted: whether pipes hand their writes over.
    @ivar jobs: the function, its arguments and the Deferred of each write under way, oldest first.
    @ivar took_seconds: what C{took} was told.
    @ivar seconds: what its clock says next.
    """

    def __init__(self, wanted: bool = True) -> None:
        self.wanted = wanted
        self.jobs: list[tuple[Callable[..., int], tuple[Any, ...], Deferred[int]]] = []
        self.took_seconds: list[float] = []
        self.seconds = 0.0

    def clock(self) -> float:
        return self.seconds

    def took(self, seconds: float) -> None:
        self.took_seconds.append(seconds)

    def run(self, function: Callable[..., int], *arguments: Any) -> Deferred[int]:
        done: Deferred[int] = Deferred()
        self.jobs.append((function, arguments, done))
        return done

    def finish(self, most: int | None = None) -> int:
        """The oldest write is made: all of it, or C{most} bytes. Returns how many."""
        function, (offset, parts), done = self.jobs.pop(0)
        if most is not None:
            parts = [b"".join(parts)[:most]]
        count = function(offset, parts)
        del parts
        done.callback(count)
        return count

    def fail(self, error: int | Exception) -> None:
        """The oldest write fails."""
        _, _, done = self.jobs.pop(0)
        done.errback(os_error(error) if isinstance(error, int) else error)

    def finish_all(self) -> None:
        while self.jobs:
            self.finish()


class DiskCase(PipeCase):
    """
    Pipes between transports in memory that spill to a real directory.

    @ivar directory: that.
    """

    limits = DISK

    def setUp(self) -> None:
        PipeCase.setUp(self)
        self.directory = os.path.abspath(self.mktemp())
        os.mkdir(self.directory)
        self.spill = WatchedSpill(self.directory)
        self.renew()

    def renew(self) -> None:
        """Two other transports."""
        self.upstream, self.downstream = MemoryTransport(), MemoryTransport()

    def start(self, filters: Any = (), limits: Any = None, **more: Any) -> Any:
        return self.pipe(self.upstream, self.downstream, filters, limits, **more)

    def stuck(self, filters: Any = (), limits: Any = None, **more: Any) -> Any:
        """A pipe whose downstream takes one batch and then pauses."""
        self.downstream.room = 1
        return self.start(filters, limits, **more)

    def take_all(self) -> bytes:
        data = b""
        while self.downstream.value():
            data += self.downstream.take()
        return data

    def fail_writes(self, code: int, after: int = 0) -> list[int]:
        """
        Each write to a file fails once C{after} bytes are written.

        @return: how many bytes each write had, as they come.
        """
        left, sizes = [after], list[int]()

        def write(fd: int, parts: Any, offset: int) -> int:
            data = b"".join(parts)
            sizes.append(len(data))
            if not left[0]:
                raise os_error(code)
            written = _write_parts(fd, [data[: left[0]]], offset)
            left[0] -= written
            return written

        for module in (spillfile, storefile):
            self.patch(module, "write_parts", write)
        return sizes


def lines(events: list[Any]) -> list[str]:
    """What was logged."""
    return [formatEvent(event) or "" for event in events]


def said(events: list[Any], words: str) -> int:
    """In how many lines."""
    return sum(words in line for line in lines(events))


@contextlib.contextmanager
def small_disk(case: Any, size: str) -> Iterator[str]:
    """A tmpfs of its own, mounted; skips the test where that is not allowed."""
    path = os.path.abspath(case.mktemp())
    os.mkdir(path)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path]
    try:
        mounted = not subprocess.run(command, capture_output=True, timeout=20, check=False).returncode
    except OSError:
        mounted = False
    if not mounted:
        case.skipTest("nothing may be mounted here")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], capture_output=True, timeout=20, check=True)
