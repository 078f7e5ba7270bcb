"""
What a PROXY header of version 2 says besides addresses: pieces of a type, a length and a value.

Source: the PROXY protocol's specification (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt), section 2.2.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable

import attrs

from twisted_pipe.errors import BadPreface

__all__ = ["ClientSsl", "SslClient", "SslTlvType", "Tlv", "TlvType", "read_tlvs", "value_of", "write_tlvs"]

_HEAD = struct.Struct("!BH")
_SSL_HEAD = struct.Struct("!BI")
_LONGEST = 0xFFFF


class TlvType(enum.IntEnum):
    """The types with a meaning to everybody. Others may be there and are kept."""

    ALPN = 0x01
    AUTHORITY = 0x02
    CRC32C = 0x03
    NOOP = 0x04
    UNIQUE_ID = 0x05
    SSL = 0x20
    NETNS = 0x30


class SslTlvType(enum.IntEnum):
    """The types within C{SSL}."""

    VERSION = 0x21
    CN = 0x22
    CIPHER = 0x23
    SIG_ALG = 0x24
    KEY_ALG = 0x25


class SslClient(enum.IntFlag):
    """What a client of TLS has done."""

    SSL = 0x01  #: it has connected by TLS
    CERT_CONN = 0x02  #: it has shown a certificate on this connection
    CERT_SESS = 0x04  #: it has shown one in this TLS session


@attrs.frozen
class Tlv:
    """
    @ivar type: 0 to 255; see L{TlvType}.
    @ivar value: at most 65,535 bytes.
    """

    type: int
    value: bytes


@attrs.frozen
class ClientSsl:
    """
    The value of a TLV of the type C{SSL}.

    @ivar client: what the client has done.
    @ivar verify: 0 if it has shown a certificate that was found good.
    @ivar tlvs: of the L{SslTlvType}s, and others.
    """

    client: SslClient
    verify: int
    tlvs: tuple[Tlv, ...] = ()

    @classmethod
    def read(cls, value: bytes) -> ClientSsl:
        """
        @raise BadPreface: it is none.
        """
        if len(value) < _SSL_HEAD.size:
            raise BadPreface(f"its SSL TLV has {len(value)} bytes, at least {_SSL_HEAD.size} are needed")
        client, verify = _SSL_HEAD.unpack_from(value)
        return cls(SslClient(client), verify, read_tlvs(value[_SSL_HEAD.size :]))

    def write(self) -> Tlv:
        """As a TLV."""
        return Tlv(TlvType.SSL, _SSL_HEAD.pack(self.client, self.verify) + write_tlvs(self.tlvs))


def read_tlvs(data: bytes) -> tuple[Tlv, ...]:
    """
    All of C{data}, in order.

    @raise BadPreface: it does not end where a TLV does.
    """
    found = []
    at, end = 0, len(data)
    while at < end:
        begin = at + _HEAD.size
        if begin > end:
            raise BadPreface(f"a TLV is cut off: {end - at} bytes are left, at least {_HEAD.size} are needed")
        kind, length = _HEAD.unpack_from(data, at)
        at = begin + length
        if at > end:
            raise BadPreface(f"a TLV of type {kind:#04x} is cut off: {end - begin} of its {length} bytes are there")
        found.append(Tlv(kind, data[begin:at]))
    return tuple(found)


def write_tlvs(tlvs: Iterable[Tlv]) -> bytes:
    """
    One behind the other.

    @raise ValueError: a value is too long.
    """
    parts = []
    for each in tlvs:
        if len(each.value) > _LONGEST:
            raise ValueError(f"a TLV of type {each.type:#04x} has {len(each.value)} bytes, at most {_LONGEST} can be")
        parts += [_HEAD.pack(each.type, len(each.value)), each.value]
    return b"".join(parts)


def value_of(tlvs: Iterable[Tlv], kind: int) -> bytes | None:
    """The value of the first TLV of a type, None if there is none."""
    for each in tlvs:
        if each.type == kind:
            return each.value
    return None
