"""
A connection whose owner reads it itself between two pipes: a Twisted transport made to look like a
L{twisted_pipe.net.bare.BareSocket}.

An HTTP connection is read for a head, then a pipe moves a body, then it is read for the next head. A bare socket can do that as
it is: C{reader} says whose turn it is. For any other transport (TLS, other reactors) a L{TransportWire} is the protocol, and
holds what one read brings while nobody wants it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_pipe.net.closing import abort
from twisted_pipe.net.edge import SocketOwner
from twisted_pipe.net.pipe_end import PipeEnd

__all__ = ["TransportWire"]


class TransportWire(PipeEnd):
    """
    @ivar reader: who reads it; told by C{socket_ready} when something came, by C{socket_lost} when it is gone. While a pipe has it
        (C{feed}), the pipe is told.
    @ivar gone: whether the connection is gone.
    @ivar sending: what C{send} waits for; None for nothing.
    """

    def __init__(self, connected: Any = None, lost: Callable[[Failure], object] | None = None) -> None:
        """As of a L{PipeEnd}."""
        PipeEnd.__init__(self, connected, lost)
        self.reader: SocketOwner | None = None
        self.gone = False
        self.sending: _Sending | None = None

    def __repr__(self) -> str:
        return f"<TransportWire {self.transport!r} {len(self.early)} bytes{' ended' if self.ended else ''}>"

    @property
    def ended(self) -> bool:
        """Whether nothing will come behind what is here."""
        return self.ended_early or self.gone

    @property
    def readable(self) -> bool:
        """Whether C{receive} gives something."""
        return bool(self.early) or self.ended

    def receive(self) -> bytes | None:
        """What has come: C{b""} after its end, None if nothing is here yet. More is asked for then."""
        data, self.early = self.early, b""
        if data:
            return data
        if self.ended:
            return b""
        self.resume()
        return None

    def take_early(self) -> bytes:
        """What has come and nobody has read: the first bytes for the pipe that reads from here on."""
        data, self.early = self.early, b""
        return data

    def resume(self) -> None:
        """Have more come, unless a pipe decides that. An earlier one may have left the transport paused."""
        if not self.gone and self.source_of is None:
            self.transport.resumeProducing()  # type: ignore[union-attr]

    def release(self) -> None:
        """The pipe that it fed is over: from here on its reader reads again."""
        self.source_of = None

    def write(self, data: bytes) -> None:
        """Send C{data}; the transport keeps what it cannot send at once."""
        if not self.gone:
            self.transport.write(data)  # type: ignore[union-attr]

    def send(self, data: bytes, taken: Callable[[], object]) -> None:
        """
        Send C{data}, and call C{taken}, once, when the transport takes more than that: at once, or when enough of it has gone. Not
        if the connection breaks off before. It must not have.
        """
        sending = self.sending = _Sending(self, taken)
        self.transport.registerProducer(sending, True)  # type: ignore[union-attr]
        self.transport.write(data)  # type: ignore[union-attr]
        if not sending.paused:
            sending.resumeProducing()

    def stop_sending(self) -> None:
        """Nobody waits for C{send} any more: the transport may be closed when it has sent everything."""
        sending, self.sending = self.sending, None
        if sending is not None and not self.gone:
            self.transport.unregisterProducer()  # type: ignore[union-attr]

    def abort(self) -> None:
        """End it by a reset."""
        abort(self.transport)

    def dataReceived(self, data: bytes) -> None:
        PipeEnd.dataReceived(self, data)
        if self.source_of is None and self.reader is not None:
            self.reader.socket_ready()

    def readConnectionLost(self) -> None:
        PipeEnd.readConnectionLost(self)
        if self.source_of is None and self.reader is not None:
            self.reader.socket_ready()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.gone = True
        clean, fed = reason.check(ConnectionDone) is not None, self.source_of is not None
        if clean and not fed:
            self.ended_early = True  # for the pipe that it feeds later
        PipeEnd.connectionLost(self, reason)
        reader = self.reader  # whoever was told just now may have let go of it
        if reader is None or fed:
            return
        if clean:
            reader.socket_ready()  # a clean end, behind what may still be here
        else:
            reader.socket_lost(reason)


@implementer(IPushProducer)
class _Sending:
    """
    Is told by a transport whether it has room.

    @ivar paused: whether it has none.
    """

    def __init__(self, wire: TransportWire, taken: Callable[[], object]) -> None:
        self._wire = wire
        self._taken = taken
        self.paused = False

    def pauseProducing(self) -> None:
        """It has enough."""
        self.paused = True

    def resumeProducing(self) -> None:
        """It has room."""
        if self._wire.sending is self:
            self._wire.stop_sending()
            self._taken()

    def stopProducing(self) -> None:
        """It is gone, which the wire is told, too."""
