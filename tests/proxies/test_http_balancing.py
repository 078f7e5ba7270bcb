"""What the balancer is told of a request, and what becomes of connections to servers that are removed."""

from __future__ import annotations

from typing import Any

from tests.proxies import http_case
from tests.proxies.http_case import MemoryCase, SocketCase
from tests.proxies.http_messages import request, response
from twisted_pipe.errors import BadConfiguration
from twisted_pipe.proxies.http_upstream import HttpUpstream, KeepaliveSettings
from twisted_pipe.upstream.balancer import BALANCERS
from twisted_pipe.upstream.group import UpstreamGroup
from twisted_pipe.upstream.server import UpstreamServer


class KeyTests(MemoryCase):
    keepalive = KeepaliveSettings(connections=0)

    def asked(self, balance: str, *requests: bytes) -> list[int]:
        """How many of these requests each of two servers has got, the fewest first."""
        self.patch(http_case, "COUNTING", BALANCERS.parse(balance))
        self.start(servers=("one:80", "two:80"))
        client = self.client()
        for each in requests:
            client.says(each)
            origin = self.origin()
            origin.gets()
            origin.says(response(b"hi"))
            client.gets()
        return sorted(peer.picked for peer in self.group.peers)

    def test_the_same_request_the_same_server(self) -> None:
        self.assertEqual(self.asked("hash:key=$request_uri", *[request("GET", "/same")] * 5), [0, 5])

    def test_others_perhaps_another(self) -> None:
        requests = [request("GET", f"/{number}") for number in range(20)]
        self.assertTrue(min(self.asked("hash:key=$request_uri", *requests)) > 3)

    def test_a_cookie(self) -> None:
        requests = [request("GET", f"/{number}", "Cookie: session=7") for number in range(5)]
        self.assertEqual(self.asked("hash:key=$cookie_session:consistent=on", *requests), [0, 5])

    def test_the_client(self) -> None:
        requests = [request("GET", f"/{number}") for number in range(5)]
        self.assertEqual(self.asked("ip-hash", *requests), [0, 5])

    def test_nothing_if_nobody_asks(self) -> None:
        self.start()
        self.assertIsNone(self.upstream.key_of)

    def test_what_does_not_exist(self) -> None:
        group = UpstreamGroup([UpstreamServer("a", None)], BALANCERS.parse("hash:key=$nothing"), clock=self.clock)
        error = self.assertRaises(BadConfiguration, HttpUpstream, group, self.clock)
        self.assertTrue(str(error).startswith("balancer hash: key: '$nothing': there is no variable $nothing"), error)
        self.start()


class RemovedRules:
    def test_idle_connections_are_closed(self: Any) -> None:
        self.start()
        client, origin = self.client(), None
        client.says(request())
        origin = self.origin()
        origin.gets()
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))
        self.assert_idle(1)
        self.servers = ()
        self.group.replace([])
        self.settle()
        origin.gets()
        self.assertTrue(origin.ended)
        self.assertEqual(self.upstream.statistics().idle, 0)

    def test_what_is_under_way_goes_on_and_its_connection_is_not_kept(self: Any) -> None:
        self.start()
        client = self.client()
        client.says(request())
        origin = self.origin()
        origin.gets()
        (peer,) = self.group.peers
        self.servers = ()
        self.group.replace([])
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))
        self.settle()
        origin.gets()
        self.assertTrue(origin.ended)
        self.assertEqual((peer.active, self.upstream.statistics().idle), (0, 0))


class RemovedMemoryTests(RemovedRules, MemoryCase):
    pass


class RemovedSocketTests(RemovedRules, SocketCase):
    pass
