"""
The PROXY protocol: who proxies for a client says so first.

Both versions are taken, whichever comes; nothing without a header is, for a receiver must not guess.

Source: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, section 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address
from typing import Any

import attrs

from twisted_pipe.errors import BadConfiguration, BadPreface
from twisted_pipe.preface.addresses import Address, InetAddress, address_of
from twisted_pipe.preface.proxy_binary import LONGEST, SIGNATURE, read_binary, write_binary
from twisted_pipe.preface.proxy_header import Command, ProxyHeader, Version
from twisted_pipe.preface.proxy_text import BEGIN, LONGEST_LINE, read_line, write_line
from twisted_pipe.preface.tlv import Tlv

__all__ = ["Command", "ProxyHeader", "ProxyHeaderParser", "Version", "header_of", "write_header"]

_SHOWN = 16
_MAPPED = bytes(10) + b"\xff\xff"


@attrs.frozen
class ProxyHeaderParser:
    """
    @ivar most: bytes a header may have, C{LONGEST_LINE} (107) to C{LONGEST} (65,551). Default 4,096: nobody sends as much.
    """

    most: int = attrs.field(default=4096)

    @most.validator
    def _check(self, _: Any, most: int) -> None:
        if not LONGEST_LINE <= most <= LONGEST:
            raise BadConfiguration("most", most, f"a PROXY header has {LONGEST_LINE} to {LONGEST} bytes")

    def parse(self, seen: bytes) -> ProxyHeader | None:
        """See L{twisted_pipe.preface.parser.PrefaceParser}."""
        if seen.startswith(SIGNATURE):
            return read_binary(seen, self.most)
        if seen.startswith(BEGIN):
            return read_line(seen)
        if SIGNATURE.startswith(seen) or BEGIN.startswith(seen):
            return None
        raise BadPreface(f"no PROXY header: it begins with {seen[:_SHOWN]!r}")


def header_of(version: Version, client: Any, local: Any, tlvs: Iterable[Tlv] = ()) -> ProxyHeader:
    """
    The header for a connection on behalf of a client.

    @param client: its Twisted address, or any object like it.
    @param local: that of what it has connected to.
    """
    source, destination = _of_one_family(address_of(client), address_of(local))
    return ProxyHeader(version=version, source=source, destination=destination, tlvs=tuple(tlvs))


def _of_one_family(source: Address | None, target: Address | None) -> tuple[Address | None, Address | None]:
    """
    An IPv4 address beside an IPv6 one as that is written in IPv6 (RFC 4291, section 2.5.5.2): else there would be no header for
    them, and the receiver would take the client for its proxy, whom it trusts.
    """
    if isinstance(source, InetAddress) and isinstance(target, InetAddress) and source.ip.version != target.ip.version:
        return _in_ipv6(source), _in_ipv6(target)
    return source, target


def _in_ipv6(address: InetAddress) -> InetAddress:
    if isinstance(address.ip, IPv6Address):
        return address
    return InetAddress(IPv6Address(_MAPPED + address.ip.packed), address.port)


def write_header(header: ProxyHeader) -> bytes:
    """In the form of its version. What it does not know, or the version has no form for, is unknown to the receiver."""
    return write_line(header) if header.version is Version.TEXT else write_binary(header)
