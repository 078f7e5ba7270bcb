"""
A stream socket under edge-triggered notification: its readiness, its one registration, its I/O.

The whole contract is on this page. The reactor L{EdgeSocket.note}s what the kernel said and L{EdgeSocket.run}s the socket:
the read half while it is readable and wanted, then, if the handler did not close it, the write half. Each half stops at its
byte budget and is posted again, so nobody starves. All I/O on the socket goes through the methods here, because only they
may clear readiness.

Who handles a half is either the Twisted transport (C{doRead}, C{doWrite}) or an owner that took it over: an event pipe,
which reads into its own buffers and sends from them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from errno import EBADF, EINVAL, EIO, ENOBUFS, ESTALE, EUCLEAN
from typing import TYPE_CHECKING, Any, Protocol

from twisted.python import log

from twisted_pipe.core.readiness import Readiness
from twisted_pipe.core.slots import NO_TAG
from twisted_pipe.errors import DiskFailed
from twisted_pipe.interfaces import BytesLike
from twisted_pipe.net.engine import Engine

if TYPE_CHECKING:
    from twisted.python.failure import Failure


__all__ = ["READ_BUDGET", "WOULD_BLOCK", "EdgeSocket", "SocketOwner"]

READ_BUDGET = 256 * 1024  #: bytes one socket may read in a turn before the others have theirs
WRITE_BUDGET = 512 * 1024  #: the same for writing
_MOST_CALLS = 16  # of doRead or doWrite in a turn: a pull producer of single bytes would take the budget one by one
WOULD_BLOCK = -1
_NO_MEMORY_REST = 0.05  # seconds
_FILE_ERRORS = (EIO, EBADF, EINVAL, ESTALE, EUCLEAN)  # of sendfile's two descriptors, these are the file's


class SocketOwner(Protocol):
    """Who took over a half of a socket. Called in the reactor thread, from the reactor's turn."""

    def socket_ready(self) -> None:
        """The half may make progress. May be called when it cannot: the socket's flags tell."""

    def socket_lost(self, reason: Failure) -> None:
        """The transport was closed by somebody else; the socket is gone."""


class EdgeSocket(Readiness):
    """
    @ivar reading: whether the transport wants C{doRead} (C{startReading} and C{stopReading} flip it, nothing else happens).
    @ivar writing: the same for C{doWrite}; or the owner of the write half has something to send.
    @ivar reader: the owner of the read half, None for the transport itself.
    @ivar writer: the same for the write half.
    @ivar budget: bytes left for the half that is running.
    """

    __slots__ = ("budget", "reader", "reading", "running", "transport", "writer", "writing")

    def __init__(self, transport: Any) -> None:
        Readiness.__init__(self)
        self.transport = transport
        self.reading = False
        self.writing = False
        self.running = False
        self.reader: SocketOwner | None = None
        self.writer: SocketOwner | None = None
        self.budget = 0

    def __repr__(self) -> str:
        names = ("readable", "writable", "pending_eof", "reading", "writing", "posted")
        return f"<EdgeSocket tag={self.tag:#x} {' '.join(name for name in names if getattr(self, name)) or 'idle'}>"

    @property
    def open(self) -> bool:
        """Whether it is registered."""
        return self.tag != NO_TAG

    # one turn

    def run(self, reactor: Engine) -> None:
        """Run both halves as far as readiness, interest and budget allow. Errors disconnect the transport."""
        tag = self.tag
        events, self.events = self.events, 0
        if events:
            self.note(events)
        self.running = True
        try:
            if not self.transport.connected:
                self._run_half(reactor, self._run_connecting, False)
            # A half that ended may have closed the connection; then the other half's event is stale.
            if self.tag == tag and self.readable and (self.reading or self.reader is not None):
                self._run_half(reactor, self._run_reading, True)
            if self.writable and self.writing:
                if self.tag == tag:
                    self._run_half(reactor, self._run_writing, False)
                else:
                    reactor.stale_events += 1
        finally:
            self.running = False
        # an owner that stopped at its budget comes back by itself
        if self.tag == tag and (
            (self.readable and self.reading)
            or (self.writable and self.writing and (self.writer is None or self.transport.disconnecting))
        ):
            reactor.post(self)

    def _run_half(self, reactor: Engine, work: Callable[[], BaseException | None], in_read: bool) -> None:
        tag = self.tag
        try:
            why = work()
        except BaseException as error:
            # As in Twisted's own reactors: what application code raises is logged and ends its connection, nothing else.
            why = error
            log.err()
        if why and self.tag == tag:
            reactor.disconnect(self.transport, why, in_read)

    def _run_reading(self) -> BaseException | None:
        if self.reader is not None:
            self.reader.socket_ready()
            return None
        self.budget = READ_BUDGET
        transport = self.transport
        before = READ_BUDGET + 1
        calls = _MOST_CALLS
        while self.readable and self.reading and calls and 0 < self.budget < before:
            before = self.budget
            calls -= 1
            # doRead is looked up each time: abortConnection replaces it by one that reads nothing
            why: BaseException | None = transport.doRead()
            if why:
                return why
        return None

    def _run_writing(self) -> BaseException | None:
        transport = self.transport
        if self.writer is not None and not transport.disconnecting:
            self.writer.socket_ready()
            return None
        self.budget = WRITE_BUDGET
        before = WRITE_BUDGET + 1
        calls = _MOST_CALLS
        while self.writable and self.writing and calls and 0 < self.budget < before:
            before = self.budget
            calls -= 1
            why: BaseException | None = transport.doWrite()
            if why:
                return why
        return None

    def _run_connecting(self) -> BaseException | None:
        """Before the connection stands, doRead and doWrite are C{doConnect}: each event is good for one try."""
        readable, self.readable, self.writable = self.readable, False, False
        transport = self.transport
        if not (self.reading or self.writing):
            return None
        # Either of the two, like stock Twisted, and not both: the first ends the attempt one way or the other.
        why: BaseException | None = transport.doRead() if self.reading else transport.doWrite()
        if transport.connected:
            self.writable = True
            self.readable = readable
        return why

    # I/O for owners of a half; the transport has its own, by the same rules

    def recv_into(self, view: memoryview) -> int:
        """
        Receive into C{view}.

        @return: how many bytes, 0 for the end of the stream, L{WOULD_BLOCK} if there is nothing.
        @raise OSError: the connection is lost.
        """
        try:
            got: int = self.transport.socket.recv_into(view)
        except BlockingIOError:
            self.readable = False
            return WOULD_BLOCK
        except OSError:
            self.readable = False
            raise
        self.did_read(len(view), got)
        return got

    def send(self, views: Sequence[BytesLike]) -> int:
        """
        Send the bytes of at most IOV_MAX C{views}.

        @return: how many bytes were taken, 0 if none (not writable any more).
        @raise OSError: the connection is lost.
        """
        if len(views) == 1:
            return self.send_view(views[0])
        try:
            sent: int = self.transport.socket.sendmsg(views)
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
            raise error
        self.try_later()
        return 0

    def try_later(self) -> None:
        """The kernel is short of memory (ENOBUFS): no edge will tell when it is not, so look again in a while."""
        self.writable = False
        self.transport.reactor.callLater(_NO_MEMORY_REST, self._try_again)

    def _try_again(self) -> None:
        if self.open:
            self.writable = True
            self.transport.reactor.post(self)

    def send_view(self, view: BytesLike) -> int:
        """L{send} of one view, for the byte path."""
        try:
            sent: int = self.transport.socket.send(view)
        except BlockingIOError:
            self.writable = False
            return 0
        except OSError as error:
            return self._send_failed(error)
        self.did_write(len(view), sent)
        return sent

    def send_file(self, fd: int, offset: int, count: int) -> int:
        """
        Send C{count} bytes of the file C{fd} from C{offset} by sendfile(2).

        @return: how many bytes were taken, 0 if none (not writable any more).
        @raise DiskFailed: the file cannot be read, or ends before C{offset + count}.
        @raise OSError: the connection is lost.
        """
        try:
            sent = os.sendfile(self.transport.socket.fileno(), fd, offset, count)
        except BlockingIOError:
            self.writable = False
            return 0
        except OSError as error:
            if error.errno in _FILE_ERRORS:
                raise DiskFailed(f"spilled bytes cannot be read: {error.strerror}") from error
            raise
        if sent == 0 and count:
            raise DiskFailed("spilled bytes cannot be read: the file was truncated")
        # A short count may also come from the page cache: only EAGAIN says that the socket is full.
        return sent
