"""
A pipe whose stream goes to a file that its owner takes, and a pipe that delivers such a file.

Buffers are of 8 bytes here, 4 of them, one write to the file is of 16; see L{tests.core.script}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.core.script import Calls, Later, Script, Through
from twisted_pipe.core.disk import SpillQuota
from twisted_pipe.core.file_use import FileUse
from twisted_pipe.core.pipe import Pipe, Step
from twisted_pipe.errors import UpstreamFailed

ALPHABET = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def kept(*filters: object, **more: Any) -> Script:
    """Nobody is there yet who would take it."""
    return Script(*filters, awaited=True, use=FileUse.REPLAY, **more)


class KeptTests(SynchronousTestCase):
    def test_everything_goes_to_the_file(self) -> None:
        script = kept(file=100).feed(ALPHABET).end()
        script.run()
        self.assertEqual((script.file, script.pipe.memory_bytes, script.pipe.slabs), (ALPHABET, 0, 0))
        self.assertTrue(script.pipe.whole_on_disk and script.pipe.waits_for_downstream)

    def test_the_owner_takes_it(self) -> None:
        quota = SpillQuota(100)
        script = kept(file=100, quota=quota).feed(ALPHABET).end()
        script.run()
        self.assertEqual(quota.used, 52)
        script.pipe.did_take_file()
        self.assertEqual((script.run(), script.close()), (["FINISH"], []))
        self.assertEqual((script.flows, script.pipe.error, quota.used), ("ended -> ended", None, 0))

    def test_a_head_is_for_nobody_then(self) -> None:
        script = kept(head=b"HEAD").feed(b"hello").end()
        script.run()
        script.pipe.did_take_file()
        self.assertEqual((script.run(), script.close(), script.file), (["FINISH"], [], b"hello"))

    def test_an_empty_one(self) -> None:
        script = kept(length=0)
        self.assertEqual((script.run(), script.pipe.whole_on_disk), (["WAIT"], True))
        script.pipe.did_take_file()
        self.assertEqual(script.run(), ["FINISH"])

    def test_not_before_it_is_whole(self) -> None:
        script = kept(file=100).feed(ALPHABET)
        script.run()
        self.assertEqual(
            (script.file, script.pipe.whole_on_disk, script.pipe.waits_for_downstream), (ALPHABET, False, False)
        )

    def test_not_while_the_last_write_is_under_way(self) -> None:
        script = kept(file=100).feed(b"hello").end()
        while script.pipe.next_step(True, False).name != "SPILL":
            script.step()
        script.pipe.spill_begun()
        self.assertEqual(script.run(), ["WAIT"])
        self.assertFalse(script.pipe.whole_on_disk or script.pipe.waits_for_downstream)
        script.pipe.did_spill(5)
        self.assertEqual(script.run(), ["WAIT"])
        self.assertTrue(script.pipe.whole_on_disk and script.pipe.waits_for_downstream)

    def test_not_while_a_filter_waits(self) -> None:
        script = kept(Calls(last=[Later(), b"!"]), file=100).feed(b"hello").end()
        self.assertEqual(script.run()[-2:], ["AWAIT", "WAIT"])
        self.assertFalse(script.pipe.whole_on_disk or script.pipe.waits_for_downstream)
        script.pipe.filter_resumed(None)
        script.run()
        self.assertEqual((script.file, script.pipe.whole_on_disk), (b"hello!", True))

    def test_what_filters_made_of_it(self) -> None:
        script = kept(Through(lambda data: (bytes(data).upper(),)), file=100).feed(b"hello").end()
        script.run()
        self.assertEqual(script.file, b"HELLO")

    def test_a_downstream_may_come_after_all(self) -> None:
        """It is fed from the file."""
        script = kept(file=100).feed(b"hello").end()
        script.run()
        script.pipe.did_connect(b"HEAD ")
        self.assertEqual(script.run(), ["WRITE HEAD ", "SEND_FILE hello", "FINISH"])

    def test_a_downstream_that_comes_before_the_end(self) -> None:
        """Nobody takes the file any more. It would grow for as long as the stream is, beyond its limit and the quota of all."""
        quota = SpillQuota(20)
        script = kept(file=16, quota=quota).feed(ALPHABET[:12])
        script.run()
        self.assertEqual((script.file, quota.used), (ALPHABET[:12], 12))
        script.pipe.did_connect()
        script.room = 10
        script.feed(ALPHABET[12:]).end().run()
        self.assertEqual((script.pipe.disk.outstanding, quota.used, len(script.file)), (2, 12, 12))
        script.take().run()
        self.assertEqual((script.client, script.run()[-1], quota.used), (ALPHABET, "FINISH", 0))

    def test_a_downstream_that_comes_under_a_write(self) -> None:
        script = kept(file=16).feed(ALPHABET[:12])
        while script.pipe.next_step(bool(script.wire), False) is Step.READ:
            count = min(len(script.wire), 8)
            script.pipe.read_view()[:count] = script.wire[:count]
            script.pipe.did_read(count)
            del script.wire[:count]
        script.file += b"".join(script.pipe.spill_batch())
        script.pipe.spill_begun()
        script.pipe.did_connect()
        self.assertTrue(script.pipe.writing_file)
        self.assertEqual(script.pipe.next_step(False, True), Step.WAIT)
        script.pipe.did_spill(12)
        self.assertEqual(script.end().run(), ["READ end", "SEND_FILE " + ALPHABET[:12].decode(), "FINISH"])

    def test_an_upstream_that_fails(self) -> None:
        script = kept(length=9).feed(b"hello").end()
        self.assertEqual(script.run()[-1], "ABANDON")
        self.assertEqual((script.close(), type(script.pipe.error)), ([], UpstreamFailed))


class TooMuchTests(SynchronousTestCase):
    """What the file may not hold makes it a pipe like any other."""

    def assert_ordinary(self, script: Script) -> None:
        self.assertEqual(script.run()[-1], "WAIT")
        self.assertEqual((script.pipe.full, script.pipe.whole_on_disk), (True, False))
        script.pipe.did_connect()
        script.run()
        self.assertEqual((script.client, script.run()[-1]), (ALPHABET, "FINISH"))

    def test_for_the_file(self) -> None:
        script = kept(file=16).feed(ALPHABET).end()
        self.assertEqual(script.pipe.disk.room, 16)
        self.assert_ordinary(script)

    def test_its_place_on_disk_is_taken_until_all_of_it_was_sent(self) -> None:
        """As that of every file: nothing of it can be given back before."""
        quota = SpillQuota(100)
        script = kept(file=16, quota=quota).feed(ALPHABET)
        script.run()
        script.pipe.did_connect()
        script.room = 10
        script.run()
        self.assertEqual((script.pipe.disk.outstanding, quota.used), (6, 16))
        script.take().run()
        self.assertEqual((script.pipe.disk.outstanding, quota.used, script.flows), (0, 0, "open -> open"))

    def test_no_file(self) -> None:
        self.assert_ordinary(kept(file=0).feed(ALPHABET).end())

    def test_for_the_quota(self) -> None:
        self.assert_ordinary(kept(quota=SpillQuota(10)).feed(ALPHABET).end())

    def test_for_the_disk(self) -> None:
        script = kept(file=100).feed(ALPHABET).end()
        script.disk_takes = OSError(28, "No space left on device")
        self.assert_ordinary(script)


class DeliveredTests(SynchronousTestCase):
    """A pipe that has nothing but such a file."""

    def script(self, **more: Any) -> Script:
        script = Script(**more)
        script.file = bytearray(ALPHABET)
        script.pipe = Pipe(script.limits, script.pool, length=0, use=FileUse.HELD, held=len(ALPHABET), head=b"HEAD ")
        return script

    def test_from_its_beginning_to_its_end(self) -> None:
        script = self.script()
        self.assertEqual(script.run(), ["WRITE HEAD ", "SEND_FILE " + ALPHABET.decode(), "FINISH"])
        self.assertEqual((script.flows, script.pipe.disk.read_offset), ("ended -> open", len(ALPHABET)))
        self.assertEqual((script.close(), script.flows, script.pipe.bytes_out), ([], "ended -> ended", 57))

    def test_as_fast_as_it_is_taken(self) -> None:
        script = self.script().stall()
        self.assertEqual((script.run(), script.pipe.wants_write), (["WAIT"], True))
        self.assertEqual(script.pipe.disk.outstanding, 52)

    def test_given_up(self) -> None:
        script = self.script().stall()
        script.run()
        self.assertEqual((script.close(), script.pipe.disk.outstanding), ([], 0))
