from __future__ import annotations

from typing import Any

from hypothesis import given
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.protocols.haproxy._v1parser import V1Parser
from twisted.trial.unittest import SynchronousTestCase

from tests.preface.headers import SOURCE, SOURCE6, TARGET, TARGET6, TEXT, TLVS, UNIX_SOURCE, UNIX_TARGET
from twisted_pipe.errors import BadPreface
from twisted_pipe.preface.proxy_header import Command, ProxyHeader, Version
from twisted_pipe.preface.proxy_text import read_line, write_line


def header(source: Any, target: Any, **others: Any) -> ProxyHeader:
    return ProxyHeader(version=Version.TEXT, source=source, destination=target, **others)


class ReadTests(SynchronousTestCase):
    def test_the_example_of_the_specification(self) -> None:
        found = read_line(b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET / HTTP/1.1\r\n")
        assert found is not None
        self.assertEqual((found, found.taken), (header(SOURCE, TARGET), 47))

    def test_ipv6(self) -> None:
        for text in (b"2001:db8::1 ::1", b"2001:DB8:0:0:0:0:0:1 0:0:0:0:0:0:0:1"):
            self.assertEqual(read_line(b"PROXY TCP6 " + text + b" 65535 1\r\n"), header(SOURCE6, TARGET6))

    def test_unknown_whatever_follows(self) -> None:
        longest = b"PROXY UNKNOWN " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) + b" 65535 65535\r\n"
        self.assertEqual(len(longest), 107)
        for line in (b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN \r\n", b"PROXY UNKNOWN \xff\0  what\r\n", longest):
            found = read_line(line + b"rest")
            assert found is not None
            self.assertEqual((found, found.taken), (header(None, None), len(line)))

    def test_cut_at_every_byte(self) -> None:
        line = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"
        for cut in range(6, len(line)):
            self.assertIsNone(read_line(line[:cut]), cut)

    def test_what_is_not_exactly_one(self) -> None:
        for text in (
            b"TCP4 192.168.0.1 192.168.0.11 56324",
            b"TCP4 192.168.0.1 192.168.0.11 56324 443 ",
            b"TCP4  192.168.0.1 192.168.0.11 56324 443",
            b"TCP4\t192.168.0.1 192.168.0.11 56324 443",
            b" TCP4 192.168.0.1 192.168.0.11 56324 443",
            b"tcp4 192.168.0.1 192.168.0.11 56324 443",
            b"UDP4 192.168.0.1 192.168.0.11 56324 443",
            b"UNKNOWNS",
            b"unknown",
            b"TCP4 2001:db8::1 ::1 56324 443",
            b"TCP6 192.168.0.1 192.168.0.11 56324 443",
            b"TCP4 192.168.0.01 192.168.0.11 56324 443",
            b"TCP4 192.168.0.256 192.168.0.11 56324 443",
            b"TCP4 192.168.1 192.168.0.11 56324 443",
            b"TCP4 192.168.0.1 example.org 56324 443",
            b"TCP6 fe80::1%eth0 ::1 56324 443",
            b"TCP6 1::2::3 ::1 56324 443",
            b"TCP6 [::1] ::1 56324 443",
            b"TCP4 192.168.0.1 192.168.0.11 056324 443",
            b"TCP4 192.168.0.1 192.168.0.11 65536 443",
            b"TCP4 192.168.0.1 192.168.0.11 99999 443",
            b"TCP4 192.168.0.1 192.168.0.11 -1 443",
            b"TCP4 192.168.0.1 192.168.0.11 +1 443",
            b"TCP4 192.168.0.1 192.168.0.11 1_0 443",
            b"TCP4 192.168.0.1 192.168.0.11  443",
            b"TCP4 192.168.0.1 192.168.0.11 56324 \xb2",
            b"",
        ):
            self.assertRaises(BadPreface, read_line, b"PROXY " + text + b"\r\n")

    def test_half_an_end_of_a_line(self) -> None:
        good = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443"
        for line in (good + b"\n", good + b"\rX", good + b"\r\r", b"PROXY UNKNOWN x\ny\r\n", b"PROXY UNKNOWN x\ry\r\n"):
            error = self.assertRaises(BadPreface, read_line, line)
            self.assertIn("CR or LF", str(error))

    def test_a_line_without_an_end(self) -> None:
        endless = b"PROXY UNKNOWN " + b"x" * 200
        self.assertIsNone(read_line(endless[:106]))
        for seen in (endless[:107], endless):
            error = self.assertRaises(BadPreface, read_line, seen)
            self.assertEqual(str(error), "its line does not end within 107 bytes")

    def test_an_end_beyond_the_longest_line(self) -> None:
        line = b"PROXY UNKNOWN " + b"x" * 92
        found = read_line(line[:105] + b"\r\n")
        assert found is not None
        self.assertEqual(found.taken, 107)
        self.assertRaises(BadPreface, read_line, line[:106] + b"\r\n")


class WriteTests(SynchronousTestCase):
    def test_the_example_of_the_specification(self) -> None:
        line = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"
        self.assertEqual(write_line(header(SOURCE, TARGET)), line)
        self.assertEqual(write_line(header(SOURCE, TARGET, tlvs=TLVS)), line, "there is no place for more")

    def test_ipv6(self) -> None:
        self.assertEqual(write_line(header(SOURCE6, TARGET6)), b"PROXY TCP6 2001:db8::1 ::1 65535 1\r\n")

    def test_unknown(self) -> None:
        for source, target in (
            (None, None),
            (SOURCE, None),
            (None, TARGET),
            (SOURCE, TARGET6),
            (UNIX_SOURCE, UNIX_TARGET),
            (UNIX_SOURCE, TARGET),
        ):
            self.assertEqual(write_line(header(source, target)), b"PROXY UNKNOWN\r\n")
        self.assertEqual(write_line(header(SOURCE, TARGET, command=Command.LOCAL)), b"PROXY UNKNOWN\r\n")

    @given(TEXT)
    def test_what_was_written_is_read(self, given: ProxyHeader) -> None:
        line = write_line(given)
        found = read_line(line + b"rest")
        assert found is not None
        self.assertEqual((found, found.taken), (given, len(line)))
        self.assertLessEqual(len(line), 104)

    def test_twisted_reads_it(self) -> None:
        kinds: Any = {4: IPv4Address, 6: IPv6Address}
        for source, target in ((SOURCE, TARGET), (SOURCE6, TARGET6)):
            info, rest = V1Parser().feed(write_line(header(source, target)) + b"GET /")
            assert info is not None
            expected = [kinds[each.ip.version]("TCP", each.host, each.port) for each in (source, target)]
            self.assertEqual(([info.source, info.destination], rest), (expected, b"GET /"))
