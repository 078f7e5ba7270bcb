"""What holds for every filter that compresses, and for every one that decompresses; the formats' own tests fill in the rest."""

from __future__ import annotations

import random
import shutil
import subprocess
import tracemalloc
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.discovery import find_filter
from twisted_pipe.interfaces import FilterContext
from twisted_pipe.testing import check_filter

_find = cache(find_filter)  # it asks every package that is installed

MIB = 1 << 20
PIECE = 32 * 1024
SHORT = b"It is short, it is short; so every cut can be tried."
NOISE = random.Random(1).randbytes(100_000)
#: Small and large, compressible and not, and about as long as a slice or a piece.
SAMPLES = [
    b"x",
    SHORT,
    bytes(PIECE - 1),
    bytes(PIECE),
    bytes(PIECE + 1),
    NOISE,
    SHORT * 5000,
    NOISE + bytes(200_000) + NOISE,
]


def cut(data: bytes, size: int) -> list[bytes]:
    """Pieces of C{size} bytes."""
    return [data[start : start + size] for start in range(0, len(data), size)]


def every_cut(data: bytes) -> Iterator[list[bytes]]:
    """In two at every place, and in pieces of equal size."""
    for at in range(1, len(data)):
        yield [data[:at], data[at:]]
    for size in range(1, 8):
        yield cut(data, size)


def pieces_of(each: Any, chunks: Iterable[bytes], end: bool = True) -> list[bytes]:
    """What a filter makes of these chunks, and of the clean end after them."""
    found = list(each.started())
    for chunk in chunks:
        found += each.received(memoryview(chunk).toreadonly())
    if end:
        found += each.ended()
    return [bytes(piece) for piece in found]


class FilterCase(SynchronousTestCase):
    """
    @cvar name: of the filter.
    @cvar refused: options that are refused, and the end of the error.
    @cvar tool: the command that knows the format, if there is one.
    @cvar options: that it always has.
    @cvar context: what filters are made with.
    """

    name = ""
    refused: list[tuple[dict[str, str], str]] = []
    tool = ""
    options: dict[str, str] = {}
    context = FilterContext()

    def factory(self, **options: str) -> Any:
        return _find(self.name).configure({**self.options, **options})

    def make(self, **options: str) -> Any:
        return self.factory(**options).build(self.context)

    def run_tool(self, data: bytes, *arguments: str) -> bytes:
        """What the command makes of C{data}."""
        if not self.tool:
            raise SkipTest("no command knows this format")
        if not shutil.which(self.tool):
            raise SkipTest(f"{self.tool} is not installed")
        done = subprocess.run([self.tool, *arguments], input=data, capture_output=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout


class CompressCase(FilterCase):
    """The laws of a filter that compresses."""

    def whole(self, data: bytes) -> bytes:
        """What the library makes of a whole stream; raises if it is none."""
        raise NotImplementedError

    def so_far(self, data: bytes) -> bytes:
        """What the library makes of the beginning of a stream."""
        raise NotImplementedError

    def strengths(self) -> tuple[dict[str, str], dict[str, str]]:
        """Options for the fastest and for the smallest."""
        raise NotImplementedError

    def test_the_library_reads_it(self) -> None:
        for sample in SAMPLES:
            for options in ({}, {"flush": "off"}, *self.strengths()):
                data = b"".join(pieces_of(self.make(**options), cut(sample, PIECE)))
                self.assertEqual(self.whole(data), sample)

    def test_the_tool_reads_it(self) -> None:
        for flush in ("on", "off"):
            data = b"".join(pieces_of(self.make(flush=flush), cut(SHORT * 5000, 5000)))
            self.assertEqual(self.run_tool(data, "-dc"), SHORT * 5000)

    def test_every_cut(self) -> None:
        for flush in ("on", "off"):
            for chunks in every_cut(SHORT):
                self.assertEqual(self.whole(b"".join(pieces_of(self.make(flush=flush), chunks))), SHORT)

    def test_the_contract(self) -> None:
        for flush in ("on", "off"):
            check_filter(self.factory(flush=flush), [(SHORT, SHORT), (NOISE, NOISE), (b"", b"")], read=self.whole)

    def test_an_empty_stream_is_a_stream(self) -> None:
        data = b"".join(pieces_of(self.make(), []))
        self.assertNotEqual(data, b"")
        self.assertEqual(self.whole(data), b"")

    def test_it_holds_nothing_back(self) -> None:
        each = self.make()
        data = plain = b""
        for chunk in [b"a", b"b", *cut(SHORT * 10, 7), NOISE]:
            data += b"".join(pieces_of(each, [chunk], end=False))
            plain += chunk
            self.assertEqual(self.so_far(data), plain)

    def test_unless_it_may(self) -> None:
        each = self.make(flush="off")
        chunks = cut(SHORT * 20, 100)
        begin = b"".join(pieces_of(each, chunks, end=False))
        self.assertEqual(self.so_far(begin), b"")
        rest = b"".join(pieces_of(each, []))
        self.assertEqual(self.whole(begin + rest), SHORT * 20)
        self.assertTrue(len(begin + rest) < len(b"".join(pieces_of(self.make(), chunks))))

    def test_strength(self) -> None:
        text = b"".join(b'{"id": %d, "name": "name%d", "even": %d}' % (i, i * i % 997, i % 2) for i in range(2000))
        fast, small = (len(b"".join(pieces_of(self.make(**options), [text]))) for options in self.strengths())
        self.assertTrue(small < fast < len(text), (small, fast, len(text)))

    def test_a_large_chunk_is_compressed_piece_by_piece(self) -> None:
        """It is some other filter's piece; none of a pipe's own is so large."""
        large = NOISE * 40
        sizes = [len(piece) for piece in pieces_of(self.make(), [large], end=False)]
        self.assertTrue(max(sizes) < MIB, sizes)
        output = self.make().received(memoryview(large))
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        next(output)
        self.assertTrue(tracemalloc.get_traced_memory()[1] < MIB)

    def test_what_was_lent_is_not_kept(self) -> None:
        for flush in ("on", "off"):
            each = self.make(flush=flush)
            lent = bytearray(SHORT)
            with memoryview(lent) as view, view.toreadonly() as data:
                found = list(each.received(data))
            lent *= 2  # a BufferError while there is a view
            lent[:] = bytes(len(lent))
            self.assertEqual(self.whole(b"".join([*found, *each.ended()])), SHORT)

    def test_stopped(self) -> None:
        """It lets go of what it has; also in the middle, and when nothing has come."""
        for chunks in ([SHORT], []):
            each = self.make()
            pieces_of(each, chunks, end=False)
            each.stopped(RuntimeError("broken off"))
            self.assertEqual(each, self.make())

    def test_options(self) -> None:
        check_options(self)


class DecompressCase(FilterCase):
    """
    The laws of a filter that decompresses.

    @cvar kind: what its errors call the format.
    @cvar many: whether a stream may follow another.
    @cvar checked: whether the format has a checksum.
    """

    kind = ""
    many = True
    checked = True

    def stream(self, data: bytes) -> bytes:
        """What the library makes of C{data}."""
        raise NotImplementedError

    def flushed(self, data: bytes) -> bytes:
        """The beginning of a stream, with all of C{data} in it."""
        raise NotImplementedError

    def bomb(self) -> bytes:
        """Something that swells to 64 MiB at least."""
        raise NotImplementedError

    def plain(self, data: bytes) -> bytes:
        return b"".join(pieces_of(self.make(), [data]))

    def fails(self, *chunks: bytes) -> str:
        """What is wrong with that stream."""
        return str(self.assertRaises(ValueError, pieces_of, self.make(), chunks))

    def test_it_reads_what_the_library_wrote(self) -> None:
        for sample in [b"", *SAMPLES]:
            found = pieces_of(self.make(), cut(self.stream(sample), PIECE))
            self.assertEqual(b"".join(found), sample)
            self.assertTrue(max(map(len, found), default=0) <= PIECE)

    def test_it_reads_what_the_tool_wrote(self) -> None:
        self.assertEqual(self.plain(self.run_tool(SHORT * 5000, "-c")), SHORT * 5000)

    def test_every_cut(self) -> None:
        for chunks in every_cut(self.stream(SHORT)):
            self.assertEqual(b"".join(pieces_of(self.make(), chunks)), SHORT)

    def test_it_holds_nothing_back(self) -> None:
        for sample in SAMPLES:
            for size in (1000, PIECE):
                found = pieces_of(self.make(), cut(self.flushed(sample), size), end=False)
                self.assertEqual(b"".join(found), sample)

    def test_the_contract(self) -> None:
        samples = [(self.stream(plain), plain) for plain in (b"", SHORT, SAMPLES[-1])]
        check_filter(self.factory(), samples, may_be_empty=False, most=PIECE)

    def test_one_stream_after_the_other(self) -> None:
        both = self.stream(SHORT) + self.stream(b"") + self.stream(SAMPLES[-1])
        if not self.many:
            self.fails(both)
            return
        self.assertEqual(self.plain(both), SHORT + SAMPLES[-1])
        both = self.stream(SHORT) + self.stream(b"") + self.stream(b"the end")
        for chunks in every_cut(both):
            self.assertEqual(b"".join(pieces_of(self.make(), chunks)), SHORT + b"the end")

    def test_what_follows_the_end(self) -> None:
        stream = self.stream(SHORT)
        for garbage in (b"\0", b"\xff", b"garbage that is longer than a header", bytes(100)):
            for at in range(len(stream), len(stream + garbage)):
                whole = stream + garbage
                self.fails(*filter(None, (whole[:at], whole[at:])))

    def test_cut_off_anywhere(self) -> None:
        for stream, before in [(self.stream(SHORT), b""), *([(self.stream(SHORT), self.stream(b"x"))] * self.many)]:
            for size in range(1, len(stream)):
                said = f"the stream is cut off: no end of {self.kind} data after {len(before) + size} bytes"
                self.assertEqual(self.fails(before + stream[:size]), said)

    def test_no_stream_at_all(self) -> None:
        self.assertEqual(self.fails(), "the stream is cut off: no end of data after 0 bytes")

    def test_a_body_of_http_may_be_empty(self) -> None:
        """Whatever its head says of its coding. What has begun has to end."""
        self.context = FilterContext(request=object())
        self.assertEqual(pieces_of(self.make(), []), [])
        self.assertEqual(self.fails(self.stream(SHORT)[:1])[:21], "the stream is cut off")

    def test_damage(self) -> None:
        """Every bit in turn: what ends cleanly is what it was. Without a checksum there is only no other error."""
        stream = self.stream(SHORT * 3)
        found = 0
        for place in range(len(stream) * 8):
            damaged = bytearray(stream)
            damaged[place // 8] ^= 1 << place % 8
            try:
                plain = self.plain(bytes(damaged))
            except ValueError:
                found += 1
            else:
                self.assertTrue(plain == SHORT * 3 or not self.checked, place)
        self.assertTrue(found > len(stream) * 4 or not self.checked, found)

    def test_a_bomb_stops_where_it_is_not_pulled(self) -> None:
        bomb = self.bomb()
        output = self.make().received(memoryview(bomb))
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        sizes = [len(piece) for piece in islice(output, 100)]
        self.assertTrue(90 * PIECE < sum(sizes) <= 100 * PIECE, sizes)
        self.assertTrue(tracemalloc.get_traced_memory()[1] < MIB)

    def test_a_flood_of_streams(self) -> None:
        """Each costs more than its few bytes are worth, so others have their turn in between."""
        flood = self.stream(b"x") * 1000
        if not self.many:
            self.fails(flood)
            return
        self.context = FilterContext(clock=Clock())
        items = list(self.make().received(memoryview(flood)))
        pieces = [item for item in items if not isinstance(item, Deferred)]
        self.assertEqual(b"".join(pieces), b"x" * 1000)
        self.assertEqual(len(items) - len(pieces), 1000 // 64)
        self.assertEqual(len(self.context.clock.getDelayedCalls()), 1000 // 64)

    def test_what_was_lent_is_not_kept(self) -> None:
        each = self.make()
        lent = bytearray(self.stream(SAMPLES[-1]))
        with memoryview(lent) as view, view.toreadonly() as data:
            found = list(each.received(data))
        lent *= 2  # a BufferError while there is a view
        self.assertEqual(b"".join([*found, *each.ended()]), SAMPLES[-1])

    def test_stopped(self) -> None:
        """It lets go of what it has."""
        each = self.make()
        pieces_of(each, [self.stream(SHORT)[:-1]], end=False)
        with_decoder = repr(each)
        each.stopped(RuntimeError("broken off"))
        self.assertIn("_decoder=None", repr(each))
        self.assertNotIn("_decoder=None", with_decoder)

    def test_options(self) -> None:
        check_options(self)


def check_options(case: FilterCase) -> None:
    """Those that are to be refused are refused."""
    for options, said in case.refused:
        error = case.assertRaises(BadConfiguration, find_filter(case.name).configure, options)
        case.assertEqual(str(error), f"filter {case.name}: {said}")
