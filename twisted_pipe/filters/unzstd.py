"""Decompression of zstd."""

from __future__ import annotations

import sys
from functools import partial
from typing import ClassVar

import attrs

from twisted_pipe.filters.base import between, option
from twisted_pipe.filters.compression import Decompress, Format
from twisted_pipe.units import parse_count

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["Unzstd"]


@attrs.define
class Unzstd(Decompress):
    """
    Decompresses zstd: any number of frames, one after the other. Takes the memory that a frame asks for, its window, for each
    connection; more than C{window_log_max} allows is an error.

    The default allows 8 MiB, the most that RFC 9659 allows on the web, and what the C{zstd} tool makes up to level 19. Its
    C{--ultra} and C{--long} ask for more, up to 2 GiB; the tool itself reads 27, that is 128 MiB, without being told.

    @ivar window_log_max: the binary logarithm of the largest window. Default 23.
    """

    decoded_coding: ClassVar[str] = "zstd"

    window_log_max: int = option(
        between(10, 31, parse_count),
        default=23,
        help="the most memory that a frame may ask for: 23 is 8 MiB, 27 128 MiB",
    )

    def _choose(self, first: int) -> Format:
        options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: self.window_log_max}
        return Format("zstd", partial(zstd.ZstdDecompressor, options=options), zstd.ZstdError, many=True)

    def _explain(self, error: Exception) -> str:
        what = Decompress._explain(self, error)
        return f"{what} (window_log_max={self.window_log_max})" if "memory" in what else what
