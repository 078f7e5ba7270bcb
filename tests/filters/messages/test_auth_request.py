"""Authorisation by an HTTP service: what it is asked, and what its answers mean."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone, ResponseFailed, ResponseNeverReceived
from twisted.web.http_headers import Headers

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.messages.auth_request import AuthRequest
from twisted_pipe.filters.messages.discovery import MESSAGE_FILTERS
from twisted_pipe.interfaces import MessageContext
from twisted_pipe.testing import MessageHarness
from twisted_pipe.testing.messages import Played, PlayedExchange

URL = "http://auth.test/check"
REQUEST = b"POST /a?b HTTP/1.1\r\nHost: a.test\r\nCookie: c=1\r\nX-User: root\r\nRange: bytes=1-2\r\nContent-Length: 3\r\n\r\nabc"


@attrs.define
class Service:
    """An C{IAgent} that answers when the test says so."""

    asked: list[Any] = attrs.field(factory=list)
    answers: list[Deferred[Any]] = attrs.field(factory=list)
    cancelled: int = 0

    def request(self, method: bytes, uri: bytes, headers: Headers) -> Deferred[Any]:
        self.asked.append((method, uri, headers))
        answer: Deferred[Any] = Deferred(self._cancel)
        self.answers.append(answer)
        return answer

    def _cancel(self, _: object) -> None:
        self.cancelled += 1

    def says(self, code: int, **fields: list[bytes]) -> Response:
        headers = Headers({name.replace("_", "-").encode(): values for name, values in fields.items()})
        response = Response(code, headers)
        self.answers.pop(0).callback(response)
        return response


class Failing:
    """An agent that has failed before it returns."""

    def request(self, *_: Any) -> Deferred[Any]:
        return fail(ValueError("at once"))


@attrs.define
class Response:
    code: int
    headers: Headers
    body: Any = None
    closed: bool = False

    def deliverBody(self, protocol: Any) -> None:
        self.body = protocol
        protocol.makeConnection(self)

    def stopProducing(self) -> None:
        self.closed = True


class AuthRequestTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.service = Service()

    def harness(self, url: str = URL, **options: Any) -> MessageHarness:
        made = AuthRequest(MessageContext(clock=self.clock), url=url, **options)
        made._agent = self.service
        return MessageHarness(made, clock=self.clock)

    def exchange(self, **options: Any) -> PlayedExchange:
        return self.harness(**options).request(REQUEST)

    def answered(self, exchange: PlayedExchange) -> Played:
        assert exchange.client_gets is not None
        return exchange.client_gets

    def test_the_service_gets_the_head_and_where_it_was_going(self) -> None:
        self.exchange()
        [(method, uri, headers)] = self.service.asked
        self.assertEqual((method, uri), (b"GET", URL.encode()))
        for name, value in (
            (b"Cookie", b"c=1"),
            (b"X-Original-Method", b"POST"),
            (b"X-Original-URI", b"/a?b"),
            (b"X-Original-Host", b"a.test"),
            (b"X-Forwarded-For", b"192.0.2.7"),
            (b"X-Forwarded-Proto", b"http"),
        ):
            self.assertEqual(headers.getRawHeaders(name), [value])
        for name in (b"Range", b"Host", b"Content-Length"):
            self.assertFalse(headers.hasHeader(name), name)

    def test_a_client_cannot_say_where_it_was_going(self) -> None:
        fields = b"X-Original-URI: /public\r\nX_Original_URI: /public\r\nx_forwarded-for: 10.0.0.1\r\n"
        self.harness().request(b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n")
        headers = self.service.asked[0][2]
        self.assertEqual(headers.getRawHeaders(b"X-Original-URI"), [b"/"])
        self.assertFalse(any(b"_" in name for name, _ in headers.getAllRawHeaders()))

    def test_2xx_lets_it_go_on(self) -> None:
        for code in (200, 204, 299):
            exchange = self.exchange()
            self.assertTrue(exchange.waiting)
            self.service.says(code)
            self.assertIsNotNone(exchange.upstream_gets)

    def test_fields_of_the_answer_are_set_and_only_these(self) -> None:
        exchange = self.exchange(set=("X-User", "X-Role"))
        self.service.says(200, X_User=[b"alice"], X_Role=[b"a", b"b"], X_Other=[b"x"])
        got = exchange.upstream_gets
        assert got is not None
        self.assertEqual(got.headers.get_all("X-User"), [b"alice"])
        self.assertEqual(got.headers.get_all("X-Role"), [b"a", b"b"])
        self.assertNotIn("X-Other", got.headers)

    def test_a_clients_own_are_lost_even_if_the_service_says_none(self) -> None:
        exchange = self.exchange(set=("X-User",))
        self.service.says(200)
        assert exchange.upstream_gets is not None
        self.assertNotIn("X-User", exchange.upstream_gets.headers)
        self.assertFalse(self.service.asked[0][2].hasHeader(b"X-User"))

    def test_so_is_what_a_server_could_take_for_them(self) -> None:
        """A CGI-like one cannot tell X_User from X-User."""
        data = REQUEST.replace(b"X-User", b"x_User")
        exchange = self.harness(set=("X-User",)).request(data)
        self.service.says(200, X_User=[b"alice"])
        assert exchange.upstream_gets is not None
        self.assertEqual([each for each in exchange.upstream_gets.headers.lines if b"ser:" in each], [b"X-User: alice"])
        self.assertFalse(self.service.asked[0][2].hasHeader(b"x_User"))

    def test_401_and_403_are_passed_back(self) -> None:
        for code in (401, 403):
            exchange = self.exchange(pass_back=("Set-Cookie",))
            self.service.says(code, WWW_Authenticate=[b"Bearer"], Set_Cookie=[b"a", b"b"], X_Other=[b"x"])
            got = self.answered(exchange)
            self.assertEqual(got.status, code)
            self.assertEqual(got.headers.lines, [b"WWW-Authenticate: Bearer", b"Set-Cookie: a", b"Set-Cookie: b"])

    def test_anything_else_is_500_and_said_why(self) -> None:
        for code in (100, 302, 404, 500, 503):
            exchange = self.exchange()
            self.service.says(code)
            self.assertEqual(self.answered(exchange).status, 500)
            self.assertIn(f"{URL} answered {code}; 2xx, 401 or 403 is expected", str(exchange.failure))

    def test_so_is_a_service_that_cannot_be_asked(self) -> None:
        for error, why in (
            (ConnectionRefusedError(), "cannot be asked: Connection was refused"),
            (ResponseNeverReceived([Failure(ValueError("broken"))]), "cannot be asked: broken"),
        ):
            exchange = self.exchange()
            self.service.answers.pop().errback(error)
            self.assertIn(why, str(exchange.failure))
            self.assertEqual(self.answered(exchange).status, 500)

    def test_and_one_that_takes_too_long(self) -> None:
        exchange = self.exchange(timeout=3.0)
        self.clock.advance(3)
        self.assertEqual(self.service.cancelled, 1)
        self.assertIn("has not answered within 3 s", str(exchange.failure))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_client_that_goes_cancels_the_question(self) -> None:
        exchange = self.exchange()
        exchange.go_away()
        self.assertEqual(self.service.cancelled, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_so_many_questions_at_a_time(self) -> None:
        harness = self.harness(most=2)
        first, second, third = (harness.request(REQUEST) for _ in range(3))
        self.assertEqual(self.answered(third).status, 503)
        second.go_away()
        self.assertTrue(harness.request(REQUEST).waiting)
        self.service.says(200)
        self.assertIsNotNone(first.upstream_gets)

    def test_the_answers_body_is_read_so_far(self) -> None:
        self.exchange()
        response = self.service.says(200)
        response.body.dataReceived(bytes(64 * 1024))
        self.assertFalse(response.closed)
        response.body.dataReceived(b"x")
        self.assertTrue(response.closed)

    def test_one_whose_body_stalls_loses_its_connection(self) -> None:
        exchange = self.exchange(timeout=3.0)
        response = self.service.says(200)
        self.assertIsNotNone(exchange.upstream_gets)
        response.body.dataReceived(b"x")
        self.clock.advance(2.9)
        self.assertFalse(response.closed)
        self.clock.advance(0.1)
        self.assertTrue(response.closed)
        response.body.connectionLost(Failure(ResponseFailed([])))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_whose_body_ends_leaves_no_timer(self) -> None:
        self.exchange()
        response = self.service.says(204)
        response.body.connectionLost(Failure(ResponseDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertFalse(response.closed)

    def test_a_field_that_cannot_be_is_a_failure(self) -> None:
        exchange = self.exchange(set=("X-User",))
        self.service.says(200, X_User=[b"a\x00b"])
        self.assertEqual(self.answered(exchange).status, 500)

    def test_options_that_cannot_be(self) -> None:
        for url in ("auth.test/check", "ftp://auth.test/", "http://", "http://a b/", "http://user:pw@auth.test/"):
            self.assertRaises(BadConfiguration, self.harness, url)
        self.assertRaises(BadConfiguration, self.harness, timeout=0.0)

    def test_who_may_come_in_is_decided_even_if_it_fails(self) -> None:
        plugin = MESSAGE_FILTERS.parse(r"auth-request:url=http\://auth.test/:on_failure=bypass")
        error = self.assertRaises(BadConfiguration, plugin.build, MessageContext(clock=self.clock))
        self.assertEqual((error.name, str(error.value)), ("message filter auth-request: on_failure", "bypass"))
        self.assertTrue(error.expected.startswith("must be abort"), error.expected)

    def test_an_agent_that_raises_at_once_is_a_failure(self) -> None:
        harness = self.harness()
        harness.filters[0]._agent = Failing()
        self.assertIn("at once", str(harness.request(REQUEST).failure))
