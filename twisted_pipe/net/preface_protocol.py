"""
Reads what stands before a stream from a Twisted transport, then gives its place to the protocol that reads the stream.

The twin of L{twisted_pipe.net.preface_reader} for other reactors, where what a transport has read cannot be left where it was: the
bytes are kept, and those behind the preface are the first that the next protocol receives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_pipe.errors import BadPreface, DownstreamFailed, PipeError, Side, TimedOut
from twisted_pipe.net.deadline import Deadline
from twisted_pipe.net.preface_reader import ended_early, too_long
from twisted_pipe.preface.parser import PrefaceParser

__all__ = ["PrefaceProtocol"]


@implementer(IHalfCloseableProtocol)
class PrefaceProtocol(Protocol):
    """
    One preface of one connection. Its transport must be the connection itself, no wrapper of it (TLS comes behind this).

    It tells exactly one outcome, once. Whoever is told calls L{hand_over}, then or never, or closes the transport.

    @ivar seen: the bytes that came, at most what one read brings beyond C{parser.most}.
    @ivar taken: how many of them are the preface.
    @ivar ended: whether the peer sends no more.
    """

    def __init__(
        self,
        clock: Any,
        parser: PrefaceParser,
        timeout: float,
        found: Callable[[PrefaceProtocol, Any], object],
        failed: Callable[[PrefaceProtocol, PipeError], object],
    ) -> None:
        """
        @param clock: an C{IReactorTime}.
        @param timeout: seconds for the preface to be whole, 0 for any number.
        @param found: called with this and what the parser gives.
        @param failed: called with this and the same errors as L{twisted_pipe.net.preface_reader.PrefaceReader}'s.
        """
        self.seen = b""
        self.taken = 0
        self.ended = False
        self._parser = parser
        self._found = found
        self._failed = failed
        self._told = False
        self._deadline = Deadline(clock, timeout, self._timed_out)
        self._clock = clock

    def hand_over(self, protocol: IProtocol, transport: Any = None) -> None:
        """
        C{protocol} has the connection from here on, and first gets what is here of the stream.

        @param transport: what it is told is its transport; the connection itself by default.
        """
        own: Any = self.transport
        own.protocol = protocol
        protocol.makeConnection(own if transport is None else transport)
        rest, self.seen = self.seen[self.taken :], b""
        if rest:
            protocol.dataReceived(rest)
        if not self.ended:
            return
        halves: Any = IHalfCloseableProtocol(protocol, None)
        if halves is not None:
            halves.readConnectionLost()
        else:
            own.loseConnection()

    def cancel(self) -> None:
        """Tell nothing from here on."""
        self._told = True
        self._deadline.cancel()

    def connectionMade(self) -> None:
        self._deadline.restart(self._clock.seconds())

    def dataReceived(self, data: bytes) -> None:
        if self._told:
            return  # refused, and not gone yet
        self.seen += data
        most = self._parser.most
        try:
            preface = self._parser.parse(self.seen[:most])
        except BadPreface as error:
            self._fail(error)
            return
        if preface is not None:
            self.taken = preface.taken
            self.cancel()
            self._found(self, preface)
        elif len(self.seen) >= most:
            self._fail(too_long(most))

    def readConnectionLost(self) -> None:
        """The peer sends no more."""
        self.ended = True
        self._fail(ended_early(self.seen))

    def writeConnectionLost(self) -> None:
        """Nobody has asked for it."""

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.ended = True
        self._fail(DownstreamFailed(reason.getErrorMessage()))

    def _timed_out(self) -> None:
        self._fail(TimedOut(Side.DOWNSTREAM, "preface timeout", self._deadline.seconds))

    def _fail(self, error: PipeError) -> None:
        if not self._told:
            self.cancel()
            self._failed(self, error)
