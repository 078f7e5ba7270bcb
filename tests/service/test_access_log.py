"""The files of access logs: each is opened once, and all are opened anew together."""

from __future__ import annotations

import os

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.http.log_format import log_format
from twisted_pipe.service.access_log import AccessLogPlace, LogFiles


class LogFilesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.files = LogFiles(MemoryReactorClock())
        self.addCleanup(self.files.close)
        self.path = os.path.abspath(self.mktemp())
        self.file = self.files.open(AccessLogPlace(self.path, log_format("combined"), "access_log"))

    def test_opened_anew(self) -> None:
        self.file.write(b"before\n")
        os.rename(self.path, self.path + ".1")
        self.files.reopen()
        self.file.write(b"after\n")
        self.file.flush()
        for path, text in ((self.path + ".1", "before\n"), (self.path, "after\n")):
            with open(path) as file:
                self.assertEqual(file.read(), text)

    def test_a_file_is_opened_once(self) -> None:
        self.assertIs(self.files.open(AccessLogPlace(self.path, log_format("json"), "other")), self.file)
        self.assertTrue(self.files)
        self.files.close()
        self.assertFalse(self.files)

    def test_started_again(self) -> None:
        """Who has the file goes on with it."""
        self.file.write(b"before\n")
        self.files.close()
        self.files.start()
        self.file.write(b"after\n")
        self.file.flush()
        with open(self.path) as file:
            self.assertEqual(file.read(), "before\nafter\n")
        self.files.start()  # nothing
