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

from twisted_pipe.errors import BadConfiguration, Cancelled
from twisted_pipe.interfaces import IPipeFilterFactory
from twisted_pipe.limits import DEFAULT_LIMITS, PipeLimits
from twisted_pipe.net.pipe_end import PipeEnd
from twisted_pipe.net.port import ISocketFactory
from twisted_pipe.net.spillfile import SpillDirectory
from twisted_pipe.proxies.tcp_session import TcpSession
from twisted_pipe.proxies.watch import Watch
from twisted_pipe.upstream.group import UpstreamGroup

__all__ = ["TcpProxyFactory", "TcpProxySettings", "TcpProxyStatistics"]


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
    @ivar upload_rate: bytes per second read from a client, 0 for no limit (nginx stream C{proxy_upload_rate}).
    @ivar access_log: whether to log a line for each session that begins, and for each that ends well. What goes wrong is
        logged in any case.
    """

    limits: PipeLimits = DEFAULT_LIMITS
    response_filters: tuple[IPipeFilterFactory, ...] = ()
    request_filters: tuple[IPipeFilterFactory, ...] = ()
    connect_timeout: float = 60.0
    idle_timeout: float = 600.0
    lingering_timeout: float = 5.0
    upload_rate: int = 0
    access_log: bool = False

    def __attrs_post_init__(self) -> None:
        """
        @raise twisted_pipe.errors.BadConfiguration: C{upload_rate} is no rate.
        """
        try:
            self.request_limits  # noqa: B018  # which checks it
        except BadConfiguration as error:
            raise BadConfiguration("upload_rate", self.upload_rate, error.expected) from None

    @property
    def request_limits(self) -> PipeLimits:
        """The same bounds toward the upstream: a client may be silent as long as the session is not idle."""
        return attrs.evolve(self.limits, read_timeout=0.0, limit_rate=self.upload_rate, limit_rate_after=0)


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


@implementer(ISocketFactory)
class TcpProxyFactory(ServerFactory):
    """
    Makes a session of every connection it is given. Listen with it on any endpoint.

    @ivar sessions: those that are not over.
    @ivar totals: what ended sessions have counted.
    @ivar watch: looks after their timeouts.
    @ivar takes_sockets: whether they can do with bare sockets, as on the C{epollet} reactor.
    @ivar plain_response: whether nothing but two sockets is needed for the response.
    @ivar plain_request: the same for the request.
    @ivar memory: bytes one way may hold.
    """

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
