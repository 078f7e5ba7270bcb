"""Filters written with C{async def}, bypassed filters, and the bounds on what a filter may do, in the pure chain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from tests.core.script import Calls, Through, text
from twisted_pipe.core.buffers import Segment, Slab
from twisted_pipe.core.chain import BYPASS_BYTES, PAUSE, FilterChain
from twisted_pipe.errors import FilterFailed
from twisted_pipe.interfaces import NamedFilter, OnFailure


class Row:
    """
    A chain whose suspensions are waited for as the driver does it.

    @ivar waits: how often it was suspended.
    """

    def __init__(self, *filters: Any, on_failure: OnFailure = OnFailure.ABORT) -> None:
        named = [NamedFilter(f"filter{n}", entry, on_failure) for n, entry in enumerate(filters)]
        self.chain = FilterChain(named, lambda segment: None)
        self.waits = 0
        self._waited: Any = None

    def feed(self, *pieces: bytes) -> Row:
        self.chain.raw.extend(Segment(piece) for piece in pieces)
        return self

    def end(self) -> Row:
        self.chain.ending = True
        return self

    def pulled(self) -> list[str]:
        """All that comes without another turn of somebody else."""
        pieces: list[str] = []
        for _ in range(10_000):
            item = self.chain.pull()
            if item is not None:
                pieces.append(text(item))
            elif self.chain.suspension in (None, self._waited) or not self._wait():
                return pieces
        raise AssertionError("no end")

    def _wait(self) -> bool:
        """Wait for the suspension; whether it was over at once."""
        self.waits += 1
        if self.chain.suspension is PAUSE:
            self.chain.resume(None)
            return True
        suspension = self._waited = self.chain.suspension
        waited = suspension if isinstance(suspension, Deferred) else ensureDeferred(_wait_for(suspension))
        over: list[bool] = []
        waited.addCallbacks(
            lambda result: (self.chain.resume(result), over.append(True)),
            lambda failure: (self.chain.throw(failure.value), over.append(True)),
        )
        return bool(over)


async def _wait_for(awaitable: Any) -> Any:
    return await awaitable


class CoroutineTests(SynchronousTestCase):
    def test_its_result_is_the_output(self) -> None:
        async def received(data: memoryview) -> bytes:
            return bytes(data).upper()

        row = Row(Through(received)).feed(b"a", b"b")
        self.assertEqual((row.pulled(), row.waits), (["A", "B"], 0))

    def test_several_pieces_or_none(self) -> None:
        async def received(data: memoryview) -> Any:
            return None if data == b"-" else [b"<", data, b">"]

        self.assertEqual(Row(Through(received)).feed(b"-", b"a", b"-").pulled(), ["<", "a", ">"])

    def test_awaits_what_has_fired_without_suspending(self) -> None:
        async def received(data: memoryview) -> bytes:
            return bytes(data) + await succeed(b"!")

        row = Row(Through(received)).feed(b"a")
        self.assertEqual((row.pulled(), row.waits), (["a!"], 0))

    def test_suspends_while_it_waits_twice(self) -> None:
        gates: list[Deferred[bytes]] = [Deferred(), Deferred()]

        async def received(data: memoryview) -> bytes:
            return bytes(data) + await gates[0] + await gates[1]

        row = Row(Through(received)).feed(b"a")
        self.assertEqual(row.pulled(), [])
        gates[0].callback(b"1")
        self.assertEqual(row.pulled(), [])
        gates[1].callback(b"2")
        self.assertEqual((row.pulled(), row.waits), (["a12"], 1))

    def test_what_it_awaits_fails(self) -> None:
        async def received(data: memoryview) -> bytes:
            try:
                await fail(KeyError("k"))
            except KeyError:
                return b"caught"
            return b"not"

        self.assertEqual(Row(Through(received)).feed(b"a").pulled(), ["caught"])

    def test_what_it_waits_for_fails_later(self) -> None:
        gate: Deferred[bytes] = Deferred()

        async def received(data: memoryview) -> bytes:
            try:
                return await gate
            except KeyError:
                return b"caught"

        row = Row(Through(received)).feed(b"a")
        self.assertEqual(row.pulled(), [])
        gate.errback(KeyError("k"))
        self.assertEqual(row.pulled(), ["caught"])

    def test_an_error_that_it_has_coped_with_keeps_nothing_that_it_was_lent(self) -> None:
        """Though who was waited for keeps the error, and with Python 3.13 a frame the one that it was called from."""
        gate: Deferred[bool] = Deferred()
        error = KeyError("k")

        async def asked() -> bool:
            try:
                return await gate
            except KeyError:
                return False

        async def received(data: memoryview) -> bytes:
            lent = data
            return b"yes" if await asked() else bytes(lent)

        slab = Slab(1)
        row = Row(Through(received))
        row.chain.raw.append(Segment(slab.view, slab, 1))
        self.assertEqual(row.pulled(), [])
        gate.errback(error)
        self.assertEqual(row.pulled(), ["\0"])
        slab.view.release()
        self.assertFalse(slab.still_viewed(), error)

    def test_an_error_is_its_filters(self) -> None:
        async def received(data: memoryview) -> bytes:
            raise KeyError("k")

        error = self.assertRaises(FilterFailed, Row(Through(received)).feed(b"a").pulled)
        self.assertEqual(str(error), "filter 'filter0': KeyError: 'k'")

    def test_an_error_after_a_wait(self) -> None:
        gate: Deferred[bytes] = Deferred()

        async def received(data: memoryview) -> bytes:
            await gate
            raise KeyError("k")

        row = Row(Through(received)).feed(b"a")
        row.pulled()
        gate.callback(b"")
        self.assertIn("KeyError: 'k'", str(self.assertRaises(FilterFailed, row.pulled)))

    def test_a_wrong_result(self) -> None:
        for wrong in ("text", 5):

            async def received(data: memoryview, wrong: Any = wrong) -> Any:
                return wrong

            error = self.assertRaises(FilterFailed, Row(Through(received)).feed(b"a").pulled)
            self.assertIn(f"its result is {type(wrong).__name__}", str(error))

    def test_is_closed_at_the_end(self) -> None:
        closed: list[str] = []

        async def received(data: memoryview) -> bytes:
            try:
                return await Deferred()
            finally:
                closed.append("closed")

        row = Row(Through(received)).feed(b"a")
        row.pulled()
        self.assertEqual((row.chain.stop(None), closed), ([], ["closed"]))

    def test_is_cancelled_where_it_waits(self) -> None:
        seen: list[type[BaseException]] = []

        async def received(data: memoryview) -> bytes:
            try:
                return await Deferred()
            except CancelledError as error:
                seen.append(type(error))
                raise

        row = Row(Through(received)).feed(b"a")
        self.assertIsNone(row.chain.pull())
        waited = ensureDeferred(_wait_for(row.chain.suspension))
        waited.addErrback(lambda failure: failure.trap(CancelledError))
        waited.cancel()
        self.assertEqual(seen, [CancelledError])

    def test_all_three_calls_may_be(self) -> None:
        class All(Through):
            async def started(self) -> bytes:
                return b"<"

            async def ended(self) -> bytes:
                return b">"

        self.assertEqual(Row(All()).feed(b"a").end().pulled(), ["<", "a", ">"])


class AsynchronousGeneratorTests(SynchronousTestCase):
    def test_what_it_yields_is_the_output(self) -> None:
        async def received(data: memoryview) -> AsyncIterator[bytes]:
            yield bytes(data)
            yield await succeed(b"!")

        row = Row(Through(received)).feed(b"a", b"b")
        self.assertEqual((row.pulled(), row.waits), (["a", "!", "b", "!"], 0))

    def test_is_pulled_no_further_than_needed(self) -> None:
        made: list[int] = []

        async def received(data: memoryview) -> AsyncIterator[bytes]:
            for number in range(10):
                made.append(number)
                yield b"x"

        row = Row(Through(received)).feed(b"a")
        row.chain.pull()
        row.chain.pull()
        self.assertEqual(made, [0, 1])

    def test_suspends_while_it_waits(self) -> None:
        gate: Deferred[bytes] = Deferred()

        async def received(data: memoryview) -> AsyncIterator[bytes]:
            yield b"1"
            yield await gate
            yield b"3"

        row = Row(Through(received)).feed(b"a")
        self.assertEqual(row.pulled(), ["1"])
        gate.callback(b"2")
        self.assertEqual(row.pulled(), ["2", "3"])

    def test_ends_after_a_wait(self) -> None:
        gate: Deferred[None] = Deferred()

        async def received(data: memoryview) -> AsyncIterator[bytes]:
            yield bytes(data)
            await gate

        row = Row(Through(received)).feed(b"a", b"b")
        self.assertEqual(row.pulled(), ["a"])
        gate.callback(None)
        self.assertEqual(row.pulled(), ["b"])

    def test_a_failure_is_raised_where_it_waits(self) -> None:
        gate: Deferred[None] = Deferred()

        async def received(data: memoryview) -> AsyncIterator[bytes]:
            try:
                await gate
            except KeyError:
                yield b"caught"

        row = Row(Through(received)).feed(b"a")
        self.assertEqual(row.pulled(), [])
        gate.errback(KeyError("k"))
        self.assertEqual(row.pulled(), ["caught"])

    def test_is_closed_at_the_end(self) -> None:
        closed: list[str] = []

        async def received(data: memoryview) -> AsyncIterator[bytes]:
            try:
                yield b"a"
                yield b"b"
            finally:
                closed.append("closed")

        row = Row(Through(received)).feed(b"x")
        row.chain.pull()
        self.assertEqual((row.chain.stop(None), closed), ([], ["closed"]))


class BypassTests(SynchronousTestCase):
    """A filter that fails before its first output may be left out; what it took goes on in its place."""

    def broken(self, where: str, after: int = 0, size: int = 1) -> tuple[Row, Calls]:
        """One that takes C{after} pieces without a word and then fails in the call C{where}."""
        entry = Calls()
        count = 0

        def boom(*arguments: Any) -> Iterator[bytes]:
            nonlocal count
            count += 1
            if count > after:
                raise KeyError("k")
            return iter(())

        if where == "received":
            entry.function = boom
        else:
            entry.function = lambda data: ()
            setattr(entry, where, boom)
        return Row(entry, Calls(), on_failure=OnFailure.BYPASS), entry

    def test_whatever_it_took_passes(self) -> None:
        for where in ("started", "received", "ended"):
            row, entry = self.broken(where)
            self.assertEqual("".join(row.feed(b"a", b"b", b"c").end().pulled()), "abc", where)
            self.assertTrue(row.chain.finished)
            [problem] = row.chain.take_problems()
            self.assertEqual(str(problem), "filter 'filter0': KeyError: 'k'")
            self.assertEqual(entry.stops, [problem])
            self.assertEqual(row.chain.stop(None), [])
            self.assertEqual(len(entry.stops), 1, "stopped was called twice")

    def test_after_some_input(self) -> None:
        row, _ = self.broken("received", after=2)
        self.assertEqual(row.feed(b"a", b"b").pulled(), [])
        self.assertEqual(row.feed(b"c", b"d").pulled(), ["abc", "d"])

    def test_in_a_generator_before_it_yields(self) -> None:
        def received(data: memoryview) -> Iterator[bytes]:
            raise KeyError("k")
            yield b""

        row = Row(Through(received), on_failure=OnFailure.BYPASS).feed(b"a")
        self.assertEqual(row.pulled(), ["a"])

    def test_not_after_its_first_output(self) -> None:
        def received(data: memoryview) -> Iterator[bytes]:
            yield b"out"
            raise KeyError("k")

        row = Row(Through(received), on_failure=OnFailure.BYPASS).feed(b"a")
        self.assertEqual(text(row.chain.pull()), "out")
        self.assertRaises(FilterFailed, row.chain.pull)

    def test_not_when_it_took_too_much(self) -> None:
        row, _ = self.broken("received", after=1)
        row.feed(b"x" * BYPASS_BYTES)
        self.assertEqual(row.pulled(), [])
        self.assertRaises(FilterFailed, row.feed(b"y").pulled)

    def test_as_much_as_is_kept(self) -> None:
        row, _ = self.broken("received", after=1)
        row.feed(b"x" * (BYPASS_BYTES - 1))
        self.assertEqual(row.pulled(), [])
        self.assertEqual("".join(row.feed(b"y").pulled()), "x" * (BYPASS_BYTES - 1) + "y")

    def test_what_it_waits_for_fails(self) -> None:
        def received(data: memoryview) -> Iterator[Any]:
            yield fail(KeyError("k"))
            yield data

        row = Row(Through(received), on_failure=OnFailure.BYPASS).feed(b"a")
        self.assertEqual(row.pulled(), ["a"])

    def test_wrong_output(self) -> None:
        row = Row(Through(lambda data: [5]), on_failure=OnFailure.BYPASS).feed(b"a")
        self.assertEqual(row.pulled(), ["a"])

    def test_the_second_of_two(self) -> None:
        first, second = Calls(), Calls(lambda data: [5])
        row = Row(first, second, Calls(), on_failure=OnFailure.BYPASS).feed(b"a", b"b").end()
        self.assertEqual(row.pulled(), ["a", "b"])
        self.assertEqual((len(first.stops), len(second.stops)), (0, 1))

    def test_stopped_fails_as_well(self) -> None:
        class Worse(Through):
            def stopped(self, reason: BaseException | None) -> None:
                raise ValueError("v")

        row = Row(Worse(lambda data: [5]), on_failure=OnFailure.BYPASS).feed(b"a")
        self.assertEqual(row.pulled(), ["a"])
        self.assertEqual([type(each.problem) for each in row.chain.take_problems()], [str, ValueError])

    def test_a_call_that_will_not_be_closed(self) -> None:
        """It is told all the same, once."""

        class Stubborn(Through):
            class Output:
                def __iter__(self) -> Any:
                    return self

                def __next__(self) -> bytes:
                    raise KeyError("k")

                def close(self) -> None:
                    raise ValueError("v")

            def received(self, data: memoryview) -> Any:
                return self.Output()

        entry = Stubborn()
        row = Row(entry, on_failure=OnFailure.BYPASS).feed(b"a")
        self.assertEqual(row.pulled(), ["a"])
        row.chain.stop(None)
        self.assertEqual(len(entry.stops), 1)

    def test_not_unless_it_is_said(self) -> None:
        self.assertRaises(FilterFailed, Row(Through(lambda data: [5])).feed(b"a").pulled)


class BoundTests(SynchronousTestCase):
    def test_empty_pieces_for_ever(self) -> None:
        def received(data: memoryview) -> Iterator[bytes]:
            while True:
                yield b""

        error = self.assertRaises(FilterFailed, Row(Through(received)).feed(b"a").pulled)
        self.assertEqual(str(error), "filter 'filter0': received() yielded 1002 pieces without a byte in a row")

    def test_a_thousand_are_allowed_in_each_call(self) -> None:
        def received(data: memoryview) -> Iterator[bytes]:
            yield from [b""] * 1000
            yield data
            yield from [b""] * 1000

        self.assertEqual(Row(Through(received)).feed(b"a", b"b").pulled(), ["a", "b"])

    def test_and_one_for_each_byte(self) -> None:
        """A filter that deletes lines may say so line by line."""

        def received(data: memoryview) -> Iterator[bytes]:
            yield from [b""] * (1000 + len(data))
            yield b"x"

        self.assertEqual(Row(Through(received)).feed(b"a" * 10_000).pulled(), ["x"])

    def test_hardly_anything_for_ever(self) -> None:
        """Every now and then the chain asks for a pause, and goes on after it."""

        def received(data: memoryview) -> Iterator[bytes]:
            while True:
                yield from [b""] * 999
                yield b"x"

        chain = FilterChain([NamedFilter("f", Through(received))], lambda segment: None)
        chain.raw.append(Segment(b"a"))
        for _ in range(3):
            self.assertTrue(5 < len(list(iter(chain.pull, None))) < 20)
            self.assertIs(chain.suspension, PAUSE)
            chain.resume(None)

    def test_a_pause_loses_nothing(self) -> None:
        sink: list[bytes] = []
        pieces = [b"%d." % number for number in range(25_000)]
        behind = Through(lambda data: sink.append(bytes(data)) or ())  # type: ignore[func-returns-value]
        row = Row(Through(lambda data: iter(pieces)), behind).feed(b"a")
        self.assertEqual((row.pulled(), row.waits), ([], 2))
        self.assertEqual(sink, pieces)

    def test_the_timeout_is_that_of_the_filter_that_waits(self) -> None:
        entries = [NamedFilter("a", Through()), NamedFilter("b", Through(lambda data: [Deferred()]), timeout=7.0)]
        chain = FilterChain(entries, lambda segment: None)
        chain.raw.append(Segment(b"x"))
        self.assertIsNone(chain.pull())
        self.assertEqual((chain.waiting_filter, chain.timeout), ("b", 7.0))
