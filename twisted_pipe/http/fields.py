"""
The field lines of a head: which are right, and which mean something to a proxy.

llhttp (by httptools) is fast and strict about names and values. What it lets pass although two servers may read it differently is
refused here: bare line ends, folded lines. The line before the fields is not its business: it knows a fixed list of methods, and
HTTP has none. So it is always shown the same one.

Nearly every line of a head has been seen before: the same server, the same types, the same browsers. What a line is, once found
out, is remembered, so llhttp only sees what is new. Of lines that carry a secret, or that never come twice, nothing is
remembered.
"""

from __future__ import annotations

import enum
import re
from contextlib import suppress

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

__all__ = ["X_FORWARDED", "BadFields", "FieldKind", "kinds_of", "normal_line_ends"]

_FIRST_LINE = b"GET / HTTP/1.1\r\n"
_BARE_LF = re.compile(rb"(?<!\r)\n")

_MOST_LINES = 4096  # remembered; then all are forgotten
_LONGEST_LINE = 128  # bytes of one that is


class BadFields(ValueError):
    """What is wrong with them."""


class FieldKind(enum.IntEnum):
    """What a field is to a proxy. The values are compared as plain numbers."""

    PLAIN = 0  #: passed on
    CONNECTION = 1
    LENGTH = 2
    TRANSFER = 3
    HOST = 4
    EXPECT = 5
    HOP = 6  #: of one connection only, and nothing to us
    UPGRADE = 7
    FORWARDED = 8  #: who was served so far
    DATE = 9
    ACCEL = 10  #: an upstream's word to its proxy
    REFERER = 11
    USER_AGENT = 12
    AUTHORIZATION = 13


#: Who was served, as most proxies say it; and what servers of the CGI kind read as the same, because they take C{_} for C{-}.
X_FORWARDED = frozenset(
    b"x%bforwarded%b%b" % (first, second, what)
    for first in (b"-", b"_")
    for second in (b"-", b"_")
    for what in (b"for", b"proto", b"host")
)
_KINDS = {
    b"connection": FieldKind.CONNECTION,
    b"content-length": FieldKind.LENGTH,
    b"transfer-encoding": FieldKind.TRANSFER,
    b"host": FieldKind.HOST,
    b"expect": FieldKind.EXPECT,
    b"keep-alive": FieldKind.HOP,
    b"proxy-connection": FieldKind.HOP,
    b"te": FieldKind.HOP,
    b"trailer": FieldKind.HOP,
    b"http2-settings": FieldKind.HOP,
    b"upgrade": FieldKind.UPGRADE,
    **dict.fromkeys(X_FORWARDED, FieldKind.FORWARDED),
    b"forwarded": FieldKind.FORWARDED,
    b"via": FieldKind.FORWARDED,
    b"date": FieldKind.DATE,
    b"x-accel-buffering": FieldKind.ACCEL,
    b"x-accel-limit-rate": FieldKind.ACCEL,
    b"referer": FieldKind.REFERER,
    b"user-agent": FieldKind.USER_AGENT,
    b"authorization": FieldKind.AUTHORIZATION,
}
#: Secrets, and what is another one each time.
_NOT_KEPT = frozenset(
    {
        b"authorization",
        b"cookie",
        b"proxy-authorization",
        b"set-cookie",
        b"x-request-id",
    }
)
_kept: dict[bytes, int] = {}


class _Counter:
    """What llhttp calls back."""

    __slots__ = ("count", "finished", "parser")

    def __init__(self) -> None:
        self.count = 0
        self.finished = False  # whether the last head was a whole message, so that its parser can take another
        self.parser = HttpRequestParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.count += 1

    def on_message_complete(self) -> None:
        self.finished = True


_counter = _Counter()


def kinds_of(lines: list[bytes]) -> list[int]:
    """
    The L{FieldKind} of each of C{lines}.

    @param lines: C{name: value} each.
    @raise BadFields: the grammar of RFC 9110, section 5, or RFC 9112, section 5, is broken.
    """
    kinds: list[int | None] = list(map(_kept.get, lines))
    return _learn(lines, kinds) if None in kinds else kinds  # type: ignore[return-value]


def _learn(lines: list[bytes], kinds: list[int | None]) -> list[int]:
    """Look at those of C{lines} that are not known."""
    new = [line for line, kind in zip(lines, kinds, strict=True) if kind is None]
    for line in new:
        if b"\n" in line or b"\r" in line:
            raise BadFields("a line ends with a bare CR or a bare LF")
        if line[:1] in (b" ", b"\t"):
            raise BadFields("a field is folded over two lines")
    _check(new)
    return [_kind(line) if kind is None else kind for line, kind in zip(lines, kinds, strict=True)]


def _kind(line: bytes) -> int:
    name = line[: line.index(b":")].lower()
    kind = int(_KINDS.get(name, FieldKind.PLAIN))
    if len(line) <= _LONGEST_LINE and name not in _NOT_KEPT:
        if len(_kept) >= _MOST_LINES:
            _kept.clear()
        _kept[line] = kind
    return kind


def _check(lines: list[bytes]) -> None:
    """
    Have llhttp read C{lines}.

    @raise BadFields: it does not take them.
    """
    text = _FIRST_LINE + b"\r\n".join([*lines, b"", b""])
    counter = _counter
    if not counter.finished or not _feed(counter, text):
        # a parser that was told "Connection: close" takes no other message; or the lines are wrong, which a new one will say again
        counter.parser = HttpRequestParser(counter)
        try:
            _feed_new(counter, text)
        except HttpParserError as error:
            raise BadFields(_reason(error)) from None
    if counter.count != len(lines):
        raise BadFields("there are more lines than fields")


def _feed(counter: _Counter, text: bytes) -> bool:
    try:
        _feed_new(counter, text)
    except HttpParserError:
        return False
    return True


def _feed_new(counter: _Counter, text: bytes) -> None:
    counter.count = 0
    counter.finished = False
    with suppress(HttpParserUpgrade):  # it has read the head, and would leave the rest to another protocol
        counter.parser.feed_data(text)


def normal_line_ends(head: bytes) -> bytes:
    """C{head} with every bare LF made a CRLF, for those who accept them (RFC 9112, section 2.2)."""
    return _BARE_LF.sub(b"\r\n", head)


def _reason(error: HttpParserError) -> str:
    """llhttp's words, as part of a sentence."""
    text = " ".join(str(error).split())
    return f"it is malformed: {text}" if text else "it is malformed"
