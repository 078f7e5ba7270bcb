"""
The pure pipe as a state machine: hypothesis plays the world, and looks for the shortest way to break a promise.

The rules are what may happen: the upstream sends, ends, breaks off; the client takes bytes, takes none, vanishes; a rate limit
holds and lets go; a filter's wait ends well or badly; the disk writes short, late or not at all; other pipes use up the quota;
the owner closes. After each of these the pipe does all it can, or a step, or nothing yet, and every promise that can be seen from
outside is looked at. At the end of each run the world turns friendly and everything has to arrive.

The filters and the poisoned pool are those of L{tests.fuzz.hostile}; the world and the promises are written anew, so that no
mistake of that model is shared.

150 runs of 60 rules, the same ones each time; C{TWISTED_PIPE_STATEFUL_EXAMPLES} asks for another number, of new ones. A failure
prints its rules as a program.
"""

from __future__ import annotations

import os
import random
import sys
from typing import Any

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.hostile import GROWTH, ModelFilter, PoisonedPool
from twisted_pipe.core import pipe as real_pipe
from twisted_pipe.core.disk import SpillQuota
from twisted_pipe.core.file_use import FileUse
from twisted_pipe.errors import Cancelled, DownstreamFailed, FilterFailed, PipeFinished, UpstreamFailed
from twisted_pipe.interfaces import NamedFilter
from twisted_pipe.limits import PipeLimits

EXAMPLES = os.environ.get("TWISTED_PIPE_STATEFUL_EXAMPLES", "")
SETTINGS = settings(
    max_examples=int(EXAMPLES or 150),
    stateful_step_count=60,
    derandomize=not EXAMPLES,
    print_blob=bool(EXAMPLES),
)

MOST_STEPS = 200_000
MOST_PARTS = 1024
ALL = 100_000


class Crumbs(ModelFilter):
    """Gives every byte back by itself."""

    def received(self, data: memoryview) -> Any:
        for at in range(len(data)):
            yield data[at : at + 1]


@attrs.frozen
class Birth:
    """
    What a pipe is born with.

    @ivar stream: what the upstream would say if nothing came between.
    @ivar known: whether the pipe is told its length.
    @ivar surplus: bytes that the upstream sends beyond it.
    @ivar early: of the stream, bytes that are there from the beginning.
    @ivar filters: the seed of each filter; a negative one is for L{Crumbs}.
    @ivar piece: bytes of one file.
    @ivar quota: bytes that it and others may have on disk, 0 for any number.
    @ivar use: what the file is for.
    @ivar ready: whether the client takes bytes.
    """

    limits: PipeLimits
    stream: bytes
    known: bool
    surplus: int
    early: int
    filters: list[int]
    piece: int
    quota: int
    use: FileUse
    ready: bool


@attrs.frozen
class How:
    """
    How the pipe goes on after an event.

    @ivar ready: whether the client takes bytes from now on, None if that stays as it is.
    @ivar holds: the same for the rate limit.
    @ivar steps: how many it does at most.
    @ivar past: whether bytes may go past the pipe.
    @ivar bulk: whether it reads into all free buffers.
    @ivar ask: the rate limit's budget, 0 for none.
    @ivar got: bytes that the upstream's socket gives at most; 0: it said there were some, and there are none.
    @ivar taken: bytes that the client's takes at most.
    @ivar part: bytes that may be sent from the file at once.
    @ivar written: bytes that the disk takes at most; 0: it fails.
    @ivar late: whether a write to it is done only later.
    """

    ready: bool | None
    holds: bool | None
    steps: int
    past: bool
    bulk: bool
    ask: int
    got: int
    taken: int
    part: int
    written: int
    late: bool


WHOLLY = How(None, None, ALL, False, True, 0, ALL, ALL, ALL, ALL, False)


@st.composite
def births(draw: st.DrawFn) -> Birth:
    size = draw(st.sampled_from([1, 7, 16, 64, 600]))
    buffers = draw(st.integers(2, 5))
    much = size * buffers * 4 + 5
    length = draw(st.sampled_from([much, min(size * 300, 3000), much, size * buffers, 1, 0]))
    stream = random.Random(draw(st.integers(0, 3))).randbytes(length)
    known = draw(st.sampled_from([False, False, True]))
    return Birth(
        PipeLimits(
            buffers=buffers,
            buffer_size=size,
            busy_size=size * draw(st.integers(1, buffers - 1)),
            buffering=draw(st.sampled_from([True, True, True, False])),
            max_temp_file_size=draw(st.sampled_from([5000, size * 3 + 1, max(size, 500), size, 0])),
            temp_file_write_size=size * draw(st.integers(1, 3)),
        ),
        stream,
        known,
        draw(st.sampled_from([0, 0, 7])) if known else 0,
        draw(st.sampled_from([0, 0, 0, min(length, 20)])),
        draw(
            st.sampled_from([0, 0, 1, 1, 2]).flatmap(
                lambda count: st.lists(st.integers(-1, 500), min_size=count, max_size=count)
            )
        ),
        draw(st.sampled_from([1, 10, 64, 10_000])),
        draw(st.sampled_from([0, 0, 0, 1000, 100, size])),
        draw(st.sampled_from([FileUse.SPILL, FileUse.SPILL, FileUse.SPILL, FileUse.STORE])),
        draw(st.booleans()),
    )


hows = st.builds(
    How,
    ready=st.sampled_from([None, None, True, False]),
    holds=st.sampled_from([None, None, None, False, False, True]),
    steps=st.sampled_from([ALL, ALL, ALL, 1, 3, 0]),
    past=st.booleans(),
    bulk=st.booleans(),
    ask=st.sampled_from([0, 0, 1, 5]),
    got=st.sampled_from([ALL, ALL, 1, 10, 70, 0]),
    taken=st.sampled_from([ALL, ALL, 0, 1, 5]),
    part=st.sampled_from([ALL, 1, 100]),
    written=st.sampled_from([ALL, ALL, ALL, 1, 3, 0]),
    late=st.booleans(),
)


def living(machine: PipeMachine) -> bool:
    return not machine.over


class PipeMachine(RuleBasedStateMachine):
    """The world around a pipe."""

    pipe_class: Any = real_pipe.Pipe
    step_class: Any = real_pipe.Step

    def __init__(self) -> None:
        super().__init__()
        self.over = True

    @initialize(birth=births())
    def first(self, birth: Birth) -> None:
        self.begin(birth)

    @precondition(lambda self: self.over)
    @rule(birth=births())
    def another(self, birth: Birth) -> None:
        self.begin(birth)

    def begin(self, birth: Birth) -> None:
        self.limits = birth.limits
        self.pool = PoisonedPool(birth.limits.buffer_size)
        self.stream, self.known, self.surplus = birth.stream, birth.known, birth.surplus
        self.filters: list[Any] = [
            Crumbs(random.Random(1)) if seed < 0 else ModelFilter(random.Random(seed)) for seed in birth.filters
        ]
        self.takes_all = birth.use.takes_all  # whether everything is to be in the file
        self.quota = SpillQuota(birth.quota)
        self.others = 0  # bytes of it that other pipes use
        self.over = self.ended = self.reset = self.end_told = self.disk_failed = False
        self.alone = False  # the client is gone, and the rest is read for the file's sake
        self.sent = birth.early  # bytes of the stream that the upstream has sent
        self.wire = bytearray()  # what of it is at our socket
        self.blocked = False  # the socket said that there is nothing
        self.passed = 0  # what went past the pipe
        self.writable = birth.ready
        self.awaited: Any = None
        self.out = bytearray()
        self.file = bytearray()
        self.file_start = 0
        self.writing: tuple[list[Any], bytes] | None = None  # a write that is under way: its memory, and what was in it
        self.pipe = self.pipe_class(
            birth.limits,
            self.pool,
            [NamedFilter(f"f{number}", each) for number, each in enumerate(self.filters)],
            len(birth.stream) if birth.known else None,
            birth.stream[: birth.early],
            self.quota,
            use=birth.use,
        )
        if not birth.use.keeps:
            self.pipe.disk.piece = birth.piece
        self.whole = self.model(self.stream, True)
        self.end_if_all_was_sent()

    def model(self, received: bytes, ended: bool) -> bytes:
        """What should come out."""
        for each in self.filters:
            received = each.whole(received, ended)
        return received

    def promise(self, true: object, what: str) -> None:
        assert true, f"{what}: {self.pipe!r}, {len(self.out)} of {len(self.whole)} out"

    @property
    def readable(self) -> bool:
        return not self.blocked and (bool(self.wire) or (self.ended and not self.end_told))

    # what the world does

    @precondition(lambda self: not (self.over or self.ended))
    @rule(percent=st.sampled_from([30, 10, 60, 30, 0, 100]), how=hows)
    def upstream_sends(self, percent: int, how: How) -> None:
        """So much of all that it has to say, and a byte."""
        everything = self.stream + b"!" * self.surplus
        part = everything[self.sent : self.sent + len(everything) * percent // 100 + 1]
        self.wire += part
        self.sent += len(part)
        self.blocked = False
        self.end_if_all_was_sent()
        self.go_on(how)

    def end_if_all_was_sent(self) -> None:
        self.ended = self.sent >= len(self.stream) + self.surplus

    @precondition(lambda self: not (self.over or self.ended))
    @rule(reset=st.sampled_from([True, True, False]), how=hows)
    def upstream_breaks_off(self, reset: bool, how: How) -> None:
        """Before it has said all: by a reset, or by what looks like its end."""
        self.ended, self.reset, self.blocked = True, reset, False
        if not self.known:
            self.stream = self.stream[: self.sent]
            self.whole = self.model(self.stream, True)
        self.go_on(how)

    @precondition(lambda self: not self.over and self.blocked)
    @rule(how=hows)
    def upstream_wakes(self, how: How) -> None:
        self.blocked = False
        self.go_on(how)

    @precondition(living)
    @rule(how=hows)
    def client_or_rate(self, how: How) -> None:
        """Nothing but what comes with every event."""
        self.go_on(how)

    @precondition(lambda self: not self.over and self.pipe.waits_for_filter)
    @rule(fails=st.sampled_from([False, False, False, True]), how=hows)
    def filter_goes_on(self, fails: bool, how: How) -> None:
        if fails:
            self.pipe.filter_failed(ValueError("the model filter breaks"))
        else:
            self.pipe.filter_resumed("fired")
        self.go_on(how)

    @precondition(living)
    @rule(what=st.sampled_from([None, None, None, "gone", "cancelled", "closed"]), how=hows)
    def accident(self, what: str | None, how: How) -> None:
        """Mostly none. Else the client vanishes, or somebody has had enough; or the owner closes before the end."""
        if what == "closed" and not self.alone:
            self.closed(None)
            return
        if what == "gone" and self.pipe.disk.use.takes_all and self.pipe.upstream.value != "failed":
            self.alone = True
            self.file_start = len(self.file)
        if what is not None:
            self.pipe.did_break(DownstreamFailed("gone") if what == "gone" else Cancelled("enough"))
            how = attrs.evolve(how, steps=max(how.steps, 1))  # whoever breaks a pipe turns it: no write ends in between
        self.go_on(how)

    @precondition(lambda self: not self.over and self.writing is not None)
    @rule(how=hows)
    def disk_is_done(self, how: How) -> None:
        self.written(how)
        self.go_on(how)

    @precondition(lambda self: not self.over and self.quota.limit)
    @rule(count=st.sampled_from([0, 1, 50, ALL]), how=hows)
    def others_spill(self, count: int, how: How) -> None:
        """So much of the quota is theirs now."""
        before, most = self.others, self.quota.limit - self.on_disk
        self.others = min(count, most)
        self.quota.used += self.others - before
        self.go_on(how)

    # what the pipe does

    def go_on(self, how: How) -> None:
        if how.ready is not None:
            self.writable = how.ready
        if how.holds is not None:
            self.pipe.delayed = how.holds
        for _ in range(min(how.steps, MOST_STEPS)):
            self.look()
            if not self.act(how):
                return
        self.promise(how.steps < MOST_STEPS, "no end in sight")

    def act(self, how: How) -> bool:
        """Whether it did something."""
        steps, pipe = self.step_class, self.pipe
        plain = not (self.filters or self.known or self.takes_all)
        if how.past and plain and self.wire and self.readable and self.writable and pipe.empty and pipe.wants_read:
            self.pass_by(how)
        step = pipe.next_step(self.readable, self.writable)
        if step is steps.READ:
            self.read(how)
        elif step is steps.WRITE:
            self.write(how)
        elif step is steps.SEND_FILE:
            self.send_file(how)
        elif step is steps.SPILL:
            self.spill(how)
        elif step is steps.AWAIT:
            suspension = pipe.chain.suspension
            self.promise(suspension is not None and suspension is not self.awaited, "awaits nothing, or again")
            self.awaited = suspension
        elif step is steps.WAIT:
            self.waits()
            return False
        else:
            self.closed(step is steps.FINISH)
            return False
        return True

    def pass_by(self, how: How) -> None:
        """The fast path: the client takes some, the rest is the pipe's."""
        got = min(len(self.wire), self.limits.memory, how.got or 3)
        sent = min(got, how.taken)
        self.out += self.wire[:sent]
        self.passed += sent
        rest = bytes(self.wire[sent:got])
        del self.wire[:got]
        if rest:
            self.writable = False
        self.pipe.passed_by(rest)
        self.look()

    def read(self, how: How) -> None:
        pipe = self.pipe
        self.promise(self.readable and not pipe.delayed, "reads what is not there")
        views = pipe.read_views() if how.bulk else [pipe.read_view(how.ask)]
        self.promise(all(len(view) for view in views), "reads into nothing")
        self.look_at_memory()
        if how.got == 0:
            self.blocked = True
        elif self.wire:
            done = 0
            for view in views:
                part = self.wire[: min(len(view), how.got - done)]
                view[: len(part)] = part
                del self.wire[: len(part)]
                done += len(part)
            pipe.did_read(done)
        else:
            self.end_told = True
            if self.reset:
                pipe.did_fail(UpstreamFailed("reset"))
            else:
                pipe.did_end()

    def taken(self, offered: int, how: How) -> int:
        self.promise(self.writable, "writes to a stuck client")
        count = min(offered, how.taken)
        if count < offered:
            self.writable = False
        return count

    def write(self, how: How) -> None:
        parts = self.pipe.batch()
        self.promise(parts and all(len(part) for part in parts), "a batch of nothing")
        self.promise(len(parts) <= MOST_PARTS, "more parts than a system call takes")
        data = b"".join(parts)
        del parts
        self.promise(len(data) <= self.limits.busy_size, "more than busy_size in a batch")
        count = self.taken(len(data), how)
        self.out += data[:count]
        self.pipe.did_write(count)

    def send_file(self, how: How) -> None:
        disk = self.pipe.disk
        offset, count = self.pipe.file_range(how.part)
        self.promise(offset == self.file_start and 0 < count <= len(self.file) - offset, "sends what is not there")
        self.promise(offset // disk.piece == (offset + count - 1) // disk.piece, "sends across two files")
        count = self.taken(count, how)
        self.out += self.file[offset : offset + count]
        self.file_start += count
        self.pipe.did_send_file(count)
        if self.file_start == len(self.file) and not self.takes_all and self.writing is None:
            self.file, self.file_start = bytearray(), 0

    def spill(self, how: How) -> None:
        pipe, limits = self.pipe, self.limits
        self.promise(self.writing is None, "two writes at once")
        if not pipe.disk.use.takes_all:
            self.promise(self.readable and not (self.writable or pipe.has_room), "spills without need")
        self.promise(not self.disk_failed, "spills to a disk that takes no more")
        offset, piece = pipe.disk.write_offset, pipe.disk.piece
        parts = pipe.spill_batch()
        data = b"".join(parts)
        self.promise(0 < len(data) <= limits.temp_file_write_size, "a write of nothing, or of too much")
        self.promise(offset == len(self.file), "writes elsewhere than at the end")
        self.promise(offset // piece == (offset + len(data) - 1) // piece, "writes across two files")
        held = len(self.file) + len(data) - self.file_start
        self.promise(self.takes_all or held <= limits.file_size, "more on disk than it may")
        self.promise(not self.quota.limit or self.quota.used + len(data) <= self.quota.limit, "more than all may")
        self.writing = (parts, data)
        del parts
        if how.late:
            pipe.spill_begun()
        else:
            self.written(how)

    def written(self, how: How) -> None:
        """A write is done."""
        assert self.writing is not None
        (parts, data), self.writing = self.writing, None
        self.promise(b"".join(parts) == data, "the memory of a write changed under it")
        del parts
        if how.written == 0:
            self.disk_failed = True
            self.pipe.spill_failed()
            return
        self.promise(self.pipe.disk.write_offset == len(self.file), "the file of a write was given up under it")
        count = min(len(data), how.written)
        self.file += data[:count]
        self.pipe.did_spill(count)
        if self.alone:
            self.file_start = len(self.file)

    # the promises

    @invariant()
    def look(self) -> None:
        if self.over:
            return
        pipe, out, disk = self.pipe, self.out, self.pipe.disk
        self.promise(self.whole.startswith(out), "lost, repeated or reordered bytes")
        outstanding = len(self.file) - self.file_start
        self.promise(
            (disk.read_offset, disk.write_offset) == (self.file_start, len(self.file)), "another range on disk"
        )
        comes_next = self.whole[len(out) : len(out) + outstanding]
        self.promise(self.alone or comes_next == self.file[self.file_start :], "other bytes come next")
        self.promise(pipe.bytes_out == len(out) - self.passed, "counts another output")
        self.promise(pipe.peak_memory >= pipe.slabs * self.limits.buffer_size, "forgets its peak")
        self.promise(pipe.has_output == (pipe.memory_bytes > 0 or outstanding > 0), "counts another backlog")
        if not (self.filters or self.alone):
            came = self.passed + pipe.bytes_in - pipe.surplus
            not_passed_on = came - len(out) - outstanding - pipe.memory_bytes
            self.promise(0 <= not_passed_on <= self.limits.buffer_size, "bytes are neither here nor there")
        self.look_at_memory()

    @property
    def on_disk(self) -> int:
        """Bytes on disk: all of a file from which not all was sent, but of one that is kept only what was not sent."""
        disk = self.pipe.disk
        sent = disk.read_offset if disk.use.keeps else disk.read_offset // disk.piece * disk.piece
        return disk.write_offset - sent + (disk.reserved or 0)

    def look_at_memory(self) -> None:
        pipe, limits = self.pipe, self.limits
        self.promise(pipe.slabs == self.pool.in_use <= limits.slabs, "more slabs than it may, or than the pool knows")
        outstanding, used = pipe.disk.outstanding, self.quota.used
        self.promise(
            outstanding >= 0 and (self.takes_all or outstanding <= limits.file_size), "more on disk than it may"
        )
        self.promise(used == self.others + self.on_disk, "the quota counts other bytes")
        self.promise(used <= self.quota.limit or not self.quota.limit, "more on disk than all pipes may")
        most = limits.memory + max(40 * GROWTH ** len(self.filters), limits.buffer_size) + 20
        self.promise(0 <= pipe.memory_bytes <= most, "more output in memory than it may")
        self.promise(len(pipe._memory) <= MOST_PARTS + limits.slabs, "more pieces in memory than it may")

    def waits(self) -> None:
        """Only when it can do nothing else."""
        pipe = self.pipe
        suspended = pipe.chain is not None and pipe.chain.suspension is not None
        writable = self.writable and pipe.downstream.value == "open"
        if self.writing is not None:
            self.promise(not (writable and pipe.disk.outstanding), "waits with bytes on disk for a ready client")
            self.promise(not pipe.wants_read, "would time out a read that waits for the disk")
            return
        self.promise(not (writable and pipe.has_output), "waits with output for a ready client")
        reading = self.readable and pipe.upstream.value == "open" and not pipe.delayed
        # or the quota was used up when it was to store
        gave_up = self.disk_failed or pipe.disk.use.takes_all < self.takes_all
        may_spill = bool(pipe.memory_bytes and pipe.disk.room) and not gave_up
        if reading:
            self.promise(not pipe.has_room, "waits with bytes to read and room for them")
            self.promise(self.writable or not may_spill, "waits though it could spill")
        elif self.writable and not suspended:
            self.promise(pipe.slabs == 0, "an idle pipe holds memory")
            if not (self.filters or self.alone):
                came = self.passed + pipe.bytes_in - pipe.surplus
                self.promise(came == len(self.out), "holds back bytes from a ready client")
        self.promise(not pipe.wants_read or pipe.has_room or may_spill, "would time out a read that it cannot do")

    def closed(self, finished: bool | None) -> None:
        """
        It is over.

        @param finished: what the pipe says of it; None if its owner does not wait for that.
        """
        pipe, out = self.pipe, self.out
        pending = pipe.error
        self.promise(
            pipe.close() == [] and pipe.close() == [], "filters raised when they were told, or were told twice"
        )
        error = pipe.error
        self.over = True
        pool = self.pool.statistics()
        self.promise(pool.in_use == pipe.slabs == pipe.memory_bytes == 0, "a buffer did not come back")
        if self.writing is None:
            self.promise(pool.lost == 0, "a buffer was given up")
        else:
            self.promise(not finished, "a clean end while a write is under way")
            poisoned = [self.pool.take() for _ in range(self.limits.buffers)]
            self.promise(b"".join(self.writing[0]) == self.writing[1], "the memory of a write is used again")
            del poisoned
        self.promise(pipe.disk.outstanding == 0, "a range of the disk did not come back")
        self.promise(self.quota.used == self.others, "the quota counts a pipe that is over")
        self.promise(pipe.next_step(True, True) is self.step_class.ABANDON, "does something after its end")
        self.promise(self.whole.startswith(out), "lost, repeated or reordered bytes")
        if finished is None:
            clean = pipe.downstream.value == "ended"
            self.promise(clean or error is pending is not None or isinstance(error, PipeFinished), "another error")
        else:
            clean = finished
            self.promise(error is pending, "another error")
        stored = clean and pipe.disk.use.takes_all
        self.promise(not stored or self.file == self.whole, "the file is not the stream")
        kept = stored and self.alone  # the client was lost, and the file is whole all the same
        self.promise(clean == (error is None) or kept, "a clean end with an error, or an unclean one without")
        for each in self.filters:
            self.promise([stop is None for stop in each.stops] == [clean], "a filter was not told once, or another end")
        received = self.stream[: self.passed + pipe.bytes_in - pipe.surplus]
        if clean:
            self.promise((out == self.whole or kept) and received == self.stream, "the end of the stream is missing")
            self.promise(self.known or (self.end_told and not self.reset), "a clean end of what broke off")
        elif finished is None:
            pass
        elif isinstance(error, UpstreamFailed):
            self.promise(self.end_told and not self.wire, "bytes were left unread")
            self.promise(self.reset or self.known, "an upstream that ended has failed")
            self.promise(out == self.model(received, False), "received bytes were lost with the upstream")
        else:
            self.promise(isinstance(error, (FilterFailed, DownstreamFailed, Cancelled)), f"another error: {error!r}")
            if isinstance(error, FilterFailed):
                self.promise("the model filter breaks" in str(error), f"a filter failed by itself: {error}")

    def teardown(self) -> None:
        """What is still alive comes to a good end once the world is friendly."""
        if self.over or sys.exc_info()[0] is not None:
            return
        if not self.ended:
            self.upstream_sends(100, attrs.evolve(WHOLLY, steps=0))
        for _ in range(MOST_STEPS):
            self.blocked, self.writable, self.pipe.delayed = False, True, False
            if self.writing is not None:
                self.written(WHOLLY)
            if self.pipe.waits_for_filter:
                self.pipe.filter_resumed("fired")
            self.act(WHOLLY)
            if self.over:
                return
            self.look()
        self.promise(False, "no end in sight")


class StatefulTests(SynchronousTestCase):
    """
    No order of events that hypothesis tries breaks a promise.

    Seen to fail for mutations of L{tests.fuzz.mutations}.
    """

    def test_pipe(self) -> None:
        run_state_machine_as_test(PipeMachine, settings=SETTINGS)
