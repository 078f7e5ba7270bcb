"""Reasons in plain words."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from OpenSSL.SSL import X509VerificationCodes as Codes
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import PipeError
from twisted_pipe.proxies.proxy_header_out import _common_names
from twisted_pipe.tls.facts import TlsFacts
from twisted_pipe.tls.problems import PLAIN_HTTP_ANSWER, TlsRefused, explain, is_plain_http, verification_problem


class Unreadable:
    """A certificate whose names are T61Strings in Latin-1."""

    def to_cryptography(self) -> Unreadable:
        return self

    @property
    def subject(self) -> Any:
        raise ValueError("error parsing asn1 value: ParseError { kind: InvalidValue }")

    issuer = subject


def said_by_openssl(*reasons: str) -> SSL.Error:
    return SSL.Error([("SSL routines", "", reason) for reason in reasons])


class ExplainTests(SynchronousTestCase):
    def test_what_openssl_says(self) -> None:
        for reason, said in (
            ("http request", "it speaks plain HTTP, not TLS"),
            ("wrong version number", "it does not speak TLS"),
            ("unsupported protocol", "no TLS version in common"),
            ("no shared cipher", "no cipher in common"),
            ("tlsv1 alert protocol version", "it refused: no TLS version in common"),
            ("sslv3 alert certificate expired", "it refused our certificate: expired"),
            ("ssl/tls alert certificate expired", "it refused our certificate: expired"),
            ("tlsv13 alert certificate required", "it wants a certificate of ours"),
            ("ssl/tls alert user canceled", "it sent alert user canceled"),
            ("some new trouble", "some new trouble"),
        ):
            self.assertEqual(explain(said_by_openssl(reason)), said)

    def test_several_reasons_at_once(self) -> None:
        self.assertEqual(explain(said_by_openssl("odd", "odd", "strange")), "odd; strange")
        self.assertEqual(explain(said_by_openssl("odd", "no shared cipher")), "no cipher in common")

    def test_a_connection_that_ends(self) -> None:
        gone = "it closed the connection during the handshake"
        self.assertEqual(explain(SSL.SysCallError(-1, "Unexpected EOF")), gone)
        for error in (SSL.ZeroReturnError(), ConnectionDone(), ConnectionLost()):
            self.assertEqual(explain(error), gone)
        self.assertEqual(explain(SSL.SysCallError(104, "ECONNRESET")), "connection lost: ECONNRESET")

    def test_our_own_words(self) -> None:
        error = TlsRefused("because so")
        self.assertIsInstance(error, PipeError)
        self.assertEqual((explain(error), str(error)), ("because so", "because so"))

    def test_any_error(self) -> None:
        self.assertEqual(explain(OSError(5, "two\nlines")), "[Errno 5] two lines")
        self.assertEqual(explain(KeyError()), "KeyError")

    def test_plain_http(self) -> None:
        self.assertTrue(is_plain_http(said_by_openssl("http request")))
        self.assertTrue(is_plain_http(said_by_openssl("https proxy request")))
        for error in (said_by_openssl("wrong version number"), OSError(), TlsRefused("it is late"), SSL.Error()):
            self.assertFalse(is_plain_http(error))

    def test_the_answer_to_plain_http_is_whole(self) -> None:
        head, _, body = PLAIN_HTTP_ANSWER.partition(b"\r\n\r\n")
        self.assertIn(b"Content-Length: %d" % len(body), head)

    def test_verification(self) -> None:
        self.assertEqual(verification_problem(Codes.ERR_CERT_HAS_EXPIRED), "its certificate has expired")
        self.assertIn("OpenSSL error 9999", verification_problem(9999))

    def test_a_subject_that_only_openssl_can_read(self) -> None:
        said = verification_problem(Codes.ERR_CERT_HAS_EXPIRED, Unreadable())  # type: ignore[arg-type]
        self.assertEqual(said, "its certificate has expired (a subject that cannot be read)")
        facts = TlsFacts(None)  # type: ignore[arg-type]
        facts.certificate = Unreadable()  # type: ignore[assignment]
        self.assertEqual((facts.client_subject, facts.client_issuer), ("?", "?"))
        self.assertEqual(_common_names(Unreadable()), [])  # type: ignore[arg-type]

    def test_nothing_that_would_move_a_cursor(self) -> None:
        """A client that nobody knows has said it."""
        self.assertEqual(explain(TlsRefused("it is \x1b[2J called\x07 Ren\xe9")), "it is \\x1b[2J called\\x07 Ren\xe9")
