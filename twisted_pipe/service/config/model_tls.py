"""The tables of a configuration file that say how TLS is spoken, with clients and with upstreams."""

# ruff: noqa: RUF009 (what key() makes is a field)

from __future__ import annotations

from collections.abc import Sequence

import attrs

from twisted_pipe.service.config import keys  # its key() by its full name: a field is called so, too
from twisted_pipe.service.config.keys import Table
from twisted_pipe.service.config.values import (
    AlpnName,
    Count,
    Duration,
    Flag,
    HostName,
    Text,
    TlsVersion,
    VerifyClients,
)

__all__ = ["ServerTlsTable", "TlsKeys", "UpstreamTlsTable"]


@attrs.frozen(kw_only=True)
class TlsKeys(Table):
    """Versions and ciphers."""

    min_version: TlsVersion | None = keys.key(
        "the oldest version that is spoken", default='"1.2"', nginx="ssl_protocols"
    )
    ciphers: Text | None = keys.key(
        "for TLS 1.2, as OpenSSL writes lists; a list of your own is in order of preference",
        default="ECDHE with AES-GCM or ChaCha20",
        nginx="ssl_ciphers",
    )


@attrs.frozen(kw_only=True)
class ServerTlsTable(TlsKeys):
    """
    TLS to clients. Which virtual server's, their SNI says; C{min_version}, C{ciphers}, C{session_*}, C{reject_unknown_names} and
    C{handshake_timeout} are settled before, and those of the default server of an address.
    """

    certificate: Sequence[Text] = keys.key(
        "PEM file: the certificate, then those of the CAs between it and the root; several for keys of several kinds, or for "
        "several names, of which clients get the one that fits",
        nginx="ssl_certificate",
        required='must be a file, such as "example.org.pem"',
        absent=(),
    )
    key: Sequence[Text] = keys.key(
        "PEM file with its private key, without a password; one for each certificate",
        default="in the file of the certificate",
        nginx="ssl_certificate_key",
        absent=(),
    )
    verify_client: VerifyClients | None = keys.key(
        "clients have to send a certificate (on), or may (optional; optional_no_ca: whoever issued it). One that will not do "
        "is refused in the handshake",
        default='"off"',
        nginx="ssl_verify_client",
    )
    client_ca: Text | None = keys.key(
        "PEM file with the CAs that may have issued certificates of clients",
        default="none",
        nginx="ssl_client_certificate",
    )
    client_crl: Text | None = keys.key(
        "PEM file with lists of what these CAs have revoked, one for each", default="none", nginx="ssl_crl"
    )
    verify_depth: Count | None = keys.key(
        "CAs that may stand between a client's certificate and the root", default="1", nginx="ssl_verify_depth"
    )
    reject_unknown_names: Flag | None = keys.key(
        "refuse clients that ask for no name, or for one that no http server on the address has, nor the default server's "
        "certificate; else they get the default server",
        default="false",
        nginx="ssl_reject_handshake",
    )
    session_tickets: Flag | None = keys.key(
        "clients may resume a session, without another full handshake", default="true", nginx="ssl_session_tickets"
    )
    session_timeout: Duration | None = keys.key(
        "a session may be resumed, whole seconds", default='"5m"', nginx="ssl_session_timeout"
    )
    handshake_timeout: Duration | None = keys.key(
        "for a client's handshake", default='"60s"', nginx="ssl_handshake_timeout (stream)"
    )
    alpn: Sequence[AlpnName] | None = keys.key(
        "what is offered by ALPN, the best first; clients that offer only others are refused. Not for http",
        default="http/1.1 and http/1.0 for http, else nothing",
        nginx="ssl_alpn (stream)",
    )


@attrs.frozen(kw_only=True)
class UpstreamTlsTable(TlsKeys):
    """TLS to the servers of an upstream. An empty table is enough."""

    verify: Flag | None = keys.key(
        "a server's certificate has to be for its name, and of a CA that is trusted",
        default="true",
        nginx="proxy_ssl_verify",
    )
    trusted_ca: Text | None = keys.key(
        "PEM file with the CAs, or certificates, that are trusted, and no others",
        default="the system's",
        nginx="proxy_ssl_trusted_certificate",
    )
    crl: Text | None = keys.key(
        "with trusted_ca: PEM file with lists of what these CAs have revoked, one for each",
        default="none",
        nginx="proxy_ssl_crl",
    )
    verify_depth: Count | None = keys.key(
        "CAs that may stand between a server's certificate and the root", default="9", nginx="proxy_ssl_verify_depth"
    )
    server_name: HostName | None = keys.key(
        "the name that is asked for (SNI) and verified",
        default="the host of each server's address",
        nginx="proxy_ssl_name, proxy_ssl_server_name",
    )
    certificate: Text | None = keys.key(
        "PEM file with a certificate of ours, for servers that want one", default="none", nginx="proxy_ssl_certificate"
    )
    key: Text | None = keys.key(
        "PEM file with its private key, without a password",
        default="in the file of the certificate",
        nginx="proxy_ssl_certificate_key",
    )
    session_reuse: Flag | None = keys.key(
        "resume sessions with servers", default="true", nginx="proxy_ssl_session_reuse"
    )
    alpn: Sequence[AlpnName] | None = keys.key(
        "what is offered by ALPN", default="nothing", nginx="proxy_ssl_alpn (stream)"
    )
