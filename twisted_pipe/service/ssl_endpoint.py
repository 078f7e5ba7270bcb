"""
Twisted's C{ssl:} endpoints: their certificate, by our TLS.

Twisted's own fails with every client that offers ALPN (26.10: its callback asks for a protocol that was never given to the
connection), and knows nothing of tickets or of files that change.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.endpoints import TCP4ServerEndpoint

from twisted_pipe.service.endpoint_paths import endpoint_parts
from twisted_pipe.service.entrance_settings import OPEN, EntranceSettings
from twisted_pipe.tls.server import ServerTls, ServerTlsSettings, TlsSite
from twisted_pipe.tls.settings import CertificateFiles

__all__ = ["below", "our_tls"]

#: What our TLS has no counterpart of.
_TWISTED_ONLY = frozenset({"sslmethod", "dhParameters"})


def our_tls(text: str, alpn: tuple[bytes, ...]) -> EntranceSettings:
    """
    TLS for an C{ssl:} endpoint; for any other, nothing. To be asked before Twisted, which would prompt for the password of a key.

    @param text: the endpoint.
    @param alpn: what is spoken, the best first; none: nothing is said.
    @raise BadConfiguration: a file is wrong.
    """
    kind, *parts = endpoint_parts(text)
    given = dict(part.split("=", 1) for part in parts if "=" in part)
    if kind.lower() != "ssl" or not _TWISTED_ONLY.isdisjoint(given):
        return OPEN
    key = given.get("privateKey", "server.pem")
    chain = given.get("extraCertChain", "")
    # absolute: they are looked at again when a daemon has changed its directory
    files = CertificateFiles(
        os.path.abspath(given.get("certKey", key)), os.path.abspath(key), chain and os.path.abspath(chain)
    )
    return EntranceSettings(tls=ServerTls(ServerTlsSettings(sites=(TlsSite(certificates=(files,)),), alpn=alpn)))


def below(endpoint: Any) -> TCP4ServerEndpoint:
    """The TCP endpoint in one of C{ssl:}."""
    return TCP4ServerEndpoint(endpoint._reactor, endpoint._port, endpoint._backlog, endpoint._interface)
