"""
The PROXY protocol's version 1: a line of text.

Source: its specification, section 2.1.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address

from twisted_pipe.errors import BadPreface
from twisted_pipe.ip import IpAddress
from twisted_pipe.preface.addresses import InetAddress
from twisted_pipe.preface.proxy_header import Command, ProxyHeader, Version

__all__ = ["BEGIN", "LONGEST_LINE", "read_line", "write_line"]

BEGIN = b"PROXY "
LONGEST_LINE = 107  #: bytes, with its CR LF
_UNKNOWN = b"PROXY UNKNOWN"
_PORT = re.compile(r"0|[1-9][0-9]{0,4}")
_FAMILIES: dict[str, type[IPv4Address] | type[IPv6Address]] = {"TCP4": IPv4Address, "TCP6": IPv6Address}


def read_line(seen: bytes) -> ProxyHeader | None:
    """
    The header at the beginning of C{seen}, which begins like one.

    @return: None if more is needed.
    @raise BadPreface: it is none.
    """
    end = seen.find(b"\r\n", 0, LONGEST_LINE)
    if end < 0:
        if len(seen) >= LONGEST_LINE:
            raise BadPreface(f"its line does not end within {LONGEST_LINE} bytes")
        _refuse_half_ends(seen)
        return None
    line = seen[:end]
    _refuse_half_ends(line)
    taken = end + 2
    if line == _UNKNOWN or line.startswith(_UNKNOWN + b" "):
        return ProxyHeader(version=Version.TEXT, taken=taken)
    words = line.decode("latin-1").split(" ")
    if len(words) != 6 or words[1] not in _FAMILIES:
        raise BadPreface(f"{line!r} is neither PROXY TCP4 or TCP6 with two addresses and two ports, nor PROXY UNKNOWN")
    family = _FAMILIES[words[1]]
    return ProxyHeader(
        version=Version.TEXT,
        source=InetAddress(_ip(family, words[2]), _port(words[4])),
        destination=InetAddress(_ip(family, words[3]), _port(words[5])),
        taken=taken,
    )


def _refuse_half_ends(line: bytes) -> None:
    """Only both of CR and LF end a line; the CR may stand last as long as nothing else has come."""
    if b"\n" in line or b"\r" in line[:-1]:
        raise BadPreface("its line holds a CR or LF that is not both of them")


def _ip(family: type[IPv4Address] | type[IPv6Address], text: str) -> IpAddress:
    try:
        if "%" not in text:
            return family(text)
    except ValueError:
        pass
    raise BadPreface(f"{text!r} is no {family.__name__.removesuffix('Address')} address")


def _port(text: str) -> int:
    if _PORT.fullmatch(text) and int(text) <= 0xFFFF:
        return int(text)
    raise BadPreface(f"{text!r} is no port")


def write_line(header: ProxyHeader) -> bytes:
    """
    C{header} as a line. It knows TCP clients only, both of whose addresses are of one family; of others it says that they are
    unknown. It has no TLVs.
    """
    source, target = header.source, header.destination
    if (
        header.command is Command.LOCAL
        or not isinstance(source, InetAddress)
        or not isinstance(target, InetAddress)
        or source.ip.version != target.ip.version
    ):
        return _UNKNOWN + b"\r\n"
    line = f"PROXY TCP{source.ip.version} {source.host} {target.host} {source.port} {target.port}\r\n"
    return line.encode("ascii")
