from __future__ import annotations

import os
from typing import Any

from twisted.internet import error
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.main import CONNECTION_LOST
from twisted.python import log
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.net.fakes import Engine, Reader, Recorder
from twisted_pipe.net.reactor import EpollETReactor


class ReactorCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.engine = Engine(self)
        self.reactor = self.engine.reactor

    def reader(self, **more: Any) -> tuple[Reader, Any]:
        ours, peer = self.engine.pair()
        return Reader(ours, **more), peer


class TurnTests(ReactorCase):
    def test_posted_twice_runs_once(self) -> None:
        calls: list[bytes] = []
        transport, peer = self.engine.connect(Recorder(calls.append))
        edge = transport.edge_socket()
        transport.pauseProducing()
        peer.write(b"x")
        self.engine.settle()
        posted = self.engine.statistics.posted
        transport.resumeProducing()
        transport.resumeProducing()
        self.reactor.loop.post(edge)
        transport.write(b"y")  # goes out at once
        transport.write(b"z")  # is joined with what else is written in this turn
        self.reactor.loop.post_write(edge)
        self.assertEqual(self.engine.statistics.posted, posted + 1)
        self.assertEqual(self.engine.statistics.queued, 1)
        self.assertEqual((calls, peer.read()), ([], b"y"))
        self.engine.turn()
        self.assertEqual(calls, [b"x"])
        self.assertEqual(peer.read(), b"z")
        self.assertEqual(self.engine.statistics.queued, 0)

    def test_what_a_handler_posts_runs_in_the_next_turn(self) -> None:
        """After a look at the kernel: so nobody is starved by two that post each other."""
        order: list[str] = []

        def first_reads(data: bytes) -> None:
            order.append("first")
            second.resumeProducing()

        _first, first_peer = self.engine.connect(Recorder(first_reads))
        second, second_peer = self.engine.connect(Recorder(lambda data: order.append("second")))
        second.pauseProducing()
        second_peer.write(b"x")
        self.engine.settle()
        first_peer.write(b"x")
        self.engine.turn()
        self.assertEqual(order, ["first"])
        self.assertEqual(self.engine.statistics.queued, 1)
        waits = self.engine.statistics.waits
        self.engine.turn()
        self.assertEqual(order, ["first", "second"])
        self.assertEqual(self.engine.statistics.waits, waits + 1)

    def test_many_wakeups_before_one_wait(self) -> None:
        """One run, and nothing is lost."""
        calls: list[bytes] = []
        _transport, peer = self.engine.connect(Recorder(calls.append))
        self.engine.settle()
        for number in range(10):
            peer.write(b"%d" % number)
        self.engine.turn()
        self.assertEqual(calls, [b"0123456789"])

    def test_closed_with_posted_events(self) -> None:
        """What was posted for a connection is cancelled with it."""
        protocol = Recorder()
        transport, peer = self.engine.connect(protocol)
        transport.pauseProducing()
        peer.write(b"x")
        self.engine.settle()
        transport.resumeProducing()
        transport.write(b"y")
        stale = self.engine.statistics.stale_events
        transport.connectionLost(Failure(error.ConnectionDone()))
        self.engine.settle()
        self.assertEqual((protocol.received, len(protocol.lost)), ([], 1))
        self.assertEqual(self.engine.statistics.stale_events, stale + 1)

    def test_close_with_posted_events_and_timers(self) -> None:
        """Neither comes to anything."""
        protocol = Recorder()
        transport, peer = self.engine.connect(protocol)
        transport.pauseProducing()
        peer.write(b"x")
        self.engine.settle()
        transport.resumeProducing()
        edge = transport.edge_socket()
        edge.try_later()  # the timer of a socket for which the kernel had no memory
        self.assertEqual((self.engine.statistics.queued, len(self.reactor.getDelayedCalls())), (1, 1))
        transport.connectionLost(Failure(error.ConnectionDone()))
        posted = self.engine.statistics.posted
        self.engine.advance(1)
        self.assertEqual((self.engine.statistics.queued, self.reactor.getDelayedCalls()), (0, []))
        self.assertEqual((self.engine.statistics.posted, edge.open, edge.posted), (posted, False, False))
        self.assertEqual((protocol.received, len(protocol.lost)), ([], 1))

    def test_posted_writes_go_out_at_the_end_of_the_turn(self) -> None:
        """A handler that writes to another connection costs no second turn."""
        other, other_peer = self.engine.connect()
        self.engine.settle()
        seen: list[bytes] = []

        def hand_on(data: bytes) -> None:
            for part in (data, b", and", b" more"):
                other.write(part)
                seen.append(other_peer.read())

        _transport, peer = self.engine.connect(Recorder(hand_on))
        self.engine.settle()
        peer.write(b"hand it on")
        self.engine.turn()
        self.assertEqual(seen, [b"hand it on", b"", b""], "the first goes at once, the others are joined")
        self.assertEqual(other_peer.read(), b", and more")
        self.assertEqual(self.engine.statistics.queued, 0)

    def test_nested_iterate(self) -> None:
        """A handler that turns the reactor itself: the rest of the batch runs in there, once."""
        order: list[str] = []

        def nest(data: bytes) -> None:
            order.append(f"outer {data.decode()}")
            self.engine.turn(2)
            order.append("outer goes on")

        _first, first_peer = self.engine.connect(Recorder(nest))
        _second, second_peer = self.engine.connect(Recorder(lambda data: order.append(f"inner {data.decode()}")))
        self.engine.settle()
        first_peer.write(b"a")
        second_peer.write(b"b")
        self.engine.turn()
        self.assertEqual(order, ["outer a", "inner b", "outer goes on"])
        second_peer.write(b"c")
        self.engine.settle()
        self.assertEqual(order[3:], ["inner c"])

    def test_nested_iterate_reads_the_same_socket(self) -> None:
        order: list[str] = []

        def nest(data: bytes) -> None:
            order.append(data.decode())
            if data == b"a":
                peer.write(b"b")
                self.engine.turn(2)
                order.append("a goes on")

        transport, peer = self.engine.connect(Recorder(nest))
        self.engine.settle()
        peer.write(b"a")
        self.engine.settle()
        self.assertEqual(order, ["a", "b", "a goes on"])
        transport.write(b"still there")
        self.engine.settle()
        self.assertEqual(peer.read(), b"still there")

    def test_nested_iterate_that_closes_the_outer(self) -> None:
        def nest(data: bytes) -> None:
            peer.close()
            self.engine.turn(2)

        protocol = Recorder(nest)
        _transport, peer = self.engine.connect(protocol)
        self.engine.settle()
        peer.write(b"a")
        self.engine.settle()
        self.assertEqual((protocol.data, len(protocol.lost)), (b"a", 1))

    def test_calls_from_threads_wake_it(self) -> None:
        called: list[int] = []
        self.reactor.callFromThread(called.append, 1)
        self.engine.turn()
        self.assertEqual(called, [1])

    def test_the_log_knows_who_ran(self) -> None:
        seen: list[Any] = []

        def look(data: bytes) -> None:
            seen.append(log.theLogPublisher and log.context.get(log.ILogContext)["system"])

        transport, peer = self.engine.connect(Recorder(look))
        peer.write(b"x")
        self.engine.settle()
        self.assertEqual(seen, [transport.logPrefix()])
        self.assertNotEqual(log.context.get(log.ILogContext)["system"], transport.logPrefix())

    def test_a_log_prefix_that_raises(self) -> None:
        def fail() -> str:
            raise ZeroDivisionError

        reader, peer = self.reader()
        reader.logPrefix = fail  # type: ignore[method-assign]
        self.reactor.addReader(reader)
        peer.write(b"x")
        self.engine.settle()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(reader.data, b"x")
        self.reactor.removeReader(reader)

    def test_more_log_prefixes_than_are_remembered(self) -> None:
        reader, peer = self.reader()
        self.reactor.addReader(reader)
        seen: list[str] = []
        reader.on_read = lambda: seen.append(log.context.get(log.ILogContext)["system"])
        for number in range(1100):
            reader.logPrefix = lambda number=number: f"prefix {number}"  # type: ignore[method-assign]
            peer.write(b"x")
            self.engine.turn()
        self.assertEqual(seen, [f"prefix {number}" for number in range(1100)])


class FDSetTests(ReactorCase):
    def test_interface(self) -> None:
        verifyObject(IReactorFDSet, self.reactor)

    def test_idle_transports_are_not_reported(self) -> None:
        """Their registration is permanent, their interest is not."""
        transport, _ = self.engine.connect()
        self.engine.settle()
        self.assertIn(transport, self.reactor.getReaders())
        self.assertNotIn(transport, self.reactor.getWriters())
        transport.pauseProducing()
        self.assertNotIn(transport, self.reactor.getReaders())
        transport.write(bytes(4 << 20))
        self.engine.settle()
        self.assertIn(transport, self.reactor.getWriters())

    def test_transports_by_the_reactors_own_methods(self) -> None:
        transport, peer = self.engine.connect()
        self.reactor.removeReader(transport)
        self.assertNotIn(transport, self.reactor.getReaders())
        peer.write(b"x")
        self.engine.settle()
        self.assertEqual(transport.protocol.received, [])
        self.reactor.addReader(transport)
        self.engine.settle()
        self.assertEqual(transport.protocol.data, b"x")
        self.reactor.addWriter(transport)
        self.assertIn(transport, self.reactor.getWriters())
        self.reactor.removeWriter(transport)
        self.assertNotIn(transport, self.reactor.getWriters())

    def test_remove_all(self) -> None:
        """It spares the reactor's own readers: without its waker no thread could reach it again."""
        reader, reader_peer = self.reader()
        writer, _ = self.reader()
        transport, peer = self.engine.connect()
        internal = set(self.reactor.getReaders()) - {transport}
        self.assertTrue(internal)
        self.reactor.addReader(reader)
        self.reactor.addWriter(writer)
        self.engine.turn()
        removed = self.reactor.removeAll()
        self.assertEqual(set(removed), {reader, writer, transport})
        self.assertEqual(len(removed), 3)
        self.assertEqual(set(self.reactor.getReaders()), internal)
        self.assertEqual(self.reactor.getWriters(), [])
        reader_peer.write(b"x")
        peer.write(b"y")
        self.engine.settle()
        self.assertEqual((reader.data, transport.protocol.received), (b"", []))
        woken: list[int] = []
        self.reactor.callFromThread(woken.append, 1)
        self.reactor.doIteration(0)  # the waker's event
        self.engine.turn()
        self.assertEqual(woken, [1])

    def test_selectables_that_cannot_be_hashed(self) -> None:
        """They are told apart by what they are, not by what they equal."""

        class Equal(Reader):
            __hash__ = None  # type: ignore[assignment]

            def __eq__(self, other: object) -> bool:
                return True

        peers, readers = [], []
        for _ in range(3):
            ours, peer = self.engine.pair()
            peers.append(peer)
            readers.append(Equal(ours))
            self.reactor.addReader(readers[-1])
        self.reactor.addWriter(readers[0])
        writer = Equal(self.engine.pair()[0])
        self.reactor.addWriter(writer)
        for number, peer in enumerate(peers):
            peer.write(b"%d" % number)
        self.engine.turn()
        self.assertEqual([reader.data for reader in readers], [b"0", b"1", b"2"])
        self.assertEqual(readers[0].calls, ["read", "write"])
        self.reactor.removeReader(readers[1])
        self.reactor.disconnectAll()
        self.assertEqual([len(each.lost) for each in (*readers, writer)], [1, 0, 1, 1])

    def test_disconnect_all(self) -> None:
        """Everybody is told, the paused and the idle, too, and once."""
        reader, _ = self.reader()
        self.reactor.addReader(reader)
        reading, _peer1 = self.engine.connect()
        paused, _peer2 = self.engine.connect()
        paused.pauseProducing()
        blocked, _peer3 = self.engine.connect()
        blocked.write(bytes(4 << 20))
        blocked.pauseProducing()
        self.engine.settle()
        protocols = [transport.protocol for transport in (reading, paused, blocked)]
        self.reactor.disconnectAll()
        for protocol in protocols:
            self.assertEqual([reason.value for reason in protocol.lost], [CONNECTION_LOST])
        self.assertEqual(len(reader.lost), 1)
        self.engine.settle()

    def test_a_whole_life_leaves_no_descriptor(self) -> None:
        before = len(os.listdir("/proc/self/fd"))
        engine = Engine(case := SynchronousTestCase())
        for _ in range(10):
            transport, peer = engine.connect()
            peer.write(b"x")
            engine.settle()
            transport.loseConnection()
            engine.settle()
            peer.close()
        self.assertEqual(engine.statistics.registered, len(engine.reactor.getReaders()))
        case.doCleanups()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_twisted_may_swap_dict_and_class(self) -> None:
        """As its test builder does: no slots, no base written in C."""
        reactor = EpollETReactor.__new__(EpollETReactor)
        reactor.__dict__ = self.reactor.__dict__
        self.assertEqual(reactor.statistics(), self.reactor.statistics())


class StatisticsTests(ReactorCase):
    def test_counters(self) -> None:
        before = self.engine.statistics
        _transport, peer = self.engine.connect()
        self.engine.settle()
        peer.write(b"x")
        self.engine.settle()
        after = self.engine.statistics
        self.assertEqual(after.registered, before.registered + 1)
        self.assertEqual(after.control_calls, before.control_calls + 1)
        self.assertTrue(after.waits > before.waits)
        self.assertEqual(after.events, before.events + 2)  # writable, then readable
        self.assertEqual((after.stale_events, after.queued, after.rebuilds, after.accepted), (0, 0, 0, 0))

    def test_an_idle_reactor_waits(self) -> None:
        self.engine.connect()
        self.engine.settle()
        before = self.engine.statistics
        self.engine.turn(10)
        after = self.engine.statistics
        self.assertEqual((after.events, after.posted), (before.events, before.posted))
        self.assertEqual(after.waits, before.waits + 10)
