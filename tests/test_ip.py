from __future__ import annotations

from ipaddress import ip_address, ip_network

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.ip import is_ip, is_ipv4, is_ipv6, is_within, parse_ip, unmapped

IPV4 = ("192.0.2.7", "0.0.0.0", "255.255.255.255")
IPV6 = ("::", "::1", "2001:db8::1", "2001:DB8::1", "::ffff:192.0.2.7", "fe80::1%eth0", "fe80::1%25")
#: Short forms, leading zeros, digits of others, names, and what is nearly one.
NONE = (
    *(
        "",
        " ",
        "a.example",
        "localhost",
        "1.2.3",
        "1.2.3.4.5",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "256.0.0.1",
        "01.2.3.4",
    ),
    *(
        "1.2.3.4%eth0",
        " 1.2.3.4",
        "1.2.3.4\n",
        "\u0661.2.3.4",
        "1.2.3.4:80",
        "[::1]",
        ":::",
        "::g",
        "1::2::3",
        "%eth0",
        "fe80::1%",
        "fe80::1%a%b",
        "::1/128",
    ),
)


class TextTests(SynchronousTestCase):
    def test_which_version(self) -> None:
        for text in IPV4:
            self.assertEqual((is_ip(text), is_ipv4(text), is_ipv6(text)), (True, True, False), text)
        for text in IPV6:
            self.assertEqual((is_ip(text), is_ipv4(text), is_ipv6(text)), (True, False, True), text)

    def test_what_is_none(self) -> None:
        for text in NONE:
            self.assertEqual((is_ip(text), is_ipv4(text), is_ipv6(text)), (False, False, False), repr(text))

    def test_the_zone_is_no_part_of_it(self) -> None:
        self.assertEqual(parse_ip("fe80::1%eth0"), ip_address("fe80::1"))

    def test_an_ipv4_address_in_an_ipv6_one(self) -> None:
        self.assertEqual(unmapped(ip_address("::ffff:192.0.2.7")), ip_address("192.0.2.7"))
        for text in ("192.0.2.7", "::1", "::192.0.2.7"):
            self.assertEqual(unmapped(ip_address(text)), ip_address(text))


class WithinTests(SynchronousTestCase):
    def within(self, text: str, *networks: str) -> bool:
        return is_within(text, [ip_network(each) for each in networks])

    def test_in_one_of_them(self) -> None:
        self.assertTrue(self.within("10.1.2.3", "192.0.2.0/24", "10.0.0.0/8"))
        self.assertTrue(self.within("fe80::1%eth0", "fe80::/10"))
        self.assertFalse(self.within("11.1.2.3", "192.0.2.0/24", "10.0.0.0/8"))
        self.assertFalse(self.within("10.1.2.3"))

    def test_of_an_ipv6_socket(self) -> None:
        for network in ("10.0.0.0/8", "::ffff:10.0.0.0/104"):
            self.assertTrue(self.within("::ffff:10.1.2.3", network))
            self.assertFalse(self.within("::ffff:11.1.2.3", network))

    def test_what_is_no_address(self) -> None:
        self.assertFalse(self.within("a.example", "0.0.0.0/0", "::/0"))
