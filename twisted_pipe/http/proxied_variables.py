"""
Variables of who a client says it is by a PROXY header, in nginx's names; of connections of any protocol.

The TLVs, C{$proxy_protocol_tlv_NAME}, have names (C{alpn}, C{authority}, C{unique_id}, C{ssl}, C{netns}; of the client's TLS
C{ssl_version}, C{ssl_cn}, C{ssl_cipher}, C{ssl_sig_alg}, C{ssl_key_alg}, C{ssl_verify}) or hexadecimal numbers (C{0xe0},
C{ssl_0x21}).
"""

from __future__ import annotations

import re

from twisted_pipe.http.facts import ClientFacts
from twisted_pipe.http.variable import Getter, Variable, VariableFamily
from twisted_pipe.preface.addresses import Address, InetAddress
from twisted_pipe.preface.tlv import SslTlvType, TlvType, value_of

__all__ = ["PROXIED_VARIABLES"]

_NUMBER = re.compile(r"0x([0-9a-f]{1,2})", re.IGNORECASE)
_TYPES: dict[str, int] = {kind.name.lower(): kind for kind in TlvType if kind not in (TlvType.CRC32C, TlvType.NOOP)}
_SSL_TYPES: dict[str, int] = {kind.name.lower(): kind for kind in SslTlvType}


def _source(facts: ClientFacts) -> Address | None:
    return None if facts.proxied is None else facts.proxied.source


def _destination(facts: ClientFacts) -> Address | None:
    return None if facts.proxied is None else facts.proxied.destination


def _host(address: Address | None) -> bytes | None:
    if isinstance(address, InetAddress):
        return address.host.encode()
    return None if address is None else b"unix:" + address.path


def _port(address: Address | None) -> bytes | None:
    return b"%d" % address.port if isinstance(address, InetAddress) else None


def _tlv(name: str) -> Getter | None:
    """The getter of C{$proxy_protocol_tlv_NAME}, None for a name that no TLV has."""
    if name == "ssl_verify":
        return _ssl_verify
    kind = _type_of(name, _TYPES)
    if kind is not None:
        return lambda facts: None if facts.proxied is None else facts.proxied.tlv(kind)
    sub_type = _type_of(name[4:], _SSL_TYPES) if name.startswith("ssl_") else None
    return None if sub_type is None else _ssl_tlv(sub_type)


def _type_of(name: str, types: dict[str, int]) -> int | None:
    number = _NUMBER.fullmatch(name)
    return types.get(name) if number is None else int(number[1], 16)


def _ssl_tlv(kind: int) -> Getter:
    def get(facts: ClientFacts) -> bytes | None:
        ssl = None if facts.proxied is None else facts.proxied.ssl
        return None if ssl is None else value_of(ssl.tlvs, kind)

    return get


def _ssl_verify(facts: ClientFacts) -> bytes | None:
    ssl = None if facts.proxied is None else facts.proxied.ssl
    return None if ssl is None else b"%d" % ssl.verify


def _direct_port(facts: ClientFacts) -> bytes | None:
    return b"%d" % facts.direct_port if facts.direct_port else None


PROXIED_VARIABLES: tuple[Variable | VariableFamily, ...] = (
    Variable("realip_remote_addr", "Who has connected, a proxy perhaps.", lambda facts: facts.direct_host.encode()),
    Variable("realip_remote_port", "Its port; nothing for a UNIX socket.", _direct_port, plain=True),
    Variable("proxy_protocol_addr", "The client's address in the PROXY header.", lambda facts: _host(_source(facts))),
    Variable(
        "proxy_protocol_port", "The client's port in the PROXY header.", lambda facts: _port(_source(facts)), plain=True
    ),
    Variable(
        "proxy_protocol_server_addr",
        "The address in the PROXY header that the client connected to.",
        lambda facts: _host(_destination(facts)),
    ),
    Variable(
        "proxy_protocol_server_port",
        "The port in the PROXY header that the client connected to.",
        lambda facts: _port(_destination(facts)),
        plain=True,
    ),
    VariableFamily("proxy_protocol_tlv_", "The TLV NAME of the PROXY header: a name or a number, 0xE0.", _tlv),
)
