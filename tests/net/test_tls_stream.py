"""TLS made to look like a socket: what its calls say, and what wakes whom."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import tempfile
from functools import partial
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.net.test_edge import Owner
from tests.net.tls_case import TlsCase
from tests.net.tls_peer import RECORD, SMALL, serve
from tests.net.tls_records import records_of
from twisted_pipe.errors import DiskFailed
from twisted_pipe.net import tls_calls
from twisted_pipe.net.edge import MOST_CALLS
from twisted_pipe.net.tls_calls import calls_of
from twisted_pipe.net.tls_socket import TlsSocket


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
            found: list[bytes] = []
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

    def test_nothing_of_it_is_left_for_others(self) -> None:
        """OpenSSL before version 4 takes what stands in its queue for the error of whoever asks next."""
        if tls_calls.lib is None:
            self.skipTest("pyOpenSSL offers no way")
        ours, peer = self.pair(tcp=True)
        peer.break_off()
        self.engine.settle()
        self.assertRaises(OSError, ours.socket.send, bytes(100_000))
        self.assertEqual(tls_calls.lib.ERR_peek_error(), 0)

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
        ours, peer = self.pair(buffer=SMALL)
        data = bytearray(os.urandom(50_000))
        expected = bytes(data)
        sent = ours.send([memoryview(data)])
        self.assertTrue(0 < sent < len(data))
        self.assertFalse(ours.writable)
        self.assertTrue(ours.writing, "the loop hands it its events")
        self.assertTrue(0 < ours.unsent <= 16384)
        data[:] = bytes(len(data))
        data.append(0)  # nobody has a view of it
        self.assertEqual(ours.send([b"later"]), 0)
        self.assertEqual(self.received(peer, sent), expected[:sent])
        self.assertEqual((ours.unsent, ours.writing, ours.writable), (0, False, True))
        ours.send([b"later"])
        self.assertEqual(peer.read(), b"later")

    def test_a_record_that_counts_as_sent_says_that_no_more_goes(self) -> None:
        """Even if it was all that was to be sent."""
        ours, _peer = self.pair(buffer=SMALL)
        while ours.send([b"x" * 500]) == 500 and not ours.unsent:
            self.assertTrue(ours.writable)
        self.assertEqual((ours.unsent, ours.writable), (500, False))

    def test_room_that_a_send_finds_by_itself(self) -> None:
        """Before its event is handled."""
        ours, peer, sent = self.full()
        found = peer.read()
        while not ours.send([b"more"]):
            self.assertFalse(ours.writable)
            found += peer.read()
        self.assertEqual(found + peer.read(), sent + b"more")
        self.assertEqual((ours.unsent, ours.writable), (0, True))

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
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
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


class KeyUpdateTests(TlsCase):
    """Records in which there is nothing for us, and which OpenSSL may have to answer."""

    def test_a_flood_leaves_others_their_turn(self) -> None:
        """SSL_read would go on for as long as such records come, and a client can send them faster than they are read."""
        ours, peer = self.pair()
        records = records_of(peer)
        found = self.reading(ours)
        flood = b"".join(records.key_update(answer=False) for _ in range(100))
        peer.socket.send(flood + records.bytes_of(b"behind"))
        self.engine.turn(5)
        self.assertTrue(ours.socket.has_more)
        self.engine.settle()
        self.assertEqual(found, [b"behind"])
        self.assert_at_rest()

    def test_an_end_that_comes_with_one_is_found(self) -> None:
        """One edge tells of both, and FIONREAD of neither: a server that dies behind its tickets would be waited for."""
        for server in (True, False):
            ours, peer = self.pair(server=server)
            found: list[OSError] = []

            def read(ours: TlsSocket = ours, found: list[OSError] = found) -> None:
                try:
                    ours.recv_into(memoryview(bytearray(100)))
                except OSError as error:
                    found.append(error)

            ours.reader = Owner(ours, read)
            peer.socket.send(records_of(peer).key_update(answer=False))
            peer.socket.shutdown(socket.SHUT_WR)
            self.engine.settle()
            self.assertEqual(len(found), 1)
            self.assert_at_rest()

    def test_is_answered(self) -> None:
        ours, peer = self.pair()
        records = records_of(peer)
        found = self.reading(ours)
        peer.socket.send(records.key_update(answer=True) + records.bytes_of(b"under another key"))
        self.engine.settle()
        self.assertEqual(found, [b"under another key"])
        ours.send([b"likewise"])
        self.assertEqual(peer.read(), b"likewise")

    def test_is_answered_behind_a_record_that_waits(self) -> None:
        ours, peer, sent = self.full()
        records = records_of(peer)
        found = self.reading(ours)
        peer.socket.send(records.key_update(answer=True) + records.bytes_of(b"it talks, though"))
        self.engine.settle()
        self.assertEqual(found, [b"it talks, though"])
        self.assert_at_rest()
        self.assertEqual(self.received(peer, len(sent)), sent)
        ours.send([b"more"])
        self.assertEqual(peer.read(), b"more")

    def test_is_answered_when_there_is_room(self) -> None:
        """Before anything else is sent, which counts as sent before that."""
        ours, peer = self.pair(buffer=SMALL)
        records = records_of(peer)
        found = self.reading(ours)
        junk = self.fill(ours)
        peer.socket.send(records.key_update(answer=True) + records.bytes_of(b"not kept waiting"))
        self.engine.settle()
        self.assertEqual(found, [b"not kept waiting"])
        self.assertEqual(ours.send([b"x" * 2 * RECORD]), RECORD)
        self.assertEqual((ours.writable, ours.unsent), (False, RECORD))
        self.assert_at_rest()
        while junk:
            junk -= len(peer.socket.recv(min(junk, 1 << 16)))
        self.assertEqual(self.received(peer, RECORD), b"x" * RECORD)
        self.assertEqual((ours.writable, ours.unsent), (True, 0))

    def test_a_second_is_not_read_before_the_first_is_answered(self) -> None:
        """So reading waits for room, and wakes nobody until there is some."""
        for server in (True, False):
            ours, peer = self.pair(buffer=SMALL, server=server)
            records = records_of(peer)
            found = self.reading(ours)
            junk = self.fill(ours)
            peer.socket.send(records.key_update(answer=True) + records.key_update(answer=True))
            peer.socket.send(records.bytes_of(b"behind"))
            self.engine.settle()
            self.assertEqual((found, ours.writable, ours.writing), ([], False, True))
            self.assert_at_rest()
            while junk:
                junk -= len(peer.socket.recv(min(junk, 1 << 16)))
            self.engine.settle()
            self.assertEqual((found, ours.writable, ours.writing), ([b"behind"], True, False))
            ours.send([b"likewise"])
            self.assertEqual(peer.read(), b"likewise")

    def fill(self, ours: TlsSocket) -> int:
        """Bytes that are no TLS, and after which the kernel takes no more. Returns how many."""
        count = 0
        with socket.socket(fileno=os.dup(ours.fileno())) as raw, contextlib.suppress(BlockingIOError):
            while True:
                count += raw.send(b"junk")
        return count


class CallsTests(SynchronousTestCase):
    def test_a_pyopenssl_with_other_insides(self) -> None:
        """Is used by its methods."""
        connection = serve(None)
        self.assertIsNot(calls_of(connection), connection)
        for insides in (None, object()):
            self.patch(tls_calls, "lib", insides)
            self.assertIs(calls_of(connection), connection)


class ReceivingByMethodsTests(ReceivingTests):
    """The same with such a one."""

    def setUp(self) -> None:
        self.patch(tls_calls, "lib", None)
        ReceivingTests.setUp(self)


class SendingByMethodsTests(SendingTests):
    def setUp(self) -> None:
        self.patch(tls_calls, "lib", None)
        SendingTests.setUp(self)
