"""
Which filters the bodies of one exchange pass, and what they do to the head.

A byte filter knows nothing of heads; what HTTP has to know of it is declared on its class (L{twisted_pipe.filters.base.PipeFilter}):
C{content_coding}, the coding that it produces, or C{decoded_coding}, the one that it takes off. From that follow the fields
C{Content-Encoding}, C{Vary} and C{ETag}, and whether the filter is used at all: a client gets only what it accepts, and nothing is coded
twice. C{Content-Length} and the framing are the proxy's (RFC 9110, section 8; nginx C{gzip}).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from twisted_pipe.http.forwarding import without
from twisted_pipe.http.head import ResponseHead
from twisted_pipe.interfaces import Direction, FilterContext, IPipeFilterFactory, NamedFilter
from twisted_pipe.proxies.built_filters import build_filters

if TYPE_CHECKING:
    from twisted_pipe.proxies.exchange import Exchange
    from twisted_pipe.proxies.http_settings import FilterUse

__all__ = ["Chosen", "accepts_coding", "choose_filters", "matches_type", "request_filters"]

#: Parts of something, or nothing: no filter may see them as the whole.
_NOT_WHOLE = frozenset({204, 206, 304})
_CODED = frozenset({b"content-length", b"accept-ranges", b"content-md5", b"digest", b"repr-digest", b"content-digest"})
_QUALITY = re.compile(rb"q[ \t]*=[ \t]*([01](?:\.[0-9]{0,3})?)", re.IGNORECASE)
_COMPRESSIBLE = ("text/*", "application/json", "application/javascript", "application/xml", "image/svg+xml")


@attrs.frozen
class Chosen:
    """
    @ivar filters: new, in order.
    @ivar lines: the fields of the response as they are then.
    """

    filters: list[NamedFilter]
    lines: list[bytes]


def matches_type(types: Sequence[str], media_type: str) -> bool:
    """Whether C{media_type} (lower case, without parameters) is one of C{types}: C{text/html}, C{text/*}, C{*/*}."""
    for each in types:
        if each in ("*/*", media_type) or (each.endswith("/*") and media_type.startswith(each[:-1])):
            return True
    return False


def accepts_coding(accepted: bytes | None, coding: bytes) -> bool:
    """
    Whether a client takes C{coding}: RFC 9110, section 12.5.3.

    @param accepted: its C{Accept-Encoding}; None, or empty: nothing but the plain body.
    """
    wildcard = False
    for part in (accepted or b"").lower().split(b","):
        name, _, parameters = part.partition(b";")
        name = name.strip(b" \t")
        quality = _QUALITY.search(parameters)
        good = quality is None or float(quality[1]) > 0
        if name == coding:
            return good
        if name == b"*":
            wildcard = good
    return wildcard


def request_filters(exchange: Exchange) -> list[NamedFilter]:
    """
    New filters for the request's body.

    @raise twisted_pipe.errors.FilterFailed: one cannot be built, and is not to be bypassed.
    """
    uses = exchange.settings.request_filters
    media_type = _media_type(exchange.request_header(b"content-type"))
    factories = [use.factory for use in uses if matches_type(use.types, media_type)]
    return build_filters(factories, _context(exchange, Direction.REQUEST), exchange.client.name) if factories else []


def choose_filters(exchange: Exchange, response: ResponseHead, lines: list[bytes]) -> Chosen:
    """
    New filters for the response's body, and its head as they change it.

    @raise twisted_pipe.errors.FilterFailed: as L{request_filters}.
    """
    uses = exchange.settings.response_filters
    if not uses or response.status in _NOT_WHOLE:
        return Chosen([], lines)
    media_type = _media_type(response.get(b"content-type"))
    factories: list[IPipeFilterFactory] = []
    for use in uses:
        if matches_type(_types(use), media_type):
            wanted, lines = _coded(use, exchange, response, lines)
            if wanted:
                factories.append(use.factory)
    if not factories:
        return Chosen([], lines)
    filters = build_filters(factories, _context(exchange, Direction.RESPONSE), exchange.client.name)
    return Chosen(filters, [_weak(line) for line in without(lines, _CODED)])


def _types(use: FilterUse) -> Sequence[str]:
    if use.types:
        return use.types
    return _COMPRESSIBLE if _coding(use.factory, "content_coding") else ("*/*",)


def _coding(factory: IPipeFilterFactory, which: str) -> bytes:
    found: str = getattr(getattr(factory, "plugin_class", None), which, "")
    return found.encode()


def _coded(
    use: FilterUse, exchange: Exchange, response: ResponseHead, lines: list[bytes]
) -> tuple[bool, list[bytes]]:
    """Whether the filter of C{use} is wanted here, and the fields that say what it does."""
    produced, removed = _coding(use.factory, "content_coding"), _coding(use.factory, "decoded_coding")
    present = _codings_of(lines)
    if removed:
        if present[-1:] != [removed]:
            return False, lines
        rest = present[:-1]
        lines = without(lines, frozenset({b"content-encoding"}))
        return True, [*lines, b"Content-Encoding: " + b", ".join(rest)] if rest else lines
    if not produced:
        return not present, lines  # it wants the text, not a coding of it
    if present or b"no-transform" in (response.get_list(b"cache-control") or b"").lower():
        return False, lines
    lines = _varying(lines)
    if not accepts_coding(exchange.request_header(b"accept-encoding"), produced):
        return False, lines
    return True, [*lines, b"Content-Encoding: " + produced]


def _codings_of(lines: list[bytes]) -> list[bytes]:
    found: list[bytes] = []
    for line in lines:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-encoding":
            found += [part.strip(b" \t").lower() for part in value.split(b",")]
    return [coding for coding in found if coding and coding != b"identity"]


def _varying(lines: list[bytes]) -> list[bytes]:
    for line in lines:
        name, _, value = line.partition(b":")
        if name.lower() == b"vary" and (b"accept-encoding" in value.lower() or value.strip(b" \t") == b"*"):
            return lines
    return [*lines, b"Vary: Accept-Encoding"]


def _weak(line: bytes) -> bytes:
    """An entity tag says that two bodies are the same byte for byte, if it is strong."""
    if line[:5].lower() == b"etag:":
        value = line[5:].strip(b" \t")
        if not value.startswith(b"W/"):
            return b"ETag: W/" + value
    return line


def _media_type(value: bytes | None) -> str:
    return (value or b"").split(b";", 1)[0].strip(b" \t").lower().decode("latin-1")


def _context(exchange: Exchange, direction: Direction) -> FilterContext:
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
