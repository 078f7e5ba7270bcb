"""
Responses of an upstream that is broken, or in league with somebody; and unusual ones that are in order.

Each is a whole stream, up to the end of the connection. Every malformed one is a 502, or, if its head was in order, the end of the
client's connection without the end of the message.
"""

from __future__ import annotations

import attrs

__all__ = ["MALFORMED_RESPONSES", "VALID_RESPONSES", "ResponseCase"]


@attrs.frozen
class ResponseCase:
    """
    @ivar why: with the section of the RFC.
    @ivar method: of the request.
    @ivar framing: of one that is accepted: C{none}, C{length}, C{chunked} or C{close}; None if it is refused.
    @ivar length: the bytes of its body, as sent if the framing is C{length} or C{close}, decoded if it is C{chunked}.
    @ivar rest: what stands behind an accepted one: nobody asked for it.
    @ivar minor: of its version.
    @ivar keep_alive: the connection can be used again, as far as the head says.
    @ivar bare_lf: the limits allow a bare LF.
    """

    name: str
    raw: bytes
    why: str
    method: bytes = b"GET"
    framing: str | None = None
    length: int = 0
    rest: bytes = b""
    minor: int = 1
    keep_alive: bool = True
    bare_lf: bool = False


def _text(data: bytes) -> str:
    return repr(data)[1:] if len(data) < 80 else f"{data[:70]!r}... of {len(data)} bytes"[1:]


def _line(line: bytes, why: str) -> ResponseCase:
    """One whose first line is wrong."""
    return ResponseCase(f"first line {_text(line)}", line + b"\r\nContent-Length: 0\r\n\r\n", why)


def _field(
    fields: bytes, why: str, body: bytes = b"", line: bytes = b"HTTP/1.1 200 OK", method: bytes = b"GET"
) -> ResponseCase:
    """One whose fields are wrong."""
    raw = line + b"\r\n" + fields + b"\r\n\r\n" + body
    return ResponseCase(f"{_text(method)} {_text(line)} {_text(fields)}", raw, why, method)


def _chunks(body: bytes, why: str) -> ResponseCase:
    """One whose chunks are wrong."""
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    return ResponseCase(f"chunks {_text(body)}", raw, why)


_STATUS_LINE = "RFC 9112 4: HTTP-version SP status-code SP [ reason-phrase ]"
_CODE = "RFC 9112 4: status-code = 3DIGIT, RFC 9110 15: the first one from 1 to 5"
_MAJOR = "RFC 9112 2.3, RFC 9110 2.5: another major version is another protocol"
_BOTH = "RFC 9112 6.3: Transfer-Encoding and Content-Length ought to be handled as an error"
_LENGTHS = "RFC 9112 6.3: Content-Length with an invalid value or several: a proxy must answer 502"
_LENGTH = "RFC 9110 8.6: Content-Length = 1*DIGIT"
_CODING = "RFC 9112 6.1: nobody asked for a coding other than chunked"
_TAB = "RFC 9112 5 allows this tab; refused because parsers in use take what is before it for another coding"
_LF = "RFC 9112 2.2: a line ends with CRLF; a recipient may, and we do not, take a bare LF"
_CR = "RFC 9112 2.2: a bare CR is an invalid element"
_FOLD = "RFC 9112 5.2: a proxy must discard obs-fold with 502, or replace it"
_COLON = "RFC 9112 5.1: a proxy must remove whitespace before the colon, or refuse"
_NAME = "RFC 9110 5.1: field-name = token"
_VALUE = "RFC 9110 5.5: CR, LF, NUL and other CTL characters are invalid in a value"
_CHUNK = "RFC 9112 7.1: chunk = chunk-size [ chunk-ext ] CRLF chunk-data CRLF"
_CUT = "RFC 9112 8: an incomplete message"

_CHUNKED_BODY = b"0\r\n\r\n"
_SECOND = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"

_LINES = [
    _line(b"HTTP/1.1 099 X", _CODE),
    _line(b"HTTP/1.1 000 X", _CODE),
    _line(b"HTTP/1.1 1000 X", _CODE),
    _line(b"HTTP/1.1 20 X", _CODE),
    _line(b"HTTP/1.1 2OO OK", _CODE),
    _line(b"HTTP/1.1 -200 OK", _CODE),
    _line(b"HTTP/1.1 +20 OK", _CODE),
    _line(b"HTTP/1.1 2 0 OK", _CODE),
    _line(b"HTTP/1.1 0x1 OK", _CODE),
    _line(b"HTTP/1.1 200OK", _STATUS_LINE),
    _line(b"HTTP/1.1 \xd9\xa2\xd9\xa0\xd9\xa0 OK", _CODE + ", and not of another script"),
    _line(b"HTTP/1.1  200 OK", _STATUS_LINE),
    _line(b"HTTP/1.1\t200 OK", _STATUS_LINE),
    _line(b"HTTP/1.1 200\tOK", _STATUS_LINE),
    _line(b"HTTP/1.1", _STATUS_LINE),
    _line(b"HTTP/1.1 ", _STATUS_LINE),
    _line(b"HTTP/1.1 OK", _STATUS_LINE),
    _line(b" HTTP/1.1 200 OK", _STATUS_LINE),
    _line(b"http/1.1 200 OK", "RFC 9112 2.3: HTTP-name has this case"),
    _line(b"HTTP/1.1x 200 OK", "RFC 9112 2.3: DIGIT '.' DIGIT"),
    _line(b"HTTP/1.10 200 OK", "RFC 9112 2.3: DIGIT '.' DIGIT"),
    _line(b"HTTP/1 200 OK", "RFC 9112 2.3: DIGIT '.' DIGIT"),
    _line(b"HTTP/2 200", _MAJOR),
    _line(b"HTTP/2.0 200 OK", _MAJOR),
    _line(b"HTTP/0.9 200 OK", _MAJOR),
    _line(b"HTTP/3.0 200 OK", _MAJOR),
    _line(b"ICY 200 OK", _STATUS_LINE),
    _line(b"RTSP/1.0 200 OK", _STATUS_LINE),
    _line(b"SSH-2.0-OpenSSH_9.6", _STATUS_LINE),
    _line(b"GET / HTTP/1.1", _STATUS_LINE),
    _line(b"HTTP/1.1 200 O\x00K", "RFC 9112 4: reason-phrase = 1*( HTAB / SP / VCHAR / obs-text )"),
    _line(b"HTTP/1.1 200 O\x1bK", "RFC 9112 4: reason-phrase = 1*( HTAB / SP / VCHAR / obs-text )"),
    _line(b"HTTP/1.1 200 O\x7fK", "RFC 9112 4: reason-phrase = 1*( HTAB / SP / VCHAR / obs-text )"),
    _line(b"HTTP/1.1 200 OK\rX: y", _CR),
    _line(b"\r\nHTTP/1.1 200 OK", "RFC 9112 2.2: an empty line is ignored before requests only"),
    ResponseCase("HTTP/0.9", b"<html>hello</html>", "RFC 9112 4: no status line"),
    ResponseCase("TLS alert", b"\x15\x03\x03\x00\x02\x02\x28", "RFC 9112 4: no status line"),
    ResponseCase("HTTP/2 settings", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00", "RFC 9113 3.4: no status line"),
]

_FRAMING = [
    _field(b"Content-Length: 5\r\nTransfer-Encoding: chunked", _BOTH, _CHUNKED_BODY),
    _field(b"Transfer-Encoding: chunked\r\nContent-Length: 47", _BOTH, _CHUNKED_BODY + _SECOND),
    _field(b"Content-Length: 5\r\nTransfer-Encoding: chunked", _BOTH, method=b"HEAD"),
    _field(b"Content-Length: 5\r\nContent-Length: 6", _LENGTHS, b"hello!"),
    _field(b"Content-Length: 5\r\nContent-Length: 5", _LENGTHS, b"hello"),
    _field(b"Content-Length: 5, 5", _LENGTHS, b"hello"),
    _field(b"Content-Length: 0, 5", _LENGTHS, b"hello"),
    _field(b"Content-Length: 5\r\nContent-Length: 6", _LENGTHS, method=b"HEAD"),
    _field(b"Content-Length: +5", _LENGTH, b"hello"),
    _field(b"Content-Length: -5", _LENGTH, b"hello"),
    _field(b"Content-Length: 0x5", _LENGTH, b"hello"),
    _field(b"Content-Length: 5 5", _LENGTH, b"hello"),
    _field(b"Content-Length: 5\x0c", _LENGTH, b"hello"),
    _field(b"Content-Length:", _LENGTH, b"hello"),
    _field(b"Content-Length: 5;x", _LENGTH, b"hello"),
    _field(b"Content-Length: 18446744073709551621", _LENGTH + ": no overflow, which would make it 5", b"hello"),
    _field(b"Content-Length: x", _LENGTHS, line=b"HTTP/1.1 304 Not Modified"),
    _field(b"Transfer-Encoding: xchunked", _CODING, _CHUNKED_BODY),
    _field(b"Transfer-Encoding: chunked, identity", _CODING, _CHUNKED_BODY),
    _field(b"Transfer-Encoding: identity", _CODING, b"hello"),
    _field(b"Transfer-Encoding: gzip, chunked", _CODING, _CHUNKED_BODY),
    _field(b"Transfer-Encoding: gzip", _CODING + "; and chunked is not the last"),
    _field(b"Transfer-Encoding:", _CODING, _CHUNKED_BODY),
    _field(b"Transfer-Encoding: chunked, chunked", "RFC 9112 6.1: chunked must not be applied twice", _CHUNKED_BODY),
    _field(
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "RFC 9112 6.1: not applied twice", _CHUNKED_BODY
    ),
    _field(b"Transfer-Encoding: chunked;q=1", "RFC 9112 7.1: parameters of chunked are an error", _CHUNKED_BODY),
    _field(b"Transfer-Encoding:\x0bchunked", _VALUE, _CHUNKED_BODY),
    _field(b"Transfer-Encoding: chunked\t", _TAB, _CHUNKED_BODY),
    _field(b"Transfer-Encoding : chunked", _COLON, _CHUNKED_BODY),
    _field(
        b"Transfer-Encoding: chunked", "RFC 9112 6.1: faulty framing in HTTP/1.0", _CHUNKED_BODY, b"HTTP/1.0 200 OK"
    ),
]

_FIELDS = [
    ResponseCase("bare LF everywhere", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", _LF),
    ResponseCase("bare LF behind the first line", b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", _LF),
    ResponseCase("bare LF as the empty line", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\n", _LF),
    _field(b"X: y\nContent-Length: 0", _LF),
    _field(b"X: y\rContent-Length: 0", _CR),
    _field(b"X: y\r\r\nContent-Length: 0", _CR),
    _field(b"X: y\r\n folded\r\nContent-Length: 0", _FOLD),
    _field(b"X: y\r\n\tfolded\r\nContent-Length: 0", _FOLD),
    _field(b" X: y\r\nContent-Length: 0", "RFC 9112 2.2: whitespace between the first line and the fields"),
    _field(b"Content-Length : 0", _COLON),
    _field(b"Content-Length\t: 0", _COLON),
    _field(b"X Y: z\r\nContent-Length: 0", _NAME),
    _field(b": y\r\nContent-Length: 0", _NAME),
    _field(b"X\xff: y\r\nContent-Length: 0", _NAME),
    _field(b"X\r\nContent-Length: 0", "RFC 9112 5: field-line = field-name ':' OWS field-value OWS"),
    _field(b"<html>\r\nContent-Length: 0", "RFC 9112 5: field-line = field-name ':' OWS field-value OWS"),
    _field(b"X: y\x00\r\nContent-Length: 0", _VALUE),
    _field(b"X: \x08y\r\nContent-Length: 0", _VALUE),
    _field(b"X: y\x7f\r\nContent-Length: 0", _VALUE),
    _field(b"Content-Length: 0\r\nX: " + b"y" * 32768, "RFC 9110 5.4: too large"),
    _field(b"Content-Length: 0\r\n" + b"\r\n".join([b"X: y"] * 100), "RFC 9110 5.4: too many fields"),
    ResponseCase("an endless reason", b"HTTP/1.1 200 " + b"x" * 40000, "RFC 9110 5.4: too large"),
]

_CUT_OFF = [
    ResponseCase("nothing", b"", _CUT),
    ResponseCase("half a first line", b"HTTP/1.1 20", _CUT),
    ResponseCase("a first line", b"HTTP/1.1 200 OK\r\n", _CUT),
    ResponseCase("half a head", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", _CUT),
    ResponseCase("half a body", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", _CUT),
    ResponseCase("no last chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", _CUT),
    ResponseCase(
        "only an interim response", b"HTTP/1.1 100 Continue\r\n\r\n", "RFC 9110 15.2: a final response must follow"
    ),
    ResponseCase(
        "an interim response and half of one", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 O", _CUT
    ),
    ResponseCase("garbage behind an interim response", b"HTTP/1.1 100 Continue\r\n\r\nhello\r\n\r\n", _STATUS_LINE),
    _chunks(b"", _CUT),
    _chunks(b"5\r\nhel", _CUT),
    _chunks(b"5\r\nhello\r\n0\r\n", _CUT),
    _chunks(b"5\r\nhello\r\n0\r\nX: y\r\n", _CUT),
]

_BODIES = [
    _chunks(b"10000000000000005\r\nhello\r\n0\r\n\r\n", "RFC 9112 7.1: no overflow, which would make it 5"),
    _chunks(b"-5\r\nhello\r\n0\r\n\r\n", _CHUNK),
    _chunks(b"0x5\r\nhello\r\n0\r\n\r\n", _CHUNK),
    _chunks(b" 5\r\nhello\r\n0\r\n\r\n", _CHUNK),
    _chunks(b"5 \r\nhello\r\n0\r\n\r\n", _CHUNK),
    _chunks(b"5\nhello\n0\n\n", _LF),
    _chunks(b"5\r\nhello\r\n0\r\n\n", _LF),
    _chunks(b"5\r\nhelloX\r\n0\r\n\r\n", _CHUNK),
    _chunks(b"6\r\nhell\r\n0\r\n\r\n", _CHUNK),
    _chunks(b"hello", _CHUNK),
    _chunks(b'5;a="\r\nhello\r\n0\r\n\r\n', "RFC 9110 5.6.4: quoted-string has no CR and no LF"),
    _chunks(
        b"1;" + b"x" * 5000 + b"\r\na\r\n0\r\n\r\n", "RFC 9112 7.1.1: the length of extensions ought to be limited"
    ),
    _chunks(b"0\r\n" + _SECOND, "RFC 9112 7.1.2: a status line is no trailer"),
    _chunks(b"0\r\nX: " + b"y" * 20000 + b"\r\n\r\n", "RFC 9110 5.4: too large"),
]

MALFORMED_RESPONSES = _LINES + _FRAMING + _FIELDS + _CUT_OFF + _BODIES


def _good(
    raw: bytes,
    why: str,
    framing: str,
    length: int = 0,
    *,
    method: bytes = b"GET",
    rest: bytes = b"",
    minor: int = 1,
    keep_alive: bool = True,
    bare_lf: bool = False,
) -> ResponseCase:
    name = f"{_text(method)} {_text(raw)}"
    return ResponseCase(name, raw, why, method, framing, length, rest, minor, keep_alive, bare_lf)


_OK = b"HTTP/1.1 200 OK\r\n"
_NO_BODY = "RFC 9112 6.3: ends with its head, whatever the fields say"

VALID_RESPONSES = [
    _good(_OK + b"Content-Length: 5\r\n\r\nhello", "RFC 9112 6.3", "length", 5),
    _good(_OK + b"Content-Length: 0\r\n\r\n", "RFC 9112 6.3", "length"),
    _good(
        _OK + b"Content-Length: 5\r\n\r\nhello" + _SECOND,
        "RFC 9112 6.3: the rest is surplus",
        "length",
        5,
        rest=_SECOND,
    ),
    _good(_OK + b"\r\nhello", "RFC 9112 6.3: until the connection ends", "close", 5, keep_alive=False),
    _good(_OK + b"\r\n", "RFC 9112 6.3: until the connection ends", "close", keep_alive=False),
    _good(_OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "RFC 9112 7.1", "chunked", 5),
    _good(_OK + b"Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n", "RFC 9112 7: codings have no case", "chunked"),
    _good(_OK + b"Transfer-Encoding:chunked \r\n\r\n0\r\n\r\n", "RFC 9112 5: OWS is not part of the value", "chunked"),
    _good(_OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nmore", "RFC 9112 7.1", "chunked", rest=b"more"),
    _good(_OK + b"Transfer-Encoding: chunked\r\n\r\n1;a=b\r\nx\r\n0\r\nX: y\r\n\r\n", "RFC 9112 7.1.1", "chunked", 1),
    _good(_OK + b"Content-Length: 5\r\n\r\n", _NO_BODY, "none", method=b"HEAD"),
    _good(_OK + b"Content-Length: 5\r\n\r\nhello", _NO_BODY, "none", method=b"HEAD", rest=b"hello"),
    _good(_OK + b"Transfer-Encoding: chunked\r\n\r\n", _NO_BODY, "none", method=b"HEAD"),
    _good(_OK + b"\r\n", _NO_BODY, "none", method=b"HEAD"),
    _good(b"HTTP/1.1 204 No Content\r\n\r\n", _NO_BODY, "none"),
    _good(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", _NO_BODY, "none", rest=b"hello"),
    _good(b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", _NO_BODY, "none"),
    _good(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", _NO_BODY, "none"),
    _good(b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\nhello", _NO_BODY, "none", rest=b"hello"),
    _good(b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", "RFC 9110 15.3.6", "length"),
    _good(b"HTTP/1.1 100 Continue\r\n\r\n" + _SECOND, "RFC 9110 15.2: interim", "length", 6),
    _good(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3 + _SECOND, "RFC 8297 2: any number", "length", 6),
    _good(b"HTTP/1.1 100 \r\nContent-Length: 5\r\n\r\n" + _SECOND, _NO_BODY, "length", 6),
    _good(b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "RFC 9112 4: a reason may be missing", "length"),
    _good(b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "RFC 9112 4: taken, as a reason means nothing", "length"),
    _good(b"HTTP/1.1 200 \xc3\xa9t\xe9\t !\r\nContent-Length: 0\r\n\r\n", "RFC 9112 4: obs-text", "length"),
    _good(b"HTTP/1.1 299 X\r\nContent-Length: 0\r\n\r\n", "RFC 9110 15: as 200", "length"),
    _good(b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n", "RFC 9110 15: taken for a 5xx, not refused", "length"),
    _good(b"HTTP/1.0 200 OK\r\n\r\nhello", "RFC 9112 6.3", "close", 5, minor=0, keep_alive=False),
    _good(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", "RFC 9112 9.3", "length", 5, minor=0, keep_alive=False),
    _good(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n\r\n", "RFC 9112 9.3", "length", minor=0),
    _good(b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n", "RFC 9110 2.5: processed as HTTP/1.1", "length"),
    _good(_OK + b"Connection: x, CLOSE\r\nContent-Length: 0\r\n\r\n", "RFC 9112 9.6", "length", keep_alive=False),
    _good(
        _OK + b"Host: b\r\nHost: c\r\nExpect: x\r\nContent-Length: 0\r\n\r\n",
        "RFC 9110 5.1: mean nothing here",
        "length",
    ),
    _good(_OK + b"X:\r\nX: caf\xe9\r\nContent-Length: 0\r\n\r\n", "RFC 9110 5.5: empty; obs-text", "length"),
    _good(b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", "RFC 9112 2.2: allowed", "length", 5, bare_lf=True),
    _good(
        _OK + b"Transfer-Encoding: chunked\n\r\n5\nhello\n0\r\n\n", "RFC 9112 2.2: allowed", "chunked", 5, bare_lf=True
    ),
]
