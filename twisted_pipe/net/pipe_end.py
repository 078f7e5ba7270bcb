"""
The protocol on a transport that pipes come from and go to.

On the C{epollet} reactor's TCP transports its methods are hardly called: the pipes read and write the sockets. On every other
transport it hands over what arrives. It keeps a half-closed connection open: the end of one direction is the pipe's business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_pipe.net.closing import departed

if TYPE_CHECKING:
    from twisted_pipe.net.driver import EventPipe

__all__ = ["PipeEnd"]


@implementer(IHalfCloseableProtocol)
class PipeEnd(Protocol):
    """
    One end of a connection.

    @ivar source_of: the pipe that takes what arrives here. Before it is set, arriving bytes are kept and the transport is
        paused, so at most what one read brings is held.
    @ivar early: what arrived before that; the pipe's C{preread}.
    """

    def __init__(
        self,
        connected: Callable[[PipeEnd], object] | None = None,
        lost: Callable[[Failure], object] | None = None,
    ) -> None:
        """
        @param connected: called with this when the connection stands.
        @param lost: called once when it is gone.
        """
        self.source_of: EventPipe | None = None
        self.early = b""
        self.ended_early = False
        self._connected = connected
        self._lost = lost

    def feed(self, pipe: EventPipe) -> None:
        """From here on, what arrives goes to C{pipe}, which has had L{early} as its C{preread}."""
        self.source_of = pipe
        if self.ended_early:
            pipe.upstream_ended()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.pauseProducing()  # type: ignore[attr-defined]
        if self._connected is not None:
            self._connected(self)

    def dataReceived(self, data: bytes) -> None:
        if self.source_of is None:
            self.early += data
            self.transport.pauseProducing()  # type: ignore[union-attr]
        elif (
            not self.source_of.ended
        ):  # else nobody takes it; it is read all the same: closing with bytes unread is a reset
            self.source_of.write(data)

    def readConnectionLost(self) -> None:
        """The peer sends no more."""
        if self.source_of is None:
            self.ended_early = True
        else:
            self.source_of.upstream_ended()

    def writeConnectionLost(self) -> None:
        """We send no more, as a pipe wanted it."""

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        departed(self.transport)
        if self.source_of is not None:
            self.source_of.upstream_lost(reason)
        lost, self._lost = self._lost, None
        if lost is not None:
            lost(reason)
