"""
Requests that are sent to confuse two servers about where one message ends and the next begins, or about who is asked for what; and
unusual ones that are in order.

Each is a whole stream: what the first message leaves of it is its C{rest}. The limits are the default ones of
L{twisted_pipe.http.head.HeadLimits}. Where the RFCs let a recipient choose between refusing and repairing, it refuses.
"""

from __future__ import annotations

import attrs

__all__ = ["MALFORMED_REQUESTS", "VALID_REQUESTS", "RequestCase"]


@attrs.frozen
class RequestCase:
    """
    @ivar status: what the client is answered; None if the request is accepted.
    @ivar why: with the section of the RFC.
    @ivar framing: of an accepted one: C{none}, C{length} or C{chunked}.
    @ivar length: the bytes of its body, as sent if the framing is C{length}, decoded if it is C{chunked}.
    @ivar rest: what stands behind an accepted one.
    @ivar minor: of its version.
    @ivar host: who is asked, by the target or by Host.
    @ivar bare_lf: the limits allow a bare LF.
    """

    name: str
    raw: bytes
    status: int | None
    why: str
    framing: str = "none"
    length: int = 0
    rest: bytes = b""
    minor: int = 1
    host: bytes = b"a"
    bare_lf: bool = False


_SMUGGLED = b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n"


def _line(line: bytes, status: int, why: str, name: str = "") -> RequestCase:
    """One whose first line is wrong."""
    raw = line + b"\r\nHost: a\r\n\r\n"
    return RequestCase(name or f"first line {_text(line)}", raw, status, why)


def _target(target: bytes, why: str, method: bytes = b"GET", status: int = 400) -> RequestCase:
    """One whose target is wrong."""
    return _line(method + b" " + target + b" HTTP/1.1", status, why, f"target {_text(target)} of {_text(method)}")


def _field(fields: bytes, why: str, status: int = 400, body: bytes = b"") -> RequestCase:
    """One whose fields are wrong."""
    raw = b"POST / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n\r\n" + body
    return RequestCase(f"fields {_text(fields)}", raw, status, why)


def _host(fields: bytes, why: str) -> RequestCase:
    raw = b"GET / HTTP/1.1\r\n" + fields + b"\r\n\r\n"
    return RequestCase(f"hosts {_text(fields)}", raw, 400, why)


def _chunks(body: bytes, why: str) -> RequestCase:
    """One whose chunks are wrong."""
    raw = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    return RequestCase(f"chunks {_text(body)}", raw, 400, why)


def _text(data: bytes) -> str:
    return repr(data)[1:] if len(data) < 80 else f"{data[:70]!r}... of {len(data)} bytes"[1:]


_BOTH = "RFC 9112 6.1, 6.3: a server may reject a message with both Transfer-Encoding and Content-Length"
_LENGTHS = "RFC 9112 6.3: Content-Length with an invalid value or several is an unrecoverable error"
_LENGTH = "RFC 9110 8.6: Content-Length = 1*DIGIT"
_CODING = "RFC 9112 6.3: chunked is not the final coding, so the length cannot be known: 400"
_TAB = "RFC 9112 5 allows this tab; refused because parsers in use take what is before it for another coding"
_LF = "RFC 9112 2.2: a line ends with CRLF; a recipient may, and we do not, take a bare LF"
_CR = "RFC 9112 2.2: a bare CR is an invalid element"
_FOLD = "RFC 9112 5.2: a server must reject obs-fold with 400, or replace it"
_COLON = "RFC 9112 5.1: whitespace between name and colon must be rejected with 400"
_NAME = "RFC 9110 5.1: field-name = token"
_VALUE = "RFC 9110 5.5: CR, LF, NUL and other CTL characters are invalid in a value"
_REQUEST_LINE = "RFC 9112 3: method SP request-target SP HTTP-version"
_VERSION = "RFC 9112 2.3: HTTP-version = %s'HTTP' '/' DIGIT '.' DIGIT"
_MAJOR = "RFC 9110 15.6.6: the major version is not supported"
_TARGET = "RFC 9112 3.2: no form of a request-target"
_HOST = "RFC 9112 3.2: 400 to a request with no Host, several, or one with an invalid value"
_CHUNK = "RFC 9112 7.1: chunk = chunk-size [ chunk-ext ] CRLF chunk-data CRLF"
_TRAILER = "RFC 9112 7.1.2: trailer-section = *( field-line CRLF )"

_CHUNKED_BODY = b"0\r\n\r\n"

_FRAMING = [
    _field(b"Content-Length: 4\r\nTransfer-Encoding: chunked", _BOTH, body=b"1\r\nZ\r\n0\r\n\r\n"),
    _field(b"Transfer-Encoding: chunked\r\nContent-Length: 30", _BOTH, body=_CHUNKED_BODY + _SMUGGLED),
    _field(b"Transfer-Encoding: chunked\r\nContent-Length: 0", _BOTH, body=_CHUNKED_BODY),
    _field(b"Content-Length: 5\r\nContent-Length: 6", _LENGTHS, body=b"hello!"),
    _field(b"Content-Length: 5\r\nContent-Length: 5", _LENGTHS + "; one is made of equal ones, or 400", body=b"hello"),
    _field(b"Content-Length: 0\r\ncontent-length: 33", _LENGTHS, body=_SMUGGLED),
    _field(b"Content-Length: 5, 5", _LENGTHS + "; a list of equal ones likewise", body=b"hello"),
    _field(b"Content-Length: 5, 6", _LENGTHS, body=b"hello!"),
    _field(b"Content-Length: 5,", _LENGTH, body=b"hello"),
    _field(b"Content-Length: +5", _LENGTH, body=b"hello"),
    _field(b"Content-Length: -5", _LENGTH, body=b"hello"),
    _field(b"Content-Length: -0", _LENGTH),
    _field(b"Content-Length: 5 5", _LENGTH, body=b"hello"),
    _field(b"Content-Length: 0x5", _LENGTH, body=b"hello"),
    _field(b"Content-Length: 5.0", _LENGTH, body=b"hello"),
    _field(b"Content-Length: 1_0", _LENGTH + "; Python's int() would take it for 10", body=b"0123456789"),
    _field(b"Content-Length: \xef\xbc\x95", _LENGTH + ", and not a digit of another script", body=b"hello"),
    _field(b"Content-Length: 5\x0b", _LENGTH + "; a vertical tab is no white space", body=b"hello"),
    _field(b'Content-Length: "5"', _LENGTH, body=b"hello"),
    _field(b"Content-Length:", _LENGTH),
    _field(b"Content-Length: five", _LENGTH, body=b"hello"),
    _field(b"Content-Length: 18446744073709551621", _LENGTH + ": no overflow, which would make it 5", body=b"hello"),
    _field(b"Content-Length: " + b"9" * 400, _LENGTH + ": no overflow"),
    _field(b"Transfer-Encoding: xchunked", _CODING, body=_CHUNKED_BODY),
    _field(b"Transfer-Encoding: chunkedx", _CODING, body=_CHUNKED_BODY),
    _field(b"Transfer-Encoding: chunked, identity", _CODING, body=_CHUNKED_BODY),
    _field(b"Transfer-Encoding: identity", _CODING, body=_CHUNKED_BODY),
    _field(b"Transfer-Encoding: identity\r\nContent-Length: 5", _BOTH, body=b"hello"),
    _field(b"Transfer-Encoding: gzip", _CODING),
    _field(b"Transfer-Encoding:", _CODING, body=_CHUNKED_BODY),
    _field(
        b"Transfer-Encoding: chunked, chunked", "RFC 9112 6.1: chunked must not be applied twice", body=_CHUNKED_BODY
    ),
    _field(
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "RFC 9112 6.1: chunked must not be applied twice"
    ),
    _field(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", _CODING, body=_CHUNKED_BODY),
    _field(b"Transfer-Encoding: chunked;q=1", "RFC 9112 7.1: parameters of chunked are an error", body=_CHUNKED_BODY),
    _field(b'Transfer-Encoding: "chunked"', _CODING, body=_CHUNKED_BODY),
    _field(b"Transfer-Encoding: 'chunked'", _CODING, body=_CHUNKED_BODY),
    _field(b"Transfer-Encoding: chun ked", _CODING, body=_CHUNKED_BODY),
    _field(b"Transfer-Encoding: chunked\t", _TAB, body=_CHUNKED_BODY),
    _field(b"Transfer-Encoding:\x0bchunked", _VALUE, body=_CHUNKED_BODY),
    _field(b"Transfer-Encoding: chunked\x00", _VALUE, body=_CHUNKED_BODY),
    _field(
        b"Transfer-Encoding: gzip, chunked", "RFC 9112 6.1: 501 to a coding that is not understood", 501, _CHUNKED_BODY
    ),
    RequestCase(
        "Transfer-Encoding in HTTP/1.0",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "RFC 9112 6.1: an HTTP/1.0 message with a Transfer-Encoding has faulty framing",
    ),
    RequestCase(
        "Transfer-Encoding and Content-Length in HTTP/1.0",
        b"POST / HTTP/1.0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "RFC 9112 6.1: an HTTP/1.0 message with a Transfer-Encoding has faulty framing",
    ),
]

_FIELDS = [
    RequestCase("bare LF behind the first line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400, _LF),
    RequestCase("bare LF everywhere", b"GET / HTTP/1.1\nHost: a\n\n", 400, _LF),
    RequestCase("bare LF before the empty line", b"GET / HTTP/1.1\r\nHost: a\n\r\n\r\n", 400, _LF),
    RequestCase("bare LF as the empty line", b"GET / HTTP/1.1\r\nHost: a\r\n\n\r\n\r\n", 400, _LF),
    RequestCase("bare CR as the empty line", b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n\r\n", 400, _CR),
    RequestCase("bare LF before the request", b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, _LF),
    RequestCase("bare CR before the request", b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, _CR),
    RequestCase("two empty lines", b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "RFC 9112 2.2: one is ignored"),
    RequestCase("space before the request", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, _REQUEST_LINE),
    _field(b"X: y\nTransfer-Encoding: chunked", _LF, body=_CHUNKED_BODY),
    _field(b"X: y\rTransfer-Encoding: chunked", _CR, body=_CHUNKED_BODY),
    _field(b"X: y\r\r\nContent-Length: 5", _CR, body=b"hello"),
    _field(b"X: y\r", _CR),
    _field(b"X\r: y", _CR),
    _field(b"X: y\r\n folded", _FOLD),
    _field(b"X: y\r\n\tTransfer-Encoding: chunked", _FOLD, body=_CHUNKED_BODY),
    _field(b"Transfer-Encoding:\r\n chunked", _FOLD, body=_CHUNKED_BODY),
    _field(b"X: y\r\n ", _FOLD),
    RequestCase(
        "space before the first field", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "RFC 9112 2.2: must be rejected"
    ),
    RequestCase(
        "folded first line", b"GET / HTTP/1.1\r\n\tX\r\nHost: a\r\n\r\n", 400, "RFC 9112 2.2: must be rejected"
    ),
    _field(b"Content-Length : 5", _COLON, body=b"hello"),
    _field(b"Transfer-Encoding\t: chunked", _COLON, body=_CHUNKED_BODY),
    _field(b"Transfer-Encoding\x0b: chunked", _NAME, body=_CHUNKED_BODY),
    _field(b"Content Length: 5", _NAME, body=b"hello"),
    _field(b": x", _NAME),
    _field(b":", _NAME),
    _field(b"X", "RFC 9112 5: field-line = field-name ':' OWS field-value OWS"),
    _field(b"X-\x00: y", _NAME),
    _field(b"X(y): z", _NAME),
    _field(b'"X": z', _NAME),
    _field(b"X\xc3\xa9: z", _NAME),
    _field(b"X: y\x00z", _VALUE),
    _field(b"X: y\x01z", _VALUE),
    _field(b"X: y\x0bz", _VALUE),
    _field(b"X: y\x1b[2J", _VALUE),
    _field(b"X: y\x7f", _VALUE),
    _field(b"Expect: 200-ok", "RFC 9110 10.1.1: a server may answer 417 to an expectation it does not know", 417),
    _field(b"X: " + b"y" * 32768, "RFC 6585 5: one field is too large", 431),
    _field(b"\r\n".join(b"X%d: y" % number for number in range(100)), "RFC 6585 5: too many fields", 431),
    _field(
        b"\r\n".join(b"X%d: %s" % (number, b"y" * 700) for number in range(50)), "RFC 6585 5: they are too large", 431
    ),
]

_LINES = [
    _line(b"GET /", 400, "RFC 9112 2.3: HTTP/0.9 has no version, and no fields"),
    RequestCase("HTTP/0.9", b"GET /\r\n\r\n", 400, "RFC 9112 2.3: HTTP/0.9 has no version, and no fields"),
    _line(b"GET", 400, _REQUEST_LINE),
    _line(b"GET HTTP/1.1", 400, _REQUEST_LINE),
    _line(b"GET  HTTP/1.1", 400, _REQUEST_LINE),
    _line(b"GET  / HTTP/1.1", 400, _REQUEST_LINE),
    _line(b"GET /  HTTP/1.1", 400, _REQUEST_LINE),
    _line(b"GET / HTTP/1.1 ", 400, _REQUEST_LINE),
    _line(b"GET / HTTP/1.1 HTTP/1.1", 400, _REQUEST_LINE),
    _line(b"GET\t/\tHTTP/1.1", 400, _REQUEST_LINE),
    _line(b"GET\x0b/ HTTP/1.1", 400, _REQUEST_LINE),
    _line(b"GET / HTTP/2.0", 505, _MAJOR),
    _line(b"GET / HTTP/3.0", 505, _MAJOR),
    _line(b"GET / HTTP/0.9", 505, _MAJOR),
    _line(b"GET / HTTP/1.1x", 400, _VERSION),
    _line(b"GET / HTTP/1.10", 400, _VERSION),
    _line(b"GET / HTTP/01.1", 400, _VERSION),
    _line(b"GET / HTTP/1", 400, _VERSION),
    _line(b"GET / HTTP/1.", 400, _VERSION),
    _line(b"GET / HTTP/2", 400, _VERSION),
    _line(b"GET / http/1.1", 400, _VERSION + ", in this case"),
    _line(b"GET / HTTPS/1.1", 400, _VERSION),
    _line(b"GET / HTTP/\xd9\xa1.1", 400, _VERSION + ", and not a digit of another script"),
    _line(b"GET / FTP/1.1", 400, _VERSION),
    _line(b"G(T / HTTP/1.1", 400, "RFC 9110 9.1: method = token"),
    _line(b"G\xc3\x89T / HTTP/1.1", 400, "RFC 9110 9.1: method = token"),
    _line(b"G\x00T / HTTP/1.1", 400, "RFC 9110 9.1: method = token"),
    _line(b"/ HTTP/1.1", 400, "RFC 9110 9.1: method = token"),
    _line(b"X" * 300 + b" / HTTP/1.1", 501, "RFC 9112 3: a method longer than any that is implemented: 501"),
    _line(b"GET /" + b"a" * 32768 + b" HTTP/1.1", 414, "RFC 9112 3: a target longer than any that is parsed: 414"),
    RequestCase(
        "endless target", b"GET /" + b"a" * 40000, 414, "RFC 9112 3: a target longer than any that is parsed: 414"
    ),
    RequestCase(
        "HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "RFC 9113 3.4: made to be refused; " + _MAJOR
    ),
    RequestCase(
        "TLS ClientHello", b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03" + bytes(range(200)), 400, _REQUEST_LINE
    ),
    RequestCase("SSH", b"SSH-2.0-OpenSSH_9.6\r\n\r\n", 400, _REQUEST_LINE),
    RequestCase("SOCKS 5", b"\x05\x01\x00", 400, _REQUEST_LINE),
    RequestCase("PROXY protocol", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + _SMUGGLED, 400, _REQUEST_LINE),
    RequestCase("cut off", b"GET / HTTP/1.1\r\nHost: a\r\n", 400, "RFC 9112 8: an incomplete request"),
]

_TARGETS = [
    _target(b"a", _TARGET),
    _target(b"@evil.test/", _TARGET + "; pasted behind http://upstream it asks another server"),
    _target(b":80@evil.test/", _TARGET + "; pasted behind http://upstream it asks another server"),
    _target(b".evil.test/", _TARGET),
    _target(b"?a=b", _TARGET),
    _target(b"a:80", "RFC 9112 3.2.3: the authority form is for CONNECT only"),
    _target(b"*", "RFC 9112 3.2.4: the asterisk form is for OPTIONS only"),
    _target(b"*/", _TARGET, b"OPTIONS"),
    _target(b"/a#b", "RFC 9112 3.2.1: origin-form has no fragment"),
    _target(b"http://a/#b", "RFC 9110 7.1: the target has no fragment"),
    _target(b"/a b", "RFC 9112 3.2: no whitespace is allowed in a request-target"),
    _target(b"/a\tb", "RFC 9112 3.2: no whitespace is allowed in a request-target"),
    _target(b"/a\x00b", "RFC 9112 3.2.1: no character of a path"),
    _target(b"/a\x1bb", "RFC 9112 3.2.1: no character of a path"),
    _target(b"/a\x7fb", "RFC 9112 3.2.1: no character of a path"),
    _target(b"/\rX-Injected:y", _CR),
    _target(b"http://", "RFC 9110 4.2.1: an http URI with an empty host must be rejected"),
    _target(b"http:///a", "RFC 9110 4.2.1: an http URI with an empty host must be rejected"),
    _target(b"http://:80/a", "RFC 9110 4.2.1: an http URI with an empty host must be rejected"),
    _target(b"http://b@a/", "RFC 9110 4.2.4: userinfo is treated as an error"),
    _target(b"http://b:c@a/", "RFC 9110 4.2.4: userinfo is treated as an error"),
    _target(b"http://a\\@b/", "RFC 3986 3.2: no character of an authority"),
    _target(b"http://a:b/", "RFC 3986 3.2.3: port = *DIGIT"),
    _target(b"http://[::1/", "RFC 3986 3.2.2: IP-literal = '[' IPv6address ']'"),
    _target(b"http:/a", "RFC 9112 3.2.2: an http URI has an authority"),
    _target(b"file:///etc/passwd", "RFC 9110 4.2: neither http nor https"),
    _target(b"gopher://a/_x", "RFC 9110 4.2: neither http nor https"),
    _target(b"a:80", "RFC 9110 9.3.6, 15.5.6: no tunnels here", b"CONNECT", 405),
    _target(b"127.0.0.1:22", "RFC 9110 9.3.6, 15.5.6: no tunnels here", b"CONNECT", 405),
]

_HOSTS = [
    _host(b"X: y", _HOST),
    _host(b"Host: a\r\nHost: b", _HOST),
    _host(b"Host: a\r\nhost: a", _HOST),
    _host(b"Host: a, b", _HOST + "; RFC 9110 5.3: a comma might be two fields made one"),
    _host(b"Host: b@a", _HOST),
    _host(b"Host: b:c@a", _HOST),
    _host(b"Host: a b", _HOST),
    _host(b"Host: a:80:80", _HOST),
    _host(b"Host: a:port", _HOST),
    _host(b"Host: a:-1", _HOST),
    _host(b"Host: a:+80", _HOST),
    _host(b"Host: http://a", _HOST),
    _host(b"Host: a/b", _HOST),
    _host(b"Host: a?b", _HOST),
    _host(b"Host: a#b", _HOST),
    _host(b"Host: a\\b", _HOST),
    _host(b"Host: [::1", _HOST),
    _host(b"Host: [::1]x", _HOST),
    _host(b"Host: ::1", _HOST),
    _host(b"Host: a\xc3\xa9", _HOST),
    _host(b"Host: a\x00", _HOST),
    _host(b"Host: a<b>", _HOST),
    _host(b"Host : a", _COLON),
    RequestCase(
        "Host of the absolute form", b"GET http://a/ HTTP/1.1\r\n\r\n", 400, _HOST + ", whatever the target's form"
    ),
    RequestCase("bad Host in HTTP/1.0", b"GET / HTTP/1.0\r\nHost: b@a\r\n\r\n", 400, "RFC 9112 3.2: of any request"),
]

_BODIES = [
    _chunks(b"10000000000000005\r\nhello\r\n0\r\n\r\n", "RFC 9112 7.1: no overflow, which would make it 5"),
    _chunks(b"-5\r\nhello\r\n0\r\n\r\n", _CHUNK),
    _chunks(b"+5\r\nhello\r\n0\r\n\r\n", _CHUNK),
    _chunks(b"0x5\r\nhello\r\n0\r\n\r\n", _CHUNK),
    _chunks(b" 5\r\nhello\r\n0\r\n\r\n", _CHUNK),
    _chunks(b"5 \r\nhello\r\n0\r\n\r\n", _CHUNK),
    _chunks(b"5\t\r\nhello\r\n0\r\n\r\n", _CHUNK),
    _chunks(b"5\x0b\r\nhello\r\n0\r\n\r\n", _CHUNK),
    _chunks(b"5_\r\nhello\r\n0\r\n\r\n", _CHUNK),
    _chunks(b"\r\nhello\r\n0\r\n\r\n", _CHUNK),
    _chunks(b"5\nhello\r\n0\r\n\r\n", _LF),
    _chunks(b"5\r\nhello\n0\r\n\r\n", _LF),
    _chunks(b"5\r\nhello\r0\r\n\r\n", _CR),
    _chunks(b"5\r\nhello0\r\n\r\n", _CHUNK),
    _chunks(b"5\r\nhelloXX0\r\n\r\n", _CHUNK),
    _chunks(b"3\r\nhello\r\n0\r\n\r\n", _CHUNK),
    _chunks(b"5\rX\nhello\r\n0\r\n\r\n", _CR),
    _chunks(b"5;a\nhello\r\n0\r\n\r\n" + _SMUGGLED, "RFC 9112 7.1.1: a bare LF is part of no extension"),
    _chunks(b"5;a\rb\r\nhello\r\n0\r\n\r\n", _CR),
    _chunks(b'5;a="\r\nhello\r\n0\r\n\r\n"\r\nworld\r\n0\r\n\r\n', "RFC 9110 5.6.4: quoted-string has no CR and no LF"),
    _chunks(b"5;a=\x00\r\nhello\r\n0\r\n\r\n", "RFC 9112 7.1.1: chunk-ext-val is a token or a quoted-string"),
    _chunks(
        b"1;" + b"x" * 5000 + b"\r\na\r\n0\r\n\r\n", "RFC 9112 7.1.1: the length of extensions ought to be limited"
    ),
    _chunks(
        (b"1;" + b"x" * 1000 + b"\r\na\r\n") * 20, "RFC 9112 7.1.1: the total length of extensions ought to be limited"
    ),
    _chunks(b"0\n\n", _LF),
    _chunks(b"0\r\n\n" + _SMUGGLED, _LF),
    _chunks(b"0\r\nX: y\n\r\n", _LF),
    _chunks(b"0\r\nX : y\r\n\r\n", _COLON),
    _chunks(b"0\r\n X: y\r\n\r\n", _FOLD),
    _chunks(b"0\r\nX\r\n\r\n", _TRAILER),
    _chunks(b"0\r\nX: y\x00\r\n\r\n", _VALUE),
    _chunks(b"0\r\n" + _SMUGGLED, _TRAILER + ": the smuggled first line is no field"),
    _chunks(b"0\r\n" + b"X: y\r\n" * 200 + b"\r\n", _TRAILER + ": too many"),
    _chunks(b"5\r\nhel", "RFC 9112 8: a chunked message without its last chunk is incomplete"),
    _chunks(b"5\r\nhello\r\n0\r\n", "RFC 9112 8: a chunked message without its last chunk is incomplete"),
    RequestCase(
        "cut off body",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell",
        400,
        "RFC 9112 8: fewer bytes than Content-Length: incomplete",
    ),
]

MALFORMED_REQUESTS = _FRAMING + _FIELDS + _LINES + _TARGETS + _HOSTS + _BODIES


def _good(name: str, raw: bytes, why: str, framing: str = "none", length: int = 0, rest: bytes = b"") -> RequestCase:
    return RequestCase(name, raw, None, why, framing, length, rest)


def _good_field(fields: bytes, why: str, framing: str = "none", length: int = 0, body: bytes = b"") -> RequestCase:
    raw = b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n\r\n" + body
    return _good(f"fields {_text(fields)}", raw, why, framing, length)


def _good_target(target: bytes, why: str, method: bytes = b"GET", host: bytes = b"a") -> RequestCase:
    case = _good(
        f"target {_text(target)} of {_text(method)}", method + b" " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n", why
    )
    return attrs.evolve(case, host=host)


def _good_host(value: bytes, host: bytes, why: str) -> RequestCase:
    case = _good(f"host {_text(value)}", b"GET / HTTP/1.1\r\nHost:" + value + b"\r\n\r\n", why)
    return attrs.evolve(case, host=host)


def _good_chunks(body: bytes, length: int, why: str, rest: bytes = b"") -> RequestCase:
    raw = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body + rest
    return _good(f"chunks {_text(body)}", raw, why, "chunked", length, rest)


_OWS = "RFC 9112 5: OWS around a value is not part of it"

VALID_REQUESTS = [
    _good("plain", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", _REQUEST_LINE),
    _good("an empty line before it", b"\r\n" + _SMUGGLED, "RFC 9112 2.2: one empty line is ignored"),
    _good("pipelined", _SMUGGLED * 2, "RFC 9112 9.3.2", rest=_SMUGGLED),
    _good("a method in lower case", b"get / HTTP/1.1\r\nHost: a\r\n\r\n", "RFC 9110 9.1: a token, case-sensitive"),
    _good(
        "a method of other characters",
        b"M-SEARCH!#$%&'*+.^_`|~1 / HTTP/1.1\r\nHost: a\r\n\r\n",
        "RFC 9110 9.1: a token",
    ),
    attrs.evolve(
        _good("HTTP/1.0 without Host", b"GET / HTTP/1.0\r\n\r\n", "RFC 9112 3.2: asked of HTTP/1.1"), minor=0, host=b""
    ),
    attrs.evolve(
        _good("HTTP/1.0 that goes on", b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", "RFC 9112 9.3"),
        minor=0,
    ),
    _good(
        "a higher minor version",
        b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        "RFC 9110 2.5: processed as the highest minor version of the same major one that is known",
    ),
    _good_field(
        b"Content-Length: 5", "RFC 9110 9.3.1: content of a GET means nothing, but is framed", "length", 5, b"hello"
    ),
    _good_field(b"Content-Length: 0", "RFC 9110 8.6", "length"),
    _good_field(b"Content-Length: 005", "RFC 9110 8.6: 1*DIGIT", "length", 5, b"hello"),
    _good_field(b"Content-Length: \t 5\t ", _OWS, "length", 5, b"hello"),
    _good_field(b"CONTENT-length:5", "RFC 9110 5.1: names have no case", "length", 5, b"hello"),
    _good_field(b"Transfer-Encoding: chunked", "RFC 9112 7.1, of a GET", "chunked", 0, _CHUNKED_BODY),
    _good_field(b"Transfer-Encoding: Chunked", "RFC 9112 7: codings have no case", "chunked", 0, _CHUNKED_BODY),
    _good_field(b"Transfer-Encoding:\t chunked ", _OWS, "chunked", 0, _CHUNKED_BODY),
    _good_field(b"Transfer_Encoding: chunked", "RFC 9110 5.1: a token, and another name"),
    _good_field(b"Connection: content-length\r\nContent-Length: 5", "RFC 9110 7.6.1: it frames", "length", 5, b"hello"),
    _good_field(
        b"Connection: transfer-encoding\r\nTransfer-Encoding: chunked", "RFC 9110 7.6.1", "chunked", 0, _CHUNKED_BODY
    ),
    _good_field(b"Connection: host", "RFC 9110 7.6.1: Host must not be named, and stays"),
    _good_field(b"Connection: , close,, x ,", "RFC 9110 5.6.1.2: empty elements are ignored"),
    _good_field(
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA", "RFC 9110 7.8: may be ignored"
    ),
    _good_field(b"Expect: 100-Continue\r\nContent-Length: 5", "RFC 9110 10.1.1: no case", "length", 5, b"hello"),
    _good_field(b"X: caf\xc3\xa9 \xff", "RFC 9110 5.5: obs-text"),
    _good_field(b"X:\r\nY: \r\nZ:\t", "RFC 9110 5.5: a value may be empty"),
    _good_field(b"X: a\tb", "RFC 9110 5.5: a tab within a value"),
    _good_field(b"X: a: b:", "RFC 9112 5: the first colon ends the name"),
    _good_field(b"!#$%&'*+-.^_`|~0: y", "RFC 9110 5.6.2: a token"),
    _good_field(b"X: " + b"y" * 30000, "RFC 9110 5.4: within the limits"),
    _good_field(b"\r\n".join([b"X: y"] * 99), "RFC 9110 5.4: a hundred with Host"),
    _good_target(b"//evil.test/../a", "RFC 9112 3.2.1: a path that begins with two slashes"),
    _good_target(b"/a?b?c=/../%00", "RFC 3986 3.4: any of these in a query"),
    _good_target(b"/..%2f..;/%2e%2e/", "RFC 9112 3.2.1: a path, and passed on as it is"),
    _good_target(b"http://b/c", "RFC 9112 3.2.2: the target's host, not Host's", host=b"b"),
    _good_target(b"HTTP://B:80?c", "RFC 3986 3.1, 3.3: schemes have no case, a path may be empty", host=b"b"),
    _good_target(
        b"http://169.254.169.254/latest", "RFC 9112 3.2.2: a name; nobody is connected to", host=b"169.254.169.254"
    ),
    _good_target(b"*", "RFC 9112 3.2.4", b"OPTIONS"),
    _good_host(b"", b"", "RFC 9112 3.2: empty if the target has no authority"),
    _good_host(b" \tA.Example:8080\t", b"a.example", "RFC 9110 4.2.3: hosts have no case"),
    _good_host(b" [::1]:80", b"[::1]", "RFC 3986 3.2.2"),
    _good_host(b" a:", b"a", "RFC 3986 3.2.3: a port may be empty"),
    _good_host(b" a_b~c", b"a_b~c", "RFC 3986 3.2.2: a registered name"),
    _good_chunks(
        b'5 ; a = "b;\\"c" ;d\r\nhello\r\n00\r\n\r\n', 5, "RFC 9112 7.1.1: unknown extensions are ignored", _SMUGGLED
    ),
    _good_chunks(b"A\r\n0\r\n\r\nGET /\r\n0\r\n\r\n", 10, "RFC 9112 7.1: what looks like an end is data", b"\r\n"),
    _good_chunks(b"0\r\nContent-Length: 50\r\nHost: b\r\n\r\n", 0, "RFC 9110 6.5.1: dropped, not merged", _SMUGGLED),
    attrs.evolve(
        _good("bare LF, allowed", b"GET / HTTP/1.1\nHost: a\n\n" + _SMUGGLED, "RFC 9112 2.2", rest=_SMUGGLED),
        bare_lf=True,
    ),
    attrs.evolve(_good("bare LF, allowed, mixed", b"\nGET / HTTP/1.1\r\nHost: a\n\r\n", "RFC 9112 2.2"), bare_lf=True),
]
