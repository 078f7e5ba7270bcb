"""
Events that reach somebody whom they do not concern, or nobody: each on Twisted's own epoll reactor first, then on ours.

A stock reactor finds a descriptor by its number; here a tag says whose registration an event belongs to.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionDone
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import Reader, Recorder, open_fds, os_error, raising
from tests.net.loopback import Loopback
from twisted_pipe.net import loop
from twisted_pipe.net.epoll import Epoll


class GhostCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.engine = Loopback(self)
        self.ours: Any = self.engine.reactor
        self.stock: Any = EPollReactor()
        self.addCleanup(self.close_stock)
        self.engine.settle()

    def close_stock(self) -> None:
        stock = self.stock
        for call in stock.getDelayedCalls():
            call.cancel()
        for reader in list(stock._internalReaders):
            reader.connectionLost(None)
        stock._poller.close()

    def turn(self, reactor: Any, count: int = 1) -> None:
        for _ in range(count):
            reactor.iterate(0)

    def pipe(self) -> tuple[int, int]:
        out, into = os.pipe()
        os.set_blocking(out, False)
        return out, into

    def close(self, *numbers: int) -> None:
        for number in numbers:
            with contextlib.suppress(OSError):
                os.close(number)


class SlotTests(GhostCase):
    def reuse(self, reactor: Any, times: int) -> tuple[Reader, list[Reader]]:
        """
        Two pipes have an event in one batch. The first one's handler closes the other, and opens new ones that get its number.

        @return: the other, and the new ones.
        """
        numbers: list[int] = []

        def replace() -> None:
            current = victim
            for _ in range(times):
                reactor.removeReader(current)
                os.close(current.number)
                out, into = self.pipe()
                self.assertEqual(out, current.number)
                numbers.extend((out, into))
                current = Reader(out)
                newcomers.append(current)
                reactor.addReader(current)

        first_out, first_into = self.pipe()
        out, into = self.pipe()
        first, victim = Reader(first_out, replace), Reader(out)
        newcomers: list[Reader] = []
        reactor.addReader(first)
        reactor.addReader(victim)
        os.write(first_into, b"x")
        os.close(into)  # the victim's event is that it hung up
        self.turn(reactor, 3)
        reactor.removeReader(first)
        for newcomer in newcomers:
            if not newcomer.lost:
                reactor.removeReader(newcomer)
        self.close(first_out, first_into, *numbers)
        return victim, newcomers

    def test_stock_tells_the_new_one_that_it_is_lost(self) -> None:
        _victim, newcomers = self.reuse(self.stock, 1)
        self.assertEqual(len(newcomers[-1].lost), 1)

    def test_reused_once_twice_three_times_in_a_batch(self) -> None:
        for times in (1, 2, 3):
            stale = self.engine.statistics.stale_events
            victim, newcomers = self.reuse(self.ours, times)
            self.assertEqual(len(newcomers), times)
            self.assertEqual([(n.calls, n.lost) for n in newcomers], [([], [])] * times)
            self.assertEqual((victim.calls, victim.lost), ([], []))
            self.assertEqual(self.engine.statistics.stale_events, stale + 1)

    def test_edge_triggered_ones_reused_in_a_batch(self) -> None:
        """The same with transports: the old event is dropped, the new connection goes on."""
        for times in (1, 2, 3):
            self.reuse_edge_triggered(times)

    def reuse_edge_triggered(self, times: int) -> None:
        newcomers: list[Any] = []

        def replace(data: bytes) -> None:
            current = victim
            for _ in range(times):
                number = current.fileno()
                current.connectionLost(Failure(ConnectionDone()))
                newcomers.append(self.engine.connect())
                current = newcomers[-1][0]
                self.assertEqual(current.fileno(), number)

        first, first_peer = self.engine.connect(Recorder(replace))
        victim, victim_peer = self.engine.connect()
        self.engine.settle()
        first_peer.write(b"x")
        victim_peer.write(b"for the old one")
        self.engine.settle()
        transport, peer = newcomers[-1]
        self.assertEqual((transport.protocol.received, transport.protocol.lost), ([], []))
        peer.write(b"for the new one")
        self.engine.settle()
        self.assertEqual(transport.protocol.data, b"for the new one")
        first.loseConnection()
        transport.loseConnection()
        self.engine.settle()


class DuplicateTests(GhostCase):
    """A descriptor is closed while a duplicate of it lives: the kernel goes on reporting it, and no call can end that."""

    def haunt(self, reactor: Any) -> tuple[Reader, int]:
        out, into = self.pipe()
        reader = Reader(out)
        reactor.addReader(reader)
        duplicate = os.dup(out)
        self.addCleanup(self.close, duplicate, into)
        os.close(out)
        os.write(into, b"boo")
        return reader, out

    def test_stock_spins_and_cannot_remove_it(self) -> None:
        reader, _ = self.haunt(self.stock)
        self.assertRaises(OSError, self.stock.removeReader, reader)
        for _ in range(20):
            self.assertEqual(len(self.stock._poller.poll(0)), 1)

    def test_no_spin(self) -> None:
        reader, _ = self.haunt(self.ours)
        self.ours.removeReader(reader)
        self.engine.turn(10)
        before = self.engine.statistics
        self.engine.turn(100)
        after = self.engine.statistics
        self.assertEqual((after.events, after.waits), (before.events, before.waits + 100))
        self.assertEqual((after.rebuilds, reader.calls), (1, []))

    def test_a_wait_that_waits(self) -> None:
        """With a real timeout, as between two timers: it is not cut short."""
        reader, _ = self.haunt(self.ours)
        self.ours.removeReader(reader)
        self.engine.turn(10)
        self.assertEqual(select.select([self.ours.loop._epoll._fd], [], [], 0.0)[0], [])

    def test_no_descriptor_is_free_for_another_epoll_instance(self) -> None:
        """The ghost stays for now, with one line in the log; nobody else's event is lost."""
        transport, peer = self.engine.connect()
        self.engine.settle()
        with self.assert_haunted(raising(errno.EMFILE)) as lines:
            for _ in range(20):
                peer.write(b"x")
                self.engine.turn()
        self.assertEqual(transport.protocol.data, b"x" * 20)
        (line,) = lines
        self.assertTrue(line.startswith("the loop spins: "), line)
        self.assertTrue(line.endswith(f"no other epoll instance can be made: {os.strerror(errno.EMFILE)}"), line)

    def test_no_memory_for_another_registration(self) -> None:
        """All are watched by the new instance, or the old one stays."""
        transport, peer = self.engine.connect()
        self.engine.settle()

        class Full(Epoll):
            def add(self, fd: int, events: int, tag: int) -> None:
                if fd == transport.fileno():
                    raise os_error(errno.ENOSPC)
                Epoll.add(self, fd, events, tag)

        with self.assert_haunted(Full) as lines:
            numbers = open_fds()
            for _ in range(20):
                peer.write(b"x")
                self.engine.turn()
            self.assertEqual(open_fds(), numbers)
        self.assertEqual((transport.protocol.data, len(lines)), (b"x" * 20, 1))

    @contextlib.contextmanager
    def assert_haunted(self, make: Any) -> Iterator[list[str]]:
        """There is a ghost, and no way to be rid of it as long as C{make} makes epoll instances; gives what was logged."""
        reader, _ = self.haunt(self.ours)
        self.ours.removeReader(reader)
        lines: list[str] = []
        patch = self.patch(loop, "Epoll", make)
        with capturedLogs() as logs:
            yield lines
        patch.restore()
        lines += [str(formatEvent(event)) for event in logs]
        self.assertEqual(self.engine.statistics.rebuilds, 0)
        self.engine.turn(5)
        self.assertEqual(self.engine.statistics.rebuilds, 1)
        self.assertEqual(self.engine.settle(), 0)

    def test_one_who_is_told_that_he_lost_his_descriptor_closes_others(self) -> None:
        """Those are not registered again, and what he opens is."""
        ours, peer = self.engine.pair()
        victim = Reader(ours)
        self.ours.addReader(victim)
        others = [self.engine.connect() for _ in range(2)]
        self.engine.settle()
        newcomers: list[Any] = []

        def lost(reason: Failure) -> None:
            others[0][0].connectionLost(reason)
            newcomers.append(self.engine.connect())

        victim.connectionLost = lost  # type: ignore[method-assign]
        reader, _ = self.haunt(self.ours)
        self.ours.removeReader(reader)
        ours.close()
        victim.number = -1
        self.engine.turn(10)
        self.assertEqual(self.engine.statistics.rebuilds, 1)
        for transport, peer in [others[1], *newcomers]:
            peer.write(b"x")
            self.engine.settle()
            self.assertEqual(transport.protocol.data, b"x")

    def test_the_number_is_reused(self) -> None:
        """Both have events under one number; each goes where it belongs."""
        ghost, number = self.haunt(self.ours)
        self.ours.removeReader(ghost)
        out, into = self.pipe()
        self.addCleanup(self.close, out, into)
        self.assertEqual(out, number)
        new = Reader(out)
        self.ours.addReader(new)
        for _ in range(10):
            os.write(into, b"x")
            self.engine.turn()
        self.assertEqual((new.data, new.lost, ghost.calls), (b"x" * 10, [], []))
        self.ours.removeReader(new)

    def test_an_edge_triggered_one(self) -> None:
        """Closed orderly, its peer may still send: each edge is dropped, and does not come again."""
        transport, peer = self.engine.connect()
        self.engine.settle()
        duplicate = transport.socket.dup()
        self.addCleanup(duplicate.close)
        transport._shouldShutdown = False
        transport.connectionLost(Failure(ConnectionDone()))
        for _ in range(10):
            peer.write(b"x")
            self.engine.turn(3)
        before = self.engine.statistics
        self.engine.turn(100)
        self.assertEqual(self.engine.statistics.events, before.events)


class BehindTheBackTests(GhostCase):
    def reuse(self, reactor: Any) -> Reader:
        """A descriptor is closed without a word, and its number is used again."""
        out, into = self.pipe()
        old = Reader(out)
        reactor.addReader(old)
        self.close(out, into)
        again, again_into = self.pipe()
        self.addCleanup(self.close, again, again_into)
        self.assertEqual(again, out)
        new = Reader(again)
        reactor.addReader(new)
        os.write(again_into, b"data")
        self.turn(reactor, 3)
        return new

    def test_stock_skips_it_silently(self) -> None:
        """Twisted issue 11625."""
        self.assertEqual(self.reuse(self.stock).data, b"")

    def test_the_new_one_gets_its_data(self) -> None:
        new = self.reuse(self.ours)
        self.assertEqual(new.data, b"data")
        self.ours.removeReader(new)


class WriteHalfTests(GhostCase):
    def closes_itself(self, reactor: Any) -> Reader:
        """One event tells of both halves, and the read handler closes it."""
        ours, peer = self.engine.pair()

        def close() -> None:
            reactor.removeReader(reader)
            reactor.removeWriter(reader)
            ours.close()

        reader = Reader(ours, close)
        reactor.addReader(reader)
        reactor.addWriter(reader)
        peer.write(b"x")
        self.turn(reactor, 2)
        return reader

    def test_stock_calls_it(self) -> None:
        self.assertEqual(self.closes_itself(self.stock).calls, ["read", "write"])

    def test_not_called_after_the_read_handler_closed_it(self) -> None:
        self.assertEqual(self.closes_itself(self.ours).calls, ["read"])


class NestedTests(GhostCase):
    def test_a_handler_that_turns_the_reactor(self) -> None:
        """What was left of the batch runs in there, once; what was closed in there does not run after it."""
        order: list[str] = []

        def nest(data: bytes) -> None:
            order.append("outer")
            third.connectionLost(Failure(ConnectionDone()))
            self.engine.turn(3)
            order.append("outer goes on")

        _first, first_peer = self.engine.connect(Recorder(nest))
        _second, second_peer = self.engine.connect(Recorder(lambda data: order.append("second")))
        third, third_peer = self.engine.connect(Recorder(lambda data: order.append("third")))
        self.engine.settle()
        for peer in (first_peer, second_peer, third_peer):
            peer.write(b"x")
        self.engine.turn()
        self.assertEqual(order, ["outer", "second", "outer goes on"])
        self.engine.settle()
        self.assertEqual(order, ["outer", "second", "outer goes on"])


class ForkTests(GhostCase):
    """A child that keeps the sockets and the epoll instance, without exec: all that is closed here lives on there."""

    def fork(self) -> Callable[[], None]:
        """Returns what ends the child."""
        out, into = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(into)
                signal.alarm(30)
                os.read(out, 1)  # until the parent ends, or says so
            finally:
                os._exit(0)
        os.close(out)

        def end() -> None:
            nonlocal child
            if child:
                os.close(into)
                os.waitpid(child, 0)
                child = 0

        self.addCleanup(end)
        return end

    def test_no_spin_and_no_wrong_delivery(self) -> None:
        transport, peer = self.engine.connect()
        reader_socket, reader_peer = self.engine.pair()
        reader = Reader(reader_socket)
        self.ours.addReader(reader)
        self.engine.settle()
        end = self.fork()
        transport._shouldShutdown = False
        transport.connectionLost(Failure(ConnectionDone()))
        reader_socket.close()
        self.ours.removeReader(reader)
        new, new_peer = self.engine.connect()
        self.engine.settle()
        peer.write(b"for the old one")
        reader_peer.write(b"for the old one")
        self.engine.turn(20)
        before = self.engine.statistics
        self.engine.turn(100)
        self.assertEqual(self.engine.statistics.events, before.events, "it spins")
        self.assertEqual((new.protocol.received, reader.calls), ([], []))
        new_peer.write(b"for the new one")
        self.engine.settle()
        self.assertEqual(new.protocol.data, b"for the new one")
        end()
        new_peer.write(b", and on")
        self.engine.settle()
        self.assertEqual(new.protocol.data, b"for the new one, and on")

    def test_a_closed_connection_is_closed_for_its_peer(self) -> None:
        """Although the child has it open: it is shut down, not only closed."""
        transport, peer = self.engine.connect()
        self.engine.settle()
        self.fork()
        transport.loseConnection()
        self.engine.settle()
        peer.read()
        self.assertTrue(peer.ended)


class RegularFileTests(GhostCase):
    """epoll refuses a regular file (EPERM): it is polled, and not all the time."""

    def delays(self, reactor: Any) -> list[float]:
        """How long the reactor rests before each of some looks."""
        found = []
        number = os.open(__file__, os.O_RDONLY)
        reader = Reader(number)
        reactor.addReader(reader)
        for _ in range(5):
            (call,) = reactor.getDelayedCalls()
            found.append(call.getTime() - reactor.seconds())
            self.engine.clock.advance(found[-1])
            self.turn(reactor)
        self.assertTrue(reader.data)
        reactor.removeReader(reader)
        os.close(number)
        return found

    def become_a_file(self, number: int) -> None:
        """Behind the reactor's back. The kernel answers EPERM from then on to whatever is asked about it."""
        with open(__file__, "rb") as file:
            os.dup2(file.fileno(), number)

    def registered(self, *sides: str) -> Reader:
        """A selectable whose descriptor has become a regular file since."""
        ours, _ = self.engine.pair()
        reader = Reader(ours)
        for side in sides:
            getattr(self.ours, f"add{side}")(reader)
        self.become_a_file(reader.number)
        return reader

    def test_a_number_that_became_a_file_is_removed(self) -> None:
        before = self.engine.statistics.registered
        for sides in (("Reader",), ("Writer",), ("Reader", "Writer"), ("Writer", "Reader")):
            reader = self.registered(*sides)
            for side in sides:
                getattr(self.ours, f"remove{side}")(reader)
            self.assertEqual((self.engine.statistics.registered, self.ours.loop.foreign), (before, 0))

    def test_a_number_that_became_a_file_is_used_as_one(self) -> None:
        """By the same selectable or by another one: it is polled, and nothing is left of the socket."""
        before = self.engine.statistics.registered
        for side, same in (("Reader", True), ("Writer", True), ("Reader", False), ("Writer", False)):
            old = self.registered(side)
            new = old if same else Reader(old.number)
            self.ours.addWriter(new)
            self.ours.addReader(new)
            self.assertEqual((self.engine.statistics.registered, self.ours.loop.foreign), (before, 0))
            self.assertNotIn(old.number, self.ours._by_fd)
            self.ours.removeReader(new)
            self.ours.removeWriter(new)
            getattr(self.ours, f"remove{side}")(old)
            self.assertEqual(self.engine.settle(), 0)

    def test_a_number_that_became_a_file_hurts_nobody_when_the_epoll_instance_is_replaced(self) -> None:
        first, first_peer = self.engine.connect()
        reader = self.registered("Reader")
        second, second_peer = self.engine.connect()
        out, into = self.pipe()
        ghost = Reader(out)
        self.ours.addReader(ghost)
        duplicate = os.dup(out)
        self.addCleanup(self.close, duplicate, into)
        os.close(out)
        os.write(into, b"boo")
        self.ours.removeReader(ghost)
        self.engine.turn(5)
        self.assertEqual(self.engine.statistics.rebuilds, 1)
        for transport, peer in ((first, first_peer), (second, second_peer)):
            peer.write(b"x")
            self.engine.settle()
            self.assertEqual(transport.protocol.data, b"x")
        self.ours.removeReader(reader)

    def test_stock_does_not_rest(self) -> None:
        self.stock.seconds = self.engine.clock.seconds
        self.assertTrue(max(self.delays(self.stock)) < 0.001)

    def test_rests_between_two_looks(self) -> None:
        self.assertTrue(min(self.delays(self.ours)) >= 0.001)
