from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.proxies.watch import NEVER, Watch


class Member:
    """A session that may be silent for C{timeout} seconds."""

    def __init__(self, clock: Clock, timeout: float) -> None:
        self.clock = clock
        self.timeout = timeout
        self.last = clock.seconds()
        self.expired: list[float] = []

    def due(self) -> float:
        return self.last + self.timeout

    def expire(self) -> None:
        if self.due() <= self.clock.seconds():
            self.expired.append(self.clock.seconds())
            self.timeout = NEVER


class WatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.members: set[Member] = set()

    def watch(self, *timeouts: float) -> Watch:
        return Watch(self.clock, timeouts, self.members)

    def member(self, timeout: float) -> Member:
        member = Member(self.clock, timeout)
        self.members.add(member)
        return member

    def pass_time(self, seconds: float, step: float = 0.125) -> None:
        for _ in range(round(seconds / step)):
            self.clock.advance(step)

    def test_period(self) -> None:
        """A quarter of the shortest timeout, within bounds; those that are off do not count."""
        for timeouts, period in (
            ((60.0, 600.0, 5.0), 1.25),
            ((60.0, 600.0, 0.0), 15.0),
            ((600.0,), 15.0),
            ((0.0, 0.0), 15.0),
            ((), 15.0),
            ((0.01,), 0.02),
        ):
            self.assertEqual(self.watch(*timeouts).period, period, timeouts)

    def test_exact_to_the_moment(self) -> None:
        """However the timeout lies to the looks."""
        for timeout in (10.0, 10.125, 11.0, 12.5, 13.875):
            watch = self.watch(10.0)
            member = self.member(timeout)
            watch.start()
            begun = self.clock.seconds()
            self.pass_time(20)
            self.assertEqual(member.expired, [begun + timeout])
            watch.stop()
            self.members.clear()

    def test_shorter_than_any_it_was_told_of_is_late_by_a_period_at_most(self) -> None:
        watch = self.watch(10.0)
        member = self.member(1.0)
        watch.start()
        self.pass_time(20)
        self.assertEqual(member.expired, [watch.period])

    def test_progress_postpones_and_costs_nothing(self) -> None:
        watch = self.watch(10.0)
        member = self.member(10.0)
        watch.start()
        for _ in range(50):
            self.pass_time(1)
            member.last = self.clock.seconds()
            self.assertTrue(len(self.clock.getDelayedCalls()) <= 1)
        self.assertEqual(member.expired, [])
        last = member.last
        self.pass_time(20)
        self.assertEqual(member.expired, [last + 10.0])

    def test_progress_in_the_last_moment(self) -> None:
        """After the exact call was made, which then finds that it is not due."""
        watch = self.watch(10.0)
        member = self.member(9.0)
        watch.start()
        self.pass_time(8.875)
        self.assertEqual(len(self.clock.getDelayedCalls()), 2)
        member.last = self.clock.seconds()
        self.pass_time(8.875)
        self.assertEqual(member.expired, [])
        self.pass_time(0.125)
        self.assertEqual(member.expired, [17.875])

    def test_one_call_for_many(self) -> None:
        watch = self.watch(10.0)
        for _ in range(1000):
            self.member(10.0)
            watch.start()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.pass_time(5)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_each_has_its_own_time(self) -> None:
        watch = self.watch(10.0)
        first = self.member(10.0)
        watch.start()
        self.pass_time(3)
        second = self.member(10.0)
        watch.start()
        self.pass_time(12)
        self.assertEqual((first.expired, second.expired), ([10.0], [13.0]))

    def test_forgotten(self) -> None:
        watch = self.watch(10.0)
        member = self.member(9.0)
        watch.start()
        self.pass_time(8)
        self.assertEqual(len(self.clock.getDelayedCalls()), 2)
        self.members.discard(member)
        watch.forget(member)
        watch.forget(member)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.pass_time(20)
        self.assertEqual(member.expired, [])

    def test_forgotten_from_within(self) -> None:
        """As a session does that ends because of its timeout."""
        watch = self.watch(10.0)
        member = self.member(10.0)
        ended: list[float] = []

        def end() -> None:
            ended.append(self.clock.seconds())
            self.members.discard(member)
            watch.forget(member)

        member.expire = end  # type: ignore[method-assign]
        watch.start()
        self.pass_time(30)
        self.assertEqual(ended, [10.0])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stops_when_nobody_is_left(self) -> None:
        watch = self.watch(10.0)
        member = self.member(NEVER)
        watch.start()
        self.pass_time(100)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.members.discard(member)
        self.pass_time(watch.period)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        newcomer = self.member(10.0)
        watch.start()
        begun = self.clock.seconds()
        self.pass_time(20)
        self.assertEqual(newcomer.expired, [begun + 10])

    def test_stopped(self) -> None:
        watch = self.watch(10.0)
        member = self.member(9.0)
        watch.start()
        self.pass_time(8)
        self.assertEqual(len(self.clock.getDelayedCalls()), 2)
        watch.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        watch.stop()
        watch.forget(member)
        self.clock.advance(100)
        self.assertEqual(member.expired, [])

    def test_stopped_from_within_a_look(self) -> None:
        watch = self.watch(10.0)
        member = self.member(10.0)
        member.expire = watch.stop  # type: ignore[method-assign]
        watch.start()
        self.pass_time(30)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_overdue_is_looked_at_again_only_each_period(self) -> None:
        """A member that is due and does nothing makes no spin."""
        watch = self.watch(10.0)
        member = self.member(10.0)
        calls: list[float] = []
        member.expire = lambda: calls.append(self.clock.seconds())  # type: ignore[method-assign]
        watch.start()
        self.pass_time(20)
        self.assertTrue(len(calls) <= 6, calls)

    def test_one_that_raises_does_not_keep_the_others(self) -> None:
        watch = self.watch(10.0)
        bad, good = self.member(10.0), self.member(10.0)

        def fail() -> None:
            raise ZeroDivisionError

        bad.expire = fail  # type: ignore[method-assign]
        watch.start()
        with self.assertRaises(ZeroDivisionError):
            self.pass_time(20)
        bad.timeout = NEVER
        self.pass_time(20)
        self.assertEqual(len(good.expired), 1)
