"""The CORS protocol: what browsers ask, and what they look for in responses."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.messages.headers import Headers
from twisted_pipe.testing import MessageHarness, check_message_filter
from twisted_pipe.testing.messages import PlayedExchange

APP = "https://app.example.org"
ORIGINS = r":origins=https\://app.example.org,http\://localhost\:3000"


def request(origin: str | None = APP, method: str = "GET", *lines: str) -> bytes:
    fields = [] if origin is None else [f"Origin: {origin}"]
    return "\r\n".join([f"{method} / HTTP/1.1", "Host: a", *fields, *lines, "", ""]).encode("latin-1")


def preflight(origin: str | None = APP, method: str = "PUT", headers: str = "X-Mine, Content-Type") -> bytes:
    return request(
        origin, "OPTIONS", f"Access-Control-Request-Method: {method}", f"Access-Control-Request-Headers: {headers}"
    )


class CorsCase(SynchronousTestCase):
    def exchange(self, options: str, data: bytes) -> PlayedExchange:
        exchange = MessageHarness(f"cors{options}").request(data)
        return exchange if exchange.client_gets is not None else exchange.respond()

    def fields(self, options: str, data: bytes) -> Headers:
        """Of the response."""
        got = self.exchange(options, data).client_gets
        assert got is not None
        return got.headers


class ResponseTests(CorsCase):
    def test_an_origin_that_is_allowed_is_named(self) -> None:
        for origin in (APP, "http://localhost:3000"):
            fields = self.fields(ORIGINS, request(origin))
            self.assertEqual(fields.get("Access-Control-Allow-Origin"), origin.encode())
            self.assertEqual(fields.get("Vary"), b"Origin")
            self.assertNotIn("Access-Control-Allow-Credentials", fields)

    def test_one_that_is_not_is_told_nothing(self) -> None:
        for origin in (
            "https://app.example.org.evil.test",
            "http://app.example.org",
            APP + ":444",
            "null",
            "",
            None,
            "\xe4",
        ):
            fields = self.fields(ORIGINS, request(origin))
            self.assertNotIn("Access-Control-Allow-Origin", fields, origin)
            self.assertEqual(fields.get("Vary"), b"Origin")

    def test_everybody(self) -> None:
        """Who names no origin, too: a cache could have the response of one for the other."""
        for origin in (APP, None):
            fields = self.fields(":origins=*:expose=X-A", request(origin))
            self.assertEqual(fields.get("Access-Control-Allow-Origin"), b"*")
            self.assertEqual(fields.get("Access-Control-Expose-Headers"), b"X-A")
            self.assertNotIn("Vary", fields)

    def test_a_regular_expression_matches_from_end_to_end(self) -> None:
        regex = r":origin_regex=https\://[a-z]+\.example\.org"
        self.assertIn("Access-Control-Allow-Origin", self.fields(regex, request()))
        for origin in (APP + ".evil.test", "xhttps://a.example.org", APP + "\n"[:0] + "/"):
            self.assertNotIn("Access-Control-Allow-Origin", self.fields(regex, request(origin)), origin)

    def test_what_the_upstream_says_of_it_is_left_out(self) -> None:
        said = b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nAccess-Control-Allow-Credentials: true\r\n\r\n"
        got = MessageHarness(f"cors{ORIGINS}").request(request()).respond(said).client_gets
        assert got is not None
        self.assertEqual(got.headers.get_all("Access-Control-Allow-Origin"), [APP.encode()])
        self.assertNotIn("Access-Control-Allow-Credentials", got.headers)

    def test_credentials_and_what_may_be_read(self) -> None:
        fields = self.fields(f"{ORIGINS}:credentials=on:expose=X-A,X-B", request())
        self.assertEqual(fields.get("Access-Control-Allow-Credentials"), b"true")
        self.assertEqual(fields.get("Access-Control-Expose-Headers"), b"X-A, X-B")


class PreflightTests(CorsCase):
    def test_it_is_answered_here(self) -> None:
        exchange = self.exchange(f"{ORIGINS}:methods=GET,PUT:headers=X-Mine,Content-Type:max_age=1m", preflight())
        got = exchange.client_gets
        assert got is not None
        self.assertIsNone(exchange.upstream_gets)
        self.assertEqual((got.status, got.body), (204, b""))
        self.assertEqual(
            got.headers.lines[:4],
            [
                b"Access-Control-Allow-Origin: https://app.example.org",
                b"Access-Control-Allow-Methods: GET, PUT",
                b"Access-Control-Allow-Headers: X-Mine, Content-Type",
                b"Access-Control-Max-Age: 60",
            ],
        )
        self.assertIn(b"Origin", got.headers.get_all("Vary"))

    def test_who_is_not_allowed_is_told_nothing(self) -> None:
        got = self.exchange(ORIGINS, preflight("https://evil.test")).client_gets
        assert got is not None
        self.assertEqual(got.status, 204)
        self.assertEqual([name for name, _ in got.headers if name.startswith(b"Access")], [])

    def test_all_fields_are_those_that_were_asked_for(self) -> None:
        """An asterisk would not do with credentials."""
        fields = self.fields(f"{ORIGINS}:headers=*:credentials=on", preflight(headers="x-a,x-b"))
        self.assertEqual(fields.get("Access-Control-Allow-Headers"), b"x-a,x-b")
        self.assertEqual(fields.get("Access-Control-Allow-Credentials"), b"true")

    def test_so_are_all_methods(self) -> None:
        fields = self.fields(f"{ORIGINS}:methods=*:credentials=on", preflight(method="PURGE"))
        self.assertEqual(fields.get("Access-Control-Allow-Methods"), b"PURGE")

    def test_other_options_requests_are_passed_on(self) -> None:
        for data in (
            request(APP, "OPTIONS"),
            preflight(None),
            request(APP, "GET", "Access-Control-Request-Method: PUT"),
        ):
            self.assertIsNotNone(self.exchange(ORIGINS, data).upstream_gets)


class OptionTests(SynchronousTestCase):
    def test_those_that_cannot_be(self) -> None:
        for options in (
            "",
            ":origins=app.example.org",
            r":origins=https\://app.example.org/",
            r":origins=https\://APP.example.org/x",
            ":origins=*:credentials=on",
            f":origins={APP.replace(':', chr(92) + ':')},null:credentials=on",
            f"{ORIGINS}:expose=*:credentials=on",
            ":origin_regex=(",
        ):
            self.assertRaises(BadConfiguration, MessageHarness, f"cors{options}")

    def test_origins_that_no_browser_sends(self) -> None:
        for origin, said in (
            ("https\\://*.example.org", "origin_regex"),
            ("https\\://APP.example.org", "lower case"),
            ("https\\://b\u00fccher.example", "ASCII"),
            ("https\\://user@app.example.org", "scheme://host[:port]"),
            ("https\\://app.example.org\\:443", "443"),
            ("http\\://app.example.org\\:80", "80"),
        ):
            error = self.assertRaises(BadConfiguration, MessageHarness, f"cors:origins={origin}")
            self.assertIn(said, error.expected)
        for origin in ("https\\://[\\:\\:1]\\:8443", "http\\://a\\:443", "null", "moz-extension\\://1b-2c"):
            MessageHarness(f"cors:origins={origin}")

    def test_it_keeps_the_contract(self) -> None:
        for options in (ORIGINS, ":origins=*"):
            check_message_filter(f"cors{options}", [request(), preflight(), preflight("\xe4")])
