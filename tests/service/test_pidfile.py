"""The pid file."""

from __future__ import annotations

import os

from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.service.pidfile import PidFile


class PidFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder: FilePath[str] = FilePath(self.mktemp())
        self.folder.makedirs()
        self.path = self.folder.child("pipe.pid")
        self.file = PidFile(self.path.path)

    def test_write_and_remove(self) -> None:
        """Only the file itself is ever there, and everybody may read it."""
        before = os.umask(0o077)
        self.addCleanup(os.umask, before)
        self.file.check()
        self.file.write()
        self.assertEqual(self.path.getContent(), b"%d\n" % os.getpid())
        self.assertEqual(self.folder.listdir(), ["pipe.pid"])
        self.assertEqual(os.stat(self.path.path).st_mode & 0o777, 0o644)
        self.file.remove()
        self.assertEqual(self.folder.listdir(), [])

    def test_replaces_a_stale_one(self) -> None:
        self.path.setContent(b"1\n")
        self.file.write()
        self.assertEqual(self.path.getContent(), b"%d\n" % os.getpid())

    def test_another_process_s_stays(self) -> None:
        for held in (b"1\n", b"", b"%d0\n" % os.getpid(), b"rubbish"):
            self.path.setContent(held)
            self.file.remove()
            self.assertEqual(self.path.getContent(), held)

    def test_remove_twice(self) -> None:
        self.file.remove()
        self.assertEqual(self.folder.listdir(), [])

    def test_failed_write_leaves_nothing(self) -> None:
        def fail(*args: object) -> None:
            raise PermissionError(1, "no")

        self.patch(os, "rename", fail)
        self.assertRaises(OSError, self.file.write)
        self.assertEqual(self.folder.listdir(), [])

    def test_check(self) -> None:
        for path, expected in (
            (self.folder.path, "must be a file, and is a directory"),
            (self.folder.child("missing").child("x.pid").path, "must be in a directory that exists"),
        ):
            error: BadConfiguration = self.assertRaises(BadConfiguration, PidFile(path).check)
            self.assertEqual((error.name, error.value, error.expected), ("--pid-file", path, expected))
