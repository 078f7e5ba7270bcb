from __future__ import annotations

import errno
import os
import socket
from typing import Any

from twisted.internet import error
from twisted.internet.protocol import ClientFactory, ServerFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import Engine, HalfCloseRecorder, PullProducer, PushProducer, Recorder, os_error
from tests.net.test_edge import FaultySocket
from twisted_pipe.net.port import EdgePort
from twisted_pipe.net.transport import EdgeServer


class TransportCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.engine = Engine(self)

    def reasons(self, protocol: Recorder) -> list[type[BaseException] | None]:
        return [reason.type for reason in protocol.lost]


class StreamTests(TransportCase):
    def test_registered_once_and_never_again(self) -> None:
        """No epoll_ctl on pause, resume, writing, not writing, nor on close."""
        registered = self.engine.statistics.registered
        calls = self.engine.statistics.control_calls
        protocol = Recorder()
        transport, peer = self.engine.connect(protocol)
        self.assertEqual(self.engine.statistics.control_calls, calls + 1)
        for _ in range(5):
            transport.pauseProducing()
            peer.write(b"x")
            self.engine.settle()
            transport.resumeProducing()
            transport.write(b"y")
            self.engine.settle()
            peer.write(b"z")
            self.engine.settle()
        self.assertEqual(protocol.data, b"xz" * 5)
        self.assertEqual(peer.read(), b"y" * 5)
        self.assertEqual(self.engine.statistics.registered, registered + 1)
        transport.loseConnection()
        self.engine.settle()
        self.assertEqual(self.reasons(protocol), [error.ConnectionDone])
        self.assertEqual(self.engine.statistics.control_calls, calls + 1)
        self.assertEqual(self.engine.statistics.registered, registered)

    def test_close_issues_no_del(self) -> None:
        """The kernel forgets a closed descriptor by itself."""
        calls: list[str] = []
        self.engine.reactor.loop.debug = calls.append
        for end in ("loseConnection", "abortConnection"):
            transport, _peer = self.engine.connect()
            self.engine.settle()
            before = self.engine.statistics
            getattr(transport, end)()
            self.engine.settle()
            after = self.engine.statistics
            self.assertEqual(after.control_calls, before.control_calls)
            self.assertEqual(after.registered, before.registered - 1)
        self.assertEqual([line for line in calls if "add event" not in line and "op:" in line], [])

    def test_paused_gets_nothing(self) -> None:
        protocol = Recorder()
        transport, peer = self.engine.connect(protocol)
        transport.pauseProducing()
        peer.write(b"x")
        self.engine.settle()
        self.assertEqual(protocol.received, [])
        before = self.engine.statistics
        self.engine.turn(10)
        self.assertEqual(self.engine.statistics.events, before.events, "no spin while paused")
        transport.resumeProducing()
        self.assertEqual(protocol.received, [], "not from within resumeProducing")
        self.engine.settle()
        self.assertEqual(protocol.data, b"x")

    def test_paused_inside_data_received(self) -> None:
        """The rest stays in the kernel, and resuming finds it although no event comes any more."""
        protocol = Recorder(lambda data: transport.pauseProducing())
        transport, peer = self.engine.connect(protocol)
        transport.bufferSize = 3
        peer.write(b"abcdefgh")
        self.engine.settle()
        self.assertEqual(protocol.received, [b"abc"])
        for expected in ([b"abc", b"def"], [b"abc", b"def", b"gh"]):
            transport.resumeProducing()
            self.engine.settle()
            self.assertEqual(protocol.received, expected)

    def test_paused_and_resumed_inside_data_received(self) -> None:
        def bounce(data: bytes) -> None:
            transport.pauseProducing()
            transport.resumeProducing()

        protocol = Recorder(bounce)
        transport, peer = self.engine.connect(protocol)
        transport.bufferSize = 3
        peer.write(b"abcdefgh")
        self.engine.settle()
        self.assertEqual(protocol.received, [b"abc", b"def", b"gh"])

    def test_paused_while_the_end_comes(self) -> None:
        """Paused and reset: the event arrives while nobody wants it; resume sees it."""
        protocol = Recorder()
        transport, peer = self.engine.connect(protocol)
        transport.pauseProducing()
        peer.write(b"last words")
        peer.close()
        self.engine.settle()
        self.assertEqual(protocol.lost, [])
        transport.resumeProducing()
        self.engine.settle()
        self.assertEqual(protocol.data, b"last words")
        self.assertEqual(self.reasons(protocol), [error.ConnectionDone])

    def test_written_at_once_in_the_same_turn(self) -> None:
        transport, peer = self.engine.connect(Recorder(lambda data: transport.write(b"re:" + data)))
        peer.write(b"hello")
        self.engine.turn()
        self.assertEqual(peer.read(), b"re:hello")

    def test_write_inside_write(self) -> None:
        """A pull producer writes from within doWrite."""
        transport, peer = self.engine.connect()
        producer = PullProducer([b"a", b"b", b"c"])
        producer.start(transport)
        self.engine.settle()
        self.assertEqual(peer.read(), b"abc")
        self.assertEqual(producer.asked, 4)

    def test_push_producer(self) -> None:
        transport, peer = self.engine.connect()
        producer = PushProducer(100, 10_000)
        producer.start(transport)
        got = b""
        for _ in range(100):
            self.engine.settle()
            got += peer.read()
        self.assertEqual(len(got), 1_000_000)
        self.assertTrue(producer.paused)
        self.assertFalse(producer.stopped)

    def test_large_write(self) -> None:
        transport, peer = self.engine.connect()
        data = os.urandom(3 << 20)
        transport.write(data)
        transport.loseConnection()
        got = b""
        while not peer.ended:
            self.engine.settle()
            got += peer.read()
        self.assertEqual(got, data)

    def test_a_blocked_write_does_not_spin(self) -> None:
        transport, _peer = self.engine.connect()
        transport.write(bytes(4 << 20))
        self.engine.settle()
        before = self.engine.statistics
        self.engine.turn(20)
        after = self.engine.statistics
        self.assertEqual((after.events, after.posted), (before.events, before.posted))

    def test_no_kernel_memory(self) -> None:
        """ENOBUFS: tried again in a while, not at once."""
        protocol = Recorder()
        transport, peer = self.engine.connect(protocol)
        self.engine.settle()
        real = transport.socket
        transport.socket = faulty = FaultySocket(real, errno.ENOBUFS)
        transport.write(b"patience")
        self.engine.turn(3)
        self.assertTrue(1 <= faulty.tries <= 3, faulty.tries)
        transport.socket = real
        self.engine.advance(1)
        self.assertEqual(peer.read(), b"patience")
        peer.close()
        self.engine.settle()
        self.assertEqual(self.reasons(protocol), [error.ConnectionDone], "it was no error")

    def test_write_error(self) -> None:
        protocol = Recorder()
        transport, _peer = self.engine.connect(protocol)
        self.engine.settle()
        transport.socket = FaultySocket(transport.socket, errno.EHOSTUNREACH)
        transport.write(b"x")
        self.engine.settle()
        self.assertEqual(self.reasons(protocol), [error.ConnectionLost])

    def test_read_error(self) -> None:
        protocol = Recorder()
        transport, peer = self.engine.connect(protocol)
        transport.write(b"x")
        self.engine.settle()
        peer.close()  # with a byte unread: a reset
        self.engine.settle()
        self.assertEqual(self.reasons(protocol), [error.ConnectionLost])

    def test_error_only(self) -> None:
        """A reset whose event comes while the transport only writes."""
        protocol = Recorder()
        transport, peer = self.engine.connect(protocol)
        transport.pauseProducing()
        transport.write(bytes(4 << 20))
        self.engine.settle()
        peer.close()
        self.engine.settle()
        self.assertEqual(self.reasons(protocol), [error.ConnectionLost])


class ClosingTests(TransportCase):
    def test_closed_by_the_peer(self) -> None:
        before = self.engine.statistics.registered
        protocol = Recorder()
        _transport, peer = self.engine.connect(protocol)
        peer.write(b"bye")
        peer.close()
        self.engine.settle()
        self.assertEqual(protocol.data, b"bye")
        self.assertEqual(self.reasons(protocol), [error.ConnectionDone])
        self.assertEqual(self.engine.statistics.registered, before)

    def test_the_descriptor_is_closed(self) -> None:
        transport, _peer = self.engine.connect()
        fd = transport.fileno()
        transport.loseConnection()
        self.engine.settle()
        self.assertEqual(self.assertRaises(OSError, os.fstat, fd).errno, errno.EBADF)

    def test_closing_oneself_inside_data_received(self) -> None:
        protocol = Recorder(lambda data: transport.loseConnection())
        transport, peer = self.engine.connect(protocol)
        transport.bufferSize = 2
        peer.write(b"abcd")
        self.engine.settle()
        self.assertEqual(protocol.received, [b"ab"])
        self.assertEqual(self.reasons(protocol), [error.ConnectionDone])

    def test_aborting_oneself_inside_data_received(self) -> None:
        protocol = Recorder(lambda data: transport.abortConnection())
        transport, peer = self.engine.connect(protocol)
        transport.bufferSize = 2
        peer.write(b"abcd")
        self.engine.settle()
        self.assertEqual(protocol.received, [b"ab"])
        self.assertEqual(self.reasons(protocol), [error.ConnectionAborted])

    def test_losing_the_connection_inside_data_received(self) -> None:
        """C{connectionLost} from within: the socket is gone when doRead returns."""
        protocol = Recorder(lambda data: transport.connectionLost(Failure(error.ConnectionDone())))
        transport, peer = self.engine.connect(protocol)
        transport.bufferSize = 2
        peer.write(b"abcd")
        self.engine.settle()
        self.assertEqual(protocol.received, [b"ab"])
        self.assertEqual(len(protocol.lost), 1)

    def test_closing_each_other_inside_data_received(self) -> None:
        """Whoever comes first in the batch closes the rest: their events are nobody's."""
        transports: list[Any] = []

        def close_others(me: int) -> None:
            for index, transport in enumerate(transports):
                if index != me and transport.connected:
                    transport.connectionLost(Failure(error.ConnectionDone()))

        protocols = [Recorder(lambda data, me=index: close_others(me)) for index in range(5)]  # type: ignore[misc]
        peers = []
        for protocol in protocols:
            transport, peer = self.engine.connect(protocol)
            transports.append(transport)
            peers.append(peer)
        self.engine.settle()
        for peer in peers:
            peer.write(b"x")
        self.engine.settle()
        self.assertEqual(sorted(len(protocol.received) for protocol in protocols), [0, 0, 0, 0, 1])
        self.assertEqual(sorted(len(protocol.lost) for protocol in protocols), [0, 1, 1, 1, 1])

    def test_raising_inside_data_received(self) -> None:
        def fail(data: bytes) -> None:
            raise ZeroDivisionError

        protocol, other = Recorder(fail), Recorder()
        _transport, peer = self.engine.connect(protocol)
        _transport2, peer2 = self.engine.connect(other)
        peer.write(b"x")
        peer2.write(b"y")
        self.engine.turn()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.reasons(protocol), [ZeroDivisionError])
        self.assertEqual((other.data, other.lost), (b"y", []))

    def test_raising_inside_connection_lost(self) -> None:
        """It is logged, as on Twisted's own reactors, and hurts nobody else of the same batch."""

        class Raising(Recorder):
            def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
                raise ZeroDivisionError

        _transport, peer = self.engine.connect(Raising())
        other = Recorder()
        _transport2, peer2 = self.engine.connect(other)
        self.engine.settle()
        peer.close()
        peer2.write(b"y")
        self.engine.turn()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(other.data, b"y")

    def test_raising_in_the_read_half_and_closed_before(self) -> None:
        def fail(data: bytes) -> None:
            transport.connectionLost(Failure(error.ConnectionDone()))
            raise ZeroDivisionError

        protocol = Recorder(fail)
        transport, peer = self.engine.connect(protocol)
        peer.write(b"x")
        self.engine.settle()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.reasons(protocol), [error.ConnectionDone])

    def test_read_handler_closes_and_the_write_handler_is_not_called(self) -> None:
        protocol = Recorder(lambda data: transport.connectionLost(Failure(error.ConnectionDone())))
        transport, peer = self.engine.connect(protocol)
        transport.write(bytes(4 << 20))
        self.engine.settle()
        called: list[str] = []
        self.patch(transport, "doWrite", lambda: called.append("write"))
        peer.write(b"x")
        peer.read()  # IN and OUT come as one event
        self.engine.settle()
        self.assertEqual(called, [])
        self.assertEqual(len(protocol.lost), 1)

    def test_slot_reused_inside_the_read_handler(self) -> None:
        """The new owner of the slot, and of the descriptor's number, is not called."""
        newcomers: list[Recorder] = []

        def replace(data: bytes) -> None:
            fd = transport.fileno()
            transport.connectionLost(Failure(error.ConnectionDone()))
            newcomer, _ = self.engine.connect(Recorder())
            newcomers.append(newcomer.protocol)
            self.assertEqual(newcomer.fileno(), fd)
            called.clear()

        called: list[str] = []
        protocol = Recorder(replace)
        transport, peer = self.engine.connect(protocol)
        transport.write(bytes(4 << 20))
        self.engine.settle()
        peer.write(b"x")
        peer.read()
        self.engine.settle()
        self.assertEqual(len(newcomers), 1)
        self.assertEqual((newcomers[0].received, newcomers[0].lost), ([], []))

    def test_half_close_by_the_peer(self) -> None:
        protocol = HalfCloseRecorder()
        transport, peer = self.engine.connect(protocol)
        peer.write(b"question")
        peer.half_close()
        self.engine.settle()
        self.assertEqual((protocol.data, protocol.halves, protocol.lost), (b"question", ["read"], []))
        transport.write(b"answer")
        transport.loseConnection()
        self.engine.settle()
        self.assertEqual(peer.read(), b"answer")
        self.assertTrue(peer.ended)
        self.assertEqual(self.reasons(protocol), [error.ConnectionDone])

    def test_a_half_closed_connection_does_not_spin(self) -> None:
        protocol = HalfCloseRecorder()
        _transport, peer = self.engine.connect(protocol)
        peer.half_close()
        self.engine.settle()
        before = self.engine.statistics
        self.engine.turn(20)
        after = self.engine.statistics
        self.assertEqual((after.events, after.posted), (before.events, before.posted))
        self.assertEqual(protocol.halves, ["read"])

    def test_half_close_by_us(self) -> None:
        protocol = HalfCloseRecorder()
        transport, peer = self.engine.connect(protocol)
        transport.write(b"question")
        transport.loseWriteConnection()
        self.engine.settle()
        self.assertEqual(peer.read(), b"question")
        self.assertTrue(peer.ended)
        self.assertEqual(protocol.halves, ["write"])
        peer.write(b"answer")
        peer.close()
        self.engine.settle()
        self.assertEqual(protocol.data, b"answer")
        transport.loseConnection()
        self.engine.settle()
        self.assertEqual(len(protocol.lost), 1)

    def test_abort_after_a_large_write(self) -> None:
        protocol = Recorder()
        transport, _peer = self.engine.connect(protocol)
        transport.write(bytes(4 << 20))
        self.engine.settle()
        transport.abortConnection()
        self.engine.settle()
        self.assertEqual(self.reasons(protocol), [error.ConnectionAborted])
        self.assertEqual(self.engine.reactor.getDelayedCalls(), [])

    def test_closed_twice(self) -> None:
        protocol = Recorder()
        transport, _peer = self.engine.connect(protocol)
        for _ in range(2):
            transport.loseConnection()
            transport.abortConnection()
        self.engine.settle()
        transport.loseConnection()
        transport.abortConnection()
        transport.connectionLost(Failure(error.ConnectionDone()))
        self.engine.settle()
        self.assertEqual(len(protocol.lost), 1)


class PortTests(TransportCase):
    """A listening socket whose connections come from a list."""

    def port(self, *sockets: socket.socket) -> EdgePort:
        waiting = list(sockets)

        class Listening:
            def accept(self) -> Any:
                if not waiting:
                    raise os_error(errno.EAGAIN)
                return waiting.pop(0), ("127.0.0.1", 4321)

        self.protocols: list[Recorder] = []

        def build(address: object) -> Recorder:
            self.protocols.append(Recorder())
            return self.protocols[-1]

        factory = ServerFactory()
        factory.buildProtocol = build  # type: ignore[method-assign,assignment]
        port = EdgePort(0, factory, reactor=self.engine.reactor)
        port.socket = Listening()
        return port

    def test_accepted(self) -> None:
        pairs = [self.engine.pair() for _ in range(3)]
        before = self.engine.statistics
        port = self.port(*[ours for ours, _ in pairs])
        for accepted in range(1, 4):  # who does not come turn after turn is accepted one by one
            port.doRead()
            self.assertEqual(self.engine.statistics.accepted, before.accepted + accepted)
        self.assertEqual(self.engine.statistics.registered, before.registered + 3)
        for number, (_, peer) in enumerate(pairs):
            peer.write(str(number).encode())
        self.engine.settle()
        self.assertEqual([protocol.data for protocol in self.protocols], [b"0", b"1", b"2"])
        self.assertIsInstance(self.protocols[0].transport, EdgeServer)

    def test_accepted_connections_are_writable_from_birth(self) -> None:
        ours, peer = self.engine.pair()
        self.port(ours).doRead()
        self.protocols[0].transport.write(b"welcome")  # type: ignore[union-attr]
        self.engine.turn()
        self.assertEqual(peer.read(), b"welcome")


class ClientTests(TransportCase):
    def setUp(self) -> None:
        TransportCase.setUp(self)
        self.failures: list[Failure] = []
        self.factory = ClientFactory()
        self.factory.noisy = False
        self.factory.clientConnectionFailed = lambda connector, reason: (  # type: ignore[method-assign]
            self.failures.append(reason)
        )
        # bound and not listening: a port where nobody is, and nobody else can be
        self.bound = socket.socket()
        self.addCleanup(self.bound.close)
        self.bound.bind(("127.0.0.1", 0))

    def test_refused(self) -> None:
        before = self.engine.statistics.registered
        self.engine.reactor.connectTCP("127.0.0.1", self.bound.getsockname()[1], self.factory)
        self.engine.settle()
        self.assertEqual([failure.type for failure in self.failures], [error.ConnectionRefusedError])
        self.assertEqual(self.engine.statistics.registered, before)
        self.assertEqual(self.engine.reactor.getDelayedCalls(), [])

    def test_stopped_while_connecting(self) -> None:
        before = self.engine.statistics.registered
        connector = self.engine.reactor.connectTCP("127.0.0.1", self.bound.getsockname()[1], self.factory)
        connector.disconnect()
        self.engine.settle()
        self.assertEqual([failure.type for failure in self.failures], [error.UserError])
        self.assertEqual(self.engine.statistics.registered, before)
        self.assertEqual(self.engine.reactor.getDelayedCalls(), [])


class FairnessTests(SynchronousTestCase):
    def test_a_pull_producer_of_single_bytes_does_not_keep_the_turn(self) -> None:
        """The budget is one of calls as well as of bytes: half a mebibyte, a byte at a time, took seconds."""
        engine = Engine(self)
        transport, _peer = engine.connect()
        engine.settle()

        class Bytewise:
            resumed = 0

            def resumeProducing(self) -> None:
                self.resumed += 1
                transport.write(b"x")

            def stopProducing(self) -> None:
                pass

        producer = Bytewise()
        transport.registerProducer(producer, False)
        before = producer.resumed
        engine.turn()
        self.assertTrue(0 < producer.resumed - before <= 64, producer.resumed)
        transport.unregisterProducer()
