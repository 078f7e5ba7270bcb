"""What a proxy does with a connection, whatever protocol it speaks."""

from __future__ import annotations

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.interfaces import Direction, IPipeFilterFactory
from twisted_pipe.limits import DEFAULT_LIMITS, PipeLimits
from twisted_pipe.proxies.stream_routes import StreamRoutes
from twisted_pipe.proxies.upstream_search import ANY_SERVER, NextServer

__all__ = ["ProxySettings"]


@attrs.frozen(kw_only=True)
class ProxySettings:
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
    @ivar request_limits: the bounds toward the upstream: the same, but a client may be silent as long as the session is not idle.
    @ivar next_server: whether another server is asked when one cannot be reached.
    @ivar routes: to other groups, by what clients say of TLS; None to look at nothing.
    @ivar access_log: whether to log a line for each session that begins, and for each that ends well. What goes wrong is
        logged in any case.
    @raise twisted_pipe.errors.BadConfiguration: C{upload_rate} is no rate.
    """

    limits: PipeLimits = DEFAULT_LIMITS
    response_filters: tuple[IPipeFilterFactory, ...] = ()
    request_filters: tuple[IPipeFilterFactory, ...] = ()
    connect_timeout: float = 60.0
    idle_timeout: float = 600.0
    lingering_timeout: float = 5.0
    upload_rate: int = 0
    next_server: NextServer = ANY_SERVER
    routes: StreamRoutes | None = None
    access_log: bool = False

    request_limits: PipeLimits = attrs.field(init=False, repr=False, eq=False)

    @request_limits.default
    def _limits_of_requests(self) -> PipeLimits:
        try:
            return attrs.evolve(self.limits, read_timeout=0.0, limit_rate=self.upload_rate, limit_rate_after=0)
        except BadConfiguration as error:
            raise BadConfiguration("upload_rate", self.upload_rate, error.expected) from None

    def limits_of(self, direction: Direction) -> PipeLimits:
        """The bounds of that direction."""
        return self.limits if direction is Direction.RESPONSE else self.request_limits

    def filters_of(self, direction: Direction) -> tuple[IPipeFilterFactory, ...]:
        """The filters on that direction."""
        return self.response_filters if direction is Direction.RESPONSE else self.request_filters
