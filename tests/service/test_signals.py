"""The signals that a service listens to: SIGUSR1 opens access logs anew, SIGHUP does no harm."""

from __future__ import annotations

import os
import signal
from typing import Any

from twisted.internet.error import ReactorNotRunning
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent

from tests.service.config.case import ROUTE, SERVER, ConfigCase
from twisted_pipe.service.pipe_service import PipeService

_BOTH = (signal.SIGUSR1, signal.SIGHUP)


class Reactor(MemoryReactorClock):
    """
    @ivar stops: how often it was to be stopped.
    """

    stops = 0

    def callFromThread(self, function: Any, *args: Any, **kwargs: Any) -> None:
        self.callLater(0, function)

    def stop(self) -> None:
        self.stops += 1
        if self.stops > 1:
            raise ReactorNotRunning


class SignalTests(ConfigCase):
    def setUp(self) -> None:
        super().setUp()
        self.reactor = Reactor()
        self.patch(os, "isatty", lambda descriptor: False)
        for number in _BOTH:
            self.addCleanup(signal.signal, number, signal.signal(number, signal.SIG_IGN))

    def service(self, more: str = "") -> PipeService:
        service = PipeService(self.configured(SERVER + more + ROUTE), self.reactor)
        service.privilegedStartService()
        service.startService()
        self.addCleanup(service.stopService)
        return service

    def lines(self, *numbers: signal.Signals) -> list[str]:
        """What is logged when these come."""
        with capturedLogs() as logs:
            for number in numbers:
                os.kill(os.getpid(), number)
            self.assertEqual(logs, [], "it is done in the reactor's turn")
            self.reactor.advance(0)
        return [str(formatEvent(event)) for event in logs]

    def test_from_the_start_to_the_stop(self) -> None:
        service = self.service()
        for number in _BOTH:
            self.assertNotEqual(signal.getsignal(number), signal.SIG_IGN)
        service.stopService()
        for number in _BOTH:
            self.assertEqual(signal.getsignal(number), signal.SIG_IGN)

    def test_sigusr1(self) -> None:
        self.service('access_log = "a.log"\n')
        os.rename(self.path("a.log"), self.path("a.log.1"))
        self.assertEqual(self.lines(signal.SIGUSR1), ["access logs are opened anew (SIGUSR1)"])
        self.assertTrue(os.path.exists(self.path("a.log")))

    def test_sigusr1_without_access_logs(self) -> None:
        self.service()
        self.assertEqual(self.lines(signal.SIGUSR1), ["there are no access logs to be opened anew (SIGUSR1)"])

    def test_sighup(self) -> None:
        """Whoever expects a reload learns that there is none, and nothing else happens."""
        self.service()
        (line,) = self.lines(signal.SIGHUP)
        self.assertIn("SIGHUP: the configuration is not read anew", line)
        self.assertEqual(self.reactor.stops, 0)

    def test_sighup_of_a_terminal(self) -> None:
        """It is closed: a process that was started there does not stay behind. Shell and kernel may both tell."""
        self.patch(os, "isatty", lambda descriptor: descriptor == 0)
        self.service()
        line, *_ = self.lines(signal.SIGHUP, signal.SIGHUP)
        self.assertEqual(line, "the terminal is closed (SIGHUP): stopping")
        self.assertGreaterEqual(self.reactor.stops, 1)
        self.assertEqual(self.flushLoggedErrors(), [])
