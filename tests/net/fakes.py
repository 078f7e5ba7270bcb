"""
What the tests of C{net} and C{proxies} stand on: a private reactor turned by hand, sockets without a network,
transports and producers in memory, and disks that fail on demand. Nothing here waits, and no time passes but that of a
C{Clock}.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHalfCloseableProtocol, ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from twisted_pipe.core.disk import SpillQuota
from twisted_pipe.limits import PipeLimits
from twisted_pipe.net.driver import EventPipe, PipeOutcome, slab_pool
from twisted_pipe.net.loop import LoopStatistics
from twisted_pipe.net.reactor import EpollETReactor
from twisted_pipe.net.relay import PATIENCE
from twisted_pipe.net.spillfile import SpillDirectory, SpillFile
from twisted_pipe.net.transport import EdgeServer

SMALL = PipeLimits(buffers=4, buffer_size=100, busy_size=200, temp_file_write_size=200, max_temp_file_size=10_000)


def os_error(code: int) -> OSError:
    return OSError(code, os.strerror(code))


def open_fds() -> set[str]:
    """The descriptors of this process."""
    return set(os.listdir("/proc/self/fd"))


class PairTransport(EdgeServer):
    """An edge-triggered TCP transport, as far as it can tell: its socket is one of a pair."""

    repstr = "<PairTransport>"

    def getHost(self) -> Any:
        return IPv4Address("TCP", "127.0.0.1", 80)

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass


class Peer:
    """The other end of a L{PairTransport}: a plain socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        sock.setblocking(False)
        self.ended = False  # the stream was ended
        self.reset = False  # or broken off

    def write(self, data: bytes) -> int:
        """Send as much of C{data} as the kernel takes."""
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < len(data):
                sent += self.socket.send(data[sent:])
        return sent

    def read(self, most: int = 1 << 30) -> bytes:
        """What has arrived; at most C{most} bytes."""
        found = bytearray()
        while len(found) < most and not (self.ended or self.reset):
            try:
                data = self.socket.recv(min(65536, most - len(found)))
            except BlockingIOError:
                break
            except ConnectionResetError:
                self.reset = True
                break
            if not data:
                self.ended = True
            found += data
        return bytes(found)

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.socket.close()


class Engine:
    """
    A private L{EpollETReactor}, never started: tests turn it by hand. Its time is a C{Clock}'s.

    @ivar clock: that C{Clock}; move it with L{advance}.
    """

    def __init__(self, case: SynchronousTestCase) -> None:
        self.clock = Clock()
        self.reactor = EpollETReactor()
        self.reactor.seconds = self.clock.seconds  # type: ignore[method-assign]
        self.reactor.loop.seconds = self.clock.seconds
        self.reactor.loop.now = self.clock.seconds()
        self._peers: list[socket.socket] = []
        case.addCleanup(self._close)

    def _close(self) -> None:
        reactor = self.reactor
        reactor.disconnectAll()
        # As ReactorBuilder.unbuildReactor; a reactor has no public way to be thrown away.
        for reader in list(reactor._internalReaders):
            reactor.removeReader(reader)
            reader.connectionLost(None)
        reactor._internalReaders.clear()
        for call in reactor.getDelayedCalls():
            call.cancel()
        reactor.loop.close()
        for sock in self._peers:
            sock.close()

    @property
    def statistics(self) -> LoopStatistics:
        return self.reactor.statistics()

    def turn(self, count: int = 1) -> None:
        """Timers that are due, and one look at the kernel."""
        for _ in range(count):
            self.reactor.iterate(0)

    def settle(self, most: int = 200) -> int:
        """
        Turn until nothing happens any more.

        @return: how many turns something happened in.
        @raise AssertionError: after C{most} turns it still does.
        """
        for count in range(most):
            before = self.statistics.events
            self.turn()
            after = self.statistics
            due = [call for call in self.reactor.getDelayedCalls() if call.getTime() <= self.clock.seconds()]
            if after.events == before and not after.queued and not due:
                return count
        raise AssertionError(f"not at rest after {most} turns: {self.statistics}")

    def advance(self, seconds: float, step: float = 0.01) -> None:
        """Let time pass in small steps, turning at each."""
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            self.turn()
        self.settle()

    def lose_patience(self) -> None:
        """Let so much time pass that no relay waits for a slow sink any more."""
        self.advance(2 * PATIENCE)

    def pair(self) -> tuple[socket.socket, Peer]:
        """A socket for us and one for the test."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._peers += [theirs, ours]
        return ours, Peer(theirs)

    def connect(self, protocol: Protocol | None = None, buffer: int = 0) -> tuple[Any, Peer]:
        """
        An edge-triggered connection.

        @param buffer: bytes of both kernel send buffers; 0 for the system's own.
        @return: the transport and what is at its other end.
        """
        ours, peer = self.pair()
        if buffer:
            for sock in (ours, peer.socket):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        return self.adopt(ours, protocol), peer

    def adopt(self, ours: socket.socket, protocol: Protocol | None = None) -> Any:
        """The transport of one socket of a pair; it is the transport that closes it."""
        self._peers.remove(ours)
        protocol = protocol if protocol is not None else Recorder()
        transport = PairTransport(ours, protocol, ("127.0.0.1", 4321), None, 0, self.reactor)  # type: ignore[arg-type]
        protocol.makeConnection(transport)
        return transport


class Recorder(Protocol):
    """
    Remembers what it was told.

    @ivar received: the pieces that arrived.
    @ivar lost: the reasons of C{connectionLost}; one at most, if all is well.
    @ivar on_data: called with each piece.
    """

    def __init__(self, on_data: Callable[[bytes], object] | None = None) -> None:
        self.received: list[bytes] = []
        self.lost: list[Failure] = []
        self.on_data = on_data

    @property
    def data(self) -> bytes:
        return b"".join(self.received)

    def dataReceived(self, data: bytes) -> None:
        self.received.append(data)
        if self.on_data is not None:
            self.on_data(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.lost.append(reason)


@implementer(IHalfCloseableProtocol)
class HalfCloseRecorder(Recorder):
    """@ivar halves: C{"read"} and C{"write"} as they were closed."""

    def __init__(self, on_data: Callable[[bytes], object] | None = None) -> None:
        Recorder.__init__(self, on_data)
        self.halves: list[str] = []

    def readConnectionLost(self) -> None:
        self.halves.append("read")

    def writeConnectionLost(self) -> None:
        self.halves.append("write")


class Reader:
    """A foreign selectable: reads once per event, and writes nothing."""

    def __init__(self, sock: Any, on_read: Callable[[], object] | None = None) -> None:
        self.socket = sock
        self.number = sock if isinstance(sock, int) else sock.fileno()
        self.on_read = on_read
        self.calls: list[str] = []
        self.data = b""
        self.lost: list[Failure] = []

    def fileno(self) -> int:
        return self.number

    def logPrefix(self) -> str:
        return "Reader"

    def doRead(self) -> Any:
        self.calls.append("read")
        try:
            data = os.read(self.number, 100)
        except BlockingIOError:
            data = b""
        self.data += data
        return self.on_read() if self.on_read is not None else None

    def doWrite(self) -> Any:
        self.calls.append("write")
        return None

    def connectionLost(self, reason: Failure) -> None:
        self.lost.append(reason)


@implementer(ITCPTransport)
class MemoryTransport(StringTransport):
    """
    A TCP transport in memory.

    @ivar room: once so many bytes are unread, the producer is paused; L{take} resumes it.
    @ivar ends: in order, what its sending side was told: C{"half"}, C{"lose"}, C{"abort"}.
    @ivar calls: in order, what its receiving side was told: C{"pause"}, C{"resume"}, C{"stop"}.
    """

    def __init__(self, room: int = 1 << 30) -> None:
        StringTransport.__init__(self, lenient=True)
        self.room = room
        self.ends: list[str] = []
        self.calls: list[str] = []

    def _checkState(self) -> None:
        pass

    def write(self, data: bytes) -> None:
        StringTransport.write(self, data)
        if self.io.tell() >= self.room and self.producer is not None:
            self.producer.pauseProducing()

    def take(self, count: int | None = None) -> bytes:
        """The peer reads C{count} bytes, or all."""
        data = self.value()
        count = len(data) if count is None else count
        self.clear()
        StringTransport.write(self, data[count:])
        if self.io.tell() < self.room and self.producer is not None:
            self.producer.resumeProducing()
        return data[:count]

    def loseWriteConnection(self) -> None:
        self.ends.append("half")

    def loseConnection(self) -> None:
        self.disconnecting = True
        self.ends.append("lose")

    def abortConnection(self) -> None:
        self.disconnected = self.disconnecting = True
        self.ends.append("abort")

    def pauseProducing(self) -> None:
        self.calls.append("pause")
        self.producerState = "paused"

    def resumeProducing(self) -> None:
        self.calls.append("resume")
        self.producerState = "producing"

    def stopProducing(self) -> None:
        self.calls.append("stop")
        self.producerState = "stopped"


class PullProducer:
    """A pull producer: one piece each time it is asked, then the end."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.pieces = list(pieces)
        self.consumer: Any = None
        self.asked = 0
        self.stopped = 0

    def start(self, consumer: Any) -> None:
        self.consumer = consumer
        consumer.registerProducer(self, False)

    def resumeProducing(self) -> None:
        self.asked += 1
        if self.pieces:
            self.consumer.write(self.pieces.pop(0))
        else:
            self.consumer.unregisterProducer()

    def stopProducing(self) -> None:
        self.stopped += 1


class PushProducer:
    """A push producer that writes as long as it may: pieces of C{size} bytes, C{count} of them, then the end."""

    def __init__(self, count: int, size: int) -> None:
        self.left = count
        self.size = size
        self.consumer: Any = None
        self.producing = False
        self.paused = 0
        self.stopped = 0

    def start(self, consumer: Any) -> None:
        self.consumer = consumer
        consumer.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        self.producing = True
        while self.producing and self.left:
            self.left -= 1
            self.consumer.write(bytes(self.size))
        if self.producing and not self.left:
            self.producing = False
            self.consumer.unregisterProducer()

    def pauseProducing(self) -> None:
        self.producing = False
        self.paused += 1

    def stopProducing(self) -> None:
        self.producing = False
        self.stopped += 1


class FaultyFile:
    """
    A spill file in memory, and a strict one: it is written at its end only, nothing is read twice, no call crosses from one
    piece into the next, and there is none after C{close}.

    @ivar data: all that was written.
    @ivar forgotten: the highest offset that C{forget} was told.
    @ivar pieces: the numbers of the pieces that are open.
    @ivar most: the most bytes that were not forgotten.
    @ivar closed: how often it was closed.
    """

    def __init__(self, spill: FaultySpill, piece: int) -> None:
        self.spill = spill
        self.piece = piece
        self.data = bytearray()
        self.forgotten = 0
        self.pieces: set[int] = set()
        self.most = 0
        self.closed = 0

    def write(self, offset: int, parts: Any) -> int:
        data = b"".join(parts)
        self._check(offset, len(data))
        if offset != len(self.data):
            raise AssertionError(f"{len(data)} bytes are written at {offset} of a file of {len(self.data)}")
        number = offset // self.piece
        if number not in self.pieces:
            self.spill.opened += 1
            if self.spill.on_open is not None:
                self.spill.on_open()
            self.pieces.add(number)
        self.spill.writes.append((offset, len(data)))
        if self.spill.on_write:
            data = self.spill.on_write(data)
        self.data += data
        self.most = max(self.most, len(self.data) - self.forgotten)
        return len(data)

    def read(self, offset: int, count: int) -> bytes:
        self._check(offset, count)
        if offset < self.forgotten or offset // self.piece not in self.pieces:
            raise AssertionError(f"{count} bytes are read at {offset}: that is forgotten")
        self.spill.reads.append((offset, count))
        data = bytes(self.data[offset : offset + count])
        if self.spill.on_read:
            data = self.spill.on_read(data)
        if not data:
            raise EOFError("the file was truncated")
        return data

    def forget(self, offset: int) -> None:
        self._check(offset, 0)
        if offset < self.forgotten:
            raise AssertionError(f"{offset} is forgotten after {self.forgotten}")
        self.forgotten = offset
        self.pieces = {number for number in self.pieces if number >= offset // self.piece}

    def close(self) -> None:
        self.closed += 1
        self.pieces.clear()

    def _check(self, offset: int, count: int) -> None:
        if self.closed:
            raise AssertionError("it is closed")
        if count and offset // self.piece != (offset + count - 1) // self.piece:
            raise AssertionError(f"{count} bytes at {offset} cross two pieces of {self.piece}")


class FaultySpill:
    """
    A C{SpillDirectory} that does as it is told.

    @ivar files: one for each time that a pipe began to spill.
    @ivar opened: how many pieces were opened, or should have been.
    @ivar on_open: called when a piece is opened; may raise.
    @ivar on_write: gets the bytes of a write, returns those that are written; may raise.
    @ivar on_read: gets the bytes of a read, returns those that are read; may raise.
    """

    path = "/faulty"
    threads = None

    def __init__(self) -> None:
        self.quota = SpillQuota()
        self.failures = 0
        self.files: list[FaultyFile] = []
        self.on_open: Callable[[], object] | None = None
        self.on_write: Callable[[bytes], bytes] | None = None
        self.on_read: Callable[[bytes], bytes] | None = None
        self.writes: list[tuple[int, int]] = []
        self.reads: list[tuple[int, int]] = []
        self.opened = 0

    def open(self, piece: int) -> Any:
        file = FaultyFile(self, piece)
        self.files.append(file)
        return file


def raising(code: int) -> Callable[..., Any]:
    """A fault: whatever it is called with, C{OSError}."""

    def fail(*_: object) -> Any:
        raise os_error(code)

    return fail


class WatchedSpill(SpillDirectory):
    """A real spill directory that remembers its files."""

    def __init__(self, path: str) -> None:
        SpillDirectory.__init__(self, path)
        self.files: list[SpillFile] = []

    def open(self, piece: int) -> SpillFile:
        file = SpillDirectory.open(self, piece)
        self.files.append(file)
        return file

    @property
    def fds(self) -> list[int]:
        """The descriptors of its files that are open, nameless as they are, oldest first."""
        return fds_in(self.path)

    @property
    def on_disk(self) -> int:
        """Bytes of disk that these files take."""
        return sum(os.fstat(fd).st_blocks * 512 for fd in self.fds)


def fds_in(path: str) -> list[int]:
    """The descriptors of this process that are files in the directory C{path}, whether these have a name or not."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(f"/proc/self/fd/{name}").startswith(os.path.realpath(path) + os.sep):
                found.append(int(name))
    return sorted(found)


def faulty_close(case: SynchronousTestCase, path: str) -> list[int]:
    """
    From now on close(2) of a file in C{path} closes it, and then says EIO, as it may on NFS or FUSE.

    @return: the descriptors that it said so of.
    """
    really_close = os.close
    failed: list[int] = []

    def close(fd: int) -> None:
        faulty = fd in fds_in(path)
        really_close(fd)
        if faulty:
            failed.append(fd)
            raise os_error(errno.EIO)

    case.patch(os, "close", close)
    return failed


class PipeCase(SynchronousTestCase):
    """
    Tests of pipes. Afterwards each pipe must have given back its slabs, its timers and its files.

    @ivar clock: the pipes' clock.
    @ivar spill: where they spill.
    """

    limits = SMALL

    def setUp(self) -> None:
        self.clock: Any = Clock()
        self.spill: Any = FaultySpill()
        self.pipes: list[EventPipe] = []
        self.outcomes: dict[EventPipe, PipeOutcome] = {}
        self._before: dict[int, int] = {}
        self.addCleanup(self._check_leaks)

    def pipe(self, upstream: Any, downstream: Any, filters: Any = (), limits: Any = None, **more: Any) -> EventPipe:
        limits = limits or self.limits
        self._before.setdefault(limits.buffer_size, slab_pool(limits.buffer_size).statistics().in_use)
        pipe = EventPipe(upstream, downstream, filters, limits, **{"clock": self.clock, "spill": self.spill, **more})
        self.pipes.append(pipe)
        pipe.done.addCallback(lambda outcome: self.outcomes.__setitem__(pipe, outcome))
        return pipe

    def outcome(self, pipe: EventPipe) -> PipeOutcome:
        """How C{pipe} ended; it must have."""
        self.assertIn(pipe, self.outcomes, f"{pipe!r} has not ended")
        return self.outcomes[pipe]

    def assert_running(self, pipe: EventPipe) -> None:
        self.assertNotIn(pipe, self.outcomes)

    def in_use(self, size: int = SMALL.buffer_size) -> int:
        """Slabs that this test's pipes hold."""
        return slab_pool(size).statistics().in_use - self._before.get(size, 0)

    def _check_leaks(self) -> None:
        for pipe in self.pipes:
            pipe.done.cancel()
            self.assertIn(pipe, self.outcomes, f"{pipe!r} did not end when it was cancelled")
        for size, before in self._before.items():
            self.assertEqual(slab_pool(size).statistics().in_use, before, "slabs leaked")
        if isinstance(self.spill, WatchedSpill):
            self.assertEqual(self.spill.fds, [], "a spill file was not closed")
        else:
            for file in self.spill.files:
                self.assertEqual(file.closed, 1, "a spill file was not closed once")
        if isinstance(self.clock, Clock):
            # transports in memory do not go when they are told to, and are waited for
            calls = [each for each in self.clock.getDelayedCalls() if each.func.__qualname__ != "_Departure._look"]
            self.assertEqual(calls, [], "timers were left behind")


def errors_of(outcome: PipeOutcome) -> tuple[str, str]:
    """Whose fault it was, and why."""
    return str(outcome.side), str(outcome.error)


ENOSPC, EIO, EROFS = errno.ENOSPC, errno.EIO, errno.EROFS
