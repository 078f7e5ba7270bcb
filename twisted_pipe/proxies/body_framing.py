"""How bodies are framed on HTTP/1 wires: what a pipe is given to read one, and to write one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
from zope.interface import implementer

from twisted_pipe.http.chunked import ChunkedDecoder, encode_chunk, last_chunk
from twisted_pipe.interfaces import FilterOutput, IPipeFilter, NamedFilter

__all__ = ["ChunkedBody", "LimitedDecoder", "chunked_filter"]


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
