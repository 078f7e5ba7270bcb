"""
What is done when a signal comes.

A handler runs between any two instructions of the main thread, so it only asks the reactor to do it. Only the main thread can
install one. A handler that was there before is called as well, and is back when the service has stopped.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["OnSignal"]


class OnSignal:
    """Calls something in the reactor's turn at each signal of a kind, from L{start} to L{stop}."""

    def __init__(self, number: signal.Signals, reactor: Any, action: Callable[[], object]) -> None:
        """
        @param reactor: in whose thread C{action} is called.
        """
        self._number = number
        self._reactor = reactor
        self._action = action
        self._before: Any = None
        self._installed = False

    def __repr__(self) -> str:
        return f"<OnSignal {self._number.name}{'' if self._installed else ' off'}>"

    def start(self) -> None:
        """Install the handler, if this is the main thread."""
        if self._installed or threading.current_thread() is not threading.main_thread():
            return
        self._before = signal.signal(self._number, self._received)
        self._installed = True

    def stop(self) -> None:
        """Put back what was there before, unless somebody has put another one over ours. A second call does nothing."""
        if not self._installed:
            return
        self._installed = False
        if signal.getsignal(self._number) == self._received:
            signal.signal(self._number, signal.SIG_DFL if self._before is None else self._before)

    def _received(self, number: int, frame: FrameType | None) -> None:
        if self._installed:
            self._reactor.callFromThread(self._action)
        if callable(self._before):
            self._before(number, frame)
