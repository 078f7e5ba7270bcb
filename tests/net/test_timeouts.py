"""Read, send, idle and total: each fires when its side is waited for, and none while the wait is the pipe's own doing."""

from __future__ import annotations

import os
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from tests.net.disks import DISK, NO_SPILL, DiskCase, HandThreads
from tests.net.fakes import Engine, PipeCase, Recorder, WatchedSpill, errors_of
from twisted_pipe.filters.base import PipeFilter
from twisted_pipe.interfaces import FilterContext, NamedFilter
from twisted_pipe.limits import KIB, PipeLimits

DATA = bytes(index * 7 % 251 for index in range(1000))


def gated(gate: Deferred[Any]) -> NamedFilter:
    """A filter that holds everything back until C{gate} fires."""

    class Gate(PipeFilter):
        def received(self, data: memoryview) -> Any:
            yield gate
            yield data

    return NamedFilter("gate", Gate(FilterContext()), timeout=0)


class TimeoutCase(DiskCase):
    def limited(self, **timeouts: Any) -> PipeLimits:
        return attrs.evolve(DISK, **timeouts)

    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.clock.advance(1)

    def assert_ended(self, pipe: Any, side: str, why: str) -> None:
        self.assertEqual(errors_of(self.outcome(pipe)), (side, f"{why} expired"))


class ReadTests(TimeoutCase):
    def test_a_silent_upstream(self) -> None:
        pipe = self.start(limits=self.limited(read_timeout=10))
        self.advance(9)
        self.assert_running(pipe)
        self.advance(1)
        self.assert_ended(pipe, "upstream", "read timeout of 10 s")

    def test_a_client_that_takes_bytes_does_not_put_it_off(self) -> None:
        """It is the upstream that is silent."""
        self.downstream.room = 1
        pipe = self.start(limits=self.limited(read_timeout=10))
        pipe.write(DATA * 5)
        for _ in range(9):
            self.advance(1)
            self.assertEqual(len(self.downstream.take()), 200)
        self.advance(1)
        self.assertEqual(len(self.take_all()), 5 * len(DATA) - 1800)
        self.assert_ended(pipe, "upstream", "read timeout of 10 s")
        self.assertEqual(self.outcome(pipe).seconds, 10)

    def test_not_while_delayed(self) -> None:
        pipe = self.start(limits=self.limited(read_timeout=0.5, limit_rate=1))
        pipe.write(b"0123456789")
        self.advance(5)
        self.assert_running(pipe)

    def test_not_while_blocked(self) -> None:
        self.downstream.room = 1
        pipe = self.start(limits=attrs.evolve(NO_SPILL, read_timeout=10))
        pipe.write(DATA)
        self.advance(100)
        self.assert_running(pipe)

    def test_not_while_its_bytes_wait_for_their_turn(self) -> None:
        """The client takes as much as it may in each turn, of a file that had been full."""
        engine = Engine(self)
        self.clock = engine.reactor
        self.downstream.room = 1
        pipe = self.start(limits=PipeLimits(max_temp_file_size=8 << 20, read_timeout=3, send_timeout=0))
        pipe.write(bytes(16 << 20))
        engine.settle()
        self.assertEqual(pipe.disk_bytes, 8 << 20)
        self.downstream.room = 1 << 30
        received = pipe.bytes_in
        self.downstream.take()
        for _ in range(6):
            engine.clock.advance(1)
            engine.turn()
            self.assertEqual(pipe.bytes_in, received)
        pipe.upstream_ended()
        engine.settle()
        self.assertTrue(self.outcome(pipe).clean)

    def test_not_while_a_filter_is_waited_for(self) -> None:
        pipe = self.start([gated(Deferred())], self.limited(read_timeout=10))
        pipe.write(b"x")
        self.advance(100)
        self.assert_running(pipe)

    def test_not_while_a_write_to_disk_is_under_way(self) -> None:
        self.spill.threads = threads = HandThreads()
        self.addCleanup(threads.finish_all)
        self.downstream.room = 1
        pipe = self.start(limits=self.limited(read_timeout=10))
        pipe.write(DATA)
        self.advance(100)
        self.assert_running(pipe)
        threads.finish_all()
        self.advance(9)
        self.assert_running(pipe)
        self.advance(1)
        self.take_all()
        self.assert_ended(pipe, "upstream", "read timeout of 10 s")

    def test_anew_after_each_of_these(self) -> None:
        gate: Deferred[None] = Deferred()
        pipe = self.start([gated(gate)], self.limited(read_timeout=10))
        self.advance(9)
        pipe.write(b"x")
        self.advance(9)
        gate.callback(None)
        self.advance(9)
        self.assert_running(pipe)
        self.advance(1)
        self.assert_ended(pipe, "upstream", "read timeout of 10 s")


class SendTests(TimeoutCase):
    def test_a_stuck_client(self) -> None:
        self.downstream.room = 1
        pipe = self.start(limits=self.limited(send_timeout=10))
        pipe.write(DATA)
        self.advance(9)
        self.assert_running(pipe)
        self.advance(1)
        self.assert_ended(pipe, "downstream", "send timeout of 10 s")

    def test_any_progress_puts_it_off(self) -> None:
        self.downstream.room = 1
        pipe = self.start(limits=self.limited(send_timeout=10))
        pipe.write(DATA)
        for _ in range(3):
            self.advance(9)
            self.downstream.take()
        self.assert_running(pipe)

    def test_not_while_nothing_waits_for_the_client(self) -> None:
        pipe = self.start(limits=self.limited(send_timeout=10))
        pipe.write(DATA)
        self.advance(100)
        self.assert_running(pipe)

    def test_not_while_a_filter_is_waited_for(self) -> None:
        pipe = self.start([gated(Deferred())], self.limited(send_timeout=10))
        pipe.write(DATA)
        self.advance(100)
        self.assert_running(pipe)

    def test_not_while_a_write_to_disk_is_waited_for_by_a_ready_client(self) -> None:
        self.spill.threads = threads = HandThreads()
        self.addCleanup(threads.finish_all)
        self.downstream.room = 1
        pipe = self.start(limits=self.limited(send_timeout=10))
        pipe.write(DATA)
        self.downstream.room = 1 << 30
        self.downstream.take()
        self.advance(100)
        self.assert_running(pipe)

    def test_not_while_delayed(self) -> None:
        pipe = self.start(limits=self.limited(send_timeout=0.5, limit_rate=1))
        pipe.write(b"0123456789")
        self.advance(5)
        self.assert_running(pipe)


class IdleTests(TimeoutCase):
    limits = attrs.evolve(DISK, idle_timeout=10)

    def assert_idle(self, pipe: Any) -> None:
        self.assert_ended(pipe, "caller", "idle timeout of 10 s")
        self.assertEqual(self.downstream.ends, ["abort"])

    def test_no_byte_either_way(self) -> None:
        pipe = self.start()
        self.advance(9)
        self.assert_running(pipe)
        self.advance(1)
        self.assert_idle(pipe)

    def test_bytes_in_put_it_off(self) -> None:
        pipe = self.start()
        for _ in range(5):
            self.advance(9)
            pipe.write(b"x")
        self.advance(9)
        self.assert_running(pipe)
        self.advance(1)
        self.assert_idle(pipe)

    def test_bytes_out_put_it_off(self) -> None:
        self.downstream.room = 1
        pipe = self.start()
        pipe.write(DATA)
        for _ in range(3):
            self.advance(9)
            self.downstream.take()
        self.advance(9)
        self.assert_running(pipe)
        self.advance(1)
        self.assert_idle(pipe)

    def test_a_stuck_client(self) -> None:
        """Nobody moves: that is neither a rate, nor a filter, nor the disk."""
        self.downstream.room = 1
        pipe = self.start()
        pipe.write(DATA)
        self.advance(10)
        self.assert_idle(pipe)

    def test_not_while_delayed(self) -> None:
        pipe = self.start(limits=attrs.evolve(self.limits, idle_timeout=0.5, limit_rate=1))
        pipe.write(b"0123456789")
        self.advance(5)
        self.assert_running(pipe)

    def test_not_while_a_filter_is_waited_for(self) -> None:
        pipe = self.start([gated(Deferred())])
        pipe.write(b"x")
        self.advance(100)
        self.assert_running(pipe)

    def test_not_while_a_write_to_disk_is_under_way(self) -> None:
        self.spill.threads = threads = HandThreads()
        self.addCleanup(threads.finish_all)
        self.downstream.room = 1
        pipe = self.start()
        pipe.write(DATA)
        self.advance(100)
        self.assert_running(pipe)

    def test_the_time_a_filter_took_does_not_count(self) -> None:
        """Not even if it ends just before the timeout looks, without a byte."""
        gate: Deferred[None] = Deferred()

        class Swallows(PipeFilter):
            def received(self, data: memoryview) -> Any:
                yield gate

        pipe = self.start([Swallows(FilterContext())])
        pipe.write(b"x")
        self.advance(9)
        gate.callback(None)
        self.advance(9)
        self.assert_running(pipe)
        self.advance(1)
        self.assert_idle(pipe)

    def test_the_time_a_write_to_disk_took_does_not_count(self) -> None:
        """The client is stuck, and has been waited for since the write was done only."""
        self.spill.threads = threads = HandThreads()
        self.addCleanup(threads.finish_all)
        pipe = self.start(store=os.path.join(self.directory, "body"))
        pipe.pauseProducing()
        pipe.write(b"x")
        self.advance(9)
        threads.finish_all()
        self.advance(9)
        self.assert_running(pipe)

    def test_none_after_the_end(self) -> None:
        pipe = self.start()
        pipe.upstream_ended()
        self.outcome(pipe)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class TotalTests(TimeoutCase):
    limits = attrs.evolve(DISK, total_timeout=10)

    def assert_over(self, pipe: Any) -> None:
        self.assert_ended(pipe, "caller", "total timeout of 10 s")
        self.assertEqual((self.outcome(pipe).seconds, self.in_use()), (10, 0))

    def test_whatever_moves(self) -> None:
        pipe = self.start()
        for _ in range(9):
            self.advance(1)
            pipe.write(b"x")
        self.assert_running(pipe)
        self.advance(1)
        self.assert_over(pipe)

    def test_also_while_delayed(self) -> None:
        pipe = self.start(limits=attrs.evolve(self.limits, limit_rate=1))
        pipe.write(DATA)
        self.advance(10)
        self.assert_over(pipe)

    def test_also_while_blocked(self) -> None:
        self.downstream.room = 1
        pipe = self.start(limits=attrs.evolve(self.limits, max_temp_file_size=0))
        pipe.write(DATA)
        self.advance(10)
        self.assert_over(pipe)

    def test_also_while_a_filter_is_waited_for(self) -> None:
        pipe = self.start([gated(Deferred())])
        pipe.write(b"x")
        self.advance(10)
        self.assert_over(pipe)

    def test_also_after_the_upstream_has_ended(self) -> None:
        self.downstream.room = 1
        pipe = self.start()
        pipe.write(DATA)
        pipe.upstream_ended()
        self.advance(10)
        self.assert_over(pipe)

    def test_not_after_the_end(self) -> None:
        pipe = self.start()
        pipe.upstream_ended()
        self.advance(20)
        self.assertTrue(self.outcome(pipe).clean)


class SocketTests(PipeCase):
    """Bytes that pass on the fast path count, although no timer is moved for them."""

    limits = PipeLimits(buffers=4, buffer_size=4 * KIB, read_timeout=0, send_timeout=0)

    def setUp(self) -> None:
        PipeCase.setUp(self)
        self.engine = Engine(self)
        self.clock = self.engine.reactor
        path = self.mktemp()
        os.mkdir(path)
        self.spill = WatchedSpill(path)
        self.up, self.server = self.engine.connect(Recorder())
        self.down, self.client = self.engine.connect(Recorder())
        self.engine.settle()

    def start(self, **timeouts: Any) -> Any:
        return self.pipe(self.up, self.down, limits=attrs.evolve(self.limits, **timeouts))

    def pass_bytes(self, count: int) -> None:
        for _ in range(count):
            self.engine.advance(9, 1)
            self.server.write(b"x")
            self.engine.settle()
            self.assertEqual(self.client.read(), b"x")

    def test_idle(self) -> None:
        pipe = self.start(idle_timeout=10)
        self.pass_bytes(4)
        self.assertEqual(pipe._relay.moved, 4)
        self.engine.advance(9, 1)
        self.assert_running(pipe)
        self.engine.advance(2, 1)
        self.assertEqual(errors_of(self.outcome(pipe)), ("caller", "idle timeout of 10 s expired"))

    def test_read(self) -> None:
        pipe = self.start(read_timeout=10)
        self.pass_bytes(4)
        self.engine.advance(9, 1)
        self.assert_running(pipe)
        self.engine.advance(2, 1)
        self.assertEqual(errors_of(self.outcome(pipe)), ("upstream", "read timeout of 10 s expired"))

    def test_read_when_the_fast_path_found_what_was_there_before(self) -> None:
        """It reads that, and the pipe has no turn of its own after it."""
        self.up.pauseProducing()
        self.server.write(b"x")
        self.engine.settle()
        pipe = self.start(read_timeout=10)
        self.engine.advance(5, 1)
        self.assertEqual((self.client.read(), pipe._relay.moved), (b"x", 1))
        self.server.write(b"y")
        self.engine.advance(9, 1)
        self.assert_running(pipe)
        self.engine.advance(2, 1)
        self.assertEqual(errors_of(self.outcome(pipe)), ("upstream", "read timeout of 10 s expired"))

    def test_no_read_timeout_of_a_source_that_the_fast_path_does_not_read(self) -> None:
        """It waits for the client."""
        pipe = self.start(read_timeout=10)
        for _ in range(20):
            self.server.write(bytes(1 << 16))
            self.engine.advance(1, 0.5)
        self.engine.advance(60, 1)
        self.assert_running(pipe)

    def test_total(self) -> None:
        pipe = self.start(total_timeout=30)
        self.pass_bytes(3)
        self.engine.advance(4, 1)
        self.assertEqual(errors_of(self.outcome(pipe)), ("caller", "total timeout of 30 s expired"))
