"""What TLS is configured by, for both sides."""

from __future__ import annotations

import enum

import attrs
from OpenSSL import SSL

__all__ = ["CertificateFiles", "CipherSettings", "ClientRules", "ClientTlsSettings", "VerifyClient", "Version"]

#: What every peer of these years has, with forward secrecy and authenticated encryption: for TLS 1.2 (U{Mozilla's
#: "intermediate"<https://wiki.mozilla.org/Security/Server_Side_TLS>}, without DHE). TLS 1.3 has no others.
SANE_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)


class Version(enum.Enum):
    """A version of TLS; the value is how it is written."""

    TLS_1_2 = "1.2"
    TLS_1_3 = "1.3"

    @property
    def number(self) -> int:
        """OpenSSL's."""
        return {Version.TLS_1_2: SSL.TLS1_2_VERSION, Version.TLS_1_3: SSL.TLS1_3_VERSION}[self]


class VerifyClient(enum.Enum):
    """What is asked of clients (nginx C{ssl_verify_client}); the value is how it is written."""

    #: No certificate is asked for.
    OFF = "off"
    #: A certificate that can be verified is needed.
    ON = "on"
    #: None is needed; one that is sent has to be verified.
    OPTIONAL = "optional"
    #: Likewise, but whoever issued it may be unknown: the upstream judges.
    OPTIONAL_NO_CA = "optional_no_ca"


@attrs.frozen
class CertificateFiles:
    """
    @ivar certificate: a file in PEM form: the certificate, and then those of the CAs between it and the root.
    @ivar key: a file with its private key; by default the same.
    @ivar chain: a file with more of these CAs; empty for none.
    """

    certificate: str
    key: str = ""
    chain: str = ""

    @property
    def key_file(self) -> str:
        return self.key or self.certificate

    @property
    def all(self) -> tuple[str, ...]:
        """Every file."""
        return tuple(dict.fromkeys(path for path in (self.certificate, self.key, self.chain) if path))


@attrs.frozen(kw_only=True)
class CipherSettings:
    """
    What is agreed on before names count: the same for all virtual servers of an address.

    @ivar min_version: the oldest version.
    @ivar max_version: the newest; None for any.
    @ivar ciphers: for TLS 1.2, as OpenSSL writes lists. The side that serves decides by its order, if the list is not ours.
    """

    min_version: Version = Version.TLS_1_2
    max_version: Version | None = None
    ciphers: str = SANE_CIPHERS


@attrs.frozen(kw_only=True)
class ClientRules:
    """
    What a server asks of its clients.

    @ivar verify: whether for a certificate.
    @ivar ca_file: the CAs that may have issued it, in PEM form.
    @ivar crl_file: lists of what they have revoked, one for each CA; empty for none.
    @ivar depth: how many CAs may stand between it and the root.
    """

    verify: VerifyClient = VerifyClient.OFF
    ca_file: str = ""
    crl_file: str = ""
    depth: int = 1


@attrs.frozen(kw_only=True)
class ClientTlsSettings:
    """
    How we speak to upstreams.

    @ivar verify: whether the upstream's certificate has to be one for its name, of a CA that is trusted.
    @ivar trusted_ca: a file with the CAs that are trusted, in PEM form; empty for the system's.
    @ivar crl_file: lists of what they have revoked; empty for none.
    @ivar depth: how many CAs may stand between a certificate and the root.
    @ivar server_name: asked for and verified; empty for the host of each server's address.
    @ivar certificate: ours, if the upstream wants one.
    @ivar ciphers: versions and ciphers.
    @ivar alpn: what we speak, the best first; none: nothing is said.
    @ivar reuse_sessions: whether a connection resumes the session of an earlier one to the same server.
    """

    verify: bool = True
    trusted_ca: str = ""
    crl_file: str = ""
    depth: int = 9
    server_name: str = ""
    certificate: CertificateFiles | None = None
    ciphers: CipherSettings = CipherSettings()
    alpn: tuple[bytes, ...] = ()
    reuse_sessions: bool = True
