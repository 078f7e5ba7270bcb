"""
The contract of a filter, as laws that a filter either keeps or breaks.

What breaks off a stream in life (a reset, a timeout, a wait that fails) does so at any moment; here it does so at each one, in a
life of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice, product, takewhile
from typing import Any, Union

import attrs
from twisted.internet.task import Clock

from twisted_pipe.errors import FilterFailed, UpstreamFailed
from twisted_pipe.filters.discovery import parse_filter_spec
from twisted_pipe.interfaces import FilterContext, OnFailure
from twisted_pipe.limits import MIB
from twisted_pipe.testing.cuts import as_read, many_cuts
from twisted_pipe.testing.harness import FilterHarness
from twisted_pipe.testing.words import around, sized, tail

__all__ = ["FilterReport", "check_filter"]

#: What the filter is given, or that and what it has to make of it.
Sample = Union[bytes, tuple[bytes, bytes]]

#: Moments of one life that are tried.
_MOMENTS = 64


@attrs.frozen(kw_only=True)
class FilterReport:
    """
    What L{check_filter} has seen, of which nothing is wrong.

    @ivar lives: how many filters it has made.
    @ivar waits: how often one waited for something.
    @ivar longest: bytes of the longest piece of output.
    @ivar lazy: False if a call returned a list (or other collection) of several pieces: they were all made before the first was
        taken. A generator makes them while there is room.
    """

    lives: int
    waits: int
    longest: int
    lazy: bool


def check_filter(
    factory: Any,
    samples: bytes | Iterable[Sample],
    *,
    context: FilterContext | None = None,
    split_invariant: bool = True,
    read: Callable[[bytes], bytes] = bytes,
    may_be_empty: bool = True,
    most: int = MIB,
) -> FilterReport:
    """
    Prove that a filter keeps the contract, by many short lives of it, each with a C{Clock} of its own:

      - it makes the same of a stream however that is cut: into buffers, into single bytes (of long samples the first and last KiB),
        every way in two (samples of at most 256 bytes), and a few more at random, but the same ones each time;
      - it neither keeps nor modifies what it was lent;
      - if it says C{keeps_bytes}, it puts out what it was given, byte for byte;
      - no piece of its output is larger than C{most};
      - it may be stopped at any moment, within its output too, and whatever it waits for may fail: C{stopped} is called once and
        raises nothing, and then no timer of it is left on the clock;
      - a stream without a byte ends well.

    @param factory: what makes a new filter, as L{FilterHarness} takes it; not a filter.
    @param samples: whole streams that it takes, or pairs of one and what it makes of it.
    @param context: what it is told of where it stands.
    @param read: turns output into what is compared, where the same may be put differently: C{gzip.decompress}.
    @param split_invariant: whether the first law holds. If not, a pair says what is made of a stream in buffers of 32 KiB.
    @param may_be_empty: whether the last law holds; if not, it may fail there.
    @param most: bytes.
    @raise AssertionError: which law it breaks, with a transcript.
    @raise TypeError: C{factory} is a filter, or a sample is neither bytes nor a pair of them.
    """
    if hasattr(factory, "received") and not isinstance(factory, type):
        raise TypeError("a filter has but one life: its class, its plugin or another function of the context is needed")
    if isinstance(factory, str):
        factory = parse_filter_spec(factory)  # once: it looks at all that is installed
    check = _Check(factory, context or FilterContext(), read, most)
    check.empty(may_be_empty)
    for sample in [samples] if isinstance(samples, bytes) else samples:
        data, expected = sample if isinstance(sample, tuple) else (sample, None)
        if not isinstance(data, bytes) or not isinstance(expected, (bytes, type(None))):
            raise TypeError(f"a sample is bytes, or a pair of input and output: {sample!r:.100}")
        check.output(data, expected, split_invariant)
        check.stops(data)
        check.failing_waits(data)
    return check.report


class _Check:
    """
    The lives of one check.

    @ivar report: what was seen in them.
    """

    def __init__(self, factory: Any, context: FilterContext, read: Callable[[bytes], bytes], most: int) -> None:
        self.report = FilterReport(lives=0, waits=0, longest=0, lazy=True)
        self._factory = factory
        self._context = context
        self._read = read
        self._most = most

    def empty(self, well: bool) -> None:
        """A life without a byte."""
        self._kept(self._run(self._new(), [], well), b"")

    def output(self, data: bytes, expected: bytes | None, invariant: bool) -> None:
        """Lives that go well."""
        life = self._run(self._new(), as_read(data))
        self._kept(life, data)
        whole = self._output(life)
        if expected is not None and whole != expected:
            raise _differs(life, f"of {sized(data)} it makes", whole, "expected", expected)
        for pieces in many_cuts(data):
            life = self._run(self._new(), pieces)
            self._kept(life, data)
            if invariant and (output := self._output(life)) != whole:
                how = f"of {sized(data)}, cut into {_lengths(pieces)} bytes, it makes"
                raise _differs(life, how, output, "of the whole", whole)

    def stops(self, data: bytes) -> None:
        """Lives that break off."""
        life = self._new()
        count = sum(1 for _ in self._moments(life, data))
        self._over(life.stop())
        for last in _spread(count):
            life = self._new()
            for _ in islice(self._moments(life, data), last):
                pass
            self._over(life.stop(UpstreamFailed("broken off by the test")))

    def failing_waits(self, data: bytes) -> None:
        """Lives in which something that is waited for fails."""
        life = self._run(self._new(), _thirds(data))
        for number, breaks_off in product(_spread(life.waits), (False, True)):
            life = self._new()
            with suppress(FilterFailed):
                for _ in self._moments(life, data):
                    if life.waiting is not None and life.waits == number:
                        life.fail_wait(TimeoutError("thrown by the test")).pull()
                        if breaks_off:
                            break
            self._over(life.stop())

    def _new(self) -> FilterHarness:
        context = attrs.evolve(self._context, clock=Clock())
        return FilterHarness(self._factory, context=context, on_failure=OnFailure.ABORT)

    def _run(self, life: FilterHarness, pieces: list[bytes], well: bool = True) -> FilterHarness:
        try:
            life.run(*pieces)
        except FilterFailed as failure:
            if well:
                raise _broken(life, f"it failed: {failure.problem!r}") from failure
        self._over(life)
        return life

    @staticmethod
    def _kept(life: FilterHarness, data: bytes) -> None:
        """That its output is C{data}, if it says so."""
        if getattr(life.filters[0], "keeps_bytes", False) and life.output != data:
            raise _differs(life, "it says keeps_bytes, and makes", life.output, f"of {sized(data)}", data)

    def _output(self, life: FilterHarness) -> bytes:
        try:
            return self._read(life.output)
        except Exception as error:
            raise _broken(life, f"its output, {sized(life.output)}, cannot be read: {error!r}") from error

    @staticmethod
    def _moments(life: FilterHarness, data: bytes) -> Iterator[None]:
        """A life that pauses after everything that happens in it."""
        life.stall()
        for piece in (b"", *_thirds(data), None):
            if piece is None:
                life.end()
            else:
                life.feed(piece)
            waited = True
            while waited:
                while life.pull() is not None:
                    yield
                waited = life.waiting is not None
                yield
                life.wait()

    def _over(self, life: FilterHarness) -> None:
        """Look back at it."""
        if len(life.stops) != 1:
            raise _broken(life, f"stopped() was called {len(life.stops)} times")
        if life.longest > self._most:
            raise _broken(
                life,
                f"a piece of its output has {life.longest} bytes, more than {self._most}: it has to be put out in parts",
            )
        timers = life.clock.getDelayedCalls()
        if timers:
            raise _broken(life, f"stopped() has left a timer: {timers[0]}")
        seen = self.report
        self.report = FilterReport(
            lives=seen.lives + 1,
            waits=seen.waits + life.waits,
            longest=max(seen.longest, life.longest),
            lazy=seen.lazy and life.lazy,
        )


def _broken(life: FilterHarness, what: str) -> AssertionError:
    return AssertionError(f"{life.name}: {what}\ntranscript:{tail(life.transcript)}")


def _differs(life: FilterHarness, what: str, output: bytes, other: str, wanted: bytes) -> AssertionError:
    same = takewhile(lambda pair: pair[0] == pair[1], zip(output, wanted, strict=False))
    place = sum(1 for _ in same)
    what += f" something else from byte {place} on"
    return _broken(life, f"{what}\n  output: {around(output, place)}\n  {other}: {around(wanted, place)}")


def _thirds(data: bytes) -> list[bytes]:
    size = max((len(data) + 2) // 3, 1)
    return [part for start in range(0, len(data), size) for part in as_read(data[start : start + size])]


def _spread(count: int) -> Iterable[int]:
    """Numbers from 1 to C{count}: all, or the first ones and some of the others."""
    half = _MOMENTS // 2
    if count <= _MOMENTS:
        return range(1, count + 1)
    return [*range(1, half + 1), *(half + (count - half) * number // half for number in range(1, half + 1))]


def _lengths(pieces: list[bytes]) -> str:
    shown = ", ".join(str(len(piece)) for piece in pieces[:8])
    return f"{shown}{', …' if len(pieces) > 8 else ''}"
