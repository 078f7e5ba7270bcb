"""What an HTTP proxy under test talks to: connections in memory, sockets of the test's, an access log."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, ISSLTransport
from twisted.python.failure import Failure
from zope.interface import alsoProvides

from tests.net.fakes import MemoryTransport, Peer

if TYPE_CHECKING:
    from tests.proxies.http_case import MemoryCase, SocketCase


class Journal:
    """
    An access log.

    @ivar lines: written so far.
    @ivar seen: how many of them are in the file, for who looks.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.seen = 0

    def write(self, line: bytes) -> None:
        self.lines.append(line.decode().rstrip("\n"))

    def flush(self) -> None:
        self.seen = len(self.lines)


class Line(MemoryTransport):
    """
    A connection of the proxy's, and what the test does at the other end of it. What is said is delivered by C{case.settle}, while
    the transport is not paused.

    @ivar ended: whether the proxy has ended its sending cleanly.
    @ivar reset: whether it has broken the connection off.
    @ivar seen: at that time, how many lines of the access log were in the file.
    @ivar silent: whether the test's end does not answer the end of TLS, for which the transport waits; or takes nothing more.
    """

    silent = False

    def __init__(self, case: MemoryCase, protocol: Any, room: int = 1 << 30, tls: bool = False) -> None:
        MemoryTransport.__init__(self, room)
        if tls:
            alsoProvides(self, ISSLTransport)
        self.case = case
        self.protocol = protocol
        self.inbox = b""
        self.end: Callable[[], object] | None = None  # of what the test says
        self.over = self.ended = self.reset = False
        self.seen = -1
        case.lines.append(self)
        protocol.makeConnection(self)

    def getPeer(self) -> Any:
        return IPv4Address("TCP", "127.0.0.1", 4321)

    def getHost(self) -> Any:
        return IPv4Address("TCP", "127.0.0.1", 80)

    # the test's end

    def says(self, data: bytes) -> None:
        """Send C{data}."""
        self.inbox += data
        self.case.settle()

    def gets(self) -> bytes:
        """What has come."""
        self.case.settle()
        data = self.take()
        self.case.settle()
        while more := self.take():
            data += more
            self.case.settle()
        return data

    def stalls(self) -> None:
        """Read nothing any more."""
        self.room = 1

    def half_close(self) -> None:
        self.end = self._half_closed
        self.case.settle()

    def _half_closed(self) -> None:
        if IHalfCloseableProtocol.providedBy(self.protocol):
            self.protocol.readConnectionLost()
        else:
            self.lose(ConnectionDone())

    def close(self) -> None:
        """Go cleanly."""
        self.end = lambda: self.lose(ConnectionDone())
        self.case.settle()

    def break_off(self) -> None:
        """Send a reset."""
        self.inbox = b""
        self.lose(ConnectionLost())
        self.case.settle()

    # the proxy's end

    @property
    def producing(self) -> bool:
        return self.producerState == "producing" and not self.over

    def write(self, data: bytes) -> None:
        if not (self.disconnecting or self.over):
            MemoryTransport.write(self, data)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        MemoryTransport.registerProducer(self, producer, streaming)
        if self.over:
            producer.stopProducing()
        elif self.io.tell() >= self.room:
            producer.pauseProducing()

    def _note(self) -> None:
        if self.seen < 0:
            self.seen = self.case.journal.seen

    def loseWriteConnection(self) -> None:
        MemoryTransport.loseWriteConnection(self)
        self._note()
        self.ended = True

    def loseConnection(self) -> None:
        if not self.over:
            MemoryTransport.loseConnection(self)
            self._note()

    def abortConnection(self) -> None:
        if not self.over:
            MemoryTransport.abortConnection(self)
            self._note()
            self.clear()

    def lose(self, why: Exception) -> None:
        if not self.over:
            self.over = self.disconnected = True
            self.connected = False
            producer = self.producer
            if producer is not None:
                producer.stopProducing()
            self.protocol.connectionLost(Failure(why))

    def turn(self) -> bool:
        """What its reactor would do next; whether there was something."""
        if self.over:
            return False
        if "abort" in self.ends:
            self.reset = True
            self.lose(ConnectionAborted())
        elif self.disconnecting and self.producer is None and not self.silent:
            self.ended = True
            self.lose(ConnectionDone())
        elif self.inbox and self.producing:
            data, self.inbox = self.inbox[:65536], self.inbox[65536:]
            self.protocol.dataReceived(data)
        elif self.end is not None and self.producing:
            end, self.end = self.end, None
            end()
        else:
            return False
        return True


@attrs.define
class Attempt:
    """A connection that the proxy wants."""

    server: str
    factory: Any
    answer: Deferred[Any]
    cancelled: bool = False


class Endpoint:
    """Of one server."""

    def __init__(self, case: MemoryCase, name: str) -> None:
        self.case = case
        self.name = name

    def connect(self, factory: Any) -> Deferred[Any]:
        attempt = Attempt(self.name, factory, Deferred(lambda _: setattr(attempt, "cancelled", True)))
        self.case.attempts.append(attempt)
        return attempt.answer


class SocketSide:
    """A socket of the test's."""

    def __init__(self, case: SocketCase, sock: socket.socket) -> None:
        self.case = case
        self.peer = Peer(sock)
        self.unsaid = b""

    def says(self, data: bytes) -> None:
        self.unsaid += data
        while True:
            try:
                sent = self.peer.write(self.unsaid)
            except (ConnectionResetError, BrokenPipeError):
                self.peer.reset, self.unsaid = True, b""
                return
            self.unsaid = self.unsaid[sent:]
            self.case.settle()
            if not (sent and self.unsaid):
                return

    def gets(self) -> bytes:
        found = b""
        for _ in range(1000):
            self.case.settle()
            more = self.peer.read()
            if self.unsaid:
                self.says(b"")
            if not more and not select.select([self.case.engine.reactor.loop._epoll._fd], [], [], 0)[0]:
                break
            found += more
        return found

    def waits(self, count: int) -> bytes:
        """C{count} bytes, which may need some turns."""
        return self.case.engine.take(self.peer, count)

    @property
    def ended(self) -> bool:
        return self.peer.ended

    @property
    def reset(self) -> bool:
        return self.peer.reset

    def half_close(self) -> None:
        self.peer.half_close()
        self.case.settle()

    def close(self) -> None:
        self.peer.close()
        self.case.settle()

    def break_off(self) -> None:
        self.peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close()
