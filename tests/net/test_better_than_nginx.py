"""
Where nginx is weak, and what ours does instead: point by point; then the bugs nginx had once, each of which must not be ours.

Each test says what nginx does and what ours does. What other modules test at this level already is not repeated here:

==========================================  ==========================================================================
1 an upstream that breaks off               L{UpstreamBreaksOffTests}; between sockets, small: C{test_driver_sockets}
                                            C{LossTests.test_upstream_reset}; by a proxy: C{proxies.test_tcp} C{test_upstream_reset}
2 the tail                                  L{TailTests}; the rule: C{core.test_pipe} C{test_passes_on_what_it_has_as_soon_..}
3 tiny chunks                               L{TinyChunkTests}; the rule: C{core.test_pipe} C{test_small_reads_are_packed}
4 the cap, and a quota for the process      L{CapTests}; years of it: C{test_driver_sockets} C{test_a_slow_reader_of_a_long_stream};
                                            writes in threads: C{test_spiller} C{test_two_pipes_and_one_quota}
5 disk writes                               L{DiskWriteTests}; when threads are used at all: C{test_diskthreads} C{WithPipesTests};
                                            what the pipe itself does meanwhile: C{test_spiller} C{PendingTests}
6 rates                                     L{RateTests}; between sockets, on and off the fast path: C{test_rate} C{SocketTests};
                                            of a proxy's sessions: C{proxies.test_session_limits} C{RateTests}
7 half-close                                L{HalfCloseTests}; every order of ends: C{proxies.test_tcp} C{test_every_order_of_ends}
8 a full disk                               L{FullDiskTests}; when, with which error, and on a real one: C{test_disk_faults}
a body larger than the file, CPU spin,      L{PastBugTests}
files left, IOV_MAX, incomplete taken for
complete, rate and kept-alive upstream,
foreign buffer, lost buffer, head
overwritten, truncated threaded writes
EXCLUSIVE imbalance                         there are no workers; what is registered: C{test_port}
==========================================  ==========================================================================
"""

from __future__ import annotations

import errno
import os
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import attrs
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from tests.net.disks import DISK, DiskCase, lines
from tests.net.fakes import MemoryTransport, Recorder, errors_of, fds_in, os_error
from tests.net.test_diskthreads import PATIENCE, Reactor
from tests.net.test_driver_sockets import SocketCase
from tests.net.test_rate import RateCase
from tests.net.test_spiller import ThreadCase
from twisted_pipe.core import pipe as pipe_module
from twisted_pipe.core.disk import DiskRange, SpillQuota
from twisted_pipe.core.pipe import Pipe, Step
from twisted_pipe.errors import Cancelled
from twisted_pipe.filters.base import PipeFilter
from twisted_pipe.interfaces import FilterContext
from twisted_pipe.limits import GIB, KIB, MIB, PipeLimits
from twisted_pipe.net import spillfile
from twisted_pipe.net.diskthreads import SLOW, DiskThreads
from twisted_pipe.net.pipe_end import PipeEnd

DATA = bytes(index * 7 % 251 for index in range(3000))
UNHURRIED = PipeLimits(send_timeout=0)  # the defaults, for a client that takes its time


def count_steps(case: Any, most: int) -> list[Step]:
    """The steps that pipes take from now on, which must not be more than C{most}."""
    steps: list[Step] = []
    really = Pipe.next_step

    def next_step(pipe: Pipe, readable: bool, writable: bool) -> Step:
        steps.append(really(pipe, readable, writable))
        if len(steps) > most:
            raise AssertionError(f"it spins: {steps[-4:]}")
        return steps[-1]

    case.patch(Pipe, "next_step", next_step)
    return steps


def plain() -> PipeFilter:
    """A filter that passes everything on: with it a pipe is a pipe, and no relay."""
    return PipeFilter(FilterContext())


class UpstreamBreaksOffTests(SocketCase):
    """Point 1."""

    def stalled(self) -> tuple[Any, bytes, MemoryTransport]:
        """A pipe in memory that holds 6 MiB for a client that takes nothing."""
        downstream = MemoryTransport(room=1)
        data = os.urandom(6 * MIB)
        pipe = self.pipe(None, downstream, limits=UNHURRIED, clock=self.engine.clock, length=len(data) + 1)
        for at in range(0, len(data), 64 * KIB):
            pipe.write(data[at : at + 64 * KIB])
        self.engine.clock.advance(0)  # a turn moves at most 1 MiB
        self.assertEqual(pipe.bytes_in, len(data))
        return pipe, data, downstream

    def test_an_upstream_that_breaks_off_loses_nothing(self) -> None:
        """
        nginx: a reset or a read timeout of the upstream discards what was received; of 6 MiB held for a stalled client 1 MiB
        arrived. Ours: all of it arrives, in the client's own time, and then an end that is not clean.
        """
        ends: dict[str, Callable[[Any], object]] = {
            "Connection to the other side was lost": lambda pipe: pipe.upstream_lost(Failure(ConnectionLost())),
            "read timeout of 60 s expired": lambda pipe: self.engine.clock.advance(61),
            "ended 1 bytes before its announced length": lambda pipe: pipe.upstream_ended(),
        }
        for why, end in ends.items():
            pipe, data, downstream = self.stalled()
            end(pipe)
            self.engine.clock.advance(3600)
            self.assert_running(pipe)
            self.assertEqual(downstream.ends, [], why)
            got = bytearray()
            while downstream.value():
                got += downstream.take()
            self.assertEqual((len(got), bytes(got) == data), (len(data), True), why)
            side, said = errors_of(self.outcome(pipe))
            self.assertEqual((side, why in said), ("upstream", True), said)
            self.assertEqual(
                downstream.ends, ["lose"], "StringTransport has no reset; a half-close would be a clean end"
            )

    def test_between_sockets_too(self) -> None:
        """The same with the kernel's buffers and sendfile, for both failures a socket has: a reset and silence."""
        for how, why in (("reset", os.strerror(errno.ECONNRESET)), ("silence", "read timeout of 60 s expired")):
            self.up, self.server = self.engine.connect(Recorder())
            self.down, self.client = self.engine.connect(Recorder())
            pipe = self.start(limits=UNHURRIED)
            data = os.urandom(6 * MIB)
            if how == "reset":
                self.up.write(b"never read")
                self.engine.settle()
            self.assertEqual(self.feed(data), len(data))
            if how == "reset":
                self.server.close()
            self.engine.advance(100, 1)
            self.assert_running(pipe)
            got = self.drain()
            self.assertEqual((len(got), got == data), (len(data), True), how)
            self.assertEqual(errors_of(self.outcome(pipe)), ("upstream", why))
            self.engine.advance(1)
            self.assertEqual(len(self.client.read()), 0)


class TailTests(SocketCase):
    """Point 2."""

    PIECES = (b"5\r\nhel", b"l", b"o\r", b"\n", b"0\r\n\r\n")

    def test_the_tail_is_passed_on_at_once(self) -> None:
        """
        nginx: the tail of a split chunk waits for 5 more bytes, and a partial buffer of a body of unknown length for more:
        two seconds were measured. Ours: what is there goes out in the same turn, whatever comes later, on the fast path, with
        a filter, and with a length that is far away.
        """
        kinds: dict[str, dict[str, Any]] = {
            "relay": {},
            "filter": {"filters": [plain()]},
            "length": {"length": 1 << 40},
        }
        for kind, options in kinds.items():
            self.up, self.server = self.engine.connect(Recorder())
            self.down, self.client = self.engine.connect(Recorder())
            self.start(**options)
            before = self.engine.clock.seconds()
            for piece in self.PIECES:
                self.server.write(piece)
                self.engine.turn()
                self.assertEqual(self.client.read(), piece, kind)
            self.assertEqual(self.engine.clock.seconds(), before)

    def test_with_a_rate_it_waits_for_that_only(self) -> None:
        """For the time that the bytes before it take at that rate, in steps of 20 ms at most."""
        for rate in (100, 10_000, 1 << 20):
            downstream = MemoryTransport()
            pipe = self.pipe(None, downstream, limits=PipeLimits(limit_rate=rate), clock=self.engine.clock)
            for piece in self.PIECES:
                pipe.write(piece)
                self.engine.clock.pump([0.001] * (20 + 1000 * len(piece) // rate))
                self.assertEqual(downstream.take(), piece, rate)

    def test_nor_does_it_wait_between_other_transports(self) -> None:
        """The same where a protocol pushes: within the call that brings it."""
        for filters in ((), (plain(),), (plain(), plain())):
            downstream = MemoryTransport()
            pipe = self.pipe(None, downstream, filters, clock=self.engine.clock)
            for piece in self.PIECES:
                pipe.write(piece)
                self.assertEqual(downstream.take(), piece)

    def test_the_tail_of_what_was_held_follows_it_at_once(self) -> None:
        """
        nginx: a partial buffer behind full ones waits for bytes that may never come. Ours: when the client takes bytes again
        all of it goes out: what is on disk, full buffers, and the tail, with no byte more from the upstream and no time passing.
        """
        for tail in (1, 4, 99):
            downstream = MemoryTransport(room=1)
            pipe = self.pipe(None, downstream, limits=DISK, clock=self.engine.clock)
            data = DATA[: 1500 + tail]
            pipe.write(data)
            self.assertTrue(pipe.bytes_spilled)
            got = b""
            while downstream.value():
                got += downstream.take()
            self.assertEqual(got, data, tail)


class TinyChunkTests(DiskCase):
    """Point 3. Four buffers of 100 bytes."""

    def held(self, chunk: int, filters: Any = ()) -> Any:
        """A pipe that holds 400 bytes that came C{chunk} at a time for a client that takes nothing any more."""
        self.renew()
        pipe = self.stuck(filters)
        pipe.write(b"!")
        self.assertEqual(self.downstream.value(), b"!", "handed over; from now on it takes nothing")
        for at in range(0, 400, chunk):
            pipe.write(DATA[at : min(at + chunk, 400)])
        return pipe

    def test_tiny_chunks_are_packed_and_do_not_spill(self) -> None:
        """
        nginx: every chunk, however small, takes a buffer, so that four bytes in four chunks fill four buffers and the fifth goes
        to disk. Ours: they are packed; four buffers hold four buffers' worth of bytes, also for a filter.
        """
        for chunk in (1, 3, 7, 100, 150):
            for filters in ((), (plain(),)):
                pipe = self.held(chunk, filters)
                self.assertEqual((pipe.bytes_in, self.in_use(), pipe.bytes_spilled), (401, 4, 0), chunk)
                self.assertEqual(self.spill.files, [])
                self.assertEqual(self.take_all(), b"!" + DATA[:400])
                pipe.upstream_ended()
                self.assertTrue(self.outcome(pipe).clean)

    def test_the_first_byte_too_many_spills(self) -> None:
        """It is not that nothing spills: full buffers do."""
        pipe = self.held(1)
        pipe.write(b"?")
        self.assertEqual((pipe.bytes_in, pipe.bytes_spilled), (402, DISK.temp_file_write_size))
        self.assertEqual(self.take_all(), b"!" + DATA[:400] + b"?")


class CapTests(DiskCase):
    """Point 4."""

    limits = attrs.evolve(DISK, max_temp_file_size=1030)

    def test_the_cap_is_on_what_is_outstanding(self) -> None:
        """
        nginx: C{max_temp_file_size} caps the bytes ever written, so that a long response spills once and is back-pressure from
        then on. Ours: it caps what waits: every time the client has taken some the file has room for as much again, to the byte.
        """
        pipe = self.stuck()
        data = os.urandom(100_000)
        sent, got, rounds = 0, b"", 0
        for _ in range(1000):
            while sent < len(data) and self.upstream.producerState != "paused":
                pipe.write(data[sent : sent + 77])
                sent += 77
                self.assertTrue(pipe.disk_bytes <= 1030, pipe)
            if sent < len(data):
                rounds += 1
                self.assertEqual(pipe.disk_bytes, 1030, "the upstream waits although the file has room")
            for _ in range(3):
                got += self.downstream.take()
            if len(got) == len(data):
                break
        self.assertEqual(got, data)
        self.assertTrue(rounds > 100 and pipe.bytes_spilled > 50 * 1030, (rounds, pipe))

    def test_a_quota_for_the_whole_process(self) -> None:
        """
        nginx: none; a thousand slow clients may take a thousand times the cap. Ours: C{spill_quota} bounds all pipes together, to
        the byte; one that may not spill waits for its client, and whatever a pipe gives back is for whoever needs it next.
        """
        self.spill.quota = quota = SpillQuota(2500)
        clients = [MemoryTransport(room=1) for _ in range(6)]
        pipes = [self.pipe(None, client) for client in clients]

        def check() -> int:
            on_disk = sum(pipe.disk_bytes for pipe in pipes)
            self.assertTrue(on_disk <= quota.used <= 2500, "a file that is not yet sent is all on disk")
            self.assertTrue(max(pipe.disk_bytes for pipe in pipes) <= 1030, pipes)
            return on_disk

        for at in range(0, len(DATA), 150):
            for pipe in pipes:
                pipe.write(DATA[at : at + 150])
                check()
        check()
        self.assertEqual(quota.used, 2500)
        spilled = [pipe.bytes_spilled for pipe in pipes]
        self.assertTrue(min(spilled) < max(spilled), "there was less for those who came later")
        self.assertTrue(sum(pipe.upstream_blocked for pipe in pipes) >= 4)
        pipes[0].abandon(Cancelled("enough"))
        pipes[1].stopProducing()
        for pipe in pipes[2:]:
            pipe.upstream_ended()
        for client, pipe in list(zip(clients, pipes, strict=True))[2:]:
            got = b""
            while client.value():
                got += client.take()
                check()
            self.assertEqual((got, self.outcome(pipe).clean), (DATA, True))
        self.assertEqual(quota.used, 0)
        self.assertTrue(
            sum(pipe.bytes_spilled for pipe in pipes[2:]) > sum(spilled[2:]), "what was given back was used"
        )


class DiskWriteTests(DiskCase):
    """Point 5."""

    def setUp(self) -> None:
        DiskCase.setUp(self)
        self.reactor, self.gate = Reactor(), threading.Event()
        self.spill.threads = self.threads = DiskThreads(self.reactor, 1, lambda: 0.0)
        self.threads.took(2 * SLOW)
        self.addCleanup(self.end)
        really, main = spillfile.write_parts, threading.get_ident()

        def write(fd: int, parts: Any, offset: int) -> int:
            """Hangs until the gate is opened, and would hang the reactor if it was called there."""
            if threading.get_ident() == main:
                raise AssertionError("a write in the reactor's thread")
            self.gate.wait(PATIENCE)
            return really(fd, parts, offset)

        self.patch(spillfile, "write_parts", write)

    def end(self) -> None:
        self.gate.set()
        for pipe in self.pipes:
            pipe.done.cancel()
        self.threads.stop()
        self.reactor.run()

    def test_disk_writes_do_not_block_the_others(self) -> None:
        """
        nginx: a disk write blocks its worker, and with it every connection, unless a pool is compiled in and asked for. Ours: as
        soon as the disk was slow once, writes are made in threads: while one hangs everybody else goes on, and its own client
        gets what is there.
        """
        count_steps(self, 20_000)
        slow = [(MemoryTransport(room=1), MemoryTransport(room=1)) for _ in range(3)]
        stuck = [self.pipe(upstream, downstream) for upstream, downstream in slow]
        for pipe in stuck:
            pipe.write(DATA)
        self.assertEqual((self.threads.writes, [pipe.bytes_spilled for pipe in stuck]), (3, [0, 0, 0]))
        self.assertEqual([upstream.producerState for upstream, _ in slow], ["paused"] * 3)
        for _ in range(20):
            self.renew()
            other = self.start()
            other.write(DATA)
            other.upstream_ended()
            self.assertEqual((self.downstream.value(), self.outcome(other).clean), (DATA, True))
        for pipe in stuck:
            self.assert_running(pipe)
        self.gate.set()
        for pipe in stuck:
            pipe.upstream_ended()
        got = [b""] * 3

        def over() -> bool:
            for number, (_, downstream) in enumerate(slow):
                while downstream.value():
                    got[number] += downstream.take()
            return all(pipe in self.outcomes for pipe in stuck)

        self.reactor.run_until(over)
        self.assertEqual([each == DATA for each in got], [True] * 3)
        self.assertEqual([self.outcome(pipe).clean for pipe in stuck], [True] * 3)
        self.assertTrue(min(self.outcome(pipe).bytes_spilled for pipe in stuck) > 0)


class RateTests(RateCase):
    """Point 6."""

    def test_rates_in_milliseconds_without_a_first_second_burst(self) -> None:
        """
        nginx: time is counted in whole seconds, and one more, so that a second's worth passes at once and then as much again each
        second. Ours: at each millisecond what is due, but for 20 ms worth; after 5 s exact to 2 %.
        """
        for rate in (200, 10_000, 1_000_000):
            self.renew()
            pipe = self.rated(rate)
            pipe.write(bytes(6 * rate))
            slack = rate * 0.02 + 1
            for millisecond in range(1000):
                due = rate * millisecond / 1000
                self.assertTrue(due - slack <= pipe.bytes_out <= due + slack, (rate, millisecond, pipe))
                self.clock.advance(0.001)
            self.run_for(4)
            self.assertTrue(abs(pipe.bytes_out - 5 * rate) <= 5 * rate * 0.02, (rate, pipe))
            pipe.abandon(Cancelled("enough"))

    def test_limit_rate_after(self) -> None:
        """nginx: the free bytes are followed by a second's burst. Ours: by the rate, to 2 %, from their last byte on."""
        for free in (1, 4096, 50_000):
            self.renew()
            pipe = self.rated(2000, after=free)
            pipe.write(bytes(free + 20_000))
            self.assertTrue(free <= pipe.bytes_out <= free + 41, (free, pipe))
            self.run_for(0.5)
            self.assertTrue(abs(pipe.bytes_out - free - 1000) <= 41, (free, pipe))
            self.run_for(4.5)
            self.assertTrue(abs(pipe.bytes_out - free - 10_000) <= 200, (free, pipe))
            pipe.abandon(Cancelled("enough"))

    def test_a_rate_that_is_changed_while_it_runs(self) -> None:
        """
        nginx: C{X-Accel-Limit-Rate} comes with the head, once. Ours: at any time, in the middle of a pause too; the next 5 s
        are exact to 2 %. What a pause at a higher rate had earned is kept, but no more than a quarter of a second's worth.
        """
        pipe = self.rated(1000)
        pipe.write(bytes(8_000_000))
        for rate in (1000, 77_777, 300, 1_000_000, 5000):
            before, kept = pipe.bytes_out, rate / 4 if rate < pipe.limit_rate else 0
            pipe.limit_rate = rate
            self.run_for(5)
            passed = pipe.bytes_out - before
            self.assertTrue(4.9 * rate <= passed <= 5.1 * rate + kept, (rate, passed, pipe))
            self.run_for(0.0137)  # to somewhere in a pause
        pipe.limit_rate = 0
        self.clock.advance(0)
        while [call for call in self.clock.getDelayedCalls() if call.getTime() <= self.clock.seconds()]:
            self.clock.advance(0)
        self.assertEqual(pipe.bytes_out, 8_000_000)

    def test_up_and_down_have_rates_of_their_own(self) -> None:
        """nginx: for streams; for HTTP a response's only. Ours: each way of a connection has its own, and they run at once."""
        client, server = MemoryTransport(), MemoryTransport()
        down = self.pipe(server, client, limits=attrs.evolve(self.limits, limit_rate=50_000), keep_open=True)
        up = self.pipe(client, server, limits=attrs.evolve(self.limits, limit_rate=3000), keep_open=True)
        for pipe in (down, up):
            pipe.write(bytes(2_000_000))
        for down_rate, up_rate in ((50_000, 3000), (50_000, 80_000), (1000, 80_000)):
            before = down.bytes_out, up.bytes_out
            down.limit_rate, up.limit_rate = down_rate, up_rate
            self.run_for(5)
            for pipe, rate, was in ((down, down_rate, before[0]), (up, up_rate, before[1])):
                self.assertTrue(abs(pipe.bytes_out - was - 5 * rate) <= 5 * rate * 0.02, (down_rate, up_rate, pipe))
        self.assertEqual((len(client.value()), len(server.value())), (down.bytes_out, up.bytes_out))


class HalfCloseTests(SocketCase):
    """Point 7."""

    def test_half_close_is_no_abort(self) -> None:
        """
        nginx: a client that has ended its half counts as gone: its request is given up. Ours: an end is passed on for its
        own way only. The response arrives, in the client's own time, and its own end is clean.
        """
        count_steps(self, 20_000)
        for filters in ([], [plain()]):
            self.up, self.server = self.engine.connect(Recorder())
            self.down, self.client = self.engine.connect(Recorder())
            request = self.pipe(self.down, self.up, filters)
            response = self.pipe(self.up, self.down, filters)
            self.client.write(b"question")
            self.client.half_close()
            self.engine.settle()
            self.assertEqual((self.server.read(), self.outcome(request).clean), (b"question", True))
            self.assertEqual((self.server.read(), self.server.ended, self.server.reset), (b"", True, False))
            self.assert_running(response)
            answer = os.urandom(MIB)
            self.assertEqual(self.feed(answer), len(answer), "though the client reads nothing")
            self.assertTrue(response.bytes_spilled > 0)
            self.server.half_close()
            got = self.drain()
            self.assertEqual((got == answer, self.outcome(response).clean), (True, True))
            self.client.read()
            self.assertEqual((self.client.ended, self.client.reset), (True, False))

    def test_nor_is_that_of_an_upstream(self) -> None:
        """An upstream that has said all it has to say may still be told the rest of a long request."""
        request = self.pipe(self.down, self.up)
        response = self.pipe(self.up, self.down)
        self.server.write(b"early answer")
        self.server.half_close()
        self.engine.settle()
        self.assertEqual((self.client.read(), self.outcome(response).clean), (b"early answer", True))
        self.assert_running(request)
        for part in (b"the ", b"rest"):
            self.client.write(part)
            self.engine.settle()
            self.assertEqual(self.server.read(), part)
        self.client.half_close()
        self.engine.settle()
        self.server.read()
        self.assertEqual((self.outcome(request).clean, self.server.ended), (True, True))

    def test_on_any_transport(self) -> None:
        """The same where C{readConnectionLost} tells it, with a client that is stuck."""
        client, server = MemoryTransport(room=1), MemoryTransport()
        ends = [PipeEnd(), PipeEnd()]
        for end, transport in zip(ends, (client, server), strict=True):
            end.makeConnection(transport)
        clock = self.engine.clock
        ends[0].source_of = request = self.pipe(client, server, limits=DISK, clock=clock)
        ends[1].source_of = response = self.pipe(server, client, limits=DISK, clock=clock)
        ends[0].dataReceived(b"question")
        ends[0].readConnectionLost()
        self.assertEqual((server.value(), server.ends, self.outcome(request).clean), (b"question", ["half"], True))
        ends[1].dataReceived(DATA)
        ends[1].readConnectionLost()
        self.assertEqual((client.ends, client.calls.count("stop")), ([], 0))
        got = b""
        while client.value():
            got += client.take()
        self.assertEqual((got, self.outcome(response).clean, client.ends), (DATA, True, ["half"]))


class FullDiskTests(DiskCase):
    """Point 8."""

    def test_a_full_disk_is_back_pressure(self) -> None:
        """
        nginx: a write to the temporary file that fails ends the request, though its client could take the rest. Ours: the bytes
        are still in memory, so the upstream waits for the client; each pipe that met it says so once, and it is counted. Who
        has bytes on disk already gets them back, and who needs no disk never notices.
        """
        limits = attrs.evolve(DISK, max_temp_file_size=10_000)
        clients = {name: MemoryTransport(room=1) for name in ("began", "late", "later")}
        clients["fast"] = MemoryTransport()
        pipes = {name: self.pipe(None, client, limits=limits, name=name) for name, client in clients.items()}
        pipes["began"].write(DATA[:1500])
        on_disk = pipes["began"].disk_bytes
        self.assertTrue(on_disk > 0)
        tries: list[int] = []

        def full(fd: int, parts: Any, offset: int) -> int:
            tries.append(fd)
            if len(tries) > 100:
                raise AssertionError("it tries for ever")
            raise os_error(errno.ENOSPC)

        self.patch(spillfile, "write_parts", full)
        with capturedLogs() as logs:
            for at in range(0, len(DATA), 100):
                for name, pipe in pipes.items():
                    if name != "began" or at >= 1500:
                        pipe.write(DATA[at : at + 100])
            self.assertEqual([pipes[name].disk_bytes for name in ("began", "late", "later")], [on_disk, 0, 0])
            self.assertTrue(self.in_use() <= 3 * 4)
            got = dict.fromkeys(clients, b"")
            for pipe in pipes.values():
                pipe.upstream_ended()
            while any(client.value() for client in clients.values()):
                for name, client in clients.items():
                    got[name] += client.take(70)
        self.assertEqual([name for name, data in got.items() if data != DATA], [])
        self.assertEqual([self.outcome(pipe).error for pipe in pipes.values()], [None] * 4)
        self.assertEqual((len(tries), self.spill.failures), (3, 3), "tried once by each that needed it, and counted")
        said = sorted(line.partition(":")[0] for line in lines(list(logs)) if "spill failed" in line)
        self.assertEqual(said, ["began", "late", "later"], "logged once by each")


class PastBugTests(ThreadCase):
    """Bugs that nginx's pipe had once. What concerns sockets is in L{PastBugsOfSocketsTests}."""

    def setUp(self) -> None:
        ThreadCase.setUp(self)
        self.threads.wanted = False

    def test_a_response_that_outgrows_the_temp_file_is_whole(self) -> None:
        """nginx once corrupted the body, or crashed. Whatever the limit and however it is cut into pieces, no byte is wrong."""
        self.patch(pipe_module, "DiskRange", lambda limit, **more: DiskRange(limit, 64, **more))
        for cap in (100, 101, 163, 256, 400):
            for sent_at_once, taken_at_once in ((70, 33), (250, 100), (41, 90)):
                self.renew()
                pipe = self.stuck(limits=attrs.evolve(DISK, max_temp_file_size=cap))
                got = b""
                for number, at in enumerate(range(0, len(DATA), sent_at_once)):
                    pipe.write(DATA[at : at + sent_at_once])
                    self.assertTrue(pipe.disk_bytes <= cap)
                    if number % 3 == 0:
                        got += self.downstream.take(taken_at_once)
                pipe.upstream_ended()
                got += self.take_all()
                self.assertEqual((got, self.outcome(pipe).clean), (DATA, True), (cap, sent_at_once, taken_at_once))
                self.assertTrue(self.outcome(pipe).bytes_spilled > cap, "it did outgrow it")

    def test_no_temp_file_is_left_after_an_abort(self) -> None:
        """
        nginx left files behind. Ours have no name even while they are written to, also on file systems that need a name to create
        one; the one that is stored in has, and loses it.
        """
        really_open = os.open

        def no_tmpfile(path: Any, flags: int, *more: Any, **others: Any) -> int:
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise os_error(errno.EOPNOTSUPP)
            return really_open(path, flags, *more, **others)

        ends: dict[str, Callable[[Any], object]] = {
            "abandoned": lambda pipe: pipe.abandon(Cancelled("enough")),
            "cancelled": lambda pipe: pipe.done.cancel(),
            "client gone": lambda pipe: pipe.stopProducing(),
            "upstream gone": lambda pipe: pipe.upstream_lost(Failure(ConnectionLost())),
            "total timeout": lambda pipe: self.clock.advance(11),
            "truncated": lambda pipe: [os.ftruncate(fd, 0) for fd in fds_in(self.directory)],
        }
        limits = attrs.evolve(DISK, total_timeout=10)
        for with_tmpfile in (True, False):
            if not with_tmpfile:
                self.patch(os, "open", no_tmpfile)
            for store in (None, os.path.join(self.directory, "body")):
                for how, end in ends.items():
                    self.renew()
                    pipe = self.stuck(limits=limits, store=store)
                    pipe.write(DATA)
                    self.assertTrue(pipe.disk_bytes > 0 and fds_in(self.directory))
                    self.assertEqual(len(os.listdir(self.directory)), 0 if store is None else 1)
                    end(pipe)
                    self.take_all()
                    if store and how == "client gone":
                        pipe.upstream_lost(Failure(ConnectionLost()))  # it went on for the file's sake
                    self.assertFalse(self.outcome(pipe).clean, how)
                    self.assertEqual((os.listdir(self.directory), fds_in(self.directory)), ([], []), (how, store))

    def test_an_incomplete_response_is_never_taken_for_complete(self) -> None:
        """
        nginx once passed on, and cached, what had broken off as if it was all. However a stream is cut short, with its length
        known or not, held in memory or on disk: its client gets no clean end, and nothing is stored.
        """

        class Fails(PipeFilter):
            def ended(self) -> Any:
                raise ValueError("a checksum does not match")

        ends: dict[str, Callable[[Any], object]] = {
            "reset": lambda pipe: pipe.upstream_lost(Failure(ConnectionLost())),
            "silent": lambda pipe: self.clock.advance(61),
            "closed": lambda pipe: pipe.upstream_lost(Failure(ConnectionDone())),
            "ended": lambda pipe: pipe.upstream_ended(),
            "cancelled": lambda pipe: pipe.done.cancel(),
            "stuck": lambda pipe: self.clock.advance(601),
        }
        store = os.path.join(self.directory, "body")
        for how, end in ends.items():
            for length in (len(DATA) + 1, None):
                for options in ({}, {"store": store}, {"filters": [Fails(FilterContext())]}):
                    if length is None and how in ("closed", "ended") and "filters" not in options:
                        continue  # that is the end
                    self.renew()
                    limits = attrs.evolve(DISK, read_timeout=60, idle_timeout=600 if how == "stuck" else 0)
                    pipe = self.stuck(limits=limits, length=length, **options)  # type: ignore[arg-type]
                    pipe.write(DATA)
                    end(pipe)
                    received = self.take_all()
                    self.assertEqual(DATA[: len(received)], received)
                    self.assertFalse(self.outcome(pipe).clean, (how, length, options))
                    self.assertNotIn("half", self.downstream.ends, (how, length, options))
                    self.assertEqual((len(self.downstream.ends), self.outcome(pipe).stored), (1, False))
                    self.assertEqual(os.listdir(self.directory), [])

    def test_a_rate_is_not_inherited_by_the_next_response_of_a_kept_upstream(self) -> None:
        """nginx once left the flag and the timer of a delay on the connection, and the next request hung."""
        for end in (lambda pipe: pipe.done.cancel(), lambda pipe: pipe.abandon(Cancelled("enough"))):
            slow = self.start(limits=attrs.evolve(DISK, limit_rate=10), keep_open=True)
            slow.write(DATA)
            self.assertEqual((self.upstream.producerState, len(self.downstream.take())), ("paused", 1))
            self.assertEqual(len(self.clock.getDelayedCalls()), 1)
            end(slow)
            self.assertEqual(self.clock.getDelayedCalls(), [])
            following = self.start(keep_open=True, length=len(DATA))
            self.assertEqual(self.upstream.producerState, "producing")
            following.write(DATA)
            self.assertEqual((self.downstream.take(), self.outcome(following).clean), (DATA, True))

    def test_foreign_bytes_among_the_buffers_do_not_hang(self) -> None:
        """
        nginx once waited for ever when a buffer that was not its own stood in the busy list. A filter's own bytes, of any kind and
        size, larger than C{busy_size} too, stand between slices here, while the client takes a little at a time.
        """
        large = b"#" * 451
        count_steps(self, 20_000)

        class Frames(PipeFilter):
            def received(self, data: memoryview) -> Iterator[Any]:
                for at in range(0, len(data), 30):
                    yield b"+"
                    yield data[at : at + 30]
                    yield bytearray(b"-")
                yield memoryview(large)

        for size in (0, 10_000):
            for taken in (1, 77, 1000):
                self.renew()
                limits = attrs.evolve(DISK, busy_size=100, max_temp_file_size=size)
                pipe = self.stuck([Frames(FilterContext())], limits)
                got = b""
                for at in range(0, 1000, 100):
                    pipe.write(DATA[at : at + 100])
                    got += self.downstream.take(taken)
                pipe.upstream_ended()
                for _ in range(10_000):
                    if not self.downstream.value():
                        break
                    got += self.downstream.take()
                self.assertTrue(self.outcome(pipe).clean, (size, taken))
                self.assertEqual(got.replace(large, b"").count(b"+"), 10 * 4 + DATA[:1000].count(b"+"))
                self.assertEqual(len(got), 1000 + 10 * 4 * 2 + 10 * len(large))

    def test_no_buffer_and_no_byte_is_lost(self) -> None:
        """
        nginx once lost a buffer, and with it a part of the response. Whatever the rhythm: what came in is what went out, what
        waits, and less than a buffer that is still being filled; and never more than four buffers are in use.
        """
        count_steps(self, 100_000)
        for seed in range(30):
            chance = random.Random(seed)
            self.renew()
            limits = attrs.evolve(DISK, max_temp_file_size=chance.choice((0, 100, 450, 10_000)))
            pipe = self.stuck([], limits, preread=DATA[: chance.choice((0, 50, 250))])
            sent, got = pipe.bytes_in, b""
            while sent < len(DATA):
                size = chance.choice((1, 40, 100, 333))
                if self.upstream.producerState != "paused":
                    pipe.write(DATA[sent : sent + size])
                    sent = min(sent + size, len(DATA))
                if chance.random() < 0.5:
                    got += self.downstream.take(chance.choice((1, 90, 400)))
                held = pipe.memory_bytes + pipe.disk_bytes
                self.assertTrue(0 <= pipe.bytes_in - pipe.bytes_out - held < 100, (seed, pipe))
                self.assertTrue(self.in_use() <= 4, (seed, pipe))
            pipe.upstream_ended()
            got += self.take_all()
            self.assertEqual((got, self.outcome(pipe).bytes_out, self.in_use()), (DATA, len(DATA), 0), seed)

    def test_the_head_is_not_overwritten_by_a_reused_buffer(self) -> None:
        """nginx once read a body into the buffer its head was still in. However much follows, the head stays what it was."""
        head = b"HTTP/1.1 200 OK\r\n\r\n" * 20
        count_steps(self, 20_000)
        for limits in (DISK, attrs.evolve(DISK, max_temp_file_size=0), attrs.evolve(DISK, buffering=False)):
            for filters in ([], [plain()]):
                self.renew()
                self.downstream.registerProducer = lambda producer, streaming: (  # type: ignore[method-assign]
                    MemoryTransport.registerProducer(self.downstream, producer, streaming),
                    producer.pauseProducing(),
                )
                pipe = self.stuck(filters, limits, preread=head)
                pipe.write(DATA)
                self.assertEqual(pipe.bytes_out, 0)
                pipe.resumeProducing()
                pipe.upstream_ended()
                self.assertEqual(self.take_all(), head + DATA)
                self.assertTrue(self.outcome(pipe).clean)

    def test_truncated_threaded_writes(self) -> None:
        """
        nginx once took a short write of a thread for all of it. Each write is short here, by much or by a byte: no byte is
        missing in what comes back, nor in what is stored.
        """
        self.threads.wanted = True
        for most in (1, 99, 199):
            for store in (None, os.path.join(self.directory, "body")):
                self.renew()
                pipe = self.pending(store=store)
                got, short = b"", 0
                pipe.upstream_ended()
                for _ in range(10_000):
                    if not (self.threads.jobs or self.downstream.value()):
                        break
                    while self.threads.jobs:
                        short += self.threads.finish(most) == most
                    got += self.downstream.take()
                self.assertEqual((got, self.outcome(pipe).clean), (DATA, True), (most, store))
                self.assertTrue(short > 10, short)
                if store is not None:
                    with open(store, "rb") as file:
                        self.assertEqual(file.read(), DATA)
                    os.unlink(store)


class PastBugsOfSocketsTests(SocketCase):
    """The same between sockets."""

    def test_huge_files_do_not_spin(self) -> None:
        """
        nginx once used all the CPU at offsets that do not fit 32 bits. A pipe is at such an offset of its file here, and of such a
        length: it takes a bounded number of steps, and none at all while nothing happens.
        """
        limits = PipeLimits(
            buffers=4, buffer_size=16 * KIB, max_temp_file_size=64 * GIB, send_timeout=0, read_timeout=0
        )
        for offset in (2 * GIB - 40_000, 4 * GIB - 40_000, 5 * GIB):
            self.up, self.server = self.engine.connect(Recorder())
            self.down, self.client = self.engine.connect(Recorder())
            data = os.urandom(2 * MIB)
            with_length = self.start(limits=limits, length=1 << 50)
            disk = with_length._pipe.disk
            disk.read_offset = disk.write_offset = offset
            steps = count_steps(self, 3000)
            self.assertEqual(self.feed(data), len(data))
            self.assertTrue(disk.write_offset > offset + MIB, disk)
            self.assertTrue(len(steps) < 10 * len(data) // limits.buffer_size, len(steps))
            before = len(steps)
            self.engine.turn(20)
            self.engine.advance(10, 1)
            self.assertEqual(len(steps), before, "nothing happens, and it takes steps")
            self.assertEqual(self.drain() == data, True, offset)
            sends = steps[before:].count(Step.SEND_FILE)
            self.assertTrue(0 < sends < 1000, sends)
            self.assert_running(with_length)
            with_length.done.cancel()

    def test_more_than_iov_max_buffers_in_one_write(self) -> None:
        """
        nginx once gave C{writev} more buffers than it takes, which is EINVAL. 3,000 of 8 bytes wait for the client here: both the
        socket and the file get them 1,024 at a time.
        """
        limits = PipeLimits(
            buffers=3000,
            buffer_size=8,
            busy_size=2999 * 8,
            temp_file_write_size=2999 * 8,
            max_temp_file_size=40_000,
            read_timeout=0,
            send_timeout=0,
        )
        count_steps(self, 200_000)
        parts: dict[str, list[int]] = {"batch": [], "spill_batch": []}
        for name, found in parts.items():
            really = getattr(Pipe, name)

            def count(pipe: Pipe, really: Any = really, found: list[int] = found) -> Any:
                batch = really(pipe)
                found.append(len(batch))
                return batch

            self.patch(Pipe, name, count)
        self.up, self.server = self.engine.connect(Recorder(), 8192)
        self.down, self.client = self.engine.connect(Recorder(), 8192)
        data = os.urandom(150_000)
        pipe = self.start(limits=limits)
        sent = self.feed(data)
        self.assertEqual((self.in_use(8), pipe.upstream_blocked), (3000, True))
        got = b""
        for _ in range(2000):
            sent += self.server.write(data[sent:])
            got += self.drain()
            if len(got) == len(data):
                break
        self.assertEqual(got, data)
        self.assertEqual((max(parts["batch"]), max(parts["spill_batch"])), (1024, 1024))
        self.server.half_close()
        self.engine.settle()
        self.assertTrue(self.outcome(pipe).clean)
