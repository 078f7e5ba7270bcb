"""HTTP to servers that want a PROXY header: their connections are kept for one client each."""

from __future__ import annotations

from typing import Any

from tests.proxies.http_case import HttpCase, MemoryCase, SocketCase
from tests.proxies.http_messages import request, response
from twisted_pipe.preface.addresses import InetAddress
from twisted_pipe.preface.proxy_header import Version
from twisted_pipe.preface.proxy_protocol import ProxyHeader, ProxyHeaderParser
from twisted_pipe.upstream.connect_settings import ConnectSettings
from twisted_pipe.upstream.group import UpstreamServer

GET = request()


class PrefacedRules(HttpCase):
    """On whatever."""

    connect = ConnectSettings(proxy_protocol=Version.BINARY)

    def asked(self, client: Any) -> tuple[ProxyHeader, Any]:
        """A client asks, on a connection that is new; what that has begun with."""
        client.says(GET)
        origin = self.origin()
        got = origin.gets()
        header = ProxyHeaderParser().parse(got)
        assert header is not None
        self.assertEqual(got[header.taken :], GET)
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))
        return header, origin

    def test_it_begins_with_the_client(self) -> None:
        self.start()
        header, _ = self.asked(self.client())
        self.assertIsNotNone(header.source)
        self.assertIsNotNone(header.destination)

    def test_the_log_knows_our_own_address(self) -> None:
        self.start(line="$server_addr:$server_port $realip_remote_addr")
        header, _ = self.asked(self.client())
        assert isinstance(header.destination, InetAddress)
        self.assert_log(f"127.0.0.1:{header.destination.port} 127.0.0.1")

    def test_the_same_client_has_the_same_connection(self) -> None:
        self.start()
        client = self.client()
        _, origin = self.asked(client)
        for _ in range(3):
            client.says(GET)
            self.assertEqual(origin.gets(), GET)
            origin.says(response(b"hi"))
            self.assertEqual(client.gets(), response(b"hi"))
        found = self.upstream.statistics()
        self.assertEqual((found.opened, found.reused), (1, 3))


class PrefacedTests(PrefacedRules, SocketCase):
    def test_another_client_has_another(self) -> None:
        """And the first one's is still there for it."""
        self.start()
        first = self.client()
        _, origin = self.asked(first)
        self.asked(self.client())
        self.assertEqual(self.upstream.statistics().idle, 2)
        first.says(GET)
        self.assertEqual(origin.gets(), GET)
        origin.says(response(b"hi"))

    def test_one_that_was_closed_meanwhile(self) -> None:
        self.start()
        client = self.client()
        _, origin = self.asked(client)
        origin.close()
        self.asked(client)

    def test_no_more_are_kept_than_may_be(self) -> None:
        self.start()
        for _ in range(6):
            self.asked(self.client())
        found = self.upstream.statistics()
        self.assertEqual((found.idle, found.evicted), (4, 2))

    def test_those_to_a_server_that_is_removed(self) -> None:
        self.start()
        _, origin = self.asked(self.client())
        self.group.replace([UpstreamServer("other:80", None)])
        self.servers = ("other:80",)
        self.settle()
        self.assertEqual(self.upstream.statistics().idle, 0)
        origin.gets()
        self.assertTrue(origin.ended)


class PrefacedTransportTests(PrefacedRules, MemoryCase):
    """On transports. All clients have one address here."""


del PrefacedRules
