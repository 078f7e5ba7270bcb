"""The pipe between two sockets of the C{epollet} reactor, and between one of them and memory."""

from __future__ import annotations

import errno
import os
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from tests.net.fakes import Engine, MemoryTransport, PipeCase, Recorder, WatchedSpill, errors_of
from tests.net.test_edge import FaultySocket
from twisted_pipe.errors import Cancelled
from twisted_pipe.filters.base import PipeFilter
from twisted_pipe.interfaces import FilterContext
from twisted_pipe.limits import PipeLimits
from twisted_pipe.net.pipe_end import PipeEnd

LIMITS = PipeLimits(buffers=4, buffer_size=16384, max_temp_file_size=1 << 20)
NO_SPILL = attrs.evolve(LIMITS, max_temp_file_size=0)


class SocketCase(PipeCase):
    limits = LIMITS

    def setUp(self) -> None:
        PipeCase.setUp(self)
        self.engine = Engine(self)
        self.clock = self.engine.reactor
        path = self.mktemp()
        os.mkdir(path)
        self.spill = WatchedSpill(path)
        self.up_protocol, self.down_protocol = Recorder(), Recorder()
        self.up, self.server = self.engine.connect(self.up_protocol)
        self.down, self.client = self.engine.connect(self.down_protocol)
        self.engine.settle()

    def start(self, filters: Any = (), limits: Any = None, **more: Any) -> Any:
        return self.pipe(self.up, self.down, filters, limits, **more)

    def feed(self, data: bytes) -> int:
        """As much of C{data} as goes in while the client takes nothing and nobody waits for it."""
        sent = stalls = 0
        while sent < len(data) and stalls < 2:
            now = self.server.write(data[sent:])
            sent += now
            self.engine.settle()
            stalls = 0 if now else stalls + 1
            if stalls:
                self.engine.lose_patience()
        self.engine.lose_patience()
        return sent

    def drain(self) -> bytes:
        """All that comes out."""
        data = b""
        for _ in range(500):
            self.engine.settle()
            more = self.client.read()
            data += more
            if not more:
                break
        return data

    def types(self, protocol: Recorder) -> list[Any]:
        return [reason.type for reason in protocol.lost]


class FlowTests(SocketCase):
    def test_bytes_pass_in_one_turn(self) -> None:
        pipe = self.start()
        self.server.write(b"hello")
        self.engine.turn()
        self.assertEqual(self.client.read(), b"hello")
        self.assertEqual(self.up_protocol.received, [])
        self.assertEqual(self.in_use(16384), 0)
        self.assertEqual((pipe.bytes_in, pipe.bytes_out), (5, 5))

    def test_what_waited_before_the_pipe(self) -> None:
        self.up.pauseProducing()
        self.server.write(b"hello")
        self.engine.settle()
        self.start()
        self.engine.turn()
        self.assertEqual(self.client.read(), b"hello")

    def test_what_was_written_in_a_handler_before_the_pipe_comes_first(self) -> None:
        """As a protocol does that answers with a head of its own, and leaves the body to a pipe."""
        for preread in (b"", b"first "):

            def answer(data: bytes, preread: bytes = preread) -> None:
                self.down.write(b"head ")
                self.start(preread=preread)

            self.up, self.server = self.engine.connect(Recorder())
            self.down, self.client = self.engine.connect(Recorder(answer))
            self.client.write(b"question")
            self.engine.settle()
            self.server.write(b"body")
            self.server.half_close()
            self.assertEqual(self.drain(), b"head " + preread + b"body")
            self.assertTrue(self.client.ended)

    def test_what_a_slow_client_has_yet_to_take_comes_before_the_pipe(self) -> None:
        head = os.urandom(1 << 20)
        self.down.write(head)
        self.engine.settle()
        self.start()
        self.server.write(b"body")
        self.server.half_close()
        got = self.drain()
        self.assertEqual((len(got), got[-4:], got[:-4] == head), (len(head) + 4, b"body", True))
        self.assertTrue(self.client.ended)

    def test_no_control_calls(self) -> None:
        """Back-pressure, resuming and ending cost no epoll_ctl."""
        calls = self.engine.statistics.control_calls
        pipe = self.start(limits=NO_SPILL)
        data = os.urandom(2 << 20)
        sent = self.feed(data)
        got = b""
        while sent < len(data) or len(got) < len(data):
            sent += self.server.write(data[sent:])
            got += self.drain()
        self.assertEqual(got, data)
        self.server.half_close()
        self.engine.settle()
        self.assertTrue(self.outcome(pipe).clean)
        self.assertEqual(self.engine.statistics.control_calls, calls)

    def test_a_stuck_client_does_not_spin(self) -> None:
        self.start(limits=NO_SPILL)
        self.feed(bytes(4 << 20))
        before = self.engine.statistics
        self.engine.turn(20)
        after = self.engine.statistics
        self.assertEqual((after.events, after.posted), (before.events, before.posted))
        self.assertEqual(self.in_use(16384), 4)

    def test_a_silent_pipe_does_not_spin(self) -> None:
        self.start()
        self.engine.settle()
        before = self.engine.statistics
        self.engine.turn(20)
        self.assertEqual(self.engine.statistics.events, before.events)

    def test_clean_end(self) -> None:
        pipe = self.start()
        self.server.write(b"bye")
        self.server.half_close()
        self.engine.settle()
        self.assertTrue(self.outcome(pipe).clean)
        self.assertEqual(self.client.read(), b"bye")
        self.assertTrue(self.client.ended)
        self.assertEqual((self.up_protocol.lost, self.down_protocol.lost), ([], []), "only the half")

    def test_peer_closes_both(self) -> None:
        pipe = self.start()
        self.server.write(b"bye")
        self.server.close()
        self.engine.settle()
        self.assertTrue(self.outcome(pipe).clean)
        self.assertEqual(self.client.read(), b"bye")

    def test_surplus_stays_for_the_transport(self) -> None:
        """With a known length and nothing beyond it read, the transport goes on where the pipe ended."""
        pipe = self.start(length=5, keep_open=True)
        self.server.write(b"12345")
        self.engine.settle()
        self.assertTrue(self.outcome(pipe).clean)
        self.up.resumeProducing()
        self.server.write(b"next")
        self.engine.settle()
        self.assertEqual(self.up_protocol.data, b"next")
        self.down.write(b" and on")
        self.engine.settle()
        self.assertEqual(self.client.read(), b"12345 and on")

    def test_one_after_the_other(self) -> None:
        """Two pipes on the same two transports: nothing is inherited."""
        for data in (b"first", b"2nd", b"third"):
            pipe = self.start(length=len(data), keep_open=True, limits=attrs.evolve(LIMITS, limit_rate=1000))
            self.server.write(data)
            self.engine.settle()
            self.assertTrue(self.outcome(pipe).clean)
            self.assertEqual(self.client.read(), data)
        self.assertEqual(self.engine.reactor.getDelayedCalls(), [])

    def test_both_directions(self) -> None:
        forth = self.start(keep_open=True)
        back = self.pipe(self.down, self.up, keep_open=True)
        self.server.write(b"forth")
        self.client.write(b"back")
        self.engine.settle()
        self.assertEqual((self.client.read(), self.server.read()), (b"forth", b"back"))
        self.server.half_close()
        self.engine.settle()
        self.assertTrue(self.outcome(forth).clean)
        self.client.write(b", still")
        self.engine.settle()
        self.assertEqual(self.server.read(), b", still")
        self.client.half_close()
        self.engine.settle()
        self.assertTrue(self.outcome(back).clean)

    def test_nobody_else_may_write(self) -> None:
        pipe = self.start()
        self.assertRaises(TypeError, pipe.write, b"x")
        self.assertRaises(TypeError, pipe.registerProducer, object(), True)
        self.assertRaises(TypeError, pipe.upstream_ended)

    def test_pausing_a_socket_sink_is_nothing(self) -> None:
        pipe = self.start()
        pipe.pauseProducing()
        self.server.write(b"x")
        self.engine.settle()
        self.assertEqual(self.client.read(), b"x")
        pipe.resumeProducing()

    def test_no_kernel_memory(self) -> None:
        """ENOBUFS: tried again in a later turn, not in a loop that nobody else can interrupt."""
        edge = self.down.edge_socket()
        real = edge.socket
        faulty = FaultySocket(real, errno.ENOBUFS)

        class Bounded:
            def __getattr__(self, name: str) -> Any:
                return getattr(faulty, name)

            def send(self, data: object) -> int:
                if faulty.tries > 1000:
                    raise AssertionError("it spins in one turn")
                return faulty.send(data)

            sendmsg = send

        edge.socket = Bounded()
        pipe = self.start()
        self.server.write(b"patience")
        self.engine.turn()
        tries = faulty.tries
        edge.socket = real
        self.assertEqual(self.flushLoggedErrors(AssertionError), [], "it spins in one turn")
        self.assertTrue(1 <= tries <= 10, tries)
        self.assertEqual(pipe.bytes_out, 0)
        self.engine.clock.advance(1)
        self.engine.settle()
        self.assertEqual(self.client.read(), b"patience")


class SpillTests(SocketCase):
    def test_spilled_and_sent_by_sendfile(self) -> None:
        data = os.urandom(900 << 10)
        pipe = self.start()
        self.assertEqual(self.feed(data), len(data))
        self.assertTrue(pipe.bytes_spilled > 100_000)
        self.assertEqual(os.listdir(self.spill.path), [])
        self.server.half_close()
        self.engine.settle()
        self.assert_running(pipe)
        self.assertEqual(self.drain(), data)
        self.assertTrue(self.outcome(pipe).clean)
        self.assertEqual((len(self.spill.files), self.spill.fds), (1, []))

    def test_full_file_is_back_pressure(self) -> None:
        data = os.urandom(4 << 20)
        pipe = self.start(limits=attrs.evolve(LIMITS, max_temp_file_size=100_000))
        sent = self.feed(data)
        self.assertTrue(sent < len(data))
        self.assertTrue(pipe.bytes_spilled <= 100_000)
        got = b""
        while len(got) < len(data):
            sent += self.server.write(data[sent:])
            got += self.drain()
        self.assertEqual(got, data)

    def test_the_file_is_not_written_where_the_kernel_still_sends_from(self) -> None:
        """
        sendfile(2) hands the pages of the file to the socket: until the peer has read them, writing there changes what
        it reads. Here the file is a small one that is written on all the time.
        """
        self.start(limits=attrs.evolve(LIMITS, max_temp_file_size=500_000))
        data = os.urandom(8 << 20)
        sent, got = 0, bytearray()
        for _ in range(2000):
            sent += self.server.write(data[sent:])
            self.engine.settle()
            got += self.client.read(50_000)
            if len(got) == len(data):
                break
        self.assert_same(got, data)

    def test_the_file_starts_anew_with_bytes_in_the_socket(self) -> None:
        """The same when the file is emptied: the next bytes are written from 0 again, but to another file."""
        pipe = self.start(limits=attrs.evolve(LIMITS, max_temp_file_size=1 << 30))
        data = os.urandom(6 << 20)
        sent, got = 0, bytearray()
        for _ in range(1000):
            upto = min(sent + (700 << 10), len(data))
            sent += self.feed(data[sent:upto])
            for _ in range(1000):
                if len(got) == pipe.bytes_in or "disk=0" in repr(pipe):
                    break
                got += self.client.read(20_000)
                self.engine.settle()
            if sent == len(data):
                break
        got += self.drain()
        self.assert_same(got, data)
        self.assertTrue(len(self.spill.files) > 3, self.spill.files)

    def test_a_slow_reader_of_a_long_stream(self) -> None:
        """
        Much more than the limit through it, in many episodes: some in which the file is never empty, and what was sent
        from it is given back piece by piece, and some that empty it. Every byte is right, and the disk is bounded.
        """
        limit, piece = 5 << 20, 1 << 20
        # large writes: the page cache then holds the file in large folios, of which a hole would zero a part in place
        limits = PipeLimits(buffers=16, buffer_size=65536, temp_file_write_size=1 << 19, max_temp_file_size=limit)
        pipe = self.start(limits=limits)
        data = os.urandom(40 << 20)
        sent, got, most, empty = 0, bytearray(), 0, 0
        for episode in range(200):
            while now := self.feed(data[sent : sent + (1 << 20)]):
                sent += now
                most = max(most, self.spill.on_disk)
            upto = len(got) + (7 << 20 if episode % 4 == 3 else 2 << 20)
            while more := self.client.read(min(100_000, upto - len(got))):
                got += more
                self.engine.settle()
                most = max(most, self.spill.on_disk)
                self.assertTrue(len(self.spill.fds) <= limit // piece + 2, self.spill.fds)
                empty += not self.spill.fds
            if len(got) == len(data):
                break
        self.assert_same(got, data)
        self.assertTrue(pipe.bytes_spilled > 4 * limit, pipe)
        self.assertTrue(empty > 2 and len(self.spill.files) > 2, self.spill.files)
        self.assertTrue(limit // 2 < most <= limit + 2 * piece, most)
        self.server.half_close()
        self.engine.settle()
        self.assertTrue(self.outcome(pipe).clean)

    def assert_same(self, got: bytes | bytearray, data: bytes) -> None:
        if got != data:
            first = next((at for at, (a, b) in enumerate(zip(got, data, strict=False)) if a != b), None)
            self.fail(f"{len(got)} bytes of {len(data)}, wrong from {first} on")

    def test_truncated(self) -> None:
        pipe = self.start()
        self.feed(bytes(900 << 10))
        os.ftruncate(self.spill.fds[0], 0)
        self.drain()
        side, why = errors_of(self.outcome(pipe))
        self.assertEqual(side, "disk")
        self.assertIn("truncated", why)
        self.assertEqual(self.types(self.up_protocol), [ConnectionDone])
        self.assertEqual(len(self.down_protocol.lost), 1)

    def test_cannot_be_read(self) -> None:
        pipe = self.start()
        self.feed(bytes(900 << 10))
        (real,), write_only = self.spill.fds, os.open(os.devnull, os.O_WRONLY)
        os.dup2(write_only, real)
        os.close(write_only)
        self.drain()
        self.assertEqual(errors_of(self.outcome(pipe))[0], "disk")

    def test_client_leaves_while_spilled(self) -> None:
        pipe = self.start()
        self.feed(bytes(900 << 10))
        self.client.close()
        self.engine.settle()
        self.assertEqual(errors_of(self.outcome(pipe))[0], "downstream")
        self.assertEqual((len(self.up_protocol.lost), len(self.down_protocol.lost)), (1, 1))


class LossTests(SocketCase):
    def test_upstream_reset(self) -> None:
        """What was received is delivered; then the client is told uncleanly."""
        data = os.urandom(300 << 10)
        pipe = self.start()
        self.up.write(b"never read")
        self.engine.settle()
        self.assertEqual(self.feed(data), len(data))
        self.server.close()
        self.engine.settle()
        self.assert_running(pipe)
        got = self.drain()
        self.assertEqual(got, data)
        self.assertEqual(errors_of(self.outcome(pipe)), ("upstream", os.strerror(errno.ECONNRESET)))
        self.engine.advance(1)
        self.assertEqual(len(self.down_protocol.lost), 1)
        self.assertEqual(len(self.up_protocol.lost), 1)
        self.assertEqual(self.engine.reactor.getDelayedCalls(), [])

    def test_upstream_closed_by_its_owner(self) -> None:
        """Not the end that the upstream meant."""
        pipe = self.start()
        self.up.loseConnection()
        self.engine.settle()
        self.assertEqual(errors_of(self.outcome(pipe))[0], "upstream")

    def test_upstream_aborted_by_its_owner(self) -> None:
        pipe = self.start()
        self.server.write(b"x")
        self.engine.settle()
        self.up.abortConnection()
        self.engine.settle()
        self.assertEqual(errors_of(self.outcome(pipe))[0], "upstream")
        self.assertEqual(self.client.read(), b"x")

    def test_downstream_closed_by_its_owner(self) -> None:
        pipe = self.start()
        self.down.loseConnection()
        self.engine.settle()
        self.assertEqual(errors_of(self.outcome(pipe))[0], "downstream")
        self.assertEqual((len(self.up_protocol.lost), len(self.down_protocol.lost)), (1, 1))

    def test_client_leaves(self) -> None:
        pipe = self.start()
        self.client.close()
        self.server.write(b"x")
        self.engine.settle()
        self.assertEqual(errors_of(self.outcome(pipe))[0], "downstream")
        self.assertEqual((len(self.up_protocol.lost), len(self.down_protocol.lost)), (1, 1))

    def test_both_leave_at_once(self) -> None:
        for server_first in (True, False):
            self.up, self.server = self.engine.connect(Recorder())
            self.down, self.client = self.engine.connect(Recorder())
            pipe = self.start()
            self.server.write(b"x")
            for peer in (self.server, self.client) if server_first else (self.client, self.server):
                peer.close()
            self.engine.settle()
            self.outcome(pipe)

    def test_everything_is_disconnected(self) -> None:
        """At shutdown."""
        pipe = self.start()
        self.feed(bytes(500 << 10))
        self.engine.reactor.disconnectAll()
        self.outcome(pipe)
        self.assertEqual((len(self.up_protocol.lost), len(self.down_protocol.lost)), (1, 1))

    def test_a_protocol_that_ends_the_pipe_when_it_is_lost(self) -> None:
        class Ends(Recorder):
            def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
                pipe.abandon(Cancelled("the protocol said so"))

        self.up, self.server = self.engine.connect(Ends())
        pipe = self.start()
        self.up.abortConnection()
        self.engine.settle()
        self.assertEqual(str(self.outcome(pipe)), "the protocol said so")

    def test_pipe_end_and_owner_are_both_told(self) -> None:
        """C{PipeEnd} hears of the loss, too: once is enough."""
        end = PipeEnd()
        self.up, self.server = self.engine.connect(end)
        end.source_of = pipe = self.start()
        self.up.write(b"x")
        self.engine.settle()
        self.server.close()
        self.engine.settle()
        self.assertEqual(errors_of(self.outcome(pipe))[0], "upstream")

    def test_descriptors(self) -> None:
        before = len(os.listdir("/proc/self/fd"))
        registered = self.engine.statistics.registered
        for end in ("server", "client", "cancel"):
            self.up, self.server = self.engine.connect(Recorder())
            self.down, self.client = self.engine.connect(Recorder())
            pipe = self.start()
            self.feed(bytes(900 << 10))
            {"server": self.server.close, "client": self.client.close, "cancel": pipe.done.cancel}[end]()
            self.drain() if end != "client" else self.engine.settle()
            self.outcome(pipe)
            for transport in (self.up, self.down):
                transport.loseConnection()
            self.engine.settle()
            for peer in (self.server, self.client):
                peer.close()
        self.engine.advance(1)
        self.assertEqual(self.engine.statistics.registered, registered)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)


class TimeTests(SocketCase):
    def test_read_timeout(self) -> None:
        pipe = self.start()
        self.engine.advance(59, 1)
        self.assert_running(pipe)
        self.engine.advance(2, 1)
        self.assertEqual(errors_of(self.outcome(pipe)), ("upstream", "read timeout of 60 s expired"))
        self.assertEqual(self.types(self.up_protocol), [ConnectionDone])

    def test_send_timeout(self) -> None:
        pipe = self.start(limits=attrs.evolve(LIMITS, read_timeout=0))
        self.feed(bytes(900 << 10))
        self.engine.advance(61, 1)
        self.assertEqual(errors_of(self.outcome(pipe)), ("downstream", "send timeout of 60 s expired"))
        self.assertEqual((len(self.up_protocol.lost), len(self.down_protocol.lost)), (1, 1))
        self.assertEqual(self.engine.reactor.getDelayedCalls(), [])

    def test_back_pressure_is_no_read_timeout(self) -> None:
        pipe = self.start(limits=attrs.evolve(NO_SPILL, send_timeout=0))
        self.feed(bytes(4 << 20))
        self.engine.advance(600, 1)
        self.assert_running(pipe)

    def test_rate(self) -> None:
        pipe = self.start(limits=attrs.evolve(LIMITS, limit_rate=20_000))
        self.server.write(bytes(200_000))
        for second in range(1, 6):
            self.engine.advance(1, 0.005)
            self.client.read()
            self.assertTrue(abs(pipe.bytes_out - 20_000 * second) <= 600, (second, pipe))
        self.assertTrue(abs(pipe.bytes_out - 100_000) <= 2000, pipe)

    def test_rate_and_silence_do_not_spin(self) -> None:
        self.start(limits=attrs.evolve(LIMITS, limit_rate=1000))
        self.server.write(bytes(5000))
        self.engine.turn(5)
        before = self.engine.statistics
        self.engine.turn(20)
        self.assertEqual((self.engine.statistics.events, self.engine.statistics.posted), (before.events, before.posted))


class FilterTests(SocketCase):
    def test_waits(self) -> None:
        gate: Deferred[None] = Deferred()

        class Waits(PipeFilter):
            def received(self, data: memoryview) -> Any:
                yield gate
                yield bytes(data).upper()

        self.start([Waits(FilterContext())])
        self.server.write(b"hello")
        self.engine.settle()
        self.assertEqual(self.client.read(), b"")
        gate.callback(None)
        self.assertEqual(self.client.read(), b"HELLO")

    def test_fails(self) -> None:
        class Fails(PipeFilter):
            def received(self, data: memoryview) -> Any:
                raise ZeroDivisionError("boom")

        pipe = self.start([Fails(FilterContext())])
        self.server.write(b"hello")
        self.engine.settle()
        self.assertEqual(errors_of(self.outcome(pipe))[0], "filter")
        self.assertEqual((len(self.up_protocol.lost), len(self.down_protocol.lost)), (1, 1))
        self.assertEqual(self.flushLoggedErrors(), [])


class MixedTests(SocketCase):
    """One end is a socket of ours, the other any transport."""

    def test_socket_to_consumer(self) -> None:
        downstream = MemoryTransport(room=1)
        pipe = self.pipe(self.up, downstream, limits=NO_SPILL)
        self.feed(bytes(1 << 20))
        self.assertTrue(self.in_use(16384) <= 4)
        got = 0
        while downstream.value():
            got += len(downstream.take())
            self.engine.settle()
        self.assertEqual(got, pipe.bytes_in)
        self.server.half_close()
        self.engine.settle()
        self.assertTrue(self.outcome(pipe).clean)
        self.assertEqual(downstream.ends, ["half"])

    def test_producer_to_socket(self) -> None:
        upstream = MemoryTransport()
        pipe = self.pipe(upstream, self.down, limits=NO_SPILL)
        pipe.write(bytes(1 << 20))
        self.engine.settle()
        self.assertEqual(upstream.producerState, "paused")
        self.assertEqual(len(self.drain()), 1 << 20)
        self.assertEqual(upstream.producerState, "producing")
        pipe.upstream_ended()
        self.engine.settle()
        self.client.read()
        self.assertTrue(self.client.ended)

    def test_client_leaves_a_producer(self) -> None:
        upstream = MemoryTransport()
        pipe = self.pipe(upstream, self.down, limits=NO_SPILL)
        pipe.write(bytes(1 << 20))
        self.engine.settle()
        self.client.close()
        self.engine.settle()
        self.assertEqual(errors_of(self.outcome(pipe))[0], "downstream")
        self.assertEqual(upstream.calls.count("stop"), 1)
