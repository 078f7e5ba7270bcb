"""
The fast path: from socket to socket, past everything.

While nothing waits between two sockets and nobody looks at the bytes, the pipe's policy has only one answer: read, write.
A relay does just that. Armed, it stands at its source's registration and the loop calls L{Relay.run} for each event that
tells of bytes and of nothing else: one C{recv}, one C{send}. When reads come back full, it goes over to splice(2), by which bulk
is passed on without being copied; when they come back short, it goes back. Where a socket speaks TLS there is nothing to splice:
bulk goes by larger reads, as it does once urgent data has come.

When the sink takes less than it was offered, the relay reads nothing more until it has taken the rest, for L{PATIENCE} at most:
a client as fast as the upstream is full every now and then, and buffering or spilling for it would cost more than it is
worth. If that was not enough, the stream ends, or a socket fails, the relay stops and tells its owner, which gets what was
received and not sent. The fuzz tests on sockets send the same streams with and without it.

Of a stream whose length is known it takes not one byte more, and ends with the last. What comes behind stays in the socket.

A round trip of 64 bytes costs half of what it costs by the general path, bulk a third (docs/explanation/performance.md).
"""

from __future__ import annotations

from errno import EINVAL, ENOBUFS, ENOSYS, EPERM
from typing import Protocol

from twisted.python import log
from twisted.python.failure import Failure

from twisted_pipe.net.deadline import Deadline
from twisted_pipe.net.edge import EdgeSocket
from twisted_pipe.net.splice import KernelPipe, pipes

__all__ = ["PATIENCE", "Relay", "RelayOwner"]

PATIENCE = 0.02  #: seconds a sink may be full before it counts as slow

_SMALL = 16 * 1024  # bytes of one plain read: more would seldom be there, and be worth splicing
_LARGE = 64 * 1024  # bytes of one read of bulk that cannot be spliced
_BULK = 64 * 1024  # bytes moved in a turn that make it bulk
_LONG = 128 * 1024  # bytes still to come that make it bulk from the start
_BUDGET = 1024 * 1024  # bytes in a turn before the other sockets have theirs
_NO_SPLICE = (ENOSYS, EINVAL, EPERM)  # this kernel, or who confines the process, has none for these sockets


class RelayOwner(Protocol):
    """Who is told. The relay has stopped before each of these."""

    def relay_blocked(self, relay: Relay, rest: bytes) -> None:
        """The downstream took less than was received; C{rest}, at most C{most} bytes, waits for it."""

    def relay_ended(self, relay: Relay, error: OSError | None) -> None:
        """The upstream has ended, or failed, or given all of a known length (L{Relay.left} is 0). Everything received was sent."""

    def relay_broken(self, relay: Relay, error: OSError, lost: int) -> None:
        """The downstream failed; C{lost} bytes were received and not sent."""

    def relay_lost(self, relay: Relay, reason: Failure) -> None:
        """The source's transport was closed by somebody else. Only called where the relay is its reader."""


class Relay:
    """
    One direction between two edge-triggered sockets. It is also the source's reader (C{SocketOwner}), if its owner makes it that.

    @ivar source: whose bytes are taken.
    @ivar sink: who gets them.
    @ivar moved: bytes that went through.
    @ivar last_progress: when that was, in the loop's seconds.
    """

    __slots__ = (
        "_bulk",
        "_loop",
        "_most",
        "_owner",
        "_patience",
        "_recv",
        "_rest",
        "_send",
        "_size",
        "_splices",
        "_until",
        "last_progress",
        "moved",
        "sink",
        "source",
    )

    def __init__(
        self,
        source: EdgeSocket,
        sink: EdgeSocket,
        owner: RelayOwner,
        most: int,
        now: float,
        length: int | None = None,
    ) -> None:
        """
        @param most: bytes that the owner can take back at most, when the sink takes less.
        @param now: in the loop's seconds.
        @param length: bytes to pass on, at least 1; None if the end of the stream tells.
        """
        self.source = source
        self.sink = sink
        self.moved = 0
        self.last_progress = now
        self._loop = source.transport.reactor.loop
        self._owner = owner
        self._most = most
        self._size = min(most, _SMALL)
        self._splices = source.plain and sink.plain
        self._bulk = False
        self._until: int | None = None  # how many bytes will have gone through at the end
        self.left = length
        self._rest: bytes | KernelPipe | None = None
        self._patience: Deadline | None = None
        self._recv = source.socket.recv
        self._send = sink.socket.send

    def __repr__(self) -> str:
        return f"<Relay {'armed' if self.armed else 'idle'} {self.moved} bytes>"

    @property
    def armed(self) -> bool:
        """Whether bytes that come pass through it."""
        return self.source.relay is self

    @property
    def left(self) -> int | None:
        """
        Bytes of a known length that the sink has yet to take, None if the end of the stream tells. May be set while it is idle, to
        1 or more.
        """
        return None if self._until is None else self._until - self.moved

    @left.setter
    def left(self, length: int | None) -> None:
        self._until = None if length is None else self.moved + length
        self._bulk = length is not None and length >= _LONG

    @property
    def waiting(self) -> bool:
        """Whether it waits for the sink to take what was received, and reads nothing meanwhile."""
        return self._rest is not None

    def arm(self) -> None:
        """Pass on what comes from now on. Nothing may wait for the sink; what waits in the source is not touched yet."""
        self.source.relay = self
        self.sink.feeder = self

    def stop(self) -> bytes:
        """Touch nothing more. Returns what was received and not sent."""
        self._leave()
        if self._rest is None:
            return b""
        rest, self._rest = self._rest, None
        if self.sink.writer is self:
            self.sink.writer = None
            self.sink.writing = False
        if isinstance(rest, bytes):
            return rest
        content = rest.read_back()
        pipes.give_back(rest)
        return content

    def _leave(self) -> None:
        if self.source.relay is self:
            self.source.relay = None
        if self.sink.feeder is self:
            self.sink.feeder = None
        if self._patience is not None:
            self._patience.cancel()

    # SocketOwner: as the source's reader, and as the sink's writer while it waits

    def socket_ready(self) -> None:
        """The source has something that is not plain (much, or its end), or the sink takes bytes again."""
        if self._rest is not None:
            if self.sink.writable:
                self._flush()
        elif self.source.relay is self:
            self.drain(self._loop.now)

    def socket_lost(self, reason: Failure) -> None:
        """A transport was closed by somebody else."""
        self.stop()
        self._owner.relay_lost(self, reason)

    # moving bytes

    def run(self, now: float) -> None:
        """An event told that the source has bytes, and of nothing else: the hot path."""
        source = self.source
        if self._bulk or source.relay is not self or self._until is not None:
            source.readable = True
            if source.relay is self:
                self.drain(now)
            elif source.open:
                self._loop.post(source)
            return
        try:
            data = self._recv(self._size)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(error)
            return
        got = len(data)
        if got == self._size:
            source.readable = True
        elif not got:
            self._end(source.failed)
            return
        try:
            sent = self._send(data)
        except OSError as error:
            self._failed_to_send(error, data)
            return
        self.moved += sent
        self.last_progress = now
        if sent < got:
            self._block(data[sent:])
        elif got == self._size:
            self.drain(now)

    def drain(self, now: float) -> None:
        """Pass on bytes while the source is readable, all of them are taken, and the budget lasts."""
        source = self.source
        before = self.moved
        bulk = self._bulk
        while source.readable and source.relay is self and self.moved - before < _BUDGET:
            if not bulk:
                bulk = self._pass(self._size)
            elif self._splices and not source.urgent:  # splice does not get past an urgent mark
                self._splice()
            else:
                self._pass(min(self._most, _LARGE))
        moved = self.moved - before
        self._bulk = moved >= _BULK or (self._until is not None and self._until - self.moved >= _LONG)
        if moved:
            self.last_progress = now
        if source.readable and source.relay is self:
            self._loop.post(source)

    def _pass(self, size: int) -> bool:
        """One read of at most C{size} bytes and one write. Returns whether more is likely to be there, and much."""
        source = self.source
        if self._until is not None:
            size = self._within(size)
        try:
            data = self._recv(size)
        except BlockingIOError:
            source.readable = False
            return False
        except OSError as error:
            self._end(error)
            return False
        got = len(data)
        if not got:
            self._end(source.failed)
            return False
        source.did_read(size, got)
        try:
            sent = self._send(data)
        except OSError as error:
            self._failed_to_send(error, data)
            return False
        self.moved += sent
        if sent < got:
            self._block(data[sent:])
        elif self.moved == self._until:
            self._complete()
        return got == _SMALL

    def _within(self, count: int) -> int:
        """C{count}, or what is left of a known length if that is less."""
        return count if self._until is None else min(count, self._until - self.moved)

    def _splice(self) -> None:
        """As much as a kernel pipe takes."""
        source = self.source
        try:
            pipe = pipes.take()
        except OSError:  # no descriptor is free for one
            self._pass(self._size)
            return
        try:
            pipe.fill(source.socket.fileno(), self._within(min(self._most, pipe.size)))
        except BlockingIOError:
            pipes.give_back(pipe)
            source.readable = False
            return
        except OSError as error:
            pipes.give_back(pipe)
            if error.errno in _NO_SPLICE:
                self._splices = False
            else:
                self._end(error)
            return
        if not pipe.held:
            pipes.give_back(pipe)
            self._pass(self._size)  # the end, unless an urgent mark has come meanwhile: splice gives nothing there, too
            return
        try:
            while pipe.held:
                self.moved += pipe.empty(self.sink.socket.fileno())
        except OSError as error:
            self._failed_to_send(error, pipe)
            return
        except BaseException:
            pipes.give_back(pipe)
            raise
        pipes.give_back(pipe)
        if self.moved == self._until:
            self._complete()

    # the sink takes less

    def _failed_to_send(self, error: OSError, rest: bytes | KernelPipe) -> None:
        if isinstance(error, BlockingIOError):
            self._block(rest)
        elif error.errno == ENOBUFS:
            self._block(rest)
            self.sink.try_later()
        else:
            self.sink.send_failed(error)
            self._rest = rest
            lost = len(self.stop())
            self._owner.relay_broken(self, error, lost)

    def _block(self, rest: bytes | KernelPipe) -> None:
        """Wait for the sink, if not for long: one that is slower than a burst is not stuck."""
        self.source.relay = None
        self.sink.writable = False
        self._rest = rest
        if self.sink.writer is None:
            self.sink.writer = self
        self.sink.writing = True
        if not isinstance(rest, bytes) and pipes.scarce:
            self._rest = rest.read_back()
            pipes.give_back(rest)
        if self._patience is None:
            self._patience = Deadline(self.source.transport.reactor, PATIENCE, self._lose_patience)
        self._patience.restart(self._loop.now)

    def _flush(self) -> None:
        rest = self._rest
        try:
            if isinstance(rest, bytes):
                sent = self._send(rest)
                self.moved += sent
                self._rest = rest = rest[sent:]
                if rest:
                    self.sink.writable = False
                    return
            elif rest is not None:
                while rest.held:
                    self.moved += rest.empty(self.sink.socket.fileno())
        except OSError as error:
            if isinstance(error, BlockingIOError):
                self.sink.writable = False
            elif error.errno == ENOBUFS:
                self.sink.try_later()
            else:
                self.sink.send_failed(error)
                lost = len(self.stop())
                self._owner.relay_broken(self, error, lost)
            return
        if isinstance(rest, KernelPipe):
            pipes.give_back(rest)
        self._rest = None
        if self.sink.writer is self:
            self.sink.writer = None
        self.sink.writing = False
        if self._patience is not None:
            self._patience.stop()
        self.last_progress = self._loop.now
        if self.moved == self._until:
            self._complete()
            return
        self.arm()
        if self.source.readable:
            self.drain(self._loop.now)

    def _lose_patience(self) -> None:
        try:
            self._owner.relay_blocked(self, self.stop())
        except Exception as error:  # as the loop does for handlers: logged, and the end of this connection only
            log.err()
            self._loop.disconnect(self.source.transport, error, False)

    def _complete(self) -> None:
        """The sink has taken the last byte of a known length. What the source has behind it is another's."""
        self.last_progress = self._loop.now
        self._leave()
        self._owner.relay_ended(self, None)

    def _end(self, error: OSError | None) -> None:
        self.source.readable = False
        self._leave()
        self._owner.relay_ended(self, error)
