from __future__ import annotations

import contextlib
import errno
import os
import socket
from typing import Any

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import Engine, HalfCloseRecorder, Recorder, os_error
from twisted_pipe.core.readiness import ERR, HUP
from twisted_pipe.errors import DiskFailed
from twisted_pipe.net.edge import READ_BUDGET, WOULD_BLOCK, EdgeSocket


class Owner:
    """A socket's owner that only remembers."""

    def __init__(self, edge: Any, on_ready: Any = None) -> None:
        self.edge = edge
        self.on_ready = on_ready
        self.calls = 0
        self.lost: list[Failure] = []

    def socket_ready(self) -> None:
        self.calls += 1
        if self.on_ready is not None:
            self.on_ready()

    def socket_lost(self, reason: Failure) -> None:
        self.lost.append(reason)


class EdgeCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.engine = Engine(self)
        self.transport, self.peer = self.engine.connect()
        self.edge: EdgeSocket = self.transport.edge_socket()

    def flags(self) -> str:
        return repr(self.edge).split(" ", 3)[3].rstrip(">")


class ReadinessTests(EdgeCase):
    """What each system call proves."""

    def setUp(self) -> None:
        EdgeCase.setUp(self)
        self.transport.pauseProducing()
        self.engine.settle()

    def test_idle(self) -> None:
        self.assertEqual(self.flags(), "writable")
        self.assertTrue(self.edge.open)

    def test_arriving_bytes(self) -> None:
        self.peer.write(b"abc")
        self.engine.settle()
        self.assertEqual(self.flags(), "readable writable")

    def test_short_read_is_drained(self) -> None:
        self.peer.write(b"abc")
        self.engine.settle()
        self.assertEqual(self.edge.recv_into(memoryview(bytearray(10))), 3)
        self.assertEqual(self.flags(), "writable")

    def test_full_read_is_not(self) -> None:
        self.peer.write(b"abc")
        self.engine.settle()
        self.assertEqual(self.edge.recv_into(memoryview(bytearray(3))), 3)
        self.assertEqual(self.flags(), "readable writable")
        self.assertEqual(self.edge.recv_into(memoryview(bytearray(3))), WOULD_BLOCK)
        self.assertEqual(self.flags(), "writable")

    def test_pending_eof_and_short_read_is_still_ready(self) -> None:
        self.peer.write(b"abc")
        self.peer.half_close()
        self.engine.settle()
        self.assertEqual(self.edge.recv_into(memoryview(bytearray(10))), 3)
        self.assertEqual(self.flags(), "readable writable pending_eof")
        self.assertEqual(self.edge.recv_into(memoryview(bytearray(10))), 0)
        self.assertEqual(self.flags(), "writable pending_eof")

    def test_reset_is_an_error_and_not_ready(self) -> None:
        self.transport.write(b"never read")
        self.engine.settle()
        self.peer.close()
        self.engine.settle()
        error = self.assertRaises(OSError, self.edge.recv_into, memoryview(bytearray(10)))
        self.assertEqual(error.errno, errno.ECONNRESET)
        self.assertFalse(self.edge.readable)

    def test_short_write(self) -> None:
        sent = 1
        while sent:
            sent = self.edge.send([bytes(1 << 20)])
        self.assertEqual(self.flags(), "idle")

    def test_writable_again(self) -> None:
        while self.edge.writable:
            self.edge.send([bytes(1 << 20)])
        self.engine.settle()
        self.assertFalse(self.edge.writable)
        self.peer.read()
        self.engine.settle()
        self.assertTrue(self.edge.writable)

    def test_many_parts_are_one_send(self) -> None:
        self.assertEqual(self.edge.send([b"ab", memoryview(b"cd"), bytearray(b"e")]), 5)
        self.assertEqual(self.peer.read(), b"abcde")
        self.assertTrue(self.edge.writable)

    def test_short_write_of_parts(self) -> None:
        while self.edge.writable:
            self.edge.send([bytes(100_000)] * 3)
        self.assertEqual(self.edge.send([b"a", b"b"]), 0)

    def test_send_to_nobody(self) -> None:
        self.peer.close()
        error = self.assertRaises(OSError, self.edge.send, [b"x"])
        self.assertEqual(error.errno, errno.EPIPE)
        self.assertFalse(self.edge.writable)

    def test_no_kernel_memory(self) -> None:
        """No edge follows ENOBUFS, so it is tried again by and by: not at once, and not never."""
        self.edge.socket = FaultySocket(self.edge.socket, errno.ENOBUFS)  # type: ignore[assignment]
        for parts in ([b"x"], [b"x", b"y"]):
            self.assertEqual(self.edge.send(parts), 0)
            self.assertFalse(self.edge.writable)
            self.engine.advance(1)
            self.assertTrue(self.edge.writable)

    def test_no_kernel_memory_for_a_file(self) -> None:
        fd = self.file(b"0123456789")
        really = os.sendfile
        self.without_sendfile(errno.ENOBUFS)
        self.assertEqual(self.edge.send_file(fd, 0, 5), 0)
        self.assertFalse(self.edge.writable)
        self.patch(os, "sendfile", really)
        self.engine.advance(1)
        self.assertTrue(self.edge.writable)
        self.assertEqual(self.edge.send_file(fd, 0, 5), 5)

    def test_closed_while_the_kernel_has_no_memory(self) -> None:
        self.edge.socket = FaultySocket(self.edge.socket, errno.ENOBUFS)  # type: ignore[assignment]
        self.assertEqual(self.edge.send([b"x"]), 0)
        self.assertEqual(len(self.engine.reactor.getDelayedCalls()), 1)
        self.transport.abortConnection()
        self.engine.advance(1)
        self.assertFalse(self.edge.open)
        self.assertEqual(self.engine.reactor.getDelayedCalls(), [])

    def file(self, data: bytes) -> int:
        name = self.mktemp()
        with open(name, "wb") as file:
            file.write(data)
        fd = os.open(name, os.O_RDONLY)
        self.addCleanup(os.close, fd)
        return fd

    def test_send_file(self) -> None:
        fd = self.file(b"0123456789")
        self.assertEqual(self.edge.send_file(fd, 2, 5), 5)
        self.assertEqual(self.peer.read(), b"23456")

    def test_send_file_that_is_too_short(self) -> None:
        fd = self.file(b"0123456789")
        self.assertEqual(self.edge.send_file(fd, 8, 5), 2)
        self.assertTrue(self.edge.writable, "a short count is no proof")
        error = self.assertRaises(DiskFailed, self.edge.send_file, fd, 10, 5)
        self.assertIn("truncated", str(error))

    def test_send_file_to_a_full_socket(self) -> None:
        fd = self.file(bytes(1 << 20))
        sent = 0
        while self.edge.writable:
            sent += self.edge.send_file(fd, 0, 1 << 20)
        self.assertEqual(len(self.peer.read()), sent)

    def test_send_file_that_cannot_be_read(self) -> None:
        error = self.assertRaises(DiskFailed, self.edge.send_file, -1, 0, 5)
        self.assertIn("Bad file descriptor", str(error))

    def without_sendfile(self, number: int) -> None:
        def sendfile(*arguments: Any) -> int:
            raise os_error(number)

        self.patch(os, "sendfile", sendfile)

    def test_send_file_of_a_file_system_without_sendfile(self) -> None:
        """It is read instead: what was spilled is there."""
        fd = self.file(b"0123456789")
        for number in (errno.EINVAL, errno.ENOSYS):
            self.without_sendfile(number)
            self.assertEqual(self.edge.send_file(fd, 2, 5), 5)
            self.assertEqual(self.peer.read(), b"23456")
            error = self.assertRaises(DiskFailed, self.edge.send_file, fd, 10, 5)
            self.assertIn("truncated", str(error))
            error = self.assertRaises(DiskFailed, self.edge.send_file, -1, 0, 5)
            self.assertIn("Bad file descriptor", str(error))

    def test_send_file_without_sendfile_to_a_full_socket(self) -> None:
        self.without_sendfile(errno.EINVAL)
        fd = self.file(bytes(1 << 20))
        sent = 0
        while self.edge.writable:
            sent += self.edge.send_file(fd, 0, 1 << 20)
        self.assertEqual(len(self.peer.read()), sent)

    def test_send_file_to_nobody(self) -> None:
        """That is not the disk's fault."""
        fd = self.file(b"0123456789")
        self.peer.close()
        error = self.assertRaises(OSError, self.edge.send_file, fd, 0, 5)
        self.assertEqual(error.errno, errno.EPIPE)


class FaultySocket:
    """A socket whose sends fail."""

    def __init__(self, sock: Any, code: int) -> None:
        self.sock = sock
        self.code = code
        self.tries = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)

    def send(self, data: object) -> int:
        self.tries += 1
        raise os_error(self.code)

    sendmsg = send


class OwnerTests(EdgeCase):
    """A half that somebody took over."""

    def own(self, on_ready: Any = None) -> Owner:
        self.engine.settle()
        owner = Owner(self.edge, on_ready)
        self.edge.reader = owner
        self.edge.reading = False
        return owner

    def test_called_once_per_event(self) -> None:
        owner = self.own()
        self.peer.write(b"abc")
        self.engine.settle()
        self.assertEqual(owner.calls, 1)

    def test_an_owner_that_does_not_read_makes_no_spin(self) -> None:
        owner = self.own()
        self.peer.write(b"abc")
        self.engine.settle()
        before = self.engine.statistics
        self.engine.turn(20)
        after = self.engine.statistics
        self.assertEqual((owner.calls, after.events - before.events, after.posted - before.posted), (1, 0, 0))

    def test_the_transport_does_not_read(self) -> None:
        owner = self.own()
        self.peer.write(b"abc")
        self.engine.settle()
        self.assertEqual(self.transport.protocol.received, [])
        self.assertEqual(owner.edge.recv_into(memoryview(bytearray(10))), 3)

    def test_writer(self) -> None:
        self.engine.settle()
        owner = Owner(self.edge)
        self.edge.writer, self.edge.writing = owner, True
        while self.edge.writable:
            self.edge.send([bytes(1 << 20)])
        calls = owner.calls
        self.peer.read()
        self.engine.settle()
        self.assertEqual(owner.calls, calls + 1)

    def test_err_only_runs_both_handlers(self) -> None:
        """At least one of them meets the error, in I/O, where its reason is told."""
        for event in (ERR, HUP):
            transport, _peer = self.engine.connect()
            self.engine.settle()
            edge = transport.edge_socket()
            reader, writer = Owner(edge), Owner(edge)
            edge.reader, edge.writer, edge.writing = reader, writer, True
            edge.readable = edge.writable = False
            edge.events = event
            self.engine.reactor.loop.post(edge)
            self.engine.turn()
            self.assertEqual((reader.calls, writer.calls), (1, 1))
            self.assertTrue(edge.pending_eof)

    def test_lost(self) -> None:
        owner = self.own()
        self.transport.abortConnection()
        self.engine.settle()
        self.assertEqual(len(owner.lost), 1)
        self.assertFalse(self.edge.open)

    def test_lost_for_both_halves(self) -> None:
        self.engine.settle()
        reader, writer = Owner(self.edge), Owner(self.edge)
        self.edge.reader, self.edge.writer, self.edge.writing = reader, writer, True
        self.transport.loseConnection()
        self.engine.settle()
        self.assertEqual((len(reader.lost), len(writer.lost)), (1, 1))

    def test_lost_although_the_protocol_raises(self) -> None:
        """What a protocol raises when it is told must not keep the owner from being told."""

        class Raising(Recorder):
            def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
                raise RuntimeError("not my day")

        transport, _peer = self.engine.connect(Raising())
        self.engine.settle()
        owner = Owner(transport.edge_socket())
        transport.edge_socket().reader = owner
        transport.loseConnection()
        with contextlib.suppress(RuntimeError):
            self.engine.settle()
        self.flushLoggedErrors(RuntimeError)
        self.assertEqual(len(owner.lost), 1)

    def test_handed_back_with_bytes_left(self) -> None:
        """The transport gets what its owner did not read."""
        owner = self.own(lambda: self.edge.recv_into(memoryview(bytearray(3))))
        self.peer.write(b"abcdef")
        self.engine.settle()
        self.assertEqual(owner.calls, 1)
        self.edge.reader = None
        self.transport.resumeProducing()
        self.engine.settle()
        self.assertEqual(self.transport.protocol.data, b"def")

    def test_taken_over_inside_data_received(self) -> None:
        """As a protocol does that reads a head and leaves the body to a pipe."""
        owner: list[Owner] = []

        def take_over(data: bytes) -> None:
            owner.append(Owner(edge))
            edge.reader, edge.reading = owner[0], False

        protocol = Recorder(take_over)
        transport, peer = self.engine.connect(protocol)
        edge = transport.edge_socket()
        transport.bufferSize = 4
        peer.write(b"head" + b"body")
        self.engine.settle()
        self.assertEqual(protocol.data, b"head")
        self.assertTrue(edge.readable)
        view = memoryview(bytearray(10))
        self.assertEqual(edge.recv_into(view), 4)
        self.assertEqual(bytes(view[:4]), b"body")


class HalfTests(EdgeCase):
    """What one half does while the other has something to do, too."""

    def test_end_of_reading_does_not_lose_the_event_for_writing(self) -> None:
        """
        The peer reads what blocked us and ends its side: one event tells both. With a half-closed connection there is
        still something to write, and no further event will say so.
        """
        protocol = HalfCloseRecorder()
        transport, peer = self.engine.connect(protocol)
        transport.write(bytes(4 << 20))
        self.engine.settle()
        got = len(peer.read())
        peer.half_close()
        for _ in range(100):
            self.engine.settle()
            got += len(peer.read())
        self.assertEqual(protocol.halves, ["read"])
        self.assertEqual(got, 4 << 20)

    def test_end_of_reading_does_not_lose_the_event_for_a_writing_owner(self) -> None:
        protocol = HalfCloseRecorder()
        transport, peer = self.engine.connect(protocol)
        edge = transport.edge_socket()
        self.engine.settle()
        owner = Owner(edge)
        edge.writer, edge.writing = owner, True
        while edge.writable:
            edge.send([bytes(1 << 20)])
        peer.read()
        peer.half_close()
        self.engine.settle()
        self.assertEqual(protocol.halves, ["read"])
        self.assertTrue(edge.writable)
        self.assertEqual(owner.calls, 1)

    def test_a_budget_each_turn(self) -> None:
        """A socket with much to read does not keep the others waiting."""
        protocol = Recorder()
        transport, peer = self.engine.connect(protocol)
        for sock in (transport.socket, peer.socket):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        sizes = []
        sent = peer.write(bytes(4 << 20))
        while len(protocol.data) < sent:
            before = len(protocol.data)
            self.engine.turn()
            sizes.append(len(protocol.data) - before)
            peer.write(b"")
        self.assertTrue(max(sizes) <= READ_BUDGET + transport.bufferSize, sizes)
        self.assertEqual(sum(sizes), sent)
        self.engine.settle()


class ReprTests(EdgeCase):
    def test_repr(self) -> None:
        expected = f"<EdgeSocket fd={self.transport.fileno()} tag={self.edge.tag:#x} "
        self.assertTrue(repr(self.edge).startswith(expected), repr(self.edge))
        self.engine.settle()
        self.assertEqual(self.flags(), "writable reading")
        self.transport.pauseProducing()
        self.peer.write(b"x")
        self.engine.settle()
        self.transport.resumeProducing()
        self.assertEqual(self.flags(), "readable writable reading posted")
