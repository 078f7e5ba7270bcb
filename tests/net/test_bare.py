from __future__ import annotations

import errno
import os
import socket
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import Peer, open_fds
from tests.net.loopback import Loopback
from tests.net.test_edge import Owner
from twisted_pipe.net.bare import BareSocket


class BareCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.engine = Loopback(self)
        self.reactor = self.engine.reactor
        self.engine.settle()
        self.registered = self.engine.statistics.registered
        self.opened: list[Any] = []

    def connecting(self, address: Any) -> BareSocket:
        bare = BareSocket.connecting(
            self.reactor, address, lambda error: self.opened.append(None if error is None else error.errno)
        )
        self.addCleanup(bare.close)
        return bare

    def listening(self, family: int = socket.AF_INET, address: Any = ("127.0.0.1", 0)) -> socket.socket:
        sock = socket.socket(family)
        self.addCleanup(sock.close)
        sock.bind(address)
        sock.listen()
        return sock

    def accepted(self, listener: socket.socket) -> Peer:
        sock, _ = listener.accept()
        self.addCleanup(sock.close)
        return Peer(sock)


class ConnectingTests(BareCase):
    def test_stands(self) -> None:
        listener = self.listening()
        bare = self.connecting(listener.getsockname())
        self.assertEqual((self.opened, bare.connected, bare.writable), ([], False, False))
        peer = self.accepted(listener)
        self.engine.settle()
        self.assertEqual((self.opened, bare.connected, bare.writable), ([None], True, True))
        bare.send([b"hello"])
        self.assertEqual(self.engine.take(peer, 5), b"hello")
        self.engine.settle()
        self.assertEqual(self.opened, [None], "told once")

    def test_the_socket_is_non_blocking_not_inherited_and_without_delay(self) -> None:
        bare = self.connecting(self.listening().getsockname())
        self.assertFalse(os.get_inheritable(bare.fileno()))
        self.assertFalse(os.get_blocking(bare.fileno()))
        self.assertTrue(bare.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def test_bytes_that_came_with_the_connection(self) -> None:
        """They and its being open are one event: C{opened} finds it readable."""
        listener = self.listening()
        got = bytearray(100)

        def opened(error: OSError | None) -> None:
            self.opened.append(bare.recv_into(memoryview(got)))

        bare = BareSocket.connecting(self.reactor, listener.getsockname(), opened)
        self.addCleanup(bare.close)
        self.accepted(listener).write(b"welcome")
        self.engine.settle()
        self.assertEqual((self.opened, bytes(got[:7])), ([7], b"welcome"))

    def test_refused(self) -> None:
        bare = self.connecting(("127.0.0.1", self.engine.free_port()))
        self.engine.settle()
        self.assertEqual(self.opened, [errno.ECONNREFUSED])
        self.assertFalse(bare.open)
        self.assertEqual(self.engine.statistics.registered, self.registered)

    def test_unreachable(self) -> None:
        """A network to which there is no route: an error at once, and no descriptor is left."""
        before = open_fds()
        error = self.assertRaises(OSError, self.connecting, ("255.255.255.255", 1))
        self.assertIn(error.errno, (errno.EACCES, errno.ENETUNREACH, errno.EHOSTUNREACH))
        self.assertEqual(open_fds(), before)
        self.assertEqual(self.engine.statistics.registered, self.registered)
        self.engine.settle()
        self.assertEqual(self.opened, [])

    def test_closed_while_it_connects(self) -> None:
        listener = self.listening()
        bare = self.connecting(listener.getsockname())
        bare.close()
        self.engine.settle()
        self.assertEqual(self.opened, [])
        self.assertEqual(self.engine.statistics.registered, self.registered)

    def test_closed_while_its_event_waits(self) -> None:
        """Closed by another handler of the same batch."""
        listener = self.listening()
        first, first_peer = self.engine.bare()
        first.reader = Owner(first, lambda: bare.close())
        self.engine.settle()
        first_peer.write(b"x")
        bare = self.connecting(listener.getsockname())
        self.engine.settle()
        self.assertEqual(self.opened, [])

    def test_closed_by_whom_it_tells(self) -> None:
        listener = self.listening()
        bare = BareSocket.connecting(self.reactor, listener.getsockname(), lambda error: bare.close())
        self.engine.settle()
        self.assertFalse(bare.open)

    def test_whom_it_tells_raises(self) -> None:
        """That is logged, and ends it."""

        def fail(error: OSError | None) -> None:
            raise ZeroDivisionError

        bare = BareSocket.connecting(self.reactor, self.listening().getsockname(), fail)
        self.engine.settle()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertFalse(bare.open)

    def test_ipv6(self) -> None:
        listener = self.listening(socket.AF_INET6, ("::1", 0))
        bare = self.connecting(listener.getsockname())
        self.engine.settle()
        self.assertEqual(self.opened, [None])
        self.assertEqual(bare.getPeer(), IPv6Address("TCP", *listener.getsockname()))
        self.assertIsInstance(bare.getHost(), IPv6Address)

    def test_unix(self) -> None:
        path = os.path.relpath(self.mktemp())
        os.makedirs(os.path.dirname(path), exist_ok=True)
        listener = self.listening(socket.AF_UNIX, path)
        bare = self.connecting(path)
        peer = self.accepted(listener)
        self.engine.settle()
        self.assertEqual(self.opened, [None])
        self.assertEqual(bare.getPeer(), UNIXAddress(path.encode()))
        bare.setTcpNoDelay(True)
        bare.send([b"hello"])
        self.assertEqual(peer.read(), b"hello")

    def test_unix_and_nobody_listens(self) -> None:
        before = open_fds()
        self.assertRaises(FileNotFoundError, self.connecting, "/nonexistent/socket")
        self.assertRaises(OSError, self.connecting, "/" + "x" * 200)
        self.assertEqual(open_fds(), before)


class ConnectedTests(BareCase):
    def test_registered_once(self) -> None:
        before = self.engine.statistics
        bare, peer = self.engine.bare()
        self.assertEqual(self.engine.statistics.control_calls, before.control_calls + 1)
        self.engine.settle()
        peer.write(b"x")
        self.engine.settle()
        bare.close()
        self.assertEqual(self.engine.statistics.control_calls, before.control_calls + 1)
        self.assertEqual(self.engine.statistics.registered, before.registered)

    def test_accepted_is_writable_from_birth(self) -> None:
        bare, _ = self.engine.bare()
        self.assertTrue(bare.accepted and bare.connected and bare.writable)

    def test_half_close(self) -> None:
        bare, peer = self.engine.bare()
        bare.send([b"question"])
        bare.loseWriteConnection()
        self.assertEqual(peer.read(), b"question")
        self.assertTrue(peer.ended)
        peer.write(b"answer")
        self.engine.settle()
        self.assertEqual(bare.recv_into(memoryview(bytearray(100))), 6)

    def test_half_close_when_the_peer_is_gone(self) -> None:
        bare, peer = self.engine.bare(tcp=True)
        bare.send([b"never read"])
        peer.close()
        self.engine.settle()
        bare.loseWriteConnection()
        bare.close()
        bare.loseWriteConnection()

    def test_closed(self) -> None:
        bare, peer = self.engine.bare()
        bare.loseConnection()
        self.assertEqual((peer.read(), peer.ended), (b"", True))
        self.assertEqual((bare.open, bare.connected, bare.fileno()), (False, False, -1))

    def test_reset(self) -> None:
        bare, peer = self.engine.bare(tcp=True)
        bare.abortConnection()
        peer.read()
        self.assertTrue(peer.reset)

    def test_closed_twice(self) -> None:
        bare, _ = self.engine.bare()
        newcomer = None
        for end in (bare.close, bare.reset, bare.loseConnection, bare.abortConnection, bare.stopProducing):
            end()
            if newcomer is None:
                newcomer, peer = self.engine.bare()
        peer.write(b"x")
        self.engine.settle()
        assert newcomer is not None
        self.assertTrue(newcomer.open and newcomer.readable, "somebody else's number, and registration")

    def test_owners_are_told_who_did_not_close_it(self) -> None:
        for way, expected in (("loseConnection", ConnectionDone), ("abortConnection", ConnectionAborted)):
            bare, _ = self.engine.bare()
            bare.reader, bare.writer = owners = Owner(bare), Owner(bare)
            getattr(bare, way)()
            for owner in owners:
                self.assertEqual([reason.type for reason in owner.lost], [expected])

    def test_nobody_is_told_of_close(self) -> None:
        bare, _ = self.engine.bare()
        bare.reader = owner = Owner(bare)
        bare.close()
        bare.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(owner.lost, [])

    def test_told_once_although_it_closes_it_again(self) -> None:
        bare, _ = self.engine.bare()
        bare.reader = owner = Owner(bare)
        owner.socket_lost = lambda reason: (owner.lost.append(reason), bare.loseConnection())  # type: ignore[method-assign,assignment]
        bare.loseConnection()
        self.assertEqual(len(owner.lost), 1)

    def test_disconnected_with_all_at_shutdown(self) -> None:
        bare, _ = self.engine.bare()
        bare.reader = owner = Owner(bare)
        self.reactor.disconnectAll()
        self.assertFalse(bare.open)
        self.assertEqual(len(owner.lost), 1)

    def test_peer(self) -> None:
        bare, peer = self.engine.bare(tcp=True)
        self.assertEqual(bare.getPeer(), IPv4Address("TCP", *peer.socket.getsockname()))
        self.assertEqual(bare.getHost(), IPv4Address("TCP", *peer.socket.getpeername()))

    def test_peer_when_it_is_gone(self) -> None:
        """A log line must not fail for it."""
        bare, peer = self.engine.bare(tcp=True)
        bare.send([b"never read"])
        peer.close()
        self.engine.settle()
        self.assertIsInstance(bare.getPeer(), IPv4Address)
        bare.close()
        self.assertEqual(bare.getPeer(), IPv4Address("TCP", "?", 0))
        self.assertEqual(bare.getHost(), IPv4Address("TCP", "?", 0))

    def test_it_is_its_own_transport(self) -> None:
        bare, _ = self.engine.bare()
        self.assertIs(bare.transport, bare)
        self.assertIs(bare.edge_socket(), bare)
        self.assertEqual((bare.log_prefix, bare.logPrefix()), ("pipe", "pipe"))

    def test_nobody_reads_it_and_it_does_not_spin(self) -> None:
        _bare, peer = self.engine.bare()
        peer.write(b"x")
        peer.close()
        self.engine.settle()
        before = self.engine.statistics
        self.engine.turn(20)
        after = self.engine.statistics
        self.assertEqual((after.events, after.posted), (before.events, before.posted))
