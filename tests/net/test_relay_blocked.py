from __future__ import annotations

import errno
import os

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from tests.net.fakes import os_error
from tests.net.test_relay import Counted, RelayCase
from twisted_pipe.net.relay import PATIENCE


class BlockedTests(RelayCase):
    """The sink takes less than was received."""

    def test_waits_for_it_and_reads_nothing_meanwhile(self) -> None:
        stuffed = self.stuff()
        self.upstream.write(b"too much")
        self.engine.settle()
        self.upstream.write(b", and more")
        self.engine.settle()
        self.assertEqual(
            (self.owner.told, self.relay.waiting, self.relay.armed, self.relay.moved), ([], True, False, 0)
        )
        self.assertTrue(self.source.readable)
        self.assertEqual(self.fetch(self.client)[stuffed:], b"too much, and more")
        self.assertEqual((self.owner.told, self.relay.waiting, self.relay.armed), ([], False, True))

    def test_goes_on_as_before(self) -> None:
        self.stuff()
        self.upstream.write(b"too much")
        self.engine.settle()
        self.fetch(self.client)
        before = self.engine.statistics
        self.upstream.write(b"hello")
        self.engine.turn()
        self.assertEqual(self.client.read(), b"hello")
        self.assertEqual(self.engine.statistics.relayed, before.relayed + 1)
        self.engine.advance(2 * PATIENCE)
        self.assertEqual(self.owner.told, [])

    def test_the_rest_goes_to_the_owner_if_that_lasts(self) -> None:
        self.stuff()
        self.upstream.write(b"too much")
        self.engine.settle()
        self.engine.advance(PATIENCE / 2, PATIENCE / 4)
        self.assertEqual(self.owner.told, [])
        self.engine.advance(PATIENCE, PATIENCE / 4)
        self.assertEqual(self.owner.told, [("blocked", b"too much", False)])
        self.assertEqual((self.relay.waiting, self.sink.writer, self.sink.writing), (False, None, False))

    def test_a_full_read_that_is_blocked_leaves_the_source_readable(self) -> None:
        """More may be there, and no edge will tell: the owner must know."""
        self.stuff()
        self.upstream.write(bytes(65536))
        self.engine.settle()
        self.assertTrue(self.source.readable)
        self.engine.advance(2 * PATIENCE)
        self.assertEqual([told[0] for told in self.owner.told], ["blocked"])
        self.assertTrue(self.source.readable)

    def test_a_burst_arrives_whole(self) -> None:
        """Its first read is full and cannot be sent; what is behind it needs no event."""
        stuffed = self.stuff()
        data = os.urandom(65536)
        written = self.upstream.write(data)
        self.engine.settle()
        self.assertTrue(self.fetch(self.client)[stuffed:] == data[:written])

    def test_never_more_than_most_is_given_back(self) -> None:
        for most in (100, 5000, 40_000):
            self.relay.stop()
            self.relay = self.make(most)
            self.owner.told.clear()
            self.stuff()
            self.upstream.write(bytes(100_000))
            self.engine.settle()
            self.engine.advance(2 * PATIENCE)
            ((_, rest, _),) = self.owner.told
            self.assertTrue(0 < len(rest) <= most, (most, len(rest)))
            self.source.recv_into(memoryview(bytearray(1 << 20)))
            self.fetch(self.client)

    def test_patience_begins_anew_each_time(self) -> None:
        for _ in range(5):
            self.stuff()
            self.upstream.write(b"too much")
            self.engine.settle()
            self.engine.advance(PATIENCE * 0.75, PATIENCE / 4)
            self.fetch(self.client)
        self.assertEqual(self.owner.told, [])

    def test_no_spin_while_it_waits(self) -> None:
        self.stuff()
        self.upstream.write(bytes(100_000))
        self.engine.settle()
        before = self.engine.statistics
        self.engine.turn(20)
        after = self.engine.statistics
        self.assertEqual((after.events, after.posted), (before.events, before.posted))

    def test_stopped_while_it_waits(self) -> None:
        self.stuff()
        self.upstream.write(b"too much")
        self.engine.settle()
        self.assertEqual(self.relay.stop(), b"too much")
        self.assertEqual((self.sink.writer, self.sink.writing, self.relay.stop()), (None, False, b""))
        self.assertEqual(self.engine.reactor.getDelayedCalls(), [])

    def test_the_upstream_ends_meanwhile(self) -> None:
        stuffed = self.stuff()
        self.upstream.write(b"bye")
        self.engine.settle()
        self.upstream.close()
        self.engine.settle()
        self.assertEqual(self.owner.told, [])
        self.assertEqual(self.fetch(self.client)[stuffed:], b"bye")
        self.assertEqual(self.owner.told, [("ended", None, False)])

    def test_the_downstream_goes_meanwhile(self) -> None:
        self.stuff()
        self.upstream.write(b"too much")
        self.engine.settle()
        self.client.close()
        self.engine.settle()
        self.assertEqual(self.owner.told, [("broken", errno.EPIPE, 8, False)])

    def test_either_is_closed_by_somebody_else_meanwhile(self) -> None:
        for side in ("source", "sink"):
            self.stuff()
            self.upstream.write(b"too much")
            self.engine.settle()
            getattr(self, side).connectionLost(Failure(ConnectionDone()))
            self.assertEqual(self.owner.told, [("lost", ConnectionDone, False)], side)
            self.assertFalse(self.relay.waiting)
            self.owner.told.clear()
            self.source, self.upstream = self.engine.bare(self.tcp)
            self.sink, self.client = self.engine.bare(self.tcp, 20_000)
            self.relay = self.make()
            self.engine.settle()

    def test_no_timer_outlives_it(self) -> None:
        """Blocked for a moment, and then ended, or lost, or stopped."""
        for how in ("ended", "lost", "stopped"):
            self.stuff()
            self.upstream.write(b"too much")
            self.engine.settle()
            self.fetch(self.client)
            self.assertTrue(self.relay.armed)
            if how == "ended":
                self.upstream.close()
                self.engine.settle()
            elif how == "lost":
                self.source.connectionLost(Failure(ConnectionDone()))
            else:
                self.relay.stop()
            self.assertEqual(self.engine.reactor.getDelayedCalls(), [], how)
            self.source, self.upstream = self.engine.bare(self.tcp)
            self.sink, self.client = self.engine.bare(self.tcp, 20_000)
            self.relay = self.make()
            self.engine.settle()

    def test_no_kernel_memory(self) -> None:
        """ENOBUFS: as if it were full."""
        counted = Counted(self.sink.socket)
        counted.fails = os_error(errno.ENOBUFS)
        self.sink.socket = counted  # type: ignore[assignment]
        self.relay = self.make()
        self.upstream.write(b"patience")
        self.engine.turn(3)
        self.assertEqual((self.owner.told, len(counted.sizes)), ([], 1))
        counted.fails = None
        self.engine.advance(0.2)
        rest = b"".join(told[1] for told in self.owner.told)
        self.assertEqual(self.client.read() + rest, b"patience")
        self.assertTrue(self.sink.writable)

    def test_no_kernel_memory_again(self) -> None:
        """When it tries to send what has waited."""
        self.stuff()
        counted = Counted(self.sink.socket)
        self.sink.socket = counted  # type: ignore[assignment]
        self.relay = self.make()
        self.upstream.write(b"patience")
        self.engine.settle()
        counted.fails = os_error(errno.ENOBUFS)
        self.fetch(self.client)
        counted.fails = None
        self.engine.advance(0.2)
        rest = b"".join(told[1] for told in self.owner.told if told[0] == "blocked")
        self.assertEqual([told for told in self.owner.told if told[0] != "blocked"], [])
        self.assertEqual(self.fetch(self.client) + rest, b"patience")
