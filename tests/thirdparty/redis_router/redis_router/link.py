"""A client's connection to one server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from redis_router.resp import ReplyFramer
from twisted_pipe.errors import Cancelled, Side, TimedOut
from twisted_pipe.interfaces import Direction
from twisted_pipe.net.closing import abort
from twisted_pipe.net.outcome import PipeOutcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis_router.client import Client
    from redis_router.servers import Server

__all__ = ["Link", "Valve"]


@implementer(IPushProducer)
class Valve:
    """
    What a pipe's C{registerProducer} is given by somebody who has several sources, or none of his own, to stop.

    @ivar open: whether the pipe takes more.
    """

    def __init__(self, changed: Callable[[], object]) -> None:
        self.open = True
        self._changed = changed

    def pauseProducing(self) -> None:
        self.open = False
        self._changed()

    def resumeProducing(self) -> None:
        self.open = True
        self._changed()

    def stopProducing(self) -> None:
        """The pipe has ended; its C{done} tells it, too."""


class Link(Protocol):
    """
    Commands go to the server through a pipe. Of the replies it holds what one read brings, until it is their turn.

    @ivar server: whose it is.
    @ivar outbox: commands that are to be sent together.
    @ivar outstanding: commands without their reply.
    @ivar valve: whether the server takes commands.
    @ivar lost: why there is no connection any more; empty while there is.
    """

    def __init__(self, client: Client, server: Server) -> None:
        self.server = server
        self.outbox: list[bytes] = []
        self.outstanding = 0
        self.valve = Valve(client.turn)
        self.lost = ""
        self._client = client
        self._framer = ReplyFramer()
        self._held = b""
        self._at = 0  # how much of that was taken
        self._reading = True
        self._pipe: Any = None

    def __repr__(self) -> str:
        return f"<Link {self.server.name} outstanding={self.outstanding} held={self.held} {self.lost}>"

    @property
    def held(self) -> int:
        """Bytes that wait for their turn."""
        return len(self._held) - self._at

    def open(self) -> None:
        """
        The connection stands.

        @raise twisted_pipe.errors.FilterFailed: one cannot be built.
        """
        transport: Any = self.transport
        context, client = self._client.router.context, self._client
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        name = f"{client.name} -> {self.server.name}"
        filters = context.filters(Direction.REQUEST, client.transport, transport, name)
        self._pipe = context.pipe(None, transport, Direction.REQUEST, filters, name=f"{name} (request)")
        self._pipe.registerProducer(self.valve, True)
        self._pipe.done.addCallback(self._request_over)
        self.server.connections += 1

    def flush(self) -> None:
        """Send what is in the outbox."""
        outbox, self.outbox = self.outbox, []
        if not self.lost:
            self._pipe.write(b"".join(outbox))

    def take(self, count: int) -> tuple[bytes, int]:
        """
        Bytes that belong to the next C{count} replies, as far as they have come, and how many replies they complete.

        @raise ReplyError: they are no replies.
        """
        held, start = self._held, self._at
        stop, ended = self._framer.scan(held, start, count)
        self.outstanding -= ended
        if stop < len(held):
            self._at = stop
            return held[start:stop], ended
        self._held, self._at = b"", 0
        return held[start:] if start else held, ended

    def read(self, wanted: bool) -> None:
        """Whether replies may come."""
        if wanted != self._reading and not self.lost:
            self._reading = wanted
            transport: Any = self.transport
            if wanted:
                transport.resumeProducing()
            else:
                transport.pauseProducing()

    def drop(self, why: str) -> None:
        """Close the connection. C{link_lost} is called, too, but has nothing new to tell."""
        if self.lost:
            return
        self._end(why)
        transport: Any = self.transport
        if self.outstanding:
            abort(transport)
        else:
            transport.loseConnection()

    def _end(self, why: str) -> None:
        self.lost = why
        if self._pipe is not None:
            self.server.connections -= 1
            self._pipe.abandon(Cancelled(why))

    def dataReceived(self, data: bytes) -> None:
        self._held = self._held[self._at :] + data if self._held else data
        self._at = 0
        self._client.turn()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        if not self.lost:
            self._end(reason.getErrorMessage())
        self._client.link_lost(self)

    def _request_over(self, outcome: PipeOutcome) -> None:
        """The server, or a filter, takes no more commands."""
        if self.lost:
            return
        error = outcome.error
        if error is None or (error.side is Side.DOWNSTREAM and not isinstance(error, TimedOut)):
            pass  # what it has answered before may yet be read, and then the end
        else:
            self.drop(str(error))
        self._client.link_lost(self)
