from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import BadPreface
from twisted_pipe.preface.tlv import ClientSsl, SslClient, SslTlvType, Tlv, TlvType, read_tlvs, value_of, write_tlvs

TLVS = st.lists(st.builds(Tlv, st.integers(0, 255), st.binary(max_size=40)), max_size=8).map(tuple)


class TlvTests(SynchronousTestCase):
    def test_each_is_a_type_a_length_and_a_value(self) -> None:
        data = bytes.fromhex("01 0002 6832  04 0000  EE 0001 FF")
        self.assertEqual(read_tlvs(data), (Tlv(TlvType.ALPN, b"h2"), Tlv(TlvType.NOOP, b""), Tlv(0xEE, b"\xff")))

    @given(TLVS)
    def test_what_was_written_is_read(self, tlvs: tuple[Tlv, ...]) -> None:
        self.assertEqual(read_tlvs(write_tlvs(tlvs)), tlvs)

    def test_cut_off(self) -> None:
        data = write_tlvs([Tlv(1, b"h2"), Tlv(2, b"example.org")])
        for cut in range(1, len(data)):
            if cut == 5:
                continue  # between the two
            error = self.assertRaises(BadPreface, read_tlvs, data[:cut])
            self.assertIn("cut off", str(error))

    def test_the_longest(self) -> None:
        tlv = Tlv(0xE0, bytes(65535))
        self.assertEqual(read_tlvs(write_tlvs([tlv])), (tlv,))
        self.assertRaises(ValueError, write_tlvs, [Tlv(0xE0, bytes(65536))])

    def test_the_first_of_a_type(self) -> None:
        tlvs = (Tlv(1, b"a"), Tlv(2, b"b"), Tlv(2, b"c"))
        self.assertEqual((value_of(tlvs, 2), value_of(tlvs, 3)), (b"b", None))


class ClientSslTests(SynchronousTestCase):
    def test_every_sub_type(self) -> None:
        inner = (*(Tlv(kind, kind.name.encode()) for kind in SslTlvType), Tlv(0xF0, b"?"))
        ssl = ClientSsl(SslClient.SSL | SslClient.CERT_CONN, 0, inner)
        tlv = ssl.write()
        self.assertEqual(tlv.type, TlvType.SSL)
        self.assertEqual(tlv.value[:5], bytes.fromhex("03 00000000"))
        self.assertEqual(ClientSsl.read(tlv.value), ssl)

    def test_cut_off(self) -> None:
        value = ClientSsl(SslClient.SSL, 1, (Tlv(SslTlvType.VERSION, b"TLSv1.3"),)).write().value
        for cut in range(len(value)):
            if cut != 5:
                self.assertRaises(BadPreface, ClientSsl.read, value[:cut])
