"""When writes go to threads, and what threads do with them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.net.disks import DiskCase
from tests.net.fakes import os_error, raising
from twisted_pipe.net import spillfile
from twisted_pipe.net.diskthreads import REST, SLOW, DiskThreads

DATA = bytes(index * 7 % 251 for index in range(3000))
PATIENCE = 10.0  # seconds after which a thread that should have answered has hung


class Reactor:
    """As much of a reactor as threads need: what they call is done by L{run}."""

    def __init__(self) -> None:
        self.calls: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self.called = threading.Condition()

    def callFromThread(self, function: Callable[..., object], *arguments: Any) -> None:
        with self.called:
            self.calls.append((function, arguments))
            self.called.notify()

    def run(self) -> None:
        """What was called so far."""
        while self.calls:
            function, arguments = self.calls.pop(0)
            function(*arguments)

    def run_until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            with self.called:
                if not self.calls and not self.called.wait(end - time.monotonic()):
                    raise AssertionError("a thread has hung")
            self.run()


def cannot_start(thread: threading.Thread) -> None:
    """As many as the user or the container may have are running (RLIMIT_NPROC, pids.max)."""
    raise RuntimeError("can't start new thread")


class DiskThreadsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 100.0
        self.reactor = Reactor()
        self.threads = DiskThreads(self.reactor, 2, lambda: self.now)
        self.addCleanup(lambda: self.threads.stop())


class WantedTests(DiskThreadsCase):
    def test_not_before_a_write_was_slow(self) -> None:
        self.assertFalse(self.threads.wanted)
        self.threads.took(SLOW)
        self.assertEqual((self.threads.wanted, self.threads.slow), (False, 0))

    def test_for_a_while_after_one_that_was(self) -> None:
        self.threads.took(SLOW * 1.01)
        self.assertEqual((self.threads.wanted, self.threads.slow), (True, 1))
        self.now += REST - 0.001
        self.assertTrue(self.threads.wanted)
        self.now += 0.001
        self.assertFalse(self.threads.wanted)

    def test_each_slow_one_begins_that_anew(self) -> None:
        self.threads.took(1)
        self.now += REST - 0.1
        self.threads.took(1)
        self.now += REST - 0.1
        self.assertEqual((self.threads.wanted, self.threads.slow), (True, 2))

    def test_a_fast_one_does_not_end_it(self) -> None:
        self.threads.took(1)
        self.threads.took(0)
        self.assertTrue(self.threads.wanted)

    def test_never_with_no_threads(self) -> None:
        threads = DiskThreads(self.reactor, 0, lambda: self.now)
        threads.took(1000)
        self.assertFalse(threads.wanted)

    def test_repr(self) -> None:
        self.assertEqual(repr(self.threads), "<DiskThreads 2, 0 writes, not wanted>")
        self.threads.took(1)
        self.assertEqual(repr(self.threads), "<DiskThreads 2, 0 writes, wanted>")


class RunTests(DiskThreadsCase):
    """Real threads."""

    def test_in_another_thread_and_answered_in_this_one(self) -> None:
        where: list[int] = []
        results: list[int] = []

        def work(offset: int, parts: list[bytes]) -> int:
            where.append(threading.get_ident())
            return offset + len(parts)

        self.threads.run(work, 40, [b"", b""]).addCallback(results.append)
        self.reactor.run_until(lambda: results)
        self.assertEqual((results, self.threads.writes), ([42], 1))
        self.assertNotEqual(where, [threading.get_ident()])

    def test_a_failure_is_answered_too(self) -> None:
        failures: list[Any] = []

        def work() -> int:
            raise os_error(28)

        self.threads.run(work).addErrback(failures.append)
        self.reactor.run_until(lambda: failures)
        self.assertEqual(failures[0].value.errno, 28)

    def test_it_is_timed(self) -> None:
        """Of a failing write, too; and the time is counted in the reactor's thread."""

        def slow() -> int:
            self.now += 1
            raise os_error(5)

        done = self.threads.run(slow)
        done.addErrback(lambda _: None)
        self.reactor.run_until(lambda: done.called)
        self.reactor.run()
        self.assertEqual((self.threads.slow, self.threads.wanted), (1, True))

    def test_no_more_threads_than_its_count(self) -> None:
        gate, running, most = threading.Semaphore(0), [0], [0]
        lock = threading.Lock()
        done: list[int] = []

        def work() -> int:
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            gate.acquire(timeout=PATIENCE)
            with lock:
                running[0] -= 1
            return 0

        for _ in range(6):
            self.threads.run(work).addCallback(done.append)
        for _ in range(6):
            gate.release()
        self.reactor.run_until(lambda: len(done) == 6)
        self.assertTrue(1 <= most[0] <= 2, most)

    def test_stop_waits_for_writes_under_way(self) -> None:
        begun, ended = threading.Event(), threading.Event()
        go_on = threading.Event()

        def work() -> int:
            begun.set()
            go_on.wait(PATIENCE)
            ended.set()
            return 7

        results: list[int] = []
        self.threads.run(work).addCallback(results.append)
        self.assertTrue(begun.wait(PATIENCE))
        go_on.set()
        self.threads.stop()
        self.assertTrue(ended.is_set())
        self.reactor.run()
        self.assertEqual(results, [7])

    def test_stop_ends_the_threads(self) -> None:
        before = set(threading.enumerate())
        ran: list[threading.Thread] = []
        done = self.threads.run(lambda: ran.append(threading.current_thread()))
        self.reactor.run_until(lambda: done.called)
        self.threads.stop()
        self.assertEqual(len(ran), 1)
        self.assertNotIn(ran[0], before)
        self.assertFalse(ran[0].is_alive())
        self.threads.stop()

    def test_where_no_thread_can_be_started_it_is_made_here(self) -> None:
        refused = self.patch(threading.Thread, "start", cannot_start)
        where: list[int] = []
        self.assertEqual(self.successResultOf(self.threads.run(lambda: where.append(threading.get_ident()) or 5)), 5)
        self.assertEqual((where, self.threads.writes), ([threading.get_ident()], 0))
        self.failureResultOf(self.threads.run(raising(28)), OSError)
        refused.restore()
        done = self.threads.run(int)
        self.reactor.run_until(lambda: done.called)
        self.assertEqual(self.threads.writes, 1)
        self.threads.stop()

    def test_stop_without_a_write_ever(self) -> None:
        self.threads.stop()


class WithPipesTests(DiskCase):
    """Pipes, a disk whose speed the test sets, and real threads."""

    def setUp(self) -> None:
        DiskCase.setUp(self)
        self.now, self.each_takes = 0.0, 0.0
        self.in_threads: list[bool] = []
        self.reactor = Reactor()
        self.threads = DiskThreads(self.reactor, 1, lambda: self.now)
        self.spill.threads = self.threads
        really, main = spillfile.write_parts, threading.get_ident()

        def write(fd: int, parts: Any, offset: int) -> int:
            self.now += self.each_takes
            self.in_threads.append(threading.get_ident() != main)
            return really(fd, parts, offset)

        self.patch(spillfile, "write_parts", write)
        self.addCleanup(self.end)

    def end(self) -> None:
        for pipe in self.pipes:
            pipe.done.cancel()
        self.threads.stop()
        self.reactor.run()

    def settle(self, pipe: Any, spilled: int) -> None:
        self.reactor.run_until(lambda: pipe.bytes_spilled >= spilled)
        self.reactor.run()

    def test_fast_writes_stay_in_the_reactors_thread(self) -> None:
        pipe = self.stuck()
        pipe.write(DATA)
        self.assertEqual((set(self.in_threads), self.threads.writes), ({False}, 0))
        self.assertEqual(self.take_all(), DATA)

    def test_a_slow_one_sends_the_next_to_threads(self) -> None:
        self.each_takes = SLOW * 2
        pipe = self.stuck()
        pipe.write(DATA)
        self.settle(pipe, 2200)
        self.assertEqual((self.in_threads[0], set(self.in_threads[1:])), (False, {True}))
        self.assertTrue(self.threads.writes >= 10)

    def test_until_it_has_rested(self) -> None:
        self.each_takes = SLOW * 2
        pipe = self.stuck()
        pipe.write(DATA[:1300])
        self.settle(pipe, 700)
        self.each_takes = 0
        self.now += REST
        count = self.threads.writes
        pipe.write(DATA[1300:])
        self.assertEqual((self.threads.writes, self.in_threads[-1]), (count, False))
        pipe.upstream_ended()
        self.assertEqual(self.take_all(), DATA)
        self.assertTrue(self.outcome(pipe).clean)

    def test_never_with_no_threads(self) -> None:
        self.threads.count = 0
        self.each_takes = 10
        pipe = self.stuck()
        pipe.write(DATA)
        self.assertEqual((set(self.in_threads), self.take_all()), ({False}, DATA))

    def test_where_no_thread_can_be_started(self) -> None:
        self.patch(threading.Thread, "start", cannot_start)
        self.each_takes = SLOW * 2
        pipe = self.stuck()
        pipe.write(DATA)
        self.reactor.run()
        self.assertEqual((set(self.in_threads), self.take_all()), ({False}, DATA))
        pipe.upstream_ended()
        self.assertTrue(self.outcome(pipe).clean)

    def test_order_holds_over_both(self) -> None:
        pipe = self.stuck()
        got = b""
        for at in range(0, len(DATA), 100):
            self.each_takes = SLOW * 2 if at % 1000 == 0 else 0
            self.now += REST / 4
            pipe.write(DATA[at : at + 100])
            got += self.downstream.take(60)
            self.reactor.run()
        pipe.upstream_ended()

        def ended() -> bool:
            nonlocal got
            got += self.take_all()
            return pipe in self.outcomes

        self.reactor.run_until(ended)
        self.assertEqual((got, self.outcome(pipe).clean), (DATA, True))

    def test_stopped_with_a_write_under_way(self) -> None:
        """As when the service ends: pipes first, then the threads."""
        self.each_takes = SLOW * 2
        pipe = self.stuck()
        pipe.write(DATA)
        pipe.done.cancel()
        self.threads.stop()
        self.reactor.run()
        self.assertEqual((self.spill.fds, os.listdir(self.directory), self.in_use()), ([], [], 0))
