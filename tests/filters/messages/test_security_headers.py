"""Fields that make browsers careful."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.messages.headers import Headers
from twisted_pipe.testing import MessageHarness, check_message_filter

PLAIN = b"HTTP/1.1 200 OK\r\n\r\n"


class SecurityHeadersTests(SynchronousTestCase):
    def fields(self, options: str = "", response: bytes = PLAIN, scheme: str = "http") -> Headers:
        exchange = MessageHarness(f"security-headers{options}").request(scheme=scheme).respond(response)
        assert exchange.client_gets is not None
        return exchange.client_gets.headers

    def test_the_usual_ones(self) -> None:
        self.assertEqual(
            self.fields().lines,
            [
                b"X-Content-Type-Options: nosniff",
                b"X-Frame-Options: SAMEORIGIN",
                b"Referrer-Policy: strict-origin-when-cross-origin",
            ],
        )

    def test_strict_transport_security_over_https_only(self) -> None:
        """RFC 6797, section 7.2: not over http."""
        self.assertNotIn("strict-transport-security", self.fields())
        fields = self.fields(scheme="https")
        self.assertEqual(fields.get("strict-transport-security"), b"max-age=31536000")
        fields = self.fields(":hsts=1h:hsts_subdomains=on", scheme="https")
        self.assertEqual(fields.get("strict-transport-security"), b"max-age=3600; includeSubDomains")
        self.assertNotIn("strict-transport-security", self.fields(":hsts=0", scheme="https"))

    def test_each_can_be_another_or_left_out(self) -> None:
        options = (
            ":frame_options=DENY:content_type_options=:referrer_policy=:content_security_policy=default-src 'self'"
        )
        self.assertEqual(
            self.fields(options + r":permissions_policy=camera=()").lines,
            [
                b"X-Frame-Options: DENY",
                b"Content-Security-Policy: default-src 'self'",
                b"Permissions-Policy: camera=()",
            ],
        )

    def test_what_the_upstream_says_stays(self) -> None:
        said = b"HTTP/1.1 200 OK\r\nx-frame-options: DENY\r\n\r\n"
        self.assertEqual(self.fields("", said).get_all("X-Frame-Options"), [b"DENY"])
        self.assertEqual(self.fields(":override=on", said).get_all("X-Frame-Options"), [b"SAMEORIGIN"])

    def test_pages_of_our_own_have_them(self) -> None:
        exchange = MessageHarness("security-headers").request().fail(502)
        assert exchange.client_gets is not None
        self.assertIn("x-frame-options", exchange.client_gets.headers)

    def test_options_that_cannot_be(self) -> None:
        for options in ("frame_options=a\nb", "hsts=soon", "hsts=0:hsts_subdomains=on"):
            self.assertRaises(BadConfiguration, MessageHarness, f"security-headers:{options}")

    def test_it_keeps_the_contract(self) -> None:
        check_message_filter("security-headers")
