"""
Filters in a row, pulled from the end.

Each filter returns an iterable; L{FilterChain.pull} advances the last one for a single piece of output and goes back to the
filters before it only when it has none. So at any time every filter works on at most one piece, nothing is queued between
them, and a decompression bomb stops in mid-generator until somebody wants more.

What is yielded and is not bytes (a Deferred, an awaitable) suspends the chain at that filter: the pieces it works on stay
held. The chain does not know what it waits for; its driver does, and calls L{FilterChain.resume} or L{FilterChain.throw}.

A filter that fails ends the chain, or is bypassed: its input so far goes on in its place. That is possible only before its
first output (what it would have made of the rest nobody knows), so its input is kept until then.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import GeneratorType
from typing import Any

from twisted_pipe.core.asynchronous import output_of
from twisted_pipe.core.buffers import Segment, Slab
from twisted_pipe.core.frames import forget_locals
from twisted_pipe.errors import FilterFailed
from twisted_pipe.interfaces import NamedFilter, OnFailure

__all__ = ["BYPASS_BYTES", "PAUSE", "FilterChain"]

_BYTES = (bytes, bytearray, memoryview)

#: Pieces without a byte in a row that one call may yield, and one more for each byte that it got.
_MOST_EMPTY = 1000
#: How much a chain does before it asks for a pause, in bytes that filters put out, and what each piece costs besides.
_MOST_WORK = 4 * 1024 * 1024
_PIECE_WORK = 400
#: Bytes that a filter which may be bypassed can take before its first output; they are kept until then.
BYPASS_BYTES = 64 * 1024


class _Phase(enum.Enum):
    NEW = enum.auto()
    OPEN = enum.auto()
    ENDING = enum.auto()
    ENDED = enum.auto()


class _Through:
    """What takes the place of a filter that is bypassed."""

    def received(self, data: memoryview) -> Any:
        return (data,)

    def ended(self) -> Any:
        return ()

    def stopped(self, reason: BaseException | None) -> None:
        pass


class _Stage:
    """
    One filter and the call it is in.

    @ivar output: of the call it is in, None between calls.
    @ivar taken: what it was given so far, None if it cannot be bypassed (any more).
    @ivar empty: pieces without a byte in a row so far.
    @ivar most_empty: how many there may be.
    """

    __slots__ = ("call", "empty", "filter", "most_empty", "name", "output", "phase", "taken", "timeout")

    def __init__(self, entry: NamedFilter) -> None:
        self.name = entry.name
        self.filter: Any = entry.filter
        self.timeout = entry.timeout
        self.phase = _Phase.NEW
        self.output: Iterator[Any] | None = None
        self.call = ""
        self.empty = 0
        self.most_empty = _MOST_EMPTY
        self.taken = bytearray() if entry.on_failure is OnFailure.BYPASS else None

    def receive(self, data: Any) -> None:
        """Begin C{received}."""
        if self.taken is not None:
            if len(self.taken) + len(data) > BYPASS_BYTES:
                self.taken = None
            else:
                self.taken += data
        self.most_empty = _MOST_EMPTY + len(data)
        self.call = "received"
        try:
            result = self.filter.received((data if type(data) is memoryview else memoryview(data)).toreadonly())
            self.output = result if type(result) is GeneratorType else self._output_of(result)
        except BaseException as error:  # sys.exit() in a filter must not end the process
            raise FilterFailed(self.name, error) from error

    def begin(self, call: str) -> None:
        """Begin C{started} or C{ended}."""
        self.call = call
        try:
            self.output = self._output_of(getattr(self.filter, call)())
        except BaseException as error:
            raise FilterFailed(self.name, error) from error

    def _output_of(self, result: Any) -> Iterator[Any]:
        """
        What a call has returned, to be advanced.

        @raise TypeError: it is no output.
        """
        if isinstance(result, (*_BYTES, str)) or hasattr(result, "addCallbacks"):
            raise TypeError(f"{self.call}() returned {type(result).__name__}; an iterable of bytes is expected")
        return output_of(result) or iter(result)

    def end_call(self) -> None:
        self.output = None
        self.empty = 0
        if self.phase is _Phase.OPEN:
            return
        self.phase = _Phase.OPEN if self.phase is _Phase.NEW else _Phase.ENDED

    def count_empty(self) -> None:
        """
        @raise FilterFailed: it seems to go on for ever.
        """
        self.empty += 1
        if self.empty > self.most_empty:
            raise FilterFailed(self.name, f"{self.call}() yielded {self.empty} pieces without a byte in a row")

    def close(self) -> None:
        """End the call it is in."""
        output: Any = self.output
        self.output = None
        if hasattr(output, "close"):
            output.close()

    def bypass(self) -> None:
        """From here on everything passes, beginning with what was taken."""
        taken, self.taken = self.taken, None
        self.filter = _Through()
        self.output = iter((bytes(taken),) if taken else ())


class _Pause:
    def __repr__(self) -> str:
        return "<a pause>"


#: What a chain is suspended on after much work: it goes on as soon as others have had their turn.
PAUSE = _Pause()
_END = object()


class FilterChain:
    """
    @ivar raw: the input, segments in order; the pipe appends, the chain takes.
    @ivar ending: set by the pipe when no more input will come and the stream ended cleanly.
    @ivar dry: whether L{pull} has nothing to give before there is more input.
    @ivar finished: whether all output, that of C{ended} included, was pulled.
    @ivar lent: the slab whose memory the filters work on, and of which their output may be slices.
    @ivar suspension: what the chain waits for, None if it does not.
    """

    def __init__(self, filters: Sequence[NamedFilter], release: Callable[[Segment], None]) -> None:
        """
        @param filters: in order; the first gets the raw bytes.
        @param release: called with each input segment that is used up.
        """
        self.raw: deque[Segment] = deque()
        self.ending = False
        self.dry = False
        self.finished = False
        self.lent: Slab | None = None
        self.suspension: Any = None
        self._problems: list[FilterFailed] = []
        self._stages = [_Stage(entry) for entry in filters]
        self._release = release
        self._input: Segment | None = None
        self._told = False  # whether what was waited for has come (or failed), and the filter is to be told
        self._reply: Any = None
        self._error: BaseException | None = None
        self._stopped = False
        self._work = 0

    @property
    def idle(self) -> bool:
        """Whether nothing is inside: no input, no call under way."""
        return not self.raw and self._input is None and all(stage.output is None for stage in self._stages)

    def pull(self) -> Any:
        """
        One piece of output: bytes, bytearray or memoryview, never empty; None if there is none now (the input is used up,
        the chain is suspended, or finished).

        @raise FilterFailed: a filter raised or broke its contract, and is not to be bypassed.
        """
        if self.suspension is not None:
            return None
        self.dry = False
        stages = self._stages
        last = index = len(stages) - 1
        while True:
            stage = stages[index]
            try:
                if stage.output is None:
                    if stage.phase is _Phase.ENDED:
                        self.finished = True
                        return None
                    if not self._begin_next(stage, index):
                        if index == 0:
                            self.dry = True
                            return None
                        index -= 1
                    continue
                try:
                    item = self._tell(stage) if self._told else next(stage.output, _END)
                    if type(item) is memoryview:
                        item = _plain(item)
                except BaseException as error:
                    raise FilterFailed(stage.name, error) from error
                if item is _END:
                    stage.end_call()
                    if index == 0 and self._input is not None:
                        used, self._input = self._input, None
                        self.lent = None
                        self._release(used)
                    index = min(index + 1, last) if stage.phase is _Phase.ENDED else index
                    continue
                if type(item) is not bytes and type(item) is not memoryview:
                    exact = self._exact(stage, item)
                    if exact is None:
                        self.suspension = item
                        return None
                    item = exact
                self._work += len(item) + _PIECE_WORK
                if len(item):
                    stage.empty = 0
                    stage.taken = None
                    if index == last:
                        if self._work >= _MOST_WORK:
                            self._rest()
                        return item
                    index += 1
                    stages[index].receive(item)
                else:
                    stage.count_empty()
                if self._work >= _MOST_WORK:
                    self._rest()
                    return None
            except FilterFailed as failure:
                self._bypass(stages[index], failure)

    def _bypass(self, stage: _Stage, failure: FilterFailed) -> None:
        """
        Have C{stage} pass everything on from here, if it may be bypassed.

        @raise FilterFailed: C{failure}, if not.
        """
        if stage.taken is None:
            raise failure
        forget_locals(failure)
        self._problems.append(failure)
        self._end(stage, failure)
        stage.bypass()

    def _begin_next(self, stage: _Stage, index: int) -> bool:
        """Begin the call that comes next for C{stage}; False if that depends on the stage before it."""
        if stage.phase is _Phase.NEW:
            stage.begin("started")
        elif index == 0 and self.raw:
            self._input = segment = self.raw.popleft()
            slab = self.lent = segment.slab
            if slab is not None:
                slab.lent = True
            stage.receive(segment.data)
        elif self.ending if index == 0 else self._stages[index - 1].phase is _Phase.ENDED:
            stage.phase = _Phase.ENDING
            stage.most_empty = _MOST_EMPTY
            stage.begin("ended")
        else:
            return False
        return True

    def _tell(self, stage: _Stage) -> Any:
        """What it waited for has come, or failed: the next item of the stage's output, or C{_END}."""
        output: Any = stage.output
        reply, error = self._reply, self._error
        self._told, self._reply, self._error = False, None, None
        if error is not None and not hasattr(output, "throw"):
            raise error
        try:
            if error is not None:
                before = error.__traceback__
                try:
                    return output.throw(error)
                finally:
                    # whoever keeps the error shall not keep the frames of the filter, and with them what that was lent
                    error.__traceback__ = before
            if hasattr(output, "send"):
                return output.send(reply)
            return reply if isinstance(reply, _BYTES) else next(output, _END)
        except StopIteration:
            return _END

    def _rest(self) -> None:
        """It has worked for long enough."""
        self._work = 0
        self.suspension = PAUSE

    @staticmethod
    def _exact(stage: _Stage, item: Any) -> bytes | None:
        """
        The bytes in C{item}, which may yet change, or say of itself what it is not; None if it is to be waited for.

        @raise FilterFailed: it is neither.
        """
        try:
            if isinstance(item, _BYTES):
                return bytes(memoryview(item))
            # addCallbacks: what is like a Deferred, though it cannot be awaited
            if not isinstance(item, type) and (hasattr(item, "__await__") or hasattr(item, "addCallbacks")):
                return None
        except BaseException as error:
            raise FilterFailed(stage.name, error) from error
        what = f"{stage.call}() yielded {type(item).__name__}; bytes, a slice of the input or a Deferred is expected"
        raise FilterFailed(stage.name, what)

    @property
    def names(self) -> list[str]:
        """Of the filters, in order."""
        return [stage.name for stage in self._stages]

    @property
    def waiting_filter(self) -> str:
        """The name of the filter that suspended the chain, for errors."""
        return next((stage.name for stage in reversed(self._stages) if stage.output is not None), "")

    @property
    def timeout(self) -> float:
        """Seconds that the filter which suspended the chain may wait, 0 for ever."""
        return next((stage.timeout for stage in reversed(self._stages) if stage.output is not None), 0.0)

    def resume(self, result: Any) -> None:
        """What the chain waited for came: the next pull goes on with it."""
        paused, self.suspension = self.suspension is PAUSE, None
        if not paused:
            self._told, self._reply = True, result

    def throw(self, error: BaseException) -> None:
        """What the chain waited for failed: the next pull raises it in the filter."""
        self.suspension = None
        self._told, self._error = True, error

    def _end(self, stage: _Stage, reason: BaseException | None) -> None:
        """Close the call that it is in, and tell its filter."""
        try:
            stage.close()
        except BaseException as error:
            forget_locals(error)
            self._problems.append(FilterFailed(stage.name, error))
        try:
            stage.filter.stopped(reason)
        except BaseException as error:
            forget_locals(error)
            self._problems.append(FilterFailed(stage.name, error))

    def take_problems(self) -> list[FilterFailed]:
        """Failures that ended nothing, of filters that were bypassed or stopped: to be logged; there is nobody else to tell."""
        problems, self._problems = self._problems, []
        return problems

    def stop(self, reason: BaseException | None) -> list[FilterFailed]:
        """
        The end: close the generators, tell every filter once, release the input.

        @return: L{take_problems}, with what the filters raised meanwhile.
        """
        if self._stopped:
            return []
        self._stopped = True
        for stage in reversed(self._stages):
            self._end(stage, reason)
        self.suspension = self.lent = None
        if self._input is not None:
            self._release(self._input)
            self._input = None
        while self.raw:
            self._release(self.raw.popleft())
        return self.take_problems()


def _plain(item: memoryview) -> memoryview | bytes:
    """A view of our own, of bytes in one piece: the filter may release or have reshaped its one."""
    if item.format == "B" and item.ndim == 1 and item.c_contiguous:
        return item[:]
    return item.cast("B") if item.ndim == 1 and item.c_contiguous else bytes(item)
