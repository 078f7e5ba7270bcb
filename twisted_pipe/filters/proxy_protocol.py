"""
Tells the upstream who the client is: HAProxy's PROXY protocol (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt), the
sender's side. Twisted reads it on a listener that is declared as C{haproxy:tcp:8080}.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import Any

import attrs
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.base import PipeFilter, between, option
from twisted_pipe.interfaces import Direction, FilterOutput
from twisted_pipe.units import parse_count

__all__ = ["ProxyProtocol", "binary_header", "text_header"]

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_PROXY = 0x21  # version 2, on behalf of a client
_UNSPEC, _TCP4, _TCP6, _UNIX = 0x00, 0x11, 0x21, 0x31
_UNIX_PATH = 108


def text_header(client: Any, local: Any) -> bytes:
    """
    Version 1: a line.

    @param client: the C{IAddress} of the client.
    @param local: that of what it has connected to.
    """
    ends = _tcp_ends(client, local)
    if ends is None:
        return b"PROXY UNKNOWN\r\n"
    source, target = ends
    return f"PROXY TCP{source.version} {source} {target} {client.port} {local.port}\r\n".encode("ascii")


def binary_header(client: Any, local: Any) -> bytes:
    """Version 2, likewise."""
    kind, addresses = _UNSPEC, b""
    ends = _tcp_ends(client, local)
    if ends is not None:
        source, target = ends
        kind = _TCP4 if source.version == 4 else _TCP6
        addresses = source.packed + target.packed + struct.pack("!HH", client.port, local.port)
    elif isinstance(client, UNIXAddress) and isinstance(local, UNIXAddress):
        kind = _UNIX
        addresses = b"".join((each.name or b"").ljust(_UNIX_PATH, b"\0")[:_UNIX_PATH] for each in (client, local))
    return _SIGNATURE + struct.pack("!BBH", _PROXY, kind, len(addresses)) + addresses


def _tcp_ends(client: Any, local: Any) -> tuple[Any, Any] | None:
    """Both IP addresses, if they are known and of one family."""
    try:
        source, target = _ip(client), _ip(local)
    except ValueError:  # no TCP, or gone before anybody could ask
        return None
    return (source, target) if source.version == target.version else None


def _ip(address: Any) -> Any:
    """
    The IP address in a TCP address; what an IPv6 socket says of an IPv4 client is taken for what it is.

    @raise ValueError: there is none.
    """
    if not isinstance(address, (IPv4Address, IPv6Address)):
        raise ValueError(f"no TCP address: {address!r}")
    found = ip_address(address.host.partition("%")[0])  # a zone means something to this machine only
    return getattr(found, "ipv4_mapped", None) or found


@attrs.define
class ProxyProtocol(PipeFilter):
    """
    Begins what goes to the upstream with a header that names the client and the address it has connected to.

    It has to be the last of the request's filters, or the only one: what comes behind it would filter the header, too. An upstream
    that is reached by TLS gets the header inside of it.

    @ivar version: 1 (a line of text, TCP only) or 2 (binary, and UNIX sockets besides). Default 1.
    """

    version: int = option(
        between(1, 2, parse_count), default=1, help="of the protocol: 1 is a line of text, 2 is binary"
    )

    def started(self) -> FilterOutput:
        context = self.context
        if context.direction is not Direction.REQUEST:
            expected = "it tells an upstream of its client, and belongs in --request-filter"
            raise BadConfiguration("direction", str(context.direction), expected)
        header = text_header if self.version == 1 else binary_header
        return (header(context.client, context.local),)
