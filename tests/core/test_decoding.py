"""A decoder: what is received is not yet the stream. Its framing here is L{tests.core.digits}: C{b"3abc2de0"} is C{b"abcde"}."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.core.digits import Digits, framed
from tests.core.script import Calls, Script, Through
from twisted_pipe.errors import BadConfiguration, UpstreamFailed

ALPHABET = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def decoding(*filters: Any, **more: Any) -> Script:
    return Script(*filters, decoder=Digits(), **more)


class DecodingTests(SynchronousTestCase):
    def test_the_stream_is_what_was_decoded(self) -> None:
        script = decoding().feed(b"3abc2d")
        self.assertEqual(script.run(), ["READ 3abc2d", "WRITE abcd", "WAIT"])
        self.assertEqual(script.feed(b"e0").run(), ["READ e0", "WRITE e", "FINISH"])
        self.assertEqual((script.pipe.bytes_in, script.pipe.bytes_out, script.pipe.surplus), (8, 5, 0))

    def test_a_read_may_have_no_byte_of_the_stream(self) -> None:
        script = decoding().feed(b"3")
        self.assertEqual(script.run(), ["READ 3", "WAIT"])
        self.assertEqual((script.pipe.slabs, script.slabs), (0, (0, 1, 0)))

    def test_the_end_is_known_though_the_client_is_stuck(self) -> None:
        """So the upstream can be let go, and no read timeout runs."""
        script = decoding().stall().feed(b"3abc0")
        self.assertEqual((script.run(), script.flows), (["READ 3abc0", "WAIT"], "ended -> open"))
        self.assertFalse(script.pipe.wants_read)
        self.assertEqual(script.take().run(), ["WRITE abc", "FINISH"])

    def test_an_empty_message(self) -> None:
        script = decoding().feed(b"0")
        self.assertEqual(script.run(), ["READ 0", "FINISH"])
        self.assertEqual((script.close(), script.flows, script.pipe.error), ([], "ended -> ended", None))

    def test_nothing_is_read_after_the_end(self) -> None:
        script = decoding().feed(b"1a0")
        script.run(1)
        script.feed(b"more")
        self.assertEqual((script.run(), bytes(script.wire)), (["WRITE a", "FINISH"], b"more"))

    def test_tiny_pieces_are_packed(self) -> None:
        """Five letters are ten bytes, and more than a buffer, if their framing counted."""
        script = decoding().stall()
        for letter in b"abcde":
            script.feed(b"1%c" % letter).run()
        self.assertEqual((script.pipe.slabs, script.client), (1, b""))
        self.assertEqual(script.take().run(), ["WRITE abcde", "WAIT"])

    def test_all_buffers_are_filled_with_the_stream_alone(self) -> None:
        script = decoding(file=0).stall().feed(framed(ALPHABET, lambda: 1))
        script.run()
        self.assertEqual((script.pipe.memory_bytes, script.pipe.slabs), (32, 4))
        self.assertEqual(script.take().run()[-1], "FINISH")
        self.assertEqual(script.client, ALPHABET)

    def test_filters_get_what_was_decoded(self) -> None:
        entry = Calls()
        decoding(entry).feed(b"3abc0").run()
        self.assertEqual(entry.calls, ["started", "received abc", "ended"])

    def test_what_filters_were_lent_is_not_written_over(self) -> None:
        """Its slices wait for the client, while what comes behind them in the same buffer is decoded."""
        script = decoding(Through(), size=64).stall()
        lent = b""
        for letter in b"abcdefgh":
            script.feed(b"5%c%c%c%c%c" % ((letter,) * 5))
            script.pipe.next_step(False, True)  # what there is goes to the filters
            script.run()
            lent += bytes([letter]) * 5
        self.assertEqual(script.feed(b"0").take().run()[-1], "FINISH")
        self.assertEqual(script.client, lent)

    def test_spilled(self) -> None:
        script = decoding(file=1000).stall().feed(framed(ALPHABET * 4, lambda: 3))
        script.run()
        self.assertGreater(script.pipe.bytes_spilled, 0)
        self.assertEqual((script.take().run()[-1], script.client), ("FINISH", ALPHABET * 4))

    def test_one_buffer_at_a_time(self) -> None:
        """Bulk reads are not for it: what is in the second buffer would have to move to the first."""
        self.assertEqual([len(view) for view in decoding().pipe.read_views()], [8])

    def test_the_last_bytes_of_a_buffer_are_not_read_into(self) -> None:
        """Else the reads get smaller and smaller, for each leaves a little room. An eighth of a buffer is not worth one."""
        decoder = Digits()
        script = Script(decoder=decoder, size=64).feed(framed(ALPHABET * 10))
        script.run()
        self.assertEqual(script.client, ALPHABET * 10)
        self.assertTrue(all(size >= 8 for size in decoder.views[:-1]), decoder.views)

    def test_a_small_rest_of_a_buffer_is_no_room(self) -> None:
        script = decoding(size=64, buffers=2, file=0).stall().feed(framed(ALPHABET * 10))
        script.run()
        self.assertEqual((script.pipe.has_room, script.pipe.slabs, script.pipe.upstream_blocked), (False, 2, True))

    def test_any_rhythm(self) -> None:
        data = ALPHABET * 3
        for chunk in range(1, 20):
            for size in (1, 2, 3, 8, 64):
                script = decoding(size=size).feed(framed(data, lambda: 4) + b"surplus")
                script.chunk = chunk
                self.assertEqual((script.run()[-1], script.client), ("FINISH", data), (chunk, size))
                read = script.pipe.leftover + bytes(script.wire)
                self.assertEqual((read, script.pipe.surplus), (b"surplus", len(script.pipe.leftover)))
                script.close()
                self.assertEqual(script.slabs[0], 0)


class PrereadTests(SynchronousTestCase):
    def test_is_decoded_first(self) -> None:
        script = decoding(preread=b"3ab").feed(b"c0")
        self.assertEqual(script.run(), ["READ c0", "WRITE abc", "FINISH"])
        self.assertEqual(script.pipe.bytes_in, 5)

    def test_is_not_changed(self) -> None:
        """It is the caller's."""
        preread = b"3abc"
        decoding(preread=preread).run()
        self.assertEqual(preread, b"3abc")

    def test_is_the_whole_message(self) -> None:
        script = decoding(preread=b"3abc0next")
        self.assertEqual((script.flows, script.run()), ("ended -> open", ["WRITE abc", "FINISH"]))
        self.assertEqual((script.pipe.surplus, script.pipe.leftover), (4, b"next"))

    def test_is_framing_only(self) -> None:
        script = decoding(preread=b"3")
        self.assertEqual((script.run(), script.pipe.empty), (["WAIT"], True))
        self.assertEqual(script.feed(b"abc0").run(), ["READ abc0", "WRITE abc", "FINISH"])

    def test_is_broken(self) -> None:
        script = decoding(preread=b"2abX")
        self.assertEqual(script.run(), ["WRITE ab", "ABANDON"])
        self.assertIsInstance(script.pipe.error, UpstreamFailed)

    def test_goes_to_the_filters(self) -> None:
        entry = Calls()
        decoding(entry, preread=b"3abc0").run()
        self.assertEqual(entry.calls, ["started", "received abc", "ended"])


class BrokenTests(SynchronousTestCase):
    def test_framing(self) -> None:
        """What stands before the fault is delivered, and no clean end."""
        script = decoding().feed(b"3abc2deX9ignored")
        self.assertEqual(script.run(), ["READ 3abc2deX", "WRITE abcde", "ABANDON"])
        self.assertEqual(
            (type(script.pipe.error), str(script.pipe.error)), (UpstreamFailed, "a digit was to come, and not 'X'")
        )
        self.assertEqual(script.flows, "failed -> open")

    def test_an_end_in_the_middle(self) -> None:
        script = decoding().feed(b"3a").end()
        self.assertEqual(script.run(), ["READ 3a", "READ end", "WRITE a", "ABANDON"])
        self.assertEqual(str(script.pipe.error), "ended without 2 bytes of a piece")

    def test_an_end_before_the_last_piece(self) -> None:
        script = decoding().feed(b"1a").end()
        script.run()
        self.assertEqual(str(script.pipe.error), "ended without a digit")

    def test_an_end_behind_the_end_is_none(self) -> None:
        script = decoding().feed(b"1a0")
        script.run(1)
        script.pipe.did_end()
        self.assertEqual((script.run()[-1], script.pipe.error), ("FINISH", None))

    def test_an_end_that_is_right(self) -> None:
        """A framing may end with the stream."""
        decoder = Digits()
        decoder.at_end = lambda: None  # type: ignore[method-assign]
        script = Script(decoder=decoder).feed(b"1a").end()
        self.assertEqual((script.run()[-1], script.pipe.error), ("FINISH", None))

    def test_with_a_length(self) -> None:
        error = self.assertRaises(BadConfiguration, decoding, length=3)
        self.assertEqual(str(error), "length: 3: must be None where a decoder tells the end")


class LeftoverTests(SynchronousTestCase):
    """What was read behind the end of the stream."""

    def test_behind_a_message(self) -> None:
        script = decoding().feed(b"1a0next")
        script.run()
        self.assertEqual((script.client, script.pipe.leftover, script.pipe.surplus), (b"a", b"next", 4))

    def test_behind_a_length(self) -> None:
        script = Script(length=3).feed(b"abcnext")
        script.run()
        self.assertEqual((script.client, script.pipe.leftover, script.pipe.surplus), (b"abc", b"next", 4))

    def test_behind_a_length_and_earlier_reads(self) -> None:
        script = Script(length=5).stall().feed(b"abc")
        script.run()
        script.feed(b"denext").take().run()
        self.assertEqual((script.client, script.pipe.leftover), (b"abcde", b"nex"))
        self.assertEqual(bytes(script.wire), b"t")

    def test_behind_a_length_in_bulk(self) -> None:
        """From any place in the buffers that one read has filled."""
        for length in (1, 7, 8, 9, 16, 20, 31, 32):
            script = Script(length=length)
            views = script.pipe.read_views()
            for number, view in enumerate(views):
                view[:] = ALPHABET[8 * number : 8 * number + 8]
            del views, view
            script.pipe.did_read(30)
            script.run()
            self.assertEqual(script.client, ALPHABET[: min(length, 30)], length)
            self.assertEqual(script.pipe.leftover, ALPHABET[length:30], length)

    def test_none(self) -> None:
        script = Script(length=3).feed(b"abc")
        script.run()
        self.assertEqual((script.pipe.leftover, script.pipe.surplus), (b"", 0))
