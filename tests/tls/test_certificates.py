"""Files of certificates and keys, and what is said of those that are no good."""

from __future__ import annotations

import datetime
import os
from unittest import skipIf

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.tls.case import TlsCase, authority, crl_of, key_pem
from twisted_pipe.errors import BadConfiguration
from twisted_pipe.tls.certificates import load_authorities, load_certificate, load_revoked
from twisted_pipe.tls.settings import CertificateFiles


class CertificateFileTests(TlsCase):
    def setUp(self) -> None:
        super().setUp()
        self.issued = authority().issue_cert("a.example", "*.b.example")
        self.pem = self.issued.cert_chain_pems[0].bytes()
        self.key = self.issued.private_key_pem.bytes()

    def bad(self, certificate: bytes, key: bytes | None = None) -> tuple[str, str]:
        """What is wrong, and with which."""
        files = CertificateFiles(self.write("it.pem", certificate), "" if key is None else self.write("it.key", key))
        error = self.assertRaises(BadConfiguration, load_certificate, files)
        self.assertEqual(error.value, files.certificate if error.name == "certificate" else files.key_file)
        return error.name, error.expected

    def test_in_one_file_in_any_order(self) -> None:
        for content in (self.pem + self.key, self.key + self.pem, b"a comment\n" + self.key + b"\r\n" + self.pem):
            found = load_certificate(CertificateFiles(self.write("it.pem", content)))
            self.assertEqual(found.names, {"a.example", "*.b.example"})
            self.assertEqual((len(found.chain), found.warnings), (1, ()))

    def test_in_two_files(self) -> None:
        files = CertificateFiles(self.write("it.pem", self.pem), self.write("it.key", self.key))
        self.assertEqual(load_certificate(files).files, files)

    def test_with_a_chain(self) -> None:
        files = CertificateFiles(self.write("it.pem", self.pem + authority().cert_pem.bytes() + self.key))
        self.assertEqual(len(load_certificate(files).chain), 2)
        apart = CertificateFiles(self.write("two.pem", self.pem + self.key), chain=self.ca())
        self.assertEqual(len(load_certificate(apart).more), 1)

    def test_no_certificate(self) -> None:
        for content in (b"", b"hello", self.key):
            self.assertEqual(
                self.bad(content), ("certificate", "must hold a certificate in PEM form (-----BEGIN …-----)")
            )

    def test_der(self) -> None:
        der = x509.load_pem_x509_certificate(self.pem).public_bytes(Encoding.DER)
        self.assertIn("openssl x509 -inform der", self.bad(der)[1])

    def test_a_damaged_public_key(self) -> None:
        """The certificate can be read; its key is read when it is asked for."""
        whole = x509.load_pem_x509_certificate(self.pem)
        point = whole.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        der = bytearray(whole.public_bytes(Encoding.DER))
        der[der.index(point) + 10] ^= 1
        damaged = x509.load_der_x509_certificate(bytes(der)).public_bytes(Encoding.PEM)
        name, said = self.bad(damaged + self.key)
        self.assertEqual(name, "certificate")
        self.assertIn("cannot be used: ", said)

    def test_a_damaged_certificate(self) -> None:
        name, said = self.bad(self.pem.replace(self.pem[100:140], b"A" * 40) + self.key)
        self.assertEqual(name, "certificate")
        self.assertIn("damaged", said)

    def test_no_key(self) -> None:
        wanted = ("key", "must hold a private key in PEM form (-----BEGIN PRIVATE KEY-----)")
        self.assertEqual(self.bad(self.pem), wanted)
        self.assertEqual(self.bad(self.pem, self.pem), wanted)

    def test_a_damaged_key(self) -> None:
        name, said = self.bad(self.pem, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
        self.assertEqual((name, said), ("key", "must hold a private key in PEM form, and it is damaged"))

    def test_a_key_with_a_password(self) -> None:
        name, said = self.bad(self.pem, key_pem(self.issued, b"secret"))
        self.assertEqual(name, "key")
        self.assertIn("must be without a password, because nobody is there to type it: openssl pkey", said)

    def test_another_one_s_key(self) -> None:
        other = authority().issue_cert("a.example").private_key_pem.bytes()
        name, said = self.bad(self.pem, other)
        self.assertEqual(name, "key")
        self.assertEqual(said, f"must be the key of {self.folder / 'it.pem'}, and it is another one's")

    def test_a_chain_in_the_wrong_order(self) -> None:
        name, said = self.bad(authority().cert_pem.bytes() + self.pem + self.key)
        self.assertEqual(name, "key")
        self.assertIn("the server's own must stand first", said)

    def test_not_there(self) -> None:
        error = self.assertRaises(BadConfiguration, load_certificate, CertificateFiles("/nowhere/it.pem"))
        self.assertEqual(str(error), "certificate: '/nowhere/it.pem': cannot be read: no such file or directory")
        files = CertificateFiles(self.write("it.pem", self.pem), "/nowhere/it.key")
        self.assertEqual(self.assertRaises(BadConfiguration, load_certificate, files).name, "key")

    @skipIf(os.geteuid() == 0, "root may read anything")
    def test_not_readable(self) -> None:
        files = CertificateFiles(self.write("it.pem", self.pem), self.write("it.key", self.key, 0))
        self.assertIn("permission denied", str(self.assertRaises(BadConfiguration, load_certificate, files)))

    def test_a_key_that_everybody_may_read_is_warned_of(self) -> None:
        files = CertificateFiles(self.write("it.pem", self.pem, 0o644), self.write("it.key", self.key, 0o644))
        said = f"{files.key}: everybody may read this private key (mode 0644); 0600 is wanted"
        self.assertEqual(load_certificate(files).warnings, (said,))
        os.chmod(files.key, 0o640)
        self.assertEqual(load_certificate(files).warnings, ())

    def test_a_certificate_that_is_not_valid_now_is_warned_of(self) -> None:
        for year, said in ((2020, "expired on 2020-02-01"), (2090, "is not valid before 2090-01-01")):
            begins = datetime.datetime(year, 1, 1)
            files = self.certificate("a.example", not_before=begins, not_after=begins.replace(month=2))
            self.assertEqual(load_certificate(files).warnings, (f"{files.certificate}: the certificate {said}",))


class OtherFileTests(TlsCase):
    def test_authorities(self) -> None:
        both = self.write("both.pem", authority().cert_pem.bytes() + authority("other").cert_pem.bytes())
        self.assertEqual(len(load_authorities("client_ca", both)), 2)
        error = self.assertRaises(BadConfiguration, load_authorities, "client_ca", self.write("x", b""))
        self.assertEqual(error.name, "client_ca")

    def test_revocation_lists(self) -> None:
        path = self.write("crl.pem", crl_of(authority()) + crl_of(authority("other")))
        self.assertEqual(len(load_revoked("crl", path)), 2)
        error = self.assertRaises(BadConfiguration, load_revoked, "crl", self.ca())
        self.assertEqual(error.expected, "must hold a revocation list in PEM form (-----BEGIN …-----)")
