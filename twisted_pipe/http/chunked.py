"""
The chunked transfer coding (RFC 9112, section 7.1), decoded where it stands: the bytes of the body move to the front of the memory
that they were received into, and nothing else is written.

Whatever the grammar does not allow is an error. Two servers that read the same bytes as different messages are how requests are
smuggled, so nothing is guessed: a sign, C{0x}, a bare line feed, space before a size or behind it, an extension whose quote is not
closed before its line is.

What is not body is bounded. A size has at most 16 digits, its line 4 KiB, the trailers 16 KiB and 100 kept fields. The extensions
of all chunks together may have 16 KiB, and one byte more for each byte of body so far: a signature on every chunk of a large upload
is fine, a stream that is made of extensions is not. So a byte of body costs at most 22 bytes of input, but for the first 16 KiB.

The filter C{chunked-decode} has a decoder of its own: a filter lends slices of what it is lent, and may not write to it.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable

import attrs

__all__ = ["ChunkedDecoder", "encode_chunk", "last_chunk"]

_TEXT = rb"\t\x20\x21\x23-\x7e\x80-\xff"  # of an extension, without the quote
#: The size, and extensions of any content, but for quotes: C{1f;name="value"}.
_SIZE = re.compile(
    rb'([0-9A-Fa-f]{1,16})(?:[ \t]*(;(?:[%b]|"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[%b"])*")*))?' % (_TEXT, _TEXT)
)
_TRAILER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t\x20-\x7e\x80-\xff]*)")
_MOST_EXTENSIONS = 16384  # of all chunks; beyond it as many bytes as the body has
_MOST_TRAILERS = 100

#: What a recipient must know before the body, or must not learn from behind it (RFC 9110, section 6.5.1), lower case: framing,
#: routing, authentication, modifiers of the request, controls of the response, and what speaks of one connection.
_FORBIDDEN = frozenset(
    b"""
    transfer-encoding trailer te connection keep-alive proxy-connection upgrade http2-settings
    host forwarded via max-forwards x-real-ip
    authorization proxy-authorization www-authenticate proxy-authenticate cookie set-cookie
    cache-control pragma expect range if-match if-none-match if-modified-since if-unmodified-since if-range
    age expires date location retry-after vary warning
    """.split()
)
_FORBIDDEN_BEGINNINGS = (b"content-", b"x-forwarded-", b"x-accel-")
_ALLOWED = b"content-digest"  # made to be a trailer (RFC 9530, section 2)


class _Next(enum.Enum):
    """
    What is expected when no data of a chunk is.

    @ivar text: for errors.
    @ivar room: how many bytes it may have, with its line ends; those of the trailers all together.
    @ivar plain: what it nearly always is, up to the next chunk's data. Nothing has to be copied to find that.
    """

    SIZE = ("a chunk's size", 4096, re.compile(rb"([0-9A-Fa-f]{1,16})\r\n"))
    DATA_END = ("the end of a chunk", 2, re.compile(rb"\r\n([0-9A-Fa-f]{1,16})\r\n"))
    TRAILER = ("a trailer", 16384, None)
    NOTHING = ("nothing", 0, None)

    def __init__(self, text: str, room: int, plain: re.Pattern[bytes] | None) -> None:
        self.text = text
        self.room = room
        self.plain = plain


@attrs.define
class ChunkedDecoder:
    """
    One body, fed in pieces that were cut anywhere.

    @ivar bare_lf: a line may end with LF alone.
    @ivar decoded: bytes of the body so far. When L{decode} raises, those before the fault are counted, and at their place.
    @ivar surplus: how many bytes of the last view are behind the end of the message. They are still the last ones of that view.
    @ivar trailers: names as sent, and values without the space around them; without those that may not be trailers.
    """

    bare_lf: bool = False
    decoded: int = attrs.field(default=0, init=False)
    surplus: int = attrs.field(default=0, init=False)
    trailers: list[tuple[bytes, bytes]] = attrs.field(factory=list, init=False)
    _next: _Next = attrs.field(default=_Next.SIZE, init=False)
    _left: int = attrs.field(default=0, init=False)  # bytes of the chunk that are still to come
    _line: bytearray = attrs.field(factory=bytearray, init=False)  # the beginning of one, if the last view cut it
    _room: int = attrs.field(default=_Next.SIZE.room, init=False)  # how long the line may be, with its end
    _extensions: int = attrs.field(default=0, init=False)  # bytes of them so far

    @property
    def finished(self) -> bool:
        """The message is whole."""
        return self._next is _Next.NOTHING

    def decode(self, view: memoryview) -> int:
        """
        Move the bytes of the body to the front of C{view}.

        @param view: what was received, writable; it may be changed up to C{len(view) - surplus}.
        @return: how many they are.
        @raise ValueError: what is wrong. The decoder is of no use any more.
        """
        self.surplus = 0
        size = len(view)
        if size <= self._left:  # the middle of a large chunk
            self._left -= size
            self.decoded += size
            return size
        at = to = 0
        while at < size:
            if left := self._left:
                end = min(at + left, size)
                count = end - at
                if at != to:
                    view[to : to + count] = view[at:end]
                self.decoded += count
                self._left = left - count
                to += count
                at = end
            elif (plain := self._next.plain) and not self._line and (found := plain.match(view, at)):
                self._begin(int(found[1], 16))
                at = found.end()
            elif self._next is _Next.NOTHING:
                self.surplus = size - at
                break
            else:
                at = self._read(view, at)
        return to

    def at_end(self) -> str | None:
        """What is missing if the stream ends now; C{None} if nothing is."""
        if self.finished:
            return None
        return "the rest of a chunk" if self._left else self._next.text

    def _read(self, view: memoryview, at: int) -> int:
        """Go on with the line at C{at}; returns where it, or C{view}, ends."""
        text = bytes(view[at : at + self._room + 1 - len(self._line)])
        end = text.find(b"\n") + 1
        self._line += text[:end] if end else text
        if len(self._line) > self._room:
            raise ValueError(f"{self._next.text} was to come, and it takes too long: {bytes(self._line[:40])!r}")
        if not end:
            return len(view)
        line = bytes(self._line)
        self._line.clear()
        if line.endswith(b"\r\n"):
            self._take(line[:-2])
        elif self.bare_lf:
            self._take(line[:-1])
        else:
            raise ValueError(f"{self._next.text} was to come, and its line ends without a CR: {line[-40:]!r}")
        return at + end

    def _take(self, line: bytes) -> None:
        """A whole line, without its end."""
        if self._next is _Next.SIZE:
            self._take_size(line)
        elif self._next is _Next.DATA_END:
            if line:
                raise self._wrong(line)
            self._expect(_Next.SIZE)
        elif line:
            self._take_trailer(line)
        else:
            self._expect(_Next.NOTHING)

    def _take_size(self, line: bytes) -> None:
        found = _SIZE.fullmatch(line)
        if found is None:
            raise self._wrong(line)
        self._extensions += len(line) - found.end(1)
        if self._extensions > _MOST_EXTENSIONS + self.decoded:
            raise ValueError(f"there are {self._extensions} bytes of chunk extensions for {self.decoded} bytes of body")
        self._begin(int(found[1], 16))

    def _begin(self, size: int) -> None:
        """A chunk."""
        self._left = size
        self._expect(_Next.DATA_END if size else _Next.TRAILER)

    def _take_trailer(self, line: bytes) -> None:
        found = _TRAILER.fullmatch(line)
        if found is None:
            raise self._wrong(line)
        self._room -= len(line) + 2
        name = found[1]
        if not _is_forbidden(name.lower().replace(b"_", b"-")):
            if len(self.trailers) == _MOST_TRAILERS:
                raise ValueError(f"there are more than {_MOST_TRAILERS} trailers")
            self.trailers.append((name, found[2].strip(b" \t")))

    def _expect(self, what: _Next) -> None:
        self._next = what
        self._room = what.room

    def _wrong(self, line: bytes) -> ValueError:
        return ValueError(f"{self._next.text} was to come, and not {line[:40]!r}")


def _is_forbidden(name: bytes) -> bool:
    """C{name} in lower case, and with dashes for low lines: a server may take the one for the other (CGI, RFC 3875)."""
    return name in _FORBIDDEN or (name.startswith(_FORBIDDEN_BEGINNINGS) and name != _ALLOWED)


def encode_chunk(data: bytes | memoryview) -> tuple[bytes | memoryview, ...]:
    """C{data}, lent, between what makes a chunk of it. Of nothing no chunk is made: an empty one would end the body."""
    return (b"%x\r\n" % len(data), data, b"\r\n") if len(data) else ()


def last_chunk(trailers: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """
    What ends the body.

    @param trailers: names and values.
    @raise ValueError: one would not be one field line.
    """
    lines = [b"0"]
    for name, value in trailers:
        line = name + b": " + value
        if not _TRAILER.fullmatch(line):
            raise ValueError(f"a trailer must be a token and a value of one line, not {line[:40]!r}")
        lines.append(line)
    return b"\r\n".join([*lines, b"", b""])
