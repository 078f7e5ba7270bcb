"""
The heads of HTTP/1 messages: what was asked, what was answered, how the body is framed, and what may be passed on.

A head is parsed once. The lines of its end-to-end fields are kept as they were sent, byte for byte; those that concern one
connection only (RFC 9110, section 7.6.1) are understood and left out. Where two readers could take a message for different ones,
it is refused: RFC 9112, sections 6.3 and 11.2.
"""

from __future__ import annotations

import re
from itertools import compress

from twisted_pipe.http.fields import BadFields, FieldKind, kinds_of, normal_line_ends
from twisted_pipe.http.message import BadMessage, Framing, Head, HeadLimits, RequestHead, ResponseHead
from twisted_pipe.http.target import ORIGIN_FORM, BadTarget, check_host, parse_target

__all__ = [
    "BadMessage",
    "Framing",
    "HeadLimits",
    "RequestHead",
    "ResponseHead",
    "parse_request",
    "parse_response",
]

_END = b"\r\n\r\n"
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_METHOD_BEGINS = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:$| )")
_COMMON_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})
_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")
_HIGHER_MINOR = re.compile(rb"HTTP/1\.[2-9]")
_STATUS_LINE = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")
_BARE_END = re.compile(rb"\r?\n\r?\n")
_TOKENS = re.compile(rb"[ \t]*,[ \t]*")
_LONGEST_METHOD = 64
_MOST_REPEATED = 4096  # bytes of a head that is kept to be compared with the next one of its connection
_MOST_DIGITS = 18  # of a length
_MOST_SHAPES = 1024  # of heads, remembered
_MOST_STATUS_LINES = 1024  # remembered; then all are forgotten

_SPACE, _QUESTION = 0x20, 0x3F
_DEFAULT_LIMITS = HeadLimits()
_shapes: dict[bytes, list[tuple[int, int]]] = {}
_masks: dict[bytes, bytes] = {}  # of the fields that are passed on
_status_lines: dict[bytes, tuple[int, int, bytes]] = {}  # what _read_status_line has found
_BAD_REQUEST, _BAD_GATEWAY = 400, 502
_NEVER_A_BODY = frozenset({204, 304})
_NO_BODY, _BY_LENGTH, _CHUNKED, _BY_CLOSE = Framing.NONE, Framing.LENGTH, Framing.CHUNKED, Framing.CLOSE

# As plain numbers: an enum's member is looked up in a dict each time.
_CONNECTION, _LENGTH, _TRANSFER, _HOST = map(
    int, (FieldKind.CONNECTION, FieldKind.LENGTH, FieldKind.TRANSFER, FieldKind.HOST)
)
_EXPECT, _HOP, _UPGRADE, _FORWARDED = map(
    int, (FieldKind.EXPECT, FieldKind.HOP, FieldKind.UPGRADE, FieldKind.FORWARDED)
)
_DATE, _ACCEL, _REFERER, _USER_AGENT, _AUTHORIZATION = map(
    int, (FieldKind.DATE, FieldKind.ACCEL, FieldKind.REFERER, FieldKind.USER_AGENT, FieldKind.AUTHORIZATION)
)
#: Of a response: kinds that are passed on.
_PASSED = frozenset({0, _DATE, _HOST, _EXPECT, _FORWARDED, _REFERER, _USER_AGENT, _AUTHORIZATION})


def _end_of_head(data: bytes, limits: HeadLimits, too_long: int) -> int:
    """
    How many bytes of C{data} the head takes, with its empty line; 0 if it is not whole yet.

    @param too_long: the status if a single line is longer than a head may be.
    @raise BadMessage: it is too large.
    """
    if limits.bare_lf:
        found = _BARE_END.search(data)
        end = 0 if found is None else found.end()
    else:
        end = data.find(_END) + 4
        if end == 3:
            end = 0
    if end > limits.size or (not end and len(data) > limits.size):
        line = data.find(b"\n")
        status = too_long if not 0 <= line < limits.size else 431
        raise BadMessage(
            status if too_long != _BAD_GATEWAY else too_long, f"the head has more than {limits.size} bytes"
        )
    return end


# requests


def parse_request(
    data: bytes, limits: HeadLimits = _DEFAULT_LIMITS, before: RequestHead | None = None
) -> RequestHead | None:
    """
    The head of the request at the start of C{data}; None if more has to come.

    @param before: the request before it on the same connection. Clients repeat their fields with every request: those that are the
        same, byte for byte, mean the same.
    @raise BadMessage: it cannot be; with the status for the client.
    """
    if before is not None and before.block:
        line = data.find(b"\r\n")
        if data.startswith(before.block, line) and 0 < line <= limits.size - len(before.block):
            return _parse_again(data[:line], before, limits)
    skipped = 0
    if data and data[0] < _SPACE:
        skipped = _empty_line(data, limits)
        if not skipped:
            return None
        data = data[skipped:]
    size = _end_of_head(data, limits, 414)
    if not size:
        _check_beginning(data, limits)
        return None
    lines = (normal_line_ends(data[:size])[:-4] if limits.bare_lf else data[: size - 4]).split(b"\r\n")
    head = RequestHead()
    head.size = size + skipped
    _read_request_line(head, lines[0])
    head.all_lines = fields = lines[1:]
    kinds = _kinds(fields, limits, _BAD_REQUEST)
    if any(kinds):
        _read_request_fields(head, fields, kinds)
    else:
        head.lines = fields
    if head.connection is not None:
        _read_connection(head)
    elif not head.minor:
        head.keep_alive = False
    if head.upgrade is not None:
        _check_upgrade(head)
    _read_host(head)
    if head.transfer is not None:
        _check_transfer(head, _BAD_REQUEST)
        head.framing = _CHUNKED
    elif head.content_length is not None:
        head.length = int(head.content_length)
        head.framing = _BY_LENGTH
    if head.expect is not None:
        _read_expect(head, head.expect)
    elif head.framing is _NO_BODY and head.authority is None and head.minor and size <= _MOST_REPEATED:
        head.block = data[len(lines[0]) : size]
    return head


def _parse_again(line: bytes, before: RequestHead, limits: HeadLimits) -> RequestHead | None:
    """The head of a request with a line of its own, and the fields of C{before}."""
    method, _, rest = line.partition(b" ")
    target = rest[:-9]
    if (
        rest[-9:] != b" HTTP/1.1"
        or method not in _COMMON_METHODS
        or target[:1] != b"/"
        or target.translate(None, ORIGIN_FORM)
    ):
        return parse_request(line + before.block, limits)  # the same fields may mean something else
    head = RequestHead()
    head.repeat(before)
    head.line = line
    head.method = method
    head.raw_target = head.origin_target = target
    if _QUESTION in target:
        head.path, _, head.query = target.partition(b"?")
    else:
        head.path = target
        head.query = None
    head.size = len(line) + len(head.block)
    return head


def _empty_line(data: bytes, limits: HeadLimits) -> int:
    """Bytes of the one empty line that may stand before a request (RFC 9112, section 2.2); 0 if it is not whole yet."""
    if data[:2] == b"\r\n":
        return 2
    if data == b"\r":
        return 0
    if limits.bare_lf and data[:1] == b"\n":
        return 1
    raise BadMessage(400, "it begins with a control character")


def _check_beginning(data: bytes, limits: HeadLimits) -> None:
    """
    What is no HTTP need not be waited for.

    @raise BadMessage: it cannot become a head.
    """
    if data and not _METHOD_BEGINS.match(data):
        raise BadMessage(400, "it does not begin with a method")
    if not limits.bare_lf and data.count(b"\n") != data.count(b"\r\n"):
        raise BadMessage(400, "a line ends with a bare LF")


def _read_request_line(head: RequestHead, line: bytes) -> None:
    parts = line.split(b" ")
    if len(parts) != 3:
        raise BadMessage(400, "its first line is not method, target and version, with one space between them")
    method, target, version = parts
    if version != b"HTTP/1.1":
        if version == b"HTTP/1.0":
            head.minor = 0
        elif _HIGHER_MINOR.fullmatch(version):
            pass  # RFC 9110, section 6.2: as the highest that we know
        elif _VERSION.fullmatch(version):
            raise BadMessage(505, f"its version is {version.decode()}")
        else:
            raise BadMessage(400, "its first line does not end with a version")
    if method not in _COMMON_METHODS:
        _check_method(method)
    try:
        found = parse_target(method, target)
    except BadTarget as error:
        raise BadMessage(400, str(error)) from None
    head.line = line
    head.method = method
    head.raw_target = target
    head.origin_target, head.path, head.query, head.authority, _ = found


def _check_method(method: bytes) -> None:
    if len(method) > _LONGEST_METHOD:
        raise BadMessage(501, f"its method has more than {_LONGEST_METHOD} bytes")
    if not _METHOD.fullmatch(method):
        raise BadMessage(400, "its method is no token")
    if method == b"CONNECT":
        raise BadMessage(405, "it asks for a tunnel, which a reverse proxy does not give")


def _kinds(fields: list[bytes], limits: HeadLimits, status: int) -> list[int]:
    if len(fields) > limits.fields:
        raise BadMessage(431 if status == _BAD_REQUEST else status, f"there are more than {limits.fields} fields")
    try:
        return kinds_of(fields)
    except BadFields as error:
        raise BadMessage(status, str(error)) from None


def _read_request_fields(head: RequestHead, fields: list[bytes], kinds: list[int]) -> None:
    """What the special ones of C{fields} say, and which are passed on."""
    kept = []
    for line, kind in zip(fields, kinds, strict=True):
        if not kind:
            kept.append(line)
            continue
        value = line.partition(b":")[2].strip(b" \t")
        if kind == _HOST:
            if head.host_value is not None:
                raise BadMessage(400, "it has several Host")
            head.host_value = value
        elif kind == _USER_AGENT:
            head.user_agent = value
            kept.append(line)
        elif kind == _REFERER:
            head.referer = value
            kept.append(line)
        elif kind == _AUTHORIZATION:
            head.authorization = value
            kept.append(line)
        elif kind == _FORWARDED:
            head.has_forwarded = True
            kept.append(line)
        elif kind == _EXPECT:
            head.expect = value if head.expect is None else head.expect + b"," + value
        elif kind in (_DATE, _ACCEL):
            kept.append(line)
        else:
            _read_framing_field(head, kind, value, _BAD_REQUEST)
    head.lines = kept


def _read_framing_field(head: Head, kind: int, value: bytes, status: int) -> None:
    """A field of the connection, or of the framing: none is passed on."""
    if kind == _LENGTH:
        if head.content_length is not None:
            raise BadMessage(status, "it has several Content-Length")
        if not value.isdigit() or len(value) > _MOST_DIGITS:
            raise BadMessage(status, "its Content-Length is no number of bytes")
        head.content_length = value
    elif kind == _TRANSFER:
        if head.transfer is not None:
            raise BadMessage(status, "it has several Transfer-Encoding")
        head.transfer = value
    elif kind == _CONNECTION:
        head.connection = value if head.connection is None else head.connection + b"," + value
    elif kind == _UPGRADE:
        head.upgrade = value if head.upgrade is None else head.upgrade + b", " + value


def _read_connection(head: Head) -> None:
    """What C{Connection} says of the connection, and which fields it takes with it."""
    assert head.connection is not None
    value = head.connection.lower()
    if value == b"keep-alive":
        return
    if value == b"close":
        head.keep_alive = False
        return
    tokens = {token for token in _TOKENS.split(value.strip(b" \t")) if token}
    if b"close" in tokens or (b"keep-alive" not in tokens and not head.minor):
        head.keep_alive = False
    named = tokens - {b"close", b"keep-alive", b"upgrade", b"host"}
    if named:
        head.lines = [line for line in head.lines if line[: line.find(b":")].lower() not in named]


def _check_upgrade(head: Head) -> None:
    """C{Upgrade} is of the connection that it came by only if C{Connection} says so (RFC 9110, section 7.8): else nobody asked."""
    if head.connection is None or b"upgrade" not in _TOKENS.split(head.connection.lower().strip(b" \t")):
        head.upgrade = None


def _read_host(head: RequestHead) -> None:
    value = head.host_value
    if value is None:
        if head.minor:
            raise BadMessage(400, "it has no Host")
        value = b""
    authority = head.authority
    try:
        head.host = check_host(value)
        if authority is not None and head.method != b"CONNECT":
            head.host = check_host(authority)  # which Host must not contradict: RFC 9112, section 3.2.2
            value = authority
    except BadTarget as error:
        raise BadMessage(400, str(error)) from None
    head.host_value = value


def _read_expect(head: RequestHead, expect: bytes) -> None:
    if expect.lower() != b"100-continue":
        raise BadMessage(417, "it expects what nobody here does")
    head.expects_continue = head.minor == 1 and head.has_body


def _check_transfer(head: Head, status: int) -> None:
    """
    C{Transfer-Encoding} is C{chunked} and nothing else, and stands alone.

    @raise BadMessage: it is not, or does not.
    """
    assert head.transfer is not None
    if head.content_length is not None:
        raise BadMessage(status, "it has both Content-Length and Transfer-Encoding")
    if not head.minor:
        raise BadMessage(status, "it has a Transfer-Encoding, which HTTP/1.0 does not know")
    coding = head.transfer.lower()
    if coding != b"chunked":
        if status == _BAD_REQUEST and _TOKENS.split(coding)[-1] == b"chunked" and coding.count(b"chunked") == 1:
            raise BadMessage(501, "its Transfer-Encoding is more than chunked")
        raise BadMessage(status, "its Transfer-Encoding is not chunked")


# responses


def parse_response(data: bytes, method: bytes = b"GET", limits: HeadLimits = _DEFAULT_LIMITS) -> ResponseHead | None:
    """
    The head of the response at the start of C{data}; None if more has to come.

    @param method: of the request it answers.
    @raise BadMessage: it cannot be; the status is 502.
    """
    end = data.find(_END)
    if end < 0 or end >= limits.size - 3 or limits.bare_lf:
        size = _end_of_response(data, limits)
        if not size:
            return None
    else:
        size = end + 4
    lines = (normal_line_ends(data[:size])[:-4] if limits.bare_lf else data[:end]).split(b"\r\n")
    head = ResponseHead()
    head.size = size
    line = lines.pop(0)
    head.status, head.minor, head.line = _status_lines.get(line) or _read_status_line(line)
    head.all_lines = lines
    if len(lines) > limits.fields:
        raise BadMessage(_BAD_GATEWAY, f"there are more than {limits.fields} fields")
    try:
        kinds = kinds_of(lines)
    except BadFields as error:
        raise BadMessage(_BAD_GATEWAY, str(error)) from None
    _read_response_fields(head, lines, kinds)
    if head.connection is not None:
        if head.connection != b"keep-alive":
            _read_connection(head)
    elif not head.minor:
        head.keep_alive = False
    if head.upgrade is not None:
        _check_upgrade(head)
    _frame_response(head, method)
    return head


def _end_of_response(data: bytes, limits: HeadLimits) -> int:
    """As L{_end_of_head}; what does not begin like a response need not be waited for."""
    if data[:5] != b"HTTP/"[: len(data)]:
        raise BadMessage(502, f"it does not begin with a status line: {data[:60]!r}")
    size = _end_of_head(data, limits, _BAD_GATEWAY)
    if not (size or limits.bare_lf) and data.count(b"\n") != data.count(b"\r\n"):
        raise BadMessage(502, "a line ends with a bare LF")
    return size


def _read_status_line(line: bytes) -> tuple[int, int, bytes]:
    """
    Status, minor version, and the line as it is passed on: with our own version (RFC 9112, section 2.3), and with the space that
    has to stand before a reason even if there is none (section 4), which many servers leave out.
    """
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise BadMessage(502, f"its first line is no status line: {line[:60]!r}")
    if len(_status_lines) >= _MOST_STATUS_LINES:
        _status_lines.clear()
    found = (int(match[2]), min(int(match[1]), 1), b"HTTP/1.1 %b %b" % (match[2], match[3] or b""))
    _status_lines[line] = found
    return found


def _read_response_fields(head: ResponseHead, fields: list[bytes], kinds: list[int]) -> None:
    """As L{_read_request_fields}."""
    shape = bytes(kinds)
    for index, kind in _shapes.get(shape) or _read_shape(shape):
        if kind == _DATE:
            head.dated = True
        elif kind == _ACCEL:
            head.accelerated = True
        else:
            _read_framing_field(head, kind, fields[index].partition(b":")[2].strip(b" \t"), _BAD_GATEWAY)
    head.lines = list(compress(fields, _masks[shape]))


def _read_shape(shape: bytes) -> list[tuple[int, int]]:
    """Which fields of a head of kinds C{shape} say something, and of which kind they are. Servers know few shapes."""
    if len(_shapes) >= _MOST_SHAPES:
        _shapes.clear()
        _masks.clear()
    _masks[shape] = bytes(kind in _PASSED for kind in shape)
    found = _shapes[shape] = [(index, kind) for index, kind in enumerate(shape) if kind == _DATE or kind not in _PASSED]
    return found


def _frame_response(head: ResponseHead, method: bytes) -> None:
    status = head.status
    if head.transfer is not None:
        _check_transfer(head, _BAD_GATEWAY)
    if status < 200 or status in _NEVER_A_BODY or method == b"HEAD":
        if status < 200 or status == 204:
            head.content_length = None
    elif head.content_length is not None:
        head.length = int(head.content_length)
        head.framing = _BY_LENGTH
    elif head.transfer is not None:
        head.framing = _CHUNKED
    else:
        head.framing = _BY_CLOSE
        head.keep_alive = False
