"""
One client of the TCP proxy and its upstream: looking at what the client says of TLS, if that matters; finding a server; timeouts,
the log, closing. What goes on between the two connections is a L{Tunnel}.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_pipe.errors import Cancelled, DownstreamFailed, PipeError, Side
from twisted_pipe.interfaces import Direction, NamedFilter
from twisted_pipe.net.bare import BareSocket
from twisted_pipe.net.closing import abort, abort_when_sent, close_when_sent, lose
from twisted_pipe.net.edge import edge_of
from twisted_pipe.net.preface_reader import PrefaceReader
from twisted_pipe.net.wire import TransportWire
from twisted_pipe.net.wire_preface import WirePreface
from twisted_pipe.preface.client_hello import ClientHello
from twisted_pipe.proxies.connecting import Wire
from twisted_pipe.proxies.proxy_header_out import header_for
from twisted_pipe.proxies.stream_variables import SessionFacts, hello_of
from twisted_pipe.proxies.tunnel import Tunnel
from twisted_pipe.proxies.upstream_search import UpstreamSearch
from twisted_pipe.proxies.watch import NEVER
from twisted_pipe.units import format_address, format_duration, format_size
from twisted_pipe.upstream.peer import Peer

if TYPE_CHECKING:
    from twisted_pipe.proxies.tcp import TcpProxyFactory

__all__ = ["TcpSession"]

_log = Logger()


class TcpSession:
    """One client and its upstream. A C{TunnelOwner}, and C{Watched}."""

    __slots__ = (
        "_client",
        "_client_wire",
        "_closed",
        "_factory",
        "_group",
        "_hello",
        "_peer",
        "_preface",
        "_search",
        "_started",
        "_tunnel",
        "_upstream",
    )

    def __init__(self, factory: TcpProxyFactory) -> None:
        self._factory = factory
        self._client: Any = None
        self._upstream: Any = None
        self._client_wire: BareSocket | TransportWire | None = None
        self._preface: PrefaceReader | WirePreface | None = None  # each of these three is followed by the next
        self._search: UpstreamSearch | None = None
        self._tunnel: Tunnel | None = None
        self._hello: ClientHello | None = None
        self._group = factory.context.group
        self._peer: Peer | None = None
        self._closed = False
        self._started: float = factory.clock.seconds()

    def __repr__(self) -> str:
        tunnel, search = self._tunnel, self._search
        if tunnel is not None:
            state = f"{tunnel.response!r} {tunnel.request!r}"
        else:
            state = "closed" if self._closed else "reading" if search is None else repr(search)
        return f"<TcpSession {self.name} {state}>"

    @property
    def name(self) -> str:
        """Who talks to whom."""
        client = "?" if self._client is None else format_address(self._client.getPeer())
        peer = self._peer if self._search is None else self._search.peer
        return f"{client} -> {self._group.name if peer is None else peer.name}"

    # the client

    def client_accepted(self, bare: BareSocket) -> None:
        """A client, as a bare socket."""
        self._client = self._client_wire = bare
        bare.reader = self  # until there is an upstream
        self._begin()

    def client_connected(self, wire: TransportWire) -> None:
        """A client, with a transport."""
        self._client_wire = wire
        self._client = wire.transport
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

    def _begin(self) -> None:
        factory = self._factory
        factory.sessions.add(self)
        factory.totals.accepted += 1
        factory.watch.start()
        if factory.routes is None:
            self._find_server()
            return
        hello = hello_of(self._client)
        if hello is not None:
            self._hello_read(hello)
            return
        wire, edge = self._client_wire, edge_of(self._client)
        parser, timeout = factory.routes.parser, factory.routes.timeout
        if edge is not None:
            self._preface = PrefaceReader(edge, parser, timeout, self._hello_read, self._no_hello)
        else:
            assert isinstance(wire, TransportWire)
            self._preface = WirePreface(wire, factory.clock, parser, timeout, self._hello_read, self._no_hello)
        self._preface.begin()

    def _hello_read(self, hello: ClientHello) -> None:
        routes = self._factory.routes
        assert routes is not None
        self._hello = hello
        self._group = routes.find(hello) or self._group
        self._hello_over()

    def _no_hello(self, error: PipeError) -> None:
        """It speaks no TLS, or says nothing before it is spoken to: that is for the server's own group."""
        if isinstance(error, DownstreamFailed):
            self._close(f"client: {error}", clean=False)
        else:
            self._hello_over()

    def _hello_over(self) -> None:
        self._preface = None
        if isinstance(self._client_wire, BareSocket):
            self._client_wire.reader = self
        self._find_server()

    # its server

    def _find_server(self) -> None:
        factory, group, settings = self._factory, self._group, self._factory.settings
        template, version = factory.keys.get(group), group.connect.proxy_protocol
        search = self._search = UpstreamSearch(
            factory.clock,
            group,
            self._upstream_opened,
            self._not_found,
            key=None if template is None else template.render(SessionFacts(self._client, self._hello)),  # type: ignore[arg-type]
            timeout=settings.connect_timeout,
            next_server=settings.next_server,
            preface=b"" if version is None else header_for(version, self._client, self._hello),
        )
        search.begin()

    def _upstream_opened(self, wire: Wire, peer: Peer) -> None:
        self._search = None
        self._peer = peer
        self._upstream = wire.transport
        if isinstance(wire, TransportWire) and hasattr(self._client, "setTcpNoDelay"):
            self._client.setTcpNoDelay(True)
        try:
            self._open(wire)
        except Exception:
            self._failed_to_start(Failure())

    def _not_found(self, why: str) -> None:
        search, self._search = self._search, None
        self._factory.totals.connect_failures += 1
        self._close(why, clean=True, told=search is not None and search.told)

    def _failed_to_start(self, failure: Failure) -> None:
        """A filter could not be built, or a mistake of ours: that session ends, with the traceback in the log."""
        _log.failure("{name}: the session could not be started", failure, name=self.name)
        self._close(f"not started: {type(failure.value).__name__}: {failure.getErrorMessage()}", clean=False)

    # both connections stand: TunnelOwner

    def _open(self, upstream: Wire) -> None:
        factory, client = self._factory, self._client_wire
        if isinstance(client, BareSocket):
            client.reader = None
        if factory.settings.access_log:
            asked = self._hello.server_name if self._hello is not None else ""
            _log.info("{name}: open{asked}", name=self.name, asked=asked and f": {asked}")
        tunnel = self._tunnel = Tunnel(client, upstream, self, factory.tunnel, factory.clock, factory.context.spill)
        tunnel.begin()

    def tunnel_filters(self, direction: Direction) -> Sequence[NamedFilter]:
        """New ones."""
        return self._factory.context.filters(direction, self._client, self._upstream, self.name)

    def tunnel_over(self) -> None:
        """Both ways have ended."""
        assert self._tunnel is not None
        why = self._tunnel.why
        self._close(why or "finished", clean=why is None)

    # ending

    def client_lost(self, reason: Failure) -> None:
        """The client's connection is gone; its pipes have been told."""
        if self._tunnel is None:
            self._close(f"client: {reason.getErrorMessage()}", clean=False)

    def abort(self, error: PipeError) -> None:
        """End both ways at once because of C{error}."""
        if self._tunnel is None:
            self._close(error.describe(), clean=False)
        else:
            self._tunnel.abort(error)

    # timeouts: Watched

    def due(self) -> float:
        """When the next timeout comes if nothing moves."""
        if self._closed:
            return NEVER
        if self._tunnel is not None:
            return self._tunnel.due()
        return NEVER if self._search is None else self._search.due()

    def expire(self) -> None:
        """Do what is due."""
        if self.due() > self._factory.clock.seconds():
            return
        if self._tunnel is not None:
            self._tunnel.expire()
        elif self._search is not None:
            self._search.expire()

    # closing

    def _close(self, why: str, clean: bool, told: bool = False) -> None:
        """
        @param told: whether the log says C{why} already, once for all sessions.
        """
        if self._closed:
            return
        self._closed = True
        factory, tunnel = self._factory, self._tunnel
        to_client = to_upstream = spilled = 0
        if tunnel is not None:
            tunnel.stop()
            to_client, to_upstream = tunnel.response.passed, tunnel.request.passed
            spilled = tunnel.response.spilled + tunnel.request.spilled
        if factory.settings.access_log or not (told or why == "finished"):
            _log.info(
                "{name}: close after {duration}: {to_client} to the client, {to_upstream} to the upstream{spilled}: {why}",
                name=self.name,
                duration=format_duration(factory.clock.seconds() - self._started),
                to_client=format_size(to_client),
                to_upstream=format_size(to_upstream),
                spilled=f", {format_size(spilled)} spilled" if spilled else "",
                why=why,
            )
        for step in (self._preface, self._search):
            if step is not None:
                step.cancel()
        if isinstance(self._client_wire, BareSocket) and self._client_wire.reader is self:
            self._client_wire.reader = None
        self._close_transports(clean)
        totals = factory.totals
        totals.bytes_to_clients += to_client
        totals.bytes_to_upstreams += to_upstream
        totals.bytes_spilled += spilled
        factory.watch.forget(self)
        factory.sessions.discard(self)
        if self._peer is not None:
            self._group.release(self._peer)

    def _close_transports(self, clean: bool) -> None:
        """
        The client is told uncleanly of an unclean end, unless it has had the whole response: then it is the request's end, and the
        upstream's concern. What it was sent before arrives all the same.
        """
        tunnel = self._tunnel
        error = None if tunnel is None else tunnel.response.error
        clock, patience = self._factory.clock, self._factory.settings.limits.send_timeout
        if clean and (tunnel is None or tunnel.request.error is None):
            lose(self._client, clock, patience)
        elif clean or (tunnel is not None and tunnel.whole_response):
            close_when_sent(self._client, clock, patience)  # what it still sends would make a close a reset
        elif error is not None and error.side is not Side.UPSTREAM:
            abort(self._client)
        else:
            abort_when_sent(self._client, clock, patience)
        if self._upstream is not None:
            if clean:
                lose(self._upstream, clock, patience)
            else:
                abort(self._upstream)
