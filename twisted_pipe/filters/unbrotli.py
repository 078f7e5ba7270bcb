"""Decompression of brotli."""

from __future__ import annotations

from typing import ClassVar

import attrs

from twisted_pipe.filters.compression import Decompress, Format
from twisted_pipe.interfaces import BytesLike

try:
    import brotli  # type: ignore[import-untyped]

    if not hasattr(brotli.Decompressor, "can_accept_more_data"):
        raise ImportError(f"brotli {brotli.__version__} cannot bound its output")
except ImportError as error:
    raise ImportError("it needs the package brotli, 1.2 or later: pip install twisted_pipe[brotli]") from error

__all__ = ["Unbrotli"]

#: The library fills whole blocks, of which this is the first: asked for a byte more, it may make three times as much.
_BLOCK = 32 * 1024 - 16


class _Decoder:
    """
    brotli's decompressor in the terms of C{Decoder}.

    The library may have output left when all input was taken, and does not say so: only that there is none says it.
    """

    __slots__ = ("_empty", "_stream")

    unused_data = b""  # bytes after the end are an error of the library

    def __init__(self) -> None:
        self._stream = brotli.Decompressor()
        self._empty = True

    @property
    def eof(self) -> bool:
        return bool(self._stream.is_finished())

    @property
    def needs_input(self) -> bool:
        return self._empty

    def decompress(self, data: BytesLike, max_length: int) -> bytes:
        piece: bytes = self._stream.process(data, output_buffer_limit=min(max_length, _BLOCK))
        self._empty = not piece
        return piece


_BROTLI = Format("brotli", _Decoder, brotli.error)


@attrs.define
class Unbrotli(Decompress):
    """
    Decompresses one brotli stream. Takes the memory of its window, at most 16 MiB, for each connection.

    The format has no checksum, so not every damage is found.
    """

    decoded_coding: ClassVar[str] = "br"

    def _choose(self, first: int) -> Format:
        return _BROTLI
