"""
A connection that has changed its protocol: WebSocket, or what else a route lets pass.

The server's C{101} goes to the client, and from then on each of the two connections gets what the other sends (L{Tunnel}), first
of all what came behind either head. The exchange goes on until both have ended. Neither connection can carry another.

Nothing waits on disk: messages for a slow client wait in a bounded memory, then in the server's hands, who can decide what they
are worth. The only timeout of its own is C{upgrade_timeout}, from the last byte either way. nginx closes at C{proxy_read_timeout},
by default 60 seconds without a byte of the server's; that ends connections where nobody has anything to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import attrs

from twisted_pipe.errors import FilterFailed, Side
from twisted_pipe.http.message import ResponseHead
from twisted_pipe.interfaces import Direction, NamedFilter
from twisted_pipe.proxies.built_filters import build_filters
from twisted_pipe.proxies.http_filters import filter_context
from twisted_pipe.proxies.tunnel import Tunnel

if TYPE_CHECKING:
    from twisted_pipe.proxies.exchange import Exchange
    from twisted_pipe.proxies.upstream_connection import UpstreamConnection

__all__ = ["Upgraded"]


class Upgraded:
    """A C{TunnelOwner}, on behalf of an exchange."""

    __slots__ = ("_counted", "_exchange", "_filters", "_response", "_sent", "_tunnel")

    def __init__(self, exchange: Exchange, response: ResponseHead) -> None:
        connection = exchange.connection_up
        assert connection is not None
        self._exchange = exchange
        self._response = response
        self._sent = 0  # bytes of what the client gets first that its kernel took at once
        self._counted = False
        self._filters: dict[Direction, Sequence[NamedFilter]] = {}
        client = exchange.client
        lingering = client.proxy.client_settings.lingering_timeout
        settings = attrs.evolve(exchange.settings.tunnel, lingering_timeout=lingering, answer_timeout=lingering)
        self._tunnel = Tunnel(client.wire, connection.wire, self, settings, client.proxy.clock, client.proxy.spill)

    def __repr__(self) -> str:
        return f"<Upgraded {self._response.upgrade!r} {self._tunnel!r}>"

    @property
    def name(self) -> str:
        """Who talks to whom."""
        return f"{self._exchange.client.name} -> {self._exchange.server}"

    def begin(self, line: bytes, lines: list[bytes], rest: bytes) -> None:
        """
        @param lines: the fields that the client is to get, but for those of the connection.
        @param rest: what came behind the server's head.
        """
        exchange = self._exchange
        try:
            for direction in Direction:
                self._filters[direction] = self._built(direction)
        except FilterFailed as error:
            exchange.refuse(500, error.describe())
            return
        assert self._response.upgrade is not None
        head = b"\r\n".join([line, *lines, b"Connection: Upgrade", b"Upgrade: " + self._response.upgrade, b"", b""])
        exchange.sent_lines = lines
        exchange.header_bytes = len(head)
        exchange.upstream_bytes_received -= len(rest)  # the tunnel counts them
        client, connection = exchange.client, exchange.connection_up
        assert connection is not None
        client.keep = False
        early, client.pending = client.pending, b""
        client.hold()
        connection.hold()
        if not exchange.settings.upgrade.response_filters:
            head, rest = head + rest, b""
        self._send(head)
        self._tunnel.begin(head[self._sent :], rest, early)

    def _built(self, direction: Direction) -> list[NamedFilter]:
        """
        @raise FilterFailed: see L{build_filters}.
        """
        factories = self._exchange.settings.upgrade.filters_of(direction)
        return build_filters(factories, filter_context(self._exchange, direction), self.name) if factories else []

    def _send(self, head: bytes) -> None:
        """At once, as far as the client's socket takes it: then a relay needs not be a pipe first."""
        source = self._exchange.client.source
        if source is not None:
            with suppress(OSError):  # whoever sends next is told
                self._sent = source.send((head,))

    # TunnelOwner

    def tunnel_filters(self, direction: Direction) -> Sequence[NamedFilter]:
        """Built before the client was told."""
        return self._filters[direction]

    def tunnel_over(self) -> None:
        """Both ways have ended."""
        try:
            self._end()
        except Exception:
            self._exchange.mistaken("the tunnel could not be ended")

    def _end(self) -> None:
        exchange, tunnel = self._exchange, self._tunnel
        self._count()
        why = tunnel.why
        if why is None:
            connection: UpstreamConnection | None
            connection, exchange.connection_up = exchange.connection_up, None
            if connection is not None:
                connection.close()
            exchange.response_delivered()
        elif tunnel.by_client:
            exchange.client_lost(str(tunnel.error))
        else:
            exchange.broke_off(why, Side.UPSTREAM, broken=not tunnel.whole_response)

    def _count(self) -> None:
        if self._counted:
            return
        self._counted = True
        exchange, response, request = self._exchange, self._tunnel.response, self._tunnel.request
        exchange.bytes_sent = self._sent + response.passed
        exchange.upstream_bytes_received += exchange.body_bytes_sent
        exchange.body_came(request.passed)
        exchange.received = exchange.client.proxy.clock.seconds()

    # as the body of a response

    def stop(self) -> None:
        """The client is gone, or the service stops."""
        self._tunnel.stop()
        self._count()

    def due(self) -> float:
        """See C{Watched}."""
        return self._tunnel.due()

    def expire(self) -> None:
        """It is due."""
        self._tunnel.expire()
