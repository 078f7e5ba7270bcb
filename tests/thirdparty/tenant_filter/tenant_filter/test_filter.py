"""What the filter does, without sockets."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tenant_filter.filter import Tenant
from twisted_pipe.errors import BadConfiguration
from twisted_pipe.interfaces import MessageContext
from twisted_pipe.testing import MessageHarness, check_message_filter


class TenantTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()
        self.looked_up: list[str] = []
        with closing(sqlite3.connect(self.path)) as database, database:
            database.execute("CREATE TABLE tenants (key TEXT PRIMARY KEY, name TEXT, upstream TEXT)")
            database.execute("INSERT INTO tenants VALUES ('k1', 'blue', 'blue-servers'), ('k2', 'green', NULL)")

    async def look_up(self, function: Any, path: str, key: str) -> Any:
        self.looked_up.append(key)
        return function(path, key)

    def make(self, context: MessageContext) -> Tenant:
        return Tenant(context, database=self.path)

    def harness(self) -> MessageHarness:
        context = MessageContext(in_thread=self.look_up)
        return MessageHarness(self.make, context=context, upstreams=("blue-servers",))

    def request(self, key: str) -> bytes:
        return f"GET / HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\n\r\n".encode()

    def test_a_tenant_goes_to_its_servers(self) -> None:
        exchange = self.harness().request(self.request("k1"))
        assert exchange.upstream_gets is not None
        self.assertEqual(exchange.upstream, "blue-servers")
        self.assertEqual(exchange.upstream_gets.headers.lines, [b"Host: a", b"X-Tenant: blue"])
        self.assertEqual(exchange.variable("filter_tenant"), b"blue")

    def test_or_where_the_route_says(self) -> None:
        exchange = self.harness().request(self.request("k2"))
        self.assertIsNone(exchange.upstream)
        self.assertIsNotNone(exchange.upstream_gets)

    def test_others_are_refused(self) -> None:
        for data, status in (
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 401),
            (self.request("k3"), 403),
            (self.request("k" * 999), 403),
        ):
            got = self.harness().request(data).client_gets
            assert got is not None
            self.assertEqual(got.status, status)

    def test_what_was_looked_up_is_known_for_some_time(self) -> None:
        harness = self.harness()
        for _ in range(3):
            harness.request(self.request("k1"))
            harness.request(self.request("k3"))
        self.assertEqual(self.looked_up, ["k1", "k3"])
        harness.advance(10)
        harness.request(self.request("k1"))
        self.assertEqual(self.looked_up, ["k1", "k3", "k1"])

    def test_a_database_that_is_not_there_is_told_at_start_up(self) -> None:
        self.path = self.mktemp()
        error = self.assertRaises(BadConfiguration, self.harness)
        self.assertEqual(error.name, "database")

    def test_it_keeps_the_contract(self) -> None:
        check_message_filter(self.make, [self.request("k1"), self.request("k3")], upstreams=("blue-servers",))
