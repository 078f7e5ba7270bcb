"""The header that tells an upstream of its client."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress
from twisted.protocols.haproxy._v1parser import V1Parser
from twisted.protocols.haproxy._v2parser import V2Parser
from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import MemoryTransport, PipeCase, errors_of
from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.discovery import find_filter
from twisted_pipe.filters.proxy_protocol import ProxyProtocol
from twisted_pipe.interfaces import Direction, FilterContext, NamedFilter
from twisted_pipe.preface.proxy_protocol import Version, header_of, write_header

CLIENT, LOCAL = IPv4Address("TCP", "192.168.0.1", 56324), IPv4Address("TCP", "192.168.0.11", 443)
CLIENT6, LOCAL6 = IPv6Address("TCP", "2001:db8::1", 65535), IPv6Address("TCP", "::1", 1)


def text_header(client: Any, local: Any) -> bytes:
    return write_header(header_of(Version.TEXT, client, local))


def binary_header(client: Any, local: Any) -> bytes:
    return write_header(header_of(Version.BINARY, client, local))


SIGNATURE = bytes.fromhex("0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A")

#: Of what there is no header with addresses: nothing known, gone already, no TCP, or a UNIX socket beside TCP.
UNKNOWN = [
    (None, None),
    (CLIENT, None),
    (None, LOCAL),
    (IPv4Address("TCP", "?", 0), LOCAL),
    (UNIXAddress(b"/run/a"), LOCAL),
    (CLIENT, UNIXAddress(b"/run/a")),
    (HostnameAddress(b"example.org", 80), LOCAL),
    ("192.168.0.1", "192.168.0.11"),
]


class TextTests(SynchronousTestCase):
    def test_the_example_of_the_specification(self) -> None:
        self.assertEqual(text_header(CLIENT, LOCAL), b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n")

    def test_ipv6(self) -> None:
        self.assertEqual(text_header(CLIENT6, LOCAL6), b"PROXY TCP6 2001:db8::1 ::1 65535 1\r\n")

    def test_the_longest(self) -> None:
        """As long as the specification says."""
        address = IPv4Address("TCP", "255.255.255.255", 65535)
        self.assertEqual(len(text_header(address, address)), 56)
        address6 = IPv6Address("TCP", ":".join(["ffff"] * 8), 65535)
        self.assertEqual(len(text_header(address6, address6)), 104)

    def test_an_ipv4_client_of_an_ipv6_socket(self) -> None:
        client, local = IPv6Address("TCP", "::ffff:10.0.0.7", 1), IPv6Address("TCP", "::ffff:10.0.0.1", 80)
        self.assertEqual(text_header(client, local), b"PROXY TCP4 10.0.0.7 10.0.0.1 1 80\r\n")

    def test_a_zone_is_nobody_elses_business(self) -> None:
        client, local = IPv6Address("TCP", "fe80::1%eth0", 1), IPv6Address("TCP", "fe80::2%eth0", 80)
        self.assertEqual(text_header(client, local), b"PROXY TCP6 fe80::1 fe80::2 1 80\r\n")

    def test_unknown(self) -> None:
        for client, local in [*UNKNOWN, (UNIXAddress(b"/run/a"), UNIXAddress(b"/run/b"))]:
            self.assertEqual(text_header(client, local), b"PROXY UNKNOWN\r\n", (client, local))

    def test_twisted_reads_it(self) -> None:
        for client, local in ((CLIENT, LOCAL), (CLIENT6, LOCAL6)):  # of UNKNOWN it wants more than the specification
            info, rest = V1Parser().feed(text_header(client, local) + b"GET /")
            assert info is not None
            self.assertEqual((info.source, info.destination, rest), (client, local, b"GET /"))


class BinaryTests(SynchronousTestCase):
    def test_ipv4(self) -> None:
        expected = SIGNATURE + bytes.fromhex("21 11 000C  C0A80001 C0A8000B  DC04 01BB")
        self.assertEqual(binary_header(CLIENT, LOCAL), expected)

    def test_ipv6(self) -> None:
        expected = (
            SIGNATURE
            + bytes.fromhex("21 21 0024")
            + bytes.fromhex("20010DB8000000000000000000000001  00000000000000000000000000000001  FFFF 0001")
        )
        self.assertEqual(binary_header(CLIENT6, LOCAL6), expected)

    def test_unix(self) -> None:
        """Clients have no name, as a rule; an abstract one begins with a zero."""
        for client, name in ((None, b""), (b"", b""), (b"/run/client", b"/run/client"), (b"\0abstract", b"\0abstract")):
            header = binary_header(UNIXAddress(client), UNIXAddress(b"/run/pipe"))
            expected = (
                SIGNATURE + bytes.fromhex("21 31 00D8") + name + bytes(108 - len(name)) + b"/run/pipe" + bytes(99)
            )
            self.assertEqual(header, expected)
            self.assertEqual(len(header), 16 + 216)

    def test_unknown(self) -> None:
        for client, local in UNKNOWN:
            self.assertEqual(binary_header(client, local), SIGNATURE + bytes.fromhex("20 00 0000"), (client, local))

    def test_twisted_reads_it(self) -> None:
        path = UNIXAddress(b"/run/a")
        client6, local6 = (
            attrs.evolve(each, host=long)
            for each, long in ((CLIENT6, "2001:db8:0:0:0:0:0:1"), (LOCAL6, "0:0:0:0:0:0:0:1"))
        )
        for client, local, found in (
            (CLIENT, LOCAL, (CLIENT, LOCAL)),
            (CLIENT6, LOCAL6, (client6, local6)),
            (path, path, (path, path)),
            (None, None, (None, None)),
        ):
            info, rest = V2Parser().feed(binary_header(client, local) + b"GET /")
            assert info is not None
            self.assertEqual((info.source, info.destination, rest), (*found, b"GET /"))


class FilterTests(PipeCase):
    def make(self, direction: Direction = Direction.REQUEST, **options: str) -> Any:
        context = FilterContext(direction=direction, client=CLIENT, local=LOCAL)
        return find_filter("proxy-protocol").configure(options).build(context)

    def test_before_everything_else(self) -> None:
        """At once, whether or not the client says anything, and once."""
        for version, header in (("1", text_header(CLIENT, LOCAL)), ("2", binary_header(CLIENT, LOCAL))):
            downstream = MemoryTransport()
            pipe = self.pipe(MemoryTransport(), downstream, [self.make(version=version)])
            self.assertEqual(downstream.value(), header)
            pipe.write(b"GET ")
            pipe.write(b"/\r\n")
            pipe.upstream_ended()
            self.assertEqual(downstream.value(), header + b"GET /\r\n")
            self.assertTrue(self.outcome(pipe).clean)

    def test_behind_the_other_filters(self) -> None:
        """As the last one it stays what it is."""
        downstream = MemoryTransport()
        upper = find_filter("upper").build(FilterContext())
        pipe = self.pipe(MemoryTransport(), downstream, [upper, self.make()], preread=b"get /")
        pipe.upstream_ended()
        self.assertEqual(downstream.value(), text_header(CLIENT, LOCAL) + b"GET /")

    def test_the_default(self) -> None:
        self.assertEqual(self.make(), ProxyProtocol(self.make().context, version=1))

    def test_in_the_response(self) -> None:
        downstream = MemoryTransport()
        named = NamedFilter("proxy-protocol", self.make(Direction.RESPONSE))
        pipe = self.pipe(MemoryTransport(), downstream, [named])
        side, why = errors_of(self.outcome(pipe))
        self.assertEqual(side, "filter")
        self.assertIn("filter 'proxy-protocol': ", why)
        self.assertIn("direction: 'response': it tells an upstream of its client, and belongs in --request-filter", why)
        self.assertEqual(downstream.value(), b"")

    def test_refused(self) -> None:
        for version in ("0", "3", "two"):
            error = self.assertRaises(BadConfiguration, self.make, version=version)
            self.assertIn("filter proxy-protocol: version", str(error))
