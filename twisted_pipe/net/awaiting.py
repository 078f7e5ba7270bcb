"""What a filter waits for: subscribed to once, given up when the pipe ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_pipe.core.pipe import Pipe

__all__ = ["Awaiting"]

_log = Logger()


class Awaiting:
    """For one pipe, at most one Deferred (or other awaitable) at a time."""

    __slots__ = ("_awaited", "_go_on", "_owner", "_pipe", "_stopped")

    def __init__(self, pipe: Pipe, owner: Any, go_on: Callable[[], object]) -> None:
        """
        @param owner: whose C{name} stands in the log.
        @param go_on: called when the filters can go on.
        """
        self._pipe = pipe
        self._owner = owner
        self._go_on = go_on
        self._awaited: Deferred[Any] | None = None
        self._stopped = False

    def begin(self) -> None:
        """AWAIT: go on when it fires, which may be at once."""
        suspension = self._pipe.chain.suspension  # type: ignore[union-attr]
        awaited = suspension if hasattr(suspension, "addCallbacks") else ensureDeferred(_wait_for(suspension))
        self._awaited = awaited
        awaited.addCallbacks(self._resumed, self._failed)

    def stop(self) -> None:
        """The pipe has ended."""
        self._stopped = True
        if self._awaited is None:
            return
        # Its result has nowhere to go; a failure, CancelledError above all, would only be reported as unhandled.
        awaited, self._awaited = self._awaited, None
        awaited.addErrback(_ignore_cancelled)
        try:
            awaited.cancel()
        except Exception:  # a filter's canceller must not keep the pipe from ending
            _log.failure("{pipe.name}: cancelling what a filter waited for", pipe=self._owner)

    def _resumed(self, result: object) -> None:
        self._awaited = None
        if not self._stopped:
            self._pipe.filter_resumed(result)
            self._go_on()

    def _failed(self, failure: Failure) -> None:
        self._awaited = None
        if not self._stopped:
            self._pipe.filter_failed(failure.value or RuntimeError("a failure without an exception"))
            self._go_on()


def _ignore_cancelled(failure: Failure) -> None:
    failure.trap(CancelledError)


async def _wait_for(awaitable: Any) -> Any:
    return await awaitable
