"""C{statistics()}: what all live pipes hold."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from tests.net.disks import DISK, NO_SPILL, DiskCase
from twisted_pipe.errors import Cancelled
from twisted_pipe.filters.base import PipeFilter
from twisted_pipe.interfaces import FilterContext
from twisted_pipe.net import live
from twisted_pipe.net.live import LivePipes, live_pipes, statistics

DATA = bytes(3000)


class LiveTests(DiskCase):
    def setUp(self) -> None:
        DiskCase.setUp(self)
        self.patch(live, "live_pipes", set())  # those of other tests are not ours

        def ours() -> LivePipes:
            live.live_pipes.clear()
            live.live_pipes.update(live_pipes.intersection(self.pipes))
            return statistics()

        self.statistics = ours

    def test_none(self) -> None:
        nothing = LivePipes(count=0, blocked=0, memory_bytes=0, disk_bytes=0, bytes_in=0, bytes_out=0)
        self.assertEqual(self.statistics(), nothing)

    def test_one_enters_when_it_starts_and_leaves_when_it_ends(self) -> None:
        for end in ("end", "cancel", "abandon", "downstream"):
            self.renew()
            pipe = self.start()
            self.assertEqual(self.statistics().count, 1)
            {
                "end": pipe.upstream_ended,
                "cancel": pipe.done.cancel,
                "abandon": lambda pipe=pipe: pipe.abandon(Cancelled("enough")),
                "downstream": pipe.stopProducing,
            }[end]()
            self.assertEqual((self.statistics().count, pipe in live_pipes), (0, False), end)

    def test_one_that_ends_before_it_has_begun(self) -> None:
        pipe = self.start(length=0)
        self.assertTrue(self.outcome(pipe).clean)
        self.assertNotIn(pipe, live_pipes)

    def test_what_it_holds(self) -> None:
        self.downstream.room = 1
        pipe = self.start()
        pipe.write(DATA)
        found = self.statistics()
        self.assertEqual(
            (found.memory_bytes, found.disk_bytes, found.bytes_in, found.bytes_out),
            (pipe.memory_bytes, pipe.disk_bytes, pipe.bytes_in, pipe.bytes_out),
        )
        self.assertEqual(found.memory_bytes + found.disk_bytes, found.bytes_in - found.bytes_out)
        self.assertTrue(found.disk_bytes > 2000)

    def test_blocked(self) -> None:
        first, first.room = self.downstream, 1
        self.start(limits=NO_SPILL).write(DATA)
        self.renew()
        self.start().write(b"x")
        found = self.statistics()
        self.assertEqual((found.count, found.blocked, found.memory_bytes), (2, 1, 400))
        while first.value():
            first.take()
        found = self.statistics()
        self.assertEqual((found.count, found.blocked, found.memory_bytes), (2, 0, 0))

    def test_the_sum_of_all(self) -> None:
        for _ in range(5):
            self.renew()
            self.downstream.room = 1
            self.start().write(DATA)
        found = self.statistics()
        self.assertEqual((found.count, found.bytes_in), (5, sum(pipe.bytes_in for pipe in self.pipes)))
        for pipe in self.pipes:
            pipe.done.cancel()
        self.assertEqual(self.statistics().count, 0)

    def test_one_that_waits_for_a_filter(self) -> None:
        class Waits(PipeFilter):
            def received(self, data: memoryview) -> Any:
                yield Deferred()

        self.start([Waits(FilterContext())]).write(b"x")
        self.assertEqual(self.statistics().count, 1)

    def test_asked_while_one_ends(self) -> None:
        seen: list[int] = []
        pipe = self.start()
        pipe.done.addCallback(lambda _: seen.append(self.statistics().count))
        pipe.upstream_ended()
        self.assertEqual(seen, [0])

    def test_one_that_could_not_start_is_none(self) -> None:
        """Its consumer has a producer already: the caller gets the error, and nothing is left of it."""
        self.downstream.registerProducer(self, True)
        before = set(live_pipes)
        with self.assertRaises(RuntimeError):
            self.start(limits=attrs.evolve(DISK, total_timeout=5, idle_timeout=5))
        left = live_pipes - before
        live_pipes.difference_update(left)
        self.assertEqual((len(left), self.clock.getDelayedCalls()), (0, []))

    def test_one_that_has_ended_is_forgotten(self) -> None:
        pipe = self.start()
        pipe.upstream_ended()
        reference = weakref.ref(pipe)
        self.pipes.clear()
        self.outcomes.clear()
        self.renew()
        del pipe
        gc.collect()
        self.assertIsNone(reference())
