"""
A pipe whose stream is stored: everything goes to the file, and the client is fed from there.

Buffers are of 8 bytes here, 4 of them, one write to the file is of 16; see L{tests.core.script}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.core.script import Later, Script, Through, text
from twisted_pipe.core.disk import SpillQuota
from twisted_pipe.core.file_use import FileUse
from twisted_pipe.core.pipe import Flow, Pipe, Step
from twisted_pipe.errors import Cancelled, DiskFailed, DownstreamFailed, Side, TimedOut, UpstreamFailed
from twisted_pipe.interfaces import NamedFilter

ALPHABET = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
FULL_DISK = OSError(28, "No space left on device")


class Stored(Script):
    """A L{Script} whose stream is to be stored; its file is never emptied, nor is anything in it forgotten."""

    def __init__(
        self,
        *filters: Any,
        length: int | None = None,
        preread: bytes = b"",
        quota: SpillQuota | None = None,
        **more: Any,
    ) -> None:
        super().__init__(*filters, **more)
        named = [NamedFilter(f"filter{number}", each) for number, each in enumerate(filters)]
        self.pipe = Pipe(self.limits, self.pool, named, length, preread, quota, use=FileUse.STORE)

    def _send_file(self) -> str:
        offset, count = self.pipe.file_range(1 << 20)
        line = self._taken(bytes(self.file[offset : offset + count]))
        self.pipe.did_send_file(len(line))
        return line


class StoringTests(SynchronousTestCase):
    def test_clients_are_fed_from_the_file(self) -> None:
        script = Stored().feed(b"hello")
        self.assertEqual(script.run(), ["READ hello", "SPILL hello @0", "SEND_FILE hello", "WAIT"])

    def test_everything_goes_to_the_file_and_nothing_past_it(self) -> None:
        script = Stored()
        lines: list[str] = []
        for at in range(0, len(ALPHABET), 5):
            lines += script.feed(ALPHABET[at : at + 5]).run()
        lines += script.end().run()
        self.assertEqual((script.file, script.client), (ALPHABET, ALPHABET))
        self.assertEqual([line for line in lines if line.startswith("WRITE")], [])
        self.assertEqual(lines[-1], "FINISH")
        self.assertTrue(script.pipe.stored)

    def test_written_in_large_pieces_while_more_is_there_to_read(self) -> None:
        script = Stored().feed(ALPHABET[:40])
        spills = [line for line in script.run() if line.startswith("SPILL")]
        self.assertEqual(
            spills, ["SPILL abcdefghijklmnop @0", "SPILL qrstuvwxyzABCDEF @16", "SPILL GHIJKLMN @32"], script.file
        )

    def test_the_preread_bytes_are_its_first(self) -> None:
        script = Stored(preread=b"head ").feed(b"body").end()
        script.run()
        self.assertEqual((script.file, script.client), (b"head body", b"head body"))

    def test_a_stuck_client_does_not_hold_the_download_up(self) -> None:
        script = Stored().stall().feed(ALPHABET).end()
        self.assertEqual(script.run()[-1], "WAIT")
        self.assertEqual((script.file, script.client), (ALPHABET, b""))
        self.assertEqual((script.pipe.memory_bytes, script.pipe.upstream), (0, Flow.ENDED))
        self.assertFalse(script.pipe.stored, "not before the end")
        self.assertEqual(script.take().run()[-1], "FINISH")
        self.assertEqual(script.client, ALPHABET)

    def test_max_temp_file_size_is_not_its_limit(self) -> None:
        """nginx bounds temporary files with it, not what is cached."""
        for most in (0, 8):
            script = Stored(file=most).stall().feed(ALPHABET).end()
            script.run()
            self.assertEqual(script.file, ALPHABET)
            self.assertEqual(script.take().run()[-1], "FINISH")
            self.assertTrue(script.pipe.stored)

    def test_an_empty_stream_is_whole(self) -> None:
        script = Stored().end()
        self.assertEqual(script.run(), ["READ end", "FINISH"])
        self.assertTrue(script.pipe.stored)

    def test_a_known_length_ends_it_and_what_is_beyond_is_not_stored(self) -> None:
        script = Stored(length=10).feed(ALPHABET[:13])
        self.assertEqual(script.run()[-1], "FINISH")
        self.assertEqual((script.file, script.pipe.surplus, script.pipe.stored), (ALPHABET[:10], 3, True))

    def test_filters_come_before_the_file(self) -> None:
        script = Stored(Through(lambda data: (text(data).upper().encode(),), last=(b"!",))).feed(b"hello").end()
        script.run()
        self.assertEqual((script.file, script.client, script.pipe.stored), (b"HELLO!", b"HELLO!", True))

    def test_what_a_filter_holds_back_is_waited_for(self) -> None:
        script = Stored(Through(lambda data: iter([Later(), bytes(data)]))).feed(b"hello").end()
        self.assertEqual(script.run()[-2:], ["AWAIT", "WAIT"])
        self.assertFalse(script.pipe.stored)
        script.pipe.filter_resumed(None)
        self.assertEqual(script.run()[-1], "FINISH")
        self.assertEqual(script.file, b"hello")

    def test_short_writes(self) -> None:
        script = Stored().feed(ALPHABET).end()
        script.disk_takes = 3
        self.assertEqual(script.run()[-1], "FINISH")
        self.assertEqual((script.file, script.client), (ALPHABET, ALPHABET))

    def test_no_buffer_is_kept(self) -> None:
        script = Stored().feed(ALPHABET).end()
        script.run()
        script.close()
        self.assertEqual(script.slabs[0], 0)


class BrokenTests(SynchronousTestCase):
    """Only complete bodies are stored."""

    def test_not_after_a_reset(self) -> None:
        script = Stored().feed(b"hello").fail(UpstreamFailed("reset"))
        self.assertEqual(script.run()[-1], "ABANDON")
        self.assertEqual((script.client, script.pipe.stored), (b"hello", False))

    def test_not_after_less_than_its_length(self) -> None:
        script = Stored(length=9).feed(b"hello").end()
        self.assertEqual(script.run()[-1], "ABANDON")
        self.assertEqual((script.client, script.pipe.stored), (b"hello", False))

    def test_not_when_it_is_given_up(self) -> None:
        for error in (Cancelled("enough"), DiskFailed("truncated"), TimedOut(Side.CALLER, "total timeout", 1)):
            script = Stored().stall().feed(b"hello").end()
            script.run()
            script.pipe.did_break(error)
            self.assertEqual(script.run(), ["ABANDON"])
            self.assertFalse(script.pipe.stored)
            script.close()
            self.assertEqual((script.pipe.error, script.slabs[0], script.pipe.disk.quota.used), (error, 0, 0))

    def test_not_when_a_filter_fails(self) -> None:
        def fail(data: memoryview) -> Any:
            raise ValueError("no")

        script = Stored(Through(fail)).feed(b"hello").end()
        self.assertEqual(script.run()[-1], "ABANDON")
        self.assertFalse(script.pipe.stored)

    def test_not_when_a_filter_fails_at_the_very_end(self) -> None:
        """All that it put out before was delivered; its last words were not."""

        class Fails(Through):
            def ended(self) -> Any:
                raise ValueError("no")

        script = Stored(Fails()).feed(b"hello")
        script.run()
        script.end()
        self.assertEqual(script.run()[-1], "ABANDON")
        self.assertFalse(script.pipe.stored)

    def test_a_disk_that_is_full_means_back_pressure_and_no_storing(self) -> None:
        """Disk bytes go first, then those of memory."""
        script = Stored().stall().feed(ALPHABET[:16])
        script.run()
        script.disk_takes = FULL_DISK
        lines = script.feed(ALPHABET[16:]).end().run()
        self.assertIn("SPILL failed", lines)
        self.assertFalse(script.pipe.disk.use.takes_all)
        self.assertEqual(lines.count("SPILL failed"), 1)
        self.assertTrue(script.wire or script.pipe.upstream_blocked, "the upstream waits for the client")
        self.assertEqual(script.take().run()[-1], "FINISH")
        self.assertEqual((script.client, script.pipe.stored, script.pipe.error), (ALPHABET, False, None))
        script.close()
        self.assertEqual((script.slabs[0], script.pipe.disk.quota.used), (0, 0))

    def test_a_quota_that_is_used_up_is_no_disk_failure(self) -> None:
        """Whatever is done then: the file is never asked to take nothing at all."""
        quota = SpillQuota(10)
        script = Stored(quota=quota).stall().feed(ALPHABET[:40]).end()
        for _ in range(100):
            step = script.pipe.next_step(script.readable, script.writable)
            if step is Step.SPILL:
                self.assertTrue(sum(map(len, script.pipe.spill_batch())) > 0, f"{quota} {script.pipe!r}")
            if step is Step.WAIT:
                break
            getattr(script, f"_{step.name.lower()}")()


class LostClientTests(SynchronousTestCase):
    """The download completes, for the file's sake."""

    def test_the_download_completes_and_is_stored(self) -> None:
        script = Stored().feed(ALPHABET[:20])
        script.run()
        script.lose_client().feed(ALPHABET[20:]).end()
        lines = script.run()
        self.assertEqual(lines[-1], "FINISH")
        self.assertEqual([line for line in lines if line.startswith(("WRITE", "SEND"))], [])
        self.assertEqual((script.file, script.pipe.stored), (ALPHABET, True))
        self.assertEqual(script.client, ALPHABET[:20])

    def test_whose_fault_it_was_is_told(self) -> None:
        script = Stored().feed(b"hello").end().lose_client()
        script.run()
        script.close()
        self.assertIsInstance(script.pipe.error, DownstreamFailed)
        self.assertEqual(script.flows, "ended -> failed")
        self.assertEqual(script.slabs[0], 0)

    def test_while_bytes_wait_for_it(self) -> None:
        script = Stored().stall().feed(ALPHABET[:30])
        script.run()
        script.lose_client()
        self.assertEqual(script.pipe.disk.quota.used, 0, "nobody waits for them")
        self.assertEqual(script.feed(ALPHABET[30:]).end().run()[-1], "FINISH")
        self.assertEqual(script.file, ALPHABET)

    def test_when_all_was_received(self) -> None:
        script = Stored().stall().feed(ALPHABET).end()
        script.run()
        self.assertEqual(script.lose_client().run(), ["FINISH"])
        self.assertTrue(script.pipe.stored)

    def test_a_client_that_takes_nothing_for_too_long_is_lost_too(self) -> None:
        """As in nginx, where a send timeout is a C{downstream_error} like any other."""
        script = Stored().stall().feed(ALPHABET[:30])
        script.run()
        script.pipe.did_break(TimedOut(Side.DOWNSTREAM, "send timeout", 60))
        script.feed(ALPHABET[30:]).end()
        self.assertEqual(script.run()[-1], "FINISH")
        self.assertTrue(script.pipe.stored)

    def test_and_the_upstream_breaks_off_then(self) -> None:
        script = Stored().feed(b"hello").lose_client()
        script.run()
        self.assertEqual(script.fail(UpstreamFailed("reset")).run()[-1], "ABANDON")
        self.assertFalse(script.pipe.stored)
        script.close()
        self.assertEqual(script.slabs[0], 0)

    def test_after_the_upstream_broke_off_there_is_nothing_to_go_on_for(self) -> None:
        script = Stored().stall().feed(b"hello").fail(UpstreamFailed("reset"))
        script.run()
        self.assertEqual(script.lose_client().run(), ["ABANDON"])

    def test_and_the_disk_fills_up_then(self) -> None:
        """Nobody is left to go on for."""
        script = Stored().feed(b"hello")
        script.run()
        script.lose_client().feed(b"world")
        script.disk_takes = FULL_DISK
        self.assertEqual(script.run()[-2:], ["SPILL failed", "ABANDON"])
        script.close()
        error = script.pipe.error
        self.assertIsInstance(error, DownstreamFailed)
        assert error is not None
        self.assertIsNot(error.__context__, error, "it would be the cause of itself")

    def test_lost_twice(self) -> None:
        script = Stored().feed(b"hello").lose_client().lose_client().end()
        self.assertEqual(script.run()[-1], "FINISH")
        self.assertTrue(script.pipe.stored)


class ThreadTests(SynchronousTestCase):
    """A write in a thread is under way (C{writing_file})."""

    def pending(self, *filters: Any) -> Stored:
        script = Stored(*filters)
        self.assertEqual(script.feed(b"hello").run(1), ["READ hello"])
        self.assertIs(script.pipe.next_step(script.readable, script.writable), Step.SPILL)
        script.pipe.spill_begun()
        return script

    def test_no_reads_and_no_second_write(self) -> None:
        script = self.pending().feed(b"world")
        self.assertEqual(script.run(), ["WAIT"])
        self.assertFalse(script.pipe.wants_read)

    def test_its_end_resumes_the_pipe(self) -> None:
        script = self.pending().feed(b"world").end()
        script.run()
        script._spill()
        self.assertEqual(script.run()[-1], "FINISH")
        self.assertEqual(script.file, b"helloworld")

    def test_what_is_in_the_file_is_sent_meanwhile(self) -> None:
        script = self.pending()
        script._spill()
        script.feed(b"world").stall()
        script.run(1)
        script.pipe.next_step(False, False)
        script.pipe.spill_begun()
        self.assertEqual(script.take().run(), ["SEND_FILE hello", "WAIT"])

    def test_a_client_lost_meanwhile(self) -> None:
        script = self.pending().lose_client().end()
        self.assertEqual(script.run(), ["WAIT"])
        script._spill()
        self.assertEqual((script.run()[-1], script.pipe.stored), ("FINISH", True))

    def test_closed_meanwhile_the_buffers_are_not_used_again(self) -> None:
        script = self.pending()
        batch = script.pipe.spill_batch()
        script.pipe.did_break(Cancelled("enough"))
        self.assertEqual(script.run(), ["ABANDON"])
        script.close()
        in_use, free, lost = script.slabs
        self.assertEqual((in_use, free, lost), (0, 0, 1))
        other = script.pool.take()
        other.data[:] = b"########"
        self.assertEqual(text(batch), "hello", "what the thread writes has not changed")
