"""
The TCP proxy: for each client a session (L{twisted_pipe.proxies.tcp_session}).

On the C{epollet} reactor its listeners hand it bare sockets, which may speak TLS. On other reactors it gets a transport and a
protocol for each client, and the sessions are the same.
"""

from __future__ import annotations

import socket
from typing import Any

import attrs
from twisted.internet.protocol import ServerFactory
from zope.interface import implementer

from twisted_pipe.errors import Cancelled
from twisted_pipe.http.template import Template
from twisted_pipe.interfaces import IPipeProtocol
from twisted_pipe.net.bare import BareSocket
from twisted_pipe.net.port import ISocketFactory
from twisted_pipe.net.wire import TransportWire
from twisted_pipe.proxies.context import ProxyContext
from twisted_pipe.proxies.stream_routes import StreamRoutes
from twisted_pipe.proxies.stream_variables import key_template, wants_hello
from twisted_pipe.proxies.tcp_session import TcpSession
from twisted_pipe.proxies.tunnel import TunnelSettings
from twisted_pipe.proxies.watch import Watch
from twisted_pipe.upstream.group import UpstreamGroup

__all__ = ["TcpProxyFactory", "TcpProxyStatistics"]


@attrs.define
class TcpProxyTotals:
    """What the sessions add to as they go; see L{TcpProxyStatistics}."""

    accepted: int = 0
    connect_failures: int = 0
    bytes_to_clients: int = 0
    bytes_to_upstreams: int = 0
    bytes_spilled: int = 0


@attrs.frozen(kw_only=True)
class TcpProxyStatistics:
    """
    @ivar accepted: sessions begun.
    @ivar active: sessions now.
    @ivar connect_failures: sessions for which no server could be reached.
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


@implementer(IPipeProtocol, ISocketFactory)
class TcpProxyFactory(ServerFactory):
    """
    Makes a session of every connection it is given. Listen with it on any endpoint.

    @ivar context: where to connect to, and how.
    @ivar sessions: those that are not over.
    @ivar totals: what ended sessions have counted.
    @ivar watch: looks after their timeouts.
    @ivar takes_sockets: whether they can do with bare sockets, as on the C{epollet} reactor.
    @ivar tunnel: what a client and its upstream keep to once both are connected.
    @ivar key_of: makes of a session what the group's balancer wants to know of it; None if that is nothing.
    """

    noisy = False

    def __init__(self, context: ProxyContext) -> None:
        """
        @raise BadConfiguration: the balancer wants to know a variable that does not exist.
        """
        self.context = context
        self.settings = settings = context.settings
        self.clock = clock = context.clock
        self.takes_sockets = hasattr(clock, "add_edge")
        self.tunnel = TunnelSettings(
            response=settings.limits,
            request=settings.request_limits,
            idle_timeout=settings.idle_timeout,
            lingering_timeout=settings.lingering_timeout,
            response_filtered=bool(settings.response_filters),
            request_filtered=bool(settings.request_filters),
        )
        self._groups = groups = [context.group, *(route.group for route in settings.routes or ())]
        self.keys: dict[UpstreamGroup, Template] = {each: key_template(each) for each in groups if each.key}
        self.routes = settings.routes
        if self.routes is None and any(wants_hello(each.key) for each in groups):
            self.routes = StreamRoutes()
        self.sessions: set[TcpSession] = set()
        self.totals = TcpProxyTotals()
        timeouts = (
            settings.connect_timeout,
            settings.idle_timeout,
            settings.lingering_timeout,
            settings.limits.read_timeout,
        )
        self.watch = Watch(clock, timeouts, self.sessions)

    def buildProtocol(self, addr: Any) -> TransportWire:
        session = TcpSession(self)
        return TransportWire(session.client_connected, session.client_lost)

    def socket_accepted(self, sock: socket.SocketType, peer: bytes = b"") -> None:
        """A client of one of the C{epollet} reactor's own listeners."""
        self.wire_accepted(BareSocket(self.clock, sock, accepted=True, peer=peer))

    def wire_accepted(self, wire: BareSocket) -> None:
        """A client that has come by an L{Entrance<twisted_pipe.proxies.entrance.Entrance>}."""
        TcpSession(self).client_accepted(wire)

    def statistics(self) -> TcpProxyStatistics:
        """The counters since the start."""
        return TcpProxyStatistics(active=len(self.sessions), **attrs.asdict(self.totals))

    def shutdown(self) -> None:
        """Close every session at once."""
        for session in list(self.sessions):
            session.abort(Cancelled("the service stops"))
        for group in self._groups:
            group.stop()
        self.watch.stop()
