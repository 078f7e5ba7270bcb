"""
A stream socket under edge-triggered notification: its readiness, its one registration, its I/O.

The whole contract is on this page. The loop L{EdgeSocket.note}s what the kernel said and L{EdgeSocket.run}s the socket: the
read half while it is readable and wanted, then, if the handler did not close it, the write half. Each half stops at its
budget and is posted again, so nobody starves. Only I/O may clear readiness.

Who handles a half is either the Twisted transport (C{doRead}, C{doWrite}) or an owner that took it over: an event pipe,
which reads into its own buffers and sends from them, or a relay, which passes bytes on to another socket.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from errno import EBADF, EINVAL, EIO, ENOBUFS, ENOSYS, EPIPE, ESTALE, EUCLEAN
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from twisted_pipe.core.readiness import Readiness
from twisted_pipe.core.slots import NO_TAG
from twisted_pipe.errors import DiskFailed
from twisted_pipe.interfaces import BytesLike

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from twisted_pipe.net.loop import EventLoop


__all__ = ["MOST_CALLS", "READ_BUDGET", "WOULD_BLOCK", "WRITE_BUDGET", "EdgeSocket", "SocketOwner", "edge_of"]

READ_BUDGET = 256 * 1024  #: bytes one socket may read in a turn before the others have theirs
WRITE_BUDGET = 512 * 1024  #: the same for writing
MOST_CALLS = 16  #: reads, or calls of a pull producer, in a turn: single bytes would take the budget one by one
WOULD_BLOCK = -1
_NO_MEMORY_REST = 0.05  # seconds
_FILE_ERRORS = (EIO, EBADF, ESTALE, EUCLEAN)  # of sendfile's two descriptors, these are the file's
_NO_SENDFILE = (EINVAL, ENOSYS)  # this file system, or this kernel, has none (sendfile(2))
_COPIED = 64 * 1024  # bytes of a file that are read at once, where it is


class SocketOwner(Protocol):
    """Who took over a half of a socket. Called in the reactor thread, from the reactor's turn."""

    def socket_ready(self) -> None:
        """The half may make progress. May be called when it cannot: the socket's flags tell."""

    def socket_lost(self, reason: Failure) -> None:
        """The transport was closed by somebody else; the socket is gone."""


class EdgeSocket(Readiness):
    """
    @ivar transport: whom it belongs to, a Twisted transport.
    @ivar socket: non-blocking.
    @ivar reading: whether the transport wants C{doRead} (C{startReading} and C{stopReading} flip it, nothing else happens).
    @ivar writing: the same for C{doWrite}; or the owner of the write half has something to send.
    @ivar running: whether its handlers are being run: what they want to send goes out when they return.
    @ivar reader: the owner of the read half, None for the transport itself.
    @ivar writer: the same for the write half.
    @ivar feeder: the relay that sends to it, None for nobody.
    @ivar failed: the error that sending met and the kernel will not tell again: the end that reading finds is no clean one.
    @ivar active: when it last had something to do, in the loop's seconds; for C{worker_connections}.
    @cvar plain: whether its bytes are the descriptor's, for splice and sendfile; those of TLS are not.
    """

    plain: ClassVar[bool] = True

    __slots__ = (
        "active",
        "failed",
        "feeder",
        "reader",
        "reading",
        "running",
        "socket",
        "transport",
        "writer",
        "writing",
    )

    def __init__(self, transport: Any, sock: socket.SocketType) -> None:
        Readiness.__init__(self)
        self.transport = transport
        self.socket = sock
        self.reading = False
        self.writing = False
        self.running = False
        self.reader: SocketOwner | None = None
        self.writer: SocketOwner | None = None
        self.failed: OSError | None = None
        self.feeder: Any = None
        self.active = 0.0

    def __repr__(self) -> str:
        names = ("readable", "writable", "pending_eof", "reading", "writing", "posted")
        facts = " ".join(name for name in names if getattr(self, name)) or "idle"
        return f"<{type(self).__name__} fd={self.fd} tag={self.tag:#x} {facts}>"

    @property
    def open(self) -> bool:
        """Whether it is registered."""
        return self.tag != NO_TAG

    @property
    def fd(self) -> int:
        """The descriptor's number, -1 when it is closed."""
        return self.socket.fileno()

    @property
    def unsent(self) -> int:
        """Bytes that it has taken and the kernel does not have."""
        return 0

    @property
    def log_prefix(self) -> str:
        """The "system" of what its handlers log."""
        prefix: str = self.transport.logstr
        return prefix

    # one turn

    def run(self, loop: EventLoop) -> None:
        """
        Run both halves as far as readiness, interest and budget allow. Errors disconnect the transport.

        @raise BaseException: whatever a handler raises.
        """
        events = self.events
        if events:
            self.events = 0
            self.note(events)
        self.active = loop.now
        transport = self.transport
        tag = self.tag
        self.running = True
        try:
            if not transport.connected:
                self._run_connecting(loop)
                if self.tag != tag:
                    return
            if self.readable:
                # A half that ended may have closed the connection; then the other half's event is stale.
                if self.reader is not None:
                    self.reader.socket_ready()
                elif self.reading:
                    # doRead is looked up each time: abortConnection replaces it by one that reads nothing
                    why = transport.doRead()
                    if why and self.tag == tag:
                        loop.disconnect(transport, why, True)
            if self.writable and self.writing:
                if self.tag != tag:
                    loop.stale_events += 1
                else:
                    # what was written to the transport before somebody took its write half over goes first
                    if self.writer is None or transport.disconnecting or transport.backlog:
                        why = transport.doWrite()
                        if why and self.tag == tag:
                            loop.disconnect(transport, why, False)
                    if self.writer is not None and self.writable and not (transport.disconnecting or transport.backlog):
                        self.writer.socket_ready()
        finally:
            self.running = False
        # an owner that stopped at its budget comes back by itself
        if (
            (self.readable and self.reading and self.reader is None)
            or (
                self.writable and self.writing and (self.writer is None or transport.disconnecting or transport.backlog)
            )
        ) and self.tag == tag:
            loop.post(self)

    def _run_connecting(self, loop: EventLoop) -> None:
        """Before the connection stands, doRead and doWrite are C{doConnect}: each event is good for one try."""
        readable, self.readable, self.writable = self.readable, False, False
        transport = self.transport
        if not (self.reading or self.writing):
            return
        # Either of the two, like stock Twisted, and not both: the first ends the attempt one way or the other.
        why: BaseException | None = transport.doRead() if self.reading else transport.doWrite()
        if transport.connected:
            self.writable = True
            self.readable = readable
        if why and self.open:
            loop.disconnect(transport, why, False)

    # I/O for owners of a half; the transport has its own, by the same rules

    def recv_into(self, view: memoryview) -> int:
        """
        Receive into C{view}.

        @return: how many bytes, 0 for the end of the stream, L{WOULD_BLOCK} if there is nothing.
        @raise OSError: the connection is lost.
        """
        try:
            got: int = self.socket.recv_into(view)
        except BlockingIOError:
            self.readable = False
            return WOULD_BLOCK
        except OSError:
            self.readable = False
            raise
        self.did_read(len(view), got)
        if not got and self.failed is not None:
            raise self.failed
        return got

    def recv_into_all(self, views: Sequence[memoryview]) -> int:
        """L{recv_into} with several views, filled one after the other."""
        try:
            got: int = self.socket.recvmsg_into(views)[0]
        except BlockingIOError:
            self.readable = False
            return WOULD_BLOCK
        except OSError:
            self.readable = False
            raise
        self.did_read(sum(map(len, views)), got)
        if not got and self.failed is not None:
            raise self.failed
        return got

    def send(self, views: Sequence[BytesLike]) -> int:
        """
        Send the bytes of at most IOV_MAX C{views}.

        @return: how many bytes were taken, 0 if none (not writable any more).
        @raise OSError: the connection is lost.
        """
        try:
            sent: int = self.socket.send(views[0]) if len(views) == 1 else self.socket.sendmsg(views)
        except BlockingIOError:
            self.writable = False
            return 0
        except OSError as error:
            return self._send_failed(error)
        self.did_write(sum(map(len, views)), sent)
        return sent

    def _send_failed(self, error: OSError) -> int:
        self.writable = False
        if error.errno != ENOBUFS:
            self.send_failed(error)
            raise error
        self.try_later()
        return 0

    def send_failed(self, error: OSError) -> None:
        """
        Sending met C{error}. The kernel tells a reset once, to whoever asks first; who reads afterwards is told 0, as of a clean
        end. (EPIPE is what it says if the clean end came before the reset.)
        """
        if error.errno != EPIPE:
            self.failed = error

    def try_later(self) -> None:
        """The kernel is short of memory (ENOBUFS): no edge will tell when it is not, so look again in a while."""
        self.writable = False
        self.transport.reactor.callLater(_NO_MEMORY_REST, self._try_again)

    def _try_again(self) -> None:
        if self.open:
            self.writable = True
            self.transport.reactor.loop.post(self)

    def send_file(self, fd: int, offset: int, count: int) -> int:
        """
        Send C{count} bytes of the file C{fd} from C{offset} by sendfile(2), or L{send_copy} where there is none.

        @return: how many bytes were taken, 0 if none (not writable any more).
        @raise DiskFailed: the file cannot be read, or ends before C{offset + count}.
        @raise OSError: the connection is lost.
        """
        try:
            sent = os.sendfile(self.socket.fileno(), fd, offset, count)
        except BlockingIOError:
            self.writable = False
            return 0
        except OSError as error:
            if error.errno in _NO_SENDFILE:
                return self.send_copy(fd, offset, count)
            if error.errno in _FILE_ERRORS:
                raise DiskFailed(f"spilled bytes cannot be read: {error.strerror}") from error
            return self._send_failed(error)
        if sent == 0 and count:
            raise DiskFailed("spilled bytes cannot be read: the file was truncated")
        # A short count may also come from the page cache: only EAGAIN says that the socket is full.
        return sent

    def send_copy(self, fd: int, offset: int, count: int) -> int:
        """As L{send_file}, but the file is read: 64 KiB at most."""
        try:
            data = os.pread(fd, min(count, _COPIED), offset)
        except OSError as error:
            raise DiskFailed(f"spilled bytes cannot be read: {error.strerror}") from error
        if count and not data:
            raise DiskFailed("spilled bytes cannot be read: the file was truncated")
        return self.send((data,))


def edge_of(transport: Any) -> EdgeSocket | None:
    """
    The socket of C{transport} to work on directly; None for one that has to be asked: those of other reactors, and TLS, whose
    bytes are not the socket's; and for one that is gone.
    """
    # of its class: TLSMemoryBIOProtocol and other wrappers hand on every attribute of the transport below them
    if getattr(type(transport), "edge_socket", None) is None or transport.TLS or transport.disconnected:
        return None
    found: EdgeSocket = transport.edge_socket()
    return found
