"""TLS to upstreams: which servers are believed, what is asked for, which sessions are resumed."""

from __future__ import annotations

import datetime
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator

from tests.tls.case import BOTH, Ends, Named, TlsCase, authority, close, crl_of, shake_hands
from twisted_pipe.errors import BadConfiguration
from twisted_pipe.tls.client import ClientTls
from twisted_pipe.tls.facts import TlsFacts
from twisted_pipe.tls.problems import TlsRefused, explain
from twisted_pipe.tls.server import ServerTls
from twisted_pipe.tls.settings import CertificateFiles, CipherSettings, ClientTlsSettings, VerifyClient, Version

PAST = datetime.datetime(2020, 1, 1)
FUTURE = datetime.datetime(2090, 1, 1)


class VerificationTests(TlsCase):
    """What is wrong is said, for both versions, and nothing is sent to such a server."""

    def refused(self, files: CertificateFiles, address: str = "a.example:443", **settings: Any) -> str:
        said = set()
        for version in BOTH:
            ends = self.reach(files, address, version, **settings)
            self.assertIsInstance(ends.client_error, (TlsRefused, SSL.Error))
            self.assertIsNotNone(ends.server_error)
            assert ends.client_error is not None
            said.add(explain(ends.client_error).partition(" (")[0])
        self.assertEqual(len(said), 1, said)
        return said.pop()

    def reach(self, files: CertificateFiles, address: str, version: Version = Version.TLS_1_3, **settings: Any) -> Ends:
        client = self.client(version, **settings)
        return shake_hands(client.connection(None, Named(address)), self.server(files).connection())

    def test_of_a_trusted_ca_and_for_its_name(self) -> None:
        files = self.certificate("a.example", "*.b.example", "192.0.2.7", "2001:db8::7")
        for address in ("a.example:443", "x.b.example:1", "192.0.2.7:443", "[2001:db8::7]:443", "tcp:a.example:443"):
            ends = self.reach(files, address)
            self.assertTrue(ends.fine, address)
            self.assertIsNone(self.client().problem_of(ends.client, Named(address)))

    def test_another_name(self) -> None:
        files = self.certificate("a.example", "*.b.example", "192.0.2.7")
        for address, name in (
            ("c.example:443", "c.example"),
            ("b.example:443", "b.example"),
            ("x.y.b.example:443", "x.y.b.example"),
            ("192.0.2.8:443", "192.0.2.8"),
        ):
            self.assertEqual(
                self.refused(files, address),
                f"its certificate is not for {name} but for a.example, *.b.example, 192.0.2.7",
            )

    def test_no_name_at_all(self) -> None:
        issued = authority().issue_cert("a.example", common_name="a.example")
        nameless = self.write("none.pem", issued.private_key_and_cert_chain_pem.bytes())
        said = self.refused(CertificateFiles(nameless), "unix:/run/app.sock")
        self.assertEqual(said, "it has no name to verify: server_name is wanted")

    def test_a_name_of_ones_own(self) -> None:
        files = self.certificate("a.example")
        self.assertTrue(self.reach(files, "unix:/run/app.sock", server_name="a.example").fine)
        self.assertTrue(self.reach(files, "127.0.0.1:443", server_name="a.example").fine)
        self.assertIn("not for b.example", self.refused(files, "a.example:1", server_name="b.example"))

    def test_the_host_that_a_server_was_looked_up_as(self) -> None:
        """It is asked for and verified, and not the address."""
        server = Named("127.0.0.1:443", "a.example")
        for name, fine in (("a.example", True), ("127.0.0.1", False)):
            ends = shake_hands(self.client().connection(None, server), self.server(self.certificate(name)).connection())
            self.assertEqual(ends.fine, fine)
            self.assertEqual(ends.server.get_servername(), b"a.example")

    def test_a_dot_at_the_end_of_a_name_is_for_resolvers(self) -> None:
        files = self.certificate("a.example")
        for server, settings in (
            (Named("a.example.:443"), {}),
            (Named("127.0.0.1:443", "a.example."), {}),
            (Named("127.0.0.1:443"), {"server_name": "a.example."}),
        ):
            ends = shake_hands(self.client(**settings).connection(None, server), self.server(files).connection())
            self.assertEqual((ends.client_error, ends.server_error), (None, None))
            self.assertEqual(ends.server.get_servername(), b"a.example")

    def test_what_is_asked_for_is_what_is_verified(self) -> None:
        """As the DNS has it: in any case, and with the rules for international names that it was looked up by."""
        files = self.certificate("xn--bcher-kva.example", "strasse.example")
        for host in ("b\u00fccher.example", "B\u00fccher.example", "stra\u00dfe.example", "Strasse.Example"):
            ends = self.reach(files, f"{host}:443")
            self.assertEqual((ends.client_error, ends.server_error), (None, None), host)

    def test_another_ca(self) -> None:
        files = self.certificate("a.example", ca="other")
        self.assertEqual(self.refused(files), "its certificate is of an unknown CA")
        self.assertTrue(self.reach(files, "a.example:1", trusted_ca=self.ca("other")).fine)

    def test_the_cas_of_the_system(self) -> None:
        self.assertEqual(
            self.refused(self.certificate("a.example"), trusted_ca=""), "its certificate is of an unknown CA"
        )

    def test_the_certificate_itself_may_be_trusted(self) -> None:
        files = self.certificate("a.example", ca="other")
        self.assertTrue(self.reach(files, "a.example:1", trusted_ca=files.certificate).fine)

    def test_expired_and_not_yet_valid(self) -> None:
        for begins, ends, said in (
            (PAST, PAST.replace(month=2), "its certificate has expired"),
            (FUTURE, FUTURE.replace(month=2), "its certificate is not yet valid"),
        ):
            self.assertEqual(self.refused(self.certificate("a.example", not_before=begins, not_after=ends)), said)

    def test_revoked(self) -> None:
        issued = authority().issue_cert("a.example")
        files = CertificateFiles(self.write("a.pem", issued.private_key_and_cert_chain_pem.bytes()))
        crl = self.write("crl.pem", crl_of(authority(), [issued]))
        self.assertEqual(self.refused(files, crl_file=crl), "its certificate has been revoked")
        other = self.write("other-crl.pem", crl_of(authority("other")))
        self.assertEqual(self.refused(files, crl_file=other), "there is no revocation list of its CA")

    def test_unless_told_not_to(self) -> None:
        for files in (
            self.certificate("a.example", ca="other"),
            self.certificate("b.example", not_after=PAST.replace(month=2), not_before=PAST),
        ):
            ends = self.reach(files, "c.example:1", verify=False)
            self.assertTrue(ends.fine)
            self.assertIsNone(self.client(verify=False).problem_of(ends.client, Named("c.example:1")))

    def test_the_file_of_cas_has_to_hold_some(self) -> None:
        for path, said in (
            (self.write("x", b"nothing"), "must hold the certificate of a CA in PEM form"),
            ("/nowhere", "cannot be read: no such file or directory"),
        ):
            error = self.assertRaises(BadConfiguration, self.client, trusted_ca=path)
            self.assertEqual((error.name, error.value), ("trusted_ca", path))
            self.assertIn(said, error.expected)


class RequestTests(TlsCase):
    def asked(self, address: str, **settings: Any) -> str:
        ends = self.meet_at(address, self.server(self.certificate("a.example")), verify=False, **settings)
        self.assertTrue(ends.fine)
        return TlsFacts(ends.server).server_name

    def meet_at(self, address: str, tls: ServerTls, **settings: Any) -> Ends:
        return shake_hands(self.client(**settings).connection(None, Named(address)), tls.connection())

    def test_the_name_asked_for(self) -> None:
        for address, name in (
            ("b.example:443", "b.example"),
            ("tcp:b.example:443", "b.example"),
            ("b.example", "b.example"),
            ("127.0.0.1:443", ""),  # no address is ever asked for (RFC 6066, section 3)
            ("[::1]:443", ""),
            ("unix:/run/app.sock", ""),
        ):
            self.assertEqual(self.asked(address), name, address)
        self.assertEqual(self.asked("127.0.0.1:443", server_name="c.example"), "c.example")
        client = self.client(server_name="")
        tls = self.server(self.certificate("a.example"))
        ends = shake_hands(client.connection(None, Named("192.0.2.7:443", "a.example")), tls.connection())
        self.assertTrue(ends.fine)  # a server that was found by its name
        self.assertEqual(self.asked("b\u00fccher.example:443"), "xn--bcher-kva.example")

    def test_a_certificate_of_ours(self) -> None:
        tls = self.server(self.strict(self.certificate("a.example"), verify=VerifyClient.ON))
        ours = self.certificate("proxy@example.org", common_name="proxy")
        ends = self.meet_at("a.example:1", tls, certificate=ours)
        self.assertTrue(TlsFacts(ends.server).client_subject.startswith("CN=proxy,"))

    def test_versions(self) -> None:
        old = self.server(self.certificate("a.example"), ciphers=CipherSettings(max_version=Version.TLS_1_2))
        ends = self.meet_at("a.example:1", old, ciphers=CipherSettings(min_version=Version.TLS_1_3))
        assert ends.client_error is not None
        self.assertIn("no TLS version in common", explain(ends.client_error))

    def test_alpn(self) -> None:
        tls = self.server(self.certificate("a.example"), alpn=(b"http/1.1",))
        ends = self.meet_at("a.example:1", tls, alpn=(b"http/1.1",))
        self.assertEqual(ends.client.get_alpn_proto_negotiated(), b"http/1.1")

    def test_for_twisted(self) -> None:
        creator = self.client().creator(Named("a.example:1"))
        self.assertTrue(IOpenSSLClientConnectionCreator.providedBy(creator))
        tls = self.server(self.certificate("a.example"))
        self.assertTrue(shake_hands(creator.clientConnectionForTLS(None), tls.connection()).fine)

    def test_default(self) -> None:
        self.assertTrue(ClientTls().settings.verify)


class SessionTests(TlsCase):
    def reused(self, client: ClientTls, tls: ServerTls, address: str = "a.example:1") -> bool:
        ends = shake_hands(client.connection(None, Named(address)), tls.connection())
        self.assertEqual((ends.client_error, ends.server_error), (None, None))
        close(ends)
        return TlsFacts(ends.server).reused

    def test_each_server_has_its_own(self) -> None:
        for version in BOTH:
            tls = self.server(self.certificate("a.example"))
            client = self.client(version, server_name="a.example")
            addresses = ("a.example:1", "a.example:2", "a.example:1", "a.example:2")
            self.assertEqual([self.reused(client, tls, each) for each in addresses], [False, False, True, True])

    def test_not_if_told_so(self) -> None:
        tls, client = self.server(self.certificate("a.example")), self.client(reuse_sessions=False)
        self.assertEqual([self.reused(client, tls) for _ in range(2)], [False, False])

    def test_a_server_that_knows_it_no_more_gets_a_whole_handshake(self) -> None:
        for version in BOTH:
            files, client = self.certificate("a.example"), self.client(version)
            self.assertEqual([self.reused(client, self.server(files)) for _ in range(3)], [False, False, False])

    def test_a_session_of_a_server_that_is_refused_is_not_kept(self) -> None:
        for version in BOTH:
            client = self.client(version)
            tls = self.server(self.certificate("b.example"))
            for _ in range(2):
                ends = shake_hands(client.connection(None, Named("a.example:1")), tls.connection())
                assert ends.client_error is not None
                self.assertIn("not for a.example", explain(ends.client_error))

    def test_their_number_has_a_bound(self) -> None:
        tls = self.server(self.certificate("a.example"))
        client = self.client(Version.TLS_1_2, server_name="a.example")
        for port in range(1100):
            shake_hands(client.connection(None, Named(f"a.example:{port}")), tls.connection())
        self.assertEqual(len(client._sessions), 1024)

    def test_reloaded_files_end_them(self) -> None:
        """Who was trusted may not be any more."""
        for version in BOTH:
            trusted = self.write("trusted.pem", authority().cert_pem.bytes())
            client = ClientTls(ClientTlsSettings(trusted_ca=trusted, ciphers=CipherSettings(max_version=version)))
            tls = self.server(self.certificate("a.example"))
            self.reused(client, tls)
            self.assertFalse(client.changed())
            self.write("trusted.pem", authority("other").cert_pem.bytes())
            self.assertTrue(client.changed())
            client.reload()
            ends = shake_hands(client.connection(None, Named("a.example:1")), tls.connection())
            assert ends.client_error is not None
            self.assertIn("unknown CA", explain(ends.client_error))
