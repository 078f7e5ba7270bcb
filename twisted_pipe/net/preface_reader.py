"""
Reads what stands before a stream from a socket of the C{epollet} reactor, and not one byte more.

The bytes are looked at where they are, in the kernel's receive buffer (MSG_PEEK), until the preface is whole; then exactly its
bytes are taken. So whoever has the socket next, be it a TLS engine, an HTTP parser, a relay or splice(2), reads it as if nothing
had been before.

The bytes that were looked at stay, so a level-triggered descriptor would report them for ever. An edge-triggered one is quiet
until more arrive; a look that was not enough says, like a short read, that this was all there is. The end of the stream cannot be
looked at while bytes stand before it: RDHUP tells of it.

For transports of other reactors: L{twisted_pipe.net.preface_protocol}, L{twisted_pipe.net.wire_preface}.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.python.failure import Failure

from twisted_pipe.errors import BadPreface, DownstreamFailed, PipeError, Side, TimedOut
from twisted_pipe.net.deadline import Deadline
from twisted_pipe.net.edge import EdgeSocket
from twisted_pipe.preface.parser import PrefaceParser

__all__ = ["PrefaceReader", "ended_early", "too_long"]


class PrefaceReader:
    """
    One preface of one connection. A C{SocketOwner}: from L{begin} until it has told its outcome the socket's reader is this.

    It tells exactly one outcome, once, and then has let go of the socket, which stays open whatever the outcome is.
    """

    __slots__ = ("_deadline", "_edge", "_failed", "_found", "_parser")

    def __init__(
        self,
        edge: EdgeSocket,
        parser: PrefaceParser,
        timeout: float,
        found: Callable[[Any], object],
        failed: Callable[[PipeError], object],
    ) -> None:
        """
        @param edge: a bare socket, or that of a transport that is paused; connected, with no reader.
        @param timeout: seconds for the preface to be whole, 0 for any number.
        @param found: called with what the parser gives. Its bytes are taken, C{edge.readable} says whether more may be here.
        @param failed: called with a L{BadPreface} (it does not begin with one, ended before its end, or is longer than it may be),
            a L{TimedOut} or, when the connection is lost, a L{DownstreamFailed}. No byte is taken then.
        """
        self._edge = edge
        self._parser = parser
        self._found = found
        self._failed = failed
        self._deadline = Deadline(edge.transport.reactor, timeout, self._timed_out)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {type(self._parser).__name__} {self._edge!r}>"

    @property
    def waiting(self) -> bool:
        """Whether it has the socket."""
        return self._edge.reader is self

    def begin(self) -> None:
        """Look now, if there may be something, and whenever more comes."""
        edge = self._edge
        edge.reader = self
        if edge.readable:
            self.socket_ready()
        if self.waiting:
            self._deadline.restart(edge.transport.reactor.seconds())

    def cancel(self) -> None:
        """Let go of the socket and tell nothing."""
        if self.waiting:
            self._let_go()
            self._edge.readable = True  # what was looked at is still there

    def socket_ready(self) -> None:
        edge, parser = self._edge, self._parser
        try:
            seen = edge.socket.recv(parser.most, socket.MSG_PEEK)
            preface = parser.parse(seen) if seen else None
        except BlockingIOError:
            edge.readable = False
        except BadPreface as error:
            self._fail(error)
        except OSError as error:
            self._fail(DownstreamFailed(error.strerror or str(error)))
        else:
            if preface is not None:
                self._take(seen, preface.taken)
                self._let_go()
                self._found(preface)
            elif edge.pending_eof or not seen:
                self._fail(ended_early(seen))
            elif len(seen) >= parser.most:
                self._fail(too_long(parser.most))
            else:
                edge.readable = False  # more of it is another edge

    def socket_lost(self, reason: Failure) -> None:
        """Somebody else has closed the connection."""
        self._deadline.cancel()
        self._failed(DownstreamFailed(reason.getErrorMessage()))

    def _let_go(self) -> None:
        self._deadline.cancel()
        self._edge.reader = None

    def _take(self, seen: bytes, count: int) -> None:
        if count:
            self._edge.socket.recv(count)  # gives all of them: they are here
        if count == len(seen):
            self._edge.did_read(self._parser.most, count)

    def _timed_out(self) -> None:
        self._fail(TimedOut(Side.DOWNSTREAM, "preface timeout", self._deadline.seconds))

    def _fail(self, error: PipeError) -> None:
        self.cancel()
        self._failed(error)


def ended_early(seen: bytes) -> BadPreface:
    """The stream has ended behind these bytes."""
    return BadPreface(f"the connection ended after {len(seen)} bytes" if seen else "the connection ended at once")


def too_long(most: int) -> BadPreface:
    """There is no end of it within C{most} bytes."""
    return BadPreface(f"it has more than {most} bytes")
