"""A client's connection: keep-alive, pipelining, timeouts, ends. The same on transports in memory and on sockets."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.address import UNIXAddress

from tests.proxies.http_case import CLIENT, LIMITS, HttpCase, MemoryCase, SocketCase, template
from tests.proxies.http_messages import DATE, parsed, request, response
from tests.proxies.http_wires import Line
from twisted_pipe.http.forwarding import ForwardedStyle
from twisted_pipe.http.routing import RouteTable
from twisted_pipe.proxies.http_settings import Answer, HttpSettings, Route
from twisted_pipe.proxies.http_upstream import HttpUpstream

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
CLOSING = response(b"hi").replace(b"Content-Length", b"Connection: close\r\nContent-Length")
OK = '"GET / HTTP/1.1" 200 2 origin:80 200 0 -'


def ourselves(upstream: HttpUpstream, settings: HttpSettings) -> RouteTable[Route]:
    """Everything is answered without an upstream, by the path."""
    return RouteTable(prefixes={b"/": Route(action=Answer(status=200, body=template("$uri")), settings=settings)})


class KeepAliveRules(HttpCase):
    def test_one_request(self) -> None:
        client, origin = self.pair()
        self.assertEqual(origin.gets(), GET)
        origin.says(response(b"hello"))
        self.assertEqual(client.gets(), response(b"hello"))
        self.assert_idle(1)
        self.assert_log('"GET / HTTP/1.1" 200 5 origin:80 200 0 -')

    def test_both_connections_are_kept_alive(self) -> None:
        client, origin = self.pair()
        for body in (b"one", b"two", b"three"):
            self.assertEqual(origin.gets(), GET)
            origin.says(response(body))
            self.assertEqual(client.gets(), response(body))
            client.says(request())
        origin.gets()
        origin.says(response(b"four"))
        self.assertEqual(client.gets(), response(b"four"))
        self.assert_idle(1)
        self.assertEqual(self.upstream.statistics().opened, 1)
        self.assertEqual(self.upstream.statistics().reused, 3)

    def test_a_client_that_wants_the_connection_closed(self) -> None:
        client, origin = self.pair(request("GET", "/", "Connection: close"))
        self.assertEqual(origin.gets(), GET)
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), CLOSING)
        self.assertTrue(client.ended)
        self.assert_idle(1, clients=0)

    def test_an_old_client(self) -> None:
        """HTTP/1.0: closed, unless it asks for something else; the origin is spoken to as HTTP/1.1."""
        client, origin = self.pair(request(minor=0))
        self.assertEqual(origin.gets(), GET)
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), CLOSING)
        self.assertTrue(client.ended)
        self.assert_idle(1, clients=0)
        self.assert_log(OK.replace("/1.1", "/1.0"))

    def test_an_old_client_that_is_kept(self) -> None:
        client, origin = self.pair(request("GET", "/", "Connection: Keep-Alive", minor=0))
        for _ in range(2):
            origin.gets()
            origin.says(response(b"hi"))
            kept = response(b"hi").replace(b"Content-Length", b"Connection: keep-alive\r\nContent-Length")
            self.assertEqual(client.gets(), kept)
            client.says(request("GET", "/", "Connection: Keep-Alive", minor=0))
        origin.gets()
        origin.says(response(b"hi"))
        client.gets()
        self.assert_idle(1)

    def test_an_old_client_without_a_host(self) -> None:
        """The server gets its own: many take no HTTP/1.1 without the name of one."""
        client, origin = self.pair(b"GET / HTTP/1.0\r\n\r\n")
        self.assertEqual(origin.gets(), b"GET / HTTP/1.1\r\nHost: origin:80\r\n\r\n")
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), CLOSING)

    def test_so_many_requests_and_no_more(self) -> None:
        client, origin = self.pair(client=attrs.evolve(CLIENT, keepalive_requests=2))
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))
        client.says(request())
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), CLOSING)
        self.assertTrue(client.ended)

    def test_for_so_long_and_no_longer(self) -> None:
        client, origin = self.pair(client=attrs.evolve(CLIENT, keepalive_time=30, keepalive_timeout=20))
        origin.says(response(b"hi"))
        client.gets()
        self.advance(19)
        client.says(request())
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))
        self.advance(11)
        client.says(request())
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), CLOSING)
        self.assertTrue(client.ended)

    def test_no_keep_alive(self) -> None:
        client, origin = self.pair(client=attrs.evolve(CLIENT, keepalive_timeout=0))
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), CLOSING)
        self.assertTrue(client.ended)

    def test_an_empty_line_before_a_request(self) -> None:
        client, origin = self.both()
        origin.says(response(b"hi"))
        client.gets()
        client.says(b"\r\n" + request())
        self.assertEqual(origin.gets(), GET)
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))


class PipeliningRules(HttpCase):
    def test_a_request_cut_anywhere(self) -> None:
        self.start()
        whole = request("GET", "/abc?d", "Accept: */*")
        for cut in range(1, len(whole)):
            client = self.client()
            client.says(whole[:cut])
            client.says(whole[cut:])
            if cut == 1:
                origin = self.origin()
            self.assertEqual(origin.gets(), b"GET /abc?d HTTP/1.1\r\nHost: a.test\r\nAccept: */*\r\n\r\n")
            origin.says(response(b"hi"))
            self.assertEqual(client.gets(), response(b"hi"))
            client.close()
        self.assert_idle(1, clients=0)

    def test_byte_by_byte(self) -> None:
        self.start()
        client = self.client()
        for byte in request():
            client.says(bytes([byte]))
        origin = self.origin()
        self.assertEqual(origin.gets(), GET)
        for byte in response(b"hi"):
            origin.says(bytes([byte]))
        self.assertEqual(client.gets(), response(b"hi"))
        self.assert_idle(1)

    def test_several_in_one_read_are_answered_in_order(self) -> None:
        client, origin = self.pair(b"".join(request("GET", f"/{n}") for n in range(4)))
        for n in range(4):
            self.assertEqual(origin.gets(), GET.replace(b"/ ", b"/%d " % n), "one at a time")
            origin.says(response(b"%d" % n))
            self.assertEqual(client.gets(), response(b"%d" % n))
        self.assert_idle(1)
        self.assertEqual(len(self.journal.lines), 4)

    def test_every_cut_of_two(self) -> None:
        self.start()
        both = request("GET", "/1") + request("GET", "/2")
        origin = None
        for cut in range(1, len(both)):
            client = self.client()
            client.says(both[:cut])
            client.says(both[cut:])
            origin = origin or self.origin()
            for n in (b"1", b"2"):
                self.assertEqual(origin.gets(), GET.replace(b"/ ", b"/%b " % n))
                origin.says(response(n))
                self.assertEqual(client.gets(), response(n))
            client.close()
        self.assert_idle(1, clients=0)

    def test_one_that_comes_while_another_is_answered(self) -> None:
        client, origin = self.both()
        client.says(request("GET", "/second"))
        self.assertEqual(origin.gets(), b"")
        origin.says(response(b"one"))
        self.assertEqual(client.gets(), response(b"one"))
        self.assertEqual(origin.gets(), GET.replace(b"/ ", b"/second "))
        origin.says(response(b"two"))
        self.assertEqual(client.gets(), response(b"two"))
        self.assert_idle(1)

    def test_bodies_between(self) -> None:
        post = request("POST", "/", body=b"12345")
        client, origin = self.pair(post + request() + post)
        for expected in (post, GET, post):
            self.assertEqual(origin.gets(), expected)
            origin.says(response(b"hi"))
            self.assertEqual(client.gets(), response(b"hi"))
        self.assert_idle(1)

    def test_nothing_follows_a_last_request(self) -> None:
        client, origin = self.pair(request("GET", "/", "Connection: close") + request("GET", "/never"))
        self.assertEqual(origin.gets(), GET)
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), CLOSING)
        self.assertEqual(origin.gets(), b"")
        self.assertEqual(len(self.journal.lines), 1)

    def test_many_that_are_answered_by_ourselves(self) -> None:
        """More than there is stack for."""
        self.start(routes=ourselves, client=attrs.evolve(CLIENT, keepalive_requests=10_000))
        client = self.client()
        many = 2000
        client.says(b"".join(request("GET", f"/{n}") for n in range(many)))
        got = client.gets()
        for n in range(many):
            answer = parsed(got)
            path = b"/%d" % n
            self.assertEqual((answer.status, answer.body[: answer.length]), ("200 OK", path))
            got = answer.body[answer.length :]
        self.assertEqual(got, b"")
        self.assert_idle(0)

    def test_many_that_are_too_wrong_to_go_on(self) -> None:
        self.start(routes=ourselves)
        client = self.client()
        client.says(request() + b"wrong\r\n\r\n" + request())
        first = parsed(client.gets())
        second = parsed(first.body[first.length :])
        self.assertEqual(second.status, "400 Bad Request")
        self.assertEqual(len(second.body), second.length)
        self.assertTrue(client.ended)
        self.assertEqual(len(self.journal.lines), 2)


class SlowRules(HttpCase):
    """A client that asks again and again, and reads nothing."""

    def test_it_is_not_answered_for_ever(self) -> None:
        answer = template("x" * 50_000)

        def routes(upstream: HttpUpstream, settings: HttpSettings) -> RouteTable[Route]:
            return RouteTable(prefixes={b"/": Route(action=Answer(status=200, body=answer), settings=settings)})

        self.start(routes=routes, client=attrs.evolve(CLIENT, keepalive_requests=100_000))
        client = self.stalled()
        client.says(request() * 300)
        self.advance(0.1)
        self.assertLess(self.proxy.statistics().bytes_sent, 10_000_000)
        self.advance(10)
        self.assertEqual(len(self.proxy.clients), 1)
        self.advance(16)
        self.assertEqual(len(self.proxy.clients), 0)
        self.assertRegex(self.journal.lines[-1], "client: send timeout of 25 s expired$")
        client.break_off()

    def test_it_gets_all_when_it_reads(self) -> None:
        self.start(routes=ourselves)
        client = self.stalled()
        client.says(request("GET", "/" + "x" * 10_000) * 20)
        got = client.gets()
        while len(got) < 20 * 10_000:
            self.advance(0.1)
            got += client.gets()
        self.assertEqual(got.count(b"HTTP/1.1 200 OK"), 20)
        self.assert_idle(0)

    def stalled(self) -> Any:
        raise NotImplementedError


class EndRules(HttpCase):
    def test_a_client_that_has_nothing_to_ask(self) -> None:
        self.start()
        client = self.client()
        client.close()
        self.assert_idle(0, clients=0)
        self.assert_log()
        self.assertEqual(self.complaints(), [])

    def test_an_idle_client_goes(self) -> None:
        client, origin = self.both()
        origin.says(response(b"hi"))
        client.gets()
        client.close()
        self.assert_idle(1, clients=0)
        self.assertEqual(len(self.journal.lines), 1)

    def test_an_idle_client_breaks_off(self) -> None:
        client, origin = self.both()
        origin.says(response(b"hi"))
        client.gets()
        client.break_off()
        self.assert_idle(1, clients=0)
        self.assertEqual(len(self.journal.lines), 1)
        self.assertEqual(self.complaints(), [])

    def test_a_head_that_breaks_off(self) -> None:
        self.start()
        client = self.client()
        client.says(b"GET / HTTP/1.1\r\nHo")
        client.half_close()
        self.assertEqual(parsed(client.gets()).status, "400 Bad Request")
        self.assertTrue(client.ended)
        self.assert_log('"GET / HTTP/1.1" 400 164 - - 0 client: it broke off in the middle of its head')

    def test_a_client_that_ends_its_sending_still_gets_its_answer(self) -> None:
        client, origin = self.both()
        client.half_close()
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))
        self.assertTrue(client.ended)
        self.assert_idle(1, clients=0)
        self.assert_log(OK)

    def test_so_does_one_that_ends_with_its_request(self) -> None:
        self.start()
        client = self.client()
        client.says(request() + request())
        client.half_close()
        origin = self.origin()
        for _ in range(2):
            self.assertEqual(origin.gets(), GET)
            origin.says(response(b"hi"))
            self.assertEqual(client.gets(), response(b"hi"))
        self.assertTrue(client.ended)
        self.assert_idle(1, clients=0)

    def test_a_client_that_breaks_off(self) -> None:
        """499 in the log, and the origin's work is of no use to anybody."""
        client, origin = self.both()
        client.break_off()
        origin.gets()
        self.assertTrue(origin.reset)
        self.assert_idle(0, clients=0)
        (line,) = self.journal.lines
        self.assertRegex(line, r'^"GET / HTTP/1.1" 499 0 origin:80 - 0 client: .')
        (told,) = self.complaints()
        self.assertRegex(
            told,
            r"^client: .+, client: 127.0.0.1:\d+, server: site, "
            r'request: "GET / HTTP/1.1", upstream: origin:80, host: "a.test"$',
        )

    def test_a_client_that_breaks_off_before_a_server_is_there(self) -> None:
        self.start()
        client = self.client()
        client.says(request())
        client.break_off()
        self.assert_idle(0, clients=0)

    def test_the_service_stops(self) -> None:
        self.start()
        idle, asking, silent = self.client(), self.client(), self.client()
        idle.says(request())
        origin = self.origin()
        origin.says(response(b"hi"))
        idle.gets()
        asking.says(request())
        origin.gets()
        self.proxy.shutdown()
        self.upstream.close()
        for client in (idle, asking, silent):
            client.gets()
            self.assertTrue(client.ended or client.reset)
        self.assertEqual(self.proxy.clients, set())
        self.advance(0.1)  # then it is seen that they have gone
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.journal.lines[1], '"GET / HTTP/1.1" 499 0 origin:80 - 0 client: the service stops')

    def test_statistics(self) -> None:
        client, origin = self.both()
        self.assertEqual(self.proxy.statistics().active, 1)
        origin.says(response(b"hi"))
        client.gets()
        client.says(b"wrong\r\n\r\n")
        client.gets()
        client.close()
        found = self.proxy.statistics()
        self.assertEqual((found.accepted, found.active, found.requests, found.failed), (1, 0, 2, 1))
        self.assertGreater(found.bytes_sent, len(response(b"hi")))
        self.assertEqual((found.retries, found.bytes_spilled), (0, 0))

    def test_what_they_say_of_themselves(self) -> None:
        client, origin = self.both()
        each: Any = next(iter(self.proxy.clients))
        self.assertRegex(repr(each), r"^<HttpClient 127.0.0.1:\d+ busy requests=1>$")
        self.assertEqual(repr(each._exchange), "<Exchange b'GET / HTTP/1.1' origin:80 0>")
        self.assertEqual(repr(each._exchange.connection_up), "<UpstreamConnection origin:80 open requests=1>")
        self.assertEqual(repr(self.proxy), "<HttpProxy clients=1 requests=0>")
        self.assertEqual(repr(self.upstream), "<HttpUpstream <UpstreamGroup origin:80> idle=0>")
        origin.says(response(b"hi"))
        client.gets()
        self.assertEqual(repr(self.proxy), "<HttpProxy clients=1 requests=1>")


class TimeoutRules(HttpCase):
    def test_a_client_that_asks_nothing(self) -> None:
        self.start()
        client = self.client()
        self.advance(9.9)
        client.gets()
        self.assertFalse(client.ended)
        self.advance(0.2)
        self.assertEqual(client.gets(), b"")
        self.assertTrue(client.ended)
        self.assert_log()

    def test_a_head_that_takes_too_long(self) -> None:
        """However many bytes of it come."""
        self.start()
        client = self.client()
        for byte in b"GET / HTTP":
            client.says(bytes([byte]))
            self.advance(1.01)
        answer = parsed(client.gets())
        self.assertEqual(answer.status, "408 Request Timeout")
        self.assertIn(b"Connection: close", answer.fields)
        self.assertTrue(client.ended)
        self.assert_log('"GET / HTTP" 408 172 - - 0 client: its head did not come within 10 s')

    def test_an_idle_client_is_closed_without_a_word(self) -> None:
        client, origin = self.both()
        origin.says(response(b"hi"))
        client.gets()
        self.advance(39.9)
        client.gets()
        self.assertFalse(client.ended)
        self.advance(0.2)
        self.assertEqual(client.gets(), b"")
        self.assertTrue(client.ended)
        self.assert_log(OK)

    def test_keep_alive_begins_when_the_response_is_out(self) -> None:
        client, origin = self.both()
        self.advance(20)
        origin.says(response(b"hi"))
        client.gets()
        self.advance(39)
        client.says(request())
        self.origin().says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))

    def test_a_body_that_stops(self) -> None:
        self.start()
        client = self.client()
        client.says(request("POST", "/", "Content-Length: 10") + b"12345")
        self.advance(11)
        client.says(b"6")
        self.advance(11)
        self.assertEqual(client.gets(), b"")
        self.advance(1.1)
        answer = parsed(client.gets())
        self.assertEqual(answer.status, "408 Request Timeout")
        self.assertIn(b"Connection: close", answer.fields)
        self.assert_log('"POST / HTTP/1.1" 408 172 - - 0 client: its body did not come in time')


class BadInputRules(HttpCase):
    def assert_refused(self, data: bytes, status: str, why: str) -> None:
        before = len(self.journal.lines)
        client = self.client()
        client.says(data)
        answer = parsed(client.gets())
        self.assertEqual(answer.status, status)
        self.assertIn(b"Connection: close", answer.fields)
        self.assertIn(DATE, answer.fields)
        self.assertIn(b"Server: twisted_pipe", answer.fields)
        self.assertEqual(answer.length, len(answer.body))
        self.assertEqual(len(self.journal.lines), before + 1)
        self.assertIn(why, self.journal.lines[-1])
        self.assertIn(why, self.complaints()[-1])
        client.gets()
        self.assertTrue(client.ended)
        client.close()

    def test_malformed_requests_never_reach_an_origin(self) -> None:
        self.start()
        bad = "400 Bad Request"
        self.assert_refused(b"nonsense\r\n\r\n", bad, "its first line")
        self.assert_refused(b"GET / HTTP/1.1\r\n\r\n", bad, "no Host")
        self.assert_refused(b"GET / HTTP/1.1\nHost: a\n\n", bad, "bare LF")
        self.assert_refused(b"\x16\x03\x01\x02", bad, "control character")
        self.assert_refused(request("POST", "/", "Content-Length: 1", "Content-Length: 1"), bad, "Content-Length")
        both = request("POST", "/", "Content-Length: 1", "Transfer-Encoding: chunked")
        self.assert_refused(both, bad, "Transfer-Encoding")
        self.assert_refused(request("GET", "/%zz"), bad, "hexadecimal")
        self.assert_refused(request("GET", "/../x"), bad, "climbs above the root")
        self.assert_refused(request("GET", "/a#b"), bad, "fragment")
        self.assert_refused(request("GET", "/", "A : b"), bad, "malformed")
        self.assert_refused(b"GET / HTTP/2.0\r\n\r\n", "505 HTTP Version Not Supported", "HTTP/2.0")
        self.assert_refused(request("CONNECT", "a:1"), "405 Method Not Allowed", "tunnel")
        self.assert_refused(request("POST", "/", "Expect: cake", body=b"x"), "417 Expectation Failed", "expects")
        self.assertEqual(self.upstream.statistics().opened, 0)

    def test_heads_that_are_too_large(self) -> None:
        self.start(client=attrs.evolve(CLIENT, header_buffer_size=1000, max_headers=5))
        self.assert_refused(request("GET", "/" + "a" * 1000), "414 URI Too Long", "1000 bytes")
        large = request("GET", "/", "A: " + "a" * 1000)
        self.assert_refused(large, "431 Request Header Fields Too Large", "1000 bytes")
        many = request("GET", "/", *["A: b"] * 5)
        self.assert_refused(many, "431 Request Header Fields Too Large", "more than 5 fields")

    def test_a_bare_lf_can_be_allowed(self) -> None:
        client, origin = self.pair(b"GET / HTTP/1.1\nHost: a.test\n\n", client=attrs.evolve(CLIENT, bare_lf=True))
        self.assertEqual(origin.gets(), GET)
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))

    def test_what_a_client_says_makes_no_line_of_a_log(self) -> None:
        self.start()
        self.assert_refused(b'GET /\x1b[2J"\xff\\ HTTP/1.1 x\r\nHost: a\r\n\r\n', "400 Bad Request", "its first line")
        self.assertEqual(self.journal.lines[-1].split(" 400 ")[0], r'"GET /\x1B[2J\x22\xFF\x5C HTTP/1.1 x"')
        told = self.complaints()[-1]
        self.assertIn(r'request: "GET /\x1b[2J\"\xff\\ HTTP/1.1 x"', told)
        self.assertTrue(told.isprintable())

    def test_a_long_line_is_cut_in_the_logs(self) -> None:
        self.start()
        self.assert_refused(b"GET " + b"a" * 5000 + b"\r\n\r\n", "400 Bad Request", "its first line")
        self.assertLess(len(self.journal.lines[-1]), 400)
        self.assertLess(len(self.complaints()[-1]), 800)


class LingeringRules(HttpCase):
    """A client that was answered before all of its request was read still gets the answer."""

    def refused(self) -> Any:
        self.start(client_max_body_size=100)
        client = self.client()
        client.says(request("POST", "/", "Content-Length: 1000000") + b"x" * 1000)
        answer = parsed(client.gets())
        self.assertEqual(answer.status, "413 Content Too Large")
        self.assertIn(b"Connection: close", answer.fields)
        self.assertEqual(len(answer.body), answer.length)
        return client

    def test_what_it_still_sends_is_read_and_dropped(self) -> None:
        client = self.refused()
        for _ in range(20):
            client.says(b"x" * 10_000)
        self.assertFalse(client.reset)
        client.close()
        self.assert_idle(0, clients=0)
        self.assertEqual(len(self.journal.lines), 1)

    def test_until_it_says_nothing_for_a_while(self) -> None:
        client = self.refused()
        self.advance(4)
        client.says(b"x" * 1000)
        self.advance(4)
        self.assertEqual(len(self.proxy.clients), 1)
        self.advance(1.1)
        self.assertEqual(len(self.proxy.clients), 0)

    def test_or_for_half_a_minute(self) -> None:
        client = self.refused()
        for _ in range(10):
            client.says(b"x" * 1000)
            self.advance(2.9)
        self.assertEqual(len(self.proxy.clients), 1)
        client.says(b"x" * 1000)
        self.advance(1.2)
        self.assertEqual(len(self.proxy.clients), 0)

    def test_until_its_end(self) -> None:
        client = self.refused()
        client.half_close()
        self.assertEqual(len(self.proxy.clients), 0)

    def test_not_at_all(self) -> None:
        self.client_settings = attrs.evolve(CLIENT, lingering_timeout=0)
        self.refused()
        self.assertEqual(len(self.proxy.clients), 0)


class KeepAliveMemoryTests(KeepAliveRules, MemoryCase):
    pass


class KeepAliveSocketTests(KeepAliveRules, SocketCase):
    pass


class PipeliningMemoryTests(PipeliningRules, MemoryCase):
    pass


class PipeliningSocketTests(PipeliningRules, SocketCase):
    def test_nothing_follows_a_last_request_though_it_came_in_the_turn_that_ends_it(self) -> None:
        """Its bytes keep the socket open for a while, so that closing it does not reset it."""
        client, origin = self.both(request("GET", "/", "Connection: close"))
        body = b"x" * 17_000  # more than waits for the end of the turn
        origin.peer.write(response(body))
        client.peer.write(request("GET", "/second"))
        self.settle()
        self.assertEqual(parsed(client.gets()).body, body)
        self.assert_idle(1, clients=0)
        self.assertEqual(origin.gets(), b"")
        self.assertEqual(self.proxy.statistics().requests, 1)


class TlsTests(MemoryCase):
    """A transport whose directions do not end apart."""

    tls = True

    def test_keep_alive(self) -> None:
        client, origin = self.both()
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))
        self.assert_idle(1)

    def test_a_refused_client_is_told_before_it_is_closed(self) -> None:
        self.start(client_max_body_size=100)
        client = self.client()
        client.says(request("POST", "/", "Content-Length: 1000000") + b"x" * 1000)
        self.assertEqual(parsed(client.gets()).status, "413 Content Too Large")
        client.says(b"x" * 10_000)
        self.assertEqual(client.ends, [])
        self.assertEqual(client.seen, -1)
        self.assertEqual(self.journal.seen, 1)
        self.advance(5.1)
        self.assertTrue(client.ended)
        self.assert_idle(0, clients=0)

    def test_one_that_does_not_answer_the_end_is_not_waited_for_for_ever(self) -> None:
        client, origin = self.both(request("GET", "/", "Connection: close"))
        client.silent = True
        origin.says(response(b"hi"))
        self.assertEqual(parsed(client.gets()).body, b"hi")
        self.advance(LIMITS.send_timeout - 0.1)
        self.assertFalse(client.reset)
        self.advance(0.2)
        self.assertTrue(client.reset)

    def test_nor_is_a_server(self) -> None:
        client, origin = self.both()
        origin.silent = True
        origin.says(response(b"hi", "Connection: close"))
        self.assertEqual(parsed(client.gets()).body, b"hi")
        self.advance(59.9)
        self.assertFalse(origin.reset)
        self.advance(0.2)
        self.assertTrue(origin.reset)

    def test_what_breaks_off_is_aborted(self) -> None:
        client, origin = self.both(request(minor=0))
        origin.says(response(b"abc", length=False))
        client.gets()
        origin.break_off()
        self.assertTrue(client.reset)
        self.assert_idle(0, clients=0)


class UnreadTests(MemoryCase):
    """Transports that hold what a client does not take."""

    def test_a_response_that_broke_off_is_not_kept_for_ever(self) -> None:
        client, origin = self.both(request())
        client.silent = True
        origin.says(response(b"hi")[:-1])
        self.advance(1)
        origin.break_off()
        self.assertFalse(client.reset)
        self.advance(LIMITS.send_timeout + 0.1)
        self.assertTrue(client.reset)
        self.assert_idle(0, clients=0)


class UnixTests(MemoryCase):
    def test_what_a_client_without_an_address_is_called(self) -> None:
        self.patch(Line, "getPeer", lambda line: UNIXAddress(b""))
        client, _origin = self.both(line="$remote_addr", forwarded=ForwardedStyle.RFC7239)
        client.break_off()
        self.assert_log("unix:")
        self.assertIn(", client: unix:, server: site, ", self.complaints()[0])


class WorkerConnectionsTests(SocketCase):
    """Idle clients make room for new ones; others do not."""

    def test_an_idle_one_is_closed(self) -> None:
        idle, origin = self.both()
        origin.says(response(b"hi"))
        self.assertEqual(idle.gets(), response(b"hi"))
        busy = self.client()
        busy.says(request())
        self.assertEqual(origin.gets(), GET)
        self.advance(2)
        self.engine.reactor.connections.limit = len(self.engine.reactor.loop.table)
        new = self.client()
        idle.gets()
        self.assertTrue(idle.ended)
        origin.says(response(b"ho"))
        self.assertEqual(busy.gets(), response(b"ho"))
        new.says(request())
        self.assertEqual(origin.gets(), GET)
        origin.says(response(b"hm"))
        self.assertEqual(new.gets(), response(b"hm"))
        self.engine.reactor.connections.limit = 0
        self.assert_idle(1, clients=2)


class SlowMemoryTests(SlowRules, MemoryCase):
    def test_no_producer_is_left_on_its_transport(self) -> None:
        """It would keep the transport from closing."""
        self.start(routes=ourselves)
        client = self.client(room=1)
        client.says(request())
        self.assertIsNotNone(client.producer)
        self.advance(25.1)
        self.assertIsNone(client.producer)
        self.assertTrue(client.over)

    def stalled(self) -> Any:
        return self.client(room=60_000)


class SlowSocketTests(SlowRules, SocketCase):
    def stalled(self) -> Any:
        return self.client()


class EndMemoryTests(EndRules, MemoryCase):
    def test_the_log_is_written_before_the_connection_is_closed(self) -> None:
        client, origin = self.both(request("GET", "/", "Connection: close"))
        origin.says(response(b"hi"))
        client.gets()
        self.assertEqual(client.seen, 1)
        wrong = self.client()
        wrong.says(b"wrong\r\n\r\n")
        wrong.gets()
        self.assertEqual(wrong.seen, 2)


class EndSocketTests(EndRules, SocketCase):
    pass


class TimeoutMemoryTests(TimeoutRules, MemoryCase):
    pass


class TimeoutSocketTests(TimeoutRules, SocketCase):
    pass


class BadInputMemoryTests(BadInputRules, MemoryCase):
    pass


class BadInputSocketTests(BadInputRules, SocketCase):
    pass


class LingeringMemoryTests(LingeringRules, MemoryCase):
    pass


class LingeringSocketTests(LingeringRules, SocketCase):
    pass


del KeepAliveRules, PipeliningRules, SlowRules, EndRules, TimeoutRules, BadInputRules, LingeringRules
