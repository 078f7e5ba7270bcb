from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import Reader, Recorder
from tests.net.loopback import Loopback, RelayRecorder
from twisted_pipe.net import loop
from twisted_pipe.net.relay import Relay


class LoopCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.engine = Loopback(self)
        self.loop = self.engine.reactor.loop
        self.engine.settle()

    def count(self, name: str) -> int:
        number: int = getattr(self.engine.statistics, name)
        return number

    def ghost(self) -> None:
        """A descriptor is closed while a duplicate of it lives, and has something to read for ever."""
        ours, peer = self.engine.pair()
        reader = Reader(ours)
        self.engine.reactor.addReader(reader)
        duplicate = ours.dup()
        self.addCleanup(duplicate.close)
        ours.close()
        self.engine.reactor.removeReader(reader)
        peer.write(b"boo")


class StatisticsTests(LoopCase):
    def setUp(self) -> None:
        LoopCase.setUp(self)
        self.passed = 0.0
        self.patch(loop, "time", SimpleNamespace(monotonic=lambda: self.passed))

    def test_waits_and_events(self) -> None:
        _transport, peer = self.engine.connect()
        self.engine.settle()
        waits, events = self.count("waits"), self.count("events")
        self.engine.turn(3)
        self.assertEqual((self.count("waits"), self.count("events")), (waits + 3, events))
        peer.write(b"x")
        self.engine.turn()
        self.assertEqual((self.count("waits"), self.count("events")), (waits + 4, events + 1))

    def test_posted_and_queued(self) -> None:
        transport, peer = self.engine.connect()
        self.engine.settle()
        posted = self.count("posted")
        transport.pauseProducing()
        peer.write(b"x")
        self.engine.settle()
        self.assertEqual((self.count("posted"), self.count("queued")), (posted + 1, 0))
        transport.resumeProducing()
        transport.resumeProducing()
        self.assertEqual((self.count("posted"), self.count("queued")), (posted + 2, 1))
        self.engine.turn()
        self.assertEqual(self.count("queued"), 0)

    def test_deepest_queue(self) -> None:
        connections = [self.engine.connect() for _ in range(7)]
        self.engine.settle()
        for transport, peer in connections:
            transport.pauseProducing()
            peer.write(b"x")
        self.engine.settle()
        deepest = self.count("deepest_queue")
        self.assertTrue(deepest >= 7)
        more = [self.engine.connect() for _ in range(20)]
        self.engine.settle()
        self.assertTrue(self.count("deepest_queue") >= 20)
        del more

    def test_stale(self) -> None:
        """Closed by another handler of the same batch."""
        first, first_peer = self.engine.connect()
        second, second_peer = self.engine.connect()
        self.engine.settle()

        def close_both(data: bytes) -> None:
            for transport in (first, second):
                if transport.connected:
                    transport.connectionLost(Failure(ConnectionDone()))

        first.protocol.on_data = second.protocol.on_data = close_both
        first_peer.write(b"x")
        second_peer.write(b"x")
        stale = self.count("stale_events")
        self.engine.settle()
        self.assertEqual(self.count("stale_events"), stale + 1)

    def test_relayed(self) -> None:
        source, upstream = self.engine.bare()
        sink, _client = self.engine.bare()
        self.engine.settle()
        Relay(source, sink, RelayRecorder(), 1000, 0.0).arm()
        for _ in range(3):
            upstream.write(b"x")
            self.engine.turn()
        self.assertEqual(self.count("relayed"), 3)

    def test_accepted_registered_and_control_calls(self) -> None:
        port = self.engine.listen(Recorder)
        registered, calls = self.count("registered"), self.count("control_calls")
        for _ in range(4):
            self.engine.client(port)
        self.engine.settle()
        self.assertEqual(self.count("accepted"), 4)
        self.assertEqual((self.count("registered"), self.count("control_calls")), (registered + 4, calls + 4))

    def test_rebuilds(self) -> None:
        self.ghost()
        waits, events, calls = self.count("waits"), self.count("events"), self.count("control_calls")
        self.engine.settle()
        self.assertEqual(self.count("rebuilds"), 1)
        self.assertTrue(self.count("waits") > waits and self.count("events") > events)
        self.assertTrue(self.count("control_calls") > calls, "those of the old instance are not forgotten")

    def takes(self, seconds: float) -> None:
        """As if the handler that is running took so long, and all others no time."""
        self.passed += seconds

    def test_slow_handlers(self) -> None:
        _transport, peer = self.engine.connect(Recorder(lambda data: self.takes(0.03)))
        self.engine.settle()
        with capturedLogs() as logs:
            peer.write(b"x")
            self.engine.settle()
            self.assertEqual((self.count("slow_handlers"), logs), (0, []), "nobody looks at the time")
            self.loop.slow_handler = 0.02
            peer.write(b"x")
            self.engine.settle()
        self.assertEqual(self.count("slow_handlers"), 1)
        line = str(formatEvent(logs[0]))
        self.assertRegex(line, r"a handler took 0\.030 s, in which nobody else had a turn: <EdgeSocket fd=\d+ ")
        self.loop.slow_handler = 5.0
        peer.write(b"x")
        self.engine.settle()
        self.assertEqual(self.count("slow_handlers"), 1)

    def test_a_slow_handler_that_raises(self) -> None:
        def fail(data: bytes) -> None:
            self.takes(0.01)
            raise ZeroDivisionError

        protocol = Recorder(fail)
        _transport, peer = self.engine.connect(protocol)
        self.loop.slow_handler = 0.005
        peer.write(b"x")
        self.engine.settle()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual((self.count("slow_handlers"), len(protocol.lost)), (1, 1))

    def test_repr(self) -> None:
        transport, peer = self.engine.connect()
        self.engine.settle()
        registered = self.count("registered")
        self.assertEqual(repr(self.loop), f"<EventLoop {registered} registered, 0 queued>")
        transport.pauseProducing()
        peer.write(b"x")
        self.engine.settle()
        transport.resumeProducing()
        self.assertEqual(repr(self.loop), f"<EventLoop {registered} registered, 1 queued>")


class DebugTests(LoopCase):
    def setUp(self) -> None:
        LoopCase.setUp(self)
        self.lines: list[str] = []

    def watch(self) -> None:
        self.loop.debug = self.lines.append

    def test_none_when_it_is_off(self) -> None:
        self.watch()
        self.loop.debug = None
        _transport, peer = self.engine.connect()
        peer.write(b"x")
        self.engine.settle()
        self.assertEqual(self.lines, [])

    def test_registrations(self) -> None:
        ours, _ = self.engine.pair()
        reader = Reader(ours)
        self.watch()
        self.engine.reactor.addReader(reader)
        self.engine.reactor.addWriter(reader)
        self.engine.reactor.removeWriter(reader)
        self.engine.reactor.removeReader(reader)
        fd = ours.fileno()
        beginnings = [
            f"epoll add event: fd:{fd} op:1 ev:00000001 <LevelRegistration fd={fd} ",
            f"epoll mod event: fd:{fd} op:3 ev:00000005 <LevelRegistration fd={fd} ",
            f"epoll mod event: fd:{fd} op:3 ev:00000001 <LevelRegistration fd={fd} ",
            f"epoll del event: fd:{fd} op:2 ev:00000000",
        ]
        self.assertEqual(len(self.lines), 4, self.lines)
        for line, beginning in zip(self.lines, beginnings, strict=False):
            self.assertTrue(line.startswith(beginning), line)

    def test_edge_triggered(self) -> None:
        self.watch()
        transport, peer = self.engine.connect()
        self.assertRegex(self.lines[0], rf"^epoll add event: fd:{transport.fileno()} op:1 ev:80002007 <EdgeSocket ")
        self.engine.settle()
        self.lines.clear()
        peer.write(b"x")
        self.engine.settle()
        self.assertRegex(self.lines[0], rf"^epoll: fd:{transport.fileno()} ev:0005 d:[0-9A-F]{{16}} <EdgeSocket ")

    def test_stale(self) -> None:
        self.ghost()
        self.watch()
        self.engine.turn()
        self.assertEqual(
            len([line for line in self.lines if line.startswith("epoll: stale event ev:0001 d:")]), 1, self.lines
        )


class ErrorTests(LoopCase):
    def test_a_handler_raises(self) -> None:
        """It is logged, and ends its own connection, in the midst of a batch."""

        def fail(data: bytes) -> None:
            raise ZeroDivisionError

        connections = [self.engine.connect(Recorder(fail if number == 2 else None)) for number in range(5)]
        self.engine.settle()
        for _transport, peer in connections:
            peer.write(b"x")
        self.engine.turn()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        protocols = [transport.protocol for transport, _ in connections if transport.connected]
        self.assertEqual([protocol.data for protocol in protocols], [b"x"] * 4)
        self.assertFalse(connections[2][0].connected)

    def test_even_one_that_wants_to_exit(self) -> None:
        """As in Twisted's own reactors: SystemExit out of a handler does not stop the reactor."""

        def fail(data: bytes) -> None:
            raise SystemExit

        protocol = Recorder(fail)
        _transport, peer = self.engine.connect(protocol)
        peer.write(b"x")
        self.engine.settle()
        self.assertEqual(len(self.flushLoggedErrors(SystemExit)), 1)
        self.assertEqual(len(protocol.lost), 1)

    def test_a_relay_raises(self) -> None:
        """The others of its batch run."""
        ends: list[Any] = []
        for number in range(3):
            source, upstream = self.engine.bare()
            sink, client = self.engine.bare()
            relay = Relay(source, sink, RelayRecorder(), 1000, 0.0)
            relay.arm()
            ends.append((source, upstream, client, relay))
            if number == 1:
                sink.close()
        other, other_peer = self.engine.connect()
        self.engine.settle()

        def fail(relay: Relay, error: OSError, lost: int) -> None:
            raise ZeroDivisionError

        ends[1][3]._owner.relay_broken = fail
        for _source, upstream, _client, _relay in ends:
            upstream.write(b"hello")
        other_peer.write(b"hello")
        self.engine.turn()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual([client.read() for _, _, client, _ in ends], [b"hello", b"", b"hello"])
        self.assertEqual([source.open for source, _, _, _ in ends], [True, False, True])
        self.assertEqual(other.protocol.data, b"hello")


class OrderTests(LoopCase):
    def test_accepts_relays_events_writes(self) -> None:
        """In this order, whatever the kernel's was."""
        order: list[str] = []
        written, _written_peer = self.engine.connect()
        self.engine.clock.advance(1)

        def event(data: bytes) -> None:
            order.append("event")
            written.write(b"first")
            written.write(b"second")
            self.assertEqual(self.loop.queued, 1)

        _transport, peer = self.engine.connect(Recorder(event))
        source, upstream = self.engine.bare()
        sink, _client = self.engine.bare()
        self.engine.settle()
        really_send = written._send_queued
        written._send_queued = lambda: order.append("write") or really_send()  # type: ignore[func-returns-value]
        relay = Relay(source, sink, RelayRecorder(), 1000, 0.0)
        relay._send = lambda data: order.append("relay") or len(data)
        relay.arm()
        port = self.engine.listen(lambda: order.append("accept"))
        self.engine.settle()
        self.engine.clock.advance(1)
        peer.write(b"x")
        upstream.write(b"x")
        self.engine.client(port)
        self.engine.turn()
        self.assertEqual(order, ["accept", "relay", "event", "write"])

    def test_timers_before_all_of_them(self) -> None:
        """A turn begins with what is due; so a timer that closes a connection comes before its event."""
        transport, peer = self.engine.connect()
        self.engine.settle()
        peer.write(b"x")
        self.engine.reactor.callLater(0, transport.connectionLost, Failure(ConnectionDone()))
        protocol = transport.protocol
        self.engine.turn()
        self.assertEqual((protocol.received, len(protocol.lost)), ([], 1))
