"""Compression with zstd."""

from __future__ import annotations

import sys

from tests.filters import compression
from tests.filters.compression import SHORT, pieces_of
from twisted_pipe.filters.zstd import Zstd
from twisted_pipe.interfaces import FilterContext

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


class ZstdTests(compression.CompressCase):
    name = "zstd"
    tool = "zstd"
    refused = [
        ({"level": "0"}, "level: '0': must be from 1 to 19"),
        ({"level": "20"}, "level: '20': must be from 1 to 19"),
        ({"flush": "1"}, "flush: '1': must be on or off"),
    ]

    def whole(self, data: bytes) -> bytes:
        return zstd.decompress(data)

    def so_far(self, data: bytes) -> bytes:
        return zstd.ZstdDecompressor().decompress(data)

    def strengths(self) -> tuple[dict[str, str], dict[str, str]]:
        return {"level": "1"}, {"level": "19"}

    def test_checksum(self) -> None:
        data = b"".join(pieces_of(self.make(), [SHORT]))
        damaged = data[:-1] + bytes([data[-1] ^ 1])
        self.assertIn("checksum", str(self.assertRaises(zstd.ZstdError, zstd.decompress, damaged)))

    def test_defaults(self) -> None:
        self.assertEqual(self.make(), Zstd(FilterContext(), level=3, flush=True))
