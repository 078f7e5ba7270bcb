"""Compression with brotli."""

from __future__ import annotations

from typing import ClassVar

import attrs

from twisted_pipe.filters.base import between, option
from twisted_pipe.filters.compression import Compress, Encoder
from twisted_pipe.units import parse_count

try:
    import brotli  # type: ignore[import-untyped]
except ImportError as error:
    raise ImportError("it needs the package brotli: pip install twisted_pipe[brotli]") from error

__all__ = ["Brotli"]


@attrs.define
class Brotli(Compress):
    """
    Compresses to one brotli stream. Takes 2 MiB of memory for each connection by default, 7 MiB with C{lgwin} 22, 40 MiB with
    C{quality} 9 besides.

    @ivar quality: 0 is fastest, 11 smallest. Default 5.
    @ivar lgwin: the binary logarithm of the window. Default 19, 512 KiB; the library's own, 22, makes text less than 1% smaller.
    """

    content_coding: ClassVar[str] = "br"

    quality: int = option(
        between(0, 11, parse_count), default=5, help="how hard to compress: 0 is fastest, 11 smallest"
    )
    lgwin: int = option(between(10, 24, parse_count), default=19, help="the window: 19 is 512 KiB, 22 4 MiB")

    def _open(self) -> Encoder:
        stream = brotli.Compressor(quality=self.quality, lgwin=self.lgwin)
        return Encoder(stream.process, stream.flush, stream.finish)
