"""A process-wide bound on what all pipes together have on disk, beside each pipe's own."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.core.script import Script, Through
from twisted_pipe.core.disk import DiskRange, SpillQuota
from twisted_pipe.core.file_use import FileUse
from twisted_pipe.core.pipe import Pipe, Step
from twisted_pipe.errors import Cancelled, UpstreamFailed
from twisted_pipe.interfaces import NamedFilter

ALPHABET = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Shared(Script):
    """A L{Script} whose pipe shares a quota. No C{preread}, no length."""

    def __init__(self, quota: SpillQuota, *filters: Any, **more: Any) -> None:
        super().__init__(*filters, **more)
        named = [NamedFilter(f"filter{number}", each) for number, each in enumerate(filters)]
        self.pipe = Pipe(self.limits, self.pool, named, quota=quota)


class QuotaTests(SynchronousTestCase):
    def test_no_limit(self) -> None:
        quota = SpillQuota()
        self.assertTrue(quota.room > 1 << 60)
        quota.used = 1 << 50
        self.assertTrue(quota.room > 1 << 60)

    def test_room(self) -> None:
        quota = SpillQuota(100)
        quota.used = 30
        self.assertEqual(quota.room, 70)
        quota.used = 120
        self.assertEqual(quota.room, 0)

    def test_repr(self) -> None:
        quota = SpillQuota(100)
        quota.used = 30
        self.assertEqual((repr(quota), repr(SpillQuota())), ("<SpillQuota 30/100>", "<SpillQuota 0/any>"))

    def test_a_range_counts_in_it(self) -> None:
        quota = SpillQuota(100)
        first, second = DiskRange(80, quota=quota), DiskRange(80, quota=quota)
        first.added(70)
        self.assertEqual((first.room, second.room, quota.used), (10, 30, 70))
        second.added(30)
        self.assertEqual((first.room, second.room), (0, 0))
        first.took(50)
        self.assertEqual((first.room, second.room, quota.used), (0, 0, 100), "no part of a file is given back")
        first.took(20)
        self.assertEqual((first.room, second.room, quota.used), (70, 50, 30))

    def test_a_file_that_was_sent_is_given_back(self) -> None:
        quota = SpillQuota(100)
        disk = DiskRange(80, 10, quota)
        for _ in range(7):
            disk.added(10)
        disk.took(39)
        self.assertEqual(quota.used, 40)
        disk.took(1)
        self.assertEqual(quota.used, 30)
        disk.took(30)
        self.assertEqual(quota.used, 0)

    def test_files_are_small_where_the_quota_is(self) -> None:
        """Else what one pipe still has of a file would keep all others from the disk."""
        self.assertEqual(DiskRange(1 << 30, quota=SpillQuota(64 << 20)).piece, 8 << 20)
        self.assertEqual(DiskRange(1 << 30, quota=SpillQuota(1)).piece, 1 << 20)
        self.assertEqual(DiskRange(1 << 30, quota=SpillQuota(1 << 40)).piece, 128 << 20)

    def test_what_is_kept_is_no_spill(self) -> None:
        quota = SpillQuota(100)
        disk = DiskRange(0, quota=quota, use=FileUse.REPLAY)
        disk.added(70)
        disk.took(30)
        self.assertEqual(quota.used, 40)

    def test_each_range_has_one_of_its_own_otherwise(self) -> None:
        first, second = DiskRange(80), DiskRange(80)
        first.added(80)
        self.assertEqual((second.room, second.quota.used), (80, 0))


class SharedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.quota = SpillQuota(40)

    def stuck(self, *filters: Any, **more: Any) -> Shared:
        script = Shared(self.quota, *filters, **more)
        script.stall()
        return script

    def test_the_second_does_not_spill_beyond_it(self) -> None:
        first, second = self.stuck(), self.stuck()
        first.feed(ALPHABET).run()
        taken = self.quota.used
        self.assertTrue(0 < taken <= 40)
        second.feed(ALPHABET * 2).run()
        self.assertEqual(self.quota.used, 40, "to the byte")
        self.assertEqual(second.pipe.disk.outstanding, 40 - taken)

    def test_and_is_back_pressured_but_loses_nothing(self) -> None:
        first, second = self.stuck(), self.stuck()
        first.feed(ALPHABET * 2).run()
        self.assertEqual(self.quota.room, 0)
        self.assertNotIn("SPILL", " ".join(second.feed(ALPHABET * 2).end().run()))
        self.assertTrue(second.pipe.upstream_blocked)
        self.assertFalse(second.pipe.wants_read)
        self.assertEqual(len(second.wire), 2 * len(ALPHABET) - 32)
        self.assertEqual(second.take().run()[-1], "FINISH")
        self.assertEqual(second.client, ALPHABET * 2)

    def test_room_that_the_first_gives_back_is_the_seconds(self) -> None:
        first, second = self.stuck(), self.stuck()
        first.feed(ALPHABET * 2).run()
        second.feed(ALPHABET).run()
        self.assertEqual(second.pipe.disk.outstanding, 0)
        first.take().run()
        second.run()
        self.assertEqual((second.pipe.disk.outstanding, self.quota.used), (32, 32))

    def test_a_pipes_own_limit_holds_too(self) -> None:
        script = self.stuck(file=16)
        script.feed(ALPHABET * 2).run()
        self.assertEqual(self.quota.used, 16)

    def test_two_writes_under_way_at_once_stay_within_it(self) -> None:
        """Each was decided on while the other was not yet counted."""
        quota = SpillQuota(16)
        pipes = [Shared(quota).stall().feed(ALPHABET) for _ in range(2)]
        batches = []
        for script in pipes:
            while (step := script.pipe.next_step(True, False)) is Step.READ:
                script._read()
            if step is Step.SPILL:
                batches.append((script, sum(map(len, script.pipe.spill_batch()))))
                script.pipe.spill_begun()  # in a thread
        for script, size in batches:
            script.pipe.did_spill(size)
        self.assertTrue(quota.used <= quota.limit, quota)

    def test_nothing_is_left_after_any_end(self) -> None:
        def finish(script: Shared) -> None:
            script.end().take()

        def reset(script: Shared) -> None:
            script.fail(UpstreamFailed("reset")).take()

        def lose(script: Shared) -> None:
            script.lose_client()

        def give_up(script: Shared) -> None:
            script.pipe.did_break(Cancelled("enough"))

        def full(script: Shared) -> None:
            script.disk_takes = OSError(28, "full")
            script.feed(ALPHABET).end().take()

        for end in (finish, reset, lose, give_up, full):
            for filters in ((), (Through(),)):
                script = self.stuck(*filters)
                script.feed(ALPHABET).run()
                self.assertTrue(self.quota.used > 0)
                end(script)
                self.assertIn(script.run()[-1], ("FINISH", "ABANDON"))
                script.close()
                self.assertEqual((self.quota.used, script.slabs[0]), (0, 0), end.__name__)

    def test_nothing_is_left_when_it_is_closed_without_an_end(self) -> None:
        script = self.stuck()
        script.feed(ALPHABET).run()
        script.close()
        script.close()
        self.assertEqual(self.quota.used, 0)
