"""What is done when a signal comes; other handlers are left as they were."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.service.on_signal import OnSignal


class Reactor(MemoryReactorClock):
    """Keeps what threads ask for until the test runs it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Any] = []

    def callFromThread(self, function: Any, *args: Any, **kwargs: Any) -> None:
        self.asked.append(function)


class OnSignalTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.addCleanup(signal.signal, signal.SIGUSR1, signal.getsignal(signal.SIGUSR1))
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        self.reactor = Reactor()
        self.done: list[str] = []
        self.on_signal = OnSignal(signal.SIGUSR1, self.reactor, lambda: self.done.append("done"))

    def receive(self) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)

    def test_it_is_done_in_the_reactor_s_turn(self) -> None:
        """Not in the handler."""
        self.on_signal.start()
        self.receive()
        self.assertEqual(self.done, [])
        (asked,) = self.reactor.asked
        asked()
        self.assertEqual(self.done, ["done"])

    def test_what_was_there_before_is_called_and_put_back(self) -> None:
        seen: list[int] = []

        def before(number: int, frame: object) -> None:
            seen.append(number)

        signal.signal(signal.SIGUSR1, before)
        self.on_signal.start()
        self.receive()
        self.assertEqual((seen, len(self.reactor.asked)), ([signal.SIGUSR1], 1))
        self.on_signal.stop()
        self.assertIs(signal.getsignal(signal.SIGUSR1), before)

    def test_somebody_else_s_later_handler_stays(self) -> None:
        def later(number: int, frame: object) -> None:
            pass

        self.on_signal.start()
        signal.signal(signal.SIGUSR1, later)
        self.on_signal.stop()
        self.assertIs(signal.getsignal(signal.SIGUSR1), later)

    def test_not_before_the_start_nor_after_the_stop(self) -> None:
        self.receive()
        self.on_signal.start()
        self.on_signal.stop()
        self.on_signal.stop()
        self.receive()
        self.assertEqual(self.reactor.asked, [])
        self.assertEqual(signal.getsignal(signal.SIGUSR1), signal.SIG_IGN)

    def test_started_twice(self) -> None:
        self.on_signal.start()
        self.on_signal.start()
        self.receive()
        self.assertEqual(len(self.reactor.asked), 1)
        self.on_signal.stop()
        self.assertEqual(signal.getsignal(signal.SIGUSR1), signal.SIG_IGN)

    def test_not_in_another_thread(self) -> None:
        thread = threading.Thread(target=self.on_signal.start)
        thread.start()
        thread.join()
        self.assertEqual(signal.getsignal(signal.SIGUSR1), signal.SIG_IGN)
