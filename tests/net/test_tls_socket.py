"""A bare socket that speaks TLS: its ends, and pipes and relays on it."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.error import ConnectionDone

from tests.net.fakes import Peer, WatchedSpill, open_fds
from tests.net.loopback import Loopback, RelayRecorder
from tests.net.test_edge import Owner
from tests.net.tls_case import TlsCase
from tests.net.tls_peer import SMALL, TlsPeer, tls_pair
from twisted_pipe.limits import PipeLimits
from twisted_pipe.net.bare import BareSocket
from twisted_pipe.net.closing import abort, abort_when_sent, can_half_close, close_when_sent, half_close
from twisted_pipe.net.driver import EventPipe
from twisted_pipe.net.edge import MOST_CALLS, edge_of
from twisted_pipe.net.relay import Relay
from twisted_pipe.net.splice import pipes
from twisted_pipe.net.tls_socket import FAREWELL


class ClosingTests(TlsCase):
    def test_close_notify_is_sent_and_not_waited_for(self) -> None:
        for end in ("close", "loseConnection", "stopProducing"):
            ours, peer = self.pair()
            getattr(ours, end)()
            self.assertFalse(ours.open)
            self.assertEqual((peer.read(), peer.ended), (b"", True))
            self.assertEqual(self.engine.statistics.registered, self.registered)

    def test_reset(self) -> None:
        """No close_notify, and a record that waits is dropped."""
        for end in ("reset", "abortConnection"):
            ours, peer, _sent = self.full(tcp=True)
            getattr(ours, end)()
            self.assertFalse(ours.open)
            peer.read()
            self.assertTrue(peer.reset and not peer.cut)

    def test_closing_waits_for_what_was_taken(self) -> None:
        ours, peer, sent = self.full()
        ours.close()
        self.assertTrue(ours.open)
        self.assertTrue(ours.disconnected and not ours.connected)
        self.assertIsNone(edge_of(ours))
        self.assert_at_rest()
        self.assertEqual(self.received(peer, len(sent) + 1), sent)
        self.assertTrue(peer.ended)
        self.assertFalse(ours.open)
        self.assertEqual(self.engine.reactor.getDelayedCalls(), [])

    def test_closed_again_while_it_waits(self) -> None:
        ours, peer, sent = self.full()
        for end in (ours.close, ours.loseConnection, ours.close):
            end()
        self.assertTrue(ours.open)
        self.assertEqual(self.received(peer, len(sent) + 1), sent)
        self.assertTrue(peer.ended and not ours.open)
        ours.close()

    def test_reset_while_it_waits(self) -> None:
        ours, peer, _sent = self.full(tcp=True)
        ours.close()
        ours.abortConnection()
        self.assertFalse(ours.open)
        self.assertEqual(self.engine.reactor.getDelayedCalls(), [])
        peer.read()
        self.assertTrue(peer.reset)

    def test_abort_while_it_waits(self) -> None:
        """Who has closed it may find out that nobody wants the rest."""
        ours, peer, _sent = self.full(tcp=True)
        ours.close()
        abort(ours)
        self.assertFalse(ours.open)
        peer.read()
        self.assertTrue(peer.reset)

    def test_it_does_not_wait_for_ever(self) -> None:
        ours, _peer, _sent = self.full()
        ours.close()
        self.engine.advance(FAREWELL - 1, 1)
        self.assertTrue(ours.open)
        self.engine.advance(2, 1)
        self.assertFalse(ours.open)
        self.assertEqual(self.engine.statistics.registered, self.registered)

    def test_the_peer_goes_while_it_waits(self) -> None:
        ours, peer, _sent = self.full(tcp=True)
        ours.close()
        peer.break_off()
        self.engine.settle()
        self.assertFalse(ours.open)
        self.assertEqual(self.engine.reactor.getDelayedCalls(), [])

    def test_the_peer_talks_while_it_waits(self) -> None:
        """Nobody reads that, and it wakes nobody more than once."""
        ours, peer, sent = self.full()
        ours.close()
        peer.write(b"x" * 10_000)
        self.assert_at_rest()
        self.assertEqual(self.received(peer, len(sent) + 1), sent)

    def test_a_full_socket_waits_for_room_for_the_close_notify(self) -> None:
        """Also if no record waits."""
        ours, peer, sent = self.full()
        while ours.unsent:
            sent = sent[len(peer.read(1)) :]
            self.engine.settle()
        ours.close()
        self.assertEqual(self.received(peer, len(sent) + 1), sent)
        self.assertTrue(peer.ended and not ours.open)

    def test_owners_are_told_who_did_not_close_it(self) -> None:
        ours, _peer, _sent = self.full()
        ours.reader = owner = Owner(ours)
        ours.loseConnection()
        self.assertEqual([reason.type for reason in owner.lost], [ConnectionDone])
        self.engine.settle()
        self.assertEqual(len(owner.lost), 1)

    def test_at_shutdown_nothing_waits(self) -> None:
        for closed in (True, False):
            ours, _peer, _sent = self.full()
            if closed:
                ours.close()
            else:
                ours.reader = Owner(ours)
            self.engine.reactor.disconnectAll()
            self.assertFalse(ours.open)
            self.assertEqual(self.engine.reactor.getDelayedCalls(), [])

    def test_nothing_is_left(self) -> None:
        before = open_fds()
        engine = Loopback(self)
        ours, peer = tls_pair(engine)
        ours.close()
        peer.socket.close()
        engine._close()
        self.assertEqual(open_fds(), before)

    def test_halves(self) -> None:
        """As of Twisted's TLS: its end of sending ends the connection."""
        ours, peer = self.pair()
        self.assertFalse(can_half_close(ours))
        half_close(ours)
        self.assertFalse(ours.open)
        peer.read()
        self.assertTrue(peer.ended)

    def test_close_when_sent(self) -> None:
        """All arrives, though the peer has sent what nobody reads: a close would be a reset."""
        ours, peer, sent = self.full(tcp=True)
        peer.write(b"never read" * 100)
        self.engine.settle()
        close_when_sent(ours, self.engine.reactor, 30)
        self.assertTrue(ours.open)
        got = self.engine.take(peer, len(sent))
        self.assertEqual(got, sent)
        self.assertEqual((self.engine.end_of(peer), peer.ended), (b"", True))
        self.engine.advance(2, 0.05)
        self.assertFalse(ours.open)

    def test_close_when_sent_and_nothing_is_to_be_sent(self) -> None:
        """There and then."""
        ours, peer = self.pair(tcp=True)
        close_when_sent(ours, self.engine.reactor, 30)
        self.assertFalse(ours.open)
        self.assertEqual(self.engine.reactor.getDelayedCalls(), [])
        self.assertEqual((self.engine.end_of(peer), peer.ended), (b"", True))

    def test_abort_when_sent(self) -> None:
        """All arrives, and then no clean end."""
        ours, peer, sent = self.full(tcp=True)
        abort_when_sent(ours, self.engine.reactor, 30)
        self.engine.advance(0.2)
        self.assertTrue(ours.open)
        self.assertEqual(self.engine.take(peer, len(sent)), sent)
        for _ in range(100):
            self.engine.advance(0.2)
            peer.read()
            if peer.reset:
                break
        self.assertTrue(peer.reset and not peer.ended and not peer.cut)

    def test_abort_when_sent_looks_before_there_is_an_event(self) -> None:
        """The kernel has sent all that it had; the rest of the record is yet to be given to it."""
        ours, peer, sent = self.full()
        abort_when_sent(ours, self.engine.reactor, 30)
        peer.read()
        self.engine.clock.advance(0.1)
        self.engine.reactor.runUntilCurrent()
        self.assertTrue(ours.open and ours.unsent)
        self.engine.settle()
        self.assertTrue(sent.endswith(peer.read()))

    def test_abort_when_sent_to_a_peer_that_takes_nothing(self) -> None:
        ours, _peer, _sent = self.full(tcp=True)
        abort_when_sent(ours, self.engine.reactor, 3)
        self.engine.advance(5, 0.05)
        self.assertFalse(ours.open)


class PipeTests(TlsCase):
    """Pipes and relays do not know of it."""

    def limits(self, **changes: Any) -> PipeLimits:
        return PipeLimits(**{"buffers": 4, "buffer_size": 4096, "max_temp_file_size": 0, **changes})

    def spill(self) -> WatchedSpill:
        path = self.mktemp()
        os.mkdir(path)
        return WatchedSpill(path)

    def through(self, source: Peer, sink: Peer, data: bytes) -> bytes:
        """C{data}, as it arrives."""
        sent, found = 0, b""
        for _ in range(10_000):
            sent += source.write(data[sent : sent + 50_000])
            if isinstance(source, TlsPeer):
                source.flush()
            self.engine.settle()
            found += sink.read()
            if sent == len(data) and len(found) >= len(data) - 4:
                break
        return found

    def test_through_a_pipe(self) -> None:
        (up, server), (down, client) = self.pair(server=False), self.pair()
        pipe = EventPipe(up, down, clock=self.engine.reactor)
        self.engine.settle()
        data = os.urandom(3_000_000)
        self.assertEqual(self.through(server, client, data), data)
        server.half_close()
        self.engine.settle()
        self.assertTrue(self.successResultOf(pipe.done).clean)
        client.read()
        self.assertTrue(client.ended)

    def test_nothing_is_spliced(self) -> None:
        """On either side of a relay."""
        self.patch(pipes, "take", lambda: self.fail("a kernel pipe was taken"))
        data = os.urandom(1_000_000)
        for up_is_tls, down_is_tls in ((True, False), (False, True), (True, True)):
            up, server = self.pair(server=False) if up_is_tls else self.engine.bare()
            down, client = self.pair() if down_is_tls else self.engine.bare()
            owner = RelayRecorder()
            relay = Relay(up, down, owner, 1 << 20, 0.0)
            up.reader = relay
            relay.arm()
            self.assertEqual(self.through(server, client, data), data)
            self.assertEqual(relay.moved, len(data))
            server.half_close()
            self.engine.settle()
            self.assertEqual(owner.told, [("ended", None, False)])

    def test_a_relay_of_a_known_length(self) -> None:
        (up, server), (down, client) = self.pair(server=False), self.pair()
        owner = RelayRecorder()
        relay = Relay(up, down, owner, 1 << 20, 0.0, 300_000)
        up.reader = relay
        relay.arm()
        data = os.urandom(300_000)
        self.assertEqual(self.through(server, client, data + b"next")[: len(data)], data)
        self.assertEqual(owner.told, [("ended", None, False)])
        self.assertTrue(up.readable)
        self.assertEqual(up.socket.recv(100), b"next")

    def test_a_stalled_client_holds_the_upstream_back(self) -> None:
        """The pipe's buffers and one record: that is all. Nobody is woken up meanwhile."""
        (up, server), (down, client) = self.pair(server=False), self.pair(buffer=SMALL)
        limits = self.limits()
        pipe = EventPipe(up, down, (), limits, clock=self.engine.reactor)
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        data = os.urandom(2_000_000)
        sent = stalls = 0
        while stalls < 5:
            now = server.write(data[sent : sent + 50_000])
            sent += now
            stalls = 0 if now else stalls + 1
            self.engine.advance(0.05)
        self.assertTrue(sent < 500_000)
        self.assertTrue(pipe.memory_bytes <= limits.memory)
        self.assertTrue(down.unsent <= 16384)
        self.assert_at_rest()
        found = b""
        for _ in range(100_000):
            if len(found) >= len(data):
                break
            found += client.read(100_000)
            sent += server.write(data[sent : sent + 50_000])
            server.flush()
            self.engine.settle()
        self.assertEqual(found, data)

    def test_spilled_bytes_come_back(self) -> None:
        """By pread, record by record."""
        (up, server), (down, client) = self.pair(server=False), self.pair(buffer=SMALL)
        spill = self.spill()
        pipe = EventPipe(up, down, (), self.limits(max_temp_file_size=1 << 22), clock=self.engine.reactor, spill=spill)
        data = os.urandom(1_000_000)
        sent = 0
        while sent < len(data):
            sent += server.write(data[sent : sent + 50_000])
            self.engine.advance(0.05)
        server.half_close()
        self.engine.advance(0.1)
        self.assertTrue(pipe.disk_bytes > 500_000)
        self.assertEqual(self.received(client, len(data) + 1), data)
        self.assertTrue(client.ended)
        self.assertEqual(spill.fds, [])

    def test_a_stream_that_is_cut_off_is_not_whole(self) -> None:
        (up, server), (down, client) = self.pair(server=False, tcp=True), self.pair(tcp=True)
        pipe = EventPipe(up, down, clock=self.engine.reactor)
        server.write(b"half")
        server.cut_off()
        self.engine.settle()
        outcome = self.successResultOf(pipe.done)
        self.assertEqual(str(outcome.error), "cut off without close_notify")
        self.engine.advance(0.2)
        self.assertEqual(client.read(), b"half")
        for _ in range(20):
            self.engine.advance(0.2)
            client.read()
        self.assertTrue(client.reset and not client.ended)

    def test_an_idle_connection_wakes_nobody(self) -> None:
        (up, server), (down, _client) = self.pair(server=False), self.pair()
        EventPipe(up, down, clock=self.engine.reactor)
        server.write(b"x")
        self.engine.settle()
        self.assert_at_rest()

    def test_tiny_records_through_a_pipe_leave_others_their_turn(self) -> None:
        """However many there are, a turn takes so many, and the reactor comes round."""
        (up, server), (down, _client) = self.pair(server=False, tcp=True), self.pair()
        EventPipe(up, down, clock=self.engine.reactor)
        self.engine.settle()
        server.record = 1
        self.assertEqual(server.write(b"x" * 2000), 2000)
        before = self.engine.reactor.loop.turns
        self.engine.settle()
        self.assertTrue(self.engine.reactor.loop.turns - before > 2000 / (MOST_CALLS + 1))


class TransportTests(TlsCase):
    def test_what_it_is_to_others(self) -> None:
        ours, _peer = self.pair(tcp=True)
        self.assertIsInstance(ours, BareSocket)
        self.assertIs(edge_of(ours), ours)
        self.assertFalse(ours.plain)
        self.assertEqual(ours.getPeer().host, "127.0.0.1")
        self.assertEqual(ours.getHost().host, "127.0.0.1")
        ours.setTcpNoDelay(True)
        self.assertTrue(ours.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        self.assertEqual(ours.socket.family, socket.AF_INET)
        self.assertEqual(ours.socket.getpeername()[0], "127.0.0.1")
        self.assertIn("TlsSocket", repr(ours))
        ours.close()
        self.assertEqual(ours.fileno(), -1)
        self.assertRaises(OSError, ours.socket.recv, 1)
        self.assertEqual(ours.getPeer().host, "?")
