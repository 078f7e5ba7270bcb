from __future__ import annotations

import errno
import os
import stat
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import os_error
from twisted_pipe.errors import BadConfiguration
from twisted_pipe.net.spillfile import SpillDirectory, default_temp_path


class SpillFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()
        os.mkdir(self.path)
        self.directory = SpillDirectory(self.path)

    def test_it_has_no_name(self) -> None:
        file = self.directory.open()
        self.assertEqual(os.listdir(self.path), [])
        file.close()
        self.assertEqual(os.listdir(self.path), [])

    def test_nobody_else_may_read_it(self) -> None:
        file = self.directory.open()
        self.addCleanup(file.close)
        self.assertEqual(stat.S_IMODE(os.fstat(file.fd).st_mode), 0o600)
        self.assertFalse(os.get_inheritable(file.fd))

    def test_what_was_written_is_read(self) -> None:
        file = self.directory.open()
        self.addCleanup(file.close)
        self.assertEqual(file.write(0, [b"abc", memoryview(b"de")]), 5)
        self.assertEqual(file.write(5, [b"fgh"]), 3)
        self.assertEqual(file.write(1, [b"X"]), 1)
        self.assertEqual(file.read(0, 100), b"aXcdefgh")
        self.assertEqual(file.read(2, 3), b"cde")

    def test_beyond_its_end(self) -> None:
        file = self.directory.open()
        self.addCleanup(file.close)
        file.write(0, [b"abc"])
        self.assertRaises(EOFError, file.read, 3, 1)

    def test_writing_nothing_is_a_full_disk(self) -> None:
        file = self.directory.open()
        self.addCleanup(file.close)
        self.patch(os, "pwritev", lambda fd, parts, offset: 0)
        self.assertEqual(self.assertRaises(OSError, file.write, 0, [b"abc"]).errno, errno.ENOSPC)

    def test_rewind_gives_large_files_back(self) -> None:
        file = self.directory.open()
        self.addCleanup(file.close)
        file.write(0, [bytes(2 << 20)])
        file.rewind()
        self.assertEqual(os.fstat(file.fd).st_size, 0)
        file.write(0, [b"abc"])
        self.assertEqual(file.read(0, 10), b"abc")

    def test_rewind_leaves_small_files(self) -> None:
        """A system call for a few blocks is not worth it."""
        file = self.directory.open()
        self.addCleanup(file.close)
        file.write(0, [bytes(1000)])
        file.rewind()
        self.assertEqual(os.fstat(file.fd).st_size, 1000)

    def test_close(self) -> None:
        before = len(os.listdir("/proc/self/fd"))
        file = self.directory.open()
        file.close()
        file.close()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
        self.assertEqual(self.assertRaises(OSError, file.write, 0, [b"x"]).errno, errno.EBADF)


class WithoutTmpfileTests(SpillFileTests):
    """The same on a file system that has no O_TMPFILE."""

    def setUp(self) -> None:
        SpillFileTests.setUp(self)
        really_open = os.open

        def no_tmpfile(path: Any, flags: int, *more: Any, **others: Any) -> int:
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise os_error(errno.EOPNOTSUPP)
            return really_open(path, flags, *more, **others)

        self.patch(os, "open", no_tmpfile)

    def test_a_name_that_cannot_be_removed(self) -> None:
        def fail(name: str) -> None:
            raise os_error(errno.EACCES)

        before = len(os.listdir("/proc/self/fd"))
        self.patch(os, "unlink", fail)
        self.assertEqual(self.assertRaises(OSError, self.directory.open).errno, errno.EACCES)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)


class SpillDirectoryTests(SynchronousTestCase):
    def test_default(self) -> None:
        self.assertEqual(SpillDirectory().path, default_temp_path())
        SpillDirectory().check()

    def test_repr(self) -> None:
        self.assertEqual(repr(SpillDirectory("/there")), "<SpillDirectory /there>")

    def test_check_leaves_nothing(self) -> None:
        path = self.mktemp()
        os.mkdir(path)
        before = len(os.listdir("/proc/self/fd"))
        SpillDirectory(path).check()
        self.assertEqual(os.listdir(path), [])
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_missing(self) -> None:
        path = self.mktemp()
        error = self.assertRaises(BadConfiguration, SpillDirectory(path).check)
        self.assertEqual((error.name, error.value), ("temp_path", path))
        self.assertIn("does not exist", str(error))

    def test_not_a_directory(self) -> None:
        self.assertIn("is not a directory", str(self.assertRaises(BadConfiguration, SpillDirectory(__file__).check)))

    def test_not_writable(self) -> None:
        path = self.mktemp()
        os.mkdir(path)

        def fail(*_: object, **__: object) -> int:
            raise os_error(errno.EROFS)

        self.patch(os, "open", fail)
        error = self.assertRaises(BadConfiguration, SpillDirectory(path).check)
        self.assertIn("Read-only file system", str(error))
