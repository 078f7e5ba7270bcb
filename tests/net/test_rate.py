"""The rate of a pipe: exact, and changed while it runs."""

from __future__ import annotations

import os
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from tests.net.disks import NO_SPILL, DiskCase
from tests.net.fakes import Engine, PipeCase, Recorder, WatchedSpill
from twisted_pipe.errors import BadConfiguration, Cancelled
from twisted_pipe.limits import KIB, PipeLimits
from twisted_pipe.proxies.context import ProxyContext
from twisted_pipe.proxies.settings import ProxySettings
from twisted_pipe.proxies.tcp import TcpProxyFactory
from twisted_pipe.upstream.group import UpstreamGroup, UpstreamServer

LIMITS = PipeLimits(buffers=4, buffer_size=4 * KIB, read_timeout=0, send_timeout=0)


class RateCase(DiskCase):
    limits = LIMITS

    def rated(self, rate: int, after: int = 0, **more: Any) -> Any:
        return self.start(limits=attrs.evolve(LIMITS, limit_rate=rate, limit_rate_after=after, **more))

    def run_for(self, seconds: float) -> None:
        """Each delayed call at its time."""
        end = self.clock.seconds() + seconds
        while (calls := self.clock.getDelayedCalls()) and min(call.getTime() for call in calls) <= end:
            self.clock.advance(max(0.0, min(call.getTime() for call in calls) - self.clock.seconds()))
        self.clock.advance(end - self.clock.seconds())

    def measure(self, pipe: Any, seconds: float = 5) -> float:
        """Bytes a second."""
        before = pipe.bytes_in
        self.run_for(seconds)
        return float(pipe.bytes_in - before) / seconds

    def assert_rate(self, pipe: Any, rate: float, seconds: float = 5) -> None:
        """To 2 %."""
        found = self.measure(pipe, seconds)
        self.assertTrue(abs(found - rate) <= rate * 0.02, f"{found} instead of {rate}")


class ExactTests(RateCase):
    def test_to_two_percent_over_five_seconds(self) -> None:
        for rate in (100, 1000, 12_345, 1_000_000, 33_333_333):
            self.renew()
            pipe = self.rated(rate)
            pipe.write(bytes(rate * 6))
            self.assert_rate(pipe, rate)
            pipe.abandon(Cancelled("enough"))

    def test_with_a_timer_that_is_late(self) -> None:
        pipe = self.rated(10_000)
        pipe.write(bytes(100_000))
        for _ in range(50):
            self.clock.advance(0.1)
        self.assertTrue(abs(pipe.bytes_in - 50_000) <= 1000, pipe)

    def test_in_many_small_pieces(self) -> None:
        pipe = self.rated(10_000)
        for _ in range(5000):
            pipe.write(bytes(30))
            self.run_for(0.001)
        self.assertTrue(abs(pipe.bytes_in - 50_000) <= 1000, pipe)

    def test_of_a_pipe_that_spills(self) -> None:
        self.downstream.room = 1
        pipe = self.rated(10_000, buffer_size=100, buffers=4, busy_size=200, temp_file_write_size=200)
        pipe.write(bytes(100_000))
        self.assert_rate(pipe, 10_000)
        self.assertTrue(pipe.bytes_spilled > 40_000)

    def test_none(self) -> None:
        pipe = self.rated(0)
        pipe.write(bytes(1_000_000))
        self.run_for(0.001)
        self.assertEqual((pipe.limit_rate, pipe.bytes_in), (0, 1_000_000))


class PrereadTests(RateCase):
    """What came with the head was read from the upstream, too: it is passed on at once, and made up for."""

    def prelude(self, count: int, rate: int, after: int = 0) -> Any:
        pipe = self.start(preread=bytes(count), limits=attrs.evolve(LIMITS, limit_rate=rate, limit_rate_after=after))
        self.assertEqual(pipe.bytes_out, count)
        pipe.write(bytes(100_000))
        return pipe

    def test_it_counts(self) -> None:
        pipe = self.prelude(10_000, 1000)
        self.run_for(9.9)
        self.assertEqual(pipe.bytes_in, 10_000)
        self.run_for(0.2)
        self.assert_rate(pipe, 1000)
        self.run_for(20 - self.clock.seconds())
        self.assertTrue(abs(pipe.bytes_in - 20_000) <= 400, pipe)

    def test_only_what_is_beyond_the_free_bytes(self) -> None:
        pipe = self.prelude(10_000, 1000, after=8000)
        self.run_for(1.9)
        self.assertEqual(pipe.bytes_in, 10_000)
        self.run_for(8.1)
        self.assertTrue(abs(pipe.bytes_in - 18_000) <= 400, pipe)

    def test_a_stream_that_is_whole_does_not_wait_for_it(self) -> None:
        pipe = self.start(preread=bytes(10_000), length=10_000, limits=attrs.evolve(LIMITS, limit_rate=1))
        self.assertTrue(self.outcome(pipe).clean)

    def test_a_faster_rate_makes_up_for_it_sooner(self) -> None:
        pipe = self.prelude(10_000, 1000)
        pipe.limit_rate = 10_000
        self.run_for(0.9)
        self.assertEqual(pipe.bytes_in, 10_000)
        self.run_for(1.1)
        self.assertTrue(abs(pipe.bytes_in - 20_000) <= 4000, pipe)


class AfterTests(RateCase):
    def test_the_first_bytes_are_free(self) -> None:
        pipe = self.rated(1000, after=20_000)
        pipe.write(bytes(100_000))
        self.assertTrue(20_000 <= pipe.bytes_in <= 20_020, pipe)
        self.assert_rate(pipe, 1000)

    def test_to_the_byte(self) -> None:
        pipe = self.rated(50, after=1234)
        pipe.write(bytes(10_000))
        self.assertEqual(pipe.bytes_in, 1234 + 1)

    def test_they_are_free_however_late_they_come(self) -> None:
        pipe = self.rated(1000, after=20_000)
        pipe.write(bytes(5000))
        self.run_for(100)
        pipe.write(bytes(15_000))
        self.assertEqual(pipe.bytes_in, 20_000)

    def test_the_preread_bytes_count(self) -> None:
        pipe = self.start(preread=bytes(150), limits=attrs.evolve(LIMITS, limit_rate=50, limit_rate_after=200))
        pipe.write(bytes(1000))
        self.assertEqual(pipe.bytes_in, 201)

    def test_less_than_that_is_never_delayed(self) -> None:
        pipe = self.rated(1, after=1 << 20)
        pipe.write(bytes(1 << 20))
        pipe.upstream_ended()
        self.run_for(1)
        self.assertTrue(self.outcome(pipe).clean)


class ChangedTests(RateCase):
    def limited(self, rate: int) -> Any:
        pipe = self.rated(rate)
        pipe.write(bytes(2_000_000))
        self.run_for(1)
        return pipe

    def test_up(self) -> None:
        pipe = self.limited(1000)
        pipe.limit_rate = 100_000
        self.assertEqual(pipe.limit_rate, 100_000)
        self.assert_rate(pipe, 100_000)

    def test_down(self) -> None:
        pipe = self.limited(100_000)
        pipe.limit_rate = 1000
        self.assert_rate(pipe, 1000)

    def test_up_from_next_to_nothing_is_no_burst(self) -> None:
        """Time waited for at the old rate is not paid for at the new one."""
        pipe = self.limited(2)
        self.run_for(0.4)
        pipe.limit_rate = 100_000
        self.assert_rate(pipe, 100_000)

    def test_at_once_and_not_when_the_delay_is_over(self) -> None:
        pipe = self.limited(1)
        before = pipe.bytes_in
        pipe.limit_rate = 1_000_000
        self.run_for(0.1)
        self.assertTrue(pipe.bytes_in - before > 50_000, pipe)

    def test_to_none(self) -> None:
        pipe = self.limited(1000)
        pipe.limit_rate = 0
        self.run_for(0.001)
        self.assertEqual((pipe.limit_rate, pipe.bytes_in), (0, 2_000_000))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_from_none(self) -> None:
        pipe = self.rated(0)
        pipe.write(bytes(1000))
        pipe.limit_rate = 10_000
        pipe.write(bytes(100_000))
        self.assertTrue(pipe.bytes_in <= 1200, pipe)
        self.assert_rate(pipe, 10_000)

    def test_many_times(self) -> None:
        pipe = self.limited(1000)
        before = pipe.bytes_in
        for second in range(10):
            pipe.limit_rate = 50_000 if second % 2 else 10_000
            self.run_for(0.5)
        self.assertTrue(abs(pipe.bytes_in - before - 150_000) <= 3000, pipe.bytes_in - before)

    def test_while_the_client_is_stuck(self) -> None:
        self.downstream.room = 1
        pipe = self.start(limits=attrs.evolve(NO_SPILL, limit_rate=1000))
        pipe.write(bytes(10_000))
        self.run_for(2)
        blocked = pipe.bytes_in
        pipe.limit_rate = 100_000
        self.run_for(1)
        self.assertEqual((pipe.bytes_in, pipe.upstream_blocked), (blocked, True))

    def test_of_a_pipe_that_has_ended(self) -> None:
        pipe = self.limited(1000)
        pipe.done.cancel()
        for rate in (0, 5, 0):
            pipe.limit_rate = rate
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_is_no_rate_is_refused(self) -> None:
        pipe = self.limited(1000)
        for wrong in (-1, 0.5, True, None, "1k"):
            with self.assertRaises(BadConfiguration) as caught:
                pipe.limit_rate = wrong
            self.assertEqual(caught.exception.name, "limit_rate")
        self.assertEqual(pipe.limit_rate, 1000)


class SocketTests(PipeCase):
    """On sockets a pipe without a rate is on its fast path, and has to leave it."""

    limits = LIMITS

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

    def move(self, seconds: float) -> int:
        """How many bytes come out while the upstream sends as much as it may."""
        got = 0
        for _ in range(round(seconds / 0.01)):
            self.server.write(bytes(20_000))
            self.engine.clock.advance(0.01)
            self.engine.turn(3)
            got += len(self.client.read())
        return got

    def assert_moves(self, rate: int) -> None:
        found = self.move(5) / 5
        self.assertTrue(abs(found - rate) <= rate * 0.02, f"{found} instead of {rate}")

    def test_exact(self) -> None:
        pipe: Any = self.pipe(self.up, self.down, limits=attrs.evolve(LIMITS, limit_rate=20_000))
        self.assert_moves(20_000)
        self.assertEqual(pipe.bytes_in, pipe.bytes_out)

    def test_from_none_on_the_fast_path(self) -> None:
        pipe: Any = self.pipe(self.up, self.down)
        self.assertTrue(self.move(1) > 1_000_000)
        self.assertTrue(pipe._relay.moved > 0, "it was on its fast path")
        pipe.limit_rate = 20_000
        moved = pipe._relay.moved
        self.assert_moves(20_000)
        self.assertEqual(pipe._relay.moved, moved, "it has left it")

    def test_from_none_while_nothing_comes(self) -> None:
        pipe: Any = self.pipe(self.up, self.down)
        self.server.write(b"x")
        self.engine.settle()
        pipe.limit_rate = 20_000
        self.engine.advance(1)
        self.assert_moves_after_idling(20_000)

    def assert_moves_after_idling(self, rate: int) -> None:
        """A quarter of a second's worth may have been saved up."""
        found = self.move(5)
        self.assertTrue(rate * 4.9 <= found <= rate * 5.35, found)

    def test_to_none_it_goes_back_to_the_fast_path(self) -> None:
        pipe: Any = self.pipe(self.up, self.down, limits=attrs.evolve(LIMITS, limit_rate=20_000))
        self.move(0.5)
        self.assertEqual(pipe._relay.moved, 0)
        pipe.limit_rate = 0
        self.assertTrue(self.move(1) > 1_000_000)
        self.assertTrue(pipe._relay.moved > 500_000, pipe._relay)

    def test_no_byte_is_lost_by_changing(self) -> None:
        pipe: Any = self.pipe(self.up, self.down)
        data = os.urandom(1_000_000)
        sent, got = 0, b""
        for turn in range(3000):
            if turn % 7 == 0:
                pipe.limit_rate = (0, 5_000_000, 0, 1_000_000)[turn // 7 % 4]
            sent += self.server.write(data[sent : sent + 5000])
            self.engine.clock.advance(0.001)
            self.engine.turn()
            got += self.client.read()
            if len(got) == len(data):
                break
        self.assertEqual(got, data)
        self.assertEqual((pipe.bytes_in, pipe.bytes_out), (len(data), len(data)))


class ProxyTests(SynchronousTestCase):
    """Up and down separately."""

    def factory(self, **settings: Any) -> TcpProxyFactory:
        engine = Engine(self)
        group = UpstreamGroup([UpstreamServer("origin:80", None, ("127.0.0.1", 1))])
        spill = WatchedSpill("/var/tmp")
        factory = TcpProxyFactory(ProxyContext(group, ProxySettings(**settings), spill, engine.reactor))
        self.addCleanup(factory.shutdown)
        return factory

    def test_the_response_only(self) -> None:
        factory = self.factory(limits=PipeLimits(limit_rate=1000))
        self.assertEqual((factory.settings.limits.limit_rate, factory.settings.request_limits.limit_rate), (1000, 0))
        self.assertEqual((factory.tunnel.plain_response, factory.tunnel.plain_request), (False, True))

    def test_the_request_only(self) -> None:
        factory = self.factory(upload_rate=500)
        self.assertEqual((factory.settings.limits.limit_rate, factory.settings.request_limits.limit_rate), (0, 500))
        self.assertEqual((factory.tunnel.plain_response, factory.tunnel.plain_request), (True, False))

    def test_both(self) -> None:
        factory = self.factory(limits=PipeLimits(limit_rate=1000), upload_rate=500)
        self.assertEqual((factory.settings.limits.limit_rate, factory.settings.request_limits.limit_rate), (1000, 500))
        self.assertEqual((factory.tunnel.plain_response, factory.tunnel.plain_request), (False, False))

    def test_limit_rate_after_is_the_responses(self) -> None:
        """C{--limit-rate-after}: "of each connection's response"."""
        settings = ProxySettings(limits=PipeLimits(limit_rate=1000, limit_rate_after=10_000), upload_rate=500)
        self.assertEqual(settings.request_limits.limit_rate_after, 0)

    def test_what_is_no_rate_is_refused_when_it_is_set(self) -> None:
        with self.assertRaises(BadConfiguration) as caught:
            ProxySettings(upload_rate=-1)
        self.assertEqual(caught.exception.name, "upload_rate")
