"""The fields that a route sets, adds and removes."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from twisted_pipe.http.forwarding import without
from twisted_pipe.messages.headers import alike, without_alike

if TYPE_CHECKING:
    from twisted_pipe.http.facts import ExchangeFacts
    from twisted_pipe.proxies.http_settings import HeadChanges

__all__ = ["change_request", "change_response"]

#: Responses that C{add} holds for, if it does not for all: those of nginx's C{add_header}.
_GOOD = frozenset({200, 201, 204, 206, 301, 302, 303, 304, 307, 308})


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
