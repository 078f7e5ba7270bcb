"""Decompression of zstd."""

from __future__ import annotations

import sys

from tests.filters import compression
from tests.filters.compression import MIB, SHORT, pieces_of
from tests.net.fakes import MemoryTransport, PipeCase
from twisted_pipe.filters.unzstd import Unzstd
from twisted_pipe.interfaces import FilterContext, NamedFilter

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: A frame that decoders skip, with 3 bytes in it.
SKIPPED = b"\x50\x2a\x4d\x18\x03\0\0\0abc"


def with_window(log: int) -> bytes:
    """A stream that needs a window of this size."""
    parameter = zstd.CompressionParameter
    stream = zstd.ZstdCompressor(options={parameter.window_log: log})
    return stream.compress(SHORT) + stream.flush(stream.FLUSH_BLOCK) + stream.flush()


class UnzstdTests(compression.DecompressCase):
    name = "unzstd"
    tool = "zstd"
    kind = "zstd"
    refused = [
        ({"window_log_max": "9"}, "window_log_max: '9': must be from 10 to 31"),
        ({"window_log_max": "32"}, "window_log_max: '32': must be from 10 to 31"),
    ]

    def stream(self, data: bytes) -> bytes:
        return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1})

    def flushed(self, data: bytes) -> bytes:
        stream = zstd.ZstdCompressor()
        return stream.compress(data) + stream.flush(stream.FLUSH_BLOCK)

    def bomb(self) -> bytes:
        """10 GiB in 420 KB."""
        return zstd.compress(bytes(64 * MIB)) * 160

    def test_which_damage_it_is(self) -> None:
        stream = self.stream(SHORT)
        before = f"broken zstd data before byte {len(stream)}: "
        wrong_sum = stream[:-1] + bytes([stream[-1] ^ 1])
        self.assertEqual(self.fails(wrong_sum), before + "Restored data doesn't match checksum")
        self.assertEqual(self.fails(b"GET / HTTP/1.1"), "broken zstd data before byte 14: Unknown frame descriptor")

    def test_frames_to_be_skipped(self) -> None:
        stream = SKIPPED + self.stream(SHORT) + SKIPPED + self.stream(SHORT) + SKIPPED
        for size in (1, 5, len(stream)):
            chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
            self.assertEqual(b"".join(pieces_of(self.make(), chunks)), SHORT * 2)

    def test_window(self) -> None:
        for log in (10, 23):
            self.assertEqual(self.plain(with_window(log)), SHORT)
        too_large = with_window(24)
        said = "Frame requires too much memory for decoding (window_log_max=23)"
        self.assertEqual(self.fails(too_large), f"broken zstd data before byte {len(too_large)}: {said}")
        each = self.make(window_log_max="24")
        self.assertEqual(b"".join(pieces_of(each, [too_large])), SHORT)

    def test_the_window_of_the_strongest_of_our_own(self) -> None:
        stream = zstd.ZstdCompressor(19)
        data = stream.compress(SHORT) + stream.flush()
        self.assertEqual(self.plain(data), SHORT)

    def test_defaults(self) -> None:
        self.assertEqual(self.make(), Unzstd(FilterContext(), window_log_max=23))


class PipeTests(PipeCase):
    """In a pipe."""

    def test_a_flood_of_frames(self) -> None:
        """It comes in turns of the reactor, and it comes whole."""
        client = MemoryTransport()
        filters = [NamedFilter("unzstd", Unzstd(FilterContext(clock=self.clock)))]
        pipe = self.pipe(MemoryTransport(), client, filters)
        frame = zstd.compress(b"x")
        pipe.write(frame * 1000)
        pipe.upstream_ended()
        self.assertEqual(client.value(), b"x" * 64)
        self.clock.advance(0)
        self.assertEqual(client.value(), b"x" * 1000)
        self.assertTrue(self.outcome(pipe).clean)
