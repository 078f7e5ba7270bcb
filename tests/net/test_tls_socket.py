"""A bare socket that speaks TLS, on real sockets; the other end is OpenSSL's, carried by the test byte by byte."""

from __future__ import annotations

import errno
import os
import socket
import struct
import tempfile
from functools import partial
from typing import Any

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import Peer, WatchedSpill, open_fds
from tests.net.loopback import Loopback, RelayRecorder
from tests.net.test_edge import Owner
from tests.net.tls_peer import TlsPeer, ask, raw_pair, serve, tls_pair
from twisted_pipe.errors import DiskFailed
from twisted_pipe.limits import PipeLimits
from twisted_pipe.net.bare import BareSocket
from twisted_pipe.net.closing import abort_when_sent, can_half_close, close_when_sent, half_close
from twisted_pipe.net.driver import EventPipe
from twisted_pipe.net.edge import MOST_CALLS, edge_of
from twisted_pipe.net.relay import Relay
from twisted_pipe.net.splice import pipes
from twisted_pipe.net.tls_socket import FAREWELL, TlsSocket

_VERSIONS = (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION)
_SMALL = 4096  # bytes of a send buffer that is soon full


class TlsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.engine = Loopback(self)
        self.engine.settle()
        self.registered = self.engine.statistics.registered

    def pair(self, **how: Any) -> tuple[TlsSocket, TlsPeer]:
        return tls_pair(self.engine, **how)

    def full(self, **how: Any) -> tuple[TlsSocket, TlsPeer, bytes]:
        """One whose kernel takes no more, and what it has taken until then."""
        ours, peer = self.pair(buffer=_SMALL, **how)
        sent = bytearray()
        while ours.writable:
            part = os.urandom(30_000)
            sent += part[: ours.send([part])]
        return ours, peer, bytes(sent)

    def received(self, peer: TlsPeer, count: int) -> bytes:
        """What comes to C{peer}, with turns of the reactor between."""
        found = b""
        for _ in range(10_000):
            found += peer.read(3000)
            self.engine.settle()
            if len(found) >= count or peer.ended or peer.reset:
                break
        return found

    def assert_at_rest(self, turns: int = 20) -> None:
        """No event, nothing posted: nobody is woken up."""
        self.engine.settle()
        before = self.engine.statistics
        self.engine.turn(turns)
        after = self.engine.statistics
        self.assertEqual((after.events, after.posted, after.queued), (before.events, before.posted, 0))


class HandshakeTests(TlsCase):
    def setUp(self) -> None:
        TlsCase.setUp(self)
        self.told: list[str | None] = []
        self.ours, self.raw = raw_pair(self.engine, tcp=True)
        self.raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def test_both_roles_and_versions(self) -> None:
        for version in _VERSIONS:
            for server in (True, False):
                ours, peer = self.pair(server=server, version=version)
                self.assertEqual(ours.connection.get_protocol_version(), version)  # type: ignore[union-attr]
                peer.write(b"hello")
                self.engine.settle()
                self.assertEqual(ours.socket.recv(100), b"hello")
                self.assertEqual(ours.send([b"wor", b"ld"]), 5)
                self.assertEqual(peer.read(), b"world")

    def test_byte_by_byte(self) -> None:
        """Cut wherever it can be, both ways."""
        self.ours.handshake(serve, self.told.append)
        client = ask(None)
        for _ in range(4):
            try:
                client.do_handshake()
            except SSL.WantReadError:
                pass
            try:
                flight = client.bio_read(1 << 16)
            except SSL.WantReadError:
                flight = b""
            for at in range(len(flight)):
                self.raw.send(flight[at : at + 1])
                self.engine.turn()
            self.engine.settle()
            try:
                client.bio_write(self.raw.recv(1 << 16))
            except BlockingIOError:
                break
        self.assertEqual(self.told, [None])

    def test_a_request_that_comes_with_its_last_flight(self) -> None:
        """No edge tells of it any more: whoever is the reader then is told."""
        owner = Owner(self.ours)

        def done(why: str | None) -> None:
            self.told.append(why)
            self.ours.reader = owner

        self.ours.handshake(serve, done)
        peer = TlsPeer(self.raw, ask(None))
        peer.shake()
        self.engine.settle()
        peer._feed()
        peer.connection.do_handshake()
        peer.connection.send(b"early")
        peer.flush()
        self.engine.settle()
        self.assertEqual(self.told, [None])
        self.assertEqual(owner.calls, 1)
        self.assertEqual(self.ours.socket.recv(100), b"early")

    def test_what_stands_before_it_is_plain(self) -> None:
        """A PROXY header, both ways, under the same registration."""
        calls = self.engine.statistics.control_calls
        self.raw.send(b"header")
        self.engine.settle()
        self.assertEqual(self.ours.socket.recv(100), b"header")
        self.assertEqual(self.ours.send([b"reply"]), 5)
        self.assertEqual(self.raw.recv(100), b"reply")
        self.ours.handshake(serve, self.told.append)
        peer = TlsPeer(self.raw, ask(None))
        for _ in range(4):
            peer.shake()
            self.engine.settle()
        self.assertEqual((self.told, self.engine.statistics.control_calls), ([None], calls))

    def test_by_connecting(self) -> None:
        listener = socket.socket()
        self.addCleanup(listener.close)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        ours = TlsSocket.connecting(
            self.engine.reactor,
            listener.getsockname(),
            lambda error: ours.handshake(ask, self.told.append),
        )
        self.addCleanup(ours.close)
        self.engine.settle()
        sock, _ = listener.accept()
        peer = TlsPeer(sock, serve(None))
        self.addCleanup(sock.close)
        for _ in range(5):
            peer.shake()
            self.engine.settle()
        self.assertEqual(self.told, [None])

    def refused(self, why: str) -> None:
        self.engine.settle()
        self.assertEqual(self.told, [why])
        self.assertFalse(self.ours.open)
        self.assertIsNone(self.ours.connection)
        self.assertEqual(self.engine.statistics.registered, self.registered)

    def test_the_end_in_the_middle(self) -> None:
        client = ask(None)
        self.assertRaises(SSL.WantReadError, client.do_handshake)
        hello = client.bio_read(1 << 16)
        for count in (0, 1, 5, 6, len(hello) - 1, len(hello)):
            self.told = []
            self.ours, raw = raw_pair(self.engine, tcp=True)
            self.registered = self.engine.statistics.registered - 1
            self.ours.handshake(serve, self.told.append)
            raw.send(hello[:count])
            raw.close()
            self.refused("the connection ended during the handshake")

    def test_a_reset(self) -> None:
        self.registered -= 0
        self.ours.handshake(serve, self.told.append)
        self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.raw.close()
        self.refused("Connection reset by peer")

    def test_no_tls_at_all(self) -> None:
        for junk in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", bytes(100), os.urandom(60_000), b"\x16\x03\x01\xff\xff" + bytes(70_000)):
            self.told = []
            self.ours, raw = raw_pair(self.engine, tcp=True)
            self.ours.handshake(serve, self.told.append)
            with open(os.devnull, "rb"):
                raw.setblocking(False)
                raw.send(junk)
            self.engine.settle()
            self.assertEqual(len(self.told), 1, junk[:10])
            self.assertTrue(self.told[0], junk[:10])
            self.assertFalse(self.ours.open)

    def test_a_peer_that_is_refused_gets_the_alert(self) -> None:
        """Though it has sent more, which nobody reads: a reset would take the alert away."""
        self.ours.handshake(lambda sock: serve(sock, SSL.TLS1_3_VERSION), self.told.append)
        peer = TlsPeer(self.raw, ask(None, SSL.TLS1_2_VERSION))
        peer.shake()
        peer.socket.send(bytes(100_000))
        self.engine.settle()
        self.assertEqual(self.told, ["TLS: unsupported protocol"])
        error = self.assertRaises(SSL.Error, peer.shake)
        self.assertIn("alert protocol version", str(error.args))

    def test_words_of_the_caller(self) -> None:
        self.ours.handshake(serve, self.told.append, lambda error: f"so: {type(error).__name__}")
        self.raw.send(b"nonsense that is long enough")
        self.refused("so: Error")

    def test_what_a_callback_of_the_context_raises(self) -> None:
        """As a certificate that is refused by us."""

        def make(sock: Any) -> SSL.Connection:
            context = SSL.Context(SSL.TLS_CLIENT_METHOD)

            def verify(*arguments: Any) -> bool:
                raise ZeroDivisionError("of its own")

            context.set_verify(SSL.VERIFY_PEER, verify)
            connection = SSL.Connection(context, sock)
            connection.set_connect_state()
            return connection

        self.ours.handshake(make, self.told.append)
        peer = TlsPeer(self.raw, serve(None))
        try:
            for _ in range(4):
                peer.shake()
                self.engine.settle()
        except SSL.Error:
            pass
        self.refused("ZeroDivisionError: of its own")

    def test_a_peer_that_says_nothing(self) -> None:
        self.ours.handshake(serve, self.told.append)
        self.assert_at_rest()
        self.assertEqual(self.told, [])
        self.ours.close()
        self.engine.settle()
        self.assertEqual((self.told, self.ours.open), ([], False))
        self.assertEqual(self.engine.statistics.registered, self.registered)

    def test_somebody_else_closes_it(self) -> None:
        """As worker_connections does."""
        self.ours.handshake(serve, self.told.append)
        self.ours.loseConnection()
        self.assertEqual(self.told, ["Connection was closed cleanly: Connection done."])

    def test_the_kernel_takes_no_more(self) -> None:
        """A flight that does not fit waits for room."""
        self.ours, raw = raw_pair(self.engine)
        self.ours.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SMALL)
        filler = 0
        try:
            while True:
                filler += self.ours.socket.send(bytes(500))
        except BlockingIOError:
            pass
        self.ours.handshake(serve, self.told.append)
        peer = TlsPeer(raw, ask(None))
        self.assertRaises(SSL.WantReadError, peer.connection.do_handshake)
        peer.flush()
        self.assert_at_rest()
        self.assertTrue(self.ours.writing)
        while filler:
            filler -= len(raw.recv(filler))
        for _ in range(10):
            peer.shake()
            self.engine.settle()
        self.assertEqual((self.told, self.ours.writing), ([None], False))


class ReceivingTests(TlsCase):
    """A short read has to mean what it means on a socket."""

    def test_short_reads_are_drained(self) -> None:
        ours, peer = self.pair()
        peer.write(b"one")
        self.engine.settle()
        self.assertTrue(ours.readable)
        self.assertEqual(ours.recv_into(memoryview(bytearray(100))), 3)
        self.assertFalse(ours.readable)
        self.assertEqual(ours.recv_into(memoryview(bytearray(100))), -1)

    def test_records_that_came_together_are_read_together(self) -> None:
        for read in (self.by_recv, self.by_recv_into, self.by_several_views):
            ours, peer = self.pair()
            for part in (b"one", b"two", b"three"):
                peer.write(part)
            self.engine.settle()
            self.assertEqual(read(ours, 100), b"onetwothree")
            self.assertFalse(ours.readable)

    def note(self, found: list[bytes], read: Any, ours: TlsSocket, size: int) -> None:
        if ours.readable:
            found.append(read(ours, size))

    def by_recv(self, ours: TlsSocket, size: int) -> bytes:
        data: bytes = ours.socket.recv(size)
        ours.did_read(size, len(data))
        return data

    def by_recv_into(self, ours: TlsSocket, size: int) -> bytes:
        buffer = bytearray(size)
        return bytes(buffer[: ours.recv_into(memoryview(buffer))])

    def by_several_views(self, ours: TlsSocket, size: int) -> bytes:
        first, second = bytearray(4), bytearray(size)
        got = ours.recv_into_all([memoryview(first), memoryview(second)])
        return bytes(first + second)[:got]

    def test_what_does_not_fit_stays_readable(self) -> None:
        for read in (self.by_recv, self.by_recv_into):
            ours, peer = self.pair()
            peer.write(b"x" * 100)
            self.engine.settle()
            self.assertEqual(len(read(ours, 60)), 60)
            self.assertTrue(ours.readable)
            self.assertEqual(len(read(ours, 60)), 40)
            self.assertFalse(ours.readable)

    def test_exactly_what_was_asked_for(self) -> None:
        """As of a socket: who got all that he asked for asks again."""
        ours, peer = self.pair()
        peer.write(b"x" * 100)
        self.engine.settle()
        self.assertEqual(len(self.by_recv_into(ours, 100)), 100)
        self.assertTrue(ours.readable)
        self.assertEqual(ours.recv_into(memoryview(bytearray(100))), -1)
        self.assertFalse(ours.readable)

    def test_a_record_that_is_not_whole(self) -> None:
        ours, peer = self.pair()
        peer.connection.send(b"x" * 1000)
        record = peer.connection.bio_read(1 << 16)
        for at in range(0, len(record) - 100, 100):
            peer.socket.send(record[at : at + 100])
            self.engine.settle()
            self.assertRaises(BlockingIOError, ours.socket.recv, 100)
        peer.socket.send(record[(len(record) - 1) // 100 * 100 :])
        self.engine.settle()
        self.assertEqual(ours.socket.recv(2000), b"x" * 1000)

    def test_a_whole_record_and_half_of_one(self) -> None:
        for read in (self.by_recv, self.by_recv_into):
            ours, peer = self.pair()
            peer.connection.send(b"whole")
            peer.connection.send(b"half")
            records = peer.connection.bio_read(1 << 16)
            peer.socket.send(records[:-5])
            self.engine.settle()
            self.assertEqual(read(ours, 100), b"whole")
            self.assertFalse(ours.readable)
            peer.socket.send(records[-5:])
            self.engine.settle()
            self.assertEqual(read(ours, 100), b"half")

    def test_many_tiny_records_do_not_keep_the_others(self) -> None:
        """A read ends after so many. The rest is another turn's, of which no edge would tell."""
        for read in (self.by_recv, self.by_recv_into):
            ours, peer = self.pair()
            found = []
            ours.reader = Owner(ours, partial(self.note, found, read, ours, 10_000))
            peer.record = 1
            peer.write(b"x" * 100)
            self.engine.turn()
            self.assertEqual(found, [b"x" * (MOST_CALLS + 1)])
            self.engine.settle()
            self.assertEqual(b"".join(found), b"x" * 100)
            self.assertEqual(len(found), 6)

    def test_the_end(self) -> None:
        ours, peer = self.pair()
        peer.half_close()
        self.engine.settle()
        self.assertEqual(ours.recv_into(memoryview(bytearray(10))), 0)
        self.assertEqual(ours.recv_into(memoryview(bytearray(10))), 0)
        self.assertIsNone(ours.failed)

    def test_the_end_behind_bytes(self) -> None:
        """Also of a peer that then waits for ours, so that no FIN tells of it: the socket is run again."""
        for read in (self.by_recv, self.by_recv_into, self.by_several_views):
            ours, peer = self.pair()
            found: list[bytes] = []
            ours.reader = Owner(ours, partial(self.note, found, read, ours, 100))
            peer.write(b"last")
            peer.connection.shutdown()
            peer.flush()
            self.engine.settle()
            self.assertEqual(found, [b"last", b""])

    def test_cut_off(self) -> None:
        for read in (self.by_recv, self.by_recv_into, self.by_several_views):
            ours, peer = self.pair()
            peer.write(b"half of it")
            peer.cut_off()
            self.engine.settle()
            self.assertEqual(read(ours, 100), b"half of it")
            self.assertTrue(ours.readable)
            for _ in range(2):
                error = self.assertRaises(OSError, read, ours, 100)
                self.assertEqual((error.errno, error.strerror), (errno.ECONNRESET, "cut off without close_notify"))
            self.assertRaises(OSError, ours.send, [b"x"])

    def test_a_reset(self) -> None:
        ours, peer = self.pair(tcp=True)
        peer.break_off()
        self.engine.settle()
        self.assertRaises(ConnectionResetError, ours.recv_into, memoryview(bytearray(10)))

    def test_nonsense(self) -> None:
        """And bytes before it, which count."""
        ours, peer = self.pair()
        peer.write(b"good")
        peer.socket.send(b"\x17\x03\x03\x00\x20" + bytes(32))
        self.engine.settle()
        self.assertEqual(ours.socket.recv(100), b"good")
        self.engine.settle()
        error = self.assertRaises(OSError, ours.socket.recv, 100)
        self.assertEqual(error.errno, errno.EPROTO)
        self.assertIn("TLS: ", str(error.strerror))
        error = self.assertRaises(OSError, ours.send, [b"x"])
        self.assertEqual(error.errno, errno.EPROTO)
        ours.close()

    def test_a_look_takes_nothing(self) -> None:
        ours, peer = self.pair()
        self.assertRaises(BlockingIOError, ours.socket.recv, 1, socket.MSG_PEEK)
        peer.write(b"ab")
        self.assertEqual(ours.socket.recv(1, socket.MSG_PEEK), b"a")
        self.assertEqual(ours.socket.recv(10), b"ab")

    def test_tickets_are_no_bytes(self) -> None:
        """They come to a client after its handshake, while nothing is asked."""
        ours, _peer = self.pair(server=False)
        self.assertRaises(BlockingIOError, ours.socket.recv, 10)
        self.assert_at_rest()


class SendingTests(TlsCase):
    def test_large_and_small_parts(self) -> None:
        """In order, and small ones in one record."""
        ours, peer = self.pair()
        parts = [b"a" * 10, b"b" * 20_000, b"c", b"d" * 16384, b"e" * 5, b"f" * 40_000, b"", b"g"]
        views = [memoryview(bytearray(part)) for part in parts]
        whole = b"".join(parts)
        for given in (parts, views, [memoryview(part) for part in parts]):
            sent = 0
            found = b""
            rest: Any = list(given)
            while sent < len(whole):
                sent += (now := ours.send(rest))
                found += self.received(peer, 1) if not ours.writable else peer.read()
                while rest and now >= len(rest[0]):
                    now -= len(rest[0])
                    rest.pop(0)
                if rest and now:
                    rest[0] = memoryview(rest[0])[now:]
            self.engine.settle()
            found += peer.read()
            self.assertEqual(found, whole)

    def test_small_parts_share_a_record(self) -> None:
        ours, peer = self.pair()
        ours.send([b"x" * 100] * 50)
        self.assertTrue(peer._feed())
        self.assertEqual(len(peer.connection.recv(65536)), 5000)

    def test_the_rest_of_a_record_is_kept(self) -> None:
        """It counts as sent, whatever becomes of its bytes; nothing else is sent before it."""
        ours, peer = self.pair(buffer=_SMALL)
        data = bytearray(os.urandom(50_000))
        expected = bytes(data)
        sent = ours.send([memoryview(data)])
        self.assertTrue(0 < sent < len(data))
        self.assertFalse(ours.writable)
        self.assertTrue(ours.writing, "the loop hands it its events")
        self.assertTrue(0 < ours.unsent <= 16384)
        data[:] = bytes(len(data))
        self.assertEqual(ours.send([b"later"]), 0)
        self.assertEqual(self.received(peer, sent), expected[:sent])
        self.assertEqual((ours.unsent, ours.writing, ours.writable), (0, False, True))
        ours.send([b"later"])
        self.assertEqual(peer.read(), b"later")

    def test_its_owner_is_told_when_it_is_gone(self) -> None:
        ours, peer, sent = self.full()
        owner = ours.writer = Owner(ours)
        self.assert_at_rest()
        self.assertEqual(owner.calls, 0)
        ours.writing = True
        while not owner.calls:
            sent = sent[len(peer.read(500)) :]
            self.engine.settle()
        self.assertEqual(ours.unsent, 0)
        self.assertEqual(len(peer.read()), len(sent))

    def test_a_stalled_peer_wakes_nobody(self) -> None:
        ours, peer, _sent = self.full()
        self.assert_at_rest()
        peer.write(b"it talks, though")
        ours.reader = owner = Owner(ours)
        self.engine.settle()
        self.assertTrue(owner.calls)
        self.assertEqual(ours.socket.recv(100), b"it talks, though")
        self.assert_at_rest()

    def test_the_peer_is_gone(self) -> None:
        ours, peer = self.pair(tcp=True)
        peer.break_off()
        self.assertRaises(OSError, self.send_on, ours)
        self.assertRaises(OSError, ours.send, [b"x"])
        self.assertEqual(ours.unsent, 0)
        ours.close()
        self.assertFalse(ours.open)

    def send_on(self, ours: TlsSocket) -> None:
        for _ in range(100):
            ours.send([b"x" * 1000])
            self.engine.settle()

    def test_the_peer_goes_while_a_record_waits(self) -> None:
        ours, peer, _sent = self.full(tcp=True)
        ours.reader = owner = Owner(ours)
        peer.break_off()
        self.engine.settle()
        self.assertTrue(owner.calls)
        self.assertRaises(OSError, ours.socket.recv, 10)
        self.assert_at_rest()

    def test_a_file(self) -> None:
        ours, peer = self.pair()
        content = os.urandom(200_000)
        with tempfile.TemporaryFile() as file:
            file.write(content)
            file.flush()
            found, offset = b"", 5
            while offset < len(content):
                offset += ours.send_file(file.fileno(), offset, len(content) - offset)
                found += peer.read()
                self.engine.settle()
            self.assertEqual(found + peer.read(), content[5:])
            self.assertRaises(DiskFailed, ours.send_file, file.fileno(), len(content), 10)
        self.assertRaises(DiskFailed, ours.send_file, 10_000, 0, 10)

    def test_both_stall_each_other(self) -> None:
        """Both sides have sent more than anybody reads. When they read, everything comes."""
        ours, peer, sent = self.full()
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SMALL)
        theirs = os.urandom(100_000)
        said = peer.write(theirs)
        self.assert_at_rest()
        got, back = b"", b""
        for _ in range(1000):
            got += peer.read(1000)
            self.engine.settle()
            if ours.readable:
                buffer = bytearray(1000)
                count = ours.recv_into(memoryview(buffer))
                back += bytes(buffer[: max(count, 0)])
            peer.flush()
        self.assertEqual((got, back), (sent, theirs[:said]))


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
        (up, server), (down, client) = self.pair(server=False), self.pair(buffer=_SMALL)
        limits = self.limits()
        pipe = EventPipe(up, down, (), limits, clock=self.engine.reactor)
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SMALL)
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
        (up, server), (down, client) = self.pair(server=False), self.pair(buffer=_SMALL)
        spill = self.spill()
        pipe = EventPipe(
            up, down, (), self.limits(max_temp_file_size=1 << 22), clock=self.engine.reactor, spill=spill
        )
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


