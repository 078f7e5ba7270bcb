from __future__ import annotations

import contextlib
import socket
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IConsumer, IHalfCloseableDescriptor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.net.fakes import Engine, HalfCloseRecorder, MemoryTransport, PullProducer
from tests.net.tls import TlsPair
from twisted_pipe.errors import Side
from twisted_pipe.net import closing
from twisted_pipe.net.closing import abort, abort_when_sent, close_when_sent, departed, half_close, lose
from twisted_pipe.net.driver import EventPipe
from twisted_pipe.net.edge import edge_of
from twisted_pipe.net.wire import TransportWire


class OnlyLose:
    """A transport of the plainest sort."""

    def __init__(self) -> None:
        self.ends: list[str] = []

    def loseConnection(self) -> None:
        self.ends.append("lose")


class ConsumerTests(SynchronousTestCase):
    def test_it_cannot_be_closed(self) -> None:
        """A mere consumer; no harm is done."""
        half_close(object())
        abort(object())
        abort_when_sent(object(), Clock(), 60)


class HalfCloseTests(SynchronousTestCase):
    def test_tcp(self) -> None:
        transport = MemoryTransport()
        half_close(transport)
        self.assertEqual(transport.ends, ["half"])

    def test_half_closeable(self) -> None:
        @implementer(IHalfCloseableDescriptor)
        class Descriptor(OnlyLose):
            def loseWriteConnection(self) -> None:
                self.ends.append("half")

        descriptor = Descriptor()
        half_close(descriptor)
        self.assertEqual(descriptor.ends, ["half"])

    def test_no_halves(self) -> None:
        for transport in (OnlyLose(), StringTransport()):
            half_close(transport)
        self.assertEqual(OnlyLose().ends, [])
        plain = OnlyLose()
        half_close(plain)
        self.assertEqual(plain.ends, ["lose"])

    def test_a_child_s_stdin_is_closed(self) -> None:
        """It inherits an end of its sending side that ends nothing: C{FileDescriptor.loseWriteConnection}."""

        class Stdin(FileDescriptor):
            lost = False

            def loseConnection(self, reason: Any = None) -> None:
                self.lost = True

            def loseWriteConnection(self) -> None:
                raise AssertionError("it would stay open")

        stdin = Stdin(reactor=MemoryReactorClock())
        half_close(stdin)
        self.assertTrue(stdin.lost)

    def test_a_consumer_that_is_no_transport_is_left_open(self) -> None:
        """It has been told its end. A request of twisted.web would close the connection of its client."""

        @implementer(IConsumer)
        class Request(OnlyLose):
            pass

        request = Request()
        half_close(request)
        self.assertEqual(request.ends, [])
        abort(request)
        self.assertEqual(request.ends, ["lose"])

    def test_request_of_http_2_is_reset(self) -> None:
        """Closing the stream would end its response cleanly: half of it would look whole."""

        class Stream:
            def __init__(self) -> None:
                self.ends: list[str] = []

            def abortConnection(self) -> None:
                self.ends.append("reset")

        @implementer(IConsumer)
        class Request(OnlyLose):
            channel: Stream | None = Stream()

        for end in (abort, lambda request: abort_when_sent(request, Clock(), 60)):
            request, stream = Request(), Stream()
            request.channel = stream
            end(request)
            self.assertEqual((request.ends, stream.ends), ([], ["reset"]))
        request = Request()
        request.channel = None  # the client had gone
        abort(request)

    def test_the_peer_may_go_on(self) -> None:
        engine = Engine(self)
        protocol = HalfCloseRecorder()
        transport, peer = engine.connect(protocol)
        transport.write(b"last")
        half_close(transport)
        engine.settle()
        self.assertEqual(peer.read(), b"last")
        self.assertTrue(peer.ended)
        peer.write(b"answer")
        engine.settle()
        self.assertEqual(protocol.data, b"answer")

    def test_tls_has_no_halves(self) -> None:
        """Closing the TCP half below TLS would cut off what TLS still holds, and its own end of stream."""
        pair = TlsPair()
        pair.server.transport.write(b"all of it")
        half_close(pair.server.transport)
        pair.pump()
        self.assertEqual(pair.client.data, b"all of it")
        self.assertEqual(pair.client_raw.shutdowns, [])
        self.assertNotIn("half", pair.server_raw.ends)
        self.assertTrue(pair.clean_end, "TLS was not told of the end")


class AbortTests(SynchronousTestCase):
    def test_abort(self) -> None:
        transport = MemoryTransport()
        abort(transport)
        self.assertEqual(transport.ends, ["abort"])

    def test_cannot_abort(self) -> None:
        transport = OnlyLose()
        abort(transport)
        self.assertEqual(transport.ends, ["lose"])

    def test_gone_already(self) -> None:
        engine = Engine(self)
        transport, _peer = engine.connect(protocol := HalfCloseRecorder())
        transport.abortConnection()
        engine.settle()
        abort(transport)
        engine.settle()
        self.assertEqual(len(protocol.lost), 1)

    def test_tls_that_is_gone_already(self) -> None:
        """Twisted's has no TLS connection left then, which its C{abortConnection} does not expect."""
        pair = TlsPair()
        transport = pair.server.transport
        pair.lose_server()
        abort(transport)
        abort_when_sent(transport, Clock(), 60)
        self.assertNotIn("abort", pair.server_raw.ends)


class AbortWhenSentTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.engine = Engine(self)
        self.protocol = HalfCloseRecorder()
        self.transport, self.peer = self.engine.connect(self.protocol)

    def fill(self) -> int:
        """Give the kernel as much as it takes."""
        edge = self.transport.edge_socket()
        self.transport.pauseProducing()
        self.engine.settle()
        sent = 0
        while edge.writable:
            sent += edge.send([bytes(1 << 20)])
        return sent

    def reasons(self) -> list[Any]:
        return [reason.type for reason in self.protocol.lost]

    def test_nothing_unsent(self) -> None:
        abort_when_sent(self.transport, self.engine.reactor, 60)
        self.engine.settle()
        self.assertEqual(self.reasons(), [ConnectionAborted])
        self.assertEqual(self.engine.reactor.getDelayedCalls(), [])

    def test_it_waits_for_the_peer(self) -> None:
        sent = self.fill()
        abort_when_sent(self.transport, self.engine.reactor, 60)
        self.engine.advance(5)
        self.assertEqual(self.reasons(), [])
        got = len(self.peer.read())
        self.assertEqual(got, sent)
        self.engine.advance(1)
        self.assertEqual(self.reasons(), [ConnectionAborted])
        self.assertEqual(self.engine.reactor.getDelayedCalls(), [])

    def test_not_for_ever(self) -> None:
        self.fill()
        abort_when_sent(self.transport, self.engine.reactor, 3)
        self.engine.advance(2.9)
        self.assertEqual(self.reasons(), [])
        self.engine.advance(0.3)
        self.assertEqual(self.reasons(), [ConnectionAborted])
        self.assertEqual(self.engine.reactor.getDelayedCalls(), [])

    def test_for_ever(self) -> None:
        self.fill()
        abort_when_sent(self.transport, self.engine.reactor, 0)
        self.engine.advance(100, 0.5)
        self.assertEqual(self.reasons(), [])

    def test_gone_meanwhile(self) -> None:
        self.fill()
        abort_when_sent(self.transport, self.engine.reactor, 60)
        self.transport.abortConnection()
        self.engine.advance(1)
        self.assertEqual(self.reasons(), [ConnectionAborted])
        self.assertEqual(self.engine.reactor.getDelayedCalls(), [])

    def test_other_tcp(self) -> None:
        """Its buffer cannot be seen, and a reset would lose it."""
        transport = MemoryTransport()
        abort_when_sent(transport, Clock(), 60)
        self.assertEqual(transport.ends, ["lose"])

    def test_not_tcp(self) -> None:
        transport = StringTransport()
        abort_when_sent(transport, Clock(), 60)
        self.assertTrue(transport.disconnected)

    def test_tls_is_not_ended_cleanly(self) -> None:
        """A TLS close alert says that all is there; a stream that broke off must not send one."""
        pair = TlsPair()
        abort_when_sent(pair.server.transport, Clock(), 60)
        pair.pump()
        self.assertFalse(pair.clean_end)
        self.assertIn("abort", pair.server_raw.ends)

    def test_a_wrapped_transport(self) -> None:
        """C{ProtocolWrapper} passes for a TCP transport; no harm is done."""
        raw = MemoryTransport()
        wrapper = ProtocolWrapper(WrappingFactory(Factory()), Protocol())
        wrapper.makeConnection(raw)
        abort_when_sent(wrapper, Clock(), 60)
        self.assertEqual(raw.ends, ["lose"])


class OtherReactorTests(SynchronousTestCase):
    """L{abort_when_sent} on the transports of Twisted's own reactors, which a test turns by hand."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        ours, self.peer = socket.socketpair()
        self.addCleanup(self.peer.close)
        self.addCleanup(ours.close)
        self.peer.setblocking(False)
        self.protocol = HalfCloseRecorder()
        self.transport = Connection(ours, self.protocol, self.reactor)
        self.transport.connected = 1
        self.protocol.makeConnection(self.transport)
        self.transport.startReading()

    def turn(self) -> bytes:
        """It writes what it can, and the peer takes what is there."""
        if self.transport in self.reactor.writers:
            self.transport.doWrite()
        with contextlib.suppress(BlockingIOError):
            return self.peer.recv(1 << 20)
        return b""

    def reasons(self) -> list[Any]:
        return [reason.type for reason in self.protocol.lost]

    def test_nothing_unsent(self) -> None:
        abort_when_sent(self.transport, self.reactor, 60)
        self.turn()
        self.reactor.pump([0.05, 0])
        self.assertEqual(self.reasons(), [ConnectionAborted])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_everything_arrives_before(self) -> None:
        data = bytes(range(256)) * 10000
        self.transport.write(data)
        abort_when_sent(self.transport, self.reactor, 60)
        got = b""
        while len(got) < len(data):
            self.assertEqual(self.reasons(), [])
            got += self.turn()
            self.reactor.advance(0.01)
        self.turn()
        self.reactor.pump([1, 0])
        self.assertEqual((got == data, self.reasons()), (True, [ConnectionAborted]))

    def test_the_kernel_s_share_arrives_before(self) -> None:
        """A buffer that is empty is not yet the peer's."""
        self.transport.write(b"x" * 1000)
        self.transport.doWrite()
        abort_when_sent(self.transport, self.reactor, 60)
        self.transport.doWrite()
        self.reactor.pump([0.5] * 10)
        self.assertEqual(self.reasons(), [])
        self.assertEqual(self.turn(), b"x" * 1000)
        self.reactor.pump([1, 0])
        self.assertEqual(self.reasons(), [ConnectionAborted])

    def test_not_for_ever(self) -> None:
        self.transport.write(bytes(1 << 22))
        abort_when_sent(self.transport, self.reactor, 3)
        self.transport.doWrite()
        self.reactor.pump([0.1] * 29)
        self.assertEqual(self.reasons(), [])
        self.reactor.pump([0.1] * 3)
        self.assertEqual(self.reasons(), [ConnectionAborted])

    def test_gone_meanwhile(self) -> None:
        self.transport.write(bytes(1 << 22))
        abort_when_sent(self.transport, self.reactor, 60)
        self.transport.connectionLost(Failure(ConnectionDone()))
        departed(self.transport)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.reasons(), [ConnectionDone])

    def test_a_program_s_own_producer(self) -> None:
        """It will not be told when the buffer is empty, and a reset would lose that: it goes when its producer does."""
        producer = PullProducer([])
        self.transport.registerProducer(producer, True)
        abort_when_sent(self.transport, self.reactor, 60)
        self.assertTrue(self.transport.disconnecting)


class Socketed(MemoryTransport):
    """@ivar socket: below it."""

    def __init__(self, sock: Any) -> None:
        MemoryTransport.__init__(self)
        self.socket = sock

    def fileno(self) -> int:
        return int(self.socket.fileno())


class LoseTests(SynchronousTestCase):
    """Transports that go when what they hold has gone, and TLS has been answered."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.transport = MemoryTransport()

    def ends(self, after: float) -> list[str]:
        self.clock.pump([0.1] * round(after * 10))
        return self.transport.ends

    def test_one_that_goes(self) -> None:
        lose(self.transport, self.clock, 60)
        self.transport.disconnected = True
        self.assertEqual(self.ends(0.1), ["lose"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_whose_protocol_says_that_it_is_gone(self) -> None:
        """Nothing is left in the reactor."""
        wire = TransportWire()
        wire.makeConnection(self.transport)
        lose(self.transport, self.clock, 60)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.transport.disconnected = True
        wire.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        wire.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.ends(61), ["lose"])

    def test_nobody_remembers_one_that_is_over(self) -> None:
        before = dict(closing._departures)  # other tests leave their clocks where they stand
        for gone, after in ((True, 1), (False, 4)):
            self.transport = MemoryTransport()
            lose(self.transport, self.clock, 3)
            self.transport.disconnected = gone
            self.ends(after)
            departed(self.transport)
        self.assertEqual(closing._departures, before)

    def test_one_that_does_not(self) -> None:
        lose(self.transport, self.clock, 3)
        self.assertEqual(self.ends(2.9), ["lose"])
        self.assertEqual(self.ends(0.2), ["lose", "abort"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_however_it_is_to_be_closed(self) -> None:
        for close, first in ((close_when_sent, ["half", "lose"]), (abort_when_sent, ["lose"])):
            self.setUp()
            close(self.transport, self.clock, 3)
            self.assertEqual(self.ends(2.9), first)
            self.assertEqual(self.ends(0.2), [*first, "abort"])

    def test_for_ever(self) -> None:
        lose(self.transport, self.clock, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_as_long_as_its_peer_takes_something(self) -> None:
        engine = Engine(self)
        ours, peer = engine.pair()
        self.transport = Socketed(ours)
        with contextlib.suppress(BlockingIOError):
            while True:
                ours.send(bytes(4096))
        lose(self.transport, self.clock, 3)
        for _ in range(5):
            self.assertEqual(self.ends(2.5), ["lose"])
            self.assertNotEqual(peer.read(8192), b"")
        self.assertEqual(self.ends(4), ["lose", "abort"])

    def test_one_whose_socket_is_gone(self) -> None:
        for fd in (-1, 1 << 20):
            self.setUp()
            self.transport.fileno = lambda fd=fd: fd  # type: ignore[attr-defined]
            lose(self.transport, self.clock, 3)
            self.assertEqual(self.ends(3.1), ["lose", "abort"])

    def test_one_of_the_engine_s_own(self) -> None:
        """What its kernel takes no more of stays in the transport's buffer."""
        engine = Engine(self)
        protocol = HalfCloseRecorder()
        transport, _peer = engine.connect(protocol)
        transport.write(bytes(10_000_000))
        engine.settle()
        close_when_sent(transport, engine.reactor, 3)
        engine.advance(20, 0.1)
        self.assertEqual([reason.type for reason in protocol.lost], [ConnectionAborted])
        self.assertEqual(engine.reactor.getDelayedCalls(), [])

    def test_tls_that_is_not_answered(self) -> None:
        pair = TlsPair()
        close_when_sent(pair.server.transport, self.clock, 3)
        self.clock.pump([0.1] * 29)
        self.assertNotIn("abort", pair.server_raw.ends)
        self.clock.pump([0.1] * 2)
        self.assertIn("abort", pair.server_raw.ends)


class GoneTests(SynchronousTestCase):
    """What is done to a transport that is gone, on the reactor's own transports."""

    def setUp(self) -> None:
        self.engine = Engine(self)
        self.transport, self.peer = self.engine.connect()
        self.peer.close()
        self.engine.settle()
        self.assertTrue(self.transport.disconnected)

    def test_closing_does_nothing(self) -> None:
        half_close(self.transport)
        close_when_sent(self.transport, self.engine.reactor, 1)
        abort_when_sent(self.transport, self.engine.reactor, 1)
        abort(self.transport)
        self.assertEqual(self.engine.reactor.getDelayedCalls(), [])

    def test_there_is_no_socket_to_work_on(self) -> None:
        self.assertIsNone(edge_of(self.transport))

    def test_a_pipe_to_it_fails(self) -> None:
        pipe = EventPipe(None, self.transport, clock=self.engine.reactor)
        outcome = self.successResultOf(pipe.done)
        self.assertEqual(outcome.error.side, Side.DOWNSTREAM)

    def test_a_pipe_from_it_fails(self) -> None:
        pipe = EventPipe(self.transport, StringTransport(), clock=self.engine.reactor)
        outcome = self.successResultOf(pipe.done)
        self.assertEqual(str(outcome.error), "the connection is gone")
