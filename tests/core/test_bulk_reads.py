"""One read that fills several buffers: C{read_views}, then C{did_read} with what came."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.core.script import Script, Through
from twisted_pipe.core.pipe import Flow, Step
from twisted_pipe.errors import Cancelled

ALPHABET = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Bulk(Script):
    """A L{Script} that reads in bulk: C{READ} tells what came, over all buffers."""

    widths: list[list[int]]

    def __init__(self, *filters: Any, **more: Any) -> None:
        super().__init__(*filters, **more)
        self.widths = []

    def feed(self, data: bytes) -> Bulk:
        super().feed(data)
        return self

    def stall(self) -> Bulk:
        super().stall()
        return self

    def _read(self) -> str:
        if not self.wire:
            return super()._read()
        views = self.pipe.read_views()
        self.widths.append([len(view) for view in views])
        if self.pipe.slabs > self.limits.slabs:
            raise AssertionError(f"{self.pipe!r}: more buffers than it may have")
        count = min(sum(map(len, views)), len(self.wire), self.chunk or 1 << 30)
        data = bytes(self.wire[:count])
        del self.wire[:count]
        at = 0
        for view in views:
            part = data[at : at + len(view)]
            view[: len(part)] = part
            at += len(part)
        del views, view
        self.pipe.did_read(count)
        return data.decode()


class BulkTests(SynchronousTestCase):
    def test_several_buffers_at_once(self) -> None:
        script = Bulk().feed(ALPHABET[:20])
        self.assertEqual(script.run(), ["READ abcdefghijklmnopqrst", "WRITE abcdefghijklmnop", "WRITE qrst", "WAIT"])
        self.assertEqual(script.widths, [[8, 8, 8, 8]])
        self.assertEqual((script.pipe.slabs, script.slabs[0]), (0, 0))

    def test_to_the_last_byte_of_a_buffer(self) -> None:
        for count in (1, 7, 8, 9, 15, 16, 17, 24, 25, 31, 32):
            script = Bulk().feed(ALPHABET[:count])
            script.end()
            self.assertEqual((script.run()[-1], script.client), ("FINISH", ALPHABET[:count]), count)
            script.close()
            self.assertEqual(script.slabs[0], 0)

    def test_never_more_buffers_than_the_limits_say(self) -> None:
        for buffers in (2, 3, 4, 9):
            script = Bulk(buffers=buffers, file=0).stall().feed(ALPHABET * 5)
            script.run()
            self.assertEqual((script.pipe.slabs, script.slabs[0]), (buffers, buffers))
            self.assertEqual(script.take().run()[-1], "WAIT")
            self.assertEqual(script.client, ALPHABET * 5)

    def test_at_most_three_behind_the_first(self) -> None:
        script = Bulk(buffers=20, file=0).feed(ALPHABET)
        script.run()
        self.assertEqual(script.widths[0], [8, 8, 8, 8])

    def test_unbuffered_has_one(self) -> None:
        script = Bulk(buffering=False).feed(ALPHABET)
        script.end()
        script.run()
        self.assertEqual((script.widths[0], script.client), ([8], ALPHABET))

    def test_it_begins_behind_what_is_there(self) -> None:
        script = Bulk().stall().feed(b"abc")
        script.run()
        script.feed(ALPHABET[3:20])
        self.assertEqual(script.run(1), ["READ defghijklmnopqrst"])
        self.assertEqual(script.widths[-1], [5, 8, 8, 8])
        script.take().run()
        self.assertEqual(script.client, ALPHABET[:20])

    def test_less_than_a_buffer_leaves_the_others_free(self) -> None:
        script = Bulk().stall().feed(b"abc")
        script.run(1)
        self.assertEqual((script.pipe.slabs, script.slabs[0]), (1, 1))

    def test_nothing_came(self) -> None:
        """They are free again as soon as the pipe has nothing to do."""
        script = Bulk()
        self.assertIs(script.pipe.next_step(True, True), Step.READ)
        script.pipe.read_views()
        self.assertEqual(script.slabs[0], 4)
        self.assertIs(script.pipe.next_step(False, True), Step.WAIT)
        self.assertEqual((script.pipe.slabs, script.slabs[0], script.pipe.empty), (0, 0, True))

    def test_nothing_came_and_then_one_buffers_worth(self) -> None:
        script = Bulk()
        script.pipe.next_step(True, True)
        script.pipe.read_views()
        view = script.pipe.read_view()
        view[:3] = b"abc"
        script.pipe.did_read(3)
        del view
        self.assertEqual(script.run(), ["WRITE abc", "WAIT"])
        self.assertEqual(script.slabs[0], 0)

    def test_twice_in_a_row_takes_no_more(self) -> None:
        script = Bulk(buffers=9)
        script.pipe.next_step(True, True)
        script.pipe.read_views()
        script.pipe.read_views()
        self.assertEqual(script.slabs[0], 4)
        script.close()
        self.assertEqual(script.slabs[0], 0)

    def test_the_end_after_it(self) -> None:
        script = Bulk().feed(ALPHABET[:20]).end()
        self.assertEqual(script.run()[-1], "FINISH")
        self.assertEqual((script.client, script.pipe.upstream), (ALPHABET[:20], Flow.ENDED))

    def test_the_end_instead_of_it(self) -> None:
        script = Bulk()
        script.pipe.next_step(True, True)
        script.pipe.read_views()
        script.pipe.did_end()
        self.assertEqual(script.run(), ["FINISH"])
        self.assertEqual((script.close(), script.slabs[0]), ([], 0))

    def test_a_failure_instead_of_it(self) -> None:
        script = Bulk()
        script.pipe.next_step(True, True)
        script.pipe.read_views()
        script.pipe.did_break(Cancelled("enough"))
        self.assertEqual(script.run(), ["ABANDON"])
        script.close()
        self.assertEqual(script.slabs[0], 0)

    def test_the_length_cuts_it_anywhere(self) -> None:
        for length in (1, 7, 8, 9, 16, 17, 24, 31):
            script = Bulk(length=length).feed(ALPHABET[:32])
            self.assertEqual((script.run()[-1], script.client), ("FINISH", ALPHABET[:length]))
            self.assertEqual((script.pipe.surplus, script.pipe.bytes_in), (32 - length, 32))
            script.close()
            self.assertEqual((script.pipe.error, script.slabs[0]), (None, 0))

    def test_the_length_is_reached_by_it(self) -> None:
        script = Bulk(length=32).feed(ALPHABET[:32])
        self.assertEqual((script.run()[-1], script.client, script.pipe.surplus), ("FINISH", ALPHABET[:32], 0))

    def test_nothing_of_it_belongs_to_the_stream(self) -> None:
        script = Bulk(length=5, preread=b"hello").feed(b"world")
        self.assertEqual((script.run(), script.client), (["WRITE hello", "FINISH"], b"hello"))

    def test_spilled_in_order(self) -> None:
        script = Bulk().stall().feed(ALPHABET * 4).end()
        script.run()
        self.assertTrue(script.pipe.bytes_spilled > 100)
        self.assertEqual((script.take().run()[-1], script.client), ("FINISH", ALPHABET * 4))

    def test_filters_get_whole_buffers(self) -> None:
        seen: list[int] = []

        def note(data: memoryview) -> Any:
            seen.append(len(data))
            return (data,)

        script = Bulk(Through(note)).feed(ALPHABET[:20]).end()
        self.assertEqual((script.run()[-1], script.client, seen), ("FINISH", ALPHABET[:20], [8, 8, 4]))
        script.close()
        self.assertEqual(script.slabs[0], 0)

    def test_the_peak_counts_what_was_lent(self) -> None:
        script = Bulk().feed(b"abc")
        script.run()
        self.assertEqual(script.pipe.peak_memory, 32)

    def test_mixed_with_a_limited_read(self) -> None:
        script = Bulk().stall().feed(ALPHABET[:12])
        script.run()
        self.assertIs(script.pipe.next_step(True, False), Step.READ)
        view = script.pipe.read_view(2)
        self.assertEqual(len(view), 2)
        view[:] = b"12"
        del view
        script.pipe.did_read(2)
        script.feed(b"345678").run()
        script.take().run()
        self.assertEqual(script.client, ALPHABET[:12] + b"12345678")
