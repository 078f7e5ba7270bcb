from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.net.deadline import Deadline


class DeadlineTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.expired: list[float] = []

    def deadline(self, seconds: float) -> Deadline:
        return Deadline(self.clock, seconds, lambda: self.expired.append(self.clock.seconds()))

    def run_for(self, seconds: float, step: float = 0.25) -> None:
        for _ in range(round(seconds / step)):
            self.clock.advance(step)

    def test_it_comes(self) -> None:
        deadline = self.deadline(10)
        self.assertFalse(deadline.running)
        deadline.restart(0.0)
        self.assertTrue(deadline.running)
        self.run_for(30)
        self.assertEqual(self.expired, [10.0])
        self.assertFalse(deadline.running)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_it_is_moved(self) -> None:
        deadline = self.deadline(10)
        for second in range(20):
            deadline.restart(float(second))
            self.clock.advance(1)
        self.assertEqual(self.expired, [])
        self.run_for(20)
        self.assertEqual(self.expired, [29.0])

    def test_moving_makes_no_timers(self) -> None:
        deadline = self.deadline(10)
        deadline.restart(0.0)
        (call,) = self.clock.getDelayedCalls()
        for step in range(9):
            self.clock.advance(1)
            deadline.restart(self.clock.seconds())
            self.assertEqual(self.clock.getDelayedCalls(), [call], step)
            self.assertEqual(call.getTime(), 10.0)

    def test_re_arm_within_299_ms_keeps_300_ms_moves(self) -> None:
        """nginx's rule, for its price of moving a timer. Ours is never moved, and the deadline is exact all the same."""
        for after in (0.25, 0.299, 0.3, 0.5):
            clock = Clock()
            expired: list[float] = []
            deadline = Deadline(clock, 10, lambda clock=clock, expired=expired: expired.append(clock.seconds()))
            deadline.restart(0.0)
            (call,) = clock.getDelayedCalls()
            clock.advance(after)
            deadline.restart(after)
            self.assertEqual((clock.getDelayedCalls(), call.getTime()), ([call], 10.0))
            clock.advance(10 - after)
            self.assertEqual(expired, [], after)
            clock.advance(after)
            self.assertEqual(expired, [10 + after])
            self.assertEqual(clock.getDelayedCalls(), [])

    def test_stopped(self) -> None:
        deadline = self.deadline(10)
        deadline.restart(0.0)
        deadline.stop()
        self.assertFalse(deadline.running)
        self.run_for(30)
        self.assertEqual(self.expired, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped_and_started_again(self) -> None:
        deadline = self.deadline(10)
        deadline.restart(0.0)
        deadline.stop()
        self.run_for(4)
        deadline.restart(4.0)
        self.run_for(30)
        self.assertEqual(self.expired, [14.0])

    def test_cancelled(self) -> None:
        deadline = self.deadline(10)
        deadline.cancel()
        deadline.restart(0.0)
        deadline.cancel()
        deadline.cancel()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertFalse(deadline.running)

    def test_zero_is_never(self) -> None:
        deadline = self.deadline(0)
        deadline.restart(0.0)
        self.assertFalse(deadline.running)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_restarted_when_it_comes(self) -> None:
        deadline = Deadline(self.clock, 10, lambda: (self.expired.append(1), deadline.restart(self.clock.seconds())))
        deadline.restart(0.0)
        self.run_for(35)
        self.assertEqual(len(self.expired), 3)
        deadline.cancel()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_from_a_time_that_has_passed(self) -> None:
        """It comes C{seconds} after the C{now} that it is given, also when that is a while ago."""
        self.clock.advance(6)
        deadline = self.deadline(10)
        deadline.restart(0.0)
        self.run_for(30)
        self.assertEqual(self.expired, [10.0])
