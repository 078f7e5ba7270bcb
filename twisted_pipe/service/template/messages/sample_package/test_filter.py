"""What the filter does, found by its name as a configuration would find it: the test is the client and the upstream."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.testing import MessageHarness, check_message_filter

RESPONSE = b"HTTP/1.1 200 OK\r\nServer: a\r\nX-Powered-By: b\r\nContent-Length: 2\r\n\r\nhi"


def request(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: example.org\r\n\r\n".encode()


class SampleClassTests(SynchronousTestCase):
    def test_what_lies_below_the_path_is_not_found(self) -> None:
        for target in ("/private/", "/private/a?b", "/%70rivate/a", "/a/../private/a", "//private/a"):
            exchange = MessageHarness("sample-name").request(request(target))
            self.assertIsNone(exchange.upstream_gets, target)
            assert exchange.client_gets is not None
            self.assertEqual(exchange.client_gets.status, 404)

    def test_all_else_goes_on(self) -> None:
        for target in ("/", "/private", "/a/private/", "/?/private/"):
            exchange = MessageHarness("sample-name").request(request(target))
            assert exchange.upstream_gets is not None
            self.assertEqual(exchange.upstream_gets.head, request(target))

    def test_response(self) -> None:
        got = MessageHarness("sample-name").request().respond(RESPONSE).client_gets
        assert got is not None
        self.assertEqual((got.status, got.headers.lines, got.body), (200, [b"Server: a"], b"hi"))

    def test_options(self) -> None:
        exchange = MessageHarness("sample-name:path=/staff/").request(request("/staff/a"))
        self.assertIsNone(exchange.upstream_gets)
        error = self.assertRaises(BadConfiguration, MessageHarness, "sample-name:path=staff/")
        self.assertEqual(str(error), "message filter sample-name: path: 'staff/': must begin with /")

    def test_contract(self) -> None:
        """Whatever is sent, however many are under way, and whenever a client goes."""
        check_message_filter("sample-name", [request("/private/a")], [RESPONSE])
