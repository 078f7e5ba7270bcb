from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from tests.preface.hellos import (
    alpn,
    body,
    cut_anew,
    extension,
    message,
    of_openssl,
    records,
    server_name,
    vector,
    versions,
)
from twisted_pipe.errors import BadConfiguration, BadPreface
from twisted_pipe.preface.client_hello import ClientHello, ClientHelloParser

PARSER = ClientHelloParser()
LABELS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=20)
HOSTS = st.lists(LABELS, min_size=1, max_size=5).map(".".join)
PROTOCOLS = st.lists(st.binary(min_size=3, max_size=30), max_size=5)


def parsed(*extensions: bytes, version: int = 0x0303) -> ClientHello | None:
    return PARSER.parse(records(message(body(*extensions, version=version))))


class OpenSslTests(SynchronousTestCase):
    def test_all_that_is_said(self) -> None:
        hello = of_openssl(b"WWW.Example.org", [b"h2", b"http/1.1"])
        expected = ClientHello("www.example.org", (b"h2", b"http/1.1"), (0x0304, 0x0303))
        self.assertEqual(PARSER.parse(hello), expected)
        self.assertEqual((expected.version, expected.taken), ("TLSv1.3", 0))

    def test_nothing_is_said(self) -> None:
        self.assertEqual(PARSER.parse(of_openssl()), ClientHello("", (), (0x0304, 0x0303)))

    def test_tls_1_2(self) -> None:
        found = PARSER.parse(of_openssl(b"example.org", newest=SSL.TLS1_2_VERSION))
        assert found is not None
        self.assertEqual((found.versions, found.version), ((0x0303,), "TLSv1.2"))

    def test_cut_at_every_byte_and_in_records_of_every_size(self) -> None:
        hello = of_openssl(b"example.org", [b"h2"])
        expected = PARSER.parse(hello)
        for size in range(len(hello) // 60 + 1, len(hello)):
            again = cut_anew(hello, size)
            self.assertEqual(PARSER.parse(again + b"\x17more"), expected, size)
        for whole in (hello, cut_anew(hello, len(hello) // 50)):
            for cut in range(1, len(whole)):
                self.assertIsNone(PARSER.parse(whole[:cut]), cut)

    @settings(max_examples=60)
    @given(
        HOSTS,
        PROTOCOLS,
        st.sampled_from([None, SSL.TLS1_2_VERSION]),
        st.sampled_from([None, b"ECDHE+AESGCM", b"ALL"]),
        st.sampled_from([0, SSL.OP_NO_TICKET]),
        st.randoms(use_true_random=False),
    )
    def test_whatever_it_is_set_to(
        self,
        host: str,
        names: list[bytes],
        newest: int | None,
        ciphers: bytes | None,
        options: int,
        chance: random.Random,
    ) -> None:
        hello = of_openssl(host.encode(), names, None, newest, ciphers, options)
        found = PARSER.parse(hello)
        assert found is not None
        self.assertEqual((found.server_name, found.alpn), (host, tuple(names)))
        for _ in range(20):
            self.assertIsNone(PARSER.parse(hello[: chance.randrange(1, len(hello))]))

    @given(st.data())
    def test_a_changed_one_raises_nothing_else(self, data: st.DataObject) -> None:
        hello = bytearray(HELLO)
        for _ in range(data.draw(st.integers(1, 4))):
            hello[data.draw(st.integers(0, len(hello) - 1))] = data.draw(st.integers(0, 255))
        try:
            PARSER.parse(bytes(hello))
        except BadPreface as error:
            self.assertLess(len(str(error)), 400)


HELLO = of_openssl(b"example.org", [b"h2", b"http/1.1"])


class MadeTests(SynchronousTestCase):
    def test_grease_is_left_out(self) -> None:
        found = parsed(
            extension(0x0A0A, b""),
            versions(0xFAFA, 0x0304, 0x0303),
            alpn(b"\x1a\x1a", b"h2"),
            extension(0xEAEA, b"\0"),
            server_name(b"example.org"),
        )
        self.assertEqual(found, ClientHello("example.org", (b"h2",), (0x0304, 0x0303)))

    def test_two_letters_are_no_grease(self) -> None:
        found = parsed(alpn(b"h2", b"\x0a\x1a", b"aa"))
        assert found is not None
        self.assertEqual(found.alpn, (b"h2", b"\x0a\x1a", b"aa"))

    def test_without_extensions(self) -> None:
        """As of old."""
        self.assertEqual(parsed(version=0x0301), ClientHello("", (), (0x0301,)))
        hello = parsed(version=0x0301)
        assert hello is not None
        self.assertEqual(hello.version, "TLSv1")

    def test_an_unknown_version(self) -> None:
        hello = parsed(versions(0x7F1C))
        assert hello is not None
        self.assertEqual(hello.version, "0x7f1c")

    def test_a_name_with_its_last_dot(self) -> None:
        found = parsed(server_name(b"Example.ORG."))
        assert found is not None
        self.assertEqual(found.server_name, "example.org")

    def test_a_name_that_is_no_host(self) -> None:
        found = parsed(server_name(b"something", kind=7))
        assert found is not None
        self.assertEqual(found.server_name, "")

    def test_names_that_cannot_be(self) -> None:
        for name in (b"", b".", b"a..b", b"a b", b"a\0b", b"a\nb", b"\xff", b"a/b", b"a:443", b"x" * 256, b".a"):
            self.assertRaises(BadPreface, parsed, server_name(name))
        self.assertRaises(BadPreface, parsed, server_name(b"a.example", b"b.example"))

    def test_the_longest(self) -> None:
        rest = (1 << 14) - len(body(extension(21, b"")))
        hello = message(body(extension(21, bytes(rest))))
        self.assertEqual(len(hello), 4 + (1 << 14))
        data = records(hello, [1 << 14])
        self.assertEqual(PARSER.parse(data), ClientHello("", (), (0x0303,)))
        self.assertLessEqual(len(data), PARSER.most)
        longer = records(message(body(extension(21, bytes(rest + 1)))), [1 << 14])
        error = self.assertRaises(BadPreface, PARSER.parse, longer[:9])
        self.assertEqual(str(error), "its ClientHello has 16385 bytes, at most 16384 are taken")

    def test_too_many_records(self) -> None:
        hello = message(body(server_name(b"example.org")))
        self.assertIsNotNone(PARSER.parse(records(hello, [1] * 63)))
        self.assertRaises(BadPreface, PARSER.parse, records(hello, [1] * 64))

    def test_lengths_that_go_beyond(self) -> None:
        """Each length of a hello made longer, and each made shorter."""
        good = body(server_name(b"example.org"), alpn(b"h2"), versions(0x0304))
        self.assertIsNotNone(PARSER.parse(records(message(good))))
        found = []
        for at in range(34, len(good)):
            for change in (1, -1):
                changed = good[:at] + bytes([good[at] + change & 0xFF]) + good[at + 1 :]
                try:
                    PARSER.parse(records(message(changed)))
                except BadPreface as error:
                    found.append(str(error))
        for why in ("goes beyond what it is in", "bytes behind its extensions", "longer than its list"):
            self.assertTrue(any(why in each for each in found), why)

    def test_empty_lists(self) -> None:
        for kind, size in ((0, 2), (16, 2), (43, 1)):
            error = self.assertRaises(BadPreface, parsed, extension(kind, vector(size, b"")))
            self.assertIn("is empty", str(error))
            self.assertRaises(BadPreface, parsed, extension(kind, b""))

    def test_an_extension_twice(self) -> None:
        self.assertRaises(BadPreface, parsed, server_name(b"a.example"), server_name(b"b.example"))


class NoHelloTests(SynchronousTestCase):
    def assert_refused(self, data: bytes, why: str) -> None:
        error = self.assertRaises(BadPreface, PARSER.parse, data)
        self.assertIn(why, str(error))

    def test_no_tls(self) -> None:
        for data in (
            b"G",
            b"GET / HTTP/1.1\r\n",
            b"SSH-2.0-x\r\n",
            b"\x80\x2e\x01\x00\x02",
            b"\x15\x03\x01\x00\x02\x02\x28",
        ):
            self.assert_refused(data, "no TLS: it begins with")
        self.assert_refused(b"\x16\x02", "no TLS")

    def test_known_as_soon_as_can_be(self) -> None:
        self.assertIsNone(PARSER.parse(b"\x16"))
        self.assertIsNone(PARSER.parse(b"\x16\3\1\0"))
        self.assert_refused(b"\x16\3\1\0\0", "a record of 0 bytes")
        self.assert_refused(b"\x16\3\1\x40\1", "a record of 16385 bytes")

    def test_another_message(self) -> None:
        self.assert_refused(records(message(body(), kind=2)), "a message of type 2")

    def test_another_record_within_it(self) -> None:
        hello = message(body())
        self.assert_refused(records(hello[:20]) + b"\x17\3\3\0\1x", "its next record begins with")

    def test_hostile_ten_megabytes(self) -> None:
        self.assert_refused(b"\x16\3\1\x40\0\1\xff\xff\xff" + bytes(10_000_000), "has 16777215 bytes")

    def test_its_bound(self) -> None:
        self.assertRaises(BadConfiguration, ClientHelloParser, 511)
        self.assertEqual(ClientHelloParser(512).longest, 512)
