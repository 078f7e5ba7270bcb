"""The fields that a route sets, adds and removes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_pipe.http.forwarding import without

if TYPE_CHECKING:
    from twisted_pipe.http.facts import ExchangeFacts
    from twisted_pipe.proxies.http_settings import HeadChanges

__all__ = ["change_request", "change_response"]

#: Responses that C{add} holds for, if it does not for all: those of nginx's C{add_header}.
_GOOD = frozenset({200, 201, 204, 206, 301, 302, 303, 304, 307, 308})


def _changed(lines: list[bytes], changes: HeadChanges, exchange: ExchangeFacts, adds: bool) -> list[bytes]:
    replaced = changes.remove | {name.lower() for name, _ in changes.set}
    lines = without(lines, replaced)
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

    @return: the value of C{Host}, and the other fields.
    """
    changed = _changed([b"Host: " + host, *lines], changes, exchange, adds=True)
    hosts = [line for line in changed if line[:5].lower() == b"host:"]
    if hosts:
        host = hosts[-1][5:].strip(b" \t")
        changed = [line for line in changed if line[:5].lower() != b"host:"]
    return host, changed


def change_response(lines: list[bytes], changes: HeadChanges, exchange: ExchangeFacts) -> list[bytes]:
    """C{lines} of a response as C{changes} want them."""
    return _changed(lines, changes, exchange, adds=changes.always or exchange.status in _GOOD)
