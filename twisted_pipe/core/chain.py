"""
Filters in a row, pulled from the end.

Each filter returns an iterable; L{FilterChain.pull} advances the last one for a single piece of output and goes back to the
filters before it only when it has none. So at any time every filter works on at most one piece, nothing is queued between
them, and a decompression bomb stops in mid-generator until somebody wants more.

What is yielded and is not bytes (a Deferred, an awaitable) suspends the chain at that filter: the pieces it works on stay
held. The chain does not know what it waits for; its driver does, and calls L{FilterChain.resume} or L{FilterChain.throw}.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from traceback import clear_frames
from types import GeneratorType
from typing import Any

from twisted_pipe.core.buffers import Segment, Slab
from twisted_pipe.errors import FilterFailed

__all__ = ["FilterChain"]

_BYTES = (bytes, bytearray, memoryview)


class _Phase(enum.Enum):
    NEW = enum.auto()
    OPEN = enum.auto()
    ENDING = enum.auto()
    ENDED = enum.auto()


class _Stage:
    """One filter and the call it is in."""

    __slots__ = ("call", "filter", "name", "output", "phase")

    def __init__(self, name: str, pipe_filter: Any) -> None:
        self.name = name
        self.filter = pipe_filter
        self.phase = _Phase.NEW
        self.output: Iterator[Any] | None = None
        self.call = ""

    def begin(self, call: str, *arguments: Any) -> None:
        self.call = call
        try:
            result = getattr(self.filter, call)(*arguments)
            if type(result) is GeneratorType:  # nearly always, and it needs no look
                self.output = result
                return
            if isinstance(result, (*_BYTES, str)) or hasattr(result, "addCallbacks"):
                raise TypeError(f"{call}() returned {type(result).__name__}; an iterable of bytes is expected")
            self.output = iter(result)
        except Exception as error:
            raise FilterFailed(self.name, error) from error

    def end_call(self) -> None:
        self.output = None
        if self.phase is _Phase.NEW:
            self.phase = _Phase.OPEN
        elif self.phase is _Phase.ENDING:
            self.phase = _Phase.ENDED


_END = object()
_NOTHING = object()


class FilterChain:
    """
    @ivar raw: the input, segments in order; the pipe appends, the chain takes.
    @ivar ending: set by the pipe when no more input will come and the stream ended cleanly.
    @ivar finished: whether all output, that of C{ended} included, was pulled.
    @ivar suspension: what the chain waits for, None if it does not.
    """

    def __init__(self, filters: Sequence[tuple[str, Any]], release: Callable[[Segment], None]) -> None:
        """
        @param filters: names and C{IPipeFilter}s, the first gets the raw bytes.
        @param release: called with each input segment that is used up.
        """
        self.raw: deque[Segment] = deque()
        self.ending = False
        self.finished = False
        self.suspension: Any = None
        self._stages = [_Stage(name, pipe_filter) for name, pipe_filter in filters]
        self._release = release
        self._input: Segment | None = None
        self._reply: Any = _NOTHING
        self._error: BaseException | None = None
        self._stopped = False

    @property
    def lent(self) -> Slab | None:
        """The slab whose memory the filters work on, and of which their output may be slices."""
        return None if self._input is None else self._input.slab

    @property
    def idle(self) -> bool:
        """Whether nothing is inside: no input, no call under way."""
        return not self.raw and self._input is None and all(stage.output is None for stage in self._stages)

    def pull(self) -> Any:
        """
        One piece of output: bytes, bytearray or memoryview, never empty; None if there is none now (the input is used up,
        the chain is suspended, or finished).

        @raise FilterFailed: a filter raised or broke its contract.
        """
        if self.suspension is not None:
            return None
        stages = self._stages
        last = index = len(stages) - 1
        while True:
            stage = stages[index]
            if stage.output is None:
                if stage.phase is _Phase.ENDED:
                    self.finished = True
                    return None
                if not self._begin_next(stage, index):
                    if index == 0:
                        return None
                    index -= 1
                continue
            item = self._advance(stage)
            if item is _END:
                stage.end_call()
                if index == 0 and self._input is not None:
                    used, self._input = self._input, None
                    self._release(used)
                index = min(index + 1, last) if stage.phase is _Phase.ENDED else index
                continue
            if type(item) is memoryview:
                item = self._plain(stage, item)
            elif not isinstance(item, _BYTES):
                self._check(stage, item)
                self.suspension = item
                return None
            if len(item):
                if index == last:
                    return item
                index += 1
                stages[index].begin("received", memoryview(item).toreadonly())

    @staticmethod
    def _plain(stage: _Stage, item: memoryview) -> Any:
        """A view of our own, of bytes in one piece: the filter may release or have reshaped its one."""
        try:
            if item.format == "B" and item.ndim == 1 and item.c_contiguous:
                return item[:]
            return item.cast("B") if item.ndim == 1 and item.c_contiguous else bytes(item)
        except ValueError as error:
            raise FilterFailed(stage.name, error) from error

    def _begin_next(self, stage: _Stage, index: int) -> bool:
        """Begin the call that comes next for C{stage}; False if that depends on the stage before it."""
        if stage.phase is _Phase.NEW:
            stage.begin("started")
        elif index == 0 and self.raw:
            self._input = segment = self.raw.popleft()
            if segment.slab is not None:
                segment.slab.lent = True
            stage.begin("received", memoryview(segment.data).toreadonly())
        elif self.ending if index == 0 else self._stages[index - 1].phase is _Phase.ENDED:
            stage.phase = _Phase.ENDING
            stage.begin("ended")
        else:
            return False
        return True

    def _advance(self, stage: _Stage) -> Any:
        """The next item of the stage's output, or C{_END}."""
        output: Any = stage.output
        try:
            if self._reply is _NOTHING and self._error is None:
                return next(output, _END)
            reply, self._reply = self._reply, _NOTHING
            error, self._error = self._error, None
            if error is not None:
                if not hasattr(output, "throw"):
                    raise FilterFailed(stage.name, error) from error
                return output.throw(error)
            if reply is not _NOTHING:
                if hasattr(output, "send"):
                    return output.send(reply)
                if isinstance(reply, _BYTES):
                    return reply
            return next(output, _END)
        except StopIteration:
            return _END
        except (FilterFailed, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as problem:
            raise FilterFailed(stage.name, problem) from problem

    def _check(self, stage: _Stage, item: Any) -> None:
        # addCallbacks: what is like a Deferred, though it cannot be awaited
        if not hasattr(item, "__await__") and not hasattr(item, "addCallbacks"):
            what = (
                f"{stage.call}() yielded {type(item).__name__}; bytes, a slice of the input or a Deferred is expected"
            )
            raise FilterFailed(stage.name, what)

    @property
    def waiting_filter(self) -> str:
        """The name of the filter that suspended the chain, for errors."""
        return next((stage.name for stage in reversed(self._stages) if stage.output is not None), "")

    def resume(self, result: Any) -> None:
        """What the chain waited for came: the next pull goes on with it."""
        self.suspension = None
        self._reply = result

    def throw(self, error: BaseException) -> None:
        """What the chain waited for failed: the next pull raises it in the filter."""
        self.suspension = None
        self._error = error

    def stop(self, reason: BaseException | None) -> list[FilterFailed]:
        """
        The end: close the generators, tell every filter once, release the input.

        @return: what the filters raised meanwhile, to be logged; there is nobody else to tell.
        """
        if self._stopped:
            return []
        self._stopped = True
        problems: list[FilterFailed] = []
        for stage in reversed(self._stages):
            try:
                if hasattr(stage.output, "close"):
                    stage.output.close()  # type: ignore[union-attr]
            except Exception as error:
                clear_frames(error.__traceback__)
                problems.append(FilterFailed(stage.name, error))
            stage.output = None
            try:
                stage.filter.stopped(reason)
            except Exception as error:
                problems.append(FilterFailed(stage.name, error))
        self.suspension = None
        if self._input is not None:
            self._release(self._input)
            self._input = None
        while self.raw:
            self._release(self.raw.popleft())
        return problems
