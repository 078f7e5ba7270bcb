"""The kit for message filters notices what is wrong with one."""

from __future__ import annotations

from collections.abc import Callable
from gzip import decompress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.filters.base import PipeFilter
from twisted_pipe.filters.discovery import parse_filter_spec
from twisted_pipe.filters.messages.base import MessageFilter
from twisted_pipe.filters.upper import Upper
from twisted_pipe.http.head import BadMessage
from twisted_pipe.interfaces import Direction, FilterContext, MessageContext
from twisted_pipe.messages.reply import Reply
from twisted_pipe.testing import MessageHarness, check_message_filter
from twisted_pipe.testing.messages import Played


def filter_that(request: Callable[[Any, Any], Any], response: Callable[[Any, Any], Any] = lambda *_: None) -> type[Any]:
    return type("Made", (MessageFilter,), {"request": request, "response": response})


class HarnessTests(SynchronousTestCase):
    def test_it_takes_filters_in_any_form(self) -> None:
        for entry in (
            MessageFilter,
            MessageFilter(MessageContext()),
            "request-id",
            lambda context: MessageFilter(context),
        ):
            exchange = MessageHarness(entry).request().respond()
            assert exchange.upstream_gets is not None and exchange.client_gets is not None
            self.assertEqual(exchange.upstream_gets.target, b"/")
            self.assertEqual((exchange.client_gets.status, exchange.client_gets.body), (200, b"hello"))
        self.assertRaises(TypeError, MessageHarness)

    def test_bodies_pass_the_filters_that_are_asked_for(self) -> None:
        both = filter_that(
            lambda _, request: request.filter_body(Upper), lambda _, response: response.filter_body(Upper)
        )
        exchange = MessageHarness(both).request(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").respond()
        assert exchange.upstream_gets is not None and exchange.client_gets is not None
        self.assertEqual((exchange.upstream_gets.body, exchange.client_gets.body), (b"ABC", b"HELLO"))

    def masked(
        self, response: bytes, request: bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", filter: Any = Upper
    ) -> Played:
        """What a client gets of C{response} by way of a body filter."""
        asks = filter_that(lambda *_: None, lambda _, response: response.filter_body(filter))
        got = MessageHarness(asks).request(request).respond(b"HTTP/1.1 " + response).client_gets
        assert got is not None
        return got

    def test_a_body_filter_is_used_where_the_proxy_uses_it(self) -> None:
        """One that masks, and whose tests go well, does not let through what is coded, or a part, without its author knowing."""
        plain, part = b"200 OK\r\nContent-Length: 5\r\n", b"206 Partial Content\r\nContent-Length: 5\r\n"
        self.assertEqual(self.masked(plain + b"\r\nhello").body, b"HELLO")
        self.assertEqual(self.masked(part + b"\r\nhello").body, b"hello")
        self.assertEqual(self.masked(plain + b"Content-Encoding: gzip\r\n\r\nhello").body, b"hello")
        blind = type("Blind", (Upper,), {"any_coding": True})
        self.assertEqual(self.masked(part + b"\r\nhello", filter=blind).body, b"HELLO")

    def test_a_body_filter_changes_the_head_as_in_the_proxy(self) -> None:
        plain = b'200 OK\r\nContent-Length: 5\r\nETag: "a"\r\n\r\nhello'
        gzip = parse_filter_spec("gzip")
        got = self.masked(plain, b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n", gzip)
        self.assertEqual(decompress(got.body), b"hello")
        fields = [got.headers.get(name) for name in ("content-encoding", "vary", "etag", "content-length")]
        self.assertEqual(fields, [b"gzip", b"Accept-Encoding", b'W/"a"', None])
        got = self.masked(plain, filter=gzip)
        self.assertEqual((got.body, got.headers.get("content-encoding")), (b"hello", None))

    def test_an_empty_body_passes_its_filters_too(self) -> None:
        """What they put out at the end is sent. One that the test has not given, or that cannot be, does not."""
        ended = type("Ending", (PipeFilter,), {"ended": lambda self: (b"end",)})
        for response, body in (
            (b"200 OK\r\nContent-Length: 0\r\n\r\n", b"end"),
            (b"200 OK\r\n\r\n", b"end"),
            (b"200 OK\r\nContent-Length: 5\r\n\r\n", b""),
            (b"304 Not Modified\r\n\r\n", b""),
        ):
            self.assertEqual(self.masked(response, filter=ended).body, body, response)
        asks = filter_that(lambda _, request: request.filter_body(ended))
        for fields in (b"Content-Length: 0\r\n", b""):
            got = MessageHarness(asks).request(b"POST / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n").upstream_gets
            assert got is not None
            self.assertEqual(got.body, b"")

    def test_an_answer_to_head_speaks_of_what_filters_would_make(self) -> None:
        """As in the proxy. A request without a body has none that one could speak of."""
        gzip = parse_filter_spec("gzip")
        both = filter_that(lambda _, request: request.filter_body(gzip), lambda _, response: response.filter_body(gzip))
        exchange = MessageHarness(both).request(b"HEAD / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
        exchange.respond(b'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nETag: "x"\r\nContent-Length: 5\r\n\r\n')
        asked, got = exchange.upstream_gets, exchange.client_gets
        assert asked is not None and got is not None
        self.assertNotIn("Content-Encoding", asked.headers)
        wanted = [b"Content-Type: text/plain", b'ETag: W/"x"', b"Vary: Accept-Encoding", b"Content-Encoding: gzip"]
        self.assertEqual((got.headers.lines, got.body), (wanted, b""))

    def test_body_filters_know_their_direction(self) -> None:
        seen: list[tuple[Direction, bool, bool]] = []

        def look(context: FilterContext) -> Any:
            seen.append((context.direction, context.request is not None, context.response is not None))
            return Upper(context)

        both = filter_that(lambda _, request: request.filter_body(look), lambda _, response: response.filter_body(look))
        MessageHarness(both).request(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").respond()
        self.assertEqual(seen, [(Direction.REQUEST, True, False), (Direction.RESPONSE, True, True)])

    def test_what_cannot_be_played_is_said(self) -> None:
        harness = MessageHarness(filter_that(lambda *_: Reply(403)))
        self.assertRaises(BadMessage, harness.request, b"nonsense\r\n\r\n")
        self.assertRaises(ValueError, harness.request, b"GET / HTTP/1.1\r\n")
        self.assertRaises(AssertionError, harness.request().respond)
        waiting = MessageHarness(filter_that(lambda *_: Deferred()), timeout=0).request()
        self.assertRaises(AssertionError, waiting.wait)
        gone = MessageHarness(MessageFilter).request()
        gone.go_away()
        self.assertRaises(AssertionError, gone.respond)

    def test_captures_and_tls_are_what_the_test_says(self) -> None:
        seen = []
        look = filter_that(lambda _, request: seen.append((request.variable("1"), request.tls, request.scheme)))
        MessageHarness(look).request(captures={"1": b"x"}, tls="facts", scheme="https")
        self.assertEqual(seen, [(b"x", "facts", "https")])


class LawTests(SynchronousTestCase):
    def breaks(self, why: str, *calls: Any) -> None:
        error = self.assertRaises(AssertionError, check_message_filter, filter_that(*calls))
        self.assertIn(why, str(error))

    def test_one_that_does_nothing_keeps_them(self) -> None:
        self.assertEqual(check_message_filter(MessageFilter), 0)

    def test_one_that_waits_well_keeps_them(self) -> None:
        async def ask(self: Any, message: Any) -> None:
            await deferLater(self.context.clock, 1)

        self.assertTrue(check_message_filter(filter_that(ask, ask)) > 10)

    def test_a_failure_breaks_one(self) -> None:
        self.breaks("it fails: filter 'Made': KeyError: 'k'", lambda *_: {}["k"])
        self.breaks("it fails", lambda *_: None, lambda _, response: response.headers["A"])

    def test_so_does_one_that_only_comes_with_odd_messages(self) -> None:
        self.breaks(
            "UnicodeDecodeError", lambda _, request: (request.headers.get("cookie") or b"").decode()[:0] or None
        )

    def test_state_of_one_exchange_in_the_filter_breaks_one(self) -> None:
        def keep(self: Any, request: Any) -> None:
            type(self).kept = request.method

        def use(self: Any, response: Any) -> None:
            if type(self).kept == b"POST":
                response.headers.set("X-Posted", "1")

        self.breaks("among others", keep, use)

    def test_a_timer_that_outlives_its_client_breaks_one(self) -> None:
        def ask(self: Any, _: Any) -> Deferred[None]:
            waited: Deferred[None] = Deferred(lambda _: None)
            self.context.clock.callLater(5, lambda: None if waited.called else waited.callback(None))
            return waited

        self.breaks("goes on when its client has gone", ask)

    def test_a_wait_without_end_breaks_one(self) -> None:
        self.breaks("it fails: filter 'Made': TimeoutError", lambda *_: Deferred())

    def test_a_filter_has_to_be_made_anew(self) -> None:
        self.assertRaises(TypeError, check_message_filter, MessageFilter(MessageContext()))
