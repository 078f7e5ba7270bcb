"""A relay that passes on a known number of bytes, and not one more."""

from __future__ import annotations

import errno
import os
from typing import Any
from unittest import mock

from tests.net.test_relay import MOST, Counted, RelayCase
from twisted_pipe.net import relay as relay_module
from twisted_pipe.net.relay import PATIENCE, Relay

KIB = 1024


class Asked(Counted):
    """A socket whose reads are noted: how many bytes were asked for."""

    def __init__(self, sock: Any) -> None:
        Counted.__init__(self, sock)
        self.asked: list[int] = []

    def recv(self, count: int) -> bytes:
        self.asked.append(count)
        data: bytes = self.sock.recv(count)
        return data


class LengthCase(RelayCase):
    def limited(self, length: int, most: int = MOST) -> Relay:
        """In place of the relay without a length. What it asks of the source is noted."""
        self.relay.stop()
        self.reads = Asked(self.source.socket)
        self.source.socket = self.reads  # type: ignore[assignment]
        relay = self.relay = Relay(self.source, self.sink, self.owner, most, 0.0, length)
        self.source.reader = relay
        relay.arm()
        return relay

    def watch_splice(self) -> list[int]:
        """How many bytes splice(2) was asked to receive, from now on."""
        asked: list[int] = []
        really = os.splice
        fd = self.source.fd

        def splice(source: int, sink: int, count: int, **more: Any) -> int:
            if source == fd:
                asked.append(count)
            return really(source, sink, count, **more)

        self.patch(os, "splice", splice)
        return asked


class LengthTests(LengthCase):
    def test_the_last_byte_is_the_end(self) -> None:
        relay = self.limited(5)
        self.upstream.write(b"hello")
        self.engine.turn()
        self.assertEqual((self.client.read(), self.owner.told), (b"hello", [("ended", None, False)]))
        self.assertEqual((relay.left, relay.moved, relay.armed, self.sink.feeder), (0, 5, False, None))

    def test_counts_down(self) -> None:
        relay = self.limited(5)
        self.assertEqual(relay.left, 5)
        self.upstream.write(b"he")
        self.engine.settle()
        self.assertEqual((relay.left, relay.armed, self.owner.told), (3, True, []))
        self.upstream.write(b"llo")
        self.engine.settle()
        self.assertEqual((relay.left, self.owner.told), (0, [("ended", None, False)]))

    def test_no_length(self) -> None:
        self.assertIsNone(self.relay.left)

    def test_what_is_behind_stays_in_the_socket(self) -> None:
        self.limited(5)
        self.upstream.write(b"hellonext")
        self.engine.settle()
        self.assertEqual((self.client.read(), self.reads.asked), (b"hello", [5]))
        self.assertTrue(self.source.readable, "no edge will tell the next owner")
        self.assertEqual(self.source.socket.recv(100), b"next")

    def test_a_short_read_leaves_nothing_to_be_read(self) -> None:
        self.limited(9)
        self.upstream.write(b"hello")
        self.engine.settle()
        self.assertEqual((self.reads.asked, self.source.readable), ([9], False))

    def test_the_upstream_ends_before(self) -> None:
        relay = self.limited(9)
        self.upstream.write(b"hello")
        self.upstream.half_close()
        self.engine.settle()
        self.assertEqual((self.owner.told, relay.left), ([("ended", None, False)], 4))

    def test_the_upstream_ends_with_it(self) -> None:
        relay = self.limited(5)
        self.upstream.write(b"hello")
        self.upstream.half_close()
        self.engine.settle()
        self.assertEqual((self.owner.told, relay.left), ([("ended", None, False)], 0))
        self.assertTrue(self.source.readable, "its end is for the next owner")

    def test_the_downstream_is_gone(self) -> None:
        relay = self.limited(9)
        self.client.close()
        self.upstream.write(b"hello")
        self.engine.settle()
        self.assertEqual((self.owner.told, relay.left), ([("broken", errno.EPIPE, 5, False)], 9))

    def test_set_anew_while_it_is_idle(self) -> None:
        relay = self.limited(5)
        self.upstream.write(b"hello")
        self.engine.settle()
        relay.left = 3
        relay.arm()
        self.upstream.write(b"younot")
        self.engine.settle()
        self.assertEqual((self.client.read(), relay.moved, relay.left), (b"helloyou", 8, 0))

    def test_to_the_byte_by_every_way(self) -> None:
        """By plain reads and by splice(2), and by both in turn."""
        data = os.urandom(600 * KIB)
        for small in (100, 1000, 16 * KIB):
            for length in (99, 100, 101, 5000, 16 * KIB, 100_000, 128 * KIB, 500 * KIB):
                with (
                    mock.patch.object(relay_module, "_SMALL", small),
                    mock.patch.object(relay_module, "_BULK", 4 * small),
                ):
                    self.source, self.upstream = self.engine.bare()
                    self.sink, self.client = self.engine.bare()
                    self.owner.told.clear()
                    relay = self.limited(length)
                    sent, got = 0, b""
                    while not self.owner.told:
                        sent += self.upstream.write(data[sent : sent + 40_000])
                        self.engine.turn()
                        got += self.client.read()
                    got += self.fetch(self.client)
                    self.assertTrue(got == data[:length], (small, length, len(got)))
                    self.assertEqual((relay.left, relay.moved), (0, length))
                    rest = b""
                    while len(rest) < sent - length:
                        rest += self.source.socket.recv(1 << 20)
                    self.assertTrue(rest == data[length:sent], (small, length))


class BulkTests(LengthCase):
    def test_much_is_spliced_at_once(self) -> None:
        self.limited(128 * KIB)
        spliced = self.watch_splice()
        self.upstream.write(b"hello")
        self.engine.settle()
        self.assertEqual((self.client.read(), self.reads.asked, spliced[0]), (b"hello", [], MOST))

    def test_less_is_not(self) -> None:
        self.limited(128 * KIB - 1)
        spliced = self.watch_splice()
        self.upstream.write(b"hello")
        self.engine.settle()
        self.assertEqual((self.client.read(), self.reads.asked, spliced), (b"hello", [16 * KIB], []))

    def test_much_of_a_length_that_is_set_anew(self) -> None:
        relay = self.limited(5)
        relay.left = 128 * KIB
        spliced = self.watch_splice()
        self.upstream.write(b"hello")
        self.engine.settle()
        self.assertEqual((self.reads.asked, len(spliced)), ([], 2))

    def test_splice_is_asked_for_no_more_than_what_is_left(self) -> None:
        self.limited(128 * KIB, 1 << 20)
        spliced = self.watch_splice()
        sent = 0
        while not self.owner.told:
            sent += self.upstream.write(bytes(50_000))
            self.engine.turn()
            self.fetch(self.client)
        self.assertEqual(spliced[0], 128 * KIB)
        self.assertTrue(all(count <= 128 * KIB for count in spliced))
        self.assertTrue(self.source.readable)
        self.assertEqual(len(self.source.socket.recv(1 << 20)), sent - 128 * KIB)


class BlockedTests(LengthCase):
    """The sink takes less than was received."""

    def test_the_end_comes_when_it_has_taken_the_rest(self) -> None:
        relay = self.limited(5)
        stuffed = self.stuff()
        self.upstream.write(b"hellonext")
        self.engine.settle()
        self.assertEqual((self.owner.told, relay.waiting, relay.left), ([], True, 5))
        self.assertEqual(self.fetch(self.client)[stuffed:], b"hello")
        self.assertEqual((self.owner.told, relay.waiting, relay.armed), ([("ended", None, False)], False, False))
        self.assertEqual((self.sink.writer, self.sink.writing, self.source.readable), (None, False, True))
        self.assertEqual(self.engine.reactor.getDelayedCalls(), [])

    def test_the_end_comes_when_it_has_taken_the_rest_of_a_kernel_pipe(self) -> None:
        length = 128 * KIB
        relay = self.limited(length)
        stuffed = self.stuff()
        data = os.urandom(length + 10)
        sent, got = 0, b""
        while not self.owner.told:
            sent += self.upstream.write(data[sent:])
            self.engine.settle()
            got += self.fetch(self.client)
        self.assertTrue(got[stuffed:] == data[:length])
        self.assertEqual((self.owner.told, relay.left), ([("ended", None, False)], 0))

    def test_goes_on_counting(self) -> None:
        relay = self.limited(9)
        self.stuff()
        self.upstream.write(b"hello")
        self.engine.settle()
        self.fetch(self.client)
        self.assertEqual((self.owner.told, relay.left, relay.armed), ([], 4, True))
        self.upstream.write(b"younot")
        self.engine.settle()
        self.assertEqual((self.client.read(), self.owner.told), (b"youn", [("ended", None, False)]))

    def test_what_the_owner_gets_is_still_to_come(self) -> None:
        """It is received, but not taken."""
        relay = self.limited(9)
        self.stuff()
        self.upstream.write(b"hello")
        self.engine.settle()
        self.engine.advance(2 * PATIENCE)
        self.assertEqual((self.owner.told, relay.left), ([("blocked", b"hello", False)], 9))

    def test_stopped(self) -> None:
        relay = self.limited(9)
        self.stuff()
        self.upstream.write(b"hello")
        self.engine.settle()
        self.assertEqual((relay.stop(), relay.left), (b"hello", 9))
