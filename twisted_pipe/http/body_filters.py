"""
Which filters the body of a message passes, and what they do to its head.

A byte filter knows nothing of heads; what HTTP has to know of it is declared on its class
(L{twisted_pipe.filters.base.PipeFilter}): C{content_coding}, the coding that it produces, or C{decoded_coding}, the one that it
takes off. From that follow the fields C{Content-Encoding}, C{Vary} and C{ETag}, and whether the filter is used at all: a client
gets only what it accepts, nothing is coded twice, and C{no-transform} is obeyed. A filter without a coding is for plain bodies,
and is not used for coded ones, nor for parts (206); one with C{any_coding}, which does not look at the bytes, is.
C{Content-Length} and the framing are the proxy's (RFC 9110, section 8; nginx C{gzip}). Filters with C{keeps_bytes}
change nothing of what is said of a body.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from twisted_pipe.http.forwarding import without
from twisted_pipe.http.message import Head, RequestHead, ResponseHead
from twisted_pipe.interfaces import IPipeFilterFactory, OnFailure
from twisted_pipe.plugin.declared import DeclaredPlugin

__all__ = [
    "ChosenFilters",
    "FilterUse",
    "accepts_coding",
    "filters_of_request",
    "filters_of_response",
    "matches_type",
    "uses_of",
]

_NO_CONTENT, _NOT_MODIFIED = 204, 304
_PART = 206  # of something, or several: no filter that looks at the bytes may see them as the whole
_CODED = frozenset({b"content-length", b"accept-ranges", b"content-md5", b"digest", b"repr-digest", b"content-digest"})
_TAG = re.compile(rb'(?:W/)?"[^"]*"')
_REFUSED = re.compile(rb";[ \t]*q=0(?:\.0{0,3})?[ \t]*(?:;|$)")
_ALIASES = {b"x-gzip": b"gzip", b"x-compress": b"compress"}  # RFC 9110, section 8.4.1
_COMPRESSIBLE = ("text/*", "application/json", "application/javascript", "application/xml", "image/svg+xml")


@attrs.frozen(kw_only=True)
class FilterUse:
    """
    A filter on a route.

    @ivar factory: configured.
    @ivar types: media types whose bodies pass it, lower case: C{text/html}, C{text/*}, C{*/*}. Empty: all, or of a filter that
        compresses what can be compressed.
    """

    factory: IPipeFilterFactory
    types: tuple[str, ...] = ()


@attrs.frozen
class ChosenFilters:
    """
    @ivar factories: of the filters that the body passes, in order; of a body that is not there (HEAD, 304), that it would pass.
    @ivar lines: the fields of the message as they are then.
    """

    factories: Sequence[IPipeFilterFactory]
    lines: list[bytes]

    @property
    def keep_bytes(self) -> bool:
        """Whether the body is what it was, and so of the same length."""
        return all(map(_keeps_bytes, self.factories))


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


def uses_of(factories: Iterable[IPipeFilterFactory]) -> tuple[FilterUse, ...]:
    """For bodies of all types, as message filters want them. What one does to the head is known of one that is configured."""
    configured = (each.configure({}) if isinstance(each, DeclaredPlugin) else each for each in factories)
    return tuple(FilterUse(factory=each, types=("*/*",)) for each in configured)


def filters_of_request(uses: Sequence[FilterUse], head: RequestHead, lines: list[bytes]) -> ChosenFilters:
    """
    Those of C{uses} that a request's body passes.

    @param lines: its fields, as they are now.
    """
    return _choose(uses, head, lines, None)


def filters_of_response(
    uses: Sequence[FilterUse], response: ResponseHead, lines: list[bytes], request: RequestHead
) -> ChosenFilters:
    """
    The same for a response's body. Where there is none, because HEAD was asked or nothing has changed (304), the fields are those
    that are said of it.

    @param response: as the upstream has sent it.
    @param request: what it answers.
    """
    asked = request.asked or request  # whatever the upstream was told
    if response.status == _NO_CONTENT:
        return ChosenFilters((), lines)
    if response.status == _NOT_MODIFIED:
        return _not_modified(uses, response, lines, asked)
    if response.status == _PART:
        uses = tuple(use for use in uses if _takes_parts(use.factory))
    return _choose(uses, response, lines, asked)


def _not_modified(
    uses: Sequence[FilterUse], response: ResponseHead, lines: list[bytes], asked: RequestHead
) -> ChosenFilters:
    """
    A 304, which says of a body what its 200 has said (RFC 9110, section 15.4.5). Mostly it does not say of which type that is, so
    the filters are those that it may pass; and whether they have made its tag weak is told by the client, who knows it.
    """
    media_type = _media_type(response.get(b"content-type"))
    factories = []
    for use in uses:
        if media_type and not matches_type(_types(use), media_type):
            continue
        if _coding(use.factory, "content_coding"):
            if _is_fixed(response) or _codings_of(lines):
                continue
            lines = _varying(lines)
        factories.append(use.factory)
    known = _TAG.findall(asked.get_list(b"if-none-match") or b"")
    return ChosenFilters(factories, [_known_as(line, known) for line in lines])


def _known_as(line: bytes, tags: Sequence[bytes]) -> bytes:
    """An C{ETag} that is among C{tags} as a weak one only is weak."""
    if line[:5].lower() != b"etag:":
        return line
    tag = line[5:].strip(b" \t")
    weak = b"W/" + tag
    return b"ETag: " + weak if weak in tags and tag not in tags else line


def _choose(uses: Sequence[FilterUse], head: Head, lines: list[bytes], asked: RequestHead | None) -> ChosenFilters:
    """
    @param asked: by the client that gets the body; None if it is the upstream that gets it.
    """
    media_type = _media_type(head.get(b"content-type"))
    factories: list[IPipeFilterFactory] = []
    for use in uses:
        if matches_type(_types(use), media_type):
            wanted, lines = _coded(use.factory, head, lines, asked)
            if wanted:
                factories.append(_trusted(use.factory))
    if not all(map(_keeps_bytes, factories)):
        lines = [_weak(line) for line in without(lines, _CODED)]
    return ChosenFilters(factories, lines)


def _types(use: FilterUse) -> Sequence[str]:
    if use.types:
        return use.types
    return _COMPRESSIBLE if _coding(use.factory, "content_coding") else ("*/*",)


def _coding(factory: IPipeFilterFactory, which: str) -> bytes:
    found: str = getattr(getattr(factory, "plugin_class", None), which, "")
    return found.encode()


def _any_coding(factory: IPipeFilterFactory) -> bool:
    return bool(getattr(getattr(factory, "plugin_class", None), "any_coding", False))


def _keeps_bytes(factory: IPipeFilterFactory) -> bool:
    return bool(getattr(getattr(factory, "plugin_class", None), "keeps_bytes", False))


def _takes_parts(factory: IPipeFilterFactory) -> bool:
    """Else who asks for a range would escape what is meant for every byte."""
    return _any_coding(factory) and not (_coding(factory, "content_coding") or _coding(factory, "decoded_coding"))


def _trusted(factory: Any) -> IPipeFilterFactory:
    """Without a coding that the head has announced nobody could read the body: such a filter is never bypassed."""
    announced = _coding(factory, "content_coding") or _coding(factory, "decoded_coding")
    found: IPipeFilterFactory = attrs.evolve(factory, on_failure=OnFailure.ABORT) if announced else factory
    return found


def _coded(
    factory: IPipeFilterFactory, head: Head, lines: list[bytes], asked: RequestHead | None
) -> tuple[bool, list[bytes]]:
    """Whether C{factory} is wanted here, and the fields that say what it does."""
    produced, removed = _coding(factory, "content_coding"), _coding(factory, "decoded_coding")
    present = _codings_of(lines)
    if not (produced or removed):
        # most want the text, not a coding of it
        return not present or _any_coding(factory), lines
    if _is_fixed(head):
        return False, lines
    if removed:
        return (True, _with_codings(lines, present[:-1])) if present[-1:] == [removed] else (False, lines)
    if present:
        return False, lines
    if asked is not None:
        lines = _varying(lines)
        if not accepts_coding(asked.get_list(b"accept-encoding"), produced):
            return False, lines
    return True, _with_codings(lines, [produced])


def _is_fixed(head: Head) -> bool:
    """Whether codings are to be left as they are: RFC 9110, section 7.7."""
    return b"no-transform" in (head.get_list(b"cache-control") or b"").lower()


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
