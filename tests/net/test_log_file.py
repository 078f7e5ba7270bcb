"""A file that lines are appended to, real files, FIFOs and disks that are full."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from unittest import mock

from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import os_error
from twisted_pipe.errors import BadConfiguration
from twisted_pipe.net.log_file import DELAY, MAX_BYTES, MAX_LINES, LogFile, LogStatistics


class LogFileCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.path = os.path.abspath(self.mktemp())
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.events.append)  # type: ignore[arg-type]
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def open(self, path: str | None = None) -> LogFile:
        log = LogFile(path or self.path, self.clock)
        self.addCleanup(log.close)
        return log

    def content(self, path: str | None = None) -> bytes:
        with open(path or self.path, "rb") as file:
            return file.read()

    def logged(self) -> list[tuple[LogLevel, str]]:
        """What was logged since this was last asked."""
        events = [event for event in self.events if event["log_namespace"] == "twisted_pipe.net.log_file"]
        self.events.clear()
        return [(event["log_level"], event["log_format"].format(**event)) for event in events]

    def writes(self, script: list[Callable[[int, bytes], int]]) -> None:
        """The next calls of C{os.write} do what C{script} says, those after it what they always do."""
        real = os.write

        def write(fd: int, data: bytes) -> int:
            return script.pop(0)(fd, data) if script else real(fd, data)

        self.patch(os, "write", write)


def failing(code: int) -> Callable[[int, bytes], int]:
    def fail(fd: int, data: bytes) -> int:
        raise os_error(code)

    return fail


def partly(count: int) -> Callable[[int, bytes], int]:
    real = os.write
    return lambda fd, data: real(fd, data[:count])


class CollectTests(LogFileCase):
    def test_lines_are_written_together_and_soon(self) -> None:
        log = self.open()
        log.write(b"1\n")
        self.clock.advance(DELAY / 2)
        log.write(b"2\n")
        self.assertEqual(self.content(), b"")
        self.clock.advance(DELAY / 2)
        self.assertEqual(self.content(), b"1\n2\n")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_delayed_call_serves_them_all(self) -> None:
        log = self.open()
        for _ in range(5):
            log.write(b"x\n")
            log.flush()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_a_line_after_a_flush_waits_no_longer_than_others(self) -> None:
        log = self.open()
        log.write(b"1\n")
        log.flush()
        self.assertEqual(self.content(), b"1\n")
        log.write(b"2\n")
        self.clock.advance(DELAY)
        log.write(b"3\n")
        self.clock.advance(DELAY)
        self.assertEqual(self.content(), b"1\n2\n3\n")

    def test_what_waits_is_bounded_in_lines(self) -> None:
        log = self.open()
        for _ in range(MAX_LINES - 1):
            log.write(b"\n")
        self.assertEqual(self.content(), b"")
        log.write(b"\n")
        self.assertEqual(len(self.content()), MAX_LINES)

    def test_what_waits_is_bounded_in_bytes(self) -> None:
        log = self.open()
        log.write(b"x" * (MAX_BYTES - 2) + b"\n")
        self.assertEqual(self.content(), b"")
        log.write(b"\n")
        self.assertEqual(len(self.content()), MAX_BYTES)
        log.write(b"y" * MAX_BYTES + b"\n")
        self.assertEqual(len(self.content()), 2 * MAX_BYTES + 1)

    def test_the_bounds_count_what_waits_only(self) -> None:
        log = self.open()
        for _ in range(3):
            log.write(b"x" * (MAX_BYTES - 2) + b"\n")
            log.flush()
        before = len(self.content())
        log.write(b"last\n")
        self.assertEqual(len(self.content()), before)

    def test_flush_makes_one_call_and_none_for_nothing(self) -> None:
        sizes: list[int] = []
        real = os.write

        def write(fd: int, data: bytes) -> int:
            sizes.append(len(data))
            return real(fd, data)

        self.patch(os, "write", write)
        log = self.open()
        log.flush()
        log.write(b"12\n")
        log.write(b"345\n")
        log.flush()
        log.flush()
        self.assertEqual(sizes, [7])


class OpenTests(LogFileCase):
    def test_it_appends(self) -> None:
        with open(self.path, "wb") as file:
            file.write(b"before\n")
        log = self.open()
        with open(self.path, "ab") as other:
            other.write(b"another's\n")
        log.write(b"ours\n")
        log.flush()
        self.assertEqual(self.content(), b"before\nanother's\nours\n")

    def test_its_group_may_read_it_and_nobody_else(self) -> None:
        self.addCleanup(os.umask, os.umask(0))
        self.open()
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o640)

    def test_no_child_inherits_it(self) -> None:
        log = self.open()
        fds = [int(fd) for fd in os.listdir("/proc/self/fd") if self.target(fd) == self.path]
        self.assertEqual([os.get_inheritable(fd) for fd in fds], [False])
        log.close()
        self.assertNotIn(self.path, [self.target(fd) for fd in os.listdir("/proc/self/fd")])

    def target(self, fd: str) -> str:
        try:
            return os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            return ""

    def test_the_path_holds_when_a_daemon_changes_its_directory(self) -> None:
        log = self.open(os.path.relpath(self.path))
        self.assertEqual(log.path, self.path)

    def test_what_cannot_be_opened_is_refused_at_once(self) -> None:
        for path, why in ((os.path.join(self.path, "a"), "No such file or directory"), ("/", "Is a directory")):
            error = self.assertRaises(BadConfiguration, LogFile, path, self.clock, "servers[0].access_log")
            self.assertEqual(str(error), f"servers[0].access_log: {path!r}: must be a file to append to: {why}")

    def test_the_standard_ones(self) -> None:
        written: list[tuple[int, bytes]] = []
        closed: list[int] = []

        def write(fd: int, data: bytes) -> int:
            written.append((fd, data))
            return len(data)

        for path in ("-", "stdout", "stderr"):
            log = LogFile(path, self.clock)
            with mock.patch.object(os, "write", write), mock.patch.object(os, "close", closed.append):
                log.write(path.encode() + b"\n")
                log.reopen()
                log.close()
            self.assertEqual((log.path, log.statistics().reopened), (path, 0))
        self.assertEqual(written, [(1, b"-\n"), (1, b"stdout\n"), (2, b"stderr\n")])
        self.assertEqual(closed, [])


class ReopenTests(LogFileCase):
    def test_what_waits_goes_to_the_old_file_and_the_rest_to_the_new_one(self) -> None:
        log = self.open()
        log.write(b"old\n")
        os.rename(self.path, self.path + ".1")
        log.reopen()
        log.write(b"new\n")
        log.flush()
        self.assertEqual((self.content(self.path + ".1"), self.content()), (b"old\n", b"new\n"))
        self.assertEqual(log.statistics(), LogStatistics(lines=2, bytes=8, lost=0, reopened=1))

    def test_no_descriptor_is_left(self) -> None:
        log = self.open()
        before = len(os.listdir("/proc/self/fd"))
        log.reopen()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_when_it_fails_the_old_file_is_kept(self) -> None:
        log = self.open()
        os.rename(self.path, self.path + ".1")
        os.mkdir(self.path)
        log.reopen()
        why = f"{self.path}: cannot be reopened, the old file is kept: Is a directory"
        self.assertEqual(self.logged(), [(LogLevel.error, why)])
        log.write(b"1\n")
        log.flush()
        self.assertEqual((self.content(self.path + ".1"), log.statistics().reopened), (b"1\n", 0))

    def test_who_may_read_it_stays(self) -> None:
        """A daemon's mask would take it away, at the first time."""
        log = self.open()
        os.chmod(self.path, 0o644)
        os.rename(self.path, self.path + ".1")
        self.addCleanup(os.umask, os.umask(0o077))
        log.reopen()
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o644)

    def test_what_others_have_made_is_theirs(self) -> None:
        """Whoever rotates it may have said who reads it; the same file has not changed; what has no modes goes on without."""
        log = self.open()
        os.rename(self.path, self.path + ".1")
        with open(self.path, "wb") as file:
            os.chmod(self.path, 0o600)
            file.write(b"made\n")
        log.reopen()
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
        self.patch(os, "fchmod", mock.Mock(side_effect=os_error(errno.EPERM)))
        os.rename(self.path, self.path + ".2")
        log.reopen()
        self.assertEqual(log.statistics().reopened, 2)

    def test_a_closed_one_stays_closed(self) -> None:
        log = self.open()
        log.close()
        os.unlink(self.path)
        log.reopen()
        self.assertFalse(os.path.exists(self.path))


class CloseTests(LogFileCase):
    def test_what_waits_is_written(self) -> None:
        log = self.open()
        log.write(b"1\n")
        log.close()
        self.assertEqual((self.content(), self.clock.getDelayedCalls()), (b"1\n", []))
        log.close()

    def test_what_comes_later_is_lost_and_counted(self) -> None:
        log = self.open()
        log.close()
        log.write(b"1\n")
        log.flush()
        self.assertEqual((log.statistics().lost, self.clock.getDelayedCalls()), (1, []))

    def test_started_again(self) -> None:
        """It goes on with the file of that name; an open one does so anyway."""
        log = self.open()
        log.close()
        log.start()
        log.write(b"1\n")
        before = len(os.listdir("/proc/self/fd"))
        log.start()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
        log.flush()
        self.assertEqual(self.content(), b"1\n")

    def test_that_cannot_be_started_again(self) -> None:
        log = LogFile(self.path, self.clock, "log of a")
        log.close()
        os.unlink(self.path)
        os.mkdir(self.path)
        error = self.assertRaises(BadConfiguration, log.start)
        self.assertEqual(str(error), f"log of a: {self.path!r}: must be a file to append to: Is a directory")

    def test_an_error_is_logged_and_nothing_more(self) -> None:
        log = self.open()
        real = os.close

        def close(fd: int) -> None:
            real(fd)
            raise os_error(errno.EIO)

        self.patch(os, "close", close)
        log.close()
        self.assertEqual(self.logged(), [(LogLevel.error, f"{self.path}: closing: Input/output error")])

    def test_repr(self) -> None:
        log = self.open()
        log.write(b"1\n")
        log.flush()
        log.write(b"2\n")
        self.assertEqual(repr(log), f"<LogFile {self.path}, 1 lines wait, 1 written, 0 lost>")
        log.close()
        self.assertEqual(repr(log), f"<LogFile {self.path}, closed, 2 written, 0 lost>")


class FailureTests(LogFileCase):
    def write(self, log: LogFile, *lines: bytes) -> None:
        for line in lines:
            log.write(line)
        log.flush()

    def test_a_full_disk_is_told_once_and_lines_are_counted(self) -> None:
        log = self.open("/dev/full")
        for _ in range(3):
            self.write(log, b"1\n", b"2\n")
        self.assertEqual(log.statistics(), LogStatistics(lines=0, bytes=0, lost=6, reopened=0))
        why = "/dev/full: lines of the log are lost: No space left on device"
        self.assertEqual(self.logged(), [(LogLevel.error, why)])

    def test_when_it_goes_on_that_is_told_and_a_new_failure_is_new(self) -> None:
        log = self.open()
        self.writes([failing(errno.ENOSPC), failing(errno.EIO)])
        self.write(log, b"1\n")
        self.write(log, b"2\n", b"3\n")
        self.write(log, b"4\n")
        self.write(log, b"5\n")
        self.assertEqual((self.content(), log.statistics().lost), (b"4\n5\n", 3))
        first = (LogLevel.error, f"{self.path}: lines of the log are lost: No space left on device")
        again = (LogLevel.info, f"{self.path}: written again, 3 lines were lost")
        self.assertEqual(self.logged(), [first, again])
        self.writes([failing(errno.ENOSPC)])
        self.write(log, b"6\n")
        self.assertEqual(self.logged(), [first])

    def test_a_short_write_is_gone_on_with(self) -> None:
        log = self.open()
        self.writes([partly(1), partly(3)])
        self.write(log, b"12\n", b"34\n")
        self.assertEqual(
            (self.content(), log.statistics()), (b"12\n34\n", LogStatistics(lines=2, bytes=6, lost=0, reopened=0))
        )
        self.assertEqual(self.logged(), [])

    def test_after_a_torn_line_the_next_begins_a_new_one(self) -> None:
        log = self.open()
        self.writes([partly(4), failing(errno.ENOSPC)])
        self.write(log, b"12\n", b"34\n", b"56\n")
        self.assertEqual(log.statistics(), LogStatistics(lines=1, bytes=4, lost=2, reopened=0))
        self.write(log, b"78\n")
        self.write(log, b"90\n")
        self.assertEqual(self.content(), b"12\n3\n78\n90\n")
        self.assertEqual(log.statistics(), LogStatistics(lines=3, bytes=11, lost=2, reopened=0))

    def test_a_failure_between_lines_tears_none(self) -> None:
        log = self.open()
        self.writes([partly(3), failing(errno.ENOSPC)])
        self.write(log, b"12\n", b"34\n")
        self.write(log, b"56\n")
        self.assertEqual((self.content(), log.statistics().lost), (b"12\n56\n", 1))

    def test_a_torn_line_stays_torn_while_nothing_can_be_written(self) -> None:
        log = self.open()
        self.writes([partly(1), failing(errno.ENOSPC), failing(errno.ENOSPC)])
        self.write(log, b"12\n")
        self.write(log, b"34\n")
        self.assertEqual(log.statistics(), LogStatistics(lines=0, bytes=1, lost=2, reopened=0))
        self.write(log, b"56\n")
        self.assertEqual(self.content(), b"1\n56\n")

    def test_a_new_file_begins_without_the_end_of_a_torn_line_and_the_same_one_with_it(self) -> None:
        for renamed, expected in ((True, b"34\n"), (False, b"1\n34\n")):
            log = self.open()
            self.writes([partly(1), failing(errno.ENOSPC)])
            self.write(log, b"12\n")
            if renamed:
                os.rename(self.path, self.path + ".1")
            log.reopen()
            self.write(log, b"34\n")
            self.assertEqual(self.content(), expected)
            os.unlink(self.path)


class FifoTests(LogFileCase):
    def setUp(self) -> None:
        super().setUp()
        os.mkfifo(self.path)

    def reader(self) -> int:
        fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ if hasattr(fcntl, "F_SETPIPE_SZ") else 1031, 4096)  # type: ignore[attr-defined]
        return fd

    def test_its_reader_gets_the_lines(self) -> None:
        reader = self.reader()
        self.addCleanup(os.close, reader)
        log = self.open()
        log.write(b"1\n")
        log.flush()
        self.assertEqual(os.read(reader, 100), b"1\n")

    def test_nobody_waits_for_a_reader_that_does_not_read(self) -> None:
        reader = self.reader()
        self.addCleanup(os.close, reader)
        log = self.open()
        for _ in range(10):
            log.write(b"x" * 999 + b"\n")
        log.flush()
        self.assertEqual((log.statistics().lines, log.statistics().lost), (4, 6))
        self.assertEqual(len(os.read(reader, 10000)), 4096)
        log.write(b"1\n")
        log.flush()
        self.assertEqual(os.read(reader, 100), b"\n1\n")

    def test_without_a_reader_it_is_refused(self) -> None:
        self.assertRaises(BadConfiguration, LogFile, self.path, self.clock)

    def test_a_reader_that_has_gone_does_no_harm(self) -> None:
        reader = self.reader()
        log = self.open()
        os.close(reader)
        log.write(b"1\n")
        log.flush()
        self.assertEqual(log.statistics().lost, 1)
        self.assertEqual(self.logged(), [(LogLevel.error, f"{self.path}: lines of the log are lost: Broken pipe")])
