"""
Where a pipe's bytes go: a socket that it writes itself, or a Twisted consumer; or one of these that is not there yet.

All are asked alike: C{writable}, C{write}, C{send_file}.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from twisted_pipe.errors import DiskFailed
from twisted_pipe.interfaces import BytesLike
from twisted_pipe.net.edge import EdgeSocket, SocketOwner
from twisted_pipe.net.spillfile import SpillFile
from twisted_pipe.net.storefile import StoreFile

__all__ = ["AwaitedSink", "ConsumerSink", "Sink", "SocketSink"]

_FILE_PART = 1024 * 1024  # a fast client on a long file must not keep the others waiting


class Sink(Protocol):
    """What the driver needs of each."""

    @property
    def writable(self) -> bool:
        """Whether it takes bytes now."""

    @property
    def file_part(self) -> int:
        """The most bytes that C{send_file} should be asked for."""

    def attach(self, pipe: Any) -> None:
        """Call C{pipe}, a C{SocketOwner} and C{IPushProducer}, from now on."""

    def write(self, parts: Sequence[BytesLike]) -> int:
        """Hand over C{parts}; returns how many bytes were taken. Raises C{OSError} when the downstream is lost."""

    def send_file(self, file: SpillFile | StoreFile, offset: int, count: int) -> int:
        """Hand over C{count} bytes of C{file} from C{offset}, likewise; C{DiskFailed} when the file cannot be read."""

    def settle(self, waiting: bool) -> None:
        """After a turn: whether the pipe waits for it to be writable."""

    def detach(self) -> None:
        """The pipe has ended: call nobody any more."""


class SocketSink:
    """The write half of an edge-triggered socket."""

    __slots__ = ("edge",)

    file_part = _FILE_PART

    def __init__(self, edge: EdgeSocket) -> None:
        self.edge = edge

    def attach(self, pipe: SocketOwner) -> None:
        self.edge.writer = pipe

    @property
    def writable(self) -> bool:
        return self.edge.writable and not self.edge.transport.backlog

    def write(self, parts: Sequence[BytesLike]) -> int:
        return self.edge.send(parts)

    def send_file(self, file: SpillFile | StoreFile, offset: int, count: int) -> int:
        fd, within = file.locate(offset)
        return self.edge.send_file(fd, within, count)

    def settle(self, waiting: bool) -> None:
        self.edge.writing = waiting or self.edge.transport.backlog

    def detach(self) -> None:
        self.edge.writer = None
        self.edge.writing = self.edge.transport.backlog


class ConsumerSink:
    """
    Any C{IConsumer}. It is handed at most a batch (C{busy_size}) at a time and is not writable while it has paused the pipe.

    @ivar writable: flipped by the pipe's C{pauseProducing} and C{resumeProducing}.
    """

    __slots__ = ("_consumer", "file_part", "writable")

    def __init__(self, consumer: Any, busy_size: int) -> None:
        self._consumer = consumer
        self.writable = True
        self.file_part = busy_size

    def attach(self, pipe: Any) -> None:
        self._consumer.registerProducer(pipe, True)

    def write(self, parts: Sequence[BytesLike]) -> int:
        # A copy: the consumer keeps what it is given, while our buffers are read into again.
        data = b"".join(parts)
        self._consumer.write(data)
        return len(data)

    def send_file(self, file: SpillFile | StoreFile, offset: int, count: int) -> int:
        try:
            data = file.read(offset, count)
        except (OSError, EOFError) as error:
            raise DiskFailed(f"spilled bytes cannot be read: {getattr(error, 'strerror', None) or error}") from error
        self._consumer.write(data)
        return len(data)

    def settle(self, waiting: bool) -> None:
        pass  # it says so itself, by resumeProducing

    def detach(self) -> None:
        self.writable = False
        # A twisted.web request whose client has gone has no channel any more, and would raise.
        if getattr(self._consumer, "channel", self) is not None:
            self._consumer.unregisterProducer()


class AwaitedSink:
    """Stands in for a downstream that is not there yet: it takes nothing."""

    __slots__ = ()

    writable = False
    file_part = 0

    def attach(self, pipe: Any) -> None:
        pass

    def write(self, parts: Sequence[BytesLike]) -> int:
        return 0

    def send_file(self, file: SpillFile | StoreFile, offset: int, count: int) -> int:
        return 0

    def settle(self, waiting: bool) -> None:
        pass

    def detach(self) -> None:
        pass
