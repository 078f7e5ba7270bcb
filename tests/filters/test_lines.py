"""Filters for protocols of lines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from tests.filters.splitting import every_split
from tests.net.fakes import SMALL, MemoryTransport, PipeCase
from twisted_pipe.errors import FilterFailed
from twisted_pipe.filters.base import FilterPlugin, option
from twisted_pipe.filters.lines import LineFilter, LineOutput, LineTooLong
from twisted_pipe.interfaces import FilterContext
from twisted_pipe.testing import FilterHarness, check_filter, splits
from twisted_pipe.units import parse_text


class Brackets(LineFilter):
    """Shows what was a line; drops those that are C{drop}, and makes two of C{two}."""

    def line_received(self, line: bytes) -> LineOutput:
        if line == b"drop":
            return None
        return (b"1", b"2") if line == b"two" else b"[" + line + b"]"


class Crlf(Brackets):
    delimiter = b"\r\n"


class Overlapping(Brackets):
    delimiter = b"aa"


class Short(Brackets):
    delimiter = b"\r\n"
    max_length = 5


@attrs.define
class Grep(LineFilter):
    """With an option, as a plugin."""

    word: str = option(parse_text, help="what a line has to contain")

    def line_received(self, line: bytes) -> LineOutput:
        return line if self.word.encode() in line else None


def run(filter_class: type[LineFilter], *pieces: bytes) -> bytes:
    return FilterHarness(filter_class).run(*pieces)


class LineTests(SynchronousTestCase):
    def test_lines(self) -> None:
        for filter_class, data, expected in [
            (Brackets, b"a\n\nb\n", b"[a]\n[]\n[b]\n"),
            (Brackets, b"a\nb", b"[a]\n[b]"),
            (Brackets, b"", b""),
            (Brackets, b"\n", b"[]\n"),
            (Brackets, b"a\ndrop\nb\n", b"[a]\n[b]\n"),
            (Brackets, b"a\ndrop", b"[a]\n"),
            (Brackets, b"two\ntwo", b"1\n2\n1\n2"),
            (Brackets, b"a\r\n", b"[a\r]\n"),
            (Crlf, b"a\r\nb\nc\r\r\n\r", b"[a]\r\n[b\nc\r]\r\n[\r]"),
            (Overlapping, b"xaaaya", b"[x]aa[aya]"),
            (Overlapping, b"aaaaa", b"[]aa[]aa[a]"),
        ]:
            self.assertEqual(run(filter_class, *[data] if data else []), expected, data)
            for pieces in every_split(data):
                self.assertEqual(run(filter_class, *pieces), expected, pieces)

    def test_by_default_lines_pass(self) -> None:
        data = b"a\n\nb\r\nc" * 1000
        check_filter(LineFilter, [(data, data), (b"", b"")])

    @settings(max_examples=200)
    @given(st.data())
    def test_any_split(self, draw: Any) -> None:
        filter_class = draw.draw(st.sampled_from([Brackets, Crlf, Overlapping]))
        data = draw.draw(st.text("a\r\nb", max_size=1000)).encode()
        *lines, rest = data.split(filter_class.delimiter)
        expected = b"".join(b"[" + line + b"]" + filter_class.delimiter for line in lines)
        expected += b"[" + rest + b"]" if rest else b""
        self.assertEqual(run(filter_class, *draw.draw(splits(data))), expected)

    def test_output_is_packed_and_bounded(self) -> None:
        """Many short lines are one piece; many long ones are several."""
        harness = FilterHarness(Brackets)
        harness.feed(b"x\n" * 1000)
        self.assertEqual(len([line for line in harness.transcript if line.startswith("out ")]), 1)
        report = check_filter(lambda context: Expand(context), b"x\n" * 1000, most=2 * 32768)
        self.assertTrue(report.lazy)

    def test_linear_time(self) -> None:
        """Of a line that comes byte by byte, every byte is looked at once or twice; and it is appended to, not joined anew."""
        line = Crlf(FilterContext())
        line._partial = kept = Searched(b"x")
        for _ in range(1000):
            self.assertEqual(list(line.received(memoryview(b"x"))), [])
        self.assertIs(line._partial, kept)
        self.assertEqual(kept.searched, 2 * 1000)

    def test_option(self) -> None:
        plugin = FilterPlugin("grep", "", f"{__name__}:Grep").configure({"word": "x"})
        self.assertEqual(FilterHarness(plugin).run(b"ax\nb\nx"), b"ax\nx")


class Searched(bytearray):
    """Counts the bytes that it is searched in."""

    searched = 0

    def find(self, sub: Any, start: Any = 0, *end: Any) -> int:
        self.searched += len(self) - start
        return bytearray.find(self, sub, start, *end)


class Expand(LineFilter):
    """Long lines of short ones."""

    def line_received(self, line: bytes) -> LineOutput:
        return (line * 100 for _ in range(10))


class TooLongTests(SynchronousTestCase):
    def fails(self, *pieces: bytes) -> None:
        failure = self.assertRaises(FilterFailed, run, Short, *pieces)
        self.assertIsInstance(failure.problem, LineTooLong)

    def test_bound(self) -> None:
        """The delimiter does not count, wherever it is cut."""
        for line in (b"12345", b"1234\r"):
            data = line + b"\r\n"
            for pieces in every_split(data):
                self.assertEqual(run(Short, *pieces), b"[" + line + b"]\r\n")
        for data in (b"123456\r\n", b"12345\r\r\n", b"123456"):
            for pieces in every_split(data):
                self.fails(*pieces)

    def test_found_out_before_the_line_ends(self) -> None:
        """So that what is kept is bounded."""
        harness = FilterHarness(Short)
        failure = self.assertRaises(FilterFailed, harness.feed, b"a\r\n" + b"x" * 1000)
        self.assertEqual(harness.output, b"[a]\r\n")
        self.assertIn("LineTooLong: a line is longer than 5 bytes: b'xxxx", str(failure))

    def test_default(self) -> None:
        data = b"x" * 65536
        self.assertEqual(run(Brackets, data, b"\n"), b"[" + data + b"]\n")
        self.assertRaises(FilterFailed, run, Brackets, data, b"x")


class Waits(LineFilter):
    """What a line may become besides bytes, by the name of the line."""

    closed = 0

    def line_received(self, line: bytes) -> Any:
        return getattr(self, line.decode())()

    def later(self, result: Any) -> Deferred[Any]:
        return deferLater(self.context.clock, 1, lambda: result)

    def deferred(self) -> Any:
        return self.later(b"fired")

    def deferred_none(self) -> Any:
        return self.later(None)

    def listed(self) -> Any:
        return [b"a", self.later(b"b"), b"c"]

    def generator(self) -> Any:
        try:
            yield b"before"
            reply = yield self.later(b"reply")
            yield b"<" + reply + b">"
        finally:
            Waits.closed += 1

    def fired(self) -> Any:
        reply = yield succeed(b"at once")
        yield reply

    def catches(self) -> Any:
        try:
            yield fail(KeyError("k"))
        except KeyError as error:
            yield b"caught " + str(error).encode()

    def fails(self) -> Any:
        yield b"lost"
        yield fail(KeyError("k"))

    def list_fails(self) -> Any:
        return [fail(KeyError("k"))]

    def coroutine_among_others(self) -> Any:
        yield b"a"
        reply = yield self.coroutine()
        yield reply

    async def coroutine(self) -> bytes:
        return b"<" + await self.later(b"reply") + b">"

    async def nothing(self) -> None:
        pass

    async def asynchronous(self) -> AsyncIterator[bytes]:
        yield b"a"
        yield await self.later(b"b")

    def view(self) -> Any:
        return memoryview(b"view")

    def array(self) -> Any:
        return bytearray(b"array")

    def text(self) -> Any:
        return "text"

    def number(self) -> Any:
        return 5

    def empty(self) -> Any:
        return ()

    def empty_line(self) -> Any:
        return b""


class WaitingTests(SynchronousTestCase):
    def test_each(self) -> None:
        for name, expected in [
            (b"deferred", b"fired\n"),
            (b"deferred_none", b""),
            (b"listed", b"a\nb\nc\n"),
            (b"generator", b"before\n<reply>\n"),
            (b"fired", b"at once\n"),
            (b"catches", b"caught 'k'\n"),
            (b"coroutine", b"<reply>\n"),
            (b"coroutine_among_others", b"a\n<reply>\n"),
            (b"nothing", b""),
            (b"asynchronous", b"a\nb\n"),
            (b"view", b"view\n"),
            (b"array", b"array\n"),
            (b"empty", b""),
            (b"empty_line", b"\n"),
        ]:
            self.assertEqual(run(Waits, b"view\n" + name + b"\nview\n"), b"view\n" + expected + b"view\n", name)
            self.assertEqual(run(Waits, b"view\n" + name), b"view\n" + expected[:-1], name)
            if name != b"listed":  # made before it is reached, its timer is left behind by who stops before
                check_filter(Waits, b"view\n" + name + b"\nview")

    def test_failures(self) -> None:
        for name, said in [
            (b"fails", "KeyError: 'k'"),
            (b"list_fails", "KeyError: 'k'"),
            (b"text", "yielded str"),
            (b"number", "TypeError: 'int' object is not iterable"),
        ]:
            failure = self.assertRaises(FilterFailed, run, Waits, name + b"\n")
            self.assertIn(said, str(failure))

    def test_what_came_before_a_wait_is_put_out_before_it(self) -> None:
        harness = FilterHarness(Waits)
        harness.feed(b"view\ngenerator\nview\n")
        self.assertEqual(harness.output, b"view\nbefore\n")
        self.assertEqual(harness.advance(1).output, b"view\nbefore\n<reply>\nview\n")

    def test_generator_is_closed_with_the_pipe(self) -> None:
        """At once, though somebody else knows it, too."""
        before = Waits.closed
        known: list[Any] = []

        class Known(LineFilter):
            def line_received(self, line: bytes) -> Any:
                known.append(Waits(self.context).generator())
                return known[-1]

        harness = FilterHarness(Known)
        harness.feed(b"x\n").stop()
        self.assertEqual(Waits.closed, before + 1)


class PipeTests(PipeCase):
    limits = SMALL

    def test_lines_longer_than_buffers(self) -> None:
        upstream, downstream = MemoryTransport(), MemoryTransport(room=150)
        pipe = self.pipe(upstream, downstream, [Crlf(FilterContext())])
        line = b"x" * 333
        output = b""
        for _ in range(20):
            pipe.write(line + b"\r\ntwo\r")
            pipe.write(b"\n")
            output += downstream.take(100)
        pipe.unregisterProducer()
        while downstream.value():
            output += downstream.take()
        self.assertEqual(output, (b"[" + line + b"]\r\n1\r\n2\r\n") * 20)
        self.assertTrue(self.outcome(pipe).clean)
