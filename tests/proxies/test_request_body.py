"""A request's body: in memory, on disk, streamed; too large, broken off, not wanted."""

from __future__ import annotations

import os
from typing import Any

import attrs

from tests.proxies.http_case import LIMITS, SETTINGS, SIZE, HttpCase, MemoryCase, SocketCase, template
from tests.proxies.http_messages import chunks, parsed, request, response, unchunked
from twisted_pipe.filters.base import FilterPlugin, PipeFilter
from twisted_pipe.http.body_filters import FilterUse
from twisted_pipe.proxies.http_settings import ErrorPage, HeadChanges
from twisted_pipe.proxies.next_upstream import NextUpstream

#: How a body of each length goes: in memory, by a pipe, by a pipe and the disk.
SIZES = (1, 999, 1000, 1001, 5000, 100_000)
POST = request("POST", "/", "Content-Length: 10")
CHUNKED = request("POST", "/", "Transfer-Encoding: chunked")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class LengthRules(HttpCase):
    def test_bodies_of_all_sizes(self) -> None:
        """In one read or in two, and with the next request behind."""
        self.start()
        client, origin = self.client(), None
        for size in SIZES:
            body = os.urandom(size)
            whole = request("POST", "/a", body=body)
            for cut in (len(whole), len(whole) - 1, len(whole) - size, len(whole) - size // 2):
                client.says(whole[:cut])
                if cut < len(whole):
                    client.says(whole[cut:])
                origin = origin or self.origin()
                self.assertEqual(origin.gets(), whole)
                origin.says(response(b"hi"))
                self.assertEqual(client.gets(), response(b"hi"))
                self.assert_idle(1)
        self.assertEqual(self.upstream.statistics().opened, 1)

    def test_no_server_is_asked_before_it_is_here(self) -> None:
        self.start()
        for size in (500, 50_000):
            whole = request("POST", "/", body=os.urandom(size))
            client = self.client()
            client.says(whole[:-1])
            self.advance(1)
            self.assertIn(" nowhere ", repr(next(iter(self.proxy.clients))._exchange))
            client.says(whole[-1:])
            origin = self.origin()
            self.assertEqual(origin.gets(), whole)
            origin.says(response(b"hi", "Connection: close"))
            self.assertEqual(client.gets(), response(b"hi"))
            client.close()
        self.assert_idle(0, clients=0)

    def test_one_that_comes_in_crumbs_takes_no_more_memory(self) -> None:
        """However few bytes each of them has: that is the client's choice."""
        self.start()
        for whole in (
            request("POST", "/", body=b"x" * 100),
            request("POST", "/", "Transfer-Encoding: chunked") + b"1\r\nx\r\n" * 100 + b"0\r\n\r\n",
        ):
            client = self.client()
            for at in range(len(whole) - 1):
                client.says(whole[at : at + 1])
            (connection,) = self.proxy.clients
            body = connection._exchange.body
            self.assertLessEqual(len(body._parts) + len(body._bodies), 64)
            client.says(whole[-1:])
            origin = self.origin()
            self.assertEqual(origin.gets(), request("POST", "/", body=b"x" * 100))
            origin.says(response(b"hi", "Connection: close"))
            client.gets()
            client.close()

    def test_a_large_one_waits_on_disk(self) -> None:
        body = os.urandom(100_000)
        self.start()
        client = self.client()
        client.says(request("POST", "/", body=body)[:-1])
        self.assertEqual(len(self.spill.fds), 1)
        self.assertEqual(self.upstream.statistics().opened, 0)
        client.says(body[-1:])
        origin = self.origin()
        self.assertEqual(origin.gets(), request("POST", "/", body=body))
        origin.says(response(b"hi"))
        client.gets()
        self.assert_idle(1)
        self.assertEqual(self.spill.fds, [])
        self.assertGreater(self.proxy.statistics().bytes_spilled, 50_000)

    def test_one_that_may_not_wait_on_disk(self) -> None:
        """It goes on by back-pressure once the buffers are full."""
        body = os.urandom(100_000)
        self.start(request_limits=attrs.evolve(LIMITS, max_temp_file_size=0))
        client = self.client()
        client.says(request("POST", "/", body=body)[:-1])
        origin = self.origin()
        got = origin.gets()
        self.assertEqual(got, request("POST", "/", body=body)[:-1])
        client.says(body[-1:])
        self.assertEqual(origin.gets(), body[-1:])
        self.assertEqual(self.proxy.statistics().bytes_spilled, 0)
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))
        self.assert_idle(1)

    def test_the_next_request_behind_a_large_one(self) -> None:
        body = os.urandom(30_000)
        post = request("POST", "/", body=body)
        self.start()
        client = self.client()
        client.says(post + request("GET", "/next") + post)
        origin = self.origin()
        for expected in (post, request("GET", "/next"), post):
            self.assertEqual(origin.gets(), expected)
            origin.says(response(b"hi"))
            self.assertEqual(client.gets(), response(b"hi"))
        self.assert_idle(1)

    def test_many_requests_behind_a_large_one(self) -> None:
        """More than one read of its pipe takes, wherever that ends."""
        many = [request("GET", f"/{number}") for number in range(300)]
        self.start()
        client, origin = self.client(), None
        for size in (3000, SIZE, 2 * SIZE):
            post = request("POST", "/", body=os.urandom(size))
            client.says(post[:-size])
            client.says(post[-size:] + b"".join(many))
            origin = origin or self.origin()
            for expected in (post, *many):
                self.assertEqual(origin.gets(), expected)
                origin.says(response(b"hi"))
                self.assertEqual(client.gets(), response(b"hi"))
        self.assert_idle(1)

    def test_the_log_knows_its_length(self) -> None:
        self.start(line="$request_length")
        client, origin = self.client(), None
        lengths = []
        for size in (10, 5000):
            whole = request("POST", "/", body=b"x" * size)
            lengths.append(str(len(whole)))
            client.says(whole)
            origin = origin or self.origin()
            origin.gets()
            origin.says(response(b"hi"))
            client.gets()
        self.assertEqual(self.journal.lines, lengths)


class ChunkedRules(HttpCase):
    def test_a_small_one_is_sent_with_its_length(self) -> None:
        client, origin = self.pair(CHUNKED + chunks(b"abc", b"defg") + request())
        self.assertEqual(origin.gets(), request("POST", "/", body=b"abcdefg"))
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))
        self.assertEqual(origin.gets(), request())
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))
        self.assert_idle(1)

    def test_cut_anywhere(self) -> None:
        whole = CHUNKED + chunks(b"abc", b"defghijklmnopqrst", trailers=b"X: y\r\n")
        self.start()
        client, origin = self.client(), None
        for cut in range(len(CHUNKED) - 3, len(whole)):
            client.says(whole[:cut])
            client.says(whole[cut:])
            origin = origin or self.origin()
            self.assertEqual(origin.gets(), request("POST", "/", body=b"abcdefghijklmnopqrst"))
            origin.says(response(b"hi"))
            self.assertEqual(client.gets(), response(b"hi"))
        self.assert_idle(1)

    def test_no_trailer_is_what_the_route_tells_the_server_itself(self) -> None:
        """Nor what a server could take for it; a server may put trailers to the fields of the head (CVE-2013-5704)."""
        told = HeadChanges(
            set=((b"X-User", template("$remote_user")),),
            add=((b"X-More", template("1")),),
            remove=frozenset({b"x-debug"}),
        )
        trailers = b"x-user: admin\r\nX_User: admin\r\nX_Forwarded_For: 9\r\nX-More: 2\r\nX_DEBUG: 1\r\nX-Sum: 3\r\n"
        client, origin = self.pair(CHUNKED + chunks(b"a" * 100_000, trailers=trailers), request_headers=told)
        got = unchunked(origin.gets().partition(b"\r\n\r\n")[2])
        self.assertEqual(got, (b"a" * 100_000, b"X-More: 2\r\nX-Sum: 3\r\n\r\n"))
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))
        self.assert_idle(1)

    def test_a_large_one_is_sent_in_chunks(self) -> None:
        body = os.urandom(50_000)
        small = [body[n : n + 700] for n in range(0, len(body), 700)]
        self.start()
        client, origin = self.client(), None
        for bodies, trailers in (([body], b""), (small, b"X: y\r\n")):
            client.says(CHUNKED + chunks(*bodies)[:2000])
            client.says(chunks(*bodies, trailers=trailers)[2000:] + request())
            origin = origin or self.origin()
            head, _, got = origin.gets().partition(b"\r\n\r\n")
            self.assertEqual(head + b"\r\n\r\n", CHUNKED)
            self.assertEqual(unchunked(got), (body, trailers + b"\r\n"))
            origin.says(response(b"hi"))
            self.assertEqual(client.gets(), response(b"hi"))
            self.assertEqual(origin.gets(), request())
            origin.says(response(b"hi"))
            self.assertEqual(client.gets(), response(b"hi"))
        self.assert_idle(1)

    def test_many_requests_behind_a_large_one(self) -> None:
        many = [request("GET", f"/{number}") for number in range(300)]
        body = os.urandom(3000)
        self.start()
        client = self.client()
        client.says(CHUNKED + chunks(body)[:2000])
        client.says(chunks(body)[2000:] + b"".join(many))
        origin = self.origin()
        self.assertEqual(unchunked(origin.gets().partition(b"\r\n\r\n")[2]), (body, b"\r\n"))
        for expected in (*many, b""):
            origin.says(response(b"hi"))
            self.assertEqual(client.gets(), response(b"hi"))
            self.assertEqual(origin.gets(), expected)
        self.assert_idle(1)

    def test_one_that_is_wrong(self) -> None:
        self.start()
        client = self.client()
        client.says(CHUNKED + b"3\r\nabc\r\nnonsense\r\n")
        got = parsed(client.gets())
        self.assertEqual(got.status, "400 Bad Request")
        self.assertIn(b"Connection: close", got.fields)
        self.assertIn("a chunk's size was to come", self.complaints()[0])
        client.close()
        self.assert_idle(0, clients=0)

    def test_a_large_one_that_is_wrong(self) -> None:
        self.start()
        client = self.client()
        client.says(CHUNKED + b"fa0\r\n" + b"x" * 4000)
        client.says(b"\r\nnonsense\r\n")
        got = parsed(client.gets())
        self.assertEqual(got.status, "400 Bad Request")
        client.close()
        self.assert_idle(0, clients=0)
        self.assertEqual(self.upstream.statistics().opened, 0)


class TooLargeRules(HttpCase):
    settings = attrs.evolve(SETTINGS, client_max_body_size=2000)

    def assert_refused(self, client: Any) -> None:
        got = parsed(client.gets())
        self.assertEqual(got.status, "413 Content Too Large")
        self.assertIn(b"Connection: close", got.fields)
        client.gets()
        self.assertTrue(client.ended)
        client.close()
        self.assert_idle(0, clients=0)
        self.assertEqual(self.upstream.statistics().opened, 0)
        self.assertRegex(self.journal.lines[0], '^"POST / HTTP/1.1" 413 .* client: .*larger than 2000')

    def test_by_its_length(self) -> None:
        self.start()
        client = self.client()
        client.says(request("POST", "/", "Content-Length: 2001"))
        self.assert_refused(client)

    def test_by_its_length_before_it_is_sent(self) -> None:
        self.start()
        client = self.client()
        client.says(request("POST", "/", "Content-Length: 2001", "Expect: 100-continue"))
        self.assert_refused(client)

    def test_by_its_chunks(self) -> None:
        self.start(request_body_buffer_size=5000)
        client = self.client()
        client.says(CHUNKED + b"7d1\r\n" + b"x" * 2001)
        self.assert_refused(client)

    def test_by_its_chunks_in_a_pipe(self) -> None:
        self.start()
        client = self.client()
        client.says(CHUNKED + b"7d1\r\n" + b"x" * 1500)
        client.says(b"x" * 501)
        self.assert_refused(client)

    def test_not_by_one_byte(self) -> None:
        client, origin = self.pair(request("POST", "/", body=b"x" * 2000))
        origin.gets()
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))
        client.says(CHUNKED + chunks(b"x" * 2000))
        origin.gets()
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))
        self.assert_idle(1)

    def test_any_size(self) -> None:
        body = b"x" * 50_000
        client, origin = self.pair(request("POST", "/", body=body), client_max_body_size=0)
        self.assertEqual(origin.gets(), request("POST", "/", body=body))
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))


class ContinueRules(HttpCase):
    def test_a_client_that_waits_for_a_word(self) -> None:
        self.start()
        client, origin = self.client(), None
        for size in (10, 5000):
            body = b"x" * size
            for line, data in ((f"Content-Length: {size}", body), ("Transfer-Encoding: chunked", chunks(body))):
                client.says(request("POST", "/", line, "Expect: 100-Continue"))
                self.assertEqual(client.gets(), CONTINUE)
                client.says(data)
                origin = origin or self.origin()
                got = origin.gets()
                self.assertNotIn(b"Expect", got)
                self.assertIn(body, got)
                origin.says(response(b"hi"))
                self.assertEqual(client.gets(), response(b"hi"))
                self.assert_idle(1)

    def test_one_that_does_not(self) -> None:
        client, origin = self.pair(request("POST", "/", "Expect: 100-continue", body=b"here"))
        self.assertEqual(origin.gets(), request("POST", "/", body=b"here"))
        self.assertEqual(client.gets(), b"")
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))

    def test_old_clients_do_not_know_it(self) -> None:
        self.start()
        client = self.client()
        client.says(request("POST", "/", "Expect: 100-continue", "Content-Length: 2", minor=0))
        self.assertEqual(client.gets(), b"")
        client.says(b"hi")
        origin = self.origin()
        origin.gets()
        origin.says(response(b"ho"))
        self.assertEqual(parsed(client.gets()).body, b"ho")

    def test_nothing_to_wait_for(self) -> None:
        client, origin = self.pair(request("POST", "/", "Expect: 100-continue", body=b""))
        self.assertEqual(origin.gets(), request("POST", "/", body=b""))
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))


class StreamedRules(HttpCase):
    settings = attrs.evolve(SETTINGS, request_buffering=False)

    def test_a_server_is_asked_at_once(self) -> None:
        client, origin = self.pair(POST)
        self.assertEqual(origin.gets(), POST)
        client.says(b"12345")
        self.assertEqual(origin.gets(), b"12345")
        client.says(b"67890" + request())
        self.assertEqual(origin.gets(), b"67890")
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))
        self.assertEqual(origin.gets(), request())
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))
        self.assert_idle(1)

    def test_chunks(self) -> None:
        client, origin = self.pair(CHUNKED)
        self.assertEqual(origin.gets(), CHUNKED)
        client.says(b"3\r\nab")
        self.assertEqual(origin.gets(), b"2\r\nab\r\n")
        client.says(b"c\r\n0\r\nX: y\r\n\r\n" + request())
        self.assertEqual(origin.gets(), b"1\r\nc\r\n0\r\nX: y\r\n\r\n")
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))
        self.assertEqual(origin.gets(), request())
        origin.says(response(b"hi"))
        client.gets()
        self.assert_idle(1)

    def test_all_of_it_with_the_head(self) -> None:
        self.start()
        client, origin = self.client(), None
        for whole in (request("POST", "/", body=b"1234567890"), CHUNKED + chunks(b"abc")):
            client.says(whole)
            origin = origin or self.origin()
            self.assertEqual(origin.gets(), whole)
            origin.says(response(b"hi"))
            self.assertEqual(client.gets(), response(b"hi"))
            self.assert_idle(1)

    def test_continue(self) -> None:
        client, origin = self.pair(request("POST", "/", "Content-Length: 10", "Expect: 100-continue"))
        self.assertEqual(origin.gets(), POST)
        self.assertEqual(client.gets(), CONTINUE)
        client.says(b"1234567890")
        self.assertEqual(origin.gets(), b"1234567890")
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))
        self.assert_idle(1)

    def test_a_large_one(self) -> None:
        body = os.urandom(300_000)
        client, origin = self.pair(request("POST", "/", body=body))
        self.assertEqual(origin.gets(), request("POST", "/", body=body))
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))
        self.assert_idle(1)

    def test_a_client_that_stops(self) -> None:
        client, origin = self.pair(POST)
        client.says(b"12345")
        self.advance(12.1)
        self.assertEqual(parsed(client.gets()).status, "408 Request Timeout")
        origin.gets()
        self.assertTrue(origin.reset or origin.ended)
        client.close()
        self.assert_idle(0, clients=0)
        self.assertIn("client: read timeout of 12 s expired", self.complaints()[0])

    def test_a_client_that_breaks_off(self) -> None:
        client, origin = self.pair(POST)
        client.says(b"12345")
        client.break_off()
        origin.gets()
        self.assertTrue(origin.reset)
        self.assert_idle(0, clients=0)
        self.assertRegex(self.journal.lines[0], '^"POST / HTTP/1.1" 499 0 origin:80 - 0 client: ')

    def test_a_client_that_ends_too_early(self) -> None:
        client, origin = self.pair(POST)
        client.says(b"12345")
        client.half_close()
        self.assertEqual(parsed(client.gets()).status, "400 Bad Request")
        origin.gets()
        self.assertTrue(origin.reset or origin.ended)
        client.close()
        self.assert_idle(0, clients=0)

    def test_too_large_by_its_chunks(self) -> None:
        client, origin = self.pair(CHUNKED + b"7d1\r\n", client_max_body_size=2000)
        client.says(b"x" * 2001)
        self.assertEqual(parsed(client.gets()).status, "413 Content Too Large")
        got = origin.gets()
        self.assertNotIn(b"0\r\n\r\n", got)
        self.assertTrue(origin.reset or origin.ended)
        client.close()
        self.assert_idle(0, clients=0)

    def test_an_answer_while_the_body_is_still_coming(self) -> None:
        """It is passed on; the client's connection cannot go on, nor the origin's."""
        client, origin = self.pair(POST)
        client.says(b"12345")
        origin.says(response(b"no", status="403 Forbidden"))
        got = parsed(client.gets())
        self.assertEqual((got.status, got.body), ("403 Forbidden", b"no"))
        self.assertIn(b"Connection: close", got.fields)
        origin.gets()
        self.assertTrue(origin.reset or origin.ended)
        client.says(b"67890")
        client.close()
        self.assert_idle(0, clients=0)
        self.assert_log('"POST / HTTP/1.1" 403 2 origin:80 403 0 -')

    def test_a_long_answer_while_the_body_is_still_coming(self) -> None:
        body = os.urandom(200_000)
        client, origin = self.pair(POST)
        origin.says(response(body)[:1000])
        client.says(b"12345")
        origin.says(response(body)[1000:])
        got = parsed(client.gets())
        self.assertEqual(got.body, body)
        client.close()
        self.assert_idle(0, clients=0)
        self.assert_log('"POST / HTTP/1.1" 200 200000 origin:80 200 0 -')

    def test_an_origin_that_answers_and_goes(self) -> None:
        """It has closed its connection before it had the request: its answer counts."""
        client, origin = self.pair(POST)
        client.says(b"123")
        origin.says(response(b"no", "Connection: close", status="413 Content Too Large"))
        origin.close()
        client.says(b"45")
        client.says(b"6")
        self.assertEqual(parsed(client.gets()).status, "413 Content Too Large")
        client.close()
        self.assert_idle(0, clients=0)
        self.assert_log('"POST / HTTP/1.1" 413 2 origin:80 413 0 -')

    def test_an_origin_that_goes_without_an_answer(self) -> None:
        client, origin = self.pair(POST)
        client.says(b"123")
        origin.gets()
        origin.close()
        self.assertEqual(parsed(client.gets()).status, "502 Bad Gateway")
        client.close()
        self.assert_idle(0, clients=0)


class SlowOriginRules(HttpCase):
    """An origin that reads nothing."""

    def test_a_body_that_is_not_taken(self) -> None:
        body = b"x" * 20_000_000
        client, _origin = self.stuck(body)
        self.advance(19)
        self.assertEqual(client.gets(), b"")
        self.advance(1.5)
        self.assertEqual(parsed(client.gets()).status, "504 Gateway Timeout")
        self.assertRegex(self.complaints()[0], "^upstream: send timeout of 20 s expired, .* upstream: origin:80,")
        client.close()
        self.assert_idle(0, clients=0)

    def stuck(self, body: bytes) -> Any:
        raise NotImplementedError

    def test_back_pressure(self) -> None:
        """A body that is streamed is taken as fast as the origin takes it."""
        self.settings = attrs.evolve(SETTINGS, request_buffering=False, client_max_body_size=0)
        body = b"x" * 20_000_000
        client, _origin = self.stuck(body)
        self.assertGreater(self.waiting(client), 1_000_000)
        self.assertEqual(self.spill.fds, [])
        client.break_off()

    def waiting(self, client: Any) -> int:
        raise NotImplementedError


class Upper(PipeFilter):
    """Doubles and raises case."""

    def received(self, data: memoryview) -> Any:
        return (bytes(data).upper() * 2,)


class FilterRules(HttpCase):
    uses = (FilterUse(factory=FilterPlugin("upper2", "", f"{__name__}:Upper").configure({}), types=("text/*",)),)

    def test_a_body_passes_them(self) -> None:
        post = request("POST", "/", "Content-Type: text/plain", body=b"abc")
        client, origin = self.pair(post, request_filters=self.uses)
        head, _, body = origin.gets().partition(b"\r\n\r\n")
        self.assertEqual(
            head, b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked"
        )
        self.assertEqual(unchunked(body), (b"ABCABC", b"\r\n"))
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))
        self.assert_idle(1)

    def test_others_do_not(self) -> None:
        post = request("POST", "/", "Content-Type: image/png", body=b"abc")
        client, origin = self.pair(post, request_filters=self.uses)
        self.assertEqual(origin.gets(), post)
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))
        self.assert_idle(1)

    def test_chunks(self) -> None:
        post = request("POST", "/", "Content-Type: text/plain", "Transfer-Encoding: chunked") + chunks(b"abc", b"d")
        client, origin = self.pair(post, request_filters=self.uses)
        _, _, body = origin.gets().partition(b"\r\n\r\n")
        self.assertEqual(unchunked(body)[0].count(b"ABC"), 2)
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))
        self.assert_idle(1)


class TruncatedRules(HttpCase):
    def test_in_memory(self) -> None:
        """Half-closed: it still hears what it did wrong."""
        self.start()
        client = self.client()
        client.says(POST + b"12345")
        client.half_close()
        self.assertEqual(parsed(client.gets()).status, "400 Bad Request")
        self.assert_idle(0, clients=0)
        self.assertEqual(self.upstream.statistics().opened, 0)

    def test_in_a_pipe(self) -> None:
        self.start()
        client = self.client()
        client.says(request("POST", "/", "Content-Length: 5000") + b"12345")
        client.half_close()
        self.assertEqual(parsed(client.gets()).status, "400 Bad Request")
        client.close()
        self.assert_idle(0, clients=0)
        self.assertEqual(self.upstream.statistics().opened, 0)

    def test_reset(self) -> None:
        self.start()
        for length in (10, 5000):
            client = self.client()
            client.says(request("POST", "/", f"Content-Length: {length}") + b"12345")
            client.break_off()
            self.assert_idle(0, clients=0)
        self.assertEqual(self.upstream.statistics().opened, 0)
        for line in self.journal.lines:
            self.assertRegex(line, '^"POST / HTTP/1.1" 499 0 - - 0 client: ')


class MistakeRules(HttpCase):
    """A balancer that raises is 500 for who asks, whatever asks for the server; and the last response of its connection."""

    def mistaken(self, **changes: Any) -> Any:
        self.start(**changes)
        self.upstream.pick = lambda *_: 1 // 0  # type: ignore[assignment,return-value]
        return self.client()

    def assert_mistaken(self, client: Any, requests: int = 1) -> None:
        """After so many requests."""
        self.settle()
        got = client.gets()
        page = parsed(got[got.rindex(b"HTTP/1.1 ") :])
        self.assertEqual((page.status, page.length), ("500 Internal Server Error", len(page.body)))
        self.assertTrue(client.ended)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(len(self.journal.lines), requests)
        self.assertRegex(self.journal.lines[-1], ' HTTP/1.1" 500 .* (could not be|no other server could be) ')
        client.close()
        self.assert_idle(0, clients=0)

    def test_without_a_body(self) -> None:
        client = self.mistaken()
        client.says(request())
        self.assert_mistaken(client)

    def test_behind_a_body_of_any_size(self) -> None:
        client = self.mistaken()
        for count, size in enumerate(SIZES, 1):
            client.says(request("POST", "/", body=bytes(size)))
            self.assert_mistaken(client, count)
            client = self.client()
        client.close()

    def test_before_one_that_is_streamed(self) -> None:
        client = self.mistaken(request_buffering=False)
        client.says(request("POST", "/", body=bytes(5000)))
        self.assert_mistaken(client)

    def test_behind_one_that_comes_in_pieces(self) -> None:
        client = self.mistaken()
        post = request("POST", "/", body=bytes(5000))
        for at in range(0, len(post), 1000):
            client.says(post[at : at + 1000])
        self.assert_mistaken(client)

    def test_when_another_request_was_answered_before(self) -> None:
        self.start()
        client = self.client()
        client.says(request() * 2)
        origin = self.origin()
        origin.gets()
        self.upstream.pick = lambda *_: 1 // 0  # type: ignore[assignment,return-value]
        origin.says(response(b"hi"))
        self.upstream.close()
        self.assert_mistaken(client, requests=2)

    def test_when_another_server_is_to_be_asked(self) -> None:
        client, origin = self.both()
        self.group.pick = lambda *_: 1 // 0
        origin.break_off()
        self.assert_mistaken(client)

    def test_when_another_server_is_to_be_asked_for_a_status(self) -> None:
        client, origin = self.both(next_upstream=NextUpstream.of_words(["http_503"]))
        self.group.pick = lambda *_: 1 // 0
        origin.says(response(b"busy", status="503 Service Unavailable"))
        self.assert_mistaken(client)


class LengthMemoryTests(LengthRules, MemoryCase):
    pass


class LengthSocketTests(LengthRules, SocketCase):
    pass


class ChunkedMemoryTests(ChunkedRules, MemoryCase):
    pass


class ChunkedSocketTests(ChunkedRules, SocketCase):
    pass


class TooLargeMemoryTests(TooLargeRules, MemoryCase):
    pass


class TooLargeSocketTests(TooLargeRules, SocketCase):
    pass


class ContinueMemoryTests(ContinueRules, MemoryCase):
    pass


class ContinueSocketTests(ContinueRules, SocketCase):
    def test_a_client_that_is_found_to_be_gone_by_it(self) -> None:
        """It has reset its connection, and what it had sent before is read all the same."""
        self.start()
        for size in (10, 5000):
            client = self.client()
            (each,) = self.proxy.clients
            client.peer.write(request("POST", "/", f"Content-Length: {size}", "Expect: 100-continue"))
            client.break_off()
            self.assert_idle(0, clients=0)
            self.assertEqual((each.state.value, each.wire.reader), ("closed", None))
            self.assertRegex(self.journal.lines[-1], '^"POST / HTTP/1.1" 499 0 - - 0 client: ')


class StreamedMemoryTests(StreamedRules, MemoryCase):
    pass


class StreamedSocketTests(StreamedRules, SocketCase):
    pass


class SlowOriginMemoryTests(SlowOriginRules, MemoryCase):
    def stuck(self, body: bytes) -> Any:
        self.start(client_max_body_size=0)
        client = self.client()
        client.says(request("POST", "/", body=body))
        return client, self.origin(room=1)

    def waiting(self, client: Any) -> int:
        return len(client.inbox)


class SlowOriginSocketTests(SlowOriginRules, SocketCase):
    body = os.urandom(8_000_000)
    kept = attrs.evolve(SETTINGS, client_max_body_size=0, request_body_buffer_size=10_000_000)

    def begun(self) -> Any:
        """A body in memory that the origin's kernel has not taken whole."""
        self.start(self.kept)
        client = self.client()
        client.says(request("POST", "/", body=self.body))
        origin = self.origin()
        each: Any = next(iter(self.proxy.clients))
        self.assertIn("EventPipe", repr(each._exchange.body._sending))
        return client, origin

    def test_a_body_in_memory_that_is_taken_slowly(self) -> None:
        client, origin = self.begun()
        whole = request("POST", "/", body=self.body)
        self.assertTrue(origin.waits(len(whole)) == whole)
        self.advance(29)
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))
        self.assert_idle(1)

    def test_a_body_in_memory_that_is_not_taken(self) -> None:
        client, _origin = self.begun()
        self.advance(20.1)
        self.assertEqual(parsed(client.gets()).status, "504 Gateway Timeout")
        self.assertRegex(self.complaints()[0], "^upstream: send timeout of 20 s expired, .* upstream: origin:80,")
        self.assert_idle(0)

    def test_an_answer_before_it_is_taken(self) -> None:
        """All of the request is here, so the client's connection can go on; the origin's cannot."""
        client, origin = self.begun()
        origin.says(response(b"no", status="403 Forbidden"))
        self.assertEqual(client.gets(), response(b"no", status="403 Forbidden"))
        self.assert_idle(0)
        client.says(request())
        again = self.origin()
        self.assertEqual(again.gets(), request())
        again.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))

    def test_an_answer_before_it_is_taken_and_a_slow_client_of_the_page_in_its_place(self) -> None:
        """The origin has answered: that it does not take the rest is no failure, and not told in the middle of the page."""
        page = ErrorPage(body=os.urandom(5_000_000))
        self.kept = attrs.evolve(self.kept, intercept_errors=True, error_pages={403: page})
        client, origin = self.begun()
        origin.says(response(b"no", status="403 Forbidden"))
        (peer,) = self.group.peers
        self.assertEqual(peer.active, 0)
        self.advance(21)  # more than its send timeout
        self.assertEqual((peer.failed, self.complaints()), (0, []))
        head = client.waits(1000).partition(b"\r\n\r\n")[0]
        self.assertIn(b"403 Forbidden", head)
        self.assertTrue(client.waits(len(head) + 4 + len(page.body) - 1000).endswith(page.body[-1000:]))
        self.assert_idle(0)

    def test_an_origin_that_breaks_off_meanwhile(self) -> None:
        client, origin = self.begun()
        origin.break_off()
        self.assertEqual(parsed(client.gets()).status, "502 Bad Gateway")
        self.assert_idle(0)

    def test_a_client_that_breaks_off_meanwhile(self) -> None:
        client, _origin = self.begun()
        client.break_off()
        self.assert_idle(0, clients=0)
        self.assertRegex(self.journal.lines[0], '^"POST / HTTP/1.1" 499 ')

    def stuck(self, body: bytes) -> Any:
        self.start(client_max_body_size=0)
        client = self.client()
        client.says(request("POST", "/", body=body))
        return client, self.origin()

    def waiting(self, client: Any) -> int:
        return len(client.unsaid)


class FilterMemoryTests(FilterRules, MemoryCase):
    pass


class FilterSocketTests(FilterRules, SocketCase):
    pass


class TruncatedMemoryTests(TruncatedRules, MemoryCase):
    pass


class TruncatedSocketTests(TruncatedRules, SocketCase):
    pass


class MistakeMemoryTests(MistakeRules, MemoryCase):
    pass


class MistakeSocketTests(MistakeRules, SocketCase):
    pass


del (
    MistakeRules,
    LengthRules,
    ChunkedRules,
    TooLargeRules,
    ContinueRules,
    StreamedRules,
    SlowOriginRules,
    FilterRules,
    TruncatedRules,
)
