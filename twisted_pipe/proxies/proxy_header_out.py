"""
The PROXY header with which a connection to an upstream begins.

It names the client as we know it, so behind another proxy the client of that one. What that proxy has said besides is passed on;
what it has not said and we know (the host asked for, the protocol, the client's TLS) is added.
"""

from __future__ import annotations

from typing import Any

from cryptography.x509 import Certificate
from cryptography.x509.oid import NameOID

from twisted_pipe.preface.client_hello import ClientHello
from twisted_pipe.preface.proxy_protocol import Command, ProxyHeader, Version, header_of, write_header
from twisted_pipe.preface.tlv import ClientSsl, SslClient, SslTlvType, Tlv, TlvType
from twisted_pipe.proxies.connection_facts import header_of as received_header
from twisted_pipe.proxies.connection_facts import tls_of
from twisted_pipe.tls.facts import TlsFacts

__all__ = ["header_for"]

_NOT_PASSED_ON = (TlvType.CRC32C, TlvType.NOOP)  # of the header as it was
_NOT_VERIFIED = 1
_LONGEST_NAME = 256  # bytes: a CN has 64 characters at most (RFC 5280, ub-common-name), which nobody enforces


def header_for(version: Version, client: Any, hello: ClientHello | None = None) -> bytes:
    """
    The header, as bytes.

    @param client: the transport of the client; None for a connection of our own, on nobody's behalf.
    @param hello: what it has said first, if its TLS is passed on as it is.
    """
    if client is None:
        return write_header(ProxyHeader(version=version, command=Command.LOCAL))
    tlvs = () if version is Version.TEXT else _tlvs(received_header(client), tls_of(client), hello)
    return write_header(header_of(version, client.getPeer(), client.getHost(), tlvs))


def _tlvs(received: ProxyHeader | None, tls: TlsFacts | None, hello: ClientHello | None) -> list[Tlv]:
    tlvs = [] if received is None else [each for each in received.tlvs if each.type not in _NOT_PASSED_ON]
    known = {each.type for each in tlvs}
    own = _of_tls(tls) if tls is not None else _of_hello(hello) if hello is not None else []
    return tlvs + [each for each in own if each.type not in known]


def _of_hello(hello: ClientHello) -> list[Tlv]:
    """What the client offers is no protocol in use: only the name counts."""
    return [Tlv(TlvType.AUTHORITY, hello.server_name.encode())] if hello.server_name else []


def _of_tls(tls: TlsFacts) -> list[Tlv]:
    tlvs = []
    if tls.alpn:
        tlvs.append(Tlv(TlvType.ALPN, tls.alpn.encode()))
    if tls.server_name:
        tlvs.append(Tlv(TlvType.AUTHORITY, tls.server_name.encode()))
    inner = [Tlv(SslTlvType.VERSION, tls.version.encode())]
    client = SslClient.SSL
    if tls.certificate is not None:
        client |= SslClient.CERT_SESS if tls.reused else SslClient.CERT_CONN | SslClient.CERT_SESS
        inner += [Tlv(SslTlvType.CN, name) for name in _common_names(tls.certificate)]
    inner.append(Tlv(SslTlvType.CIPHER, tls.cipher.encode()))
    verified = tls.client_verify == "SUCCESS"
    return [*tlvs, ClientSsl(client, 0 if verified else _NOT_VERIFIED, tuple(inner)).write()]


def _common_names(certificate: Certificate) -> list[bytes]:
    """
    One at most, in UTF-8; none if the subject cannot be read, or if it is too long: servers refuse long headers, and would count as
    failed.
    """
    try:
        subject = certificate.subject
    except ValueError:
        return []
    names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    found = [str(name.value).encode() for name in names[:1]]
    return [name for name in found if len(name) <= _LONGEST_NAME]
