"""
Which filters the bodies of one exchange pass, and what they do to the head.

A byte filter knows nothing of heads; what HTTP has to know of it is declared on its class
(L{twisted_pipe.filters.base.PipeFilter}): C{content_coding}, the coding that it produces, or C{decoded_coding}, the one that it
takes off. From that follow the fields C{Content-Encoding}, C{Vary} and C{ETag}, and whether the filter is used at all: a client
gets only what it accepts, nothing is coded twice, and C{no-transform} is obeyed. A filter without a coding is for plain bodies,
and is not used for coded ones, nor for parts (206); one with C{any_coding}, which does not look at the bytes, is.
C{Content-Length} and the framing are the proxy's (RFC 9110, section 8; nginx C{gzip}).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs

from twisted_pipe.http.forwarding import without
from twisted_pipe.http.message import Head, RequestHead, ResponseHead
from twisted_pipe.interfaces import Direction, FilterContext, IPipeFilterFactory, NamedFilter, OnFailure
from twisted_pipe.plugin.declared import DeclaredPlugin
from twisted_pipe.proxies.built_filters import build_filters
from twisted_pipe.proxies.http_settings import FilterUse

if TYPE_CHECKING:
    from twisted_pipe.proxies.exchange import Exchange

__all__ = [
    "Chosen",
    "accepts_coding",
    "choose_filters",
    "filter_context",
    "matches_type",
    "request_filters",
    "wanted_on_request",
]

_EMPTY = frozenset({204, 304})
_PART = 206  # of something, or several: no filter that looks at the bytes may see them as the whole
_CODED = frozenset({b"content-length", b"accept-ranges", b"content-md5", b"digest", b"repr-digest", b"content-digest"})
_REFUSED = re.compile(rb";[ \t]*q=0(?:\.0{0,3})?[ \t]*(?:;|$)")
_ALIASES = {b"x-gzip": b"gzip", b"x-compress": b"compress"}  # RFC 9110, section 8.4.1
_COMPRESSIBLE = ("text/*", "application/json", "application/javascript", "application/xml", "image/svg+xml")


@attrs.frozen
class Chosen:
    """
    @ivar filters: new, in order.
    @ivar lines: the fields of the message as they are then.
    """

    filters: list[NamedFilter]
    lines: list[bytes]


def matches_type(types: Sequence[str], media_type: str) -> bool:
    """Whether C{media_type} (lower case, without parameters) is one of C{types}: C{text/html}, C{text/*}, C{*/*}."""
    return any(
        each in ("*/*", media_type) or (each.endswith("/*") and media_type.startswith(each[:-1])) for each in types
    )


def accepts_coding(accepted: bytes | None, coding: bytes) -> bool:
    """
    Whether a client takes C{coding}: RFC 9110, section 12.5.3.

    @param accepted: its C{Accept-Encoding}; None, or empty: nothing but the plain body.
    """
    wildcard = False
    for part in (accepted or b"").lower().split(b","):
        name = part.partition(b";")[0].strip(b" \t")
        good = _REFUSED.search(part) is None
        if _ALIASES.get(name, name) == coding:
            return good
        if name == b"*":
            wildcard = good
    return wildcard


def request_filters(exchange: Exchange) -> Chosen:
    """
    New filters for the request's body, and its fields as they change them.

    @raise twisted_pipe.errors.FilterFailed: one cannot be built, and is not to be bypassed.
    """
    head: RequestHead = exchange.head
    return _choose(exchange, Direction.REQUEST, wanted_on_request(exchange), head, head.lines)


def choose_filters(exchange: Exchange, response: ResponseHead, lines: list[bytes]) -> Chosen:
    """
    The same for the response's.

    @raise twisted_pipe.errors.FilterFailed: as L{request_filters}.
    """
    if response.status in _EMPTY:
        return Chosen([], lines)
    uses = exchange.settings.response_filters
    if exchange.filtered is not None:
        uses = (*map(_whatever, exchange.filtered.response_filters), *uses)
    if response.status == _PART:
        uses = tuple(use for use in uses if _takes_parts(use.factory))
    return _choose(exchange, Direction.RESPONSE, uses, response, lines)


def wanted_on_request(exchange: Exchange) -> Sequence[FilterUse]:
    """Those that the route has for requests' bodies, behind those that message filters want for this one."""
    uses = exchange.settings.request_filters
    if exchange.filtered is not None:
        uses = (*map(_whatever, exchange.filtered.request_filters), *uses)
    return uses


def _whatever(factory: IPipeFilterFactory) -> FilterUse:
    """For bodies of all types. What it does to the head is known of one that is configured."""
    configured = factory.configure({}) if isinstance(factory, DeclaredPlugin) else factory
    return FilterUse(factory=configured, types=("*/*",))


def _choose(
    exchange: Exchange, direction: Direction, uses: Sequence[FilterUse], head: Head, lines: list[bytes]
) -> Chosen:
    media_type = _media_type(head.get(b"content-type"))
    factories: list[IPipeFilterFactory] = []
    for use in uses:
        if matches_type(_types(use), media_type):
            wanted, lines = _coded(use.factory, exchange, direction, head, lines)
            if wanted:
                factories.append(_trusted(use.factory))
    if not factories:
        return Chosen([], lines)
    filters = build_filters(factories, filter_context(exchange, direction), exchange.client.name)
    return Chosen(filters, [_weak(line) for line in without(lines, _CODED)])


def _types(use: FilterUse) -> Sequence[str]:
    if use.types:
        return use.types
    return _COMPRESSIBLE if _coding(use.factory, "content_coding") else ("*/*",)


def _coding(factory: IPipeFilterFactory, which: str) -> bytes:
    found: str = getattr(getattr(factory, "plugin_class", None), which, "")
    return found.encode()


def _any_coding(factory: IPipeFilterFactory) -> bool:
    return bool(getattr(getattr(factory, "plugin_class", None), "any_coding", False))


def _takes_parts(factory: IPipeFilterFactory) -> bool:
    """Else who asks for a range would escape what is meant for every byte."""
    return _any_coding(factory) and not (_coding(factory, "content_coding") or _coding(factory, "decoded_coding"))


def _trusted(factory: Any) -> IPipeFilterFactory:
    """Without a coding that the head has announced nobody could read the body: such a filter is never bypassed."""
    announced = _coding(factory, "content_coding") or _coding(factory, "decoded_coding")
    found: IPipeFilterFactory = attrs.evolve(factory, on_failure=OnFailure.ABORT) if announced else factory
    return found


def _coded(
    factory: IPipeFilterFactory, exchange: Exchange, direction: Direction, head: Head, lines: list[bytes]
) -> tuple[bool, list[bytes]]:
    """Whether C{factory} is wanted here, and the fields that say what it does."""
    produced, removed = _coding(factory, "content_coding"), _coding(factory, "decoded_coding")
    present = _codings_of(lines)
    if not (produced or removed):
        # most want the text, not a coding of it
        return not present or _any_coding(factory), lines
    if b"no-transform" in (head.get_list(b"cache-control") or b"").lower():
        return False, lines  # RFC 9110, section 7.7
    if removed:
        return (True, _with_codings(lines, present[:-1])) if present[-1:] == [removed] else (False, lines)
    if present:
        return False, lines
    if direction is Direction.RESPONSE:
        lines = _varying(lines)
        asked: RequestHead = exchange.head.asked or exchange.head  # whatever the upstream was told
        if not accepts_coding(asked.get_list(b"accept-encoding"), produced):
            return False, lines
    return True, _with_codings(lines, [produced])


def _with_codings(lines: list[bytes], codings: list[bytes]) -> list[bytes]:
    lines = without(lines, frozenset({b"content-encoding"}))
    return [*lines, b"Content-Encoding: " + b", ".join(codings)] if codings else lines


def _codings_of(lines: list[bytes]) -> list[bytes]:
    found: list[bytes] = []
    for line in lines:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-encoding":
            found += [part.strip(b" \t").lower() for part in value.split(b",")]
    return [_ALIASES.get(coding, coding) for coding in found if coding and coding != b"identity"]


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
