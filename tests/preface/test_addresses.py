from __future__ import annotations

from ipaddress import ip_address

from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.preface.addresses import InetAddress, UnixAddress, address_of


class AddressTests(SynchronousTestCase):
    def test_twisted_addresses(self) -> None:
        for given, expected in (
            (IPv4Address("TCP", "192.0.2.1", 80), InetAddress(ip_address("192.0.2.1"), 80)),
            (IPv6Address("TCP", "2001:db8::1", 1), InetAddress(ip_address("2001:db8::1"), 1)),
            (IPv6Address("TCP", "fe80::1%eth0", 1), InetAddress(ip_address("fe80::1"), 1)),
            (IPv6Address("TCP", "::ffff:10.0.0.7", 1), InetAddress(ip_address("10.0.0.7"), 1)),
            (UNIXAddress(b"/run/a"), UnixAddress(b"/run/a")),
            (UNIXAddress(None), UnixAddress(b"")),
        ):
            self.assertEqual(address_of(given), expected, given)

    def test_neither(self) -> None:
        for given in (None, "192.0.2.1", IPv4Address("TCP", "?", 0), HostnameAddress(b"example.org", 80)):
            self.assertIsNone(address_of(given), given)

    def test_an_ipv4_address_in_an_ipv6_one_is_written_with_dots(self) -> None:
        self.assertEqual(InetAddress(ip_address("::ffff:c000:201"), 1).host, "::ffff:192.0.2.1")
        self.assertEqual(InetAddress(ip_address("2001:DB8:0:0::1"), 1).host, "2001:db8::1")
