"""The decoder of the chunked coding: what it takes, what it refuses, what it costs; beside h11 and the filter."""

from __future__ import annotations

import re
from typing import Any

import attrs
import h11
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.filters.compression import cut, every_cut
from twisted_pipe.filters.chunked import ChunkedDecode
from twisted_pipe.http.chunked import ChunkedDecoder, encode_chunk, last_chunk
from twisted_pipe.interfaces import FilterContext


@attrs.frozen
class Outcome:
    """
    @ivar body: what was decoded, before the fault if there was one.
    @ivar wrong: what L{ChunkedDecoder.decode} raised, without what it quotes.
    @ivar missing: what was to come at the end.
    @ivar rest: the surplus of all pieces.
    """

    body: bytes
    wrong: str | None = None
    missing: str | None = None
    rest: bytes = b""
    trailers: tuple[tuple[bytes, bytes], ...] = ()


def outcome_of(pieces: list[bytes], bare_lf: bool = False) -> Outcome:
    """Feed them; each in memory of its own, which is looked at only as far as it was decoded."""
    decoder = ChunkedDecoder(bare_lf)
    body = rest = b""
    for piece in pieces:
        memory = bytearray(piece)
        before = decoder.decoded
        try:
            count = decoder.decode(memoryview(memory))
        except ValueError as error:
            return Outcome(body + bytes(memory[: decoder.decoded - before]), str(error).partition(":")[0])
        if count != decoder.decoded - before:
            raise AssertionError(f"{count} bytes were decoded, and {decoder.decoded - before} counted")
        body += memory[:count]
        surplus = len(piece) - decoder.surplus
        rest += memory[surplus:]
        if memory[surplus:] != piece[surplus:]:
            raise AssertionError("the surplus was written to")
    return Outcome(body, None, decoder.at_end(), rest, tuple(decoder.trailers))


#: Streams, what is in them, and their trailers.
SAMPLES: dict[bytes, tuple[bytes, list[tuple[bytes, bytes]]]] = {
    b"0\r\n\r\n": (b"", []),
    b"5\r\nhello\r\n0\r\n\r\n": (b"hello", []),
    b"1\r\na\r\n2\r\nbc\r\n000\r\n\r\n": (b"abc", []),
    b"00A\r\n0123456789\r\n0a\r\n0123456789\r\n0\r\n\r\n": (b"0123456789" * 2, []),
    b"4\r\n\r\n\r\n\r\n3\r\n0\r\n\r\n0\r\n\r\n": (b"\r\n\r\n0\r\n", []),
    b'1;x\r\na\r\n1 ;x=y;z="a b" \r\nb\r\n0;last\t\r\n\r\n': (b"ab", []),
    b'1;x="a;\\"b\\\\"\r\na\r\n1\t;"";y="\xff"\r\nb\r\n0\r\n\r\n': (b"ab", []),
    b'1\r\na\r\n0\r\nETag: "x"\r\nX-Empty:\r\nX:\t y z \r\n\r\n': (
        b"a",
        [(b"ETag", b'"x"'), (b"X-Empty", b""), (b"X", b"y z")],
    ),
    b"0\r\nContent-Length: 5\r\nX: y\r\nhost: b\r\n\r\n": (b"", [(b"X", b"y")]),
}
#: What is wrong with what, and what is decoded before that.
WRONG = {
    b"\r\n": ("a chunk's size was to come, and not b''", b""),
    b"g\r\n": ("a chunk's size was to come, and not b'g'", b""),
    b" 5\r\n": ("a chunk's size was to come, and not b' 5'", b""),
    b"5 \r\n": ("a chunk's size was to come, and not b'5 '", b""),
    b"-5\r\n": ("a chunk's size was to come, and not b'-5'", b""),
    b"+5\r\n": ("a chunk's size was to come, and not b'+5'", b""),
    b"0x5\r\n": ("a chunk's size was to come, and not b'0x5'", b""),
    b"1_0\r\n": ("a chunk's size was to come, and not b'1_0'", b""),
    b"\xd9\xa5\r\n": ("a chunk's size was to come, and not b'\\xd9\\xa5'", b""),
    b";x\r\n": ("a chunk's size was to come, and not b';x'", b""),
    b"5 x\r\n": ("a chunk's size was to come, and not b'5 x'", b""),
    b"5;a\rb\r\n": ("a chunk's size was to come, and not b'5;a\\rb'", b""),
    b"5;a\0b\r\n": ("a chunk's size was to come, and not b'5;a\\x00b'", b""),
    b'5;a="b\r\nhello\r\n': ("a chunk's size was to come, and not b'5;a=\"b'", b""),
    b'5;a="b\\"\r\nhello\r\n': ("a chunk's size was to come, and not b'5;a=\"b\\\\\"'", b""),
    b"0" * 17 + b"\r\n": ("a chunk's size was to come, and not b'00000000000000000'", b""),
    b"1\r\na\r\n" + b"f" * 17 + b"\r\n": ("a chunk's size was to come, and not b'fffffffffffffffff'", b"a"),
    b"5\nhello\r\n": ("a chunk's size was to come, and its line ends without a CR: b'5\\n'", b""),
    b"5\r\r\n": ("a chunk's size was to come, and not b'5\\r'", b""),
    b"2\r\nab\n0\r\n\r\n": ("the end of a chunk was to come, and its line ends without a CR: b'\\n'", b"ab"),
    b"2\r\nabc\r\n": ("the end of a chunk was to come, and it takes too long: b'c\\r\\n'", b"ab"),
    b"2\r\nab\r0\r\n": ("the end of a chunk was to come, and it takes too long: b'\\r0\\r'", b"ab"),
    b"1\r\na\r\n1\r\nbX\n0\r\n": ("the end of a chunk was to come, and its line ends without a CR: b'X\\n'", b"ab"),
    b"1\r\na\r\n0\r\n\n": ("a trailer was to come, and its line ends without a CR: b'\\n'", b"a"),
    b"1\r\na\r\n0\r\nno colon\r\n\r\n": ("a trailer was to come, and not b'no colon'", b"a"),
    b"1\r\na\r\n0\r\n folded: x\r\n\r\n": ("a trailer was to come, and not b' folded: x'", b"a"),
    b"1\r\na\r\n0\r\nspace : x\r\n\r\n": ("a trailer was to come, and not b'space : x'", b"a"),
    b"1\r\na\r\n0\r\nx: \0\r\n\r\n": ("a trailer was to come, and not b'x: \\x00'", b"a"),
    b"0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n": ("a trailer was to come, and not b'GET / HTTP/1.1'", b""),
}


class DecodeTests(SynchronousTestCase):
    def test_samples(self) -> None:
        for stream, (body, trailers) in SAMPLES.items():
            self.assertEqual(outcome_of([stream]), Outcome(body, trailers=tuple(trailers)), stream)

    def test_every_cut(self) -> None:
        """The same, and the surplus behind it is where it was, however it comes."""
        for stream, (body, trailers) in SAMPLES.items():
            for rest in (b"", b"\r\n", b"GET / HTTP/1.1\r\n"):
                for pieces in every_cut(stream + rest):
                    self.assertEqual(outcome_of(pieces), Outcome(body, rest=rest, trailers=tuple(trailers)), pieces)

    def test_wrong(self) -> None:
        for stream, (why, body) in WRONG.items():
            error = self.assertRaises(ValueError, ChunkedDecoder().decode, memoryview(bytearray(stream)))
            self.assertEqual(str(error), why, stream)
            self.assertEqual(outcome_of([stream]).body, body, stream)

    def test_wrong_in_every_cut(self) -> None:
        """The same error, but for how much of it is quoted, and the same bytes before it."""
        for stream, (why, body) in WRONG.items():
            for pieces in every_cut(stream):
                self.assertEqual(outcome_of(pieces), Outcome(body, why.partition(":")[0]), pieces)

    def test_cut_off(self) -> None:
        """Of every beginning of a sample something is missing."""
        for stream, (body, _) in SAMPLES.items():
            for size in range(len(stream)):
                found = outcome_of([stream[:size]])
                self.assertTrue(found.missing, stream[:size])
                self.assertTrue(body.startswith(found.body))
        for stream, missing in (
            (b"", "a chunk's size"),
            (b"5\r\nhe", "the rest of a chunk"),
            (b"2\r\nhe\r", "the end of a chunk"),
            (b"2\r\nhe\r\n", "a chunk's size"),
            (b"0\r\n\r", "a trailer"),
        ):
            self.assertEqual(outcome_of([stream]).missing, missing)

    def test_finished(self) -> None:
        decoder = ChunkedDecoder()
        decoder.decode(memoryview(bytearray(b"0\r\n\r")))
        self.assertEqual((decoder.finished, decoder.surplus), (False, 0))
        self.assertEqual(decoder.decode(memoryview(bytearray(b"\nabc"))), 0)
        self.assertEqual((decoder.finished, decoder.surplus, decoder.at_end()), (True, 3, None))
        self.assertEqual(decoder.decode(memoryview(bytearray(b"de"))), 0)
        self.assertEqual((decoder.finished, decoder.surplus), (True, 2))
        self.assertEqual(decoder.decode(memoryview(bytearray())), 0)
        self.assertEqual(decoder.surplus, 0)

    def test_what_does_not_move_is_not_written(self) -> None:
        """The inside of a chunk and its end may stand in memory that cannot be written to."""
        decoder = ChunkedDecoder()
        decoder.decode(memoryview(b"a\r\n"))
        for piece, count in ((b"01234", 5), (b"567", 3), (b"89\r\n0\r\n\r\n", 2)):
            self.assertEqual(decoder.decode(memoryview(piece)), count)
        self.assertTrue(decoder.finished)
        self.assertRaises(TypeError, ChunkedDecoder().decode, memoryview(b"1\r\na\r\n"))

    def test_bare_lf(self) -> None:
        """If it is allowed, it ends any line, in any mixture; a bare CR still ends none."""
        stream = b"5;x\nhello\r\n1\r\n!\n0\nX: y\n\r\n"
        for pieces in every_cut(stream):
            self.assertEqual(outcome_of(pieces, bare_lf=True), Outcome(b"hello!", trailers=((b"X", b"y"),)))
        for stream, (body, trailers) in SAMPLES.items():
            self.assertEqual(outcome_of([stream], bare_lf=True), Outcome(body, trailers=tuple(trailers)))
        for stream in (
            b"5\rhello",
            b"5\r\r\n",
            b"1\r\na\r0\r\n",
            b"1\r\na\r\r\n",
            b"1\r\nab",
            b"0\r\n\r\r\n",
            b"0\nX: y\r\r\n\r\n",
        ):
            self.assertTrue(outcome_of([stream + b"\n"], bare_lf=True).wrong, stream)


class BoundTests(SynchronousTestCase):
    def test_the_largest_size(self) -> None:
        """16 digits are taken at their word, and cost nothing."""
        decoder = ChunkedDecoder()
        decoder.decode(memoryview(bytearray(b"f" * 16 + b"\r\n")))
        self.assertEqual(decoder.decode(memoryview(bytes(1000))), 1000)
        self.assertEqual(decoder.at_end(), "the rest of a chunk")

    def test_a_size_line(self) -> None:
        line = b"1;" + b"x" * 4092
        self.assertEqual(outcome_of([line + b"\r\na\r\n0\r\n\r\n"]), Outcome(b"a"))
        for rest in (b"x\r\n", b"xxx", b"x" * 100_000):
            for size in (1, 1000, 1 << 20):
                found = outcome_of(cut(line + rest, size))
                self.assertEqual(found.wrong, "a chunk's size was to come, and it takes too long")

    def test_extensions_of_small_chunks(self) -> None:
        """16 KiB, and one more byte for each byte of body, whatever their chunks' sizes."""
        for extensions in (b";a", b";a=bcdef", b";" + b"x" * 62, b";" + b"x" * 4092):
            each = len(extensions)
            most = 16383 // (each - 1)  # most * each <= 16384 + most - 1
            found = outcome_of([(b"1" + extensions + b"\r\na\r\n") * (most + 1)])
            why = f"there are {(most + 1) * each} bytes of chunk extensions for {most} bytes of body"
            self.assertEqual(found, Outcome(b"a" * most, why))
        self.assertEqual(outcome_of([b"1;\r\na\r\n" * 20_000 + b"0\r\n\r\n"]), Outcome(b"a" * 20_000))

    def test_signatures_of_large_chunks(self) -> None:
        """As object stores sign them: any number."""
        chunk = b"10000;chunk-signature=" + b"a" * 64 + b"\r\n" + bytes(0x10000) + b"\r\n"
        self.assertEqual(len(outcome_of([chunk] * 250 + [b"0\r\n\r\n"]).body), 250 << 16)

    def test_chunks_of_a_byte_are_fine(self) -> None:
        """However many, without extensions."""
        self.assertEqual(outcome_of([b"1\r\na\r\n" * 50_000 + b"0\r\n\r\n"]), Outcome(b"a" * 50_000))

    def test_bytes_of_trailers(self) -> None:
        """All of them together, dropped ones as well."""
        self.assertEqual(len(outcome_of([b"0\r\nx:" + b"y" * (16384 - 6) + b"\r\n\r\n"]).trailers), 1)
        self.assertEqual(outcome_of([b"0\r\n" + b"Host: abc\r\n" * 1489 + b"\r\n"]), Outcome(b""))
        for trailers in (
            b"x:" + b"y" * (16384 - 5) + b"\r\n\r\n",
            b"x:" + b"y" * 16384,
            b"Host: abc\r\n" * 1490 + b"\r\n",
        ):
            for size in (1, 1000, 1 << 20):
                found = outcome_of(cut(b"1\r\na\r\n0\r\n" + trailers, size))
                self.assertEqual(found, Outcome(b"a", "a trailer was to come, and it takes too long"))

    def test_number_of_trailers(self) -> None:
        self.assertEqual(len(outcome_of([b"0\r\n" + b"x:y\r\n" * 100 + b"\r\n"]).trailers), 100)
        self.assertEqual(outcome_of([b"0\r\n" + b"x:y\r\n" * 101 + b"\r\n"]).wrong, "there are more than 100 trailers")

    def test_what_it_holds(self) -> None:
        """However a line comes, no more of it is kept than it may have."""
        for size in (1, 7, 5000, 1 << 20):
            decoder = ChunkedDecoder()
            with self.assertRaises(ValueError):
                for piece in cut(b"1;" + b"x" * (1 << 20), size):
                    decoder.decode(memoryview(bytearray(piece)))
            self.assertLessEqual(len(decoder._line), 4097)

    def test_a_line_is_read_once(self) -> None:
        """Quotes and backslashes, thousands of them, make the pattern try nothing twice."""
        for filling in (
            b'"\\"' * 1360,
            b'""' * 2000,
            b'"' * 4001,
            b"\\" * 4000,
            b" ;" * 2000,
            b'"\\' * 2000,
            b" " * 4000,
        ):
            for end in (b"\r\n", b"\0\r\n", b'"\r\n', b'\\"\r\n'):
                outcome_of([b"1;" + filling + end])  # a pattern that backtracks would take years


class TrailerTests(SynchronousTestCase):
    def names(self, names: list[bytes]) -> list[bytes]:
        stream = b"0\r\n" + b"".join(name + b": x\r\n" for name in names) + b"\r\n"
        return [name for name, _ in outcome_of([stream]).trailers]

    def test_what_must_stand_in_the_head_is_dropped(self) -> None:
        forbidden = [
            b"Content-Length",
            b"TRANSFER-ENCODING",
            b"host",
            b"Authorization",
            b"Cookie",
            b"Set-Cookie",
            b"Trailer",
        ]
        forbidden += [
            b"Content-Type",
            b"Content-Encoding",
            b"Connection",
            b"X-Forwarded-For",
            b"Forwarded",
            b"Via",
            b"Expect",
        ]
        forbidden += [
            b"Cache-Control",
            b"If-Match",
            b"TE",
            b"Upgrade",
            b"X-Accel-Redirect",
            b"Proxy-Authorization",
            b"Location",
        ]
        self.assertEqual(self.names(forbidden), [])
        self.assertEqual(self.names([name.replace(b"-", b"_") for name in forbidden]), [])

    def test_others_are_kept(self) -> None:
        kept = [
            b"ETag",
            b"Server-Timing",
            b"grpc-status",
            b"X-Content",
            b"Content-Digest",
            b"Repr-Digest",
            b"X-Checksum",
        ]
        self.assertEqual(self.names(kept), kept)


class EncodeTests(SynchronousTestCase):
    def test_a_chunk(self) -> None:
        data = memoryview(bytes(0x1F))
        start, lent, end = encode_chunk(data)
        self.assertEqual((start, end), (b"1f\r\n", b"\r\n"))
        self.assertIs(lent, data)

    def test_nothing_is_no_chunk(self) -> None:
        """It would be the last one."""
        self.assertEqual(encode_chunk(b""), ())
        self.assertEqual(encode_chunk(memoryview(b"")), ())

    def test_the_last_one(self) -> None:
        self.assertEqual(last_chunk(), b"0\r\n\r\n")
        self.assertEqual(last_chunk([(b"ETag", b'"x"'), (b"X", b"")]), b'0\r\nETag: "x"\r\nX: \r\n\r\n')

    def test_a_trailer_cannot_end_its_line(self) -> None:
        for name, value in (
            (b"X", b"y\r\nZ: z"),
            (b"X", b"y\n"),
            (b"X\r\n", b"y"),
            (b"", b"y"),
            (b"X y", b"z"),
            (b"X", b"\0"),
        ):
            self.assertRaises(ValueError, last_chunk, [(name, value)])

    def test_there_and_back(self) -> None:
        trailers = [(b"X", b"y"), (b"Z", b"")]
        for bodies in ([], [b"a"], [b"a", b"\r\n" * 100, bytes(70_000)]):
            pieces = [b"".join(encode_chunk(body)) for body in bodies] + [last_chunk(trailers)]
            self.assertEqual(outcome_of(pieces), Outcome(b"".join(bodies), trailers=tuple(trailers)))


def by_filter(stream: bytes) -> Outcome:
    decode: Any = ChunkedDecode(FilterContext())
    body = b""
    try:
        for piece in decode.received(memoryview(stream)):
            body += piece
        decode.ended()
    except ValueError as error:
        text = str(error).partition(":")
        if text[0] == "the stream is cut off":
            return Outcome(body, None, text[2].removesuffix(" was to come").strip())
        return Outcome(body, text[0])
    return Outcome(body)


def by_h11(stream: bytes) -> tuple[bytes, bool, bool]:
    """The body; whether it was refused; whether it is whole."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    connection.next_event()
    connection.receive_data(stream)
    body = b""
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return body, True, False
        if not isinstance(event, h11.Data):
            return body, False, isinstance(event, h11.EndOfMessage)
        body += event.data


_SPACE_BEFORE_EXTENSION = re.compile(rb"[0-9A-Fa-f][ \t]+;")  # RFC 9112, section 7.1.1, allows it; h11 does not
_token = st.text("abcXYZ019-_", min_size=1, max_size=6).map(str.encode)
_quoted = st.text('ab;= \t\\"', max_size=6).map(
    lambda text: b'"' + text.encode().replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
)
_extension = st.tuples(st.sampled_from([b"", b" ", b"\t "]), _token, st.one_of(st.none(), _token, _quoted)).map(
    lambda parts: parts[0] + b";" + parts[1] + (b"" if parts[2] is None else b"=" + parts[2])
)
_chunk = st.tuples(
    st.binary(min_size=1, max_size=40),
    st.sampled_from([b"%x", b"%X", b"0%x", b"%016x"]),
    st.lists(_extension, max_size=2).map(b"".join),
).map(lambda parts: parts[1] % len(parts[0]) + parts[2] + b"\r\n" + parts[0] + b"\r\n")
_trailer = st.tuples(_token, st.text("ab;: \t", max_size=8).map(str.encode)).map(lambda parts: b"%b:%b\r\n" % parts)
_stream = st.tuples(st.lists(_chunk, max_size=5), st.lists(_trailer, max_size=3)).map(
    lambda parts: b"".join(parts[0]) + b"0\r\n" + b"".join(parts[1]) + b"\r\n"
)
_fault = st.sampled_from(
    [b"", b"\n", b"\r", b"\r\n", b" ", b"\t", b"0", b"f", b"-", b";", b'"', b"\0", b":", b"x", b"\xff"]
)


@st.composite
def _broken(draw: st.DrawFn) -> bytes:
    """One with a few bytes of it replaced, left out or put in."""
    stream = draw(_stream)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(stream)))
        stream = stream[:at] + draw(_fault) + stream[at + draw(st.integers(0, 2)) :]
    return stream


class DifferentialTests(SynchronousTestCase):
    @settings(max_examples=200)
    @given(_stream, st.binary(max_size=20), st.data())
    def test_valid_streams(self, stream: bytes, rest: bytes, data: st.DataObject) -> None:
        """Cut anywhere, with anything behind them: as the filter and h11 see them."""
        found = outcome_of([stream])
        self.assertEqual((found.wrong, found.missing, found.rest), (None, None, b""))
        self.assertEqual(by_filter(stream), Outcome(found.body))
        if not _SPACE_BEFORE_EXTENSION.search(stream):
            self.assertEqual(by_h11(stream), (found.body, False, True))
        size = len(stream + rest)
        places = sorted(data.draw(st.lists(st.integers(0, size), max_size=8)))
        pieces = [(stream + rest)[start:end] for start, end in zip([0, *places], [*places, size], strict=True)]
        self.assertEqual(outcome_of(pieces), attrs.evolve(found, rest=rest))

    @settings(max_examples=500)
    @given(_broken())
    def test_broken_streams(self, stream: bytes) -> None:
        """
        As the filter sees them, but that it drops trailers, minds no quotes and takes nothing behind the end. What we accept h11
        accepts as the same, space before an extension excepted. It accepts more: space behind a size, control characters in
        extensions, bare LF and folds in trailers.
        """
        found = outcome_of([stream])
        for pieces in (cut(stream, 1), cut(stream, 3)):
            self.assertEqual(outcome_of(pieces), found)
        filtered = by_filter(stream)
        if found.rest:
            self.assertEqual(filtered, Outcome(found.body, "something follows the last chunk"))
        elif found.wrong and b'"' in stream:
            self.assertTrue(filtered.body.startswith(found.body))
        else:
            self.assertEqual(filtered, Outcome(found.body, found.wrong, found.missing))
        body, refused, whole = by_h11(stream)
        if _SPACE_BEFORE_EXTENSION.search(stream):
            self.assertTrue(body.startswith(found.body) or found.body.startswith(body))
        elif found.wrong:
            self.assertTrue(body.startswith(found.body))
        else:
            self.assertEqual((body, refused, whole), (found.body, False, found.missing is None))
