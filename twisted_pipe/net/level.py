"""
Everybody else's descriptors: level-triggered, as they expect.

Wakers, UDP, processes, stdio, UNIX sockets, listening sockets and whatever a program adds with C{addReader} read once per
event and hide EAGAIN. Under edge triggering they would strand data, so they get the semantics of Twisted's own reactors;
only the lookup is by tag. A descriptor's reader and writer may be two objects (C{StandardIO} on one terminal): they are
kept apart and compared by identity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet import tcp
from twisted.internet.error import ConnectionFdescWentAway
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.python import log

from twisted_pipe.core.readiness import ERR, EXCLUSIVE, HUP, IN, OUT
from twisted_pipe.core.slots import NO_TAG, Registration

if TYPE_CHECKING:
    from twisted_pipe.net.loop import EventLoop

__all__ = ["DESCRIPTOR_LOST", "LevelRegistration"]

DESCRIPTOR_LOST = ConnectionFdescWentAway("File descriptor lost")


class LevelRegistration(Registration):
    """
    One descriptor number and the selectables that asked for its events.

    @ivar foreign: whether its descriptor is a program's own: neither a listener nor the reactor's waker.
    @ivar exclusive: whether other processes wait on the same descriptor: then one of them is woken by an event, not all
        (EPOLLEXCLUSIVE).

    @ivar fd: the number it was registered under.
    @ivar reader: who gets C{doRead}, or None.
    @ivar writer: who gets C{doWrite}, or None; often the same object.
    """

    __slots__ = ("exclusive", "fd", "foreign", "reader", "writer")

    def __init__(self, fd: int) -> None:
        Registration.__init__(self)
        self.fd = fd
        self.exclusive = False
        self.foreign = False
        self.reader: Any = None
        self.writer: Any = None

    def __repr__(self) -> str:
        return f"<LevelRegistration fd={self.fd} reader={self.reader!r} writer={self.writer!r}>"

    @property
    def mask(self) -> int:
        """The events to register for."""
        mask = (IN if self.reader is not None else 0) | (OUT if self.writer is not None else 0)
        return mask | EXCLUSIVE if self.exclusive and mask else mask

    @property
    def lost(self) -> bool:
        """Whether one of its selectables has another descriptor now, or none."""
        return any(each is not None and _number(each) != self.fd for each in (self.reader, self.writer))

    @property
    def accepts(self) -> bool:
        """Whether it is a listening socket, whose events go first."""
        return isinstance(self.reader, tcp.Port)

    @property
    def transport(self) -> Any:
        """Who stands for the descriptor."""
        return self.reader if self.reader is not None else self.writer

    @property
    def log_prefix(self) -> str:
        """The "system" of what its handlers log."""
        try:
            prefix: str = self.transport.logPrefix()
        except Exception:
            prefix = "(buggy logPrefix method)"
            log.err(system=prefix)
        return prefix

    def run(self, loop: EventLoop) -> None:
        """Call C{doRead}, then C{doWrite}, as the events say; what they return or raise disconnects."""
        events, self.events = self.events, 0
        reader, writer = self.reader, self.writer
        if events & (ERR | HUP) and not events & IN:
            if reader is not None:
                loop.disconnect(reader, CONNECTION_DONE, True)
            if writer is not None and writer is not reader:
                loop.disconnect(writer, CONNECTION_LOST, False)
            return
        if events & IN and reader is not None:
            why = _call(reader, "doRead")
            if why:
                loop.disconnect(reader, why, True)
        if events & OUT and writer is not None:
            if self.tag == NO_TAG or self.writer is not writer:
                loop.stale_events += 1  # the read half closed it, or took its interest back
                return
            why = _call(writer, "doWrite")
            if why:
                loop.disconnect(writer, why, False)


def _number(selectable: Any) -> int:
    try:
        number: int = selectable.fileno()
        return number
    except Exception:  # a foreign object's: closed ones raise anything
        return -1


def _call(selectable: Any, method: str) -> BaseException | None:
    try:
        if selectable.fileno() == -1:
            return DESCRIPTOR_LOST
        why: BaseException | None = getattr(selectable, method)()
        return why
    except BaseException as error:
        # As in Twisted's own reactors: what application code raises is logged and ends its connection.
        log.err()
        return error
