"""
The fast path of an event pipe: the relay that its bytes take while there is nothing to decide.

Between two sockets of the C{epollet} reactor, without filters, a decoder or a file to store, a pipe has only one thing to do while
it is empty and the downstream takes bytes. It then hands its work over to a L{Relay}, and takes it back with all that is not so
plain: a slow downstream, a rate, an end, an error.
"""

from __future__ import annotations

from typing import Protocol

from twisted.python.failure import Failure

from twisted_pipe.core.pipe import Pipe
from twisted_pipe.errors import DownstreamFailed, UpstreamFailed
from twisted_pipe.net.edge import EdgeSocket
from twisted_pipe.net.rate import RateLimit
from twisted_pipe.net.relay import Relay

__all__ = ["FastPath"]


class PipeOwner(Protocol):
    """The pipe's driver."""

    @property
    def ended(self) -> bool:
        """Whether the pipe is over."""

    def take_turn(self) -> None:
        """Go on by the general path."""

    def socket_lost(self, reason: Failure) -> None:
        """A transport was closed by somebody else."""


class FastPath:
    """Of one pipe. It is the C{RelayOwner} of a relay that is made when it is first needed."""

    __slots__ = ("_now", "_owner", "_pipe", "_rate", "_relay", "_sink", "_source")

    def __init__(
        self, source: EdgeSocket, sink: EdgeSocket, pipe: Pipe, rate: RateLimit, owner: PipeOwner, now: float
    ) -> None:
        """
        @param rate: that of the pipe; while there is one, the pipe has to see to it.
        @param now: in the loop's seconds.
        """
        self._source = source
        self._sink = sink
        self._pipe = pipe
        self._rate = rate
        self._owner = owner
        self._now = now
        self._relay: Relay | None = None

    def __repr__(self) -> str:
        return f"<FastPath {self._relay or 'not taken'}>"

    @property
    def moved(self) -> int:
        """Bytes that went by it."""
        return 0 if self._relay is None else self._relay.moved

    @property
    def last_progress(self) -> float:
        """When that was, in the loop's seconds; before it was taken, the pipe's start."""
        return self._now if self._relay is None else self._relay.last_progress

    @property
    def taken(self) -> bool:
        """Whether bytes that come go by it."""
        return self._relay is not None and (self._relay.armed or self._relay.waiting)

    @property
    def possible(self) -> bool:
        """Whether nothing stands between the two sockets."""
        return self._pipe.empty and not (self._rate.rate or self._sink.transport.backlog)

    def take(self) -> None:
        """What comes from now on goes by it, and what is there already."""
        relay = self._relay
        if relay is None:
            most = self._pipe.limits.memory
            relay = self._relay = Relay(self._source, self._sink, self, most, self._now, self._pipe.length)
        else:
            relay.left = self._pipe.length
        relay.arm()
        if self._source.readable:
            self._source.transport.reactor.loop.post(self._source)

    def leave(self) -> None:
        """The pipe gets its work back, if it is not its own already."""
        relay = self._relay
        if relay is not None and (relay.armed or relay.waiting):
            self._hand_back(relay, relay.stop())

    def close(self) -> None:
        """The pipe is over: leave nothing behind in the reactor."""
        if self._relay is not None:
            self._relay.stop()

    def socket_ready(self) -> None:
        """A half of a socket may make progress."""
        assert self._relay is not None
        self._relay.socket_ready()

    def _hand_back(self, relay: Relay, rest: bytes = b"") -> None:
        self._pipe.passed_by(rest, relay.left)

    # RelayOwner

    def relay_blocked(self, relay: Relay, rest: bytes) -> None:
        """It has met a slow downstream."""
        if not self._owner.ended:
            self._hand_back(relay, rest)
            self._owner.take_turn()

    def relay_ended(self, relay: Relay, error: OSError | None) -> None:
        """The upstream has ended, or has given all of its length; nothing is left to deliver."""
        if self._owner.ended:
            return
        self._hand_back(relay)
        if error is None:
            self._pipe.did_end()
        else:
            self._pipe.did_fail(UpstreamFailed(error.strerror or str(error)))
        self._owner.take_turn()

    def relay_lost(self, relay: Relay, reason: Failure) -> None:
        """The upstream's transport was closed by somebody else."""
        self._owner.socket_lost(reason)

    def relay_broken(self, relay: Relay, error: OSError, lost: int) -> None:
        """The downstream failed."""
        if not self._owner.ended:
            self._pipe.bytes_in += lost
            self._pipe.did_break(DownstreamFailed(error.strerror or str(error)))
            self._owner.take_turn()
