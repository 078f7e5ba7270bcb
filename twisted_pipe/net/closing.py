"""
Ways to end a connection's sending side, on any transport.

TCP has one unclean end, the reset, and a reset throws away what the kernel has not sent yet. So a stream that broke off is
reset only after what was received has left: L{abort_when_sent}.
"""

from __future__ import annotations

import array
import fcntl
import termios
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IHalfCloseableDescriptor, ISSLTransport, ITCPTransport

from twisted_pipe.net.edge import EdgeSocket, edge_of

__all__ = ["abort", "abort_when_sent", "can_half_close", "close_when_sent", "half_close"]

_LOOK_EVERY = 0.05


def can_half_close(transport: Any) -> bool:
    """Whether its two directions end apart. Those of TLS do not: its end of sending ends the connection."""
    if isinstance(transport, EdgeSocket):
        return True
    if ISSLTransport.providedBy(transport) or getattr(transport, "TLS", False):
        return False
    return ITCPTransport.providedBy(transport) or IHalfCloseableDescriptor.providedBy(transport)


def half_close(transport: Any) -> None:
    """Everything was sent and no more comes; what the peer sends may still be read. Closes where there are no halves."""
    if can_half_close(transport):
        transport.loseWriteConnection()
    else:
        transport.loseConnection()


def abort(transport: Any) -> None:
    """End it at once and uncleanly (on TCP a reset), unless it is gone already."""
    if getattr(transport, "abortConnection", None) is not None:
        transport.abortConnection()
    else:
        transport.loseConnection()


def abort_when_sent(transport: Any, clock: Any, patience: float) -> None:
    """
    End it uncleanly, but only when the peer's kernel has what ours was given.

    @param patience: seconds to wait for that at most; 0 for ever.
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
    End it cleanly, but only when the peer's kernel has what ours was given: closing a socket that has bytes to be read resets
    it, and loses what it has yet to send. What the peer sends meanwhile is not read.

    @param patience: seconds to wait for that at most; 0 for ever.
    """
    half_close(transport)
    edge = edge_of(transport) if getattr(transport, "connected", False) else None
    if edge is not None and _ask(edge, termios.FIONREAD):
        _Farewell(transport, edge, clock, patience, transport.loseConnection).look()
    else:
        transport.loseConnection()


def _ask(edge: EdgeSocket, what: int) -> int:
    """How many bytes: C{FIONREAD}, to be read; C{TIOCOUTQ}, that the peer's kernel does not have yet."""
    answer = array.array("i", [0])
    fcntl.ioctl(edge.socket.fileno(), what, answer)
    return answer[0]


class _Farewell:
    """Waits for one socket's send queue to be empty, then ends it."""

    def __init__(
        self, transport: Any, edge: EdgeSocket, clock: Any, patience: float, end: Callable[[], object]
    ) -> None:
        self._end = end
        self._transport = transport
        self._edge = edge
        self._clock = clock
        self._until = clock.seconds() + patience if patience else None

    def look(self) -> None:
        if not self._transport.connected:
            return
        unsent = _ask(self._edge, termios.TIOCOUTQ)
        if unsent and (self._until is None or self._clock.seconds() < self._until):
            self._clock.callLater(_LOOK_EVERY, self.look)
        else:
            self._end()
