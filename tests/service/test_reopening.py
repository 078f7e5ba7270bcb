"""SIGUSR1 opens the access logs anew; other handlers are left as they were."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.http.log_format import log_format
from twisted_pipe.service.access_log import AccessLogPlace, LogFiles
from twisted_pipe.service.reopening import ReopenOnSignal


class Reactor(MemoryReactorClock):
    """Keeps what threads ask for until the test runs it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Any] = []

    def callFromThread(self, function: Any, *args: Any, **kwargs: Any) -> None:
        self.asked.append(function)


class ReopeningTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.addCleanup(signal.signal, signal.SIGUSR1, signal.getsignal(signal.SIGUSR1))
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        self.reactor = Reactor()
        self.files = LogFiles(self.reactor)
        self.addCleanup(self.files.close)
        self.path = os.path.abspath(self.mktemp())
        self.place = AccessLogPlace(self.path, log_format("combined"), "access_log")
        self.file = self.files.open(self.place)
        self.reopening = ReopenOnSignal(self.reactor, self.files)

    def receive(self) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)

    def test_reopens(self) -> None:
        """In the reactor's turn, not in the handler."""
        self.reopening.start()
        self.file.write(b"before\n")
        os.rename(self.path, self.path + ".1")
        self.receive()
        self.assertFalse(os.path.exists(self.path))
        (asked,) = self.reactor.asked
        with capturedLogs():
            asked()
        self.file.write(b"after\n")
        self.file.flush()
        for path, text in ((self.path + ".1", "before\n"), (self.path, "after\n")):
            with open(path) as file:
                self.assertEqual(file.read(), text)

    def test_what_was_there_before_is_called_and_put_back(self) -> None:
        seen: list[int] = []

        def before(number: int, frame: object) -> None:
            seen.append(number)

        signal.signal(signal.SIGUSR1, before)
        self.reopening.start()
        self.receive()
        self.assertEqual((seen, len(self.reactor.asked)), ([signal.SIGUSR1], 1))
        self.reopening.stop()
        self.assertIs(signal.getsignal(signal.SIGUSR1), before)

    def test_somebody_else_s_later_handler_stays(self) -> None:
        def later(number: int, frame: object) -> None:
            pass

        self.reopening.start()
        signal.signal(signal.SIGUSR1, later)
        self.reopening.stop()
        self.assertIs(signal.getsignal(signal.SIGUSR1), later)

    def test_not_before_the_start_nor_after_the_stop(self) -> None:
        self.receive()
        self.reopening.start()
        self.reopening.stop()
        self.reopening.stop()
        self.receive()
        self.assertEqual(self.reactor.asked, [])
        self.assertEqual(signal.getsignal(signal.SIGUSR1), signal.SIG_IGN)

    def test_started_twice(self) -> None:
        self.reopening.start()
        self.reopening.start()
        self.receive()
        self.assertEqual(len(self.reactor.asked), 1)
        self.reopening.stop()
        self.assertEqual(signal.getsignal(signal.SIGUSR1), signal.SIG_IGN)

    def test_not_in_another_thread(self) -> None:
        thread = threading.Thread(target=self.reopening.start)
        thread.start()
        thread.join()
        self.assertEqual(signal.getsignal(signal.SIGUSR1), signal.SIG_IGN)

    def test_a_file_is_opened_once(self) -> None:
        self.assertIs(self.files.open(AccessLogPlace(self.path, log_format("json"), "other")), self.file)
        self.assertTrue(self.files)
        self.files.close()
        self.assertFalse(self.files)
