"""
Ways to end a connection's sending side, on any transport.

TCP has one unclean end, the reset, and a reset throws away what the kernel has not sent yet. So a stream that broke off is
reset only after what was received has left: L{abort_when_sent}.

A bare socket is gone when it is closed. Twisted's transports go when their buffer is empty, and those with TLS when the peer has
answered its end: for a peer that takes nothing, or does not answer, that is never. So nobody leaves one alone without L{lose}.
"""

from __future__ import annotations

import array
import fcntl
import socket
import termios
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableDescriptor,
    IPullProducer,
    ISSLTransport,
    ITCPTransport,
    ITransport,
)
from zope.interface import implementer

from twisted_pipe.net.bare import BareSocket
from twisted_pipe.net.edge import EdgeSocket, edge_of

__all__ = ["abort", "abort_when_sent", "can_half_close", "close_when_sent", "departed", "half_close", "lose"]

_LOOK_EVERY = 0.05  # seconds, at first
_LOOK_SELDOM = 1.0
_TCP_CLOSE = 7  # include/net/tcp_states.h
_ONLY_THE_END = 1  # TIOCOUTQ counts the FIN as a byte
_ONLY_A_CLOSE_NOTIFY = 128  # bytes of one, whatever the cipher, and the FIN


def can_half_close(transport: Any) -> bool:
    """
    Whether its two directions end apart. Those of TLS do not: its end of sending ends the connection. Nor do those of a
    C{FileDescriptor} that has not said how, a child's stdin, say: it would stay open.
    """
    if isinstance(transport, EdgeSocket):
        return transport.plain
    if ISSLTransport.providedBy(transport) or getattr(transport, "TLS", False):
        return False
    if getattr(type(transport), "_closeWriteConnection", None) is FileDescriptor._closeWriteConnection:
        return False
    return ITCPTransport.providedBy(transport) or IHalfCloseableDescriptor.providedBy(transport)


def half_close(transport: Any) -> None:
    """
    Everything was sent and no more comes; what the peer sends may still be read. Closes where there are no halves, and does nothing
    to one that is gone, nor to a mere consumer. That has been told (C{unregisterProducer}), and what else its C{loseConnection} may
    end is not ours: a C{twisted.web} request's is its client's connection, with the requests that follow.
    """
    if _is_gone(transport) or _is_mere_consumer(transport):
        return
    if can_half_close(transport):
        transport.loseWriteConnection()
    else:
        _close(transport)


def abort(transport: Any) -> None:
    """
    End it at once and uncleanly (on TCP a reset), unless it is gone already. Of a C{twisted.web} request its stream, if it has one
    of its own (HTTP/2): closing that would be a clean end.
    """
    if _is_gone(transport) and not isinstance(transport, EdgeSocket):
        return  # Twisted's TLS would raise; a socket of ours that is closed may have something to send yet
    if _is_mere_consumer(transport):
        stream = getattr(transport, "channel", None)
        transport = transport if getattr(stream, "abortConnection", None) is None else stream
    if getattr(transport, "abortConnection", None) is not None:
        transport.abortConnection()
    else:
        _close(transport)


def abort_when_sent(transport: Any, clock: Any, patience: float) -> None:
    """
    End it uncleanly, but only when the peer's kernel has what ours was given.

    @param patience: seconds without any progress to wait for that at most; 0 for ever.
    """
    edge = edge_of(transport) if getattr(transport, "connected", False) else None
    if edge is not None:
        _Farewell(transport, edge, clock, patience, transport.abortConnection).look()
    elif not can_half_close(transport) or _is_gone(transport):
        abort(transport)
    elif getattr(transport, "startWriting", None) is None or transport.producer is not None:
        lose(transport, clock, patience)  # its buffer cannot be seen; a reset would lose it
    else:
        transport.pauseProducing()
        _Departure(transport, clock, patience, _Emptied(transport)).wait()


def close_when_sent(transport: Any, clock: Any, patience: float) -> None:
    """
    End it cleanly, but only when the peer's kernel has what ours was given. Closing a socket that has bytes to be read resets it,
    and loses what it has yet to send; and one that has much to send is the kernel's orphan, which it resets when memory is short.
    What the peer sends meanwhile is not read.

    @param patience: seconds without any progress to wait for that at most; 0 for ever.
    """
    if _is_gone(transport):
        return
    if isinstance(transport, BareSocket):
        transport.loseWriteConnection()  # of TLS, too: here nothing more is read
    else:
        half_close(transport)
    edge = edge_of(transport) if getattr(transport, "connected", False) else None
    if edge is not None and (_ask(edge.socket.fileno(), termios.FIONREAD) or _has_to_send(edge)):
        _Farewell(transport, edge, clock, patience, partial(lose, transport, clock, patience)).look()
    else:
        lose(transport, clock, patience)


def lose(transport: Any, clock: Any, patience: float) -> None:
    """
    End it cleanly when it has sent what it was given, or by force if that does not come to an end.

    @param patience: seconds without any progress to wait for that at most; 0 for ever.
    """
    transport.loseConnection()
    if patience and not _is_gone(transport):
        _Departure(transport, clock, patience).wait()


def departed(transport: Any) -> None:
    """
    It is gone, says its protocol: nothing waits for it any more. So nothing is left in the reactor, as tests of programs that embed
    a proxy want it. Whose protocol does not say so is looked at again once.
    """
    departure = _departures.get(id(transport))
    if departure is not None:
        departure.over()


def _close(transport: Any) -> None:
    """A mere C{IConsumer} has no end but C{unregisterProducer}, which it has been told."""
    if getattr(transport, "loseConnection", None) is not None:
        transport.loseConnection()


def _is_mere_consumer(transport: Any) -> bool:
    """Whether it says that it is a consumer, and not that it is a transport."""
    return IConsumer.providedBy(transport) and not ITransport.providedBy(transport)


def _is_gone(transport: Any) -> bool:
    return bool(getattr(transport, "disconnected", False))


def _ask(fd: int, what: int) -> int:
    """How many bytes: C{FIONREAD}, to be read; C{TIOCOUTQ}, that the peer's kernel does not have yet."""
    answer = array.array("i", [0])
    fcntl.ioctl(fd, what, answer)
    return answer[0]


def _has_to_send(edge: EdgeSocket) -> bool:
    """Whether more than its end is on its way."""
    end = _ONLY_THE_END if edge.plain else _ONLY_A_CLOSE_NOTIFY
    return _ask(edge.socket.fileno(), termios.TIOCOUTQ) > end


def _unsent(edge: EdgeSocket) -> int:
    """Bytes that the peer's kernel does not have yet."""
    return _ask(edge.socket.fileno(), termios.TIOCOUTQ) + edge.unsent


def _unsent_below(transport: Any) -> int:
    """Likewise, of the socket below a transport of any sort; 0 if it has none. What the transport itself holds cannot be seen."""
    fileno = getattr(transport, "fileno", None)
    try:
        return 0 if fileno is None else _ask(fileno(), termios.TIOCOUTQ)
    except (OSError, ValueError):  # it is no socket, or closed
        return 0


def _gone(sock: socket.SocketType) -> bool:
    """Whether a TCP connection is over: what was unsent then still counts as that."""
    try:
        state: int = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    except OSError:  # a UNIX socket
        return False
    return state == _TCP_CLOSE


class _Patience:
    """Of who waits for a send queue to get shorter, and looks at it more and more seldom."""

    def __init__(self, clock: Any, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._since = clock.seconds()
        self._unsent = -1
        self._delay = _LOOK_EVERY

    def left(self, unsent: int) -> float:
        """Seconds that it lasts without any progress, if so many bytes are in the queue."""
        now = self._clock.seconds()
        if unsent != self._unsent:
            self._unsent, self._since = unsent, now
        return float(self._since + self._seconds - now) if self._seconds else _LOOK_SELDOM

    def look_again(self, left: float, look: Callable[[], object]) -> Any:
        """
        Call C{look} in a while, within C{left} seconds.

        @return: the C{IDelayedCall}.
        """
        call = self._clock.callLater(min(self._delay, left), look)
        self._delay = min(self._delay * 1.5, _LOOK_SELDOM)
        return call


class _Farewell:
    """Waits for one socket's send queue to be empty, then ends it."""

    def __init__(
        self, transport: Any, edge: EdgeSocket, clock: Any, patience: float, end: Callable[[], object]
    ) -> None:
        self._end = end
        self._transport = transport
        self._edge = edge
        self._patience = _Patience(clock, patience)

    def look(self) -> None:
        if not self._transport.connected:
            return
        unsent = _unsent(self._edge)
        left = self._patience.left(unsent)
        if unsent and left > 0 and not (self._edge.failed or _gone(self._edge.socket)):
            self._patience.look_again(left, self.look)
        else:
            self._end()


@implementer(IPullProducer)
class _Emptied:
    """
    Learns when the kernel has all that a transport of Twisted's was given: then that asks its producer for more.

    @ivar emptied: it has.
    """

    def __init__(self, transport: Any) -> None:
        self._asked = 0
        transport.registerProducer(self, False)  # which asks, whatever it holds
        transport.startWriting()  # else it would not ask again if it holds nothing

    @property
    def emptied(self) -> bool:
        return self._asked > 1

    def resumeProducing(self) -> None:
        self._asked += 1

    def stopProducing(self) -> None:
        """It is gone."""


class _Departure:
    """
    Waits for a transport that is to go by itself, then makes it.

    @ivar _sent: of one that does not go by itself, but is to be made to as soon as the peer's kernel has everything.
    """

    def __init__(self, transport: Any, clock: Any, patience: float, sent: _Emptied | None = None) -> None:
        self._transport = transport
        self._sent = sent
        self._patience = _Patience(clock, patience)
        self._call: Any = None
        _departures[id(transport)] = self

    def wait(self) -> None:
        unsent = _unsent_below(self._transport)
        left = self._patience.left(unsent)
        if left > 0 and not self._all_sent(unsent):
            self._call = self._patience.look_again(left, self._look)
        else:
            self.over()
            abort(self._transport)

    def _all_sent(self, unsent: int) -> bool:
        if self._sent is None:
            return False
        return (self._sent.emptied and not unsent) or _gone(self._transport.getHandle())

    def over(self) -> None:
        """It needs not be waited for any more."""
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()
        if _departures.get(id(self._transport)) is self:
            del _departures[id(self._transport)]

    def _look(self) -> None:
        if _is_gone(self._transport):
            self.over()
        else:
            self.wait()


#: Those that are waited for, by the C{id} of their transports, which they hold.
_departures: dict[int, _Departure] = {}
