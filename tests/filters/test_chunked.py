"""The chunked transfer coding, both ways."""

from __future__ import annotations

import random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import fromChunk

from tests.filters.compression import cut, every_cut, pieces_of
from tests.net.fakes import MemoryTransport, PipeCase, errors_of
from twisted_pipe.errors import Cancelled
from twisted_pipe.filters.chunked import ChunkedDecode, ChunkedEncode
from twisted_pipe.filters.discovery import find_filter
from twisted_pipe.interfaces import FilterContext, NamedFilter

#: Streams and what is in them: sizes in both cases and with zeros before them, extensions, trailers, line ends in the data.
SAMPLES = {
    b"0\r\n\r\n": b"",
    b"5\r\nhello\r\n0\r\n\r\n": b"hello",
    b"1\r\na\r\n2\r\nbc\r\n000\r\n\r\n": b"abc",
    b"00A\r\n0123456789\r\n0a\r\n0123456789\r\n0\r\n\r\n": b"0123456789" * 2,
    b"4\r\n\r\n\r\n\r\n3\r\n0\r\n\r\n0\r\n\r\n": b"\r\n\r\n0\r\n",
    b'1;x\r\na\r\n1 ;x=y;z="a b" \r\nb\r\n0;last\t\r\n\r\n': b"ab",
    b'1\r\na\r\n0\r\nETag: "x"\r\nX-Empty:\r\n\r\n': b"a",
}
#: What is wrong with what, and what is passed on before that.
WRONG = {
    b"\r\n": ("a chunk's size was to come, and not b''", b""),
    b"g\r\n": ("a chunk's size was to come, and not b'g'", b""),
    b" 5\r\n": ("a chunk's size was to come, and not b' 5'", b""),
    b"\t5\r\n": ("a chunk's size was to come, and not b'\\t5'", b""),
    b"5 \r\n": ("a chunk's size was to come, and not b'5 '", b""),
    b"-5\r\n": ("a chunk's size was to come, and not b'-5'", b""),
    b"+5\r\n": ("a chunk's size was to come, and not b'+5'", b""),
    b"0x5\r\n": ("a chunk's size was to come, and not b'0x5'", b""),
    b"1_0\r\n": ("a chunk's size was to come, and not b'1_0'", b""),
    b"5,5\r\n": ("a chunk's size was to come, and not b'5,5'", b""),
    b"\xd9\xa5\r\n": ("a chunk's size was to come, and not b'\\xd9\\xa5'", b""),
    b";x\r\n": ("a chunk's size was to come, and not b';x'", b""),
    b"5 x\r\n": ("a chunk's size was to come, and not b'5 x'", b""),
    b"5;a\rb\r\n": ("a chunk's size was to come, and not b'5;a\\rb'", b""),
    b"5;a\0b\r\n": ("a chunk's size was to come, and not b'5;a\\x00b'", b""),
    b"0" * 17 + b"\r\n": ("a chunk's size was to come, and not b'00000000000000000'", b""),
    b"5\nhello\r\n": ("a chunk's size was to come, and its line ends without a CR: b'5\\n'", b""),
    b"5\r\r\n": ("a chunk's size was to come, and not b'5\\r'", b""),
    b"2\r\nab\n0\r\n\r\n": ("the end of a chunk was to come, and its line ends without a CR: b'\\n'", b"ab"),
    b"2\r\nabc\r\n": ("the end of a chunk was to come, and it takes too long: b'c\\r\\n'", b"ab"),
    b"2\r\nab\r0\r\n": ("the end of a chunk was to come, and it takes too long: b'\\r0\\r'", b"ab"),
    b"2\r\nab0\r\n\r\n": ("the end of a chunk was to come, and it takes too long: b'0\\r\\n'", b"ab"),
    b"1\r\na\r\n0\r\n\n": ("a trailer was to come, and its line ends without a CR: b'\\n'", b"a"),
    b"1\r\na\r\n0\r\nno colon\r\n\r\n": ("a trailer was to come, and not b'no colon'", b"a"),
    b"1\r\na\r\n0\r\n folded: x\r\n\r\n": ("a trailer was to come, and not b' folded: x'", b"a"),
    b"1\r\na\r\n0\r\nspace : x\r\n\r\n": ("a trailer was to come, and not b'space : x'", b"a"),
    b"1\r\na\r\n0\r\nx: \0\r\n\r\n": ("a trailer was to come, and not b'x: \\x00'", b"a"),
    b"1\r\na\r\n0\r\n\r\nmore": ("something follows the last chunk", b"a"),
    b"1\r\na\r\n0\r\n\r\n\r\n": ("something follows the last chunk", b"a"),
    b"0\r\n\r\n0\r\n\r\n": ("something follows the last chunk", b""),
}


def encoded(*chunks: bytes) -> bytes:
    return b"".join(pieces_of(ChunkedEncode(FilterContext()), chunks))


def decoded(chunks: list[bytes]) -> bytes:
    return b"".join(pieces_of(ChunkedDecode(FilterContext()), chunks))


class ChunkedEncodeTests(SynchronousTestCase):
    def test_a_chunk_for_each_piece(self) -> None:
        self.assertEqual(encoded(b"hello", bytes(0x1F)), b"5\r\nhello\r\n1f\r\n" + bytes(0x1F) + b"\r\n0\r\n\r\n")

    def test_an_empty_stream(self) -> None:
        self.assertEqual(encoded(), b"0\r\n\r\n")

    def test_twisted_reads_it(self) -> None:
        rest = encoded(b"a", bytes(70_000), b"z" * 16)
        chunks = []
        while rest:
            chunk, rest = fromChunk(rest)
            chunks.append(chunk)
        self.assertEqual(chunks, [b"a", bytes(70_000), b"z" * 16, b""])

    def test_the_data_is_lent_not_copied(self) -> None:
        data = memoryview(b"hello")
        pieces: Any = ChunkedEncode(FilterContext()).received(data)
        self.assertIs(tuple(pieces)[1].obj, data.obj)


class ChunkedDecodeTests(SynchronousTestCase):
    def fails(self, chunks: list[bytes], end: bool = True) -> tuple[str, bytes]:
        """Why, and what was put out before."""
        decode: Any = ChunkedDecode(FilterContext())
        found = b""
        try:
            for chunk in chunks:
                for piece in decode.received(memoryview(chunk)):
                    found += piece
            if end:
                decode.ended()
        except ValueError as error:
            return str(error), found
        raise AssertionError(f"no error, but {found!r}")

    def test_samples(self) -> None:
        for stream, data in SAMPLES.items():
            self.assertEqual(decoded([stream]), data, stream)

    def test_every_cut(self) -> None:
        for stream, data in SAMPLES.items():
            for chunks in every_cut(stream):
                self.assertEqual(decoded(chunks), data, chunks)

    def test_what_was_encoded(self) -> None:
        """Any data, in chunks of any size, cut anywhere."""
        chance = random.Random(1)
        for _ in range(200):
            chunks = [chance.randbytes(chance.choice([1, 2, 9, 10, 300, 5000])) for _ in range(chance.randrange(9))]
            stream = encoded(*chunks)
            places = sorted(chance.choices(range(len(stream) + 1), k=chance.randrange(20)))
            pieces = [stream[start:end] for start, end in zip([0, *places], [*places, len(stream)], strict=True)]
            self.assertEqual(decoded([piece for piece in pieces if piece]), b"".join(chunks))

    def test_passes_on_what_has_come(self) -> None:
        """The beginning of a chunk does not wait for its end, nor a chunk for the next."""
        decode: Any = ChunkedDecode(FilterContext())
        steps = [
            (b"5\r\nhe", [b"he"]),
            (b"l", [b"l"]),
            (b"lo", [b"lo"]),
            (b"\r\n1\r\n!", [b"!"]),
            (b"\r\n0\r\n\r\n", []),
        ]
        for chunk, pieces in steps:
            self.assertEqual([bytes(piece) for piece in decode.received(memoryview(chunk))], pieces)

    def test_the_data_is_lent_not_copied(self) -> None:
        data = memoryview(b"5\r\nhello\r\n2\r\nab")
        decode: Any = ChunkedDecode(FilterContext())
        for piece in decode.received(data):
            self.assertIs(piece.obj, data.obj)

    def test_wrong(self) -> None:
        for stream, (why, before) in WRONG.items():
            self.assertEqual(self.fails([stream]), (why, before), stream)

    def test_wrong_in_every_cut(self) -> None:
        """The same error, but for how much of it is quoted, and the same bytes before it."""
        for stream, (why, before) in WRONG.items():
            for chunks in every_cut(stream):
                found, data = self.fails(chunks)
                self.assertEqual((found.partition(":")[0], data), (why.partition(":")[0], before), chunks)

    def test_cut_off(self) -> None:
        """Every beginning of every sample but the whole: an error, after what is in it."""
        for stream, data in SAMPLES.items():
            for size in range(len(stream)):
                why, before = self.fails([stream[:size]] if size else [])
                self.assertTrue(why.startswith("the stream is cut off: "), (stream, size, why))
                self.assertTrue(data.startswith(before))
        self.assertEqual(self.fails([b"5\r\nhe"])[0], "the stream is cut off: the rest of a chunk was to come")
        self.assertEqual(self.fails([b"2\r\nhe"])[0], "the stream is cut off: the end of a chunk was to come")
        self.assertEqual(self.fails([b"2\r\nhe\r\n"])[0], "the stream is cut off: a chunk's size was to come")
        self.assertEqual(self.fails([b"0\r\n"])[0], "the stream is cut off: a trailer was to come")

    def test_the_largest_size(self) -> None:
        """A size of 16 digits is taken at its word, and costs nothing."""
        decode: Any = ChunkedDecode(FilterContext())
        data = b"f" * 16 + b"\r\n" + bytes(1000)
        self.assertEqual(b"".join(decode.received(memoryview(data))), bytes(1000))

    def test_extensions_are_bounded(self) -> None:
        line = b"1;" + b"x" * 4092
        self.assertEqual(decoded([line + b"\r\na\r\n0\r\n\r\n"]), b"a")
        why = "a chunk's size was to come, and it takes too long: b'1;" + "x" * 38 + "'"
        for rest in (b"x\r\n", b"xxx", b"x" * 100_000):
            for size in (1, 1000, 1 << 20):
                self.assertEqual(self.fails(cut(line + rest, size)), (why, b""))

    def test_trailers_are_bounded(self) -> None:
        """All of them together."""
        trailer = b"x: " + b"y" * 95 + b"\r\n"
        self.assertEqual(decoded([b"0\r\n" + trailer * 163 + b"\r\n"]), b"")
        self.assertEqual(decoded([b"0\r\n" + b"x:" + b"y" * (16384 - 6) + b"\r\n\r\n"]), b"")
        for trailers in (trailer * 164, b"x:" + b"y" * 16384, b"x:y\r\n" * 10_000):
            for size in (1, 1000, 1 << 20):
                why, before = self.fails(cut(b"1\r\na\r\n0\r\n" + trailers, size))
                self.assertTrue(why.startswith("a trailer was to come, and it takes too long: "), why)
                self.assertEqual(before, b"a")

    def test_what_it_holds_is_bounded(self) -> None:
        """However a line comes, no more of it is kept than it may have."""
        for size in (1, 7, 5000, 1 << 20):
            decode: Any = ChunkedDecode(FilterContext())
            with self.assertRaises(ValueError):
                for chunk in cut(b"1;" + b"x" * (1 << 20), size):
                    list(decode.received(memoryview(chunk)))
                    self.assertTrue(len(decode._line) <= 4096)
            self.assertTrue(len(decode._line) <= 2 * 4096)


class PipeTests(PipeCase):
    def test_found_by_name(self) -> None:
        for name, kind in (("chunked-encode", ChunkedEncode), ("chunked-decode", ChunkedDecode)):
            self.assertIsInstance(find_filter(name).build(FilterContext()), kind)

    def life(self, stream: bytes, clean: bool = True) -> tuple[Any, MemoryTransport]:
        """Decoded, and encoded again."""
        downstream = MemoryTransport()
        filters = [
            NamedFilter("chunked-decode", ChunkedDecode(FilterContext())),
            NamedFilter("chunked-encode", ChunkedEncode(FilterContext())),
        ]
        pipe = self.pipe(MemoryTransport(), downstream, filters)
        pipe.write(stream)
        if pipe not in self.outcomes:
            pipe.upstream_ended() if clean else pipe.abandon(Cancelled("enough"))
        return self.outcome(pipe), downstream

    def test_there_and_back(self) -> None:
        stream = encoded(*[bytes([number]) * number for number in range(1, 90)])
        outcome, downstream = self.life(stream)
        self.assertTrue(outcome.clean, outcome)
        self.assertEqual(decoded([downstream.value()]), decoded([stream]))

    def test_broken_off(self) -> None:
        """What is not whole is not made whole: there is no last chunk."""
        for stream, clean in ((b"5\r\nhello\r\n", True), (b"5\r\nhello\r\nx", True), (b"5\r\nhello\r\n", False)):
            outcome, downstream = self.life(stream, clean)
            self.assertFalse(outcome.clean)
            self.assertTrue(b"5\r\nhello\r\n".startswith(downstream.value()))
            self.assertEqual(downstream.ends, ["abort"])
        side, why = errors_of(self.life(b"5\r\nhello\r\n")[0])
        self.assertEqual(side, "filter")
        self.assertEqual(why, "filter 'chunked-decode': ValueError: the stream is cut off: a chunk's size was to come")
