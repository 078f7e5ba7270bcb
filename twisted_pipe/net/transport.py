"""
Stream transports that keep the edge-triggered contract, for any Twisted protocol: TCP, TLS over it, and UNIX.

They are Twisted's own transports with their I/O replaced. Starting and stopping flip flags of the L{EdgeSocket} (no system
call). What is written goes out at once, if nothing waits before it and the socket takes it:

  - outside its own handlers (from a timer, from another connection's handler), by the first C{write} of a turn itself. More
    C{write}s of the same turn are joined and go out at its end;
  - from within C{dataReceived} and its like, when that returns: a protocol that writes a head and then a body sends one packet,
    and C{write} never comes back into a handler.

Two packets in a row, the second small, are what Nagle's algorithm and delayed acknowledgements make slow (40 ms). So a socket
on which that may happen gets TCP_NODELAY, unless the program has set it either way.

What the socket does not take stands in a queue of the very objects that were written; a remainder is a view. Half-close,
C{startTLS}, producers, C{abortConnection} and the rest behave as Twisted's own.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterable
from errno import ENOBUFS
from itertools import islice
from typing import Any

from twisted.internet import _newtls, main, tcp, unix
from twisted.internet.abstract import FileDescriptor
from twisted.python.failure import Failure

from twisted_pipe.interfaces import IBufferedProtocol
from twisted_pipe.net.edge import MOST_CALLS, READ_BUDGET, WRITE_BUDGET, EdgeSocket

__all__ = [
    "EdgeClient",
    "EdgeConnector",
    "EdgeServer",
    "EdgeTransport",
    "EdgeUnixClient",
    "EdgeUnixConnector",
    "EdgeUnixServer",
]

_IOV_MAX = 1024  # more parts no system call takes
_ANCILLARY = socket.CMSG_SPACE(4 * 253)  # SCM_MAX_FD: more descriptors no message carries


def _room_of(protocol: Any) -> memoryview:
    """
    Where an C{IBufferedProtocol} has its bytes received.

    @raise ValueError: nowhere.
    """
    buffer = memoryview(protocol.get_buffer(-1)).cast("B")
    if not len(buffer):
        raise ValueError(f"{protocol!r}: get_buffer() must give at least one byte of room")
    return buffer


class EdgeTransport(tcp.Connection):
    """
    What the server and client transports share.

    @ivar edge: the socket's readiness and registration, made when the transport first wants to read or write (a client's
        socket must not be registered before it connects); None before.
    """

    edge: EdgeSocket | None = None
    reactor: Any  # an EpollETReactor
    _sent_in = -1.0  # the turn in which a write was sent at once
    _no_delay: bool | None = None  # what the program asked for, or what we had to
    _buffered: Any = None  # the protocol, if it is read into its own buffers
    _known: Any = None  # the protocol that this was found out of
    _tempDataBuffer: deque[Any]  # type: ignore[assignment]  # what waits to be sent; popped from its left

    @property
    def backlog(self) -> bool:
        """Whether bytes wait that were written to the transport itself."""
        return self._tempDataLen > 0

    def edge_socket(self) -> EdgeSocket:
        """The socket's readiness and I/O; registers it if that was not done yet."""
        edge = self.edge
        if edge is None or not edge.open:
            edge = self.edge = EdgeSocket(self, self.socket)
            self._tempDataBuffer = deque(self._tempDataBuffer)
            self.reactor.add_edge(edge, self.fileno())
        return edge

    def startReading(self) -> None:
        edge = self.edge_socket()
        edge.reading = True
        if edge.readable and not edge.running:
            self.reactor.loop.post(edge)

    def stopReading(self) -> None:
        if self.edge is not None:
            self.edge.reading = False

    def startWriting(self) -> None:
        edge = self.edge_socket()
        edge.writing = True
        if edge.writable and not edge.running:
            self.reactor.loop.post_write(edge)

    def stopWriting(self) -> None:
        if self.edge is not None:
            self.edge.writing = False

    # reading

    def doRead(self) -> Exception | None:  # type: ignore[override]  # connecting replaces it
        """Receive while there is something, it is wanted, and the budget lasts. Returns why the connection is over, if it is."""
        edge = self.edge_socket()
        size = self.bufferSize
        budget, calls = READ_BUDGET, MOST_CALLS
        while True:
            protocol = self.protocol
            if protocol is not self._known:
                self._learn()
            if self._buffered is not None:
                got = self._receive_into(self._buffered, edge)
                if type(got) is not int:
                    return got  # type: ignore[return-value]
            else:
                try:
                    data = self.socket.recv(size)
                except BlockingIOError:
                    edge.readable = False
                    return None
                except OSError:
                    edge.readable = False
                    return main.CONNECTION_LOST
                got = len(data)
                if got < size:
                    edge.did_read(size, got)
                    if not data:
                        return self._end_of_stream()
                protocol.dataReceived(data)
            budget -= got
            calls -= 1
            if not (edge.readable and edge.reading and budget > 0 and calls):
                return None

    def _learn(self) -> Any:
        """The protocol, which may have been swapped, and whether it is read into its own buffers."""
        protocol = self.protocol
        if protocol is not self._known:
            self._known = protocol
            self._buffered = protocol if IBufferedProtocol.providedBy(protocol) else None
        return protocol

    def _end_of_stream(self) -> Exception:
        """A reset that a C{write} was told of looks like a clean end to whoever reads after it."""
        return main.CONNECTION_LOST if self.edge_socket().failed is not None else main.CONNECTION_DONE

    def _receive_into(self, protocol: Any, edge: EdgeSocket) -> int | Exception | None:
        """One receive into the protocol's own buffer. How many bytes, or why not, None for not now."""
        buffer = _room_of(protocol)
        try:
            got = edge.recv_into(buffer)
        except OSError:
            return main.CONNECTION_LOST
        finally:
            buffer.release()
        if got < 0:
            return None
        if not got:
            return self._end_of_stream()
        protocol.buffer_updated(got)
        return got

    # writing

    def write(self, data: bytes) -> None:
        """See the top of the file. C{data} may be kept until it is sent."""
        if self.TLS:
            if self.connected:
                self.protocol.write(data)  # type: ignore[attr-defined]
        else:
            self.write_below(data)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """As C{write} of them joined, without joining them."""
        if self.TLS:
            if self.connected:
                self.protocol.writeSequence(iovec)  # type: ignore[attr-defined]
        else:
            self.write_sequence_below(iovec)

    def write_below(self, data: bytes) -> None:
        """C{write}, below TLS if there is any."""
        if not isinstance(data, bytes):
            raise TypeError("Data must be bytes")
        if not data or not self.connected or self._writeDisconnected:
            return
        left: Any = data
        if self._may_send_at_once():
            left = self._send_at_once(data)
            if left is None:
                return
        self._tempDataBuffer.append(left)
        self._tempDataLen += len(left)
        self._waits()

    def write_sequence_below(self, parts: Iterable[bytes]) -> None:
        """C{writeSequence}, below TLS if there is any."""
        parts = list(parts)
        for part in parts:
            if not isinstance(part, bytes):
                raise TypeError("Data must be bytes")
        if not parts or not self.connected or self._writeDisconnected:
            return
        at_once = self._may_send_at_once()
        self._tempDataBuffer.extend(parts)
        self._tempDataLen += sum(map(len, parts))
        if at_once and self._tempDataLen:
            sent = self._send_queued()
            if type(sent) is not int:
                self.edge_socket().writable = True  # so that doWrite tells it
            elif not self._tempDataLen:
                return
        self._waits()

    def _may_send_at_once(self) -> bool:
        edge = self.edge
        if edge is None or edge.running or not edge.writable or self._tempDataLen:
            return False
        if self.producer is not None and not self.streamingProducer:
            return False  # it is asked for more when its bytes have been sent, which must not be from within its write
        now = self.reactor.loop.now
        if self._sent_in == now:
            if self._no_delay is None:
                self.setTcpNoDelay(True)
            return False
        self._sent_in = now
        return True

    def _send_at_once(self, data: bytes) -> Any:
        """What is left of C{data}, None if nothing. C{doWrite} tells of errors, when nobody is in a handler."""
        edge: Any = self.edge
        try:
            sent = self.socket.send(data if len(data) <= WRITE_BUDGET else memoryview(data)[:WRITE_BUDGET])
        except BlockingIOError:
            edge.writable = False
            return data
        except OSError as error:
            if error.errno == ENOBUFS:
                edge.try_later()
            else:
                edge.send_failed(error)
            return data
        if sent == len(data):
            return None
        edge.did_write(min(len(data), WRITE_BUDGET), sent)
        return memoryview(data)[sent:]

    def _waits(self) -> None:
        """Something stands in the queue."""
        if self.producer is not None:
            self._maybePauseProducer()
        edge = self.edge
        if edge is not None and edge.running and edge.open:
            edge.writing = True
        else:
            self.startWriting()

    def doWrite(self) -> Any:
        """Send what waits, ask the producer for more, close what was to be closed then. Returns why it is over, if it is."""
        edge = self.edge_socket()
        budget, calls = WRITE_BUDGET, MOST_CALLS
        while True:
            if self._tempDataLen:
                sent = self._send_queued()
                if type(sent) is not int:
                    return sent
                budget -= sent
                if self._tempDataLen:
                    if not edge.writable or budget <= 0:
                        return None
                    continue
            edge.writing = False
            producer: Any = self.producer
            if producer is not None and (not self.streamingProducer or self.producerPaused):
                self.producerPaused = False
                producer.resumeProducing()
                calls -= 1
                if edge.writing and edge.writable and calls and budget > 0:
                    continue
                return None
            if self.disconnecting:
                return self._postLoseConnection()
            if self._writeDisconnecting:
                # set before the handler is called, which may call loseConnection
                self._writeDisconnected = True
                return self._closeWriteConnection()
            return None

    def _send_queued(self) -> Any:
        """Send the oldest of the queue. How many bytes were taken, or why the connection is lost."""
        edge: Any = self.edge
        queue = self._tempDataBuffer
        if len(queue) == 1:
            parts: Any = queue
            asked = self._tempDataLen
        else:
            parts = list(islice(queue, _IOV_MAX))
            asked = self._tempDataLen if len(parts) == len(queue) else sum(map(len, parts))
        try:
            sent: int = self.socket.send(parts[0]) if len(parts) == 1 else self.socket.sendmsg(parts)
        except BlockingIOError:
            edge.writable = False
            return 0
        except OSError as error:
            edge.writable = False
            if error.errno == ENOBUFS:
                edge.try_later()
                return 0
            edge.send_failed(error)
            return main.CONNECTION_LOST
        if sent == self._tempDataLen:
            queue.clear()
            self._tempDataLen = 0
            return sent
        edge.did_write(asked, sent)
        self._sent(sent)
        return sent

    def _sent(self, count: int) -> None:
        """The first C{count} bytes of the queue are gone."""
        queue = self._tempDataBuffer
        self._tempDataLen -= count
        while count:
            first = queue[0]
            if count < len(first):
                queue[0] = memoryview(first)[count:]
                return
            count -= len(first)
            queue.popleft()
        while queue and not queue[0]:
            queue.popleft()

    def setTcpNoDelay(self, enabled: bool) -> None:
        self._no_delay = bool(enabled)
        super().setTcpNoDelay(enabled)

    def startTLS(self, ctx: Any, normal: bool = True) -> None:
        """TLS from here on, for both directions."""
        _newtls.startTLS(self, ctx, normal, _BelowTLS)

    # the end

    def _closeSocket(self, orderly: bool) -> None:
        if self.edge is not None:
            self.reactor.loop.forget(self.edge)
        tcp.Connection._closeSocket(self, orderly)

    def connectionLost(self, reason: Failure) -> None:
        edge = self.edge
        owners = () if edge is None else (edge.reader, edge.writer)
        try:
            super().connectionLost(reason)
        finally:
            if edge is not None:
                edge.reader = edge.writer = edge.relay = None
            self._known = self._buffered = None
            for owner in owners:
                if owner is not None:
                    owner.socket_lost(reason)


class _BelowTLS(FileDescriptor):
    """What TLS calls to send its own bytes; its first argument is the transport."""

    write: Any = EdgeTransport.write_below
    writeSequence: Any = EdgeTransport.write_sequence_below


class EdgeServer(EdgeTransport, tcp.Server):
    """
    An accepted connection. It is writable from birth.

    @cvar accepted: it is a client's, which may be closed while idle to make room.
    """

    accepted = True

    def edge_socket(self) -> EdgeSocket:
        edge = self.edge
        if edge is None or not edge.open:
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


class _PassingDescriptors(unix._SendmsgMixin, EdgeTransport):
    """
    What UNIX transports do besides: pass descriptors (C{IUNIXTransport}).

    A C{recvmsg} ends where descriptors were sent along, so a short one does not say that the socket is drained: reading goes on
    until there is nothing.
    """

    def doRead(self) -> Any:
        edge: Any = self.edge_socket()
        budget, calls = READ_BUDGET, MOST_CALLS
        while edge.readable and edge.reading and budget > 0 and calls:
            calls -= 1
            protocol: Any = self._learn()
            buffer = None if self._buffered is None else _room_of(protocol)
            try:
                if buffer is None:
                    data, ancillary, _, _ = self.socket.recvmsg(self.bufferSize, _ANCILLARY, socket.MSG_CMSG_CLOEXEC)
                    got = len(data)
                else:
                    got, ancillary, _, _ = self.socket.recvmsg_into([buffer], _ANCILLARY, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                edge.readable = False
                return None
            except OSError:
                edge.readable = False
                return main.CONNECTION_LOST
            finally:
                if buffer is not None:
                    buffer.release()
            for level, kind, content in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    self._ancillaryLevelSOLSOCKETTypeSCMRIGHTS(content)
            if not self.connected:
                return None  # by what was done about the descriptors
            if not got:
                edge.readable = False
                return self._end_of_stream()
            budget -= got
            if buffer is None:
                self.protocol.dataReceived(data)
            else:
                protocol.buffer_updated(got)
        return None

    def _may_send_at_once(self) -> bool:
        return not self._sendmsgQueue and EdgeTransport._may_send_at_once(self)

    def _send_queued(self) -> Any:
        if not self._sendmsgQueue:
            return EdgeTransport._send_queued(self)
        edge: Any = self.edge
        data = b"".join(islice(self._tempDataBuffer, max(_IOV_MAX, len(self._sendmsgQueue))))
        # Twisted's: a byte with each descriptor, then as much as goes; an error if there are fewer bytes than descriptors
        sent: Any = unix._SendmsgMixin.writeSomeData(self, data)
        if type(sent) is not int:
            return sent
        if sent < min(len(data), self.SEND_LIMIT):
            edge.writable = False
        self._sent(sent)
        return sent

    def doWrite(self) -> Any:
        if self._sendmsgQueue and not self._tempDataLen:
            return self._send_queued()
        return EdgeTransport.doWrite(self)


class EdgeUnixServer(_PassingDescriptors, EdgeServer, unix.Server):
    """An accepted UNIX connection."""

    _writeSomeDataBase: Any = tcp.Connection


class EdgeUnixClient(_PassingDescriptors, unix.Client):
    """An outgoing UNIX connection."""

    _writeSomeDataBase: Any = tcp.Connection


class EdgeUnixConnector(unix.Connector):
    """A connector whose transports are L{EdgeUnixClient}s."""

    def _makeTransport(self) -> Any:
        return EdgeUnixClient(self.address, self, self.reactor, self.checkPID)
