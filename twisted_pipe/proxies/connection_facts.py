"""What is known of a client's connection besides its addresses: what a PROXY header said, and its TLS."""

from __future__ import annotations

from typing import Any

import attrs
from OpenSSL import SSL

from twisted_pipe.net.tls_socket import TlsSocket
from twisted_pipe.preface.proxy_header import ProxyHeader
from twisted_pipe.tls.facts import TlsFacts

__all__ = ["NO_FACTS", "ConnectionFacts", "facts_of", "header_of", "tls_of"]


@attrs.frozen
class ConnectionFacts:
    """
    @ivar tls: what its handshake has agreed on; None for a plain connection.
    @ivar proxied: the PROXY header that it began with; None without.
    @ivar direct_peer: the address of the connection's other end, whatever that header says; None without one.
    """

    tls: TlsFacts | None = None
    proxied: ProxyHeader | None = None
    direct_peer: Any = None


#: Of all connections of which nothing is known.
NO_FACTS = ConnectionFacts()


def facts_of(transport: Any) -> ConnectionFacts:
    """
    To be asked while C{transport} stands; what it gives may be read afterwards.

    @param transport: a bare socket or a Twisted transport.
    """
    tls, proxied = tls_of(transport), header_of(transport)
    if tls is None and proxied is None:
        return NO_FACTS
    return ConnectionFacts(tls, proxied, None if proxied is None else transport.getDirectPeer())


def header_of(transport: Any) -> ProxyHeader | None:
    """The PROXY header that the connection began with, None if there was none."""
    found = getattr(transport, "proxied", None)
    return found if isinstance(found, ProxyHeader) else None


def tls_of(transport: Any) -> TlsFacts | None:
    """
    What its handshake has agreed on, None if it does not speak TLS.

    @param transport: a bare socket or a Twisted transport.
    """
    if isinstance(transport, TlsSocket):
        return None if transport.connection is None else TlsFacts(transport.connection)
    handle = getattr(transport, "getHandle", None)  # of TLS, pyOpenSSL's connection; else the socket
    connection = None if handle is None else handle()
    return TlsFacts(connection) if isinstance(connection, SSL.Connection) else None
