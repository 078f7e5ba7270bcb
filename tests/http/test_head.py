"""What a parser that remembers says is what one says that does not."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.http.corpus_requests import MALFORMED_REQUESTS, VALID_REQUESTS
from tests.http.corpus_responses import VALID_RESPONSES
from twisted_pipe.http.head import BadMessage, HeadLimits, RequestHead, parse_request, parse_response

CASES = [case for case in MALFORMED_REQUESTS + VALID_REQUESTS if len(case.raw) < 4000]
LIMITS = [HeadLimits(), HeadLimits(bare_lf=True)]
TINY = HeadLimits(size=60, fields=2)


def facts(data: bytes, limits: HeadLimits, before: RequestHead | None = None) -> Any:
    """Everything that is known of the head; the status if it is refused; None if more has to come."""
    try:
        head = parse_request(data, limits, before)
    except BadMessage as error:
        return error.status
    if head is None:
        return None
    names = [
        name for name in dir(head) if not name.startswith(("_", "forwarded")) and not callable(getattr(head, name))
    ]
    return {name: getattr(head, name) for name in names}


def repeatable(limits: HeadLimits) -> list[RequestHead]:
    """Heads whose fields are compared with the next one's, each once."""
    found: dict[bytes, RequestHead] = {}
    for case in VALID_REQUESTS:
        try:
            head = parse_request(case.raw, limits)
        except BadMessage:
            continue
        if head is not None and head.block:
            found.setdefault(head.block, head)
    return list(found.values())


class BeforeTests(SynchronousTestCase):
    """The request before changes nothing."""

    def check(self, data: bytes, limits: HeadLimits, before: RequestHead) -> None:
        self.assertEqual(facts(data, limits, before), facts(data, limits), (before.block, data))

    def test_every_request_behind_every_other(self) -> None:
        for limits in LIMITS:
            heads = repeatable(limits)
            self.assertGreater(len(heads), 10)
            for before in heads:
                for case in CASES:
                    self.check(case.raw, limits, before)

    def test_every_first_line_with_the_fields_of_the_one_before(self) -> None:
        """Which is when they are not read again."""
        for limits in (*LIMITS, TINY):
            for before in repeatable(limits):
                for case in CASES:
                    line = case.raw.partition(b"\r\n")[0]
                    self.check(line + before.block + b"behind it", limits, before)

    def test_cut_at_every_byte(self) -> None:
        for limits in (*LIMITS, TINY):
            for before in repeatable(limits):
                if len(before.block) < 400:
                    for line in (
                        b"GET /other?a HTTP/1.1",
                        b"HEAD http://b/ HTTP/1.1",
                        b"GET / HTTP/1.0",
                        b"G(T / HTTP/1.1",
                    ):
                        data = line + before.block + b"GET"
                        for size in range(len(data) + 1):
                            self.check(data[:size], limits, before)

    def test_a_field_more_or_less(self) -> None:
        for before in repeatable(LIMITS[0]):
            block = before.block
            for changed in (
                b"\r\nContent-Length: 5" + block,
                block[:-2] + b"Content-Length: 5\r\n\r\n",
                block[:-2] + b"Transfer-Encoding: chunked\r\n\r\n",
                block[:-2] + b"Host: b\r\n\r\n",
                b"\r\n" + block,
                block[:-2],
                block[:-4] + b"\n\n",
            ):
                self.check(b"GET / HTTP/1.1" + changed, LIMITS[0], before)

    def test_what_has_a_body_is_never_compared(self) -> None:
        """Nor what is changed on its way: its fields are its own."""
        for case in VALID_REQUESTS:
            if case.framing != "none" and not case.bare_lf:
                head = parse_request(case.raw)
                assert head is not None
                self.assertEqual(head.block, b"", case.name)


class StatusLineTests(SynchronousTestCase):
    def test_the_line_has_our_version(self) -> None:
        """RFC 9112, section 2.3."""
        for line, passed, minor in (
            (b"HTTP/1.0 200 Fine", b"HTTP/1.1 200 Fine", 0),
            (b"HTTP/1.1 404 Not Found", b"HTTP/1.1 404 Not Found", 1),
            (b"HTTP/1.7 200", b"HTTP/1.1 200 ", 1),
        ):
            for _ in range(2):
                head = parse_response(line + b"\r\n\r\n")
                assert head is not None
                self.assertEqual((head.line, head.minor), (passed, minor))

    def test_the_same_response_says_the_same_again(self) -> None:
        for case in VALID_RESPONSES:
            limits = HeadLimits(bare_lf=case.bare_lf)
            first, second = (parse_response(case.raw, case.method, limits) for _ in range(2))
            assert first is not None and second is not None
            self.assertEqual(vars(first), vars(second), case.name)

    def test_a_bare_line_feed_is_refused_before_the_head_is_whole(self) -> None:
        """It may never be."""
        for data in (b"HTTP/1.1 200 OK\n", b"HTTP/1.1 200 OK\r\nX: y\n\n"):
            with self.assertRaises(BadMessage) as raised:
                parse_response(data)
            self.assertEqual(raised.exception.status, 502)
        self.assertIsNone(parse_response(b"HTTP/1.1 200 OK\n", limits=LIMITS[1]))
