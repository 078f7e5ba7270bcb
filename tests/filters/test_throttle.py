"""The rate limit, in time that only the test moves."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.base import FilterPlugin
from twisted_pipe.filters.throttle import Throttle
from twisted_pipe.interfaces import FilterContext


class Pull:
    """
    Pulls a throttle as the pipe would: waits for each Deferred, and asks for more as soon as it may.

    @ivar passed: when each piece came, and how long it was.
    """

    def __init__(self, rate: int, burst: int = 0, now: float = 0.0) -> None:
        self.clock = Clock()
        self.clock.advance(now)
        self.throttle = Throttle(FilterContext(clock=self.clock), rate=rate, burst=burst)
        self.passed: list[tuple[float, int]] = []
        self.total = 0
        self.pieces: list[memoryview] = []
        self.waiting: list[bytes] = []
        self.current: Generator[Any, Any, None] | None = None
        self.failures: list[Failure] = []
        assert list(self.throttle.started()) == []

    def feed(self, *chunks: bytes) -> None:
        self.waiting += chunks
        if self.current is None:
            self._advance(None)

    def _advance(self, result: object) -> None:
        while True:
            if self.current is None:
                if not self.waiting:
                    return
                lent = memoryview(self.waiting.pop(0))
                self.current = cast("Generator[Any, Any, None]", self.throttle.received(lent))
                result = None
            try:
                item = self.current.send(result)
            except StopIteration:
                self.current = None
                continue
            result = None
            if isinstance(item, Deferred):
                item.addCallbacks(self._advance, self.failures.append)
                return
            self.passed.append((self.clock.seconds(), len(item)))
            self.total += len(item)
            self.pieces.append(item)

    def run(self, seconds: float) -> None:
        """Let time pass, every timer firing when it is due."""
        end = self.clock.seconds() + seconds
        while (calls := self.clock.getDelayedCalls()) and calls[0].getTime() <= end + 1e-9:
            self.clock.rightNow = calls[0].getTime()
            self.clock.advance(0)
        self.clock.rightNow = end


class RateTests(SynchronousTestCase):
    def test_slices_at_equal_times(self) -> None:
        pull = Pull(1000)
        pull.feed(bytes(200))
        pull.run(1)
        self.assertEqual(
            [(round(time, 3), size) for time, size in pull.passed], [(0, 50), (0.05, 50), (0.1, 50), (0.15, 50)]
        )
        self.assertEqual(pull.clock.getDelayedCalls(), [])

    def test_the_same_bytes_in_the_same_order(self) -> None:
        data = bytes(range(256)) * 5
        for cut in (1, 7, 50, 51, 1000, len(data)):
            pull = Pull(10_000)
            pull.feed(*[data[at : at + cut] for at in range(0, len(data), cut)])
            pull.run(1)
            self.assertEqual(b"".join(pull.pieces), data)

    def test_long_run_is_exact(self) -> None:
        """
        For rates of which no slice takes whole milliseconds, and chunks of any size: never more than a slice ahead, or a
        millisecond behind, however long it runs.
        """
        for rate in (1, 3, 7, 333, 1000, 102_400, 1_000_003):
            for chunk in (1, 13, 1460, 32768):
                pull = Pull(rate)
                seconds = 20
                enough = min(rate * seconds * 2 // chunk + 2, 4000)
                pull.feed(*[bytes(chunk)] * enough)
                ahead, behind = max(rate // 20, 1), rate // 1000 + 1
                for second in range(1, seconds + 1):
                    pull.run(1)
                    due = rate * second
                    if due < enough * chunk:
                        self.assertTrue(-behind <= pull.total - due <= ahead, (rate, chunk, second, pull.total - due))

    def test_half_milliseconds_add_up_to_nothing(self) -> None:
        """The clock is read in whole milliseconds; here every reading is rounded."""
        pull = Pull(999, now=0.0625)
        pull.feed(bytes(200_000))
        pull.run(100)
        self.assertTrue(99_900 <= pull.total <= 99_900 + 49, pull.total)

    def test_never_ahead(self) -> None:
        pull = Pull(999)
        pull.feed(bytes(3000))
        pull.run(2)
        passed = 0
        for time, size in pull.passed:
            self.assertTrue(passed <= 999 * time + 0.001, (time, passed))
            passed += size
        self.assertTrue(passed >= 999 * 2, passed)

    def test_slices_are_bounded(self) -> None:
        pull = Pull(102_400, burst=10**6)
        pull.feed(bytes(32768))
        self.assertEqual({size for _, size in pull.passed}, {5120, 32768 % 5120})

    def test_late_timers_lose_nothing(self) -> None:
        """A reactor too busy to fire in time: what is late comes at once, and the rate stays what it was."""
        pull = Pull(1000)
        pull.feed(bytes(100_000))
        pull.clock.pump([0.4] * 25)
        self.assertEqual(pull.total, 10_000 + 50)

    def test_slices_are_lent_not_copied(self) -> None:
        data = memoryview(b"x" * 40)
        [piece] = Pull(1000).throttle.received(data)
        self.assertIs(cast(memoryview, piece).obj, data.obj)


class PauseTests(SynchronousTestCase):
    def after_a_pause(self, burst: int) -> int:
        """Bytes passed at once when data comes again after an hour."""
        pull = Pull(1000, burst=burst)
        pull.feed(bytes(1000))
        pull.run(2)
        pull.clock.advance(3600)
        before = pull.total
        pull.feed(bytes(10_000))
        return pull.total - before

    def test_a_pause_earns_the_burst_and_no_more(self) -> None:
        self.assertEqual(self.after_a_pause(0), 50)
        self.assertEqual(self.after_a_pause(500), 550)

    def test_burst_at_the_start(self) -> None:
        pull = Pull(1000, burst=500)
        pull.feed(bytes(10_000))
        self.assertEqual(pull.total, 550)
        pull.run(1)
        self.assertEqual(pull.total, 1550)

    def test_a_client_that_does_not_take_is_a_pause(self) -> None:
        pull = Pull(1000)
        output = cast("Generator[Any, Any, None]", pull.throttle.received(memoryview(bytes(1000))))
        self.assertEqual(len(next(output)), 50)
        pull.clock.advance(3600)
        self.assertEqual(len(next(output)), 50)
        self.assertIsInstance(next(output), Deferred)

    def test_clock_set_back(self) -> None:
        pull = Pull(1000)
        pull.feed(bytes(10_000))
        pull.run(0.5)
        pull.clock.rightNow -= 0.5
        for call in pull.clock.getDelayedCalls():
            call.reset(0.05)
        before = pull.total
        pull.run(1)
        self.assertTrue(950 <= pull.total - before <= 1050, pull.total - before)

    def test_clock_set_forward(self) -> None:
        pull = Pull(1000)
        pull.feed(bytes(100_000))
        pull.clock.advance(3600)
        self.assertEqual(pull.total, 50 + 50 + 1000 + 50)


class StopTests(SynchronousTestCase):
    def test_pending_delay_is_cancelled(self) -> None:
        pull = Pull(1000)
        pull.feed(bytes(1000))
        self.assertEqual(len(pull.clock.getDelayedCalls()), 1)
        pull.throttle.stopped(RuntimeError("broken off"))
        self.assertEqual(pull.clock.getDelayedCalls(), [])
        self.assertEqual([failure.check(CancelledError) for failure in pull.failures], [CancelledError])

    def test_cancelled_delay_that_nobody_took_is_silent(self) -> None:
        pull = Pull(1000)
        output = iter(pull.throttle.received(memoryview(bytes(1000))))
        self.assertEqual([type(next(output)) for _ in range(2)], [memoryview, Deferred])
        del output
        pull.throttle.stopped(None)
        del pull
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_nothing_pending(self) -> None:
        for data in (b"", bytes(70)):
            pull = Pull(1000)
            pull.feed(*([data] if data else []))
            pull.run(1)
            pull.throttle.stopped(None)
            self.assertEqual(pull.failures, [])


class OptionTests(SynchronousTestCase):
    plugin = FilterPlugin("throttle", "", "twisted_pipe.filters.throttle:Throttle")

    def refused(self, **options: str) -> str:
        return str(self.assertRaises(BadConfiguration, self.plugin.configure, options))

    def test_rate_and_burst(self) -> None:
        built = self.plugin.configure({"rate": "100k", "burst": "1m"}).build(FilterContext())
        self.assertEqual(built, Throttle(FilterContext(), rate=102_400, burst=1 << 20))

    def test_refused(self) -> None:
        self.assertEqual(
            self.refused(), "filter throttle: rate: None: has to be given: the most to pass on, such as 100k"
        )
        self.assertEqual(self.refused(rate="0"), "filter throttle: rate: '0': must be at least 1")
        self.assertIn("filter throttle: burst: '-1': a size", self.refused(rate="1", burst="-1"))
