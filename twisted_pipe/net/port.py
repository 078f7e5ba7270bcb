"""
A listening socket: level-triggered, with nginx's rules for accepting.

A turn accepts as many connections as the last turns found waiting, at least one and at most L{ACCEPT_BUDGET}; what is left
is reported again by the next wait. A connection that its client gave up meanwhile is skipped. When no descriptor is free, or a
security module refuses, the listener rests half a second, with one line in the log however long it lasts: whoever waits is accepted
after it. Those who have waited for a whole rest, with no descriptor free yet, are refused instead of left hanging; a descriptor is
held in reserve for that.

A factory may ask for the bare socket instead of a Twisted transport and protocol: L{ISocketFactory}.

Source: nginx C{ngx_event_accept()}; C{worker_connections} is L{twisted_pipe.net.connections}.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from errno import (
    EBADF,
    ECONNABORTED,
    EHOSTDOWN,
    EHOSTUNREACH,
    EINVAL,
    EMFILE,
    ENETDOWN,
    ENETUNREACH,
    ENFILE,
    ENOBUFS,
    ENOMEM,
    ENONET,
    ENOPROTOOPT,
    ENOTSOCK,
    EOPNOTSUPP,
    EPERM,
    EPROTO,
    ETIMEDOUT,
)
from typing import Any

from twisted.internet import tcp, unix
from twisted.logger import Logger
from twisted.python import log
from zope.interface import Attribute, Interface

from twisted_pipe.net.connections import NoRoom
from twisted_pipe.net.epoll import accept
from twisted_pipe.net.transport import EdgeServer, EdgeUnixServer

__all__ = ["ACCEPT_BUDGET", "EXHAUSTED", "REST", "EdgePort", "EdgeUnixPort", "ISocketFactory"]

ACCEPT_BUDGET = 64  #: connections a listener may accept in a turn before the others have theirs
REST = 0.5  #: seconds a listener rests when no descriptor is free

_KIND = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
EXHAUSTED = (EMFILE, ENFILE, ENOBUFS, ENOMEM)  #: of a process or its machine, which has none left of something
#: This one is lost (or a firewall's); the next may be good. The others are of its network (accept(2): "treat them like EAGAIN").
_SKIPPED = frozenset(
    (
        ECONNABORTED,
        EPERM,
        EPROTO,
        ENETDOWN,
        ENOPROTOOPT,
        EHOSTDOWN,
        ENONET,
        EHOSTUNREACH,
        EOPNOTSUPP,
        ENETUNREACH,
        ETIMEDOUT,
    )
)
_DEAD = frozenset((EBADF, EINVAL, ENOTSOCK))  # it is no listening socket any more
_LIMITED = frozenset((EMFILE, ENFILE))  # what is lacking is a descriptor

_log = Logger()


class ISocketFactory(Interface):
    """A Twisted factory that can also do without a transport for each connection."""

    takes_sockets = Attribute("Whether it wants sockets: looked at for each connection.")

    def socket_accepted(sock: socket.SocketType, peer: bytes) -> None:
        """
        A client has connected.

        @param peer: its address, as L{twisted_pipe.net.epoll.accept} gives it.
        @param sock: non-blocking, and the factory's from now on.
        """


class _Accepting(tcp.Port):
    """What the ports share."""

    reactor: Any  # an EpollETReactor
    shared = False  # with other processes: then an event wakes one of them, not all
    _takes_sockets = False
    _allowed = 1
    _turn = 0  # when somebody was waiting last
    _resting = False
    _rest_call: Any = None
    _tired = False  # the last rest has not helped

    def startListening(self) -> None:
        """Bind and listen."""
        super().startListening()
        self._takes_sockets = ISocketFactory.providedBy(self.factory)
        if self._takes_sockets and self.addressFamily != socket.AF_UNIX:
            # what it accepts inherits that
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def doRead(self) -> None:
        if self._resting:
            return
        count = 0
        room = self.reactor.connections
        factory: Any = self.factory
        try:
            while count < self._allowed:
                if room.limit:
                    room.make()
                if self._takes_sockets and factory.takes_sockets:
                    self._hand_over(*accept(self.socket.fileno()))
                else:
                    self._serve(*self.socket.accept())
                count += 1
                self._tired = False
        except BlockingIOError:
            pass  # nobody waits
        except OSError as error:
            if error.errno in _DEAD:
                raise
            if error.errno not in _SKIPPED:
                self._rest(error)
        self.reactor.loop.accepted += count
        # More than one only while they come turn after turn: looking for one that is not there costs a system call.
        turn = self.reactor.loop.turns
        crowded = count == self._allowed and turn == self._turn + 1
        self._allowed = min(2 * count, ACCEPT_BUDGET) if crowded else max(count, 1)
        self._turn = turn

    def _hand_over(self, number: int, peer: bytes) -> None:
        factory: Any = self.factory
        try:
            factory.socket_accepted(socket.SocketType(self.addressFamily, _KIND, 0, number), peer)
        except Exception:  # as in Twisted's own: that connection is lost, and the listener goes on
            log.err(None, f"{self!r}: while a connection was accepted")

    def _serve(self, client: socket.socket, address: Any) -> None:
        if len(address) == 4 and self.addressFamily == socket.AF_INET6:
            # IPv6, make sure we get the scope if there is one
            host = socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
            address = (host, *address[1:])
        factory: Any = self.factory
        transport: Any = None
        try:
            protocol = factory.buildProtocol(self._buildAddr(address))
            if protocol is None:
                client.close()
                return
            number, self.sessionno = self.sessionno, self.sessionno + 1
            transport = self.transport(client, protocol, address, self, number, self.reactor)
            protocol.makeConnection(transport)
        except Exception:  # as in Twisted's own: the listener goes on
            log.err(None, f"{self!r}: while a connection was accepted")
            if transport is None:
                client.close()

    # no descriptor is free

    def _rest(self, error: OSError) -> None:
        loop = self.reactor.loop
        if not self._tired:
            _log.critical(
                "{port}: no connection can be accepted: {reason}; listening rests for {rest} s at a time until one can",
                port=self,
                reason=_reason_of(error),
                rest=REST,
            )
        elif error.errno == EMFILE:
            self._refuse()
        self._tired = True
        self._resting = True
        loop.rests += 1
        self.stopReading()
        self._rest_call = self.reactor.callLater(REST, self._go_on)

    def _go_on(self) -> None:
        self._resting = False
        self._rest_call = None
        if self.connected and not self.disconnecting:
            self.startReading()

    def connectionLost(self, reason: Any) -> None:
        """The socket is closed."""
        if self._rest_call is not None:
            self._rest_call.cancel()
            self._rest_call = None
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def _refuse(self) -> None:
        """Close the connections of those who wait, with the help of the descriptor in reserve."""
        reserve: Any = tcp._reservedFD  # Twisted's own, for the same purpose
        if not reserve.available():
            return
        with reserve:
            try:
                for _ in range(self.backlog or ACCEPT_BUDGET):
                    self.socket.accept()[0].close()
            except OSError:
                pass  # nobody waits any more, or another thread took the descriptor


class EdgePort(_Accepting):
    """For TCP."""

    transport: Any = EdgeServer


class _UnixPort(unix.Port):
    """
    A socket that was made elsewhere stays as it is, and stays. Twisted's own would change its mode and backlog, and remove its file
    and shut it down when listening stops, for whoever shares it.
    """

    _adopted = False

    def startListening(self) -> None:
        sock: Any = self._preexistingSocket
        if sock is None:
            super().startListening()  # type: ignore[no-untyped-call]
            return
        tcp._reservedFD.reserve()
        self._preexistingSocket = None
        self._adopted = True
        self._shouldShutdown = False
        log.msg(f"{self._getLogPrefix(self.factory)} starting on {sock.getsockname()!r}")
        self.socket = sock
        self.fileno = sock.fileno  # type: ignore[method-assign]
        factory: Any = self.factory
        factory.doStart()
        self.connected = True
        self.startReading()

    def connectionLost(self, reason: Any) -> None:
        if not self._adopted:
            self._remove_files()
        tcp.Port.connectionLost(self, reason)

    def _remove_files(self) -> None:
        """The socket's, and its lock. Whether they go or not, the socket is closed: a daemon may have lost the right to it."""
        path = os.fsdecode(self._bindPath)
        try:
            if not path.startswith("\0"):
                with suppress(FileNotFoundError):  # somebody else has
                    os.unlink(path)
            if self.lockFile is not None:
                with suppress(FileNotFoundError):
                    self.lockFile.unlock()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            _log.warn("unix {path}: its file cannot be removed: {why}", path=path, why=why)


class EdgeUnixPort(_Accepting, _UnixPort):
    """For UNIX stream sockets."""

    transport: Any = EdgeUnixServer


def _reason_of(error: OSError) -> str:
    if error.errno in _LIMITED and not isinstance(error, NoRoom):
        return f"{error.strerror} (see `ulimit -n`)"
    return error.strerror or str(error)
