"""A pipe whose downstream comes later, between transports in memory and sockets."""

from __future__ import annotations

import os
from typing import Any

import attrs
from twisted.internet.testing import StringTransport

from tests.core.digits import Digits
from tests.net.fakes import ENOSPC, SMALL, FaultySpill, MemoryTransport, errors_of, raising
from tests.net.test_driver import NO_SPILL, MemoryCase
from tests.net.test_driver_sockets import SocketCase
from twisted_pipe.core.disk import SpillQuota
from twisted_pipe.errors import Cancelled, PipeFinished
from twisted_pipe.net.live import live_pipes

DATA = bytes(index % 251 for index in range(2000))


class AwaitedCase(MemoryCase):
    def later(self, **more: Any) -> Any:
        """A pipe without a downstream; C{self.told} is what it tells its owner."""
        pipe = self.pipe(self.upstream, None, **more)
        self.told: list[str] = []
        pipe.received.addCallback(lambda _: self.told.append("received"))
        pipe.wanted.addCallback(lambda _: self.told.append("wanted"))
        return pipe


class AwaitedTests(AwaitedCase):
    def test_everything_is_in_memory_until_it_comes(self) -> None:
        pipe = self.later(length=5)
        pipe.write(b"abc")
        self.assertEqual((self.told, pipe.bytes_in, pipe.bytes_out), ([], 3, 0))
        pipe.write(b"de")
        self.assertEqual(self.told, ["received", "wanted"])
        self.assert_running(pipe)
        pipe.deliver_to(self.downstream, b"HEAD ")
        self.assertEqual((self.downstream.value(), self.downstream.ends), (b"HEAD abcde", ["half"]))
        outcome = self.outcome(pipe)
        self.assertEqual((outcome.clean, outcome.bytes_in, outcome.bytes_out), (True, 5, 10))

    def test_what_is_more_is_spilled(self) -> None:
        pipe = self.later(head=b"HEAD ")
        pipe.write(DATA)
        self.assertGreater(pipe.bytes_spilled, 0)
        self.assertEqual((pipe.full, self.told), (False, []))
        pipe.upstream_ended()
        self.assertEqual(self.told, ["received", "wanted"])
        pipe.deliver_to(self.downstream)
        self.assertEqual(self.downstream.value(), b"HEAD " + DATA)
        self.assertTrue(self.outcome(pipe).clean)

    def test_it_may_come_before_it_is_wanted(self) -> None:
        pipe = self.later()
        pipe.write(b"abc")
        pipe.deliver_to(self.downstream)
        self.assertEqual(self.downstream.value(), b"abc")
        pipe.write(b"de")
        pipe.upstream_ended()
        self.assertEqual((self.downstream.value(), self.told), (b"abcde", ["received"]))
        self.assertTrue(self.outcome(pipe).clean)

    def test_it_may_come_when_it_is_told(self) -> None:
        """From within the pipe's own turn."""
        for wish in ("received", "wanted"):
            downstream = MemoryTransport()
            pipe = self.later()
            getattr(pipe, wish).addCallback(lambda _, pipe=pipe, to=downstream: pipe.deliver_to(to, b"HEAD "))
            pipe.write(DATA)
            pipe.upstream_ended()
            self.assertEqual((downstream.value(), downstream.ends), (b"HEAD " + DATA, ["half"]), wish)
            self.assertTrue(self.outcome(pipe).clean)

    def test_all_was_there_before(self) -> None:
        """So early that nobody can have asked to be told."""
        for more in ({"length": 0}, {"length": 3, "preread": b"abc"}, {"decoder": Digits(), "preread": b"3abc0"}):
            pipe = self.later(**more)
            self.assertEqual(self.told, ["received", "wanted"])
            downstream = MemoryTransport()
            pipe.deliver_to(downstream)
            self.assertTrue(self.outcome(pipe).clean)
            self.assertEqual(downstream.value(), b"abc" if len(more) > 1 else b"")

    def test_it_pauses_the_pipe(self) -> None:
        pipe = self.later()
        pipe.write(DATA)
        pipe.upstream_ended()
        self.downstream.room = 1
        pipe.deliver_to(self.downstream, b"HEAD ")
        self.assert_running(pipe)
        self.assertEqual(self.take_all(), b"HEAD " + DATA)
        self.assertTrue(self.outcome(pipe).clean)

    def test_once(self) -> None:
        pipe = self.later()
        pipe.deliver_to(self.downstream)
        self.assertRaises(RuntimeError, pipe.deliver_to, MemoryTransport())
        pipe = self.pipe(None, MemoryTransport())
        self.assertRaises(RuntimeError, pipe.deliver_to, MemoryTransport())

    def test_is_gone_already(self) -> None:
        pipe = self.later()
        pipe.write(b"abc")

        class Gone(StringTransport):
            def registerProducer(self, producer: Any, streaming: bool) -> None:
                producer.stopProducing()

            def unregisterProducer(self) -> None:
                pass

        pipe.deliver_to(Gone())
        self.assertEqual(errors_of(self.outcome(pipe)), ("downstream", "the connection was closed"))

    def test_no_clock(self) -> None:
        self.assertRaises(TypeError, self.pipe, self.upstream, None, clock=None)


class FullTests(AwaitedCase):
    """C{wanted} fires as soon as it can take no more, for then the owner has to connect at once."""

    def assert_full(self, **more: Any) -> None:
        pipe = self.later(**more)
        pipe.write(DATA)
        self.assertEqual((self.told, pipe.full, pipe.bytes_in < len(DATA)), (["wanted"], True, True))
        self.assertEqual(self.upstream.calls[-1], "pause")
        pipe.deliver_to(self.downstream)
        self.assertEqual((self.downstream.value(), pipe.full), (DATA, False))
        pipe.upstream_ended()
        self.assertEqual(self.told, ["wanted", "received"])
        self.assertTrue(self.outcome(pipe).clean)

    def test_nothing_may_be_spilled(self) -> None:
        self.assert_full(limits=NO_SPILL)

    def test_no_buffering(self) -> None:
        self.assert_full(limits=attrs.evolve(SMALL, buffering=False))

    def test_the_file_is_full(self) -> None:
        self.assert_full(limits=attrs.evolve(SMALL, max_temp_file_size=300))

    def test_the_disk_is_full(self) -> None:
        self.spill.on_write = raising(ENOSPC)
        self.assert_full()

    def test_the_quota_is_used_up(self) -> None:
        self.spill = FaultySpill()
        self.spill.quota = SpillQuota(200)
        self.assert_full()

    def test_not_before(self) -> None:
        pipe = self.later(limits=NO_SPILL)
        pipe.write(DATA[:399])
        self.assertEqual((self.told, pipe.full), ([], False))
        pipe.write(DATA[399:400])
        self.assertEqual((self.told, pipe.full), (["wanted"], True))


class EndTests(AwaitedCase):
    def test_given_up(self) -> None:
        pipe = self.later()
        pipe.write(DATA)
        pipe.abandon(Cancelled("enough"))
        self.assertEqual((str(self.outcome(pipe)), self.told), ("enough", ["received"]))
        self.assertNotIn(pipe, live_pipes)
        self.assertEqual(self.upstream.calls[-1], "stop")

    def test_a_downstream_that_comes_too_late_is_not_touched(self) -> None:
        pipe = self.later()
        pipe.abandon(Cancelled("enough"))
        self.assertRaises(PipeFinished, pipe.deliver_to, self.downstream)
        self.assertEqual((self.downstream.producer, self.downstream.ends, self.downstream.value()), (None, [], b""))

    def test_the_upstream_fails(self) -> None:
        """No downstream is needed any more; C{done} tells."""
        pipe = self.later(length=10)
        pipe.write(b"abc")
        pipe.upstream_ended()
        self.assertEqual(errors_of(self.outcome(pipe)), ("upstream", "ended 7 bytes before its announced length"))
        self.assertEqual(self.told, ["received"])

    def test_the_upstream_is_gone_already(self) -> None:
        self.upstream.disconnected = True
        self.assertEqual(errors_of(self.outcome(self.later())), ("upstream", "the connection is gone"))


class TimeTests(AwaitedCase):
    def timed(self, **timeouts: float) -> Any:
        pipe = self.later(limits=attrs.evolve(NO_SPILL, **timeouts))
        pipe.write(b"abc")
        return pipe

    def test_the_read_timeout_runs(self) -> None:
        pipe = self.timed(read_timeout=5)
        self.clock.advance(5)
        self.assertEqual(errors_of(self.outcome(pipe)), ("upstream", "read timeout of 5 s expired"))

    def test_the_send_timeout_does_not(self) -> None:
        pipe = self.timed(read_timeout=0, send_timeout=5)
        pipe.write(DATA)
        self.clock.advance(50)
        self.assert_running(pipe)

    def test_the_send_timeout_runs_from_when_it_came(self) -> None:
        pipe = self.timed(read_timeout=0, send_timeout=5)
        pipe.write(DATA)
        self.clock.advance(50)
        self.downstream.room = 1
        pipe.deliver_to(self.downstream)
        self.clock.advance(4.9)
        self.assert_running(pipe)
        self.clock.advance(0.2)
        self.assertEqual(errors_of(self.outcome(pipe)), ("downstream", "send timeout of 5 s expired"))

    def test_the_read_timeout_does_not_when_it_is_full(self) -> None:
        pipe = self.timed(read_timeout=5)
        pipe.write(DATA)
        self.clock.advance(50)
        self.assert_running(pipe)

    def test_the_idle_timeout_runs_while_bytes_may_come(self) -> None:
        pipe = self.timed(read_timeout=0, idle_timeout=5)
        self.clock.advance(5)
        self.assertEqual(str(self.outcome(pipe)), "idle timeout of 5 s expired")

    def test_the_idle_timeout_does_not_while_only_a_downstream_is_missing(self) -> None:
        for end in (True, False):
            pipe = self.timed(read_timeout=0, idle_timeout=5)
            pipe.write(DATA[:300] if end else DATA)
            if end:
                pipe.upstream_ended()
            for _ in range(20):
                self.clock.advance(1)
            self.assert_running(pipe)
            downstream = MemoryTransport(room=1)
            pipe.deliver_to(downstream)
            self.clock.advance(4.9)
            self.assert_running(pipe)
            self.clock.advance(0.2)
            self.assertEqual(str(self.outcome(pipe)), "idle timeout of 5 s expired")

    def test_the_total_timeout_runs(self) -> None:
        pipe = self.timed(read_timeout=0, total_timeout=5)
        pipe.upstream_ended()
        self.clock.advance(5)
        self.assertEqual(str(self.outcome(pipe)), "total timeout of 5 s expired")


class SocketTests(SocketCase):
    def test_from_socket_to_socket(self) -> None:
        pipe = self.pipe(self.up, None, keep_open=True)
        data = os.urandom(500_000)
        self.assertEqual(self.feed(data), len(data))
        self.assertGreater(pipe.bytes_spilled, 0)
        pipe.deliver_to(self.down, b"HEAD")
        got = self.drain()
        self.assertTrue(got == b"HEAD" + data)
        self.server.write(b"more")
        self.engine.settle()
        self.assertEqual((self.client.read(), pipe._relay.moved), (b"more", 4), "it is on its fast path now")
        self.server.half_close()
        self.engine.settle()
        self.assertTrue(self.outcome(pipe).clean)

    def test_a_length_that_is_only_half_there(self) -> None:
        pipe = self.pipe(self.up, None, length=10, keep_open=True)
        self.server.write(b"hello")
        self.engine.settle()
        pipe.deliver_to(self.down, b"HEAD ")
        self.engine.settle()
        self.assertEqual(self.client.read(), b"HEAD hello")
        self.server.write(b"world")
        self.engine.settle()
        self.assertEqual((self.client.read(), pipe._relay.moved), (b"world", 5))
        self.assertTrue(self.outcome(pipe).clean)

    def test_the_fast_path_is_not_taken_before(self) -> None:
        pipe = self.pipe(self.up, None)
        self.server.write(b"hello")
        self.engine.settle()
        self.assertEqual((pipe._relay, pipe.bytes_in, self.client.read()), (None, 5, b""))

    def test_the_upstream_goes_before(self) -> None:
        pipe = self.pipe(self.up, None, length=10)
        self.server.write(b"hello")
        self.server.close()
        self.engine.settle()
        self.assertEqual(errors_of(self.outcome(pipe)), ("upstream", "ended 5 bytes before its announced length"))
        self.assertEqual(self.down_protocol.lost, [])

    def test_a_rate_that_changes_before(self) -> None:
        pipe = self.pipe(self.up, None, limits=attrs.evolve(self.limits, limit_rate=1000))
        pipe.limit_rate = 0
        self.server.write(b"hello")
        self.engine.settle()
        pipe.deliver_to(self.down)
        self.engine.settle()
        self.assertEqual(self.client.read(), b"hello")
