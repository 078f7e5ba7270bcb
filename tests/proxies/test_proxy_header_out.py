from __future__ import annotations

import datetime
from types import SimpleNamespace
from typing import Any

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID
from twisted.internet.address import IPv4Address
from twisted.trial.unittest import SynchronousTestCase

from tests.preface.headers import SOURCE, TARGET, TLVS
from tests.preface.hellos import of_openssl
from tests.proxies.bare_case import PATIENT, BareCase
from twisted_pipe.preface.client_hello import ClientHello
from twisted_pipe.preface.proxy_header import ProxyHeader, Version
from twisted_pipe.preface.proxy_protocol import ProxyHeaderParser, header_of, write_header
from twisted_pipe.preface.tlv import ClientSsl, SslClient, SslTlvType, Tlv, TlvType, value_of
from twisted_pipe.proxies import proxy_header_out
from twisted_pipe.proxies.context import ProxyContext
from twisted_pipe.proxies.proxy_header_out import header_for
from twisted_pipe.proxies.settings import ProxySettings
from twisted_pipe.proxies.stream_routes import StreamRoutes
from twisted_pipe.proxies.tcp import TcpProxyFactory
from twisted_pipe.upstream.connect_settings import ConnectSettings
from twisted_pipe.upstream.group import UpstreamGroup, UpstreamServer


@attrs.frozen
class Client:
    """A transport, as far as it is asked."""

    proxied: ProxyHeader | None = None

    def getPeer(self) -> Any:
        return IPv4Address("TCP", SOURCE.host, SOURCE.port)

    def getHost(self) -> Any:
        return IPv4Address("TCP", TARGET.host, TARGET.port)


def certificate(name: str) -> x509.Certificate:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime(2026, 1, 1)
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name, _validate=False)])
    builder = x509.CertificateBuilder(who, who, key.public_key(), 1, now, now + datetime.timedelta(days=1))
    return builder.sign(key, SHA256())


class HeaderForTests(SynchronousTestCase):
    def written(self, client: Any, hello: ClientHello | None = None, version: Version = Version.BINARY) -> ProxyHeader:
        found = ProxyHeaderParser().parse(header_for(version, client, hello))
        assert found is not None
        return found

    def test_the_clients_addresses(self) -> None:
        for version in Version:
            header = ProxyHeader(version=version, source=SOURCE, destination=TARGET)
            self.assertEqual(self.written(Client(), version=version), header)

    def test_what_a_proxy_before_us_has_said_is_passed_on(self) -> None:
        """Its checksum and its padding are not."""
        received = ProxyHeader(
            version=Version.BINARY, source=SOURCE, destination=TARGET, tlvs=(*TLVS, Tlv(TlvType.CRC32C, bytes(4)))
        )
        expected = tuple(each for each in TLVS if each.type != TlvType.NOOP)
        self.assertEqual(self.written(Client(received)).tlvs, expected)
        hello = ClientHello("other.example", (b"h3",))
        self.assertEqual(self.written(Client(received), hello).tlvs, expected, "each is said once")

    def test_whom_the_client_asks_for(self) -> None:
        """What it offers to speak is not yet spoken."""
        hello = ClientHello("www.example", (b"h2",))
        self.assertEqual(self.written(Client(), hello).tlvs, (Tlv(TlvType.AUTHORITY, b"www.example"),))
        self.assertEqual(self.written(Client(), ClientHello()).tlvs, ())

    def tls(self) -> Any:
        """What is known of the client's, from now on."""
        facts = SimpleNamespace(
            alpn="h2",
            server_name="www.example",
            version="TLSv1.3",
            cipher="TLS_AES_256_GCM_SHA384",
            reused=False,
            certificate=None,
            client_verify="NONE",
        )
        self.patch(proxy_header_out, "tls_of", lambda client: facts)
        return facts

    def test_the_clients_tls(self) -> None:
        facts = self.tls()
        inner = (Tlv(SslTlvType.VERSION, b"TLSv1.3"), Tlv(SslTlvType.CIPHER, b"TLS_AES_256_GCM_SHA384"))
        header = self.written(Client())
        self.assertEqual(header.tlvs[:2], (Tlv(TlvType.ALPN, b"h2"), Tlv(TlvType.AUTHORITY, b"www.example")))
        self.assertEqual(header.ssl, ClientSsl(SslClient.SSL, 1, inner))
        facts.certificate, facts.client_verify = certificate("Älice"), "SUCCESS"
        inner = (inner[0], Tlv(SslTlvType.CN, "Älice".encode()), inner[1])
        both = SslClient.SSL | SslClient.CERT_CONN | SslClient.CERT_SESS
        self.assertEqual(self.written(Client()).ssl, ClientSsl(both, 0, inner))
        facts.reused, facts.client_verify = True, "FAILED:expired"
        self.assertEqual(self.written(Client()).ssl, ClientSsl(SslClient.SSL | SslClient.CERT_SESS, 1, inner))
        self.assertEqual(self.written(Client(), version=Version.TEXT).tlvs, (), "there is no place for it in a line")

    def test_a_common_name_that_is_longer_than_one_can_be_is_left_out(self) -> None:
        """Servers refuse long headers, and whoever makes his own certificate could have them marked as failed."""
        facts = self.tls()
        for name, said in (("\U0001d49c" * 64, True), ("x" * 257, False), ("x" * 70_000, False)):
            facts.certificate = certificate(name)
            ssl = self.written(Client()).ssl
            assert ssl is not None
            self.assertEqual(value_of(ssl.tlvs, SslTlvType.CN), name.encode() if said else None)
            self.assertTrue(SslClient.CERT_CONN in ssl.client)
        self.flushWarnings()  # cryptography's, of such a name


class SessionTests(BareCase):
    """A tcp proxy that says on whose behalf it connects."""

    def start(self, version: Version, settings: ProxySettings = PATIENT) -> None:
        for port in self.ports:
            port.stopListening()
        server = UpstreamServer("origin:80", None, self.origin.getsockname())
        connect = ConnectSettings(proxy_protocol=version)
        group = UpstreamGroup([server], clock=self.engine.reactor, connect=connect)
        self.factory = TcpProxyFactory(ProxyContext(group, settings, self.spill, self.engine.reactor))
        self.ports = [self.engine.reactor.listenTCP(0, self.factory, interface="127.0.0.1")]

    def test_the_header_comes_first_whoever_speaks_first(self) -> None:
        for version in Version:
            self.start(version)
            client = self.connect()
            server = self.accept()
            (_, client_port), (_, own_port) = client.socket.getsockname(), client.socket.getpeername()
            local = IPv4Address("TCP", "127.0.0.1", own_port)
            header = write_header(header_of(version, IPv4Address("TCP", "127.0.0.1", client_port), local))
            self.assertEqual(self.engine.take(server, len(header)), header)
            client.write(b"hello")
            self.assertEqual(self.engine.take(server, 5), b"hello")
            client.close()
            self.engine.end_of(server)

    def test_with_whom_the_client_asks_for(self) -> None:
        self.start(Version.BINARY, attrs.evolve(PATIENT, routes=StreamRoutes()))
        client, hello = self.connect(), of_openssl(b"www.example")
        client.write(hello)
        server = self.accept()
        got = self.engine.take(server, 16 + 12 + 3 + 11 + len(hello))
        found = ProxyHeaderParser().parse(got)
        assert found is not None
        self.assertEqual(found.tlvs, (Tlv(TlvType.AUTHORITY, b"www.example"),))
        self.assertEqual(got[found.taken :], hello)
