"""
The fields that a route sets, adds and removes.

A recipient may put trailers to the fields of the head, so what is taken away there must not come back behind the body
(CVE-2013-5704).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from twisted_pipe.http.forwarding import without
from twisted_pipe.messages.headers import alike, without_alike

if TYPE_CHECKING:
    from twisted_pipe.http.facts import ExchangeFacts
    from twisted_pipe.proxies.http_settings import HeadChanges

__all__ = ["change_request", "change_response", "passed_trailers"]

#: Responses that C{add} holds for, if it does not for all: those of nginx's C{add_header}.
_GOOD = frozenset({200, 201, 204, 206, 301, 302, 303, 304, 307, 308})
#: What speaks of the very bytes of a body, of fields that may be trailers.
_OF_BYTES = frozenset({b"digest", b"content-digest", b"repr-digest", b"etag"})


@lru_cache(maxsize=256)
def _replaced(removed: frozenset[bytes], put: tuple[bytes, ...], of: Callable[[bytes], bytes]) -> frozenset[bytes]:
    """The names, as C{of} makes them, whose fields are lost."""
    return frozenset(of(name) for name in (*removed, *put))


def _names(changes: HeadChanges) -> tuple[bytes, ...]:
    return tuple([name for name, _ in changes.set])


def _with_new(lines: list[bytes], changes: HeadChanges, exchange: ExchangeFacts, adds: bool) -> list[bytes]:
    """C{lines}, to which those of C{changes} are appended."""
    for name, value in (*changes.set, *(changes.add if adds else ())):
        text = value.render_header(exchange)
        if text:
            lines.append(b"%b: %b" % (name, text))
    return lines


def change_request(
    host: bytes, lines: list[bytes], changes: HeadChanges, exchange: ExchangeFacts
) -> tuple[bytes, list[bytes]]:
    """
    C{lines} of a request as C{changes} want them. C{Host} is a line of its own.

    What is set tells a server what a client must not say, so with it goes what a server could take for it: C{X_User} with
    C{X-User}. With what is removed likewise.

    @param lines: of which one may be several.
    @return: the value of C{Host}, and the other fields.
    """
    lines = b"\r\n".join([b"Host: " + host, *lines]).split(b"\r\n")
    kept = without_alike(lines, _replaced(changes.remove, _names(changes), alike))
    changed = _with_new(kept, changes, exchange, adds=True)
    hosts = [line for line in changed if line[:5].lower() == b"host:"]
    if hosts:
        host = hosts[-1][5:].strip(b" \t")
        changed = [line for line in changed if line[:5].lower() != b"host:"]
    return host, changed


def change_response(lines: list[bytes], changes: HeadChanges, exchange: ExchangeFacts) -> list[bytes]:
    """C{lines} of a response as C{changes} want them."""
    kept = without(lines, _replaced(changes.remove, _names(changes), bytes.lower))
    return _with_new(kept, changes, exchange, adds=changes.always or exchange.status in _GOOD)


def passed_trailers(
    changes: HeadChanges, of: Callable[[bytes], bytes], filtered: bool, judged: bool = False
) -> Callable[[bytes], bool]:
    """
    Which trailers go on, by name: none whose field C{changes} take away, and none that speaks of other bytes.

    @param of: what names have in common that are the same to the recipient.
    @param filtered: whether the body has passed byte filters.
    @param judged: whether message filters saw the head, from which they may have taken anything. Then none goes on.
    """
    lost = _replaced(changes.remove, _names(changes), of)
    return lambda name: not (judged or of(name) in lost or (filtered and name.lower() in _OF_BYTES))
