"""
What a protocol has to work with: the upstream group, the settings, and help with connecting and joining.

A protocol of its own needs no more than this::

    async def serve(client):                                # a PipeEnd
        upstream = await context.connect(context.group.pick().server, PipeEnd)
        context.join(client, upstream, Direction.REQUEST)
        context.join(upstream, client, Direction.RESPONSE)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from twisted_pipe.interfaces import Direction, FilterContext, NamedFilter
from twisted_pipe.net.bound_endpoint import bound_endpoint
from twisted_pipe.net.connect_protocol import connect_protocol
from twisted_pipe.net.driver import EventPipe
from twisted_pipe.net.pipe_end import PipeEnd
from twisted_pipe.net.socket_options import prepare_transport
from twisted_pipe.net.spillfile import SpillDirectory
from twisted_pipe.proxies.built_filters import build_filters
from twisted_pipe.proxies.proxy_header_out import header_for
from twisted_pipe.proxies.settings import ProxySettings
from twisted_pipe.upstream.connect_settings import ConnectSettings
from twisted_pipe.upstream.group import UpstreamGroup, UpstreamServer

__all__ = ["ProxyContext"]


@attrs.frozen
class ProxyContext:
    """
    Shared by all connections of a service.

    @ivar group: where to connect to.
    @ivar settings: bounds, filters and timeouts.
    @ivar spill: where spill files are made.
    @ivar clock: the reactor, or an C{IReactorTime} in tests.
    """

    group: UpstreamGroup
    settings: ProxySettings
    spill: SpillDirectory
    clock: Any

    def connect(self, server: UpstreamServer, protocol: Callable[[], Any], client: Any = None) -> Deferred[Any]:
        """
        Connect to C{server} as its group says (L{ConnectSettings<twisted_pipe.upstream.connect_settings.ConnectSettings>}: TLS,
        local address, …), for at most C{connect_timeout} seconds. Whoever has picked it releases it, also when this fails.

        @param protocol: makes the C{IProtocol} of the connection, which is connected when all of that stands.
        @param client: the client's transport, whom servers that want a PROXY header are told of; None if it is for nobody.
        @return: fires with that protocol; fails as the endpoint does, or with C{twisted.internet.defer.TimeoutError}. May be
            cancelled.
        """
        settings = self.group.connect
        creator = None if settings.tls is None else settings.tls.creator(server)
        preface = b"" if settings.proxy_protocol is None else header_for(settings.proxy_protocol, client)
        endpoint = bound_endpoint(server.endpoint, settings.bind)
        connecting = connect_protocol(endpoint, protocol, self.clock, creator, preface)
        connecting.addCallback(_prepared, settings)
        if self.settings.connect_timeout:
            connecting.addTimeout(self.settings.connect_timeout, self.clock)
        return connecting

    def filters(self, direction: Direction, client: Any, upstream: Any, name: str = "") -> Sequence[NamedFilter]:
        """
        New filters for one direction of one connection.

        @param client: the client's transport, whose addresses they are told.
        @param upstream: that of the upstream, None if there is none yet.
        @param name: what the log calls the connection.
        @raise twisted_pipe.errors.FilterFailed: one cannot be built, and is not to be bypassed.
        """
        factories = self.settings.filters_of(direction)
        if not factories:
            return ()
        context = FilterContext(
            direction=direction,
            client=client.getPeer(),
            upstream=None if upstream is None else upstream.getPeer(),
            local=client.getHost(),
            connection=name,
            clock=self.clock,
        )
        return build_filters(factories, context, name)

    def join(
        self,
        source: PipeEnd,
        sink: PipeEnd,
        direction: Direction,
        filters: Sequence[NamedFilter] = (),
        *,
        keep_open: bool = False,
        name: str = "pipe",
    ) -> EventPipe:
        """
        A pipe from one connection to another, beginning with what has arrived already; the rest as L{pipe}.
        """
        pipe = self.pipe(
            source.transport, sink.transport, direction, filters, preread=source.early, keep_open=keep_open, name=name
        )
        source.feed(pipe)
        return pipe

    def pipe(
        self,
        source: Any,
        sink: Any,
        direction: Direction,
        filters: Sequence[NamedFilter] = (),
        *,
        preread: bytes = b"",
        keep_open: bool = True,
        name: str = "pipe",
    ) -> EventPipe:
        """
        A pipe with the bounds of its direction.

        @param source: a transport, or None if a producer is registered later (L{EventPipe.registerProducer}, L{EventPipe.write}).
        @param sink: a transport.
        @param filters: L{filters} made them.
        @param preread: the stream's first bytes, if they were received already.
        @param keep_open: whether the protocol closes both connections itself.
        @param name: for logs.
        """
        return EventPipe(
            source,
            sink,
            filters,
            self.settings.limits_of(direction),
            clock=self.clock,
            spill=self.spill,
            preread=preread,
            keep_open=keep_open,
            name=name,
        )


def _prepared(protocol: Any, settings: ConnectSettings) -> Any:
    if settings.wants_preparation:
        prepare_transport(protocol.transport, settings)
    return protocol
