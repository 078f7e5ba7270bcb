from __future__ import annotations

import errno
import os
from typing import Any

from twisted.internet import error
from twisted.internet.protocol import Protocol
from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import Peer, Recorder, os_error
from tests.net.loopback import Loopback


class Watched:
    """A socket whose sends are remembered, and fail if told to."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.sends: list[int] = []
        self.parts: list[Any] = []
        self.fails: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)

    def send(self, data: Any) -> int:
        return self.sendmsg([data])

    def sendmsg(self, parts: Any) -> int:
        parts = list(parts)
        self.sends.append(sum(map(len, parts)))
        self.parts += parts
        if self.fails:
            raise os_error(self.fails.pop(0))
        sent: int = self.sock.sendmsg(parts)
        return sent


class WritingCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.engine = Loopback(self)
        self.protocol = Recorder()
        self.transport, self.peer = self.engine.connect(self.protocol)
        self.engine.settle()
        self.watched = self.watch(self.transport)
        self.next()

    def watch(self, transport: Any) -> Watched:
        transport.socket = watched = Watched(transport.socket)
        return watched

    def next(self) -> None:
        """The next turn of the reactor; that it is another one is seen by its time, too."""
        self.engine.clock.advance(1)
        self.engine.turn()

    def stuff(self) -> None:
        """The socket is full."""
        self.transport.write(bytes(4 << 20))
        self.next()
        self.watched.sends.clear()
        self.watched.parts.clear()

    def drain(self, peer: Peer | None = None) -> bytes:
        data, last = b"", None
        while last != b"":
            self.engine.settle()
            last = (peer or self.peer).read()
            data += last
        return data


class AtOnceTests(WritingCase):
    """From outside the connection's own handlers."""

    def test_the_first_write_needs_no_turn(self) -> None:
        waits = self.engine.statistics.waits
        self.transport.write(b"at once")
        self.assertEqual(self.peer.read(), b"at once")
        self.assertEqual((self.engine.statistics.waits, self.engine.statistics.queued), (waits, 0))
        self.assertFalse(self.transport.edge.writing)

    def test_more_writes_of_a_turn_are_one_send_at_its_end(self) -> None:
        for part in (b"a", b"bb", b"ccc"):
            self.transport.write(part)
        self.transport.writeSequence([b"dddd", b"eeeee"])
        self.assertEqual(self.peer.read(), b"a")
        self.engine.turn()
        self.assertEqual(self.peer.read(), b"bbcccddddeeeee")
        self.assertEqual(self.watched.sends, [1, 14])

    def test_each_turn_has_its_first_write(self) -> None:
        for _ in range(3):
            self.transport.write(b"x")
            self.assertEqual(self.peer.read(), b"x")
            self.next()
        self.assertEqual(self.watched.sends, [1, 1, 1])

    def test_from_another_connections_handler(self) -> None:
        seen: list[bytes] = []

        def hand_on(data: bytes) -> None:
            self.transport.write(data)
            seen.append(self.peer.read())

        _other, other_peer = self.engine.connect(Recorder(hand_on))
        self.next()
        other_peer.write(b"hello")
        self.next()
        self.assertEqual(seen, [b"hello"])

    def test_a_sequence(self) -> None:
        """Without joining it."""
        parts = [b"a" * 100, b"b" * 200]
        self.transport.writeSequence(iter(parts))
        self.assertEqual(self.peer.read(), b"".join(parts))
        self.assertEqual(self.watched.sends, [300])
        self.assertTrue(all(sent is part for sent, part in zip(self.watched.parts, parts, strict=True)))

    def test_a_sequence_of_very_many(self) -> None:
        """More than a system call takes (IOV_MAX): none is lost."""
        parts = [b"%d," % number for number in range(5000)]
        self.transport.writeSequence(parts)
        self.assertEqual(self.drain(), b"".join(parts))

    def test_many_small_writes(self) -> None:
        parts = [b"%d," % number for number in range(5000)]
        for part in parts:
            self.transport.write(part)
        self.assertEqual(self.drain(), b"".join(parts))

    def test_nothing(self) -> None:
        self.transport.write(b"")
        self.transport.writeSequence([])
        self.transport.writeSequence([b"", b""])
        self.engine.settle()
        self.assertEqual((self.watched.sends, self.peer.read()), ([], b""))

    def test_empty_parts_among_others(self) -> None:
        self.transport.writeSequence([b"", b"a", b"", b"", b"b", b""])
        self.transport.writeSequence([b"", b"c", b""])
        self.next()
        self.transport.write(b"d")
        self.assertEqual(self.drain(), b"abcd")

    def test_only_bytes(self) -> None:
        for wrong in ("text", bytearray(b"x"), None):
            self.assertRaises(TypeError, self.transport.write, wrong)
            self.assertRaises(TypeError, self.transport.writeSequence, [b"x", wrong])
        self.assertEqual(self.drain(), b"")

    def test_no_control_call_ever(self) -> None:
        calls = self.engine.statistics.control_calls
        for _ in range(3):
            self.stuff()
            self.drain()
            self.transport.write(b"x")
            self.next()
        self.assertEqual(self.engine.statistics.control_calls, calls)


class InsideTests(WritingCase):
    """From within C{dataReceived}."""

    def answer(self, *parts: bytes) -> Watched:
        seen: list[bytes] = []

        def respond(data: bytes) -> None:
            for part in parts:
                self.transport.write(part)
            seen.append(self.peer.read())

        self.protocol.on_data = respond
        self.peer.write(b"request")
        self.next()
        self.assertEqual(seen, [b""], "not from within the handler")
        return self.watched

    def test_goes_out_when_it_returns(self) -> None:
        self.answer(b"response")
        self.assertEqual(self.peer.read(), b"response")
        self.assertEqual(self.engine.statistics.queued, 0)

    def test_head_and_body_are_one_send(self) -> None:
        watched = self.answer(b"head", b"body" * 1000)
        self.assertEqual(self.peer.read(), b"head" + b"body" * 1000)
        self.assertEqual(watched.sends, [4004])

    def test_when_the_socket_is_full(self) -> None:
        self.stuff()
        self.protocol.on_data = lambda data: self.transport.write(b"response")
        self.peer.write(b"request")
        self.next()
        self.assertEqual(self.watched.sends, [])
        self.assertTrue(self.drain().endswith(b"\0response"))

    def test_and_closed(self) -> None:
        def respond(data: bytes) -> None:
            self.transport.write(b"bye")
            self.transport.loseConnection()

        self.protocol.on_data = respond
        self.peer.write(b"request")
        self.next()
        self.assertEqual((self.peer.read(), self.peer.ended), (b"bye", True))

    def test_from_within_connection_made(self) -> None:
        class Greets(Protocol):
            def connectionMade(self) -> None:
                self.transport.write(b"220 ")  # type: ignore[union-attr]
                self.transport.write(b"hello")  # type: ignore[union-attr]

        _transport, peer = self.engine.connect(Greets())
        self.engine.turn()
        self.assertEqual(peer.read(), b"220 hello")


class FullTests(WritingCase):
    """The socket takes less than it is offered."""

    def test_order_is_kept(self) -> None:
        data = [os.urandom(size) for size in (3 << 20, 1, 100_000, 7, 2 << 20)]
        got = b""
        for part in data:
            self.transport.write(part)
            got += self.peer.read(50_000)
            self.next()
        got += self.drain()
        self.assertTrue(got == b"".join(data))

    def test_the_rest_is_not_copied(self) -> None:
        data = bytes(4 << 20)
        self.transport.write(data)
        (rest,) = self.transport._tempDataBuffer
        self.assertIsInstance(rest, memoryview)
        self.assertIs(rest.obj, data)
        for _ in range(3):
            self.peer.read(100_000)
            self.next()
            (rest,) = self.transport._tempDataBuffer
            self.assertIs(rest.obj, data)
        self.assertEqual(len(self.drain()), (4 << 20) - 300_000)
        self.assertEqual((list(self.transport._tempDataBuffer), self.transport._tempDataLen), ([], 0))

    def test_what_waits_is_what_was_written(self) -> None:
        self.stuff()
        later = [b"later %d" % number for number in range(3)]
        for part in later:
            self.transport.write(part)
        queue = list(self.transport._tempDataBuffer)[1:]
        self.assertTrue(all(waiting is part for waiting, part in zip(queue, later, strict=True)))
        self.assertEqual(self.watched.sends, [], "it is full: nobody tries")

    def test_a_length_that_is_always_right(self) -> None:
        self.stuff()
        for count in range(20):
            self.transport.writeSequence([b"x" * count, b"", b"y"])
            self.peer.read(99_999)
            self.next()
            self.assertEqual(self.transport._tempDataLen, sum(map(len, self.transport._tempDataBuffer)))
        self.drain()
        self.assertEqual(self.transport._tempDataLen, 0)

    def test_no_spin(self) -> None:
        self.stuff()
        before = self.engine.statistics
        self.engine.turn(20)
        after = self.engine.statistics
        self.assertEqual((after.events, after.posted, self.watched.sends), (before.events, before.posted, []))

    def test_lose_connection_sends_everything(self) -> None:
        data = os.urandom(4 << 20)
        self.transport.write(data)
        self.transport.loseConnection()
        self.transport.write(b"too late")
        got = b""
        while not self.peer.ended:
            self.engine.settle()
            got += self.peer.read()
        self.assertTrue(got == data + b"too late" or got == data)
        self.assertEqual([reason.type for reason in self.protocol.lost], [error.ConnectionDone])

    def test_half_close_sends_everything(self) -> None:
        data = os.urandom(4 << 20)
        self.transport.write(data)
        self.transport.loseWriteConnection()
        self.transport.write(b"too late")
        got = b""
        while not self.peer.ended:
            self.engine.settle()
            got += self.peer.read()
        self.assertTrue(got.startswith(data))
        self.assertEqual(self.protocol.lost, [])
        self.transport.write(b"never")
        self.engine.settle()


class ErrorTests(WritingCase):
    def test_connection_lost_is_not_called_inside_write(self) -> None:
        """The handler that writes is in the midst of something."""
        self.watched.fails = [errno.EPIPE] * 2
        self.transport.write(b"x")
        self.assertEqual(self.protocol.lost, [])
        self.assertTrue(self.transport.connected)
        self.engine.turn()
        self.assertEqual([reason.type for reason in self.protocol.lost], [error.ConnectionLost])

    def test_nor_inside_write_sequence(self) -> None:
        self.watched.fails = [errno.EPIPE] * 2
        self.transport.writeSequence([b"x", b"y"])
        self.assertEqual(self.protocol.lost, [])
        self.engine.turn()
        self.assertEqual([reason.type for reason in self.protocol.lost], [error.ConnectionLost])

    def test_a_peer_that_is_gone(self) -> None:
        """Its end came first and was clean; that a write failed after it (EPIPE) does not make it another."""
        self.peer.close()
        self.transport.write(b"x")
        self.assertEqual(self.protocol.lost, [])
        self.engine.settle()
        self.assertEqual([reason.type for reason in self.protocol.lost], [error.ConnectionDone])

    def test_no_kernel_memory(self) -> None:
        """ENOBUFS is no error: it is sent a little later."""
        for write in (self.transport.write, lambda data: self.transport.writeSequence([data])):
            self.watched.fails = [errno.ENOBUFS] * 2
            write(b"patience")
            self.next()
            self.engine.advance(0.2)
            self.assertEqual(self.drain(), b"patience")
            self.next()

    def test_no_kernel_memory_is_forgotten(self) -> None:
        """A clean end after it is a clean end."""
        self.watched.fails = [errno.ENOBUFS] * 2
        self.transport.write(b"patience")
        self.next()
        self.engine.advance(0.2)
        self.drain()
        self.peer.close()
        self.engine.settle()
        self.assertEqual([reason.type for reason in self.protocol.lost], [error.ConnectionDone])

    def test_after_the_end(self) -> None:
        self.transport.abortConnection()
        self.engine.settle()
        self.transport.write(b"x")
        self.transport.writeSequence([b"x"])
        self.engine.settle()
        self.assertEqual(len(self.protocol.lost), 1)
