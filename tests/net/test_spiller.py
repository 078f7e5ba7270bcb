"""Writing to the file in a thread: what a pipe does meanwhile, and how it may end."""

from __future__ import annotations

import errno
import os
from typing import Any

import attrs
from twisted.internet.error import ConnectionLost
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from tests.net.disks import DISK, DiskCase, HandThreads, lines, said
from twisted_pipe.core.disk import SpillQuota
from twisted_pipe.errors import Cancelled
from twisted_pipe.filters.base import PipeFilter
from twisted_pipe.interfaces import FilterContext
from twisted_pipe.net.driver import slab_pool

DATA = bytes(index * 7 % 251 for index in range(3000))


class ThreadCase(DiskCase):
    def setUp(self) -> None:
        DiskCase.setUp(self)
        self.threads = HandThreads()
        self.spill.threads = self.threads
        self.addCleanup(self.let_all_end)

    def let_all_end(self) -> None:
        """Writes that are under way when a test is over are made."""
        for pipe in self.pipes:
            pipe.done.cancel()
        self.threads.finish_all()

    def pending(self, filters: Any = (), limits: Any = None, data: bytes = DATA, **more: Any) -> Any:
        """A pipe whose first write to the file is under way."""
        pipe = self.stuck(filters, limits, **more)
        pipe.write(data)
        self.assertEqual(len(self.threads.jobs), 1)
        return pipe

    def let_go(self) -> bytes:
        """The client takes all there is while the writes are made, as they come."""
        data = b""
        while self.threads.jobs or self.downstream.value():
            self.threads.finish_all()
            data += self.downstream.take()
        return data


class PendingTests(ThreadCase):
    def test_it_stops_reads(self) -> None:
        pipe = self.pending()
        before = pipe.bytes_in
        self.assertEqual(self.upstream.producerState, "paused")
        pipe.write(b"more")
        self.assertEqual((pipe.bytes_in, self.upstream.producerState), (before, "paused"))

    def test_it_holds_memory_back(self) -> None:
        """Its bytes come first, and are not on disk yet."""
        pipe = self.pending()
        first = self.downstream.take()
        self.assertEqual((self.downstream.value(), pipe.bytes_out), (b"", len(first)))
        self.assertEqual(pipe.memory_bytes, 400)

    def test_one_write_at_a_time(self) -> None:
        pipe = self.pending()
        pipe.resumeProducing()
        pipe.pauseProducing()
        pipe.resumeProducing()
        self.assertEqual(len(self.threads.jobs), 1)

    def test_its_completion_resumes_the_pipe(self) -> None:
        pipe = self.pending()
        before = pipe.bytes_in
        self.assertEqual(self.threads.finish(), 200)
        self.assertEqual((pipe.bytes_spilled, pipe.disk_bytes), (200, 200))
        self.assertTrue(pipe.bytes_in > before)
        self.assertEqual(self.let_go(), DATA)
        pipe.upstream_ended()
        self.assertTrue(self.outcome(pipe).clean)

    def test_what_is_on_disk_already_is_sent_meanwhile(self) -> None:
        pipe = self.pending()
        first = self.downstream.take()
        pipe.pauseProducing()
        self.threads.finish()
        self.assertEqual(len(self.threads.jobs), 1)
        pipe.resumeProducing()
        self.assertEqual(first + self.downstream.value(), DATA[: len(first) + 200])

    def test_the_file_stays_when_all_that_is_on_disk_is_sent_meanwhile(self) -> None:
        """A thread writes to it: its descriptor must not be closed, nor may the range start anew."""
        pipe = self.pending()
        first = self.downstream.take()
        pipe.pauseProducing()
        self.threads.finish()
        pipe.resumeProducing()
        self.assertEqual((pipe.disk_bytes, len(self.threads.jobs)), (0, 1))
        self.assertEqual(len(self.spill.fds), 1, "closed under the write")
        self.assertEqual(len(self.spill.files), 1)
        self.threads.finish()
        self.assertEqual(self.let_go()[len(first) - len(DATA) :], DATA[len(first) :])
        self.assertEqual(pipe.bytes_out, len(DATA))

    def test_nothing_is_kept_of_a_file_that_was_sent_when_the_write_fails(self) -> None:
        """The disk is full, perhaps of just that; and there will be no other write that would want the file."""
        self.spill.quota = quota = SpillQuota(10_000)
        pipe = self.pending()
        self.downstream.take()
        pipe.pauseProducing()
        self.threads.finish()
        pipe.resumeProducing()
        self.assertEqual((pipe.disk_bytes, len(self.threads.jobs), len(self.spill.fds)), (0, 1, 1))
        self.threads.fail(errno.ENOSPC)
        self.assertFalse(pipe.ended)
        self.assertEqual((len(self.spill.fds), quota.used), (0, 0))

    def test_order_holds(self) -> None:
        """A little at a time, with writes that are made late."""
        pipe = self.stuck()
        got = bytearray()
        for at in range(0, len(DATA), 100):
            pipe.write(DATA[at : at + 100])
            got += self.downstream.take(70)
            if at % 300 == 0:
                self.threads.finish_all()
        pipe.upstream_ended()
        got += self.let_go()
        self.assertEqual(bytes(got), DATA)
        self.assertTrue(self.outcome(pipe).clean)

    def test_a_write_done_at_once(self) -> None:
        run = self.threads.run

        def at_once(*arguments: Any) -> Any:
            done = run(*arguments)
            self.threads.finish()
            return done

        self.patch(self.threads, "run", at_once)
        pipe = self.stuck()
        pipe.write(DATA)
        pipe.upstream_ended()
        self.assertEqual(self.take_all(), DATA)
        self.assertTrue(self.outcome(pipe).bytes_spilled > 2000)

    def test_a_short_write(self) -> None:
        pipe = self.pending()
        self.assertEqual(self.threads.finish(7), 7)
        self.assertEqual((pipe.bytes_spilled, len(self.threads.jobs)), (7, 1))
        self.assertEqual(self.let_go(), DATA)
        pipe.upstream_ended()
        self.assertTrue(self.outcome(pipe).clean)

    def test_finish_after_the_end_with_a_pending_write(self) -> None:
        pipe = self.pending(data=DATA[:700])
        pipe.upstream_ended()
        self.downstream.room = 1 << 30
        self.downstream.take()
        self.assert_running(pipe)
        self.threads.finish_all()
        self.assertTrue(self.outcome(pipe).clean)
        self.assertEqual((self.outcome(pipe).bytes_out, self.downstream.ends), (700, ["half"]))

    def test_what_a_filter_makes(self) -> None:
        class Doubles(PipeFilter):
            def received(self, data: memoryview) -> Any:
                return (bytes(data), bytes(data))

        pipe = self.pending([Doubles(FilterContext())])
        pipe.upstream_ended()
        self.assertEqual(len(self.let_go()), 2 * len(DATA))
        self.assertTrue(self.outcome(pipe).clean)

    def test_nothing_is_handed_over_where_nobody_is_wanted(self) -> None:
        """Then each write is timed."""
        self.threads.wanted = False
        pipe = self.stuck()
        pipe.write(DATA)
        self.assertEqual((self.threads.jobs, set(self.threads.took_seconds)), ([], {0.0}))
        self.assertEqual(len(self.threads.took_seconds), -(-pipe.bytes_spilled // 200))

    def test_two_pipes_and_one_quota(self) -> None:
        """What is under way counts."""
        self.spill.quota = SpillQuota(300)
        first = self.pending(data=DATA[:1000])
        self.renew()
        second = self.stuck()
        second.write(DATA[:1000])
        while self.threads.jobs:
            self.threads.finish()
            self.assertTrue(self.spill.quota.used <= 300, self.spill.quota)
        for pipe in (first, second):
            pipe.done.cancel()
        self.assertEqual(self.spill.quota.used, 0)


class ClosedMeanwhileTests(ThreadCase):
    """Closing while a write is under way neither crashes nor leaks."""

    def ends(self, pipe: Any, how: str) -> None:
        {
            "abandon": lambda: pipe.abandon(Cancelled("enough")),
            "cancel": pipe.done.cancel,
            "downstream": pipe.stopProducing,
        }[how]()

    def test_the_file_is_closed_when_the_write_is_done(self) -> None:
        for how in ("abandon", "cancel", "downstream"):
            for finish in (self.threads.finish, lambda: self.threads.fail(errno.EIO)):
                self.renew()
                pipe = self.pending()
                self.ends(pipe, how)
                self.assertFalse(self.outcome(pipe).clean)
                self.assertEqual(len(self.spill.fds), 1, "its descriptor is not another file's while a thread uses it")
                finish()
                self.assertEqual(self.spill.fds, [])

    def test_its_memory_is_given_up_not_used_again(self) -> None:
        pool = slab_pool(DISK.buffer_size)
        pipe = self.pending()
        _, (_, parts), _ = self.threads.jobs[0]
        before, lost = b"".join(parts), pool.lost
        pipe.done.cancel()
        self.assertEqual((self.in_use(), pool.lost), (0, lost + 2))
        self.renew()
        other = self.start()
        other.write(b"#" * 3000)
        self.assertEqual(b"".join(parts), before)
        del parts
        self.threads.finish()

    def test_its_memory_comes_back_if_the_write_was_done(self) -> None:
        pipe = self.pending()
        self.threads.finish()
        lost = slab_pool(DISK.buffer_size).lost
        self.threads.finish()
        self.threads.jobs[0][1][1].clear()  # the parts
        pipe.done.cancel()
        self.assertEqual(slab_pool(DISK.buffer_size).lost, lost)
        self.threads.jobs.clear()
        self.spill.files[0].close()

    def test_nothing_stays_in_the_quota(self) -> None:
        self.spill.quota = SpillQuota(1000)
        for finish in (self.threads.finish, lambda: self.threads.fail(errno.ENOSPC)):
            self.renew()
            pipe = self.pending()
            self.threads.finish()
            pipe.done.cancel()
            finish()
            self.assertEqual(self.spill.quota.used, 0)

    def test_a_failure_afterwards_is_nobodys(self) -> None:
        pipe = self.pending()
        pipe.done.cancel()
        with capturedLogs() as logs:
            self.threads.fail(errno.EIO)
        self.assertEqual((lines(list(logs)), self.spill.failures), ([], 0))

    def test_an_upstream_that_breaks_off_meanwhile(self) -> None:
        """What it sent is delivered all the same."""
        pipe = self.pending(data=DATA[:700])
        pipe.upstream_lost(Failure(ConnectionLost()))
        self.assert_running(pipe)
        self.assertEqual(self.let_go(), DATA[:700])
        self.assertEqual(str(self.outcome(pipe).side), "upstream")

    def test_total_timeout_meanwhile(self) -> None:
        pipe = self.pending(limits=attrs.evolve(DISK, total_timeout=5))
        self.clock.advance(5)
        self.assertEqual(str(self.outcome(pipe)), "total timeout of 5 s expired")
        self.threads.finish()
        self.assertEqual(self.spill.fds, [])

    def test_cancelled_from_within_its_completion(self) -> None:
        """The client takes what came back from disk, and gives up on that."""
        pipe = self.pending()
        self.downstream.room = 1 << 30
        self.downstream.take()
        self.patch(self.downstream, "write", lambda data: pipe.done.cancel())
        self.threads.finish_all()
        self.assertFalse(self.outcome(pipe).clean)
        self.threads.finish_all()
        self.assertEqual(self.spill.fds, [])


class FailingTests(ThreadCase):
    def test_back_pressure_instead(self) -> None:
        for code in (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS):
            self.renew()
            failures = self.spill.failures
            with capturedLogs() as logs:
                pipe = self.pending(name="p")
                self.threads.fail(code)
                self.assertEqual((pipe.bytes_spilled, self.upstream.producerState), (0, "paused"))
                self.assertEqual(self.let_go(), DATA)
                pipe.upstream_ended()
            self.assertTrue(self.outcome(pipe).clean)
            self.assertEqual(self.spill.failures, failures + 1)
            what = "p: spill failed, going on without (the upstream waits for the client)"
            self.assertEqual(lines(list(logs)), [f"{what}: {self.directory}: {os.strerror(code)}"])

    def test_after_some_that_went_well(self) -> None:
        with capturedLogs() as logs:
            pipe = self.pending()
            self.threads.finish()
            self.threads.fail(errno.ENOSPC)
            self.assertEqual((self.let_go(), pipe.bytes_spilled), (DATA, 200))
            pipe.upstream_ended()
        self.assertTrue(self.outcome(pipe).clean)
        self.assertEqual((said(list(logs), "spill failed"), said(list(logs), "spill started")), (1, 1))

    def test_an_error_that_is_no_oserror(self) -> None:
        """A mistake of ours, or no memory: the bytes are still there."""
        pipe = self.pending()
        self.threads.fail(MemoryError("none left"))
        self.assertEqual(self.let_go(), DATA)
        pipe.upstream_ended()
        self.assertTrue(self.outcome(pipe).clean)

    def test_a_file_that_cannot_be_opened_is_not_the_threads_concern(self) -> None:
        os.rmdir(self.directory)
        pipe = self.stuck()
        pipe.write(DATA)
        self.assertEqual((self.threads.jobs, self.spill.failures, self.take_all()), ([], 1, DATA))
        pipe.upstream_ended()
        self.assertTrue(self.outcome(pipe).clean)
