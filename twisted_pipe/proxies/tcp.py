"""
The TCP proxy: for each client a session (L{twisted_pipe.proxies.tcp_session}).

On the C{epollet} reactor its plain listeners hand it bare sockets. On other reactors, and behind TLS, it gets a transport and
a protocol for each client, and the sessions are the same.
"""

from __future__ import annotations

import socket
from typing import Any

import attrs
from twisted.internet.protocol import ServerFactory
from zope.interface import implementer

from twisted_pipe.errors import Cancelled
from twisted_pipe.interfaces import IPipeProtocol
from twisted_pipe.net.pipe_end import PipeEnd
from twisted_pipe.net.port import ISocketFactory
from twisted_pipe.proxies.context import ProxyContext
from twisted_pipe.proxies.tcp_session import TcpSession
from twisted_pipe.proxies.watch import Watch

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


@implementer(IPipeProtocol, ISocketFactory)
class TcpProxyFactory(ServerFactory):
    """
    Makes a session of every connection it is given. Listen with it on any endpoint.

    @ivar context: where to connect to, and how.
    @ivar sessions: those that are not over.
    @ivar totals: what ended sessions have counted.
    @ivar watch: looks after their timeouts.
    @ivar takes_sockets: whether they can do with bare sockets, as on the C{epollet} reactor.
    @ivar plain_response: whether nothing but two sockets is needed for the response.
    @ivar plain_request: the same for the request.
    @ivar memory: bytes one way may hold.
    """

    noisy = False

    def __init__(self, context: ProxyContext) -> None:
        self.context = context
        self.settings = settings = context.settings
        self.clock = clock = context.clock
        self.takes_sockets = hasattr(clock, "add_edge")
        plain = self.takes_sockets and not (settings.limits.idle_timeout or settings.limits.total_timeout)
        self.plain_response = plain and not (settings.response_filters or settings.limits.limit_rate)
        self.plain_request = plain and not (settings.request_filters or settings.upload_rate)
        self.memory = settings.limits.memory
        self.sessions: set[TcpSession] = set()
        self.totals = TcpProxyTotals()
        timeouts = (
            settings.connect_timeout,
            settings.idle_timeout,
            settings.lingering_timeout,
            settings.limits.read_timeout,
        )
        self.watch = Watch(clock, timeouts, self.sessions)

    def buildProtocol(self, addr: Any) -> PipeEnd:
        session = TcpSession(self)
        return PipeEnd(session.client_connected, session.client_lost)

    def socket_accepted(self, sock: socket.SocketType, peer: bytes = b"") -> None:
        """A client of one of the C{epollet} reactor's own listeners."""
        TcpSession(self).client_accepted(sock, peer)

    def statistics(self) -> TcpProxyStatistics:
        """The counters since the start."""
        return TcpProxyStatistics(active=len(self.sessions), **attrs.asdict(self.totals))

    def shutdown(self) -> None:
        """Close every session at once."""
        for session in list(self.sessions):
            session.abort(Cancelled("the service stops"))
        self.watch.stop()
