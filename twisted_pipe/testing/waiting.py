"""What a filter waits for, as the driver of a pipe treats it: subscribed to once, given up at the end or when its time is up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from twisted_pipe.core.chain import PAUSE, FilterChain
from twisted_pipe.core.frames import forget_locals

__all__ = ["Waiting"]


class Waiting:
    """
    For one chain, at most one Deferred (or other awaitable) at a time.

    @ivar count: how many there were.
    """

    def __init__(
        self, chain: FilterChain, clock: Clock, note: Callable[[str], object], go_on: Callable[[], object]
    ) -> None:
        """
        @param note: gets a line for each thing that happens.
        @param go_on: called when the filters can go on.
        """
        self.count = 0
        self._chain = chain
        self._clock = clock
        self._note = note
        self._go_on = go_on
        self._awaited: Deferred[Any] | None = None
        self._expiry: IDelayedCall | None = None

    @property
    def active(self) -> bool:
        """Whether something is waited for."""
        return self._awaited is not None

    def begin(self) -> None:
        """Wait for what the chain is suspended on, which may have come already."""
        suspension, timeout = self._chain.suspension, self._chain.timeout
        if suspension is PAUSE:
            self._chain.resume(None)
            return
        self.count += 1
        self._note(f"waits for {suspension!r}")
        try:
            awaited = suspension if hasattr(suspension, "addCallbacks") else ensureDeferred(_wait_for(suspension))
            self._awaited = awaited
            awaited.addCallbacks(self._resumed, self._failed, callbackArgs=(awaited,), errbackArgs=(awaited,))
        except Exception as error:  # it is no Deferred, only like one
            self._awaited = None
            self._over(error)
            return
        if timeout and self._awaited is awaited:
            self._expiry = self._clock.callLater(timeout, self._expired, timeout)

    def stop(self) -> None:
        """
        Give it up.

        @raise Exception: what its canceller raises, which a pipe would log.
        """
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        awaited, self._awaited = self._awaited, None
        if awaited is not None:
            awaited.cancel()

    def throw(self, error: BaseException) -> None:
        """Give it up, and raise C{error} in the filter."""
        self.stop()
        self._over(error)

    def _expired(self, timeout: float) -> None:
        self._expiry = None
        self.throw(TimeoutError(f"what it waits for has not come within {timeout:g} s"))

    def _resumed(self, result: object, awaited: Deferred[Any]) -> None:
        if self._awaited is awaited:
            self._awaited = None
            self.stop()
            self._note(f"goes on with {result!r:.100}")
            self._chain.resume(result)
            self._go_on()

    def _failed(self, failure: Failure, awaited: Deferred[Any]) -> None:
        if self._awaited is awaited:
            self._awaited = None
            self.stop()
            self._over(failure.value or RuntimeError("a failure without an exception"))
        elif failure.value is not None:
            forget_locals(failure.value)  # as a pipe does it

    def _over(self, error: BaseException) -> None:
        before = error.__traceback__
        self._note(f"is thrown {error!r:.100}")
        self._chain.throw(error)
        self._go_on()
        # Whoever keeps it shall not keep the frames of the filter, and with them what the filter was lent.
        error.__traceback__ = before


async def _wait_for(awaitable: Any) -> Any:
    return await awaitable
