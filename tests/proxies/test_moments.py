"""Tests of twisted_pipe.proxies.moments, and of the moment that a small response is given to be whole."""

from __future__ import annotations

import os

import attrs
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.proxies.http_case import LIMITS, SETTINGS, SocketCase
from tests.proxies.http_messages import parsed, request, response
from twisted_pipe.proxies.moments import MOMENT, Moments


class _Waiting:
    def __init__(self) -> None:
        self.over = 0

    def moment_is_over(self) -> None:
        self.over += 1


class MomentsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.moments = Moments(self.clock)

    def begin(self) -> _Waiting:
        waiting = _Waiting()
        self.moments.begin(waiting, self.clock.seconds())
        return waiting

    def test_it_is_over_once(self) -> None:
        waiting = self.begin()
        self.clock.advance(MOMENT)
        self.assertEqual(waiting.over, 1)
        self.clock.pump([MOMENT] * 3)
        self.assertEqual(waiting.over, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nobody_is_told_early(self) -> None:
        first = self.begin()
        self.clock.advance(MOMENT / 2)
        second = self.begin()
        self.clock.advance(MOMENT / 2)
        self.assertEqual((first.over, second.over), (1, 0))
        self.assertEqual(repr(self.moments), "<Moments 1 waiting>")
        self.clock.advance(MOMENT)
        self.assertEqual((first.over, second.over), (1, 1))

    def test_one_call_for_all(self) -> None:
        for _ in range(10):
            self.begin()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_who_has_ended_is_not_told(self) -> None:
        waiting = self.begin()
        self.moments.end(waiting)
        self.moments.end(waiting)
        self.clock.advance(MOMENT)
        self.assertEqual(waiting.over, 0)

    def test_stop(self) -> None:
        waiting = self.begin()
        self.moments.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(MOMENT)
        self.assertEqual(waiting.over, 0)


class SmallResponseTests(SocketCase):
    """Of a small response, head and body leave together, if they come within a moment."""

    answer = response(b"0123456789")

    def test_head_and_body_leave_together(self) -> None:
        client, origin = self.both()
        for cut in range(len(self.answer) - 10, len(self.answer)):
            origin.says(self.answer[:cut])
            self.assertEqual(client.gets(), b"")
            origin.says(self.answer[cut:])
            self.assertEqual(client.gets(), self.answer)
            client.says(request())
        origin.says(self.answer)
        self.assert_idle(1)

    def test_what_is_late_follows(self) -> None:
        client, origin = self.both()
        origin.says(self.answer[:-4])
        self.advance(2 * MOMENT)
        self.assertEqual(client.gets(), self.answer[:-4])
        origin.says(self.answer[-4:])
        self.assertEqual(client.gets(), self.answer[-4:])
        self.assert_idle(1)

    def test_a_large_one_does_not_wait(self) -> None:
        client, origin = self.both()
        answer = response(os.urandom(16 * 1024 + 1))
        origin.says(answer[:-1000])
        self.assertEqual(client.gets(), answer[:-1000])
        origin.says(answer[-1000:])
        self.assertEqual(client.gets(), answer[-1000:])

    def test_nor_does_one_that_is_not_to_be_buffered(self) -> None:
        limits = attrs.evolve(LIMITS, buffering=False)
        client, origin = self.both(settings=attrs.evolve(SETTINGS, limits=limits))
        origin.says(self.answer[:-4])
        self.assertEqual(client.gets(), self.answer[:-4])
        origin.says(self.answer[-4:])
        self.assertEqual(client.gets(), self.answer[-4:])

    def test_surplus_is_cut(self) -> None:
        client, origin = self.both()
        origin.says(self.answer[:-4])
        origin.says(self.answer[-4:] + b"more")
        self.assertEqual(client.gets(), self.answer)
        origin.gets()
        self.assertTrue(origin.ended)
        self.assertIn("more came than its response has bytes", self.complaints()[0])

    def test_the_server_ends_meanwhile(self) -> None:
        """What came is delivered, and the end is no clean one."""
        client, origin = self.both()
        origin.says(self.answer[:-4])
        origin.close()
        self.assertEqual(client.gets(), self.answer[:-4])
        self.assertTrue(client.reset)
        self.assertIn("upstream: ended 4 bytes before its announced length", self.complaints()[0])

    def test_the_server_breaks_off_meanwhile(self) -> None:
        client, origin = self.both()
        origin.says(self.answer[:-4])
        origin.break_off()
        self.assertEqual(client.gets(), self.answer[:-4])
        self.assertTrue(client.reset)
        self.assertEqual(len(self.complaints()), 1)

    def test_a_page_in_its_place_is_all_that_a_slow_client_gets(self) -> None:
        """The moment is over with the response."""
        client, origin = self.both(
            request("POST", "/", "Transfer-Encoding: chunked") + b"1\r\nx\r\n", request_buffering=False
        )
        origin.says(self.answer[:-4])

        def full(_: bytes) -> int:
            raise BlockingIOError

        (connection,) = self.proxy.clients
        connection._send = full
        client.says(b"no chunk\r\n")
        self.advance(2 * MOMENT)
        connection.source.writable = True
        self.clock.loop.post(connection.source)
        page = parsed(client.gets())
        self.assertEqual((page.status, page.length), ("400 Bad Request", len(page.body)))
        self.assertEqual(len(self.complaints()), 1)

    def test_the_client_breaks_off_meanwhile(self) -> None:
        client, origin = self.both()
        origin.says(self.answer[:-4])
        client.break_off()
        self.settle()
        origin.gets()
        self.assertTrue(origin.reset)
        self.assertEqual(repr(self.proxy.moments), "<Moments 0 waiting>")
        self.assertIn(" 499 ", self.journal.lines[0])
        self.complaints()
