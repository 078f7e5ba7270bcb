"""A response's body: how it is framed on both sides, buffered, broken off."""

from __future__ import annotations

import os
from typing import Any

import attrs

from tests.proxies.http_case import LIMITS, SIZE, HttpCase, MemoryCase, SocketCase, template
from tests.proxies.http_messages import THEIR_DATE, chunks, parsed, request, response, unchunked
from tests.proxies.http_wires import Line
from twisted_pipe.filters.base import FilterPlugin, PipeFilter
from twisted_pipe.http.body_filters import FilterUse
from twisted_pipe.proxies import exchange, upstream_connection
from twisted_pipe.proxies.http_settings import HeadChanges
from twisted_pipe.proxies.moments import MOMENT
from twisted_pipe.proxies.response_body import ResponseBody

SIZES = (1, SIZE - 1, SIZE, SIZE + 1, 5 * SIZE, 100_000)


def opened(*lines: str) -> bytes:
    """A head; what its body's framing is, C{lines} say."""
    return response(b"", *lines, length=False)


CHUNKED = "Transfer-Encoding: chunked"


class FramingRules(HttpCase):
    def test_a_length(self) -> None:
        client, origin = self.both()
        for size in SIZES:
            body = os.urandom(size)
            origin.says(response(body))
            self.assertEqual(client.gets(), response(body))
            self.assert_idle(1)
            client.says(request())
        origin.says(response(b""))

    def test_a_length_in_two_parts(self) -> None:
        """Cut anywhere; the head is not kept back for the body, or on sockets for a moment only."""
        answer = response(b"0123456789")
        head = len(answer) - 10
        client, origin = self.both()
        for cut in range(head, len(answer)):
            origin.says(answer[:cut])
            self.advance(2 * MOMENT)
            self.assertEqual(client.gets(), answer[:cut])
            origin.says(answer[cut:])
            self.assertEqual(client.gets(), answer[cut:])
            self.assert_idle(1)
            client.says(request())
        origin.says(answer)
        self.assertEqual(self.journal.lines[-1], '"GET / HTTP/1.1" 200 10 origin:80 200 0 -')

    def test_chunks_that_are_all_here(self) -> None:
        """They go out with their length."""
        client, origin = self.both()
        origin.says(opened(CHUNKED) + chunks(b"abc", b"defg"))
        self.assertEqual(client.gets(), response(b"abcdefg"))
        self.assert_idle(1)

    def test_chunks(self) -> None:
        client, origin = self.both()
        for size in SIZES:
            body = os.urandom(size)
            data = opened(CHUNKED) + chunks(body[: size // 2] or b"!", body[size // 2 :])
            origin.says(data[:-1])
            origin.says(data[-1:])
            got = parsed(client.gets())
            self.assertIn(b"Transfer-Encoding: chunked", got.fields)
            found, end = unchunked(got.body)
            self.assertEqual(found, (body[: size // 2] or b"!") + body[size // 2 :])
            self.assertEqual(end, b"\r\n")
            self.assert_idle(1)
            client.says(request())
        origin.says(response(b""))

    def test_chunks_cut_anywhere(self) -> None:
        data = opened(CHUNKED) + chunks(b"abc", b"defghijklmnopqrst", trailers=b"X-Sum: 1\r\n")
        client, origin = self.both()
        for cut in range(1, len(data)):
            origin.says(data[:cut])
            origin.says(data[cut:])
            got = parsed(client.gets())
            body, end = unchunked(got.body)
            self.assertEqual((body, end), (b"abcdefghijklmnopqrst", b"X-Sum: 1\r\n\r\n"))
            self.assert_idle(1)
            client.says(request())
        origin.says(response(b""))

    def test_chunks_for_an_old_client(self) -> None:
        client, origin = self.both(request("GET", "/", "Connection: keep-alive", minor=0))
        origin.says(opened(CHUNKED) + b"3\r\nabc\r\n")
        self.assertEqual(client.gets(), opened("Connection: close") + b"abc")
        origin.says(b"1\r\nd\r\n0\r\n\r\n")
        self.assertEqual(client.gets(), b"d")
        self.assertTrue(client.ended)
        self.assert_idle(1, clients=0)

    def test_until_the_end(self) -> None:
        client, origin = self.both()
        origin.says(opened() + b"abc")
        got = client.gets()
        self.assertEqual(got, opened(CHUNKED) + b"3\r\nabc\r\n")
        origin.says(b"def")
        self.assertEqual(client.gets(), b"3\r\ndef\r\n")
        origin.close()
        self.assertEqual(client.gets(), b"0\r\n\r\n")
        self.assert_idle(0)
        self.assertTrue(self.journal.lines[0].endswith("200 0 -"))

    def test_until_the_end_with_nothing(self) -> None:
        client, origin = self.both()
        origin.says(opened())
        origin.close()
        self.assertEqual(client.gets(), opened(CHUNKED) + b"0\r\n\r\n")
        self.assert_idle(0)

    def test_until_the_end_for_an_old_client(self) -> None:
        client, origin = self.both(request(minor=0))
        origin.says(opened() + b"abc")
        origin.says(b"def")
        origin.close()
        self.assertEqual(client.gets(), opened("Connection: close") + b"abcdef")
        self.assertTrue(client.ended)
        self.assert_idle(0, clients=0)

    def test_trailers_are_passed_on(self) -> None:
        client, origin = self.both()
        trailers = b"X-Sum: 1\r\nContent-Length: 7\r\nX-Two: 2\r\n"
        origin.says(opened(CHUNKED) + chunks(b"abc", trailers=trailers))
        self.assertEqual(client.gets(), opened(CHUNKED) + b"3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-Two: 2\r\n\r\n")
        self.assert_idle(1)

    def test_but_for_those_that_the_route_changes(self) -> None:
        """What is added is added to what there is."""
        changes = HeadChanges(
            set=((b"X-One", template("1")),), add=((b"X-Two", template("2")),), remove=frozenset({b"x-three"})
        )
        client, origin = self.both(response_headers=changes)
        trailers = b"x-one: 4\r\nx-two: 4\r\nX-THREE: 4\r\nX_One: 4\r\n"
        origin.says(opened(CHUNKED) + chunks(b"abc", trailers=trailers))
        self.assertEqual(unchunked(parsed(client.gets()).body)[1], b"x-two: 4\r\nX_One: 4\r\n\r\n")

    def test_pipelined_large_ones(self) -> None:
        client, origin = self.both(request() * 3)
        body = os.urandom(60_000)
        for _ in range(3):
            origin.says(response(body))
            self.assertEqual(client.gets(), response(body))
        self.assert_idle(1)

    def test_the_log_counts_the_body(self) -> None:
        client, origin = self.both(line="$body_bytes_sent $bytes_sent $upstream_bytes_received")
        heads = [response(b"x" * 5), response(b"x" * 100_000), opened(CHUNKED) + chunks(b"abc") + b""]
        origin.says(heads[0])
        client.gets()
        client.says(request())
        origin.says(heads[1])
        client.gets()
        client.says(request())
        origin.says(heads[2][:-3])
        origin.says(heads[2][-3:])
        got = client.gets()
        self.assertEqual(
            self.journal.lines,
            [
                f"5 {len(heads[0])} {len(heads[0])}",
                f"100000 {len(heads[1])} {len(heads[1])}",
                f"{len(parsed(got).body)} {len(got)} {len(heads[2])}",
            ],
        )


class BrokenRules(HttpCase):
    """What breaks off never ends cleanly, and everything that came is delivered."""

    def assert_broken(self, client: Any, why: str) -> None:
        self.advance(0.1)
        client.gets()
        self.assertTrue(client.reset or client.ended)
        self.assert_idle(0, clients=0)
        self.assertEqual(len(self.journal.lines), 1)
        self.assertIn(why, self.journal.lines[0])
        self.assertIn(why, self.complaints()[0])
        self.assertIn("upstream: origin:80", self.complaints()[0])
        self.assertEqual(self.proxy.statistics().failed, 1)

    def test_before_the_length(self) -> None:
        client, origin = self.both()
        origin.says(response(b"0123456789")[:-10])
        origin.close()
        self.assertEqual(client.gets(), response(b"0123456789")[:-10])
        self.assert_broken(client, "ended 10 bytes before its announced length")

    def test_in_the_middle_of_a_length(self) -> None:
        client, origin = self.both()
        origin.says(response(b"0123456789")[:-5])
        origin.close()
        self.assertEqual(client.gets(), response(b"0123456789")[:-5])
        self.assert_broken(client, "5 bytes before its announced length")

    def test_a_reset_in_the_middle(self) -> None:
        client, origin = self.both()
        origin.says(response(b"0123456789")[:-5])
        self.advance(2 * MOMENT)
        self.assertEqual(client.gets(), response(b"0123456789")[:-5])
        origin.break_off()
        self.assert_broken(client, "upstream: Connection ")

    def test_in_the_middle_of_chunks(self) -> None:
        client, origin = self.both()
        origin.says(opened(CHUNKED) + b"5\r\nabc")
        origin.close()
        self.assertEqual(unchunked(parsed(client.gets()).body), (b"abc", None))
        self.assert_broken(client, "the rest of a chunk")

    def test_between_chunks(self) -> None:
        client, origin = self.both()
        origin.says(opened(CHUNKED) + b"3\r\nabc\r\n")
        origin.close()
        self.assertEqual(unchunked(parsed(client.gets()).body), (b"abc", None))
        self.assert_broken(client, "a chunk's size")

    def test_a_bad_chunk(self) -> None:
        client, origin = self.both()
        origin.says(opened(CHUNKED) + b"3\r\nabc\r\nzz\r\n")
        self.assertEqual(unchunked(parsed(client.gets()).body), (b"abc", None))
        self.assert_broken(client, "a chunk's size was to come")

    def test_a_reset_of_one_that_ends_with_its_connection(self) -> None:
        client, origin = self.both()
        origin.says(opened() + b"abc")
        self.assertEqual(unchunked(parsed(client.gets()).body), (b"abc", None))
        origin.break_off()
        self.assert_broken(client, "upstream: Connection ")

    def test_a_reset_of_such_a_one_for_an_old_client(self) -> None:
        client, origin = self.both(request(minor=0))
        origin.says(opened() + b"abc")
        self.assertEqual(parsed(client.gets()).body, b"abc")
        origin.break_off()
        self.assert_broken(client, "upstream: Connection ")

    def test_silence(self) -> None:
        client, origin = self.both()
        origin.says(response(b"0123456789")[:-5])
        self.advance(29)
        origin.says(b"5")
        self.advance(29.5)
        self.assertEqual(client.gets(), response(b"0123456789")[:-4])
        self.assertEqual(len(self.proxy.clients), 1)
        self.advance(0.6)
        self.assert_broken(client, "upstream: read timeout of 30 s expired")

    def test_silence_between_chunks(self) -> None:
        client, origin = self.both()
        origin.says(opened(CHUNKED) + b"3\r\nabc\r\n")
        self.advance(30.1)
        self.assert_broken(client, "upstream: read timeout of 30 s expired")


class SurplusRules(HttpCase):
    """What comes behind a response is cut, told, and the connection is not used again."""

    def assert_cut(self, client: Any, origin: Any) -> None:
        origin.gets()
        self.assertTrue(origin.ended or origin.reset)
        self.assert_idle(0)
        self.assertEqual(self.complaints()[0].split(",")[0], "upstream: more came than its response has bytes")
        client.says(request())
        again = self.origin()
        again.gets()
        again.says(response(b"fine"))
        self.assertEqual(client.gets(), response(b"fine"))

    def test_behind_a_length(self) -> None:
        client, origin = self.both()
        origin.says(response(b"hi") + b"HTTP/1.1 200 OK\r\n")
        self.assertEqual(client.gets(), response(b"hi"))
        self.assert_cut(client, origin)

    def test_behind_chunks_that_are_all_here(self) -> None:
        client, origin = self.both()
        origin.says(opened(CHUNKED) + chunks(b"hi") + b"!")
        self.assertEqual(client.gets(), response(b"hi"))
        self.assert_cut(client, origin)

    def test_behind_chunks(self) -> None:
        client, origin = self.both()
        origin.says(opened(CHUNKED) + b"2\r\nhi\r\n")
        origin.says(b"0\r\n\r\n!")
        self.assertEqual(unchunked(parsed(client.gets()).body), (b"hi", b"\r\n"))
        self.assert_cut(client, origin)

    def test_later(self) -> None:
        """On a connection that is idle it makes the connection useless."""
        client, origin = self.both()
        origin.says(response(b"hi"))
        client.gets()
        origin.says(b"!")
        self.assert_idle(0)
        self.assertEqual(self.upstream.statistics().lost, 1)


class LentBytesTests(SocketCase):
    """What is read is lent from one buffer for all connections."""

    def test_surplus_does_not_overwrite_a_response_that_is_being_sent(self) -> None:
        answer = response(b"a" * 19_900)
        self.patch(upstream_connection, "RECEIVE", len(answer))
        self.patch(upstream_connection, "_buffer", memoryview(bytearray(len(answer))))
        client, origin = self.both()
        origin.says(answer + b"!" * 1000)
        self.assertEqual(client.waits(len(answer)), answer)
        self.assertEqual(client.gets(), b"")
        self.assert_idle(0)
        self.assertEqual(self.upstream.statistics().lost, 1)

    def test_a_read_that_was_full_and_all(self) -> None:
        answer = response(b"a" * 19_900)
        self.patch(upstream_connection, "RECEIVE", len(answer))
        self.patch(upstream_connection, "_buffer", memoryview(bytearray(len(answer))))
        client, origin = self.both()
        for _ in range(3):
            origin.says(answer)
            self.assertEqual(client.waits(len(answer)), answer)
            self.assert_idle(1)
            client.says(request())
        origin.says(response(b"hi"))


class SlowClientRules(HttpCase):
    def test_the_upstream_is_let_go_as_soon_as_the_response_is_in(self) -> None:
        client, origin = self.stalled()
        body = os.urandom(400_000)
        origin.says(response(body))
        for _ in range(20):
            self.advance(0.05)  # a relay waits a moment for its client
            origin.says(b"")
        self.assertEqual(self.upstream.statistics().idle, 1)
        self.assertEqual(self.journal.lines, [])
        self.assertEqual(self.everything(client, len(response(body))), response(body))
        self.assert_idle(1)
        self.assertRegex(self.journal.lines[0], '^"GET / HTTP/1.1" 200 400000 ')
        self.assertGreater(self.proxy.statistics().bytes_spilled, 0)

    def test_chunks_likewise(self) -> None:
        client, origin = self.stalled()
        body = os.urandom(400_000)
        origin.says(opened(CHUNKED))
        origin.says(chunks(body))
        for _ in range(20):
            self.advance(0.05)
            origin.says(b"")
        self.assertEqual(self.upstream.statistics().idle, 1)
        got = b""
        while not got.endswith(b"\r\n0\r\n\r\n"):
            more = client.gets()
            got += more
            self.advance(0.01)
        self.assertEqual(unchunked(parsed(got).body), (body, b"\r\n"))
        self.assert_idle(1)

    def test_a_whole_one(self) -> None:
        """That came in one read."""
        client, origin = self.stalled()
        origin.says(response(b"x" * 120_000))
        self.assertEqual(self.everything(client, len(response(b"x" * 120_000))), response(b"x" * 120_000))
        self.assert_idle(1)

    def test_nothing_more_is_read_than_may_be_kept(self) -> None:
        limits = attrs.evolve(LIMITS, max_temp_file_size=0)
        client, origin = self.stalled(limits=limits)
        origin.says(response(b"", "Content-Length: 50000000", length=False))
        origin.says(b"x" * 30_000_000)
        self.advance(1)
        self.assertEqual(self.upstream.statistics().idle, 0)
        self.assertGreater(self.waiting(origin), 1_000_000)
        self.advance(25)
        self.assertEqual(len(self.proxy.clients), 0)
        self.assertRegex(self.journal.lines[0], "client: send timeout of 25 s expired$")
        self.assertEqual(self.proxy.statistics().bytes_spilled, 0)
        client.break_off()

    def test_the_origin_wants_no_buffering(self) -> None:
        client, origin = self.stalled()
        origin.says(response(b"", "X-Accel-Buffering: no", "Content-Length: 30000000", length=False))
        origin.says(b"x" * 30_000_000)
        self.advance(1)
        self.assertEqual(self.spill.fds, [])
        self.assertGreater(self.waiting(origin), 1_000_000)
        client.break_off()

    def test_events_do_not_wait_on_disk(self) -> None:
        client, origin = self.stalled()
        origin.says(response(b"", "Content-Type: text/event-stream", length=False))
        origin.says(b"x" * 30_000_000)
        self.advance(1)
        self.assertEqual(self.spill.fds, [])
        self.assertGreater(self.waiting(origin), 1_000_000)
        client.break_off()

    def test_or_wants_it(self) -> None:
        client, origin = self.stalled(limits=attrs.evolve(LIMITS, buffering=False))
        origin.says(response(b"", "X-Accel-Buffering: yes", "Content-Length: 30000000", length=False))
        origin.says(b"x" * 30_000_000)
        self.advance(1)
        self.assertEqual(len(self.spill.fds), 1)
        client.break_off()

    def stalled(self, **changes: Any) -> Any:
        """A client that has asked, and reads nothing before C{everything}; and the origin."""
        raise NotImplementedError

    def everything(self, client: Any, count: int) -> bytes:
        raise NotImplementedError

    def waiting(self, origin: Any) -> int:
        """Bytes that the origin has said and nobody has read."""
        raise NotImplementedError


class OptionRules(HttpCase):
    def test_events_are_not_held_back(self) -> None:
        client, origin = self.both()
        origin.says(opened("Content-Type: text/event-stream; charset=x"))
        for n in range(3):
            origin.says(b"data: %d\n\n" % n)
            self.assertTrue(client.gets().endswith(b"\r\ndata: %d\n\n\r\n" % n))
        origin.close()
        self.assertEqual(client.gets(), b"0\r\n\r\n")

    def test_the_origin_limits_the_rate(self) -> None:
        client, origin = self.both()
        answer = response(b"x" * 20_000, "X-Accel-Limit-Rate: 1000")
        origin.says(answer[:200])
        origin.says(answer[200:])
        got = client.gets()
        self.assertNotIn(b"X-Accel", got)
        self.advance(10)
        got += client.gets()
        self.assertLess(len(got), 15_000)
        self.advance(12)
        got += client.gets()
        self.assertEqual(got, response(b"x" * 20_000))
        self.assert_idle(1)

    def test_a_rate_that_is_none(self) -> None:
        client, origin = self.both()
        answer = response(b"hello", "X-Accel-Limit-Rate: fast")
        origin.says(answer[:-1])
        origin.says(answer[-1:])
        self.assertEqual(client.gets(), response(b"hello"))
        self.assertIn("X-Accel-Limit-Rate", self.complaints()[0])

    def test_a_rate_that_is_too_large_is_none(self) -> None:
        client, origin = self.both()
        for rate in ("5000000000g", "9" * 18 + "g"):
            answer = response(b"hello", f"X-Accel-Limit-Rate: {rate}")
            origin.says(answer[:-1])
            origin.says(answer[-1:])
            self.assertEqual(client.gets(), response(b"hello"))
            self.assertIn("upstream: X-Accel-Limit-Rate", self.complaints().pop())
            self.assert_idle(1)
            client.says(request())
            origin.gets()
        origin.says(response(b""))

    def test_what_is_said_of_buffers_counts_all_the_same(self) -> None:
        client, origin = self.both(limits=attrs.evolve(LIMITS, limit_rate=1000))
        answer = response(b"x" * 20_000, "X-Accel-Limit-Rate: 5000000000g", "X-Accel-Buffering: no")
        origin.says(answer[:200])
        origin.says(answer[200:])
        self.assert_paced(client)

    def assert_paced(self, client: Any) -> None:
        """It gets 20,000 bytes, at 1,000 a second."""
        got = client.gets()
        self.advance(10)
        got += client.gets()
        self.assertLess(len(got), 15_000)
        for _ in range(8):
            self.advance(3)
            got += client.gets()
        self.assertEqual(got, response(b"x" * 20_000))

    def test_a_rate_of_the_route(self) -> None:
        client, origin = self.both(limits=attrs.evolve(LIMITS, limit_rate=1000))
        origin.says(response(b"x" * 20_000)[:200])
        origin.says(response(b"x" * 20_000)[200:])
        self.assert_paced(client)


class MistakeRules(HttpCase):
    """What raises where nobody is to blame is 500 if the client has nothing yet, else an end; the server has its place back."""

    def assert_mistaken(self, client: Any) -> None:
        page = parsed(client.gets())
        self.assertEqual((page.status, page.length), ("500 Internal Server Error", len(page.body)))
        self.assertTrue(client.ended)
        self.assertRegex(self.journal.lines[0], '" 500 .* the response could not be passed on$')
        self.assert_over(client)

    def assert_over(self, client: Any) -> None:
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(len(self.journal.lines), 1)
        client.close()
        self.upstream.close()
        self.assert_idle(0, clients=0)

    def forgetful(self, first: bytes = request()) -> tuple[Any, Any]:
        """The group's balancer raises when it is told that a request is over."""
        client, origin = self.both(first)
        release = self.upstream.release

        def raises(peer: Any) -> None:
            release(peer)
            raise ZeroDivisionError

        self.upstream.release = raises  # type: ignore[method-assign]
        return client, origin

    def check_let_go(self, answer: bytes) -> None:
        client, origin = self.forgetful()
        origin.says(answer)
        self.assert_mistaken(client)

    def test_when_a_server_is_let_go(self) -> None:
        self.check_let_go(response(b"hi"))

    def test_when_it_is_let_go_without_a_body(self) -> None:
        self.check_let_go(response(b"", length=False, status="204 No Content"))

    def test_when_it_is_let_go_with_all_chunks(self) -> None:
        self.check_let_go(opened(CHUNKED) + chunks(b"hi"))

    def check_let_go_later(self, first: bytes, rest: bytes) -> None:
        client, origin = self.forgetful()
        origin.says(first)
        self.assertTrue(client.gets())
        origin.says(rest)
        client.gets()
        self.advance(1)  # until the client's kernel has everything
        client.gets()
        self.assertTrue(client.reset or client.ended)
        self.assertRegex(self.journal.lines[0], '" 200 .* the response could not be (passed on|ended)$')
        self.assert_over(client)

    def test_when_it_is_let_go_behind_chunks(self) -> None:
        self.check_let_go_later(opened(CHUNKED) + b"2\r\nhi\r\n", b"0\r\n\r\n")

    def test_when_it_is_let_go_behind_a_length(self) -> None:
        answer = response(bytes(20_000))
        self.check_let_go_later(answer[:-1], answer[-1:])

    def test_when_it_is_let_go_for_a_client_that_is_gone(self) -> None:
        client, _origin = self.forgetful(request("PUT", "/", body=bytes(50_000)))
        client.break_off()
        self.assertEqual(self.spill.fds, [])
        self.assertIn('" 499 ', self.journal.lines[0])
        self.assert_over(client)

    def test_when_its_end_is_written_to_the_log(self) -> None:
        client, origin = self.both()

        def full(_: Any) -> None:
            raise ZeroDivisionError

        self.proxy.log = full  # type: ignore[method-assign]
        origin.says(opened(CHUNKED) + b"2\r\nhi\r\n")
        origin.says(b"0\r\n\r\n")
        client.gets()
        self.assertTrue(client.reset or client.ended)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(len(self.proxy.clients), 0)
        self.upstream.close()

    def test_when_a_body_is_begun(self) -> None:
        client, origin = self.both()
        self.patch(ResponseBody, "begin", lambda *_: 1 // 0)
        origin.says(opened(CHUNKED) + b"1\r\n")
        self.assert_mistaken(client)

    def test_when_it_has_been_waited_for(self) -> None:
        client, origin = self.both()
        self.patch(ResponseBody, "begin", lambda *_: 1 // 0)
        origin.says(response(b"abc")[:-1])
        self.advance(3 * MOMENT)
        self.assert_mistaken(client)

    def test_when_a_head_is_changed(self) -> None:
        """Which would be tried for a page of ours, too."""
        changes = HeadChanges(set=((b"X", template("$status")),))
        client, origin = self.both(response_headers=changes)
        self.patch(exchange, "change_response", lambda *_: 1 // 0)
        origin.says(response(b"", length=False, status="204 No Content"))
        self.settle()
        client.gets()
        self.assertTrue(client.reset or client.ended)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertEqual(len(self.proxy.clients), 0)


class Upper(PipeFilter):
    """Doubles and raises case."""

    def received(self, data: memoryview) -> Any:
        return (bytes(data).upper() * 2,)


class FilterRules(HttpCase):
    uses = (FilterUse(factory=FilterPlugin("upper2", "", f"{__name__}:Upper").configure({}), types=("text/*",)),)

    def test_a_response_passes_them(self) -> None:
        client, origin = self.both(response_filters=self.uses)
        origin.says(response(b"abc", "Content-Type: text/plain", 'ETag: "x"', "Accept-Ranges: bytes"))
        got = parsed(client.gets())
        self.assertEqual(unchunked(got.body), (b"ABCABC", b"\r\n"))
        self.assertEqual(
            got.fields, [THEIR_DATE, b"Content-Type: text/plain", b'ETag: W/"x"', b"Transfer-Encoding: chunked"]
        )
        self.assert_idle(1)

    def test_others_do_not(self) -> None:
        client, origin = self.both(response_filters=self.uses)
        origin.says(response(b"abc", "Content-Type: image/png"))
        self.assertEqual(client.gets(), response(b"abc", "Content-Type: image/png"))
        self.assert_idle(1)

    def test_nor_what_has_no_body(self) -> None:
        client, origin = self.both(request("HEAD"), response_filters=self.uses)
        origin.says(response(b"", "Content-Type: text/plain", "Content-Length: 3", length=False))
        client.gets()
        self.assert_idle(1)

    def test_chunks(self) -> None:
        client, origin = self.both(response_filters=self.uses)
        origin.says(opened(CHUNKED, "Content-Type: text/plain") + chunks(b"abc"))
        self.assertEqual(unchunked(parsed(client.gets()).body), (b"ABCABC", b"\r\n"))
        self.assert_idle(1)

    def test_for_an_old_client(self) -> None:
        client, origin = self.both(request(minor=0), response_filters=self.uses)
        origin.says(response(b"abc", "Content-Type: text/plain"))
        self.assertEqual(parsed(client.gets()).body, b"ABCABC")
        self.assertTrue(client.ended)
        self.assert_idle(1, clients=0)


class FramingMemoryTests(FramingRules, MemoryCase):
    pass


class FramingSocketTests(FramingRules, SocketCase):
    pass


class BrokenMemoryTests(BrokenRules, MemoryCase):
    pass


class BrokenSocketTests(BrokenRules, SocketCase):
    def assert_broken(self, client: Any, why: str) -> None:
        super().assert_broken(client, why)
        self.assertTrue(client.reset)


class SurplusMemoryTests(SurplusRules, MemoryCase):
    def test_behind_what_the_last_read_takes(self) -> None:
        """It has not been read, only pushed."""
        client, origin = self.both()
        body = os.urandom(2 * SIZE)
        origin.says(response(body)[: -2 * SIZE])
        origin.says(body + b"HTTP/1.1 200 OK\r\n")
        self.assertEqual(client.gets(), response(body))
        self.assert_cut(client, origin)


class SurplusSocketTests(SurplusRules, SocketCase):
    pass


class SlowClientMemoryTests(SlowClientRules, MemoryCase):
    def test_a_transport_that_the_pipe_has_paused_stays_paused(self) -> None:
        """Although the head came by the same read as what filled the pipe."""
        client, origin = self.stalled(limits=attrs.evolve(LIMITS, max_temp_file_size=0))
        origin.says(response(b"", "Content-Length: 30000000", length=False) + b"x" * 30_000_000)
        self.assertEqual(origin.producerState, "paused")
        self.assertGreater(self.waiting(origin), 29_000_000)
        client.break_off()

    def stalled(self, **changes: Any) -> Any:
        self.start(**changes)
        client = self.client(room=1)
        client.says(request())
        origin = self.origin()
        origin.gets()
        return client, origin

    def everything(self, client: Line, count: int) -> bytes:
        return client.gets()

    def waiting(self, origin: Line) -> int:
        return len(origin.inbox)


class SlowClientSocketTests(SlowClientRules, SocketCase):
    def test_the_log_says_what_a_client_got_that_went_in_the_middle(self) -> None:
        client, origin = self.stalled()
        origin.says(response(b"x" * 60_000))
        self.advance(1)
        self.assertEqual(self.upstream.statistics().idle, 1)
        client.break_off()
        self.assertEqual(len(self.journal.lines), 1)
        sent = int(self.journal.lines[0].split()[4])
        self.assertTrue(10_000 < sent < 60_000, sent)

    def stalled(self, **changes: Any) -> Any:
        return self.both(**changes)

    def everything(self, client: Any, count: int) -> bytes:
        return bytes(client.waits(count))

    def waiting(self, origin: Any) -> int:
        return len(origin.unsaid)


class OptionMemoryTests(OptionRules, MemoryCase):
    pass


class OptionSocketTests(OptionRules, SocketCase):
    pass


class MistakeMemoryTests(MistakeRules, MemoryCase):
    pass


class MistakeSocketTests(MistakeRules, SocketCase):
    pass


class FilterMemoryTests(FilterRules, MemoryCase):
    pass


class FilterSocketTests(FilterRules, SocketCase):
    pass


del FramingRules, BrokenRules, SurplusRules, SlowClientRules, OptionRules, FilterRules, MistakeRules
