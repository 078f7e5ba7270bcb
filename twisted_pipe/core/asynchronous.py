"""
What an C{async def} of a filter returns, as the iterator that the chain pulls.

A coroutine's output is its result: nothing for None, one piece for bytes, several for an iterable of them. An asynchronous
generator's is what it yields. What they await comes out of the iterator and suspends the chain, as a Deferred that a plain
generator yields does.

Both are run as far as they go by themselves. Only what really waits is handed out: once as what is awaited first, with the rest
of the run behind it, as one awaitable.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from types import AsyncGeneratorType, CoroutineType
from typing import Any

__all__ = ["AsynchronousOutput", "CoroutineOutput", "output_of"]

_BYTES = (bytes, bytearray, memoryview)
_NOT_YET = object()


def output_of(result: Any) -> Iterator[Any] | None:
    """The output of what C{async def} made; None when C{result} is nothing of the kind."""
    if isinstance(result, CoroutineType):
        return CoroutineOutput(result)
    if isinstance(result, AsyncGeneratorType):
        return AsynchronousOutput(result)
    return None


class _Rest:
    """What is left of a run that waits, as an awaitable: first for C{first}, then whatever comes."""

    __slots__ = ("_first", "_run")

    def __init__(self, first: Any, run: Any) -> None:
        self._first = first
        self._run = run

    def __await__(self) -> Generator[Any, Any, Any]:
        awaited = self._first
        while True:
            try:
                reply = yield awaited
            except GeneratorExit:
                raise  # given up; the run is closed by its owner
            except BaseException as error:
                step, value = self._throw, error
            else:
                step, value = self._run.send, reply
            try:
                awaited = step(value)
            except StopIteration as end:
                return end.value

    def _throw(self, error: Any) -> Any:
        """Who keeps an error that the run has coped with shall not keep the run's frames, and with them what that was lent."""
        before = error.__traceback__
        try:
            awaited = self._run.throw(error)
        except BaseException as raised:
            if raised is not error:
                error.__traceback__ = before
            raise
        error.__traceback__ = before
        return awaited


def _run(run: Any) -> Any:
    """Run it as far as it goes: its result, or a L{_Rest} if it waits."""
    try:
        awaited = run.send(None)
    except StopIteration as end:
        return end.value
    return _Rest(awaited, run)


class CoroutineOutput:
    """Of a coroutine."""

    __slots__ = ("_coroutine", "_pieces")

    def __init__(self, coroutine: CoroutineType[Any, Any, Any]) -> None:
        self._coroutine = coroutine
        self._pieces: Iterator[Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._pieces is not None:
            return next(self._pieces)
        result = _run(self._coroutine)
        return result if type(result) is _Rest else self.send(result)

    def send(self, result: Any) -> Any:
        """The coroutine's result has come."""
        if result is None:
            result = ()
        elif isinstance(result, _BYTES):
            result = (result,)
        elif isinstance(result, str) or not hasattr(result, "__iter__"):
            raise TypeError(f"its result is {type(result).__name__}; bytes, an iterable of bytes or None is expected")
        self._pieces = iter(result)
        return next(self._pieces)

    def close(self) -> None:
        self._coroutine.close()


class AsynchronousOutput:
    """Of an asynchronous generator."""

    __slots__ = ("_generator",)

    def __init__(self, generator: AsyncGeneratorType[Any, Any]) -> None:
        self._generator = generator

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return _run(self._generator.asend(None))
        except StopAsyncIteration:
            raise StopIteration from None

    def send(self, piece: Any) -> Any:
        """What it yields after a wait has come."""
        return piece

    def throw(self, error: BaseException) -> Any:
        """The wait has ended otherwise."""
        if isinstance(error, StopAsyncIteration):
            raise StopIteration
        raise error

    def close(self) -> None:
        """Its C{finally} blocks run, if they wait for nothing; what they would wait for is given up."""
        try:
            run = self._generator.aclose()
        except RuntimeError:
            return
        try:
            run.send(None)
        except StopIteration:
            return
        run.close()
