"""What each variable says of a client's TLS."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from tests.http.test_variables import Facts, value_of
from twisted_pipe.http.tls_variables import TLS_VARIABLES

PEM = "-----BEGIN CERTIFICATE-----\nMA+/=\n-----END CERTIFICATE-----\n"


@attrs.frozen
class Tls:
    """What a client with a certificate has agreed on."""

    version: str = "TLSv1.3"
    cipher: str = "TLS_AES_256_GCM_SHA384"
    server_name: str = "example.org"
    alpn: str = "http/1.1"
    reused: bool = True
    client_verify: str = "SUCCESS"
    client_subject: str = "CN=alice"
    client_issuer: str = "CN=ca"
    client_serial: str = "0A"
    client_fingerprint: str = "ab" * 20
    client_certificate: str = PEM

    def serves(self, host: bytes) -> bool:
        return True


EXPECTED = {
    "ssl_protocol": b"TLSv1.3",
    "ssl_cipher": b"TLS_AES_256_GCM_SHA384",
    "ssl_server_name": b"example.org",
    "ssl_alpn_protocol": b"http/1.1",
    "ssl_session_reused": b"r",
    "ssl_client_verify": b"SUCCESS",
    "ssl_client_s_dn": b"CN=alice",
    "ssl_client_i_dn": b"CN=ca",
    "ssl_client_serial": b"0A",
    "ssl_client_fingerprint": b"ab" * 20,
    "ssl_client_escaped_cert": b"-----BEGIN%20CERTIFICATE-----%0AMA%2B%2F%3D%0A-----END%20CERTIFICATE-----%0A",
}
#: Of a client that said as little as it could.
LITTLE = Tls(
    server_name="",
    alpn="",
    reused=False,
    client_verify="NONE",
    client_subject="",
    client_issuer="",
    client_serial="",
    client_fingerprint="",
    client_certificate="",
)


class TlsVariableTests(SynchronousTestCase):
    def test_each_says_what_nginx_says(self) -> None:
        self.assertEqual({each.name for each in TLS_VARIABLES}, set(EXPECTED))
        for name, value in EXPECTED.items():
            self.assertEqual(value_of(name, Facts(tls=Tls())), value, name)

    def test_what_was_not_said_is_nothing(self) -> None:
        said = {name for name in EXPECTED if value_of(name, Facts(tls=LITTLE)) is not None}
        self.assertEqual(said, {"ssl_protocol", "ssl_cipher", "ssl_session_reused", "ssl_client_verify"})
        self.assertEqual(value_of("ssl_session_reused", Facts(tls=LITTLE)), b".")

    def test_nothing_of_a_plain_connection(self) -> None:
        for name in EXPECTED:
            self.assertIsNone(value_of(name, Facts()))
