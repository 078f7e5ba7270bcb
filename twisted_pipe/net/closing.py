"""
Ways to end a connection's sending side, on any transport.

TCP has one unclean end, the reset, and a reset throws away what the kernel has not sent yet. So a stream that broke off is
reset only after what was received has left: L{abort_when_sent}.
"""

from __future__ import annotations

import array
import fcntl
import socket
import termios
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IHalfCloseableDescriptor, ISSLTransport, ITCPTransport

from twisted_pipe.net.bare import BareSocket
from twisted_pipe.net.edge import EdgeSocket, edge_of

__all__ = ["abort", "abort_when_sent", "can_half_close", "close_when_sent", "half_close"]

_LOOK_EVERY = 0.05  # seconds, at first
_LOOK_SELDOM = 1.0
_TCP_CLOSE = 7  # include/net/tcp_states.h
_ONLY_THE_END = 1  # TIOCOUTQ counts the FIN as a byte
_ONLY_A_CLOSE_NOTIFY = 128  # bytes of one, whatever the cipher, and the FIN


def can_half_close(transport: Any) -> bool:
    """Whether its two directions end apart. Those of TLS do not: its end of sending ends the connection."""
    if isinstance(transport, EdgeSocket):
        return transport.plain
    if ISSLTransport.providedBy(transport) or getattr(transport, "TLS", False):
        return False
    return ITCPTransport.providedBy(transport) or IHalfCloseableDescriptor.providedBy(transport)


def half_close(transport: Any) -> None:
    """
    Everything was sent and no more comes; what the peer sends may still be read. Closes where there are no halves, and does nothing
    to one that is gone.
    """
    if _is_gone(transport):
        return
    if can_half_close(transport):
        transport.loseWriteConnection()
    else:
        _close(transport)


def abort(transport: Any) -> None:
    """End it at once and uncleanly (on TCP a reset), unless it is gone already."""
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
    elif can_half_close(transport):
        transport.loseConnection()  # its buffer cannot be seen; a reset would lose it
    else:
        abort(transport)


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
    if edge is not None and (_ask(edge, termios.FIONREAD) or _has_to_send(edge)):
        _Farewell(transport, edge, clock, patience, transport.loseConnection).look()
    else:
        transport.loseConnection()


def _close(transport: Any) -> None:
    """A mere C{IConsumer} has no end but C{unregisterProducer}, which it has been told."""
    if getattr(transport, "loseConnection", None) is not None:
        transport.loseConnection()


def _is_gone(transport: Any) -> bool:
    return bool(getattr(transport, "disconnected", False))


def _ask(edge: EdgeSocket, what: int) -> int:
    """How many bytes: C{FIONREAD}, to be read; C{TIOCOUTQ}, that the peer's kernel does not have yet."""
    answer = array.array("i", [0])
    fcntl.ioctl(edge.socket.fileno(), what, answer)
    return answer[0]


def _has_to_send(edge: EdgeSocket) -> bool:
    """Whether more than its end is on its way."""
    end = _ONLY_THE_END if edge.plain else _ONLY_A_CLOSE_NOTIFY
    return _ask(edge, termios.TIOCOUTQ) > end


def _unsent(edge: EdgeSocket) -> int:
    """Bytes that the peer's kernel does not have yet."""
    return _ask(edge, termios.TIOCOUTQ) + edge.unsent


def _gone(edge: EdgeSocket) -> bool:
    """Whether a TCP connection is over: what was unsent then still counts as that."""
    try:
        state: int = edge.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    except OSError:  # a UNIX socket
        return False
    return state == _TCP_CLOSE


class _Farewell:
    """Waits for one socket's send queue to be empty, then ends it. It looks more and more seldom."""

    def __init__(
        self, transport: Any, edge: EdgeSocket, clock: Any, patience: float, end: Callable[[], object]
    ) -> None:
        self._end = end
        self._transport = transport
        self._edge = edge
        self._clock = clock
        self._patience = patience
        self._since = clock.seconds()
        self._unsent = -1
        self._delay = _LOOK_EVERY

    def look(self) -> None:
        if not self._transport.connected:
            return
        unsent, now = _unsent(self._edge), self._clock.seconds()
        if unsent != self._unsent:
            self._unsent, self._since = unsent, now
        left = self._since + self._patience - now if self._patience else _LOOK_SELDOM
        if unsent and left > 0 and not (self._edge.failed or _gone(self._edge)):
            self._clock.callLater(min(self._delay, left), self.look)
            self._delay = min(self._delay * 1.5, _LOOK_SELDOM)
        else:
            self._end()
