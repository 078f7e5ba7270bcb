"""
IP addresses as text: whether something is one, of which version, and in which network. Asked here, and nowhere else, so that no two
rooms disagree about the same text.

The text is what inet_pton(3) takes: no leading zeros, no short forms such as C{127.1}. An IPv6 address may have a zone
(C{fe80::1%eth0}; RFC 4007, section 11), which means something to this machine only, and is not part of what it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Union

__all__ = ["IpAddress", "IpNetwork", "is_ip", "is_ipv4", "is_ipv6", "is_within", "parse_ip", "unmapped"]

IpAddress = Union[IPv4Address, IPv6Address]
IpNetwork = Union[IPv4Network, IPv6Network]


def parse_ip(text: str) -> IpAddress | None:
    """The address, without its zone; None if it is none."""
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return IPv6Address(found.packed) if "%" in text else found


def is_ip(text: str) -> bool:
    """Whether it is an address, and no name."""
    return parse_ip(text) is not None


def is_ipv4(text: str) -> bool:
    """Whether it is an IPv4 address."""
    return isinstance(parse_ip(text), IPv4Address)


def is_ipv6(text: str) -> bool:
    """Whether it is an IPv6 address, with or without a zone."""
    return isinstance(parse_ip(text), IPv6Address)


def unmapped(ip: IpAddress) -> IpAddress:
    """
    The IPv4 address of a client that an IPv6 socket shows as C{::ffff:192.0.2.7} (RFC 4291, section 2.5.5.2); any other as it is.
    """
    return getattr(ip, "ipv4_mapped", None) or ip


def is_within(text: str, networks: Iterable[IpNetwork]) -> bool:
    """Whether it is an address in one of C{networks}, as it is written or L{unmapped}."""
    ip = parse_ip(text)
    if ip is None:
        return False
    forms = {ip, unmapped(ip)}
    return any(form in network for network in networks for form in forms)
