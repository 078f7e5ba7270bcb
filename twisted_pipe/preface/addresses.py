"""Addresses as a PROXY header names them."""

from __future__ import annotations

from typing import Any, Union

import attrs

from twisted_pipe.ip import IpAddress, parse_ip, unmapped

__all__ = ["Address", "InetAddress", "UnixAddress", "address_of", "text_of_ip"]


@attrs.frozen
class InetAddress:
    """
    @ivar ip: without a zone.
    @ivar port: 0 to 65,535.
    """

    ip: IpAddress
    port: int

    @property
    def host(self) -> str:
        return text_of_ip(self.ip)


@attrs.frozen
class UnixAddress:
    """
    @ivar path: of the socket, at most 108 bytes; empty for one without a name. One of the abstract namespace begins with a NUL.
    """

    path: bytes


Address = Union[InetAddress, UnixAddress]


def text_of_ip(ip: IpAddress) -> str:
    """As inet_ntop(3) writes it, which for an IPv4 address in an IPv6 one is not what all Pythons do."""
    mapped = getattr(ip, "ipv4_mapped", None)
    return str(ip) if mapped is None else f"::ffff:{mapped}"


def address_of(address: Any) -> Address | None:
    """
    A Twisted address as one of ours: anything with a C{host} and a C{port}, or with the C{name} of a UNIX socket.

    What an IPv6 socket says of an IPv4 client is taken for what it is. A zone means something to this machine only.

    @return: None if it is neither, or the connection was gone before anybody could ask.
    """
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if isinstance(host, str) and isinstance(port, int):
        ip = parse_ip(host)
        return None if ip is None else InetAddress(unmapped(ip), port)
    if hasattr(address, "name") and isinstance(address.name, (bytes, type(None))):
        return UnixAddress(address.name or b"")
    return None
