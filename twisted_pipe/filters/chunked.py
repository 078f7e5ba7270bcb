"""
The chunked transfer coding of HTTP/1.1 (RFC 9112, section 7.1), of a bare stream: what stands between the head of a message and its
end, without the head.

The decoder takes what the grammar allows and nothing else. Two servers that read the same bytes as different messages are how
requests are smuggled, so what is nearly right (a bare line feed, space before a size, a sign, C{0x}) is an error. Extensions and
trailers are bounded, and dropped.
"""

from __future__ import annotations

import enum
import re

import attrs

from twisted_pipe.filters.base import PipeFilter
from twisted_pipe.interfaces import FilterGenerator, FilterOutput

__all__ = ["ChunkedDecode", "ChunkedEncode"]

_LINE_END = b"\r\n"
#: The size, and extensions of any content: C{1f;name=value}.
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")
_MOST_SIZE_LINE = 4096
_MOST_TRAILERS = 16384  # of all together


class ChunkedEncode(PipeFilter):
    """Makes a chunk of every piece that comes. The last chunk is sent at the clean end of the stream only."""

    def received(self, data: memoryview) -> FilterOutput:
        return (b"%x\r\n" % len(data), data, _LINE_END)

    def ended(self) -> FilterOutput:
        return (b"0\r\n\r\n",)


class _Next(enum.Enum):
    """What is expected; the values are for errors."""

    SIZE = "a chunk's size"
    DATA_END = "the end of a chunk"  # after its data
    TRAILER = "a trailer"
    NOTHING = "nothing"


@attrs.define
class ChunkedDecode(PipeFilter):
    """
    Passes on what is in the chunks, as soon as it comes. Bytes after the last chunk are an error, and so is a stream that ends
    before it.
    """

    _next: _Next = attrs.field(default=_Next.SIZE, init=False)
    _line: bytearray = attrs.field(factory=bytearray, init=False)  # what there is of the line
    _left: int = attrs.field(default=0, init=False)  # bytes of the chunk that are still to come
    _room: int = attrs.field(default=_MOST_SIZE_LINE, init=False)  # how long the line may be

    def received(self, data: memoryview) -> FilterGenerator:
        text = b""  # of data, copied when there is a line to be read in it
        at = 0
        while at < len(data):
            if self._left:
                piece = data[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                yield piece
            else:
                text = text or bytes(data)
                at = self._read(text, at)

    def ended(self) -> FilterOutput:
        if self._next is not _Next.NOTHING:
            missing = "the rest of a chunk" if self._left else self._next.value
            raise ValueError(f"the stream is cut off: {missing} was to come")
        return ()

    def _read(self, text: bytes, at: int) -> int:
        """Go on with the line at C{at}; returns where it, or C{text}, ends."""
        if self._next is _Next.NOTHING:
            raise ValueError("something follows the last chunk")
        end = text.find(b"\n", at) + 1
        self._line += text[at : min(end or len(text), at + self._room + 1)]
        if len(self._line) > self._room:
            raise ValueError(f"{self._next.value} was to come, and it takes too long: {bytes(self._line[:40])!r}")
        if not end:
            return len(text)
        line = bytes(self._line)
        self._line.clear()
        if not line.endswith(_LINE_END):
            raise ValueError(f"{self._next.value} was to come, and its line ends without a CR: {line[-40:]!r}")
        self._take(line[: -len(_LINE_END)])
        return end

    def _take(self, line: bytes) -> None:
        """A whole line, without its end."""
        if self._next is _Next.SIZE:
            found = _SIZE.fullmatch(line)
            if found is None:
                raise self._wrong(line)
            self._left = int(found[1], 16)
            if self._left:
                self._expect(_Next.DATA_END, len(_LINE_END))
            else:
                self._expect(_Next.TRAILER, _MOST_TRAILERS)
        elif self._next is _Next.DATA_END:
            if line:
                raise self._wrong(line)
            self._expect(_Next.SIZE, _MOST_SIZE_LINE)
        elif not line:
            self._expect(_Next.NOTHING, 0)
        elif _TRAILER.fullmatch(line):
            self._room -= len(line) + len(_LINE_END)
        else:
            raise self._wrong(line)

    def _expect(self, what: _Next, room: int) -> None:
        self._next = what
        self._room = room

    def _wrong(self, line: bytes) -> ValueError:
        return ValueError(f"{self._next.value} was to come, and not {line[:40]!r}")
