"""A head: bytes that the downstream gets before everything else, and that are no part of the stream."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.core.digits import Digits
from tests.core.script import Calls, Script
from twisted_pipe.core.file_use import FileUse
from twisted_pipe.errors import Cancelled, PipeFinished, UpstreamFailed

ALPHABET = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


class HeadTests(SynchronousTestCase):
    def test_alone_if_nothing_else_is_there(self) -> None:
        script = Script(head=b"HEAD")
        self.assertEqual(script.run(), ["WRITE HEAD", "WAIT"])
        self.assertEqual((script.pipe.bytes_in, script.pipe.bytes_out, script.pipe.peak_memory), (0, 4, 4))

    def test_together_with_the_first_bytes_of_the_stream(self) -> None:
        for more in ({"preread": b"body"}, {}):
            script = Script(head=b"HEAD", **more).feed(b"" if more else b"body")
            self.assertEqual(script.run()[-2:], ["WRITE HEADbody", "WAIT"])

    def test_together_with_a_full_batch(self) -> None:
        """It takes no room of C{busy_size}: one buffer may be busy here, and the head is larger than that."""
        script = Script(head=b"HEADHEADHEAD", busy_size=8).feed(ALPHABET[:8])
        self.assertEqual(script.run(), ["READ abcdefgh", "WRITE HEADHEADHEADabcdefgh", "WAIT"])

    def test_is_no_part_of_the_length(self) -> None:
        script = Script(head=b"HEAD", length=3).feed(b"abc")
        self.assertEqual(script.run(), ["READ abc", "WRITE HEADabc", "FINISH"])
        self.assertEqual((script.pipe.bytes_in, script.pipe.bytes_out), (3, 7))

    def test_of_an_empty_stream(self) -> None:
        for script in (Script(head=b"HEAD", length=0), Script(head=b"HEAD").end()):
            self.assertEqual(script.run()[-2:], ["WRITE HEAD", "FINISH"])
            self.assertEqual((script.close(), script.flows), ([], "ended -> ended"))

    def test_passes_filters_and_decoder_by(self) -> None:
        entry = Calls(first=[b"<"], last=[b">"])
        script = Script(entry, head=b"9", decoder=Digits()).feed(b"3abc0")
        self.assertEqual(script.run(), ["READ 3abc0", "WRITE 9<abc>", "FINISH"])
        self.assertEqual(entry.calls, ["started", "received abc", "ended"])

    def test_taken_bit_by_bit(self) -> None:
        script = Script(head=b"HEAD", preread=b"body", length=4)
        script.take(1).run()
        script.take(2).run()
        self.assertEqual((script.client, script.pipe.wants_write, script.pipe.empty), (b"HEA", True, False))
        script.take(3).run()
        self.assertEqual(script.client, b"HEADbo")
        self.assertEqual(script.take().run(), ["WRITE dy", "FINISH"])
        self.assertEqual((script.pipe.bytes_out, script.pipe.empty), (8, True))

    def test_precedes_the_disk_and_is_not_spilled(self) -> None:
        script = Script(head=b"HEAD").stall().feed(ALPHABET)
        script.run()
        self.assertEqual((script.pipe.bytes_spilled, bytes(script.file[:4])), (32, b"abcd"))
        script.take()
        lines = script.run()
        self.assertEqual((lines[0], lines[1][:14]), ("WRITE HEAD", "SEND_FILE abcd"))
        self.assertEqual(script.client, b"HEAD" + ALPHABET)

    def test_is_output_that_a_send_timeout_measures(self) -> None:
        script = Script(head=b"HEAD").stall()
        self.assertEqual((script.run(), script.pipe.wants_write, script.pipe.has_output), (["WAIT"], True, True))

    def test_is_delivered_though_the_upstream_fails(self) -> None:
        script = Script(head=b"HEAD", length=10).stall().feed(b"abc").fail(UpstreamFailed("reset"))
        script.run()
        self.assertEqual(script.take().run(), ["WRITE HEADabc", "ABANDON"])

    def test_bytes_pass_by_only_when_it_is_out(self) -> None:
        script = Script(head=b"HEAD").stall()
        script.run()
        self.assertFalse(script.pipe.empty)
        script.take().run()
        self.assertTrue(script.pipe.empty)

    def test_closed_before_it_was_out(self) -> None:
        script = Script(head=b"HEAD").stall()
        script.pipe.did_break(Cancelled("enough"))
        self.assertEqual((script.run(), script.close()), (["ABANDON"], []))
        self.assertTrue(script.pipe.empty)

    def test_an_end_before_it_was_out_is_none(self) -> None:
        script = Script(head=b"HEAD", length=0).stall()
        self.assertEqual(script.run(), ["WAIT"])
        script.close()
        self.assertIsInstance(script.pipe.error, PipeFinished)


class StoredHeadTests(SynchronousTestCase):
    """A pipe that stores its stream stores no head."""

    def test_goes_out_before_the_file(self) -> None:
        script = Script(head=b"HEAD", use=FileUse.STORE).feed(b"hello").end()
        self.assertEqual(
            script.run(), ["WRITE HEAD", "READ hello", "READ end", "SPILL hello @0", "SEND_FILE hello", "FINISH"]
        )
        self.assertTrue(script.pipe.stored)

    def test_goes_out_before_anything_is_there(self) -> None:
        script = Script(head=b"HEAD", use=FileUse.STORE)
        self.assertEqual(script.run(), ["WRITE HEAD", "WAIT"])

    def test_a_downstream_that_is_lost_needs_none(self) -> None:
        script = Script(head=b"HEAD", use=FileUse.STORE).stall().feed(b"hello")
        script.run()
        script.lose_client().end()
        self.assertEqual((script.run()[-1], script.pipe.stored), ("FINISH", True))

    def test_precedes_memory_when_storing_has_failed(self) -> None:
        script = Script(head=b"HEAD", use=FileUse.STORE).feed(b"hello").end()
        script.disk_takes = OSError()
        script.run()
        self.assertEqual(script.client, b"HEADhello")
