from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet import error
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.net.fakes import HalfCloseRecorder, Peer, Recorder
from tests.net.loopback import Loopback
from twisted_pipe.interfaces import IBufferedProtocol
from twisted_pipe.net.transport import EdgeUnixServer


@implementer(IBufferedProtocol)
class Buffered(Protocol):
    """
    @ivar room: bytes of its buffer.
    @ivar pieces: what it got, piece by piece.
    @ivar asked: the hints of C{get_buffer}.
    @ivar on_update: called with each piece.
    """

    def __init__(self, room: int = 10) -> None:
        self.buffer: Any = bytearray(room)
        self.pieces: list[bytes] = []
        self.asked: list[int] = []
        self.lost: list[Failure] = []
        self.on_update: Any = None

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)

    def get_buffer(self, sizehint: int) -> Any:
        self.asked.append(sizehint)
        if len(self.asked) > 100_000:
            raise AssertionError("it is asked for ever")
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.pieces.append(bytes(memoryview(self.buffer).cast("B")[:nbytes]))
        if self.on_update is not None:
            self.on_update(self.pieces[-1])

    def dataReceived(self, data: bytes) -> None:
        raise AssertionError("dataReceived() is not for it")

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.lost.append(reason)


class TcpTests(SynchronousTestCase):
    """Over TCP-like transports."""

    def setUp(self) -> None:
        self.engine = Loopback(self)
        self.protocol = Buffered()
        self.transport, self.peer = self.connect(self.protocol)
        self.engine.settle()

    def connect(self, protocol: Any) -> tuple[Any, Peer]:
        return self.engine.connect(protocol)

    def test_received_into_its_own_memory(self) -> None:
        self.peer.write(b"hello")
        self.engine.settle()
        self.assertEqual(self.protocol.pieces, [b"hello"])
        self.assertEqual(bytes(self.protocol.buffer[:5]), b"hello")

    def test_more_than_it_takes_at_once(self) -> None:
        self.peer.write(b"0123456789abcdefghijklm")
        self.engine.settle()
        self.assertEqual(self.protocol.pieces, [b"0123456789", b"abcdefghij", b"klm"])

    def test_a_large_stream(self) -> None:
        self.protocol.buffer = bytearray(10_000)
        data, sent = os.urandom(2 << 20), 0
        while sent < len(data):
            sent += self.peer.write(data[sent:])
            self.engine.settle()
        self.assertTrue(self.protocol.data == data)

    def test_kinds_of_buffers(self) -> None:
        """Whatever is writable memory, whatever its items are."""
        import array
        import ctypes

        for buffer in (
            bytearray(10),
            memoryview(bytearray(20))[5:15],
            array.array("i", range(4)),
            ctypes.create_string_buffer(16),
        ):
            self.protocol.pieces.clear()
            self.protocol.buffer = buffer
            self.peer.write(b"hello")
            self.engine.settle()
            self.assertEqual(self.protocol.pieces, [b"hello"])
        self.assertEqual(self.protocol.lost, [])

    def test_a_buffer_that_may_be_resized_afterwards(self) -> None:
        """It is lent until C{buffer_updated} only."""
        self.protocol.on_update = lambda data: self.protocol.buffer.extend(b"more")
        self.peer.write(b"hello")
        self.engine.settle()
        self.assertEqual((len(self.protocol.buffer), self.flushLoggedErrors()), (14, []))

    def test_empty_buffer(self) -> None:
        """A mistake: it would never end. It says so."""
        self.protocol.buffer = bytearray()
        self.peer.write(b"hello")
        self.engine.settle()
        (failure,) = self.flushLoggedErrors()
        self.assertIn("get_buffer() must give at least one byte of room", failure.getErrorMessage())
        self.assertEqual((self.protocol.pieces, len(self.protocol.lost)), ([], 1))

    def test_read_only_buffer(self) -> None:
        self.protocol.buffer = b"read only"
        self.peer.write(b"hello")
        self.engine.settle()
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.assertEqual(len(self.protocol.lost), 1)

    def test_it_raises(self) -> None:
        def fail(data: bytes) -> None:
            raise ZeroDivisionError

        self.protocol.on_update = fail
        self.peer.write(b"hello")
        self.engine.settle()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(len(self.protocol.lost), 1)

    def test_the_end(self) -> None:
        self.peer.write(b"bye")
        self.peer.close()
        self.engine.settle()
        self.assertEqual(self.protocol.data, b"bye")
        self.assertEqual([reason.type for reason in self.protocol.lost], [error.ConnectionDone])

    def test_not_asked_for_a_buffer_while_it_is_paused(self) -> None:
        self.transport.pauseProducing()
        self.peer.write(b"hello")
        self.engine.settle()
        self.assertEqual((self.protocol.asked, self.protocol.pieces), ([], []))
        self.transport.resumeProducing()
        self.engine.settle()
        self.assertEqual(self.protocol.pieces, [b"hello"])

    def test_paused_in_the_midst(self) -> None:
        """What it has not taken yet is kept for later."""
        self.protocol.on_update = lambda data: self.transport.pauseProducing()
        self.peer.write(b"0123456789abcdef")
        self.engine.settle()
        self.assertEqual(self.protocol.pieces, [b"0123456789"])
        self.transport.resumeProducing()
        self.engine.settle()
        self.assertEqual(self.protocol.pieces, [b"0123456789", b"abcdef"])

    def test_closed_in_the_midst(self) -> None:
        """Then nothing more comes."""
        for how in ("loseConnection", "abortConnection", "connectionLost"):
            protocol = Buffered()
            transport, peer = self.connect(protocol)
            arguments = [Failure(error.ConnectionDone())] if how == "connectionLost" else []
            protocol.on_update = lambda data, t=transport, h=how, a=arguments: getattr(t, h)(*a)
            peer.write(b"0123456789abcdef")
            self.engine.settle()
            self.assertEqual((protocol.pieces, len(protocol.lost)), ([b"0123456789"], 1), how)
            self.assertEqual(self.flushLoggedErrors(), [], how)

    def test_swapped_for_a_plain_one_in_the_midst(self) -> None:
        """As startTLS and protocol upgrades do: the next bytes are the new one's, none is lost."""
        plain = Recorder()

        def swap(data: bytes) -> None:
            plain.makeConnection(self.transport)
            self.transport.protocol = plain

        self.protocol.on_update = swap
        self.peer.write(b"0123456789abcdef")
        self.engine.settle()
        self.assertEqual((self.protocol.data, plain.data), (b"0123456789", b"abcdef"))

    def test_swapped_for_another_of_its_kind_in_the_midst(self) -> None:
        other = Buffered(3)
        self.protocol.on_update = lambda data: setattr(self.transport, "protocol", other)
        self.peer.write(b"0123456789abcdef")
        self.engine.settle()
        self.assertEqual((self.protocol.data, other.pieces), (b"0123456789", [b"abc", b"def"]))

    def test_takes_over_from_a_plain_one(self) -> None:
        plain = Recorder(lambda data: setattr(transport, "protocol", buffered))
        buffered = Buffered()
        transport, peer = self.connect(plain)
        peer.write(b"upgrade")
        self.engine.settle()
        peer.write(b"hello")
        self.engine.settle()
        self.assertEqual((plain.data, buffered.pieces), (b"upgrade", [b"hello"]))

    def test_half_close(self) -> None:
        @implementer(IBufferedProtocol)
        class HalfClosing(HalfCloseRecorder):
            def get_buffer(self, sizehint: int) -> Any:
                return buffer

            def buffer_updated(self, nbytes: int) -> None:
                self.received.append(bytes(buffer[:nbytes]))

        buffer = bytearray(100)
        protocol = HalfClosing()
        transport, peer = self.connect(protocol)
        peer.write(b"question")
        peer.half_close()
        self.engine.settle()
        self.assertEqual((protocol.data, protocol.halves, protocol.lost), (b"question", ["read"], []))
        transport.write(b"answer")
        transport.loseConnection()
        self.engine.settle()
        self.assertEqual(peer.read(), b"answer")

    def test_an_endless_sender_does_not_keep_the_turn(self) -> None:
        """A budget in calls, too: a small buffer would take it a few bytes at a time."""
        self.peer.write(bytes(100_000))
        self.engine.turn()
        self.assertTrue(0 < len(self.protocol.pieces) <= 64, len(self.protocol.pieces))


class UnixTests(TcpTests):
    """Over UNIX transports, where bytes come along with descriptors."""

    def connect(self, protocol: Any) -> tuple[Any, Peer]:
        ours, peer = self.engine.pair()
        self.engine._peers.remove(ours)
        transport = EdgeUnixServer(ours, protocol, "", _Listener(), 0, self.engine.reactor)  # type: ignore[arg-type]
        protocol.makeConnection(transport)
        return transport, peer

    def test_bytes_that_come_with_a_descriptor(self) -> None:
        """They are copied into the buffer; the descriptor, which it did not ask for, is closed."""
        with open(os.devnull) as file:
            socket.send_fds(self.peer.socket, [b"0123456789abc"], [file.fileno()])
        self.engine.settle()
        self.assertEqual(self.protocol.pieces, [b"0123456789", b"abc"])


class _Listener:
    _realPortNumber = 0

    def getHost(self) -> Any:
        return None
