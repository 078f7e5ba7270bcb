"""Compression with gzip, by zlib."""

from __future__ import annotations

import zlib
from functools import partial
from typing import ClassVar

import attrs

from twisted_pipe.filters.base import between, option
from twisted_pipe.filters.compression import Compress, Encoder
from twisted_pipe.units import parse_count

__all__ = ["Gzip"]

_GZIP = 16 + zlib.MAX_WBITS


@attrs.define
class Gzip(Compress):
    """
    Compresses to one gzip stream. Takes 260 KiB of memory for each connection.

    @ivar level: 1 is fastest, 9 smallest. Default 6.
    """

    content_coding: ClassVar[str] = "gzip"

    level: int = option(between(1, 9, parse_count), default=6, help="how hard to compress: 1 is fastest, 9 smallest")

    def _open(self) -> Encoder:
        stream = zlib.compressobj(self.level, zlib.DEFLATED, _GZIP)
        return Encoder(stream.compress, partial(stream.flush, zlib.Z_SYNC_FLUSH), stream.flush)
