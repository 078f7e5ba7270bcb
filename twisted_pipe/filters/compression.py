"""
What the compression filters share; a format says only who does the work.

Memory is bounded on both sides. Input is taken in slices of at most 32 KiB, so that what a library copies when it leaves some of
it aside is small, and output is made in pieces of at most 32 KiB, one for each pull. So a bomb stops wherever the client stops.
Larger pieces were not faster (measured: up to 128 KiB), and 32 KiB is what the libraries make in one block, without joining.

What came is sent on at once (C{flush}, on by default), because a filter is asked again only when more comes: what it held back
would stay there for as long as the connection is silent. It costs little: 2% of the CPU time and less than 1% of the size when
32 KiB come at once, 10 to 40% of the size when 1.4 KB do. But the pipe packs what comes while the client is slow, so pieces are
small only when somebody waits for them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Protocol

import attrs
from twisted.internet.task import deferLater

from twisted_pipe.filters.base import PipeFilter, option
from twisted_pipe.interfaces import BytesLike, FilterGenerator, FilterOutput
from twisted_pipe.units import parse_flag

__all__ = ["Compress", "Decoder", "Decompress", "Encoder", "Format"]

_SLICE = 32 * 1024
_PIECE = 32 * 1024
#: Streams after which other connections have their turn: to begin one takes zstd 16 us, and a stream may be 9 bytes short.
_TURN = 64


@attrs.frozen
class Encoder:
    """
    One stream that is being compressed.

    @ivar compress: takes bytes and returns what is ready.
    @ivar flush: returns everything that was held back.
    @ivar finish: the same, and the end of the stream.
    """

    compress: Callable[[BytesLike], bytes]
    flush: Callable[[], bytes]
    finish: Callable[[], bytes]


@attrs.define
class Compress(PipeFilter):
    """
    The base of the filters that compress. Nothing is allocated before the first byte comes.

    @ivar flush: whether to send on at once what has come. Default on.
    """

    flush: bool = option(
        parse_flag, default=True, help="send on at once what has come; off: hold it back until a block is full"
    )
    _encoder: Encoder | None = attrs.field(default=None, init=False)

    @abstractmethod
    def _open(self) -> Encoder:
        """Begin a stream."""

    def received(self, data: memoryview) -> FilterGenerator:
        encoder = self._encoder = self._encoder or self._open()
        for start in range(0, len(data), _SLICE):
            piece = encoder.compress(data[start : start + _SLICE])
            if piece:
                yield piece
        if self.flush:
            yield encoder.flush()

    def ended(self) -> FilterGenerator:
        yield (self._encoder or self._open()).finish()

    def stopped(self, reason: BaseException | None) -> None:
        self._encoder = None


class Decoder(Protocol):
    """One stream that is being decompressed: what the decompressors of the standard library have in common."""

    @property
    def eof(self) -> bool:
        """Whether this was its end, and everything was put out."""

    @property
    def needs_input(self) -> bool:
        """Whether nothing more can be put out before more comes."""

    @property
    def unused_data(self) -> bytes:
        """What came after its end."""

    def decompress(self, data: BytesLike, max_length: int) -> bytes:
        """Take C{data}, of no bytes unless it needs input, and put out at most C{max_length} bytes."""


@attrs.frozen
class Format:
    """
    @ivar name: for errors.
    @ivar open: begins a stream.
    @ivar error: what the decoder raises about damaged data.
    @ivar many: whether a stream may be followed by another.
    """

    name: str
    open: Callable[[], Decoder]
    error: type[Exception]
    many: bool = False


@attrs.define
class Decompress(PipeFilter):
    """
    The base of the filters that decompress.

    A stream that is damaged, or cut off, is an error, and so is one without a byte (no format has that); nothing of it is taken
    for its clean end. Only a body of HTTP may be empty, whatever its coding is said to be.
    """

    _format: Format | None = attrs.field(default=None, init=False)
    _decoder: Decoder | None = attrs.field(default=None, init=False)
    _taken: int = attrs.field(default=0, init=False)
    _streams: int = attrs.field(default=0, init=False)

    @abstractmethod
    def _choose(self, first: int) -> Format:
        """
        @param first: the first byte, which tells formats apart.
        @raise ValueError: it is none of those that are expected.
        """

    def received(self, data: memoryview) -> FilterGenerator:
        chosen = self._format = self._format or self._choose(data[0])
        for start in range(0, len(data), _SLICE):
            rest: BytesLike = data[start : start + _SLICE]
            self._taken += len(rest)
            while rest or self._decoder is not None:
                decoder = self._decoder = self._decoder or self._begin(chosen, len(rest))
                try:
                    piece = decoder.decompress(rest, _PIECE)
                except chosen.error as error:
                    what = f"broken {chosen.name} data before byte {self._taken}: {self._explain(error)}"
                    raise ValueError(what) from error
                ended = decoder.eof
                if ended:
                    self._decoder = None
                rest = decoder.unused_data if ended else b""
                if piece:
                    yield piece
                if ended:
                    self._streams += 1
                    if self.context.clock is not None and self._streams % _TURN == 0:
                        yield deferLater(self.context.clock, 0)
                elif decoder.needs_input:
                    break

    def _begin(self, chosen: Format, size: int) -> Decoder:
        """The next stream, whose first C{size} bytes have been taken."""
        before = self._taken - size
        if before and not chosen.many:
            raise ValueError(f"something follows the end of the {chosen.name} data, at byte {before}")
        return chosen.open()

    def _explain(self, error: Exception) -> str:
        """What a library says of damaged data, without its name and numbers."""
        return str(error).rpartition(": ")[2]

    def ended(self) -> FilterOutput:
        missing = not self._taken and self.context.request is None
        if self._decoder is not None or missing:
            kind = f"{self._format.name} " if self._format else ""
            raise ValueError(f"the stream is cut off: no end of {kind}data after {self._taken} bytes")
        return ()

    def stopped(self, reason: BaseException | None) -> None:
        self._decoder = None
