"""Slabs, their pool, and what becomes of a slab that somebody keeps a view of."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.core.buffers import PoolStatistics, Segment, Slab, SlabPool


def counts(pool: SlabPool) -> tuple[int, int, int]:
    """In use, free, lost."""
    statistics = pool.statistics()
    return statistics.in_use, statistics.free, statistics.lost


class PoolTests(SynchronousTestCase):
    def test_a_new_pool_holds_nothing(self) -> None:
        self.assertEqual(SlabPool(8).statistics(), PoolStatistics(size=8, in_use=0, free=0, lost=0))

    def test_a_slab_is_taken_with_one_holder(self) -> None:
        pool = SlabPool(8)
        slab = pool.take()
        self.assertEqual((slab.holders, slab.lent, len(slab.view), slab.view.readonly), (1, False, 8, False))
        self.assertEqual(counts(pool), (1, 0, 0))

    def test_a_slab_comes_back_with_its_last_holder(self) -> None:
        pool = SlabPool(8)
        slab = pool.take()
        slab.holders += 2
        seen = []
        for _ in range(3):
            pool.let_go(slab)
            seen.append(counts(pool))
        self.assertEqual(seen, [(1, 0, 0), (1, 0, 0), (0, 1, 0)])

    def test_a_free_slab_is_used_again(self) -> None:
        pool = SlabPool(8)
        slab = pool.take()
        pool.let_go(slab)
        self.assertIs(pool.take(), slab)
        self.assertEqual((slab.holders, counts(pool)), (1, (1, 0, 0)))

    def test_two_takers_never_share_a_slab(self) -> None:
        pool = SlabPool(8)
        pool.let_go(pool.take())
        self.assertIsNot(pool.take(), pool.take())

    def test_the_last_freed_is_the_next_taken(self) -> None:
        """It is the one most likely in the processor's cache."""
        pool = SlabPool(8)
        first, second = pool.take(), pool.take()
        pool.let_go(second)
        pool.let_go(first)
        self.assertIs(pool.take(), first)

    def test_no_more_than_keep_bytes_stay_free(self) -> None:
        pool = SlabPool(8, keep=24)
        slabs = [pool.take() for _ in range(5)]
        for slab in slabs:
            pool.let_go(slab)
        self.assertEqual(counts(pool), (0, 3, 0))

    def test_one_slab_stays_free_however_little_is_kept(self) -> None:
        pool = SlabPool(8, keep=0)
        for slab in [pool.take(), pool.take()]:
            pool.let_go(slab)
        self.assertEqual(counts(pool), (0, 1, 0))

    def test_kept_bytes_are_megabytes_by_default(self) -> None:
        pool = SlabPool(1 << 20)
        for slab in [pool.take() for _ in range(10)]:
            pool.let_go(slab)
        self.assertEqual(counts(pool), (0, 8, 0))


class LentTests(SynchronousTestCase):
    """A filter has seen the slab."""

    def lend(self, size: int = 8) -> tuple[SlabPool, Slab]:
        pool = SlabPool(size)
        slab = pool.take()
        slab.lent = True
        return pool, slab

    def test_a_lent_slab_nobody_views_is_used_again(self) -> None:
        pool, slab = self.lend()
        view = slab.view[2:4]
        del view
        pool.let_go(slab)
        self.assertEqual(counts(pool), (0, 1, 0))
        again = pool.take()
        self.assertEqual((again is slab, again.lent, len(again.view), again.view.readonly), (True, False, 8, False))

    def test_probing_leaves_the_bytes_as_they_were(self) -> None:
        pool, slab = self.lend()
        slab.view[:] = b"abcdefgh"
        pool.let_go(slab)
        self.assertEqual(slab.data, b"abcdefgh")
        self.assertEqual(bytes(pool.take().view), b"abcdefgh")

    def test_a_slab_of_one_byte_can_be_probed(self) -> None:
        pool, slab = self.lend(1)
        pool.let_go(slab)
        self.assertEqual((counts(pool), len(pool.take().view)), ((0, 1, 0), 1))

    def test_a_kept_view_costs_the_slab(self) -> None:
        pool, slab = self.lend()
        slab.view[:] = b"abcdefgh"
        kept = slab.view[2:4].toreadonly()
        pool.let_go(slab)
        self.assertEqual(counts(pool), (0, 0, 1))
        pool.take().view[:] = b"ABCDEFGH"
        self.assertEqual(kept, b"cd")

    def test_views_of_views_count(self) -> None:
        pool, slab = self.lend()
        kept = memoryview(slab.view[0:8].toreadonly()[::2])[1:]
        pool.let_go(slab)
        self.assertEqual((counts(pool), len(kept)), ((0, 0, 1), 3))

    def test_a_view_let_go_in_time_costs_nothing(self) -> None:
        pool, slab = self.lend()
        slab.holders += 1
        kept = slab.view[2:4]
        pool.let_go(slab)
        kept.release()
        pool.let_go(slab)
        self.assertEqual(counts(pool), (0, 1, 0))

    def test_a_lost_slab_stays_lost(self) -> None:
        pool, slab = self.lend()
        kept = slab.view[:1]
        pool.let_go(slab)
        del kept
        self.assertIsNot(pool.take(), slab)
        self.assertEqual(counts(pool), (1, 0, 1))

    def test_what_no_filter_saw_is_not_probed(self) -> None:
        """The reader's own view of it does no harm."""
        pool = SlabPool(8)
        slab = pool.take()
        reader = slab.view[0:4]
        pool.let_go(slab)
        self.assertEqual((counts(pool), len(reader)), ((0, 1, 0), 4))


class SegmentTests(SynchronousTestCase):
    def test_a_slab_weighs_whole(self) -> None:
        slab = Slab(4096)
        self.assertEqual(Segment(slab.view[17:18], slab, 18).weight, 4096)

    def test_bytes_of_their_own_weigh_what_they_are(self) -> None:
        self.assertEqual(Segment(b"12345").weight, 5)
        self.assertEqual(Segment(memoryview(b"12345")[3:]).weight, 2)
