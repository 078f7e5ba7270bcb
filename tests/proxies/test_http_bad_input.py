"""
Bad input through the whole proxy. Whatever a client sends that is no request is answered once, with the status that the RFCs
ask for, and the end of its connection; whatever a server sends that is no response is a 502, or, if its head was passed on, no
clean end. Nothing of either reaches the other side, and the log says who sent what, and what was wrong with it. h11 reads what
both sides get.
"""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import attrs
import h11
from twisted.internet.error import ConnectionRefusedError
from twisted.logger import LogLevel, formatEvent
from twisted.python.failure import Failure

from tests.http.corpus_requests import MALFORMED_REQUESTS, VALID_REQUESTS, RequestCase
from tests.http.corpus_responses import MALFORMED_RESPONSES, VALID_RESPONSES, ResponseCase
from tests.proxies.http_case import CLIENT, LIMITS, HttpCase, MemoryCase, SocketCase
from tests.proxies.http_messages import request, response
from twisted_pipe.http.head import BadMessage, RequestHead, parse_request
from twisted_pipe.net.live import live_pipes
from twisted_pipe.proxies.drain import Drain

_LARGE = 1 << 18


_NOTHING_WRONG = ("an incomplete message", "a final response must follow", "too large")  # yet
_MANY_FIELDS = "too many fields"  # more than the limits of heads allow by default; the proxy takes 1000 of a server
#: In order, and no path below C{/}.
NOT_ROUTED = frozenset({"target '/..%2f..;/%2e%2e/' of 'GET'"})


@attrs.frozen
class Message:
    """
    What h11 has read.

    @ivar first: the status, or method and target.
    @ivar fields: names in lower case, and values.
    @ivar whole: whether its end was seen.
    @ivar rest: what came behind it.
    """

    first: int | tuple[bytes, bytes]
    fields: dict[bytes, bytes]
    body: bytes
    whole: bool
    rest: bytes


def _read(connection: h11.Connection, data: bytes) -> Message | None:
    """The first message in C{data}, behind which the connection ends; None if there is none."""
    connection.receive_data(data)
    connection.receive_data(b"")
    first: Any = None
    fields: dict[bytes, bytes] = {}
    body = b""
    try:
        while True:
            event: Any = connection.next_event()
            if isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, (h11.Request, h11.Response)):
                first = (event.method, event.target) if isinstance(event, h11.Request) else event.status_code
                fields = dict(event.headers)
            elif isinstance(event, h11.EndOfMessage):
                return Message(first, fields, body, True, connection.trailing_data[0])
            elif isinstance(event, h11.ConnectionClosed):
                return None
    except h11.RemoteProtocolError as error:
        if "incomplete" in str(error) or "closed connection" in str(error) or (first is None and not data):
            return None if first is None else Message(first, fields, body, False, b"")
        raise


def read_response(data: bytes, method: bytes = b"GET") -> Message | None:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LARGE)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    return _read(connection, data)


def read_request(data: bytes) -> Message | None:
    return _read(h11.Connection(h11.SERVER, max_incomplete_event_size=_LARGE), data)


def head_of(case: RequestCase) -> RequestHead | None:
    """Its head, if that is right."""
    try:
        return parse_request(case.raw)
    except BadMessage:
        return None


def pieces_of(data: bytes, *cuts: int) -> list[bytes]:
    """C{data}, cut there."""
    places = [0, *cuts, len(data)]
    return [data[first:last] for first, last in pairwise(places)]


class CorpusCase(HttpCase):
    """
    @ivar seen: lines of the access log that were looked at.
    """

    seen = 0

    def said(self) -> list[str]:
        """What the proxy has said in the error log of messages. Of clients it does so quietly."""
        return [
            str(formatEvent(event))
            for event in self.logged
            if event["log_level"] >= LogLevel.info and event["log_namespace"] == "twisted_pipe.proxies.http"
        ]

    def new_line(self, why: str) -> str:
        """The one line of the access log."""
        lines = self.journal.lines[self.seen :]
        self.assertEqual(len(lines), 1, (why, lines))
        self.seen += 1
        return lines[0]

    def forget(self, *peers: Any) -> None:
        """They are over. There are hundreds of them."""
        for peer in peers:
            peer.close()
        self.logged.clear()
        if isinstance(self, MemoryCase):
            self.lines[:] = [line for line in self.lines if not line.over]
            self.clients[:] = [line for line in self.clients if not line.over]


class RequestRules(CorpusCase):
    def check_refused(self, case: RequestCase, client: Any, data: bytes) -> list[str]:
        """
        C{client}, which got C{data}, was told once what it deserves, and so were the logs.

        @return: the fields of the access log's line, from the status on.
        """
        why = (case.name, case.why)
        found = read_response(data)
        assert found is not None, why
        self.assertEqual((found.first, found.whole, found.rest), (case.status, True, b""), why)
        self.assertEqual(found.fields.get(b"connection"), b"close", why)
        self.assertTrue(client.ended, why)
        complaints = self.said()
        self.assertEqual(len(complaints), 1, (why, complaints))
        shape = (
            r'^client: .{10,}, client: 127\.0\.0\.1:\d+, server: .*, request: ".*"(\.\.\.)?(, upstream: .*)?, host: '
        )
        self.assertRegex(complaints[0], shape, why)
        self.assertTrue(complaints[0].isprintable(), why)
        line = self.new_line(case.name)
        self.assertTrue(line.isprintable(), why)
        self.logged.clear()
        return line.rpartition('" ')[2].split()

    def refuses(self, case: RequestCase, *pieces: bytes) -> None:
        """It does, and asks no server."""
        client = self.client()
        data = b""
        for piece in pieces:
            if not data:
                client.says(piece)
                data += client.gets()
        if not data:
            client.half_close()
            data += client.gets()
        fields = self.check_refused(case, client, data)
        self.assertEqual((fields[0], fields[2]), (str(case.status), "-"), case.name)
        self.forget(client)

    def test_each_is_refused_before_a_server_is_asked(self) -> None:
        self.start()
        for case in MALFORMED_REQUESTS:
            self.refuses(case, case.raw)

    def test_wherever_it_is_cut(self) -> None:
        """In two, at every byte."""
        self.start()
        short = [case for case in MALFORMED_REQUESTS if len(case.raw) < 130]
        for case in short[::12]:
            for cut in range(1, len(case.raw)):
                self.refuses(case, *pieces_of(case.raw, cut))

    def test_byte_by_byte(self) -> None:
        self.start()
        short = [case for case in MALFORMED_REQUESTS if len(case.raw) < 130]
        for case in short[5::8]:
            self.refuses(case, *(case.raw[at : at + 1] for at in range(len(case.raw))))

    def test_a_body_that_goes_wrong_while_it_is_passed_on(self) -> None:
        """The server had the head, and what was right of the body: its connection is reset, and the message has no end."""
        self.start(request_buffering=False)
        count = 0
        for case in MALFORMED_REQUESTS:
            head = head_of(case)
            if head is None:
                continue
            count += 1
            client = self.client()
            client.says(case.raw[: head.size])
            origin = self.origin()
            passed = origin.gets()
            client.says(case.raw[head.size :])
            data = client.gets()
            if not data:
                client.half_close()
                data = client.gets()
            passed += origin.gets()
            fields = self.check_refused(case, client, data)
            self.assertEqual((fields[0], fields[2]), (str(case.status), "origin:80"), case.name)
            self.assertTrue(origin.reset, case.name)
            self.assertFalse(origin.ended, case.name)
            found = read_request(passed)
            assert found is not None, case.name
            self.assertFalse(found.whole, (case.name, passed))
            self.assertEqual(self.upstream.statistics().idle, 0, case.name)
            self.forget(client, origin)
        self.assertGreater(count, 25)

    def test_what_was_asked_before_it_is_answered_first(self) -> None:
        """A good request, and a bad one behind it."""
        self.start()
        for case in MALFORMED_REQUESTS[::20]:
            client = self.client()
            client.says(request() + case.raw)
            origin = self.origin()
            self.assertEqual(origin.gets(), b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            origin.says(response(b"good"))
            data = client.gets()
            self.assertTrue(data.startswith(response(b"good")), (case.name, data))
            data = data[len(response(b"good")) :]
            if not data:
                client.half_close()
                data = client.gets()
            self.assertIn('"GET / HTTP/1.1" 200 ', self.journal.lines[self.seen])
            self.seen += 1
            self.check_refused(case, client, data)
            self.assertEqual(origin.gets(), b"", case.name)
            self.upstream.close()
            self.forget(client, origin)

    def accepts(self, case: RequestCase) -> None:
        client = self.client()
        client.says(case.raw)
        origin = self.origin()
        got = origin.gets()
        found = read_request(got)
        assert found is not None, case.name
        self.assertTrue(found.whole, (case.name, got))
        self.assertEqual(found.rest, b"", case.name)
        self.assertEqual(len(found.body), case.length, case.name)
        # a chunked body that is kept in memory goes on with its length
        length = b"%d" % case.length if case.framing != "none" else None
        self.assertEqual(found.fields.get(b"content-length"), length, case.name)
        self.assertNotIn(b"transfer-encoding", found.fields, case.name)
        self.assertNotIn(b"connection", found.fields, case.name)
        head = parse_request(got)
        assert head is not None
        # who names none asks for the server that we ask
        self.assertEqual((head.host, head.minor), (case.host or b"origin", 1), case.name)
        self.assertEqual(head.method, case.raw.lstrip().split(b" ")[0], case.name)
        origin.says(response(b"good"))
        data = client.gets().removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
        answer = read_response(data)
        assert answer is not None, case.name
        self.assertEqual((answer.first, answer.body), (200, b"good"), case.name)
        if case.rest.startswith(b"GET"):
            self.assertEqual(origin.gets().partition(b"\r\n")[0], b"GET /admin HTTP/1.1", case.name)
            origin.says(response(b"again"))
            self.assertEqual(client.gets(), response(b"again"), case.name)
        else:
            self.assertEqual(origin.gets(), b"", case.name)
        self.assertEqual(self.said(), [], case.name)
        self.upstream.close()
        self.forget(client, origin)

    def test_unusual_ones_get_through(self) -> None:
        self.start()
        for case in VALID_REQUESTS:
            if not case.bare_lf and case.name not in NOT_ROUTED:
                self.accepts(case)

    def test_what_no_route_is_for_is_not_passed_on(self) -> None:
        """A path that climbs above the root is nobody's."""
        self.start()
        climbing, status = "target '/..%2f..;/%2e%2e/' of 'GET'", 400
        case = next(case for case in VALID_REQUESTS if case.name == climbing)
        client = self.client()
        client.says(case.raw)
        found = read_response(client.gets())
        assert found is not None
        self.assertEqual(found.first, status)
        self.assertIn("climbs above the root", self.said()[0])

    def test_bare_line_feeds_get_through_if_they_are_accepted(self) -> None:
        """The server gets none."""
        self.start(client=attrs.evolve(CLIENT, bare_lf=True))
        cases = [case for case in VALID_REQUESTS if case.bare_lf]
        for case in cases:
            self.accepts(case)
        self.assertEqual(len(cases), 2)


class RequestMemoryTests(RequestRules, MemoryCase):
    pass


class RequestSocketTests(RequestRules, SocketCase):
    pass


del RequestRules


class ResponseRules(CorpusCase):
    def answered(self, case: ResponseCase, *pieces: bytes, ended: bool = True) -> tuple[Any, Any, bytes]:
        """The client, the origin, and what the client got."""
        self.seen = len(self.journal.lines)
        client = self.client()
        client.says(request(case.method.decode()))
        origin = self.origin()
        origin.gets()
        for piece in pieces:
            if not (origin.ended or origin.reset):
                origin.says(piece)
                origin.gets()
        if ended and not (origin.ended or origin.reset):
            origin.half_close()
            origin.gets()
        return client, origin, client.gets()

    def refuses(self, case: ResponseCase, *pieces: bytes) -> None:
        client, origin, data = self.answered(case, *pieces)
        why = (case.name, case.why)
        found = read_response(data, case.method)
        assert found is not None, why
        if found.whole:
            self.assertEqual((found.first, found.rest), (502, b""), why)
            self.assertIn(b"<h1>502 Bad Gateway</h1>" if case.method == b"GET" else b"", found.body, why)
        else:
            head = case.raw.partition(b"\r\n\r\n")[0]
            self.assertTrue(head.startswith(b"HTTP/1.1 200 OK"), why)
            self.assertEqual(found.first, 200, why)
            self.assertTrue(client.ended or client.reset, why)
        self.assertNotIn(b"poison", data, why)
        self.assertTrue(origin.ended or origin.reset, why)
        self.assertEqual(self.upstream.statistics().idle, 0, why)
        complaints = self.said()
        self.assertEqual(len(complaints), 1, (why, complaints))
        self.assertRegex(
            complaints[0], r'^upstream.{10,}, client: .*, request: "\w+ / HTTP/1.1", upstream: origin:80, host: ', why
        )
        self.assertTrue(complaints[0].isprintable(), why)
        self.assertIn(' / HTTP/1.1" 502 ' if found.whole else ' / HTTP/1.1" 200 ', self.new_line(case.name), why)
        self.forget(client, origin)

    def test_each_is_refused(self) -> None:
        self.start()
        for case in MALFORMED_RESPONSES:
            if _MANY_FIELDS not in case.why:
                self.refuses(case, case.raw)

    def test_without_the_end_of_the_connection(self) -> None:
        """Those that are wrong, and not only cut off, are refused at once."""
        self.start()
        for case in MALFORMED_RESPONSES:
            if case.why.endswith(_NOTHING_WRONG) or _MANY_FIELDS in case.why or case.name == "chunks 'hello'":
                continue
            client, origin, data = self.answered(case, case.raw, ended=False)
            self.assertTrue(data, case.name)
            self.assertTrue(origin.reset or origin.ended, case.name)
            self.forget(client, origin)

    def test_wherever_it_is_cut(self) -> None:
        self.start()
        short = [case for case in MALFORMED_RESPONSES if len(case.raw) < 100]
        for case in short[::9]:
            for cut in range(1, len(case.raw)):
                self.refuses(case, *pieces_of(case.raw, cut))

    def test_byte_by_byte(self) -> None:
        self.start()
        short = [case for case in MALFORMED_RESPONSES if 0 < len(case.raw) < 100]
        for case in short[4::7]:
            self.refuses(case, *(case.raw[at : at + 1] for at in range(len(case.raw))))

    def test_a_kept_alive_client_goes_on_with_another_connection(self) -> None:
        """The request was right. The next one is answered by what a new connection says."""
        self.start()
        for case in MALFORMED_RESPONSES[::15]:
            client, origin, _ = self.answered(case, case.raw)
            if not client.ended and not client.reset:
                client.says(request())
                other = self.origin()
                other.gets()
                other.says(response(b"good"))
                self.assertEqual(client.gets(), response(b"good"), case.name)
                other.close()
            self.forget(client, origin)

    def accepts(self, case: ResponseCase, *pieces: bytes) -> None:
        client, origin, data = self.answered(case, *pieces, ended=case.framing == "close")
        found = read_response(data[data.rindex(b"HTTP/1.1 ") :], case.method)
        assert found is not None, case.name
        self.assertEqual((found.whole, found.rest), (True, b""), (case.name, data))
        self.assertEqual(len(found.body), case.length, case.name)
        self.assertNotIn(b"poison" if case.rest else b"\0", data, case.name)
        reusable = case.keep_alive and not case.rest and case.framing != "close"
        self.assertEqual(self.upstream.statistics().idle, int(reusable), case.name)
        self.assertEqual(bool(self.said()), bool(case.rest), (case.name, self.said()))
        self.upstream.close()
        self.forget(client, origin)

    def test_unusual_ones_get_through(self) -> None:
        self.start()
        for case in VALID_RESPONSES:
            if not case.bare_lf:
                self.accepts(case, case.raw)

    def test_unusual_ones_get_through_wherever_they_are_cut(self) -> None:
        self.start()
        for case in VALID_RESPONSES[::6]:
            if not (case.bare_lf or case.rest):
                for cut in range(1, len(case.raw)):
                    self.accepts(case, *pieces_of(case.raw, cut))


class ResponseMemoryTests(ResponseRules, MemoryCase):
    pass


class ResponseSocketTests(ResponseRules, SocketCase):
    pass


del ResponseRules


#: Put into messages, or over a part of them.
FAULTS = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b":",
    b"0\r\n\r\n",
    b"\r\n\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
    b"HTTP/1.0",
    b"ffffffff\r\n",
    b"\xff" * 40,
]


LIMIT = 3000  # bytes of those that are chosen
GOOD_REQUESTS = [case.raw for case in VALID_REQUESTS if len(case.raw) < LIMIT]
BAD_REQUESTS = [case.raw for case in MALFORMED_REQUESTS if len(case.raw) < LIMIT]
GOOD_RESPONSES = [case.raw for case in VALID_RESPONSES]
BAD_RESPONSES = [case.raw for case in MALFORMED_RESPONSES if len(case.raw) < LIMIT]


def any_of(chance: random.Random, good: list[bytes], bad: list[bytes]) -> bytes:
    """Mostly what begins well."""
    kind = chance.random()
    if kind < 0.5:
        return chance.choice(good)
    return mutated(chance, chance.choice(good if kind < 0.85 else bad))


def mutated(chance: random.Random, data: bytes) -> bytes:
    """C{data} with some faults; or bytes that never were a message."""
    if chance.random() < 0.1:
        return chance.randbytes(chance.randrange(1, 200))
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(data) + 1)
        kind = chance.randrange(4)
        if kind == 0:
            data = data[:at] + chance.randbytes(1) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + data[at + chance.randrange(1, 9) :]
        else:
            data = data[:at] + chance.choice(FAULTS) + data[at + (kind == 2) * 3 :]
    return data


class FuzzTests(CorpusCase, MemoryCase):
    """
    Both sides send what they should not, cut anywhere, and go whenever they like. Seen to fail for mutations made by hand: a loss
    of the client that its exchange is not told of, a pipe that nobody stops, a server that is not let go.
    """

    lives = 5000

    def live(self, seed: int) -> None:
        """One client, and as many connections to the origin as the proxy wants for it."""
        chance = random.Random(seed)
        data = b"".join(any_of(chance, GOOD_REQUESTS, BAD_REQUESTS) for _ in range(chance.choice([1, 1, 2, 3])))
        client = self.client()
        origins: list[Any] = []
        while data and not client.over:
            size = chance.choice([1, 7, 40, len(data)])
            client.says(data[:size])
            data = data[size:]
            while self.attempts:
                if self.attempts[0].cancelled:
                    self.attempts.pop(0)
                elif chance.random() < 0.1:
                    self.refuse()
                else:
                    origins.append(self.origin())
            for origin in origins:
                if not origin.over and chance.random() < 0.7:
                    origin.says(any_of(chance, GOOD_RESPONSES, BAD_RESPONSES))
                    if chance.random() < 0.3:
                        chance.choice([origin.half_close, origin.close, origin.break_off])()
            if chance.random() < 0.02:
                self.advance(chance.choice([1, 15, 100]))
        if not client.over:
            chance.choice([client.half_close, client.close, client.break_off, self.settle])()
        if client.over:
            self.check_let_go(origins)
        self.advance(chance.choice([0, 100, 1000]))
        self.end_all(origins)

    def check_let_go(self, origins: list[Any]) -> None:
        """Nobody works for a client that is gone, but the servers that are not to notice that."""
        drained = sum(isinstance(getattr(origin.protocol.reader, "user", None), Drain) for origin in origins)
        self.assertEqual([peer.active for peer in self.group.peers], [drained])
        self.assertEqual([attempt for attempt in self.attempts if not attempt.cancelled], [])
        self.assertEqual([pipe.name for pipe in live_pipes - self.pipes], [])

    def end_all(self, origins: list[Any]) -> None:
        """The servers go, and then the timeouts come: the client has been let go, or waits for its next request."""
        while self.attempts:
            attempt = self.attempts.pop(0)
            if not attempt.cancelled:
                attempt.answer.errback(Failure(ConnectionRefusedError()))
                self.settle()
        for origin in origins:
            if not origin.over:
                origin.close()
        self.advance(200)
        self.assertEqual([repr(client) for client in self.proxy.clients], [])
        self.assertEqual([peer.active for peer in self.group.peers], [0])
        self.forget()

    def check(self, first: int, **settings: Any) -> None:
        self.start(**settings)
        self.pipes = set(live_pipes)  # that other tests have left
        for seed in range(first, first + self.lives):
            try:
                self.live(seed)
            except Exception as error:
                raise AssertionError(f"seed {seed}: {error!r}") from error
            self.assertEqual([str(failure) for failure in self.flushLoggedErrors()], [], f"seed {seed}")

    def test_with_request_buffering(self) -> None:
        self.check(1)

    def test_without_request_buffering(self) -> None:
        self.check(10_001, request_buffering=False)

    def test_without_any_buffering(self) -> None:
        """Nor patience with clients that have gone."""
        limits = attrs.evolve(LIMITS, buffering=False)
        self.check(20_001, request_buffering=False, limits=limits, ignore_client_abort=True)


del CorpusCase
