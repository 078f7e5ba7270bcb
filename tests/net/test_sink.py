from __future__ import annotations

import errno
import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import Engine, FaultySpill, MemoryTransport, raising
from tests.net.test_edge import Owner
from twisted_pipe.errors import DiskFailed
from twisted_pipe.net.sink import ConsumerSink, SocketSink
from twisted_pipe.net.spillfile import SpillDirectory, SpillFile


class ConsumerSinkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.consumer = MemoryTransport()
        self.producer = object()
        self.sink = ConsumerSink(self.consumer, 200)
        self.assertIsNone(self.consumer.producer, "not before it is attached")
        self.sink.attach(self.producer)

    def test_registered_as_a_push_producer(self) -> None:
        self.assertIs(self.consumer.producer, self.producer)
        self.assertTrue(self.consumer.streaming)
        self.assertTrue(self.sink.writable)

    def test_write(self) -> None:
        self.assertEqual(self.sink.write([b"ab", memoryview(b"cd"), bytearray(b"e")]), 5)
        self.assertEqual(self.consumer.value(), b"abcde")

    def test_the_consumer_gets_its_own_copy(self) -> None:
        """It keeps what it is given, while our buffers are read into again."""
        kept: list[bytes] = []
        self.consumer.write = kept.append  # type: ignore[method-assign]
        buffer = bytearray(b"abc")
        self.sink.write([memoryview(buffer)])
        buffer[:] = b"xyz"
        self.assertEqual(kept, [b"abc"])
        self.assertIs(type(kept[0]), bytes)

    def test_a_consumer_that_answers_at_once(self) -> None:
        """It may pause, or stop, whoever registers: what it says then stands."""

        class Full(MemoryTransport):
            def registerProducer(self, producer: Any, streaming: bool) -> None:
                MemoryTransport.registerProducer(self, producer, streaming)
                producer.pauseProducing()

        class Pauses:
            def pauseProducing(self) -> None:
                sink.writable = False

        sink = ConsumerSink(Full(), 200)
        self.assertTrue(sink.writable)
        sink.attach(Pauses())
        self.assertFalse(sink.writable)

    def test_file(self) -> None:
        file = FaultySpill().open(1000)
        file.write(0, [b"0123456789"])
        self.assertEqual(self.sink.file_part, 200)
        self.assertEqual(self.sink.send_file(file, 3, 4), 4)
        self.assertEqual(self.consumer.value(), b"3456")

    def test_a_file_that_cannot_be_read(self) -> None:
        """The disk's fault, and said so, whatever the error; nothing is handed over."""
        spill = FaultySpill()
        file = spill.open(1000)
        file.write(0, [b"0123456789"])
        error = self.assertRaises(DiskFailed, self.sink.send_file, file, 10, 1)
        self.assertEqual(str(error), "spilled bytes cannot be read: the file was truncated")
        for code in (errno.EIO, errno.ESTALE, errno.EPIPE, errno.ECONNRESET):
            spill.on_read = raising(code)
            error = self.assertRaises(DiskFailed, self.sink.send_file, file, 0, 1)
            self.assertEqual(str(error), f"spilled bytes cannot be read: {os.strerror(code)}")
            self.assertIsInstance(error.__cause__, OSError)
        self.assertEqual(self.consumer.value(), b"")

    def test_what_the_consumer_raises_is_its_own(self) -> None:
        """Not the disk's."""
        file = FaultySpill().open(1000)
        file.write(0, [b"0123456789"])
        self.consumer.write = raising(errno.EIO)  # type: ignore[method-assign]
        self.assertRaises(OSError, self.sink.send_file, file, 0, 1)

    def test_detached(self) -> None:
        self.sink.detach()
        self.assertIsNone(self.consumer.producer)
        self.assertFalse(self.sink.writable)


class SocketSinkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.engine = Engine(self)
        self.transport, self.peer = self.engine.connect()
        self.engine.settle()
        edge = self.transport.edge_socket()
        self.owner = Owner(edge)
        self.sink = SocketSink(edge)
        self.assertIsNone(edge.writer, "not before it is attached")
        self.sink.attach(self.owner)
        self.assertIs(edge.writer, self.owner)

    def test_write(self) -> None:
        self.assertTrue(self.sink.writable)
        self.assertEqual(self.sink.write([b"ab", b"cd"]), 4)
        self.assertEqual(self.peer.read(), b"abcd")

    def test_full_and_free_again(self) -> None:
        while self.sink.writable:
            self.sink.write([bytes(1 << 20)])
        self.sink.settle(True)
        self.engine.settle()
        calls = self.owner.calls
        self.peer.read()
        self.engine.settle()
        self.assertTrue(self.sink.writable)
        self.assertEqual(self.owner.calls, calls + 1)

    def test_file(self) -> None:
        file = self.file(100)
        file.write(0, [b"0123456789"])
        self.assertEqual(self.sink.send_file(file, 3, 4), 4)
        self.assertEqual(self.peer.read(), b"3456")

    def test_file_in_pieces(self) -> None:
        file = self.file(4)
        for offset, data in ((0, b"0123"), (4, b"4567"), (8, b"89")):
            file.write(offset, [data])
        self.assertEqual([self.sink.send_file(file, *span) for span in ((1, 3), (4, 4), (8, 1), (9, 1))], [3, 4, 1, 1])
        self.assertEqual(self.peer.read(), b"123456789")

    def test_a_file_that_cannot_be_read(self) -> None:
        file = self.file(100)
        file.write(0, [b"0123456789"])
        error = self.assertRaises(DiskFailed, self.sink.send_file, file, 10, 1)
        self.assertEqual(str(error), "spilled bytes cannot be read: the file was truncated")

    def file(self, piece: int) -> SpillFile:
        path = self.mktemp()
        os.mkdir(path)
        file = SpillDirectory(path).open(piece)
        self.addCleanup(file.close)
        return file

    def test_detached(self) -> None:
        self.sink.detach()
        self.transport.abortConnection()
        self.engine.settle()
        self.assertEqual(self.owner.lost, [])
