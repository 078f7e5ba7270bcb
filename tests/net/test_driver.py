"""The pipe between transports in memory, on a C{Clock}."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.net.fakes import (
    EIO,
    ENOSPC,
    EROFS,
    SMALL,
    Engine,
    MemoryTransport,
    PipeCase,
    PullProducer,
    PushProducer,
    Recorder,
    WatchedSpill,
    errors_of,
    faulty_close,
    raising,
)
from tests.net.tls import TlsPair
from twisted_pipe.core import pipe as pipe_module
from twisted_pipe.core.disk import DiskRange
from twisted_pipe.errors import BadConfiguration, Cancelled, PipeFinished, UpstreamFailed
from twisted_pipe.filters.base import PipeFilter
from twisted_pipe.interfaces import FilterContext, NamedFilter
from twisted_pipe.limits import PipeLimits
from twisted_pipe.net.driver import EventPipe, slab_pool
from twisted_pipe.net.live import live_pipes
from twisted_pipe.net.spillfile import SpillDirectory

NO_SPILL = attrs.evolve(SMALL, max_temp_file_size=0)


@implementer(IConsumer)
class OnlyConsumer:
    """No transport. @ivar told: what it was, in order."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.told.append("register")

    def write(self, data: bytes) -> None:
        self.told.append(data)

    def unregisterProducer(self) -> None:
        self.told.append("unregister")


class MemoryCase(PipeCase):
    def setUp(self) -> None:
        PipeCase.setUp(self)
        self.upstream = MemoryTransport()
        self.downstream = MemoryTransport()

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


class FlowTests(MemoryCase):
    def test_interfaces(self) -> None:
        pipe = self.start()
        verifyObject(IConsumer, pipe)
        verifyObject(IPushProducer, pipe)

    def test_bytes_pass_at_once(self) -> None:
        pipe = self.start()
        pipe.write(b"abc")
        self.assertEqual(self.downstream.value(), b"abc")
        pipe.write(bytes(1000))
        self.assertEqual(len(self.downstream.value()), 1003)
        self.assertEqual((pipe.bytes_in, pipe.bytes_out, pipe.bytes_spilled), (1003, 1003, 0))

    def test_an_idle_pipe_holds_no_memory(self) -> None:
        pipe = self.start()
        pipe.write(b"abc")
        self.assertEqual(self.in_use(), 0)
        self.assert_running(pipe)

    def test_clean_end(self) -> None:
        pipe = self.start()
        pipe.write(b"abc")
        self.clock.advance(2.5)
        pipe.upstream_ended()
        outcome = self.outcome(pipe)
        self.assertTrue(outcome.clean)
        self.assertIsNone(outcome.side)
        self.assertEqual(str(outcome), "finished")
        self.assertEqual((outcome.bytes_in, outcome.bytes_out, outcome.surplus, outcome.seconds), (3, 3, 0, 2.5))
        self.assertEqual(self.downstream.ends, ["half"])
        self.assertIsNone(self.downstream.producer)
        self.assertEqual(self.upstream.calls.count("stop"), 0)

    def test_repr(self) -> None:
        pipe = self.start(name="a -> b")
        self.assertEqual(
            repr(pipe), "<EventPipe a -> b <Pipe open -> open slabs=0/4 memory=0 disk=0 in=0 out=0 spilled=0>>"
        )
        pipe.upstream_ended()
        self.assertEqual(repr(pipe), "<EventPipe a -> b ended>")

    def test_preread(self) -> None:
        self.start(preread=b"first ").write(b"second")
        self.assertEqual(self.downstream.value(), b"first second")

    def test_known_length(self) -> None:
        pipe = self.start(length=5)
        pipe.write(b"abc")
        self.assert_running(pipe)
        pipe.write(b"defgh")
        outcome = self.outcome(pipe)
        self.assertEqual((outcome.clean, outcome.surplus, outcome.bytes_in), (True, 3, 8))
        self.assertEqual(self.downstream.value(), b"abcde")

    def test_length_in_the_preread(self) -> None:
        outcome = self.outcome(self.start(preread=b"abcdef", length=5))
        self.assertEqual((outcome.clean, outcome.surplus), (True, 1))
        self.assertEqual(self.downstream.value(), b"abcde")

    def test_length_zero(self) -> None:
        self.assertTrue(self.outcome(self.start(length=0)).clean)

    def test_end_before_the_length(self) -> None:
        pipe = self.start(length=5)
        pipe.write(b"abc")
        pipe.upstream_ended()
        outcome = self.outcome(pipe)
        self.assertEqual(errors_of(outcome), ("upstream", "ended 2 bytes before its announced length"))
        self.assertEqual(str(outcome), "upstream: ended 2 bytes before its announced length")
        self.assertEqual(self.downstream.value(), b"abc")

    def test_no_clock(self) -> None:
        self.assertRaises(TypeError, self.pipe, StringTransport(), StringTransport(), clock=None)

    def test_the_clock_of_a_transport(self) -> None:
        self.downstream.reactor = self.clock  # type: ignore[attr-defined]
        pipe = self.start(clock=None)
        self.clock.advance(1)
        pipe.upstream_ended()
        self.assertEqual(self.outcome(pipe).seconds, 1)

    def test_last_progress(self) -> None:
        pipe = self.start()
        self.clock.advance(3)
        self.assertEqual(pipe.last_progress, 0)
        pipe.write(b"x")
        self.assertEqual(pipe.last_progress, 3)

    def test_a_long_burst_is_done_in_several_turns(self) -> None:
        """At a mebibyte, read or written, the others have their turn."""
        limits = PipeLimits()
        pipe = self.start(limits=limits)
        pipe.write(bytes(5 << 20))
        first = len(self.downstream.value())
        self.assertTrue((256 << 10) <= first <= (1 << 20), first)
        self.clock.advance(0)
        self.assertEqual(len(self.downstream.value()), 5 << 20)
        pipe.upstream_ended()
        self.assertTrue(self.outcome(pipe).clean)

    def test_ended_in_the_middle_of_a_burst(self) -> None:
        """The call that would have gone on is not left behind."""
        pipe = self.start(limits=PipeLimits())
        pipe.write(bytes(5 << 20))
        pipe.abandon(Cancelled("enough"))
        self.assertEqual(str(self.outcome(pipe)), "enough")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_to_tls(self) -> None:
        """All of it arrives, and so does the end."""
        pair = TlsPair()
        pipe = self.pipe(None, pair.server.transport)
        pipe.write(b"x" * 1000)
        pipe.upstream_ended()
        pair.pump()
        self.assertTrue(self.outcome(pipe).clean)
        self.assertEqual(pair.client.data, b"x" * 1000)
        self.assertTrue(pair.clean_end)

    def test_to_tls_and_broken_off(self) -> None:
        """What was received arrives, and no end that TLS calls clean."""
        pair = TlsPair()
        pipe = self.pipe(None, pair.server.transport)
        pipe.write(b"x" * 1000)
        pipe.upstream_lost(Failure(ConnectionLost()))
        pair.pump()
        self.clock.advance(61)
        pair.pump()
        self.assertFalse(pair.clean_end)


class ConsumerTests(MemoryCase):
    """The pipe as an C{IConsumer}."""

    def setUp(self) -> None:
        MemoryCase.setUp(self)
        self.upstream = None  # type: ignore[assignment]

    def test_pull_producer(self) -> None:
        producer = PullProducer([b"a" * 150, b"b", b"c" * 50])
        pipe = self.start()
        producer.start(pipe)
        self.assertEqual(self.downstream.value(), b"a" * 150 + b"b" + b"c" * 50)
        self.assertTrue(self.outcome(pipe).clean)
        self.assertEqual((producer.asked, producer.stopped), (4, 0))

    def test_pull_producer_and_a_stuck_downstream(self) -> None:
        producer = PullProducer([bytes(100)] * 100)
        pipe = self.stuck(limits=NO_SPILL)
        producer.start(pipe)
        self.assertTrue(producer.asked < 10, producer.asked)
        self.assertTrue(pipe.bytes_in <= 500)
        self.assertEqual(len(self.take_all()), 10_000)
        self.assertTrue(self.outcome(pipe).clean)

    def test_a_pull_producer_and_others(self) -> None:
        """They have their turns while it produces, however fast the downstream is, and however little it gives at a time."""
        for pieces, size in ((1000, 10_000), (1000, 1)):
            producer = PullProducer([bytes(size)] * pieces)
            self.downstream = MemoryTransport()
            pipe = self.start()
            producer.start(pipe)
            most, asked = producer.asked, 0
            while not pipe.ended:
                most = max(most, producer.asked - asked)
                asked = producer.asked
                self.clock.advance(0)
                self.assertTrue(producer.asked > asked, "it does not come back")
            self.assertEqual((pipe.bytes_out, self.outcome(pipe).clean), (pieces * size, True))
            self.assertTrue(most <= 64, f"{most} of {pieces} pieces of {size} bytes at once")

    def test_push_producer(self) -> None:
        producer = PushProducer(50, 100)
        pipe = self.start()
        producer.start(pipe)
        self.assertEqual(len(self.downstream.value()), 5000)
        self.assertTrue(self.outcome(pipe).clean)

    def test_push_producer_and_a_stuck_downstream(self) -> None:
        """It is paused in time: what stands in the pipe is bounded, also while it writes from resumeProducing."""
        producer = PushProducer(10_000, 100)
        pipe = self.stuck(limits=NO_SPILL)
        producer.start(pipe)
        self.assertTrue(producer.left > 9900, f"{10_000 - producer.left} pieces were taken from a producer at once")
        most = 0
        while self.downstream.value():
            before = producer.left
            self.downstream.take()
            most = max(most, before - producer.left)
        self.assertTrue(most < 100, f"{most} pieces were taken from a producer at once")
        self.assertTrue(self.outcome(pipe).clean)
        self.assertTrue(producer.paused > 1)

    def test_two_producers(self) -> None:
        pipe = self.start()
        pipe.registerProducer(MemoryTransport(), True)
        self.assertRaises(RuntimeError, pipe.registerProducer, MemoryTransport(), True)

    def test_registering_a_push_producer_does_not_call_it(self) -> None:
        """It starts by itself; it is resumed only after it was paused."""
        producer = MemoryTransport()
        pipe = self.start()
        pipe.registerProducer(producer, True)
        self.assertEqual(producer.calls, [])

    def test_write_after_the_end_of_the_stream(self) -> None:
        pipe = self.stuck()
        pipe.write(b"x" * 300)
        pipe.unregisterProducer()
        self.assert_running(pipe)
        self.assertRaises(PipeFinished, pipe.write, b"y")
        self.assertEqual(len(self.take_all()), 300)

    def test_write_after_the_end(self) -> None:
        pipe = self.start(name="p")
        pipe.unregisterProducer()
        self.outcome(pipe)
        error = self.assertRaises(PipeFinished, pipe.write, b"y")
        self.assertIn("p: ", str(error))

    def test_ends_after_the_end_are_nothing(self) -> None:
        pipe = self.start()
        pipe.unregisterProducer()
        pipe.unregisterProducer()
        pipe.upstream_ended()
        pipe.upstream_lost(Failure(ConnectionLost()))
        pipe.stopProducing()
        pipe.pauseProducing()
        pipe.resumeProducing()
        pipe.abandon(Cancelled("late"))
        pipe.done.cancel()
        self.assertTrue(self.outcome(pipe).clean)
        self.assertEqual(self.downstream.ends, ["half"])

    def test_a_producer_is_stopped_when_the_downstream_fails(self) -> None:
        """Nobody will ever ask it again: it must learn so, to let go of its file."""
        for streaming in (True, False):
            producer: Any = PushProducer(100, 1000) if streaming else PullProducer([bytes(1000)] * 100)
            downstream = MemoryTransport(room=1)
            pipe = self.pipe(None, downstream, limits=NO_SPILL)
            producer.consumer = pipe
            pipe.registerProducer(producer, streaming)
            pipe.stopProducing()
            self.assertEqual(errors_of(self.outcome(pipe))[0], "downstream")
            self.assertEqual(producer.stopped, 1, f"streaming={streaming}")

    def test_a_producer_is_stopped_at_the_announced_length(self) -> None:
        """The pipe ends, cleanly, before its upstream did: nobody will ask the producer again, or take what it writes."""
        for streaming in (True, False):
            producer: Any = PushProducer(100, 100) if streaming else PullProducer([bytes(100)] * 100)
            downstream = MemoryTransport(room=1)
            pipe = self.pipe(None, downstream, limits=NO_SPILL, length=1000)
            producer.start(pipe)
            while downstream.value():
                downstream.take()
            self.assertTrue(self.outcome(pipe).clean)
            self.assertEqual(producer.stopped, 1, f"streaming={streaming}")

    def test_a_producer_that_comes_too_late_is_stopped(self) -> None:
        """As Twisted's transports do."""
        pipe = self.start()
        pipe.stopProducing()
        producer = PushProducer(1, 1)
        pipe.registerProducer(producer, True)
        self.assertEqual(producer.stopped, 1)

    def test_a_producer_is_not_stopped_after_a_clean_end(self) -> None:
        producer = PullProducer([b"x"])
        pipe = self.start()
        producer.start(pipe)
        self.outcome(pipe)
        self.assertEqual(producer.stopped, 0)


class BackPressureTests(MemoryCase):
    """A downstream that takes one batch at a time, and no file."""

    def test_the_upstream_is_paused(self) -> None:
        pipe = self.stuck(limits=NO_SPILL)
        pipe.write(bytes(1000))
        self.assertEqual(self.upstream.producerState, "paused")
        self.assertEqual(self.in_use(), 4)
        self.assertIn("blocked", repr(pipe))
        self.assertEqual(self.spill.opened, 0)

    def test_and_resumed(self) -> None:
        pipe = self.stuck(limits=NO_SPILL)
        pipe.write(bytes(1000))
        self.assertEqual(len(self.take_all()), 1000)
        self.assertEqual(self.upstream.producerState, "producing")
        pipe.upstream_ended()
        self.assertTrue(self.outcome(pipe).clean)

    def test_at_most_busy_size_is_handed_over(self) -> None:
        pipe = self.stuck(limits=NO_SPILL)
        pipe.write(bytes(1000))
        sizes = []
        while self.downstream.value():
            sizes.append(len(self.downstream.take()))
        self.assertEqual(sum(sizes), 1000)
        self.assertTrue(max(sizes) <= 200, sizes)

    def test_the_peak_is_bounded(self) -> None:
        pipe = self.stuck(limits=NO_SPILL)
        for _ in range(20):
            pipe.write(bytes(100))
        self.take_all()
        pipe.upstream_ended()
        self.assertTrue(0 < self.outcome(pipe).peak_memory <= 400, self.outcome(pipe))

    def test_unbuffered(self) -> None:
        limits = attrs.evolve(SMALL, buffering=False)
        pipe = self.stuck(limits=limits)
        pipe.write(bytes(1000))
        self.assertEqual((self.in_use(), self.spill.opened), (1, 0))
        self.assertEqual(len(self.take_all()), 1000)
        pipe.upstream_ended()
        self.assertTrue(self.outcome(pipe).clean)

    def test_end_and_a_stuck_downstream(self) -> None:
        """Everything still arrives, and C{received} says early that the upstream can go."""
        pipe = self.stuck()
        received: list[object] = []
        pipe.received.addCallback(received.append)
        pipe.write(bytes(1000))
        self.assertEqual(received, [])
        pipe.upstream_ended()
        self.assertEqual(received, [None])
        self.assert_running(pipe)
        self.assertEqual(len(self.take_all()), 1000)
        self.assertTrue(self.outcome(pipe).clean)
        self.assertEqual(received, [None])

    def test_received_when_broken(self) -> None:
        pipe = self.stuck()
        received: list[object] = []
        pipe.received.addCallback(received.append)
        pipe.abandon(Cancelled("enough"))
        self.assertEqual(received, [None])

    def test_abandoned_inside_received(self) -> None:
        pipe = self.stuck()
        pipe.received.addCallback(lambda _: pipe.abandon(Cancelled("from inside")))
        pipe.write(bytes(1000))
        pipe.upstream_ended()
        self.assertEqual(str(self.outcome(pipe)), "from inside")

    def test_upstream_lost_and_a_stuck_downstream(self) -> None:
        """All that was received is delivered, then the end is unclean."""
        pipe = self.stuck()
        pipe.write(bytes(1000))
        pipe.upstream_lost(Failure(ConnectionLost()))
        self.assert_running(pipe)
        self.assertEqual(self.downstream.ends, [])
        self.assertEqual(len(self.take_all()), 1000)
        self.assertEqual(errors_of(self.outcome(pipe))[0], "upstream")
        self.assertEqual(self.downstream.ends, ["lose"])


class ReentrancyTests(MemoryCase):
    def test_the_downstream_dies_inside_write(self) -> None:
        pipe = self.start()
        self.downstream.write = lambda data: pipe.stopProducing()  # type: ignore[method-assign]
        pipe.write(b"x" * 1000)
        self.assertEqual(errors_of(self.outcome(pipe)), ("downstream", "the connection was closed"))

    def test_cancelled_inside_write(self) -> None:
        pipe = self.start()
        at_once: list[bool] = []

        def cancel(data: bytes) -> None:
            pipe.done.cancel()
            at_once.append(pipe in self.outcomes)

        self.downstream.write = cancel  # type: ignore[method-assign]
        pipe.write(b"x" * 1000)
        self.assertEqual(errors_of(self.outcome(pipe))[0], "caller")
        self.assertEqual(at_once, [True], "a Deferred cannot wait for the turn to unwind")
        self.assertEqual((self.downstream.ends, self.in_use()), (["abort"], 0))

    def test_paused_and_resumed_inside_write(self) -> None:
        pipe = self.start()

        def bounce(data: bytes) -> None:
            StringTransport.write(self.downstream, data)
            pipe.pauseProducing()
            pipe.resumeProducing()

        self.downstream.write = bounce  # type: ignore[method-assign]
        pipe.write(b"x" * 1000)
        self.assertEqual(len(self.downstream.value()), 1000)

    def test_write_inside_write(self) -> None:
        """What the downstream is given makes the upstream write more: in order, and not nested."""
        pipe = self.start()
        more = [b"b", b"c", b"d"]
        depth = [0]

        def echo(data: bytes) -> None:
            depth[0] += 1
            self.assertEqual(depth[0], 1)
            StringTransport.write(self.downstream, data)
            if more:
                pipe.write(more.pop(0))
            depth[0] -= 1

        self.downstream.write = echo  # type: ignore[method-assign]
        pipe.write(b"a")
        self.assertEqual(self.downstream.value(), b"abcd")

    def test_the_end_inside_write(self) -> None:
        pipe = self.start()

        def end(data: bytes) -> None:
            StringTransport.write(self.downstream, data)
            pipe.upstream_ended()

        self.downstream.write = end  # type: ignore[method-assign]
        pipe.write(b"a" * 300)
        self.assertTrue(self.outcome(pipe).clean)
        self.assertEqual(len(self.downstream.value()), 300)

    def test_a_downstream_that_is_gone_already(self) -> None:
        """A transport that was lost stops whoever registers with it, at once."""

        class Gone(MemoryTransport):
            def registerProducer(self, producer: Any, streaming: bool) -> None:
                producer.stopProducing()

            def unregisterProducer(self) -> None:
                pass

        self.downstream = Gone()
        pipe = self.start(preread=b"x")
        self.assertEqual(errors_of(self.outcome(pipe)), ("downstream", "the connection was closed"))
        self.assertEqual(self.downstream.value(), b"")

    def test_a_downstream_that_pauses_at_once(self) -> None:
        class Full(MemoryTransport):
            def registerProducer(self, producer: Any, streaming: bool) -> None:
                MemoryTransport.registerProducer(self, producer, streaming)
                producer.pauseProducing()

        self.downstream = Full()
        pipe = self.start(preread=b"x")
        self.assertEqual(self.downstream.value(), b"")
        pipe.resumeProducing()
        self.assertEqual(self.downstream.value(), b"x")


class SpillTests(MemoryCase):
    """A stuck downstream, and a disk."""

    def test_spilled_and_read_back(self) -> None:
        data = bytes(range(256)) * 10
        pipe = self.stuck()
        for at in range(0, len(data), 64):
            pipe.write(data[at : at + 64])
        self.assertEqual(self.upstream.producerState, "producing")
        self.assertTrue(pipe.bytes_spilled > 1500)
        self.assertTrue(self.in_use() <= 4)
        self.assertEqual(self.take_all(), data)
        self.assertEqual((self.spill.opened, self.spill.files[0].closed), (1, 1))
        self.assert_running(pipe)
        pipe.upstream_ended()
        outcome = self.outcome(pipe)
        self.assertEqual((outcome.clean, outcome.bytes_out), (True, len(data)))
        self.assertEqual(self.spill.opened, 1)

    def test_order_holds_across_disk_and_memory(self) -> None:
        """Taken a little at a time while more comes."""
        data = bytes(index * 7 % 251 for index in range(20_000))
        pipe = self.stuck()
        got = bytearray()
        for at in range(0, len(data), 100):
            pipe.write(data[at : at + 100])
            if at % 300 == 0:
                got += self.downstream.take(70)
        self.assertEqual(self.spill.opened, len(self.spill.files))
        pipe.upstream_ended()
        got += self.take_all()
        self.assertEqual(bytes(got), data)
        self.assertTrue(self.outcome(pipe).bytes_spilled > 0)

    def test_writes_are_bounded(self) -> None:
        pipe = self.stuck()
        pipe.write(bytes(5000))
        self.assertTrue(max(size for _, size in self.spill.writes) <= SMALL.temp_file_write_size)
        self.assertTrue(max(size for _, size in self.spill.reads or [(0, 0)]) <= SMALL.busy_size)

    def test_the_cap_is_honoured(self) -> None:
        limits = attrs.evolve(SMALL, max_temp_file_size=1030)
        pipe = self.stuck(limits=limits)
        pipe.write(bytes(10_000))
        (file,) = self.spill.files
        self.assertEqual((file.most, len(file.data), pipe.bytes_spilled), (1030, 1030, 1030))
        self.assertEqual(self.upstream.producerState, "paused")
        self.assertEqual(len(self.take_all()), 10_000)
        self.assertEqual(max(file.most for file in self.spill.files), 1030)

    def test_the_cap_bounds_what_is_outstanding(self) -> None:
        """Not what was ever written: a client that is never quite stuck has any number of bytes through a small file."""
        data = bytes(index * 7 % 251 for index in range(40_000))
        pipe = self.stuck(limits=attrs.evolve(SMALL, max_temp_file_size=1030))
        pipe.write(data[:3000])
        got = b""
        for at in range(3000, len(data), 150):
            pipe.write(data[at : at + 150])
            self.assertTrue(self.spill.files[0].data)
            got += self.downstream.take()
        pipe.upstream_ended()
        self.assertEqual(got + self.take_all(), data)
        self.assertTrue(self.outcome(pipe).clean)
        self.assertEqual(max(file.most for file in self.spill.files), 1030)
        self.assertTrue(len(self.spill.files[0].data) > 5 * 1030, "one file, and nothing in it was written twice")

    def test_the_file_starts_anew(self) -> None:
        """In another file: the socket may still send from the pages of this one. It is closed as soon as all of it was sent."""
        pipe = self.stuck()
        for episode in range(1, 4):
            pipe.write(bytes(3000))
            self.assertEqual([file.closed for file in self.spill.files], [1] * (episode - 1) + [0])
            self.assertEqual(len(self.take_all()), 3000)
            self.assertEqual([file.closed for file in self.spill.files], [1] * episode)
            self.assert_running(pipe)
        self.assertEqual((self.spill.opened, len(self.spill.files)), (3, 3))
        self.assertEqual([offset for offset, _ in self.spill.writes].count(0), 3)

    def test_said_once(self) -> None:
        """However often it spills: one line for each pipe that does, none for one that does not."""
        for episodes in range(4):
            self.upstream, self.downstream = MemoryTransport(), MemoryTransport()
            with capturedLogs() as logs:
                pipe = self.stuck(name="p")
                pipe.write(bytes(100))
                self.take_all()
                for _ in range(episodes):
                    pipe.write(bytes(3000))
                    self.take_all()
                pipe.upstream_ended()
                self.outcome(pipe)
            lines = [formatEvent(event) for event in logs]
            said = "p: spill started: 400 B wait for a slow client, the rest goes to /faulty"
            self.assertEqual(lines, [said] * min(episodes, 1))

    def test_in_pieces(self) -> None:
        """A piece is given back as soon as it was sent, while the file goes on."""
        self.patch(pipe_module, "DiskRange", lambda limit, **more: DiskRange(limit, 500, **more))
        data = bytes(index * 7 % 251 for index in range(20_000))
        pipe = self.stuck(limits=attrs.evolve(SMALL, max_temp_file_size=3000))
        pipe.write(data)
        (file,) = self.spill.files
        self.assertEqual((file.most, file.pieces), (3000, {0, 1, 2, 3, 4, 5}))
        got, seen = b"", set()
        while self.downstream.value():
            got += self.downstream.take()
            self.assertTrue(len(file.pieces) <= 7, file.pieces)
            seen |= file.pieces
        self.assertEqual(got, data)
        self.assertEqual((file.most, file.pieces), (3000, set()))
        self.assertTrue(len(seen) > 20, "it went on and on")
        self.assertEqual(seen, set(range(len(seen))))

    def test_no_other_piece_can_be_opened(self) -> None:
        """What is in the first comes back, in order; from then on the upstream waits."""
        self.patch(pipe_module, "DiskRange", lambda limit, **more: DiskRange(limit, 500, **more))
        tries: list[int] = []

        def only_one() -> None:
            tries.append(1)
            if len(tries) > 1:
                raising(errno.EMFILE)()

        self.spill.on_open = only_one
        data = bytes(range(250)) * 12
        pipe = self.stuck(limits=attrs.evolve(SMALL, max_temp_file_size=3000))
        with capturedLogs() as logs:
            pipe.write(data)
        self.assertEqual((pipe.bytes_spilled, self.upstream.producerState), (500, "paused"))
        self.assertEqual(len([event for event in logs if "spill failed" in (formatEvent(event) or "")]), 1)
        self.assertEqual(self.take_all(), data)
        self.assertEqual(len(tries), 2)
        pipe.upstream_ended()
        self.assertTrue(self.outcome(pipe).clean)

    def test_short_writes(self) -> None:
        self.spill.on_write = lambda data: data[:7]
        data = bytes(range(250)) * 8
        pipe = self.stuck()
        pipe.write(data)
        self.assertEqual(self.take_all(), data)

    def test_short_reads(self) -> None:
        self.spill.on_read = lambda data: data[:7]
        data = bytes(range(250)) * 8
        pipe = self.stuck()
        pipe.write(data)
        self.assertEqual(self.take_all(), data)

    def test_no_file_can_be_opened(self) -> None:
        """The stream goes on, by back-pressure; tried once, and said once."""
        for code in (ENOSPC, EROFS, errno.EMFILE, errno.EACCES):
            self.spill.opened = 0
            self.spill.on_open = raising(code)
            self.upstream, self.downstream = MemoryTransport(), MemoryTransport()
            pipe = self.stuck()
            pipe.write(bytes(3000))
            self.assertEqual((self.spill.opened, self.upstream.producerState), (1, "paused"))
            self.assertEqual(len(self.take_all()), 3000)
            pipe.upstream_ended()
            outcome = self.outcome(pipe)
            self.assertEqual((outcome.clean, outcome.bytes_spilled), (True, 0))

    def test_the_disk_fills_up(self) -> None:
        """What is on disk already comes back, in order; the rest waits in memory."""
        left = [900]

        def fill(data: bytes) -> bytes:
            if not left[0]:
                raising(ENOSPC)()
            data = data[: left[0]]
            left[0] -= len(data)
            return data

        self.spill.on_write = fill
        data = bytes(range(250)) * 12
        pipe = self.stuck()
        pipe.write(data)
        self.assertEqual(pipe.bytes_spilled, 900)
        self.assertEqual(self.upstream.producerState, "paused")
        writes = len(self.spill.writes)
        self.assertEqual(self.take_all(), data)
        self.assertEqual(len(self.spill.writes), writes, "not tried again")
        pipe.upstream_ended()
        self.assertTrue(self.outcome(pipe).clean)

    def test_write_errors(self) -> None:
        for code in (EIO, ENOSPC, EROFS, errno.EDQUOT, errno.EFBIG):
            self.spill.on_write = raising(code)
            self.upstream, self.downstream = MemoryTransport(), MemoryTransport()
            with capturedLogs() as logs:
                pipe = self.stuck(name="p")
                pipe.write(bytes(3000))
                self.assertEqual(len(self.take_all()), 3000)
                pipe.upstream_ended()
                self.assertTrue(self.outcome(pipe).clean)
            said = "p: spill failed, going on without (the upstream waits for the client): /faulty: "
            self.assertEqual([formatEvent(event) for event in logs], [said + os.strerror(code)])

    def test_spilled_bytes_cannot_be_read(self) -> None:
        pipe = self.stuck()
        pipe.write(bytes(3000))
        self.spill.on_read = raising(EIO)
        self.take_all()
        side, why = errors_of(self.outcome(pipe))
        self.assertEqual(side, "disk")
        self.assertIn("spilled bytes cannot be read: Input/output error", why)
        self.assertEqual(self.downstream.ends, ["abort"])
        self.assertEqual(self.upstream.calls.count("stop"), 1)

    def test_any_error_of_reading_back_is_the_disks(self) -> None:
        """A consumer's C{write} raises no OSError: whatever number comes, it is the file's."""
        for code in (errno.ENOMEM, errno.EACCES, errno.ENXIO, errno.ETIMEDOUT):
            self.spill.on_read = None
            self.upstream, self.downstream = MemoryTransport(), MemoryTransport()
            pipe = self.stuck()
            pipe.write(bytes(3000))
            self.spill.on_read = raising(code)
            self.take_all()
            self.assertEqual(errors_of(self.outcome(pipe))[0], "disk", errno.errorcode[code])

    def test_truncated(self) -> None:
        pipe = self.stuck()
        pipe.write(bytes(3000))
        del self.spill.files[0].data[100:]
        self.take_all()
        side, why = errors_of(self.outcome(pipe))
        self.assertEqual(side, "disk")
        self.assertIn("the file was truncated", why)

    def test_what_was_sent_is_forgotten(self) -> None:
        """To the byte, and never more than that, nor again what has no bytes left."""
        pipe = self.stuck()
        pipe.write(bytes(3000))
        (file,) = self.spill.files
        while True:
            self.downstream.take()
            if file.closed:
                break
            self.assertEqual(file.forgotten, pipe.bytes_out - 200, "all but what was sent from memory")
        self.assertEqual(file.closed, 1)

    def test_giving_space_back_fails(self) -> None:
        """
        Closing spill files is a favour; the bytes were delivered, and the pipe ends as it would. (close(2) fails on NFS,
        on FUSE, and where there are quotas.)
        """
        self.patch(pipe_module, "DiskRange", lambda limit, **more: DiskRange(limit, 500, **more))
        self.spill = WatchedSpill(self.mktemp())
        os.mkdir(self.spill.path)
        failed = faulty_close(self, self.spill.path)
        pipe = self.stuck(limits=attrs.evolve(SMALL, max_temp_file_size=3000))
        for count in (1, 2):
            pipe.write(bytes(3000))
            self.assertEqual(len(self.take_all()), 3000)
            self.assertTrue(len(failed) >= 4 * count, failed)
            self.assertEqual(self.spill.fds, [])
        pipe.upstream_ended()
        self.assertTrue(self.outcome(pipe).clean)

    def test_giving_space_back_fails_at_the_end(self) -> None:
        """Everybody is told all the same, and nothing is left behind."""
        self.patch(pipe_module, "DiskRange", lambda limit, **more: DiskRange(limit, 500, **more))
        self.spill = WatchedSpill(self.mktemp())
        os.mkdir(self.spill.path)
        failed = faulty_close(self, self.spill.path)
        pipe = self.stuck()
        pipe.write(bytes(3000))
        self.assertTrue(len(self.spill.fds) >= 2, self.spill.fds)
        pipe.abandon(Cancelled("enough"))
        self.assertEqual(str(self.outcome(pipe)), "enough")
        self.assertEqual((self.downstream.ends, self.spill.fds), (["abort"], []))
        self.assertTrue(failed)

    def test_ended_while_spilled(self) -> None:
        """The file is closed, once, however the pipe ends."""
        for end in ("abandon", "stop", "cancel"):
            self.upstream, self.downstream = MemoryTransport(), MemoryTransport()
            pipe = self.stuck()
            pipe.write(bytes(3000))
            {
                "abandon": lambda pipe=pipe: pipe.abandon(Cancelled("enough")),
                "stop": pipe.stopProducing,
                "cancel": pipe.done.cancel,
            }[end]()
            self.assertEqual(self.spill.files[-1].closed, 1)
            self.assertFalse(self.outcome(pipe).clean)
            self.assertEqual(self.in_use(), 0)


class TimeoutTests(MemoryCase):
    def test_read_timeout(self) -> None:
        pipe = self.start()
        pipe.write(b"x")
        self.clock.advance(59.9)
        self.assert_running(pipe)
        self.clock.advance(0.2)
        self.assertEqual(errors_of(self.outcome(pipe)), ("upstream", "read timeout of 60 s expired"))

    def test_bytes_put_it_off(self) -> None:
        pipe = self.start()
        for _ in range(10):
            self.clock.advance(50)
            pipe.write(b"x")
        self.assert_running(pipe)
        self.clock.advance(59)
        self.assert_running(pipe)
        self.clock.advance(2)
        self.assertFalse(self.outcome(pipe).clean)

    def test_read_timeout_delivers_what_was_received(self) -> None:
        pipe = self.stuck(limits=attrs.evolve(SMALL, send_timeout=0))
        pipe.write(bytes(1000))
        self.clock.advance(61)
        self.assert_running(pipe)
        self.assertEqual(len(self.take_all()), 1000)
        self.assertEqual(errors_of(self.outcome(pipe))[0], "upstream")

    def test_no_read_timeout_while_the_downstream_is_stuck(self) -> None:
        """Not reading is our own doing."""
        pipe = self.stuck(limits=attrs.evolve(NO_SPILL, send_timeout=0))
        pipe.write(bytes(1000))
        for _ in range(10):
            self.clock.advance(59)
        self.assert_running(pipe)
        self.assertEqual(len(self.take_all()), 1000)
        self.clock.advance(59)
        self.assert_running(pipe)
        self.clock.advance(2)
        self.assertEqual(errors_of(self.outcome(pipe))[0], "upstream")

    def test_send_timeout(self) -> None:
        pipe = self.stuck(limits=attrs.evolve(SMALL, read_timeout=0))
        pipe.write(bytes(1000))
        self.clock.advance(59)
        self.assert_running(pipe)
        self.downstream.take()
        self.clock.advance(59)
        self.assert_running(pipe)
        self.clock.advance(2)
        self.assertEqual(errors_of(self.outcome(pipe)), ("downstream", "send timeout of 60 s expired"))
        self.assertEqual(self.downstream.ends, ["abort"])

    def test_reading_does_not_put_off_the_send_timeout(self) -> None:
        pipe = self.stuck()
        pipe.write(bytes(1000))
        for _ in range(6):
            self.clock.advance(10)
            pipe.write(bytes(100)) if pipe not in self.outcomes else None
        self.clock.advance(1)
        self.assertEqual(errors_of(self.outcome(pipe))[0], "downstream")

    def test_no_send_timeout_when_nothing_waits(self) -> None:
        pipe = self.stuck(limits=attrs.evolve(SMALL, read_timeout=0))
        pipe.write(b"x")  # handed over; the downstream is paused, and owed nothing
        self.clock.advance(1000)
        self.assert_running(pipe)

    def test_no_timeouts(self) -> None:
        pipe = self.stuck(limits=attrs.evolve(SMALL, read_timeout=0, send_timeout=0))
        pipe.write(bytes(1000))
        self.clock.advance(10**6)
        self.assert_running(pipe)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_byte_path_makes_no_timers(self) -> None:
        pipe = self.start()
        (call,) = self.clock.getDelayedCalls()
        for _ in range(10):
            self.clock.advance(1)
            pipe.write(b"x")
            self.assertEqual(self.clock.getDelayedCalls(), [call])

    def test_no_timeout_while_a_filter_waits(self) -> None:
        gate: Deferred[None] = Deferred()

        class Waits(PipeFilter):
            def received(self, data: memoryview) -> Any:
                yield gate
                yield data

        pipe = self.start([NamedFilter("waits", Waits(FilterContext()), timeout=0)])
        pipe.write(b"x")
        self.clock.advance(1000)
        self.assert_running(pipe)
        gate.callback(None)
        self.assertEqual(self.downstream.value(), b"x")
        self.clock.advance(59)
        self.assert_running(pipe)
        self.clock.advance(2)
        self.assertEqual(errors_of(self.outcome(pipe))[0], "upstream")


class RateTests(MemoryCase):
    def rated(self, rate: int, **more: Any) -> Any:
        return self.start(limits=PipeLimits(limit_rate=rate, **more))

    def run_for(self, seconds: float) -> None:
        end = self.clock.seconds() + seconds
        while (calls := self.clock.getDelayedCalls()) and min(call.getTime() for call in calls) <= end:
            self.clock.advance(max(0.0, min(call.getTime() for call in calls) - self.clock.seconds()))
        self.clock.advance(end - self.clock.seconds())

    def test_exact(self) -> None:
        """To 2 % over 5 s, whatever the rate; and no burst at the start."""
        for rate in (100, 1000, 12_345, 10_000_000):
            self.downstream = MemoryTransport()
            pipe = self.rated(rate)
            pipe.write(bytes(rate * 6))
            self.assertTrue(pipe.bytes_out <= rate * 0.03, (rate, pipe))
            for second in range(1, 6):
                self.run_for(1)
                self.assertTrue(abs(pipe.bytes_out - rate * second) <= rate * 0.03, (rate, second, pipe))
            self.assertTrue(abs(pipe.bytes_out - rate * 5) <= rate * 5 * 0.02, (rate, pipe))
            pipe.abandon(Cancelled("enough"))

    def test_no_read_and_no_timeout_while_delayed(self) -> None:
        pipe = self.rated(1, read_timeout=0.5)
        pipe.write(b"abcdef")
        self.assertEqual(self.upstream.producerState, "paused")
        self.assertIn("delayed", repr(pipe))
        self.run_for(4)
        self.assert_running(pipe)
        self.assertTrue(4 <= pipe.bytes_in <= 5, pipe)

    def test_an_idle_hour_saves_up_nothing(self) -> None:
        pipe = self.rated(1000, read_timeout=0)
        self.clock.advance(3600)
        pipe.write(bytes(10_000))
        self.assertTrue(pipe.bytes_out <= 250, pipe.bytes_out)
        self.run_for(5)
        self.assertTrue(4900 <= pipe.bytes_out <= 5350, pipe.bytes_out)

    def test_ended_while_delayed(self) -> None:
        pipe = self.rated(1000)
        pipe.write(bytes(1000))
        pipe.done.cancel()
        self.outcome(pipe)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_end_waits_for_the_rate(self) -> None:
        pipe = self.rated(1000)
        pipe.write(bytes(1000))
        pipe.upstream_ended()
        self.run_for(0.9)
        self.assert_running(pipe)
        self.run_for(0.2)
        self.assertTrue(self.outcome(pipe).clean)
        self.assertEqual(len(self.downstream.value()), 1000)


class EndingTests(MemoryCase):
    def test_cancelled(self) -> None:
        pipe = self.stuck(name="p")
        pipe.write(bytes(1000))
        pipe.done.cancel()
        outcome = self.outcome(pipe)
        self.assertIsInstance(outcome.error, Cancelled)
        self.assertEqual(errors_of(outcome), ("caller", "p was cancelled"))
        self.assertEqual(self.downstream.ends, ["abort"])
        self.assertEqual(self.upstream.calls.count("stop"), 1)

    def test_the_downstream_is_lost(self) -> None:
        pipe = self.stuck()
        pipe.write(bytes(1000))
        pipe.stopProducing()
        self.assertEqual(errors_of(self.outcome(pipe)), ("downstream", "the connection was closed"))
        self.assertEqual(self.upstream.calls.count("stop"), 1)

    def test_keep_open(self) -> None:
        """Neither end is touched, however it ends."""
        for end in ("clean", "upstream", "downstream", "cancel"):
            self.upstream, self.downstream = MemoryTransport(), MemoryTransport()
            pipe = self.start(keep_open=True)
            pipe.write(b"x")
            {
                "clean": pipe.upstream_ended,
                "upstream": lambda pipe=pipe: pipe.upstream_lost(Failure(ConnectionLost())),
                "downstream": pipe.stopProducing,
                "cancel": pipe.done.cancel,
            }[end]()
            self.assertEqual(self.outcome(pipe).clean, end == "clean")
            self.assertEqual((self.downstream.ends, self.upstream.calls.count("stop")), ([], 0), end)
            self.assertIsNone(self.downstream.producer)

    def test_a_downstream_that_is_no_transport(self) -> None:
        """A consumer has no other end than that its producer is unregistered; the pipe's outcome tells which it was."""
        for end in ("clean", "upstream", "downstream", "cancel"):
            consumer = OnlyConsumer()
            self.upstream = MemoryTransport()
            self.downstream = consumer  # type: ignore[assignment]
            pipe = self.start()
            pipe.write(b"all of it")
            {
                "clean": pipe.upstream_ended,
                "upstream": lambda pipe=pipe: pipe.upstream_lost(Failure(ConnectionLost())),
                "downstream": pipe.stopProducing,
                "cancel": pipe.done.cancel,
            }[end]()
            self.assertEqual(self.outcome(pipe).clean, end == "clean")
            self.assertTrue(pipe.received.called)
            self.assertEqual(consumer.told, ["register", b"all of it", "unregister"], end)
            self.assertEqual(self.upstream.calls.count("stop"), int(end != "clean"))

    def test_a_clean_loss_of_the_upstream(self) -> None:
        pipe = self.start()
        pipe.upstream_lost(Failure(ConnectionDone()))
        self.assertTrue(self.outcome(pipe).clean)

    def test_what_cut_delivery_short_is_the_error(self) -> None:
        """The upstream was lost first; but not all it had sent was delivered, and that is the downstream's fault."""
        pipe = self.stuck()
        pipe.write(bytes(1000))
        pipe.upstream_lost(Failure(ConnectionLost("first")))
        pipe.stopProducing()
        outcome = self.outcome(pipe)
        self.assertEqual(errors_of(outcome)[0], "downstream")
        self.assertIsInstance(outcome.error.__context__, UpstreamFailed)  # type: ignore[union-attr]


class Recording(PipeFilter):
    """Notes the calls it gets; passes everything on."""

    def __init__(self, where: str = "", what: Any = None) -> None:
        PipeFilter.__init__(self, FilterContext())
        self.calls: list[str] = []
        self.reasons: list[BaseException | None] = []
        self.where = where
        self.what = what

    def _do(self, call: str) -> Iterator[Any]:
        self.calls.append(call)
        if call == self.where:
            items = self.what()
            yield from items if hasattr(items, "send") else (item for item in items)

    def started(self) -> Any:
        yield from self._do("started")

    def received(self, data: memoryview) -> Any:
        yield from self._do("received")
        yield data

    def ended(self) -> Any:
        yield from self._do("ended")

    def stopped(self, reason: BaseException | None) -> None:
        self.calls.append("stopped")
        self.reasons.append(reason)
        if self.where == "stopped":
            self.what()


class FilterTests(MemoryCase):
    def test_order_of_calls(self) -> None:
        first = Recording()
        pipe = self.start([first])
        pipe.write(b"a")
        pipe.write(b"b")
        pipe.upstream_ended()
        self.assertEqual(first.calls, ["started", "received", "received", "ended", "stopped"])
        self.assertEqual(first.reasons, [None])
        self.assertEqual(self.downstream.value(), b"ab")

    def test_a_filter_that_raises(self) -> None:
        def boom() -> Iterator[Any]:
            raise ZeroDivisionError("boom")
            yield b""

        for where in ("started", "received", "ended"):
            self.downstream = MemoryTransport()
            broken, other = Recording(where, boom), Recording()
            pipe = self.start([NamedFilter("broken", broken), NamedFilter("other", other)])
            if pipe not in self.outcomes:
                pipe.write(b"a")
            if pipe not in self.outcomes:
                pipe.upstream_ended()
            outcome = self.outcome(pipe)
            self.assertEqual(errors_of(outcome), ("filter", "filter 'broken': ZeroDivisionError: boom"), where)
            self.assertIsInstance(outcome.error.__cause__, ZeroDivisionError)  # type: ignore[union-attr]
            self.assertEqual(self.downstream.ends, ["abort"], "never a clean end")
            for each in (broken, other):
                self.assertEqual((each.calls.count("stopped"), each.reasons), (1, [outcome.error]))

    def test_a_filter_that_raises_when_it_is_stopped(self) -> None:
        """It is logged, and changes nothing."""

        def boom() -> None:
            raise ZeroDivisionError("boom")

        broken, other = Recording("stopped", boom), Recording()
        pipe = self.start([other, broken])
        pipe.write(b"a")
        pipe.upstream_ended()
        self.assertTrue(self.outcome(pipe).clean)
        self.assertEqual(other.calls.count("stopped"), 1)

    def test_names(self) -> None:
        pipe = self.start([NamedFilter("named", Recording("received", lambda: iter([object()])))])
        pipe.write(b"a")
        side, why = errors_of(self.outcome(pipe))
        self.assertEqual(side, "filter")
        self.assertIn("filter 'named': received() yielded object", why)

    def test_fires_at_once(self) -> None:
        got: list[Any] = []

        def wait() -> Iterator[Any]:
            got.append((yield succeed(42)))

        pipe = self.start([Recording("received", wait)])
        pipe.write(b"a")
        self.assertEqual((got, self.downstream.value()), ([42], b"a"))

    def test_fires_later(self) -> None:
        gate: Deferred[int] = Deferred()
        got: list[Any] = []

        def wait() -> Iterator[Any]:
            got.append((yield gate))

        waiting = Recording("received", wait)
        pipe = self.start([waiting])
        pipe.write(b"a")
        self.assertEqual(self.downstream.value(), b"")
        self.assertIn("filtering", repr(pipe))
        self.assertEqual(self.upstream.producerState, "paused")
        gate.callback(7)
        self.assertEqual((got, self.downstream.value()), ([7], b"a"))
        self.assertEqual(self.upstream.producerState, "producing")

    def test_a_waiting_filter_bounds_the_memory(self) -> None:
        gate: Deferred[int] = Deferred()
        pipe = self.start([Recording("received", lambda: iter([gate]))], NO_SPILL)
        for _ in range(50):
            pipe.write(bytes(100))
        self.assertTrue(self.in_use() <= 4)
        self.assertEqual(self.upstream.producerState, "paused")

    def test_fails(self) -> None:
        for sync in (True, False):
            gate: Deferred[int] = Deferred()
            pipe = self.start([NamedFilter("f", Recording("received", lambda gate=gate: (yield gate)))])
            if sync:
                gate.errback(ZeroDivisionError("boom"))
            pipe.write(b"a")
            if not sync:
                gate.errback(ZeroDivisionError("boom"))
            self.assertEqual(errors_of(self.outcome(pipe)), ("filter", "filter 'f': ZeroDivisionError: boom"))
            self.downstream = MemoryTransport()

    def test_fails_and_the_filter_copes(self) -> None:
        def wait() -> Iterator[Any]:
            try:
                yield fail(ZeroDivisionError("boom"))
            except ZeroDivisionError:
                yield b"coped "

        pipe = self.start([Recording("received", wait)])
        pipe.write(b"a")
        self.assertEqual(self.downstream.value(), b"coped a")

    def test_never_fires_and_the_pipe_is_cancelled(self) -> None:
        cancelled: list[object] = []
        gate: Deferred[int] = Deferred(cancelled.append)
        waiting = Recording("received", lambda: iter([gate]))
        pipe = self.start([waiting])
        pipe.write(b"a")
        pipe.done.cancel()
        self.assertEqual(errors_of(self.outcome(pipe))[0], "caller")
        self.assertEqual(cancelled, [gate])
        self.assertEqual(waiting.calls.count("stopped"), 1)
        self.assertEqual(self.in_use(), 0)

    def test_cancelled_with_a_canceller_that_answers(self) -> None:
        gate: Deferred[int] = Deferred(lambda deferred: deferred.callback(1))
        pipe = self.start([Recording("received", lambda: iter([gate]))])
        pipe.write(b"a")
        pipe.done.cancel()
        self.outcome(pipe)
        self.assertEqual(self.downstream.value(), b"")

    def test_cancelled_with_a_canceller_that_raises(self) -> None:
        """Third-party code must not keep the pipe from ending."""

        def boom(deferred: object) -> None:
            raise ZeroDivisionError("boom")

        gate: Deferred[int] = Deferred(boom)
        pipe = self.stuck([Recording("received", lambda: iter([gate]))])
        pipe.write(bytes(1000))
        with contextlib.suppress(ZeroDivisionError):
            pipe.done.cancel()
        self.assertEqual(errors_of(self.outcome(pipe))[0], "caller")
        self.assertIsNone(self.downstream.producer)
        self.flushLoggedErrors(ZeroDivisionError)

    def test_fires_after_the_end(self) -> None:
        """With a canceller that does nothing, a late result is nobody's; so is a late failure."""
        for late in (1, ZeroDivisionError("late")):
            gate: Deferred[int] = Deferred()
            pipe = self.start([Recording("received", lambda gate=gate: iter([gate]))])
            pipe.write(b"a")
            pipe.abandon(Cancelled("enough"))
            self.outcome(pipe)
            gate.errback(late) if isinstance(late, Exception) else gate.callback(late)
            self.downstream = MemoryTransport()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_ended_inside_the_callback(self) -> None:
        gate: Deferred[int] = Deferred()
        pipe = self.start([Recording("received", lambda: iter([gate]))])
        pipe.write(b"a")

        def end(result: int) -> int:
            pipe.abandon(Cancelled("from the callback"))
            return result

        gate.addCallback(end)
        gate.callback(1)
        self.assertEqual(str(self.outcome(pipe)), "from the callback")

    def test_ended_inside_a_filter(self) -> None:
        """A filter that abandons its own pipe while it runs."""

        def end() -> Iterator[Any]:
            pipe.abandon(Cancelled("from the filter"))
            yield b"too late"

        filter_ = Recording("received", end)
        pipe = self.start([filter_])
        pipe.write(b"a")
        self.assertEqual(str(self.outcome(pipe)), "from the filter")
        self.assertEqual(filter_.calls.count("stopped"), 1)

    def test_awaitable(self) -> None:
        gate: Deferred[int] = Deferred()

        async def answer() -> int:
            return await gate + 1

        got: list[Any] = []

        def wait() -> Iterator[Any]:
            got.append((yield answer()))

        pipe = self.start([Recording("received", wait)])
        pipe.write(b"a")
        gate.callback(1)
        self.assertEqual((got, self.downstream.value()), ([2], b"a"))

    def test_like_a_deferred(self) -> None:
        """What is subscribed to like a Deferred need not be awaitable; it is cancelled when the pipe ends."""

        class Like:
            def __init__(self) -> None:
                self.gate: Deferred[int] = Deferred()
                self.addCallbacks = self.gate.addCallbacks
                self.addErrback = self.gate.addErrback
                self.cancel = self.gate.cancel

        first, second = Like(), Like()
        got: list[Any] = []

        def wait() -> Iterator[Any]:
            got.append((yield first))
            yield second

        pipe = self.start([Recording("received", wait)])
        pipe.write(b"a")
        first.gate.callback(1)
        self.assertEqual(got, [1])
        self.assert_running(pipe)
        pipe.done.cancel()
        self.outcome(pipe)
        self.assertTrue(second.gate.called)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_awaitable_of_a_pipe_that_ends(self) -> None:
        gate: Deferred[int] = Deferred()
        seen: list[str] = []

        async def answer() -> None:
            try:
                await gate
            except CancelledError:
                seen.append("cancelled")
                raise

        pipe = self.start([Recording("received", lambda: iter([answer()]))])
        pipe.write(b"a")
        pipe.done.cancel()
        self.outcome(pipe)
        self.assertEqual(seen, ["cancelled"])

    def test_a_deferred_before_the_end(self) -> None:
        """A stream that ends while a filter waits ends when it has its answer."""
        gate: Deferred[int] = Deferred()
        pipe = self.start([Recording("ended", lambda: iter([gate, b"tail"]))])
        pipe.write(b"a")
        pipe.upstream_ended()
        self.assert_running(pipe)
        gate.callback(0)
        self.assertTrue(self.outcome(pipe).clean)
        self.assertEqual(self.downstream.value(), b"atail")

    def test_a_filter_that_keeps_what_it_was_lent(self) -> None:
        """One slab is lost to the pool; its bytes never change."""
        kept: list[memoryview] = []

        class Keeps(PipeFilter):
            def received(self, data: memoryview) -> Any:
                kept.append(data)
                return (data,)

        lost = slab_pool(SMALL.buffer_size).statistics().lost
        pipe = self.start([Keeps(FilterContext())])
        pipe.write(b"a" * 100)
        pipe.write(b"b" * 100)
        pipe.upstream_ended()
        self.assertEqual([bytes(each) for each in kept], [b"a" * 100, b"b" * 100])
        self.assertTrue(slab_pool(SMALL.buffer_size).statistics().lost > lost)

    def test_spilled_behind_filters(self) -> None:
        data = bytes(range(256)) * 20
        pipe = self.stuck([Recording(), Recording()])
        pipe.write(data)
        pipe.upstream_ended()
        self.assertEqual(self.take_all(), data)
        self.assertTrue(self.outcome(pipe).clean)
        self.assertTrue(self.outcome(pipe).bytes_spilled > 0)


class FinishedTests(MemoryCase):
    """
    Calls to a pipe that has ended, in whatever way. C{write} raises C{PipeFinished}, a producer that registers is stopped, what
    is no rate is refused as ever; everything else does nothing at all.
    """

    def ended(self) -> Iterator[tuple[str, Any]]:
        """A pipe for each way to end; C{upstream} and C{downstream} are its transports."""
        ends: dict[str, Callable[[Any], object]] = {
            "clean": lambda pipe: pipe.upstream_ended(),
            "lost upstream": lambda pipe: pipe.upstream_lost(Failure(ConnectionLost())),
            "lost downstream": lambda pipe: pipe.stopProducing(),
            "abandoned": lambda pipe: pipe.abandon(Cancelled("enough")),
            "cancelled": lambda pipe: pipe.done.cancel(),
            "read timeout": lambda pipe: self.clock.advance(61),
        }

        def boom() -> Iterator[Any]:
            raise ZeroDivisionError("boom")
            yield b""

        for keep_open in (False, True):
            for spilled in (False, True):
                for name, end in ends.items():
                    self.upstream, self.downstream = MemoryTransport(), MemoryTransport(1 if spilled else 1 << 30)
                    pipe = self.start(name=name, keep_open=keep_open, limits=attrs.evolve(SMALL, send_timeout=0))
                    pipe.write(bytes(1000))
                    end(pipe)
                    self.take_all()
                    yield name, pipe
        for name, more in (
            ("before it began", {"length": 0}),
            ("at its length", {"length": 3, "preread": b"abcd"}),
            ("failed filter", {"filters": [Recording("started", boom)]}),
        ):
            self.upstream, self.downstream = MemoryTransport(), MemoryTransport()
            yield name, self.start(name=name, **more)

    def found(self, pipe: Any) -> tuple[object, ...]:
        """Whatever a call might change."""
        return (
            repr(pipe),
            self.outcome(pipe),
            *(pipe.bytes_in, pipe.bytes_out, pipe.bytes_spilled, pipe.memory_bytes, pipe.disk_bytes),
            *(pipe.upstream_blocked, pipe.last_progress, pipe in live_pipes),
            self.downstream.value(),
            list(self.downstream.ends),
            list(self.upstream.calls),
            (self.upstream.producer, self.downstream.producer),
            (self.in_use(), self.clock.getDelayedCalls(), self.spill.opened),
        )

    def test_write_raises(self) -> None:
        """It says which pipe, and nothing of the bytes is taken; no bytes are bytes, too."""
        for name, pipe in self.ended():
            before = self.found(pipe)
            for data in (b"x", b"", bytes(10_000)):
                error = self.assertRaises(PipeFinished, pipe.write, data)
                self.assertEqual(str(error), f"{name}: bytes were written to a pipe that has ended")
            self.assertEqual(self.found(pipe), before, name)

    def test_a_producer_is_stopped(self) -> None:
        """Once, at once, and asked for nothing; as often as one comes."""
        for name, pipe in self.ended():
            before = self.found(pipe)
            for _ in range(2):
                push, pull = MemoryTransport(), PullProducer([b"x"])
                pipe.registerProducer(push, True)
                pipe.registerProducer(pull, False)
                self.assertEqual((push.calls, pull.asked, pull.stopped), (["stop"], 0, 1), name)
            self.assertEqual(self.found(pipe), before, name)

    def test_everything_else_does_nothing(self) -> None:
        calls: dict[str, Callable[[Any], object]] = {
            "unregisterProducer": lambda pipe: pipe.unregisterProducer(),
            "upstream_ended": lambda pipe: pipe.upstream_ended(),
            "upstream_lost": lambda pipe: pipe.upstream_lost(Failure(ConnectionLost())),
            "upstream_lost, cleanly": lambda pipe: pipe.upstream_lost(Failure(ConnectionDone())),
            "pauseProducing": lambda pipe: pipe.pauseProducing(),
            "resumeProducing": lambda pipe: pipe.resumeProducing(),
            "stopProducing": lambda pipe: pipe.stopProducing(),
            "abandon": lambda pipe: pipe.abandon(Cancelled("late")),
            "cancel": lambda pipe: pipe.done.cancel(),
            "limit_rate": lambda pipe: setattr(pipe, "limit_rate", 5),
            "no limit_rate": lambda pipe: setattr(pipe, "limit_rate", 0),
            "time": lambda pipe: self.clock.advance(1000),
        }
        for name, pipe in self.ended():
            before = self.found(pipe)
            for call, do in calls.items():
                do(pipe)
                self.assertEqual(self.found(pipe), before, f"{call} after {name}")

    def test_what_is_no_rate_is_refused_all_the_same(self) -> None:
        for _, pipe in self.ended():
            with self.assertRaises(BadConfiguration) as caught:
                pipe.limit_rate = -1
            self.assertEqual(caught.exception.name, "limit_rate")

    def test_what_it_tells_is_what_its_outcome_tells(self) -> None:
        """And that it holds nothing."""
        for name, pipe in self.ended():
            outcome = self.outcome(pipe)
            self.assertEqual(
                (pipe.bytes_in, pipe.bytes_out, pipe.bytes_spilled),
                (outcome.bytes_in, outcome.bytes_out, outcome.bytes_spilled),
            )
            self.assertEqual((pipe.memory_bytes, pipe.disk_bytes, pipe.upstream_blocked), (0, 0, False))
            self.assertEqual((repr(pipe), pipe in live_pipes), (f"<EventPipe {name} ended>", False))

    def test_done_and_received_have_fired_and_once(self) -> None:
        for name, pipe in self.ended():
            told: list[object] = []
            pipe.done.addBoth(told.append)
            pipe.received.addBoth(told.append)
            pipe.abandon(Cancelled("late"))
            self.assertEqual(len(told), 2, name)
            self.assertEqual((told[1], self.flushLoggedErrors()), (None, []), name)

    def test_from_within_done(self) -> None:
        """It has ended then, whoever asks first."""
        for end in ("upstream_ended", "stopProducing"):
            self.upstream, self.downstream = MemoryTransport(), MemoryTransport()
            pipe = self.start(name="p")
            producer = PushProducer(1, 1)
            told: list[object] = []

            def use(outcome: Any, pipe: Any = pipe, producer: Any = producer, told: Any = told) -> Any:
                told.append(self.assertRaises(PipeFinished, pipe.write, b"x"))
                pipe.registerProducer(producer, True)
                pipe.upstream_lost(Failure(ConnectionLost()))
                pipe.abandon(Cancelled("late"))
                told.append(repr(pipe))
                return outcome

            pipe.done.addCallback(use)
            getattr(pipe, end)()
            self.assertEqual((len(told), told[1], producer.stopped), (2, "<EventPipe p ended>", 1))
            self.assertEqual(len(self.downstream.ends), 1)

    def test_between_sockets(self) -> None:
        """While it runs nobody may write to it, which is a C{TypeError}; then it has ended, and that is what it says."""
        engine = Engine(self)
        for end in ("server", "cancel"):
            up, server = engine.connect(Recorder())
            down, _client = engine.connect(Recorder())
            pipe = self.pipe(up, down, limits=SMALL, clock=engine.reactor, name="p")
            self.assertRaises(TypeError, pipe.write, b"x")
            {"server": server.half_close, "cancel": pipe.done.cancel}[end]()
            engine.settle()
            outcome = self.outcome(pipe)
            self.assertRaises(PipeFinished, pipe.write, b"x")
            producer = PushProducer(1, 1)
            pipe.registerProducer(producer, True)
            pipe.upstream_ended()
            pipe.socket_ready()
            pipe.socket_lost(Failure(ConnectionLost()))
            pipe.stopProducing()
            self.assertEqual((producer.stopped, repr(pipe)), (1, "<EventPipe p ended>"))
            self.assertEqual((self.outcome(pipe), outcome.clean), (outcome, end == "server"))
            self.assertEqual((pipe.bytes_in, self.in_use()), (0, 0))


class BadInputTests(MemoryCase):
    """What cannot be is refused where it is said, by its name."""

    def test_a_temp_path_that_is_a_file(self) -> None:
        """Start-up finds it. A pipe that has it all the same goes on by back-pressure."""
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(b"precious")
        for wrong, what in ((path, "is not a directory"), (os.path.join(path, "below"), "does not exist")):
            directory = SpillDirectory(wrong)
            error = self.assertRaises(BadConfiguration, directory.check)
            self.assertEqual((error.name, error.value), ("temp_path", wrong))
            self.assertIn(f"{what}; an existing, writable directory is needed", str(error))
            self.upstream, self.downstream = MemoryTransport(), MemoryTransport()
            pipe = self.stuck(spill=directory)
            with capturedLogs() as logs:
                pipe.write(bytes(3000))
            self.assertEqual((pipe.bytes_spilled, self.upstream.producerState, directory.failures), (0, "paused", 1))
            (line,) = [formatEvent(event) or "" for event in logs]
            self.assertIn(wrong, line)
            self.assertEqual(len(self.take_all()), 3000)
            pipe.upstream_ended()
            self.assertTrue(self.outcome(pipe).clean)
        with open(path, "rb") as file:
            self.assertEqual(file.read(), b"precious")

    def test_write_takes_bytes_only(self) -> None:
        """What is none is refused at once, and the pipe goes on with what is right."""
        pipe = self.start()
        for wrong in ("text", 5, [b"x"]):
            self.assertRaises(TypeError, pipe.write, wrong)
        pipe.write(b"right")
        self.assertEqual(self.downstream.value(), b"right")

    def test_no_clock_and_nothing_is_left_of_it(self) -> None:
        """Neither transport has a producer."""
        self.assertRaises(TypeError, EventPipe, self.upstream, self.downstream)
        self.assertIsNone(self.downstream.producer)
        self.assertEqual(self.upstream.calls, [])
