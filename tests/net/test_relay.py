from __future__ import annotations

import errno
import os
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import Peer, os_error
from tests.net.loopback import Loopback, RelayRecorder
from twisted_pipe.net.relay import Relay

MOST = 100_000


class Counted:
    """A socket whose sends are counted and may fail."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.sizes: list[int] = []
        self.fails: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)

    def send(self, data: bytes) -> int:
        self.sizes.append(len(data))
        if self.fails is not None:
            raise self.fails
        sent: int = self.sock.send(data)
        return sent


class RelayCase(SynchronousTestCase):
    tcp = False

    def setUp(self) -> None:
        self.engine = Loopback(self)
        self.owner = RelayRecorder()
        self.source, self.upstream = self.engine.bare(self.tcp)
        self.sink, self.client = self.engine.bare(self.tcp, 20_000)
        self.relay = self.make()
        self.engine.settle()

    def make(self, most: int = MOST) -> Relay:
        relay = Relay(self.source, self.sink, self.owner, most, 0.0)
        self.source.reader = relay
        relay.arm()
        return relay

    def stuff(self) -> int:
        """Fill the sink's socket, past the relay. Returns how many bytes went in."""
        sent = 0
        while self.sink.writable:
            sent += self.sink.send([bytes(65536)])
        return sent

    def fetch(self, peer: Peer) -> bytes:
        data = b""
        while True:
            self.engine.settle()
            more = peer.read()
            data += more
            if not more:
                return data


class RunTests(RelayCase):
    def test_one_event_one_read_one_write_and_no_queue(self) -> None:
        before = self.engine.statistics
        self.upstream.write(b"hello")
        self.engine.turn()
        after = self.engine.statistics
        self.assertEqual(self.client.read(), b"hello")
        self.assertEqual((after.relayed, after.posted), (before.relayed + 1, before.posted))
        self.assertEqual((self.relay.moved, self.owner.told), (5, []))

    def test_progress_is_noted(self) -> None:
        self.engine.clock.advance(7)
        self.upstream.write(b"x")
        self.engine.turn()
        self.assertEqual(self.relay.last_progress, 7)

    def test_where_splice_is_not_to_be_had_bulk_is_copied(self) -> None:
        """By this kernel, or by who confines the process. Nothing was received then."""
        data = bytes(range(256)) * 512
        for number in (errno.ENOSYS, errno.EPERM, errno.EINVAL):
            calls: list[int] = []

            def splice(*_: Any, number: int = number, calls: list[int] = calls, **__: Any) -> int:
                calls.append(number)
                raise os_error(number)

            self.patch(os, "splice", splice)
            self.relay = self.make()
            self.relay.left = len(data)
            self.upstream.write(data)
            self.assertEqual(self.fetch(self.client), data)
            self.assertEqual((calls, self.owner.told.pop()), ([number], ("ended", None, False)))

    def test_bytes_that_came_before_it_was_armed_are_for_the_owner_to_post(self) -> None:
        self.relay.stop()
        self.upstream.write(b"early")
        self.engine.settle()
        self.assertEqual(self.client.read(), b"")
        self.relay.arm()
        self.engine.reactor.loop.post(self.source)
        self.engine.turn()
        self.assertEqual(self.client.read(), b"early")

    def test_disarmed_in_the_same_batch_leaves_the_event_to_the_reader(self) -> None:
        first, first_peer = self.engine.bare()
        gone, gone_peer = self.engine.bare()
        self.engine.settle()
        gone_peer.close()
        reads: list[bool] = []

        class Reader:
            def socket_ready(reader) -> None:
                reads.append(self.source.readable)
                self.source.recv_into(memoryview(bytearray(10)))

            def socket_lost(reader, reason: Failure) -> None:
                pass

        class TakesOver(RelayRecorder):
            def relay_broken(owner, relay: Relay, error: OSError, lost: int) -> None:
                self.relay.stop()
                self.source.reader = Reader()

        Relay(first, gone, TakesOver(), MOST, 0.0).arm()
        first_peer.write(b"y")
        self.upstream.write(b"x")
        self.engine.settle()
        self.assertEqual((reads, self.client.read(), self.owner.told), ([True], b"", []))

    def test_closed_in_the_same_batch_is_not_read(self) -> None:
        self.upstream.write(b"x")
        self.source.close()
        self.relay.run(0.0)
        self.engine.settle()
        self.assertEqual((self.owner.told, self.client.read()), ([], b""))

    def test_repr(self) -> None:
        self.upstream.write(b"hello")
        self.engine.turn()
        self.assertEqual(repr(self.relay), "<Relay armed 5 bytes>")
        self.relay.stop()
        self.assertEqual(repr(self.relay), "<Relay idle 5 bytes>")

    def test_a_relay_that_was_replaced_disarms_nobody_else(self) -> None:
        new = self.make()
        self.relay.stop()
        self.assertTrue(new.armed)


class EndTests(RelayCase):
    def test_the_upstream_ends(self) -> None:
        self.upstream.write(b"bye")
        self.upstream.half_close()
        self.engine.settle()
        self.assertEqual((self.client.read(), self.owner.told), (b"bye", [("ended", None, False)]))
        self.assertFalse(self.source.readable)

    def test_the_upstream_ends_after_a_while(self) -> None:
        self.upstream.write(b"bye")
        self.engine.settle()
        self.upstream.half_close()
        self.engine.settle()
        self.assertEqual((self.client.read(), self.owner.told), (b"bye", [("ended", None, False)]))

    def test_the_upstream_ends_in_the_midst_of_bulk(self) -> None:
        for _ in range(20):
            self.upstream.write(bytes(10_000))
            self.engine.turn()
            self.client.read()
        self.upstream.write(bytes(10_000))
        self.upstream.close()
        self.fetch(self.client)
        self.assertEqual(self.owner.told, [("ended", None, False)])
        self.assertEqual(self.relay.moved, 210_000)

    def test_the_downstream_is_gone(self) -> None:
        self.client.close()
        self.upstream.write(b"hello")
        self.engine.settle()
        self.assertEqual(self.owner.told, [("broken", errno.EPIPE, 5, False)])

    def test_the_end_is_the_end_although_the_downstream_is_gone(self) -> None:
        """Nothing was received, so nothing is sent: the sink is not asked."""
        counted = Counted(self.sink.socket)
        self.sink.socket = counted  # type: ignore[assignment]
        self.relay = self.make()
        counted.fails = os_error(errno.EPIPE)
        self.upstream.half_close()
        self.engine.reactor.loop.turn(0)
        if self.relay.armed:
            self.relay.run(0.0)
        self.assertEqual((self.owner.told, counted.sizes), ([("ended", None, False)], []))

    def test_an_empty_read_in_the_hot_path_is_the_end(self) -> None:
        """The event told of bytes that somebody else read, and the end came meanwhile."""
        counted = Counted(self.sink.socket)
        self.sink.socket = counted  # type: ignore[assignment]
        self.relay = self.make()
        counted.fails = os_error(errno.EPIPE)
        self.upstream.half_close()
        self.relay.run(0.0)
        self.assertEqual((self.owner.told, counted.sizes), ([("ended", None, False)], []))

    def test_the_source_is_closed_by_somebody_else(self) -> None:
        self.source.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.owner.told, [("lost", ConnectionDone, False)])

    def test_an_error_of_the_owner_ends_the_source_only(self) -> None:
        def fail(relay: Relay, error: OSError, lost: int) -> None:
            raise ZeroDivisionError

        self.owner.relay_broken = fail  # type: ignore[method-assign]
        self.client.close()
        self.upstream.write(b"x")
        self.engine.settle()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertFalse(self.source.open)
        self.assertTrue(self.sink.open)


class TcpRelayTests(RelayCase):
    tcp = True

    def test_the_upstream_is_reset(self) -> None:
        self.source.socket.send(b"never read")
        self.engine.settle()
        self.upstream.close()
        self.engine.settle()
        self.assertEqual(self.owner.told, [("ended", errno.ECONNRESET, False)])

    def test_the_downstream_is_reset(self) -> None:
        self.sink.send([b"never read"])
        self.client.close()
        self.upstream.write(b"hello")
        self.engine.settle()
        ((what, _, lost, _),) = self.owner.told
        self.assertEqual((what, lost), ("broken", 5))
