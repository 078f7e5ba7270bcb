"""
TCP transports that keep the edge-triggered contract, for any Twisted protocol.

They are Twisted's own transports with four things replaced: starting and stopping flip flags of the L{EdgeSocket} (no
system call), C{doRead} and C{writeSomeData} tell it what they learnt, and closing gives its slot back. Half-close,
C{startTLS}, producers, C{abortConnection} and the rest are inherited untouched.
"""

from __future__ import annotations

from errno import ENOBUFS
from typing import Any

from twisted.internet import main, tcp
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from twisted_pipe.net.edge import EdgeSocket

__all__ = ["EdgeClient", "EdgeConnector", "EdgePort", "EdgeServer", "EdgeTransport"]


class EdgeTransport(tcp.Connection):
    """
    What the server and client transports share.

    @ivar edge: the socket's readiness and registration, made when the transport first wants to read or write (a client's
        socket must not be registered before it connects); None before.
    """

    edge: EdgeSocket | None = None
    reactor: Any  # an EpollETReactor

    def edge_socket(self) -> EdgeSocket:
        """The socket's readiness and I/O; registers it if that was not done yet."""
        edge = self.edge
        if edge is None or not edge.open:
            edge = self.edge = EdgeSocket(self)
            self.reactor.add_edge(edge, self.fileno())
        return edge

    def startReading(self) -> None:
        edge = self.edge_socket()
        edge.reading = True
        if edge.readable and not edge.running:
            self.reactor.post(edge)

    def stopReading(self) -> None:
        if self.edge is not None:
            self.edge.reading = False

    def startWriting(self) -> None:
        edge = self.edge_socket()
        edge.writing = True
        if edge.writable and not edge.running:
            self.reactor.post_write(edge)

    def stopWriting(self) -> None:
        if self.edge is not None:
            self.edge.writing = False

    def doRead(self) -> ConnectionLost | ConnectionDone | None:  # type: ignore[override]  # connecting replaces it
        """One recv; the reactor calls again while the socket is readable and wanted."""
        edge = self.edge_socket()
        size = self.bufferSize
        try:
            data = self.socket.recv(size)
        except BlockingIOError:
            edge.readable = False
            return None
        except OSError:
            edge.readable = False
            return main.CONNECTION_LOST
        got = len(data)
        edge.did_read(size, got)
        edge.budget -= got
        return self._dataReceived(data)

    def writeSomeData(self, data: bytes) -> int | ConnectionLost:
        """One send of at most C{SEND_LIMIT} bytes. Returns how many were taken, or why the connection is lost."""
        if not data:
            return 0
        edge = self.edge_socket()
        limited = memoryview(data)[: self.SEND_LIMIT]
        try:
            sent = self.socket.send(limited)
        except BlockingIOError:
            edge.writable = False
            return 0
        except OSError as error:
            edge.writable = False
            if error.errno == ENOBUFS:
                edge.try_later()
                return 0
            return main.CONNECTION_LOST
        edge.did_write(len(limited), sent)
        edge.budget -= sent
        return sent

    def _closeSocket(self, orderly: bool) -> None:
        if self.edge is not None:
            self.reactor.remove_edge(self.edge)
        tcp.Connection._closeSocket(self, orderly)

    def connectionLost(self, reason: Failure) -> None:
        edge = self.edge
        owners = () if edge is None else (edge.reader, edge.writer)
        try:
            super().connectionLost(reason)
        finally:
            if edge is not None:
                edge.reader = edge.writer = None
            for owner in owners:
                if owner is not None:
                    owner.socket_lost(reason)


class EdgeServer(EdgeTransport, tcp.Server):
    """An accepted connection. It is writable from birth."""

    def edge_socket(self) -> EdgeSocket:
        edge = EdgeTransport.edge_socket(self)
        if not self.connected:  # tcp.Server starts reading in its constructor, before it counts as connected
            edge.writable = True
        return edge


class EdgeClient(EdgeTransport, tcp.Client):
    """An outgoing connection. It becomes writable when it is connected."""


class EdgeConnector(tcp.Connector):
    """A connector whose transports are L{EdgeClient}s."""

    def _makeTransport(self) -> EdgeClient:
        return EdgeClient(self.host, self.port, self.bindAddress, self, self.reactor)


class EdgePort(tcp.Port):
    """A listening socket: itself level-triggered (its accept loop is capped), its connections edge-triggered."""

    transport: Any = EdgeServer
    reactor: Any  # an EpollETReactor

    def doRead(self) -> None:
        before = self.sessionno
        tcp.Port.doRead(self)
        self.reactor.accepted += self.sessionno - before
