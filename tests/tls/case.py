"""What the tests of TLS have in common: certificates, and two connections that shake hands in memory."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import attrs
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.tls.client import ClientTls
from twisted_pipe.tls.server import ServerTls, ServerTlsSettings, TlsSite
from twisted_pipe.tls.settings import CertificateFiles, CipherSettings, ClientRules, ClientTlsSettings, Version

__all__ = ["Ends", "Named", "TlsCase", "authority", "crl_of", "key_pem", "shake_hands"]

BOTH = (Version.TLS_1_2, Version.TLS_1_3)


def authority(name: str = "first") -> trustme.CA:
    """A CA; the same one for the same name, because keys take time."""
    return _made(name)


@lru_cache
def _made(name: str) -> trustme.CA:
    return trustme.CA(organization_name=name)


@attrs.frozen
class Named:
    """A server of a group, as far as TLS knows it."""

    name: str
    host: str = ""


@attrs.define
class Ends:
    """
    How a handshake ended on each side.

    @ivar client: the connection; C{client_error} why it failed, None if it did not.
    @ivar server: likewise.
    """

    client: Any
    server: Any
    client_error: Exception | None = None
    server_error: Exception | None = None

    @property
    def fine(self) -> bool:
        return self.client_error is None and self.server_error is None


def shake_hands(client: Any, server: Any) -> Ends:
    """Carry the bytes between the two until nothing more comes."""
    ends = Ends(client, server)
    _go_on(ends)
    if ends.fine:
        server.send(b"x")  # after which tickets and late alerts are there, too
        _go_on(ends)
    return ends


def _go_on(ends: Ends) -> None:
    shaken = {"client": False, "server": False}
    for _ in range(8):
        for side, other in (("client", ends.server), ("server", ends.client)):
            connection = getattr(ends, side)
            if getattr(ends, f"{side}_error") is None:
                try:
                    connection.do_handshake()
                    shaken[side] = True
                    connection.recv(100)
                except SSL.WantReadError:
                    pass
                except Exception as error:
                    setattr(ends, f"{side}_error", error)
            with suppress(SSL.WantReadError):
                other.bio_write(connection.bio_read(1 << 20))


def close(ends: Ends) -> None:
    """Both have said close_notify: so a session may be resumed."""
    for connection in (ends.client, ends.server):
        connection.set_shutdown(SSL.SENT_SHUTDOWN | SSL.RECEIVED_SHUTDOWN)


def key_pem(certificate: trustme.LeafCert, password: bytes = b"") -> bytes:
    """Its key, with a password perhaps."""
    key = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), None)
    encryption: Any = serialization.NoEncryption()
    if password:
        encryption = serialization.BestAvailableEncryption(password)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def crl_of(ca: trustme.CA, revoked: Sequence[trustme.LeafCert] = ()) -> bytes:
    """What a CA has revoked, in PEM form."""
    now = datetime.datetime.now(datetime.timezone.utc)
    own = x509.load_pem_x509_certificate(ca.cert_pem.bytes())
    builder = x509.CertificateRevocationListBuilder().issuer_name(own.subject)
    builder = builder.last_update(now - datetime.timedelta(days=1)).next_update(now + datetime.timedelta(days=1))
    for each in revoked:
        serial = x509.load_pem_x509_certificate(each.cert_chain_pems[0].bytes()).serial_number
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
        builder = builder.add_revoked_certificate(entry)
    key: Any = serialization.load_pem_private_key(ca.private_key_pem.bytes(), None)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class TlsCase(SynchronousTestCase):
    """@ivar folder: where the files are."""

    def setUp(self) -> None:
        self.folder = Path(os.path.abspath(self.mktemp()))
        self.folder.mkdir()

    def write(self, name: str, content: bytes, mode: int = 0o600) -> str:
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(mode)
        return str(path)

    def ca(self, name: str = "first") -> str:
        """The file of a CA."""
        return self.write(f"ca-{name}.pem", authority(name).cert_pem.bytes())

    def certificate(self, *names: str, ca: str = "first", file: str = "", **options: Any) -> CertificateFiles:
        """A certificate and its key in one file, of a CA of ours."""
        issued = authority(ca).issue_cert(*names, **options)
        return CertificateFiles(self.write(file or f"{names[0]}.pem", issued.private_key_and_cert_chain_pem.bytes()))

    def server(self, *sites: TlsSite | CertificateFiles, **settings: Any) -> ServerTls:
        """@param sites: or the certificates of sites that ask nothing of clients."""
        made = tuple(site if isinstance(site, TlsSite) else TlsSite(certificates=(site,)) for site in sites)
        return ServerTls(ServerTlsSettings(sites=made, **settings))

    def strict(self, certificate: CertificateFiles, **rules: Any) -> TlsSite:
        """A site that asks for certificates of clients."""
        return TlsSite(certificates=(certificate,), rules=ClientRules(**{"ca_file": self.ca(), **rules}))

    def client(self, version: Version | None = None, **settings: Any) -> ClientTls:
        """One that trusts the first CA."""
        ciphers = CipherSettings() if version is None else CipherSettings(min_version=version, max_version=version)
        return ClientTls(ClientTlsSettings(**{"trusted_ca": self.ca(), "ciphers": ciphers, **settings}))

    def meet(self, client: ClientTls, server: ServerTls, name: str = "a.example") -> Ends:
        """A client that asks for that name."""
        return shake_hands(client.connection(None, Named(f"{name}:443" if name else "unix:/x")), server.connection())

    def seen(self, ends: Ends) -> str:
        """The first name of the certificate that the client got."""
        self.assertEqual((ends.client_error, ends.server_error), (None, None))
        found: Any = ends.client.get_peer_certificate(as_cryptography=True)
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return str(names.get_values_for_type(x509.DNSName)[0])
