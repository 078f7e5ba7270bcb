"""
Filters driven as a pipe drives them, without a socket.

The chain of the pipe pulls them; memory is lent as the pipe lends it (L{twisted_pipe.testing.memory}), and what they wait for is
subscribed to as the driver does it (L{twisted_pipe.testing.waiting}). Time is a C{Clock}'s.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.task import Clock

from twisted_pipe.core.chain import FilterChain
from twisted_pipe.core.frames import forget_locals
from twisted_pipe.errors import FilterFailed, PipeFinished
from twisted_pipe.filters.discovery import parse_filter_spec
from twisted_pipe.interfaces import FilterContext, IPipeFilterFactory, NamedFilter, OnFailure
from twisted_pipe.limits import DEFAULT_LIMITS, MIB
from twisted_pipe.testing.memory import LentMemory
from twisted_pipe.testing.waiting import Waiting
from twisted_pipe.testing.words import sized, tail

__all__ = ["FilterHarness"]

#: Output that is taken for endless: so many bytes, and so many for each byte of input.
_ENDLESS, _GROWTH = 64 * MIB, 2000
#: Moments of the clock in one call.
_MOST_MOMENTS = 1_000_000
#: Waits for what has come already, without output.
_MOST_WAITS = 10_000


class FilterHarness:
    """
    One filter, or several in a row, between a producer and a consumer that the test plays.

    While the consumer takes bytes, output is pulled as soon as there is any, until C{room} bytes of it wait to be taken. L{stall}
    ends that; then only L{pull} pulls. A filter that fails is told so (C{stopped}) before C{FilterFailed} is raised, as in a pipe;
    after that, as after L{stop}, nothing can be fed.

    Any call raises C{AssertionError}, with the transcript, when a filter keeps or modifies what it was lent, or raises when it is
    stopped. What comes to light while somebody else's Deferred fires is raised by the next call.

    @ivar name: of the filters.
    @ivar filters: the filters, in order.
    @ivar clock: the time of filters and of their timeouts.
    @ivar transcript: what happened, a line each: C{feed 5 bytes b'hello'}, C{out 3 bytes b'HEL'}, C{waits for <Deferred ...>},
        C{goes on with None}, C{is thrown KeyError('k')}, C{end}, C{ended}, C{stopped None}.
    @ivar stalled: whether the consumer takes nothing.
    @ivar failure: how a filter has failed, None if none has.
    @ivar bypassed: the failures that were answered by leaving the filter out.
    @ivar stops: what C{stopped} was called with, for all filters.
    @ivar longest: bytes of the longest piece of output so far.
    @ivar lazy: False when a call returned a list (or other collection) of several pieces: they were all made before the first of
        them was taken.
    """

    def __init__(
        self,
        *filters: Any,
        context: FilterContext | None = None,
        clock: Clock | None = None,
        on_failure: OnFailure | None = None,
        timeout: float | None = None,
        room: int = DEFAULT_LIMITS.memory,
    ) -> None:
        """
        @param filters: in order. Each is a filter, a plugin (C{IPipeFilterFactory}), a filter class or other function of the
            context, or text as C{--filter} takes it: C{"throttle:rate=100k"}.
        @param context: what they are told of where they stand; by default that of the first, if it is a filter and has one.
        @param clock: the time; by default the context's, or a new one, which the context then gets.
        @param on_failure: what failures do; by default what the plugin says, or C{ABORT}.
        @param timeout: seconds that a filter may wait for one Deferred, 0 for ever; by default what the plugin says, or 60.
        @param room: bytes of output that may wait to be taken.
        """
        if not filters:
            raise TypeError("a filter is needed")
        context = context or _context_of(filters[0])
        self.clock: Clock = clock or context.clock or Clock()
        context = attrs.evolve(context, clock=self.clock)
        named = [_named(entry, context) for entry in filters]
        if on_failure is not None:
            named = [attrs.evolve(entry, on_failure=on_failure) for entry in named]
        if timeout is not None:
            named = [attrs.evolve(entry, timeout=timeout) for entry in named]
        self.name = " | ".join(entry.name for entry in named)
        self.filters = [entry.filter for entry in named]
        self.transcript: list[str] = []
        self.stalled = False
        self.failure: FilterFailed | None = None
        self.bypassed: list[FilterFailed] = []
        self.stops: list[BaseException | None] = []
        self.longest = 0
        self.lazy = True
        self._room = room
        self._memory = LentMemory()
        watched = [attrs.evolve(entry, filter=_Watched(entry, self, len(named) > 1)) for entry in named]
        self._chain = FilterChain(watched, self._memory.give_back)
        self._waiting = Waiting(self._chain, self.clock, self.transcript.append, self._go_on)
        self._output = bytearray()
        self._taken = self._fed = 0
        self._running = self._ended = self._stopped = False
        self._to_raise: BaseException | None = None

    def __repr__(self) -> str:
        return f"<FilterHarness {self.name}: {self.transcript[-1] if self.transcript else 'new'}>"

    @property
    def output(self) -> bytes:
        """All that was pulled so far."""
        return bytes(self._output)

    @property
    def waiting(self) -> Any:
        """The Deferred (or other awaitable) that is waited for, None if none is."""
        return self._chain.suspension if self._waiting.active else None

    @property
    def waits(self) -> int:
        """How often something was waited for."""
        return self._waiting.count

    @property
    def finished(self) -> bool:
        """Whether everything was put out, that of C{ended} included."""
        return self._chain.finished

    # the producer

    def feed(self, data: bytes) -> FilterHarness:
        """
        The next bytes of the stream, for one call of C{received}; no bytes are none.

        @raise FilterFailed: a filter failed.
        @raise PipeFinished: after the end.
        """
        self._check_open()
        if data:
            self.transcript.append(f"feed {sized(data)}")
            self._fed += len(data)
            self._chain.raw.append(self._memory.lend(bytes(data)))
        return self._proceed()

    def end(self) -> FilterHarness:
        """The clean end of the stream. Raises as L{feed}."""
        self._check_open()
        self._ended = self._chain.ending = True
        self.transcript.append("end")
        return self._proceed()

    # the consumer

    def stall(self) -> FilterHarness:
        """Take nothing: from here on, nothing is pulled unless L{pull} says so."""
        self.stalled = True
        return self

    def resume(self) -> FilterHarness:
        """Take bytes again. Raises as L{feed}, but not after the end."""
        self.stalled = False
        return self._proceed()

    def pull(self) -> bytes | None:
        """
        One piece of output, stalled or not; None when there is none now. L{take} has it again.

        @raise FilterFailed: a filter failed.
        """
        piece = self._pull()
        self._proceed(go_on=False)
        return piece

    def take(self, most: int | None = None) -> bytes:
        """
        The output that was not taken yet: all that comes without waiting (unless stalled), or at most C{most} bytes.

        @raise FilterFailed: a filter failed; the next call has what it put out before.
        """
        while not self.stalled and (most is None or self._untaken < most):
            if self._pull() is None:
                break
        self._proceed(go_on=False)
        end = len(self._output) if most is None else self._taken + most
        data = bytes(self._output[self._taken : end])
        self._taken += len(data)
        return data

    @property
    def _untaken(self) -> int:
        return len(self._output) - self._taken

    # time

    def advance(self, seconds: float) -> FilterHarness:
        """Let time pass. Raises as L{resume}."""
        self.clock.advance(seconds)
        return self._proceed()

    def wait(self) -> FilterHarness:
        """
        Let time pass until nothing is waited for. Raises as L{resume}.

        @raise AssertionError: no timer is set, so that it would be for ever.
        """
        for _ in range(_MOST_MOMENTS):
            if not self._waiting.active:
                return self._proceed()
            calls = self.clock.getDelayedCalls()
            if not calls:
                break
            self.clock.rightNow = max(min(call.getTime() for call in calls), self.clock.rightNow)
            self.clock.advance(0)
        raise self._broken("what it waits for never comes")

    def fail_wait(self, error: BaseException) -> FilterHarness:
        """What is waited for is given up, and C{error} raised where it was, as after a timeout. Raises as L{resume}."""
        self._waiting.throw(error)
        return self._proceed()

    # the whole life

    def run(self, *pieces: bytes) -> bytes:
        """
        The short way: feed each piece, end, let time pass as needed, take everything, stop.

        @return: what was not taken before.
        @raise FilterFailed: a filter failed.
        """
        self.stalled = False
        for piece in pieces:
            self.feed(piece)
        self.end()
        data = bytearray()
        while not self._chain.finished:
            data += self.take()
            self.wait()
        data += self.take()
        self.stop()
        return bytes(data)

    def stop(self, reason: BaseException | None = None) -> FilterHarness:
        """
        The end of the pipe. A second call does nothing.

        @param reason: why the stream broke off; before its clean end there is always a reason, C{PipeFinished} by default.
        """
        if not self._stopped:
            self._stop(PipeFinished("stopped before the end") if reason is None and not self.finished else reason)
        return self._proceed()

    def _stop(self, reason: BaseException | None) -> None:
        self._stopped = True
        try:
            self._waiting.stop()
        except Exception as error:
            self._note_broken(f"cancelling what it waits for raised {error!r}")
        for problem in self._chain.stop(reason):
            forget_locals(problem)
            self._note_broken(f"it raised when it was stopped: {problem}")

    # pulling

    def _check_open(self) -> None:
        self._proceed(go_on=False)
        if self._ended or self._stopped:
            raise PipeFinished("the stream has ended")

    def _proceed(self, go_on: bool = True) -> FilterHarness:
        """Pull what may be pulled, then raise what has come to light."""
        if go_on:
            self._go_on()
        for fault in self._memory.faults():
            self._note_broken(fault)
        error, self._to_raise = self._to_raise, None
        if error is not None:
            raise error
        return self

    def _go_on(self) -> None:
        while not self.stalled and self._untaken < self._room and self._pull() is not None:
            pass

    def _pull(self) -> bytes | None:
        """One piece; None also when a filter fails, which is raised later, or when this is called from within itself."""
        if self._running or self._stopped:
            return None
        self._running = True
        try:
            for _ in range(_MOST_WAITS):
                piece = self._chain.pull()
                for problem in self._chain.take_problems():
                    forget_locals(problem)
                    self.bypassed.append(problem)
                    self.transcript.append(f"bypassed: {problem}")
                if piece is not None:
                    return self._put(bytes(piece))
                if self._chain.suspension is None or self._waiting.active:
                    if self.finished and self.transcript[-1] != "ended":
                        self.transcript.append("ended")
                    return None
                self._waiting.begin()
            self._note_broken("it waits again and again for what has come already, and puts out nothing")
        except FilterFailed as failure:
            self._fail(failure)
        finally:
            self._running = False
        return None

    def _put(self, piece: bytes) -> bytes:
        self.transcript.append(f"out {sized(piece)}")
        self._output += piece
        self.longest = max(self.longest, len(piece))
        if len(self._output) > _ENDLESS + _GROWTH * self._fed:
            self._note_broken("there seems to be no end of its output")
            self._stop(PipeFinished("too much output"))
        return piece

    def _fail(self, failure: FilterFailed) -> None:
        forget_locals(failure)
        self.failure = failure
        self.transcript.append(f"failed: {failure}")
        self._to_raise = self._to_raise or failure
        self._stop(failure)
        if sys.version_info >= (3, 11):
            failure.add_note(f"transcript:{tail(self.transcript)}")

    def _note_broken(self, what: str) -> None:
        if not isinstance(self._to_raise, AssertionError):
            self._to_raise = self._broken(what)

    def _broken(self, what: str) -> AssertionError:
        return AssertionError(f"{self.name}: {what}\ntranscript:{tail(self.transcript)}")


class _Watched:
    """A filter, and what the harness wants to know of it."""

    def __init__(self, entry: NamedFilter, harness: FilterHarness, one_of_many: bool) -> None:
        self._filter = entry.filter
        self._harness = harness
        self._prefix = f"{entry.name} " if one_of_many else ""

    def started(self) -> Any:
        return self._seen(self._filter.started())

    def received(self, data: memoryview) -> Any:
        return self._seen(self._filter.received(data))

    def ended(self) -> Any:
        return self._seen(self._filter.ended())

    def stopped(self, reason: BaseException | None) -> None:
        self._harness.transcript.append(f"{self._prefix}stopped {reason!r}")
        self._harness.stops.append(reason)
        self._filter.stopped(reason)

    def _seen(self, output: Any) -> Any:
        if hasattr(output, "__len__") and len(output) > 1:
            self._harness.lazy = False
        return output


def _named(entry: Any, context: FilterContext) -> NamedFilter:
    if isinstance(entry, str):
        entry = parse_filter_spec(entry)
    if IPipeFilterFactory.providedBy(entry):
        return NamedFilter(entry.name, entry.build(context), entry.on_failure, entry.timeout)
    if isinstance(entry, type) or not hasattr(entry, "received"):
        make: Callable[[FilterContext], Any] = entry
        entry = make(context)
    return NamedFilter(type(entry).__name__, entry)


def _context_of(entry: Any) -> FilterContext:
    context = getattr(entry, "context", None)
    return context if isinstance(context, FilterContext) else FilterContext()
