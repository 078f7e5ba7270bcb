from __future__ import annotations

import fcntl
import os
import select
import socket
import termios
from array import array
from itertools import permutations
from random import Random

import attrs
from twisted.logger import capturedLogs

from tests.net.fakes import Peer
from tests.proxies.bare_case import LIMITS, PATIENT, SETTINGS, BareCase
from twisted_pipe.filters.discovery import parse_filter_spec
from twisted_pipe.net.bare import BareSocket
from twisted_pipe.net.driver import EventPipe


class SessionTests(BareCase):
    def test_both_directions(self) -> None:
        client, server = self.pair()
        client.write(b"question")
        self.engine.turn()
        self.assertEqual(self.engine.take(server, 8), b"question")
        server.write(b"answer")
        self.engine.turn()
        self.assertEqual(self.engine.take(client, 6), b"answer")

    def test_sockets_without_transports_and_ways_that_are_relays(self) -> None:
        self.pair()
        self.assertIsInstance(self.session._client, BareSocket)
        self.assertIsInstance(self.session._upstream, BareSocket)
        self.assertRegex(
            repr(self.session),
            r"<TcpSession 127.0.0.1:\d+ -> origin:80 response=<Relay armed 0 bytes> request=<Relay armed 0 bytes>>",
        )

    def test_two_control_calls_a_session(self) -> None:
        before = self.engine.statistics.control_calls
        client, server = self.pair()
        for _ in range(5):
            client.write(b"question")
            self.engine.take(server, 8)
            server.write(b"answer")
            self.engine.take(client, 6)
        client.close()
        server.close()
        self.settle_until(lambda: not self.factory.sessions)
        self.assertEqual(self.engine.statistics.control_calls, before + 2)

    def test_bytes_before_the_upstream_is_there(self) -> None:
        client = self.connect()
        client.write(b"early")
        self.assertEqual(self.engine.take(self.accept(), 5), b"early")

    def test_a_client_that_has_ended_before(self) -> None:
        client = self.connect()
        client.write(b"all I have")
        client.half_close()
        server = self.accept()
        self.assertEqual(self.engine.end_of(server), b"all I have")
        server.write(b"answer")
        server.close()
        self.assertEqual(self.engine.end_of(client), b"answer")
        self.assertTrue(client.ended)
        self.assert_over()

    def test_an_upstream_that_speaks_first_and_ends(self) -> None:
        client = self.connect()
        server = self.accept()
        server.write(b"220 hello")
        server.close()
        self.assertEqual(self.engine.end_of(client), b"220 hello")
        client.close()
        self.assert_over()

    def test_client_half_closes(self) -> None:
        """It still gets its answer."""
        client, server = self.pair()
        client.write(b"question")
        client.half_close()
        self.assertEqual(self.engine.end_of(server), b"question")
        server.write(b"answer")
        self.assertEqual(self.engine.take(client, 6), b"answer")
        server.close()
        self.engine.end_of(client)
        self.assertTrue(client.ended)
        self.assert_over()

    def test_upstream_half_closes(self) -> None:
        """It still gets the rest of the request."""
        client, server = self.pair()
        server.write(b"early answer")
        server.half_close()
        self.assertEqual(self.engine.end_of(client), b"early answer")
        client.write(b"rest")
        self.assertEqual(self.engine.take(server, 4), b"rest")
        client.close()
        self.engine.end_of(server)
        self.assertTrue(server.ended)
        self.assert_over()

    def test_every_order_of_ends(self) -> None:
        for order in permutations(["client half", "server half", "client close", "server close"]):
            client, server = self.pair()
            client.write(b"question")
            server.write(b"answer")
            self.engine.take(client, 6), self.engine.take(server, 8)
            closed = set()
            for what in order:
                who, how = what.split()
                if who in closed:
                    continue
                peer = client if who == "client" else server
                if how == "half":
                    peer.half_close()
                else:
                    closed.add(who)
                    peer.read()
                    peer.close()
                self.engine.settle()
            self.engine.advance(6, 1)
            self.assertEqual(self.factory.sessions, set(), order)
            self.assert_over()

    def test_every_order_of_resets(self) -> None:
        """Closed with unread bytes, at once and one after the other."""
        for order in permutations(["client", "server"]):
            for apart in (True, False):
                client, server = self.pair()
                client.write(b"question")
                server.write(b"answer")
                self.engine.settle()
                for who in order:
                    (client if who == "client" else server).close()
                    if apart:
                        self.engine.settle()
                self.engine.advance(6, 1)
                self.assert_over()

    def test_upstream_reset(self) -> None:
        """The client is told of an unclean end."""
        client, server = self.pair()
        client.write(b"never read")
        self.engine.settle()
        with capturedLogs() as logs:
            server.close()
            self.engine.settle()
            self.engine.advance(0.2)
        client.read()
        self.assertTrue(client.reset)
        self.assertIn("upstream: Connection reset by peer", self.lines(logs))
        self.assert_over()

    def test_an_early_answer_to_a_slow_client_ends_cleanly(self) -> None:
        """
        An upstream that gives all of its answer and its end, and then closes without having read the request: that broke the
        request, and the answer is whole. It ends as it would have without the request, with whichever way over first.
        """
        client, server = self.pair()
        answer = os.urandom(600 << 10)
        self.pour(client, bytes(1 << 25))  # more than kernels take
        self.assertEqual(self.pour(server, answer), len(answer))
        server.half_close()
        unsent = array("i", [0])

        def all_is_here() -> bool:  # else the reset drops it
            self.engine.advance(0.02)  # the relay waits that long for its client
            fcntl.ioctl(server.socket.fileno(), termios.TIOCOUTQ, unsent)
            return unsent[0] == 0

        self.settle_until(all_is_here)
        server.close()
        self.settle_until(lambda: self.session._tunnel.request.done)
        self.assertFalse(self.session._tunnel.response.done)
        found = b""
        for _ in range(500):
            found += client.read()
            if client.ended or client.reset:
                break
            self.engine.advance(0.1)
            select.select([client.socket], [], [], 0.002)
        self.assertTrue(found == answer, f"{len(found)} bytes")
        self.assertTrue(client.ended)

        def nobody_is_left() -> bool:  # the client's kernel takes its time to say that it has the end
            self.engine.advance(1, 0.1)
            return bool(self.engine.statistics.registered == self.registered)

        self.settle_until(nobody_is_left)
        self.assert_over()

    def test_a_client_that_breaks_off_is_none_that_has_ended(self) -> None:
        """However the response goes: a server that is told of an end takes what it has for the whole request."""
        filtered = attrs.evolve(self.settings, response_filters=(parse_filter_spec("pass"),))
        for settings in (self.settings, filtered):
            self.begin(settings)
            client, server = self.pair()
            client.write(b"a part of it")
            self.engine.take(server, 12)
            server.write(b"never read")
            self.engine.settle()
            client.close()  # with bytes unread: a reset
            self.engine.end_of(server)
            self.assertTrue(server.reset)
            self.assert_over()

    def test_client_reset(self) -> None:
        client, server = self.pair()
        server.write(b"never read")
        self.engine.settle()
        client.close()
        self.engine.end_of(server)
        self.assert_over()

    def test_statistics(self) -> None:
        client, server = self.pair()
        client.write(b"question")
        server.write(b"an answer")
        self.engine.take(server, 8), self.engine.take(client, 9)
        statistics = self.factory.statistics()
        self.assertEqual((statistics.accepted, statistics.active, statistics.bytes_to_clients), (1, 1, 0))
        client.half_close()
        server.half_close()
        self.assert_over()
        statistics = self.factory.statistics()
        self.assertEqual(
            (statistics.accepted, statistics.active, statistics.bytes_to_clients, statistics.bytes_to_upstreams),
            (1, 0, 9, 8),
        )

    def test_a_good_session_is_logged_only_if_that_is_wanted(self) -> None:
        for access_log, expected in ((False, 0), (True, 2)):
            self.begin(attrs.evolve(SETTINGS, access_log=access_log))
            with capturedLogs() as logs:
                client, server = self.pair()
                client.close()
                server.close()
                self.assert_over()
            found = [line for line in self.lines(logs).splitlines() if "origin:80: " in line]
            self.assertEqual(len(found), expected, found)
            if expected:
                self.assertTrue(found[0].endswith("-> origin:80: open"), found)
                self.assertRegex(found[1], "127.0.0.1:.* close after .*: 0 B to the client, .*: finished")

    def test_sessions_do_not_mix(self) -> None:
        pairs = [self.pair() for _ in range(5)]
        for number, (client, server) in enumerate(pairs):
            client.write(b"q%d" % number)
            server.write(b"a%d" % number)
        for number, (client, server) in enumerate(pairs):
            self.assertEqual(self.engine.take(server, 2), b"q%d" % number)
            self.assertEqual(self.engine.take(client, 2), b"a%d" % number)

    def test_an_idle_session_does_not_spin(self) -> None:
        client, server = self.pair()
        client.half_close()
        self.engine.end_of(server)
        before = self.engine.statistics
        self.engine.turn(20)
        after = self.engine.statistics
        self.assertEqual((after.events, after.posted), (before.events, before.posted))

    def test_unix_upstream(self) -> None:
        self.origin.close()
        path = os.path.relpath(self.mktemp())
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.origin = socket.socket(socket.AF_UNIX)
        self.origin.bind(path)
        self.origin.listen()
        self.begin(SETTINGS, path)
        client, server = self.pair()
        client.write(b"question")
        self.assertEqual(self.engine.take(server, 8), b"question")
        server.write(b"answer")
        server.close()
        self.assertEqual(self.engine.end_of(client), b"answer")
        client.close()
        self.assert_over()

    def test_a_rate_makes_a_pipe_of_the_response(self) -> None:
        client, server = self.pair(attrs.evolve(SETTINGS, limits=attrs.evolve(LIMITS, limit_rate=10_000)))
        self.assertRegex(repr(self.session), "response=<EventPipe .* request=<Relay ")
        client.write(bytes(50_000))
        self.engine.take(server, 50_000)
        server.write(bytes(100_000))
        got = 0
        for _ in range(5):
            self.engine.advance(1)
            got += len(client.read())
        self.assertTrue(abs(got - 50_000) <= 1000, got)


class StalledTests(BareCase):
    """A client that does not take its response."""

    settings = PATIENT
    data = os.urandom(8 << 20)

    def stall(self, source: Peer) -> None:
        """All of C{data} has come from C{source}, and nobody has taken any."""
        way = self.session._tunnel.request if source is self.peers[0] else self.session._tunnel.response
        self.assertEqual(self.pour(source, self.data), len(self.data))
        self.engine.advance(1, 0.1)
        self.assertIsInstance(way.mover, EventPipe)
        before = way.passed
        self.settle_until(lambda: before + way.mover.bytes_in >= len(self.data))

    def test_the_way_becomes_a_pipe_and_all_bytes_arrive(self) -> None:
        client, server = self.pair()
        self.stall(server)
        self.assertRegex(repr(self.session), "response=<EventPipe .* request=<Relay armed")
        self.assertTrue(self.engine.take(client, len(self.data)) == self.data)
        for _ in range(3):
            server.write(b"more")
            self.assertEqual(self.engine.take(client, 4), b"more")
        client.write(b"thanks")
        self.assertEqual(self.engine.take(server, 6), b"thanks")
        client.half_close()
        server.half_close()
        self.assert_over()
        statistics = self.factory.statistics()
        self.assertEqual(statistics.bytes_to_clients, len(self.data) + 12)
        self.assertTrue(statistics.bytes_spilled > 0)

    def test_a_slow_upstream_too(self) -> None:
        client, server = self.pair()
        self.stall(client)
        self.assertRegex(repr(self.session), "response=<Relay armed.* request=<EventPipe")
        self.assertTrue(self.engine.take(server, len(self.data)) == self.data)

    def test_stalls_of_all_lengths_both_ways(self) -> None:
        """Whatever the pieces are: every byte arrives, once, and in order."""
        random = Random(7)
        client, server = self.pair()
        ways = [(client, server, os.urandom(700_000)), (server, client, os.urandom(700_000))]
        sent, got = [0, 0], [b"", b""]
        while any(len(part) < 700_000 for part in got):
            for way, (source, sink, data) in enumerate(ways):
                if random.random() < 0.6:
                    size = random.choice((1, 100, 5000, 16_384, 40_000, 100_000))
                    sent[way] += source.write(data[sent[way] : sent[way] + size])
                self.engine.turn(random.randrange(3))
                if random.random() < 0.4:
                    got[way] += sink.read(random.choice((100, 10_000, 1 << 20)))
        self.assertTrue(got[0] == ways[0][2] and got[1] == ways[1][2])

    def test_a_burst_while_the_client_takes_nothing(self) -> None:
        """
        The first read of it is full and cannot be sent; what is behind it must not wait for an event that does not come.
        """
        _client, server = self.pair()
        while self.session._client.writable:
            self.session._client.send([bytes(65536)])
        written = server.write(bytes(300_000))
        self.assertTrue(written > 65536)
        self.engine.advance(1, 0.1)
        way = self.session._tunnel.response
        self.assertIsInstance(way.mover, EventPipe)
        self.settle_until(lambda: way.passed + way.mover.bytes_in >= written)

    def test_it_does_not_hold_the_upstream(self) -> None:
        """The upstream's connection is let go as soon as its response is here."""
        client, server = self.pair()
        client.half_close()
        self.stall(server)
        server.half_close()
        self.engine.end_of(server)
        self.assertEqual(self.engine.statistics.registered, self.registered + 1, "only the client's is left")
        self.assertTrue(self.engine.end_of(client) == self.data)
        self.assert_over()

    def test_upstream_reset(self) -> None:
        """Everything that was received is delivered, then the end is unclean."""
        client, server = self.pair()
        client.write(b"never read")
        self.stall(server)
        server.close()
        self.engine.settle()
        self.assertTrue(self.engine.take(client, len(self.data)) == self.data)
        self.engine.advance(0.2)
        self.engine.end_of(client)
        self.assertTrue(client.reset)
        self.assert_over()

    def test_client_is_gone(self) -> None:
        client, server = self.pair()
        self.pour(server, self.data)
        client.close()
        self.engine.end_of(server)
        self.assert_over()

    def test_shutdown(self) -> None:
        client, server = self.pair()
        other, other_server = self.pair()
        self.pour(server, self.data)
        self.factory.shutdown()
        for peer in (client, server, other, other_server):
            self.engine.end_of(peer)
        self.assertTrue(other.reset)
        self.assert_over()
        self.factory.shutdown()
