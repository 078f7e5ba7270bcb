"""The test kit for authors of filters: what it lets through, what it catches, and how it says so."""

from __future__ import annotations

import re
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import FilterFailed, PipeFinished, UpstreamFailed
from twisted_pipe.filters.base import FilterPlugin, PipeFilter
from twisted_pipe.filters.discovery import parse_filter_spec
from twisted_pipe.filters.throttle import Throttle
from twisted_pipe.filters.upper import Upper
from twisted_pipe.interfaces import Direction, FilterContext, FilterGenerator, FilterOutput, OnFailure
from twisted_pipe.testing import FilterHarness, FilterReport, check_filter, splits
from twisted_pipe.testing.cuts import as_read, many_cuts

ADDRESS = re.compile(r" at 0x\w+")


class Doubled(PipeFilter):
    """Puts out each byte twice, a byte at a time."""

    def received(self, data: memoryview) -> FilterGenerator:
        for byte in data:
            yield bytes([byte, byte])


class Framed(PipeFilter):
    """Puts something before and after the stream."""

    def started(self) -> FilterOutput:
        return (b"<",)

    def ended(self) -> FilterOutput:
        return (b">",)


class Asking(PipeFilter):
    """
    Waits for an answer to each piece.

    @ivar asked: the questions.
    """

    def __init__(self, context: FilterContext) -> None:
        super().__init__(context)
        self.asked: list[Deferred[bytes]] = []

    def received(self, data: memoryview) -> FilterGenerator:
        self.asked.append(Deferred())
        try:
            yield (yield self.asked[-1])
        except KeyError as error:
            yield repr(error).encode()
        yield bytes(data)


class Failing(PipeFilter):
    """Puts something out and fails."""

    def received(self, data: memoryview) -> FilterGenerator:
        yield b"some"
        raise KeyError("k")


class FeedTests(SynchronousTestCase):
    def test_short_way(self) -> None:
        self.assertEqual(FilterHarness(Upper).run(b"ab", b"", b"c"), b"ABC")
        self.assertEqual(FilterHarness(Framed).run(), b"<>")

    def test_what_a_filter_may_be_given_as(self) -> None:
        plugin = FilterPlugin("upper", "", "twisted_pipe.filters.upper:Upper")
        for entry in (
            Upper,
            plugin,
            plugin.configure({}),
            "upper",
            lambda context: Upper(context),
            Upper(FilterContext()),
        ):
            self.assertEqual(FilterHarness(entry).run(b"a"), b"A", entry)
        self.assertRaises(TypeError, FilterHarness)

    def test_several_in_a_row(self) -> None:
        harness = FilterHarness(Framed, Doubled, "upper")
        self.assertEqual(harness.run(b"a"), b"<<AA>>")
        self.assertEqual(harness.transcript[-3:], [f"{name} stopped None" for name in ("upper", "Doubled", "Framed")])
        self.assertEqual([type(each) for each in harness.filters], [Framed, Doubled, Upper])

    def test_output_comes_at_once(self) -> None:
        harness = FilterHarness(Framed)
        self.assertEqual(harness.feed(b"ab").output, b"<ab")
        self.assertEqual((harness.take(2), harness.take(), harness.take(), harness.output), (b"<a", b"b", b"", b"<ab"))
        self.assertFalse(harness.finished)
        self.assertEqual((harness.end().take(), harness.finished), (b">", True))

    def test_each_feed_is_one_call(self) -> None:
        sizes: list[int] = []

        class Sizes(PipeFilter):
            def received(self, data: memoryview) -> FilterOutput:
                sizes.append(len(data))
                return ()

        FilterHarness(Sizes).run(b"a", bytes(100_000))
        self.assertEqual(sizes, [1, 100_000])

    def test_context(self) -> None:
        harness = FilterHarness(Upper, context=FilterContext(direction=Direction.REQUEST))
        [built] = harness.filters
        self.assertEqual((built.context.direction, built.context.clock), (Direction.REQUEST, harness.clock))
        clock = Clock()
        self.assertIs(FilterHarness(Upper, clock=clock).clock, clock)
        self.assertIs(FilterHarness(Upper(FilterContext(clock=clock))).clock, clock)

    def test_transcript(self) -> None:
        harness = FilterHarness(Doubled)
        harness.run(b"a", bytes(50))
        self.assertEqual(
            harness.transcript[:4],
            ["feed 1 bytes b'a'", "out 2 bytes b'aa'", f"feed 50 bytes {bytes(40)!r}…", r"out 2 bytes b'\x00\x00'"],
        )
        self.assertEqual(harness.transcript[-3:], ["end", "ended", "stopped None"])
        self.assertEqual(repr(harness), "<FilterHarness Doubled: stopped None>")

    def test_nothing_after_the_end(self) -> None:
        harness = FilterHarness(Upper).end()
        self.assertRaises(PipeFinished, harness.feed, b"a")
        self.assertRaises(PipeFinished, harness.end)
        self.assertEqual((harness.stop().stop().stops, harness.pull()), ([None], None))


class PullTests(SynchronousTestCase):
    def test_stalled(self) -> None:
        harness = FilterHarness(Doubled).stall().feed(b"abc")
        self.assertEqual((harness.output, harness.take()), (b"", b""))
        self.assertEqual((harness.pull(), harness.output), (b"aa", b"aa"))
        self.assertEqual((harness.take(), harness.resume().take(), harness.pull()), (b"aa", b"bbcc", None))

    def test_pulled_no_further_than_there_is_room(self) -> None:
        harness = FilterHarness(Doubled, room=4).feed(b"abcdef")
        self.assertEqual(harness.output, b"aabb")
        self.assertEqual((harness.take(5), harness.output), (b"aabbc", b"aabbcc"))

    def test_a_list_is_not_lazy(self) -> None:
        class Listed(PipeFilter):
            def received(self, data: memoryview) -> FilterOutput:
                return [data, b"!"]

        lives = [FilterHarness(each) for each in (Listed, Doubled, Upper)]
        for life in lives:
            life.run(b"abc")
        self.assertEqual([(life.lazy, life.longest) for life in lives], [(False, 3), (True, 2), (True, 3)])

    def test_no_end_of_output(self) -> None:
        class Endless(PipeFilter):
            def received(self, data: memoryview) -> FilterGenerator:
                while True:
                    yield bytes(1 << 20)

        harness = FilterHarness(Endless).feed(b"a")
        self.assertEqual(len(harness.take(1 << 21)), 1 << 21)
        self.assertIn("no end of its output", str(self.assertRaises(AssertionError, harness.take)))
        self.assertEqual([str(reason) for reason in harness.stops], ["too much output"])


class FailureTests(SynchronousTestCase):
    def test_is_raised_when_the_filter_has_been_told(self) -> None:
        harness = FilterHarness(Failing)
        failure = self.assertRaises(FilterFailed, harness.feed, b"a")
        self.assertEqual(str(failure), "filter 'Failing': KeyError: 'k'")
        self.assertEqual((harness.failure, harness.stops), (failure, [failure]))
        self.assertEqual(harness.take(), b"some")
        self.assertRaises(PipeFinished, harness.feed, b"b")
        self.assertEqual(harness.stop().stops, [failure])
        if sys.version_info >= (3, 11):
            [note] = failure.__notes__
            self.assertIn("\n  feed 1 bytes b'a'\n  out 4 bytes b'some'\n  failed: filter 'Failing': KeyError", note)

    def test_bypassed(self) -> None:
        class Broken(PipeFilter):
            def received(self, data: memoryview) -> FilterOutput:
                raise KeyError("k")

        harness = FilterHarness(Broken, on_failure=OnFailure.BYPASS)
        self.assertEqual(harness.run(b"a", b"b"), b"ab")
        self.assertEqual([str(each) for each in harness.bypassed], ["filter 'Broken': KeyError: 'k'"])
        self.assertEqual(len(harness.stops), 1)
        self.assertEqual(FilterHarness("upper:on_failure=bypass").run(b"a"), b"A")

    def test_reason(self) -> None:
        harness, reset = FilterHarness(Upper), UpstreamFailed("reset")
        self.assertEqual(harness.feed(b"a").stop(reset).stops, [reset])
        [reason] = FilterHarness(Upper).stop().stops
        self.assertIsInstance(reason, PipeFinished)

    def test_raises_when_it_is_stopped(self) -> None:
        class Hasty(PipeFilter):
            def stopped(self, reason: BaseException | None) -> None:
                raise ValueError("v")

        error = self.assertRaises(AssertionError, FilterHarness(Hasty).run)
        self.assertIn("Hasty: it raised when it was stopped: filter 'Hasty': ValueError: v", str(error))
        self.assertIn("\ntranscript:\n  end\n  ended\n  stopped None", str(error))


class MemoryTests(SynchronousTestCase):
    def keeper(self, keeps: Any) -> type[PipeFilter]:
        """One that keeps what it was lent, and puts it out at the end."""

        class Keeper(PipeFilter):
            def started(self) -> FilterOutput:
                self.kept: list[Any] = []
                return ()

            def received(self, data: memoryview) -> FilterOutput:
                self.kept.append(keeps(data))
                return ()

            def ended(self) -> FilterOutput:
                return self.kept

        return Keeper

    def test_a_copy_may_be_kept(self) -> None:
        self.assertEqual(FilterHarness(self.keeper(bytes)).run(b"ab", b"c"), b"abc")

    def test_a_view_may_not(self) -> None:
        for keeps in (memoryview, lambda data: data[1:]):
            harness = FilterHarness(self.keeper(keeps))
            error = self.assertRaises(AssertionError, harness.feed, b"ab")
            self.assertIn("Keeper: a view of the input, 2 bytes b'ab', was kept", str(error))
            self.assertEqual(harness.end().take(), b"\xdd" * len(keeps(memoryview(b"ab"))), "it was not overwritten")

    def test_a_view_that_a_second_filter_keeps(self) -> None:
        harness = FilterHarness("pass", self.keeper(memoryview))
        self.assertIn("was kept", str(self.assertRaises(AssertionError, harness.feed, b"ab")))

    def test_may_be_held_as_long_as_the_call_lasts(self) -> None:
        harness = FilterHarness(Asking).feed(b"ab")
        harness.filters[0].asked[0].callback(b"?")
        self.assertEqual(harness.take(), b"?ab")

    def test_not_kept_by_an_error_that_was_dealt_with(self) -> None:
        harness, error = FilterHarness(Asking), KeyError("k")
        for number in range(2):
            harness.feed(b"ab").filters[0].asked[number].errback(error)
            self.assertEqual(harness.take(), b"KeyError('k')ab")

    def test_not_kept_by_a_failure(self) -> None:
        for on_failure in OnFailure:
            harness = FilterHarness(Failing, on_failure=on_failure)
            self.assertRaises(FilterFailed, harness.feed, b"ab")

    def test_modified(self) -> None:
        class Modifies(PipeFilter):
            def received(self, data: memoryview) -> FilterOutput:
                data.obj[0] = 0  # type: ignore[index]
                return ()

        error = self.assertRaises(AssertionError, FilterHarness(Modifies).feed, b"ab")
        self.assertIn(r"the input was modified: 2 bytes b'ab' were lent, 2 bytes b'\x00b' came back", str(error))


class WaitTests(SynchronousTestCase):
    def test_until_it_fires(self) -> None:
        harness = FilterHarness(Asking).feed(b"a").feed(b"b")
        [asked] = harness.filters[0].asked
        self.assertIs(harness.waiting, asked)
        self.assertEqual((harness.take(), harness.pull()), (b"", None))
        asked.callback(b"1")
        self.assertEqual((harness.take(), harness.waits), (b"1a", 2))
        self.assertIs(harness.waiting, harness.filters[0].asked[1])
        self.assertEqual(
            [ADDRESS.sub("", line) for line in harness.transcript[1:6]],
            ["waits for <Deferred>", "feed 1 bytes b'b'", "goes on with b'1'", "out 1 bytes b'1'", "out 1 bytes b'a'"],
        )

    def test_what_has_come_already(self) -> None:
        class Fast(PipeFilter):
            def received(self, data: memoryview) -> FilterGenerator:
                yield (yield succeed(b"!"))

        harness = FilterHarness(Fast)
        self.assertEqual((harness.run(b"a"), harness.waiting), (b"!", None))

    def test_what_is_only_like_a_deferred(self) -> None:
        class Alike:
            def addCallbacks(self) -> None:
                pass

        class Mistaken(PipeFilter):
            def received(self, data: memoryview) -> Any:
                yield Alike()

        error = self.assertRaises(FilterFailed, FilterHarness(Mistaken).feed, b"a")
        self.assertIn("filter 'Mistaken': TypeError: ", str(error))

    def test_coroutines(self) -> None:
        class Later(PipeFilter):
            async def received(self, data: memoryview) -> bytes:
                await deferLater(self.context.clock, 5)
                return bytes(data)

            async def ended(self) -> AsyncIterator[bytes]:
                await deferLater(self.context.clock, 5)
                yield b"!"

        harness = FilterHarness(Later)
        self.assertEqual((harness.run(b"a", b"b"), harness.clock.seconds()), (b"ab!", 15.0))

    def test_fails(self) -> None:
        harness = FilterHarness(Asking).feed(b"a")
        harness.filters[0].asked[0].errback(KeyError("k"))
        self.assertEqual(harness.take(), b"KeyError('k')a")
        self.assertIn("is thrown KeyError('k')", harness.transcript)

    def test_fails_and_nobody_deals_with_it(self) -> None:
        """It comes to light within somebody else's call, and is raised by the next one of ours."""
        harness = FilterHarness(Asking).feed(b"a")
        harness.filters[0].asked[0].errback(ValueError("v"))
        self.assertEqual(harness.stops, [harness.failure])
        self.assertRaises(FilterFailed, harness.take)

    def test_made_to_fail(self) -> None:
        harness = FilterHarness(Asking).feed(b"a").fail_wait(KeyError("k"))
        self.assertEqual(harness.take(), b"KeyError('k')a")
        self.assertEqual((harness.waiting, harness.filters[0].asked[0].called), (None, True))

    def test_its_time_is_up(self) -> None:
        harness = FilterHarness(Asking, timeout=7).feed(b"a")
        harness.advance(6.9)
        self.assertIsNotNone(harness.waiting)
        error = self.assertRaises(FilterFailed, harness.advance, 0.2)
        self.assertEqual(
            str(error), "filter 'Asking': TimeoutError: what it waits for has not come within 7 s", harness.transcript
        )
        self.assertEqual(harness.clock.getDelayedCalls(), [])

    def test_never_comes(self) -> None:
        harness = FilterHarness(Asking, timeout=0).feed(b"a")
        self.assertIn("what it waits for never comes", str(self.assertRaises(AssertionError, harness.wait)))

    def test_again_and_again(self) -> None:
        class Spinning(PipeFilter):
            def received(self, data: memoryview) -> FilterGenerator:
                while True:
                    yield succeed(None)

        self.assertIn("again and again", str(self.assertRaises(AssertionError, FilterHarness(Spinning).feed, b"a")))

    def test_cancelled_at_the_end(self) -> None:
        harness = FilterHarness(Asking).feed(b"a").stop()
        self.assertTrue(harness.filters[0].asked[0].called)
        self.assertEqual((harness.waiting, harness.clock.getDelayedCalls()), (None, []))

    def test_cancelling_raises(self) -> None:
        class Stubborn(PipeFilter):
            def received(self, data: memoryview) -> FilterOutput:
                return (Deferred(lambda self: 1 // 0),)

        error = self.assertRaises(AssertionError, FilterHarness(Stubborn).feed(b"a").stop)
        self.assertIn("cancelling what it waits for raised ZeroDivisionError", str(error))

    def test_while_nobody_takes_bytes(self) -> None:
        harness = FilterHarness(Throttle(FilterContext(clock=Clock()), rate=100)).stall().feed(bytes(10))
        self.assertEqual((harness.pull(), harness.pull()), (bytes(5), None))
        self.assertEqual((harness.wait().waiting, len(harness.output)), (None, 5))
        self.assertEqual(harness.pull(), bytes(5))

    def test_time_passes_as_needed(self) -> None:
        harness = FilterHarness("throttle:rate=100")
        self.assertEqual(len(harness.run(bytes(1000))), 1000)
        self.assertAlmostEqual(harness.clock.seconds(), 9.95)


class LawTests(SynchronousTestCase):
    """For each law, a filter that breaks just this one."""

    def broken(self, factory: Any, *samples: Any, **options: Any) -> str:
        return str(self.assertRaises(AssertionError, check_filter, factory, samples or [b"xxabyy"], **options))

    def test_output(self) -> None:
        text = self.broken("upper", (b"abc", b"AbC"))
        expected = (
            "upper: of 3 bytes b'abc' it makes something else from byte 1 on\n  output: b'ABC'\n  expected: b'AbC'\n"
        )
        self.assertTrue(text.startswith(f"{expected}transcript:\n  feed 3 bytes b'abc'\n"), text)

    def test_any_cut_gives_the_same(self) -> None:
        class Replace(PipeFilter):
            def received(self, data: memoryview) -> FilterOutput:
                return (bytes(data).replace(b"ab", b"-"),)

        text = self.broken(Replace)
        self.assertIn(
            "of 6 bytes b'xxabyy', cut into 1, 1, 1, 1, 1, 1 bytes, it makes something else from byte 2 on", text
        )
        self.assertIn("\n  output: b'xxabyy'\n  of the whole: b'xx-yy'\n", text)
        check_filter(Replace, [(b"xxabyy", b"xx-yy")], split_invariant=False)

    def test_the_same_put_differently(self) -> None:
        class Flushing(PipeFilter):
            def started(self) -> FilterOutput:
                self.zlib = zlib.compressobj()
                return ()

            def received(self, data: memoryview) -> FilterOutput:
                return (self.zlib.compress(data) + self.zlib.flush(zlib.Z_SYNC_FLUSH),)

            def ended(self) -> FilterOutput:
                return (self.zlib.flush(),)

        self.assertIn("it makes something else from byte", self.broken(Flushing))
        check_filter(Flushing, [(b"xxabyy", b"xxabyy")], read=zlib.decompress)
        self.assertIn("cannot be read: error('Error -3", self.broken("pass", read=zlib.decompress, may_be_empty=False))

    def test_the_one_cut_that_matters(self) -> None:
        class AtFour(PipeFilter):
            def received(self, data: memoryview) -> FilterOutput:
                return (b"!" if len(data) == 4 else data,)

        self.assertIn("cut into 4, 20 bytes", self.broken(AtFour, bytes(24)))

    def test_long_samples(self) -> None:
        report = check_filter("upper", [b"ab" * 100_000])
        self.assertEqual((report.longest, report.lives < 100), (32768, True))

    def test_nothing_kept(self) -> None:
        class Keeper(PipeFilter):
            def received(self, data: memoryview) -> FilterOutput:
                self.kept = data
                return (bytes(data),)

        self.assertIn("Keeper: a view of the input, 6 bytes b'xxabyy', was kept", self.broken(Keeper))

    def test_nothing_modified(self) -> None:
        class Modifies(PipeFilter):
            def received(self, data: memoryview) -> FilterOutput:
                out = bytes(data)
                data.obj[0] = 0  # type: ignore[index]
                return (out,)

        self.assertIn("the input was modified", self.broken(Modifies))

    def test_pieces_are_bounded(self) -> None:
        class Bomb(PipeFilter):
            def ended(self) -> FilterOutput:
                return (bytes(2 << 20),)

        self.assertIn("a piece of its output has 2097152 bytes, more than 1048576", self.broken(Bomb))
        self.assertEqual(check_filter(Bomb, b"", most=2 << 20).longest, 2 << 20)
        self.assertIn("has 6 bytes, more than 5", self.broken("pass", most=5))

    def test_stopped_within_its_output(self) -> None:
        class Clings(PipeFilter):
            def received(self, data: memoryview) -> Iterator[bytes]:
                try:
                    yield bytes(data)
                except GeneratorExit:
                    raise ValueError("not now") from None

        text = self.broken(Clings)
        self.assertIn("it raised when it was stopped: filter 'Clings': ValueError: not now", text)
        self.assertTrue(text.endswith("stopped UpstreamFailed('broken off by the test')"), text)

    def test_stopped_after_any_call(self) -> None:
        class Opens(PipeFilter):
            def received(self, data: memoryview) -> FilterOutput:
                self.calls = getattr(self, "calls", 0) + 1
                return (data,)

            def stopped(self, reason: BaseException | None) -> None:
                if reason is not None and self.calls == 2:
                    raise ValueError("twice")

            def started(self) -> FilterOutput:
                self.calls = 0
                return ()

        text = self.broken(Opens)
        self.assertIn("ValueError: twice", text)
        self.assertEqual(text.count("feed "), 2)

    def test_stopped_before_the_first_byte(self) -> None:
        class Late(PipeFilter):
            def received(self, data: memoryview) -> FilterOutput:
                self.file = "open"
                return (data,)

            def ended(self) -> FilterOutput:
                self.file = "open"
                return ()

            def stopped(self, reason: BaseException | None) -> None:
                assert self.file

        text = self.broken(Late)
        self.assertIn("AttributeError: 'Late' object has no attribute 'file'", text)
        self.assertNotIn("feed", text)

    def test_a_wait_that_fails(self) -> None:
        class Waits(PipeFilter):
            broken = False

            def received(self, data: memoryview) -> FilterGenerator:
                try:
                    yield deferLater(self.context.clock, 1)
                except TimeoutError:
                    self.broken = True
                yield data

            def stopped(self, reason: BaseException | None) -> None:
                if self.broken:
                    raise ValueError("left in pieces")

        text = self.broken(Waits)
        self.assertIn("left in pieces", text)
        self.assertIn("is thrown TimeoutError('thrown by the test')", text)

    def test_no_timer_is_left(self) -> None:
        class Ticks(PipeFilter):
            def started(self) -> FilterOutput:
                self.context.clock.callLater(1, int)
                return ()

        self.assertIn("stopped() has left a timer: <DelayedCall", self.broken(Ticks))

    def test_a_stream_without_a_byte(self) -> None:
        class Counts(PipeFilter):
            count = 0

            def received(self, data: memoryview) -> FilterOutput:
                self.count += 1
                return (data,)

            def ended(self) -> FilterOutput:
                return (str(6 // self.count).encode(),)

        text = self.broken(Counts)
        self.assertTrue(text.startswith("Counts: it failed: ZeroDivisionError("), text)
        check_filter(Counts, [b"ab"], may_be_empty=False, split_invariant=False)

    def test_failure(self) -> None:
        text = self.broken(Failing)
        self.assertTrue(text.startswith("Failing: it failed: KeyError('k')\ntranscript:\n  feed 6 bytes"), text)
        self.assertIn("it failed: KeyError('k')", self.broken(lambda context: Failing(context)))

    def test_what_never_comes(self) -> None:
        self.assertIn("has not come within 60 s", self.broken(Asking))

    def test_long_transcripts_are_cut(self) -> None:
        class Last(PipeFilter):
            def ended(self) -> FilterOutput:
                raise KeyError("k")

        text = self.broken(Last, bytes(5000), may_be_empty=False, split_invariant=False)
        self.assertTrue(text.count("\n") < 50, text)

    def test_one_that_says_that_it_keeps_bytes_does(self) -> None:
        class Says(Upper):
            keeps_bytes = True

        class Adds(PipeFilter):
            keeps_bytes = True

            def ended(self) -> FilterOutput:
                return (b"+",)

        check_filter(Says, [b"AB"])
        text = self.broken(Says, b"Ab")
        self.assertIn("it says keeps_bytes, and makes something else from byte 1 on", text)
        self.assertIn("it says keeps_bytes, and makes something else from byte 0 on", self.broken(Adds, []))


class CheckTests(SynchronousTestCase):
    def test_bundled(self) -> None:
        everything = bytes(range(256))
        text = b"Hello, World\n"
        self.assertEqual(check_filter("upper", [(text, text.upper()), everything]).waits, 0)
        check_filter("pass", [(everything, everything), b"", b"x"])
        check_filter("hexdump", [(text, text)])
        report = check_filter("throttle:rate=1k:burst=50", [(bytes(333), bytes(333))])
        self.assertEqual((report.longest <= 51, report.waits > 100, report.lazy), (True, True, True))

    def test_whole_plugins(self) -> None:
        check_filter(parse_filter_spec("throttle:rate=100"), [bytes(20)])
        check_filter(FilterPlugin("upper", "", "twisted_pipe.filters.upper:Upper"), b"abc")

    def test_waiting_filters(self) -> None:
        def built(context: FilterContext) -> Any:
            return Stamp(context)

        class Stamp(PipeFilter):
            def started(self) -> FilterGenerator:
                yield (yield deferLater(self.context.clock, 2, lambda: b"stamp "))

        self.assertEqual(check_filter(built, [(b"ab", b"stamp ab")]).longest, 6)

    def test_report(self) -> None:
        report = check_filter(Doubled, [(b"ab", b"aabb")])
        self.assertIsInstance(report, FilterReport)
        self.assertEqual((report.waits, report.longest, report.lazy), (0, 2, True))

    def test_context(self) -> None:
        seen: list[FilterContext] = []

        def built(context: FilterContext) -> Any:
            seen.append(context)
            return Upper(context)

        report = check_filter(built, b"a", context=FilterContext(connection="c"))
        self.assertEqual((len(seen), {each.connection for each in seen}), (report.lives, {"c"}))
        self.assertEqual(len({id(each.clock) for each in seen}), report.lives)

    def test_misuse(self) -> None:
        self.assertRaises(TypeError, check_filter, Upper(FilterContext()), b"a")
        for sample in ("a", (b"a", "A"), 5):
            self.assertRaises(TypeError, check_filter, Upper, [sample])


class CutTests(SynchronousTestCase):
    def test_all_give_the_whole(self) -> None:
        for data in (b"", b"a", b"ab", bytes(range(256)), bytes(range(256)) * 1000):
            cuts = [as_read(data), *many_cuts(data)]
            for pieces in cuts:
                self.assertEqual(b"".join(pieces), data)
                self.assertTrue(all(0 < len(piece) <= 32768 for piece in pieces))

    def test_the_same_each_time(self) -> None:
        data = bytes(5000)
        self.assertEqual(list(many_cuts(data)), list(many_cuts(data)))

    def test_short_ones(self) -> None:
        cuts = list(many_cuts(b"abcd"))
        for pieces in ([b"a", b"b", b"c", b"d"], [b"a", b"bcd"], [b"ab", b"cd"], [b"abc", b"d"]):
            self.assertIn(pieces, cuts)

    def test_splits(self) -> None:
        @settings(max_examples=100)
        @given(st.binary(max_size=50).flatmap(lambda data: st.tuples(st.just(data), splits(data))))
        def check(case: tuple[bytes, list[bytes]]) -> None:
            data, pieces = case
            assert b"".join(pieces) == data and all(pieces)
            assert FilterHarness(Upper).run(*pieces) == data.upper()

        check()

    def test_splits_shrink_to_few_pieces(self) -> None:
        failing: list[list[bytes]] = []

        @settings(max_examples=200)
        @given(splits(b"abcdefgh"))
        def check(pieces: list[bytes]) -> None:
            if len(pieces) > 1:
                failing.append(pieces)
                raise ValueError(pieces)

        self.assertRaises(ValueError, check)
        self.assertEqual(len(failing[-1]), 2)

    def test_without_hypothesis_or_reactor(self) -> None:
        script = (
            "import sys; sys.modules['hypothesis'] = None\n"
            "from twisted_pipe.testing import check_filter, splits\n"
            "check_filter('throttle:rate=100', b'abc')\n"
            "print([name for name in sys.modules if name in ('twisted.internet.reactor', 'twisted_pipe.net')])\n"
            "try: splits(b'ab')\n"
            "except ImportError: print('needed')\n"
        )
        said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        self.assertEqual(said.stdout, "[]\nneeded\n")
