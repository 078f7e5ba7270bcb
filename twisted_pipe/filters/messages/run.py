"""
The message filters of one exchange at work: each sees the request, in order, and then its response, in the reverse one.

At most one of them has something to do at a time, and at most one thing is waited for. How many have let the request go on is all
that has to be remembered for the response; it is counted down before each is asked, so that a response that takes the place of
another one (a filter's reply, the page of its failure) is seen by those before it only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Union

import attrs
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_pipe.core.frames import forget_locals
from twisted_pipe.errors import FilterFailed
from twisted_pipe.interfaces import NamedFilter, OnFailure
from twisted_pipe.messages.message import Message
from twisted_pipe.messages.reply import Reply

__all__ = ["Done", "MessageRun"]

_log = Logger()

#: What is told when all filters that had to were asked: None if the message goes on, else what the client gets instead.
Done = Callable[[Union[Reply, FilterFailed, None]], object]


class MessageRun:
    """For one exchange."""

    __slots__ = (
        "_awaited",
        "_bypassed",
        "_check",
        "_clock",
        "_done",
        "_entry",
        "_expiry",
        "_filters",
        "_message",
        "_mistaken",
        "_on_request",
        "_running",
        "_saved",
        "_seen",
    )

    def __init__(
        self,
        filters: Sequence[NamedFilter],
        clock: Any,
        bypassed: Callable[[FilterFailed], object],
        mistaken: Callable[[Failure], object] | None = None,
    ) -> None:
        """
        @param clock: an C{IReactorTime}.
        @param bypassed: told of a failure that changes nothing.
        @param mistaken: told of what C{done} raises: a Deferred whose callback it is would keep it to itself. None to have it
            raised.
        """
        self._filters = filters
        self._clock = clock
        self._bypassed = bypassed
        self._mistaken = mistaken
        self._seen = 0
        self._on_request = True
        self._running = False
        self._message: Any = None
        self._entry: NamedFilter | None = None
        self._saved: tuple[Any, ...] = ()
        self._awaited: Deferred[Any] | None = None
        self._expiry: Any = None
        self._check: Callable[[Any], object] = bool
        self._done: Done | None = None

    def __repr__(self) -> str:
        waits = f" {self._entry.name} waits" if self._entry is not None and self.waiting else ""
        return f"<MessageRun {self._seen} of {len(self._filters)}{waits}>"

    @property
    def waiting(self) -> bool:
        """Whether a filter waits for something."""
        return self._awaited is not None

    @property
    def wants_response(self) -> bool:
        """Whether a filter has yet to see the response."""
        return self._seen > 0

    def request(self, message: Message, check: Callable[[Any], object], done: Done) -> None:
        """
        Ask every filter about the request.

        @param check: called with C{message} after each that lets it go on: takes what was changed. What it raises is that filter's
            failure.
        @param done: called once, perhaps before this returns; not after L{stop}.
        """
        self._on_request = True
        self._begin(message, check, done)

    def response(self, message: Message, check: Callable[[Any], object], done: Done) -> None:
        """
        Ask those about the response that have seen the request and not yet a response. Whatever is still waited for is given up.

        @param check: as for L{request}.
        @param done: likewise.
        """
        self.stop()
        self._on_request = False
        self._begin(message, check, done)

    def stop(self) -> None:
        """Give up what is waited for. Nobody is told."""
        self._done = None
        self._settle()
        awaited, self._awaited = self._awaited, None
        if awaited is None:
            return
        try:
            awaited.cancel()
        except BaseException:  # a filter's canceller must not keep the exchange from ending
            _log.failure("cancelling what a message filter waited for")

    def _begin(self, message: Message, check: Callable[[Any], object], done: Done) -> None:
        self._message = message
        self._check = check
        self._done = done
        self._go_on()

    def _go_on(self) -> None:
        """Ask one after the other, until one waits. What has come at once is not waited for."""
        if self._running:
            return
        self._running = True
        try:
            while self._done is not None and self._awaited is None:
                entry = self._next()
                if entry is None:
                    self._finish(None)
                else:
                    self._ask(entry)
        finally:
            self._running = False

    def _next(self) -> NamedFilter | None:
        if self._on_request:
            return self._filters[self._seen] if self._seen < len(self._filters) else None
        if not self._seen:
            return None
        self._seen -= 1
        return self._filters[self._seen]

    def _ask(self, entry: NamedFilter) -> None:
        self._entry = entry
        self._saved = self._message.saved()
        try:
            answer = (entry.filter.request if self._on_request else entry.filter.response)(self._message)
            if answer is not None and not isinstance(answer, Reply):
                self._wait(entry, answer)
                return
        except BaseException as error:
            self._failed(error)
            return
        self._answered(answer)

    def _wait(self, entry: NamedFilter, answer: Any) -> None:
        if not hasattr(answer, "addCallbacks"):
            if not hasattr(answer, "__await__"):
                raise _no_answer(answer)
            answer = ensureDeferred(_wait_for(answer))
        self._awaited = answer
        answer.addCallbacks(self._fired, self._broke, callbackArgs=(answer,), errbackArgs=(answer,))
        if entry.timeout and self._awaited is answer:
            self._expiry = self._clock.callLater(entry.timeout, self._expired, entry.timeout)

    # Both leave their Deferred with what it came to: a filter may have given it to other messages, too.

    def _fired(self, answer: object, awaited: Deferred[Any]) -> object:
        if self._awaited is awaited:
            self._awaited = None
            self._settle()
            if isinstance(answer, _Broken):
                self._failed(answer.error)
            else:
                self._answered(answer)
            self._go_on()
        return answer

    def _broke(self, failure: Failure, awaited: Deferred[Any]) -> _Broken:
        error = failure.value or RuntimeError("a failure without an exception")
        if self._awaited is awaited:
            self._awaited = None
            self._settle()
            self._failed(error)
            self._go_on()
        else:
            forget_locals(error)  # given up: nobody is to be told
        return _Broken(error)

    def _expired(self, timeout: float) -> None:
        self._expiry = None
        done = self._done
        self.stop()
        self._done = done
        self._failed(TimeoutError(f"what it waits for has not come within {timeout:g} s"))
        self._go_on()

    def _settle(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    def _answered(self, answer: object) -> None:
        if isinstance(answer, Reply):
            self._finish(answer)
            return
        try:
            if answer is not None:
                raise _no_answer(answer)
            self._check(self._message)
        except BaseException as error:
            self._failed(error)
            return
        if self._on_request:
            self._seen += 1

    def _failed(self, error: BaseException) -> None:
        entry = self._entry
        assert entry is not None
        self._awaited = None
        forget_locals(error)
        failure = FilterFailed(entry.name, error)
        failure.__cause__ = error
        if entry.on_failure is not OnFailure.BYPASS:
            self._finish(failure)
            return
        self._message.restore(self._saved)
        if self._on_request:
            self._seen += 1  # it may have begun something that ends with the response
        self._bypassed(failure)

    def _finish(self, outcome: Reply | FilterFailed | None) -> None:
        done, self._done = self._done, None
        self._message = self._entry = None
        self._saved = ()
        if done is None:
            return
        try:
            done(outcome)
        except Exception:
            if self._mistaken is None:
                raise
            self._mistaken(Failure())


@attrs.frozen
class _Broken:
    """What a Deferred is left with that has failed: a failure would be reported as one that nobody has seen."""

    error: BaseException


def _no_answer(answer: object) -> TypeError:
    return TypeError(f"it returned {type(answer).__name__}; None, a Reply or an awaitable of one is expected")


async def _wait_for(awaitable: Any) -> Any:
    return await awaitable
