from __future__ import annotations

import errno
import os
import socket
from typing import Any

import attrs
from twisted.logger import capturedLogs

from tests.net.fakes import raising
from tests.proxies.bare_case import LIMITS, PATIENT, SETTINGS, BareCase
from twisted_pipe.net.bare import BareSocket


class ConnectingTests(BareCase):
    def silent_origin(self) -> Any:
        """One whose queue is full: whoever connects to it is not answered."""
        origin = socket.socket()
        self.addCleanup(origin.close)
        origin.bind(("127.0.0.1", 0))
        origin.listen(0)
        for _ in range(2):
            filler = socket.socket()
            self.addCleanup(filler.close)
            filler.setblocking(False)
            filler.connect_ex(origin.getsockname())
        return origin.getsockname()

    def test_refused(self) -> None:
        self.begin(SETTINGS, ("127.0.0.1", self.engine.free_port()))
        with capturedLogs() as logs:
            client = self.connect()
            self.engine.end_of(client)
        self.assertTrue(client.ended)
        self.assertIn("upstream origin:80 cannot be reached: Connection refused", self.lines(logs))
        statistics = self.factory.statistics()
        self.assertEqual((statistics.accepted, statistics.connect_failures), (1, 1))
        self.assert_over()

    def test_unreachable(self) -> None:
        """An error before there is any event."""
        self.begin(SETTINGS, ("255.255.255.255", 1))
        with capturedLogs() as logs:
            self.engine.end_of(self.connect())
        self.assertIn("upstream origin:80 cannot be reached: ", self.lines(logs))
        self.assertEqual(self.factory.statistics().connect_failures, 1)
        self.assert_over()

    def test_no_descriptor_is_free(self) -> None:
        # not by patch(), which would put a method back that is bound to this class, for its subclasses, too
        self.addCleanup(setattr, BareSocket, "connecting", BareSocket.__dict__["connecting"])
        BareSocket.connecting = raising(errno.EMFILE)  # type: ignore[method-assign]
        with capturedLogs() as logs:
            self.engine.end_of(self.connect())
        self.assertIn("upstream origin:80 cannot be reached: Too many open files", self.lines(logs))
        self.assert_over()

    def test_an_address_that_is_none(self) -> None:
        """A mistake that no check has found costs the session, and nothing is left of it."""
        self.begin(SETTINGS, ("127.0.0.1", 99999))
        client = self.connect()
        self.engine.settle()
        self.flushLoggedErrors()
        self.assertEqual(self.factory.sessions, set())
        self.engine.end_of(client)
        self.assert_over()

    def test_unix_and_nobody_listens(self) -> None:
        self.begin(SETTINGS, "/nonexistent/origin")
        with capturedLogs() as logs:
            self.engine.end_of(self.connect())
        self.assertIn("cannot be reached: No such file or directory", self.lines(logs))
        self.assert_over()

    def test_timeout(self) -> None:
        self.begin(SETTINGS, self.silent_origin())
        client = self.connect()
        self.engine.settle()
        with capturedLogs() as logs:
            self.engine.advance(9.9)
            self.assertEqual(len(self.factory.sessions), 1)
            self.engine.advance(0.2)
        self.engine.end_of(client)
        self.assertTrue(client.ended)
        self.assertIn("cannot be reached: no connection within 10.0 s", self.lines(logs))
        self.assertEqual(self.factory.statistics().connect_failures, 1)
        self.assert_over()

    def test_no_timeout(self) -> None:
        self.begin(attrs.evolve(SETTINGS, connect_timeout=0), self.silent_origin())
        self.connect()
        self.engine.settle()
        for _ in range(10):
            self.engine.clock.advance(10**5)
            self.engine.settle()
        self.assertEqual(len(self.factory.sessions), 1)
        self.factory.shutdown()
        self.assert_over()

    def test_shut_down_while_connecting(self) -> None:
        self.begin(SETTINGS, self.silent_origin())
        client = self.connect()
        self.engine.settle()
        self.assertRegex(repr(self.session), "connecting to origin:80>>")
        self.factory.shutdown()
        self.engine.end_of(client)
        self.assert_over()

    def test_a_client_that_leaves_while_connecting(self) -> None:
        """Nobody reads it then; the connection is made, its end is seen, and nothing is left."""
        client = self.connect()
        client.close()
        server = self.accept()
        self.engine.end_of(server)
        server.close()
        self.assert_over()

    def test_a_client_that_is_reset_while_connecting(self) -> None:
        client = self.connect()
        client.write(b"hello")
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        server = self.accept()
        self.engine.end_of(server)
        self.assert_over()


class TimeTests(BareCase):
    def test_idle(self) -> None:
        """The time runs from the last byte, either way."""
        for who in ("client", "server"):
            client, server = self.pair(PATIENT)
            self.engine.advance(60, 1)
            (client if who == "client" else server).write(b"x")
            self.engine.take(server if who == "client" else client, 1)
            with capturedLogs() as logs:
                self.engine.advance(99, 1)
                self.assertEqual(len(self.factory.sessions), 1)
                self.engine.advance(2, 1)
            self.assertEqual(len(self.factory.sessions), 0, who)
            self.assertIn("idle timeout of 100 s expired", self.lines(logs))
            for peer in (client, server):
                self.engine.end_of(peer)
            self.assert_over()

    def test_never_idle(self) -> None:
        self.pair(attrs.evolve(PATIENT, idle_timeout=0))
        for _ in range(10):
            self.engine.clock.advance(10**5)
            self.engine.settle()
        self.assertEqual(len(self.factory.sessions), 1)

    def test_one_delayed_call_for_many_sessions(self) -> None:
        for _ in range(10):
            self.pair()
        self.assertEqual(len(self.engine.reactor.getDelayedCalls()), 1)

    def test_read_timeout(self) -> None:
        """Exact, from the last byte of the upstream."""
        client, server = self.pair()
        self.engine.advance(20, 1)
        server.write(b"x")
        self.engine.take(client, 1)
        with capturedLogs() as logs:
            self.engine.advance(29, 1)
            self.assertEqual(len(self.factory.sessions), 1)
            self.engine.advance(1.5, 0.5)
        self.assertIn("upstream: read timeout of 30 s expired", self.lines(logs))
        for peer in (client, server):
            self.engine.end_of(peer)
        self.assert_over()

    def test_a_silent_client_is_no_read_timeout(self) -> None:
        client, server = self.pair()
        for _ in range(8):
            self.engine.advance(29, 1)
            server.write(b"x")
            self.engine.take(client, 1)
        self.assertEqual(len(self.factory.sessions), 1)

    def test_no_read_timeout_while_the_client_is_stuck(self) -> None:
        """Nobody reads the upstream then, so it cannot be late."""
        limits = attrs.evolve(LIMITS, max_temp_file_size=0, send_timeout=0)
        client, server = self.pair(attrs.evolve(SETTINGS, limits=limits))
        data = os.urandom(8 << 20)
        sent = self.pour(server, data)
        self.assertTrue(sent < len(data))
        self.engine.advance(90, 1)
        self.assertEqual(len(self.factory.sessions), 1)
        self.assertTrue(self.engine.take(client, sent) == data[:sent])

    def test_send_timeout(self) -> None:
        client, server = self.pair(PATIENT)
        self.pour(server, bytes(8 << 20))
        with capturedLogs() as logs:
            self.engine.advance(32, 1)
        self.assertIn("client: send timeout of 30 s expired", self.lines(logs))
        for peer in (client, server):
            self.engine.end_of(peer)
        self.assert_over()

    def test_lingering(self) -> None:
        """The upstream has ended and the client is silent: the upstream's connection goes, after a while."""
        client, server = self.pair()
        server.write(b"answer")
        server.half_close()
        self.assertEqual(self.engine.end_of(client), b"answer")
        self.engine.advance(4, 1)
        client.write(b"wait")
        self.engine.take(server, 4)
        self.engine.advance(4, 1)
        self.assertEqual(len(self.factory.sessions), 1)
        self.engine.advance(2, 1)
        self.assertEqual(len(self.factory.sessions), 0)
        self.engine.end_of(server)
        self.assert_over()

    def test_no_lingering(self) -> None:
        client, server = self.pair(attrs.evolve(SETTINGS, lingering_timeout=0))
        server.write(b"answer")
        server.half_close()
        self.assertEqual(self.engine.end_of(client), b"answer")
        self.assertTrue(client.ended)
        self.assert_over()

    def test_a_listener_that_stops_leaves_its_sessions(self) -> None:
        client, server = self.pair()
        self.ports[0].stopListening()
        self.engine.settle()
        client.write(b"still there")
        self.assertEqual(self.engine.take(server, 11), b"still there")


class RoomTests(BareCase):
    """C{worker_connections} and sessions."""

    def limit(self) -> None:
        connections = self.engine.reactor.connections
        connections.limit = len(self.engine.reactor.loop.table)

    def test_an_idle_session_makes_room(self) -> None:
        client, server = self.pair()
        other, other_server = self.pair()
        self.engine.advance(5, 1)
        other.write(b"busy")
        self.engine.take(other_server, 4)
        self.limit()
        newcomer = self.connect()
        newcomer_server = self.accept()
        for peer in (client, server):
            self.engine.end_of(peer)
        newcomer.write(b"hello")
        self.assertEqual(self.engine.take(newcomer_server, 5), b"hello")
        other.write(b"still there")
        self.assertEqual(self.engine.take(other_server, 11), b"still there")

    def test_a_client_that_only_downloads_is_not_idle(self) -> None:
        """Nothing comes from it, and much goes to it."""
        client, server = self.pair()
        for _ in range(5):
            self.engine.advance(1, 0.5)
            server.write(b"more")
            self.engine.take(client, 4)
        self.limit()
        self.connect()
        self.engine.settle()
        self.assertEqual(self.engine.statistics.drained, 0)
        server.write(b"still there")
        self.assertEqual(self.engine.take(client, 11), b"still there")
