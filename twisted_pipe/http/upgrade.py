"""
The change to another protocol on the same connection (RFC 9110, section 7.8). The one in use is C{websocket} (RFC 6455).

A client offers protocols, the server takes one by C{101}, or answers as if nothing had been offered. What a proxy passes on after
that it cannot read. So it offers only what it was told to: by C{h2c} a client could speak HTTP to the server past every rule of
the proxy's.
"""

from __future__ import annotations

from collections.abc import Collection

from twisted_pipe.http.message import BadMessage, RequestHead, ResponseHead

__all__ = ["NEVER_PASSED", "check_change", "name_of", "offered"]

#: Names, in lower case, of protocols that carry requests which nobody would look at: HTTP/2, HTTP itself, TLS (RFC 2817).
NEVER_PASSED = frozenset({b"h2", b"h2c", b"http", b"tls"})


def name_of(protocol: bytes) -> bytes:
    """C{websocket} of C{WebSocket/13}: names are compared without their version, in lower case."""
    return protocol.partition(b"/")[0].strip(b" \t").lower()


def _listed(value: bytes) -> list[bytes]:
    return [each for part in value.split(b",") if (each := part.strip(b" \t"))]


def offered(head: RequestHead, allowed: Collection[bytes]) -> tuple[bytes, ...]:
    """
    What a server is offered of the protocols that the client of C{head} offers, as it wrote them.

    Nothing if the request has a body, which would have to come before anything else; nor if it is of HTTP/1.0.

    @param allowed: their names.
    """
    if head.upgrade is None or not head.minor or head.has_body:
        return ()
    return tuple(each for each in _listed(head.upgrade) if name_of(each) in allowed)


def check_change(head: ResponseHead, protocols: Collection[bytes]) -> None:
    """
    A server says that it changes the protocol.

    @param head: of its C{101}.
    @param protocols: what it was offered.
    @raise BadMessage: nothing was, or it takes another one, or does not say which.
    """
    if not protocols:
        raise BadMessage(502, "it changes the protocol, which was not asked for")
    if head.upgrade is None:
        raise BadMessage(502, "it changes the protocol without Upgrade, or without naming that in Connection")
    names = [name_of(each) for each in protocols]
    taken = _listed(head.upgrade)
    if not taken or not all(name_of(each) in names for each in taken):
        raise BadMessage(502, f"it changes to {head.upgrade[:60]!r}, which was not offered")
