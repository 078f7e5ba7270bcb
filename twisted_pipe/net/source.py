"""
Where a pipe's bytes come from: a socket that it reads itself, or a Twisted producer that pushes.

Both are asked alike: C{readable}, C{read_into}, C{settle}.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from twisted_pipe.errors import PipeError, PipeFinished
from twisted_pipe.net.edge import WOULD_BLOCK, EdgeSocket, SocketOwner

__all__ = ["ProducerSource", "SocketSource", "Source"]


class Source(Protocol):
    """What the driver needs of either."""

    @property
    def readable(self) -> bool:
        """Whether reading would give bytes, the end, or an error."""

    def read_into(self, view: memoryview) -> int:
        """As L{EdgeSocket.recv_into}; raises C{OSError} or C{PipeError} when the upstream is lost."""

    def read_into_all(self, views: Sequence[memoryview]) -> int:
        """As L{EdgeSocket.recv_into_all}, likewise."""

    def settle(self, wanted: bool) -> None:
        """After a turn: whether the pipe wants more."""

    def detach(self) -> None:
        """The pipe has ended: call nobody any more."""


class SocketSource:
    """The read half of an edge-triggered socket. Not wanting to read costs nothing: the kernel holds the bytes back."""

    __slots__ = ("_owner", "edge")

    def __init__(self, edge: EdgeSocket, owner: SocketOwner) -> None:
        self.edge = edge
        self._owner = owner
        edge.reader = owner
        edge.reading = False  # the transport itself must not read any more

    @property
    def readable(self) -> bool:
        return self.edge.readable

    def read_into(self, view: memoryview) -> int:
        return self.edge.recv_into(view)

    def read_into_all(self, views: Sequence[memoryview]) -> int:
        return self.edge.recv_into_all(views)

    def settle(self, wanted: bool) -> None:
        pass

    def detach(self) -> None:
        if self.edge.reader is self._owner:  # else somebody else reads it already: its stream had ended before the pipe
            self.edge.reader = None


def _copied(data: object) -> bytes:
    """Bytes of memory that its owner may change."""
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"bytes are expected, not {type(data).__name__}")
    return bytes(data)


class ProducerSource:
    """
    Bytes that a producer pushed and the pipe has not yet taken.

    The producer is paused as soon as anything stands here or the pipe wants no more; so at most what one turn of a transport
    brings is held beyond the pipe's buffers.

    @ivar unread: after C{detach}, what was pushed and nobody has read.
    """

    __slots__ = ("_ended", "_failure", "_paused", "_pending", "_producer", "_registered", "_streaming", "unread")

    def __init__(self, producer: Any) -> None:
        self._producer = producer
        self._streaming = True
        self._registered = False
        self._pending: deque[memoryview] = deque()
        self._paused: bool | None = None  # whoever made the connection may have paused it already
        self._ended = False
        self._failure: PipeError | None = None
        self.unread = b""

    def register(self, producer: Any, streaming: bool) -> None:
        """
        C{IConsumer.registerProducer}. After the end of the stream it is stopped at once.

        @raise RuntimeError: there is one already.
        """
        if self._ended:
            producer.stopProducing()
            return
        if self._producer is not None:
            raise RuntimeError(f"{self._producer!r} is registered already; {producer!r} cannot be")
        self._producer = producer
        self._streaming = streaming
        self._registered = True
        self._paused = False  # it produces already

    def push(self, data: bytes) -> None:
        """
        The producer's bytes.

        @raise PipeFinished: it has said that it ended.
        @raise TypeError: they are none.
        """
        if self._ended:
            raise PipeFinished("bytes were written to the pipe after the end of the stream")
        if type(data) is not bytes:
            data = _copied(data)
        if not data:
            return
        if self._pending and self._streaming and not self._paused and self._producer is not None:
            # it goes on writing from within resumeProducing, while the pipe cannot take anything
            self._paused = True
            self._producer.pauseProducing()
        self._pending.append(memoryview(data))

    def end(self, failure: PipeError | None = None) -> None:
        """No more comes: cleanly, or because of C{failure}. Only the first call counts."""
        if not self._ended:
            self._ended = True
            self._failure = failure
            self._producer = None

    @property
    def readable(self) -> bool:
        return self._ended or bool(self._pending)

    def read_into(self, view: memoryview) -> int:
        filled, room = 0, len(view)
        pending = self._pending
        while pending and filled < room:
            data = pending[0]
            part = data[: room - filled]
            view[filled : filled + len(part)] = part
            filled += len(part)
            if len(part) == len(data):
                pending.popleft()
            else:
                pending[0] = data[len(part) :]
        if filled:
            return filled
        if not self._ended:
            return WOULD_BLOCK
        if self._failure is not None:
            raise self._failure
        return 0

    def read_into_all(self, views: Sequence[memoryview]) -> int:
        return self.read_into(views[0])

    def take(self) -> bytes:
        """What was pushed and not read. It is nobody's here any more."""
        data = b"".join(self._pending)
        self._pending.clear()
        return data

    def settle(self, wanted: bool) -> None:
        producer = self._producer
        if producer is None:
            return
        stop = not wanted or bool(self._pending)
        if not self._streaming:
            if not stop:
                producer.resumeProducing()
        elif stop != self._paused:
            self._paused = stop
            if stop:
                producer.pauseProducing()
            else:
                producer.resumeProducing()

    def detach(self) -> None:
        producer, self._producer = self._producer, None
        self.unread = self.take()
        self._ended = True
        if self._registered and producer is not None:
            producer.stopProducing()  # it has not ended, and nobody else knows of it; a transport is closed by its owner
