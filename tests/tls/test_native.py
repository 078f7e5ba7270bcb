"""What is refused while OpenSSL asks for a name comes out of the handshake that it belongs to."""

from __future__ import annotations

from OpenSSL import SSL

from tests.preface.hellos import body, extension, message, records, server_name, vector, versions
from tests.tls.case import TlsCase
from twisted_pipe.tls.problems import TlsRefused, explain
from twisted_pipe.tls.settings import VerifyClient

_GROUPS, _SIGNATURES, _KEY_SHARE = 10, 13, 51
_X25519, _ECDSA_P256_SHA256 = b"\0\x1d", b"\4\3"
_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891")  # how a HelloRetryRequest begins (RFC 8446, section 4.1.3)
_ALERT = b"\x15\3\3\0\2\2\x70"  # fatal, unrecognized_name


def hello(name: bytes, *shares: bytes) -> bytes:
    """Of TLS 1.3. One that has no share of a key is asked for again (RFC 8446, section 4.2.8)."""
    said = (
        server_name(name),
        versions(0x0304),
        extension(_GROUPS, vector(2, _X25519)),
        extension(_SIGNATURES, vector(2, _ECDSA_P256_SHA256)),
        extension(_KEY_SHARE, vector(2, b"".join(shares))),
    )
    return records(message(body(*said)))


SHARE = _X25519 + vector(2, bytes(range(1, 33)))


class SecondHelloTests(TlsCase):
    """A client may name another server when its hello is asked for again."""

    def setUp(self) -> None:
        super().setUp()
        sites = self.strict(self.certificate("a.example"), verify=VerifyClient.ON), self.certificate("b.example")
        find = {"a.example": 0, "b.example": 1}.get
        self.tls = self.server(*sites, find=find, reject_unknown_names=True)
        self.connection = self.tls.connection()
        self.connection.bio_write(hello(b"b.example"))
        self.assertRaises(SSL.WantReadError, self.connection.do_handshake)
        self.assertIn(_RETRY, self.connection.bio_read(1 << 16))

    def test_one_that_there_is(self) -> None:
        self.connection.bio_write(hello(b"a.example", SHARE))
        self.assertRaises(SSL.WantReadError, self.connection.do_handshake)
        self.assertNotIn(_ALERT, self.connection.bio_read(1 << 16))
        self.assertTrue(self.connection.get_verify_mode() & SSL.VERIFY_FAIL_IF_NO_PEER_CERT, "as this server wants it")

    def test_one_that_is_refused_is_told_to_this_client_and_to_no_other(self) -> None:
        self.connection.bio_write(hello(b"c.example", SHARE))
        error = self.assertRaises(TlsRefused, self.connection.do_handshake)
        self.assertEqual(explain(error), "no server is named 'c.example'")
        self.assertIn(_ALERT, self.connection.bio_read(1 << 16))
        ends = self.meet(self.client(), self.tls, "b.example")
        self.assertEqual((ends.client_error, ends.server_error), (None, None))
