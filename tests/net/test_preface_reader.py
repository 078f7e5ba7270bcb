from __future__ import annotations

import socket
import struct
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import Peer
from tests.net.loopback import Loopback
from tests.net.prefaces import Counted, CountedParser
from tests.net.test_edge import Owner
from twisted_pipe.net.bare import BareSocket
from twisted_pipe.net.preface_reader import PrefaceReader


class ReaderCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.engine = Loopback(self)
        self.told: list[Any] = []
        self.bare, self.peer = self.engine.bare(tcp=True)
        self.addCleanup(self.bare.close)

    def begin(self, parser: CountedParser | None = None, timeout: float = 60.0) -> PrefaceReader:
        reader = PrefaceReader(self.bare, parser or CountedParser(), timeout, self.told.append, self.failed)
        reader.begin()
        return reader

    def failed(self, error: Exception) -> None:
        self.told.append(str(error))

    def rest(self) -> bytes:
        """What the next reader of the socket gets."""
        got = bytearray(100)
        count = self.bare.recv_into(memoryview(got)) if self.bare.readable else -1
        return bytes(got[: max(count, 0)])


class FoundTests(ReaderCase):
    def test_whole_at_once_and_nothing_behind_it(self) -> None:
        self.begin()
        self.peer.write(b"3abc")
        self.engine.settle()
        self.assertEqual(self.told, [Counted(b"abc", 4)])
        self.assertEqual(self.rest(), b"")
        self.assertIsNone(self.bare.reader)

    def test_exactly_its_bytes_are_taken(self) -> None:
        self.begin()
        self.peer.write(b"3abcGET /")
        self.engine.settle()
        self.assertEqual(self.told, [Counted(b"abc", 4)])
        self.assertEqual(self.rest(), b"GET /")

    def test_a_preface_that_is_part_of_the_stream_stays(self) -> None:
        self.begin(CountedParser(takes=False))
        self.peer.write(b"3abcGET /")
        self.engine.settle()
        self.assertEqual(self.told, [Counted(b"abc", 0)])
        self.assertEqual(self.rest(), b"3abcGET /")

    def test_cut_at_every_byte(self) -> None:
        data = b"5abcdefgh"
        for cut in range(1, len(data)):
            self.told.clear()
            self.bare, self.peer = self.engine.bare(tcp=True)
            self.begin()
            self.peer.write(data[:cut])
            self.engine.settle()
            self.assertEqual(bool(self.told), cut >= 6)
            self.peer.write(data[cut:])
            self.engine.settle()
            self.assertEqual((self.told, self.rest()), ([Counted(b"abcde", 6)], b"fgh"))
            self.bare.close()

    def test_what_was_there_before_it_began(self) -> None:
        self.peer.write(b"1a")
        self.engine.settle()
        self.assertTrue(self.bare.readable)
        self.begin()
        self.assertEqual(self.told, [Counted(b"a", 2)], "told at once")
        self.assertEqual(self.engine.reactor.getDelayedCalls(), [], "no timeout was needed")

    def test_the_next_reader_is_told_of_what_comes_later(self) -> None:
        self.begin()
        self.peer.write(b"1a")
        self.engine.settle()
        owner = Owner(self.bare, lambda: self.told.append(self.rest()))
        self.bare.reader = owner
        self.peer.write(b"later")
        self.engine.settle()
        self.assertEqual(self.told, [Counted(b"a", 2), b"later"])

    def test_the_end_behind_it_is_for_the_next_reader(self) -> None:
        for data, rest in ((b"1a", b""), (b"1abc", b"bc")):
            self.told.clear()
            self.bare, self.peer = self.engine.bare(tcp=True)
            self.begin()
            self.peer.write(data)
            self.peer.half_close()
            self.engine.settle()
            self.assertEqual(self.told, [Counted(b"a", 2)])
            self.assertTrue(self.bare.readable)
            if rest:
                self.assertEqual(self.rest(), rest)
            self.assertEqual(self.bare.recv_into(memoryview(bytearray(9))), 0)
            self.bare.close()

    def test_a_preface_as_long_as_may_be(self) -> None:
        self.begin()
        self.peer.write(b"7abcdefgh")
        self.engine.settle()
        self.assertEqual((self.told, self.rest()), ([Counted(b"abcdefg", 8)], b"h"))

    def test_on_a_unix_socket(self) -> None:
        self.bare, self.peer = self.engine.bare()
        self.begin()
        for piece in (b"3a", b"bc", b"rest"):
            self.peer.write(piece)
            self.engine.settle()
        self.assertEqual((self.told, self.rest()), ([Counted(b"abc", 4)], b"rest"))

    def test_it_is_quiet_while_it_waits(self) -> None:
        """What was looked at stays in the kernel, which does not wake us for it again."""
        self.begin()
        self.peer.write(b"3a")
        self.engine.settle()
        before = self.engine.statistics.posted
        for _ in range(10):
            self.engine.reactor.iterate(0)
        self.assertEqual(self.engine.statistics.posted, before)


class FailedTests(ReaderCase):
    def test_no_preface(self) -> None:
        self.begin()
        self.peer.write(b"GET /")
        self.engine.settle()
        self.assertEqual(self.told, ["it begins with no digit"])
        self.assertEqual(self.rest(), b"GET /", "nothing was taken")
        self.assertTrue(self.bare.open)

    def test_longer_than_it_may_be(self) -> None:
        self.begin()
        self.peer.write(b"9" + b"x" * 100)
        self.engine.settle()
        self.assertEqual(self.told, ["it has more than 8 bytes"])

    def test_ended_within_it(self) -> None:
        self.begin()
        self.peer.write(b"3a")
        self.peer.half_close()
        self.engine.settle()
        self.assertEqual(self.told, ["the connection ended after 2 bytes"])

    def test_ended_within_it_later(self) -> None:
        self.begin()
        self.peer.write(b"3a")
        self.engine.settle()
        self.assertEqual(self.told, [])
        self.peer.half_close()
        self.engine.settle()
        self.assertEqual(self.told, ["the connection ended after 2 bytes"])

    def test_ended_before_its_first_byte(self) -> None:
        self.begin()
        self.peer.close()
        self.engine.settle()
        self.assertEqual(self.told, ["the connection ended at once"])

    def test_reset(self) -> None:
        self.begin()
        self.peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.peer.close()
        self.engine.settle()
        self.assertEqual(self.told, ["Connection reset by peer"])

    def test_too_slow(self) -> None:
        """However often a byte comes."""
        self.begin(CountedParser(most=10), timeout=5.0)
        self.peer.write(b"9")
        for _ in range(5):
            self.engine.advance(0.99)
            self.peer.write(b"x")
            self.engine.settle()
        self.assertEqual(self.told, [])
        self.engine.advance(0.1)
        self.assertEqual(self.told, ["preface timeout of 5 s expired"])
        self.assertEqual(self.rest(), b"9xxxxx")

    def test_no_timeout(self) -> None:
        self.begin(timeout=0)
        self.assertEqual(self.engine.reactor.getDelayedCalls(), [])

    def test_closed_by_somebody_else(self) -> None:
        self.begin()
        self.bare.connectionLost(Failure(ConnectionDone("closed to make room")))
        self.assertEqual(len(self.told), 1)
        self.assertIn("closed to make room", self.told[0])
        self.assertEqual(self.engine.reactor.getDelayedCalls(), [])

    def test_cancelled(self) -> None:
        reader = self.begin()
        self.assertTrue(reader.waiting)
        reader.cancel()
        self.peer.write(b"1a")
        self.engine.settle()
        self.assertEqual((self.told, self.rest()), ([], b"1a"))
        self.assertEqual(self.engine.reactor.getDelayedCalls(), [])
        self.assertFalse(reader.waiting)

    def test_told_once(self) -> None:
        """Closed by whom it tells."""
        bare = self.bare
        PrefaceReader(
            bare, CountedParser(), 1.0, self.told.append, lambda error: (self.failed(error), bare.close())
        ).begin()
        self.peer.write(b"x")
        self.peer.close()
        self.engine.settle()
        self.engine.advance(2.0)
        self.assertEqual(self.told, ["it begins with no digit"])


class HostileTests(ReaderCase):
    def test_ten_megabytes_are_neither_read_nor_kept(self) -> None:
        self.begin()
        peer: Peer = self.peer
        bare: BareSocket = self.bare
        sent = peer.write(b"9" + bytes(10_000_000))
        self.engine.settle()
        self.assertEqual(self.told, ["it has more than 8 bytes"])
        self.assertLess(sent, 10_000_000, "the kernel's buffers are the bound")
        self.assertTrue(bare.readable)
