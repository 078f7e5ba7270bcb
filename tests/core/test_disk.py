"""Where spilled bytes lie: one range of a ring."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.core.disk import DiskRange


class Ring:
    """A disk range and a file that goes with it."""

    def __init__(self, limit: int) -> None:
        self.range = DiskRange(limit)
        self.file = bytearray(b"." * limit)

    def put(self, data: bytes) -> bytes:
        """Write what fits in one piece; the rest is returned."""
        count = min(len(data), self.range.room)
        at = self.range.write_offset
        self.file[at : at + count] = data[:count]
        assert len(self.file) == self.range.limit
        self.range.added(count)
        return data[count:]

    def get(self, most: int = 1000) -> bytes:
        """Read what lies in one piece."""
        at = self.range.read_offset
        data = bytes(self.file[at : at + min(most, self.range.readable)])
        self.range.took(len(data))
        return data


class DiskRangeTests(SynchronousTestCase):
    def test_a_new_range_is_empty(self) -> None:
        disk = DiskRange(10)
        self.assertEqual(
            (disk.outstanding, disk.readable, disk.room, disk.read_offset, disk.write_offset), (0, 0, 10, 0, 0)
        )
        self.assertEqual(repr(disk), "<DiskRange 0/10 from 0>")

    def test_no_file_has_no_room(self) -> None:
        disk = DiskRange(0)
        self.assertEqual((disk.room, disk.readable, disk.write_offset), (0, 0, 0))
        disk.took(0)
        self.assertEqual(repr(disk), "<DiskRange 0/0 from 0>")

    def test_contiguous_spills_are_one_range(self) -> None:
        ring = Ring(10)
        for piece in (b"abc", b"de", b"fgh"):
            self.assertEqual(ring.put(piece), b"")
        self.assertEqual((ring.range.read_offset, ring.range.readable), (0, 8))
        self.assertEqual(ring.get(), b"abcdefgh")

    def test_the_limit_is_reached_to_the_byte(self) -> None:
        ring = Ring(10)
        self.assertEqual(ring.put(b"abcdefghijkl"), b"kl")
        self.assertEqual((ring.range.outstanding, ring.range.room), (10, 0))
        self.assertEqual(ring.put(b"kl"), b"kl")

    def test_what_was_taken_makes_room(self) -> None:
        ring = Ring(10)
        ring.put(b"abcdefghij")
        self.assertEqual(ring.get(3), b"abc")
        self.assertEqual(ring.put(b"klmn"), b"n")
        self.assertEqual(bytes(ring.file), b"klmdefghij")
        self.assertEqual(ring.range.room, 0)

    def test_around_the_end_in_two_pieces(self) -> None:
        ring = Ring(10)
        ring.put(b"abcdefgh")
        ring.get(6)
        self.assertEqual(ring.put(b"ijklm"), b"klm")
        self.assertEqual((ring.range.room, ring.range.write_offset), (6, 0))
        self.assertEqual(ring.put(b"klm"), b"")
        self.assertEqual(repr(ring.range), "<DiskRange 7/10 from 6>")
        self.assertEqual([ring.get(), ring.get(), ring.get()], [b"ghij", b"klm", b""])

    def test_reading_up_to_the_very_end_goes_on_at_the_start(self) -> None:
        ring = Ring(10)
        ring.put(b"abcdefghij")
        ring.get(5)
        ring.put(b"klm")
        self.assertEqual(ring.get(5), b"fghij")
        self.assertEqual((ring.range.read_offset, ring.range.readable, ring.range.write_offset), (0, 3, 3))
        self.assertEqual(ring.get(), b"klm")

    def test_an_empty_ring_starts_anew(self) -> None:
        """So that the driver may give the blocks back."""
        ring = Ring(10)
        ring.put(b"abcdef")
        ring.get(6)
        self.assertEqual((ring.range.read_offset, ring.range.write_offset, ring.range.room), (0, 0, 10))

    def test_room_never_overtakes_the_oldest_byte(self) -> None:
        ring = Ring(10)
        ring.put(b"abcdefghij")
        ring.get(4)
        ring.put(b"kl")
        self.assertEqual((ring.range.write_offset, ring.range.room, ring.range.read_offset), (2, 2, 4))

    def test_any_rhythm_keeps_order(self) -> None:
        """Writes and reads of every two sizes, through rings of every small size, many times round."""
        stream = bytes(range(97, 123)) * 4
        for limit in range(1, 9):
            for write in range(1, 6):
                for read in range(1, 6):
                    ring, rest, out = Ring(limit), stream, b""
                    while rest or ring.range.outstanding:
                        rest = ring.put(rest[:write]) + rest[write:]
                        self.assertTrue(0 < ring.range.outstanding <= limit)
                        out += ring.get(read)
                    self.assertEqual((out, ring.range.room), (stream, limit), (limit, write, read))
