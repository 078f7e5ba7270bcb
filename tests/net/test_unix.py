from __future__ import annotations

import os
import socket
import stat
from typing import Any

from twisted.internet import error
from twisted.internet.interfaces import IFileDescriptorReceiver, IHalfCloseableProtocol, IUNIXTransport
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.net.fakes import PushProducer, open_fds
from tests.net.loopback import Loopback, client_factory
from twisted_pipe.net.transport import EdgeUnixClient, EdgeUnixServer


@implementer(IFileDescriptorReceiver, IHalfCloseableProtocol)
class Receiver(Protocol):
    """@ivar got: in order, the pieces of data and the descriptors (as numbers)."""

    def __init__(self) -> None:
        self.got: list[bytes | int] = []
        self.lost: list[Failure] = []
        self.halves: list[str] = []

    @property
    def data(self) -> bytes:
        return b"".join(item for item in self.got if isinstance(item, bytes))

    @property
    def descriptors(self) -> list[int]:
        return [item for item in self.got if isinstance(item, int)]

    def dataReceived(self, data: bytes) -> None:
        self.got.append(data)

    def fileDescriptorReceived(self, descriptor: int) -> None:
        self.got.append(descriptor)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.lost.append(reason)

    def readConnectionLost(self) -> None:
        self.halves.append("read")

    def writeConnectionLost(self) -> None:
        self.halves.append("write")


class UnixCase(SynchronousTestCase):
    server_class: Any = Receiver
    client_class: Any = Receiver

    def setUp(self) -> None:
        self.engine = Loopback(self)
        reactor = self.engine.reactor
        path = os.path.relpath(self.mktemp())
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.server, self.client = self.server_class(), self.client_class()
        factory = ServerFactory()
        factory.noisy = False
        factory.buildProtocol = lambda address: self.server  # type: ignore[method-assign]
        reactor.listenUNIX(path, factory)
        reactor.connectUNIX(path, client_factory(self.client))
        self.engine.settle()
        self.addCleanup(self.close_received)

    def close_received(self) -> None:
        for protocol in (self.server, self.client):
            for number in getattr(protocol, "descriptors", ()):
                os.close(number)

    def file(self, content: bytes) -> int:
        """A descriptor with something to read."""
        out, into = os.pipe()
        os.write(into, content)
        os.close(into)
        self.addCleanup(os.close, out)
        return out

    def next(self) -> None:
        self.engine.clock.advance(1)
        self.engine.settle()


class StreamTests(UnixCase):
    def test_kinds(self) -> None:
        self.assertIsInstance(self.server.transport, EdgeUnixServer)
        self.assertIsInstance(self.client.transport, EdgeUnixClient)
        self.assertTrue(IUNIXTransport.providedBy(self.server.transport))

    def test_echo(self) -> None:
        self.server.dataReceived = lambda data: self.server.transport.write(b"re:" + data)
        self.client.transport.write(b"hello")
        self.engine.turn()
        self.engine.turn()
        self.assertEqual(self.client.data, b"re:hello")

    def test_written_at_once(self) -> None:
        self.next()
        waits = self.engine.statistics.waits
        self.client.transport.write(b"x")
        self.client.transport.write(b"y")
        self.client.transport.write(b"z")
        self.assertEqual(self.server.transport.socket.recv(10), b"x")
        self.assertEqual(self.engine.statistics.waits, waits)
        self.engine.settle()
        self.assertEqual(self.server.data, b"yz")

    def test_large_data_with_back_pressure(self) -> None:
        data = os.urandom(3 << 20)
        self.server.transport.pauseProducing()
        self.client.transport.write(data)
        self.next()
        self.assertEqual(self.server.got, [])
        before = self.engine.statistics
        self.engine.turn(10)
        self.assertEqual(self.engine.statistics.events, before.events)
        self.server.transport.resumeProducing()
        self.engine.settle()
        self.assertTrue(self.server.data == data)

    def test_push_producer(self) -> None:
        producer = PushProducer(100, 20_000)
        producer.start(self.client.transport)
        self.engine.settle()
        self.assertEqual(len(self.server.data), 2_000_000)
        self.assertTrue(producer.paused)

    def test_half_close(self) -> None:
        self.client.transport.write(b"question")
        self.client.transport.loseWriteConnection()
        self.next()
        self.assertEqual((self.server.data, self.server.halves, self.client.halves), (b"question", ["read"], ["write"]))
        self.server.transport.write(b"answer")
        self.server.transport.loseConnection()
        self.next()
        self.assertEqual(self.client.data, b"answer")
        self.assertEqual([reason.type for reason in self.server.lost], [error.ConnectionDone])

    def test_closed(self) -> None:
        registered = self.engine.statistics.registered
        self.client.transport.loseConnection()
        self.next()
        self.server.transport.loseConnection()
        self.next()
        self.assertEqual((len(self.server.lost), len(self.client.lost)), (1, 1))
        self.assertEqual(self.engine.statistics.registered, registered - 2)

    def test_registered_once(self) -> None:
        calls = self.engine.statistics.control_calls
        for _ in range(3):
            self.client.transport.write(bytes(1 << 20))
            self.next()
            self.server.transport.write(b"x")
            self.next()
        self.assertEqual(self.engine.statistics.control_calls, calls)


class DescriptorTests(UnixCase):
    def read(self, number: Any) -> bytes:
        return os.read(number, 100)

    def test_one(self) -> None:
        self.client.transport.sendFileDescriptor(self.file(b"content"))
        self.client.transport.write(b"x")
        self.next()
        descriptor, data = self.server.got
        self.assertEqual((self.read(descriptor), data), (b"content", b"x"))
        self.assertFalse(os.get_inheritable(descriptor))

    def test_both_ways_at_once(self) -> None:
        for side, other in ((self.client, self.server), (self.server, self.client)):
            side.transport.sendFileDescriptor(self.file(b"for " + type(other).__name__.encode()))
            side.transport.write(b"hello")
        self.next()
        for side in (self.client, self.server):
            self.assertEqual((side.data, self.read(side.descriptors[0])), (b"hello", b"for Receiver"))

    def test_among_data(self) -> None:
        """Each comes before the byte that it was sent along with, and all bytes come."""
        transport = self.client.transport
        transport.write(b"before")
        self.next()
        for number in range(5):
            transport.sendFileDescriptor(self.file(b"%d" % number))
            transport.write(b"<%d>" % number)
            self.next()
        transport.write(b"after")
        self.next()
        self.assertEqual(self.server.data, b"before<0><1><2><3><4>after")
        self.assertEqual([self.read(number) for number in self.server.descriptors], [b"%d" % n for n in range(5)])

    def test_many(self) -> None:
        """More than a message takes, and more than one turn."""
        files = [self.file(b"%d" % number) for number in range(300)]
        for number in files:
            self.client.transport.sendFileDescriptor(number)
        self.client.transport.write(b"x" * 500)
        self.engine.settle()
        self.assertEqual(len(self.server.data), 500)
        self.assertEqual([self.read(number) for number in self.server.descriptors], [b"%d" % n for n in range(300)])

    def test_very_many_with_a_byte_each(self) -> None:
        """More than IOV_MAX parts, each of one byte: enough bytes for all."""
        number = self.file(b"")
        for _ in range(1100):
            self.client.transport.sendFileDescriptor(number)
            self.client.transport.write(b"x")
        self.engine.settle(3000)
        self.assertEqual((len(self.server.descriptors), len(self.server.data)), (1100, 1100))
        self.assertEqual(self.client.lost, [])

    def test_many_in_one_message(self) -> None:
        """From somebody who packs them."""
        files = [self.file(b"%d" % number) for number in range(200)]
        socket.send_fds(self.client.transport.socket, [b"all of them"], files)
        self.next()
        self.assertEqual(self.server.data, b"all of them")
        self.assertEqual([self.read(number) for number in self.server.descriptors], [b"%d" % n for n in range(200)])

    def test_without_a_byte(self) -> None:
        """It cannot be sent alone: an error, as on Twisted's own transports."""
        self.client.transport.sendFileDescriptor(self.file(b""))
        self.next()
        self.assertEqual([reason.type for reason in self.client.lost], [error.FileDescriptorOverrun])
        self.assertEqual(self.server.descriptors, [])

    def test_fewer_bytes_than_descriptors(self) -> None:
        for _ in range(3):
            self.client.transport.sendFileDescriptor(self.file(b""))
        self.client.transport.write(b"xx")
        self.next()
        self.assertEqual([reason.type for reason in self.client.lost], [error.FileDescriptorOverrun])

    def test_when_the_socket_is_full(self) -> None:
        data = os.urandom(2 << 20)
        self.server.transport.pauseProducing()
        self.client.transport.write(data)
        self.next()
        self.client.transport.sendFileDescriptor(self.file(b"content"))
        self.client.transport.write(b"last")
        self.next()
        self.server.transport.resumeProducing()
        self.engine.settle()
        self.assertTrue(self.server.data == data + b"last")
        self.assertEqual(self.read(self.server.descriptors[0]), b"content")

    def test_from_within_data_received(self) -> None:
        def respond(data: bytes) -> None:
            self.server.transport.sendFileDescriptor(self.file(b"content"))
            self.server.transport.write(b"here")

        self.server.dataReceived = respond
        self.client.transport.write(b"please")
        self.next()
        self.assertEqual((self.client.data, self.read(self.client.descriptors[0])), (b"here", b"content"))

    def test_and_closed(self) -> None:
        self.client.transport.sendFileDescriptor(self.file(b"content"))
        self.client.transport.write(b"x")
        self.client.transport.loseConnection()
        self.next()
        self.assertEqual((self.server.data, self.read(self.server.descriptors[0])), (b"x", b"content"))
        self.assertEqual([reason.type for reason in self.client.lost], [error.ConnectionDone])


class UnwantedTests(UnixCase):
    class server_class(Protocol):
        """No C{IFileDescriptorReceiver}."""

        got = b""

        def dataReceived(self, data: bytes) -> None:
            self.got += data

    def test_closed_and_the_bytes_kept(self) -> None:
        number = self.file(b"")
        before = open_fds()
        for _ in range(3):
            self.client.transport.sendFileDescriptor(number)
            self.client.transport.write(b"x")
            self.next()
        self.assertEqual(self.server.got, b"xxx")
        self.assertEqual(open_fds(), before)


class AdoptedTests(SynchronousTestCase):
    """A socket that was made elsewhere: who made it has said what it is, and may go on with it."""

    def setUp(self) -> None:
        self.engine = Loopback(self)
        self.path = os.path.relpath(self.mktemp())
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        self.made = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.made.close)
        self.made.setblocking(False)
        self.made.bind(self.path)
        os.chmod(self.path, 0o600)
        self.made.listen(100)
        self.server = Receiver()
        self.factory = ServerFactory()
        self.factory.noisy = False
        self.factory.buildProtocol = lambda address: self.server  # type: ignore[method-assign]
        self.port = self.engine.reactor.adoptStreamPort(self.made.fileno(), socket.AF_UNIX, self.factory)

    def connected(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.setblocking(False)
        client.connect(self.path)
        return client

    def stop(self) -> None:
        stopped = self.port.stopListening()
        self.engine.settle()
        self.successResultOf(stopped)

    def test_serves(self) -> None:
        self.connected().send(b"hello")
        self.engine.settle()
        self.assertEqual(self.server.data, b"hello")

    def test_mode_and_backlog_stay(self) -> None:
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
        for _ in range(60):  # more than Twisted's own backlog
            self.connected()

    def test_stays_when_listening_stops(self) -> None:
        """With another process that shares it, or the next one."""
        files = open_fds()
        self.stop()
        self.assertEqual(self.factory.numPorts, 0)
        self.assertEqual(len(open_fds()), len(files) - 1)
        self.connected()
        self.made.accept()[0].close()

    def closed(self, path: str) -> list[str]:
        """What the log says when a listener of our own is closed."""
        port = self.engine.reactor.listenUNIX(path, self.factory, wantPID=True)
        with capturedLogs() as events:
            self.before_closing()
            stopped = port.stopListening()
            self.engine.settle()
        self.successResultOf(stopped)
        self.assertFalse(port.connected)
        return [str(formatEvent(event)) for event in events if event.get("log_level") is LogLevel.warn]

    def before_closing(self) -> None:
        """Something happens to its file."""

    def test_closed_though_its_file_is_gone(self) -> None:
        path = self.path + ".ours"
        self.before_closing = lambda: os.unlink(path)  # type: ignore[method-assign]
        self.assertEqual(self.closed(path), [])
        self.assertFalse(os.path.lexists(path + ".lock"))

    def test_closed_though_its_file_cannot_be_removed(self) -> None:
        """As of a daemon that has shed the right to it."""

        def refuse(path: str) -> None:
            raise PermissionError(13, "Permission denied")

        path = self.path + ".ours"
        self.before_closing = lambda: self.patch(os, "unlink", refuse)  # type: ignore[method-assign]
        self.assertEqual(self.closed(path), [f"unix {path}: its file cannot be removed: Permission denied"])

    def test_one_of_our_own_goes(self) -> None:
        path = self.path + ".ours"
        port = self.engine.reactor.listenUNIX(path, self.factory, mode=0o640)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o640)
        port.stopListening()
        self.engine.settle()
        self.assertFalse(os.path.exists(path))
        self.stop()
