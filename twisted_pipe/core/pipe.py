"""
The whole policy of the event pipe, pure.

Between an upstream that produces and a downstream that consumes stand at most C{limits.buffers} slabs, the filters' output of
at most the same size, and at most C{max_temp_file_size} bytes on disk. L{Pipe.next_step} is told what the two sockets can do
and answers with what to do next; whoever acts reports facts back (C{did_...}). The rules, in the order they are asked::

    1  a broken pipe                         -> ABANDON    every buffer comes back, no clean end
    2  received bytes go to the filters      when their slab is full, the stream ended, or the upstream is drained and the
                                             downstream takes bytes; else more are packed behind them
    3  downstream ready, a full batch waits  -> WRITE      (disk first: SEND_FILE)
    4  upstream ready, a buffer has room     -> READ       preread bytes were there before
    5  downstream ready, something waits     -> WRITE      also when the upstream is blocked for want of a buffer:
                                                           a ready client is served, never spilled for
    6  upstream ready, no buffer has room,
       the downstream is stuck               -> SPILL      oldest bytes first, if the file may grow
    7  the filters wait for something        -> AWAIT      once
    8  nothing is left and the stream ended  -> FINISH     or ABANDON, when it ended by a failure: what was received has
                                                           been delivered, but never as a clean end
    9  otherwise                             -> WAIT       when no buffer is free and the file is full, that is the
                                                           back-pressure: the upstream is not read

Bytes on disk always precede bytes in memory: spilling takes the oldest of memory, sending takes the disk first. A batch is at
most C{busy_size}, a slab counting whole however few of its bytes are left. A head precedes everything, past filters, length and
decoder; it is never spilled, and counts for no bound.

A downstream may come later. Until then the pipe takes what comes, as for a stuck client, until it is C{full}; and it is abandoned
as soon as the upstream fails, for nothing was begun that would have to be ended.

Source: the seed's C{ngx_event_pipe()}, its read ladder and its write ladder. Different from nginx, on purpose: a failing
upstream loses nothing that was received; partial buffers are passed on as soon as the client can take them; the limit of the
file bounds what is outstanding, not what was ever written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, NoReturn

from twisted_pipe.core.buffers import Data, Segment, Slab, SlabPool
from twisted_pipe.core.chain import FilterChain
from twisted_pipe.core.decoding import BodyDecoder
from twisted_pipe.core.disk import DiskRange, SpillQuota
from twisted_pipe.core.file_use import FileUse
from twisted_pipe.core.frames import forget_locals
from twisted_pipe.core.steps import Flow, Step
from twisted_pipe.errors import BadConfiguration, FilterFailed, PipeError, PipeFinished, Side, UpstreamFailed
from twisted_pipe.interfaces import NamedFilter
from twisted_pipe.limits import PipeLimits

__all__ = ["Flow", "Pipe", "Step"]

#: IOV_MAX: more parts no system call takes; also the bound on the filters' output, in count.
MOST_SEGMENTS = 1024
_SMALL_PART = 8  # of a buffer: a slice that a filter puts out and that is smaller than this part is copied
_READ_AHEAD = 3  # buffers that one read may fill behind the first


class Pipe:
    """
    One direction.

    @ivar upstream: ENDED after a clean end (or the whole announced length, or message), FAILED when it broke off.
    @ivar downstream: AWAITED until L{did_connect}, ENDED after FINISH, FAILED when it takes no more; still OPEN when it got all
        that a failed upstream had sent.
    @ivar delayed: set by the driver while a rate limit forbids reading; no read, and no read timeout.
    @ivar error: why the pipe did not end cleanly. An C{UpstreamFailed} (or the upstream's C{TimedOut}) means that everything
        received was delivered; if that was cut short by something else, that is the error, and the other its C{__context__}.
    @ivar length: bytes still to come, None if the end of the stream tells.
    @ivar decoder: takes the stream out of what is received; None if that is the stream.
    @ivar leftover: what was received beyond the announced length, or the message; at most what one read takes.
    @ivar disk: what is on disk, and what it is there for (L{DiskRange.use}).
    @ivar bytes_in: received from the upstream.
    @ivar bytes_out: taken by the downstream, the head included.
    @ivar bytes_spilled: written to disk, in all.
    @ivar peak_memory: the most bytes of memory held at once.
    """

    def __init__(
        self,
        limits: PipeLimits,
        pool: SlabPool,
        filters: Sequence[NamedFilter] = (),
        length: int | None = None,
        preread: bytes = b"",
        quota: SpillQuota | None = None,
        *,
        use: FileUse = FileUse.SPILL,
        held: int = 0,
        head: bytes = b"",
        decoder: BodyDecoder | None = None,
        awaited: bool = False,
    ) -> None:
        """
        @raise BadConfiguration: C{length} is no number of bytes, or there is a C{decoder}, too.
        @param pool: slabs of C{limits.buffer_size}.
        @param filters: in order.
        @param length: bytes the stream has in all, if known.
        @param preread: its first bytes, if they were received already; more than a buffer holds is copied into buffers.
        @param quota: bytes on disk that it shares with other pipes.
        @param use: what its file is for. C{max_temp_file_size} bounds that, unless it is to be stored.
        @param held: bytes that a file has already, of which the stream consists; C{length} is 0 then.
        @param head: bytes that the downstream gets before everything else; they are no part of the stream.
        @param decoder: of the framing of what is received.
        @param awaited: whether the downstream comes later.
        """
        if length is not None and (type(length) is not int or length < 0):
            raise BadConfiguration(
                "length", length, "must be a number of bytes, or None if the end of the stream tells"
            )
        if length is not None and decoder is not None:
            raise BadConfiguration("length", length, "must be None where a decoder tells the end")
        self.limits = limits
        self.upstream = Flow.OPEN
        self.downstream = Flow.AWAITED if awaited else Flow.OPEN
        self.delayed = False
        self.error: PipeError | None = None
        self.length = length
        self.decoder = decoder
        self.leftover = b""
        self.bytes_in = self.bytes_out = self.bytes_spilled = self.peak_memory = 0
        self.chain = FilterChain(filters, self._release) if filters else None
        self.disk = DiskRange(limits.file_size, quota=quota, use=use, held=held)
        self.waits_for_filter = False
        self._pool = pool
        self._small = pool.size // _SMALL_PART
        self._slabs = 0
        self._filling: Slab | None = None  # being read into
        self._filled = 0  # how far it is filled
        self._fed = 0  # how far it was passed on
        self._ahead: list[Slab] = []  # lent to a read behind it
        self._memory: deque[Segment] = deque()  # what waits for the downstream, after the disk
        self._memory_bytes = 0
        self._own_bytes = 0  # memory that is no slab's: what filters made, preread, the head
        self._head: Data = b""  # what of it the downstream has not taken
        self._broken = False
        self._closed = False
        if head:
            self._put_head(head)
        if preread:
            self._receive(preread, pool.size)
        elif length == 0:
            self.upstream = Flow.ENDED

    def __repr__(self) -> str:
        return (
            f"<Pipe {self.upstream.value} -> {self.downstream.value}"
            f" slabs={self._slabs}/{self.limits.slabs} memory={self._memory_bytes} disk={self.disk.outstanding}"
            f" in={self.bytes_in} out={self.bytes_out} spilled={self.bytes_spilled}"
            f"{' blocked' if self.upstream_blocked else ''}{' delayed' if self.delayed else ''}"
            f"{' filtering' if self.waits_for_filter else ''}>"
        )

    # consequences

    @property
    def slabs(self) -> int:
        """Slabs held."""
        return self._slabs

    @property
    def surplus(self) -> int:
        """How many bytes the upstream sent beyond its announced length, or message."""
        return len(self.leftover)

    @property
    def memory_bytes(self) -> int:
        """Bytes in memory that wait for the downstream, the head apart."""
        return self._memory_bytes

    @property
    def has_output(self) -> bool:
        """Whether anything waits for the downstream."""
        return bool(self._memory or self._head) or self.disk.outstanding > 0

    @property
    def wants_write(self) -> bool:
        """Whether it is the downstream's turn: it has only to take bytes. What a send timeout measures."""
        return self.downstream is Flow.OPEN and (self.has_output or self._fed < self._filled)

    @property
    def writing_file(self) -> bool:
        """Whether a write to the file is under way (in a thread): nothing is read meanwhile, nor memory touched."""
        return self.disk.reserved is not None

    @property
    def empty(self) -> bool:
        """Whether it holds nothing at all: bytes may then pass it by (L{passed_by}), if no filter is to see them."""
        return not (self._slabs or self._own_bytes or self.disk.outstanding)

    @property
    def has_room(self) -> bool:
        """Whether a buffer is free, or partly so."""
        return self._slabs < self.limits.slabs or (self._filling is not None and self._filled < self._pool.size)

    @property
    def wants_read(self) -> bool:
        """Whether it is the upstream's turn: bytes that came would be taken. What a read timeout measures."""
        return (
            self.upstream is Flow.OPEN
            and (self.has_room or self._may_spill)
            and not (self.delayed or self.waits_for_filter or self.writing_file or self._broken)
        )

    @property
    def full(self) -> bool:
        """Whether it can take no more before there is a downstream: no buffer has room, and the file takes nothing."""
        return (
            self.downstream is Flow.AWAITED
            and self.upstream is Flow.OPEN
            and not (self.has_room or self.disk.room > 0)
            and not (self.writing_file or self.waits_for_filter)
        )

    @property
    def waits_for_downstream(self) -> bool:
        """Whether only a downstream is missing: it is full, or everything has come, and is on disk if it is to be there."""
        whole = self.whole_on_disk if self.disk.use.takes_all else self.upstream is Flow.ENDED
        return self.downstream is Flow.AWAITED and (whole or self.full)

    @property
    def _may_spill(self) -> bool:
        return bool(self._memory) and self.disk.room > 0

    @property
    def upstream_blocked(self) -> bool:
        """Whether the upstream is not read because no buffer is free."""
        return self.upstream is Flow.OPEN and not self.has_room

    # the policy

    def next_step(self, readable: bool, writable: bool) -> Step:
        """What to do, given whether the upstream has bytes (or its end) and whether the downstream takes some."""
        if self._broken:
            return Step.ABANDON
        if self.downstream is not Flow.OPEN:
            writable = False
        if self.writing_file:
            return self._sending if writable and (self._head or self.disk.outstanding) else Step.WAIT
        reading = readable and self.upstream is Flow.OPEN and not self.delayed
        to_file = self.disk.use.takes_all
        if self._fed < self._filled and (
            self._filled == self._pool.size or self.upstream is not Flow.OPEN or ((writable or to_file) and not reading)
        ):
            self._pass_on()
        chain = self.chain
        if chain is not None and (chain.raw or not chain.dry or self.upstream is not Flow.OPEN) and not self._pull():
            return Step.ABANDON
        if to_file:
            step = self._store(reading, writable)
            if step is not None:
                return step
        elif writable and self._memory_bytes + self.disk.outstanding >= self.limits.busy_size:
            return self._sending
        if reading and self.has_room:
            return Step.READ
        if writable and self.has_output and not to_file:
            return self._sending
        if reading and not writable and self._may_spill:
            return Step.SPILL
        if self.chain is not None and self.chain.suspension is not None and not self.waits_for_filter:
            self.waits_for_filter = True
            return Step.AWAIT
        if self.upstream is not Flow.OPEN and self._drained and self.downstream is not Flow.AWAITED:
            return Step.FINISH if self.upstream is Flow.ENDED else Step.ABANDON
        self._rest()
        return Step.WAIT

    def _store(self, reading: bool, writable: bool) -> Step | None:
        """Everything is to be in the file: all of memory goes there, in large pieces, and the downstream is fed from it."""
        full = self._memory_bytes >= self.limits.temp_file_write_size or not (reading and self.has_room)
        if self._memory and full:
            if self.disk.room > 0:
                return Step.SPILL
            self.spill_failed()  # the quota is used up: from here on it is a pipe like any other
            return self.next_step(reading, writable)
        return self._sending if writable and (self._head or self.disk.outstanding) else None

    @property
    def _sending(self) -> Step:
        """How what waits goes out: the head first, then the disk, then memory."""
        return Step.SEND_FILE if self.disk.outstanding and not self._head else Step.WRITE

    @property
    def whole_on_disk(self) -> bool:
        """Whether the file holds the whole stream, however much of it the downstream has."""
        return (
            self.disk.use.takes_all
            and self.upstream is Flow.ENDED
            and not (self._memory or self.writing_file)
            and self._fed == self._filled
            and (self.chain is None or self.chain.finished)
        )

    @property
    def stored(self) -> bool:
        """Whether it does, and the downstream has all of it."""
        return self.whole_on_disk and not self.has_output

    @property
    def _drained(self) -> bool:
        if self.has_output:
            return False
        if self.chain is None:
            return True
        return self.chain.finished if self.upstream is Flow.ENDED else self.chain.idle

    def _pass_on(self) -> None:
        """What was received and not passed on goes to the filters, or straight to the output."""
        slab = self._filling
        assert slab is not None
        start, self._fed = self._fed, self._filled
        if self.chain is not None:
            slab.holders += 1
            self.chain.raw.append(Segment(slab.view[start : self._filled], slab, self._filled))
        else:
            last = self._memory[-1] if self._memory else None
            if last is not None and last.slab is slab and last.stop == start:
                last.data = slab.view[start - len(last.data) : self._filled]
                last.stop = self._filled
                self._memory_bytes += self._filled - start
            else:
                slab.holders += 1
                self._put(Segment(slab.view[start : self._filled], slab, self._filled))
        if self._filled == self._pool.size:
            self._leave_filling()

    def _leave_filling(self) -> None:
        slab, self._filling = self._filling, None
        self._filled = self._fed = 0
        if slab is not None:
            self._let_go(slab)

    def _pull(self) -> bool:
        """Take the filters' output while there is room for it. False if one failed."""
        chain = self.chain
        assert chain is not None
        if self.upstream is Flow.ENDED and self._fed == self._filled:
            chain.ending = True
        most, memory, pull, small = self.limits.memory, self._memory, chain.pull, self._small
        try:
            while self._memory_bytes < most and len(memory) < MOST_SEGMENTS:
                item = pull()
                if item is None:
                    return True
                slab = chain.lent
                if type(item) is memoryview and slab is not None and item.obj is slab.data and len(item) >= small:
                    slab.holders += 1
                    memory.append(Segment(item, slab))  # a slice of what it was lent: nothing is copied
                    self._memory_bytes += len(item)
                elif type(item) is memoryview and type(item.obj) is bytes:
                    self._put(Segment(item))
                else:
                    # bytes, or what might yet change; or a small slice, which would keep a whole buffer
                    self._put(Segment(item if type(item) is bytes else bytes(item)))
                item = None  # it may be a view of a buffer that the next pull gives back
        except FilterFailed as error:
            self._break(error)
            return False
        return True

    def _put(self, segment: Segment) -> None:
        self._memory.append(segment)
        size = len(segment.data)
        self._memory_bytes += size
        if segment.slab is None:
            segment.stop = size
            self._own_bytes += size
            self._note_peak()

    def _note_peak(self) -> None:
        held = self._slabs * self._pool.size + self._own_bytes
        if held > self.peak_memory:
            self.peak_memory = held

    def _rest(self) -> None:
        """Nothing to do: an idle pipe holds no memory. A buffer that waits for the client anyway is packed further."""
        self._take_back()
        if self._filling is not None and self._fed == self._filled and self._filling.holders == 1:
            self._leave_filling()

    def _take_back(self) -> None:
        """What a read was lent and did not fill."""
        while self._ahead:
            self._let_go(self._ahead.pop())

    # what the steps act on

    def read_view(self, most: int = 0) -> memoryview:
        """
        READ: where to receive, 1 byte or more, until the next call of any method.

        @param most: at most so many bytes, 0 for as many as fit (a rate limit's budget).
        """
        slab = self._filling
        if slab is not None and slab.holders == 1 and self._fed == self._filled and not slab.lent:
            self._filled = self._fed = 0  # all it held is gone
        elif slab is None:
            slab = self._filling = self._pool.take()
            self._slabs += 1
            self._note_peak()
        filled = self._filled
        end = self._pool.size if not most else min(self._pool.size, filled + most)
        return slab.view if filled == 0 and end == self._pool.size else slab.view[filled:end]

    def read_views(self) -> list[memoryview]:
        """
        READ in bulk: L{read_view} and as many free buffers after it as one call may fill, in order. What stays empty is free again.
        What is decoded is read into one at a time.
        """
        views = [self.read_view()]
        if self.decoder is not None:
            return views
        ahead = self._ahead
        while len(ahead) < _READ_AHEAD and self._slabs < self.limits.slabs:
            ahead.append(self._pool.take())
            self._slabs += 1
        self._note_peak()
        views += [slab.view for slab in ahead]
        return views

    def batch(self) -> list[Data]:
        """WRITE: what to send, oldest first; at most C{busy_size} behind the head, and IOV_MAX parts, but at least something."""
        room = self.limits.busy_size
        parts: list[Data] = []
        if self._head:
            parts.append(self._head)
            if self.disk.use.takes_all or self.writing_file or self.disk.outstanding:
                return parts  # what comes next is not in memory, or not to be touched
        slab: Slab | None = None
        for segment in self._memory:
            if segment.slab is None or segment.slab is not slab:
                weight = segment.weight
                if weight > room:
                    if not parts:  # one large piece of a filter's own: as much of it as may be busy
                        parts.append(memoryview(segment.data)[:room])
                    break
                room -= weight
                slab = segment.slab or slab
            parts.append(segment.data)
            if len(parts) == MOST_SEGMENTS:
                break
        return parts

    def file_range(self, most: int) -> tuple[int, int]:
        """SEND_FILE: offset and count of what to send from the file: 1 to C{most} bytes, in one piece."""
        return self.disk.read_offset, min(self.disk.readable, most)

    def spill_batch(self) -> list[Data]:
        """SPILL: what to write at C{disk.write_offset}: the oldest of memory, as much as one write and the file may take."""
        room = min(self.limits.temp_file_write_size, self.disk.room)
        parts: list[Data] = []
        for segment in self._memory:
            data = segment.data
            if len(data) >= room:
                parts.append(data if len(data) == room else memoryview(data)[:room])
                break
            parts.append(data)
            room -= len(data)
            if len(parts) == MOST_SEGMENTS:
                break
        return parts

    # facts

    def did_connect(self, head: bytes = b"") -> None:
        """
        The downstream that was awaited is there.

        @param head: bytes that it gets before everything else.
        """
        self.downstream = Flow.OPEN
        if self.disk.use is FileUse.REPLAY:
            self.disk.closed()  # nobody takes the file any more: it would only grow
        if head:
            self._put_head(head)

    def did_take_file(self) -> None:
        """The owner has taken the file, which is L{whole_on_disk}, instead of bringing a downstream: that is the end."""
        self.downstream = Flow.ENDED
        self.disk.took(self.disk.outstanding)
        self._take_head(len(self._head))

    def did_read(self, count: int) -> None:
        """C{count} bytes, at least 1, were received into L{read_view} or L{read_views}."""
        self.bytes_in += count
        if self.decoder is not None:
            self._decode_read(count)
            return
        if self.length is not None:
            count = self._cut_read(count)
        if not self._ahead:
            self._filled += count
            return
        ahead, self._ahead = self._ahead, []
        for slab in ahead:
            part = min(count, self._pool.size - self._filled)
            self._filled += part
            count -= part
            if count:
                self._pass_on()  # it is full
                self._filling = slab
            else:
                self._let_go(slab)
        self._filled += count

    def passed_by(self, rest: bytes, left: int | None = None) -> None:
        """
        Bytes went past an empty pipe, straight to the downstream, which now takes no more, or has taken the last of them.

        @param rest: what was received behind them and not taken, at most as much as all buffers hold; it is copied.
        @param left: how many bytes are still to come, those of C{rest} included; None if nobody knows.
        """
        if left is not None:
            self.length = left
        self._receive(rest, 0)

    def _receive(self, data: bytes, small: int) -> None:
        """Bytes that somebody else has received. More than C{small} of them are copied into buffers, so that they count as such."""
        self.bytes_in += len(data)
        if self.decoder is not None:
            own = bytearray(data)
            data = bytes(own[: self._decode(memoryview(own))])
        elif self.length is not None:
            kept = self._cut(len(data))
            data, self.leftover = data[:kept], data[kept:]
        if len(data) > small:
            data = self._copy(data)
        if not data:
            return
        if self.chain is None:
            self._put(Segment(data))
        else:
            self._own_bytes += len(data)
            self._note_peak()
            self.chain.raw.append(Segment(data, None, len(data)))

    def _copy(self, data: bytes) -> bytes:
        """Into buffers, as far as there are some; returns what is left."""
        remaining = memoryview(data)
        while remaining and self.has_room:
            view = self.read_view()
            part = remaining[: len(view)]
            view[: len(part)] = part
            self._filled += len(part)
            remaining = remaining[len(part) :]
            if self._filled == self._pool.size:
                self._pass_on()
        return bytes(remaining)

    def _cut(self, count: int) -> int:
        """How many of C{count} bytes belong to the stream; at the last of them it has ended."""
        assert self.length is not None
        kept = min(count, self.length)
        self.length -= kept
        self._look_at_length()
        return kept

    def _look_at_length(self) -> None:
        if self.length == 0 and self.upstream is Flow.OPEN:
            self.upstream = Flow.ENDED

    def _cut_read(self, count: int) -> int:
        """L{_cut} what was read."""
        kept = self._cut(count)
        if kept < count:
            slab = self._filling
            assert slab is not None
            views = [slab.view[self._filled :], *(ahead.view for ahead in self._ahead)]
            self.leftover = b"".join(views)[kept:count]
        return kept

    def _decode_read(self, count: int) -> None:
        """Take the stream out of C{count} bytes that were just read; what comes next is read behind it."""
        slab = self._filling
        assert slab is not None
        self._filled += self._decode(slab.view[self._filled : self._filled + count])
        if self._pool.size - self._filled < self._small:
            # Else each buffer would end in smaller and smaller reads, of which the framing is taken away again.
            self._pass_on()
            self._leave_filling()

    def _decode(self, view: memoryview) -> int:
        """How many bytes of the stream are in C{view}, at its start now."""
        decoder = self.decoder
        assert decoder is not None
        before = decoder.decoded
        try:
            kept = decoder.decode(view)
        except ValueError as error:
            self.did_fail(UpstreamFailed(str(error)))
            return decoder.decoded - before
        if decoder.finished:
            self.leftover = bytes(view[len(view) - decoder.surplus :])
            if self.upstream is Flow.OPEN:
                self.upstream = Flow.ENDED
        return kept

    def did_end(self) -> None:
        """The upstream ended its stream."""
        if self.upstream is not Flow.OPEN:
            return
        missing = self.decoder.at_end() if self.decoder is not None else None
        if self.length:
            self.did_fail(UpstreamFailed(f"ended {self.length} bytes before its announced length"))
        elif missing is not None:
            self.did_fail(UpstreamFailed(f"ended without {missing}"))
        else:
            self.upstream = Flow.ENDED

    def did_fail(self, error: PipeError) -> None:
        """
        The upstream broke off (reset, timeout). What was received is still delivered, if there is a downstream; then the pipe is
        abandoned.
        """
        if self.upstream is Flow.OPEN:
            self.upstream = Flow.FAILED
            self.error = self.error or error
            if self.downstream is Flow.AWAITED:
                self._broken = True

    def did_write(self, count: int) -> None:
        """The downstream took C{count} bytes of L{batch}; 0 if none."""
        self.bytes_out += count
        if self._head:
            count -= self._take_head(min(count, len(self._head)))
        self._take(count)

    def did_send_file(self, count: int) -> None:
        """The downstream took C{count} bytes of L{file_range}."""
        self.bytes_out += count
        self.disk.took(count)

    def spill_begun(self) -> None:
        """L{spill_batch} is being written, and L{did_spill} or L{spill_failed} will tell how it went."""
        self.disk.reserve(sum(map(len, self.spill_batch())))

    def did_spill(self, count: int) -> None:
        """C{count} bytes of L{spill_batch} are on disk."""
        self.bytes_spilled += count
        self.disk.added(count)
        self._take(count)
        if self.downstream is Flow.FAILED:
            self.disk.took(self.disk.outstanding)

    def spill_failed(self) -> None:
        """The file takes no more (its bytes are still in memory): from now on, back-pressure instead of spilling."""
        self.disk.refused()
        if self.downstream is Flow.FAILED:
            self._broken = True  # it went on for the file's sake only

    def did_break(self, error: PipeError) -> None:
        """
        The downstream failed, the disk lost bytes, or the owner gave up: nothing more can be delivered. If only the downstream
        failed, and everything is to be in the file, the pipe goes on for the file's sake.

        @raise TypeError: C{error} is no C{PipeError}; nothing has happened then.
        """
        if not isinstance(error, PipeError):
            raise TypeError(f"a PipeError is expected, which says whose fault it is, not {error!r}")
        if self.disk.use.takes_all and error.side is Side.DOWNSTREAM and self.upstream is not Flow.FAILED:
            self.downstream = Flow.FAILED
            self.error = self.error or error
            self.disk.took(self.disk.outstanding)
            self._take_head(len(self._head))
        else:
            self._break(error)

    def filter_resumed(self, result: Any) -> None:
        """What the filter waited for came."""
        self.waits_for_filter = False
        if self.chain is not None:
            self.chain.resume(result)

    def filter_failed(self, error: BaseException) -> None:
        """What the filter waited for failed: it is raised in the filter."""
        self.waits_for_filter = False
        if self.chain is not None:
            self.chain.throw(error)

    def close(self) -> list[FilterFailed]:
        """
        After FINISH or ABANDON: every buffer goes back and every filter is told. A second call does nothing; what would take or
        give bytes raises C{PipeFinished} from here on, and what reports an end does nothing.

        @return: what filters raised when they were told, and what L{FilterChain.take_problems} has.
        """
        if self._closed:
            return []
        self._closed = True
        clean = not self._broken and self.upstream is Flow.ENDED and self._drained and self._fed == self._filled
        clean = clean and self.downstream is not Flow.AWAITED
        if clean and self.downstream is Flow.OPEN:
            self.downstream = Flow.ENDED
        elif not clean and self.error is None:
            self._break(PipeFinished("the pipe was closed before its end"))
        self._broken = True
        self.waits_for_filter = False
        if self.writing_file:
            # A thread still reads them: probed when they come back, they are given up instead of being used again.
            for segment in self._memory:
                if segment.slab is not None:
                    segment.slab.lent = True
        self.disk.release()
        if self.error is not None:
            forget_locals(self.error)
        problems = self.chain.stop(None if clean else self.error) if self.chain is not None else []
        while self._memory:
            self._release(self._memory.popleft())
        self._memory_bytes = 0
        self._take_head(len(self._head))
        self._take_back()
        self._leave_filling()
        self.disk.took(self.disk.outstanding)
        self.__class__ = _ClosedPipe  # so that the checks cost a living pipe nothing
        return problems

    def _break(self, error: PipeError) -> None:
        if not self._broken:
            self._broken = True
            if self.downstream is not Flow.ENDED:
                self.downstream = Flow.FAILED
            if self.error is not None:
                error.__context__ = self.error
            self.error = error

    def _put_head(self, head: bytes) -> None:
        self._head = head + self._head
        self._own_bytes += len(head)
        self._note_peak()

    def _take_head(self, count: int) -> int:
        """The first C{count} bytes of the head are elsewhere now."""
        self._head = memoryview(self._head)[count:] if count < len(self._head) else b""
        self._own_bytes -= count
        return count

    def _take(self, count: int) -> None:
        """The first C{count} bytes of memory are elsewhere now."""
        self._memory_bytes -= count
        memory = self._memory
        while count:
            segment = memory[0]
            size = len(segment.data)
            if count < size:
                segment.data = memoryview(segment.data)[count:]
                return
            count -= size
            del memory[0]
            self._release(segment)

    def _release(self, segment: Segment) -> None:
        slab = segment.slab
        if slab is None:
            self._own_bytes -= segment.stop
        else:
            # The view goes first: the pool probes whether anybody else has one.
            segment.data = b""
            segment.slab = None
            if slab.holders > 1:
                slab.holders -= 1
            else:
                self._let_go(slab)

    def _let_go(self, slab: Slab) -> None:
        self._pool.let_go(slab)
        if not slab.holders:
            self._slabs -= 1


class _ClosedPipe(Pipe):
    """What has ended: it neither takes nor gives bytes."""

    def _refuse(self, *arguments: object) -> NoReturn:
        raise PipeFinished("the pipe has ended")

    read_view = read_views = passed_by = did_read = did_write = did_send_file = spill_begun = did_spill = _refuse  # type: ignore[assignment]
    did_connect = _refuse  # type: ignore[assignment]
