"""TLS to clients: which certificate, which clients, which sessions."""

from __future__ import annotations

import datetime
from typing import Any

import trustme
from OpenSSL import SSL

from tests.tls.case import BOTH, Ends, Named, TlsCase, authority, close, crl_of, shake_hands
from twisted_pipe.errors import BadConfiguration
from twisted_pipe.tls.facts import TlsFacts
from twisted_pipe.tls.problems import TlsRefused, explain, is_plain_http
from twisted_pipe.tls.server import ServerTls, TlsSite
from twisted_pipe.tls.settings import CertificateFiles, CipherSettings, VerifyClient, Version

ON, OPTIONAL, NO_CA = VerifyClient.ON, VerifyClient.OPTIONAL, VerifyClient.OPTIONAL_NO_CA


class NameTests(TlsCase):
    """The name that a client asks for decides on the certificate."""

    def setUp(self) -> None:
        super().setUp()
        self.open = self.client(verify=False)
        self.a, self.b = self.certificate("a.example", "*.wild.example"), self.certificate("b.example")

    def test_the_site_of_the_name(self) -> None:
        tls = self.server(self.a, self.b, find={"a.example": 0, "b.example": 1, "x.example": 1}.get)
        for name, found in (("a.example", "a"), ("b.example", "b"), ("B.Example", "b"), ("x.example", "b")):
            self.assertEqual(self.seen(self.meet(self.open, tls, name)), f"{found}.example", name)

    def test_a_dot_at_the_end_of_the_name_is_not_of_it(self) -> None:
        """It must not be there (RFC 6066, section 3), and some send it."""
        strict = self.strict(self.certificate("c.example"), verify=ON)
        find = {"b.example": 1, "c.example": 2}.get
        tls = self.server(TlsSite(certificates=(self.a, self.b)), self.b, strict, find=find)
        for name, found in (("b.example.", "b"), ("x.wild.example.", "a"), ("d.example.", "a"), (".", "a")):
            self.assertEqual(self.seen(self.ask(tls, name)), f"{found}.example", name)
        self.assertFalse(self.ask(tls, "c.example.").fine, "a certificate is wanted")

    def ask(self, tls: ServerTls, name: str) -> Ends:
        """By this very name."""
        client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD))
        client.set_tlsext_host_name(name.encode())
        client.set_connect_state()
        return shake_hands(client, tls.connection())

    def test_the_default_for_any_other_name_and_for_none(self) -> None:
        tls = self.server(self.a, self.b, find={"b.example": 1}.get)
        for name in ("c.example", "192.0.2.7", ""):
            self.assertEqual(self.seen(self.meet(self.open, tls, name)), "a.example", name)

    def test_within_a_site_the_certificate_that_has_the_name(self) -> None:
        tls = self.server(TlsSite(certificates=(self.a, self.b)))
        for name, found in (
            ("b.example", "b"),
            ("x.wild.example", "a"),
            ("a.x.wild.example", "a"),  # an asterisk is one label: the first certificate
            ("other.example", "a"),
        ):
            self.assertEqual(self.seen(self.meet(self.open, tls, name)), f"{found}.example", name)

    def test_keys_of_two_kinds_for_the_same_names(self) -> None:
        files = [self.certificate("a.example", file=f"{kind.name}.pem", key_type=kind) for kind in trustme.KeyType]
        tls = self.server(TlsSite(certificates=tuple(files)))
        for kind in ("RSA", "ECDSA"):
            ciphers = CipherSettings(max_version=Version.TLS_1_2, ciphers=f"ECDHE-{kind}-AES128-GCM-SHA256")
            ends = self.meet(self.client(ciphers=ciphers), tls)
            self.assertEqual(TlsFacts(ends.server).cipher, f"ECDHE-{kind}-AES128-GCM-SHA256")

    def test_unknown_names_are_refused_if_told_so(self) -> None:
        tls = self.server(self.a, self.b, find={"b.example": 1}.get, reject_unknown_names=True)
        for name, said in (
            ("c.example", "no server is named 'c.example'"),
            ("", "it asks for no server by name (SNI)"),
        ):
            for version in BOTH:
                ends = self.meet(self.client(version, verify=False), tls, name)
                self.assertIsInstance(ends.server_error, TlsRefused)
                self.assertEqual(explain(ends.server_error), said)
                self.assertEqual(explain(ends.client_error), "it knows no server of that name")
        for name in ("b.example", "a.example", "y.wild.example"):  # the last two by the default server's certificate
            self.assertTrue(self.meet(self.open, tls, name).fine, name)

    def test_chains_are_sent(self) -> None:
        middle = authority().create_child_ca()
        issued = middle.issue_cert("deep.example")
        files = CertificateFiles(self.write("deep.pem", issued.private_key_and_cert_chain_pem.bytes()))
        self.assertTrue(self.meet(self.client(), self.server(files), "deep.example").fine)


class AgreementTests(TlsCase):
    def setUp(self) -> None:
        super().setUp()
        self.a = self.certificate("a.example")

    def test_versions(self) -> None:
        for version, name in ((Version.TLS_1_2, "TLSv1.2"), (Version.TLS_1_3, "TLSv1.3")):
            self.assertEqual(TlsFacts(self.meet(self.client(version), self.server(self.a)).server).version, name)

    def test_no_older_version_than_allowed(self) -> None:
        newest = self.server(self.a, ciphers=CipherSettings(min_version=Version.TLS_1_3))
        ends = self.meet(self.client(Version.TLS_1_2), newest)
        self.assertEqual(explain(ends.server_error), "no TLS version in common")
        self.assertEqual(explain(ends.client_error), "it refused: no TLS version in common")
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_cipher_list(b"ALL:@SECLEVEL=0")
        context.set_min_proto_version(SSL.TLS1_VERSION)
        context.set_max_proto_version(SSL.TLS1_1_VERSION)
        old = SSL.Connection(context)
        old.set_connect_state()
        self.assertFalse(shake_hands(old, self.server(self.a).connection()).fine)

    def test_no_cipher_in_common(self) -> None:
        ciphers = CipherSettings(max_version=Version.TLS_1_2, ciphers="ECDHE-RSA-AES128-GCM-SHA256")
        ends = self.meet(self.client(ciphers=ciphers), self.server(self.a))  # whose key is ECDSA
        self.assertEqual(explain(ends.server_error), "no cipher in common")

    def test_only_ciphers_that_keep_secrets_are_taken(self) -> None:
        rsa = self.certificate("a.example", file="rsa.pem", key_type=trustme.KeyType.RSA)
        for weak in ("AES128-SHA", "AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA", "DHE-RSA-AES128-GCM-SHA256"):
            ciphers = CipherSettings(max_version=Version.TLS_1_2, ciphers=weak)
            self.assertFalse(self.meet(self.client(ciphers=ciphers), self.server(rsa)).fine, weak)

    def test_a_list_of_ones_own_is_in_order_of_preference(self) -> None:
        first, second = "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256"
        theirs = CipherSettings(max_version=Version.TLS_1_2, ciphers=f"{second}:{first}")
        ours = CipherSettings(ciphers=f"{first}:{second}")
        ends = self.meet(self.client(ciphers=theirs), self.server(self.a, ciphers=ours))
        self.assertEqual(TlsFacts(ends.server).cipher, first)

    def test_no_such_cipher(self) -> None:
        error = self.assertRaises(BadConfiguration, self.server, self.a, ciphers=CipherSettings(ciphers="nothing"))
        self.assertEqual((error.name, error.value), ("ciphers", "nothing"))

    def test_alpn(self) -> None:
        tls = self.server(self.a, alpn=(b"two", b"one"))
        for offered, found in (((b"one",), "one"), ((b"one", b"two", b"three"), "two"), ((), "")):
            ends = self.meet(self.client(alpn=offered), tls)
            self.assertEqual(TlsFacts(ends.server).alpn, found)
            self.assertTrue(ends.fine)

    def test_alpn_without_overlap_is_refused(self) -> None:
        for version in BOTH:
            ends = self.meet(self.client(version, alpn=(b"h2", b"h3")), self.server(self.a, alpn=(b"http/1.1",)))
            self.assertEqual(explain(ends.server_error), "it speaks only h2, h3 (ALPN)")
            self.assertEqual(explain(ends.client_error), "no application protocol (ALPN) in common")

    def test_alpn_is_not_looked_at_unless_there_is_some(self) -> None:
        ends = self.meet(self.client(alpn=(b"h2",)), self.server(self.a))
        self.assertTrue(ends.fine)
        self.assertEqual(TlsFacts(ends.server).alpn, "")

    def test_plain_http(self) -> None:
        connection = self.server(self.a).connection()
        connection.bio_write(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
        error = self.assertRaises(SSL.Error, connection.do_handshake)
        self.assertTrue(is_plain_http(error))
        self.assertEqual(explain(error), "it speaks plain HTTP, not TLS")

    def test_no_tls_at_all(self) -> None:
        connection = self.server(self.a).connection()
        connection.bio_write(b"SSH-2.0-OpenSSH_9.2\r\n")
        error = self.assertRaises(SSL.Error, connection.do_handshake)
        self.assertFalse(is_plain_http(error))
        self.assertEqual(explain(error), "it does not speak TLS")

    def test_renegotiation_is_refused(self) -> None:
        """It costs a server more than a client (CVE-2011-1473)."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        client = SSL.Connection(context)
        client.set_connect_state()
        ends = shake_hands(client, self.server(self.a).connection())
        self.assertTrue(ends.fine)
        self.assertTrue(client.renegotiate())
        again = shake_hands(client, ends.server)
        self.assertIn("no renegotiation", str(again.client_error))
        self.assertEqual(ends.server.total_renegotiations(), 0)


class ClientCertificateTests(TlsCase):
    def setUp(self) -> None:
        super().setUp()
        self.a = self.certificate("a.example")
        self.alice = self.certificate("alice@example.org", common_name="alice")
        self.stranger = self.certificate("eve@example.org", ca="other", common_name="eve")

    def met(self, tls: ServerTls, certificate: CertificateFiles | None, version: Version = Version.TLS_1_3) -> Any:
        return self.meet(self.client(version, certificate=certificate), tls)

    def test_on(self) -> None:
        tls = self.server(self.strict(self.a, verify=ON))
        for version in BOTH:
            facts = TlsFacts(self.met(tls, self.alice, version).server)
            self.assertEqual(facts.client_verify, "SUCCESS")
            self.assertTrue(facts.client_subject.startswith("CN=alice,"), facts.client_subject)
            self.assertIn("O=first", facts.client_issuer)
            self.assertRegex(facts.client_serial, r"\A([0-9A-F]{2})+\Z")
            self.assertRegex(facts.client_fingerprint, r"\A[0-9a-f]{40}\Z")
            self.assertIn("BEGIN CERTIFICATE", facts.client_certificate)

    def test_on_without_one(self) -> None:
        tls = self.server(self.strict(self.a, verify=ON))
        for version, told in (
            (Version.TLS_1_2, "it refused the handshake: no cipher in common, or it wants a certificate of ours"),
            (Version.TLS_1_3, "it wants a certificate of ours"),
        ):
            ends = self.met(tls, None, version)
            self.assertEqual(explain(ends.server_error), "it sent no certificate, and one is wanted")
            self.assertEqual(explain(ends.client_error), told)

    def test_of_another_ca(self) -> None:
        for verify in (ON, OPTIONAL):
            ends = self.met(self.server(self.strict(self.a, verify=verify)), self.stranger)
            said = explain(ends.server_error)
            self.assertTrue(said.startswith("its certificate is of an unknown CA (CN=eve,"), said)
            self.assertEqual(explain(ends.client_error), "it refused our certificate: unknown CA")

    def test_expired(self) -> None:
        past = datetime.datetime(2020, 1, 1)
        old = self.certificate("old@example.org", common_name="old", not_before=past, not_after=past.replace(month=2))
        for verify in (ON, OPTIONAL, NO_CA):
            said = explain(self.met(self.server(self.strict(self.a, verify=verify)), old).server_error)
            self.assertTrue(said.startswith("its certificate has expired (CN=old,"), said)

    def test_optional(self) -> None:
        tls = self.server(self.strict(self.a, verify=OPTIONAL))
        self.assertEqual(TlsFacts(self.met(tls, None).server).client_verify, "NONE")
        self.assertEqual(TlsFacts(self.met(tls, self.alice).server).client_verify, "SUCCESS")

    def test_optional_no_ca_tells_what_is_wrong(self) -> None:
        tls = self.server(self.strict(self.a, verify=NO_CA))
        for certificate, said in (
            (None, "NONE"),
            (self.alice, "SUCCESS"),
            (self.stranger, "FAILED:its certificate is of an"),
        ):
            facts = TlsFacts(self.met(tls, certificate).server)
            self.assertTrue(facts.client_verify.startswith(said), facts.client_verify)

    def test_optional_no_ca_needs_no_ca(self) -> None:
        tls = self.server(self.strict(self.a, verify=NO_CA, ca_file=""))
        self.assertTrue(TlsFacts(self.met(tls, self.alice).server).client_verify.startswith("FAILED:"))

    def test_off_asks_for_none(self) -> None:
        facts = TlsFacts(self.met(self.server(self.a), self.alice).server)
        self.assertEqual((facts.client_verify, facts.client_subject), ("NONE", ""))

    def test_clients_are_told_which_cas(self) -> None:
        ends = self.met(self.server(self.strict(self.a, verify=ON)), None, Version.TLS_1_2)
        found = ends.client.get_client_ca_list(as_cryptography=True)
        self.assertEqual(next(name.rfc4514_string() for name in found).split(",")[-1], "O=first")

    def test_depth(self) -> None:
        middle = authority().create_child_ca()
        low = middle.create_child_ca()
        for ca, needed in ((middle, 1), (low, 2)):
            issued = ca.issue_cert("deep@example.org")
            files = CertificateFiles(self.write("deep.pem", issued.private_key_and_cert_chain_pem.bytes()))
            for depth in range(3):
                ends = self.met(self.server(self.strict(self.a, verify=ON, depth=depth)), files)
                self.assertEqual(ends.server_error is None, depth >= needed, (needed, depth))
                if depth < needed:
                    self.assertIn("longer than allowed", explain(ends.server_error))

    def test_revoked(self) -> None:
        issued = authority().issue_cert("bob@example.org", common_name="bob")
        bob = CertificateFiles(self.write("bob.pem", issued.private_key_and_cert_chain_pem.bytes()))
        crl = self.write("crl.pem", crl_of(authority(), [issued]))
        tls = self.server(self.strict(self.a, verify=ON, crl_file=crl))
        said = explain(self.met(tls, bob).server_error)
        self.assertTrue(said.startswith("its certificate has been revoked (CN=bob,"), said)
        self.assertTrue(self.met(tls, self.alice).fine)

    def test_the_rules_are_those_of_the_site(self) -> None:
        """Neither more nor less than it asks, whichever is the default."""
        strict = self.strict(self.certificate("b.example"), verify=ON)
        plain = TlsSite(certificates=(self.a,))
        for sites, find in (
            ((strict, plain), {"b.example": 0, "a.example": 1}),
            ((plain, strict), {"a.example": 0, "b.example": 1}),
        ):
            tls = self.server(*sites, find=find.get)
            for version in BOTH:
                self.assertTrue(self.meet(self.client(version), tls, "a.example").fine)
                self.assertFalse(self.meet(self.client(version), tls, "b.example").fine)
                with_one = self.client(version, certificate=self.alice)
                self.assertTrue(self.meet(with_one, tls, "b.example").fine)
                self.assertEqual(TlsFacts(self.meet(with_one, tls, "a.example").server).client_verify, "NONE")
                eve = self.client(version, certificate=self.stranger)
                self.assertIn("CN=eve", explain(self.meet(eve, tls, "b.example").server_error))

    def test_what_may_come_on_a_connection(self) -> None:
        """Not a request for a site that asks something else of clients."""
        strict = self.strict(self.certificate("b.example"), verify=ON)
        find = {"a.example": 0, "b.example": 1, "c.example": 2}.get
        tls = self.server(self.a, strict, self.certificate("c.example"), find=find)
        facts = TlsFacts(self.meet(self.client(), tls, "a.example").server)
        hosts = (b"a.example", b"b.example", b"c.example", b"d.example", b"")
        self.assertEqual([facts.serves(host) for host in hosts], [True, False, True, True, True])
        facts = TlsFacts(self.meet(self.client(certificate=self.alice), tls, "b.example").server)
        self.assertEqual([facts.serves(host) for host in hosts], [False, True, False, False, False])

    def test_a_subject_is_printable(self) -> None:
        odd = self.certificate("odd@example.org", common_name="a\r\nX: \u00fc")
        facts = TlsFacts(self.met(self.server(self.strict(self.a, verify=ON)), odd).server)
        self.assertTrue(facts.client_subject.startswith("CN=a\\0D\\0AX: \\C3\\BC,"), facts.client_subject)

    def test_so_is_what_is_wrong_with_it(self) -> None:
        tls = self.server(self.strict(self.a, verify=VerifyClient.OPTIONAL_NO_CA))
        odd = self.certificate("odd@example.org", common_name="a\r\nX: \u00fc", ca="other")
        said = TlsFacts(self.met(tls, odd).server).client_verify
        self.assertTrue(said.startswith("FAILED:") and "(CN=a\\0D\\0AX: \\C3\\BC," in said, said)


class SessionTests(TlsCase):
    def setUp(self) -> None:
        super().setUp()
        self.a, self.b = self.certificate("a.example"), self.certificate("b.example")
        self.alice = self.certificate("alice@example.org", common_name="alice")

    def reused(self, client: Any, tls: ServerTls, name: str = "a.example") -> bool:
        ends = self.meet(client, tls, name)
        self.assertEqual((ends.client_error, ends.server_error), (None, None))
        close(ends)
        return TlsFacts(ends.server).reused

    def test_are_resumed(self) -> None:
        for version in BOTH:
            client, tls = self.client(version), self.server(self.a)
            self.assertEqual([self.reused(client, tls) for _ in range(3)], [False, True, True])

    def test_are_not_if_told_so(self) -> None:
        for version in BOTH:
            client, tls = self.client(version), self.server(self.a, tickets=False)
            self.assertEqual([self.reused(client, tls) for _ in range(2)], [False, False])

    def test_outlive_the_certificate(self) -> None:
        for version in BOTH:
            client, tls = self.client(version), self.server(self.a)
            self.reused(client, tls)
            self.certificate("a.example")
            tls.reload()
            self.assertTrue(self.reused(client, tls))

    def test_the_certificate_of_a_client_is_known_again(self) -> None:
        for version in BOTH:
            client = self.client(version, certificate=self.alice)
            tls = self.server(self.strict(self.a, verify=ON))
            self.assertFalse(self.reused(client, tls))
            ends = self.meet(client, tls)
            facts = TlsFacts(ends.server)
            self.assertEqual((facts.reused, facts.client_verify), (True, "SUCCESS"))
            self.assertTrue(facts.client_subject.startswith("CN=alice,"))

    def test_what_was_let_pass_is_not_forgotten(self) -> None:
        """A session does not keep that a certificate could not be verified, so it is not resumed."""
        for version in BOTH:
            client = self.client(version, certificate=self.certificate("eve@example.org", ca="other"))
            tls = self.server(self.strict(self.a, verify=NO_CA))
            for _ in range(2):
                ends = self.meet(client, tls)
                self.assertTrue(TlsFacts(ends.server).client_verify.startswith("FAILED:"))
                close(ends)

    def stolen(self, tls: ServerTls, version: Version, certificate: CertificateFiles | None = None) -> Any:
        """Of a handshake for b.example that offers the session of one with a.example (CVE-2025-23419)."""
        client = self.client(version, certificate=certificate, verify=False)
        close(self.meet(client, tls, "a.example"))
        ((_, session),) = client._sessions.items()
        connection = client.connection(None, Named("b.example:443"))
        connection.set_session(session)
        return shake_hands(connection, tls.connection())

    def test_are_no_way_around_client_certificates(self) -> None:
        strict = self.strict(self.b, verify=ON)
        find = {"a.example": 0, "b.example": 1}.get
        other_ca = self.strict(self.a, verify=ON, ca_file=self.ca("other"))
        eve = self.certificate("eve@example.org", ca="other")
        for version in BOTH:
            for tls, certificate in (
                (self.server(self.a, strict, find=find), None),
                (self.server(other_ca, strict, find=find), eve),
            ):
                ends = self.stolen(tls, version, certificate)
                if version is Version.TLS_1_3:
                    said = "it resumes a session with 'b.example' that was made with another server"
                    self.assertEqual(explain(ends.server_error), said)
                else:  # OpenSSL says that a.example was asked for, as in the session
                    self.assertFalse(TlsFacts(ends.server).serves(b"b.example"))

    def test_of_servers_that_ask_something_else_are_not_resumed(self) -> None:
        """Neither that nor a client that expects it is an error."""
        strict = self.strict(self.b, verify=ON)
        find = {"a.example": 0, "b.example": 1}.get
        for version in BOTH:
            for tls, name, certificate in (
                (self.server(self.a, strict, find=find), "b.example", self.alice),
                (self.server(strict, self.a, find={"a.example": 1, "b.example": 0}.get), "a.example", None),
            ):
                client = self.client(version, certificate=certificate)
                self.assertEqual([self.reused(client, tls, name) for _ in range(3)], [False, False, False])

    def test_may_be_resumed_with_another_name_under_the_same_rules(self) -> None:
        for version in BOTH:
            ends = self.stolen(self.server(self.a, self.b, find={"a.example": 0, "b.example": 1}.get), version)
            self.assertTrue(ends.fine)

    def test_other_cas_of_clients_end_sessions(self) -> None:
        for version in BOTH:
            client = self.client(version, certificate=self.alice)
            rules = self.strict(self.a, verify=ON, ca_file=self.write("clients.pem", authority().cert_pem.bytes()))
            tls = self.server(rules)
            self.reused(client, tls)
            self.write("clients.pem", authority("other").cert_pem.bytes())
            tls.reload()
            self.assertIn("unknown CA", explain(self.meet(client, tls).server_error))

    def test_keys_of_tickets_are_replaced_once_a_day(self) -> None:
        now = [0.0]
        tls = ServerTls(self.server(self.a).settings, lambda: now[0])
        client = self.client()
        self.reused(client, tls)
        for later, resumed in ((86400.0, True), (86401.0, False), (86402.0, True)):
            now[0] = later
            tls.refresh()
            self.assertIs(self.reused(client, tls), resumed, later)


class ReloadTests(TlsCase):
    def setUp(self) -> None:
        super().setUp()
        self.files = self.certificate("a.example", file="it.pem")
        self.tls = self.server(self.files)
        self.open = self.client(verify=False)

    def test_a_new_file_is_used_from_then_on(self) -> None:
        self.certificate("b.example", file="it.pem")
        self.assertEqual(self.seen(self.meet(self.open, self.tls)), "a.example")
        self.assertTrue(self.tls.changed())
        self.tls.reload()
        self.assertFalse(self.tls.changed())
        self.assertEqual(self.seen(self.meet(self.client(verify=False), self.tls)), "b.example")

    def test_connections_that_stand_go_on(self) -> None:
        ends = self.meet(self.open, self.tls)
        begun = self.open.connection(None, Named("a.example:1")), self.tls.connection()
        self.certificate("b.example", file="it.pem")
        self.tls.reload()
        ends.server.send(b"still here")
        ends.client.bio_write(ends.server.bio_read(1000))
        self.assertEqual(ends.client.recv(100), b"still here")
        self.assertTrue(shake_hands(*begun).fine)

    def test_a_broken_file_changes_nothing(self) -> None:
        whole = (self.folder / "it.pem").read_bytes()
        for content, said in (
            (b"", "must hold a certificate in PEM form"),
            (whole[: len(whole) // 2], "must hold"),
            (whole.replace(b"BEGIN CERT", b"BEGIN CARD"), "must hold a certificate in PEM form"),
        ):
            self.write("it.pem", content)
            error = self.assertRaises(BadConfiguration, self.tls.reload)
            self.assertIn(said, str(error))
            self.assertTrue(self.tls.changed())
            self.assertEqual(self.seen(self.meet(self.client(verify=False), self.tls)), "a.example")

    def test_a_file_that_is_gone_changes_nothing(self) -> None:
        (self.folder / "it.pem").unlink()
        self.assertTrue(self.tls.changed())
        self.assertIn("cannot be read: no such file", str(self.assertRaises(BadConfiguration, self.tls.reload)))
        self.assertTrue(self.meet(self.open, self.tls).fine)

    def test_rules_that_change_hold_at_once(self) -> None:
        crl = self.write("crl.pem", crl_of(authority()))
        issued = authority().issue_cert("bob@example.org")
        bob = CertificateFiles(self.write("bob.pem", issued.private_key_and_cert_chain_pem.bytes()))
        tls = self.server(self.strict(self.files, verify=ON, crl_file=crl))
        client = self.client(certificate=bob)
        close(self.meet(client, tls))
        self.write("crl.pem", crl_of(authority(), [issued]))
        tls.reload()
        self.assertIn("revoked", explain(self.meet(client, tls).server_error))
