"""
One client of the TCP proxy and its upstream.

A session ends when both ways have ended. Each end is passed on for its way only: a client that half-closes still gets its
response, an upstream that half-closes still gets the rest of the request. Once the upstream has ended its side and the client has
said nothing for C{lingering_timeout}, the upstream connection is closed, however much of the response the client has yet to
fetch.

A way begins as a L{Relay}, where nothing but two sockets is needed; it becomes an L{EventPipe} when its downstream first takes
less than it was given. With filters, a rate, TLS, or another reactor it is an L{EventPipe} from the start.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import ConnectError
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_pipe.errors import Cancelled, DownstreamFailed, PipeError, Side, TimedOut, UpstreamFailed
from twisted_pipe.interfaces import Direction, NamedFilter
from twisted_pipe.net.bare import BareSocket
from twisted_pipe.net.closing import abort, abort_when_sent, can_half_close, close_when_sent, half_close
from twisted_pipe.net.driver import EventPipe
from twisted_pipe.net.edge import edge_of
from twisted_pipe.net.outcome import PipeOutcome
from twisted_pipe.net.pipe_end import PipeEnd
from twisted_pipe.net.quiet import QuietFactory
from twisted_pipe.net.relay import Relay
from twisted_pipe.proxies.watch import NEVER
from twisted_pipe.units import format_duration, format_size

if TYPE_CHECKING:
    from twisted_pipe.proxies.tcp import TcpProxyFactory

__all__ = ["TcpSession"]

_log = Logger()


class _Way:
    """
    One direction of a session.

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


class TcpSession:
    """One client and its upstream. A C{RelayOwner}."""

    __slots__ = (
        "_client",
        "_client_end",
        "_closed",
        "_connecting",
        "_factory",
        "_lingers_from",
        "_request",
        "_response",
        "_server",
        "_started",
        "_upstream",
        "_upstream_end",
        "_why",
    )

    def __init__(self, factory: TcpProxyFactory) -> None:
        self._factory = factory
        self._client: Any = None
        self._upstream: Any = None
        self._client_end: PipeEnd | None = None  # None for a bare socket
        self._upstream_end: PipeEnd | None = None
        self._connecting: Deferred[Any] | BareSocket | None = None
        self._why: str | None = None  # what went wrong first
        self._closed = False
        self._lingers_from = NEVER
        self._server = factory.context.group.pick()
        now: float = factory.clock.seconds()
        self._started = now
        self._response = _Way(Direction.RESPONSE, now)
        self._request = _Way(Direction.REQUEST, now)

    def __repr__(self) -> str:
        return f"<TcpSession {self.name} {self._response!r} {self._request!r}>"

    @property
    def name(self) -> str:
        """Who talks to whom."""
        client = "?" if self._client is None else _host_port(self._client.getPeer())
        return f"{client} -> {self._server.name}"

    # connecting

    def client_accepted(self, sock: socket.SocketType, peer: bytes) -> None:
        """A client, as a bare socket."""
        bare = self._client = BareSocket(self._factory.clock, sock, accepted=True, peer=peer)
        bare.reader = self  # until there is an upstream
        self._begin()

    def socket_ready(self) -> None:
        """The client says something while the upstream is being connected. What it sends can wait; a reset ends the session."""
        if self._client.pending_eof:
            problem = self._client.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if problem:
                self._close(f"client: {os.strerror(problem)}", clean=False)

    def socket_lost(self, reason: Failure) -> None:
        """Somebody else closed the client's connection meanwhile."""
        self.abort(Cancelled(reason.getErrorMessage()))

    def client_connected(self, end: PipeEnd) -> None:
        """A client, with a transport."""
        self._client_end = end
        self._client = end.transport
        self._begin()

    def _begin(self) -> None:
        factory = self._factory
        factory.sessions.add(self)
        factory.totals.accepted += 1
        factory.watch.start()
        server = self._server
        if server.address is not None and factory.takes_sockets:
            try:
                self._connecting = BareSocket.connecting(factory.clock, server.address, self._upstream_opened)
            except Exception as error:  # no descriptor, no route, or an address that is none
                self._connect_failed(getattr(error, "strerror", None) or str(error))
            return
        connecting = self._connecting = maybeDeferred(server.endpoint.connect, QuietFactory.forProtocol(PipeEnd))
        connecting.addCallbacks(self._upstream_connected, self._endpoint_failed)  # perhaps at once
        connecting.addErrback(self._failed_to_start)

    def _upstream_opened(self, error: OSError | None) -> None:
        bare, self._connecting = self._connecting, None
        if error is not None:
            self._connect_failed(error.strerror or str(error))
            return
        self._upstream = bare
        try:
            self._open()
        except Exception:
            self._failed_to_start(Failure())

    def _upstream_connected(self, end: PipeEnd) -> None:
        self._connecting = None
        self._upstream_end = end
        self._upstream = end.transport
        if self._closed:
            abort(self._upstream)
            return
        for transport in (self._client, self._upstream):
            if hasattr(transport, "setTcpNoDelay"):
                transport.setTcpNoDelay(True)
        self._open()

    def _endpoint_failed(self, failure: Failure) -> None:
        self._connecting = None
        if failure.check(CancelledError):
            why = f"no connection within {format_duration(self._factory.settings.connect_timeout)}"
        elif failure.check(ConnectError):
            why = failure.getErrorMessage().rstrip(".")
        else:
            why = f"{type(failure.value).__name__}: {failure.getErrorMessage()}"
        self._connect_failed(why)

    def _connect_failed(self, why: str) -> None:
        if not self._closed:
            self._factory.totals.connect_failures += 1
            self._close(f"upstream {self._server.name} cannot be reached: {why}", clean=True)

    def _failed_to_start(self, failure: Failure) -> None:
        """A filter could not be built, or a mistake of ours: that session ends, with the traceback in the log."""
        _log.failure("{name}: the session could not be started", failure, name=self.name)
        self._close(f"not started: {type(failure.value).__name__}: {failure.getErrorMessage()}", clean=False)

    def _open(self) -> None:
        """Both connections stand."""
        factory, settings = self._factory, self._factory.settings
        if self._client_end is None:
            self._client.reader = None
        if settings.access_log:
            _log.info("{name}: open", name=self.name)
        client, upstream = self._client, self._upstream
        from_upstream = from_client = None
        if factory.plain_response:
            from_upstream = self._relay(self._response, upstream, client, self._upstream_end)
        if factory.plain_request:
            from_client = self._relay(self._request, client, upstream, self._client_end)
        # now, and not before: what either of them does may end the session
        for way, relay, source, sink, end in (
            (self._response, from_upstream, upstream, client, self._upstream_end),
            (self._request, from_client, client, upstream, self._client_end),
        ):
            if self._closed or way.done:
                continue
            if relay is None:
                filters = self._filters(way.direction)
                self._pipe(way, source, sink, filters, b"" if end is None else end.early)
            elif relay.source.readable:
                relay.socket_ready()

    def _filters(self, direction: Direction) -> Sequence[NamedFilter]:
        return self._factory.context.filters(direction, self._client, self._upstream, self.name)

    def _relay(self, way: _Way, source: Any, sink: Any, end: PipeEnd | None) -> Relay | None:
        """Have C{way} begin as a relay, if its transports are plain sockets."""
        from_edge, to_edge = edge_of(source), edge_of(sink)
        if from_edge is None or to_edge is None or (end is not None and end.early):
            return None
        factory = self._factory
        relay = way.mover = Relay(from_edge, to_edge, self, factory.memory, factory.clock.seconds())
        from_edge.reading = False
        from_edge.reader = relay
        relay.arm()
        return relay

    def _pipe(self, way: _Way, source: Any, sink: Any, filters: Sequence[Any], preread: bytes) -> None:
        """Have C{way} go on as a pipe."""
        name = f"{self.name} ({way.direction})"
        pipe = way.mover = self._factory.context.pipe(source, sink, way.direction, filters, preread=preread, name=name)
        end = self._upstream_end if way is self._response else self._client_end
        if end is not None:
            end.feed(pipe)
        pipe.received.addCallback(self._received, way)
        pipe.done.addCallback(self._pipe_done, way)

    # RelayOwner

    def _way_of(self, relay: Relay) -> _Way:
        return self._response if self._response.mover is relay else self._request

    def relay_blocked(self, relay: Relay, rest: bytes) -> None:
        """The downstream is slow: from here on a pipe has to see to it."""
        way = self._way_of(relay)
        way.passed += relay.moved
        source, sink = relay.source.transport, relay.sink.transport
        self._pipe(way, source, sink, (), rest)

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

    def _received(self, _: None, way: _Way) -> None:
        way.received = True
        if way is self._response and not way.done:
            self._upstream_ended()

    def _pipe_done(self, outcome: PipeOutcome, way: _Way) -> None:
        self._way_done(way, outcome.bytes_out, outcome.bytes_spilled, outcome.error)

    def _way_done(self, way: _Way, count: int, spilled: int, error: PipeError | None) -> None:
        had_received = way.received
        way.end(count, spilled, error)
        if self._closed:
            return
        response, request = self._response, self._request
        if (
            error is not None
            and self._why is None
            and not (isinstance(error, Cancelled) or self._both_ended(way, error))
        ):
            # a request's upstream is the client
            names = ("upstream", "client") if way is response else ("client", "upstream")
            self._why = error.describe(*names)
        if response.done and request.done:
            self._close(self._why or "finished", clean=self._why is None)
        elif way is response:
            if error is not None:
                self._abandon(request, Cancelled("the response has failed"))
                return
            half_close(self._client)
            if not had_received:
                self._upstream_ended()
        else:
            if error is None:
                if can_half_close(self._upstream):
                    half_close(self._upstream)  # else it has to learn from the request itself that this was all
            elif error.side not in (Side.DOWNSTREAM, Side.CALLER):
                self._abandon(response, Cancelled("the request has failed"))
                return
            # an upstream that takes no more may still have an answer to give: the response goes on
            if response.received:
                self._let_upstream_go()

    def _both_ended(self, way: _Way, error: PipeError) -> bool:
        """Whether C{error} says only that a connection without halves (TLS) has ended its other direction, too."""
        if way is not self._request:
            return False
        if error.side is Side.DOWNSTREAM:
            return not can_half_close(self._upstream)  # how it ended, the response tells
        return self._response.done and self._response.error is None and not can_half_close(self._client)

    def _abandon(self, way: _Way, error: PipeError) -> None:
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
        if self._request.done:
            self._let_upstream_go()
        elif self._factory.settings.lingering_timeout:
            self._lingers_from = self._factory.clock.seconds()
        else:
            self._stop_lingering()

    def _stop_lingering(self) -> None:
        self._abandon(self._request, Cancelled("the upstream has ended and the client is silent"))

    def _let_upstream_go(self) -> None:
        if self._upstream is not None:
            self._upstream.loseConnection()

    def client_lost(self, reason: Failure) -> None:
        """The client's connection is gone; its pipes have been told."""
        if self._upstream is None:
            self._close(f"client: {reason.getErrorMessage()}", clean=False)

    def abort(self, error: PipeError) -> None:
        """End both ways at once because of C{error}."""
        self._why = self._why or error.describe()
        for way in (self._response, self._request):
            self._abandon(way, Cancelled(str(error)))
        self._close(self._why, clean=False)

    # timeouts: Watched

    def due(self) -> float:
        """When the next timeout comes if nothing moves."""
        settings = self._factory.settings
        if self._closed:
            return NEVER
        if self._upstream is None:
            return self._started + (settings.connect_timeout or NEVER)
        return min(self._idle_until(), self._lingers_until(), self._silent_until())

    def expire(self) -> None:
        """Do what is due."""
        settings = self._factory.settings
        now = self._factory.clock.seconds()
        if self.due() > now:
            return
        if self._upstream is None:
            self._connect_timed_out()
        elif self._silent_until() <= now:
            relay: Any = self._response.mover
            relay.stop()
            relay.source.reader = None
            error = TimedOut(Side.UPSTREAM, "read timeout", settings.limits.read_timeout)
            self._way_done(self._response, relay.moved, 0, error)
        elif self._lingers_until() <= now:
            self._stop_lingering()
        else:
            self.abort(TimedOut(Side.CALLER, "idle timeout", settings.idle_timeout))

    def _idle_until(self) -> float:
        latest = max(self._response.last_progress, self._request.last_progress)
        return latest + (self._factory.settings.idle_timeout or NEVER)

    def _lingers_until(self) -> float:
        if self._request.done:
            return NEVER
        timeout: float = self._factory.settings.lingering_timeout
        return timeout + max(self._lingers_from, self._request.last_progress)

    def _silent_until(self) -> float:
        """The upstream's C{read_timeout}; a pipe sees to it itself."""
        timeout: float = self._factory.settings.limits.read_timeout
        mover = self._response.mover
        if not (timeout and isinstance(mover, Relay)):
            return NEVER
        return timeout + mover.last_progress

    def _connect_timed_out(self) -> None:
        connecting, self._connecting = self._connecting, None
        if isinstance(connecting, BareSocket):
            connecting.close()
            self._connect_failed(f"no connection within {format_duration(self._factory.settings.connect_timeout)}")
        elif connecting is not None:
            connecting.cancel()

    # closing

    def _close(self, why: str, clean: bool) -> None:
        if self._closed:
            return
        self._closed = True
        factory = self._factory
        to_client, to_upstream = self._response.passed, self._request.passed
        spilled = self._response.spilled + self._request.spilled
        if factory.settings.access_log or why != "finished":
            _log.info(
                "{name}: close after {duration}: {to_client} to the client, {to_upstream} to the upstream{spilled}: {why}",
                name=self.name,
                duration=format_duration(factory.clock.seconds() - self._started),
                to_client=format_size(to_client),
                to_upstream=format_size(to_upstream),
                spilled=f", {format_size(spilled)} spilled" if spilled else "",
                why=why,
            )
        connecting, self._connecting = self._connecting, None
        if isinstance(connecting, BareSocket):
            connecting.close()
        elif connecting is not None:
            connecting.cancel()
        if self._client_end is None and self._client.reader is self:
            self._client.reader = None
        self._close_transports(clean)
        totals = factory.totals
        totals.bytes_to_clients += to_client
        totals.bytes_to_upstreams += to_upstream
        totals.bytes_spilled += spilled
        factory.watch.forget(self)
        factory.sessions.discard(self)
        factory.context.group.release(self._server)

    def _close_transports(self, clean: bool) -> None:
        """
        The client is told uncleanly of an unclean end, unless it has had the whole response: then it is the request's end, and the
        upstream's concern. What it was sent before arrives all the same.
        """
        error = self._response.error
        clock, patience = self._factory.clock, self._factory.settings.limits.send_timeout
        whole = self._response.done and error is None
        if clean and self._request.error is None:
            self._client.loseConnection()
        elif clean or whole:
            close_when_sent(self._client, clock, patience)  # what it still sends would make a close a reset
        elif error is not None and error.side is not Side.UPSTREAM:
            abort(self._client)
        else:
            abort_when_sent(self._client, clock, patience)
        if self._upstream is not None:
            if clean:
                self._upstream.loseConnection()
            else:
                abort(self._upstream)


def _host_port(address: Any) -> str:
    """An address as people write it."""
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is None:
        name = getattr(address, "name", None)
        return f"unix:{name.decode(errors='replace')}" if isinstance(name, bytes) and name else "unix"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
