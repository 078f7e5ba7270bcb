"""Where spilled bytes lie: one range, written at its end, read at its start."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.core.disk import DiskRange, SpillQuota
from twisted_pipe.core.file_use import FileUse


class DiskRangeTests(SynchronousTestCase):
    def assert_range(self, disk: DiskRange, outstanding: int, room: int, read_offset: int, write_offset: int) -> None:
        self.assertEqual(
            (disk.outstanding, disk.room, disk.read_offset, disk.write_offset),
            (outstanding, room, read_offset, write_offset),
        )

    def test_empty(self) -> None:
        self.assert_range(DiskRange(10), 0, 10, 0, 0)

    def test_no_file_at_all(self) -> None:
        self.assert_range(DiskRange(0), 0, 0, 0, 0)

    def test_contiguous_spills_are_one_range(self) -> None:
        disk = DiskRange(10)
        for count in (3, 1, 4):
            disk.added(count)
        self.assert_range(disk, 8, 2, 0, 8)

    def test_cap_honoured_to_the_byte(self) -> None:
        disk = DiskRange(10)
        disk.added(10)
        self.assert_range(disk, 10, 0, 0, 10)
        disk.took(1)
        self.assertEqual(disk.room, 1)

    def test_the_cap_bounds_what_is_outstanding_not_what_was_ever_written(self) -> None:
        """E4: a client that is never quite stuck may have any number of bytes through a small file."""
        disk = DiskRange(10)
        disk.added(6)
        for step in range(1, 1001):
            disk.added(4)
            disk.took(4)
            self.assert_range(disk, 6, 4, 4 * step, 6 + 4 * step)

    def test_nothing_is_written_where_bytes_were_sent_from(self) -> None:
        """sendfile lends the file's pages to the socket: they must not change until the file is another."""
        disk = DiskRange(10)
        disk.added(10)
        disk.took(9)
        self.assertEqual(disk.write_offset, 10)

    def test_an_empty_file_starts_anew(self) -> None:
        disk = DiskRange(10)
        disk.added(10)
        disk.took(4)
        disk.took(6)
        self.assert_range(disk, 0, 10, 0, 0)

    def test_no_read_or_write_crosses_two_files(self) -> None:
        """The range is one all the same; the files it lies in are closed as it leaves them."""
        disk = DiskRange(100, smallest_piece=20)
        self.assertEqual(disk.piece, 20)
        disk.added(15)
        self.assertEqual(disk.room, 5)
        disk.added(5)
        self.assertEqual(disk.room, 20)
        disk.added(20)
        self.assertEqual(disk.readable, 20)
        disk.took(8)
        self.assertEqual(disk.readable, 12)
        disk.took(12)
        self.assertEqual((disk.readable, disk.read_offset), (20, 20))

    def test_few_files_of_at_least_a_mebibyte(self) -> None:
        self.assertEqual(DiskRange(1 << 30).piece, 1 << 27)
        self.assertEqual(DiskRange(100).piece, 1 << 20)
        self.assertEqual(DiskRange(0).room, 0)

    def test_repr(self) -> None:
        disk = DiskRange(10)
        disk.added(7)
        disk.took(2)
        self.assertEqual(repr(disk), "<DiskRange 5/10 from 2>")


class RefusedTests(SynchronousTestCase):
    """The disk takes no more."""

    def test_nothing_is_added_any_more(self) -> None:
        for use in FileUse:
            disk = DiskRange(100, use=use)
            disk.added(10)
            disk.refused()
            self.assertLessEqual(disk.room, 0, use)
            disk.took(10)
            self.assertEqual((disk.room, disk.outstanding), (0, 0), use)

    def test_the_write_that_was_under_way_does_not_count(self) -> None:
        quota = SpillQuota(100)
        disk = DiskRange(80, quota=quota)
        disk.reserve(30)
        disk.refused()
        self.assertEqual((quota.used, disk.reserved), (0, None))

    def test_a_file_of_which_all_was_taken_under_the_write_is_given_back(self) -> None:
        quota = SpillQuota(100)
        disk = DiskRange(80, quota=quota)
        disk.added(30)
        disk.reserve(20)
        disk.took(30)
        self.assertEqual((quota.used, disk.write_offset), (50, 30))
        disk.refused()
        self.assertEqual((quota.used, disk.write_offset), (0, 0))

    def test_what_was_to_be_replayed_is_a_spill(self) -> None:
        quota = SpillQuota(100)
        disk = DiskRange(80, quota=quota, use=FileUse.REPLAY)
        disk.added(30)
        disk.refused()
        disk.took(29)
        self.assertEqual((disk.use, quota.used), (FileUse.SPILL, 30), "no part of a file is given back")
        disk.took(1)
        self.assertEqual((quota.used, disk.write_offset), (0, 0))

    def test_what_was_to_be_stored_stays_until_the_end(self) -> None:
        quota = SpillQuota(100)
        disk = DiskRange(0, quota=quota, use=FileUse.STORE)
        disk.added(30)
        disk.took(20)
        disk.refused()
        self.assertEqual((disk.use, quota.used), (FileUse.HELD, 10))
        disk.took(10)
        self.assertEqual((quota.used, disk.read_offset), (0, 30))
