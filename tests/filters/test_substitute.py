"""Search and replace: the same as on the whole stream, however it is cut."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.filters.splitting import every_split
from tests.net.fakes import SMALL, MemoryTransport, PipeCase
from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.discovery import find_filter, parse_filter_spec
from twisted_pipe.filters.literal import beginning_of
from twisted_pipe.filters.regex import compile_regex
from twisted_pipe.filters.substitute import Substitute
from twisted_pipe.interfaces import FilterContext, NamedFilter
from twisted_pipe.testing import FilterHarness, check_filter, splits

_Test = TypeVar("_Test", bound=Callable[..., Any])


def substituted(pieces: list[bytes], **options: Any) -> bytes:
    """What becomes of a stream, quickly."""
    work = Substitute(FilterContext(), **options)
    output = bytearray()
    for piece in pieces:
        slab = bytearray(piece)
        lent = memoryview(slab).toreadonly()
        for out in work.received(lent):
            output += out
        lent.release()
        slab[:] = b"\xdd" * len(slab)
    for out in work.ended():
        output += out
    work.stopped(None)
    return bytes(output)


def held(pieces: list[bytes], **options: Any) -> list[int]:
    """Bytes that were not put out yet after each piece; what is replaced has to keep its length."""
    harness = FilterHarness(lambda context: Substitute(context, **options))
    lengths = []
    fed = 0
    for piece in pieces:
        fed += len(piece)
        lengths.append(fed - len(harness.feed(piece).output))
    harness.end().stop()
    return lengths


class LiteralTests(SynchronousTestCase):
    samples = ("ab", "aab", "abaabab", "aaaaaaaa", "abababab", "xaabaaby", "aaab", "baaaab", "b")
    words = ("a", "b", "aa", "ab", "aab", "aba", "abab", "aabaab", "aaab")

    def test_every_split_of_small_streams(self) -> None:
        for sample in self.samples:
            data = sample.encode()
            for find in self.words:
                for replace in ("", "-", "ab", find + find):
                    expected = data.replace(find.encode(), replace.encode())
                    for pieces in every_split(data):
                        output = substituted(pieces, find=find, replace=replace)
                        self.assertEqual(output, expected, (find, replace, pieces))

    @settings(max_examples=300)
    @given(st.data())
    def test_large_streams(self, draw: Any) -> None:
        text = st.text("ab\n", max_size=6)
        find, replace = draw.draw(text.filter(bool)), draw.draw(text)
        data = draw.draw(st.text("abc\n", max_size=2000)).encode()
        most = draw.draw(st.sampled_from([0, 1, 2, 7]))
        pieces = draw.draw(splits(data))
        output = substituted(pieces, find=find, replace=replace, max=most)
        self.assertEqual(output, data.replace(find.encode(), replace.encode(), most or -1))

    @settings(max_examples=300)
    @given(st.data())
    def test_either_case(self, draw: Any) -> None:
        text = st.text("aAbBé", max_size=4)
        find, replace = draw.draw(text.filter(bool)), draw.draw(text)
        data = draw.draw(st.text("aAbBéÉ", max_size=200)).encode()
        output = substituted(draw.draw(splits(data)), find=find, replace=replace, ignore_case=True)
        pattern = re.compile(re.escape(find.encode()), re.IGNORECASE)
        self.assertEqual(output, pattern.sub(lambda match: replace.encode(), data))

    def test_laws(self) -> None:
        plugin = find_filter("substitute").configure({"find": "\\r\\n", "replace": "\\n"})
        report = check_filter(
            plugin,
            [
                (b"", b""),
                (b"no line\rends\n here\r", b"no line\rends\n here\r"),
                (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\nHost: x\n\n"),
                (b"\r\r\n" * 20_000, b"\r\n" * 20_000),
            ],
        )
        self.assertTrue(report.lives > 10)

    def test_long_output_comes_in_pieces(self) -> None:
        """However long a replacement is, one piece has at most one of them more than needed."""
        long = "x" * 40_000
        report = check_filter(lambda context: Substitute(context, find="a", replace=long), b"abab" * 50, most=41_000)
        self.assertTrue(report.lazy)
        report = check_filter(lambda context: Substitute(context, find="a", replace="xx"), b"ab" * 50_000, most=66_000)
        self.assertTrue(report.lazy)

    def test_what_does_not_match_is_not_copied(self) -> None:
        work = Substitute(FilterContext(), find="needle")
        for text in (b"x" * 32768, b"need nee ", b"y"):
            lent = memoryview(text)
            [out] = work.received(lent)
            self.assertIs(out.obj, lent.obj)
            self.assertEqual(bytes(out), text)

    def test_only_what_begins_a_match_is_held_back(self) -> None:
        pieces = [b"GET ", b"/x\r", b"\n", b"\r\nabc", b"\r\n\r", b"x"]
        self.assertEqual(held(pieces, find="\\r\\n\\r\\n", replace="1234"), [0, 1, 2, 0, 3, 0])
        self.assertEqual(held([b"aaaa", b"a", b"b"], find="aaab", replace="1234"), [3, 3, 0])
        self.assertEqual(held([b"xN", b"E", b"x"], find="Need", replace="1234", ignore_case=True), [1, 2, 0])

    def test_beginning(self) -> None:
        for find, data, start, expected in [
            (b"abc", b"xxab", 0, 2),
            (b"abc", b"xxab", 3, 4),
            (b"abc", b"abca", 0, 3),
            (b"abab", b"xaba", 0, 1),
            (b"abab", b"abaa", 0, 3),
            (b"a", b"xa", 0, 2),
            (b"abc", b"", 0, 0),
            (b"abc", b"abx", 0, 3),
        ]:
            self.assertEqual(beginning_of(find, memoryview(data), start), expected, (find, data, start))

    def test_max(self) -> None:
        for pieces in every_split(b"abababab"):
            self.assertEqual(substituted(pieces, find="ab", replace="-", max=2), b"--abab")
        # and then nothing is looked at, nor held back
        self.assertEqual(held([b"ab", b"a", b"a"], find="ab", replace="--", max=1), [0, 0, 0])


#: Patterns of every kind, with no match longer than 8 bytes in the streams that they are tried on.
PATTERNS = [
    r"a",
    r"ab|b",
    r"a+",
    r"a+?b",
    r"^a",
    r"(?m)^a+",
    r"b$",
    r"(?m)b$",
    r"b\Z",
    r"\Aa",
    r"\bab\b",
    r"\Ba",
    r"a(?=b)",
    r"a(?!b)",
    r"(?<=a)b",
    r"(?<!a)b",
    r"(a)(b)\1",
    r"(?P<x>a|b)(?P=x)",
    r"(a)?(?(1)b|a)",
    r"[^a]",
    r"\n",
    r"(?s).b",
    r"a{2,3}",
]
if sys.version_info >= (3, 11):
    PATTERNS += [r"a++b", r"(?>a+)b", r"a{1,2}+b"]


_NEW = sys.version_info >= (3, 11)  # atomic groups and possessive repeats
_ATOMS = ["a", "a", "b", "b", "c", r"\n", "[ab]", "[^a]", ".", r"\w", "^", "$", r"\b", r"\B", r"\Z", r"\A"]
_ATOMS += ["(?<=a)", "(?<!b)", "(?<=^a)", r"(?<!\bc)"]
_GROUPS = ["(?:%s)", "(?=%s)", "(?!%s)", *(["(?>%s)"] if _NEW else [])]
_REPEATS = ["*", "+", "?", "{1,2}", "{2}", "*?", "+?", "??", *(["*+", "++", "?+"] if _NEW else [])]


def patterns(depth: int) -> st.SearchStrategy[str]:
    """Patterns that nobody would write, with everything that is hard about a stream."""
    atoms = st.sampled_from(_ATOMS)
    if depth:
        atoms |= st.builds(str.__mod__, st.sampled_from(_GROUPS), patterns(depth - 1))
    items = st.one_of(atoms, st.builds(str.__add__, atoms, st.sampled_from(_REPEATS)))
    branches = st.lists(items, min_size=1, max_size=3).map("".join)
    return st.lists(branches, min_size=1, max_size=2).map("|".join)


ANY_PATTERN = st.builds(str.__add__, st.sampled_from(["", "(?s)", "(?m)"]), patterns(2))


class RegexTests(SynchronousTestCase):
    def expected(self, data: bytes, find: str, replace: str = "<>", most: int = 0) -> bytes:
        return re.compile(find.encode()).sub(replace.encode(), data, count=most)

    def test_every_split_of_small_streams(self) -> None:
        for find in PATTERNS:
            for data in (b"abaab", b"aab\nab\n", b"\naa b", b"bbaaaab"):
                expected = self.expected(data, find)
                for pieces in every_split(data):
                    output = substituted(pieces, find=find, replace="<>", regex=True, look_behind=8)
                    self.assertEqual(output, expected, (find, pieces))

    @settings(max_examples=400)
    @given(st.data())
    def test_large_streams(self, draw: Any) -> None:
        """Exactly as C{re.sub}, with windows that are small beside the stream."""
        find = draw.draw(st.sampled_from(PATTERNS))
        data = re.sub(b"a{8,}", b"aa", draw.draw(st.text("aab\nc", min_size=100, max_size=2000)).encode())
        most = draw.draw(st.sampled_from([0, 0, 1, 5]))
        look_behind = draw.draw(st.sampled_from([8, 9, 64, 4096]))
        pieces = draw.draw(splits(data))
        output = substituted(pieces, find=find, replace="<>", regex=True, look_behind=look_behind, max=most)
        self.assertEqual(output, self.expected(data, find, most=most), find)

    @settings(max_examples=250)
    @given(st.data())
    def test_any_pattern_and_split(self, draw: Any) -> None:
        """However long the matches, and whatever the pattern looks at: no split makes a difference."""
        find = draw.draw(ANY_PATTERN)
        look_behind = draw.draw(st.integers(1, 20))
        options: dict[str, Any] = {"find": find, "replace": "<>", "regex": True, "look_behind": look_behind}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                Substitute(FilterContext(), **options)
            except BadConfiguration:
                assume(False)
        data = draw.draw(st.text("aab\n c", max_size=60)).encode()
        whole = substituted([data] if data else [], **options)
        if len(data) <= look_behind:
            self.assertEqual(whole, self.expected(data, find))
        self.assertEqual(substituted([data[at : at + 1] for at in range(len(data))], **options), whole)
        self.assertEqual(substituted(draw.draw(splits(data)), **options), whole)

    def test_matches_that_are_too_long(self) -> None:
        """Each is taken for what it is in C{look_behind} bytes; and that is the same for every split, too."""
        for find, look_behind, expected in [
            ("a+", 4, b"x<><><>bx<>b"),
            ("a+b", 4, b"xaaaaaaa<>x<>"),
            ("a+b|a", 4, b"x<><><><><><><><>x<>"),
            ("a+\\b", 4, b"xaaaaaaaaaabxab"),
        ]:
            data = b"xaaaaaaaaaabxab"
            options: dict[str, Any] = {"find": find, "replace": "<>", "regex": True, "look_behind": look_behind}
            self.assertEqual(substituted([data], **options), expected, find)
            for at in range(1, len(data)):
                self.assertEqual(substituted([data[:at], data[at:]], **options), expected, (find, at))

    def test_long_runs_take_linear_time(self) -> None:
        data = b"a" * 2_000_000
        pieces = [data[at : at + 32768] for at in range(0, len(data), 32768)]
        output = substituted(pieces, find="a+", replace="b", regex=True)
        self.assertEqual(output, b"b" * (-(-len(data) // 4096)))

    def test_laws(self) -> None:
        plugin = find_filter("substitute").configure(
            {"find": "(?i)<(/?)b\\b([^>]*)>", "replace": "<\\1strong\\g<2>>", "regex": "on"}
        )
        check_filter(
            plugin,
            [
                (b"<b>bold</B> <body> <b\nclass='x'>", b"<strong>bold</strong> <body> <strong\nclass='x'>"),
                (b"<b" * 1000, b"<b" * 1000),
                b"<b>" * 4000,
            ],
        )

    def test_groups_and_escapes_in_the_replacement(self) -> None:
        for replace, expected in [
            (r"[\2\1]", b"[ba]"),
            (r"\g<y>\g<0>", b"bab"),
            (r"\x00\xff\n", b"\x00\xff\n"),
            (r"\x5c1", b"\\1"),
            (r"\\x41", b"\\x41"),
            (r"\x41\x42", b"AB"),
            ("é", "é".encode()),
        ]:
            self.assertEqual(substituted([b"ab"], find="(a)(?P<y>b)", replace=replace, regex=True), expected, replace)

    def test_bytes_in_the_pattern(self) -> None:
        self.assertEqual(substituted([b"\x00\xff\nx"], find=r"\x00\xff\n", replace="-", regex=True), b"-x")
        self.assertEqual(substituted(["é".encode()], find="é", replace="e", regex=True), b"e")

    def test_either_case(self) -> None:
        self.assertEqual(substituted([b"aA", b"bX"], find="ab|x", replace="-", regex=True, ignore_case=True), b"a--")

    def test_what_is_held_back(self) -> None:
        """What one byte after another leaves inside, at most and at the end of 500 of them that match nothing."""
        for find, look_behind, most, last in [
            (r"foo\d{1,3}", 4096, 0, 0),  # begins with text that is not there
            (r"<b>[^<]*</b>", 100, 0, 0),
            (r"\bfoo\b", 4096, 0, 0),
            (r"[ab]c", 4096, 1, 1),  # bounded: all but one of its bytes
            (r"[ab]c\b", 4096, 3, 3),  # and what \b may want to see
            (r"[ab]", 4096, 0, 0),
            (r"\w+@", 100, 99, 99),  # no bound but look_behind
            (r"\w+@\b", 100, 101 + 25 - 1, None),
            (r"[ab](?=c)", 100, 101 + 25 - 1, None),
        ]:
            lengths = held([b"x"] * 500, find=find, replace="", regex=True, look_behind=look_behind)
            self.assertEqual(max(lengths), most, find)
            if last is not None:
                self.assertEqual(lengths[-1], last, find)

    def test_what_may_begin_a_match_is_held_back(self) -> None:
        self.assertEqual(
            held([b"xf", b"oo", b"1", b"2", b"x", b"fo"], find=r"foo\d+x", replace="123456", regex=True),
            [1, 3, 4, 5, 6, 8],
        )
        self.assertEqual(
            held(
                [b"x<", b"b>bold", b"</b>", b"y" * 100],
                find="<b>[^<]*</b>",
                replace="0123456789A",
                regex=True,
                look_behind=20,
            ),
            [1, 7, 11, 0],
        )

    def test_max(self) -> None:
        for pieces in every_split(b"abababab"):
            self.assertEqual(substituted(pieces, find="a(?=b)", replace="-", regex=True, max=2), b"-b-babab")
        self.assertEqual(held([b"ab", b"a", b"a"], find="[ab]{2}", replace="--", regex=True, max=1), [0, 0, 0])

    def test_lookbehind_sees_what_was_put_out(self) -> None:
        data = b"x" * 300 + b"a" * 99 + b"b" + b"ab"
        pieces = [data[at : at + 7] for at in range(0, len(data), 7)]
        output = substituted(pieces, find="(?<=a{99})b", replace="!", regex=True, look_behind=99)
        self.assertEqual(output, data[:399] + b"!ab")

    def test_little_is_kept(self) -> None:
        """Context and what is held back, not the stream."""
        work = Substitute(FilterContext(), find=r"\w+@\b", regex=True, look_behind=100)
        for _ in range(100):
            for _ in work.received(memoryview(b"x" * 1000)):
                pass
            self.assertTrue(len(work._work._text) < 400)  # type: ignore[union-attr]

    def test_reach(self) -> None:
        for pattern, reach, grid, prefix in [
            (rb"foo\d{1,3}", 6, 0, b"foo"),
            (rb"^foo$", 5, 0, b"foo"),
            (rb"fo*", 100, 0, b"f"),
            (rb"fo|fa", 2, 0, b"f"),
            (rb"(?i)fo", 2, 0, b""),
            (rb"a{99}\b", 102, 25, b""),
            (rb"a*b$", 102, 25, b""),
            (rb"a(?=b)", 102, 25, b"a"),
            (rb"a(?<=b)", 1, 0, b"a"),
        ]:
            regex = compile_regex(pattern, False, 100)
            self.assertEqual((regex.reach, regex.grid, regex.prefix), (reach, grid, prefix), pattern)


class OptionTests(SynchronousTestCase):
    def refused(self, **options: str) -> str:
        return str(self.assertRaises(BadConfiguration, find_filter("substitute").configure, options))

    def test_all_of_them(self) -> None:
        plugin = find_filter("substitute").configure(
            {"find": "a+", "replace": "x", "regex": "on", "ignore_case": "on", "look_behind": "1k", "max": "3"}
        )
        self.assertEqual(
            plugin.build(FilterContext()),
            Substitute(FilterContext(), find="a+", replace="x", regex=True, ignore_case=True, look_behind=1024, max=3),
        )

    def test_on_the_command_line(self) -> None:
        for spec, data, expected in [
            (r"substitute:find=http\://a:replace=https\://b", b"<http://a/>", b"<https://b/>"),
            (r"substitute:find=a:replace=", b"banana", b"bnn"),
            (r"substitute:find=\x00\xff:replace=\t\r\n\0", b"\x00\xff", b"\t\r\n\x00"),
            (r"substitute:find=\\\\:replace=/", b"a\\b", b"a/b"),
            (r"substitute:find=(\d+) EUR:replace=\1 euros:regex=on", b"10 EUR", b"10 euros"),
        ]:
            output = FilterHarness(parse_filter_spec(spec)).run(data)
            self.assertEqual(output, expected, spec)

    def test_refused(self) -> None:
        self.assertIn("filter substitute: find: None: has to be given", self.refused())
        self.assertEqual(self.refused(find=""), "filter substitute: find: '': must not be empty")
        escapes = r"after a backslash comes n, r, t, 0, \ or xNN, two hexadecimal digits"
        self.assertEqual(self.refused(find="\\d"), f"filter substitute: find: '\\\\d': {escapes}")
        self.assertEqual(self.refused(find="a", replace="\\x4"), f"filter substitute: replace: '\\\\x4': {escapes}")
        self.assertEqual(self.refused(find="a", replace="a\\"), f"filter substitute: replace: 'a\\\\': {escapes}")
        self.assertIn("filter substitute: regex: 'yes': must be on or off", self.refused(find="a", regex="yes"))
        self.assertIn("look_behind: '0': must be at least 1", self.refused(find="a", look_behind="0"))
        self.assertIn("max: '-1': a whole number", self.refused(find="a", max="-1"))

    def test_refused_patterns(self) -> None:
        self.assertIn(
            "filter substitute: find: '(a': is no regular expression: missing )", self.refused(find="(a", regex="on")
        )
        empty = "must not match the empty string, which is everywhere"
        for find in ("a*", "^", "\\b", "(?=a)", "a|", "(?<=x)", "(a?)\\1"):
            self.assertEqual(self.refused(find=find, regex="on"), f"filter substitute: find: {find!r}: {empty}")
        self.assertEqual(
            self.refused(find="a{20,}", regex="on", look_behind="10"),
            "filter substitute: look_behind: 10: must be at least 20: nothing shorter matches a{20,}",
        )
        self.assertEqual(
            self.refused(find="a", replace="\\1", regex="on"),
            "filter substitute: replace: '\\\\1': is no replacement for what find matches: "
            "invalid group reference 1 at position 1",
        )
        self.assertIn("unknown group name 'x'", self.refused(find="a", replace="\\g<x>", regex="on"))
        self.assertIn("bad escape \\q", self.refused(find="a", replace="\\q", regex="on"))

    def test_not_utf_8(self) -> None:
        """What the command line had that was no text is what it was."""
        self.assertEqual(substituted([b"\xffx"], find="\udcff", replace="\udcfe"), b"\xfex")


class PipeTests(PipeCase):
    """In a pipe, with its small buffers and a client that takes its time."""

    limits = SMALL

    def test_literal_and_regex(self) -> None:
        data = b"one http://internal/1 two http://internal/22 three " * 100
        upstream, downstream = MemoryTransport(), MemoryTransport(room=150)
        filters = [
            NamedFilter(
                "a", parse_filter_spec("substitute:find=http\\://internal:replace=https\\://x").build(FilterContext())
            ),
            NamedFilter(
                "b", parse_filter_spec("substitute:find=/(\\d+):replace=/<\\1>:regex=on").build(FilterContext())
            ),
        ]
        pipe = self.pipe(upstream, downstream, filters)
        output = b""
        for at in range(0, len(data), 73):
            pipe.write(data[at : at + 73])
            output += downstream.take(40)
        pipe.unregisterProducer()
        while downstream.value():
            output += downstream.take()
        self.assertTrue(self.outcome(pipe).clean)
        self.assertEqual(output, b"one https://x/<1> two https://x/<22> three " * 100)
        self.assertEqual(self.in_use(), 0)
