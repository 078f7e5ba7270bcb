"""
A hostile driver for the pure pipe, and the model it is held against.

One seed makes one life: tiny buffers, a stream, filters that cut, hold back, grow, shrink and wait; an upstream that trickles,
pauses, ends or breaks off, or wraps its stream into a framing, right or wrong; a downstream that takes a byte, nothing, or
everything, may vanish, and may come late; a head for it; a disk that writes short or fails, or takes its time; a quota that others
use up. After every step the pipe is asked for its promises:

- what came out is a prefix of what should come out, byte for byte;
- it holds no more slabs, memory and disk than its limits say, and the pool agrees about the slabs;
- it never waits while it could go on, never spills for a ready client, never hands over more than C{busy_size};
- in the end everything (or, after a failure, everything received) was delivered, every buffer is back, every filter was
  told once.

Memory is poisoned when it is handed out again, so a slab that is reused too early shows in the bytes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

from tests.core.digits import Digits, framed
from twisted_pipe.core import pipe as real_pipe
from twisted_pipe.core.buffers import Slab, SlabPool
from twisted_pipe.core.disk import SpillQuota
from twisted_pipe.core.file_use import FileUse
from twisted_pipe.errors import Cancelled, DownstreamFailed, FilterFailed, UpstreamFailed
from twisted_pipe.interfaces import NamedFilter
from twisted_pipe.limits import PipeLimits

__all__ = ["Broken", "Life"]

MOST_STEPS = 200_000
GROWTH = 3


class Broken(AssertionError):
    """The pipe broke a promise; the message starts with the seed."""


class PoisonedPool(SlabPool):
    """A pool whose slabs come with the memory of somebody else's stream."""

    def take(self) -> Slab:
        slab = super().take()
        slab.view[:] = b"\xee" * len(slab.view)
        return slab


class Waits:
    """What a filter may wait for; the hostile driver fires it when it likes."""

    def __await__(self) -> Iterator[Any]:  # pragma: no cover - the chain only looks whether it is there
        raise AssertionError("nobody awaits in this model")


class ModelFilter:
    """Cuts its input at random, transforms it, sometimes waits; C{whole} says what it makes of a whole stream."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.stops: list[BaseException | None] = []
        self.kind = rng.choice(["pass", "cut", "own", "upper", "grow", "drop", "hold"])
        self.waits = rng.random() < 0.3
        self.greeting = b"<" if rng.random() < 0.3 else b""
        self.farewell = b">" if rng.random() < 0.5 else b""
        self.held = b""
        self.raises_at = rng.randrange(1, 200) if rng.random() < 0.08 else 0

    def whole(self, data: bytes, ended: bool) -> bytes:
        body = {
            "upper": data.upper(),
            "grow": b"".join(bytes([byte]) * GROWTH for byte in data),
            "drop": bytes(byte for byte in data if byte % 2),
        }.get(self.kind, data)
        if self.kind == "hold" and not ended:
            body = body[:-3]
        return self.greeting + body + (self.farewell if ended else b"")

    def started(self) -> Any:
        return [self.greeting] if self.greeting else ()

    def received(self, data: memoryview) -> Any:
        if self.raises_at:
            self.raises_at -= 1
            if not self.raises_at:
                raise ValueError("the model filter breaks")
        if self.kind == "pass" and not self.waits:
            return (data,)
        return self._generate(data)

    def _generate(self, data: memoryview) -> Iterator[Any]:
        rng = self.rng
        position = 0
        while position < len(data):
            if self.waits and rng.random() < 0.2:
                answer = yield Waits()
                if answer != "fired":
                    raise AssertionError(f"resumed with {answer!r}")
            size = rng.randint(1, 40)
            yield self._transform(data[position : position + size])
            position += size
            if rng.random() < 0.1:
                yield b""

    def _transform(self, part: memoryview) -> Any:
        if self.kind == "upper":
            return bytes(part).upper()
        if self.kind == "grow":
            return bytearray(b"".join(bytes([byte]) * GROWTH for byte in part))
        if self.kind == "drop":
            return bytes(byte for byte in part if byte % 2)
        if self.kind == "hold":
            together = self.held + bytes(part)
            self.held = together[-3:]
            return together[:-3]
        if self.kind == "own":
            return bytes(part)
        return part

    def ended(self) -> Any:
        yield self.held
        yield self.farewell

    def stopped(self, reason: BaseException | None) -> None:
        self.stops.append(reason)


class Life:
    """One pipe from its birth to its end."""

    def __init__(self, seed: int, pipe_class: Callable[..., Any] = real_pipe.Pipe, steps: Any = real_pipe.Step) -> None:
        self.seed = seed
        self.rng = rng = random.Random(seed)
        self.steps = steps
        size = rng.choice([1, 2, 7, 16, 64])
        buffers = rng.randint(2, 6)
        self.limits = PipeLimits(
            buffers=buffers,
            buffer_size=size,
            busy_size=size * rng.randint(1, buffers - 1),
            buffering=rng.random() < 0.9,
            max_temp_file_size=rng.choice([0, size, size * 3 + 1, 500, 5000]) if size < 500 else 0,
            temp_file_write_size=size * rng.randint(1, 4),
        )
        self.pool = PoisonedPool(size)
        self.stream = bytes(
            rng.randrange(97, 123) for _ in range(rng.choice([0, 1, size, size * buffers, rng.randint(0, 3000)]))
        )
        self.filters = [ModelFilter(rng) for _ in range(rng.choice([0, 0, 1, 1, 2, 3]))]
        known = rng.random() < 0.3
        self.framed = not known and rng.random() < 0.3
        self.head = rng.choice([b"", b"", b"H", b"HEAD" * 10])
        self.came_late = rng.random() < 0.2
        self.connected = not self.came_late
        self.was_full = False
        self.surplus = rng.randint(1, 20) if (known or self.framed) and rng.random() < 0.3 else 0
        message = framed(self.stream, lambda: rng.randint(1, 9)) if self.framed else self.stream
        self.total = message + b"!" * self.surplus  # all that is ever on the wire
        self.wrong = self.framed and rng.random() < 0.15
        if self.wrong:
            self.total = message[:-1] + b"?!"
        preread = self.total[: rng.randint(0, 50)] if rng.random() < 0.2 else b""
        self.sent = len(preread)
        self.fails_after = rng.randint(self.sent, len(self.total)) if rng.random() < 0.2 else None
        if self.surplus and self.fails_after is not None:
            self.fails_after = min(self.fails_after, len(message)) if self.sent <= len(message) else None
        self.use = FileUse.STORE if rng.random() < 0.2 else FileUse.SPILL
        if self.came_late and seed % 3 == 0:
            self.use = FileUse.REPLAY
        self.took = False
        self.breaks = rng.random() < (0.6 if self.use.takes_all else 0.2)
        self.disk_fails = rng.random() < 0.15
        self.threads = rng.random() < 0.3  # a write to the file may take a while
        self.quota = SpillQuota(rng.choice([0, 0, 0, size, 100, 1000]))
        self.others = 0  # bytes of it that other pipes use
        self.pipe = pipe_class(
            self.limits,
            self.pool,
            [NamedFilter(f"f{index}", pipe_filter) for index, pipe_filter in enumerate(self.filters)],
            len(self.stream) if known else None,
            preread,
            self.quota,
            use=self.use,
            head=self.head if self.connected or rng.random() < 0.5 else b"",
            decoder=Digits() if self.framed else None,
            awaited=not self.connected,
        )
        self.known = known
        if not self.use.keeps:
            self.pipe.disk.piece = rng.choice([1, 10, 64, 10_000])  # smaller than it would be, to meet its ends
        self.under_way: tuple[bytearray, int, list[Any], bytes] | None = (
            None  # file, offset, parts and bytes of a write
        )
        self.wire = bytearray()  # at the upstream's socket, not yet read
        self.blocked = False  # a read has found nothing there, until something moves on
        self.end_seen = False
        self.out = bytearray()
        self.file = bytearray()
        self.sent_from_file = 0  # nothing may ever be written before here, while the file lives
        self.writable = False
        self.steps_done = 0
        self.awaited: object = None
        self.checked = 0
        self.whole = self.expected(self.stream, True)
        self.output = self.head + self.whole
        self.may_pass = not (self.filters or self.framed or self.use.takes_all) and rng.random() < 0.5
        self.passed = 0  # bytes that went past the pipe

    # the model

    def expected(self, received: bytes, ended: bool) -> bytes:
        for pipe_filter in self.filters:
            received = pipe_filter.whole(received, ended)
        return received

    @property
    def source_ended(self) -> bool:
        """Whether the upstream has put all on the wire that it ever will."""
        if self.fails_after is not None:
            return self.sent >= self.fails_after
        return self.sent >= len(self.total)

    @property
    def received(self) -> bytes:
        """What of the stream the pipe was given so far, or the fast path."""
        raw = self.total[: self.passed + self.pipe.bytes_in]
        if not self.framed:
            return raw[: len(self.stream)]
        own = memoryview(bytearray(raw))
        decoder = Digits()
        try:
            return bytes(own[: decoder.decode(own)]) if raw else b""
        except ValueError:
            return bytes(own[: decoder.decoded])

    def connect(self) -> None:
        """The downstream comes at last."""
        pipe = self.pipe
        self.connected = True
        pipe.did_connect(self.head if not pipe._head else b"")

    @property
    def readable(self) -> bool:
        return not self.blocked and (bool(self.wire) or (self.source_ended and not self.end_seen))

    def check(self, promise: object, what: str) -> None:
        if not promise:
            raise Broken(f"seed {self.seed}: {what}: {self.pipe!r} after {self.steps_done} steps, out {len(self.out)}")

    # the life

    def live(self) -> None:
        """Run to the end. Raises L{Broken}."""
        while True:
            self.disturb()
            if self.turn():
                return

    def disturb(self) -> None:
        """The world moves on: at least one of the things the pipe may wait for happens."""
        rng, pipe = self.rng, self.pipe
        happened, self.blocked = self.blocked, False
        while not happened:
            if not self.source_ended and rng.random() < 0.6:
                count = rng.choice([1, 3, self.limits.buffer_size, rng.randint(1, 500)])
                end = min(self.sent + count, len(self.total) if self.fails_after is None else self.fails_after)
                self.wire += self.total[self.sent : end]
                self.sent = end
                happened = True
            if not self.connected and pipe.downstream.value == "awaited" and rng.random() < 0.05:
                self.connect()
                happened = True
            if self.connected and rng.random() < 0.5:
                happened = happened or not self.writable
                self.writable = True
            elif rng.random() < 0.2:
                self.writable = False
            if (
                pipe.chain is not None
                and pipe.chain.suspension is not None
                and pipe.waits_for_filter
                and rng.random() < 0.5
            ):
                pipe.filter_resumed("fired")
                happened = True
            if pipe.delayed:
                pipe.delayed = rng.random() < 0.5
                happened = happened or not pipe.delayed
            elif rng.random() < 0.05:
                pipe.delayed = True
            if self.under_way is not None and rng.random() < 0.5:
                self.written()
                happened = True
            if self.quota.limit:
                before, self.others = self.others, rng.randint(0, max(self.quota.limit - self.on_disk, 0))
                self.quota.used += self.others - before
                happened = happened or self.others < before
            if self.breaks and rng.random() < (0.1 if self.use.takes_all else 0.02) and not self.took:
                pipe.did_break(rng.choice([DownstreamFailed("gone"), Cancelled("enough")]))
                happened = True
            happened = happened or self.source_ended

    def turn(self) -> bool:
        """Steps until the pipe waits. Whether it ended."""
        steps, pipe = self.steps, self.pipe
        while True:
            self.steps_done += 1
            self.check(self.steps_done < MOST_STEPS, "no end in sight")
            if self.may_pass and self.wire and self.writable and pipe.empty and pipe.wants_read:
                self.pass_by()
                self.check_bounds()
            step = pipe.next_step(self.readable, self.writable)
            if step is steps.READ:
                self.read()
            elif step is steps.WRITE:
                self.write()
            elif step is steps.SEND_FILE:
                self.send_file()
            elif step is steps.SPILL:
                self.spill()
            elif step is steps.AWAIT:
                self.check(pipe.chain.suspension is not None, "awaits nothing")
                self.check(pipe.chain.suspension is not self.awaited, "awaits twice")
                self.awaited = pipe.chain.suspension
                if self.rng.random() < 0.2:
                    pipe.filter_resumed("fired")
            elif step is steps.WAIT:
                self.check_wait()
                self.check_bounds()
                return False
            else:
                self.end(step is steps.FINISH)
                return True
            self.check_bounds()

    def read(self) -> None:
        pipe, rng = self.pipe, self.rng
        self.check(self.readable and not pipe.delayed, "reads what is not there")
        views = pipe.read_views() if rng.random() < 0.5 else [pipe.read_view(rng.choice([0, 0, 1, 5]))]
        self.check(all(len(view) for view in views), "reads into nothing")
        self.check_bounds()
        if rng.random() < 0.05:
            self.blocked = True
        elif self.wire:
            count = self.scatter(views)
            del self.wire[:count]
            pipe.did_read(count)
        else:
            self.end_seen = True
            if self.fails_after is not None and (not (self.known or self.framed) or rng.random() < 0.7):
                pipe.did_fail(UpstreamFailed("reset"))
            else:
                pipe.did_end()

    def scatter(self, views: list[memoryview]) -> int:
        """Receive into C{views}, in order, as recvmsg_into does."""
        most = min(sum(map(len, views)), len(self.wire), self.rng.choice([1, 10, 10_000]))
        done = 0
        for view in views:
            part = self.wire[done : min(done + len(view), most)]
            view[: len(part)] = part
            done += len(part)
        return done

    def pass_by(self) -> None:
        """As the fast path does: bytes go past the empty pipe, until the downstream takes less than was received."""
        rng, pipe = self.rng, self.pipe
        got = min(len(self.wire), rng.randint(1, self.limits.memory))
        if self.known:
            got = min(got, pipe.length)
        sent = min(got, rng.choice([0, 1, 10_000]))
        self.out += self.wire[:sent]
        self.passed += sent
        rest = bytes(self.wire[sent:got])
        del self.wire[:got]
        if sent < got:
            self.writable = False
        pipe.passed_by(rest, pipe.length - sent if self.known else None)
        self.check_prefix()

    def taken(self, offered: int) -> int:
        count = min(offered, self.rng.choice([0, 1, 5, 10_000, 10_000]))
        if count < offered:
            self.writable = False
        return count

    def write(self) -> None:
        pipe = self.pipe
        self.check(self.writable, "writes to a stuck client")
        parts = pipe.batch()
        self.check(
            parts and all(len(part) for part in parts) and len(parts) <= 1024, "a batch of nothing, or of too many"
        )
        data = b"".join(parts)
        head = min(max(len(self.head) - len(self.out), 0), len(data))
        self.check(len(data) - head <= self.limits.busy_size, "more than busy_size in a batch")
        del parts
        count = self.taken(len(data))
        self.out += data[:count]
        pipe.did_write(count)
        self.check_prefix()

    def send_file(self) -> None:
        pipe = self.pipe
        self.check(self.writable, "writes to a stuck client")
        offset, count = pipe.file_range(self.rng.choice([1, 100, 10_000]))
        self.check(count > 0 and offset + count <= len(self.file), "a range outside the file")
        piece = pipe.disk.piece
        self.check(offset // piece == (offset + count - 1) // piece, "sends across two files")
        count = self.taken(count)
        self.out += self.file[offset : offset + count]
        self.sent_from_file = offset + count
        pipe.did_send_file(count)
        if not (pipe.disk.outstanding or self.use.takes_all or self.under_way):
            self.file, self.sent_from_file = bytearray(), 0
        self.check_prefix()

    def spill(self) -> None:
        pipe = self.pipe
        self.check(self.under_way is None, "two writes at once")
        if not pipe.disk.use.takes_all:
            self.check(not self.writable, "spills for a ready client")
            self.check(self.readable and not pipe.has_room, "spills without need")
        if self.disk_fails and self.rng.random() < 0.2:
            pipe.spill_failed()
            return
        offset = pipe.disk.write_offset
        parts = pipe.spill_batch()
        data = b"".join(parts)
        self.check(data, "spills nothing")
        self.check(len(data) <= self.limits.temp_file_write_size, "more than temp_file_write_size in a write")
        self.check(offset == len(self.file) >= self.sent_from_file, "writes where the socket may still send from")
        self.check(offset // pipe.disk.piece == (offset + len(data) - 1) // pipe.disk.piece, "writes across two files")
        if not self.use.takes_all:
            most = offset + len(data) - self.sent_from_file
            self.check(most <= self.limits.file_size, "more than max_temp_file_size on disk")
        self.under_way = (self.file, offset, parts, data)
        del parts
        if self.threads and self.rng.random() < 0.5:
            pipe.spill_begun()
        else:
            self.written()

    def written(self) -> None:
        """A write to the file is done."""
        assert self.under_way is not None
        (file, offset, parts, data), self.under_way = self.under_way, None
        self.check(b"".join(parts) == data, "the memory of a write changed under it")
        del parts
        if self.disk_fails and self.pipe.writing_file and self.rng.random() < 0.2:
            self.pipe.spill_failed()
            return
        self.check(offset == self.pipe.disk.write_offset, "the file of a write was given up under it")
        count = len(data) if self.rng.random() < 0.8 else self.rng.randint(1, len(data))
        file += data[:count]
        self.pipe.did_spill(count)
        if self.pipe.downstream.value != "open":
            self.sent_from_file = len(file)

    # promises

    def check_prefix(self) -> None:
        out, checked = self.out, self.checked
        self.check(self.output[checked : len(out)] == out[checked:], "lost, repeated or reordered bytes")
        self.checked = len(out)

    @property
    def on_disk(self) -> int:
        """Bytes on disk: all of a file from which not all was sent, but of one that is kept only what was not sent."""
        disk = self.pipe.disk
        sent = disk.read_offset if disk.use.keeps else disk.read_offset // disk.piece * disk.piece
        return disk.write_offset - sent + (disk.reserved or 0)

    def check_bounds(self) -> None:
        pipe, limits = self.pipe, self.limits
        whole = pipe.length == 0 or (pipe.decoder is not None and pipe.decoder.finished)
        self.check(not whole or pipe.upstream.value == "ended", "everything has come, and it waits for more")
        self.check(pipe.slabs <= limits.slabs, "more slabs than it may")
        self.check(pipe.slabs == self.pool.in_use, "the pool counts other slabs")
        self.check(self.use is FileUse.STORE or pipe.disk.outstanding <= limits.file_size, "more on disk than it may")
        self.check(self.quota.used - self.others == self.on_disk, "the quota counts other bytes")
        self.check(not self.quota.limit or self.quota.used <= self.quota.limit, "more on disk than all pipes may")
        piece = 40 * GROWTH ** len(self.filters)
        most = limits.memory + max(piece, limits.buffer_size) + 50
        self.check(pipe.memory_bytes <= most, "more output in memory than it may")

    def check_wait(self) -> None:
        pipe = self.pipe
        suspended = pipe.chain is not None and pipe.chain.suspension is not None
        open_ = pipe.downstream.value == "open"
        if self.use is FileUse.REPLAY and self.seed % 2 and pipe.downstream.value == "awaited" and pipe.whole_on_disk:
            self.check(self.file == self.whole, "the file is not the stream")
            self.check(pipe.waits_for_downstream, "its file is whole, and it does not say so")
            pipe.did_take_file()
            self.took = True
            return
        if self.under_way is not None:
            on_disk = self.writable and open_ and pipe.disk.outstanding
            self.check(not on_disk, "waits with bytes on disk for a ready client")
            self.check(not pipe.wants_read, "a read timeout would run though a write is under way")
            return
        self.check(not (self.writable and open_ and pipe.has_output), "waits with output for a ready client")
        if pipe.downstream.value == "failed" and pipe.upstream.value != "open":
            self.check(suspended or pipe.memory_bytes, "waits though nothing is left to do")
        if pipe.downstream.value == "awaited":
            self.check(pipe.upstream.value != "failed", "waits for a downstream that is not needed any more")
            self.was_full = self.was_full or pipe.full
        reading = self.readable and pipe.upstream.value == "open" and not pipe.delayed
        if reading:
            self.check(not pipe.has_room, "waits with bytes to read and room for them")
            self.check(open_ or self.connected or pipe.full or suspended, "is full, and does not say so")
            stuck = (
                suspended
                or pipe.memory_bytes == 0
                or not pipe.disk.room
                or self.disk_fails
                or not (self.limits.file_size or self.use.takes_all)
                or (self.use.takes_all and not pipe.disk.use.takes_all)  # storing was given up
            )
            self.check(self.writable or stuck, "waits though it could spill")
        if self.writable and not reading and not suspended:
            if open_ and not self.filters:
                came = len(self.head) + len(self.received)
                self.check(came == len(self.out), "holds back bytes from a ready client")
                self.check(pipe.empty, "holds nothing, and does not know it")
            self.check(pipe.slabs == 0, "an idle pipe holds memory")
        stuck = not pipe.has_room and (pipe.memory_bytes == 0 or not pipe.disk.room)
        self.check(not (pipe.wants_read and stuck), "a read timeout would run though nothing could be read")

    def end(self, finished: bool) -> None:
        pipe = self.pipe
        error = pipe.error
        problems = pipe.close()
        self.check(not problems, f"filters raised when stopped: {problems}")
        self.check(pipe.close() == [], "closed twice")
        self.check(self.pool.in_use == 0 and pipe.memory_bytes == 0, "a buffer did not come back")
        if self.under_way is None:
            self.check(self.pool.lost == 0, "a buffer was given up")
        else:
            self.check(not finished, "a clean end while a write is under way")
            slabs = [self.pool.take() for _ in range(self.limits.buffers)]
            self.check(b"".join(self.under_way[2]) == self.under_way[3], "the memory of a write is used again")
            del slabs
        self.check(self.quota.used == self.others, "the quota counts bytes of a pipe that is over")
        self.check(pipe.leftover == b"!" * pipe.surplus, "what is behind the stream is something else")
        stored = finished and pipe.disk.use.takes_all
        if stored:
            self.check(self.file == self.whole, "the file is not the stream")
        # the downstream was lost, and the file is whole all the same, or there was none
        alone = stored and (isinstance(error, DownstreamFailed) or self.took)
        self.check(finished or not self.took, "an unclean end though the file was taken")
        self.check(finished == (pipe.error is None) or alone, "a clean end with an error, or an unclean one without")
        for pipe_filter in self.filters:
            self.check(len(pipe_filter.stops) == 1, "a filter was not told once")
            self.check((pipe_filter.stops[0] is None) == finished, "a filter was told another end")
        if finished:
            self.check(self.out == self.output or alone, "the end of the stream is missing")
            self.check(self.end_seen or self.known or self.framed, "ended before the upstream")
            self.check(self.received == self.stream, "ended before the stream")
        elif isinstance(error, UpstreamFailed) and not self.connected:
            self.check(not self.out, "it has a downstream")
        elif isinstance(error, UpstreamFailed):
            # Everything received is delivered; received is at least what was read, and nothing was left on the wire.
            wrong = self.wrong and b"?" in self.total[: pipe.bytes_in]
            self.check(wrong == ("a digit was to come" in str(error)), "broken framing is another failure")
            self.check(wrong or not self.wire, "bytes were left unread")
            received = self.head + self.expected(self.received, False)
            self.check(self.out == received, "received bytes were lost with the upstream")
        else:
            expected = (FilterFailed, DownstreamFailed, Cancelled)
            self.check(isinstance(error, expected), f"an unexpected end: {error!r}")
            if isinstance(error, FilterFailed):
                self.check("the model filter breaks" in str(error), f"a filter failed by itself: {error}")
