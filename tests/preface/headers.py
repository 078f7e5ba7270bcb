"""What the tests of PROXY headers have in common."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import strategies as st

from twisted_pipe.preface.addresses import InetAddress, UnixAddress
from twisted_pipe.preface.proxy_header import Command, ProxyHeader, Version
from twisted_pipe.preface.tlv import ClientSsl, SslClient, SslTlvType, Tlv, TlvType

SIGNATURE = bytes.fromhex("0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A")
SOURCE, TARGET = InetAddress(ip_address("192.168.0.1"), 56324), InetAddress(ip_address("192.168.0.11"), 443)
SOURCE6, TARGET6 = InetAddress(ip_address("2001:db8::1"), 65535), InetAddress(ip_address("::1"), 1)
UNIX_SOURCE, UNIX_TARGET = UnixAddress(b"/run/client"), UnixAddress(b"\0abstract")

SSL = ClientSsl(
    SslClient.SSL | SslClient.CERT_CONN | SslClient.CERT_SESS,
    0,
    tuple(Tlv(kind, kind.name.encode()) for kind in SslTlvType),
)
#: One of every type that there is, and of those that are left for others; CRC32C excepted, which is made in the end.
TLVS = (
    Tlv(TlvType.ALPN, b"h2"),
    Tlv(TlvType.AUTHORITY, b"example.org"),
    Tlv(TlvType.NOOP, b"\0\0\0"),
    Tlv(TlvType.UNIQUE_ID, bytes(range(128))),
    SSL.write(),
    Tlv(TlvType.NETNS, b"blue"),
    Tlv(0xE0, b"application"),
    Tlv(0xF7, b""),
    Tlv(0xFF, b"future"),
)

_PORTS = st.integers(0, 65535)
_V4 = st.builds(InetAddress, st.ip_addresses(v=4), _PORTS)
_V6 = st.builds(InetAddress, st.ip_addresses(v=6), _PORTS)
_PATHS = st.builds(UnixAddress, st.binary(max_size=108).map(lambda path: path.rstrip(b"\0")))
INET_ENDS = st.tuples(_V4, _V4) | st.tuples(_V6, _V6)
ENDS = INET_ENDS | st.tuples(_PATHS, _PATHS)
_FREE_TYPES = st.sampled_from([*range(0x06, 0x20), TlvType.ALPN, TlvType.AUTHORITY, TlvType.NETNS, 0xE0, 0xFF])
SOME_TLVS = st.lists(st.builds(Tlv, _FREE_TYPES, st.binary(max_size=60)), max_size=6).map(tuple)

TEXT = st.builds(
    lambda ends: ProxyHeader(version=Version.TEXT, source=ends[0], destination=ends[1]),
    INET_ENDS,
)
BINARY = st.builds(
    lambda ends, tlvs: ProxyHeader(version=Version.BINARY, source=ends[0], destination=ends[1], tlvs=tlvs),
    ENDS,
    SOME_TLVS,
) | st.just(ProxyHeader(version=Version.BINARY, command=Command.LOCAL))
