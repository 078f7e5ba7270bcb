"""
A descriptor is closed, or replaced by another under its number, behind the reactor's back. The kernel tells nobody.

Twisted's C{ReactorFDSetTestsBuilder.test_lostFileDescriptor} asks that its selectable is told; it is skipped, by class name, for
every epoll reactor. This is the same on ours.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionFdescWentAway
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import Reader
from tests.net.loopback import Loopback

PATIENCE = 5.0  #: seconds after which it must have been noticed


class Victim(FileDescriptor):
    """Its C{fileno} tells when its socket is closed: -1."""

    def __init__(self, sock: socket.socket, reactor: Any) -> None:
        FileDescriptor.__init__(self, reactor)
        self.socket = sock
        self.lost: list[Failure] = []

    def fileno(self) -> int:
        return self.socket.fileno()

    def doRead(self) -> None:
        raise AssertionError("Victim.doRead should never be called")

    def connectionLost(self, reason: Failure) -> None:
        self.lost.append(reason)


class LostTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.engine = Loopback(self)
        self.reactor = self.engine.reactor
        self.engine.settle()
        self.registered = self.engine.statistics.registered
        self.ours, self.peer = self.engine.pair()
        self.victim = Victim(self.ours, self.reactor)
        self.reactor.addReader(self.victim)

    def replace(self) -> None:
        """Close the victim's socket and put another in its place, which has something to read."""
        number = self.ours.fileno()
        other, other_peer = self.engine.pair()
        self.ours.close()
        os.dup2(other.fileno(), number)
        self.addCleanup(os.close, number)
        other_peer.write(b"x")

    def assert_told(self) -> None:
        self.assertEqual([reason.type for reason in self.victim.lost], [ConnectionFdescWentAway])
        self.assertNotIn(self.victim, self.reactor.getReaders())
        self.assertEqual(self.engine.statistics.registered, self.registered)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_replaced(self) -> None:
        """As in Twisted's test: by a call that has nothing to do with I/O."""
        self.reactor.callLater(0, self.replace)
        self.engine.advance(PATIENCE, 0.1)
        self.assert_told()

    def test_closed(self) -> None:
        self.reactor.callLater(0, self.ours.close)
        self.engine.advance(PATIENCE, 0.1)
        self.assert_told()

    def test_closed_by_a_handler(self) -> None:
        _transport, peer = self.engine.connect()
        _transport.protocol.on_data = lambda data: self.ours.close()
        self.registered += 1
        peer.write(b"x")
        self.engine.advance(PATIENCE, 0.1)
        self.assert_told()

    def test_a_writer(self) -> None:
        full, _ = self.engine.pair()
        writer = Victim(full, self.reactor)
        with contextlib.suppress(BlockingIOError):
            while True:
                full.send(bytes(65536))
        self.reactor.addWriter(writer)
        full.close()
        self.engine.advance(PATIENCE, 0.1)
        self.assertEqual([reason.type for reason in writer.lost], [ConnectionFdescWentAway])
        self.assertNotIn(writer, self.reactor.getWriters())

    def test_its_number_is_registered_anew(self) -> None:
        """Noticed at once then: the new one has its place, and the old one is told."""
        number = self.ours.fileno()
        self.ours.close()
        ours, peer = self.engine.pair()
        self.assertEqual(ours.fileno(), number)
        new = Reader(ours)
        self.reactor.addReader(new)
        peer.write(b"for the new one")
        self.engine.advance(PATIENCE, 0.1)
        self.assertEqual((new.data, new.lost), (b"for the new one", []))
        self.assertEqual([reason.type for reason in self.victim.lost], [ConnectionFdescWentAway])
        self.assertEqual(self.reactor.getReaders().count(self.victim), 0)
        self.reactor.removeReader(new)

    def test_events_that_can_tell(self) -> None:
        """It has an event and its number is -1: told at once, without doRead (Twisted's test_negativeOneFileDescriptor)."""
        self.peer.write(b"x")
        self.victim.fileno = lambda: -1  # type: ignore[method-assign]
        self.engine.turn()
        self.assertEqual([reason.type for reason in self.victim.lost], [ConnectionFdescWentAway])

    def test_nobody_is_suspected_without_reason(self) -> None:
        """Those whose descriptor is what it was stay, and the reactor sleeps as long as it would have."""
        self.engine.advance(PATIENCE, 0.1)
        self.assertEqual(self.victim.lost, [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertIsNone(self.reactor.timeout())

    def test_our_own_transport(self) -> None:
        """Whoever closes the socket of a transport behind its back has to say so; nobody else is hurt."""
        transport, _ = self.engine.connect()
        protocol = transport.protocol
        self.engine.settle()
        number = transport.fileno()
        transport.socket.close()
        other, other_peer = self.engine.connect()
        self.assertEqual(other.fileno(), number)
        other_peer.write(b"x")
        self.engine.settle()
        self.assertEqual((other.protocol.data, protocol.received), (b"x", []))
        transport.connectionLost(Failure(ConnectionFdescWentAway()))
        other_peer.write(b"y")
        self.engine.settle()
        self.assertEqual((other.protocol.data, len(protocol.lost)), (b"xy", 1))
