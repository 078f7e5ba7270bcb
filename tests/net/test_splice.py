from __future__ import annotations

import errno
import os
import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import open_fds, os_error, raising
from tests.net.test_relay import MOST, RelayCase
from twisted_pipe.net import relay as relay_module
from twisted_pipe.net import splice as splice_module
from twisted_pipe.net.relay import PATIENCE
from twisted_pipe.net.splice import KEPT, KernelPipe, KernelPipes


class KernelPipeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.pipe = KernelPipe()
        self.addCleanup(lambda: self.pipe.close())
        pairs = [socket.socketpair() for _ in range(2)]
        self.source, self.upstream = pairs[0]
        self.sink, self.client = pairs[1]
        for pair in pairs:
            for sock in pair:
                self.addCleanup(sock.close)
                sock.setblocking(False)

    def test_through(self) -> None:
        self.upstream.send(b"hello")
        self.assertEqual(self.pipe.fill(self.source.fileno(), 1000), 5)
        self.assertEqual(repr(self.pipe), f"<KernelPipe 5 of {self.pipe.size} bytes>")
        self.assertEqual(self.pipe.empty(self.sink.fileno()), 5)
        self.assertEqual((self.pipe.held, self.client.recv(100)), (0, b"hello"))

    def test_not_more_than_asked_for(self) -> None:
        self.upstream.send(b"hello")
        self.assertEqual(self.pipe.fill(self.source.fileno(), 2), 2)
        self.assertEqual(self.pipe.read_back(), b"he")
        self.assertEqual(self.source.recv(100), b"llo")

    def test_nothing_there(self) -> None:
        self.assertRaises(BlockingIOError, self.pipe.fill, self.source.fileno(), 1000)
        self.assertEqual(self.pipe.held, 0)

    def test_the_end(self) -> None:
        self.upstream.close()
        self.assertEqual(self.pipe.fill(self.source.fileno(), 1000), 0)

    def test_never_filled_while_it_holds_bytes(self) -> None:
        self.upstream.send(b"hello")
        self.pipe.fill(self.source.fileno(), 2)
        self.assertRaises(AssertionError, self.pipe.fill, self.source.fileno(), 2)

    def test_read_back(self) -> None:
        """What the sink does not take comes out again, whole and in order."""
        data = os.urandom(50_000)
        self.upstream.send(data)
        self.pipe.fill(self.source.fileno(), 50_000)
        held = self.pipe.held
        self.assertEqual(self.pipe.read_back(), data[:held])
        self.assertEqual((self.pipe.held, self.pipe.read_back()), (0, b""))

    def test_the_sink_is_full(self) -> None:
        with self.assertRaises(BlockingIOError):
            while True:
                self.sink.send(bytes(65536))
        self.upstream.send(b"hello")
        self.pipe.fill(self.source.fileno(), 1000)
        self.assertRaises(BlockingIOError, self.pipe.empty, self.sink.fileno())
        self.assertEqual(self.pipe.read_back(), b"hello")

    def test_the_sink_is_gone(self) -> None:
        self.upstream.send(b"hello")
        self.pipe.fill(self.source.fileno(), 1000)
        self.client.close()
        error = self.assertRaises(OSError, self.pipe.empty, self.sink.fileno())
        self.assertEqual((error.errno, self.pipe.held), (errno.EPIPE, 5))

    def test_a_user_with_too_many_pages_in_pipes(self) -> None:
        """It is as large as it may be."""
        import fcntl

        really = fcntl.fcntl

        def refuse(fd: int, command: int, *more: Any) -> Any:
            if command == fcntl.F_SETPIPE_SZ:
                raise os_error(errno.EPERM)
            return really(fd, command, *more)

        self.patch(fcntl, "fcntl", refuse)
        pipe = KernelPipe()
        self.addCleanup(pipe.close)
        self.assertTrue(0 < pipe.size <= 65536, pipe.size)


class BulkTests(RelayCase):
    """By splice(2)."""

    tcp = True

    def setUp(self) -> None:
        self.pipes = KernelPipes()
        self.patch(relay_module, "pipes", self.pipes)
        RelayCase.setUp(self)
        self.addCleanup(self._close_pipes)
        self.fills: list[int] = []
        really = KernelPipe.fill

        def fill(pipe: KernelPipe, fd: int, count: int) -> int:
            got = really(pipe, fd, count)
            self.fills.append(got)
            return got

        self.patch(KernelPipe, "fill", fill)

    def _close_pipes(self) -> None:
        self.relay.stop()
        self.assertEqual(self.pipes.lent, 0, "a kernel pipe was not given back")
        for pipe in self.pipes._free:
            self.assertEqual(pipe.held, 0)
            pipe.close()

    def bulk(self, size: int = 400_000, patient: bool = True) -> None:
        """C{size} bytes pass, some of them by way of the owner if the client takes its time."""
        data, sent, got, before = os.urandom(size), 0, b"", self.relay.moved
        while len(got) < size:
            sent += self.upstream.write(data[sent : sent + 80_000])
            self.engine.turn()
            if not patient:
                self.engine.advance(2 * PATIENCE, PATIENCE)
            got += self.client.read()
            for what, rest, *_ in self.owner.told:
                self.assertEqual(what, "blocked", self.owner.told)
                self.assertTrue(len(rest) <= MOST)
                got += self.engine.take(self.client, self.relay.moved - before - len(got)) + rest
                before -= len(rest)
            if self.owner.told:
                self.owner.told.clear()
                self.relay.arm()
                self.engine.reactor.loop.post(self.source)
        self.assertTrue(got == data)

    def test_bulk_goes_over_to_splice_and_back(self) -> None:
        self.sink.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.bulk()
        self.assertTrue(self.fills)
        for _ in range(3):
            self.upstream.write(b"small")
            self.engine.settle()
        self.fills.clear()
        self.upstream.write(b"small")
        self.engine.settle()
        self.assertEqual(self.fills, [])
        self.assertEqual(self.engine.take(self.client, 20), b"small" * 4)

    def test_small_messages_never_go_over(self) -> None:
        for _ in range(200):
            self.upstream.write(bytes(1000))
            self.engine.turn()
            self.client.read()
        self.assertEqual(self.fills, [])

    def test_all_bytes_although_the_client_stalls_now_and_then(self) -> None:
        self.bulk(3_000_000)
        self.bulk(3_000_000, patient=False)

    def test_what_the_sink_does_not_take_waits_in_the_pipe(self) -> None:
        """And is read back only if that lasts."""
        data, sent = os.urandom(4 << 20), 0
        while not self.relay.waiting:
            sent += self.upstream.write(data[sent:])
            self.engine.settle()
        self.assertEqual(self.pipes.lent, 1)
        moved = self.relay.moved
        self.engine.advance(2 * PATIENCE)
        ((what, rest, armed),) = self.owner.told
        self.assertEqual((what, armed, self.pipes.lent), ("blocked", False, 0))
        self.assertTrue(0 < len(rest) <= MOST, len(rest))
        self.assertTrue(self.engine.take(self.client, moved) + rest == data[: moved + len(rest)])

    def test_pipes_are_scarce(self) -> None:
        """Too many wait: nobody keeps one."""
        self.pipes.lent += splice_module._MOST
        self.bulk(3_000_000)
        data, sent = bytes(4 << 20), 0
        while not self.relay.waiting:
            sent += self.upstream.write(data[sent:])
            self.engine.settle()
        self.assertEqual(self.pipes.lent, splice_module._MOST)
        self.pipes.lent -= splice_module._MOST

    def test_the_downstream_goes_while_a_pipe_waits(self) -> None:
        data, sent = bytes(4 << 20), 0
        while not self.relay.waiting:
            sent += self.upstream.write(data[sent:])
            self.engine.settle()
        self.client.close()
        self.engine.settle()
        ((what, _, lost, _),) = self.owner.told
        self.assertEqual((what, lost > 0, self.pipes.lent), ("broken", True, 0))

    def test_a_budget_each_turn(self) -> None:
        """Then it is posted again, and the others have their turn."""
        self.patch(relay_module, "_BUDGET", 50_000)
        self.sink.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.relay = self.make(20_000)
        self.upstream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        written = self.upstream.write(bytes(400_000))
        self.assertTrue(written > 200_000, written)
        self.engine.turn()
        self.assertTrue(0 < self.relay.moved < 200_000, self.relay.moved)
        self.assertEqual(self.engine.statistics.queued, 1)
        self.engine.take(self.client, written)
        self.assertEqual(self.relay.moved, written)

    def test_interrupted_between_the_two_splices(self) -> None:
        """An exception out of nowhere (a signal handler's) loses that connection's bytes, and no other gets them."""
        self.bulk()

        def fail(pipe: KernelPipe, fd: int) -> int:
            raise ZeroDivisionError

        really = KernelPipe.empty
        self.patch(KernelPipe, "empty", fail)
        self.relay._bulk = True
        self.upstream.write(b"secret")
        self.engine.settle()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertFalse(self.source.open)
        self.assertEqual(self.pipes.lent, 0, "its descriptors are closed")
        self.patch(KernelPipe, "empty", really)
        self.source, self.upstream = self.engine.bare(True)
        self.sink, self.client = self.engine.bare(True)
        self.relay = self.make()
        self.owner.told.clear()
        self.bulk()

    def test_no_descriptor_for_a_kernel_pipe(self) -> None:
        """Bulk is copied then; nothing breaks."""

        def fail(*_: object) -> Any:
            raise os_error(errno.EMFILE)

        self.patch(os, "pipe2", fail)
        self.bulk()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_no_kernel_memory_while_splicing(self) -> None:
        self.bulk()
        self.engine.settle()

        def fail(pipe: KernelPipe, fd: int) -> int:
            raise os_error(errno.ENOBUFS)

        really = KernelPipe.empty
        self.patch(KernelPipe, "empty", fail)
        self.relay._bulk = True
        self.upstream.write(b"patience")
        self.engine.turn(2)
        self.assertTrue(self.relay.waiting)
        self.patch(KernelPipe, "empty", really)
        self.engine.advance(0.2)
        rest = b"".join(told[1] for told in self.owner.told)
        self.assertEqual(self.client.read() + rest, b"patience")


class KernelPipesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.before = len(open_fds())
        self.pipes = KernelPipes()

    def test_given_back_and_used_again(self) -> None:
        pipe = self.pipes.take()
        self.assertEqual(repr(self.pipes), "<KernelPipes 1 lent, 0 free>")
        self.pipes.give_back(pipe)
        self.assertEqual(repr(self.pipes), "<KernelPipes 0 lent, 1 free>")
        self.assertIs(self.pipes.take(), pipe)
        pipe.close()

    def test_one_that_holds_bytes_is_thrown_away(self) -> None:
        """They are somebody's who was interrupted; nobody else may get them."""
        pipe = self.pipes.take()
        os.write(pipe._in, b"a secret")
        pipe.held = 8
        self.pipes.give_back(pipe)
        self.assertEqual(repr(self.pipes), "<KernelPipes 0 lent, 0 free>")
        self.assertEqual(len(open_fds()), self.before)

    def test_only_some_are_kept(self) -> None:
        lent = [self.pipes.take() for _ in range(KEPT + 3)]
        for pipe in lent:
            self.pipes.give_back(pipe)
        self.assertEqual(len(open_fds()), self.before + 2 * KEPT)
        for _ in range(KEPT):
            self.pipes.take().close()
        self.assertEqual(len(open_fds()), self.before)

    def test_no_descriptor(self) -> None:
        self.patch(os, "pipe2", raising(errno.EMFILE))
        self.assertRaises(OSError, self.pipes.take)
        self.assertEqual(self.pipes.lent, 0)
