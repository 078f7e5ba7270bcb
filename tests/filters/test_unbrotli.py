"""Decompression of brotli."""

from __future__ import annotations

import brotli

from tests.filters import compression
from tests.filters.compression import MIB, SHORT, pieces_of
from twisted_pipe.filters.unbrotli import Unbrotli
from twisted_pipe.interfaces import FilterContext


class UnbrotliTests(compression.DecompressCase):
    name = "unbrotli"
    tool = "brotli"
    kind = "brotli"
    many = False
    checked = False

    def stream(self, data: bytes) -> bytes:
        stream: bytes = brotli.compress(data, quality=5)
        return stream

    def flushed(self, data: bytes) -> bytes:
        stream = brotli.Compressor(quality=5)
        begin: bytes = stream.process(data) + stream.flush()
        return begin

    def bomb(self) -> bytes:
        """64 MiB in 102 bytes."""
        return self.stream(bytes(64 * MIB))

    def test_all_of_what_swells(self) -> None:
        """Long after all input was taken the library has output left, and does not say so."""
        stream = self.stream(bytes(10 * MIB))
        self.assertTrue(len(stream) < 100)
        for chunks in ([stream], [stream[:-1], stream[-1:]]):
            self.assertEqual(sum(map(len, pieces_of(self.make(), chunks))), 10 * MIB)

    def test_which_damage_it_is(self) -> None:
        stream = self.stream(SHORT)
        said = f"something follows the end of the brotli data, at byte {len(stream)}"
        self.assertEqual(self.fails(stream, b"x"), said)
        self.assertEqual(self.fails(stream + b"x"), f"broken brotli data before byte {len(stream) + 1}: decoder failed")
        self.assertEqual(self.fails(b"\xff" * 10), "broken brotli data before byte 10: decoder failed")

    def test_defaults(self) -> None:
        self.assertEqual(self.make(), Unbrotli(FilterContext()))
