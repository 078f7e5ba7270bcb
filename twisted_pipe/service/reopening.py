"""
SIGUSR1: the access logs are opened anew, because their files have been moved away (nginx; C{logrotate}).

A handler runs between any two instructions of the main thread, so it only asks the reactor to do it. Only the main thread can
install one. A handler that was there before is called as well, and is back when the service has stopped.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from twisted.logger import Logger

from twisted_pipe.service.access_log import LogFiles

__all__ = ["ReopenOnSignal"]

_log = Logger()


class ReopenOnSignal:
    """Reopens files on SIGUSR1, from L{start} to L{stop}."""

    def __init__(self, reactor: Any, files: LogFiles) -> None:
        """
        @param reactor: whose thread opens them.
        """
        self._reactor = reactor
        self._files = files
        self._before: Any = None
        self._installed = False

    def start(self) -> None:
        """Install the handler, if this is the main thread."""
        if self._installed or threading.current_thread() is not threading.main_thread():
            return
        self._before = signal.signal(signal.SIGUSR1, self._received)
        self._installed = True

    def stop(self) -> None:
        """Put back what was there before, unless somebody has put another one over ours. A second call does nothing."""
        if not self._installed:
            return
        self._installed = False
        if signal.getsignal(signal.SIGUSR1) == self._received:
            signal.signal(signal.SIGUSR1, signal.SIG_DFL if self._before is None else self._before)

    def _received(self, number: int, frame: FrameType | None) -> None:
        if self._installed:
            self._reactor.callFromThread(self._reopen)
        if callable(self._before):
            self._before(number, frame)

    def _reopen(self) -> None:
        _log.info("access logs are opened anew (SIGUSR1)")
        self._files.reopen()
