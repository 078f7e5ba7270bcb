"""Clients that are gone: what becomes of the response that nobody waits for."""

from __future__ import annotations

import os
from typing import Any

import attrs

from tests.proxies.http_case import SETTINGS, HttpCase, MemoryCase, SocketCase
from tests.proxies.http_messages import chunks, request, response

CHUNKED = "Transfer-Encoding: chunked"
LONG = os.urandom(200_000)


class AbortRules(HttpCase):
    """The rule: nobody wants it."""

    def lost(self, first: bytes, asked: bytes = request()) -> Any:
        """The origin of a client that went when C{first} had come."""
        client, origin = self.both(asked)
        self.got = 0
        if first:
            origin.says(first)
            self.got = len(client.gets().partition(b"\r\n\r\n")[2])
        client.break_off()
        return origin

    def assert_aborted(self, origin: Any, status: int) -> None:
        for _ in range(3):
            origin.gets()
        self.assertTrue(origin.reset)
        self.assert_idle(0, clients=0)
        self.assertRegex(self.journal.lines[0], f'^"GET / HTTP/1.1" {status} {self.got} .*client: ')
        self.assertEqual(len(self.complaints()), 1)
        self.assertEqual(self.proxy.statistics().failed, 1)

    def test_before_the_response(self) -> None:
        self.assert_aborted(self.lost(b""), 499)

    def test_in_its_head(self) -> None:
        self.assert_aborted(self.lost(b"HTTP/1.1 200"), 499)

    def test_in_a_body_with_a_length(self) -> None:
        origin = self.lost(response(LONG)[:1000])
        origin.says(LONG)
        self.assert_aborted(origin, 200)

    def test_in_chunks(self) -> None:
        origin = self.lost(response(b"3\r\nabc\r\n", CHUNKED, length=False))
        origin.says(chunks(LONG))
        self.assert_aborted(origin, 200)


class IgnoredRules(HttpCase):
    """With C{ignore_client_abort}: the origin is not disturbed, and its connection can be used again."""

    settings = attrs.evolve(SETTINGS, ignore_client_abort=True)

    def lost(self, first: bytes, asked: bytes = request()) -> Any:
        client, origin = self.both(asked)
        if first:
            origin.says(first)
            client.gets()
        client.break_off()
        return origin

    def assert_received(self, origin: Any, idle: int = 1) -> None:
        self.settle()
        origin.gets()
        self.assertFalse(origin.reset)
        self.assert_idle(idle, clients=0)
        self.assertEqual(len(self.journal.lines), 1)
        if idle:
            client = self.client()
            client.says(request("GET", "/again"))
            self.assertEqual(origin.gets(), request("GET", "/again"))
            origin.says(response(b"hi"))
            self.assertEqual(client.gets(), response(b"hi"))
            self.assert_idle(1)

    def test_before_the_response(self) -> None:
        origin = self.lost(b"")
        self.assertRegex(self.journal.lines[0], '^"GET / HTTP/1.1" 499 0 origin:80 - 0 client: ')
        origin.says(response(LONG))
        self.assert_received(origin)

    def test_in_its_head(self) -> None:
        origin = self.lost(b"")
        answer = response(LONG)
        origin.says(answer[:20])
        origin.says(answer[20:])
        self.assert_received(origin)

    def test_in_the_middle_of_its_head(self) -> None:
        origin = self.lost(b"HTTP/1.1 20")
        origin.says(response(LONG)[11:])
        self.assert_received(origin)

    def test_interim_ones_before_it(self) -> None:
        origin = self.lost(b"")
        origin.says(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + response(b"hi"))
        self.assert_received(origin)

    def test_no_body(self) -> None:
        self.start()
        origin = None
        for answer, asked in (
            (response(b"", status="204 No Content", length=False), request()),
            (response(b"", "Content-Length: 10", length=False), request("HEAD")),
            (response(b""), request()),
        ):
            client = self.client()
            client.says(asked)
            origin = origin or self.origin()
            origin.gets()
            client.break_off()
            origin.says(answer)
            self.assert_idle(1, clients=0)
        self.assertEqual(self.upstream.statistics().opened, 1)

    def test_in_a_body_with_a_length(self) -> None:
        origin = self.lost(response(LONG)[:1000])
        origin.says(response(LONG)[1000:])
        self.assert_received(origin)

    def test_in_chunks(self) -> None:
        origin = self.lost(response(b"3\r\nabc\r\n", CHUNKED, length=False))
        origin.says(chunks(LONG))
        self.assert_received(origin)

    def test_chunks_from_the_start(self) -> None:
        origin = self.lost(b"")
        origin.says(response(chunks(LONG), CHUNKED, length=False))
        self.assert_received(origin)

    def test_until_the_end_of_the_connection(self) -> None:
        origin = self.lost(response(b"abc", length=False))
        origin.says(LONG)
        origin.close()
        self.assert_idle(0, clients=0)

    def test_surplus(self) -> None:
        origin = self.lost(b"")
        origin.says(response(b"hi") + b"!")
        self.assert_received(origin, 0)

    def test_chunks_that_are_wrong(self) -> None:
        origin = self.lost(b"")
        origin.says(response(b"nonsense\r\n", CHUNKED, length=False))
        self.assert_idle(0, clients=0)

    def test_a_head_that_is_wrong(self) -> None:
        origin = self.lost(b"")
        origin.says(b"nonsense\r\n\r\n")
        self.assert_idle(0, clients=0)

    def test_an_origin_that_goes(self) -> None:
        self.start()
        for how in ("close", "break_off"):
            client = self.client()
            client.says(request())
            origin = self.origin()
            origin.gets()
            client.break_off()
            getattr(origin, how)()
            self.assert_idle(0, clients=0)

    def test_an_origin_that_says_nothing(self) -> None:
        origin = self.lost(b"")
        self.advance(59.9)
        origin.gets()
        self.assertFalse(origin.reset)
        self.advance(0.2)
        origin.gets()
        self.assertTrue(origin.reset)
        self.assert_idle(0, clients=0)

    def test_a_request_that_is_not_all_sent(self) -> None:
        """It is not the origin's yet."""
        self.settings = attrs.evolve(self.settings, request_buffering=False)
        client, origin = self.both(request("POST", "/", "Content-Length: 10") + b"12345")
        client.break_off()
        origin.gets()
        self.assertTrue(origin.reset)
        self.assert_idle(0, clients=0)

    def answered_too_early(self, answer: bytes) -> None:
        """
        An origin that answers a request whose rest never comes waits for that rest: it would take the next request for it. What the
        client gets has begun when it goes.
        """
        self.settings = attrs.evolve(self.settings, request_buffering=False)
        client, origin = self.both(request("POST", "/", "Content-Length: 1000") + b"12345")
        origin.says(answer[:1000])
        self.assertTrue(client.gets())
        client.break_off()
        origin.says(answer[1000:])
        origin.gets()
        self.assertTrue(origin.reset)
        self.assert_idle(0, clients=0)

    def test_a_request_that_is_not_all_sent_and_its_response_in_the_middle(self) -> None:
        self.answered_too_early(response(LONG))

    def test_or_in_the_middle_of_its_chunks(self) -> None:
        self.answered_too_early(response(chunks(LONG[:1500]), CHUNKED, length=False))


class PlaceRules(HttpCase):
    """With C{ignore_client_abort} the server is as busy as before: what C{max_conns} bounds is not the clients."""

    settings = attrs.evolve(SETTINGS, ignore_client_abort=True)

    def lost(self, first: bytes) -> tuple[Any, Any]:
        """The origin of a client that went when C{first} had come, and a client that waits for the same server."""
        self.parameters = {"max_conns": 1}
        client, origin = self.both()
        if first:
            origin.says(first)
            client.gets()
        client.break_off()
        other = self.client()
        other.says(request("GET", "/other"))
        self.settle()
        self.assertEqual((self.group.peers[0].active, self.group.statistics().waiting), (1, 1))
        return origin, other

    def assert_next(self, origin: Any, other: Any) -> None:
        self.settle()
        self.assertEqual(self.group.statistics().waiting, 0)
        self.assertEqual(origin.gets(), request("GET", "/other"))
        origin.says(response(b"hi"))
        self.assertEqual(other.gets(), response(b"hi"))
        self.assert_idle(1)

    def give_back(self, came: int) -> None:
        """The client goes when so many bytes have come. Who waits finds the connection."""
        answer = response(LONG)
        origin, other = self.lost(answer[:came])
        origin.says(answer[came:])
        self.assert_next(origin, other)
        self.assertEqual(self.upstream.statistics().opened, 1)

    def test_before_the_response(self) -> None:
        self.give_back(0)

    def test_in_its_head(self) -> None:
        self.give_back(10)

    def test_in_its_body(self) -> None:
        self.give_back(1000)

    def test_chunks(self) -> None:
        origin, other = self.lost(response(b"3\r\nabc\r\n", CHUNKED, length=False))
        origin.says(chunks(LONG))
        self.assert_next(origin, other)

    def test_an_origin_that_closes(self) -> None:
        origin, other = self.lost(response(LONG)[:1000])
        origin.close()
        self.assert_next(self.origin(), other)

    def test_an_origin_that_breaks_off(self) -> None:
        origin, other = self.lost(b"")
        origin.break_off()
        self.assert_next(self.origin(), other)

    def test_a_response_that_is_wrong(self) -> None:
        origin, other = self.lost(b"")
        origin.says(b"nonsense\r\n\r\n")
        self.assert_next(self.origin(), other)

    def test_an_origin_that_says_nothing(self) -> None:
        _, other = self.lost(b"")
        self.advance(59.9)
        self.assertEqual((self.group.peers[0].active, self.group.statistics().waiting), (1, 1))
        self.advance(0.2)
        self.assert_next(self.origin(), other)


class AbortMemoryTests(AbortRules, MemoryCase):
    pass


class AbortSocketTests(AbortRules, SocketCase):
    pass


class IgnoredMemoryTests(IgnoredRules, MemoryCase):
    def test_a_server_that_is_not_there_yet(self) -> None:
        self.start()
        client = self.client()
        client.says(request())
        client.break_off()
        self.assertTrue(self.attempts.pop(0).cancelled)
        self.assert_idle(0, clients=0)

    def test_what_a_pipe_had_not_read(self) -> None:
        """The client stalls, the pipe is full, and the transport has brought more."""
        self.settings = attrs.evolve(self.settings, limits=attrs.evolve(self.settings.limits, max_temp_file_size=0))
        self.start()
        client = self.client(room=1)
        client.says(request())
        origin = self.origin()
        origin.says(response(LONG)[:100])
        origin.says(response(LONG)[100:])
        self.assertGreater(len(origin.inbox), 0)
        client.break_off()
        self.assert_received(origin)


class IgnoredSocketTests(IgnoredRules, SocketCase):
    def interim(self, final: bytes, come: int) -> None:
        """The client is found to be gone by an interim response, with which so many bytes of C{final} have come."""
        client, origin = self.both()
        origin.peer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" + final[:come])
        client.break_off()
        origin.says(final[come:])
        self.assert_received(origin)

    def test_a_response_behind_an_interim_one(self) -> None:
        self.interim(response(b"hi"), 1000)

    def test_its_beginning(self) -> None:
        self.interim(response(LONG), 1000)

    def test_the_beginning_of_its_head(self) -> None:
        self.interim(response(LONG), 10)

    def test_a_head_of_which_the_beginning_had_come(self) -> None:
        client, origin = self.both()
        origin.says(b"HTTP/1.1 103 Ear")
        origin.peer.write(b"ly Hints\r\n\r\n" + response(b"hi"))
        client.break_off()
        self.assert_received(origin)

    def test_a_request_that_is_sent_in_the_turn_that_finds_the_client_gone(self) -> None:
        """The origin's kernel has not taken all of it, and nobody is there who could send the rest."""
        self.settings = attrs.evolve(self.settings, request_body_buffer_size=10_000_000, client_max_body_size=0)
        origin = self.served()
        client = self.client()
        post = request("POST", "/", body=os.urandom(8_000_000))
        client.says(post[:-1])
        client.peer.write(post[-1:])
        client.break_off()
        origin.gets()
        self.assertTrue(origin.reset)
        self.assert_idle(0, clients=0)

    def served(self) -> Any:
        """The origin, with a connection that can be used again."""
        client, origin = self.both()
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))
        client.close()
        self.assert_idle(1, clients=0)
        return origin

    def test_a_slow_client_of_a_relay(self) -> None:
        """It goes when a pipe has taken over."""
        self.start()
        client = self.client()
        client.says(request())
        origin = self.origin()
        origin.gets()
        body = os.urandom(3_000_000)
        origin.says(response(body)[:1_000_000])
        self.advance(0.1)
        each: Any = next(iter(self.proxy.clients))
        self.assertIn("EventPipe", repr(each._exchange._answering))
        client.break_off()
        origin.says(response(body)[1_000_000:])
        self.assert_received(origin)


class FoundSocketTests(SocketCase):
    """The same of a client that is found to be gone when the response's head is sent to it."""

    settings = IgnoredRules.settings

    def found(self, first: bytes, rest: bytes, framing: str) -> None:
        client, origin = self.both()
        origin.peer.write(response(first, framing, length=False))
        client.break_off()
        origin.says(rest)
        origin.gets()
        self.assertFalse(origin.reset)
        self.assert_idle(1, clients=0)
        self.assertEqual(len(self.complaints()), 1)

    def test_its_body_is_received(self) -> None:
        self.found(LONG[:1000], LONG[1000:], f"Content-Length: {len(LONG)}")

    def test_its_chunks_are(self) -> None:
        self.found(chunks(LONG)[:1000], chunks(LONG)[1000:], CHUNKED)


class PlaceMemoryTests(PlaceRules, MemoryCase):
    def test_it_is_released_once(self) -> None:
        client, origin = self.both()
        client.break_off()
        drain = origin.protocol.reader.user
        origin.break_off()
        drain.upstream_lost("again")
        self.assertEqual(self.group.peers[0].active, 0)


class PlaceSocketTests(PlaceRules, SocketCase):
    pass


del AbortRules, IgnoredRules, PlaceRules
