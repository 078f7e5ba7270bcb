"""Streams that are stored: who breaks off, which disk fails, and what is left then."""

from __future__ import annotations

import errno
import os
import shutil
from typing import Any

import attrs
from twisted.internet.error import ConnectionLost
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from tests.net.disks import DISK, HandThreads, said
from tests.net.fakes import Engine, PipeCase, Recorder, errors_of, fds_in, os_error, raising
from tests.net.test_store import DATA, StoreCase
from twisted_pipe.filters.base import PipeFilter
from twisted_pipe.interfaces import FilterContext
from twisted_pipe.limits import KIB, PipeLimits

CODES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class LostClientTests(StoreCase):
    def test_the_download_completes_and_is_stored(self) -> None:
        pipe = self.store()
        pipe.write(DATA[:1000])
        pipe.stopProducing()
        self.assert_running(pipe)
        pipe.write(DATA[1000:])
        pipe.upstream_ended()
        self.assertEqual(errors_of(self.outcome(pipe)), ("downstream", "the connection was closed"))
        self.assertEqual(self.downstream.value(), DATA[:1000])
        self.assert_stored(DATA)

    def test_a_stuck_one(self) -> None:
        self.downstream.room = 1
        pipe = self.store()
        pipe.write(DATA[:1000])
        pipe.stopProducing()
        pipe.write(DATA[1000:])
        pipe.upstream_ended()
        self.assert_stored(DATA)

    def test_after_all_was_received(self) -> None:
        self.downstream.room = 1
        pipe = self.store()
        pipe.write(DATA)
        pipe.upstream_ended()
        pipe.stopProducing()
        self.assert_stored(DATA)

    def test_one_that_takes_nothing_for_too_long(self) -> None:
        """As in nginx: the client is gone, the download goes on."""
        self.downstream.room = 1
        pipe = self.store(limits=attrs.evolve(DISK, send_timeout=60))
        pipe.write(DATA[:1000])
        self.clock.advance(60)
        self.assert_running(pipe)
        pipe.write(DATA[1000:])
        pipe.upstream_ended()
        self.assertEqual(errors_of(self.outcome(pipe))[0], "downstream")
        self.assert_stored(DATA)

    def test_no_send_timeout_for_one_that_is_gone(self) -> None:
        self.spill.threads = threads = HandThreads()
        self.addCleanup(threads.finish_all)
        self.downstream.room = 1
        pipe = self.store(limits=attrs.evolve(DISK, send_timeout=60))
        pipe.write(DATA[:1000])
        threads.finish(100)
        pipe.stopProducing()
        self.clock.advance(61)
        self.assert_running(pipe)
        pipe.upstream_ended()
        threads.finish_all()
        self.assert_stored(DATA[:1000])

    def test_and_the_upstream_breaks_off(self) -> None:
        pipe = self.store()
        pipe.write(DATA)
        pipe.stopProducing()
        pipe.upstream_lost(Failure(ConnectionLost()))
        self.assertFalse(self.outcome(pipe).clean)
        self.assert_not_stored()

    def test_and_the_disk_fills_up(self) -> None:
        pipe = self.store()
        pipe.write(DATA[:1000])
        pipe.stopProducing()
        self.fail_writes(errno.ENOSPC)
        pipe.write(DATA[:500])
        self.assertEqual(errors_of(self.outcome(pipe))[0], "downstream")
        self.assertEqual(self.upstream.calls.count("stop"), 1, "nobody is left to read for")
        self.assert_not_stored()

    def test_and_its_place_is_gone(self) -> None:
        """The end is told all the same."""
        pipe = self.store()
        pipe.write(DATA)
        pipe.stopProducing()
        self.patch(os, "replace", raising(errno.EACCES))
        pipe.upstream_ended()
        error = self.outcome(pipe).error
        assert error is not None
        self.assertIsNot(error.__context__, error, "it would be the cause of itself")
        self.assert_not_stored()


class NotStoredTests(StoreCase):
    """Only complete bodies are stored, and nothing is left of the others."""

    def test_after_a_reset(self) -> None:
        pipe = self.store()
        pipe.write(DATA)
        pipe.upstream_lost(Failure(ConnectionLost()))
        self.assertEqual(errors_of(self.outcome(pipe))[0], "upstream")
        self.assertEqual(self.downstream.value(), DATA, "the client gets what was received")
        self.assert_not_stored()

    def test_after_less_than_its_length(self) -> None:
        pipe = self.store(length=3001)
        pipe.write(DATA)
        pipe.upstream_ended()
        self.assertEqual(errors_of(self.outcome(pipe))[0], "upstream")
        self.assert_not_stored()

    def test_after_a_read_timeout(self) -> None:
        pipe = self.store(limits=attrs.evolve(DISK, read_timeout=60))
        pipe.write(DATA)
        self.clock.advance(60)
        self.outcome(pipe)
        self.assert_not_stored()

    def test_cancelled(self) -> None:
        self.downstream.room = 1
        pipe = self.store()
        pipe.write(DATA)
        pipe.upstream_ended()
        pipe.done.cancel()
        self.assert_not_stored()

    def test_a_filter_that_fails_at_the_end(self) -> None:
        class Fails(PipeFilter):
            def ended(self) -> Any:
                raise ValueError("no")

        pipe = self.store([Fails(FilterContext())])
        pipe.write(DATA)
        pipe.upstream_ended()
        self.assertEqual(errors_of(self.outcome(pipe))[0], "filter")
        self.assert_not_stored()

    def test_a_disk_that_takes_no_more(self) -> None:
        for code in CODES:
            for after in (0, 500):
                self.renew()
                failures = self.spill.failures
                self.fail_writes(code, after)
                with capturedLogs() as logs:
                    pipe = self.store(name="p")
                    pipe.write(DATA)
                    pipe.upstream_ended()
                self.assertTrue(self.outcome(pipe).clean)
                self.assertEqual((self.downstream.value(), self.downstream.ends), (DATA, ["half"]))
                self.assertEqual(self.spill.failures, failures + 1)
                line = f"p: storing failed, going on without: {self.path}: {os.strerror(code)}"
                self.assertEqual(said(list(logs), line), 1)
                self.assert_not_stored()

    def test_a_thread_whose_write_fails(self) -> None:
        self.spill.threads = threads = HandThreads()
        pipe = self.store()
        pipe.write(DATA)
        threads.finish(150)
        threads.fail(errno.ENOSPC)
        pipe.upstream_ended()
        self.assertEqual((self.downstream.value(), self.outcome(pipe).clean), (DATA, True))
        self.assert_not_stored()

    def test_ended_while_a_thread_writes(self) -> None:
        for finish in ("finish", "fail"):
            self.renew()
            self.spill.threads = threads = HandThreads()
            pipe = self.store()
            pipe.write(DATA)
            pipe.done.cancel()
            threads.finish() if finish == "finish" else threads.fail(errno.EIO)
            self.assert_not_stored()

    def test_bytes_that_cannot_be_read_back(self) -> None:
        self.downstream.room = 1
        pipe = self.store()
        pipe.write(DATA)
        self.patch(os, "pread", raising(errno.EIO))
        self.take_all()
        self.assertEqual(errors_of(self.outcome(pipe))[0], "disk")
        self.assert_not_stored()

    def test_a_place_that_cannot_be_taken(self) -> None:
        """The rename fails: the client has got everything and has its clean end."""
        os.mkdir(self.path)
        with capturedLogs() as logs:
            pipe = self.store()
            pipe.write(DATA)
            pipe.upstream_ended()
        self.assertEqual((self.downstream.value(), self.outcome(pipe).clean), (DATA, True))
        self.assertEqual((self.told, os.listdir(self.directory)), ([], ["body"]))
        self.assertEqual((said(list(logs), "storing failed"), self.spill.failures), (1, 1))
        os.rmdir(self.path)
        self.assert_not_stored()

    def test_closing_it_fails(self) -> None:
        """Some file systems tell only then that bytes were lost."""
        real = os.close

        def close(fd: int) -> None:
            ours = fd in fds_in(self.directory)
            real(fd)
            if ours:
                raise os_error(errno.EDQUOT)

        pipe = self.store()
        pipe.write(DATA)
        self.patch(os, "close", close)
        pipe.upstream_ended()
        self.assertTrue(self.outcome(pipe).clean)
        self.assert_not_stored()

    def test_a_directory_that_does_not_exist(self) -> None:
        with capturedLogs() as logs:
            pipe = self.store(store=os.path.join(self.directory, "none", "body"))
            pipe.write(DATA)
            pipe.upstream_ended()
        self.assertEqual((self.downstream.value(), self.outcome(pipe).clean), (DATA, True))
        self.assertEqual((said(list(logs), "storing failed"), self.spill.failures), (1, 1))
        self.assert_not_stored()

    def test_an_empty_stream_and_a_directory_that_does_not_exist(self) -> None:
        pipe = self.store(store=os.path.join(self.directory, "none", "body"))
        pipe.upstream_ended()
        self.assertTrue(self.outcome(pipe).clean)
        self.assert_not_stored()

    def test_a_directory_that_is_removed_meanwhile(self) -> None:
        pipe = self.store()
        pipe.write(DATA)
        shutil.rmtree(self.directory)
        pipe.upstream_ended()
        self.assertEqual((self.downstream.value(), self.outcome(pipe).clean), (DATA, True))
        self.assertEqual((self.told, self.spill.failures), ([], 1))


class SocketTests(PipeCase):
    """Between sockets, by sendfile."""

    limits = PipeLimits(buffers=4, buffer_size=4 * KIB, read_timeout=0, send_timeout=60)

    def setUp(self) -> None:
        PipeCase.setUp(self)
        self.engine = Engine(self)
        self.clock = self.engine.reactor
        self.directory = os.path.abspath(self.mktemp())
        os.mkdir(self.directory)
        self.path = os.path.join(self.directory, "body")
        self.told: list[tuple[str, int]] = []
        self.up, self.server = self.engine.connect(Recorder(), 8192)
        self.down, self.client = self.engine.connect(Recorder(), 8192)
        self.pipe_ = self.pipe(self.up, self.down, store=self.path, on_stored=lambda *what: self.told.append(what))
        self.engine.settle()

    def deliver(self, data: bytes, reading: bool = True) -> bytes:
        sent, got = 0, b""
        for _ in range(2000):
            sent += self.server.write(data[sent:])
            self.engine.settle()
            more = self.client.read() if reading else b""
            got += more
            if sent == len(data) and not more:
                break
        return got

    def assert_stored(self, data: bytes) -> None:
        self.assertEqual(self.told, [(self.path, len(data))])
        with open(self.path, "rb") as file:
            self.assertEqual(file.read(), data)
        self.assertEqual((os.listdir(self.directory), fds_in(self.directory)), (["body"], []))

    def test_whole(self) -> None:
        data = os.urandom(500_000)
        self.assertEqual(self.deliver(data), data)
        self.server.half_close()
        self.engine.settle()
        self.assertTrue(self.outcome(self.pipe_).clean)
        self.assert_stored(data)

    def test_a_client_that_is_gone(self) -> None:
        data = os.urandom(500_000)
        self.client.close()
        self.deliver(data, reading=False)
        self.server.half_close()
        self.engine.settle()
        self.assertEqual(errors_of(self.outcome(self.pipe_))[0], "downstream")
        self.assert_stored(data)

    def test_the_end_of_a_client_that_is_gone_and_of_an_upstream_closed_by_its_owner(self) -> None:
        self.client.close()
        self.deliver(bytes(50_000), reading=False)
        self.down.abortConnection()
        self.engine.settle()
        self.assert_running(self.pipe_)
        self.up.abortConnection()
        self.engine.settle()
        self.assertFalse(self.outcome(self.pipe_).clean)
        self.assertEqual((self.told, os.listdir(self.directory)), ([], []))

    def test_a_client_that_is_closed_after_it_was_given_up(self) -> None:
        """It is not the upstream that ends then."""
        data = os.urandom(500_000)
        self.deliver(data[:250_000], reading=False)
        self.engine.advance(61, 1)
        self.client.close()
        self.engine.settle()
        self.assertTrue(self.down.disconnected)
        self.assert_running(self.pipe_)
        self.deliver(data[250_000:], reading=False)
        self.server.half_close()
        self.engine.settle()
        self.assertEqual(errors_of(self.outcome(self.pipe_)), ("downstream", "send timeout of 60 s expired"))
        self.assert_stored(data)

    def test_and_the_upstream_is_closed_by_its_owner_after_that(self) -> None:
        self.deliver(bytes(250_000), reading=False)
        self.engine.advance(61, 1)
        self.client.close()
        self.engine.settle()
        self.up.abortConnection()
        self.engine.settle()
        self.assertFalse(self.outcome(self.pipe_).clean)
        self.assertEqual((self.told, os.listdir(self.directory)), ([], []))


class PushedTests(StoreCase):
    """From an upstream that pushes to a socket."""

    def test_a_part_is_not_the_whole_when_a_client_that_was_given_up_is_closed(self) -> None:
        engine = Engine(self)
        down, client = engine.connect(Recorder(), 8192)
        self.clock, self.downstream = engine.reactor, down
        pipe = self.store(limits=attrs.evolve(DISK, max_temp_file_size=1 << 20, send_timeout=60))
        for _ in range(100):
            pipe.write(DATA)
        engine.advance(61, 1)
        client.half_close()
        engine.settle()
        self.assertTrue(down.disconnected)
        self.assert_running(pipe)
        pipe.write(DATA)
        pipe.upstream_ended()
        self.assert_stored(DATA * 101)
