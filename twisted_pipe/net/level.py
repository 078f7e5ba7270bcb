"""
Everybody else's descriptors: level-triggered, as they expect.

Wakers, UDP, processes, stdio, UNIX sockets, listening sockets and whatever a program adds with C{addReader} read once per
event and hide EAGAIN. Under edge triggering they would strand data, so they get the semantics of Twisted's own reactors;
only the lookup is by tag. A descriptor's reader and writer may be two objects (C{StandardIO} on one terminal): they are
kept apart and compared by identity.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import tcp
from twisted.internet.error import ConnectionFdescWentAway
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.python import log

from twisted_pipe.core.readiness import ERR, HUP, IN, OUT
from twisted_pipe.core.slots import NO_TAG, Registration
from twisted_pipe.net.engine import Engine

__all__ = ["LevelRegistration"]

_DESCRIPTOR_LOST = ConnectionFdescWentAway("File descriptor lost")


class LevelRegistration(Registration):
    """
    One descriptor number and the selectables that asked for its events.

    @ivar fd: the number it was registered under.
    @ivar reader: who gets C{doRead}, or None.
    @ivar writer: who gets C{doWrite}, or None; often the same object.
    """

    __slots__ = ("fd", "reader", "writer")

    def __init__(self, fd: int) -> None:
        Registration.__init__(self)
        self.fd = fd
        self.reader: Any = None
        self.writer: Any = None

    def __repr__(self) -> str:
        return f"<LevelRegistration fd={self.fd} reader={self.reader!r} writer={self.writer!r}>"

    @property
    def mask(self) -> int:
        """The events to register for."""
        return (IN if self.reader is not None else 0) | (OUT if self.writer is not None else 0)

    @property
    def accepts(self) -> bool:
        """Whether it is a listening socket, whose events go first."""
        return isinstance(self.reader, tcp.Port)

    @property
    def transport(self) -> Any:
        """Whose log prefix counts."""
        return self.reader if self.reader is not None else self.writer

    def run(self, reactor: Engine) -> None:
        """Call C{doRead}, then C{doWrite}, as the events say; what they return or raise disconnects."""
        events, self.events = self.events, 0
        reader, writer = self.reader, self.writer
        if events & (ERR | HUP) and not events & IN:
            if reader is not None:
                reactor.disconnect(reader, CONNECTION_DONE, True)
            if writer is not None and writer is not reader:
                reactor.disconnect(writer, CONNECTION_LOST, False)
            return
        if events & IN and reader is not None:
            why = _call(reader, "doRead")
            if why:
                reactor.disconnect(reader, why, True)
        if events & OUT and writer is not None:
            if self.tag == NO_TAG or self.writer is not writer:
                reactor.stale_events += 1  # the read half closed it, or took its interest back
                return
            why = _call(writer, "doWrite")
            if why:
                reactor.disconnect(writer, why, False)


def _call(selectable: Any, method: str) -> BaseException | None:
    try:
        if selectable.fileno() == -1:
            return _DESCRIPTOR_LOST
        why: BaseException | None = getattr(selectable, method)()
        return why
    except BaseException as error:
        # As in Twisted's own reactors: what application code raises is logged and ends its connection.
        log.err()
        return error
