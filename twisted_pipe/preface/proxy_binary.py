"""
The PROXY protocol's version 2::

    12 bytes  signature
     1        version, 2, and command
     1        family of the addresses, and transport
     2        how many bytes follow
     n        the addresses: source, destination, and for IP the ports in the same order
     m        TLVs

Source: its specification, section 2.2.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from twisted_pipe.errors import BadPreface
from twisted_pipe.preface.addresses import Address, InetAddress, UnixAddress
from twisted_pipe.preface.crc32c import crc32c
from twisted_pipe.preface.proxy_header import Command, ProxyHeader, Version
from twisted_pipe.preface.tlv import ClientSsl, Tlv, TlvType, read_tlvs, write_tlvs

__all__ = ["LONGEST", "SIGNATURE", "read_binary", "write_binary"]

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LONGEST = 16 + 0xFFFF  #: bytes, as its length field allows
_HEAD = 16
_VERSION = 0x2
_LOCAL, _PROXY = 0x0, 0x1
_UNSPEC, _INET, _INET6, _UNIX = 0x0, 0x1, 0x2, 0x3
_STREAM, _DGRAM = 0x1, 0x2
_PATH = 108
_LONGEST_ID = 128

_Ends = tuple[Address, Address]


def read_binary(seen: bytes, most: int = LONGEST) -> ProxyHeader | None:
    """
    The header at the beginning of C{seen}, which begins like one.

    @param most: bytes it may have.
    @return: None if more is needed.
    @raise BadPreface: it is none.
    """
    if len(seen) > 12:
        _check_command(seen[12])
    if len(seen) < _HEAD:
        return None
    end = _HEAD + int.from_bytes(seen[14:16], "big")
    if end > most:
        raise BadPreface(f"it says that it has {end} bytes, at most {most} are taken")
    if len(seen) < end:
        return None
    if seen[12] & 0xF == _LOCAL:
        return ProxyHeader(version=Version.BINARY, command=Command.LOCAL, taken=end)  # whatever the rest says
    family, transport = seen[13] >> 4, seen[13] & 0xF
    _check_family(family, transport)
    if family == _UNSPEC:  # where TLVs would begin is not known
        return ProxyHeader(version=Version.BINARY, taken=end)
    size, read = _FAMILIES[family]
    if end < _HEAD + size:
        raise BadPreface(f"its addresses are cut off: {end - _HEAD} of {size} bytes are there")
    tlvs = read_tlvs(seen[_HEAD + size : end])
    _check_tlvs(tlvs, seen[:end], _HEAD + size)
    # of datagrams there can be no addresses here: the connection's own count, as the specification has it
    source, target = read(seen[_HEAD : _HEAD + size]) if transport == _STREAM else (None, None)
    return ProxyHeader(version=Version.BINARY, source=source, destination=target, tlvs=tlvs, taken=end)


def _check_command(byte: int) -> None:
    if byte >> 4 != _VERSION:
        raise BadPreface(f"its version is {byte >> 4}, not 2")
    if byte & 0xF not in (_LOCAL, _PROXY):
        raise BadPreface(f"its command is {byte & 0xF:#x}, neither LOCAL (0x0) nor PROXY (0x1)")


def _check_family(family: int, transport: int) -> None:
    if family > _UNIX:
        raise BadPreface(f"its address family is {family:#x}, there are 0x0 to 0x3")
    if transport > _DGRAM:
        raise BadPreface(f"its transport is {transport:#x}, there are 0x0 to 0x2")


def _check_tlvs(tlvs: tuple[Tlv, ...], header: bytes, at: int) -> None:
    """Those that have a form, and the checksum; C{at} is where they begin."""
    for each in tlvs:
        value = at + 3
        at = value + len(each.value)
        if each.type == TlvType.CRC32C:
            if len(each.value) != 4:
                raise BadPreface(f"its checksum has {len(each.value)} bytes, not 4")
            if crc32c(header[:value] + bytes(4) + header[at:]) != int.from_bytes(each.value, "big"):
                raise BadPreface("its checksum is wrong")
        elif each.type == TlvType.SSL:
            ClientSsl.read(each.value)
        elif each.type == TlvType.UNIQUE_ID and len(each.value) > _LONGEST_ID:
            raise BadPreface(f"its unique id has {len(each.value)} bytes, at most {_LONGEST_ID} can be")


def _read_inet(block: bytes) -> _Ends:
    source, target, source_port, target_port = struct.unpack("!4s4sHH", block)
    return InetAddress(IPv4Address(source), source_port), InetAddress(IPv4Address(target), target_port)


def _read_inet6(block: bytes) -> _Ends:
    source, target, source_port, target_port = struct.unpack("!16s16sHH", block)
    return InetAddress(IPv6Address(source), source_port), InetAddress(IPv6Address(target), target_port)


def _read_unix(block: bytes) -> _Ends:
    return UnixAddress(block[:_PATH].rstrip(b"\0")), UnixAddress(block[_PATH:].rstrip(b"\0"))


#: Of each family, the size of its addresses and how they are read.
_FAMILIES: dict[int, tuple[int, Callable[[bytes], _Ends]]] = {
    _INET: (12, _read_inet),
    _INET6: (36, _read_inet6),
    _UNIX: (2 * _PATH, _read_unix),
}


def write_binary(header: ProxyHeader, checksum: bool = False) -> bytes:
    """
    C{header} as bytes. If its addresses are not known, or not both of one family, it is C{LOCAL}, which every receiver has to take,
    and has no TLVs.

    @param checksum: whether to add one.
    @raise ValueError: there are more TLVs than can be.
    """
    kind, addresses = _write_ends(header.source, header.destination)
    if header.command is Command.LOCAL or kind == _UNSPEC:
        return SIGNATURE + struct.pack("!BBH", _VERSION << 4 | _LOCAL, _UNSPEC, 0)
    tlvs = write_tlvs(header.tlvs)
    if checksum:
        tlvs += write_tlvs([Tlv(TlvType.CRC32C, bytes(4))])
    length = len(addresses) + len(tlvs)
    if length > 0xFFFF:
        raise ValueError(f"a PROXY header with {length} bytes of addresses and TLVs: at most 65535 can be")
    whole = SIGNATURE + struct.pack("!BBH", _VERSION << 4 | _PROXY, kind, length) + addresses + tlvs
    return whole[:-4] + crc32c(whole).to_bytes(4, "big") if checksum else whole


def _write_ends(source: Address | None, target: Address | None) -> tuple[int, bytes]:
    if isinstance(source, UnixAddress) and isinstance(target, UnixAddress):
        return _UNIX << 4 | _STREAM, b"".join(each.path[:_PATH].ljust(_PATH, b"\0") for each in (source, target))
    if not isinstance(source, InetAddress) or not isinstance(target, InetAddress):
        return _UNSPEC, b""
    if source.ip.version != target.ip.version:
        return _UNSPEC, b""
    family = _INET if source.ip.version == 4 else _INET6
    return family << 4 | _STREAM, source.ip.packed + target.ip.packed + struct.pack("!HH", source.port, target.port)
