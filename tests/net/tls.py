"""Two TLS protocols back to back, in memory."""

from __future__ import annotations

import datetime
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import crypto
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from tests.net.fakes import MemoryTransport, Recorder


@lru_cache
def _options() -> CertificateOptions:
    """Of a server with a certificate of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime(2020, 1, 1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=36500))
        .sign(key, hashes.SHA256())
    )
    encoded = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return CertificateOptions(
        privateKey=crypto.load_privatekey(crypto.FILETYPE_PEM, encoded),
        certificate=crypto.X509.from_cryptography(certificate),
    )


class RawTransport(MemoryTransport):
    """@ivar shutdowns: what was written after the sending side was shut down."""

    def __init__(self) -> None:
        MemoryTransport.__init__(self)
        self.shutdowns: list[bytes] = []

    def write(self, data: bytes) -> None:
        if self.ends:
            self.shutdowns.append(data)
        else:
            MemoryTransport.write(self, data)


class TlsPair:
    """
    A server and a client whose handshake is done.

    @ivar server: the server's protocol; its transport is the TLS transport that pipes get.
    @ivar server_raw: the TCP transport below that.
    """

    def __init__(self, server: Any = None, client: Any = None) -> None:
        self.clock = Clock()
        self.server = server if server is not None else Recorder()
        self.client = client if client is not None else Recorder()
        self.server_raw, self.client_raw = RawTransport(), RawTransport()
        self._server_tls = self._make(_options(), False, self.server)
        self._client_tls = self._make(CertificateOptions(), True, self.client)
        self._server_tls.makeConnection(self.server_raw)
        self._client_tls.makeConnection(self.client_raw)
        self.pump()

    def _make(self, options: CertificateOptions, client: bool, protocol: Any) -> Any:
        factory = Factory.forProtocol(lambda: protocol)  # type: ignore[arg-type]
        factory.noisy = False
        return TLSMemoryBIOFactory(options, client, factory, self.clock).buildProtocol(None)

    def pump(self) -> None:
        """Carry bytes, and ends, until there are none."""
        for _ in range(20):
            self.clock.advance(0)
            for raw, other in ((self.server_raw, self._client_tls), (self.client_raw, self._server_tls)):
                data = raw.take()
                if data and not getattr(other.transport, "disconnected", False):
                    other.dataReceived(data)
        if self.server_raw.ends and not self.client.lost:
            aborted = "abort" in self.server_raw.ends
            self._client_tls.connectionLost(Failure(ConnectionLost() if aborted else ConnectionDone()))

    def lose_server(self) -> None:
        """The TCP connection below the server is gone, and it is told."""
        self.server_raw.disconnected = True
        self._server_tls.connectionLost(Failure(ConnectionLost()))

    @property
    def clean_end(self) -> bool:
        """Whether the client was told that the stream is complete."""
        return bool(self.client.lost) and self.client.lost[0].check(ConnectionDone) is not None
