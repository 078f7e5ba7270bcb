"""
Looks at what stands before a stream on a L{TransportWire}, whose bytes cannot be left where they were: they stay in the wire, for
whoever has it next.

The twin of L{twisted_pipe.net.preface_reader} for who has a wire already.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.python.failure import Failure

from twisted_pipe.errors import BadPreface, DownstreamFailed, PipeError, Side, TimedOut
from twisted_pipe.net.deadline import Deadline
from twisted_pipe.net.preface_reader import ended_early, too_long
from twisted_pipe.net.wire import TransportWire
from twisted_pipe.preface.parser import PrefaceParser

__all__ = ["WirePreface"]


class WirePreface:
    """
    As a L{PrefaceReader<twisted_pipe.net.preface_reader.PrefaceReader>}: begun once, tells one outcome, and has then let go of the
    wire.
    """

    __slots__ = ("_clock", "_deadline", "_failed", "_found", "_parser", "_wire")

    def __init__(
        self,
        wire: TransportWire,
        clock: Any,
        parser: PrefaceParser,
        timeout: float,
        found: Callable[[Any], object],
        failed: Callable[[PipeError], object],
    ) -> None:
        """
        @param wire: connected, with no reader.
        @param clock: an C{IReactorTime}.
        @param timeout: seconds for the preface to be whole, 0 for any number.
        @param found: called with what the parser gives, perhaps at once.
        @param failed: called with the errors of a C{PrefaceReader}.
        """
        self._wire = wire
        self._clock = clock
        self._parser = parser
        self._found = found
        self._failed = failed
        self._deadline = Deadline(clock, timeout, self._timed_out)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {type(self._parser).__name__} {self._wire!r}>"

    @property
    def waiting(self) -> bool:
        """Whether it has the wire."""
        return self._wire.reader is self

    def begin(self) -> None:
        """Look now, and whenever more comes."""
        self._wire.reader = self
        self.socket_ready()
        if self.waiting:
            self._deadline.restart(self._clock.seconds())

    def cancel(self) -> None:
        """Let go of the wire and tell nothing."""
        self._deadline.cancel()
        if self.waiting:
            self._wire.reader = None

    def socket_ready(self) -> None:
        wire, most = self._wire, self._parser.most
        seen = wire.early
        try:
            preface = self._parser.parse(seen[:most]) if seen else None
        except BadPreface as error:
            self._fail(error)
            return
        if preface is not None:
            wire.early = seen[preface.taken :]
            self.cancel()
            self._found(preface)
        elif wire.ended:
            self._fail(ended_early(seen))
        elif len(seen) >= most:
            self._fail(too_long(most))
        else:
            wire.resume()

    def socket_lost(self, reason: Failure) -> None:
        """The connection is gone."""
        self._fail(DownstreamFailed(reason.getErrorMessage()))

    def _timed_out(self) -> None:
        self._fail(TimedOut(Side.DOWNSTREAM, "preface timeout", self._deadline.seconds))

    def _fail(self, error: PipeError) -> None:
        self.cancel()
        self._failed(error)
