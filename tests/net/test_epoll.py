from __future__ import annotations

import errno
import os
import signal
import socket
import sys

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.core.readiness import ET, IN, OUT
from twisted_pipe.net.epoll import BATCH, Epoll, NotSupported, accept


class EpollTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.epoll = Epoll()
        self.addCleanup(self.epoll.close)

    def pair(self) -> tuple[socket.socket, socket.socket]:
        pair = socket.socketpair()
        for sock in pair:
            self.addCleanup(sock.close)
        return pair

    def test_the_tag_comes_back_whole(self) -> None:
        for tag in (0, 1, 0xFFFFFFFF, 1 << 32, (1 << 63) - 1):
            ours, theirs = self.pair()
            theirs.send(b"x")
            self.epoll.add(ours.fileno(), IN, tag)
            self.assertEqual(list(self.epoll.wait(0)), [(IN, tag)])
            self.epoll.remove(ours.fileno())

    def test_every_event_has_its_own_tag(self) -> None:
        pairs = [self.pair() for _ in range(20)]
        for tag, (ours, theirs) in enumerate(pairs):
            self.epoll.add(ours.fileno(), IN, tag << 32 | tag)
            if tag % 2:
                theirs.send(b"x")
        self.assertEqual(sorted(self.epoll.wait(0)), [(IN, tag << 32 | tag) for tag in range(1, 20, 2)])

    def test_nothing(self) -> None:
        self.assertIsNone(self.epoll.wait(0))

    def test_modify(self) -> None:
        ours, _ = self.pair()
        self.epoll.add(ours.fileno(), IN, 1)
        self.assertIsNone(self.epoll.wait(0))
        self.epoll.modify(ours.fileno(), OUT, 2)
        self.assertEqual(list(self.epoll.wait(0)), [(OUT, 2)])

    def test_remove(self) -> None:
        ours, theirs = self.pair()
        self.epoll.add(ours.fileno(), IN, 1)
        theirs.send(b"x")
        self.epoll.remove(ours.fileno())
        self.assertIsNone(self.epoll.wait(0))

    def test_an_edge_comes_once(self) -> None:
        ours, theirs = self.pair()
        self.epoll.add(ours.fileno(), IN | ET, 1)
        theirs.send(b"x")
        self.assertEqual(list(self.epoll.wait(0)), [(IN, 1)])
        self.assertIsNone(self.epoll.wait(0))
        theirs.send(b"y")
        self.assertEqual(list(self.epoll.wait(0)), [(IN, 1)])

    def test_a_batch_is_bounded_and_nothing_is_lost(self) -> None:
        ours, _ = self.pair()
        copies = [os.dup(ours.fileno()) for _ in range(BATCH + 10)]
        for tag, fd in enumerate(copies):
            self.addCleanup(os.close, fd)
            self.epoll.add(fd, OUT | ET, tag)
        first = [tag for _, tag in self.epoll.wait(0)]
        second = [tag for _, tag in self.epoll.wait(0)]
        self.assertEqual(len(first), BATCH)
        self.assertEqual(sorted(first + second), list(range(BATCH + 10)))

    def test_control_calls_are_counted(self) -> None:
        ours, _ = self.pair()
        self.assertEqual(self.epoll.control_calls, 0)
        self.epoll.add(ours.fileno(), IN, 1)
        self.epoll.modify(ours.fileno(), OUT, 1)
        self.epoll.wait(0)
        self.epoll.remove(ours.fileno())
        self.assertEqual(self.epoll.control_calls, 3)

    def test_waits_and_events_are_counted(self) -> None:
        ours, theirs = self.pair()
        self.assertEqual((self.epoll.waits, self.epoll.events), (0, 0))
        self.epoll.add(ours.fileno(), IN | OUT, 1)
        self.epoll.add(theirs.fileno(), OUT | ET, 2)
        self.epoll.wait(0)
        self.assertEqual((self.epoll.waits, self.epoll.events), (1, 2))
        self.epoll.wait(0)
        self.assertEqual((self.epoll.waits, self.epoll.events), (2, 3))
        self.epoll.remove(ours.fileno())
        self.epoll.wait(0)
        self.assertEqual((self.epoll.waits, self.epoll.events), (3, 3))

    def test_errors_have_the_kernels_number(self) -> None:
        ours, _ = self.pair()
        fd = ours.fileno()
        self.assertEqual(self.assertRaises(OSError, self.epoll.remove, fd).errno, errno.ENOENT)
        self.assertEqual(self.assertRaises(OSError, self.epoll.modify, fd, IN, 1).errno, errno.ENOENT)
        self.epoll.add(fd, IN, 1)
        self.assertEqual(self.assertRaises(OSError, self.epoll.add, fd, IN, 1).errno, errno.EEXIST)
        self.assertEqual(self.assertRaises(OSError, self.epoll.add, -1, IN, 1).errno, errno.EBADF)
        with open(__file__) as regular:
            self.assertEqual(self.assertRaises(OSError, self.epoll.add, regular.fileno(), IN, 1).errno, errno.EPERM)

    def test_a_signal_is_quiet(self) -> None:
        """EINTR reads as: nothing happened."""
        seen: list[int] = []
        previous = signal.signal(signal.SIGALRM, lambda number, frame: seen.append(number))
        self.addCleanup(signal.signal, signal.SIGALRM, previous)
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)  # again, should the first come before the wait
        self.assertIsNone(self.epoll.wait(10_000))
        self.assertTrue(seen)

    def test_close(self) -> None:
        fds = len(os.listdir("/proc/self/fd"))
        epoll = Epoll()
        epoll.close()
        epoll.close()
        self.assertEqual(len(os.listdir("/proc/self/fd")), fds)
        self.assertEqual(self.assertRaises(OSError, epoll.wait, 0).errno, errno.EBADF)

    def test_not_inherited(self) -> None:
        before = set(_epoll_fds())
        epoll = Epoll()
        self.addCleanup(epoll.close)
        made = set(_epoll_fds()) - before
        self.assertEqual([os.get_inheritable(fd) for fd in made], [False])

    def test_elsewhere(self) -> None:
        self.patch(sys, "platform", "plan9")
        error = self.assertRaises(NotSupported, Epoll)
        self.assertIn("plan9", str(error))
        self.assertIsInstance(error, ImportError)


class AcceptTests(SynchronousTestCase):
    """C{accept4}."""

    def setUp(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.addCleanup(self.listener.close)

    def test_accepted(self) -> None:
        with socket.create_connection(self.listener.getsockname()) as client:
            number, peer = accept(self.listener.fileno())
            self.assertEqual((os.get_blocking(number), os.get_inheritable(number)), (False, False))
            with socket.socket(fileno=number) as accepted:
                self.assertEqual(accepted.getpeername(), client.getsockname())
            family, port = int.from_bytes(peer[:2], sys.byteorder), int.from_bytes(peer[2:4], "big")
            self.assertEqual((family, port, len(peer)), (socket.AF_INET, client.getsockname()[1], 16))

    def test_nobody_waits(self) -> None:
        self.assertRaises(BlockingIOError, accept, self.listener.fileno())

    def test_errors_have_the_kernels_number(self) -> None:
        self.assertEqual(self.assertRaises(OSError, accept, -1).errno, errno.EBADF)


def _epoll_fds() -> list[int]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        path = f"/proc/self/fd/{name}"
        if os.path.lexists(path) and "eventpoll" in os.readlink(path):
            found.append(int(name))
    return found
