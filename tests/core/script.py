"""
A tiny driver that makes tests of the pure pipe read as transcripts.

A L{Script} holds one pipe between a scripted upstream and a scripted client: C{feed} puts bytes on the upstream's wire,
C{take} and C{stall} say what the client takes, and C{run} does the steps the pipe asks for until it waits or ends, one
line for each::

    READ hello        received from the upstream ("READ end", "READ error" for its end)
    WRITE hello       taken by the client from memory
    SEND_FILE hello   taken by the client from the file
    SPILL hello @0    written to the file, and where
    AWAIT             the filters wait
    WAIT, FINISH, ABANDON

The file is the strict one that sendfile needs: it is written at its end only, what was taken from it is gone at once, no
read or write crosses from one piece into the next, and when all of it was taken the next spill starts another one.

The filters of the tests are small, too: L{Through} and L{Calls} make one out of a function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted_pipe.core.buffers import SlabPool
from twisted_pipe.core.decoding import BodyDecoder
from twisted_pipe.core.disk import SpillQuota
from twisted_pipe.core.file_use import FileUse
from twisted_pipe.core.pipe import Flow, Pipe
from twisted_pipe.errors import DownstreamFailed, FilterFailed, PipeError
from twisted_pipe.interfaces import NamedFilter
from twisted_pipe.limits import PipeLimits

__all__ = ["Calls", "Later", "Script", "Through", "text"]

MOST_STEPS = 10_000


def text(parts: Any) -> str:
    """Some bytes-like, or a list of them, as text."""
    data = b"".join(parts) if isinstance(parts, list) else bytes(parts)
    return data.decode("latin-1")


def _joined(parts: list[Any]) -> bytes:
    """What one system call would take: no more than IOV_MAX parts, none of them empty."""
    if not 0 < len(parts) <= 1024 or not all(len(part) for part in parts):
        raise AssertionError(f"{len(parts)} parts, the shortest of {min(map(len, parts), default=0)} bytes")
    return b"".join(parts)


class Later:
    """Something to wait for that is no Deferred, only like one."""

    def addCallbacks(self, *arguments: object) -> None:
        """Never called here: whoever drives a chain subscribes, the chain does not."""


class Through:
    """
    A filter that answers C{received} with C{function(data)}, by default the data.

    @ivar stops: what C{stopped} was called with.
    """

    def __init__(
        self, function: Callable[[memoryview], Any] = lambda data: (data,), first: Any = (), last: Any = ()
    ) -> None:
        self.function = function
        self.first = first
        self.last = last
        self.stops: list[BaseException | None] = []

    def started(self) -> Any:
        return self.first

    def received(self, data: memoryview) -> Any:
        return self.function(data)

    def ended(self) -> Any:
        return self.last

    def stopped(self, reason: BaseException | None) -> None:
        self.stops.append(reason)


class Calls(Through):
    """
    A filter that notes what it was called with.

    @ivar calls: "started", "received hello", "ended", "stopped None".
    """

    def __init__(
        self,
        function: Callable[[memoryview], Any] = lambda data: (data,),
        first: Any = (),
        last: Any = (),
        calls: list[str] | None = None,
        name: str = "",
    ) -> None:
        super().__init__(function, first, last)
        self.calls: list[str] = [] if calls is None else calls
        self.prefix = f"{name} " if name else ""

    def note(self, call: str) -> None:
        self.calls.append(self.prefix + call)

    def started(self) -> Any:
        self.note("started")
        return super().started()

    def received(self, data: memoryview) -> Any:
        self.note(f"received {text(data)}")
        return super().received(data)

    def ended(self) -> Any:
        self.note("ended")
        return super().ended()

    def stopped(self, reason: BaseException | None) -> None:
        self.note(f"stopped {type(reason).__name__ if reason is not None else None}")
        super().stopped(reason)


class Script:
    """
    One pipe and its world. Buffers of 8 bytes, 4 of them, and a file of 1000 bytes, unless said otherwise.

    @ivar wire: what the upstream has sent and the pipe has not read.
    @ivar client: what the client got.
    @ivar room: how many bytes the client takes before it is stuck, None for any number.
    @ivar chunk: how many bytes one read gets, None for any number.
    @ivar disk_takes: how many bytes one write to the file takes, None for any number, or the error it raises.
    @ivar file: what was written to the file since it was last empty; bytes that were taken are C{?}.
    @ivar starts: how often the file was started, at 0.
    """

    def __init__(
        self,
        *filters: Any,
        size: int = 8,
        buffers: int = 4,
        file: int = 1000,
        piece: int = 0,
        length: int | None = None,
        preread: bytes = b"",
        pool: SlabPool | None = None,
        use: FileUse = FileUse.SPILL,
        quota: SpillQuota | None = None,
        head: bytes = b"",
        decoder: BodyDecoder | None = None,
        awaited: bool = False,
        **limits: Any,
    ) -> None:
        """@param piece: bytes of one piece of the file, 0 for what the pipe makes them (larger than any file here)."""
        self.pool = SlabPool(size) if pool is None else pool
        limits.setdefault("busy_size", min(2, buffers - 1) * size)
        self.limits = PipeLimits(buffers=buffers, buffer_size=size, max_temp_file_size=file, **limits)
        named = [NamedFilter(f"filter{number}", pipe_filter) for number, pipe_filter in enumerate(filters)]
        self.pipe = Pipe(
            self.limits,
            self.pool,
            named,
            length,
            preread,
            quota,
            use=use,
            head=head,
            decoder=decoder,
            awaited=awaited,
        )
        self.wire = bytearray()
        self.client = b""
        self.room: int | None = None
        self.chunk: int | None = None
        self.disk_takes: int | OSError | None = None
        self.pipe.disk.piece = piece or self.pipe.disk.piece
        self.file = bytearray()
        self.starts = 0
        self._end: PipeError | bool = False

    # the world

    def feed(self, data: bytes) -> Script:
        """The upstream sends C{data}."""
        self.wire += data
        return self

    def end(self) -> Script:
        """The upstream ends its stream, after what it has sent."""
        self._end = True
        return self

    def fail(self, error: PipeError) -> Script:
        """The upstream breaks off, after what it has sent."""
        self._end = error
        return self

    def stall(self) -> Script:
        """The client takes nothing."""
        self.room = 0
        return self

    def take(self, count: int | None = None) -> Script:
        """The client takes C{count} bytes more, or any number."""
        self.room = count
        return self

    @property
    def readable(self) -> bool:
        return bool(self.wire) or bool(self._end)

    @property
    def writable(self) -> bool:
        return self.room != 0

    # the steps

    def step(self) -> str:
        """One step, told in a line."""
        step = self.pipe.next_step(self.readable, self.writable)
        line = getattr(self, f"_{step.name.lower()}", str)()
        return f"{step.name} {line}" if line else step.name

    def run(self, most: int = MOST_STEPS) -> list[str]:
        """Steps until the pipe waits or ends, or C{most} of them."""
        lines: list[str] = []
        while len(lines) < most:
            lines.append(self.step())
            if lines[-1] in ("WAIT", "FINISH", "ABANDON"):
                return lines
        if most == MOST_STEPS:
            raise AssertionError(f"no end in sight: {lines[-5:]}")
        return lines

    def _read(self) -> str:
        view = self.pipe.read_view()
        if self.wire:
            count = min(len(view), len(self.wire), self.chunk or len(view))
            data = bytes(self.wire[:count])
            view[:count] = data
            del self.wire[:count], view
            self.pipe.did_read(count)
            return text(data)
        end, self._end = self._end, False
        if isinstance(end, PipeError):
            self.pipe.did_fail(end)
            return "error"
        self.pipe.did_end()
        return "end"

    def _taken(self, offered: bytes) -> str:
        count = len(offered) if self.room is None else min(self.room, len(offered))
        if self.room is not None:
            self.room -= count
        self.client += offered[:count]
        return text(offered[:count])

    def _write(self) -> str:
        line = self._taken(_joined(self.pipe.batch()))
        self.pipe.did_write(len(line))
        return line

    def _send_file(self) -> str:
        offset, count = self.pipe.file_range(1 << 20)
        if not 0 < count <= len(self.file) - offset:
            raise AssertionError(f"{count} bytes from {offset} of a file of {len(self.file)}")
        self._check_piece(offset, count)
        line = self._taken(bytes(self.file[offset : offset + count]))
        self.file[offset : offset + len(line)] = b"?" * len(line)
        self.pipe.did_send_file(len(line))
        if not self.pipe.disk.outstanding:
            self.file.clear()
        return line

    def _spill(self) -> str:
        if isinstance(self.disk_takes, OSError):
            self.pipe.spill_failed()
            return "failed"
        offset = self.pipe.disk.write_offset
        data = _joined(self.pipe.spill_batch())[: self.disk_takes]
        if offset != len(self.file):
            raise AssertionError(f"{len(data)} bytes at {offset} of a file of {len(self.file)}")
        if not self.file:
            self.starts += 1
        self._check_piece(offset, len(data))
        self.file += data
        self.pipe.did_spill(len(data))
        disk = self.pipe.disk
        if disk.outstanding > disk.limit:
            raise AssertionError(f"{disk!r}: beyond its limit")
        return f"{text(data)} @{offset}"

    def _check_piece(self, offset: int, count: int) -> None:
        piece = self.pipe.disk.piece
        if offset // piece != (offset + count - 1) // piece:
            raise AssertionError(f"{count} bytes at {offset} cross two pieces of {piece}")

    # the end

    def lose_client(self) -> Script:
        """The client's connection breaks."""
        self.pipe.did_break(DownstreamFailed("reset by peer"))
        return self

    def close(self) -> list[FilterFailed]:
        """The end of the pipe; a list of what filters raised in C{stopped}."""
        return self.pipe.close()

    @property
    def slabs(self) -> tuple[int, int, int]:
        """Slabs in use, free and lost, as the pool tells."""
        statistics = self.pool.statistics()
        return statistics.in_use, statistics.free, statistics.lost

    @property
    def flows(self) -> str:
        """The state of both sides."""
        up, down = self.pipe.upstream, self.pipe.downstream
        assert isinstance(up, Flow) and isinstance(down, Flow)
        return f"{up.value} -> {down.value}"
