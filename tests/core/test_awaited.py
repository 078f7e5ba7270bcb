"""A downstream that comes later: the pipe takes what it can, and says when it is full."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.core.digits import Digits
from tests.core.script import Calls, Later, Script, Through
from twisted_pipe.core.disk import SpillQuota
from twisted_pipe.core.file_use import FileUse
from twisted_pipe.core.pipe import Pipe
from twisted_pipe.errors import Cancelled, DownstreamFailed, PipeFinished, UpstreamFailed

ALPHABET = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def awaited(*filters: object, **more: object) -> Script:
    """Its client would take anything, if it were there."""
    return Script(*filters, awaited=True, **more)  # type: ignore[arg-type]


class AwaitedTests(SynchronousTestCase):
    def test_takes_what_comes_and_gives_nothing(self) -> None:
        script = awaited().feed(b"hello")
        self.assertEqual((script.run(), script.flows), (["READ hello", "WAIT"], "open -> awaited"))
        self.assertEqual((script.pipe.wants_read, script.pipe.wants_write, script.pipe.full), (True, False, False))

    def test_spills_as_for_a_stuck_client(self) -> None:
        script = awaited().feed(ALPHABET)
        script.run()
        self.assertEqual((script.pipe.bytes_spilled, script.pipe.full), (32, False))
        script.pipe.did_connect()
        script.run()
        self.assertEqual((script.client, script.flows), (ALPHABET, "open -> open"))

    def test_everything_flows_once_it_is_there(self) -> None:
        script = awaited(length=5).feed(b"hello")
        self.assertEqual((script.run(), script.flows), (["READ hello", "WAIT"], "ended -> awaited"))
        self.assertTrue(script.pipe.waits_for_downstream)
        script.pipe.did_connect()
        self.assertEqual((script.run(), script.pipe.waits_for_downstream), (["WRITE hello", "FINISH"], False))
        self.assertEqual((script.close(), script.flows, script.pipe.error), ([], "ended -> ended", None))

    def test_an_empty_stream_waits_for_it_all_the_same(self) -> None:
        script = awaited(length=0)
        self.assertEqual((script.run(), script.pipe.waits_for_downstream), (["WAIT"], True))
        script.pipe.did_connect(b"HEAD")
        self.assertEqual(script.run(), ["WRITE HEAD", "FINISH"])

    def test_the_head_comes_with_it(self) -> None:
        script = awaited().feed(b"hello")
        script.run()
        script.pipe.did_connect(b"HEAD")
        self.assertEqual(script.run(), ["WRITE HEADhello", "WAIT"])

    def test_the_head_precedes_the_disk(self) -> None:
        script = awaited(length=52).feed(ALPHABET)
        script.run()
        script.pipe.did_connect(b"HEAD")
        self.assertEqual(script.run()[:2], ["WRITE HEAD", "SEND_FILE " + ALPHABET[:32].decode()])
        self.assertEqual(script.client, b"HEAD" + ALPHABET)

    def test_the_head_precedes_another(self) -> None:
        script = awaited(head=b"second ", length=0)
        script.pipe.did_connect(b"first ")
        script.run()
        self.assertEqual(script.client, b"first second ")

    def test_the_head_while_a_write_is_under_way(self) -> None:
        """Of memory, which must not be touched; the head is not in it."""
        script = awaited(file=1000).feed(ALPHABET)
        while script.pipe.next_step(True, False).name != "SPILL":
            script.step()
        parts = [bytes(part) for part in script.pipe.spill_batch()]
        script.pipe.spill_begun()
        script.pipe.did_connect(b"HEAD")
        self.assertEqual(script.run(), ["WRITE HEAD", "WAIT"])
        self.assertEqual([bytes(part) for part in script.pipe.spill_batch()], parts)
        script.file += b"".join(parts)
        script.pipe.did_spill(sum(map(len, parts)))
        script.end().run()
        self.assertEqual(script.client, b"HEAD" + ALPHABET)

    def test_with_a_decoder_and_filters(self) -> None:
        entry = Calls(last=[b"."])
        script = awaited(entry, decoder=Digits()).feed(b"3abc0")
        script.run()
        self.assertTrue(script.pipe.waits_for_downstream)
        script.pipe.did_connect()
        self.assertEqual((script.run(), script.client), (["WRITE abc.", "FINISH"], b"abc."))

    def test_stored_meanwhile(self) -> None:
        script = awaited(use=FileUse.STORE).feed(b"hello").end()
        self.assertEqual(script.run(), ["READ hello", "READ end", "SPILL hello @0", "WAIT"])
        script.pipe.did_connect(b"HEAD")
        self.assertEqual(script.run(), ["WRITE HEAD", "SEND_FILE hello", "FINISH"])
        self.assertTrue(script.pipe.stored)


class FullTests(SynchronousTestCase):
    def test_buffers_and_file(self) -> None:
        script = awaited(file=16).feed(ALPHABET)
        self.assertEqual((script.run()[-1], script.pipe.full), ("WAIT", True))
        self.assertEqual((script.pipe.slabs, script.pipe.disk.outstanding), (4, 16))
        self.assertEqual((script.pipe.wants_read, script.pipe.waits_for_downstream), (False, True))

    def test_nothing_may_be_spilled(self) -> None:
        script = awaited(file=0).feed(ALPHABET)
        self.assertEqual((script.run()[-1], script.pipe.full, script.pipe.bytes_in), ("WAIT", True, 32))

    def test_no_buffering(self) -> None:
        script = awaited(buffering=False).feed(ALPHABET)
        self.assertEqual((script.run()[-1], script.pipe.full, script.pipe.bytes_in), ("WAIT", True, 8))

    def test_spilling_has_failed(self) -> None:
        script = awaited().feed(ALPHABET)
        script.disk_takes = OSError()
        self.assertEqual((script.run()[-1], script.pipe.full), ("WAIT", True))

    def test_others_have_used_the_quota_up(self) -> None:
        script = awaited()
        quota = SpillQuota(100)
        script.pipe = Pipe(script.limits, script.pool, quota=quota, awaited=True)
        quota.used = 100
        script.feed(ALPHABET)
        self.assertEqual((script.run()[-1], script.pipe.full), ("WAIT", True))

    def test_not_while_a_write_is_under_way(self) -> None:
        script = awaited(file=16).feed(ALPHABET)
        while script.pipe.next_step(True, False).name != "SPILL":
            script.step()
        script.pipe.spill_begun()
        self.assertEqual((script.run(), script.pipe.full), (["WAIT"], False))

    def test_not_while_a_filter_waits(self) -> None:
        """What it holds may become nothing."""
        script = awaited(Through(lambda data: [Later()]), file=0).feed(ALPHABET)
        self.assertEqual((script.run()[-2:], script.pipe.full), (["AWAIT", "WAIT"], False))
        script.pipe.filter_resumed(None)
        script.run()
        self.assertFalse(script.pipe.full)

    def test_not_when_it_has_ended(self) -> None:
        script = awaited(file=0, length=32).feed(ALPHABET[:32])
        script.run()
        self.assertEqual((script.pipe.full, script.pipe.waits_for_downstream), (False, True))

    def test_not_once_it_is_there(self) -> None:
        script = awaited(file=0).feed(ALPHABET)
        script.run()
        script.pipe.did_connect()
        self.assertEqual((script.stall().run(), script.pipe.full), (["WAIT"], False))
        script.take().end().run()
        self.assertEqual(script.client, ALPHABET)


class EndTests(SynchronousTestCase):
    """Before there is a downstream."""

    def test_the_upstream_fails(self) -> None:
        """Nothing was begun that would have to be ended: no downstream is needed any more."""
        script = awaited(length=10).feed(b"hello").end()
        self.assertEqual(script.run(), ["READ hello", "READ end", "ABANDON"])
        self.assertEqual((script.close(), script.slabs[0], type(script.pipe.error)), ([], 0, UpstreamFailed))
        self.assertFalse(script.pipe.waits_for_downstream)

    def test_the_framing_is_broken(self) -> None:
        script = awaited(decoder=Digits()).feed(b"3abcX")
        self.assertEqual(script.run(), ["READ 3abcX", "ABANDON"])

    def test_the_preread_is_broken(self) -> None:
        self.assertEqual(awaited(decoder=Digits(), preread=b"X").run(), ["ABANDON"])

    def test_given_up(self) -> None:
        script = awaited().feed(b"hello")
        script.run()
        script.pipe.did_break(Cancelled("enough"))
        self.assertEqual((script.run(), script.flows), (["ABANDON"], "open -> failed"))
        self.assertEqual((script.close(), script.slabs[0]), ([], 0))

    def test_closed(self) -> None:
        for script in (awaited().feed(b"hello"), awaited(length=0)):
            script.run()
            self.assertEqual((script.close(), script.slabs[0]), ([], 0))
            self.assertIsInstance(script.pipe.error, PipeFinished)
            self.assertRaises(PipeFinished, script.pipe.did_connect)

    def test_there_will_be_none_but_the_stream_is_stored(self) -> None:
        script = awaited(use=FileUse.STORE, head=b"HEAD").feed(b"hello")
        script.run()
        script.pipe.did_break(DownstreamFailed("cannot be reached"))
        script.end()
        self.assertEqual((script.run()[-1], script.pipe.stored), ("FINISH", True))
