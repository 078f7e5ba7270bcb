from __future__ import annotations

import errno
import os
import socket
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import Engine, Reader
from twisted_pipe.net.level import LevelRegistration


class LevelCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.engine = Engine(self)
        self.reactor = self.engine.reactor

    def reader(self, **more: Any) -> tuple[Reader, socket.socket]:
        ours, peer = self.engine.pair()
        return Reader(ours, **more), peer.socket

    def types(self, selectable: Reader) -> list[Any]:
        return [failure.type for failure in selectable.lost]


class LevelTests(LevelCase):
    def test_read_as_long_as_there_is_something(self) -> None:
        """One read per event, and an event as long as bytes are left: the semantics of Twisted's own reactors."""
        reader, peer = self.reader()
        self.reactor.addReader(reader)
        peer.send(bytes(250))
        self.assertEqual(self.engine.settle(), 3)
        self.assertEqual(len(reader.data), 250)
        self.assertEqual(reader.calls, ["read"] * 3)

    def test_write_as_long_as_it_is_wanted(self) -> None:
        writer, _ = self.reader()
        self.reactor.addWriter(writer)
        self.engine.turn(3)
        self.assertEqual(writer.calls, ["write"] * 3)
        self.reactor.removeWriter(writer)
        self.engine.turn(3)
        self.assertEqual(writer.calls, ["write"] * 3)

    def test_read_before_write(self) -> None:
        both, peer = self.reader()
        self.reactor.addReader(both)
        self.reactor.addWriter(both)
        peer.send(b"x")
        self.engine.turn()
        self.assertEqual(both.calls, ["read", "write"])

    def test_added_twice(self) -> None:
        reader, peer = self.reader()
        self.reactor.addReader(reader)
        before = self.engine.statistics
        self.reactor.addReader(reader)
        self.assertEqual(self.engine.statistics, before)
        peer.send(b"x")
        self.engine.settle()
        self.assertEqual(reader.calls, ["read"])

    def test_removed_twice(self) -> None:
        reader, _ = self.reader()
        self.reactor.addReader(reader)
        self.reactor.removeReader(reader)
        self.reactor.removeReader(reader)
        self.reactor.removeWriter(reader)
        self.assertNotIn(reader, self.reactor.getReaders())

    def test_removed_and_added_again(self) -> None:
        reader, peer = self.reader()
        before = self.engine.statistics.registered
        for _ in range(3):
            self.reactor.addReader(reader)
            self.assertEqual(self.engine.statistics.registered, before + 1)
            self.reactor.removeReader(reader)
            self.assertEqual(self.engine.statistics.registered, before)
        self.reactor.addReader(reader)
        peer.send(b"x")
        self.engine.settle()
        self.assertEqual(reader.data, b"x")

    def test_what_a_handler_returns_disconnects(self) -> None:
        reader, peer = self.reader(on_read=ConnectionDone)
        self.reactor.addReader(reader)
        peer.send(b"x")
        self.engine.settle()
        self.assertEqual(self.types(reader), [ConnectionDone])
        self.assertNotIn(reader, self.reactor.getReaders())

    def test_what_a_handler_raises_disconnects(self) -> None:
        def fail() -> None:
            raise ZeroDivisionError

        reader, peer = self.reader(on_read=fail)
        self.reactor.addReader(reader)
        peer.send(b"x")
        self.engine.settle()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.types(reader), [ZeroDivisionError])

    def test_raising_inside_connection_lost(self) -> None:
        """It is logged, and hurts nobody else of the same batch."""

        class Raising(Reader):
            def connectionLost(self, reason: Any) -> None:
                raise ZeroDivisionError

        ours, peer = self.engine.pair()
        raising = Raising(ours, on_read=ConnectionDone)
        other, other_peer = self.reader()
        self.reactor.addReader(raising)
        self.reactor.addReader(other)
        peer.write(b"x")
        other_peer.send(b"y")
        self.engine.turn()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(other.data, b"y")

    def test_read_handler_removes_the_writer(self) -> None:
        both, peer = self.reader(on_read=lambda: self.reactor.removeWriter(both))
        self.reactor.addReader(both)
        self.reactor.addWriter(both)
        peer.send(b"x")
        self.engine.settle()
        self.assertEqual(both.calls, ["read"])

    def test_read_handler_closes(self) -> None:
        """Then the write handler is not called, and no other of the batch that was removed."""

        def close() -> None:
            for selectable in (both, other):
                self.reactor.removeReader(selectable)
                self.reactor.removeWriter(selectable)
            both.socket.close()

        both, peer = self.reader(on_read=close)
        other, other_peer = self.reader(on_read=close)
        for selectable in (both, other):
            self.reactor.addReader(selectable)
            self.reactor.addWriter(selectable)
        peer.send(b"x")
        other_peer.send(b"x")
        self.engine.settle()
        self.assertEqual(sorted([both.calls, other.calls]), [[], ["read"]])

    def test_slot_and_number_reused_inside_the_read_handler(self) -> None:
        """The new owner gets no event of the old one, however many are left in the batch."""
        newcomers: list[Reader] = []

        def replace() -> None:
            number = reader.fileno()
            self.reactor.removeReader(reader)
            self.reactor.removeWriter(reader)
            reader.socket.close()
            ours, _ = self.engine.pair()
            self.assertEqual(ours.fileno(), number)
            newcomers.append(Reader(ours))
            self.reactor.addReader(newcomers[0])

        reader, peer = self.reader(on_read=replace)
        self.reactor.addReader(reader)
        self.reactor.addWriter(reader)
        peer.send(b"x")
        self.engine.settle()
        self.assertEqual(reader.calls, ["read"])
        self.assertEqual((newcomers[0].calls, newcomers[0].lost), ([], []))

    def test_slot_reused_once_twice_three_times_in_a_batch(self) -> None:
        """Events of the earlier owners are dropped, each time."""
        for reuses in (1, 2, 3):
            victim, victim_peer = self.reader()
            newcomers: list[Reader] = []

            def reuse(reuses: int = reuses, victim: Reader = victim, newcomers: list[Reader] = newcomers) -> None:
                current = victim
                for _ in range(reuses):
                    number = current.fileno()
                    self.reactor.removeReader(current)
                    current.socket.close()
                    ours, _ = self.engine.pair()
                    self.assertEqual(ours.fileno(), number)
                    current = Reader(ours)
                    newcomers.append(current)
                    self.reactor.addReader(current)

            first, first_peer = self.reader(on_read=reuse)
            self.reactor.addReader(first)
            self.reactor.addReader(victim)
            first_peer.send(b"x")
            victim_peer.send(b"x")
            stale = self.engine.statistics.stale_events
            self.engine.settle()
            self.assertEqual(victim.calls, [])
            self.assertEqual([newcomer.calls for newcomer in newcomers], [[]] * reuses)
            self.assertEqual([newcomer.lost for newcomer in newcomers], [[]] * reuses)
            self.assertEqual(self.engine.statistics.stale_events, stale + 1)
            self.reactor.removeReader(newcomers[-1])

    def test_hung_up(self) -> None:
        """HUP without IN: disconnected, without being asked to read."""
        reader_fd, writer_fd = os.pipe()
        self.addCleanup(os.close, reader_fd)
        reader = Reader(reader_fd)
        self.reactor.addReader(reader)
        os.close(writer_fd)
        self.engine.settle()
        self.assertEqual(reader.calls, [])
        self.assertEqual(self.types(reader), [ConnectionDone])

    def test_nobody_reads_the_pipe(self) -> None:
        reader_fd, writer_fd = os.pipe()
        self.addCleanup(os.close, writer_fd)
        writer = Reader(writer_fd)
        os.close(reader_fd)
        self.reactor.addWriter(writer)
        self.engine.settle()
        self.assertEqual(self.types(writer), [ConnectionLost])

    def test_negative_descriptor(self) -> None:
        reader, peer = self.reader()
        self.reactor.addReader(reader)
        peer.send(b"x")
        reader.number = -1
        self.engine.settle()
        self.assertEqual(reader.calls, [])
        self.assertEqual(len(reader.lost), 1)


class SharedDescriptorTests(LevelCase):
    """Reader and writer are two objects on one descriptor: C{StandardIO} on a terminal."""

    def setUp(self) -> None:
        LevelCase.setUp(self)
        ours, peer = self.engine.pair()
        self.peer = peer.socket
        self.in_, self.out = Reader(ours), Reader(ours)
        self.registered = self.engine.statistics.registered
        self.reactor.addReader(self.in_)
        self.reactor.addWriter(self.out)

    def test_each_has_its_events(self) -> None:
        self.peer.send(b"x")
        self.engine.turn()
        self.assertEqual((self.in_.calls, self.out.calls), (["read"], ["write"]))
        self.assertEqual(self.engine.statistics.registered, self.registered + 1)

    def test_removed_apart(self) -> None:
        self.reactor.removeReader(self.out)  # not the reader
        self.reactor.removeWriter(self.in_)  # not the writer
        self.peer.send(b"x")
        self.engine.turn()
        self.assertEqual((self.in_.calls, self.out.calls), (["read"], ["write"]))
        self.reactor.removeWriter(self.out)
        self.peer.send(b"x")
        self.engine.settle()
        self.assertEqual((self.in_.calls, self.out.calls), (["read"] * 2, ["write"]))
        self.reactor.removeReader(self.in_)
        self.peer.send(b"x")
        self.engine.settle()
        self.assertEqual(self.in_.calls, ["read"] * 2)
        self.assertEqual(self.engine.statistics.registered, self.registered)

    def test_both_are_told_of_the_end(self) -> None:
        self.reactor.removeReader(self.in_)
        self.reactor.removeWriter(self.out)
        reader_fd, writer_fd = os.pipe()
        self.addCleanup(os.close, writer_fd)
        first, second = Reader(writer_fd), Reader(writer_fd)
        self.reactor.addReader(first)
        self.reactor.addWriter(second)
        os.close(reader_fd)
        self.engine.settle()
        self.assertEqual((len(first.lost), len(second.lost)), (1, 1))

    def test_listed_apart(self) -> None:
        self.assertIn(self.in_, self.reactor.getReaders())
        self.assertNotIn(self.in_, self.reactor.getWriters())
        self.assertIn(self.out, self.reactor.getWriters())
        self.assertNotIn(self.out, self.reactor.getReaders())


class GhostTests(LevelCase):
    """What happened to descriptors behind the reactor's back."""

    def test_number_reused_by_another_reader(self) -> None:
        """Twisted issue 11625: the new reader must get its data."""
        old, _ = self.reader()
        self.reactor.addReader(old)
        old.socket.close()
        ours, peer = self.engine.pair()
        self.assertEqual(ours.fileno(), old.fileno())
        new = Reader(ours)
        self.reactor.addReader(new)
        peer.write(b"for the new one")
        self.engine.settle()
        self.assertEqual((new.data, old.calls), (b"for the new one", []))
        self.reactor.removeReader(old)
        peer.write(b", always")
        self.engine.settle()
        self.assertEqual(new.data, b"for the new one, always")

    def test_number_reused_by_a_writer(self) -> None:
        old, _ = self.reader()
        self.reactor.addReader(old)
        old.socket.close()
        ours, _ = self.engine.pair()
        new = Reader(ours)
        self.reactor.addWriter(new)
        self.engine.turn(2)
        self.assertEqual((new.calls, old.calls), (["write"] * 2, []))
        self.reactor.removeReader(old)
        self.engine.turn()
        self.assertEqual((new.calls, old.calls), (["write"] * 3, []))

    def test_number_reused_by_a_transport(self) -> None:
        """The removal of the old one must not touch the registration of the new."""
        for side in ("Reader", "Writer"):
            old, _ = self.reader()
            self.reactor.addReader(old)
            self.reactor.addWriter(old)
            old.socket.close()
            ours, peer = self.engine.pair()
            self.assertEqual(ours.fileno(), old.fileno())
            transport = self.engine.adopt(ours)
            self.engine.turn(5)
            getattr(self.reactor, f"remove{side}")(old)
            peer.write(b"for the new one")
            self.engine.turn(5)
            self.assertEqual(transport.protocol.data, b"for the new one", f"remove{side}")
            self.reactor.removeReader(old)
            self.reactor.removeWriter(old)
            peer.write(b", always")
            self.engine.turn(5)
            self.assertEqual(transport.protocol.data, b"for the new one, always", f"remove{side}")
            transport.loseConnection()
            self.engine.settle()

    def test_closed_before_it_was_removed(self) -> None:
        """The kernel noticed first: no error."""
        reader, _ = self.reader()
        before = self.engine.statistics.registered
        self.reactor.addReader(reader)
        reader.socket.close()
        self.reactor.removeReader(reader)
        self.assertEqual(self.engine.statistics.registered, before)

    def test_closed_while_a_duplicate_lives(self) -> None:
        """epoll would report it at every wait for ever; the ghost is exorcised, and nothing else is lost."""
        ghost, ghost_peer = self.reader()
        other, other_peer = self.reader()
        transport, peer = self.engine.connect()
        self.reactor.addReader(other)
        self.reactor.addReader(ghost)
        duplicate = ghost.socket.dup()
        self.addCleanup(duplicate.close)
        ghost.socket.close()
        self.reactor.removeReader(ghost)
        ghost_peer.send(b"boo")
        self.assertTrue(self.engine.settle() < 10)
        statistics = self.engine.statistics
        self.assertEqual((ghost.calls, statistics.rebuilds), ([], 1))
        before = statistics.events
        self.engine.turn(20)
        self.assertEqual(self.engine.statistics.events, before, "it spins")
        other_peer.send(b"x")
        peer.write(b"y")
        self.engine.settle()
        self.assertEqual((other.data, transport.protocol.data), (b"x", b"y"))
        self.assertEqual(self.engine.statistics.rebuilds, 1)

    def test_several_ghosts(self) -> None:
        for _ in range(5):
            ghost, ghost_peer = self.reader()
            self.reactor.addReader(ghost)
            duplicate = ghost.socket.dup()
            self.addCleanup(duplicate.close)
            ghost.socket.close()
            self.reactor.removeReader(ghost)
            ghost_peer.send(b"boo")
        self.assertTrue(self.engine.settle() < 20)
        self.assertEqual(self.engine.statistics.rebuilds, 1)

    def test_a_rebuild_forgets_no_descriptor(self) -> None:
        """
        Neither what is idle, nor what waits for its turn, nor what is blocked; control calls are counted on.
        """
        transport, peer = self.engine.connect()
        blocked, blocked_peer = self.engine.connect()
        blocked.write(bytes(4 << 20))
        paused, paused_peer = self.engine.connect()
        paused.pauseProducing()
        self.engine.settle()
        calls = self.engine.statistics.control_calls
        self._make_ghost()
        self.engine.settle()
        statistics = self.engine.statistics
        self.assertEqual(statistics.rebuilds, 1)
        self.assertTrue(statistics.control_calls > calls)
        peer.write(b"x")
        paused_peer.write(b"y")
        self.engine.settle()
        paused.resumeProducing()
        got = 0
        for _ in range(100):
            self.engine.settle()
            got += len(blocked_peer.read())
        self.assertEqual((transport.protocol.data, paused.protocol.data, got), (b"x", b"y", 4 << 20))

    def _make_ghost(self) -> None:
        ghost, ghost_peer = self.reader()
        self.reactor.addReader(ghost)
        duplicate = ghost.socket.dup()
        self.addCleanup(duplicate.close)
        ghost.socket.close()
        self.reactor.removeReader(ghost)
        ghost_peer.send(b"boo")

    def test_a_rebuild_after_a_number_was_reused(self) -> None:
        """A socket that was closed behind our back, its number reused: rebuilding must not stumble over the two."""
        gone, _ = self.engine.connect()
        number = gone.fileno()
        gone.socket.close()
        ours, peer = self.engine.pair()
        self.assertEqual(ours.fileno(), number)
        new = Reader(ours)
        self.reactor.addReader(new)
        others = [self.reader() for _ in range(3)]
        for other, _ in others:
            self.reactor.addReader(other)
        self._make_ghost()
        self.engine.settle()
        peer.write(b"x")
        for _, other_peer in others:
            other_peer.send(b"y")
        self.engine.settle()
        self.assertEqual((new.data, [other.data for other, _ in others]), (b"x", [b"y"] * 3))


class RegularFileTests(LevelCase):
    """epoll refuses regular files (EPERM): they are polled, and the reactor does not burn the processor meanwhile."""

    def setUp(self) -> None:
        LevelCase.setUp(self)
        name = self.mktemp()
        with open(name, "wb") as file:
            file.write(b"0123456789")
        fd = os.open(name, os.O_RDWR)
        self.addCleanup(os.close, fd)
        self.file = Reader(fd)

    def pass_time(self) -> None:
        self.engine.clock.advance(0.1)
        self.engine.turn()

    def test_read(self) -> None:
        registered = self.engine.statistics.registered
        self.reactor.addReader(self.file)
        self.assertEqual(self.engine.statistics.registered, registered)
        self.pass_time()
        self.assertEqual(self.file.data, b"0123456789")
        self.assertIn(self.file, self.reactor.getReaders())
        self.reactor.removeReader(self.file)
        self.assertNotIn(self.file, self.reactor.getReaders())
        calls = len(self.file.calls)
        self.pass_time()
        self.assertEqual(len(self.file.calls), calls)

    def test_write(self) -> None:
        self.reactor.addWriter(self.file)
        self.pass_time()
        self.assertIn("write", self.file.calls)
        self.assertIn(self.file, self.reactor.getWriters())
        self.reactor.removeWriter(self.file)
        self.assertNotIn(self.file, self.reactor.getWriters())

    def test_removed_with_all(self) -> None:
        self.reactor.addReader(self.file)
        self.reactor.addWriter(self.file)
        self.assertEqual(self.reactor.removeAll().count(self.file), 1)
        self.assertEqual(self.reactor.getReaders().count(self.file), 0)
        self.pass_time()
        self.assertEqual(self.file.calls, [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_other_errors_are_raised(self) -> None:
        bad = Reader(-1)
        before = self.engine.statistics.registered
        self.assertEqual(self.assertRaises(OSError, self.reactor.addReader, bad).errno, errno.EBADF)
        self.assertEqual(self.engine.statistics.registered, before)
        self.assertNotIn(bad, self.reactor.getReaders())


class RegistrationTests(SynchronousTestCase):
    def test_repr(self) -> None:
        registration = LevelRegistration(7)
        self.assertEqual(repr(registration), "<LevelRegistration fd=7 reader=None writer=None>")
        self.assertEqual(registration.mask, 0)
        self.assertIsNone(registration.transport)
