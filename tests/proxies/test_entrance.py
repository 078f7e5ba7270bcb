"""
Connections between accept and the proxy: PROXY header, TLS. On a private reactor and loopback sockets, each test both ways: with
bare sockets, and with Twisted transports.
"""

from __future__ import annotations

import select
import socket
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

import trustme
from OpenSSL import SSL
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.net.fakes import Peer
from tests.net.loopback import Loopback
from tests.net.tls_peer import TlsPeer
from twisted_pipe.errors import BadConfiguration
from twisted_pipe.net.bare import BareSocket
from twisted_pipe.net.port import ISocketFactory
from twisted_pipe.preface.addresses import InetAddress, UnixAddress
from twisted_pipe.preface.proxy_header import Command, ProxyHeader, Version
from twisted_pipe.preface.proxy_protocol import write_header
from twisted_pipe.preface.tlv import Tlv, TlvType
from twisted_pipe.proxies.connection_facts import facts_of
from twisted_pipe.proxies.entrance import Entrance
from twisted_pipe.proxies.trusted_proxies import ProxyProtocolIn, parse_networks
from twisted_pipe.tls.server import ServerTls, ServerTlsSettings, TlsSite
from twisted_pipe.tls.settings import CertificateFiles

HEADER = ProxyHeader(
    version=Version.BINARY,
    source=InetAddress(ip_address("203.0.113.7"), 5000),
    destination=InetAddress(ip_address("198.51.100.1"), 443),
    tlvs=(Tlv(TlvType.AUTHORITY, b"example.org"), Tlv(0xE0, b"ours")),
)
LINE = b"PROXY TCP4 203.0.113.7 198.51.100.1 5000 443\r\n"
LOOPBACK = ("127.0.0.0/8",)


class Wire:
    """
    Somebody who has been let in.

    @ivar transport: a bare socket or a Twisted transport.
    @ivar received: what came.
    """

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.received = b""
        self.lost: list[Failure] = []

    def socket_ready(self) -> None:
        bare = self.transport
        while bare.readable:
            view = memoryview(bytearray(65536))
            count = bare.recv_into(view)
            if count > 0:
                self.received += view[:count]
            elif count == 0:
                bare.close()
                return

    def socket_lost(self, reason: Failure) -> None:
        self.lost.append(reason)

    def send(self, data: bytes) -> None:
        if isinstance(self.transport, BareSocket):
            self.transport.send((data,))
        else:
            self.transport.write(data)


class End(Protocol):
    """The same as a protocol."""

    def __init__(self, wires: list[Wire]) -> None:
        self.wires = wires

    def connectionMade(self) -> None:
        self.wire = Wire(self.transport)
        self.wires.append(self.wire)

    def dataReceived(self, data: bytes) -> None:
        self.wire.received += data


class Hall(ServerFactory):
    """Behind the entrance, for transports."""

    noisy = False

    def __init__(self) -> None:
        self.wires: list[Wire] = []
        self.addresses: list[Any] = []

    def buildProtocol(self, addr: Any) -> Protocol:
        self.addresses.append(addr)
        return End(self.wires)


@implementer(ISocketFactory)
class BareHall(Hall):
    """And for bare sockets."""

    takes_sockets = True

    def socket_accepted(self, sock: socket.SocketType, peer: bytes) -> None:
        raise AssertionError("there is an entrance")

    def wire_accepted(self, bare: BareSocket) -> None:
        wire = Wire(bare)
        self.wires.append(wire)
        bare.reader = wire


class EntranceCase(SynchronousTestCase):
    """What both have in common."""

    def setUp(self) -> None:
        self.engine = Loopback(self)
        self.peers: list[Peer] = []
        self.addCleanup(self.close)
        self.hall = self.make_hall()

    def make_hall(self) -> Hall:
        return Hall()

    def open(self, trusted: tuple[str, ...] | None = LOOPBACK, tls: ServerTls | None = None, **settings: Any) -> None:
        proxy_protocol = None
        if trusted is not None:
            networks, unix = parse_networks("trusted", trusted)
            proxy_protocol = ProxyProtocolIn(networks=networks, unix=unix, **settings)
        reactor = self.engine.reactor
        self.entrance = Entrance(self.hall, reactor, proxy_protocol=proxy_protocol, tls=tls, handshake_timeout=5)
        self.port = reactor.listenTCP(0, self.entrance, interface="127.0.0.1")
        self.engine.settle()

    def close(self) -> None:
        self.entrance.shutdown()
        for wire in self.hall.wires:
            wire.transport.abortConnection()
        self.port.stopListening()
        for peer in self.peers:
            peer.close()
        self.engine.settle()
        self.assertEqual(self.entrance.arriving, set())
        self.assertEqual(self.engine.reactor.getDelayedCalls(), [])

    def connect(self) -> Peer:
        sock = socket.create_connection(self.address)
        self.peers.append(Peer(sock))
        self.engine.settle()
        return self.peers[-1]

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port.getHost().port

    def settle_until(self, condition: Any) -> None:
        for _ in range(500):
            self.engine.settle()
            if condition():
                return
            select.select([], [], [], 0.002)
        raise AssertionError("it does not happen")

    def let_in(self) -> Wire:
        self.settle_until(lambda: self.hall.wires)
        return self.hall.wires[-1]

    def assert_received(self, wire: Wire, data: bytes) -> None:
        self.settle_until(lambda: len(wire.received) >= len(data))
        self.assertEqual(wire.received, data)

    def assert_refused(self, peer: Peer, logs: list[Any], why: str) -> None:
        self.settle_until(lambda: peer.read() or peer.ended or peer.reset)
        lines = [str(formatEvent(event)) for event in logs if "refused" in str(formatEvent(event))]
        self.assertEqual(len(lines), 1, lines)
        self.assertRegex(lines[0], f"^client 127.0.0.1:[0-9]+: refused: {why}$")
        self.assertEqual(self.hall.wires, [])
        self.assertEqual(self.entrance.statistics().refused, 1)
        self.assertEqual(self.entrance.statistics().arriving, 0)


class ProxyHeaderTests(EntranceCase):
    """The PROXY header, on transports."""

    def test_the_client_is_the_one_it_names(self) -> None:
        self.open()
        peer = self.connect()
        peer.write(write_header(HEADER) + b"hello")
        wire = self.let_in()
        self.assert_received(wire, b"hello")
        self.assertEqual(wire.transport.getPeer(), IPv4Address("TCP", "203.0.113.7", 5000))
        self.assertEqual(wire.transport.getHost(), IPv4Address("TCP", "198.51.100.1", 443))
        facts = facts_of(wire.transport)
        assert facts.proxied is not None
        self.assertEqual(facts.proxied.tlv(TlvType.AUTHORITY), b"example.org")
        self.assertEqual(facts.proxied.tlv(0xE0), b"ours")
        self.assertEqual(facts.direct_peer.host, "127.0.0.1")
        wire.send(b"answer")
        self.settle_until(lambda: peer.read() == b"answer")

    def test_the_protocol_is_built_for_the_client(self) -> None:
        self.open()
        self.connect().write(LINE)
        self.let_in()
        for address in self.hall.addresses:
            self.assertEqual(address, IPv4Address("TCP", "203.0.113.7", 5000))

    def test_ipv6_and_unix(self) -> None:
        self.open()
        for source, shown in (
            (InetAddress(ip_address("2001:db8::7"), 5000), IPv6Address("TCP", "2001:db8::7", 5000)),
            (UnixAddress(b"/run/app"), UNIXAddress(b"/run/app")),
        ):
            header = ProxyHeader(version=Version.BINARY, source=source, destination=source)
            self.connect().write(write_header(header))
            self.settle_until(lambda: self.hall.wires)
            self.assertEqual(self.hall.wires.pop().transport.getPeer(), shown)

    def test_local(self) -> None:
        """A health check of the proxy before us is on its own behalf."""
        self.open()
        self.connect().write(write_header(ProxyHeader(version=Version.BINARY, command=Command.LOCAL)) + b"x")
        wire = self.let_in()
        self.assert_received(wire, b"x")
        self.assertEqual(wire.transport.getPeer().host, "127.0.0.1")

    def test_cut_at_every_byte(self) -> None:
        self.open()
        for data in (LINE, write_header(HEADER)):
            for cut in range(1, len(data)):
                peer = self.connect()
                peer.write(data[:cut])
                self.engine.settle()
                self.assertEqual(self.hall.wires, [])
                peer.write(data[cut:] + b"rest")
                wire = self.let_in()
                self.assert_received(wire, b"rest")
                wire.transport.abortConnection()
                self.hall.wires.clear()

    def test_byte_by_byte(self) -> None:
        self.open()
        peer = self.connect()
        for byte in write_header(HEADER) + b"rest":
            peer.write(bytes([byte]))
            self.engine.settle()
        self.assert_received(self.let_in(), b"rest")

    def test_what_comes_much_later(self) -> None:
        self.open()
        peer = self.connect()
        peer.write(LINE)
        wire = self.let_in()
        peer.write(b"hello")
        self.assert_received(wire, b"hello")

    def test_from_somebody_who_is_not_trusted(self) -> None:
        self.open(("10.0.0.0/8", "::1", "unix:"))
        with capturedLogs() as logs:
            self.assert_refused(self.connect(), logs, "PROXY protocol: it is none of the trusted proxies")

    def test_none(self) -> None:
        self.open()
        with capturedLogs() as logs:
            peer = self.connect()
            peer.write(b"GET / HTTP/1.1\r\n\r\n")
            self.assert_refused(peer, logs, "PROXY protocol: .*")

    def test_ten_megabytes(self) -> None:
        self.open()
        with capturedLogs() as logs:
            peer = self.connect()
            data = b"PROXY TCP4 " + b"1" * 10_000_000
            while data and not peer.reset:
                try:
                    sent = peer.write(data)
                except OSError:
                    break
                data = data[sent:]
                self.engine.settle()
            self.assertGreater(len(data), 1_000_000, "it has read most of them")
            self.assert_refused(peer, logs, "PROXY protocol: .*")

    def test_an_end_in_its_middle(self) -> None:
        self.open()
        with capturedLogs() as logs:
            peer = self.connect()
            peer.write(LINE[:20])
            peer.half_close()
            self.assert_refused(peer, logs, "PROXY protocol: .*the connection ended after 20 bytes.*")

    def test_one_that_does_not_come_in_time(self) -> None:
        self.open(timeout=3)
        with capturedLogs() as logs:
            peer = self.connect()
            peer.write(LINE[:20])
            self.engine.advance(2.9)
            self.assertEqual(self.entrance.statistics().arriving, 1)
            self.engine.advance(0.2)
            self.assert_refused(peer, logs, "PROXY protocol: .*preface timeout.*")

    def test_a_service_that_stops(self) -> None:
        self.open()
        peer = self.connect()
        peer.write(LINE[:20])
        self.engine.settle()
        self.entrance.shutdown()
        self.settle_until(lambda: peer.read() or peer.ended or peer.reset)

    def test_repr(self) -> None:
        self.open()
        self.assertTrue(repr(self.entrance).startswith("<Entrance PROXY to <"), repr(self.entrance))


class BareProxyHeaderTests(ProxyHeaderTests):
    """The same on bare sockets."""

    def make_hall(self) -> Hall:
        return BareHall()


@lru_cache
def _certificate() -> trustme.LeafCert:
    return trustme.CA().issue_cert("example.org")


class TlsTests(EntranceCase):
    """TLS, on transports."""

    def open_tls(self, trusted: tuple[str, ...] | None = None) -> None:
        path = self.mktemp()
        _certificate().private_key_and_cert_chain_pem.write_to_path(path)
        site = TlsSite(certificates=(CertificateFiles(path),))
        self.open(trusted, ServerTls(ServerTlsSettings(sites=(site,), alpn=(b"http/1.1",))))

    def speak(self, peer: Peer, **asked: Any) -> TlsPeer:
        """TLS from here on, with the handshake done."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        connection = SSL.Connection(context)
        connection.set_tlsext_host_name(b"example.org")
        if asked:
            connection.set_alpn_protos(asked["alpn"])
        connection.set_connect_state()
        client = TlsPeer(peer.socket, connection)
        self.settle_until(client.shake)
        return client

    def test_plaintext_behind_it(self) -> None:
        self.open_tls()
        client = self.speak(self.connect())
        client.write(b"hello")
        wire = self.let_in()
        self.assert_received(wire, b"hello")
        facts = facts_of(wire.transport)
        assert facts.tls is not None
        self.assertEqual(facts.tls.version, "TLSv1.3")
        self.assertEqual(facts.tls.server_name, "example.org")
        self.assertIsNone(facts.proxied)
        wire.send(b"answer")
        self.settle_until(lambda: client.read() == b"answer")

    def test_nobody_is_let_in_before_it_is_done(self) -> None:
        self.open_tls()
        self.connect()
        self.engine.advance(1)
        self.assertEqual(self.hall.wires, [])
        self.assertEqual(self.entrance.statistics().arriving, 1)

    def test_a_header_before_it(self) -> None:
        self.open_tls(LOOPBACK)
        peer = self.connect()
        peer.write(write_header(HEADER)[:30])
        self.engine.settle()
        peer.write(write_header(HEADER)[30:])
        client = self.speak(peer)
        client.write(b"hello")
        wire = self.let_in()
        self.assert_received(wire, b"hello")
        self.assertEqual(wire.transport.getPeer(), IPv4Address("TCP", "203.0.113.7", 5000))
        facts = facts_of(wire.transport)
        assert facts.tls is not None
        assert facts.proxied is not None
        self.assertEqual(facts.tls.server_name, "example.org")

    def test_a_client_that_does_not_speak_it(self) -> None:
        self.open_tls()
        with capturedLogs() as logs:
            peer = self.connect()
            peer.write(b"\x00\x01\x02\x03\x04\x05 whatever this is")
            self.assert_refused(peer, logs, "TLS: .+")

    def test_plain_http(self) -> None:
        self.open_tls()
        with capturedLogs() as logs:
            peer = self.connect()
            peer.write(b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
            found = b""
            for _ in range(200):
                self.engine.settle()
                found += peer.read()
                if peer.ended or peer.reset:
                    break
                select.select([], [], [], 0.002)
            self.assertTrue(found.startswith(b"HTTP/1.1 400 "), found)
            self.assert_refused(peer, logs, "TLS: it speaks plain HTTP, not TLS")

    def test_a_protocol_that_we_do_not_speak(self) -> None:
        self.open_tls()
        with capturedLogs() as logs:
            peer = self.connect()
            with self.assertRaises(SSL.Error):
                self.speak(peer, alpn=[b"h2"])
            self.assert_refused(peer, logs, r"TLS: it speaks only h2 \(ALPN\)")

    def test_a_client_that_says_nothing(self) -> None:
        self.open_tls()
        with capturedLogs() as logs:
            peer = self.connect()
            self.engine.advance(5.1)
            self.assert_refused(peer, logs, "TLS: .*handshake timeout.*")

    def test_a_client_that_goes(self) -> None:
        self.open_tls()
        with capturedLogs() as logs:
            peer = self.connect()
            peer.half_close()
            self.assert_refused(peer, logs, "TLS: .*")

    def test_a_service_that_stops(self) -> None:
        self.open_tls()
        peer = self.connect()
        self.entrance.shutdown()
        self.settle_until(lambda: peer.read() or peer.ended or peer.reset)

    def test_transport(self) -> None:
        self.open_tls()
        self.speak(self.connect())
        self.assertTrue(ISSLTransport.providedBy(self.let_in().transport))


class BareTlsTests(TlsTests):
    """The same on bare sockets."""

    def make_hall(self) -> Hall:
        return BareHall()

    def test_transport(self) -> None:
        self.open_tls()
        self.speak(self.connect())
        self.assertIsInstance(self.let_in().transport, BareSocket)


class TrustedTests(SynchronousTestCase):
    """Who is believed."""

    def test_networks(self) -> None:
        networks, unix = parse_networks("trusted", ("10.0.0.0/8", "2001:db8::/32", "192.0.2.1"))
        trusted = ProxyProtocolIn(networks=networks, unix=unix)
        for host, right in (
            ("10.1.2.3", True),
            ("11.1.2.3", False),
            ("192.0.2.1", True),
            ("192.0.2.2", False),
            ("2001:db8::1", True),
            ("2001:db9::1", False),
            ("::ffff:10.1.2.3", True),
            ("::ffff:11.1.2.3", False),
            ("fe80::1%eth0", False),
            ("?", False),
        ):
            kind = IPv6Address if ":" in host else IPv4Address
            self.assertEqual(trusted.trusts(kind("TCP", host, 1)), right, host)
        self.assertFalse(trusted.trusts(UNIXAddress(None)))

    def test_unix(self) -> None:
        networks, unix = parse_networks("trusted", ("unix:",))
        trusted = ProxyProtocolIn(networks=networks, unix=unix)
        self.assertTrue(trusted.trusts(UNIXAddress(b"/run/x")))
        self.assertFalse(trusted.trusts(IPv4Address("TCP", "127.0.0.1", 1)))

    def test_wrong(self) -> None:
        for text in ("", "example.org", "10.0.0.1/8", "10.0.0.0/33", "unix"):
            error = self.assertRaises(BadConfiguration, parse_networks, "trusted", ("127.0.0.1", text))
            self.assertEqual(error.value, text)
