"""What is known of a client's TLS connection, for templates and logs. Each fact is asked for when it is wanted, and once."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from twisted_pipe.tls.connection import known_of
from twisted_pipe.tls.distinguished import distinguished_name
from twisted_pipe.tls.native import session_reused
from twisted_pipe.tls.server import Handshake

__all__ = ["TlsFacts"]


class TlsFacts:
    """
    Of a connection whose handshake is done. What is not there is C{""}.

    @ivar connection: the connection.
    """

    def __init__(self, connection: SSL.Connection) -> None:
        self.connection = connection

    def __repr__(self) -> str:
        return f"<TlsFacts {self.version} {self.cipher} {self.server_name or '-'}>"

    @cached_property
    def version(self) -> str:
        """C{"TLSv1.3"}."""
        return self.connection.get_protocol_version_name()

    @cached_property
    def cipher(self) -> str:
        """C{"TLS_AES_256_GCM_SHA384"}."""
        return self.connection.get_cipher_name() or ""

    @cached_property
    def server_name(self) -> str:
        """The host that the client asked for (SNI), lower case."""
        return (self.connection.get_servername() or b"").decode("ascii", "replace").lower()

    @cached_property
    def alpn(self) -> str:
        """What both speak, if that was agreed on."""
        return self.connection.get_alpn_proto_negotiated().decode("ascii", "replace")

    @cached_property
    def reused(self) -> bool:
        """Whether a session was resumed."""
        return session_reused(self.connection)

    @property
    def handshake(self) -> Handshake | None:
        """What else is known of it; None for a connection that was not made by us."""
        found = known_of(self.connection)
        return found if isinstance(found, Handshake) else None

    def serves(self, host: bytes) -> bool:
        """
        Whether requests for C{host} may come on this connection: not if their virtual server asks of clients what this one was not
        asked. The name in the handshake has decided on that, and a request may give another (RFC 9110, section 15.5.20).
        """
        found = self.handshake
        return found is None or found.server.rules_of(host.decode("latin-1")) == found.rules

    @cached_property
    def certificate(self) -> x509.Certificate | None:
        """The client's."""
        found: Any = self.connection.get_peer_certificate(as_cryptography=True)
        certificate: x509.Certificate | None = found
        return certificate

    @cached_property
    def client_verify(self) -> str:
        """C{"SUCCESS"}, C{"NONE"} without a certificate, C{"FAILED:…"} for one that was let pass all the same."""
        if self.certificate is None:
            return "NONE"
        unverified = "nobody has verified it" if self.handshake is None else self.handshake.unverified
        return f"FAILED:{unverified}" if unverified else "SUCCESS"

    @cached_property
    def client_subject(self) -> str:
        """Whose certificate it is, as in RFC 2253, in ASCII: C{"CN=alice,O=Example"}."""
        return "" if self.certificate is None else _distinguished(self.certificate, "subject")

    @cached_property
    def client_issuer(self) -> str:
        """Who issued it, likewise."""
        return "" if self.certificate is None else _distinguished(self.certificate, "issuer")

    @cached_property
    def client_serial(self) -> str:
        """Its serial number, in hexadecimal digits, whole bytes."""
        return "" if self.certificate is None else _hexadecimal(self.certificate.serial_number)

    @cached_property
    def client_fingerprint(self) -> str:
        """SHA-1 of it, as nginx has it."""
        return "" if self.certificate is None else self.certificate.fingerprint(SHA1()).hex()

    @cached_property
    def client_certificate(self) -> str:
        """It, in PEM form."""
        return "" if self.certificate is None else self.certificate.public_bytes(Encoding.PEM).decode("ascii")


def _distinguished(certificate: x509.Certificate, whose: str) -> str:
    """C{"?"} for a name that cannot be read."""
    try:
        return distinguished_name(certificate, whose)
    except ValueError:
        return "?"


def _hexadecimal(number: int) -> str:
    digits = f"{number:X}"
    return "0" * (len(digits) % 2) + digits
