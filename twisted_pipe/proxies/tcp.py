"""
The TCP proxy: for each client an upstream connection, and a pipe each way.

A session ends when both pipes have ended. Each end is passed on for its direction only: a client that half-closes still gets
its response, an upstream that half-closes still gets the rest of the request. Once the upstream has ended its side and the
client has said nothing for C{lingering_timeout}, the upstream connection is closed, however much of the response the client
has yet to fetch.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Factory, ServerFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_pipe.errors import Cancelled, PipeError, Side, TimedOut
from twisted_pipe.interfaces import Direction, FilterContext, IPipeFilterFactory
from twisted_pipe.limits import DEFAULT_LIMITS, PipeLimits
from twisted_pipe.net.closing import abort, abort_when_sent, can_half_close, half_close
from twisted_pipe.net.deadline import Deadline
from twisted_pipe.net.driver import EventPipe, PipeOutcome
from twisted_pipe.net.pipe_end import PipeEnd
from twisted_pipe.net.spillfile import SpillDirectory
from twisted_pipe.units import format_duration, format_size
from twisted_pipe.upstream.group import UpstreamGroup

__all__ = ["TcpProxyFactory", "TcpProxySettings", "TcpProxyStatistics"]

_log = Logger()


@attrs.frozen(kw_only=True)
class TcpProxySettings:
    """
    @ivar limits: the bounds of each direction; C{limit_rate} and C{read_timeout} hold for the response only.
    @ivar response_filters: toward the client, in order.
    @ivar request_filters: toward the upstream, in order.
    @ivar connect_timeout: seconds for connecting to the upstream; 0 for the operating system's own.
    @ivar idle_timeout: seconds without a byte either way after which a session is closed (nginx stream C{proxy_timeout}); 0
        for never.
    @ivar lingering_timeout: seconds the client may be silent after the upstream has ended its side, before the upstream
        connection is closed.
    """

    limits: PipeLimits = DEFAULT_LIMITS
    response_filters: tuple[IPipeFilterFactory, ...] = ()
    request_filters: tuple[IPipeFilterFactory, ...] = ()
    connect_timeout: float = 60.0
    idle_timeout: float = 600.0
    lingering_timeout: float = 5.0

    @property
    def request_limits(self) -> PipeLimits:
        """The same bounds toward the upstream: a client may be silent as long as the session is not idle."""
        return attrs.evolve(self.limits, read_timeout=0.0, limit_rate=0)


@attrs.frozen(kw_only=True)
class TcpProxyStatistics:
    """
    @ivar accepted: sessions begun.
    @ivar active: sessions now.
    @ivar connect_failures: sessions whose upstream could not be reached.
    @ivar bytes_to_clients: delivered by ended sessions.
    @ivar bytes_to_upstreams: likewise.
    @ivar bytes_spilled: likewise, both directions.
    """

    accepted: int = 0
    active: int = 0
    connect_failures: int = 0
    bytes_to_clients: int = 0
    bytes_to_upstreams: int = 0
    bytes_spilled: int = 0


class TcpProxyFactory(ServerFactory):
    """Makes a session of every connection it is given. Listen with it on any endpoint."""

    noisy = False

    def __init__(self, group: UpstreamGroup, settings: TcpProxySettings, spill: SpillDirectory, clock: Any) -> None:
        """
        @param group: where to connect to.
        @param clock: the reactor, or an C{IReactorTime} in tests.
        """
        self.group = group
        self.settings = settings
        self.request_limits = settings.request_limits
        self.spill = spill
        self.clock = clock
        self.sessions: set[TcpSession] = set()
        self._totals = TcpProxyStatistics()

    def buildProtocol(self, addr: Any) -> PipeEnd:
        session = TcpSession(self)
        return PipeEnd(session.client_connected, session.client_lost)

    def statistics(self) -> TcpProxyStatistics:
        """The counters since the start."""
        return attrs.evolve(self._totals, active=len(self.sessions))

    def shutdown(self) -> None:
        """Close every session at once."""
        for session in list(self.sessions):
            session.abort(Cancelled("the service stops"))

    def count(self, **more: int) -> None:
        """Add to the totals."""
        totals = self._totals
        self._totals = attrs.evolve(totals, **{name: getattr(totals, name) + value for name, value in more.items()})


class _UpstreamFactory(Factory):
    """The protocol of an upstream connection; without Twisted's two log lines for each."""

    noisy = False
    protocol = PipeEnd


class TcpSession:
    """One client and its upstream."""

    def __init__(self, factory: TcpProxyFactory) -> None:
        self._factory = factory
        self._settings = factory.settings
        self._client: Any = None
        self._upstream: Any = None
        self._client_end: PipeEnd | None = None
        self._connecting: Deferred[Any] | None = None
        self._response: EventPipe | None = None
        self._request: EventPipe | None = None
        self._outcomes: dict[Direction, PipeOutcome] = {}
        self._why: str | None = None  # what went wrong first
        self._closed = False
        self._server = factory.group.next()
        self._name = ""
        clock = factory.clock
        self._started = clock.seconds()
        self._connect_deadline = Deadline(clock, self._settings.connect_timeout, self._connect_timed_out)
        self._idle_deadline = Deadline(clock, self._settings.idle_timeout, self._look_idle)
        self._linger_deadline = Deadline(clock, self._settings.lingering_timeout, self._look_lingering)

    def __repr__(self) -> str:
        return f"<TcpSession {self._name} response={self._response!r} request={self._request!r}>"

    # connecting

    def client_connected(self, end: PipeEnd) -> None:
        factory = self._factory
        factory.sessions.add(self)
        factory.count(accepted=1)
        self._client_end = end
        self._client = end.transport
        self._name = f"{_host_port(self._client.getPeer())} -> {self._server.name}"
        self._connect_deadline.restart(self._started)
        connecting = self._connecting = maybeDeferred(self._server.endpoint.connect, _UpstreamFactory())
        connecting.addCallbacks(self._upstream_connected, self._connect_failed)  # perhaps at once
        connecting.addErrback(self._failed_to_start)

    def _connect_timed_out(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()

    def _connect_failed(self, failure: Failure) -> None:
        self._connecting = None
        if self._closed:
            return
        self._factory.count(connect_failures=1)
        if failure.check(CancelledError):
            why = f"no connection within {format_duration(self._settings.connect_timeout)}"
        elif failure.check(ConnectError):
            why = failure.getErrorMessage().rstrip(".")
        else:
            why = f"{type(failure.value).__name__}: {failure.getErrorMessage()}"
        self._close(f"upstream {self._server.name} cannot be reached: {why}", clean=True)

    def _upstream_connected(self, end: PipeEnd) -> None:
        self._connecting = None
        self._connect_deadline.cancel()
        client_end = self._client_end
        assert end.transport is not None and client_end is not None
        self._upstream = end.transport
        if self._closed:
            abort(self._upstream)
            return
        settings, factory = self._settings, self._factory
        _log.info("{name}: open", name=self._name)
        response_filters = self._filters(settings.response_filters, Direction.RESPONSE)
        request_filters = self._filters(settings.request_filters, Direction.REQUEST)
        for transport in (self._client, self._upstream):
            if hasattr(transport, "setTcpNoDelay"):
                transport.setTcpNoDelay(True)
        self._idle_deadline.restart(factory.clock.seconds())
        self._response = end.source_of = self._pipe(
            Direction.RESPONSE, self._upstream, self._client, response_filters, settings.limits, end
        )
        self._request = client_end.source_of = self._pipe(
            Direction.REQUEST, self._client, self._upstream, request_filters, factory.request_limits, client_end
        )
        self._response.received.addCallback(self._upstream_ended)
        for direction, pipe in ((Direction.RESPONSE, self._response), (Direction.REQUEST, self._request)):
            pipe.done.addCallback(partial(self._pipe_done, direction))

    def _pipe(
        self, direction: Direction, upstream: Any, downstream: Any, filters: Any, limits: PipeLimits, end: PipeEnd
    ) -> EventPipe:
        pipe = EventPipe(
            upstream,
            downstream,
            filters,
            limits,
            clock=self._factory.clock,
            spill=self._factory.spill,
            preread=end.early,
            keep_open=True,
            name=f"{self._name} ({direction})",
        )
        if end.ended_early:
            pipe.upstream_ended()
        return pipe

    def _filters(self, factories: tuple[IPipeFilterFactory, ...], direction: Direction) -> list[tuple[str, Any]]:
        if not factories:
            return []
        context = FilterContext(
            direction=direction,
            client=self._client.getPeer(),
            upstream=self._upstream.getPeer(),
            clock=self._factory.clock,
        )
        return [(factory.name, factory.build(context)) for factory in factories]

    def _failed_to_start(self, failure: Failure) -> None:
        """A filter could not be built, or a mistake of ours: that session ends, with the traceback in the log."""
        _log.failure("{name}: the session could not be started", failure, name=self._name)
        self._close(f"not started: {type(failure.value).__name__}: {failure.getErrorMessage()}", clean=False)

    # ending

    def _pipe_done(self, direction: Direction, outcome: PipeOutcome) -> None:
        self._outcomes[direction] = outcome
        error = outcome.error
        if error is not None and self._why is None and not isinstance(error, Cancelled):
            # a request's upstream is the client
            names = ("upstream", "client") if direction is Direction.RESPONSE else ("client", "upstream")
            self._why = error.describe(*names)
        if direction is Direction.RESPONSE:
            self._response_done(outcome)
        else:
            self._request_done(outcome)
        if len(self._outcomes) == 2:
            self._close(self._why or "finished", clean=self._why is None)

    def _response_done(self, outcome: PipeOutcome) -> None:
        assert self._request is not None
        if outcome.error is None:
            half_close(self._client)
        else:
            self._request.abandon(Cancelled("the response has failed"))

    def _request_done(self, outcome: PipeOutcome) -> None:
        assert self._response is not None
        if outcome.error is None:
            if can_half_close(self._upstream):
                half_close(self._upstream)  # else it has to learn from the request itself that this was all
        elif outcome.side not in (Side.DOWNSTREAM, Side.CALLER):
            self._response.abandon(Cancelled("the request has failed"))
        # an upstream that takes no more may still have an answer to give: the response goes on
        if self._response.received.called:
            self._let_upstream_go()

    def _upstream_ended(self, _: None) -> None:
        if self._request is None or Direction.REQUEST in self._outcomes:
            self._let_upstream_go()
        elif self._settings.lingering_timeout:
            self._linger_deadline.restart(self._factory.clock.seconds())
        else:
            self._look_lingering()

    def _look_lingering(self) -> None:
        request = self._request
        if request is None or self._closed or Direction.REQUEST in self._outcomes:
            return
        now = self._factory.clock.seconds()
        if now < request.last_progress + self._settings.lingering_timeout:
            self._linger_deadline.restart(request.last_progress)
        else:
            request.abandon(Cancelled("the upstream has ended and the client is silent"))

    def _let_upstream_go(self) -> None:
        if self._upstream is not None:
            self._upstream.loseConnection()

    def _look_idle(self) -> None:
        if self._response is None or self._request is None:
            return
        latest = max(self._response.last_progress, self._request.last_progress)
        if self._factory.clock.seconds() < latest + self._settings.idle_timeout:
            self._idle_deadline.restart(latest)
        else:
            self.abort(TimedOut(Side.CALLER, "idle timeout", self._settings.idle_timeout))

    def client_lost(self, reason: Failure) -> None:
        """The client's connection is gone; its pipes have been told."""
        if self._response is None:
            self._close(f"client: {reason.getErrorMessage()}", clean=False)

    def abort(self, error: PipeError) -> None:
        """End both directions at once because of C{error}."""
        self._why = self._why or error.describe()
        for pipe in (self._response, self._request):
            if pipe is not None:
                pipe.abandon(Cancelled(str(error)))
        self._close(self._why, clean=False)

    def _close(self, why: str, clean: bool) -> None:
        if self._closed:
            return
        self._closed = True
        for deadline in (self._connect_deadline, self._idle_deadline, self._linger_deadline):
            deadline.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
        self._close_transports(clean)
        response, request = (self._outcomes.get(direction) for direction in (Direction.RESPONSE, Direction.REQUEST))
        to_client = response.bytes_out if response else 0
        to_upstream = request.bytes_out if request else 0
        spilled = sum(outcome.bytes_spilled for outcome in (response, request) if outcome)
        _log.info(
            "{name}: close after {duration}: {to_client} to the client, {to_upstream} to the upstream{spilled}: {why}",
            name=self._name,
            duration=format_duration(self._factory.clock.seconds() - self._started),
            to_client=format_size(to_client),
            to_upstream=format_size(to_upstream),
            spilled=f", {format_size(spilled)} spilled" if spilled else "",
            why=why,
        )
        factory = self._factory
        factory.count(bytes_to_clients=to_client, bytes_to_upstreams=to_upstream, bytes_spilled=spilled)
        factory.sessions.discard(self)

    def _close_transports(self, clean: bool) -> None:
        """The client is told uncleanly of an unclean end; what it was sent before arrives all the same."""
        response = self._outcomes.get(Direction.RESPONSE)
        if clean:
            self._client.loseConnection()
        elif response is not None and response.side is Side.UPSTREAM:
            abort_when_sent(self._client, self._factory.clock, self._settings.limits.send_timeout)
        else:
            abort(self._client)
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
