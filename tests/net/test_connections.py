from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import MemoryTransport, Peer, Recorder
from tests.net.loopback import Loopback
from tests.net.test_edge import Owner
from twisted_pipe.limits import PipeLimits
from twisted_pipe.net.bare import BareSocket
from twisted_pipe.net.connections import IDLE, NoRoom
from twisted_pipe.net.driver import EventPipe
from twisted_pipe.net.port import REST


class RoomCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.engine = Loopback(self)
        self.engine.clock.advance(1000)
        self.connections = self.engine.reactor.connections
        self.protocols: list[Recorder] = []
        self.port = self.engine.listen(self.make)
        self.engine.settle()

    def make(self) -> Recorder:
        self.protocols.append(Recorder())
        return self.protocols[-1]

    def client(self) -> Peer:
        client = self.engine.client(self.port)
        self.engine.settle()
        return client

    def wait(self, seconds: float = 2 * IDLE) -> None:
        self.engine.advance(seconds, 0.1)

    def full(self) -> None:
        """There are as many as there may be."""
        self.connections.limit = len(self.engine.reactor.loop.table)

    def lost(self) -> list[int]:
        return [number for number, protocol in enumerate(self.protocols) if protocol.lost]

    def gone(self, *peers: Peer) -> list[bool]:
        for peer in peers:
            peer.read()
        return [peer.ended or peer.reset for peer in peers]


class TransportTests(RoomCase):
    def test_no_limit(self) -> None:
        for _ in range(20):
            self.client()
        self.assertEqual(self.lost(), [])

    def test_below_the_limit(self) -> None:
        self.full()
        self.connections.limit += 3
        for _ in range(3):
            self.client()
            self.wait()
        self.assertEqual((self.lost(), self.engine.statistics.drained), ([], 0))

    def test_the_oldest_idle_one_makes_room(self) -> None:
        for _ in range(3):
            self.client()
            self.wait()
        self.full()
        newcomer = self.client()
        self.assertEqual((self.lost(), self.engine.statistics.drained), ([0], 1))
        newcomer.write(b"hello")
        self.engine.settle()
        self.assertEqual(self.protocols[3].data, b"hello")

    def test_age_is_the_time_without_an_event(self) -> None:
        clients = []
        for _ in range(3):
            clients.append(self.client())
            self.wait()
        clients[0].write(b"x")
        self.wait()
        self.full()
        self.client()
        self.assertEqual(self.lost(), [1])

    def test_whoever_has_just_come_is_not_idle(self) -> None:
        """Nothing has come from it yet."""
        self.client()
        self.full()
        newcomers = [self.engine.client(self.port) for _ in range(3)]
        self.engine.settle()
        self.assertEqual(self.lost(), [])
        self.assertEqual(self.gone(*newcomers), [False] * 3)

    def test_several_that_come_at_once_do_not_push_out_each_other(self) -> None:
        for _ in range(4):
            self.client()
        self.wait()
        self.full()
        newcomers = [self.engine.client(self.port) for _ in range(4)]
        self.engine.settle()
        self.assertEqual(self.gone(*newcomers), [False] * 4)
        self.assertEqual(self.lost(), [0, 1, 2, 3])

    def test_a_writing_one_is_not_closed(self) -> None:
        self.client()
        blocked: Any = self.protocols[0].transport
        while blocked.edge.writable:
            blocked.write(bytes(1 << 20))
            self.engine.settle()
        self.wait()
        self.client()
        self.wait()
        self.full()
        self.client()
        self.assertEqual(self.lost(), [1])

    def test_connections_that_we_made_are_not_closed(self) -> None:
        """Nor are listeners, nor foreign descriptors: only those that were accepted."""
        outgoing = Recorder()
        self.engine.connected(self.port, outgoing)
        self.wait()
        self.full()
        self.client()
        self.assertEqual((self.lost(), outgoing.lost == []), ([0], False), "the other end of it")

    def test_they_end_cleanly(self) -> None:
        client = self.client()
        self.wait()
        self.full()
        self.client()
        self.assertEqual([reason.type.__name__ for reason in self.protocols[0].lost], ["ConnectionDone"])  # type: ignore[union-attr]
        client.read()
        self.assertTrue(client.ended)


class BareSocketTests(RoomCase):
    def bare_idle(self) -> tuple[BareSocket, Peer]:
        bare, peer = self.engine.bare()
        self.engine.settle()
        self.wait()
        return bare, peer

    def test_idle(self) -> None:
        bare, peer = self.bare_idle()
        bare.reader = owner = Owner(bare)
        self.full()
        self.client()
        self.assertEqual(self.gone(peer), [True])
        self.assertEqual((bare.open, len(owner.lost)), (False, 1))

    def test_waits_for_its_turn(self) -> None:
        bare, peer = self.bare_idle()
        peer.write(b"x")
        self.engine.reactor.loop.post(bare)
        self.full()
        self.assertRaises(NoRoom, self.connections.make)

    def test_an_owner_that_has_something_to_send(self) -> None:
        bare, _ = self.bare_idle()
        bare.writing = True
        self.full()
        self.assertRaises(NoRoom, self.connections.make)

    def test_bytes_through_a_relay_are_no_idleness(self) -> None:
        bare, _ = self.bare_idle()

        class Moved:
            last_progress = self.engine.clock.seconds()

        bare.relay = Moved()
        self.full()
        self.assertRaises(NoRoom, self.connections.make)
        self.engine.clock.advance(2 * IDLE)
        self.engine.turn()
        bare.relay.source = bare
        self.connections.make()
        self.assertFalse(bare.open)

    def test_one_that_connects(self) -> None:
        opened: list[Any] = []
        bare = BareSocket.connecting(
            self.engine.reactor, ("127.0.0.1", self.port.getHost().port), lambda error: opened.append(error)
        )
        self.addCleanup(bare.close)
        self.full()
        self.assertRaises(NoRoom, self.connections.make)


class PipeTests(RoomCase):
    """What a pipe moves past the event loop is no idleness: it writes when bytes come, and reads when there is room."""

    limits = PipeLimits(buffers=4, buffer_size=100, read_timeout=0, send_timeout=0, max_temp_file_size=0)

    def pipe(self, upstream: Any, downstream: Any) -> EventPipe:
        pipe = EventPipe(upstream, downstream, limits=self.limits, clock=self.engine.reactor)
        self.addCleanup(pipe.done.cancel)
        return pipe

    def assert_idle_after(self, work: Callable[[], object]) -> None:
        """While C{work} is done again and again there is nobody idle; then there is."""
        for _ in range(6):
            self.wait(IDLE / 2)
            work()
        self.full()
        self.assertRaises(NoRoom, self.connections.make)
        self.wait()
        self.connections.make()
        self.engine.settle()
        self.assertEqual(self.lost(), [0])

    def test_a_client_that_is_sent_to(self) -> None:
        self.client()
        pipe = self.pipe(MemoryTransport(), self.protocols[0].transport)
        self.assert_idle_after(lambda: pipe.write(b"x"))

    def test_a_client_that_is_read_from(self) -> None:
        client, downstream = self.client(), MemoryTransport(room=1)
        self.pipe(self.protocols[0].transport, downstream)
        client.write(bytes(10_000))
        self.engine.settle()
        self.assert_idle_after(downstream.take)


class NoRoomTests(RoomCase):
    def test_the_listener_rests(self) -> None:
        """Nobody is idle: the newcomer waits for half a second, and is accepted if there is room then."""
        for _ in range(3):
            self.client()
        self.wait(IDLE - REST / 2)
        self.full()
        newcomer = self.client()
        self.engine.advance(REST / 2)
        self.assertEqual((len(self.protocols), self.lost(), self.engine.statistics.rests), (3, [], 1))
        self.engine.advance(REST)
        self.assertEqual(len(self.protocols), 4)
        newcomer.write(b"hello")
        self.engine.settle()
        self.assertEqual(self.protocols[3].data, b"hello")

    def test_refused_after_a_whole_rest(self) -> None:
        """Nobody has become idle meanwhile."""
        for _ in range(3):
            self.client()
        self.full()
        newcomer = self.client()
        self.engine.advance(REST * 1.5)
        self.assertEqual(self.gone(newcomer), [True])
        self.assertEqual((len(self.protocols), self.lost()), (3, []))

    def test_what_it_says(self) -> None:
        self.client()
        self.full()
        with capturedLogs() as logs:
            self.client()
            self.engine.advance(REST * 0.9)
        (line,) = [str(formatEvent(event)) for event in logs if event["log_level"] == LogLevel.critical]
        self.assertIn(f"{self.connections.limit} worker_connections are not enough, and none is idle", line)
        self.assertNotIn("ulimit", line)

    def test_somebody_leaves_meanwhile(self) -> None:
        first = self.client()
        self.full()
        self.client()
        self.assertEqual(len(self.protocols), 1)
        first.close()
        self.engine.advance(REST * 1.1)
        self.assertEqual(len(self.protocols), 2)

    def test_one_warning_however_often(self) -> None:
        for _ in range(3):
            self.client()
        self.wait()
        self.full()
        with capturedLogs() as logs:
            for _ in range(6):
                self.client()
                self.wait()
        warnings = [str(formatEvent(event)) for event in logs if event["log_level"] == LogLevel.warn]
        self.assertEqual(
            warnings,
            [f"{self.connections.limit} worker_connections are not enough: idle ones are closed for new ones"],
        )

    def test_repr(self) -> None:
        count = len(self.engine.reactor.loop.table)
        self.assertEqual(repr(self.connections), f"<WorkerConnections {count} of any number>")
        self.connections.limit = 7
        self.assertEqual(repr(self.connections), f"<WorkerConnections {count} of 7>")

    def test_one_that_raises_when_it_is_closed(self) -> None:
        """It is logged; the newcomer has its place."""

        class Raises(Recorder):
            def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
                raise ZeroDivisionError

        self.protocols.append(Raises())
        make = self.make
        self.make = lambda: self.protocols[0]  # type: ignore[method-assign]
        self.port.factory.buildProtocol = lambda address: self.make()
        self.client()
        self.make = make  # type: ignore[method-assign]
        self.wait()
        self.full()
        newcomer = self.client()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        newcomer.write(b"hello")
        self.engine.settle()
        self.assertEqual(self.protocols[1].data, b"hello")
