"""The filters of the bodies of one exchange. Which they are, and what they do to the head: L{twisted_pipe.http.body_filters}."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from twisted_pipe.http.body_filters import ChosenFilters, FilterUse, filters_of_request, filters_of_response, uses_of
from twisted_pipe.http.message import RequestHead, ResponseHead
from twisted_pipe.interfaces import Direction, FilterContext, NamedFilter
from twisted_pipe.proxies.built_filters import build_filters

if TYPE_CHECKING:
    from twisted_pipe.proxies.exchange import Exchange

__all__ = ["Chosen", "choose_filters", "filter_context", "request_filters", "unbuilt_filters", "wanted_on_request"]


@attrs.frozen
class Chosen:
    """
    @ivar filters: new, in order.
    @ivar lines: the fields of the message as they are then.
    @ivar keep_bytes: whether the body stays what it is.
    """

    filters: list[NamedFilter]
    lines: list[bytes]
    keep_bytes: bool


def request_filters(exchange: Exchange) -> Chosen:
    """
    New filters for the request's body, and its fields as they change them.

    @raise twisted_pipe.errors.FilterFailed: one cannot be built, and is not to be bypassed.
    """
    head: RequestHead = exchange.head
    chosen = filters_of_request(wanted_on_request(exchange), head, head.lines)
    return _built(exchange, Direction.REQUEST, chosen)


def choose_filters(exchange: Exchange, response: ResponseHead, lines: list[bytes]) -> Chosen:
    """
    The same for the response's.

    @raise twisted_pipe.errors.FilterFailed: as L{request_filters}.
    """
    return _built(exchange, Direction.RESPONSE, unbuilt_filters(exchange, response, lines))


def unbuilt_filters(exchange: Exchange, response: ResponseHead, lines: list[bytes]) -> ChosenFilters:
    """The same, not built yet."""
    uses = exchange.settings.response_filters
    if exchange.filtered is not None:
        uses = (*uses_of(exchange.filtered.response_filters), *uses)
    return filters_of_response(uses, response, lines, exchange.head)


def wanted_on_request(exchange: Exchange) -> Sequence[FilterUse]:
    """Those that the route has for requests' bodies, behind those that message filters want for this one."""
    uses = exchange.settings.request_filters
    if exchange.filtered is not None:
        uses = (*uses_of(exchange.filtered.request_filters), *uses)
    return uses


def _built(exchange: Exchange, direction: Direction, chosen: ChosenFilters) -> Chosen:
    if not chosen.factories:
        return Chosen([], chosen.lines, True)
    filters = build_filters(chosen.factories, filter_context(exchange, direction), exchange.client.name)
    return Chosen(filters, chosen.lines, chosen.keep_bytes)


def filter_context(exchange: Exchange, direction: Direction) -> FilterContext:
    """What filters on one direction of C{exchange} may know."""
    connection = exchange.connection_up
    client = exchange.client
    upstream = None if connection is None or not connection.open else connection.wire.transport.getPeer()
    return FilterContext(
        direction=direction,
        client=client.transport.getPeer(),
        upstream=upstream,
        local=client.transport.getHost(),
        connection=f"{client.name} -> {exchange.server}" if exchange.server else client.name,
        clock=client.proxy.clock,
        request=exchange.head,
        response=exchange.response if direction is Direction.RESPONSE else None,
    )
