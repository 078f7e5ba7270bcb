"""
The base of filters that need a whole body before they can say anything of it: JSON, a signature.

A subclass gets the stream in one piece, up to a size, and says what becomes of it::

    class Redacted(WholeFilter):
        def whole_received(self, data):
            document = json.loads(data)
            document.pop("password", None)
            return json.dumps(document).encode()

Nothing goes out before the end has come. So this is for documents, not for streams: an event stream would never begin.
"""

from __future__ import annotations

from typing import ClassVar, Union

import attrs

from twisted_pipe.filters.base import PipeFilter
from twisted_pipe.interfaces import BytesLike, FilterOutput
from twisted_pipe.limits import MIB

__all__ = ["TooLong", "WholeFilter"]


class TooLong(ValueError):
    """A stream is longer than the filter takes."""


@attrs.define
class WholeFilter(PipeFilter):
    """
    Collects the stream, and puts out what L{whole_received} makes of it.

    @cvar max_length: bytes of a stream. A longer one is an error, L{TooLong}, and so bounds what is kept. Default 1 MiB.
    """

    max_length: ClassVar[int] = MIB
    _parts: bytearray = attrs.field(factory=bytearray, init=False)

    def whole_received(self, data: bytes) -> Union[BytesLike, FilterOutput, None]:
        """
        What becomes of the stream. By default it passes.

        @param data: all of it; may be empty.
        @return: what takes its place, None for nothing; or an iterable, such as a generator, of pieces and of Deferreds, which
            suspend the pipe. C{async def} will do as well.
        """
        return data

    def received(self, data: memoryview) -> FilterOutput:
        if len(self._parts) + len(data) > self.max_length:
            raise TooLong(f"there are more than {self.max_length} bytes, and it needs all of them at once")
        self._parts += data
        return ()

    def ended(self) -> FilterOutput:
        data, self._parts = bytes(self._parts), bytearray()
        made = self.whole_received(data)
        if made is None:
            return ()
        return (made,) if isinstance(made, (bytes, bytearray, memoryview)) else made

    def stopped(self, reason: BaseException | None) -> None:
        self._parts = bytearray()
