from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import Engine, FaultySpill, MemoryTransport
from tests.net.test_edge import Owner
from twisted_pipe.errors import DiskFailed
from twisted_pipe.net.sink import ConsumerSink, SocketSink
from twisted_pipe.net.spillfile import SpillDirectory


class ConsumerSinkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.consumer = MemoryTransport()
        self.producer = object()
        self.sink = ConsumerSink(self.consumer, self.producer, 200)

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

    def test_file(self) -> None:
        file = FaultySpill().open()
        file.write(0, [b"0123456789"])
        self.assertEqual(self.sink.file_part, 200)
        self.assertEqual(self.sink.send_file(file, 3, 4), 4)
        self.assertEqual(self.consumer.value(), b"3456")
        self.assertRaises(DiskFailed, self.sink.send_file, file, 10, 1)

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
        self.sink = SocketSink(edge, self.owner)

    def test_write(self) -> None:
        self.assertTrue(self.sink.writable)
        self.assertEqual(self.sink.write([b"ab", b"cd"]), 4)
        self.assertEqual(self.peer.read(), b"abcd")

    def test_full_and_free_again(self) -> None:
        while self.sink.writable:
            self.sink.write([bytes(1 << 20)])
        self.engine.settle()
        calls = self.owner.calls
        self.peer.read()
        self.engine.settle()
        self.assertTrue(self.sink.writable)
        self.assertEqual(self.owner.calls, calls + 1)

    def test_file(self) -> None:
        path = self.mktemp()
        os.mkdir(path)
        file = SpillDirectory(path).open()
        self.addCleanup(file.close)
        file.write(0, [b"0123456789"])
        self.assertEqual(self.sink.send_file(file, 3, 4), 4)
        self.assertEqual(self.peer.read(), b"3456")
        self.assertRaises(DiskFailed, self.sink.send_file, file, 10, 1)

    def test_detached(self) -> None:
        self.sink.detach()
        self.transport.abortConnection()
        self.engine.settle()
        self.assertEqual(self.owner.lost, [])
