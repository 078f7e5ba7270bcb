"""Filters in a row, pulled: order, laziness, suspension, odd output, errors, the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from tests.core.script import Calls, Later, Through, text
from twisted_pipe.core.buffers import Segment, Slab
from twisted_pipe.core.chain import FilterChain
from twisted_pipe.errors import FilterFailed
from twisted_pipe.interfaces import NamedFilter


class Row:
    """
    A chain, fed and pulled.

    @ivar released: the input that came back, in order.
    """

    def __init__(self, *filters: Any) -> None:
        self.released: list[str] = []
        self.chain = FilterChain([NamedFilter(f"filter{n}", entry) for n, entry in enumerate(filters)], self._release)

    def _release(self, segment: Segment) -> None:
        self.released.append(text(segment.data))

    def feed(self, *pieces: bytes) -> Row:
        self.chain.raw.extend(Segment(piece) for piece in pieces)
        return self

    def end(self) -> Row:
        self.chain.ending = True
        return self

    def pull(self) -> str | None:
        """One piece."""
        item = self.chain.pull()
        return None if item is None else text(item)

    def pulled(self) -> list[str]:
        """All that is there now."""
        pieces = []
        while (piece := self.pull()) is not None:
            pieces.append(piece)
        return pieces


def cut(size: int) -> Callable[[memoryview], Iterator[memoryview]]:
    """Slices of C{size} bytes."""
    return lambda data: (data[at : at + size] for at in range(0, len(data), size))


class OrderTests(SynchronousTestCase):
    def test_calls_come_in_order(self) -> None:
        entry = Calls()
        row = Row(entry).feed(b"ab", b"cd").end()
        self.assertEqual(row.pulled(), ["ab", "cd"])
        row.chain.stop(None)
        self.assertEqual(entry.calls, ["started", "received ab", "received cd", "ended", "stopped None"])

    def test_what_each_call_puts_out_is_in_its_place(self) -> None:
        row = Row(Through(first=[b"<"], last=[b">", b"."])).feed(b"ab").end()
        self.assertEqual(row.pulled(), ["<", "ab", ">", "."])

    def test_started_before_there_is_input(self) -> None:
        row = Row(Through(first=[b"<"]))
        self.assertEqual((row.pulled(), row.feed(b"a").pulled()), (["<"], ["a"]))

    def test_an_empty_stream_is_started_and_ended(self) -> None:
        entry = Calls(first=[b"<"], last=[b">"])
        self.assertEqual(Row(entry).end().pulled(), ["<", ">"])
        self.assertEqual(entry.calls, ["started", "ended"])

    def test_ended_once(self) -> None:
        entry = Calls(last=[b">"])
        row = Row(entry).end()
        self.assertEqual([row.pulled(), row.pulled(), row.pulled()], [[">"], [], []])
        self.assertEqual(entry.calls, ["started", "ended"])

    def test_ended_only_when_all_input_is_used_up(self) -> None:
        entry = Calls(cut(1), last=[b">"])
        row = Row(entry).feed(b"ab", b"c").end()
        self.assertEqual(row.pulled(), ["a", "b", "c", ">"])
        self.assertEqual(entry.calls, ["started", "received ab", "received c", "ended"])

    def test_not_ended_unless_the_stream_is(self) -> None:
        entry = Calls(last=[b">"])
        row = Row(entry).feed(b"ab")
        self.assertEqual((row.pulled(), row.chain.finished), (["ab"], False))
        self.assertEqual((row.end().pulled(), row.chain.finished), ([">"], True))

    def test_three_filters_start_and_end_in_turn(self) -> None:
        """Output of an earlier one, that of its end included, goes through the later ones before they end."""
        calls: list[str] = []
        row = Row(
            Calls(first=[b"("], last=[b")"], calls=calls, name="A"),
            Calls(first=[b"["], last=[b"]"], calls=calls, name="B"),
            Calls(first=[b"{"], last=[b"}"], calls=calls, name="C"),
        )
        row.feed(b"x").end()
        self.assertEqual("".join(row.pulled()), "{[(x)]}")
        self.assertEqual(
            calls,
            [
                *("C started", "B started", "C received [", "A started", "B received (", "C received ("),
                *("A received x", "B received x", "C received x", "A ended", "B received )", "C received )"),
                *("B ended", "C received ]", "C ended"),
            ],
        )
        self.assertTrue(row.chain.finished)

    def test_no_call_before_the_output_of_the_one_before_is_used_up(self) -> None:
        entry = Calls(cut(1))
        row = Row(entry).feed(b"ab", b"cd")
        self.assertEqual((row.pull(), row.pull()), ("a", "b"))
        self.assertEqual(entry.calls, ["started", "received ab"])
        self.assertEqual((row.pull(), entry.calls[-1]), ("c", "received cd"))

    def test_more_input_than_before(self) -> None:
        row = Row(Through(cut(2)))
        self.assertEqual([row.feed(b"abc").pulled(), row.pulled(), row.feed(b"d").pulled()], [["ab", "c"], [], ["d"]])


class LazinessTests(SynchronousTestCase):
    def test_a_bomb_stops_in_the_middle(self) -> None:
        """A generator is advanced once for each piece that somebody wants, through any number of filters."""
        advanced: list[int] = []

        def explode(data: memoryview) -> Iterator[bytes]:
            for number in range(10**9):
                advanced.append(number)
                yield b"boom"

        row = Row(Through(explode), Through(), Through())
        row.feed(b"x")
        self.assertEqual([row.pull() for _ in range(3)], ["boom"] * 3)
        self.assertEqual(advanced, [0, 1, 2])
        self.assertEqual(row.chain.stop(None), [])

    def test_nothing_is_begun_until_it_is_pulled(self) -> None:
        entry = Calls()
        Row(entry).feed(b"ab")
        self.assertEqual(entry.calls, [])

    def test_input_is_released_when_it_is_used_up_and_not_before(self) -> None:
        row = Row(Through(cut(1))).feed(b"ab", b"cd")
        told = [(row.pull(), list(row.released)) for _ in range(5)]
        self.assertEqual(told, [("a", []), ("b", []), ("c", ["ab"]), ("d", ["ab"]), (None, ["ab", "cd"])])

    def test_input_is_held_while_a_later_filter_works_on_it(self) -> None:
        row = Row(Through(), Through(cut(1))).feed(b"ab")
        self.assertEqual((row.pull(), row.released), ("a", []))
        self.assertEqual((row.pulled(), row.released), (["b"], ["ab"]))

    def test_the_slab_under_work_is_known_and_marked(self) -> None:
        slab = Slab(4)
        row = Row(Through(cut(1)))
        self.assertEqual((row.chain.lent, slab.lent), (None, False))
        row.chain.raw.append(Segment(slab.view[:2], slab, 2))
        row.pull()
        self.assertEqual((row.chain.lent, slab.lent), (slab, True))
        row.pulled()
        self.assertIsNone(row.chain.lent)

    def test_what_is_lent_is_read_only(self) -> None:
        slab = Slab(4)
        seen: list[bool] = []

        def look(data: memoryview) -> list[bytearray]:
            seen.append(data.readonly)
            return [bytearray(data)]

        row = Row(Through(look), Through(look))
        row.chain.raw.append(Segment(slab.view[:2], slab, 2))
        row.pulled()
        self.assertEqual(seen, [True, True])

    def test_idle(self) -> None:
        row = Row(Through(cut(1)))
        told = [row.chain.idle]
        row.feed(b"ab")
        for _ in range(3):
            told.append(row.chain.idle)
            row.pull()
        self.assertEqual([*told, row.chain.idle], [True, False, False, False, True])


class OutputTests(SynchronousTestCase):
    """What filters may and may not put out."""

    def output(self, *items: Any) -> list[str]:
        return Row(Through(lambda data: iter(items))).feed(b"x").pulled()

    def refused(self, function: Callable[[memoryview], Any]) -> str:
        row = Row(Through(), Through(function)).feed(b"x")
        return str(self.assertRaises(FilterFailed, row.pulled))

    def test_bytes_like_objects(self) -> None:
        self.assertEqual(self.output(b"a", bytearray(b"b"), memoryview(b"c")), ["a", "b", "c"])

    def test_empty_ones_are_dropped(self) -> None:
        self.assertEqual(self.output(b"", b"a", bytearray(), memoryview(b""), b"b", b""), ["a", "b"])

    def test_empty_ones_do_not_reach_the_next_filter(self) -> None:
        entry = Calls()
        Row(Through(lambda data: [b"", data, b""]), entry).feed(b"ab").pulled()
        self.assertEqual(entry.calls, ["started", "received ab"])

    def test_any_iterable_will_do(self) -> None:
        for iterable in ([b"a", b"b"], (b"a", b"b"), iter([b"a", b"b"]), {b"a": 1, b"b": 2}, map(bytes, [b"a", b"b"])):
            self.assertEqual(Row(Through(lambda data, it=iterable: it)).feed(b"x").pulled(), ["a", "b"])

    def test_nothing_at_all(self) -> None:
        entry = Through(lambda data: ())
        row = Row(entry).feed(b"ab").end()
        self.assertEqual((row.pulled(), row.chain.finished, row.released), ([], True, ["ab"]))

    def test_a_generator_that_returns_a_value(self) -> None:
        def returns(data: memoryview) -> Iterator[bytes]:
            yield b"a"
            return b"lost"

        self.assertEqual(Row(Through(returns)).feed(b"x").pulled(), ["a"])

    def test_what_is_no_bytes_is_refused(self) -> None:
        for item, name in (("text", "str"), (None, "NoneType"), (7, "int"), ([b"a"], "list"), (1.5, "float")):
            message = self.refused(lambda data, item=item: [item])
            self.assertEqual(
                message,
                f"filter 'filter1': received() yielded {name}; bytes, a slice of the input or a Deferred is expected",
            )

    def test_a_generator_inside_a_generator_is_refused(self) -> None:
        self.assertIn("yielded generator", self.refused(lambda data: [cut(1)(data)]))

    def test_bytes_returned_are_refused(self) -> None:
        """They are an iterable, of numbers."""
        for result in (b"ab", bytearray(b"ab"), memoryview(b"ab"), "ab", b"", ""):
            message = self.refused(lambda data, result=result: result)
            self.assertIn(f"received() returned {type(result).__name__}; an iterable of bytes is expected", message)

    def test_what_is_no_iterable_is_refused(self) -> None:
        self.assertIn("'NoneType' object is not iterable", self.refused(lambda data: None))
        self.assertIn("'int' object is not iterable", self.refused(lambda data: 5))

    def test_a_deferred_returned_is_refused(self) -> None:
        """It is an iterable, of itself: what it fires with would be lost without a word."""
        self.assertIn("received() returned Deferred", self.refused(lambda data: Deferred()))

    def test_a_fired_deferred_returned_is_refused(self) -> None:
        self.assertIn("received() returned Deferred", self.refused(lambda data: succeed([b"lost"])))

    def test_a_released_view_is_refused(self) -> None:
        def released(data: memoryview) -> list[memoryview]:
            view = data[:]
            view.release()
            return [view]

        self.assertIn("released", self.refused(released))

    def test_a_released_view_is_refused_between_filters(self) -> None:
        def released(data: memoryview) -> list[memoryview]:
            data.release()
            return [data]

        row = Row(Through(released), Through()).feed(b"x")
        self.assertIn("filter 'filter0'", str(self.assertRaises(FilterFailed, row.pulled)))

    def test_a_view_without_dimensions_is_bytes_or_refused(self) -> None:
        """Its length cannot be asked for, since Python 3.12."""
        row = Row(Through(lambda data: [memoryview(b"abcd").cast("I", shape=[])])).feed(b"x")
        try:
            self.assertEqual(row.pulled(), ["abcd"])
        except FilterFailed as error:
            self.assertIn("filter 'filter0'", str(error))

    def test_the_next_filter_gets_bytes_one_by_one_and_in_one_piece(self) -> None:
        """Whatever the filter before it makes of its views: items of four bytes, rows and columns, every second."""

        def odd(data: memoryview) -> list[memoryview]:
            return [data.cast("I"), data.cast("B", shape=[2, 4]), data[::2], data[::-1]]

        seen: list[tuple[Any, ...]] = []

        def look(data: memoryview) -> list[memoryview]:
            seen.append((bytes(data), data.format, data.shape, data.c_contiguous))
            return [data]

        row = Row(Through(odd), Through(look)).feed(b"abcdefgh")
        self.assertEqual(row.pulled(), ["abcdefgh", "abcdefgh", "aceg", "hgfedcba"])
        self.assertEqual(
            seen,
            [
                (b"abcdefgh", "B", (8,), True),
                (b"abcdefgh", "B", (8,), True),
                (b"aceg", "B", (4,), True),
                (b"hgfedcba", "B", (8,), True),
            ],
        )


class SuspensionTests(SynchronousTestCase):
    def test_a_deferred_suspends_the_chain(self) -> None:
        waits: Deferred[None] = Deferred()
        entry = Calls(lambda data: iter([waits, b"a"]))
        row = Row(entry).feed(b"x", b"y")
        self.assertEqual((row.pull(), row.pull(), row.chain.suspension), (None, None, waits))
        self.assertEqual((row.released, row.chain.idle, entry.calls), ([], False, ["started", "received x"]))

    def test_so_does_what_is_like_one(self) -> None:
        class Awaitable:
            def __await__(self) -> Iterator[Any]:
                raise AssertionError("the chain awaits nothing itself")

        async def coroutine() -> None: ...

        for waits in (Later(), Awaitable(), running := coroutine()):
            row = Row(Through(lambda data, waits=waits: [waits])).feed(b"x")
            self.assertEqual((row.pull(), row.chain.suspension), (None, waits))
        running.close()

    def test_a_fired_deferred_suspends_too(self) -> None:
        """The driver subscribes, and is called at once."""
        waits = succeed(b"a")
        row = Row(Through(lambda data: [waits])).feed(b"x")
        self.assertEqual((row.pull(), row.chain.suspension), (None, waits))

    def test_a_generator_is_sent_the_result(self) -> None:
        def asks(data: memoryview) -> Iterator[Any]:
            answer = yield Later()
            yield b"got " + answer

        row = Row(Through(asks)).feed(b"x")
        self.assertIsNone(row.pull())
        row.chain.resume(b"42")
        self.assertEqual((row.pulled(), row.chain.suspension, row.released), (["got 42"], None, ["x"]))

    def test_a_generator_is_sent_whatever_the_result_is(self) -> None:
        for result in (None, 7, "text", b"", [b"a"]):
            answers: list[Any] = []

            def asks(data: memoryview, answers: list[Any] = answers) -> Iterator[Any]:
                answers.append((yield Later()))

            row = Row(Through(asks)).feed(b"x")
            row.pull()
            row.chain.resume(result)
            self.assertEqual((row.pulled(), answers), ([], [result]))

    def test_in_a_list_bytes_take_the_place_of_the_deferred(self) -> None:
        for result in (b"ab", bytearray(b"ab"), memoryview(b"ab")):
            row = Row(Through(lambda data: [b"<", Later(), b">"])).feed(b"x")
            self.assertEqual(row.pulled(), ["<"])
            row.chain.resume(result)
            self.assertEqual(row.pulled(), ["ab", ">"])

    def test_in_a_list_any_other_result_is_nothing(self) -> None:
        for result in (None, 7, "text", b"", [b"a"]):
            row = Row(Through(lambda data: [b"<", Later(), b">"])).feed(b"x")
            row.pulled()
            row.chain.resume(result)
            self.assertEqual(row.pulled(), [">"])

    def test_a_result_is_used_once(self) -> None:
        row = Row(Through(lambda data: [Later(), Later(), b">"])).feed(b"x")
        row.pulled()
        row.chain.resume(b"1")
        self.assertEqual(row.pulled(), ["1"])
        self.assertIsInstance(row.chain.suspension, Later)
        row.chain.resume(None)
        self.assertEqual(row.pulled(), [">"])

    def test_while_starting_and_ending(self) -> None:
        entry = Calls(first=[Later(), b"<"], last=[Later(), b">"])
        row = Row(entry).feed(b"x").end()
        self.assertEqual(row.pulled(), [])
        row.chain.resume(None)
        self.assertEqual(row.pulled(), ["<", "x"])
        self.assertEqual((row.chain.suspension is None, row.chain.finished), (False, False))
        row.chain.resume(None)
        self.assertEqual((row.pulled(), row.chain.finished), ([">"], True))

    def suspended(self, where: int) -> Row:
        """Three filters, one of which has just put out "<" and waits."""
        filters = [Through() for _ in range(3)]
        filters[where] = Through(lambda data: iter([b"<", Later(), b">"]))
        row = Row(*filters).feed(b"x", b"y")
        self.assertEqual(row.pulled(), ["<"])
        self.assertEqual(row.chain.waiting_filter, f"filter{where}")
        return row

    def test_the_result_goes_to_the_filter_that_waited(self) -> None:
        for where in range(3):
            row = self.suspended(where)
            row.chain.resume(b"=")
            self.assertEqual(row.pulled(), ["=", ">", "<"], where)
            row.chain.resume(b"=")
            self.assertEqual((row.pulled(), row.released), (["=", ">"], ["x", "y"]), where)

    def test_while_the_last_of_three_starts(self) -> None:
        row = Row(Through(first=[b"a"]), Through(first=[b"b"]), Through(first=[Later(), b"c"])).feed(b"x")
        self.assertEqual((row.pulled(), row.chain.waiting_filter), ([], "filter2"))
        row.chain.resume(None)
        self.assertEqual(row.pulled(), ["c", "b", "a", "x"])

    def test_while_the_second_of_three_ends(self) -> None:
        row = Row(Through(), Through(last=[Later(), b"b"]), Through(last=[b"c"])).end()
        self.assertEqual((row.pulled(), row.chain.finished), ([], False))
        row.chain.resume(b"!")
        self.assertEqual((row.pulled(), row.chain.finished), (["!", "b", "c"], True))

    def test_a_failure_is_raised_in_the_generator(self) -> None:
        def recovers(data: memoryview) -> Iterator[Any]:
            try:
                yield Later()
            except LookupError as error:
                yield f"caught {error.args[0]}".encode()

        row = Row(Through(recovers)).feed(b"x")
        row.pull()
        row.chain.throw(LookupError("nobody"))
        self.assertEqual((row.pulled(), row.chain.suspension, row.released), (["caught nobody"], None, ["x"]))

    def test_a_generator_that_ends_on_a_failure(self) -> None:
        def gives_up(data: memoryview) -> Iterator[Any]:
            try:
                yield Later()
            except LookupError:
                return

        row = Row(Through(gives_up, last=[b">"])).feed(b"x").end()
        row.pull()
        row.chain.throw(LookupError())
        self.assertEqual(row.pulled(), [">"])

    def test_a_failure_that_is_not_caught(self) -> None:
        problem = LookupError("nobody")
        for function in (lambda data: iter([Later(), b"a"]), lambda data: (item for item in [Later(), b"a"])):
            row = Row(Through(), Through(function)).feed(b"x")
            row.pull()
            row.chain.throw(problem)
            error = self.assertRaises(FilterFailed, row.pull)
            self.assertEqual((str(error), error.__cause__), ("filter 'filter1': LookupError: nobody", problem))

    def test_a_failure_that_looks_like_the_end_of_an_iterator(self) -> None:
        """It is a failure all the same: nothing after it may come out."""
        for function in (lambda data: iter([Later(), b"a"]), lambda data: (item for item in [Later(), b"a"])):
            row = Row(Through(function)).feed(b"x")
            row.pull()
            row.chain.throw(StopIteration())
            self.assertRaises(FilterFailed, row.pulled)

    def test_a_failure_that_is_no_exception(self) -> None:
        """asyncio's CancelledError is none: it must not fly past the pipe into the reactor."""
        import asyncio

        for function in (lambda data: iter([Later(), b"a"]), lambda data: (item for item in [Later(), b"a"])):
            row = Row(Through(function)).feed(b"x")
            row.pull()
            row.chain.throw(asyncio.CancelledError())
            try:
                row.pulled()
            except BaseException as error:
                self.assertIsInstance(error, FilterFailed)
            else:
                self.fail("the failure was lost")


class ErrorTests(SynchronousTestCase):
    """What a filter raises becomes C{FilterFailed}, with its name and its cause."""

    def failure(self, entry: Any) -> FilterFailed:
        row = Row(Through(), entry, Through()).feed(b"x").end()
        return self.assertRaises(FilterFailed, row.pulled)

    def test_in_a_call(self) -> None:
        problem = ValueError("odd")

        def fails(data: memoryview) -> Any:
            raise problem

        error = self.failure(Through(fails))
        self.assertEqual((error.name, error.problem, error.__cause__), ("filter1", problem, problem))
        self.assertEqual(str(error), "filter 'filter1': ValueError: odd")

    def test_in_a_generator(self) -> None:
        problem = ValueError("odd")

        def fails(data: memoryview) -> Iterator[Any]:
            yield data
            raise problem

        self.assertIs(self.failure(Through(fails)).__cause__, problem)

    def test_in_started_and_ended(self) -> None:
        def fails() -> Iterator[Any]:
            yield b"a"
            raise ValueError("odd")

        self.assertEqual(str(self.failure(Through(first=fails()))), "filter 'filter1': ValueError: odd")
        self.assertEqual(str(self.failure(Through(last=fails()))), "filter 'filter1': ValueError: odd")

    def test_in_the_iterator(self) -> None:
        class Fails:
            def __iter__(self) -> Any:
                raise ValueError("odd")

        self.assertEqual(str(self.failure(Through(lambda data: Fails()))), "filter 'filter1': ValueError: odd")

    def test_stop_iteration_in_a_generator_is_an_error(self) -> None:
        def fails(data: memoryview) -> Iterator[Any]:
            yield next(iter(()))

        self.assertIn("RuntimeError", str(self.failure(Through(fails))))

    def test_stop_iteration_in_a_call_is_an_error(self) -> None:
        def fails(data: memoryview) -> Any:
            return [next(iter(()))]

        self.assertIn("StopIteration", str(self.failure(Through(fails))))

    def test_output_before_the_error_came_out(self) -> None:
        def fails(data: memoryview) -> Iterator[Any]:
            yield b"a"
            raise ValueError("odd")

        row = Row(Through(fails)).feed(b"x")
        self.assertEqual(row.pull(), "a")
        self.assertRaises(FilterFailed, row.pull)

    def test_a_filter_without_its_methods(self) -> None:
        self.assertIn("AttributeError", str(self.failure(object())))


class StopTests(SynchronousTestCase):
    """The end, in every state: every filter is told once, all input comes back."""

    def stop(self, row: Row, reason: BaseException | None = None) -> list[str]:
        return [str(problem) for problem in row.chain.stop(reason)]

    def test_before_anything(self) -> None:
        entry = Calls()
        row = Row(entry)
        self.assertEqual((self.stop(row), entry.calls), ([], ["stopped None"]))

    def test_with_input_that_was_never_pulled(self) -> None:
        row = Row(Through()).feed(b"a", b"b")
        self.stop(row)
        self.assertEqual((row.released, row.chain.idle), (["a", "b"], True))

    def test_in_the_middle_of_a_generator(self) -> None:
        closed: list[str] = []

        def generate(data: memoryview) -> Iterator[Any]:
            try:
                yield from cut(1)(data)
            finally:
                closed.append("closed")

        row = Row(Through(generate), Through(cut(1))).feed(b"ab", b"c")
        row.pull()
        self.stop(row)
        self.assertEqual((row.released, closed, row.chain.idle), (["ab", "c"], ["closed"], True))

    def test_while_suspended(self) -> None:
        entry = Through(lambda data: [Later()])
        row = Row(entry).feed(b"a", b"b")
        row.pull()
        reason = ValueError("gone")
        self.assertEqual((self.stop(row, reason), entry.stops, row.released), ([], [reason], ["a", "b"]))
        self.assertIsNone(row.chain.suspension)

    def test_after_an_error(self) -> None:
        entry = Through(lambda data: None)
        row = Row(entry).feed(b"a", b"b")
        error = self.assertRaises(FilterFailed, row.pull)
        self.stop(row, error)
        self.assertEqual((entry.stops, row.released), ([error], ["a", "b"]))

    def test_after_the_clean_end(self) -> None:
        entry = Calls()
        row = Row(entry).feed(b"a").end()
        row.pulled()
        self.stop(row)
        self.assertEqual((entry.calls[-1], row.released), ("stopped None", ["a"]))

    def test_twice(self) -> None:
        entry = Through()
        row = Row(entry).feed(b"a")
        self.stop(row)
        self.assertEqual((self.stop(row, ValueError()), entry.stops, row.released), ([], [None], ["a"]))

    def test_each_filter_is_told_even_if_another_raises(self) -> None:
        class Raises(Through):
            def stopped(self, reason: BaseException | None) -> None:
                super().stopped(reason)
                raise ValueError("cannot stop")

        filters = [Raises(), Through(), Raises()]
        row = Row(*filters).feed(b"a")
        self.assertEqual(
            self.stop(row), ["filter 'filter2': ValueError: cannot stop", "filter 'filter0': ValueError: cannot stop"]
        )
        self.assertEqual(([entry.stops for entry in filters], row.released), ([[None]] * 3, ["a"]))

    def test_a_generator_that_raises_when_closed(self) -> None:
        def generate(data: memoryview) -> Iterator[Any]:
            try:
                yield data
            finally:
                raise ValueError("cannot close")

        entry = Through(generate)
        row = Row(entry).feed(b"a")
        row.pull()
        self.assertEqual((self.stop(row), entry.stops), (["filter 'filter0': ValueError: cannot close"], [None]))

    def test_a_generator_that_will_not_close(self) -> None:
        def generate(data: memoryview) -> Iterator[Any]:
            try:
                yield data
            except GeneratorExit:
                yield b"more"

        entry = Through(generate)
        row = Row(entry).feed(b"a")
        row.pull()
        self.assertIn("ignored GeneratorExit", self.stop(row)[0])
        self.assertEqual((entry.stops, row.released), ([None], ["a"]))

    def test_an_iterator_without_close(self) -> None:
        row = Row(Through(lambda data: iter([b"a", b"b"]))).feed(b"a")
        row.pull()
        self.assertEqual((self.stop(row), row.released), ([], ["a"]))
