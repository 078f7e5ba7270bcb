"""Names in certificates, as text."""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.tls.distinguished import distinguished_name


class NameTests(SynchronousTestCase):
    def text_of(self, *attributes: list[tuple[x509.ObjectIdentifier, str]]) -> str:
        """@param attributes: those that stand side by side, from the root on."""
        key = ec.generate_private_key(ec.SECP256R1())
        parts = [x509.RelativeDistinguishedName([x509.NameAttribute(*each) for each in part]) for part in attributes]
        name = x509.Name(parts)
        then = datetime.datetime(2020, 1, 1)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        builder = builder.serial_number(1).not_valid_before(then).not_valid_after(then + datetime.timedelta(days=1))
        return distinguished_name(builder.sign(key, hashes.SHA256()))

    def test_the_last_part_stands_first(self) -> None:
        self.assertEqual(
            self.text_of([(NameOID.COUNTRY_NAME, "DE")], [(NameOID.COMMON_NAME, "alice")]), "CN=alice,C=DE"
        )

    def test_attributes_have_openssl_s_names(self) -> None:
        """As nginx writes them: openssl req asks for the first of these."""
        for kind, name in (
            (NameOID.EMAIL_ADDRESS, "emailAddress"),
            (NameOID.SERIAL_NUMBER, "serialNumber"),
            (NameOID.SURNAME, "SN"),
            (NameOID.STREET_ADDRESS, "street"),
            (NameOID.DOMAIN_COMPONENT, "DC"),
        ):
            self.assertEqual(self.text_of([(kind, "v")]), f"{name}=v")

    def test_what_would_end_a_value_is_escaped(self) -> None:
        said = self.text_of([(NameOID.COMMON_NAME, 'a,O=Root+CN="b"\\;<> ')])
        self.assertEqual(said, 'CN=a\\,O=Root\\+CN=\\"b\\"\\\\\\;\\<\\>\\ ')

    def test_attributes_side_by_side(self) -> None:
        said = self.text_of([(NameOID.COMMON_NAME, "alice"), (NameOID.USER_ID, "7")])
        self.assertIn(said, ("CN=alice+UID=7", "UID=7+CN=alice"))
