from __future__ import annotations

from typing import Any

from hypothesis import given
from twisted.protocols.haproxy._v2parser import V2Parser
from twisted.trial.unittest import SynchronousTestCase

from tests.preface.headers import (
    BINARY,
    SIGNATURE,
    SOURCE,
    SOURCE6,
    SSL,
    TARGET,
    TARGET6,
    TLVS,
    UNIX_SOURCE,
    UNIX_TARGET,
)
from twisted_pipe.errors import BadPreface
from twisted_pipe.preface.addresses import address_of
from twisted_pipe.preface.crc32c import crc32c
from twisted_pipe.preface.proxy_binary import read_binary, write_binary
from twisted_pipe.preface.proxy_header import Command, ProxyHeader, Version
from twisted_pipe.preface.tlv import Tlv, TlvType, write_tlvs

IPV4 = SIGNATURE + bytes.fromhex("21 11 000C  C0A80001 C0A8000B  DC04 01BB")
LOCAL = SIGNATURE + bytes.fromhex("20 00 0000")


def header(source: Any = SOURCE, target: Any = TARGET, tlvs: tuple[Tlv, ...] = ()) -> ProxyHeader:
    return ProxyHeader(version=Version.BINARY, source=source, destination=target, tlvs=tlvs)


def raw(command: int, family: int, rest: bytes = b"") -> bytes:
    return SIGNATURE + bytes([command, family]) + len(rest).to_bytes(2, "big") + rest


class ReadTests(SynchronousTestCase):
    def assert_refused(self, data: bytes, why: str) -> None:
        error = self.assertRaises(BadPreface, read_binary, data)
        self.assertIn(why, str(error))

    def test_ipv4(self) -> None:
        found = read_binary(IPV4 + b"GET /")
        assert found is not None
        self.assertEqual((found, found.taken), (header(), 28))

    def test_every_tlv(self) -> None:
        data = write_binary(header(tlvs=TLVS), checksum=True)
        found = read_binary(data + b"rest")
        assert found is not None
        self.assertEqual((found.tlvs[:-1], found.tlvs[-1].type), (TLVS, TlvType.CRC32C))
        self.assertEqual(found.ssl, SSL)
        self.assertEqual((found.tlv(TlvType.AUTHORITY), found.tlv(0xE5)), (b"example.org", None))
        self.assertEqual(found.taken, len(data))

    def test_cut_at_every_byte(self) -> None:
        data = write_binary(header(SOURCE6, TARGET6, TLVS), checksum=True)
        for cut in range(12, len(data)):
            self.assertIsNone(read_binary(data[:cut]), cut)

    def test_local_whatever_the_rest_says(self) -> None:
        expected = ProxyHeader(version=Version.BINARY, command=Command.LOCAL)
        for data in (LOCAL, raw(0x20, 0x11, IPV4[16:]), raw(0x20, 0xFF, b"anything")):
            found = read_binary(data + b"rest")
            assert found is not None
            self.assertEqual((found, found.taken), (expected, len(data)))

    def test_unspecified(self) -> None:
        """Where the TLVs begin is not known, and the addresses are not either."""
        for rest in (b"", b"\1\2\3"):
            found = read_binary(raw(0x21, 0x00, rest))
            assert found is not None
            self.assertEqual((found, found.taken), (header(None, None), 16 + len(rest)))

    def test_datagrams(self) -> None:
        """Valid, and not supported: the connection's own addresses count."""
        for family in (0x12, 0x10):
            self.assertEqual(read_binary(raw(0x21, family, IPV4[16:])), header(None, None))
        self.assertEqual(read_binary(raw(0x21, 0x32, bytes(216))), header(None, None))

    def test_unix(self) -> None:
        block = b"/run/client".ljust(108, b"\0") + b"\0abstract".ljust(108, b"\0")
        self.assertEqual(read_binary(raw(0x21, 0x31, block)), header(UNIX_SOURCE, UNIX_TARGET))

    def test_what_is_unassigned(self) -> None:
        self.assert_refused(raw(0x11, 0x11, IPV4[16:]), "its version is 1, not 2")
        self.assert_refused(raw(0x22, 0x11, IPV4[16:]), "its command is 0x2")
        self.assert_refused(raw(0x21, 0x41, IPV4[16:]), "its address family is 0x4")
        self.assert_refused(raw(0x21, 0x13, IPV4[16:]), "its transport is 0x3")

    def test_refused_as_soon_as_can_be(self) -> None:
        self.assert_refused(SIGNATURE + b"\x31", "its version is 3")
        error = self.assertRaises(BadPreface, read_binary, SIGNATURE + b"\x21\x11\xff\xff", 4096)
        self.assertEqual(str(error), "it says that it has 65551 bytes, at most 4096 are taken")

    def test_as_long_as_may_be(self) -> None:
        data = write_binary(header(tlvs=(Tlv(0xE0, bytes(4096 - 28 - 3)),)))
        self.assertIsNotNone(read_binary(data, 4096))
        self.assertRaises(BadPreface, read_binary, data, 4095)
        longest = write_binary(header(tlvs=(Tlv(0xE0, bytes(65535 - 12 - 3)),)))
        self.assertEqual(len(longest), 65551)
        self.assertIsNotNone(read_binary(longest))

    def test_addresses_cut_off(self) -> None:
        for family, size in ((0x11, 12), (0x21, 36), (0x31, 216)):
            self.assert_refused(raw(0x21, family, bytes(size - 1)), "its addresses are cut off")

    def test_tlvs_cut_off(self) -> None:
        self.assert_refused(raw(0x21, 0x11, IPV4[16:] + b"\4"), "a TLV is cut off")
        self.assert_refused(raw(0x21, 0x11, IPV4[16:] + b"\4\0\2x"), "a TLV of type 0x04 is cut off")

    def test_a_wrong_checksum(self) -> None:
        """Any byte of the header that is another, but the one that says that it is a checksum."""
        data = write_binary(header(tlvs=TLVS[:1]), checksum=True)
        for at in set(range(16, len(data))) - {len(data) - 7}:
            changed = data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]
            self.assertRaises(BadPreface, read_binary, changed)

    def test_a_checksum_may_stand_anywhere(self) -> None:
        data = write_binary(header(tlvs=(Tlv(TlvType.CRC32C, bytes(4)), *TLVS)))
        self.assert_refused(data, "its checksum is wrong")
        right = data[:31] + crc32c(data).to_bytes(4, "big") + data[35:]
        self.assertIsNotNone(read_binary(right))

    def test_tlvs_that_have_not_their_form(self) -> None:
        for tlv, why in (
            (Tlv(TlvType.CRC32C, b"\0" * 3), "its checksum has 3 bytes, not 4"),
            (Tlv(TlvType.UNIQUE_ID, bytes(129)), "its unique id has 129 bytes, at most 128 can be"),
            (Tlv(TlvType.SSL, bytes(4)), "its SSL TLV has 4 bytes, at least 5 are needed"),
            (Tlv(TlvType.SSL, bytes(5) + b"\x21\0\7TLS"), "a TLV of type 0x21 is cut off"),
        ):
            self.assert_refused(raw(0x21, 0x11, IPV4[16:] + write_tlvs([tlv])), why)


class WriteTests(SynchronousTestCase):
    def test_ipv4(self) -> None:
        self.assertEqual(write_binary(header()), IPV4)

    def test_ipv6(self) -> None:
        expected = (
            SIGNATURE
            + bytes.fromhex("21 21 0024")
            + bytes.fromhex("20010DB8000000000000000000000001  00000000000000000000000000000001  FFFF 0001")
        )
        self.assertEqual(write_binary(header(SOURCE6, TARGET6)), expected)

    def test_not_known_is_local(self) -> None:
        """Which every receiver has to take; and LOCAL has nothing else to say."""
        for source, target in ((None, None), (SOURCE, None), (SOURCE, TARGET6), (UNIX_SOURCE, TARGET)):
            self.assertEqual(write_binary(header(source, target, TLVS)), LOCAL)
        local = ProxyHeader(version=Version.BINARY, command=Command.LOCAL, source=SOURCE, destination=TARGET)
        self.assertEqual(write_binary(local, checksum=True), LOCAL)

    def test_too_many_tlvs(self) -> None:
        many = (Tlv(0xE0, bytes(40000)),) * 2
        self.assertRaises(ValueError, write_binary, header(tlvs=many))

    @given(BINARY)
    def test_what_was_written_is_read(self, given: ProxyHeader) -> None:
        data = write_binary(given)
        found = read_binary(data + b"rest")
        assert found is not None
        self.assertEqual((found, found.taken), (given, len(data)))

    @given(BINARY)
    def test_with_a_checksum(self, given: ProxyHeader) -> None:
        data = write_binary(given, checksum=True)
        found = read_binary(data)
        assert found is not None
        self.assertEqual(found.source, given.source)
        self.assertEqual(found.tlvs[: len(given.tlvs)], given.tlvs)

    def test_twisted_reads_it(self) -> None:
        for source, target in ((SOURCE, TARGET), (SOURCE6, TARGET6)):
            info, rest = V2Parser().feed(write_binary(header(source, target)) + b"GET /")
            assert info is not None
            found = (address_of(info.source), address_of(info.destination))
            self.assertEqual((found, rest), ((source, target), b"GET /"))
