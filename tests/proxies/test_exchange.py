"""What becomes of a request and of its response: routes, heads both ways, answers of our own."""

from __future__ import annotations

from typing import Any

from tests.proxies.http_case import HttpCase, MemoryCase, SocketCase, template
from tests.proxies.http_messages import DATE, THEIR_DATE, chunks, parsed, request, response
from twisted_pipe.http.forwarding import ForwardedStyle
from twisted_pipe.http.routing import RouteTable
from twisted_pipe.proxies.http_settings import (
    Action,
    Answer,
    ErrorPage,
    HeadChanges,
    HttpSettings,
    ProxyTo,
    Redirect,
    Route,
)
from twisted_pipe.proxies.http_upstream import HttpUpstream

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


def changes(
    add: dict[str, str] | None = None, remove: tuple[bytes, ...] = (), always: bool = False, **sets: str
) -> HeadChanges:
    """C{sets} are named with C{_} for C{-}."""
    return HeadChanges(
        set=tuple((name.replace("_", "-").encode(), template(value)) for name, value in sets.items()),
        add=tuple((name.encode(), template(value)) for name, value in (add or {}).items()),
        remove=frozenset(remove),
        always=always,
    )


class RequestHeadRules(HttpCase):
    def asked(self, first: bytes, **more: Any) -> bytes:
        """What the origin gets for C{first}."""
        _client, origin = self.pair(first, **more)
        got: bytes = origin.gets()
        return got

    def test_fields_of_one_connection_are_dropped(self) -> None:
        first = request(
            "GET",
            "/",
            "Connection: keep-alive, X-Mine, te",
            "Keep-Alive: timeout=5",
            "X-Mine: 1",
            "TE: trailers",
            "Trailer: X",
            "Upgrade: websocket",
            "Proxy-Connection: keep-alive",
            "HTTP2-Settings: AAA",
            "X-Kept: 2",
        )
        self.assertEqual(self.asked(first), b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Kept: 2\r\n\r\n")

    def test_other_fields_and_the_target_are_passed_on_byte_for_byte(self) -> None:
        lines = ("uSeR-aGeNt:   x  ", "Cookie: a=1", "Cookie: b=2", "X-Latin: \xe4\xff", "Empty:")
        first = request("GET", '/%41//b/./c?%7e&x=[]|"', *lines)
        asked = self.asked(first)
        self.assertEqual(asked, first)

    def test_an_absolute_target(self) -> None:
        """Its host is the host."""
        first = b"GET http://B.test:81/x?y HTTP/1.1\r\nHost: other\r\n\r\n"
        self.assertEqual(self.asked(first), b"GET /x?y HTTP/1.1\r\nHost: B.test:81\r\n\r\n")

    def test_options_of_the_whole_server(self) -> None:
        self.assertEqual(self.asked(request("OPTIONS", "*")), request("OPTIONS", "*"))

    def test_an_unknown_method(self) -> None:
        self.assertEqual(self.asked(request("BREW", "/pot")), request("BREW", "/pot"))

    def test_an_empty_body_that_was_announced(self) -> None:
        first = request("POST", "/", body=b"")
        self.assertEqual(self.asked(first), first)

    def test_who_is_served(self) -> None:
        asked = self.asked(request(), forwarded=ForwardedStyle.X_FORWARDED, via=b"me")
        lines = (b"X-Forwarded-Host: a.test", b"X-Forwarded-For: 127.0.0.1", b"X-Forwarded-Proto: http", b"Via: 1.1 me")
        self.assertEqual(asked, b"\r\n".join([b"GET / HTTP/1.1", b"Host: a.test", *lines, b"", b""]))

    def test_who_was_served_before(self) -> None:
        first = request(
            "GET", "/", "X-Forwarded-For: 10.0.0.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: b", "Via: 1.0 x"
        )
        asked = self.asked(first, forwarded=ForwardedStyle.X_FORWARDED, via=b"me").split(b"\r\n")
        self.assertEqual(
            sorted(asked[2:-2]),
            [
                b"Via: 1.0 x, 1.1 me",
                b"X-Forwarded-For: 10.0.0.1, 127.0.0.1",
                b"X-Forwarded-Host: a.test",
                b"X-Forwarded-Proto: http",
            ],
        )

    def test_the_same_by_the_standard(self) -> None:
        first = request("GET", "/", "Forwarded: for=10.0.0.1")
        asked = self.asked(first, forwarded=ForwardedStyle.RFC7239)
        self.assertEqual(
            asked,
            b"GET / HTTP/1.1\r\nHost: a.test\r\n"
            b'Forwarded: for=10.0.0.1, for=127.0.0.1;host="a.test";proto=http\r\n\r\n',
        )

    def test_the_servers_name_as_host(self) -> None:
        self.assertEqual(self.asked(request(), pass_host=False), GET.replace(b"a.test", b"origin:80"))

    def test_fields_are_set_added_and_removed(self) -> None:
        new = changes({"X-Two": "$remote_addr"}, (b"cookie",), X_One="$request_method $uri", User_Agent="")
        asked = self.asked(request("GET", "/a%20b", "Cookie: x", "user-agent: y", "x-one: z"), request_headers=new)
        self.assertEqual(asked, b"GET /a%20b HTTP/1.1\r\nHost: a.test\r\nX-One: GET /a b\r\nX-Two: 127.0.0.1\r\n\r\n")

    def test_what_a_server_could_take_for_one_of_them_is_lost(self) -> None:
        """A CGI-like server cannot tell X_One from X-One."""
        first = request("GET", "/", "x_one: z", "X_Two: z", "x-two: z", "X_Three: z")
        asked = self.asked(first, request_headers=changes(remove=(b"x_two",), X_One="a", X_Four=""))
        self.assertEqual(asked, b"GET / HTTP/1.1\r\nHost: a.test\r\nX_Three: z\r\nX-One: a\r\n\r\n")

    def test_our_own_are_replaced_one_by_one(self) -> None:
        new = changes(remove=(b"via",), X_Forwarded_Proto="https")
        asked = self.asked(request(), request_headers=new, forwarded=ForwardedStyle.X_FORWARDED, via=b"me")
        self.assertEqual(
            asked.splitlines()[2:-1],
            [b"X-Forwarded-Host: a.test", b"X-Forwarded-For: 127.0.0.1", b"X-Forwarded-Proto: https"],
        )

    def test_host_is_set(self) -> None:
        asked = self.asked(request(), request_headers=changes(Host="b.test"))
        self.assertEqual(asked, GET.replace(b"a.test", b"b.test"))

    def test_what_a_client_sends_makes_no_field(self) -> None:
        asked = self.asked(request("GET", "/a%0d%0aX-Evil:%201"), request_headers=changes(X_Path="$uri"))
        self.assertEqual(asked, b"GET /a%0d%0aX-Evil:%201 HTTP/1.1\r\nHost: a.test\r\nX-Path: /a  X-Evil: 1\r\n\r\n")

    def test_another_uri(self) -> None:
        def routes(upstream: HttpUpstream, settings: HttpSettings) -> RouteTable[Route]:
            action = ProxyTo(upstream=upstream, uri=b"/new/")
            return RouteTable(prefixes={b"/old/": Route(action=action, settings=settings, prefix=b"/old/")})

        asked = self.asked(request("GET", "/old/a%2fb?c=%41"), routes=routes)
        self.assertEqual(asked, GET.replace(b"/ ", b"/new/a/b?c=%41 "))

    def whole_server(self, **paths: bytes) -> bytes:
        """What the origin gets for C{OPTIONS *}; C{paths} as those of a table of routes."""
        ((kind, path),) = paths.items()

        def routes(upstream: HttpUpstream, settings: HttpSettings) -> RouteTable[Route]:
            route = Route(action=ProxyTo(upstream=upstream, uri=b"/new/"), settings=settings, prefix=path)
            return RouteTable(**{kind: {path: route}})

        return self.asked(request("OPTIONS", "*"), routes=routes)

    def test_the_whole_server_has_no_other_uri(self) -> None:
        self.assertEqual(self.whole_server(prefixes=b"/"), request("OPTIONS", "*"))

    def test_but_for_a_route_of_its_own(self) -> None:
        self.assertEqual(self.whole_server(exact=b"*"), request("OPTIONS", "/new/"))


class ResponseHeadRules(HttpCase):
    def answered(self, answer: bytes, first: bytes = request(), **more: Any) -> bytes:
        """What the client gets for C{answer}."""
        client, origin = self.both(first, **more)
        origin.says(answer)
        got: bytes = client.gets()
        return got

    def test_fields_of_one_connection_are_dropped(self) -> None:
        answer = response(
            b"hi",
            "Connection: X-Mine, keep-alive",
            "X-Mine: 1",
            "Keep-Alive: timeout=5",
            "Upgrade: h2",
            "Trailer: A",
            "Proxy-Connection: x",
            "X-Kept: 2",
        )
        self.assertEqual(self.answered(answer), response(b"hi", "X-Kept: 2"))

    def test_other_fields_are_passed_on_byte_for_byte(self) -> None:
        answer = response(
            b"hi", "set-cookie:  a", "Set-Cookie: b", "X: \xe4\xff\t ", "Server: them", status="200 Fine!"
        )
        self.assertEqual(self.answered(answer), answer)

    def test_a_date_is_added(self) -> None:
        answer = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 2\r\n\r\nhi"
        self.assertEqual(
            self.answered(answer), b"HTTP/1.1 200 OK\r\nServer: x\r\n" + DATE + b"\r\nContent-Length: 2\r\n\r\nhi"
        )

    def test_no_server_is_added(self) -> None:
        self.assertNotIn(b"Server:", self.answered(response(b"hi")))

    def test_an_old_origin(self) -> None:
        """HTTP/1.0: its connection is not kept, and the client's is."""
        client, origin = self.both()
        origin.says(b"HTTP/1.0 200 OK\r\n" + THEIR_DATE + b"\r\nContent-Length: 2\r\n\r\nhi")
        self.assertEqual(client.gets(), response(b"hi"))
        origin.gets()
        self.assertTrue(origin.ended)
        self.assert_idle(0)

    def test_an_old_origin_that_keeps(self) -> None:
        client, origin = self.both()
        origin.says(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + THEIR_DATE + b"\r\nContent-Length: 2\r\n\r\nhi")
        self.assertEqual(client.gets(), response(b"hi"))
        self.assert_idle(1)

    def test_an_origin_that_closes(self) -> None:
        client, origin = self.both()
        origin.says(response(b"hi", "Connection: close"))
        self.assertEqual(client.gets(), response(b"hi"))
        origin.gets()
        self.assertTrue(origin.ended)
        self.assert_idle(0)

    def test_a_strange_status(self) -> None:
        self.assertEqual(self.answered(response(b"hi", status="799 ")), response(b"hi", status="799 "))

    def test_no_reason(self) -> None:
        """The space before it must be there all the same: RFC 9112, section 4."""
        self.assertEqual(self.answered(response(b"hi", status="200")), response(b"hi", status="200 "))

    def test_fields_are_set_added_and_removed(self) -> None:
        new = changes({"X-Two": "$status"}, (b"x-gone",), Server="$upstream_addr", X_Empty="")
        got = self.answered(response(b"hi", "X-Gone: 1", "server: x", "X-Empty: 3"), response_headers=new)
        self.assertEqual(got, response(b"hi", "Server: origin:80", "X-Two: 200"))

    def test_names_of_responses_are_what_they_are(self) -> None:
        answer = response(b"", "X_One: y")
        self.assertIn(b"X_One: y\r\n", self.answered(answer, response_headers=changes(X_One="z")))

    def test_some_are_added_to_good_answers_only(self) -> None:
        new = changes({"X-Two": "2"}, X_One="1")
        got = self.answered(response(b"hi", status="404 Not Found"), response_headers=new)
        self.assertEqual(got, response(b"hi", "X-One: 1", status="404 Not Found"))

    def test_or_to_all(self) -> None:
        new = changes({"X-Two": "2"}, always=True)
        got = self.answered(response(b"hi", status="404 Not Found"), response_headers=new)
        self.assertEqual(got, response(b"hi", "X-Two: 2", status="404 Not Found"))

    def test_a_head_that_comes_in_pieces(self) -> None:
        client, origin = self.both()
        for byte in response(b"", "A: b"):
            self.assertEqual(client.gets(), b"")
            origin.says(bytes([byte]))
        self.assertEqual(client.gets(), response(b"", "A: b"))
        self.assert_idle(1)


class NoBodyRules(HttpCase):
    def test_head(self) -> None:
        client, origin = self.both(request("HEAD"))
        answer = response(b"", "Content-Length: 1000", length=False)
        origin.says(answer)
        self.assertEqual(client.gets(), answer)
        self.assert_idle(1)

    def test_head_of_a_chunked_one(self) -> None:
        client, origin = self.both(request("HEAD"))
        origin.says(response(b"", "Transfer-Encoding: chunked", length=False))
        got = client.gets()
        self.assertEqual(parsed(got).body, b"")
        self.assert_idle(1)

    def test_statuses_without_a_body(self) -> None:
        client, origin = self.both()
        for status in ("204 No Content", "304 Not Modified"):
            origin.says(response(b"", status=status, length=False))
            self.assertEqual(client.gets(), response(b"", status=status, length=False))
            self.assert_idle(1)
            client.says(request())
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))

    def test_a_length_with_304(self) -> None:
        client, origin = self.both()
        answer = response(b"", "Content-Length: 77", status="304 Not Modified", length=False)
        origin.says(answer)
        self.assertEqual(client.gets(), answer)
        self.assert_idle(1)

    def test_a_length_with_204(self) -> None:
        client, origin = self.both()
        origin.says(response(b"", "Content-Length: 0", status="204 No Content", length=False))
        self.assertEqual(client.gets(), response(b"", status="204 No Content", length=False))
        self.assert_idle(1)

    def test_no_byte_at_all(self) -> None:
        client, origin = self.both()
        origin.says(response(b""))
        self.assertEqual(client.gets(), response(b""))
        self.assert_idle(1)

    def test_a_body_where_there_is_none(self) -> None:
        """It is cut, and the connection is not used again."""
        client, origin = self.both(request("HEAD"))
        origin.says(response(b"surprise"))
        self.assertEqual(client.gets(), response(b"surprise")[:-8])
        origin.gets()
        self.assertTrue(origin.ended)
        self.assert_idle(0)
        self.assertIn("more came than its response has bytes", self.complaints()[0])


class InterimRules(HttpCase):
    def test_they_are_passed_on(self) -> None:
        client, origin = self.both()
        early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        origin.says(early)
        self.assertEqual(client.gets(), early)
        origin.says(early + response(b"hi"))
        self.assertEqual(client.gets(), early + response(b"hi"))
        self.assert_idle(1)
        self.assert_log('"GET / HTTP/1.1" 200 2 origin:80 200 0 -')

    def test_not_to_old_clients(self) -> None:
        client, origin = self.both(request(minor=0))
        origin.says(b"HTTP/1.1 103 Early Hints\r\n\r\n" + response(b"hi"))
        self.assertEqual(parsed(client.gets()).body, b"hi")

    def test_100_is_not(self) -> None:
        client, origin = self.both()
        origin.says(b"HTTP/1.1 100 Continue\r\n\r\n")
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))

    def test_there_are_not_too_many(self) -> None:
        client, origin = self.both()
        early = b"HTTP/1.1 103 Early Hints\r\n\r\n"
        origin.says(early * 17 + response(b"hi"))
        got = client.gets()
        self.assertEqual(got[: len(early) * 16], early * 16)
        self.assertEqual(parsed(got[len(early) * 16 :]).status, "502 Bad Gateway")
        origin.gets()
        self.assertTrue(origin.reset)
        self.assertIn("more than 16 interim responses", self.complaints()[0])
        self.assert_idle(0)

    def test_no_other_protocol(self) -> None:
        client, origin = self.both()
        origin.says(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        self.assertEqual(parsed(client.gets()).status, "502 Bad Gateway")
        self.assertIn("changes the protocol", self.complaints()[0])
        self.assert_idle(0)


class BadResponseRules(HttpCase):
    def assert_bad(self, answer: bytes, why: str) -> None:
        client, origin = self.both()
        origin.says(answer)
        self.assertEqual(parsed(client.gets()).status, "502 Bad Gateway")
        origin.gets()
        self.assertTrue(origin.reset or origin.ended)
        self.assert_idle(0)
        self.assertRegex(self.journal.lines[-1], '^"GET / HTTP/1.1" 502 .* origin:80 - 0 upstream: .*')
        self.assertIn(why, self.journal.lines[-1])
        self.assertIn(why, self.complaints()[-1])

    def test_no_http(self) -> None:
        self.assert_bad(b"SSH-2.0-OpenSSH\r\n", "does not begin with a status line")

    def test_two_framings(self) -> None:
        self.assert_bad(response(b"hi", "Transfer-Encoding: chunked"), "Transfer-Encoding")

    def test_a_strange_coding(self) -> None:
        self.assert_bad(response(b"", "Transfer-Encoding: gzip", length=False), "Transfer-Encoding")

    def test_two_lengths(self) -> None:
        self.assert_bad(response(b"hi", "Content-Length: 3"), "Content-Length")

    def test_a_bare_lf(self) -> None:
        self.assert_bad(b"HTTP/1.1 200 OK\r\nA: b\nC: d\r\nContent-Length: 0\r\n\r\n", "bare")

    def test_a_large_head(self) -> None:
        self.start(header_buffer_size=500)
        client = self.client()
        client.says(request())
        origin = self.origin()
        origin.says(response(b"", "A: " + "a" * 600))
        self.assertEqual(parsed(client.gets()).status, "502 Bad Gateway")
        self.assertIn("more than 500 bytes", self.complaints()[0])

    def test_a_head_that_never_ends(self) -> None:
        client, origin = self.both(header_buffer_size=500)
        head, line = response(b"")[:-2], b"A: 0123456789\r\n"
        origin.says(head)
        for _ in range((500 - len(head)) // len(line)):
            origin.says(line)
        self.assertEqual(client.gets(), b"")
        origin.says(line)
        self.assertEqual(parsed(client.gets()).status, "502 Bad Gateway")

    def test_a_large_body_behind_a_head_that_is_not(self) -> None:
        self.start(header_buffer_size=500)
        client = self.client()
        client.says(request())
        origin = self.origin()
        origin.says(response(b"x" * 20_000))
        self.assertEqual(client.gets(), response(b"x" * 20_000))
        self.assert_idle(1)

    def test_an_end_before_the_head(self) -> None:
        client, origin = self.both(request("POST"))
        origin.close()
        self.assertEqual(parsed(client.gets()).status, "502 Bad Gateway")
        self.assertIn("closed the connection before it answered", self.complaints()[0])
        self.assert_idle(0)

    def test_an_end_in_the_head(self) -> None:
        client, origin = self.both()
        origin.says(b"HTTP/1.1 200 OK\r\nCont")
        origin.close()
        self.assertEqual(parsed(client.gets()).status, "502 Bad Gateway")
        self.assertIn("closed the connection in its head", self.complaints()[0])
        self.assert_idle(0)


class AnswerRules(HttpCase):
    def answered(self, action: Action, first: bytes = request(), **more: Any) -> bytes:
        """By ourselves."""

        def routes(upstream: HttpUpstream, settings: HttpSettings) -> RouteTable[Route]:
            return RouteTable(prefixes={b"/": Route(action=action, settings=settings)})

        self.start(routes=routes, **more)
        self.asking = self.client()
        self.asking.says(first)
        got: bytes = self.asking.gets()
        return got

    def test_a_fixed_answer(self) -> None:
        got = self.answered(Answer(status=200, body=template("you are $remote_addr, $status")))
        self.assertEqual(
            got,
            b"HTTP/1.1 200 OK\r\nServer: twisted_pipe\r\n%b\r\nContent-Type: text/plain; charset=utf-8\r\n"
            b"Content-Length: 22\r\n\r\nyou are 127.0.0.1, 200" % DATE,
        )
        self.assert_idle(0)
        self.assert_log('"GET / HTTP/1.1" 200 22 - - 0 -')
        self.assertEqual(self.upstream.statistics().opened, 0)

    def test_head_of_it(self) -> None:
        got = parsed(self.answered(Answer(status=200, body=template("1234")), request("HEAD")))
        self.assertEqual((got.length, got.body), (4, b""))
        self.assert_idle(0)

    def test_nothing(self) -> None:
        got = self.answered(Answer(status=204))
        self.assertEqual(got, b"HTTP/1.1 204 No Content\r\nServer: twisted_pipe\r\n%b\r\n\r\n" % DATE)

    def test_not_modified_has_neither_a_body_nor_its_type(self) -> None:
        """A cache would take the type for that of what it keeps."""
        got = self.answered(Answer(status=304))
        self.assertEqual(got, b"HTTP/1.1 304 Not Modified\r\nServer: twisted_pipe\r\n%b\r\n\r\n" % DATE)
        self.assert_idle(0)
        self.assert_log('"GET / HTTP/1.1" 304 0 - - 0 -')

    def test_an_error(self) -> None:
        got = parsed(self.answered(Answer(status=403)))
        self.assertEqual(got.status, "403 Forbidden")
        self.assertIn(b"<h1>403 Forbidden</h1>", got.body)
        self.assert_idle(0)

    def test_a_redirect(self) -> None:
        action = Redirect(location=template("https://$host$request_uri"), status=301)
        got = parsed(self.answered(action, request("GET", "/a%0d?b")))
        self.assertEqual(got.status, "301 Moved Permanently")
        self.assertIn(b"Location: https://a.test/a%0d?b", got.fields)
        self.assertEqual(len(got.body), got.length)

    def test_fields_are_added(self) -> None:
        got = parsed(self.answered(Answer(status=200), response_headers=changes({"X-A": "b"}, (b"server",))))
        self.assertIn(b"X-A: b", got.fields)
        self.assertNotIn(b"Server: twisted_pipe", got.fields)

    def test_nothing_but_a_length(self) -> None:
        new = changes(None, (b"server", b"date", b"content-type"))
        got = self.answered(Answer(status=200), response_headers=new)
        self.assertEqual(got, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    def test_a_body_that_nobody_reads(self) -> None:
        """The connection cannot go on behind it."""
        got = parsed(self.answered(Answer(status=200, body=template("x")), request("POST", "/", body=b"12345")))
        self.assertIn(b"Connection: close", got.fields)
        self.asking.close()
        self.assert_idle(0, clients=0)

    def test_no_route(self) -> None:
        def routes(upstream: HttpUpstream, settings: HttpSettings) -> RouteTable[Route]:
            return RouteTable(exact={b"/here": Route(action=ProxyTo(upstream=upstream), settings=settings)})

        self.start(routes=routes)
        client = self.client()
        client.says(request("GET", "/there") + request("GET", "/there"))
        got = parsed(client.gets())
        self.assertEqual(got.status, "404 Not Found")
        self.assertEqual(parsed(got.body[got.length :]).status, "404 Not Found")
        self.assert_idle(0)
        self.assert_log(*['"GET /there HTTP/1.1" 404 160 - - 0 client: there is no route for its path'] * 2)


class ErrorPageRules(HttpCase):
    pages = {
        404: ErrorPage(body=b"nothing here"),
        502: ErrorPage(body=b"sorry", content_type=b"text/plain", status=503),
    }

    def test_our_own_errors(self) -> None:
        client, origin = self.both(request("POST"), error_pages=self.pages)
        origin.close()
        got = parsed(client.gets())
        self.assertEqual((got.status, got.body), ("503 Service Unavailable", b"sorry"))
        self.assertIn(b"Content-Type: text/plain", got.fields)
        self.assertRegex(self.journal.lines[0], '^"POST / HTTP/1.1" 503 5 origin:80 - 0 ')

    def test_one_that_becomes_a_status_without_a_body_has_none(self) -> None:
        pages = {404: ErrorPage(body=b"hello", status=204), 410: ErrorPage(body=b"hello", status=304)}
        client, origin = self.both(error_pages=pages, intercept_errors=True)
        for asked, got in (("404 Not Found", b"204 No Content"), ("410 Gone", b"304 Not Modified")):
            origin.says(response(b"hm", status=asked))
            self.assertEqual(client.gets(), b"HTTP/1.1 %b\r\nServer: twisted_pipe\r\n%b\r\n\r\n" % (got, DATE))
            self.assert_idle(0)
            client.says(request())
            origin = self.origin()
        origin.says(response(b"hi"))

    def test_nor_has_one_for_such_a_status(self) -> None:
        pages = {304: ErrorPage(body=b"hello")}
        client, origin = self.both(error_pages=pages, intercept_errors=True)
        origin.says(response(status="304 Not Modified", length=False))
        self.assertEqual(client.gets(), b"HTTP/1.1 304 Not Modified\r\nServer: twisted_pipe\r\n%b\r\n\r\n" % DATE)
        self.assert_idle(0)

    def test_those_of_origins_are_theirs(self) -> None:
        client, origin = self.both(error_pages=self.pages)
        answer = response(b"hm", status="404 Not Found")
        origin.says(answer)
        self.assertEqual(client.gets(), answer)

    def test_or_intercepted(self) -> None:
        client, origin = self.both(error_pages=self.pages, intercept_errors=True)
        origin.says(response(b"hm", status="404 Not Found"))
        got = parsed(client.gets())
        self.assertEqual((got.status, got.body), ("404 Not Found", b"nothing here"))
        self.assert_idle(0)
        self.assert_log('"GET / HTTP/1.1" 404 12 origin:80 404 0 -')

    def test_an_intercepted_one_keeps_what_its_status_must_not_be_without(self) -> None:
        """401 without a challenge asks for no password (RFC 9110, section 15.5.2); 405 and 407 are alike."""
        fields = {401: "WWW-Authenticate: Basic", 405: "Allow: GET", 407: "Proxy-Authenticate: Basic"}
        pages = {status: ErrorPage(body=b"no") for status in fields}
        client, origin = self.both(error_pages=pages, intercept_errors=True)
        every = [*fields.values(), "WWW-Authenticate: Digest", "X-Mine: 1"]
        for status, field in fields.items():
            origin.says(response(b"hm", *every, status=f"{status} Whatever"))
            got = parsed(client.gets())
            kept = [line for line in got.fields if line.decode() in every]
            more = [b"WWW-Authenticate: Digest"] if status == 401 else []
            self.assertEqual((got.body, kept), (b"no", [field.encode(), *more]))
            client.says(request())
            origin = self.origin()
        origin.says(response(b"hi"))

    def test_an_intercepted_426_says_what_it_requires(self) -> None:
        client, origin = self.both(error_pages={426: ErrorPage(body=b"no")}, intercept_errors=True)
        required = ("Connection: Upgrade", "Upgrade: TLS/1.3")
        origin.says(response(b"hm", *required, status="426 Upgrade Required"))
        got = parsed(client.gets())
        self.assertEqual((got.body, got.fields[-3:-1]), (b"no", [each.encode() for each in required]))

    def test_but_not_for_another_status(self) -> None:
        pages = {401: ErrorPage(body=b"no", status=403)}
        client, origin = self.both(error_pages=pages, intercept_errors=True)
        origin.says(response(b"hm", "WWW-Authenticate: Basic", status="401 Unauthorized"))
        self.assertNotIn(b"Authenticate", client.gets())

    def test_but_only_where_there_is_a_page(self) -> None:
        client, origin = self.both(error_pages=self.pages, intercept_errors=True)
        answer = response(b"hm", status="500 Internal Server Error")
        origin.says(answer)
        self.assertEqual(client.gets(), answer)
        self.assert_idle(1)

    def test_an_intercepted_one_of_any_framing(self) -> None:
        client, origin = self.both(error_pages=self.pages, intercept_errors=True)
        for answer in (
            response(chunks(b"hm"), "Transfer-Encoding: chunked", status="404 Not Found", length=False),
            response(b"hm", status="404 Not Found", length=False),
            response(b"hm", "Content-Length: 1000", status="404 Not Found", length=False),
        ):
            origin.says(answer)
            self.assertEqual(parsed(client.gets()).body, b"nothing here")
            self.assert_idle(0)
            client.says(request())
            origin = self.origin()
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))


class RequestHeadMemoryTests(RequestHeadRules, MemoryCase):
    pass


class RequestHeadSocketTests(RequestHeadRules, SocketCase):
    pass


class TlsTests(MemoryCase):
    tls = True

    def test_the_server_is_told(self) -> None:
        _client, origin = self.pair(request(), forwarded=ForwardedStyle.BOTH)
        asked = origin.gets()
        self.assertIn(b"\r\nX-Forwarded-Proto: https\r\n", asked)
        self.assertIn(b";proto=https\r\n", asked)
        origin.says(response(b""))


class ResponseHeadMemoryTests(ResponseHeadRules, MemoryCase):
    pass


class ResponseHeadSocketTests(ResponseHeadRules, SocketCase):
    pass


class NoBodyMemoryTests(NoBodyRules, MemoryCase):
    pass


class NoBodySocketTests(NoBodyRules, SocketCase):
    pass


class InterimMemoryTests(InterimRules, MemoryCase):
    pass


class InterimSocketTests(InterimRules, SocketCase):
    def gone(self, final: bytes) -> None:
        """A client resets, and before we hear of that an interim response is sent to it, with which C{final} has come."""
        self.start()
        client = self.client()
        client.says(request())
        origin = self.origin()
        origin.gets()
        origin.peer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" + final)
        client.break_off()
        origin.gets()
        self.assertTrue(origin.reset)
        self.assert_idle(0, clients=0)
        self.assertRegex(self.journal.lines[0], '^"GET / HTTP/1.1" 499 0 .*client: ')
        self.assertEqual(len(self.complaints()), 1)

    def test_a_client_that_is_found_to_be_gone_gets_no_response_behind_it(self) -> None:
        self.gone(response(b"hi"))

    def test_nor_the_beginning_of_one(self) -> None:
        self.gone(response(b"hi" * 40_000)[:1000])

    def test_nor_one_in_chunks(self) -> None:
        self.gone(response(b"2\r\nhi\r\n", "Transfer-Encoding: chunked", length=False))

    def test_nor_another_interim_one(self) -> None:
        self.gone(b"HTTP/1.1 103 Early Hints\r\n\r\n")


class BadResponseMemoryTests(BadResponseRules, MemoryCase):
    pass


class BadResponseSocketTests(BadResponseRules, SocketCase):
    pass


class AnswerMemoryTests(AnswerRules, MemoryCase):
    pass


class AnswerSocketTests(AnswerRules, SocketCase):
    pass


class ErrorPageMemoryTests(ErrorPageRules, MemoryCase):
    def test_nothing_is_left_of_an_intercepted_one_while_its_page_is_on_its_way(self) -> None:
        """The server has answered: that it does not take the rest of the request is no failure, and it is free at once."""
        self.start(error_pages={503: ErrorPage(body=b"sorry")}, intercept_errors=True)
        client = self.client(room=1)
        client.says(request("POST", "/", body=b"x" * 20_000))
        origin = self.origin(room=1)
        origin.says(response(b"no", status="503 Service Unavailable"))
        (peer,) = self.group.peers
        self.assertEqual(peer.active, 0)
        self.advance(21)  # more than its send timeout
        self.assertEqual((peer.failed, self.complaints()), (0, []))
        got = parsed(client.gets())
        self.assertEqual((got.status, got.body), ("503 Service Unavailable", b"sorry"))
        self.assert_idle(0)


class ErrorPageSocketTests(ErrorPageRules, SocketCase):
    pass


del RequestHeadRules, ResponseHeadRules, NoBodyRules, InterimRules, BadResponseRules, AnswerRules, ErrorPageRules
