"""Message filters on exchanges: what clients and origins get, what is held meanwhile, and what becomes of failures."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone

from tests.proxies.http_case import HttpCase, MemoryCase, SocketCase, template
from tests.proxies.http_messages import chunks, parsed, request, response, unchunked
from twisted_pipe.filters.discovery import find_filter, parse_filter_spec
from twisted_pipe.filters.messages.base import MessageFilter
from twisted_pipe.filters.upper import Upper
from twisted_pipe.http.forwarding import ForwardedStyle
from twisted_pipe.http.routing import RouteTable
from twisted_pipe.interfaces import MessageContext, NamedFilter, OnFailure
from twisted_pipe.messages.reply import Reply
from twisted_pipe.proxies.http_settings import (
    Answer,
    ErrorPage,
    FilterUse,
    HeadChanges,
    HttpSettings,
    ProxyTo,
    Redirect,
    Route,
)
from twisted_pipe.proxies.http_upstream import HttpUpstream
from twisted_pipe.proxies.response_body import ResponseBody

Call = Callable[[Any], Any]
GZIP = request("GET", "/", "Accept-Encoding: gzip")
LARGE = bytes(range(256)) * 400


class Doing(MessageFilter):
    """Does as it is told."""

    def __init__(self, request: Call | None = None, response: Call | None = None) -> None:
        MessageFilter.__init__(self, MessageContext())
        self._calls = request, response
        self.requests: list[Any] = []
        self.responses: list[Any] = []

    def request(self, request: Any) -> Any:
        self.requests.append(request)
        call = self._calls[0]
        return None if call is None else call(request)

    def response(self, response: Any) -> Any:
        self.responses.append(response)
        call = self._calls[1]
        return None if call is None else call(response)


def named(*filters: Any, **more: Any) -> tuple[NamedFilter, ...]:
    return tuple(NamedFilter(f"filter{place}", each, **more) for place, each in enumerate(filters))


def doing(request: Call | None = None, response: Call | None = None, **more: Any) -> dict[str, Any]:
    """Settings with one filter."""
    return {"message_filters": named(Doing(request, response), **more)}


def whole(got: Any) -> bytes:
    """The body, whatever its framing."""
    body: bytes = unchunked(got.body)[0] if b"Transfer-Encoding: chunked" in got.fields else got.body
    return body


def put(name: str, value: str) -> Call:
    return lambda message: message.headers.set(name, value)


class RequestRules(HttpCase):
    def asked(self, first: bytes, call: Call, **more: Any) -> bytes:
        """What the origin gets for C{first} when a filter does C{call}."""
        _client, origin = self.pair(first, **doing(call), **more)
        got: bytes = origin.gets()
        return got

    def test_without_a_change_a_request_is_passed_on_byte_for_byte(self) -> None:
        first = request("GET", "/%41?b", "uSeR-aGeNt:   x  ", "Cookie: a=1", "Cookie: b=2")
        self.assertEqual(self.asked(first, lambda _: None), first)

    def test_fields_are_changed(self) -> None:
        def change(message: Any) -> None:
            message.headers.set("Cookie", "c")
            message.headers.remove("User-Agent")
            message.headers.add("X-New", "1")

        first = request("GET", "/", "User-Agent: x", "Cookie: a=1", "Cookie: b=2", "X-Old:2")
        self.assertEqual(self.asked(first, change), request("GET", "/", "Cookie: c", "X-Old:2", "X-New: 1"))

    def test_the_host_is(self) -> None:
        self.assertEqual(
            self.asked(request(), put("Host", "other.test:81")), b"GET / HTTP/1.1\r\nHost: other.test:81\r\n\r\n"
        )

    def test_the_target_is_and_the_route_replaces_nothing_in_it(self) -> None:
        def routes(upstream: HttpUpstream, settings: HttpSettings) -> RouteTable[Route]:
            action = ProxyTo(upstream=upstream, uri=b"/inner/")
            return RouteTable(prefixes={b"/a/": Route(action=action, settings=settings, prefix=b"/a/")})

        def change(message: Any) -> None:
            message.target = b"/elsewhere?x"

        asked = self.asked(request("GET", "/a/b"), change, routes=routes)
        self.assertTrue(asked.startswith(b"GET /elsewhere?x HTTP/1.1\r\n"), asked)

    def test_unchanged_the_route_replaces_its_prefix(self) -> None:
        def routes(upstream: HttpUpstream, settings: HttpSettings) -> RouteTable[Route]:
            action = ProxyTo(upstream=upstream, uri=b"/inner/")
            return RouteTable(prefixes={b"/a/": Route(action=action, settings=settings, prefix=b"/a/")})

        asked = self.asked(request("GET", "/a/b"), put("A", "b"), routes=routes)
        self.assertTrue(asked.startswith(b"GET /inner/b HTTP/1.1\r\n"), asked)

    def test_templates_read_what_was_made_of_the_request(self) -> None:
        def change(message: Any) -> None:
            message.target = b"/x%20y?z=1"
            message.headers.set("X-User", "alice")
            message.set_variable("mine", "7")
            message.request_id = "id-1"

        text = "$uri $args $request_uri $http_x_user $filter_mine $request_id"
        headers = HeadChanges(set=((b"X-Seen", template(text)),))
        asked = self.asked(request("GET", "/old?q"), change, request_headers=headers)
        self.assertIn(b"\r\nX-Seen: /x y z=1 /old?q alice 7 id-1\r\n", asked)

    def test_the_log_says_what_the_client_sent(self) -> None:
        def change(message: Any) -> None:
            message.target = b"/new"
            message.headers.remove("Authorization")
            message.headers.set("User-Agent", "ours")
            message.set_variable("mine", "7")

        line = "$request $remote_user $http_user_agent $filter_mine $filter_other"
        first = request("GET", "/old", "Authorization: Basic YTpi", "User-Agent: theirs")
        client, origin = self.pair(first, **doing(change), line=line)
        self.assertEqual(origin.gets(), b"GET /new HTTP/1.1\r\nHost: a.test\r\nUser-Agent: ours\r\n\r\n")
        origin.says(response())
        client.gets()
        self.assert_log("GET /old HTTP/1.1 a theirs 7 -")

    def test_marks_of_proxies_that_were_removed_do_not_come_back(self) -> None:
        def change(message: Any) -> None:
            message.headers.remove("X-Forwarded-For")

        first = request("GET", "/", "X-Forwarded-For: 10.9.8.7")
        asked = self.asked(first, change, forwarded=ForwardedStyle.X_FORWARDED)
        self.assertNotIn(b"10.9.8.7", asked)
        self.assertEqual(asked.count(b"X-Forwarded-For"), 1)

    def test_the_next_request_of_the_connection_is_the_clients_own(self) -> None:
        """Heads that repeat themselves are read once: what a filter makes of one is not the next one's."""
        values = iter("123")

        def change(message: Any) -> None:
            self.assertEqual(message.headers.get_all("X-A"), [b"0"])
            message.headers.set("X-A", next(values))

        client, origin = self.pair(request("GET", "/", "X-A: 0"), **doing(change))
        for value in "12":
            self.assertEqual(origin.gets(), request("GET", "/", f"X-A: {value}"))
            origin.says(response())
            client.gets()
            client.says(request("GET", "/", "X-A: 0"))
        self.assertEqual(origin.gets(), request("GET", "/", "X-A: 3"))
        origin.says(response())
        client.gets()
        self.assert_idle(1)

    def check_framing(self, body: bytes) -> None:
        head, _, rest = self.asked(request("POST", "/", body=body), put("A", "b")).partition(b"\r\n\r\n")
        self.assertEqual(rest, body)
        self.assertIn(b"\r\nContent-Length: %d" % len(body), head)

    def test_a_small_body_is_framed_as_it_came(self) -> None:
        self.check_framing(b"x" * 10)

    def test_so_is_a_large_one(self) -> None:
        self.check_framing(b"x" * 5000)

    def check_filtered(self, body: bytes) -> None:
        asked = self.asked(request("POST", "/", body=body), lambda message: message.filter_body(Upper))
        head, _, rest = asked.partition(b"\r\n\r\n")
        self.assertIn(b"Transfer-Encoding: chunked", head)
        self.assertEqual(unchunked(rest), (body.upper(), b"\r\n"))

    def test_what_comes_behind_a_body_no_filter_has_seen(self) -> None:
        """Else a client could say there what a filter takes from its head."""
        first = request("POST", "/", "Transfer-Encoding: chunked") + chunks(LARGE, trailers=b"X-User: admin\r\n")
        _client, origin = self.pair(first, **doing())
        self.assertEqual(unchunked(origin.gets().partition(b"\r\n\r\n")[2]), (LARGE, b"\r\n"))
        origin.says(response(b""))

    def test_a_small_body_passes_the_byte_filter_that_is_asked_for(self) -> None:
        self.check_filtered(b"abc")

    def test_so_does_a_large_one(self) -> None:
        self.check_filtered(b"abc" * 2000)

    def check_protected(self, action: Any) -> None:
        def routes(_: HttpUpstream, settings: HttpSettings) -> RouteTable[Route]:
            return RouteTable(prefixes={b"/": Route(action=action, settings=settings)})

        self.start(routes=routes, **doing(lambda _: Reply(403)))
        client = self.client()
        client.says(request())
        got = client.gets()
        self.assertTrue(got.startswith(b"HTTP/1.1 403 "), got)
        self.assertNotIn(b"secret", got)

    def test_answers_are_protected_as_well(self) -> None:
        self.check_protected(Answer(status=200, body=template("secret")))

    def test_so_are_redirects(self) -> None:
        self.check_protected(Redirect(location=template("/secret")))

    def test_and_what_has_no_route(self) -> None:
        """So nobody without a password learns which paths there are."""

        def routes(_: HttpUpstream, settings: HttpSettings) -> RouteTable[Route]:
            return RouteTable(exact={b"/a": Route(action=Answer(status=200), settings=settings)})

        self.start(routes=routes, **doing(lambda message: Reply(401) if message.path == b"/x" else None))
        client = self.client()
        client.says(request("GET", "/x"))
        self.assertTrue(client.gets().startswith(b"HTTP/1.1 401 "))
        client.says(request("GET", "/y"))
        self.assertTrue(client.gets().startswith(b"HTTP/1.1 404 "))

    def test_another_upstream_is_chosen(self) -> None:
        def choose(message: Any) -> None:
            message.upstream = "green"

        def routes(upstream: HttpUpstream, settings: HttpSettings) -> RouteTable[Route]:
            settings.upstreams["green"] = upstream  # type: ignore[index]
            return RouteTable(prefixes={b"/": Route(action=Answer(status=404), settings=settings)})

        client, origin = self.pair(**doing(choose), routes=routes, upstreams={"green": None})
        self.assertEqual(origin.gets(), request())
        origin.says(response(b"green"))
        self.assertEqual(parsed(client.gets()).body, b"green")

    def test_what_a_filter_knows_of_the_client(self) -> None:
        seen: list[Any] = []

        def look(message: Any) -> None:
            seen.append((message.client, message.scheme, message.host, message.uri, message.variable("request_method")))
            self.assertRaises(ValueError, message.variable, "nonsense")

        self.asked(request("GET", "/a/../%62"), look)
        self.assertEqual(seen, [("127.0.0.1", "http", b"a.test", b"/b", b"GET")])


class ReplyRules(HttpCase):
    def answered(self, reply: Reply, first: bytes = request(), **more: Any) -> Any:
        self.start(**doing(lambda _: reply), **more)
        client = self.client()
        client.says(first)
        return parsed(client.gets())

    def test_a_reply_is_sent_with_our_own_fields(self) -> None:
        got = self.answered(Reply(200, {"Content-Type": "text/plain"}, b"mine"))
        self.assertEqual((got.status, got.length, got.body), ("200 OK", 4, b"mine"))
        self.assertIn(b"Content-Type: text/plain", got.fields)
        self.assertIn(b"Server: twisted_pipe", got.fields)

    def test_an_error_without_a_body_has_the_page_of_its_status(self) -> None:
        got = self.answered(Reply(401, {"WWW-Authenticate": "Basic"}))
        self.assertEqual(got.status, "401 Unauthorized")
        self.assertIn(b"WWW-Authenticate: Basic", got.fields)
        self.assertIn(b"401 Unauthorized", got.body)
        self.assertIn(b"Content-Type: text/html; charset=utf-8", got.fields)

    def test_its_fields_come_in_place_of_those_of_the_page(self) -> None:
        got = self.answered(Reply(403, {"Content-Type": "text/x"}))
        self.assertEqual(
            [field for field in got.fields if field.startswith(b"Content-Type")], [b"Content-Type: text/x"]
        )

    def test_the_connection_goes_on(self) -> None:
        self.start(**doing(lambda _: Reply(403)))
        client = self.client()
        for _ in range(3):
            client.says(request())
            self.assertTrue(client.gets().startswith(b"HTTP/1.1 403 "))
        self.assert_idle(0)

    def test_several_at_a_time_are_answered_in_turn(self) -> None:
        self.start(**doing(lambda _: Reply(200, {}, b"x")))
        client = self.client()
        client.says(request() * 5)
        self.assertEqual(client.gets().count(b"HTTP/1.1 200 OK"), 5)

    def test_a_head_request_gets_no_body(self) -> None:
        got = self.answered(Reply(200, {}, b"mine"), request("HEAD"))
        self.assertEqual((got.length, got.body), (4, b""))

    def test_no_content_is_no_content(self) -> None:
        got = self.answered(Reply(204))
        self.assertEqual((got.status, got.body), ("204 No Content", b""))
        self.assertFalse([field for field in got.fields if field.lower().startswith(b"content-")])

    def test_an_error_whose_page_has_a_status_without_a_body_has_none(self) -> None:
        one = Doing(lambda _: Reply(403))
        seen = Doing()
        self.start(message_filters=named(seen, one), error_pages={403: ErrorPage(body=b"hello", status=204)})
        client = self.client()
        client.says(request())
        got = client.gets()
        self.assertTrue(got.startswith(b"HTTP/1.1 204 No Content\r\n"))
        self.assertTrue(got.endswith(b"\r\n\r\n"))
        self.assertNotIn(b"Content-", got)
        self.assertEqual([(each.status, each.body_length) for each in seen.responses], [(204, 0)])

    def test_a_body_is_neither_asked_for_nor_read(self) -> None:
        """A client that waits for 100 Continue is told by the answer that it need not send it."""
        self.start(**doing(lambda _: Reply(413)))
        client = self.client()
        client.says(request("POST", "/", "Content-Length: 100000", "Expect: 100-continue"))
        got = client.gets()
        self.assertTrue(got.startswith(b"HTTP/1.1 413 "), got)
        self.assertIn(b"\r\nConnection: close\r\n", got)
        self.assertNotIn(b"100 Continue", got)

    def test_continue_is_said_when_the_request_goes_on(self) -> None:
        waited: Deferred[Any] = Deferred()
        self.start(**doing(lambda _: waited))
        client = self.client()
        client.says(request("POST", "/", "Content-Length: 4", "Expect: 100-continue"))
        self.assertEqual(client.gets(), b"")
        waited.callback(None)
        self.assertEqual(client.gets(), b"HTTP/1.1 100 Continue\r\n\r\n")
        client.says(b"body")
        origin = self.origin()
        self.assertTrue(origin.gets().endswith(b"\r\n\r\nbody"))
        origin.says(response())
        self.assertTrue(client.gets().startswith(b"HTTP/1.1 200 OK"))


class ResponseRules(HttpCase):
    def exchanged(self, call: Call | None, said: bytes, first: bytes = request(), **more: Any) -> Any:
        """What the client gets when the origin says C{said} and a filter does C{call}."""
        client, origin = self.both(first, **doing(None, call), **more)
        origin.says(said)
        return parsed(client.gets())

    def test_without_a_change_a_response_is_passed_on_byte_for_byte(self) -> None:
        said = response(b"body", "X-A:   b ", "Set-Cookie: a", "Set-Cookie: b")
        client, origin = self.both(**doing())
        origin.says(said)
        self.assertEqual(client.gets(), said)
        self.assert_idle(1)

    def test_fields_and_status_are_changed(self) -> None:
        def change(message: Any) -> None:
            message.status = 404
            message.headers.remove("Set-Cookie")
            message.headers.add("X-New", "1")

        got = self.exchanged(change, response(b"body", "Set-Cookie: a", "X-Old: 2"))
        self.assertEqual((got.status, got.length, got.body), ("404 Not Found", 4, b"body"))
        self.assertEqual(got.fields[1:3], [b"X-Old: 2", b"X-New: 1"])
        self.assert_log('"GET / HTTP/1.1" 404 4 origin:80 200 0 -')

    def check_body(self, said: bytes, body: bytes) -> None:
        got = self.exchanged(put("A", "b"), said)
        self.assertIn(b"A: b", got.fields)
        self.assertEqual(whole(got), body)

    def test_a_large_body_goes_on_behind_it(self) -> None:
        self.check_body(response(LARGE), LARGE)

    def test_so_does_a_chunked_one(self) -> None:
        self.check_body(response(chunks(LARGE), "Transfer-Encoding: chunked", length=False), LARGE)

    def test_so_does_a_small_chunked_one(self) -> None:
        self.check_body(response(chunks(b"small"), "Transfer-Encoding: chunked", length=False), b"small")

    def test_the_routes_own_changes_come_last(self) -> None:
        headers = HeadChanges(set=((b"A", template("$sent_http_b route")),))
        got = self.exchanged(put("A", "filter"), response(b"", "B: 1"), response_headers=headers)
        self.assertEqual([field for field in got.fields if field.startswith(b"A:")], [b"A: route"])

    def test_a_reply_takes_its_place(self) -> None:
        got = self.exchanged(lambda _: Reply(200, {}, b"other"), response(b"x" * 100000))
        self.assertEqual((got.status, got.body), ("200 OK", b"other"))
        self.assert_idle(0)

    def test_its_body_passes_the_byte_filters_that_are_asked_for(self) -> None:
        got = self.exchanged(lambda message: message.filter_body(Upper), response(b"body"))
        self.assertEqual(unchunked(got.body), (b"BODY", b"\r\n"))

    def test_so_does_a_chunked_one_with_them(self) -> None:
        said = response(chunks(b"bo", b"dy"), "Transfer-Encoding: chunked", length=False)
        got = self.exchanged(lambda message: message.filter_body(Upper), said)
        self.assertEqual(unchunked(got.body), (b"BODY", b"\r\n"))

    def test_a_plugin_may_be_asked_for_as_it_is_found(self) -> None:
        got = self.exchanged(lambda message: message.filter_body(find_filter("gzip")), response(b"body"), GZIP)
        self.assertIn(b"Content-Encoding: gzip", got.fields)
        self.assertEqual(gzip.decompress(whole(got)), b"body")

    def test_before_those_of_the_route(self) -> None:
        uses = (FilterUse(factory=parse_filter_spec("gzip"), types=("*/*",)),)
        got = self.exchanged(lambda message: message.filter_body(Upper), response(b"body"), GZIP, response_filters=uses)
        self.assertIn(b"Content-Encoding: gzip", got.fields)
        self.assertEqual(gzip.decompress(unchunked(got.body)[0]), b"BODY")

    def test_a_client_gets_the_coding_that_it_accepts_whatever_the_upstream_was_told(self) -> None:
        uses = (FilterUse(factory=parse_filter_spec("gzip"), types=("*/*",)),)
        settings = doing(put("Accept-Encoding", "identity"))
        client, origin = self.pair(GZIP, **settings, response_filters=uses)
        self.assertIn(b"Accept-Encoding: identity\r\n", origin.gets())
        origin.says(response(b"body"))
        self.assertIn(b"Content-Encoding: gzip", parsed(client.gets()).fields)

    def check_without_body(self, status: str, first: bytes, length: bool) -> None:
        got = self.exchanged(put("A", "b"), response(b"", status=status, length=length), first)
        self.assertEqual((got.status, got.body), (status, b""))
        self.assertIn(b"A: b", got.fields)
        self.assert_idle(1)

    def test_no_content_is_seen_too(self) -> None:
        self.check_without_body("204 No Content", request(), False)

    def test_and_not_modified(self) -> None:
        self.check_without_body("304 Not Modified", request(), False)

    def test_and_what_answers_a_head_request(self) -> None:
        self.check_without_body("200 OK", request("HEAD"), True)

    def test_interim_responses_are_not(self) -> None:
        one = Doing()
        client, origin = self.both(message_filters=named(one))
        origin.says(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + response(b"body"))
        self.assertIn(b"103 Early Hints", client.gets())
        self.assertEqual([each.status for each in one.responses], [200])

    def test_pages_of_our_own_are_seen(self) -> None:
        """Errors, answers, redirects; what is too large; what no server answers."""
        one = Doing(None, put("A", "b"))
        self.start(message_filters=named(one), client_max_body_size=10)
        client = self.client()
        client.says(request("POST", "/", body=b"x" * 11))
        got = parsed(client.gets())
        self.assertEqual(got.status, "413 Content Too Large")
        self.assertIn(b"A: b", got.fields)
        self.assertEqual([(each.own, each.status) for each in one.responses], [(True, 413)])

    def test_so_is_the_page_in_place_of_an_upstreams_error(self) -> None:
        pages = {503: ErrorPage(body=b"sorry")}
        got = self.exchanged(
            put("A", "b"),
            response(b"no", status="503 Service Unavailable"),
            intercept_errors=True,
            error_pages=pages,
        )
        self.assertEqual((got.status, got.body), ("503 Service Unavailable", b"sorry"))
        self.assertIn(b"A: b", got.fields)

    def test_a_request_that_cannot_be_read_is_seen_by_none(self) -> None:
        one = Doing()
        self.start(message_filters=named(one))
        client = self.client()
        client.says(b"nonsense\r\n\r\n")
        self.assertTrue(client.gets().startswith(b"HTTP/1.1 400 "))
        self.assertEqual((one.requests, one.responses), ([], []))

    def test_what_it_knows_of_the_upstream(self) -> None:
        seen: list[Any] = []

        def look(message: Any) -> None:
            seen.append((message.upstream, message.own, message.body_length, message.variable("upstream_status")))
            seen.append((message.request.method, message.variable("upstream_http_a")))

        self.exchanged(look, response(b"body", "A: b"))
        self.assertEqual(seen, [("origin:80", False, 4, b"200"), (b"GET", b"b")])


class WaitRules(HttpCase):
    def waiting(self, **more: Any) -> tuple[Any, Deferred[Any], list[Any]]:
        """A client whose request a filter ponders."""
        cancelled: list[Any] = []
        waited: Deferred[Any] = Deferred(cancelled.append)
        self.start(**doing(lambda _: waited, **more))
        client = self.client()
        client.says(request())
        return client, waited, cancelled

    def test_a_request_waits_for_its_filter(self) -> None:
        client, waited, _ = self.waiting()
        self.advance(1)
        self.assertEqual(client.gets(), b"")
        waited.callback(None)
        origin = self.origin()
        self.assertEqual(origin.gets(), request())
        origin.says(response(b"body"))
        self.assertEqual(parsed(client.gets()).body, b"body")
        self.assert_idle(1)

    def test_what_comes_behind_it_waits_in_the_kernel(self) -> None:
        client, waited, _ = self.waiting()
        client.says(request("GET", "/2"))
        waited.callback(None)
        origin = self.origin()
        self.assertEqual(origin.gets(), request())
        origin.says(response(b"1"))
        self.assertEqual(parsed(client.gets()).body, b"1")
        self.assertEqual(origin.gets(), request("GET", "/2"))
        origin.says(response(b"2"))
        self.assertEqual(parsed(client.gets()).body, b"2")

    def test_no_timeout_of_the_upstreams_runs_meanwhile(self) -> None:
        client, waited, _ = self.waiting(timeout=0)
        self.advance(100)
        self.assertEqual(client.gets(), b"")
        waited.callback(Reply(200, {}, b"x"))
        self.assertEqual(parsed(client.gets()).body, b"x")

    def test_the_filters_own_is_500(self) -> None:
        client, _, cancelled = self.waiting(timeout=7)
        self.advance(6.9)
        self.assertEqual(client.gets(), b"")
        self.advance(0.2)
        self.assertTrue(client.gets().startswith(b"HTTP/1.1 500 "))
        self.assertEqual(len(cancelled), 1)
        self.assertIn("filter 'filter0': TimeoutError: what it waits for has not come within 7 s", self.complaints()[0])

    def test_a_client_that_goes_cancels_it(self) -> None:
        client, _, cancelled = self.waiting()
        client.break_off()
        self.settle()
        self.assertEqual(len(cancelled), 1)
        self.assertEqual(len(self.proxy.clients), 0)
        self.assertEqual([line.split()[3] for line in self.journal.lines], ["499"])

    def test_the_service_that_stops_cancels_it(self) -> None:
        _client, _, cancelled = self.waiting()
        self.proxy.shutdown()
        self.settle()
        self.assertEqual(len(cancelled), 1)

    def test_a_client_that_has_ended_its_sending_is_not_gone(self) -> None:
        client, waited, cancelled = self.waiting()
        client.half_close()
        self.settle()
        if not cancelled:  # transports without halves lose the connection
            waited.callback(Reply(200, {}, b"x"))
            self.assertEqual(parsed(client.gets()).body, b"x")

    def pondered(self, said: bytes, more_said: bytes = b"", **more: Any) -> tuple[Any, Any, Deferred[Any]]:
        """A response that a filter ponders; the origin says the rest meanwhile."""
        waited: Deferred[Any] = Deferred()
        client, origin = self.both(**doing(None, lambda _: waited, **more))
        origin.says(said)
        if more_said:
            origin.says(more_said)
        self.settle()
        self.assertEqual(client.gets(), b"")
        return client, origin, waited

    def test_a_response_waits_for_its_filter(self) -> None:
        client, _origin, waited = self.pondered(response(b"body"), timeout=0)
        self.advance(100)
        waited.callback(None)
        self.assertEqual(parsed(client.gets()).body, b"body")
        self.assert_idle(1)

    def check_more(self, said: bytes) -> None:
        client, _origin, waited = self.pondered(said[:2000], said[2000:])
        waited.callback(None)
        self.assertEqual(whole(parsed(client.gets())), LARGE)
        self.assert_idle(1)

    def test_whatever_more_comes_of_it(self) -> None:
        self.check_more(response(LARGE))

    def test_and_of_a_chunked_one(self) -> None:
        self.check_more(response(chunks(LARGE), "Transfer-Encoding: chunked", length=False))

    def test_what_is_held_is_nobody_elses_to_overwrite(self) -> None:
        """All servers are read into one buffer."""
        held: Deferred[Any] = Deferred()
        first, origin = self.both(**doing(None, lambda message: held if message.request.path == b"/" else None))
        origin.says(response(b"1" * 30000))
        self.settle()
        second = self.client()
        second.says(request("GET", "/2"))
        other = self.origin()
        other.gets()
        other.says(response(b"2" * 30000))
        self.assertEqual(parsed(second.gets()).body, b"2" * 30000)
        held.callback(None)
        self.assertEqual(parsed(first.gets()).body, b"1" * 30000)

    def test_nothing_more_is_read_meanwhile(self) -> None:
        """As much as has come with the head, and on a transport one read."""
        body = bytes(1 << 20)
        client, _origin, waited = self.pondered(response(body)[:2000], response(body)[2000:])
        exchange = next(iter(self.proxy.clients))._exchange
        assert exchange is not None
        self.assertEqual(exchange.upstream_bytes_received, 2000)
        waited.callback(None)
        self.assertEqual(len(parsed(client.gets()).body), len(body))

    def test_and_when_the_origin_ends_behind_it(self) -> None:
        waited: Deferred[Any] = Deferred()
        client, origin = self.both(**doing(None, lambda _: waited))
        origin.says(response(b"until the end", length=False))
        origin.close()
        self.settle()
        waited.callback(None)
        self.assertIn(b"until the end", client.gets())

    def test_and_when_it_breaks_off_it_is_no_whole_response(self) -> None:
        waited: Deferred[Any] = Deferred()
        client, origin = self.both(**doing(None, lambda _: waited))
        origin.says(response(b"x" * 5000)[:1000])
        origin.break_off()
        self.settle()
        waited.callback(None)
        got = client.gets()
        self.assertLess(len(got), 5000)
        self.advance(1)
        self.assertEqual(len(self.proxy.clients), 0)

    def test_a_reply_drops_the_rest(self) -> None:
        client, _origin, waited = self.pondered(response(bytes(100000))[:5000])
        waited.callback(Reply(200, {}, b"other"))
        self.assertEqual(parsed(client.gets()).body, b"other")
        self.assert_idle(0)

    def test_a_client_that_goes_lets_the_origin_go(self) -> None:
        cancelled: list[Any] = []
        client, origin = self.both(**doing(None, lambda _: Deferred(cancelled.append)))
        origin.says(response(b"body"))
        client.break_off()
        self.settle()
        self.assertEqual(len(cancelled), 1)
        self.assertEqual(len(self.proxy.clients), 0)

    def test_even_one_that_is_not_to_notice_clients_that_go(self) -> None:
        """Its head is in the filter's hands: nobody could tell how much there is to receive."""
        client, origin = self.both(**doing(None, lambda _: Deferred()), ignore_client_abort=True)
        origin.says(response(b"body"))
        client.break_off()
        self.settle()
        self.assertEqual(len(self.proxy.clients), 0)

    def test_in_time_or_it_is_500(self) -> None:
        client, origin = self.both(**doing(None, lambda _: Deferred(), timeout=5))
        origin.says(response(b"body"))
        self.advance(5.1)
        self.assertTrue(client.gets().startswith(b"HTTP/1.1 500 "))
        self.assert_idle(0)

    def test_a_page_of_our_own_waits_too(self) -> None:
        waited: Deferred[Any] = Deferred()
        self.start(**doing(None, lambda _: waited), client_max_body_size=1)
        client = self.client()
        client.says(request("POST", "/", body=b"xy"))
        self.assertEqual(client.gets(), b"")
        waited.callback(None)
        self.assertTrue(client.gets().startswith(b"HTTP/1.1 413 "))


class UploadRules(HttpCase):
    """While a response is pondered its request may still be under way."""

    def uploading(self, first: bytes) -> tuple[Any, Any, Deferred[Any], list[Any]]:
        cancelled: list[Any] = []
        waited: Deferred[Any] = Deferred(cancelled.append)
        client, origin = self.both(first, **doing(None, lambda _: waited), request_buffering=False)
        origin.says(response(b"early"))
        self.settle()
        return client, origin, waited, cancelled

    def test_the_rest_of_it_goes_on(self) -> None:
        first = request("POST", "/", body=b"x" * 9000)
        client, origin, waited, _ = self.uploading(first[:-4000])
        client.says(first[-4000:])
        self.assertEqual(len(origin.gets()), 4000)
        waited.callback(None)
        self.assertEqual(parsed(client.gets()).body, b"early")
        self.assert_idle(1)

    def test_what_is_wrong_with_it_takes_the_place_of_the_response(self) -> None:
        first = request("POST", "/", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n"
        client, _origin, _, cancelled = self.uploading(first)
        client.says(b"nonsense\r\n")
        self.assertTrue(client.gets().startswith(b"HTTP/1.1 400 "))
        self.assertEqual(len(cancelled), 1)

    def test_so_does_a_client_that_is_too_slow_with_it(self) -> None:
        first = request("POST", "/", body=b"x" * 9000)
        client, _origin, _, cancelled = self.uploading(first[:-4000])
        self.advance(13)
        self.assertTrue(client.gets().startswith(b"HTTP/1.1 408 "))
        self.assertEqual(len(cancelled), 1)


class LateBodyRules(HttpCase):
    """A request is pondered, and meanwhile its body comes."""

    def pondered(self, size: int, *fields: str, wait: float = 0, **settings: Any) -> None:
        body = bytes(range(250)) * (size // 250)
        first = request("POST", "/", *fields, body=body)
        waited: Deferred[Any] = Deferred()
        self.start(**doing(lambda _: waited), **settings)
        client = self.client()
        client.says(first[:-size])
        client.says(first[-size:])
        self.advance(wait)
        waited.callback(None)
        origin = self.origin()
        got = origin.gets()
        while len(got) < size:
            more = origin.gets()
            if not more:
                break
            got += more
        self.assertEqual(got.partition(b"\r\n\r\n")[2], body)
        origin.says(response(b"done"))
        self.assertEqual(parsed(client.gets()).body, b"done")
        self.assert_idle(1)

    def test_a_small_one(self) -> None:
        self.pondered(250)

    def test_a_large_one(self) -> None:
        self.pondered(9000)

    def test_one_that_is_passed_on_as_it_comes(self) -> None:
        self.pondered(9000, request_buffering=False)

    def test_the_time_that_a_filter_takes_is_not_the_client_s(self) -> None:
        self.pondered(250, wait=30)


class UpgradeRules(HttpCase):
    OFFER = request("GET", "/", "Connection: Upgrade", "Upgrade: websocket")
    CHANGE = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Old: 1\r\n\r\n"

    def test_a_filter_knows_what_is_offered_and_changes_the_head(self) -> None:
        one = Doing(put("A", "b"), put("C", "d"))
        client, origin = self.pair(self.OFFER, message_filters=named(one))
        asked = origin.gets()
        self.assertIn(b"A: b\r\n", asked)
        self.assertIn(b"Upgrade: websocket\r\n", asked)
        self.assertEqual(one.requests[0].upgrade, b"websocket")
        origin.says(self.CHANGE + b"hello")
        got = client.gets()
        self.assertTrue(got.startswith(b"HTTP/1.1 101 "), got)
        self.assertIn(b"C: d\r\n", got)
        self.assertTrue(got.endswith(b"\r\n\r\nhello"), got)
        client.says(b"there")
        self.assertEqual(origin.gets(), b"there")
        origin.close()
        client.close()

    def test_and_may_refuse_it_at_the_last_moment(self) -> None:
        client, origin = self.both(self.OFFER, **doing(None, lambda _: Reply(403)))
        origin.says(self.CHANGE + b"hello")
        got = client.gets()
        self.assertTrue(got.startswith(b"HTTP/1.1 403 "), got)
        self.assertNotIn(b"hello", got)

    def test_what_comes_while_it_waits_is_passed_on_then(self) -> None:
        waited: Deferred[Any] = Deferred()
        client, origin = self.both(self.OFFER, **doing(None, lambda _: waited))
        origin.says(self.CHANGE + b"one ")
        origin.says(b"two")
        self.assertEqual(client.gets(), b"")
        waited.callback(None)
        self.assertTrue(client.gets().endswith(b"\r\n\r\none two"))
        origin.close()
        client.close()


class FailureRules(HttpCase):
    def failing(self, _: Any) -> Any:
        raise SystemExit("mine")

    def test_of_a_request(self) -> None:
        self.start(**doing(self.failing))
        client = self.client()
        client.says(request())
        self.assertTrue(client.gets().startswith(b"HTTP/1.1 500 "))
        line = self.failing.__func__.__code__.co_firstlineno + 1
        failure = f"filter 'filter0': SystemExit: mine (at test_message_filters.py:{line})"
        self.assertIn(f"{failure}, client: 127.0.0.1", self.complaints()[0])
        self.assert_log(f'"GET / HTTP/1.1" 500 184 - - 0 {failure}')

    def test_of_a_response(self) -> None:
        client, origin = self.both(**doing(None, self.failing))
        origin.says(response(b"secret"))
        got = client.gets()
        self.assertTrue(got.startswith(b"HTTP/1.1 500 "))
        self.assertNotIn(b"secret", got)
        self.assert_idle(0)

    def test_those_nearer_to_the_client_see_the_page(self) -> None:
        self.start(message_filters=named(Doing(None, put("A", "b")), Doing(self.failing), Doing(None, put("C", "d"))))
        client = self.client()
        client.says(request())
        fields = parsed(client.gets()).fields
        self.assertIn(b"A: b", fields)
        self.assertNotIn(b"C: d", fields)

    def test_bypassed_it_changes_nothing(self) -> None:
        client, origin = self.pair(**doing(self.failing, self.failing, on_failure=OnFailure.BYPASS))
        self.assertEqual(origin.gets(), request())
        origin.says(response(b"body"))
        self.assertEqual(client.gets(), response(b"body"))
        self.assertEqual(len([each for each in self.complaints() if "bypassed: filter 'filter0'" in each]), 2)

    def test_a_byte_filter_that_cannot_be_built_is_500(self) -> None:
        def ask(message: Any) -> None:
            message.filter_body(lambda context: 1 // 0, name="mine")

        client, origin = self.both(**doing(None, ask))
        origin.says(response(b"body"))
        self.assertTrue(client.gets().startswith(b"HTTP/1.1 500 "))
        self.assertIn("filter 'mine': ZeroDivisionError", self.complaints()[0])

    # a plugin that lacks an option is found out when the message filter is over, and by its name

    def wanting(self, message: Any) -> None:
        message.filter_body(find_filter("replace-bytes"))

    def assert_wanting(self, client: Any) -> None:
        self.assertTrue(client.gets().startswith(b"HTTP/1.1 500 "))
        self.assertIn("filter 'filter0': BadConfiguration: filter replace-bytes: find: ", self.complaints()[0])
        self.assert_idle(0)

    def test_a_byte_filter_that_lacks_an_option(self) -> None:
        client, origin = self.both(**doing(None, self.wanting))
        origin.says(response(b"body"))
        self.assert_wanting(client)

    def test_so_behind_one_that_has_waited(self) -> None:
        waited: Deferred[Any] = Deferred()

        async def ponder(message: Any) -> None:
            await waited
            self.wanting(message)

        client, origin = self.both(**doing(None, ponder))
        origin.says(response(b"body"))
        waited.callback(None)
        self.assert_wanting(client)

    def test_so_for_the_body_of_a_request(self) -> None:
        self.start(**doing(self.wanting))
        client = self.client()
        client.says(request("POST", "/", body=b"x"))
        self.assertTrue(client.gets().startswith(b"HTTP/1.1 500 "))
        self.assertIn("filter 'filter0': BadConfiguration: filter replace-bytes: find: ", self.complaints()[0])

    def test_bypassed_the_message_goes_on_as_it_was(self) -> None:
        def change(message: Any) -> None:
            message.headers.set("A", "b")
            self.wanting(message)

        client, origin = self.pair(**doing(change, change, on_failure=OnFailure.BYPASS))
        self.assertEqual(origin.gets(), request())
        origin.says(response(b"body"))
        self.assertEqual(client.gets(), response(b"body"))

    # what is no filter's mistake, but happens where only a Deferred would hear of it

    def mistaken(self, waited: Deferred[Any] | None) -> Any:
        """A client whose request nobody can choose a server for."""
        self.start(**doing(lambda _: waited))
        self.patch(self.upstream, "key_of", lambda _: 1 // 0)
        client = self.client()
        client.says(request())
        return client

    def assert_mistaken(self, client: Any) -> None:
        self.settle()
        page = parsed(client.gets())
        self.assertEqual((page.status, page.length), ("500 Internal Server Error", len(page.body)))
        self.assertTrue(client.ended)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(len(self.proxy.clients), 0)
        self.assertEqual(len(self.journal.lines), 1)

    def test_a_mistake_of_ours_is_500_and_ends_the_connection(self) -> None:
        self.assert_mistaken(self.mistaken(None))

    def test_so_behind_a_filter_that_has_waited(self) -> None:
        waited: Deferred[Any] = Deferred()
        client = self.mistaken(waited)
        waited.callback(None)
        self.assert_mistaken(client)

    def test_so_when_its_time_was_up(self) -> None:
        self.start(**doing(lambda _: Deferred(), timeout=5, on_failure=OnFailure.BYPASS))
        self.patch(self.upstream, "key_of", lambda _: 1 // 0)
        client = self.client()
        client.says(request())
        self.advance(5.1)
        self.assert_mistaken(client)

    def test_so_with_a_response(self) -> None:
        """Whose server has its place back."""
        waited: Deferred[Any] = Deferred()
        client, origin = self.both(**doing(None, lambda _: waited))
        self.patch(ResponseBody, "begin", lambda *_: 1 // 0)
        origin.says(response(b"body"))
        waited.callback(None)
        self.assert_mistaken(client)
        self.assert_idle(0, clients=0)


class RequestMemoryTests(RequestRules, MemoryCase):
    pass


class RequestSocketTests(RequestRules, SocketCase):
    pass


class ReplyMemoryTests(ReplyRules, MemoryCase):
    pass


class ReplySocketTests(ReplyRules, SocketCase):
    pass


class ResponseMemoryTests(ResponseRules, MemoryCase):
    pass


class ResponseSocketTests(ResponseRules, SocketCase):
    pass


class WaitMemoryTests(WaitRules, MemoryCase):
    def goes_meanwhile(self, said: bytes, *framing: str, whole: bool = True) -> None:
        """The server goes cleanly while a filter has the response, of which the client gets what has come."""
        answered: list[Deferred[Any]] = []

        def ponder(_: object) -> Deferred[Any]:
            answered.append(Deferred())
            return answered[-1]

        self.start(**doing(None, ponder))
        said = response(said, *framing, length=False)
        for at in (len(said), len(said) - 3):  # in one piece; the second one comes while the filter has the head
            client = self.client()
            client.says(request())
            origin = self.origin()
            origin.says(said[:at])
            origin.protocol.dataReceived(said[at:])  # TLS cannot be stopped at once
            origin.lose(ConnectionDone())
            answered.pop().callback(None)
            got = parsed(client.gets())
            body, rest = (got.body, b"") if b"Content-Length: 4" in got.fields else unchunked(got.body)
            self.assertEqual((got.status, body), ("200 OK", b"body"))
            self.assertEqual((rest is not None, self.complaints() == [], client.over), (whole, whole, not whole))
            self.assertEqual(self.upstream.statistics().idle, 0)
            self.logged.clear()

    def test_a_server_that_goes_meanwhile_may_have_said_everything(self) -> None:
        """By TLS all of it may come at once: head, body, and the end of the connection."""
        self.goes_meanwhile(b"body")

    def test_or_all_of_its_length(self) -> None:
        self.goes_meanwhile(b"body", "Content-Length: 4")

    def test_or_all_chunks(self) -> None:
        self.goes_meanwhile(chunks(b"body"), "Transfer-Encoding: chunked")

    def test_or_not(self) -> None:
        self.goes_meanwhile(b"4\r\nbody\r\n1", "Transfer-Encoding: chunked", whole=False)


class WaitSocketTests(WaitRules, SocketCase):
    pass


class UploadMemoryTests(UploadRules, MemoryCase):
    pass


class UploadSocketTests(UploadRules, SocketCase):
    pass


class LateBodyMemoryTests(LateBodyRules, MemoryCase):
    def test_what_came_of_a_response_while_it_was_pondered(self) -> None:
        """TLS gives record by record, whether it is paused or not."""
        waited: Deferred[Any] = Deferred()
        client, _ = self.both(**doing(None, lambda _: waited))
        said = response(bytes(8000))
        (proxied,) = self.proxy.clients
        wire = proxied._exchange.connection_up.wire
        wire.dataReceived(said[:2000])
        wire.dataReceived(said[2000:])
        waited.callback(None)
        self.assertEqual(parsed(client.gets()).body, bytes(8000))
        self.assert_idle(1)

    def test_what_came_behind_a_response_while_it_was_pondered(self) -> None:
        """The connection is not used again."""
        waited: Deferred[Any] = Deferred()
        client, _ = self.both(**doing(None, lambda _: waited))
        (proxied,) = self.proxy.clients
        wire = proxied._exchange.connection_up.wire
        wire.dataReceived(response(b"one"))
        wire.dataReceived(response(b"two"))
        waited.callback(None)
        self.assertEqual(parsed(client.gets()).body, b"one")
        self.assert_idle(0)


class LateBodySocketTests(LateBodyRules, SocketCase):
    pass


class UpgradeMemoryTests(UpgradeRules, MemoryCase):
    pass


class UpgradeSocketTests(UpgradeRules, SocketCase):
    pass


class FailureMemoryTests(FailureRules, MemoryCase):
    pass


class FailureSocketTests(FailureRules, SocketCase):
    pass


del LateBodyRules, RequestRules, ReplyRules, ResponseRules, WaitRules, UploadRules, UpgradeRules, FailureRules
