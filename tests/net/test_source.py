from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import Engine, MemoryTransport
from tests.net.test_edge import Owner
from twisted_pipe.errors import PipeFinished, UpstreamFailed
from twisted_pipe.net.edge import WOULD_BLOCK
from twisted_pipe.net.source import ProducerSource, SocketSource


def read(source: Any, size: int) -> bytes | int:
    """What one C{read_into} of C{size} bytes brings."""
    view = memoryview(bytearray(size))
    got: int = source.read_into(view)
    return bytes(view[:got]) if got > 0 else got


class ProducerSourceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.producer = MemoryTransport()
        self.source = ProducerSource(self.producer)

    def test_nothing(self) -> None:
        self.assertFalse(self.source.readable)
        self.assertEqual(read(self.source, 10), WOULD_BLOCK)

    def test_pieces_are_packed(self) -> None:
        for piece in (b"ab", b"", b"cdef", b"g"):
            self.source.push(piece)
        self.assertTrue(self.source.readable)
        self.assertEqual([read(self.source, size) for size in (1, 3, 10, 10)], [b"a", b"bcd", b"efg", WOULD_BLOCK])
        self.assertFalse(self.source.readable)

    def test_empty_pieces_are_nothing(self) -> None:
        self.source.push(b"")
        self.assertFalse(self.source.readable)

    def test_taken(self) -> None:
        """What is not the pipe's is somebody else's, once."""
        for piece in (b"abc", b"de"):
            self.source.push(piece)
        self.assertEqual((read(self.source, 2), self.source.take(), self.source.take()), (b"ab", b"cde", b""))
        self.assertFalse(self.source.readable)
        self.source.detach()
        self.assertEqual(self.source.unread, b"")

    def test_the_end_comes_after_the_bytes(self) -> None:
        self.source.push(b"ab")
        self.source.end()
        self.assertEqual([read(self.source, 10), read(self.source, 10)], [b"ab", 0])
        self.assertTrue(self.source.readable)

    def test_a_failure_comes_after_the_bytes(self) -> None:
        self.source.push(b"ab")
        self.source.end(UpstreamFailed("gone"))
        self.assertEqual(read(self.source, 10), b"ab")
        self.assertRaises(UpstreamFailed, read, self.source, 10)

    def test_only_the_first_end_counts(self) -> None:
        self.source.end()
        self.source.end(UpstreamFailed("gone"))
        self.assertEqual(read(self.source, 10), 0)

    def test_bytes_after_the_end(self) -> None:
        self.source.end()
        self.assertRaises(PipeFinished, self.source.push, b"x")

    def test_paused_and_resumed(self) -> None:
        self.source.settle(True)
        self.source.settle(False)
        self.source.settle(False)
        self.source.settle(True)
        self.assertEqual(self.producer.calls[-2:], ["pause", "resume"])

    def test_paused_while_bytes_stand_here(self) -> None:
        self.source.push(b"x")
        self.source.settle(True)
        self.assertEqual(self.producer.producerState, "paused")
        read(self.source, 10)
        self.source.settle(True)
        self.assertEqual(self.producer.producerState, "producing")

    def test_a_producer_that_was_paused_before(self) -> None:
        """A transport that somebody paused until there is a pipe: wanting bytes means resuming it."""
        self.producer.pauseProducing()
        self.source.settle(True)
        self.assertEqual(self.producer.producerState, "producing")

    def test_not_asked_after_the_end(self) -> None:
        self.source.end()
        self.producer.calls.clear()
        self.source.settle(False)
        self.source.settle(True)
        self.assertEqual(self.producer.calls, [])

    def test_pull(self) -> None:
        source = ProducerSource(None)
        source.register(self.producer, False)
        source.settle(True)
        source.settle(True)
        self.assertEqual(self.producer.calls, ["resume", "resume"])
        source.push(b"x")
        source.settle(True)
        source.settle(False)
        self.assertEqual(self.producer.calls, ["resume", "resume"], "a pull producer is not paused, only not asked")

    def test_two_producers(self) -> None:
        error = self.assertRaises(RuntimeError, self.source.register, object(), True)
        self.assertIn("registered already", str(error))

    def test_a_producer_that_registers_produces_already(self) -> None:
        """So it need not be told to go on, only to stop."""
        source = ProducerSource(None)
        source.register(self.producer, True)
        source.settle(True)
        self.assertEqual(self.producer.calls, [])
        source.settle(False)
        source.settle(True)
        self.assertEqual(self.producer.calls, ["pause", "resume"])

    def test_detached(self) -> None:
        self.source = ProducerSource(self.producer)
        self.source.push(b"x")
        self.source.detach()
        self.source.settle(False)
        self.assertEqual(self.producer.calls, [], "a transport is closed by who owns it")
        self.assertRaises(PipeFinished, self.source.push, b"y")

    def test_detached_from_a_registered_producer(self) -> None:
        """Nobody else knows of it: it is stopped, once, unless it has ended anyway."""
        for streaming in (False, True):
            producer = MemoryTransport()
            source = ProducerSource(None)
            source.register(producer, streaming)
            source.detach()
            source.settle(True)
            source.detach()
            self.assertEqual(producer.calls, ["stop"])

    def test_detached_after_the_end(self) -> None:
        """A producer that has unregistered is nobody's any more."""
        source = ProducerSource(None)
        source.register(self.producer, True)
        source.end()
        source.detach()
        self.assertEqual(self.producer.calls, [])

    def test_detached_from_inside_stop_producing(self) -> None:
        """A producer that is stopped may say that it ended."""
        source = ProducerSource(None)

        class Says(MemoryTransport):
            def stopProducing(self) -> None:
                MemoryTransport.stopProducing(self)
                source.end()

        producer = Says()
        source.register(producer, True)
        source.detach()
        self.assertEqual(producer.calls, ["stop"])


class SocketSourceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.engine = Engine(self)
        self.transport, self.peer = self.engine.connect()
        self.engine.settle()
        edge = self.transport.edge_socket()
        self.owner = Owner(edge)
        self.source = SocketSource(edge, self.owner)

    def test_it_reads_instead_of_the_transport(self) -> None:
        self.peer.write(b"abc")
        self.engine.settle()
        self.assertEqual((self.owner.calls, self.transport.protocol.received), (1, []))
        self.assertTrue(self.source.readable)
        self.assertEqual(read(self.source, 10), b"abc")
        self.assertFalse(self.source.readable)
        self.assertEqual(read(self.source, 10), WOULD_BLOCK)

    def test_back_pressure_costs_nothing(self) -> None:
        before = self.engine.statistics.control_calls
        self.source.settle(False)
        self.source.settle(True)
        self.assertEqual(self.engine.statistics.control_calls, before)

    def test_the_end(self) -> None:
        self.peer.half_close()
        self.engine.settle()
        self.assertEqual(read(self.source, 10), 0)

    def test_detached(self) -> None:
        self.source.detach()
        self.peer.write(b"abc")
        self.engine.settle()
        self.assertEqual(self.owner.calls, 0)
        self.transport.abortConnection()
        self.engine.settle()
        self.assertEqual(self.owner.lost, [])

    def test_detached_before_the_end(self) -> None:
        """The transport is closed by who owns it."""
        self.source.detach()
        self.peer.write(b"abc")
        self.engine.settle()
        self.assertEqual((self.owner.calls, self.transport.connected), (0, 1))
        self.assertFalse(self.transport.disconnecting)
