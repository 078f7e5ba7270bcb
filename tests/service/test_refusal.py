"""How a start that cannot be ends."""

from __future__ import annotations

import errno
import io
import sys
import traceback
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.logger import capturedLogs
from twisted.python.usage import UsageError
from twisted.scripts._twistd_unix import UnixApplicationRunner
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.service.refusal import CannotStart, one_line_errors, reason_of

IN_USE = BadConfiguration("--listen", "tcp:8080", "address already in use")
LINE = "twistd pipe: --listen: 'tcp:8080': address already in use"


class OneLineTests(SynchronousTestCase):
    def test_nothing_wrong(self) -> None:
        with one_line_errors():
            pass

    def ends(self, error: Exception) -> object:
        """What Python prints to stderr, before it exits with 1."""
        try:
            with one_line_errors():
                raise error
        except SystemExit as ended:
            return ended.code

    def test_wrong_option(self) -> None:
        self.assertEqual(self.ends(IN_USE), LINE)
        self.assertEqual(self.ends(UsageError("--listen: missing")), "twistd pipe: --listen: missing")

    def test_always_one_line(self) -> None:
        self.assertEqual(self.ends(UsageError("a\nb")), "twistd pipe: a b")

    def test_our_mistakes_keep_their_traceback(self) -> None:
        with self.assertRaises(ZeroDivisionError), one_line_errors():
            raise ZeroDivisionError


class CannotStartTests(SynchronousTestCase):
    def test_told_once(self) -> None:
        """The log and the real stderr get the line; Python prints nothing more and exits with 1."""
        stderr = io.StringIO()
        self.patch(sys, "__stderr__", stderr)
        with capturedLogs() as events:
            refusal = CannotStart(IN_USE).tell()
        self.assertEqual(stderr.getvalue(), LINE + "\n")
        self.assertEqual([event["line"] for event in events], [LINE])
        self.assertEqual(refusal.code, 1)
        self.assertIsInstance(refusal, SystemExit)

    def test_no_stderr(self) -> None:
        self.patch(sys, "__stderr__", None)
        with capturedLogs():
            CannotStart(IN_USE).tell()

    def test_what_a_daemon_s_parent_prints(self) -> None:
        """twistd catches it as an Exception, and passes 100 bytes to the parent: the whole line is among them."""
        refusal = CannotStart(IN_USE)
        self.assertIsInstance(refusal, Exception)
        self.assertEqual(traceback.format_exception_only(refusal), [f"CannotStart: {LINE}\n"])
        runner: Any = UnixApplicationRunner.__new__(UnixApplicationRunner)
        self.assertEqual(runner._formatChildException(refusal), b"1 CannotStart: " + LINE.encode())


class ReasonTests(SynchronousTestCase):
    def test_what_the_system_says(self) -> None:
        in_use = OSError(errno.EADDRINUSE, "Address already in use")
        self.assertEqual(reason_of(CannotListenError("", 8080, in_use)), "address already in use")
        self.assertEqual(reason_of(PermissionError(errno.EACCES, "Permission denied")), "permission denied")

    def test_others(self) -> None:
        self.assertEqual(reason_of(CannotListenError("", "/s", "Cannot acquire lock")), "Cannot acquire lock")
        self.assertEqual(reason_of(ValueError("two\n lines")), "two lines")
        self.assertEqual(reason_of(ValueError()), "ValueError")
