"""
The policy of the pipe: every statement of its specification, as a transcript.

Buffers are of 8 bytes here, 4 of them, C{busy_size} is two of them; see L{tests.core.script}.

Where each statement is tested: here, unless another module is named.

=============================================== =============================================================================
preread before any socket read                  L{PrereadTests}; C{net.test_driver} C{FlowTests.test_preread}
length L and L bytes held: delivered at once    L{LengthTests}; C{net.test_driver} C{FlowTests.test_known_length}
partial buffer keeps its place                  C{PassingTests.test_partial_buffer_keeps_its_place}
busy >= limit: flush only                       C{BusyTests.test_busy_at_least_limit_flush_only}
one byte in a 4 KiB buffer counts 4 KiB         C{BusyTests.test_one_byte_in_a_4k_buffer_counts_4k}
a buffer with unsent slices is not reused       C{BusyTests.test_a_buffer_with_unsent_slices_is_not_reused}
no free buffer, ready client: blocked           C{BlockedTests.test_no_free_buffer_and_a_ready_client_blocked_not_spilled}
no free buffer, stuck client: spilled           C{BlockedTests.test_no_free_buffer_and_a_stuck_client_spilled}
max 0, stuck client: reading stops, no timeout  C{BlockedTests.test_max_0_..}; C{net.test_driver}
                                                C{TimeoutTests.test_no_read_timeout_while_the_downstream_is_stuck}
cap honoured to the byte                        C{SpillTests.test_cap_..}; C{net.test_driver} C{SpillTests.test_the_cap_..}
contiguous spills are one range                 C{SpillTests.test_contiguous_spills_are_one_range}
cacheable: clients fed from the file            C{core.test_cacheable} C{StoringTests}; C{net.test_store} C{StoringTests}
order holds across disk and memory              C{SpillTests.test_order_holds_..}; the same in C{net.test_driver}
EOF and a stuck client: everything arrives      C{EndTests.test_eof_and_a_stuck_client_everything_still_arrives}
downstream error: every buffer comes back       C{BreakTests.test_downstream_error_every_buffer_comes_back}
filter error: buffers back, no clean end        C{BreakTests.test_filter_error_buffers_come_back_no_clean_end}
temp write fails                                back-pressure instead: C{SpillTests.test_spill_failed_..},
                                                C{net.test_disk_faults}; what cannot be read back is what ends a pipe
delayed and data: no read, no timeout           C{DelayTests.test_delayed_and_data_no_read_no_timeout}
thread write pending: no reads                  L{PendingWriteTests}; C{net.test_spiller} C{PendingTests}
finish after EOF with a pending write           C{EndTests}, L{PendingWriteTests}; C{net.test_spiller} C{PendingTests}
=============================================== =============================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.core.script import Calls, Later, Script, Through, text
from twisted_pipe.core.buffers import SlabPool
from twisted_pipe.core.pipe import Flow, Pipe, Step
from twisted_pipe.errors import (
    Cancelled,
    DownstreamFailed,
    FilterFailed,
    PipeFinished,
    Side,
    TimedOut,
    UpstreamFailed,
)
from twisted_pipe.limits import PipeLimits

ALPHABET = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
NOTHING = (0, 1, 0)  # slabs in use, free, lost: all came back


def pieces(size: int) -> Callable[[memoryview], Iterator[memoryview]]:
    """A filter's C{received}: slices of C{size} bytes."""
    return lambda data: (data[at : at + size] for at in range(0, len(data), size))


class PassingTests(SynchronousTestCase):
    """A ready upstream and a ready client."""

    def test_what_is_read_is_written(self) -> None:
        script = Script().feed(b"hello")
        self.assertEqual(script.run(), ["READ hello", "WRITE hello", "WAIT"])
        self.assertEqual(repr(script.pipe), "<Pipe open -> open slabs=0/4 memory=0 disk=0 in=5 out=5 spilled=0>")

    def test_an_idle_pipe_waits_and_holds_nothing(self) -> None:
        script = Script()
        self.assertEqual((script.run(), script.slabs), (["WAIT"], (0, 0, 0)))
        script.feed(b"hello").run()
        self.assertEqual((script.pipe.slabs, script.pipe.memory_bytes, script.slabs), (0, 0, NOTHING))

    def test_a_clean_end(self) -> None:
        script = Script().feed(b"hello").end()
        self.assertEqual(script.run(), ["READ hello", "READ end", "WRITE hello", "FINISH"])
        self.assertEqual((script.close(), script.flows, script.pipe.error), ([], "ended -> ended", None))
        self.assertEqual(repr(script.pipe), "<Pipe ended -> ended slabs=0/4 memory=0 disk=0 in=5 out=5 spilled=0>")

    def test_an_empty_stream(self) -> None:
        script = Script().end()
        self.assertEqual(script.run(), ["READ end", "FINISH"])

    def test_small_reads_are_packed(self) -> None:
        """A tiny chunk does not consume a buffer (E3)."""
        script = Script().stall()
        for letter in b"abcdefgh":
            script.feed(bytes([letter]))
            script.run()
        self.assertEqual((script.pipe.slabs, script.client), (1, b""))
        self.assertEqual(script.take().run(), ["WRITE abcdefgh", "WAIT"])

    def test_filters_get_packed_buffers(self) -> None:
        """Not a call for every read, while there is more to read and room for it (E3)."""
        entry = Calls()
        script = Script(entry).feed(b"abcdefghij").end()
        script.chunk = 1
        script.run()
        self.assertEqual(entry.calls, ["started", "received abcdefgh", "received ij", "ended"])

    def test_a_full_batch_goes_out_before_more_is_read(self) -> None:
        script = Script().feed(ALPHABET[:32])
        self.assertEqual(
            script.run(),
            [
                *("READ abcdefgh", "READ ijklmnop", "WRITE abcdefghijklmnop"),
                *("READ qrstuvwx", "READ yzABCDEF", "WRITE qrstuvwxyzABCDEF", "WAIT"),
            ],
        )

    def test_less_than_a_batch_waits_for_what_is_there_to_read(self) -> None:
        script = Script().feed(b"abcdefghijk")
        self.assertEqual(script.run(), ["READ abcdefgh", "READ ijk", "WRITE abcdefghijk", "WAIT"])

    def test_passes_on_what_it_has_as_soon_as_drained(self) -> None:
        """Nothing waits for a buffer to be full or for a known length (E2)."""
        script = Script()
        for piece in (b"5\r\nhel", b"l", b"o\r\n"):
            self.assertEqual(script.feed(piece).run(), [f"READ {text(piece)}", f"WRITE {text(piece)}", "WAIT"])

    def test_a_partial_buffer_goes_out_as_soon_as_the_client_can_take_it(self) -> None:
        script = Script().stall().feed(b"abc")
        self.assertEqual(script.run(), ["READ abc", "WAIT"])
        self.assertEqual(script.take().run(), ["WRITE abc", "WAIT"])

    def test_partial_buffer_keeps_its_place(self) -> None:
        script = Script().stall().feed(b"abc")
        script.run()
        self.assertEqual(script.feed(b"defghij").run(), ["READ defgh", "READ ij", "WAIT"])
        self.assertEqual(script.take().run(), ["WRITE abcdefghij", "WAIT"])

    def test_a_buffer_partly_sent_is_filled_up(self) -> None:
        """What is added to it goes out after what was there, in one piece with it."""
        script = Script().feed(b"abcde").take(3)
        self.assertEqual(script.run(2), ["READ abcde", "WRITE abc"])
        self.assertEqual(script.feed(b"fgh").run(), ["READ fgh", "WAIT"])
        self.assertEqual((script.pipe.slabs, script.pipe.memory_bytes), (1, 5))
        self.assertEqual([text(part) for part in script.pipe.batch()], ["defgh"])
        self.assertEqual(script.take().run(), ["WRITE defgh", "WAIT"])
        self.assertEqual((script.client, script.pipe.memory_bytes), (b"abcdefgh", 0))

    def test_a_buffer_partly_sent_is_filled_up_again_and_again(self) -> None:
        script = Script().feed(b"abc").take(1)
        self.assertEqual(script.run(), ["READ abc", "WRITE a", "WAIT"])
        self.assertEqual(script.feed(b"de").take(1).run(), ["READ de", "WRITE b", "WAIT"])
        self.assertEqual(script.feed(b"fgh").take(1).run(), ["READ fgh", "WRITE c", "WAIT"])
        self.assertEqual((script.pipe.slabs, script.pipe.memory_bytes), (1, 5))
        self.assertEqual([text(part) for part in script.pipe.batch()], ["defgh"])

    def test_a_buffer_all_of_which_was_sent_is_filled_from_its_start(self) -> None:
        script = Script().feed(b"abc")
        script.run(2)
        self.assertEqual(script.feed(ALPHABET[:8]).run(1), ["READ abcdefgh"])

    def test_a_rate_limits_budget_bounds_a_read(self) -> None:
        pipe = Script().feed(b"abc").pipe
        self.assertIs(pipe.next_step(True, True), Step.READ)
        self.assertEqual([len(pipe.read_view(3)), len(pipe.read_view(100)), len(pipe.read_view())], [3, 8, 8])
        pipe.did_read(6)
        self.assertEqual([len(pipe.read_view(1)), len(pipe.read_view(3)), len(pipe.read_view())], [1, 2, 2])

    def test_a_read_that_gets_nothing_changes_nothing(self) -> None:
        script = Script()
        for _ in range(3):
            self.assertIs(script.pipe.next_step(True, True), Step.READ)
            self.assertEqual(len(script.pipe.read_view()), 8)
        self.assertEqual((script.run(), script.slabs), (["WAIT"], NOTHING))

    def test_a_write_that_takes_nothing_changes_nothing(self) -> None:
        script = Script().feed(b"abc")
        script.run(1)
        self.assertIs(script.pipe.next_step(False, True), Step.WRITE)
        script.pipe.did_write(0)
        self.assertEqual(script.run(), ["WRITE abc", "WAIT"])


class PrereadTests(SynchronousTestCase):
    def test_preread_before_any_socket_read(self) -> None:
        script = Script(preread=b"head")
        self.assertEqual(script.run(), ["WRITE head", "WAIT"])
        self.assertEqual((script.pipe.bytes_in, script.pipe.bytes_out, script.slabs), (4, 4, (0, 0, 0)))

    def test_preread_comes_first(self) -> None:
        script = Script(preread=b"head").feed(b"body")
        self.assertEqual(script.run(), ["READ body", "WRITE headbody", "WAIT"])

    def test_preread_goes_through_the_filters_first(self) -> None:
        entry = Calls(first=[b"<"])
        script = Script(entry, preread=b"head").feed(b"body").end()
        script.run()
        self.assertEqual(entry.calls, ["started", "received head", "received body", "ended"])
        self.assertEqual(script.client, b"<headbody")

    def test_preread_larger_than_everything(self) -> None:
        """It was received, so it is kept; it goes out in batches, like anything else."""
        script = Script(preread=ALPHABET)
        self.assertEqual((script.pipe.memory_bytes, script.pipe.peak_memory), (52, 52))
        self.assertEqual(script.run()[:2], ["WRITE abcdefghijklmnop", "WRITE qrstuvwxyzABCDEF"])
        self.assertEqual((script.client, script.pipe.memory_bytes), (ALPHABET, 0))

    def test_preread_spills(self) -> None:
        """More than a buffer of it is in buffers, like what is read: there is no more memory than without it."""
        script = Script(preread=ALPHABET[:20]).feed(ALPHABET[20:32]).stall()
        script.run()
        self.assertEqual((script.pipe.bytes_spilled, script.pipe.slabs), (0, 4))
        script.feed(b"!").run()
        self.assertEqual((script.pipe.bytes_spilled, script.pipe.slabs), (16, 3))
        script.take().run()
        self.assertEqual((script.client, script.pipe.peak_memory), (ALPHABET[:32] + b"!", 32))

    def test_preread_of_a_buffer_is_not_copied(self) -> None:
        script = Script(preread=b"12345678").feed(ALPHABET).stall()
        script.run()
        self.assertEqual((script.pipe.slabs, script.pipe.peak_memory), (4, 8 + 32))

    def test_preread_behind_a_length_is_surplus_however_much(self) -> None:
        for filters in ((), (Through(),)):
            script = Script(*filters, preread=ALPHABET, length=11)
            self.assertEqual(script.run(), ["WRITE abcdefghijk", "FINISH"])
            self.assertEqual(script.pipe.leftover, ALPHABET[11:])

    def test_what_a_fast_path_hands_back_behind_a_length_is_surplus(self) -> None:
        script = Script(length=100)
        script.pipe.passed_by(ALPHABET, 20)
        self.assertEqual((script.run()[-1], script.client), ("FINISH", ALPHABET[:20]))
        self.assertEqual(script.pipe.leftover, ALPHABET[20:])

    def test_preread_is_the_whole_stream(self) -> None:
        script = Script(preread=b"all", length=3)
        self.assertEqual((script.flows, script.run()), ("ended -> open", ["WRITE all", "FINISH"]))

    def test_preread_is_more_than_the_stream(self) -> None:
        for filters in ((), (Through(),)):
            script = Script(*filters, preread=b"all!!", length=3)
            self.assertEqual((script.run(), script.pipe.surplus), (["WRITE all", "FINISH"], 2))

    def test_preread_of_an_empty_stream_is_surplus(self) -> None:
        for filters in ((), (Through(),)):
            script = Script(*filters, preread=b"!!", length=0)
            self.assertEqual((script.run(), script.pipe.surplus, script.pipe.memory_bytes), (["FINISH"], 2, 0))

    def test_preread_is_memory_even_while_filters_have_it(self) -> None:
        script = Script(Through(lambda data: ()), preread=ALPHABET)
        script.run()
        self.assertEqual(script.pipe.peak_memory, 52)


class LengthTests(SynchronousTestCase):
    def test_length_l_and_l_bytes_held_delivered_at_once(self) -> None:
        """Though more could be read: the partial buffer completes the body."""
        script = Script(length=5).feed(b"hello")
        self.assertEqual(script.step(), "READ hello")
        self.assertIs(script.pipe.next_step(True, True), Step.WRITE)
        self.assertEqual(script.run(), ["WRITE hello", "FINISH"])

    def test_the_upstream_has_ended_though_the_client_lags(self) -> None:
        """So that its connection can be let go."""
        script = Script(length=5).feed(b"hello").stall()
        self.assertEqual((script.run(), script.flows), (["READ hello", "WAIT"], "ended -> open"))
        self.assertEqual(script.take().run(), ["WRITE hello", "FINISH"])

    def test_length_counts_down(self) -> None:
        script = Script(length=10).feed(b"abcd")
        script.run()
        self.assertEqual((script.pipe.length, script.flows), (6, "open -> open"))
        script.feed(b"efghij").run()
        self.assertEqual((script.pipe.length, script.flows), (0, "ended -> open"))

    def test_length_0_ends_at_once(self) -> None:
        entry = Calls(last=[b"."])
        script = Script(entry, length=0).feed(b"!!")
        self.assertEqual(script.run(), ["WRITE .", "FINISH"])
        self.assertEqual((script.close(), entry.calls), ([], ["started", "ended", "stopped None"]))

    def test_surplus_is_cut(self) -> None:
        script = Script(length=5).feed(b"hello!!!").end()
        self.assertEqual(script.run(), ["READ hello!!!", "WRITE hello", "FINISH"])
        self.assertEqual((script.pipe.surplus, script.pipe.bytes_in, script.client), (3, 8, b"hello"))

    def test_surplus_reaches_no_filter(self) -> None:
        entry = Calls()
        script = Script(entry, length=5).feed(b"hello!!!")
        script.run()
        self.assertEqual((entry.calls, script.pipe.surplus), (["started", "received hello", "ended"], 3))

    def test_nothing_is_read_after_the_length(self) -> None:
        script = Script(length=8).feed(b"12345678next")
        self.assertEqual(script.run(), ["READ 12345678", "WRITE 12345678", "FINISH"])
        self.assertEqual((bytes(script.wire), script.pipe.surplus), (b"next", 0))

    def test_eof_before_the_length_delivers_everything_and_ends_uncleanly(self) -> None:
        script = Script(length=10).feed(b"abc").end()
        self.assertEqual(script.run(), ["READ abc", "READ end", "WRITE abc", "ABANDON"])
        self.assertIsInstance(script.pipe.error, UpstreamFailed)
        self.assertIn("ended 7 bytes before its announced length", str(script.pipe.error))

    def test_unknown_length_ends_with_the_stream(self) -> None:
        script = Script().feed(b"abc").end()
        script.run()
        self.assertEqual((script.pipe.length, script.pipe.surplus, script.flows), (None, 0, "ended -> open"))

    def test_an_end_after_the_length_changes_nothing(self) -> None:
        script = Script(length=3).feed(b"abc")
        script.run(1)
        script.pipe.did_end()
        script.pipe.did_fail(UpstreamFailed("reset"))
        self.assertEqual((script.run(), script.pipe.error), (["WRITE abc", "FINISH"], None))


class BusyTests(SynchronousTestCase):
    """What is handed to the client at once."""

    def test_busy_at_least_limit_flush_only(self) -> None:
        """Two full buffers wait for a ready client: nothing is read before they went out."""
        script = Script().feed(ALPHABET[:24])
        self.assertEqual(script.run(2), ["READ abcdefgh", "READ ijklmnop"])
        script.take(1)
        self.assertEqual(script.run(1), ["WRITE a"])
        script.take(15)
        self.assertEqual(script.run(1), ["READ qrstuvwx"], "15 bytes are less than busy_size")
        self.assertEqual(script.run(1), ["WRITE bcdefghijklmnop"])

    def test_a_batch_is_at_most_busy_size(self) -> None:
        script = Script().feed(ALPHABET[:32]).stall()
        script.run()
        self.assertEqual([text(part) for part in script.pipe.batch()], ["abcdefgh", "ijklmnop"])

    def test_busy_size_of_one_buffer(self) -> None:
        script = Script(busy_size=8).feed(ALPHABET[:16]).stall()
        script.run()
        self.assertEqual(script.take().run(), ["WRITE abcdefgh", "WRITE ijklmnop", "WAIT"])

    def test_one_byte_in_a_4k_buffer_counts_4k(self) -> None:
        script = Script(size=4096, busy_size=8192, file=0).feed(b"x" * 3 * 4096).stall()
        script.run()
        script.take(4095).run()
        self.assertEqual([len(part) for part in script.pipe.batch()], [1, 4096], "4 KiB and 4 KiB are busy_size")

    def test_a_buffer_counts_once_however_many_slices_of_it_are_out(self) -> None:
        script = Script(Through(pieces(1))).feed(b"abcdefghijklmnopq").stall()
        script.run()
        self.assertEqual([text(part) for part in script.pipe.batch()], list("abcdefghijklmnop"))

    def test_a_buffer_counts_once_even_with_other_bytes_between_its_slices(self) -> None:
        """As a filter writes that frames what it passes on."""

        def frame(data: memoryview) -> Iterator[Any]:
            for at in range(0, len(data), 4):
                yield b"+"
                yield data[at : at + 4]

        script = Script(Through(frame)).feed(b"abcdefgh").stall()
        script.run()
        self.assertEqual([text(part) for part in script.pipe.batch()], ["+", "abcd", "+", "efgh"])

    def test_bytes_of_a_filters_own_count_what_they_are(self) -> None:
        script = Script(Through(lambda data: [b"12345"] * 4)).feed(b"x").stall()
        script.run()
        script.take(0)
        self.assertEqual(script.take().run(), ["WRITE 123451234512345", "WRITE 12345", "WAIT"])

    def test_one_large_piece_goes_out_in_parts_of_busy_size(self) -> None:
        script = Script(Through(lambda data: [ALPHABET])).feed(b"x")
        self.assertEqual(
            script.run()[1:],
            ["WRITE abcdefghijklmnop", "WRITE qrstuvwxyzABCDEF", "WRITE GHIJKLMNOPQRSTUV", "WRITE WXYZ", "WAIT"],
        )

    def test_a_large_piece_waits_for_its_turn(self) -> None:
        script = Script(Through(lambda data: [data, ALPHABET])).feed(b"12345678").stall()
        script.run()
        self.assertEqual([text(part) for part in script.pipe.batch()], ["12345678"])

    def test_no_more_parts_than_iov_max(self) -> None:
        script = Script(Through(pieces(1)), size=4096, file=0).feed(b"x" * 4096).stall()
        script.run()
        self.assertEqual(len(script.pipe.batch()), 1024)
        script.take().run()
        self.assertEqual(script.client, b"x" * 4096)

    def test_no_more_buffers_than_iov_max_in_one_batch(self) -> None:
        script = Script(size=1, buffers=2000, busy_size=1999).feed(bytes(2000)).stall()
        script.run()
        self.assertEqual(len(script.pipe.batch()), 1024)

    def test_a_buffer_with_unsent_slices_is_not_reused(self) -> None:
        script = Script(buffers=2, file=0).feed(ALPHABET[:8]).stall()
        script.run()
        batch = script.pipe.batch()
        self.assertEqual(script.feed(ALPHABET[8:]).run(), ["READ ijklmnop", "WAIT"])
        self.assertEqual((text(batch), script.slabs), ("abcdefgh", (2, 0, 0)))
        script.take(7).run()
        self.assertEqual((text(script.pipe.batch()[:1]), script.slabs), ("h", (2, 0, 0)))
        self.assertEqual(script.take(1).run(1), ["WRITE h"])
        self.assertEqual(script.run(1), ["READ qrstuvwx"])

    def test_a_buffer_is_reused_when_its_last_slice_is_sent(self) -> None:
        script = Script(Through(pieces(3)), buffers=2, file=0).feed(ALPHABET[:16]).stall()
        script.run()
        told = []
        for _ in range(3):
            script.take(3).run()
            told.append((script.pipe.slabs, script.pipe.has_room))
        self.assertEqual(told, [(2, False), (2, False), (1, True)])

    def test_a_partial_buffer_whose_slices_wait_is_not_read_over(self) -> None:
        script = Script().feed(b"abc").take(1)
        self.assertEqual(script.run(2), ["READ abc", "WRITE a"])
        self.assertEqual(script.feed(b"xyz").run(1), ["READ xyz"])
        self.assertEqual(script.take().run(), ["WRITE bcxyz", "WAIT"])


class BlockedTests(SynchronousTestCase):
    """No buffer is free."""

    def test_no_free_buffer_and_a_ready_client_blocked_not_spilled(self) -> None:
        script = Script().feed(ALPHABET).stall()
        script.run(4)
        self.assertTrue(script.pipe.upstream_blocked)
        self.assertIn(" blocked>", repr(script.pipe))
        lines = script.take().run()
        self.assertEqual(lines[0], "WRITE abcdefghijklmnop")
        self.assertEqual((script.pipe.bytes_spilled, script.client), (0, ALPHABET))

    def test_no_free_buffer_and_little_in_each_blocked_not_spilled(self) -> None:
        """What is left in them is less than C{busy_size}; the ready client gets it all the same."""
        script = Script(Through(lambda data: [data[:1]])).feed(ALPHABET[:32]).stall()
        script.run()
        self.assertEqual((script.pipe.memory_bytes, script.pipe.slabs), (4, 4))
        script.feed(b"more").take()
        self.assertEqual(script.run(2), ["WRITE ai", "READ more"])

    def test_no_free_buffer_and_a_stuck_client_spilled(self) -> None:
        script = Script().feed(ALPHABET[:36]).stall()
        self.assertEqual(
            script.run(),
            [
                *("READ abcdefgh", "READ ijklmnop", "READ qrstuvwx", "READ yzABCDEF"),
                *("SPILL abcdefghijklmnop @0", "READ GHIJ", "WAIT"),
            ],
        )
        self.assertEqual(repr(script.pipe), "<Pipe open -> open slabs=3/4 memory=16 disk=16 in=36 out=0 spilled=16>")

    def test_nothing_to_read_nothing_spilled(self) -> None:
        script = Script().feed(ALPHABET[:32]).stall()
        self.assertEqual((script.run()[-1], script.pipe.upstream_blocked, script.pipe.bytes_spilled), ("WAIT", True, 0))

    def test_an_ended_upstream_is_not_spilled_for(self) -> None:
        script = Script(length=32).feed(ALPHABET[:32]).stall()
        self.assertEqual((script.run()[-1], script.pipe.upstream_blocked), ("WAIT", False))

    def test_max_0_and_a_stuck_client_reading_stops_and_no_read_timeout(self) -> None:
        script = Script(file=0).feed(ALPHABET).stall()
        self.assertEqual(script.run(), ["READ abcdefgh", "READ ijklmnop", "READ qrstuvwx", "READ yzABCDEF", "WAIT"])
        self.assertEqual((script.pipe.wants_read, script.pipe.upstream_blocked, len(script.wire)), (False, True, 20))
        script.take(8).run()
        self.assertEqual((script.pipe.slabs, len(script.wire)), (4, 12), "as much again as the client took")

    def test_a_full_file_and_a_stuck_client_reading_stops_and_no_read_timeout(self) -> None:
        script = Script(file=16).feed(ALPHABET + ALPHABET).stall()
        script.run()
        self.assertEqual((script.pipe.wants_read, script.pipe.disk.outstanding, len(script.wire)), (False, 16, 56))

    def test_no_free_buffer_and_room_in_the_file_the_upstream_is_wanted(self) -> None:
        """Its bytes would be taken, by way of the file: it is neither to be paused nor excused from its timeout."""
        script = Script().feed(ALPHABET[:32]).stall()
        script.run()
        self.assertTrue(script.pipe.wants_read)

    def test_blocked_is_over_as_soon_as_a_buffer_is_free(self) -> None:
        script = Script(file=0).feed(ALPHABET[:32]).stall()
        script.run()
        script.take(8).run()
        self.assertEqual((script.pipe.upstream_blocked, script.pipe.wants_read), (False, True))

    def test_buffering_off_is_one_buffer(self) -> None:
        script = Script(buffering=False).feed(ALPHABET[:16])
        self.assertEqual(script.run(), ["READ abcdefgh", "WRITE abcdefgh", "READ ijklmnop", "WRITE ijklmnop", "WAIT"])
        script.feed(ALPHABET).stall()
        self.assertEqual(script.run(), ["READ abcdefgh", "WAIT"])
        self.assertEqual((script.pipe.slabs, script.pipe.bytes_spilled), (1, 0))

    def test_buffering_off_with_a_filter(self) -> None:
        script = Script(Through(pieces(3)), buffering=False).feed(ALPHABET).take(1)
        script.run()
        script.take().run()
        self.assertEqual((script.client, script.slabs), (ALPHABET, NOTHING))


class SpillTests(SynchronousTestCase):
    """What goes to the file and comes back from it."""

    def test_order_holds_across_disk_and_memory(self) -> None:
        script = Script().feed(ALPHABET).stall()
        script.run()
        self.assertEqual((script.pipe.disk.outstanding, script.pipe.memory_bytes), (32, 16))
        self.assertEqual(
            script.take().run(),
            ["SEND_FILE abcdefghijklmnopqrstuvwxyzABCDEF", "WRITE GHIJKLMNOPQRSTUV", "WRITE WXYZ", "WAIT"],
        )
        self.assertEqual(script.client, ALPHABET)

    def test_the_file_goes_before_memory_however_little_the_client_takes(self) -> None:
        script = Script().feed(ALPHABET).stall()
        script.run()
        for _ in range(len(ALPHABET)):
            script.take(1).run()
        self.assertEqual(script.client, ALPHABET)

    def test_oldest_first_at_most_temp_file_write_size(self) -> None:
        script = Script(temp_file_write_size=12).feed(ALPHABET[:40]).stall()
        self.assertEqual(script.run()[4:6], ["SPILL abcdefghijkl @0", "READ GHIJKLMN"])

    def test_part_of_a_buffer_spilled_does_not_free_it(self) -> None:
        script = Script(temp_file_write_size=8).feed(ALPHABET[:40]).stall()
        script.disk_takes = 3
        self.assertEqual(script.run()[4:], ["SPILL abc @0", "SPILL def @3", "SPILL ghi @6", "READ GHIJKLMN", "WAIT"])
        self.assertEqual(script.pipe.slabs, 4)
        script.take().run()
        self.assertEqual(script.client, ALPHABET[:40])

    def test_contiguous_spills_are_one_range(self) -> None:
        script = Script(temp_file_write_size=8).feed(ALPHABET).stall()
        lines = script.run()
        self.assertEqual([line.split()[-1] for line in lines if line.startswith("SPILL")], ["@0", "@8", "@16"])
        self.assertEqual(script.pipe.file_range(1000), (0, 24))

    def test_the_client_takes_part_of_the_range(self) -> None:
        script = Script().feed(ALPHABET).stall()
        script.run()
        self.assertEqual(script.pipe.file_range(10), (0, 10))
        script.take(5).run()
        self.assertEqual(script.pipe.file_range(10), (5, 10))
        self.assertEqual(script.pipe.file_range(1000), (5, 27))

    def test_cap_honoured_to_the_byte(self) -> None:
        script = Script(file=19).feed(ALPHABET * 2).stall()
        lines = script.run()
        self.assertEqual([line for line in lines if "SPILL" in line], ["SPILL abcdefghijklmnop @0", "SPILL qrs @16"])
        self.assertEqual((script.pipe.disk.outstanding, script.pipe.disk.room), (19, 0))
        script.take().run()
        self.assertEqual(script.client, ALPHABET * 2)

    def test_cap_bounds_what_is_outstanding(self) -> None:
        """Not what was ever written (E4)."""
        script = Script(file=16).stall()
        sent = b""
        for _ in range(20):
            script.feed(ALPHABET)
            sent += ALPHABET
            script.run()
            self.assertTrue(script.pipe.disk.outstanding <= 16)
            script.take(40).run()
        script.take().run()
        self.assertEqual(script.client, sent)
        self.assertTrue(script.pipe.bytes_spilled > 10 * 16, script.pipe)

    def test_the_file_only_grows(self) -> None:
        """Nothing is written where bytes were sent from: sendfile lends those pages to the socket."""
        script = Script(file=20).feed(ALPHABET[:40]).stall()
        script.run()
        script.take(10).run()
        self.assertEqual((script.client, script.pipe.disk.outstanding), (b"abcdefghij", 6))
        script.feed(ALPHABET[40:])
        self.assertEqual(script.run()[1:3], ["SPILL qrstuvwxyzABCD @16", "READ WXYZ"])
        self.assertEqual(
            (repr(script.pipe.disk), script.pipe.file_range(1000)), ("<DiskRange 20/20 from 10>", (10, 20))
        )
        script.take().run()
        self.assertEqual(script.client, ALPHABET)

    def test_a_file_that_is_never_empty_grows_on(self) -> None:
        """Any number of bytes through a small file: what is outstanding lies between the two offsets, and is bounded."""
        script = Script(file=20, temp_file_write_size=8).feed(ALPHABET).stall()
        disk = script.pipe.disk
        before = written = 0
        sent = ALPHABET
        for _ in range(50):
            script.run()
            self.assertEqual((disk.outstanding, disk.room), (20, 0))
            self.assertEqual(disk.outstanding, disk.write_offset - disk.read_offset)
            self.assertEqual(len(script.file), disk.write_offset)
            self.assertTrue(disk.write_offset > before or not before)
            before, written = disk.write_offset, script.pipe.bytes_spilled
            script.take(12).run()
            script.feed(ALPHABET[:12])
            sent += ALPHABET[:12]
        self.assertEqual((script.starts, written), (1, before))
        self.assertTrue(before > 25 * 20, before)
        script.take().run()
        self.assertEqual(script.client, sent)

    def test_no_write_and_no_read_crosses_two_pieces(self) -> None:
        """The range is one all the same."""
        script = Script(piece=12).feed(ALPHABET).stall()
        self.assertEqual(
            [line for line in script.run() if line.startswith("SPILL")],
            ["SPILL abcdefghijkl @0", "SPILL mnopqrstuvwx @12"],
        )
        self.assertEqual((script.pipe.disk.outstanding, script.pipe.file_range(1000)), (24, (0, 12)))
        self.assertEqual(script.take(14).run(), ["SEND_FILE abcdefghijkl", "SEND_FILE mn", "WAIT"])
        self.assertEqual((script.pipe.file_range(1000), script.pipe.file_range(4)), ((14, 10), (14, 4)))
        script.take().run()
        self.assertEqual(script.client, ALPHABET)

    def test_the_cap_holds_across_pieces(self) -> None:
        """The end of a piece is no end of room: what has room is spilled though the piece it starts in is almost full."""
        script = Script(file=19, piece=6).feed(ALPHABET).stall()
        script.run()
        self.assertEqual((script.pipe.disk.outstanding, script.pipe.disk.room, script.pipe.wants_read), (19, 0, False))
        script.take().run()
        self.assertEqual(script.client, ALPHABET)

    def test_an_emptied_file_starts_anew(self) -> None:
        script = Script().feed(ALPHABET).stall()
        script.run()
        script.take(32).run()
        self.assertEqual((script.pipe.disk.outstanding, script.pipe.disk.write_offset), (0, 0))
        self.assertEqual((script.pipe.disk.read_offset, script.pipe.disk.room), (0, 1000))
        script.feed(ALPHABET).run()
        self.assertEqual((script.starts, script.pipe.file_range(1000)[0]), (2, 0))
        script.take().run()
        self.assertEqual(script.client, ALPHABET * 2)

    def test_disk_bytes_count_as_a_batch_that_waits(self) -> None:
        """A ready client is served from the file before anything is read, even if there is room."""
        script = Script(temp_file_write_size=32).feed(ALPHABET[:40]).stall()
        script.run()
        self.assertEqual((script.pipe.disk.outstanding, script.pipe.memory_bytes, script.pipe.slabs), (32, 8, 1))
        script.feed(b"more").take(1)
        self.assertEqual(script.run(1), ["SEND_FILE a"])

    def test_the_end_of_the_stream_is_in_the_file(self) -> None:
        """Nothing in memory is not nothing to send."""
        script = Script(temp_file_write_size=32).feed(ALPHABET[:32]).end().stall()
        self.assertEqual(script.run()[4:], [f"SPILL {text(ALPHABET[:32])} @0", "READ end", "WAIT"])
        self.assertEqual((script.pipe.memory_bytes, script.pipe.has_output), (0, True))
        self.assertEqual(script.take(20).run(), [f"SEND_FILE {text(ALPHABET[:20])}", "WAIT"])
        self.assertEqual(script.take().run(), [f"SEND_FILE {text(ALPHABET[20:32])}", "FINISH"])
        self.assertEqual(script.pipe.bytes_out, 32)

    def test_no_more_parts_than_iov_max_are_spilled_at_once(self) -> None:
        stream = bytes(2500)
        script = Script(size=1, buffers=2000, busy_size=1999, temp_file_write_size=1999, file=3000).feed(stream)
        script.stall().run()
        self.assertEqual(script.pipe.bytes_spilled, 1024)
        script.take().run()
        self.assertEqual(script.client, stream)

    def test_what_a_filter_made_spills(self) -> None:
        script = Script(Through(lambda data: [bytes(data).upper() * 3])).feed(ALPHABET).stall()
        script.run()
        self.assertTrue(script.pipe.bytes_spilled > 0)
        script.take().run()
        self.assertEqual(script.client, b"".join(ALPHABET[at : at + 8].upper() * 3 for at in range(0, 52, 8)))

    def test_many_small_pieces_spill(self) -> None:
        script = Script(Through(pieces(1)), size=2048, file=8192).feed(b"x" * 9000).stall()
        script.run()
        script.take().run()
        self.assertEqual(script.client, b"x" * 9000)

    def test_spill_failed_falls_back_to_back_pressure(self) -> None:
        """A full disk fails no request: the bytes are still in memory, the upstream waits (E8)."""
        script = Script().feed(ALPHABET).stall()
        script.disk_takes = OSError(28, "No space left on device")
        self.assertEqual(script.run()[4:], ["SPILL failed", "WAIT"])
        self.assertEqual((script.pipe.wants_read, script.pipe.error, len(script.wire)), (False, None, 20))
        script.disk_takes = None
        script.take(8)
        self.assertEqual(script.run(), ["WRITE abcdefgh", "READ GHIJKLMN", "WAIT"], "and does not try again")
        script.end().take()
        self.assertEqual(script.run()[-1], "FINISH")
        self.assertEqual(script.client, ALPHABET)

    def test_spill_failed_keeps_what_is_in_the_file(self) -> None:
        script = Script(temp_file_write_size=8).feed(ALPHABET[:40]).stall()
        script.run()
        script.disk_takes = OSError(28, "No space left on device")
        script.feed(ALPHABET[40:]).run()
        self.assertEqual((script.pipe.disk.outstanding, script.pipe.memory_bytes), (8, 32))
        script.take().run()
        self.assertEqual(script.client, ALPHABET)

    def test_bytes_lost_on_disk_break_the_pipe(self) -> None:
        script = Script().feed(ALPHABET).stall()
        script.run()
        script.pipe.did_break(Cancelled("the file is gone"))
        self.assertEqual((script.take().run(), script.close(), script.slabs[0]), (["ABANDON"], [], 0))
        self.assertEqual(script.pipe.disk.outstanding, 0)


class EndTests(SynchronousTestCase):
    """The upstream ends or breaks off."""

    def test_finish_after_eof_with_a_pending_write(self) -> None:
        script = Script().feed(b"hello").end().stall()
        self.assertEqual(script.run(), ["READ hello", "READ end", "WAIT"])
        self.assertEqual(script.take(4).run(), ["WRITE hell", "WAIT"])
        self.assertEqual(script.take(1).run(), ["WRITE o", "FINISH"])

    def test_eof_and_a_stuck_client_everything_still_arrives(self) -> None:
        script = Script().feed(ALPHABET).end().stall()
        self.assertEqual((script.run()[-2:], script.flows), (["READ end", "WAIT"], "ended -> open"))
        for _ in range(len(ALPHABET)):
            self.assertEqual(script.client, ALPHABET[: len(script.client)])
            last = script.take(1).run()[-1]
        self.assertEqual((last, script.client), ("FINISH", ALPHABET))
        self.assertEqual((script.close(), script.slabs[0], script.slabs[2]), ([], 0, 0))

    def test_upstream_failure_delivers_all_that_was_received_and_ends_uncleanly(self) -> None:
        """nginx discards it (E1)."""
        entry = Through(last=[b"the end"])
        script = Script(entry).feed(ALPHABET).fail(UpstreamFailed("reset")).stall()
        script.run()
        self.assertEqual((script.flows, script.pipe.disk.outstanding), ("failed -> open", 32))
        script.take()
        self.assertEqual((script.run()[-1], script.client), ("ABANDON", ALPHABET))
        script.close()
        self.assertEqual((str(script.pipe.error), entry.stops), ("reset", [script.pipe.error]))

    def test_upstream_failure_delivers_a_partial_buffer(self) -> None:
        script = Script().feed(b"abc").fail(UpstreamFailed("reset"))
        self.assertEqual(script.run(), ["READ abc", "READ error", "WRITE abc", "ABANDON"])

    def test_a_read_timeout_delivers_all_that_was_received(self) -> None:
        script = Script().feed(b"abc").take(1)
        script.run()
        script.pipe.did_fail(TimedOut(Side.UPSTREAM, "read timeout", 60))
        self.assertEqual(script.take().run(), ["WRITE bc", "ABANDON"])

    def test_upstream_failure_with_nothing_held(self) -> None:
        script = Script().fail(UpstreamFailed("reset"))
        self.assertEqual(script.run(), ["READ error", "ABANDON"])

    def test_upstream_failure_while_a_filter_works(self) -> None:
        """What it was given it may finish, but it is not told of a clean end."""
        entry = Calls(lambda data: iter([Later(), bytes(data)]), last=[b"the end"])
        script = Script(entry).feed(b"abc")
        script.run()
        script.fail(UpstreamFailed("reset")).run()
        self.assertEqual(script.run(), ["WAIT"])
        script.pipe.filter_resumed(None)
        self.assertEqual(script.run(), ["WRITE abc", "ABANDON"])
        self.assertEqual(entry.calls, ["started", "received abc"])

    def test_the_first_reason_stays(self) -> None:
        script = Script().feed(b"abc").stall()
        script.run()
        script.pipe.did_fail(UpstreamFailed("first"))
        script.pipe.did_fail(UpstreamFailed("second"))
        self.assertEqual((str(script.pipe.error), script.flows, script.run()), ("first", "failed -> open", ["WAIT"]))
        self.assertEqual((script.take().run(), str(script.pipe.error)), (["WRITE abc", "ABANDON"], "first"))

    def test_what_cuts_delivery_short_is_the_error(self) -> None:
        """With C{UpstreamFailed} everything received was delivered; here it was not."""
        script = Script().feed(b"abc").stall()
        script.run()
        upstream, client = UpstreamFailed("reset"), DownstreamFailed("gone")
        script.pipe.did_fail(upstream)
        script.pipe.did_break(client)
        script.pipe.did_break(DownstreamFailed("gone again"))
        self.assertEqual((script.pipe.error, client.__context__), (client, upstream))
        self.assertEqual((script.flows, script.run()), ("failed -> failed", ["ABANDON"]))

    def test_errors_in_a_circle(self) -> None:
        """Two pipes of a connection, each ended with the other's error, or one twice with its own."""

        class Counted(UpstreamFailed):
            looks = 0

            @property
            def __cause__(self) -> None:
                self.looks += 1
                if self.looks > 100:
                    raise AssertionError("followed round and round")

        one, two = Script(), Script()
        errors = [Counted("one"), Counted("two")]
        for script, error in zip((one, two), errors, strict=True):
            script.pipe.did_fail(error)
        for script, error in zip((one, two), reversed(errors), strict=True):
            script.pipe.did_break(error)
        for script in (one, two):
            self.assertEqual((script.run(), script.close()), (["ABANDON"], []))
        alone, error = Script(), Counted("alone")
        alone.pipe.did_fail(error)
        alone.pipe.did_break(error)
        self.assertEqual((alone.run(), alone.close()), (["ABANDON"], []))

    def test_an_upstream_that_failed_stays_failed(self) -> None:
        script = Script()
        script.pipe.did_fail(UpstreamFailed("reset"))
        script.pipe.did_end()
        self.assertEqual((script.flows, script.run()), ("failed -> open", ["ABANDON"]))

    def test_an_upstream_that_ended_stays_ended(self) -> None:
        script = Script()
        script.pipe.did_end()
        script.pipe.did_fail(UpstreamFailed("reset"))
        self.assertEqual((script.flows, script.pipe.error, script.run()), ("ended -> open", None, ["FINISH"]))

    def test_an_ended_upstream_is_not_wanted(self) -> None:
        for end in (Script().end(), Script().fail(UpstreamFailed("reset")), Script(length=0)):
            end.run()
            self.assertEqual((end.pipe.wants_read, end.pipe.upstream_blocked), (False, False))


class BreakTests(SynchronousTestCase):
    """Nothing more can be delivered: every buffer comes back, no clean end."""

    def test_downstream_error_every_buffer_comes_back(self) -> None:
        for filters in ((), (Through(),), (Through(pieces(3)), Through(pieces(1)))):
            script = Script(*filters).feed(ALPHABET + b"abc").stall()
            script.run()
            script.lose_client()
            self.assertEqual((script.run(), script.close()), (["ABANDON"], []))
            self.assertEqual((script.slabs, script.pipe.slabs), ((0, 4, 0), 0))
            self.assertEqual(
                repr(script.pipe),
                f"<Pipe open -> failed slabs=0/4 memory=0 disk=0 in=55 out=0 spilled={script.pipe.bytes_spilled}>",
            )
            self.assertEqual([entry.stops for entry in filters], [[script.pipe.error]] * len(filters))

    def test_downstream_error_with_a_partial_buffer(self) -> None:
        script = Script().feed(b"abc").stall()
        script.run()
        script.lose_client().close()
        self.assertEqual(script.slabs, NOTHING)

    def test_the_upstream_is_not_to_blame_for_a_downstream_error(self) -> None:
        script = Script().lose_client()
        script.pipe.did_fail(UpstreamFailed("reset by us"))
        self.assertIsInstance(script.pipe.error, DownstreamFailed)

    def test_nothing_is_read_after_a_downstream_error(self) -> None:
        script = Script().feed(b"abc").lose_client()
        self.assertEqual((script.run(), script.pipe.wants_read), (["ABANDON"], False))

    def test_filter_error_buffers_come_back_no_clean_end(self) -> None:
        def fails(data: memoryview) -> Any:
            raise ValueError("odd")

        entry = Through(fails)
        script = Script(entry, length=8).feed(b"abcdefgh")
        self.assertEqual(script.run(), ["READ abcdefgh", "ABANDON"])
        self.assertEqual((script.close(), script.slabs, entry.stops), ([], NOTHING, [script.pipe.error]))
        self.assertEqual(str(script.pipe.error), "filter 'filter0': ValueError: odd")
        self.assertEqual(script.flows, "ended -> failed")

    def test_filter_error_in_a_generator_buffers_come_back(self) -> None:
        """The error's traceback must not hold on to what the filter was lent."""

        def fails(data: memoryview) -> Iterator[Any]:
            yield data[:3]
            raise ValueError("odd")

        script = Script(Through(fails)).feed(b"abcdefgh")
        self.assertEqual((script.run(), script.close(), script.slabs), (["READ abcdefgh", "ABANDON"], [], NOTHING))

    def test_filter_error_in_a_later_filter_buffers_come_back(self) -> None:
        def fails(data: memoryview) -> Iterator[Any]:
            yield data[:3]
            raise ValueError("odd")

        script = Script(Through(pieces(4)), Through(fails), Through(pieces(1))).feed(b"abcdefgh")
        script.run()
        self.assertEqual((script.close(), script.slabs), ([], NOTHING))

    def test_filter_error_while_another_is_handled_buffers_come_back(self) -> None:
        def fails(data: memoryview) -> Iterator[Any]:
            try:
                raise LookupError("first")
            except LookupError:
                view = data[2:]
                raise ValueError(f"second, at {view[0]}") from None
            yield

        script = Script(Through(fails)).feed(b"abcdefgh")
        script.run()
        self.assertEqual((script.close(), script.slabs), ([], NOTHING))

    def test_filter_error_that_is_its_own_cause(self) -> None:
        """Whoever follows the causes must not go round in a circle."""

        class Circular(ValueError):
            looks = 0

            @property
            def __cause__(self) -> Circular:
                self.looks += 1
                if self.looks > 100:
                    raise AssertionError("followed round and round")
                return self

        def fails(data: memoryview) -> Any:
            raise Circular("odd")

        script = Script(Through(fails)).feed(b"abc")
        self.assertEqual((script.run()[-1], script.close(), script.slabs), ("ABANDON", [], NOTHING))

    def test_filter_error_in_ended_is_no_clean_end(self) -> None:
        def fails() -> Iterator[Any]:
            yield b"."
            raise ValueError("odd")

        script = Script(Through(last=fails())).feed(b"abc").end()
        self.assertEqual(script.run(), ["READ abc", "READ end", "ABANDON"])

    def test_filter_error_that_the_next_filter_is_not_to_blame_for(self) -> None:
        script = Script(Through(), Through(lambda data: [7]), Through()).feed(b"abc")
        script.run()
        error = script.pipe.error
        assert isinstance(error, FilterFailed)
        self.assertEqual((error.side, error.name), (Side.FILTER, "filter1"))

    def test_broken_before_it_began(self) -> None:
        entry = Calls()
        script = Script(entry, preread=b"head").lose_client()
        self.assertEqual((script.run(), script.close()), (["ABANDON"], []))
        self.assertEqual(entry.calls, ["stopped DownstreamFailed"])


class DelayTests(SynchronousTestCase):
    """A rate limit forbids reading."""

    def delayed(self) -> Script:
        script = Script().feed(b"abc")
        script.pipe.delayed = True
        return script

    def test_delayed_and_data_no_read_no_timeout(self) -> None:
        script = self.delayed()
        self.assertEqual((script.run(), script.pipe.wants_read, bytes(script.wire)), (["WAIT"], False, b"abc"))
        self.assertTrue(repr(script.pipe).endswith(" delayed>"))
        script.pipe.delayed = False
        self.assertEqual((script.pipe.wants_read, script.run()), (True, ["READ abc", "WRITE abc", "WAIT"]))

    def test_delayed_what_was_read_goes_out(self) -> None:
        script = Script().feed(b"abcdef")
        script.run(1)
        script.pipe.delayed = True
        self.assertEqual(script.feed(b"more").run(), ["WRITE abcdef", "WAIT"])

    def test_delayed_nothing_is_spilled(self) -> None:
        script = Script().feed(ALPHABET).stall()
        script.run(4)
        script.pipe.delayed = True
        self.assertEqual(script.run(), ["WAIT"])

    def test_delayed_the_end_waits_too(self) -> None:
        script = Script().end()
        script.pipe.delayed = True
        self.assertEqual(script.run(), ["WAIT"])
        script.pipe.delayed = False
        self.assertEqual(script.run(), ["READ end", "FINISH"])

    def test_delayed_an_ended_stream_finishes(self) -> None:
        script = Script(length=3).feed(b"abc")
        script.run(1)
        script.pipe.delayed = True
        self.assertEqual(script.run(), ["WRITE abc", "FINISH"])


class FilterTests(SynchronousTestCase):
    """What filters put out, and when they are pulled."""

    def test_slices_are_sent_as_they_are(self) -> None:
        script = Script(Through(pieces(3))).feed(b"abcdefgh").stall()
        script.run()
        parts = script.pipe.batch()
        self.assertEqual([text(part) for part in parts], ["abc", "def", "gh"])
        self.assertEqual(len({id(part.obj) for part in parts}), 1, "they were copied")  # type: ignore[union-attr]

    def test_a_buffer_a_filter_is_done_with_comes_back(self) -> None:
        script = Script(Through(lambda data: [bytes(data)])).feed(b"abcdefgh").stall()
        script.run()
        self.assertEqual((script.pipe.slabs, script.pipe.memory_bytes, script.slabs), (0, 8, NOTHING))

    def test_output_is_bounded_by_the_memory_of_all_buffers(self) -> None:
        """A bomb stops in the middle, until the client takes something."""
        made: list[int] = []

        def explode(data: memoryview) -> Iterator[bytes]:
            for number in range(10_000):
                made.append(number)
                yield b"12345678"

        script = Script(Through(explode), file=0).feed(b"x" * 8).stall()
        script.run()
        self.assertEqual((len(made), script.pipe.memory_bytes), (4, 32))
        script.take(16).run()
        self.assertEqual((len(made), script.pipe.memory_bytes), (6, 32))
        self.assertTrue(script.pipe.peak_memory <= 32 + 8, script.pipe.peak_memory)

    def test_output_is_bounded_in_count(self) -> None:
        script = Script(Through(pieces(1)), size=4096, file=0).feed(b"x" * 4096).stall()
        script.run()
        self.assertEqual(script.pipe.memory_bytes, 1024)

    def test_input_is_bounded_while_the_output_is_full(self) -> None:
        script = Script(Through(lambda data: [b"y" * 40]), file=0).feed(b"x" * 1000).stall()
        script.run()
        self.assertEqual((script.pipe.slabs, script.pipe.upstream_blocked, len(script.wire)), (4, True, 1000 - 4 * 8))

    def test_odd_views_are_copied(self) -> None:
        def odd(data: memoryview) -> list[memoryview]:
            table = data.cast("B", shape=[2, 4])
            column = data.cast("B", shape=[8, 1])
            return [data[::2], data[::-1], data.cast("I"), table, column, data.cast("b"), data.cast("c")]

        script = Script(Through(odd)).feed(b"abcdefgh")
        script.run()
        self.assertEqual(script.client, b"aceg" + b"hgfedcba" + 5 * b"abcdefgh")

    def test_a_view_without_dimensions_is_bytes_or_refused(self) -> None:
        script = Script(Through(lambda data: [memoryview(b"a").cast("B", shape=[])])).feed(b"x")
        lines = script.run()
        self.assertIn(lines, (["READ x", "WRITE a", "WAIT"], ["READ x", "ABANDON"]))
        script.close()
        self.assertIsInstance(script.pipe.error, PipeFinished if "WAIT" in lines else FilterFailed)

    def test_odd_views_cost_no_buffer(self) -> None:
        for odd in (lambda data: [data[::2]], lambda data: [data.cast("I")], lambda data: (data[::2] for _ in "a")):
            script = Script(Through(odd)).feed(b"abcdefgh")
            script.run()
            self.assertEqual(script.slabs, NOTHING)

    def test_a_changing_bytearray_is_copied(self) -> None:
        def reuse(data: memoryview) -> Iterator[bytearray]:
            buffer = bytearray()
            for byte in bytes(data):
                buffer[:] = [byte, byte]
                yield buffer

        for filters in ([Through(reuse)], [Through(reuse), Through(pieces(1))]):
            script = Script(*filters).feed(b"abc").stall()
            script.run()
            self.assertEqual((script.take().run()[0], script.client), ("WRITE aabbcc", b"aabbcc"))

    def test_a_view_of_a_changing_bytearray_is_copied(self) -> None:
        buffer = bytearray(2)

        def reuse(data: memoryview) -> Iterator[memoryview]:
            for byte in bytes(data):
                buffer[:] = [byte, byte]
                yield memoryview(buffer)[:1]

        script = Script(Through(reuse)).feed(b"abc").stall()
        script.run()
        script.take().run()
        self.assertEqual(script.client, b"abc")

    def test_a_view_of_bytes_is_sent_as_it_is(self) -> None:
        page = b"0123456789"
        script = Script(Through(lambda data: [memoryview(page)[2:6]])).feed(b"x" * 8).stall()
        script.run()
        [part] = script.pipe.batch()
        self.assertIs(part.obj, page)  # type: ignore[union-attr]

    def test_bytes_of_a_class_of_their_own(self) -> None:
        class Line(bytes):
            pass

        script = Script(Through(lambda data: [Line(b"abc"), memoryview(Line(b"def"))])).feed(b"x")
        script.run()
        self.assertEqual(script.client, b"abcdef")

    def test_what_a_filter_keeps_never_changes(self) -> None:
        """It loses a buffer, which is counted, and nothing else."""
        kept: list[memoryview] = []

        def keep(data: memoryview) -> list[memoryview]:
            kept.append(data)
            return [data]

        script = Script(Through(keep))
        for at in range(0, 48, 8):
            script.feed(ALPHABET[at : at + 8]).run()
        self.assertEqual((text(list(kept)), script.client), (text(ALPHABET[:48]), ALPHABET[:48]))
        self.assertEqual((script.slabs, script.pipe.slabs), ((0, 0, 6), 0))
        script.close()
        self.assertEqual(script.slabs, (0, 0, 6))

    def test_what_a_filter_keeps_of_a_partial_buffer_never_changes(self) -> None:
        kept: list[memoryview] = []

        def keep(data: memoryview) -> tuple[()]:
            kept.append(data)
            return ()

        script = Script(Through(keep))
        for letter in b"abcd":
            script.feed(bytes([letter]))
            script.run(1)
            self.assertIs(script.pipe.next_step(False, True), Step.WAIT)
        self.assertEqual((text(list(kept)), script.slabs), ("abcd", (0, 0, 4)))

    def test_what_a_filter_keeps_of_a_buffer_still_being_filled_never_changes(self) -> None:
        kept: list[memoryview] = []

        def keep(data: memoryview) -> list[bytes]:
            kept.append(data)
            return [b"."]

        script = Script(Through(keep))
        for letter in b"abcd":
            script.feed(bytes([letter]))
            self.assertEqual(script.run(2), [f"READ {chr(letter)}", "WRITE ."])
        self.assertEqual((text(list(kept)), script.pipe.slabs), ("abcd", 1))

    def test_what_a_filter_kept_it_may_put_out_later(self) -> None:
        kept: list[memoryview] = []

        def later(data: memoryview) -> list[memoryview]:
            kept.append(data)
            return kept[-2:-1]

        script = Script(Through(later))
        for piece in (b"abcdefgh", b"ijklmnop", b"qrstuvwx"):
            script.feed(piece).run()
        self.assertEqual(script.client, b"abcdefghijklmnop")

    def test_what_a_filter_lets_go_after_its_turn_is_still_sent(self) -> None:
        """A view is the filter's own: it may release the object it has put out, as C{with} does."""

        def whole(data: memoryview) -> Iterator[memoryview]:
            yield data
            data.release()

        def part(data: memoryview) -> Iterator[memoryview]:
            with data[:] as view:
                yield view

        def own(data: memoryview) -> Iterator[memoryview]:
            with memoryview(bytes(data)) as view:
                yield view

        for release in (whole, part, own):
            script = Script(Through(release)).feed(b"abc")
            self.assertEqual(
                (script.run(), script.client), (["READ abc", "WRITE abc", "WAIT"], b"abc"), release.__name__
            )

    def test_a_filter_that_swallows_everything(self) -> None:
        script = Script(Through(lambda data: (), last=[b"done"])).feed(ALPHABET).end()
        self.assertEqual((script.run()[-2:], script.client), (["WRITE done", "FINISH"], b"done"))

    def test_the_clean_end_waits_for_the_filters_last_output(self) -> None:
        script = Script(Through(last=[b"12345678"] * 10), file=0).feed(b"abc").end().take(3)
        self.assertEqual(script.run()[-1], "WAIT")
        self.assertEqual((script.take().run()[-1], script.client), ("FINISH", b"abc" + b"12345678" * 10))


class SuspensionTests(SynchronousTestCase):
    """A filter waits for something."""

    def waiting(self, **options: Any) -> Script:
        def asks(data: memoryview) -> Iterator[Any]:
            answer = yield Later()
            yield answer or data

        script = Script(Through(asks), **options).feed(b"abc")
        self.assertEqual(script.run(), ["READ abc", "AWAIT", "WAIT"])
        return script

    def test_awaited_once(self) -> None:
        script = self.waiting()
        self.assertEqual((script.run(), script.run()), (["WAIT"], ["WAIT"]))
        self.assertTrue(repr(script.pipe).endswith(" filtering>"))

    def test_resumed(self) -> None:
        script = self.waiting()
        script.pipe.filter_resumed(b"answer")
        self.assertEqual((script.run(), script.slabs), (["WRITE answer", "WAIT"], NOTHING))
        self.assertNotIn("filtering", repr(script.pipe))

    def test_resumed_at_once(self) -> None:
        """By a Deferred that has fired, while the driver subscribes."""
        script = Script(Through(lambda data: iter([Later(), Later(), data]))).feed(b"abc")
        lines = []
        for _ in range(5):
            lines += script.run(1)
            if lines[-1] == "AWAIT":
                script.pipe.filter_resumed(None)
        self.assertEqual(lines, ["READ abc", "AWAIT", "AWAIT", "WRITE abc", "WAIT"])

    def test_failed(self) -> None:
        script = self.waiting()
        script.pipe.filter_failed(LookupError("nobody"))
        self.assertEqual((script.run(), script.close(), script.slabs), (["ABANDON"], [], NOTHING))
        self.assertEqual(str(script.pipe.error), "filter 'filter0': LookupError: nobody")

    def test_failed_and_waiting_again(self) -> None:
        def tries(data: memoryview) -> Iterator[Any]:
            try:
                yield Later()
            except LookupError:
                yield Later()
            yield data

        script = Script(Through(tries)).feed(b"abc")
        script.run()
        script.pipe.filter_failed(LookupError("nobody"))
        self.assertEqual(script.run(), ["AWAIT", "WAIT"])
        script.pipe.filter_resumed(None)
        self.assertEqual(script.run(), ["WRITE abc", "WAIT"])

    def test_what_it_works_on_stays_held(self) -> None:
        script = self.waiting()
        self.assertEqual((script.pipe.slabs, script.slabs), (1, (1, 0, 0)))

    def test_no_read_timeout_meanwhile(self) -> None:
        script = self.waiting()
        self.assertFalse(script.pipe.wants_read)
        script.pipe.filter_resumed(None)
        self.assertTrue(script.pipe.wants_read)

    def test_waiting_is_bounded(self) -> None:
        script = self.waiting().feed(b"x" * 1000)
        script.run()
        self.assertEqual((script.pipe.slabs, script.pipe.upstream_blocked, script.pipe.bytes_in), (4, True, 32))

    def test_small_reads_are_packed_meanwhile(self) -> None:
        """The filter could not take them, so they need not take a buffer each (E3)."""
        script = self.waiting()
        for letter in b"defghijk":
            script.feed(bytes([letter])).run()
        self.assertEqual((script.pipe.bytes_in, script.pipe.slabs), (11, 2))

    def test_output_before_it_goes_out_meanwhile(self) -> None:
        script = Script(Through(lambda data: [data[:1], Later(), data[1:]])).feed(b"abc")
        self.assertEqual(script.run(), ["READ abc", "WRITE a", "AWAIT", "WAIT"])

    def test_no_end_before_it_is_over(self) -> None:
        for end in (Script.end, lambda script: script.fail(UpstreamFailed("reset"))):
            script = self.waiting()
            end(script)
            self.assertEqual(script.run()[-1], "WAIT")
            script.pipe.filter_resumed(None)
            self.assertIn(script.run()[-1], ("FINISH", "ABANDON"))
            self.assertEqual(script.client, b"abc")

    def test_while_starting(self) -> None:
        script = Script(Through(first=[Later(), b"<"])).feed(b"abc").end()
        self.assertEqual(script.run(), ["READ abc", "READ end", "AWAIT", "WAIT"])
        script.pipe.filter_resumed(None)
        self.assertEqual(script.run(), ["WRITE <abc", "FINISH"])

    def test_while_ending(self) -> None:
        script = Script(Through(last=[Later(), b">"])).feed(b"abc").end()
        self.assertEqual(script.run(), ["READ abc", "READ end", "WRITE abc", "AWAIT", "WAIT"])
        script.pipe.filter_resumed(None)
        self.assertEqual(script.run(), ["WRITE >", "FINISH"])

    def test_broken_meanwhile(self) -> None:
        script = self.waiting().lose_client()
        self.assertEqual((script.run(), script.close(), script.slabs), (["ABANDON"], [], NOTHING))

    def test_an_answer_after_the_end_does_nothing(self) -> None:
        script = self.waiting().lose_client()
        script.close()
        script.pipe.filter_resumed(b"late")
        script.pipe.filter_failed(LookupError("late"))
        self.assertEqual((script.run(), script.pipe.memory_bytes, script.slabs), (["ABANDON"], 0, NOTHING))

    def test_without_filters_an_answer_does_nothing(self) -> None:
        script = Script()
        script.pipe.filter_resumed(b"whose?")
        script.pipe.filter_failed(LookupError("whose?"))
        self.assertEqual(script.run(), ["WAIT"])


class CloseTests(SynchronousTestCase):
    """Accounting, in every state in which a pipe may be closed."""

    def states(self) -> Iterator[tuple[str, Script, list[Any]]]:
        """Scripts, each left in the middle of something, and their filters."""

        def waits(data: memoryview) -> Iterator[Any]:
            yield data[:1]
            yield Later()

        kinds: dict[str, Callable[[], list[Any]]] = {
            "none": list,
            "slices": lambda: [Through(pieces(3))],
            "own": lambda: [Through(lambda data: [bytes(data) * 2])],
            "two": lambda: [Through(pieces(2)), Through(pieces(1))],
            "waits": lambda: [Through(), Through(waits), Through()],
            "holds": lambda: [Through(lambda data: ())],
        }
        for kind, make in kinds.items():
            for preread in (b"", b"head"):
                for feed in (b"", b"abc", ALPHABET[:32], ALPHABET * 3):
                    for room in (0, 1, 20, None):
                        for ending in ("", "end", "fail", "break"):
                            filters = make()
                            script = Script(*filters, preread=preread, file=40).feed(feed).take(room)
                            if ending == "end":
                                script.end()
                            elif ending == "fail":
                                script.fail(UpstreamFailed("reset"))
                            script.run()
                            if ending == "break":
                                script.lose_client()
                            yield f"{kind} {preread!r} {len(feed)} {room} {ending}", script, filters

    def test_every_buffer_comes_back_and_every_filter_is_told_once(self) -> None:
        for name, script, filters in self.states():
            pipe = script.pipe
            over = script.run()[-1]
            self.assertEqual(script.close(), [], name)
            self.assertEqual(
                (pipe.slabs, pipe.memory_bytes, pipe.disk.outstanding, pipe.has_output), (0, 0, 0, False), name
            )
            statistics = script.pool.statistics()
            self.assertEqual((statistics.in_use, statistics.lost), (0, 0), name)
            self.assertEqual((pipe.error is None), over == "FINISH", name)
            self.assertEqual([entry.stops for entry in filters], [[pipe.error]] * len(filters), name)
            self.assertEqual(script.flows.endswith("ended"), over == "FINISH", name)
            self.assertEqual((pipe.wants_read, pipe.upstream_blocked), (False, False), name)

    def test_all_is_told_in_repr(self) -> None:
        """Nothing is under way any more."""
        for name, script, _ in self.states():
            script.close()
            self.assertIn(" slabs=0/4 memory=0 disk=0 ", repr(script.pipe), name)
            self.assertFalse(repr(script.pipe).endswith((" blocked>", " filtering>")), f"{name}: {script.pipe!r}")

    def test_twice(self) -> None:
        entry = Through()
        script = Script(entry).feed(ALPHABET).stall()
        script.run()
        script.close()
        self.assertEqual((script.close(), len(entry.stops), script.slabs), ([], 1, (0, 4, 0)))

    def test_before_its_end(self) -> None:
        script = Script().feed(b"abc").stall()
        script.run()
        script.close()
        self.assertIsInstance(script.pipe.error, PipeFinished)
        self.assertEqual((script.flows, script.run()), ("open -> failed", ["ABANDON"]))

    def test_before_anything(self) -> None:
        script = Script()
        self.assertEqual((script.close(), script.slabs), ([], (0, 0, 0)))
        self.assertIsInstance(script.pipe.error, PipeFinished)

    def test_drained_but_not_asked(self) -> None:
        """All was delivered, so it is clean though FINISH was never said."""
        script = Script(length=3).feed(b"abc")
        script.run(2)
        script.close()
        self.assertEqual((script.pipe.error, script.flows), (None, "ended -> ended"))

    def test_read_but_not_passed_on(self) -> None:
        """Bytes in a partial buffer are bytes that were not delivered."""
        script = Script(length=3).feed(b"abc")
        script.run(1)
        script.close()
        self.assertIsInstance(script.pipe.error, PipeFinished)
        self.assertEqual((script.flows, script.client), ("ended -> failed", b""))

    def test_before_the_filters_were_told_of_the_end(self) -> None:
        script = Script(Through(last=[b"the end"])).feed(b"abc")
        script.run()
        script.pipe.did_end()
        script.close()
        self.assertIsInstance(script.pipe.error, PipeFinished)

    def test_broken_when_all_was_delivered(self) -> None:
        """The end was not passed on, so it is not clean."""
        entry = Through()
        script = Script(entry, length=3).feed(b"abc")
        script.run(2)
        script.lose_client().close()
        self.assertEqual((script.flows, entry.stops), ("ended -> failed", [script.pipe.error]))
        self.assertIsInstance(script.pipe.error, DownstreamFailed)

    def test_after_it_nothing_is_done(self) -> None:
        for script in (Script().end(), Script().fail(UpstreamFailed("reset")), Script().lose_client()):
            script.run()
            script.close()
            self.assertEqual(script.feed(b"abc").run(), ["ABANDON"])

    def test_what_filters_raise_is_returned(self) -> None:
        class Raises(Through):
            def stopped(self, reason: BaseException | None) -> None:
                raise ValueError("cannot stop")

        script = Script(Raises(), Through()).feed(ALPHABET).stall()
        script.run()
        [problem] = script.close()
        self.assertIsInstance(problem, FilterFailed)
        self.assertEqual((str(problem), script.slabs), ("filter 'filter0': ValueError: cannot stop", (0, 4, 0)))

    def test_a_generator_that_raises_when_closed_costs_no_buffer(self) -> None:
        """The error is for the log; its traceback must not hold on to what the filter was lent."""

        def generate(data: memoryview) -> Iterator[Any]:
            try:
                yield data[:3]
                yield Later()
            finally:
                raise ValueError("cannot close")

        script = Script(Through(generate)).feed(b"abcdefgh")
        script.run()
        problems = script.close()
        self.assertEqual((len(problems), script.slabs), (1, NOTHING))

    def test_two_pipes_on_one_pool(self) -> None:
        pool = SlabPool(8)
        one, two = Script(pool=pool).stall(), Script(Through(pieces(1)), pool=pool).stall()
        one.feed(ALPHABET[:32]).run()
        two.feed(ALPHABET[:20]).run()
        self.assertEqual((one.pipe.slabs, two.pipe.slabs, one.slabs), (4, 3, (7, 0, 0)))
        one.close()
        self.assertEqual(one.slabs, (3, 4, 0))
        self.assertEqual((two.take().run()[-1], two.client), ("WAIT", ALPHABET[:20]))
        self.assertEqual(two.slabs, (0, 7, 0))

    def test_a_fact_that_comes_after_it_changes_nothing(self) -> None:
        """Of an upstream, a client, a disk or a filter that was too late: no error becomes another, no memory is taken."""
        facts: dict[str, Callable[[Pipe], object]] = {
            "did_end": Pipe.did_end,
            "did_fail": lambda pipe: pipe.did_fail(UpstreamFailed("late")),
            "did_break": lambda pipe: pipe.did_break(DownstreamFailed("late")),
            "spill_failed": Pipe.spill_failed,
            "filter_resumed": lambda pipe: pipe.filter_resumed(b"late"),
            "filter_failed": lambda pipe: pipe.filter_failed(LookupError("late")),
        }
        for name, script, _ in self.states():
            script.close()
            pipe = script.pipe
            before = pipe.error, pipe.downstream, pipe.bytes_in, pipe.bytes_out, script.slabs
            for fact, tell in facts.items():
                tell(pipe)
                self.assertIs(pipe.next_step(True, True), Step.ABANDON, (name, fact))
                after = pipe.error, pipe.downstream, pipe.bytes_in, pipe.bytes_out, script.slabs
                self.assertEqual(after, before, (name, fact))
            self.assertEqual((pipe.wants_read, pipe.wants_write, pipe.writing_file, pipe.stored), (False,) * 4, name)

    def test_after_it_there_is_nothing_to_send_or_to_write(self) -> None:
        for name, script, _ in self.states():
            script.close()
            pipe = script.pipe
            self.assertEqual((pipe.batch(), pipe.spill_batch(), pipe.file_range(1000)), ([], [], (0, 0)), name)


class PendingWriteTests(SynchronousTestCase):
    """A write to the file is under way, in a thread. (That of a stream that is stored: L{tests.core.test_cacheable}.)"""

    def pending(self, **options: Any) -> Script:
        """C{abcdefghijklmnop} is being written, 16 more bytes are held, and there is more to read."""
        script = Script(**options).feed(ALPHABET).stall()
        script.run(4)
        self.assertIs(script.pipe.next_step(True, False), Step.SPILL)
        script.pipe.spill_begun()
        return script

    def test_thread_write_pending_no_reads(self) -> None:
        """Nor a read timeout: that nothing is read is our own doing."""
        script = self.pending()
        self.assertEqual((script.run(), len(script.wire)), (["WAIT"], 20))
        self.assertEqual((script.pipe.writing_file, script.pipe.wants_read), (True, False))

    def test_thread_write_pending_memory_is_held_back(self) -> None:
        """What a thread writes must not go out, nor change; and what is behind it has its turn after it."""
        script = self.pending().take()
        batch = script.pipe.spill_batch()
        self.assertEqual((script.run(), script.client, text(batch)), (["WAIT"], b"", text(ALPHABET[:16])))

    def test_thread_write_pending_no_second_write(self) -> None:
        script = self.pending()
        self.assertEqual([script.pipe.next_step(True, False) for _ in range(3)], [Step.WAIT] * 3)

    def test_thread_write_pending_the_file_is_sent(self) -> None:
        """What was in it before: sending it touches no memory."""
        script = self.pending()
        script._spill()
        script.run(2)
        self.assertIs(script.pipe.next_step(True, False), Step.SPILL)
        script.pipe.spill_begun()
        self.assertEqual(script.take(10).run(), [f"SEND_FILE {text(ALPHABET[:10])}", "WAIT"])
        script._spill()
        script.take().run()
        self.assertEqual(script.client, ALPHABET)

    def test_its_completion_resumes_the_pipe(self) -> None:
        script = self.pending()
        script._spill()
        self.assertEqual(script.run(1), ["READ GHIJKLMN"])
        self.assertFalse(script.pipe.writing_file)
        script.take().run()
        self.assertEqual(script.client, ALPHABET)

    def test_a_truncated_write(self) -> None:
        """What it did not write is still in memory, and the next of the stream."""
        for count in (1, 7, 8, 15):
            script = self.pending()
            script.disk_takes = count
            script._spill()
            self.assertEqual((script.pipe.disk.outstanding, script.pipe.memory_bytes), (count, 32 - count))
            script.take().run()
            self.assertEqual(script.client, ALPHABET)

    def test_finish_after_eof_with_a_pending_write(self) -> None:
        """The end waits for it, although the client takes everything at once."""
        script = self.pending()
        script.pipe.did_end()
        script.take()
        self.assertEqual((script.run(), script.flows), (["WAIT"], "ended -> open"))
        script._spill()
        self.assertEqual((script.run()[-1], script.client), ("FINISH", ALPHABET[:32]))
        self.assertEqual((script.close(), script.slabs[0]), ([], 0))

    def test_upstream_failure_with_a_pending_write(self) -> None:
        script = self.pending()
        script.pipe.did_fail(UpstreamFailed("reset"))
        self.assertEqual(script.take().run(), ["WAIT"])
        script._spill()
        self.assertEqual((script.run()[-1], script.client), ("ABANDON", ALPHABET[:32]))

    def test_it_fails(self) -> None:
        """Its bytes were in memory all the time."""
        script = self.pending()
        script.pipe.spill_failed()
        self.assertEqual((script.run(), script.pipe.wants_read, script.pipe.writing_file), (["WAIT"], False, False))
        script.take().run()
        self.assertEqual((script.client, script.pipe.bytes_spilled), (ALPHABET, 0))

    def test_downstream_error_with_a_pending_write_every_buffer_comes_back(self) -> None:
        """Or is given up, if a thread still reads it; its room in the file is free at once."""
        script = self.pending()
        batch = script.pipe.spill_batch()
        self.assertEqual(script.lose_client().run(), ["ABANDON"])
        self.assertEqual((script.close(), script.slabs), ([], (0, 2, 2)))
        self.assertEqual((text(batch), script.pipe.writing_file), (text(ALPHABET[:16]), False))
        self.assertEqual((script.pipe.disk.outstanding, script.pipe.disk.quota.used), (0, 0))


class FactTests(SynchronousTestCase):
    """What is counted."""

    def test_counts(self) -> None:
        script = Script(Through(lambda data: [bytes(data) * 2]), length=40).feed(ALPHABET[:40]).stall()
        script.run()
        script.take().run()
        pipe = script.pipe
        self.assertEqual((pipe.bytes_in, pipe.bytes_out), (40, 80))
        self.assertEqual(pipe.bytes_out, len(script.client))

    def test_peak_memory_is_buffers(self) -> None:
        script = Script().feed(ALPHABET[:20]).stall()
        script.run()
        script.take().run()
        self.assertEqual(script.pipe.peak_memory, 24)

    def test_peak_memory_is_bytes_of_filters_too(self) -> None:
        script = Script(Through(lambda data: [b"1234567890"]))
        for _ in range(10):
            script.feed(b"x").run()
        self.assertEqual(script.pipe.peak_memory, 8 + 10, "what was sent is no longer held")

    def test_peak_memory_is_preread_too(self) -> None:
        script = Script(preread=b"12345").feed(b"abc")
        script.run()
        self.assertEqual(script.pipe.peak_memory, 5 + 8)

    def test_peak_memory_is_preread_no_longer_when_filters_are_done_with_it(self) -> None:
        script = Script(Through(lambda data: [b"1234567890"] if len(data) == 8 else ()), preread=b"12345")
        script.run()
        script.feed(b"abcdefgh").run()
        self.assertEqual(script.pipe.peak_memory, 8 + 10)

    def test_a_piece_partly_sent_is_held_whole(self) -> None:
        script = Script(Through(lambda data: [b"1234567890"])).feed(b"x").take(9)
        script.run()
        script.feed(b"y").run()
        self.assertEqual((script.pipe.memory_bytes, script.pipe.peak_memory), (1 + 0, 8 + 10))
        script.take().run()
        self.assertEqual(script.pipe.peak_memory, 8 + 20)

    def test_bytes_a_filter_put_out_are_released_with_their_last(self) -> None:
        script = Script(Through(lambda data: [b"1234567890"])).feed(b"x")
        script.run()
        script.feed(b"y").run()
        self.assertEqual(script.pipe.peak_memory, 8 + 10)

    def test_memory_waits_for_the_client(self) -> None:
        script = Script().feed(ALPHABET[:16]).stall()
        script.run()
        self.assertEqual((script.pipe.memory_bytes, script.pipe.has_output), (16, True))
        script.take(5).run()
        self.assertEqual((script.pipe.memory_bytes, script.pipe.has_output), (11, True))
        script.take(11).run()
        self.assertEqual((script.pipe.memory_bytes, script.pipe.has_output), (0, False))

    def test_output_on_disk_waits_for_the_client(self) -> None:
        script = Script().feed(ALPHABET[:40]).stall()
        script.run()
        script.take(16).run()
        self.assertEqual(script.pipe.disk.outstanding, 0)
        script = Script(file=8).feed(ALPHABET[:40]).stall()
        script.run()
        self.assertTrue(script.pipe.has_output)

    def test_the_sides_start_open(self) -> None:
        pipe = Pipe(PipeLimits(), SlabPool(1024))
        self.assertEqual((pipe.upstream, pipe.downstream, pipe.error), (Flow.OPEN, Flow.OPEN, None))
        self.assertEqual((pipe.wants_read, pipe.has_room, pipe.has_output), (True, True, False))


class AnyRhythmTests(SynchronousTestCase):
    """Whatever is sent and taken at a time, the same bytes arrive, in order, and nothing is left."""

    def play(self, send: int, take: int, every: int, **options: Any) -> None:
        """Send C{send} bytes at a time, take C{take} after each C{every}th."""
        stream = ALPHABET * 4
        filters = options.pop("filters", [])
        script = Script(*filters, **options).stall()
        for number, at in enumerate(range(0, len(stream), send)):
            script.feed(stream[at : at + send])
            if number % every == 0:
                script.take(take)
            script.run()
        script.end()
        for _ in range(len(stream) + 1):
            if script.take(take).run()[-1] == "FINISH":
                break
        script.close()
        self.assertEqual((script.client, script.pipe.error), (stream, None), (send, take, every, options))
        self.assertEqual((script.pipe.bytes_in, script.pipe.bytes_out), (len(stream), len(stream)))
        self.assertEqual((script.slabs[0], script.slabs[2]), (0, 0))

    def rhythms(self, **options: Any) -> None:
        make = options.pop("make", list)
        for send in (1, 3, 8, 13, 50):
            for take in (1, 7, 8, 30):
                for every in (1, 5):
                    self.play(send, take, every, filters=make(), **options)

    def test_without_filters(self) -> None:
        self.rhythms()

    def test_without_a_file(self) -> None:
        self.rhythms(file=0)

    def test_with_a_file_of_a_buffer(self) -> None:
        self.rhythms(file=8)

    def test_with_a_file_that_is_full_anywhere(self) -> None:
        self.rhythms(file=13, temp_file_write_size=8)

    def test_with_a_file_in_pieces(self) -> None:
        for file, piece in ((13, 1), (40, 5), (20, 8), (1000, 16)):
            self.rhythms(file=file, piece=piece)

    def test_with_two_buffers(self) -> None:
        self.rhythms(buffers=2, file=9)

    def test_without_buffering(self) -> None:
        self.rhythms(buffering=False)

    def test_with_filters_that_slice(self) -> None:
        self.rhythms(make=lambda: [Through(pieces(3)), Through(pieces(2))], file=20)

    def test_with_a_filter_that_copies(self) -> None:
        self.rhythms(make=lambda: [Through(lambda data: [bytes(data)])], file=20)

    def test_with_bytes_in_between(self) -> None:
        self.rhythms(make=lambda: [Through(lambda data: [bytes(data[:1]), data[1:2], bytearray(data[2:])])], file=20)
