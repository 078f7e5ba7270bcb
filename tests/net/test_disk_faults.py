"""Disks that fail: bytes that are safe in memory go on by back-pressure, bytes that are lost end the pipe and name the disk."""

from __future__ import annotations

import errno
import os
import shutil

import attrs
from twisted.logger import capturedLogs

from tests.net.disks import DiskCase, lines, said, small_disk
from tests.net.fakes import Engine, PipeCase, Recorder, WatchedSpill, errors_of, fds_in, raising
from twisted_pipe.limits import KIB, PipeLimits
from twisted_pipe.net.diskthreads import DiskThreads

DATA = bytes(index * 7 % 251 for index in range(3000))
BULK = os.urandom(400 * KIB)
KEEPS = PipeLimits(
    buffers=4,
    buffer_size=4 * KIB,
    max_temp_file_size=1 << 20,
    read_timeout=0,
    send_timeout=0,
    temp_file_write_size=8192,
)
CODES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class BackPressureTests(DiskCase):
    def check(self, code: int, spilled: int) -> None:
        failures = self.spill.failures
        with capturedLogs() as logs:
            pipe = self.stuck(name="p")
            pipe.write(DATA)
            self.assertEqual((pipe.bytes_spilled, self.upstream.producerState), (spilled, "paused"))
            self.assertTrue(self.in_use() <= 4)
            self.assertEqual(self.take_all(), DATA)
            self.assertEqual(self.spill.fds, [], "held though nothing will be written any more")
            pipe.write(DATA)
            self.assertEqual(self.take_all(), DATA, "nor is it tried again")
            pipe.upstream_ended()
        outcome = self.outcome(pipe)
        self.assertEqual((outcome.clean, outcome.bytes_spilled), (True, spilled))
        self.assertEqual(self.spill.failures, failures + 1)
        (line,) = [line for line in lines(list(logs)) if "spill failed" in line]
        self.assertTrue(line.endswith(os.strerror(code)), line)
        self.assertEqual((self.spill.fds, os.listdir(self.directory)), ([], []))

    def test_at_open(self) -> None:
        for code in CODES:
            self.renew()
            self.patch(self.spill, "_make", raising(code))
            self.check(code, 0)

    def test_at_the_first_write(self) -> None:
        for code in CODES:
            self.renew()
            self.fail_writes(code)
            self.check(code, 0)

    def test_at_a_later_write(self) -> None:
        for code in CODES:
            self.renew()
            self.fail_writes(code, after=500)
            self.check(code, 500)

    def test_a_write_that_takes_nothing(self) -> None:
        self.patch(os, "pwritev", lambda fd, parts, offset: 0)
        self.check(errno.ENOSPC, 0)

    def test_short_writes_are_none(self) -> None:
        really = os.pwritev
        self.patch(os, "pwritev", lambda fd, parts, offset: really(fd, [bytes(parts[0])[:11]], offset))
        pipe = self.stuck()
        pipe.write(DATA)
        self.assertEqual((self.take_all(), self.spill.failures), (DATA, 0))
        self.assertTrue(pipe.bytes_spilled > 2000)

    def test_the_directory_is_removed_while_running(self) -> None:
        """What is in nameless files stays; a new one cannot be made."""
        pipe = self.stuck()
        pipe.write(DATA)
        self.assertTrue(pipe.disk_bytes > 2000)
        shutil.rmtree(self.directory)
        self.assertEqual(self.take_all(), DATA)
        self.assert_running(pipe)
        with capturedLogs() as logs:
            pipe.write(DATA)
            self.assertEqual((self.take_all(), self.upstream.calls[-1]), (DATA, "resume"))
            pipe.upstream_ended()
        self.assertTrue(self.outcome(pipe).clean)
        self.assertEqual((self.spill.failures, said(list(logs), os.strerror(errno.ENOENT))), (1, 1))

    def test_each_pipe_finds_out_for_itself(self) -> None:
        """The disk may have room again."""
        sizes = self.fail_writes(errno.ENOSPC)
        for count in (1, 2, 3):
            self.renew()
            pipe = self.stuck()
            pipe.write(DATA)
            self.assertEqual((len(sizes), self.spill.failures), (count, count))


class LostBytesTests(DiskCase):
    def broken(self) -> str:
        pipe = self.pipes[-1]
        self.take_all()
        outcome = self.outcome(pipe)
        side, why = errors_of(outcome)
        self.assertEqual((side, self.downstream.ends, self.spill.fds), ("disk", ["abort"], []))
        self.assertTrue(str(outcome).startswith("disk: "), str(outcome))
        return why

    def test_a_file_that_was_truncated(self) -> None:
        self.stuck().write(DATA)
        os.ftruncate(self.spill.fds[0], 100)
        self.assertIn("the file was truncated", self.broken())

    def test_a_file_that_cannot_be_read(self) -> None:
        self.stuck().write(DATA)
        self.patch(os, "pread", raising(errno.EIO))
        self.assertIn(os.strerror(errno.EIO), self.broken())

    def test_a_file_in_threads_that_was_truncated(self) -> None:
        self.spill.threads = DiskThreads(None, 0)
        self.stuck().write(DATA)
        os.ftruncate(self.spill.fds[0], 0)
        self.assertIn("the file was truncated", self.broken())


class SocketTests(PipeCase):
    """The same between sockets, with sendfile."""

    limits = KEEPS

    def setUp(self) -> None:
        PipeCase.setUp(self)
        self.engine = Engine(self)
        self.clock = self.engine.reactor
        path = os.path.abspath(self.mktemp())
        os.mkdir(path)
        self.spill = WatchedSpill(path)
        self.up, self.server = self.engine.connect(Recorder(), 8192)
        self.down, self.client = self.engine.connect(Recorder(), 8192)
        self.engine.settle()

    def feed(self, data: bytes) -> int:
        sent = stalls = 0
        while sent < len(data) and stalls < 3:
            now = self.server.write(data[sent:])
            sent += now
            self.engine.lose_patience()
            stalls = 0 if now else stalls + 1
        return sent

    def deliver(self, data: bytes, sent: int) -> bytes:
        """The rest of C{data} is sent while the client takes all."""
        got = b""
        for _ in range(1000):
            sent += self.server.write(data[sent:])
            self.engine.settle()
            more = self.client.read()
            got += more
            if not more and sent == len(data):
                break
        return got

    def test_a_disk_that_is_full_in_the_midst(self) -> None:
        """A real one."""
        with small_disk(self, "64k") as path:
            self.spill = WatchedSpill(path)
            pipe = self.pipe(self.up, self.down)
            with capturedLogs() as logs:
                sent = self.feed(BULK)
                self.assertTrue(0 < pipe.bytes_spilled <= 64 * KIB, pipe)
                self.assertTrue(pipe.upstream_blocked)
                got = self.deliver(BULK, sent)
            self.assertEqual(got, BULK)
            self.server.half_close()
            self.engine.settle()
            self.assertTrue(self.outcome(pipe).clean)
            self.assertEqual((said(list(logs), "No space left on device"), self.spill.failures), (1, 1))
            self.assertEqual((self.spill.fds, os.listdir(path)), ([], []))
            self.assertEqual(os.statvfs(path).f_bfree, os.statvfs(path).f_blocks, "all of it is free again")

    def test_a_disk_that_is_full_from_the_first_byte(self) -> None:
        with small_disk(self, "16k") as path:
            with open(os.path.join(path, "full"), "wb") as file:
                file.write(bytes(os.statvfs(path).f_bavail * os.statvfs(path).f_frsize))
            self.spill = WatchedSpill(path)
            pipe = self.pipe(self.up, self.down)
            sent = self.feed(BULK)
            self.assertEqual((pipe.bytes_spilled, self.spill.failures), (0, 1))
            self.assertEqual(self.deliver(BULK, sent), BULK)
            self.assert_running(pipe)

    def test_stored_on_a_disk_that_is_full_in_the_midst(self) -> None:
        """The client gets all of it, nothing is kept and nobody is told that it was."""
        told: list[tuple[str, int]] = []
        with small_disk(self, "64k") as path:
            pipe = self.pipe(
                self.up, self.down, store=os.path.join(path, "body"), on_stored=lambda *what: told.append(what)
            )
            sent = self.feed(BULK)
            self.assertEqual(self.deliver(BULK, sent), BULK)
            self.server.half_close()
            self.engine.settle()
            self.assertTrue(self.outcome(pipe).clean)
            self.assertEqual((told, os.listdir(path), fds_in(path)), ([], [], []))

    def test_a_file_that_was_truncated(self) -> None:
        pipe = self.pipe(self.up, self.down)
        sent = self.feed(BULK)
        self.assertTrue(pipe.disk_bytes > 64 * KIB)
        os.ftruncate(self.spill.fds[0], 4096)
        self.deliver(BULK, sent)
        side, why = errors_of(self.outcome(pipe))
        self.assertEqual((side, why), ("disk", "spilled bytes cannot be read: the file was truncated"))
        self.assertEqual(self.spill.fds, [])

    def test_a_read_only_mount(self) -> None:
        with small_disk(self, "64k") as path:
            os.system(f"mount -o remount,ro {path}")
            self.spill = WatchedSpill(path)
            pipe = self.pipe(self.up, self.down, limits=attrs.evolve(KEEPS, max_temp_file_size=1 << 16))
            with capturedLogs() as logs:
                sent = self.feed(BULK)
            self.assertEqual(said(list(logs), os.strerror(errno.EROFS)), 1)
            self.assertEqual(self.deliver(BULK, sent), BULK)
            self.assert_running(pipe)
