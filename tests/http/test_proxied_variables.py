from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.http.test_variables import Facts, value_of
from tests.preface.headers import SOURCE, SOURCE6, TARGET, TARGET6, TLVS, UNIX_SOURCE, UNIX_TARGET
from twisted_pipe.http.variables import VOCABULARY, find_variable
from twisted_pipe.preface.proxy_header import Command, ProxyHeader, Version
from twisted_pipe.preface.tlv import SslTlvType

PLAIN = Facts()
PROXIED = Facts(
    direct_host="10.0.0.1",
    direct_port=5,
    proxied=ProxyHeader(version=Version.BINARY, source=SOURCE, destination=TARGET, tlvs=TLVS),
)
ADDRESSES = tuple(f"proxy_protocol_{name}" for name in ("addr", "port", "server_addr", "server_port"))


class AddressTests(SynchronousTestCase):
    def values(self, facts: Facts) -> list[bytes | None]:
        return [value_of(name, facts) for name in ADDRESSES]

    def test_addresses(self) -> None:
        self.assertEqual(self.values(PROXIED), [b"192.168.0.1", b"56324", b"192.168.0.11", b"443"])
        six = Facts(proxied=ProxyHeader(version=Version.TEXT, source=SOURCE6, destination=TARGET6))
        self.assertEqual(self.values(six), [b"2001:db8::1", b"65535", b"::1", b"1"])
        unix = Facts(proxied=ProxyHeader(version=Version.BINARY, source=UNIX_SOURCE, destination=UNIX_TARGET))
        self.assertEqual(self.values(unix), [b"unix:/run/client", None, b"unix:\0abstract", None])

    def test_none(self) -> None:
        local = Facts(proxied=ProxyHeader(version=Version.BINARY, command=Command.LOCAL))
        for facts in (PLAIN, local):
            self.assertEqual(self.values(facts), [None] * 4)

    def test_who_has_connected(self) -> None:
        self.assertEqual([value_of(f"realip_remote_{name}", PROXIED) for name in ("addr", "port")], [b"10.0.0.1", b"5"])
        self.assertIsNone(value_of("realip_remote_port", Facts(direct_port=0)))


class TlvTests(SynchronousTestCase):
    def test_by_name_and_by_number(self) -> None:
        for names, value in (
            (("alpn", "0x01", "0x1"), b"h2"),
            (("authority", "0x02"), b"example.org"),
            (("unique_id", "0x05"), bytes(range(128))),
            (("netns", "0x30"), b"blue"),
            (("ssl", "0x20"), TLVS[4].value),
            (("0xE0", "0xe0"), b"application"),
            (("0xe1",), None),
            (("ssl_verify",), b"0"),
            (("ssl_0x21",), b"VERSION"),
            (("ssl_0x7f",), None),
        ):
            for name in names:
                self.assertEqual(value_of(f"proxy_protocol_tlv_{name}", PROXIED), value, name)

    def test_of_the_clients_tls(self) -> None:
        for kind in SslTlvType:
            name = f"proxy_protocol_tlv_ssl_{kind.name.lower()}"
            self.assertEqual(value_of(name, PROXIED), kind.name.encode())
            self.assertIsNone(value_of(name, PLAIN))
        self.assertIsNone(value_of("proxy_protocol_tlv_ssl_verify", PLAIN))
        self.assertIsNone(value_of("proxy_protocol_tlv_alpn", PLAIN))

    def test_there_is_no_other_name(self) -> None:
        for name in ("", "alpm", "crc32c", "noop", "ALPN", "0x", "0x123", "0xg", "1", "ssl_", "ssl_alpn", "ssl_0x"):
            self.assertIsNone(find_variable(f"proxy_protocol_tlv_{name}"), name)

    def test_the_nearest_name(self) -> None:
        self.assertEqual(VOCABULARY.nearest("proxy_protocol_address"), "proxy_protocol_addr")
