"""
A bare socket that speaks TLS: pipes, relays and HTTP connections work on it as on any other, and no protocol stands between.

It is a plain L{BareSocket} until L{TlsSocket.handshake} is called, so that what may stand before TLS, a PROXY header, is read or
sent as on any socket, under the same registration. After the handshake its C{socket} is a L{TlsStream}. Its bytes are not those of
the descriptor: no sendfile, no splice (C{plain}).

What was handed to it may not be in the kernel yet: the rest of one record, and the close_notify. So its C{close} waits until the
kernel has these, L{FAREWELL} seconds at most, while to everybody else it is closed. C{reset} does not wait. While such bytes wait
C{writing} is true, so that the loop hands all events to L{TlsSocket.run} and none to a relay.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from twisted_pipe.core.readiness import IN
from twisted_pipe.net.bare import BareSocket
from twisted_pipe.net.deadline import Deadline
from twisted_pipe.net.tls_handshake import TlsHandshake, why_refused
from twisted_pipe.net.tls_stream import TlsStream

if TYPE_CHECKING:
    from twisted_pipe.net.loop import EventLoop

__all__ = ["FAREWELL", "TlsSocket"]

FAREWELL = 60.0  #: seconds in which a peer has to make room for the last record and the close_notify


class TlsSocket(BareSocket):
    """
    Made like a L{BareSocket}: C{TlsSocket(reactor, sock, accepted, peer)} or C{TlsSocket.connecting(reactor, address, opened)}.

    @ivar connection: pyOpenSSL's, from L{handshake} until it is closed; None before and after.
    """

    __slots__ = ("_farewell", "_stream", "_writing", "connection")

    plain = False
    logstr = "pipe,tls"

    def __init__(self, reactor: Any, sock: socket.SocketType, accepted: bool, peer: bytes = b"") -> None:
        self._stream: TlsStream | None = None  # before the rest: writing asks for it
        self._writing = False
        self._farewell: Deadline | None = None
        self.connection: SSL.Connection | None = None
        BareSocket.__init__(self, reactor, sock, accepted, peer)

    def handshake(
        self,
        make: Callable[[socket.SocketType], SSL.Connection],
        done: Callable[[str | None], object],
        explain: Callable[[Exception], str] = why_refused,
    ) -> None:
        """
        TLS from here on. Nobody may read or write the socket until C{done} is called. L{close} gives up, and then C{done} is not
        called. A timeout is the caller's: a peer may say nothing for ever.

        @param make: makes the connection on the socket that it is given, in the state that its role asks for.
        @param done: called with None when the handshake is over, perhaps at once; whoever is the C{reader} after that is told of
            what has come with it. Else with why it has failed: then the socket is closed.
        @param explain: says what an error of OpenSSL means.
        @raise Exception: that of C{make}.
        """
        connection = self.connection = make(self.socket)
        TlsHandshake(self, connection, done, explain).begin()

    def shaken(self, connection: SSL.Connection) -> None:
        """For the handshake: it is over."""
        stream = self._stream = TlsStream(self, self.socket, connection)
        self.socket = stream  # type: ignore[assignment]
        self.readable = self.pending_eof or stream.has_more
        if self.readable:
            self.reactor.loop.post(self)  # for whoever is its reader by then

    # what others ask of it

    @property
    def writing(self) -> bool:
        """As an C{EdgeSocket}'s; also while something waits for the kernel that nobody else knows of."""
        return self._writing or (self._stream is not None and self._stream.waiting)

    @writing.setter
    def writing(self, wanted: bool) -> None:
        self._writing = wanted

    @property
    def unsent(self) -> int:
        """Bytes that it has taken and the kernel does not have."""
        stream = self._stream
        return 0 if stream is None else stream.unsent

    @property
    def disconnected(self) -> bool:
        """Whether it is closed, though it may not be gone yet."""
        return self._farewell is not None or not self.open

    def come_back(self) -> None:
        """See L{StreamOwner<twisted_pipe.net.tls_stream.StreamOwner>}. C{readable} is set in the next turn: others come first."""
        self.events |= IN
        self.reactor.loop.post(self)

    def send_file(self, fd: int, offset: int, count: int) -> int:
        """As an C{EdgeSocket}'s; the file is read."""
        return self.send_copy(fd, offset, count)

    # turns and ends

    def run(self, loop: EventLoop) -> None:
        stream = self._stream
        if stream is not None and stream.waiting:
            self.note(self.events)
            self.events = 0
            sent = stream.flush()
            if self._farewell is not None:
                if sent:
                    self._close()
                return
        BareSocket.run(self, loop)

    def connectionLost(self, reason: Failure) -> None:
        """As a bare socket's. Only who closes it cleanly waits for what it has yet to send."""
        if self._farewell is not None or not reason.check(ConnectionDone):
            self._give_up()
        BareSocket.connectionLost(self, reason)

    def close(self) -> None:
        stream = self._stream
        if stream is None or not self.open or stream.end():
            self._close()
        elif self._farewell is None:
            self.connected = False
            self.reader = self.writer = self.relay = self._opened = None
            self._farewell = Deadline(self.reactor, FAREWELL, self.reset)
            self._farewell.restart(self.reactor.seconds())

    def reset(self) -> None:
        self._give_up()
        BareSocket.reset(self)

    def _give_up(self) -> None:
        """Nothing more is to be sent, no close_notify either."""
        if self._stream is not None:
            self._stream.give_up()

    def _close(self) -> None:
        farewell, self._farewell = self._farewell, None
        if farewell is not None:
            farewell.cancel()
        self.connection = None
        BareSocket.close(self)
