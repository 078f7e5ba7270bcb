"""
Heads, valid and broken ones, given to us and to h11: both refuse, or both see the same method, target, fields and framing, and the
same end of the head. We get them byte by byte as well.

Where the two may differ a row of L{REASONS} says why, and how to mend a head so that this reason is gone. A disagreement that is
not gone when the head is mended, and then accepted by both, is a failure, and so is a row that explains nothing.

4,000 seeds by default; C{TWISTED_PIPE_FUZZ_SEEDS} asks for another number, C{TWISTED_PIPE_FUZZ_FIRST} for another first seed.
"""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import attrs
import h11
from twisted.trial.unittest import SynchronousTestCase

from tests.http.corpus_requests import MALFORMED_REQUESTS, VALID_REQUESTS
from tests.http.corpus_responses import MALFORMED_RESPONSES, VALID_RESPONSES
from twisted_pipe.http.head import BadMessage, HeadLimits, RequestHead, ResponseHead, parse_request, parse_response

SEEDS = int(os.environ.get("TWISTED_PIPE_FUZZ_SEEDS", "4000"))
FIRST = int(os.environ.get("TWISTED_PIPE_FUZZ_FIRST", "0"))

_MANY = 1 << 20
_MOST_CUTS = 1000  # a longer head is cut at the last of its bytes only


@attrs.frozen
class Seen:
    """
    A head that was accepted.

    @ivar line: method and target, or the status; the reason phrase means nothing.
    """

    size: int
    line: tuple[bytes, ...]
    minor: int
    fields: tuple[tuple[bytes, bytes], ...]
    framing: str
    length: int


#: C{"refused"}; or C{"incomplete"}: more is waited for.
Verdict = Seen | str


@attrs.frozen
class Message:
    """
    @ivar method: of the request that a response answers; None if this is a request.
    """

    data: bytes
    method: bytes | None = None


def _fields(pairs: list[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """h11 shows those that frame as it has understood them."""
    special = (b"content-length", b"transfer-encoding")
    values = [(name, value.strip(b" \t")) for name, value in pairs]
    return tuple((name, value.lower() if name.lower() in special else value) for name, value in values)


def _parse(message: Message, size: int) -> RequestHead | ResponseHead | None:
    data = message.data[:size]
    limits = HeadLimits()
    return parse_request(data, limits) if message.method is None else parse_response(data, message.method, limits)


def _answer(message: Message, size: int) -> str:
    """What is said when so many bytes have come."""
    try:
        return "incomplete" if _parse(message, size) is None else "accepted"
    except BadMessage:
        return "refused"


def _first_answer(message: Message) -> tuple[int, str]:
    """After how many bytes there is one, byte by byte, and which."""
    end = len(message.data)
    for size in range(max(0, end - _MOST_CUTS), end + 1):
        answer = _answer(message, size)
        if answer != "incomplete":
            return size, answer
    return end, "incomplete"


def ours(message: Message) -> Verdict:
    """
    @raise AssertionError: it depends on how the bytes come.
    """
    size, answer = _first_answer(message)
    try:
        head = _parse(message, len(message.data))
    except BadMessage as error:
        assert answer == "refused", f"whole it is refused ({error}), but after {size} bytes it was {answer}"
        return "refused"
    if head is None:
        assert answer == "incomplete", f"whole it is incomplete, but after {size} bytes it was {answer}"
        return answer
    assert answer == "accepted", f"whole it is accepted, but after {size} bytes it was {answer}"
    assert size == head.size or len(message.data) - head.size > _MOST_CUTS, (
        f"a head of {head.size} came after {size} bytes"
    )
    line: tuple[bytes, ...] = (
        (b"%d" % head.status,) if isinstance(head, ResponseHead) else (head.method, head.raw_target)
    )
    framing = head.framing.value if head.length or head.framing.value != "length" else "none"
    return Seen(head.size, line, head.minor, _fields(head.headers), framing, head.length)


def _asked(message: Message) -> h11.Connection:
    """A connection on which C{message} is to come."""
    if message.method is None:
        return h11.Connection(h11.SERVER, max_incomplete_event_size=_MANY)
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MANY)
    connection.send(h11.Request(method=message.method, target=b"/", headers=[(b"Host", b"a")]))
    connection.send(h11.EndOfMessage())
    return connection


def _framing(message: Message, size: int) -> str:
    """How h11 goes on behind the head: it is given what would be the end of a chunked body."""
    connection = _asked(message)
    connection.receive_data(message.data[:size])
    head = connection.next_event()
    assert isinstance(head, (h11.Request, h11.Response, h11.InformationalResponse)), head
    if isinstance(head, h11.InformationalResponse):
        return "none"
    event = connection.next_event()
    if event is h11.NEED_DATA:
        connection.receive_data(b"0\r\n\r\n")
        event = connection.next_event()
        if isinstance(event, h11.EndOfMessage):
            return "chunked"
        assert isinstance(event, h11.Data), event
        return "length" if b"content-length" in dict(head.headers) else "close"
    return "none"


def theirs(message: Message) -> Verdict:
    """What h11 says."""
    connection = _asked(message)
    connection.receive_data(message.data)
    try:
        head = connection.next_event()
    except h11.RemoteProtocolError:
        return "refused"
    if head is h11.NEED_DATA:
        return "incomplete"
    if isinstance(head, h11.Request):
        line: tuple[bytes, ...] = (head.method, head.target)
    else:
        assert isinstance(head, (h11.Response, h11.InformationalResponse)), head
        line = (b"%d" % head.status_code,)
    size = len(message.data) - len(connection.trailing_data[0])
    minor = min(1, int(head.http_version[2:]))
    framing = _framing(message, size)
    length = int(dict(head.headers).get(b"content-length", b"0")) if framing == "length" else 0
    return Seen(size, line, minor, _fields(head.headers.raw_items()), framing, length)


def verdicts(message: Message) -> tuple[Verdict, Verdict]:
    """Ours and h11's. If one of them waits and the other does not, those that will be when the head has its end."""
    both = ours(message), theirs(message)
    if both[0] != both[1] and "incomplete" in both:
        ended = attrs.evolve(message, data=message.data + b"\r\n\r\n")
        return ours(ended), theirs(ended)
    return both


Mend = Callable[[bytes], bytes]


def _sub(pattern: bytes, replacement: bytes, count: int = 0) -> Mend:
    found = re.compile(pattern, re.IGNORECASE)
    return lambda data: found.sub(replacement, data, count)


def _one_length(data: bytes) -> bytes:
    """The first Content-Length, of a list the first number."""
    lines = data.split(b"\r\n")
    lengths = [line for line in lines if line.lower().startswith(b"content-length:")]
    kept = [line.partition(b",")[0] if line in lengths else line for line in lines]
    for line in lengths[1:]:
        kept.remove(line.partition(b",")[0])
    return b"\r\n".join(kept)


def _few_fields(data: bytes) -> bytes:
    head, end, rest = data.partition(b"\r\n\r\n")
    return b"\r\n".join(head.split(b"\r\n")[:90]) + end + rest


_LENGTH_LINE = rb"\r\ncontent-length:[^\r\n]*"
_CODING_LINE = rb"\r\ntransfer-encoding:[^\r\n]*"

#: Why they may differ, and how to take the cause away from a head.
REASONS: dict[str, Mend] = {
    "h11 takes an empty line before a request for the end of a head, RFC 9112 2.2 ignores it": _sub(rb"\A\r\n", b""),
    "h11 takes a bare LF": _sub(rb"(?<!\r)\n", rb"\r\n"),
    "h11 joins folded lines": _sub(rb"\r\n[ \t]+", b" "),
    "h11 takes control characters in values and reason phrases": _sub(rb"[\x01-\x08\x0e-\x1f\x7f]", b"x"),
    "h11 takes any version, and wants no Host but in 1.1": _sub(rb"HTTP/(?!1\.[01])[0-9]\.[0-9]", b"HTTP/1.0", 1),
    "h11 takes CONNECT": _sub(rb"\A(?-i:CONNECT) \S+", b"GET /"),
    "h11 takes any printable target, such as a fragment or user information": _sub(
        rb"\A(\S+) [!-~]+ (?=HTTP)", rb"\1 / "
    ),
    "h11 refuses bytes from 0x80 in targets, which nginx passes on": _sub(
        rb"\A(\S+) [!-~\x80-\xff]+ (?=HTTP)", rb"\1 / "
    ),
    "h11 takes methods of any length": _sub(rb"\A[!-~]{65,} ", b"GET "),
    "h11 does not look into Host": _sub(rb"\r\nhost:[^\r\n]*", b"\r\nHost: a"),
    "h11 ignores expectations it does not know": _sub(rb"\r\nexpect:[^\r\n]*", b""),
    "h11 makes one of equal Content-Length": _one_length,
    "h11 takes a Content-Length of 19 and 20 digits": _sub(
        rb"(\r\ncontent-length:[ \t]*)[0-9]{19,20}(?![0-9])", rb"\g<1>1"
    ),
    "h11 lets Transfer-Encoding override Content-Length": lambda data: (
        re.sub(_LENGTH_LINE, b"", data, flags=re.I) if re.search(_CODING_LINE, data, re.I) else data
    ),
    "h11 takes a Transfer-Encoding in HTTP/1.0": lambda data: (
        re.sub(_CODING_LINE, b"", data, flags=re.I) if b"HTTP/1.0" in data.split(b"\n")[0] else data
    ),
    "h11 takes a tab behind chunked": _sub(rb"(\r\ntransfer-encoding:[ \t]*chunked)[ \t]*(?=\r\n)", rb"\1"),
    "h11 does not count fields": _few_fields,
    "h11 refuses a 101 that was not asked for": _sub(rb"\A(HTTP/1.[01]) 101", rb"\1 100"),
    "h11 has no limit but that of what is incomplete": _sub(rb"([ -~])\1{300,}", rb"\1"),
}


def explained(message: Message) -> list[str] | None:
    """The reasons of a disagreement: one that is enough, or several; None if all of them are not enough."""
    for reason, mend in REASONS.items():
        mended = mend(message.data)
        if mended != message.data and _both_accept(attrs.evolve(message, data=mended)):
            return [reason]
    together = []
    data = message.data
    for reason, mend in REASONS.items():
        mended = mend(data)
        if mended != data:
            data = mended
            together.append(reason)
            if _both_accept(attrs.evolve(message, data=data)):
                return together
    return None


def _both_accept(message: Message) -> bool:
    """And see the same. That both refuse would say nothing: what was mended may have become worse."""
    we, they = verdicts(message)
    return we == they and (isinstance(we, Seen) or we == "incomplete")


METHODS = [b"GET", b"HEAD", b"POST", b"PROPFIND", b"get", b"X-1"]
TARGETS = [b"/", b"/a/b?c=d", b"//a", b"/%00%2f;x='y'", b"http://b/", b"http://b:80/a?b", b"/" + b"a" * 60]
VERSIONS = [b"HTTP/1.1"] * 6 + [b"HTTP/1.0"]
STATUS = [
    b"200 OK",
    b"204 No Content",
    b"304 Not Modified",
    b"100 Continue",
    b"103 x",
    b"404 Not Found",
    b"200",
    b"599 \xe9",
    b"999 ",
]
NAMES = [
    b"X",
    b"Accept",
    b"User-Agent",
    b"X-Forwarded-For",
    b"!#$%&'*+-.^_`|~",
    b"cookie",
    b"Connection",
    b"Via",
    b"Expect",
]
VALUES = [b"", b"a", b"a b", b"keep-alive", b"close, x", b"100-continue", b"q=\"'\\\t:,;", b"caf\xc3\xa9", b"\xff" * 3]
HOSTS = [b"a", b"a.example:8080", b"[::1]:80", b"127.0.0.1", b"A", b""]
LENGTHS = [b"0", b"5", b"007", b"123456789012"]
CODINGS = [b"chunked", b"Chunked", b"CHUNKED"]
#: What is put into heads, or over a part of them.
FAULTS = [bytes((byte,)) for byte in b"\n\r \t\0:,;/\x0b\x1f\x7f\xff\x80-+@#*?01aX"] + [
    b"\r\n",
    b"\r\n ",
    b"\r\n\r\n",
    b"  ",
    b", ",
    b"chunked",
    b"identity",
    b"\r\nContent-Length: 5",
    b"\r\ncontent-length:6",
    b"\r\nTransfer-Encoding: chunked",
    b"\r\nTransfer-Encoding: chunked\t",
    b"\r\nHost: a",
    b"\r\nHost: b@a",
    b"\r\nExpect: x",
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"HTTP/1.1",
    b" 101 ",
    b"CONNECT ",
]


def _field(chance: random.Random, name: bytes, value: bytes) -> bytes:
    name = chance.choice([name, name, name.lower(), name.upper()])
    return name + b":" + chance.choice([b" ", b" ", b"", b"\t "]) + value + chance.choice([b"", b"", b"", b" "])


def valid_head(chance: random.Random, request: bool) -> bytes:
    """One from the grammar, that both accept."""
    version = chance.choice(VERSIONS)
    fields = [_field(chance, chance.choice(NAMES[:-1]), chance.choice(VALUES)) for _ in range(chance.randrange(5))]
    if request:
        asked = b"OPTIONS *" if chance.random() < 0.1 else chance.choice(METHODS) + b" " + chance.choice(TARGETS)
        lines = [asked + b" " + version]
        fields.append(_field(chance, b"Host", chance.choice(HOSTS)))
        if chance.random() < 0.1:
            fields.append(_field(chance, b"Expect", b"100-continue"))
    else:
        lines = [version + b" " + chance.choice(STATUS)]
    framing = chance.random()
    if framing < 0.3:
        fields.append(_field(chance, b"Content-Length", chance.choice(LENGTHS)))
    elif framing < 0.6 and version == b"HTTP/1.1":
        fields.append(_field(chance, b"Transfer-Encoding", chance.choice(CODINGS)))
    chance.shuffle(fields)
    return b"\r\n".join([*lines, *fields, b"", b""])


def broken_head(chance: random.Random, request: bool) -> bytes:
    """One with one to three faults: bytes are flipped, put in, left out or replaced, lines repeated."""
    data = valid_head(chance, request)
    for _ in range(chance.choice([1, 1, 2, 3])):
        at = chance.randrange(len(data))
        kind = chance.randrange(5)
        if kind == 0:
            data = data[:at] + bytes((data[at] ^ 1 << chance.randrange(8),)) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + data[at + chance.choice([1, 1, 2, 9]) :] or b"x"
        elif kind == 2:
            lines = data.split(b"\r\n")
            lines.insert(chance.randrange(1, len(lines) + 1), chance.choice(lines))
            data = b"\r\n".join(lines)
        else:
            data = data[:at] + chance.choice(FAULTS) + data[at + (kind == 3) :]
    return data


def _heads(make: Callable[[random.Random, bool], bytes], seed: int) -> Iterator[Message]:
    chance = random.Random(seed)
    yield Message(make(chance, True))
    yield Message(make(chance, False), chance.choice([b"GET", b"HEAD"]))


def valid_heads(seed: int) -> Iterator[Message]:
    """A request and a response."""
    return _heads(valid_head, seed)


def broken_heads(seed: int) -> Iterator[Message]:
    """A request and a response."""
    return _heads(broken_head, seed)


def of_the_corpus() -> Iterator[Message]:
    """Both corpora, and each fault at a place of its own."""
    for request in MALFORMED_REQUESTS + VALID_REQUESTS:
        if not request.bare_lf:
            yield Message(request.raw)
    for response in MALFORMED_RESPONSES + VALID_RESPONSES:
        if not response.bare_lf:
            yield Message(response.raw, response.method)
    for fault in FAULTS:
        yield Message(b"GET / HTTP/1.1" + fault + b"\r\nHost: a\r\nX: y\r\n\r\n")
        yield Message(b"GET / HTTP/1.1\r\nHost: a" + fault + b"\r\nX: y\r\n\r\n")
        yield Message(b"HTTP/1.1" + fault + b" OK\r\nX: y\r\n\r\n", b"GET")
    yield Message(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", b"GET")
    yield Message(b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n")
    yield Message(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000000000\r\n\r\n")


class DifferentialTests(SynchronousTestCase):
    """
    Seen to fail for mutations of the parser, made by hand: a second Host, a space before a colon, a NUL in a name, two spaces or
    C{099} in a status line, folds taken away, chunked found anywhere in a coding, a field lost, a body forgotten, a head taken
    before its last byte.
    """

    def check(self, messages: Iterable[Message], known: Counter[str] | None = None) -> None:
        """@param known: is told the reasons that are enough by themselves; without it there may be none."""
        for message in messages:
            try:
                we, they = verdicts(message)
            except AssertionError as error:
                self.fail(f"{message}: {error}")
            if we == they:
                continue
            reasons = None if known is None else explained(message)
            if known is None or reasons is None:
                self.fail(f"{message}:\nwe say {we},\nh11    {they}")
            if len(reasons) == 1:
                known.update(reasons)

    def test_the_corpora(self) -> None:
        """They agree, or there is a reason; and each reason is one for something."""
        known: Counter[str] = Counter()
        self.check(of_the_corpus(), known)
        self.assertEqual([reason for reason in REASONS if not known[reason]], [])

    def test_valid_heads(self) -> None:
        """They agree."""
        for seed in range(FIRST, FIRST + SEEDS):
            messages = list(valid_heads(seed))
            self.check(messages)
            for message in messages:
                self.assertIsInstance(ours(message), Seen, message)

    def test_broken_heads(self) -> None:
        """They agree, or there is a reason."""
        for seed in range(FIRST, FIRST + SEEDS):
            self.check(broken_heads(seed), Counter())

    def test_every_kind_of_head_is_seen(self) -> None:
        """The seeds reach what they are there for: every framing, refusals, heads without an end; and most reasons to differ."""
        kinds: Counter[str] = Counter()
        known: Counter[str] = Counter()
        for seed in range(600):
            messages = [*valid_heads(seed), *broken_heads(seed)]
            answers = [ours(message) for message in messages]
            kinds.update(verdict.framing if isinstance(verdict, Seen) else verdict for verdict in answers)
            self.check(messages, known)
        for kind in ("none", "length", "chunked", "close", "refused", "incomplete"):
            self.assertGreaterEqual(kinds[kind], 20, kinds)
        self.assertGreaterEqual(len(known), len(REASONS) // 2, known)
