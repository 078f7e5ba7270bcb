"""
A connected TCP or UNIX socket with no Twisted transport around it.

A proxied connection that only passes bytes on needs no protocol, no buffer, no log prefix: a L{BareSocket} is the socket, its
registration, and the few methods of a transport that pipes and sessions call. What was handed to it is in the kernel, so closing
needs not wait for anything.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from errno import EINPROGRESS
from typing import TYPE_CHECKING, Any

from twisted.internet import main
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IHalfCloseableDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_pipe.net.edge import EdgeSocket
from twisted_pipe.net.proxied_transport import twisted_address

if TYPE_CHECKING:
    from typing_extensions import Self

    from twisted_pipe.preface.proxy_header import ProxyHeader

__all__ = ["BareSocket"]

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: closing sends a reset
_KIND = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC


@implementer(IHalfCloseableDescriptor)
class BareSocket(EdgeSocket):
    """
    @ivar reactor: the C{EpollETReactor} it is registered with.
    @ivar connected: whether the connection stands.
    @ivar accepted: whether it is a client's, which may be closed while idle to make room.
    @ivar proxied: the C{ProxyHeader} that came before the stream; None for none. What it says of the connection's ends counts.
    """

    __slots__ = ("_opened", "_peer", "accepted", "connected", "proxied", "reactor")

    TLS = False
    backlog = False
    disconnecting = False
    logstr = "pipe"

    def __init__(self, reactor: Any, sock: socket.SocketType, accepted: bool, peer: bytes = b"") -> None:
        """
        Registers C{sock}.

        @param peer: the address of its other end as the kernel writes it, if it is known; else it is asked for when it is wanted,
            and then not known any more if the peer has gone.
        @raise OSError: it cannot be.
        """
        EdgeSocket.__init__(self, None, sock)
        self.reactor = reactor
        self._peer = peer
        self.proxied: ProxyHeader | None = None
        self.accepted = self.connected = self.writable = accepted
        self._opened: Callable[[OSError | None], object] | None = None
        reactor.add_edge(self, sock.fileno())

    @classmethod
    def connecting(
        cls,
        reactor: Any,
        address: tuple[Any, ...] | str,
        opened: Callable[[OSError | None], object],
        prepare: Callable[[socket.SocketType], object] | None = None,
    ) -> Self:
        """
        Connect to C{address}: that of C{AF_INET6} if it has four parts, of C{AF_UNIX} if it is a string, else of C{AF_INET}.

        @param opened: called once, from the reactor's next turns: with None when the connection stands, else with why it does not.
        @param prepare: called with the socket before it connects.
        @raise OSError: there is no descriptor, no port or no route; or C{prepare} raises it.
        """
        family = (
            socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if len(address) == 4 else socket.AF_INET
        )
        sock = socket.SocketType(family, _KIND)
        try:
            if prepare is not None:
                prepare(sock)
            elif family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            problem = sock.connect_ex(address)
            if problem and problem != EINPROGRESS:
                raise OSError(problem, os.strerror(problem))
            bare = cls(reactor, sock, False)
        except BaseException:
            sock.close()
            raise
        bare._opened = opened
        return bare

    @property
    def transport(self) -> BareSocket:
        """Itself: it is its own transport."""
        return self

    @transport.setter
    def transport(self, _: object) -> None:
        pass

    @property
    def log_prefix(self) -> str:
        return self.logstr

    @property
    def disconnected(self) -> bool:
        """Whether it is closed."""
        return not self.open

    def edge_socket(self) -> BareSocket:
        """Itself."""
        return self

    def fileno(self) -> int:
        """The descriptor's number, -1 when it is closed."""
        return self.socket.fileno()

    def run(self, loop: Any) -> None:
        events = self.events
        if events:
            self.events = 0
            self.note(events)
        self.active = loop.now
        opened = self._opened
        if opened is None:
            # As EdgeSocket.run, for owners only: they come back by themselves when they stop at their budget.
            if self.readable and self.reader is not None:
                self.reader.socket_ready()
            if self.writable and self.writing and self.writer is not None:
                self.writer.socket_ready()
            return
        self._opened = None
        self.connected = True
        problem = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if self.pending_eof else 0
        if problem:
            self.close()
            opened(OSError(problem, os.strerror(problem)))
            return
        self.writable = True
        opened(None)

    # what pipes and sessions call of a transport

    def getPeer(self) -> Any:
        """The address of the other end; of the client, if a proxy has told who that is."""
        if self.proxied is not None and self.proxied.source is not None:
            return twisted_address(self.proxied.source)
        return self.getDirectPeer()

    def getDirectPeer(self) -> Any:
        """The address of the other end of this connection, whatever a PROXY header says."""
        return _parsed(self._peer) or self._address(self.socket.getpeername)

    def getHost(self) -> Any:
        """The address of this end; what the client has connected to, if a proxy has told."""
        if self.proxied is not None and self.proxied.destination is not None:
            return twisted_address(self.proxied.destination)
        return self._address(self.socket.getsockname)

    def _address(self, ask: Callable[[], Any]) -> Any:
        try:
            found = ask()
        except OSError:  # it is gone already
            return IPv4Address("TCP", "?", 0)
        if self.socket.family == socket.AF_UNIX:
            return UNIXAddress(found)
        kind = IPv6Address if self.socket.family == socket.AF_INET6 else IPv4Address
        return kind("TCP", *found)

    def setTcpNoDelay(self, enabled: bool) -> None:
        """As C{ITCPTransport}'s."""
        if self.socket.family != socket.AF_UNIX:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, enabled)

    def loseConnection(self) -> None:
        """Close it."""
        if self.reader is None and self.writer is None:
            self.close()
        else:
            self.connectionLost(Failure(main.CONNECTION_DONE))

    def logPrefix(self) -> str:
        """For Twisted's log."""
        return self.logstr

    def stopProducing(self) -> None:
        """Close it."""
        self.loseConnection()

    def abortConnection(self) -> None:
        """Reset it."""
        self.connectionLost(Failure(ConnectionAborted()))

    def loseWriteConnection(self) -> None:
        """Everything was sent."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            return  # it is gone already, which its reader is told

    def readConnectionLost(self, reason: Failure) -> None:
        """Not called: its owner reads the end itself."""

    def writeConnectionLost(self, reason: Failure) -> None:
        """Not called, either."""

    def connectionLost(self, reason: Failure) -> None:
        """Close it, by a reset if C{reason} is a C{ConnectionAborted}; tell who still reads or writes it."""
        if not self.open:
            return
        reader, writer = self.reader, self.writer
        if reason.check(ConnectionAborted):
            self.reset()
        else:
            self.close()
        for owner in (reader, writer):
            if owner is not None:
                owner.socket_lost(reason)

    def close(self) -> None:
        """Close it and tell nobody; a second call does nothing."""
        if self.open:
            self.reactor.loop.forget(self)
        self.connected = False
        self.reader = self.writer = self.relay = self._opened = None
        self.socket.close()

    def reset(self) -> None:
        """As L{close}, by a reset."""
        with suppress(OSError):  # it is closed already
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.close()


def _parsed(raw: bytes) -> IPv4Address | IPv6Address | None:
    """A C{struct sockaddr} of the two internet families, None for any other."""
    family = int.from_bytes(raw[:2], sys.byteorder)
    port = int.from_bytes(raw[2:4], "big")
    if family == socket.AF_INET:
        return IPv4Address("TCP", socket.inet_ntop(socket.AF_INET, raw[4:8]), port)
    if family == socket.AF_INET6:
        return IPv6Address("TCP", socket.inet_ntop(socket.AF_INET6, raw[8:24]), port)
    return None
