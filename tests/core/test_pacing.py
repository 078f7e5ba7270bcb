"""The rate, in time that only the test moves."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.core.pacing import Pacer


def drain(pacer: Pacer, start: float, seconds: float, chunk: int = 1 << 40) -> int:
    """What passes in C{seconds} if there is always more, each read at most C{chunk} bytes and every timer in time."""
    now, total = start, 0
    while now <= start + seconds:
        budget = pacer.budget(now)
        if budget:
            count = min(budget, chunk)
            pacer.passed(count)
            total += count
        else:
            now += max(pacer.delay(now), 1e-9)
    return total


class PacerTests(SynchronousTestCase):
    def test_starts_with_a_quantum(self) -> None:
        """20 ms worth, where nginx lets a whole second's worth through at once."""
        self.assertEqual(Pacer(1000, 5.0).budget(5.0), 20)
        self.assertEqual(Pacer(1_000_000, 5.0).budget(5.0), 20_000)

    def test_the_quantum_is_at_least_a_byte(self) -> None:
        pacer = Pacer(1, 0.0)
        self.assertEqual(pacer.budget(0.0), 1)
        pacer.passed(1)
        self.assertEqual((pacer.budget(0.5), pacer.delay(0.5)), (0, 0.5))
        self.assertEqual(pacer.budget(1.0), 1)

    def test_nothing_passes_until_a_quantum_is_there(self) -> None:
        pacer = Pacer(1000, 0.0)
        pacer.passed(pacer.budget(0.0))
        self.assertEqual([pacer.budget(0.005), pacer.budget(0.019), pacer.budget(0.02)], [0, 0, 20])

    def test_delay_is_what_is_missing(self) -> None:
        pacer = Pacer(1000, 0.0)
        self.assertEqual(pacer.delay(0.0), 0.0)
        pacer.passed(20)
        self.assertAlmostEqual(pacer.delay(0.0), 0.02)
        self.assertAlmostEqual(pacer.delay(0.015), 0.005)
        self.assertEqual(pacer.delay(7.0), 0.0)

    def test_less_than_the_budget_leaves_the_rest(self) -> None:
        pacer = Pacer(1000, 0.0)
        pacer.budget(0.1)
        pacer.passed(70)
        self.assertEqual(pacer.budget(0.1), 50)

    def test_a_late_timer_loses_nothing(self) -> None:
        pacer = Pacer(1000, 0.0)
        pacer.passed(pacer.budget(0.0))
        self.assertEqual(pacer.budget(0.2), 200)

    def test_an_idle_hour_saves_a_quarter_of_a_second(self) -> None:
        self.assertEqual(Pacer(1000, 0.0).budget(3600.0), 250)

    def test_slow_rates_save_a_quantum(self) -> None:
        self.assertEqual(Pacer(2, 0.0).budget(3600.0), 1)

    def test_asking_is_free(self) -> None:
        pacer = Pacer(1000, 0.0)
        for moment in range(100):
            pacer.budget(moment / 1000)
            pacer.delay(moment / 1000)
        self.assertEqual(pacer.budget(0.1), 120)

    def test_the_long_run_is_exact(self) -> None:
        """For rates of which no quantum is a whole number, and reads of any size."""
        for rate in (1, 7, 333, 1000, 102_400):
            for chunk in (1, 13, 1 << 40):
                quantum = max(1, rate // 50)
                seconds = 10 if chunk > 1 else 1
                total = drain(Pacer(rate, 100.0), 100.0, seconds, chunk)
                self.assertTrue(rate * seconds - 1 <= total <= rate * seconds + quantum + 1, (rate, chunk, total))

    def test_never_more_than_a_quantum_ahead(self) -> None:
        pacer, total = Pacer(999, 0.0), 0
        for moment in range(0, 5000, 3):
            count = pacer.budget(moment / 1000)
            pacer.passed(count)
            total += count
            self.assertTrue(total <= 999 * moment / 1000 + 999 * 0.02 + 0.001, (moment, total))

    def test_the_rate_may_change(self) -> None:
        pacer = Pacer(1000, 0.0)
        pacer.passed(pacer.budget(0.0))
        pacer.rate = 100
        self.assertAlmostEqual(pacer.delay(0.0), 0.02)
        self.assertEqual(pacer.budget(0.02), 2)
        pacer.passed(2)
        pacer.rate = 10_000
        self.assertEqual((pacer.budget(0.03), pacer.budget(0.04)), (0, 200))

    def test_a_clock_set_back_neither_gives_nor_takes(self) -> None:
        pacer = Pacer(1000, 10.0)
        pacer.passed(pacer.budget(10.0))
        self.assertEqual(pacer.budget(9.0), 0)
        self.assertAlmostEqual(pacer.delay(9.0), 0.02)
        self.assertEqual(pacer.budget(10.02), 20)

    def test_a_timer_of_delay_seconds_never_comes_too_early(self) -> None:
        """Uptimes and small rates, where a second is divided exactly enough."""
        self.assertEqual(self.too_early(1000, 1000.0), 0)
        self.assertEqual(self.too_early(7, 1000.0), 0)

    def test_a_timer_of_delay_seconds_never_comes_too_early_in_seconds_since_1970(self) -> None:
        """A reactor's clock counts them: 1.7e9, where a float tells no less than 0.24 microseconds apart."""
        for rate in (1000, 102_400, 1_000_000):
            self.assertEqual(self.too_early(rate, 1.7e9), 0, rate)

    def too_early(self, rate: int, now: float) -> int:
        """How often, in a hundred timers, the budget is still 0 when the timer of C{delay} seconds fires."""
        pacer, early = Pacer(rate, now), 0
        for _ in range(100):
            pacer.passed(pacer.budget(now))
            now += pacer.delay(now)
            early += not pacer.budget(now)
        return early
