"""
Two connections joined: what either sends goes to the other, and nobody looks at what it means.

A tunnel is over when both ways have ended. Each end is passed on for its way only: a client that half-closes still gets its
response, an upstream that half-closes still gets the rest of the request. Once the upstream has ended its side and the client has
said nothing for C{lingering_timeout}, the upstream connection is closed, however much of the response the client has yet to
fetch.

A way begins as a L{Relay}, where nothing but two sockets is needed; it becomes an L{EventPipe} when its downstream first takes
less than it was given. With filters, a rate, or another reactor it is an L{EventPipe} from the start.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import attrs
from twisted.python.failure import Failure

from twisted_pipe.errors import Cancelled, DownstreamFailed, PipeError, Side, TimedOut, UpstreamFailed
from twisted_pipe.interfaces import Direction, NamedFilter
from twisted_pipe.limits import DEFAULT_LIMITS, PipeLimits
from twisted_pipe.net.closing import can_half_close, half_close
from twisted_pipe.net.driver import EventPipe
from twisted_pipe.net.edge import edge_of
from twisted_pipe.net.outcome import PipeOutcome
from twisted_pipe.net.pipe_end import PipeEnd
from twisted_pipe.net.relay import Relay
from twisted_pipe.net.spillfile import SpillDirectory
from twisted_pipe.proxies.watch import NEVER

__all__ = ["Tunnel", "TunnelOwner", "TunnelSettings", "Way"]


@attrs.frozen(kw_only=True)
class TunnelSettings:
    """
    @ivar response: the bounds of the way to the client.
    @ivar request: the bounds of the way to the upstream.
    @ivar idle_timeout: seconds without a byte either way after which it ends; 0 for never.
    @ivar lingering_timeout: seconds the client may be silent after the upstream has ended its side, before the upstream
        connection is closed.
    @ivar answer_timeout: seconds the upstream may be silent after the client has ended its side, if that cannot be told to it
        (TLS); 0 for as long as the tunnel is not idle.
    @ivar response_filtered: whether the way to the client has filters.
    @ivar request_filtered: whether the other has.
    """

    response: PipeLimits = DEFAULT_LIMITS
    request: PipeLimits = DEFAULT_LIMITS
    idle_timeout: float = 600.0
    lingering_timeout: float = 5.0
    answer_timeout: float = 0.0
    response_filtered: bool = False
    request_filtered: bool = False
    #: whether nothing but two sockets is needed for the way to the client
    plain_response: bool = attrs.field(init=False, repr=False, eq=False)
    #: the same for the other
    plain_request: bool = attrs.field(init=False, repr=False, eq=False)

    @plain_response.default
    def _response_is_plain(self) -> bool:
        return not self.response_filtered and _is_plain(self.response)

    @plain_request.default
    def _request_is_plain(self) -> bool:
        return not self.request_filtered and _is_plain(self.request)


def _is_plain(limits: PipeLimits) -> bool:
    return not (limits.limit_rate or limits.idle_timeout or limits.total_timeout)


class TunnelOwner(Protocol):
    """Who has joined the two, and closes them."""

    @property
    def name(self) -> str:
        """Who talks to whom, for logs."""

    def tunnel_filters(self, direction: Direction) -> Sequence[NamedFilter]:
        """
        New filters for one way.

        @raise twisted_pipe.errors.FilterFailed: one cannot be built, and is not to be bypassed.
        """

    def tunnel_over(self) -> None:
        """Both ways are over: L{Tunnel.error} says how. Not called after L{Tunnel.stop}."""


class Way:
    """
    One direction.

    @ivar mover: what moves its bytes; None before and after.
    @ivar passed: bytes delivered by movers before this one.
    @ivar spilled: bytes that were written to disk.
    @ivar last_progress: when bytes last moved, as far as C{mover} does not know.
    @ivar received: whether its source has ended; the rest may still be on its way.
    @ivar done: whether it is over.
    @ivar error: why not cleanly.
    """

    __slots__ = ("_last_progress", "direction", "done", "error", "mover", "passed", "received", "spilled")

    def __init__(self, direction: Direction, now: float) -> None:
        self.direction = direction
        self.mover: Relay | EventPipe | None = None
        self.passed = self.spilled = 0
        self._last_progress = now
        self.received = self.done = False
        self.error: PipeError | None = None

    def __repr__(self) -> str:
        return f"{self.direction}={self.mover if not self.done else self.error or 'finished'!r}"

    @property
    def last_progress(self) -> float:
        return self.mover.last_progress if self.mover is not None else self._last_progress

    def end(self, count: int, spilled: int, error: PipeError | None) -> None:
        """It is over: its mover delivered C{count} bytes."""
        self._last_progress = self.last_progress
        self.mover = None
        self.passed += count
        self.spilled += spilled
        self.error = error
        self.received = self.done = True


class Tunnel:
    """
    Two connections joined. A C{RelayOwner}; its owner asks it when it is due.

    A connection is a L{twisted_pipe.net.bare.BareSocket}, or the L{PipeEnd} of any other transport, which has what came early.

    @ivar response: the way to the client.
    @ivar request: the way to the upstream.
    @ivar error: what went wrong first; None as long as nothing has.
    @ivar by_client: whether that was the client's doing, or happened on the way to it.
    @ivar over: whether both ways are, or it was stopped.
    """

    __slots__ = (
        "_answers_from",
        "_client",
        "_client_end",
        "_clock",
        "_lingers_from",
        "_owner",
        "_settings",
        "_spill",
        "_upstream",
        "_upstream_end",
        "by_client",
        "error",
        "over",
        "request",
        "response",
    )

    def __init__(
        self,
        client: Any,
        upstream: Any,
        owner: TunnelOwner,
        settings: TunnelSettings,
        clock: Any,
        spill: SpillDirectory,
    ) -> None:
        self._client: Any = client.transport
        self._upstream: Any = upstream.transport
        self._client_end = _end_of(client)
        self._upstream_end = _end_of(upstream)
        self._owner = owner
        self._settings = settings
        self._clock = clock
        self._spill = spill
        self._lingers_from = self._answers_from = NEVER
        self.error: PipeError | None = None
        self.by_client = False
        self.over = False
        now: float = clock.seconds()
        self.response = Way(Direction.RESPONSE, now)
        self.request = Way(Direction.REQUEST, now)

    def __repr__(self) -> str:
        return f"<Tunnel {self.response!r} {self.request!r}>"

    # the beginning

    def begin(self, head: bytes = b"", from_upstream: bytes = b"", from_client: bytes = b"") -> None:
        """
        From here on it reads both connections.

        @param head: what the client gets first, past filters.
        @param from_upstream: what came of the upstream's stream already.
        @param from_client: likewise.
        @raise twisted_pipe.errors.FilterFailed: a filter cannot be built; L{stop} is due.
        """
        settings = self._settings
        client, upstream = self._client, self._upstream
        response, request = self.response, self.request
        from_upstream += _early(self._upstream_end)
        from_client += _early(self._client_end)
        to_client = to_upstream = None
        if settings.plain_response and not (head or from_upstream):
            to_client = self._relay(response, upstream, client)
        if settings.plain_request and not from_client:
            to_upstream = self._relay(request, client, upstream)
        # now, and not before: what either of them does may end it
        for way, relay, source, sink, first, early in (
            (response, to_client, upstream, client, head, from_upstream),
            (request, to_upstream, client, upstream, b"", from_client),
        ):
            if self.over or way.done:
                continue
            if relay is None:
                self._pipe(way, source, sink, self._owner.tunnel_filters(way.direction), early, first)
            elif relay.source.readable:
                relay.socket_ready()

    def _relay(self, way: Way, source: Any, sink: Any) -> Relay | None:
        """Have C{way} begin as a relay, if its transports are plain sockets."""
        from_edge, to_edge = edge_of(source), edge_of(sink)
        if from_edge is None or to_edge is None:
            return None
        relay = way.mover = Relay(from_edge, to_edge, self, self._limits_of(way).memory, self._clock.seconds())
        from_edge.reading = False
        from_edge.reader = relay
        relay.arm()
        return relay

    def _limits_of(self, way: Way) -> PipeLimits:
        return self._settings.response if way is self.response else self._settings.request

    def _pipe(
        self, way: Way, source: Any, sink: Any, filters: Sequence[NamedFilter], preread: bytes, head: bytes = b""
    ) -> None:
        """Have C{way} go on as a pipe."""
        pipe = way.mover = EventPipe(
            source,
            sink,
            filters,
            self._limits_of(way),
            clock=self._clock,
            spill=self._spill,
            preread=preread,
            head=head,
            keep_open=True,
            name=f"{self._owner.name} ({way.direction})",
        )
        end = self._upstream_end if way is self.response else self._client_end
        if end is not None:
            end.feed(pipe)
        pipe.received.addCallback(self._received, way)
        pipe.done.addCallback(self._pipe_done, way)

    # RelayOwner

    def _way_of(self, relay: Relay) -> Way:
        return self.response if self.response.mover is relay else self.request

    def relay_blocked(self, relay: Relay, rest: bytes) -> None:
        """The downstream is slow: from here on a pipe has to see to it."""
        way = self._way_of(relay)
        way.passed += relay.moved
        self._pipe(way, relay.source.transport, relay.sink.transport, (), rest)

    def relay_ended(self, relay: Relay, error: OSError | None) -> None:
        """The source has ended, and everything was delivered."""
        relay.source.reader = None
        failure = None if error is None else UpstreamFailed(error.strerror or str(error))
        self._way_done(self._way_of(relay), relay.moved, 0, failure)

    def relay_broken(self, relay: Relay, error: OSError, lost: int) -> None:
        """The downstream is gone."""
        relay.source.reader = None
        self._way_done(self._way_of(relay), relay.moved, 0, DownstreamFailed(error.strerror or str(error)))

    def relay_lost(self, relay: Relay, reason: Failure) -> None:
        """Somebody else closed one of the connections."""
        self.abort(Cancelled(reason.getErrorMessage()))

    # ending

    def _received(self, _: None, way: Way) -> None:
        if isinstance(way.mover, EventPipe) and way.mover.ended:
            return  # perhaps by force: how, it says next
        way.received = True
        if way is self.response and not way.done:
            self._upstream_ended()

    def _pipe_done(self, outcome: PipeOutcome, way: Way) -> None:
        self._way_done(way, outcome.bytes_out, outcome.bytes_spilled, outcome.error)

    def _way_done(self, way: Way, count: int, spilled: int, error: PipeError | None) -> None:
        had_received = way.received
        way.end(count, spilled, error)
        if self.over:
            return
        response, request = self.response, self.request
        if (
            error is not None
            and self.error is None
            and not (isinstance(error, Cancelled) or self._both_ended(way, error))
        ):
            self.error = error
            self.by_client = error.side is (Side.DOWNSTREAM if way is response else Side.UPSTREAM)
        if response.done and request.done:
            self._end()
        elif way is response:
            if error is not None:
                self._abandon(request, Cancelled("the response has failed"))
                return
            if not can_half_close(self._client):
                self._abandon(request, Cancelled("the client's connection ends with the response"))
                return
            half_close(self._client)
            if not had_received:
                self._upstream_ended()
        else:
            if error is None:
                if can_half_close(self._upstream):
                    half_close(self._upstream)
                else:  # it has to learn from the request itself that this was all
                    self._answers_from = self._clock.seconds()
            elif error.side not in (Side.DOWNSTREAM, Side.CALLER):
                self._abandon(response, Cancelled("the request has failed"))
                return
            # an upstream that takes no more may still have an answer to give: the response goes on
            if response.received:
                self._upstream.loseConnection()

    def _both_ended(self, way: Way, error: PipeError) -> bool:
        """
        Whether C{error} says only that an upstream without halves (TLS) has ended its other direction, too. How it ended, the
        response tells.
        """
        return way is self.request and error.side is Side.DOWNSTREAM and not can_half_close(self._upstream)

    def _abandon(self, way: Way, error: PipeError) -> None:
        mover = way.mover
        if isinstance(mover, EventPipe):
            mover.abandon(error)
        elif mover is not None:
            mover.stop()
            mover.source.reader = None
            self._way_done(way, mover.moved, 0, error)
        elif not way.done:  # it has not begun
            self._way_done(way, 0, 0, error)

    def _upstream_ended(self) -> None:
        """Nothing more is to be had from the upstream."""
        if self.request.done:
            self._upstream.loseConnection()
        elif self._settings.lingering_timeout:
            self._lingers_from = self._clock.seconds()
        else:
            self._stop_lingering()

    def _stop_lingering(self) -> None:
        self._abandon(self.request, Cancelled("the upstream has ended and the client is silent"))

    def _end(self) -> None:
        self.over = True
        self._owner.tunnel_over()

    def abort(self, error: PipeError) -> None:
        """End both ways at once because of C{error}. The owner is told as of any end."""
        self.error = self.error or error
        for way in (self.response, self.request):
            self._abandon(way, Cancelled(str(error)))

    def stop(self) -> None:
        """End both ways at once, and tell nobody."""
        if not self.over:
            self.over = True
            for way in (self.response, self.request):
                self._abandon(way, Cancelled("it is over"))

    @property
    def why(self) -> str | None:
        """Who did what first; None if everything went well."""
        if self.error is None:
            return None
        # by_client, of an error of the downstream's, says that it is the response's; of the upstream's, that it is the request's
        swapped = self.by_client is not (self.error.side is Side.DOWNSTREAM)
        return self.error.describe("client", "upstream") if swapped else self.error.describe("upstream", "client")

    @property
    def whole_response(self) -> bool:
        """Whether the client has got everything that the upstream sent, and its end."""
        return self.response.done and self.response.error is None

    # timeouts

    def due(self) -> float:
        """When the next timeout comes if nothing moves."""
        return min(self._idle_until(), self._lingers_until(), self._answers_until(), self._silent_until())

    def expire(self) -> None:
        """Do what is due."""
        now = self._clock.seconds()
        if self._silent_until() <= now:
            relay: Any = self.response.mover
            relay.stop()
            relay.source.reader = None
            error = TimedOut(Side.UPSTREAM, "read timeout", self._settings.response.read_timeout)
            self._way_done(self.response, relay.moved, 0, error)
        elif self._lingers_until() <= now:
            self._stop_lingering()
        elif self._answers_until() <= now:
            self._abandon(self.response, Cancelled("the client has ended and the upstream is silent"))
        elif self._idle_until() <= now:
            self.abort(TimedOut(Side.CALLER, "idle timeout", self._settings.idle_timeout))

    def _idle_until(self) -> float:
        latest = max(self.response.last_progress, self.request.last_progress)
        return latest + (self._settings.idle_timeout or NEVER)

    def _lingers_until(self) -> float:
        if self.request.done:
            return NEVER
        return self._settings.lingering_timeout + max(self._lingers_from, self.request.last_progress)

    def _answers_until(self) -> float:
        timeout = self._settings.answer_timeout
        if not timeout or self.response.done:
            return NEVER
        return timeout + max(self._answers_from, self.response.last_progress)

    def _silent_until(self) -> float:
        """The upstream's C{read_timeout}; a pipe sees to it itself."""
        timeout = self._settings.response.read_timeout
        mover = self.response.mover
        if not (timeout and isinstance(mover, Relay)):
            return NEVER
        return timeout + mover.last_progress


def _end_of(connection: Any) -> PipeEnd | None:
    """What is told of a transport; None for a bare socket, which is read."""
    return connection if isinstance(connection, PipeEnd) else None


def _early(end: PipeEnd | None) -> bytes:
    """What came before anybody wanted it; from here on that is the tunnel's."""
    if end is None:
        return b""
    early, end.early = end.early, b""
    return early
