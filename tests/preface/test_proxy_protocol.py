from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from tests.preface.headers import BINARY, SIGNATURE, SOURCE, TARGET, TEXT, UNIX_SOURCE
from twisted_pipe.errors import BadConfiguration, BadPreface, Side
from twisted_pipe.preface.proxy_protocol import ProxyHeader, ProxyHeaderParser, Version, header_of, write_header


class ParserTests(SynchronousTestCase):
    parser = ProxyHeaderParser()

    @given(TEXT | BINARY, st.binary(max_size=20))
    def test_cut_at_every_byte(self, header: ProxyHeader, rest: bytes) -> None:
        """It is not known before its last byte is there, and then exactly its bytes are taken."""
        data = write_header(header)
        for cut in range(1, len(data)):
            self.assertIsNone(self.parser.parse(data[:cut]))
        found = self.parser.parse(data + rest)
        assert found is not None
        self.assertEqual((found, found.taken), (header, len(data)))

    @given(TEXT | BINARY, st.data())
    def test_one_byte_changed_raises_nothing_else(self, header: ProxyHeader, data: st.DataObject) -> None:
        whole = bytearray(write_header(header))
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
        try:
            found = self.parser.parse(bytes(whole))
        except BadPreface:
            return
        self.assertTrue(found is None or found.taken <= len(whole))

    @given(st.binary(min_size=1, max_size=300), st.sampled_from([b"", SIGNATURE, b"PROXY ", b"PROXY TCP4 "]))
    def test_anything_at_all(self, data: bytes, begin: bytes) -> None:
        try:
            found = self.parser.parse(begin + data)
        except BadPreface as error:
            self.assertEqual(error.side, Side.DOWNSTREAM)
            return
        self.assertTrue(found is None or found.taken <= len(begin + data))

    def test_nothing_that_begins_otherwise(self) -> None:
        for data in (
            b"GET / HTTP/1.1\r\n",
            b"\x16\x03\x01",
            b"\r\n\r\nX",
            b"PROXX",
            b"proxy TCP4",
            b"\r\n\r\n\0\r\nQUIT\r",
        ):
            self.assertRaises(BadPreface, self.parser.parse, data)
        error = self.assertRaises(BadPreface, self.parser.parse, b"GET /a-secret HTTP/1.1\r\n")
        self.assertEqual(str(error), "no PROXY header: it begins with b'GET /a-secret HT'")

    def test_hostile_ten_megabytes(self) -> None:
        for begin in (b"PROXY UNKNOWN ", b"PROXY TCP4 ", SIGNATURE + b"\x21\x11\xff\xff"):
            self.assertRaises(BadPreface, self.parser.parse, begin + bytes(10_000_000))

    def test_its_bound(self) -> None:
        for most in (106, 65552, 0):
            error = self.assertRaises(BadConfiguration, ProxyHeaderParser, most)
            self.assertEqual(error.value, most)
        self.assertEqual([ProxyHeaderParser(most).most for most in (107, 65551)], [107, 65551])


class HeaderOfTests(SynchronousTestCase):
    def test_of_twisted_addresses(self) -> None:
        header = header_of(
            Version.BINARY, IPv4Address("TCP", "192.168.0.1", 56324), IPv4Address("TCP", "192.168.0.11", 443)
        )
        self.assertEqual((header.source, header.destination, header.version), (SOURCE, TARGET, Version.BINARY))

    def test_ends_of_two_families(self) -> None:
        """The IPv4 one within IPv6: the client is not lost."""
        mapped, other = "::ffff:192.0.2.7", "2001:db8::1"
        for version in Version:
            for client in ("192.0.2.7", mapped):
                there = header_of(version, IPv6Address("TCP", client, 1000), IPv6Address("TCP", other, 443))
                back = header_of(version, IPv6Address("TCP", other, 443), IPv6Address("TCP", client, 1000))
                for header, ends in ((there, [mapped, other]), (back, [other, mapped])):
                    found = ProxyHeaderParser().parse(write_header(header))
                    assert found is not None
                    self.assertEqual([found.source.host, found.destination.host], ends)  # type: ignore[union-attr]

    def test_of_what_is_not_known(self) -> None:
        header = header_of(Version.TEXT, UNIXAddress(b"/run/client"), None)
        self.assertEqual((header.source, header.destination), (UNIX_SOURCE, None))
        self.assertEqual(write_header(header), b"PROXY UNKNOWN\r\n")
