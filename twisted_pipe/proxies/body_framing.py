"""How bodies are framed on HTTP/1 wires: what a pipe is given to read one, and to write one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
from zope.interface import implementer

from twisted_pipe.http.chunked import ChunkedDecoder, encode_chunk, last_chunk
from twisted_pipe.interfaces import FilterGenerator, FilterOutput, IPipeFilter, NamedFilter

__all__ = ["ChunkedBody", "LimitedDecoder", "MeasuredBody", "chunked_filter", "measured_filter"]


class LimitedDecoder:
    """
    A L{ChunkedDecoder} of bodies up to a size.

    @ivar too_large: whether that is why it gave up.
    """

    def __init__(self, most: int, bare_lf: bool = False) -> None:
        """
        @param most: bytes of the body, 0 for any number.
        """
        self._decoder = ChunkedDecoder(bare_lf=bare_lf)
        self._most = most
        self.too_large = False

    @property
    def finished(self) -> bool:
        return self._decoder.finished

    @property
    def surplus(self) -> int:
        return self._decoder.surplus

    @property
    def decoded(self) -> int:
        """Bytes of the body so far."""
        return self._decoder.decoded

    @property
    def trailers(self) -> Sequence[tuple[bytes, bytes]]:
        return self._decoder.trailers

    def decode(self, view: memoryview) -> int:
        """
        As L{ChunkedDecoder.decode}.

        @raise ValueError: also for a body that is too large.
        """
        count = self._decoder.decode(view)
        if self._most and self._decoder.decoded > self._most:
            self.too_large = True
            raise ValueError(f"its body is larger than {self._most} bytes")
        return count

    def at_end(self) -> str | None:
        return self._decoder.at_end()


@implementer(IPipeFilter)
@attrs.define
class ChunkedBody:
    """
    The last filter of a pipe whose sink is written in chunks. The last chunk goes out at a clean end only: what breaks off is
    seen to have.

    @ivar decoder: of the source, whose trailers are passed on; None if it was not chunked.
    @ivar passes: which of them are, by name.
    """

    decoder: ChunkedDecoder | LimitedDecoder | None
    passes: Callable[[bytes], bool]

    def started(self) -> FilterOutput:
        return ()

    def received(self, data: memoryview) -> FilterOutput:
        return encode_chunk(data)

    def ended(self) -> FilterOutput:
        trailers = () if self.decoder is None else self.decoder.trailers
        return (last_chunk((name, value) for name, value in trailers if self.passes(name)),)

    def stopped(self, reason: BaseException | None) -> None:
        pass


def chunked_filter(decoder: ChunkedDecoder | LimitedDecoder | None, passes: Callable[[bytes], bool]) -> NamedFilter:
    """L{ChunkedBody}, in its place in a pipe."""
    return NamedFilter("chunked", ChunkedBody(decoder, passes))


@implementer(IPipeFilter)
@attrs.define
class MeasuredBody:
    """
    The last filter of a pipe whose sink was told how long the body is, behind filters that keep its bytes. It sees that they do:
    what they put out beyond it would be taken for the next message. The last byte goes out at a clean end only, so that what they
    fail on at the end is not taken for whole.

    @ivar length: bytes.
    """

    length: int
    _count: int = attrs.field(default=0, init=False)
    _last: bytes = attrs.field(default=b"", init=False)

    def started(self) -> FilterOutput:
        return ()

    def received(self, data: memoryview) -> FilterGenerator:
        self._count += len(data)
        if self._count > self.length:
            raise ValueError(f"filters that keep bytes have put out more than the {self.length} that they got")
        if self._count == self.length:
            self._last, data = bytes(data[-1:]), data[:-1]
        yield data

    def ended(self) -> FilterOutput:
        if self._count < self.length:
            raise ValueError(f"filters that keep bytes have put out {self._count} of the {self.length} that they got")
        return (self._last,)

    def stopped(self, reason: BaseException | None) -> None:
        pass


def measured_filter(length: int) -> NamedFilter:
    """L{MeasuredBody}, in its place in a pipe."""
    return NamedFilter("length", MeasuredBody(length))
