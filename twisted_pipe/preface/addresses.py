"""Addresses as a PROXY header names them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Union

import attrs

__all__ = ["Address", "InetAddress", "IpAddress", "UnixAddress", "address_of", "text_of_ip"]

IpAddress = Union[IPv4Address, IPv6Address]


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
        try:
            ip = ip_address(host.partition("%")[0])
        except ValueError:
            return None
        return InetAddress(getattr(ip, "ipv4_mapped", None) or ip, port)
    if hasattr(address, "name") and isinstance(address.name, (bytes, type(None))):
        return UnixAddress(address.name or b"")
    return None
