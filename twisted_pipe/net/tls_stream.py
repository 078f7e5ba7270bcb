"""
TLS on a non-blocking socket, made to look like that socket: plaintext on our side, OpenSSL's records on the descriptor.

Whoever works with an edge-triggered socket relies on what its calls say, and OpenSSL says it otherwise:

 - A short C{recv} says that nothing is left, and that an edge will tell of more. C{SSL_read} gives one record, however many stand
   in the kernel. So a C{recv} here goes on until it is full or the kernel has nothing (FIONREAD: cheaper than an C{SSL_read} in
   vain). Where it has to stop before, at an end that it found behind bytes, after C{MOST_CALLS} records or behind a record that
   holds no bytes (a ticket, a KeyUpdate), it has the socket run again.
 - A C{send} that would block has sent nothing. C{SSL_write} has then encrypted a record and sent part of it, and has to be called
   again with the same bytes, which a pipe may have spilled to disk by then. So these bytes are copied and count as sent; they go
   out before everything else (L{TlsStream.flush}).
 - Reading may have to write first (an answer to a KeyUpdate), writing may have to read first (a renegotiation).

OpenSSL must not be called again after an error: that is told to whoever comes later, too. The end of a stream is the peer's
close_notify (RFC 8446, section 6.1); one without that was cut off, perhaps by somebody between.
"""

from __future__ import annotations

import enum
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from errno import EAGAIN, EBADF, ECONNRESET, ENOBUFS, ENOMEM, EPROTO
from fcntl import ioctl
from termios import FIONREAD
from typing import Any, Protocol

from OpenSSL import SSL

from twisted_pipe.interfaces import BytesLike
from twisted_pipe.net.edge import MOST_CALLS
from twisted_pipe.net.tls_calls import calls_of, forget_errors

__all__ = ["CUT_OFF", "RECORD", "StreamOwner", "TlsStream", "why_broken"]

RECORD = 16 * 1024  #: bytes of the largest record (RFC 8446, section 5.1)
CUT_OFF = "cut off without close_notify"
_NOTHING = bytes(4)  # what FIONREAD answers
_LATER = (SSL.WantReadError, SSL.WantWriteError)


class _Goodbye(enum.Enum):
    """The close_notify."""

    LATER = "later"  #: nobody has asked for it
    WAITS = "waits"  #: to be sent, behind what waits
    SENT = "sent"  #: or there is nobody to send it to


class StreamOwner(Protocol):
    """
    Whose bytes these are.

    @ivar readable: whether reading may give something; set by the stream when it may again.
    @ivar writable: cleared by the stream when the kernel takes no more, even if what it was given counts as sent.
    @ivar pending_eof: whether the peer has ended, behind what there is to be read.
    """

    readable: bool
    writable: bool
    pending_eof: bool

    def come_back(self) -> None:
        """Something is here to be read of which no edge will tell: the socket has to be run as if one did."""


class TlsStream:
    """
    The C{socket} of a L{twisted_pipe.net.tls_socket.TlsSocket}, after the handshake. Its methods are those of a socket.

    @ivar held: bytes that count as sent, and that OpenSSL has yet to send.
    @ivar fileno: the descriptor's number, as a socket's method; C{getsockopt} and the like are the socket's, too.
    """

    __slots__ = (
        "_connection",
        "_goodbye",
        "_number",
        "_owner",
        "_reading_waits",
        "_recv",
        "_recv_into",
        "_shuts",
        "_socket",
        "_write",
        "family",
        "fileno",
        "getpeername",
        "getsockname",
        "getsockopt",
        "held",
        "setsockopt",
    )

    def __init__(self, owner: StreamOwner, sock: socket.SocketType, connection: SSL.Connection) -> None:
        """
        @param sock: the socket of C{connection}.
        @param connection: its handshake is done.
        """
        self._owner: Any = owner
        self._connection: Any = connection
        self._socket = sock
        self._number = sock.fileno()
        calls = calls_of(connection)
        self._recv: Any = calls.recv
        self._recv_into: Any = calls.recv_into
        self._write: Any = calls.send
        self._reading_waits = False  # for room to answer a KeyUpdate
        self._goodbye = _Goodbye.LATER
        self._shuts = False  # the socket's sending side is to be shut down behind it
        self.held = b""
        self.family = sock.family
        self.fileno = sock.fileno
        self.getpeername = sock.getpeername
        self.getsockname = sock.getsockname
        self.getsockopt: Any = sock.getsockopt
        self.setsockopt: Any = sock.setsockopt

    def __repr__(self) -> str:
        return f"<TlsStream fd={self.fileno()} {len(self.held)} bytes held>"

    @property
    def unsent(self) -> int:
        """Bytes that count as sent and that the kernel does not have; a close_notify counts as one."""
        return len(self.held) + (self._goodbye is _Goodbye.WAITS)

    @property
    def waiting(self) -> bool:
        """Whether something has to be done by L{flush} when the kernel has room."""
        return bool(self.held) or self._reading_waits or self._goodbye is _Goodbye.WAITS

    @property
    def has_more(self) -> bool:
        """Whether the kernel holds bytes that were not read. (OpenSSL holds none when it has given less than it was asked for.)"""
        return ioctl(self._number, FIONREAD, _NOTHING) != _NOTHING

    # receiving

    def recv(self, size: int, flags: int = 0) -> bytes:
        """
        As a socket's. C{b""} for a close_notify.

        @param flags: 0 or C{MSG_PEEK}.
        @raise OSError: the connection is lost, was cut off, or what came is no TLS.
        """
        try:
            data: bytes = self._recv(size, flags) if flags else self._recv(size)
        except SSL.Error as error:
            self._met(error)
            return b""
        if len(data) < size and not flags and ioctl(self._number, FIONREAD, _NOTHING) != _NOTHING:
            return self._fill(data, size)
        return data

    def _fill(self, data: bytes, size: int) -> bytes:
        """C{data} and the records behind it, at most C{size} bytes."""
        parts, got = [data], len(data)
        for _ in range(MOST_CALLS):
            try:
                data = self._recv(size - got)
            except SSL.Error as error:
                self._met_behind(error)
                break
            parts.append(data)
            got += len(data)
            if got == size or not self.has_more:
                break
        else:
            self._owner.come_back()
        return b"".join(parts)

    def recv_into(self, view: memoryview) -> int:
        """As a socket's, and L{recv}."""
        size = len(view)
        try:
            got: int = self._recv_into(view)
        except SSL.Error as error:
            self._met(error)
            return 0
        for _ in range(MOST_CALLS):
            if got == size or not self.has_more:
                return got
            try:
                got += self._recv_into(view[got:])
            except SSL.Error as error:
                self._met_behind(error)
                return got
        self._owner.come_back()
        return got

    def recvmsg_into(self, views: Sequence[memoryview]) -> tuple[int, list[Any], int, None]:
        """As a socket's, without what a datagram has besides."""
        got = self.recv_into(views[0])
        if got < len(views[0]):
            return got, [], 0, None
        for view in views[1:]:
            try:
                count = self.recv_into(view)
            except BlockingIOError:
                break
            except OSError:
                count = 0
            if not count:
                self._owner.come_back()  # the end or the error comes behind the bytes: it is told again
                break
            got += count
            if count < len(view):
                break
        return got, [], 0, None

    def _met(self, error: SSL.Error) -> None:
        """
        Reading met C{error}. Returns for the end of the stream.

        @raise OSError: any other.
        """
        if isinstance(error, SSL.ZeroReturnError):
            return
        if isinstance(error, SSL.WantWriteError):
            self._reading_waits = True
            self._owner.writable = False
        elif isinstance(error, SSL.WantReadError) and (self._owner.pending_eof or self.has_more):
            self._owner.come_back()  # a record was not for us, and no edge tells of what is behind it
        if isinstance(error, _LATER):
            raise BlockingIOError(EAGAIN, os.strerror(EAGAIN))
        raise self._broke(error)

    def _met_behind(self, error: SSL.Error) -> None:
        """The same behind bytes, which come first: what is to be told is told to who reads next."""
        try:
            self._met(error)
        except BlockingIOError:
            return
        except OSError:
            pass
        self._owner.come_back()

    # sending

    def send(self, data: BytesLike) -> int:
        """
        As a socket's.

        @raise OSError: the connection is lost.
        """
        if self.waiting and not self.flush():
            raise BlockingIOError(EAGAIN, os.strerror(EAGAIN))
        size, sent = len(data), 0
        while sent < size:
            try:
                sent += self._write(memoryview(data)[sent:] if sent else data)
            except SSL.Error as error:  # noqa: PERF203  # one record each
                return sent + self._hold(error, memoryview(data)[sent:])
        return sent

    def sendmsg(self, parts: Sequence[BytesLike]) -> int:
        """As a socket's. Small parts share a record."""
        sent = 0
        for record in _records(parts):
            try:
                count = self.send(record)
            except BlockingIOError:
                if not sent:
                    raise
                break
            sent += count
            if count < len(record) or self.held:
                break
        return sent

    def _hold(self, error: SSL.Error, rest: memoryview) -> int:
        """
        C{rest} could not be written. How many bytes of it count as sent all the same.

        @raise OSError: the connection is lost.
        """
        if not isinstance(error, _LATER):
            raise self._broke(error)
        self.held = bytes(rest[:RECORD])
        self._owner.writable = False
        return len(self.held)

    def flush(self) -> bool:
        """
        Go on with what had to wait: the rest of a record, close_notify, an answer that reading has to give. An error is left to who
        sends or reads next.

        @return: whether nothing waits any more.
        """
        try:
            while self.held:
                self.held = self.held[self._write(self.held) :]
                self._owner.writable = True
            if self._goodbye is _Goodbye.WAITS and self._connection is not None:
                self._connection.shutdown()
        except _LATER:
            self._owner.writable = False
            return False
        except SSL.Error as error:
            self._broke(error)
        if self._reading_waits:
            self._reading_waits = False
            self._owner.readable = True
        if self._goodbye is _Goodbye.WAITS:
            self._goodbye = _Goodbye.SENT
            if self._shuts:
                with suppress(OSError):  # the peer has gone
                    self._socket.shutdown(socket.SHUT_WR)
        return True

    # the end

    def end(self) -> bool:
        """Send a close_notify behind what waits. Returns whether all of it is in the kernel's hands; else L{flush} goes on."""
        if self._goodbye is _Goodbye.LATER:
            self._goodbye = _Goodbye.WAITS  # a second one would be OpenSSL's waiting for that of the peer
        return self.flush()

    def shutdown(self, how: int) -> None:
        """As a socket's for C{SHUT_WR}: close_notify, and behind it the FIN. What the peer sends may still be read."""
        self._shuts = True
        self.end()

    def close(self) -> None:
        """Close the socket as it is. A second call does nothing."""
        self.give_up()
        self._owner = None
        self._socket.close()

    def _broke(self, error: SSL.Error) -> OSError:
        """OpenSSL must not be called any more."""
        forget_errors()
        found = why_broken(error)
        self.give_up(found)
        return found

    def give_up(self, why: OSError | None = None) -> None:
        """Drop what waits, and fail from now on: because of C{why}, or as a closed socket does."""
        number, text = (EBADF, os.strerror(EBADF)) if why is None else (why.errno, why.strerror)

        def tell(*_: object) -> Any:
            raise OSError(number, text)

        self.held = b""
        self._connection = None
        self._recv = self._recv_into = self._write = tell


def _records(parts: Sequence[BytesLike]) -> Iterator[BytesLike]:
    """C{parts} as they are best written: large ones as they are, small ones joined to whole records."""
    small: list[BytesLike] = []
    size = 0
    for part in parts:
        room = RECORD - size
        if len(part) < room:
            small.append(part)
            size += len(part)
            continue
        view = memoryview(part)
        if small:
            yield b"".join([*small, view[:room]])
            view = view[room:]
        whole = len(view) - len(view) % RECORD
        if whole:
            yield view[:whole]
        small, size = [view[whole:]], len(view) - whole
    if size:
        yield b"".join(small)


def why_broken(error: SSL.Error) -> OSError:
    """What OpenSSL met, as a socket would say it."""
    if isinstance(error, SSL.SysCallError):
        number = error.args[0]
        if number <= 0:
            return OSError(ECONNRESET, CUT_OFF)
        # OpenSSL does not go on after one, so it is none after which others try again
        return OSError(ENOMEM if number in (ENOBUFS, EAGAIN) else number, os.strerror(number))
    reasons = [reason for _, _, reason in error.args[0]] if error.args else []
    return OSError(EPROTO, f"TLS: {reasons[-1] if reasons else 'the connection has failed before'}")
