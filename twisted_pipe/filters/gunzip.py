"""Decompression of gzip and its relatives, by zlib."""

from __future__ import annotations

import zlib
from functools import partial
from typing import ClassVar

import attrs

from twisted_pipe.filters.base import one_of, option
from twisted_pipe.filters.compression import Decompress, Format
from twisted_pipe.interfaces import BytesLike

__all__ = ["Gunzip"]


class _Inflate:
    """zlib's decompressor in the terms of C{Decoder}."""

    __slots__ = ("_full", "_stream")

    def __init__(self, wbits: int) -> None:
        self._stream = zlib.decompressobj(wbits)
        self._full = False

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def needs_input(self) -> bool:
        # what filled its piece may have more, though all input was taken
        return not (self._full or self._stream.unconsumed_tail)

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: BytesLike, max_length: int) -> bytes:
        piece = self._stream.decompress(data or self._stream.unconsumed_tail, max_length)
        self._full = len(piece) == max_length
        return piece


_FORMATS = {
    "gzip": Format("gzip", partial(_Inflate, 16 + zlib.MAX_WBITS), zlib.error, many=True),
    "zlib": Format("zlib", partial(_Inflate, zlib.MAX_WBITS), zlib.error),
    "raw": Format("deflate", partial(_Inflate, -zlib.MAX_WBITS), zlib.error),
}
_GZIP_BEGINS = 0x1F
_ZLIB_METHOD, _DEFLATE = 0x0F, 8


@attrs.define
class Gunzip(Decompress):
    """
    Decompresses gzip (any number of streams, one after the other), zlib or raw deflate data. Takes 80 KiB of memory for each
    connection.

    @ivar format: what the data is; C{"auto"}, the default, is gzip or zlib, which differ in their first byte. Raw data has no
        checksum, so not every damage to it is found.
    """

    decoded_coding: ClassVar[str] = "gzip"

    format: str = option(
        one_of("auto", "gzip", "zlib", "raw"), default="auto", help="what the data is; auto is gzip or zlib"
    )

    def _choose(self, first: int) -> Format:
        if self.format != "auto":
            return _FORMATS[self.format]
        if first == _GZIP_BEGINS:
            return _FORMATS["gzip"]
        if first & _ZLIB_METHOD == _DEFLATE:
            return _FORMATS["zlib"]
        raise ValueError(f"it is neither gzip nor zlib data: the first byte is {first:#04x}")
