"""Decompression of gzip and its relatives."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.filters import compression
from tests.filters.compression import MIB, NOISE, PIECE, SHORT, pieces_of
from tests.net.fakes import MemoryTransport, PipeCase, errors_of
from twisted_pipe.errors import Cancelled
from twisted_pipe.filters.gunzip import Gunzip
from twisted_pipe.filters.gzip import Gzip
from twisted_pipe.interfaces import FilterContext, NamedFilter, OnFailure
from twisted_pipe.limits import PipeLimits


def compressed(data: bytes, wbits: int, flush: int = zlib.Z_FINISH) -> bytes:
    """zlib's stream of that kind, of which only Z_FINISH is the end."""
    stream = zlib.compressobj(6, zlib.DEFLATED, wbits)
    return stream.compress(data) + stream.flush(flush)


def bomb(wbits: int = 31) -> bytes:
    """10 GiB in 10 MiB; its end is missing."""
    stream = zlib.compressobj(9, zlib.DEFLATED, wbits)
    blocks = [stream.compress(bytes(MIB)) + stream.flush(zlib.Z_FULL_FLUSH) for _ in range(2)]
    return blocks[0] + blocks[1] * 10240


class Streams:
    """
    @cvar wbits: zlib's word for the kind of stream.
    """

    wbits = 31

    def stream(self, data: bytes) -> bytes:
        return compressed(data, self.wbits)

    def flushed(self, data: bytes) -> bytes:
        return compressed(data, self.wbits, zlib.Z_SYNC_FLUSH)

    def bomb(self) -> bytes:
        return bomb(self.wbits)


class GunzipTests(Streams, compression.DecompressCase):
    name = "gunzip"
    tool = "gzip"
    kind = "gzip"
    refused = [({"format": "bzip2"}, "format: 'bzip2': must be auto or gzip or zlib or raw")]

    def test_which_damage_it_is(self) -> None:
        stream = gzip.compress(SHORT)
        before = f"broken gzip data before byte {len(stream)}: "
        wrong_sum = stream[:-8] + bytes([stream[-8] ^ 1]) + stream[-7:]
        self.assertEqual(self.fails(wrong_sum), before + "incorrect data check")
        wrong_length = stream[:-1] + bytes([stream[-1] ^ 1])
        self.assertEqual(self.fails(wrong_length), before + "incorrect length check")
        self.assertEqual(
            self.fails(stream, b"garbage"), f"broken gzip data before byte {len(stream) + 7}: incorrect header check"
        )
        self.assertEqual(self.fails(b"GET / HTTP/1.1"), "it is neither gzip nor zlib data: the first byte is 0x47")

    def test_header_fields(self) -> None:
        """A name, a comment and a checksum of the header."""
        stream = gzip.compress(SHORT)
        header = stream[:3] + bytes([0x04 | 0x08 | 0x10]) + stream[4:10] + b"\x03\x00abc" + b"name\0" + b"comment\0"
        self.assertEqual(self.plain(header + stream[10:]), SHORT)

    def test_defaults(self) -> None:
        self.assertEqual(self.make(), Gunzip(FilterContext(), format="auto"))


class ZlibTests(Streams, compression.DecompressCase):
    """zlib data, which C{auto} knows from gzip data."""

    name = "gunzip"
    kind = "zlib"
    wbits = 15
    many = False

    def test_which_damage_it_is(self) -> None:
        stream = self.stream(SHORT)
        wrong_sum = stream[:-1] + bytes([stream[-1] ^ 1])
        self.assertEqual(self.fails(wrong_sum), f"broken zlib data before byte {len(stream)}: incorrect data check")
        for chunks in ([stream, stream], [stream + stream]):
            said = f"something follows the end of the zlib data, at byte {len(stream)}"
            self.assertEqual(self.fails(*chunks), said)

    def test_a_dictionary_that_nobody_has(self) -> None:
        stream = zlib.compressobj(zdict=b"short")
        data = stream.compress(SHORT) + stream.flush()
        self.assertEqual(
            self.fails(data), f"broken zlib data before byte {len(data)}: Error 2 while decompressing data"
        )


class RawTests(Streams, compression.DecompressCase):
    """Raw deflate data."""

    name = "gunzip"
    kind = "deflate"
    wbits = -15
    many = False
    checked = False
    options = {"format": "raw"}

    def test_which_damage_it_is(self) -> None:
        stream = self.stream(SHORT)
        said = f"something follows the end of the deflate data, at byte {len(stream)}"
        self.assertEqual(self.fails(stream, stream), said)


class FormatTests(SynchronousTestCase):
    """One format, and no other."""

    def test_another_format(self) -> None:
        for name, wbits in [("gzip", 15), ("zlib", 31)]:
            data = compressed(SHORT, wbits)
            error = self.assertRaises(ValueError, pieces_of, Gunzip(FilterContext(), format=name), [data])
            self.assertEqual(str(error), f"broken {name} data before byte {len(data)}: incorrect header check")

    def test_the_format(self) -> None:
        for name, wbits in [("gzip", 31), ("zlib", 15)]:
            found = pieces_of(Gunzip(FilterContext(), format=name), [compressed(SHORT, wbits)])
            self.assertEqual(b"".join(found), SHORT)


class PipeTests(PipeCase):
    """In a pipe."""

    def start(self, client: MemoryTransport, *more: Any, **options: Any) -> Any:
        filters = [*more, NamedFilter("gunzip", Gunzip(FilterContext()), **options)]
        return self.pipe(MemoryTransport(), client, filters)

    def test_behind_gzip(self) -> None:
        client = MemoryTransport()
        pipe = self.start(client, NamedFilter("gzip", Gzip(FilterContext())))
        plain = SHORT * 1000 + NOISE
        for start in range(0, len(plain), 777):
            pipe.write(plain[start : start + 777])
            self.assertEqual(len(client.value()), min(start + 777, len(plain)))
        pipe.upstream_ended()
        outcome = self.outcome(pipe)
        self.assertEqual((outcome.clean, outcome.bytes_in, outcome.bytes_out), (True, len(plain), len(plain)))
        self.assertEqual(client.value(), plain)

    def test_a_stream_that_is_cut_off_is_no_clean_end(self) -> None:
        client = MemoryTransport()
        pipe = self.start(client)
        pipe.write(compressed(SHORT, 31)[:-1])
        self.assertEqual(client.value(), SHORT)
        pipe.upstream_ended()
        outcome = self.outcome(pipe)
        said = f"ValueError: the stream is cut off: no end of gzip data after {outcome.bytes_in} bytes"
        self.assertEqual(errors_of(outcome), ("filter", f"filter 'gunzip': {said}"))
        self.assertEqual(client.ends, ["abort"])

    def test_data_that_is_not_compressed_may_pass(self) -> None:
        """If the user says so."""
        client = MemoryTransport()
        pipe = self.start(client, on_failure=OnFailure.BYPASS)
        pipe.write(SHORT)
        pipe.upstream_ended()
        self.assertTrue(self.outcome(pipe).clean)
        self.assertEqual(client.value(), SHORT)

    def test_a_bomb_waits_for_the_client(self) -> None:
        client = MemoryTransport(room=1)
        self.limits = limits = PipeLimits(max_temp_file_size=0)
        pipe = self.start(client)
        pipe.write(bomb()[: limits.buffer_size])  # 32 MiB
        self.assertTrue(0 < len(client.value()) <= limits.busy_size + PIECE, len(client.value()))
        for taken in range(1, 100):
            took = len(client.take())
            self.clock.advance(0)  # every now and then the filters make a pause
            self.assertTrue(0 < took <= limits.busy_size + PIECE, taken)
        pipe.abandon(Cancelled("enough"))
        most = limits.buffer_size + limits.memory + PIECE
        self.assertTrue(self.outcome(pipe).peak_memory <= most, self.outcome(pipe).peak_memory)
