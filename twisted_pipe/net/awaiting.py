"""What a filter waits for: subscribed to once, given up when its time is up or the pipe ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_pipe.core.chain import PAUSE
from twisted_pipe.core.frames import forget_locals
from twisted_pipe.core.pipe import Pipe

__all__ = ["Awaiting"]

_log = Logger()


class Awaiting:
    """For one pipe, at most one Deferred (or other awaitable) at a time."""

    __slots__ = ("_awaited", "_clock", "_expiry", "_go_on", "_owner", "_pipe")

    def __init__(self, pipe: Pipe, clock: Any, owner: Any, go_on: Callable[[], object]) -> None:
        """
        @param clock: an C{IReactorTime}.
        @param owner: whose C{name} stands in the log.
        @param go_on: called when the filters can go on.
        """
        self._pipe = pipe
        self._owner = owner
        self._go_on = go_on
        self._awaited: Deferred[Any] | None = None
        self._clock = clock
        self._expiry: Any = None

    def begin(self) -> None:
        """AWAIT: go on when it fires, which may be at once."""
        chain = self._pipe.chain
        assert chain is not None
        suspension, timeout = chain.suspension, chain.timeout
        if suspension is PAUSE:
            self._expiry = self._clock.callLater(0, self._paused)
            return
        try:
            awaited = suspension if hasattr(suspension, "addCallbacks") else ensureDeferred(_wait_for(suspension))
            self._awaited = awaited
            awaited.addCallbacks(self._resumed, self._failed, callbackArgs=(awaited,), errbackArgs=(awaited,))
        except BaseException as error:  # it is no Deferred, only like one
            self._awaited = None
            self._pipe.filter_failed(error)
            self._go_on()
            return
        if timeout and self._awaited is awaited:
            self._expiry = self._clock.callLater(timeout, self._expired, timeout)

    def stop(self) -> None:
        """The pipe has ended."""
        self._settle()
        awaited, self._awaited = self._awaited, None
        if awaited is None:
            return
        try:
            awaited.cancel()
        except BaseException:  # a filter's canceller must not keep the pipe from ending
            _log.failure("{pipe.name}: cancelling what a filter waited for", pipe=self._owner)

    def _paused(self) -> None:
        self._expiry = None
        self._pipe.filter_resumed(None)
        self._go_on()

    def _expired(self, timeout: float) -> None:
        self._expiry = None
        self.stop()
        self._pipe.filter_failed(TimeoutError(f"what it waits for has not come within {timeout:g} s"))
        self._go_on()

    def _settle(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    def _resumed(self, result: object, awaited: Deferred[Any]) -> None:
        if self._awaited is awaited:
            self._awaited = None
            self._settle()
            self._pipe.filter_resumed(result)
            self._go_on()

    def _failed(self, failure: Failure, awaited: Deferred[Any]) -> None:
        if self._awaited is awaited:
            self._awaited = None
            self._settle()
            self._pipe.filter_failed(failure.value or RuntimeError("a failure without an exception"))
            self._go_on()
        elif failure.value is not None:
            # given up: nobody is to be told, and whoever keeps it shall not keep the filter's frames, and what that was lent
            forget_locals(failure.value)


async def _wait_for(awaitable: Any) -> Any:
    return await awaitable
