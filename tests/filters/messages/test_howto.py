"""The listings of docs/howto/message_filters.md do what its text says."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from tests.test_docs import listings
from twisted_pipe.filters.messages.base import MessageFilterPlugin
from twisted_pipe.testing import MessageHarness, check_message_filter

PAGE = "docs/howto/message_filters.md"


class ListingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.names: dict[str, Any] = {"__name__": "listings", "look_up": self.look_up}
        self.tenants: dict[bytes, str] = {b"blue.test": "blue"}
        for listing in listings(PAGE):
            exec(listing, self.names)

    def look_up(self, host: bytes) -> Deferred[str | None]:
        return succeed(self.tenants.get(host))

    def get(self, name: str, target: str = "/", host: str = "a.test", **more: Any) -> Any:
        data = f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        return MessageHarness(self.names[name], **more).request(data)

    def test_its_own_tests_pass(self) -> None:
        for name in ("test_teapot", "test_no_secrets", "test_contract"):
            self.names[name]()

    def test_no_secrets(self) -> None:
        self.assertEqual(self.get("NoSecrets", "/.git/config").client_gets.status, 404)
        self.assertIsNotNone(self.get("NoSecrets", "/git").upstream_gets)

    def test_tenants(self) -> None:
        exchange = self.get("Tenants", host="blue.test", upstreams=("blue",))
        self.assertEqual(exchange.upstream, "blue")
        self.assertEqual(exchange.upstream_gets.headers.get("X-Tenant"), b"blue")
        self.assertEqual(exchange.variable("filter_tenant"), b"blue")
        self.assertEqual(self.get("Tenants", host="red.test").client_gets.status, 404)

    def test_signed(self) -> None:
        page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\npage"
        for target, body in (("/?sign=1", b"page<!-- twisted_pipe -->"), ("/", b"page")):
            self.assertEqual(self.get("Signed", target).respond(page).client_gets.body, body)

    def test_teapot_is_a_plugin(self) -> None:
        self.assertIsInstance(self.names["teapot"], MessageFilterPlugin)
        self.assertEqual(self.names["Teapot"](context=None, path="/pot").path, "/pot")

    def test_they_keep_the_contract(self) -> None:
        for name in ("NoSecrets", "Teapot", "Signed", "Tenants"):
            check_message_filter(self.names[name])
