"""Connections to servers: kept alive, lost, refused, slow; and when another server is asked."""

from __future__ import annotations

import socket
from typing import Any

import attrs

from tests.proxies.http_case import SETTINGS, HttpCase, MemoryCase, SocketCase
from tests.proxies.http_messages import parsed, request, response
from tests.proxies.http_wires import SocketSide
from twisted_pipe.proxies.http_upstream import KeepaliveSettings
from twisted_pipe.proxies.next_upstream import NextUpstream
from twisted_pipe.proxies.upstream_connection import UpstreamConnection

GET = request()
KEPT = KeepaliveSettings(connections=2, timeout=35, requests=3, time=100)
TWO = ("one:80", "two:80")
CONNECT = UpstreamConnection.connect


class PoolRules(HttpCase):
    keepalive = KEPT

    def ask(self, count: int) -> list[Any]:
        """So many clients, at the same time; their origins."""
        origins = []
        self.asking = []
        for _ in range(count):
            client = self.client()
            client.says(GET)
            self.asking.append(client)
            origins.append(self.origin())
        return origins

    def test_so_many_are_kept_the_newest_ones(self) -> None:
        self.start()
        origins = self.ask(3)
        for origin in origins:
            origin.says(response(b"hi"))
        self.settle()
        found = self.upstream.statistics()
        self.assertEqual((found.opened, found.idle, found.evicted), (3, 2, 1))
        for origin in origins:
            origin.gets()
        self.assertEqual([origin.ended for origin in origins], [True, False, False])

    def test_the_newest_is_taken_first(self) -> None:
        self.start()
        first, second = self.ask(2)
        for origin in (first, second):
            origin.gets()
            origin.says(response(b"hi"))
        self.asking[0].says(GET)
        self.assertEqual((first.gets(), second.gets()), (b"", GET))
        second.says(response(b"hi"))

    def test_none_is_kept(self) -> None:
        self.start(keepalive=attrs.evolve(KEPT, connections=0))
        (origin,) = self.ask(1)
        origin.says(response(b"hi"))
        self.assertEqual(self.asking[0].gets(), response(b"hi"))
        origin.gets()
        self.assertTrue(origin.ended)
        self.assert_idle(0)

    def test_so_many_requests(self) -> None:
        client, origin = self.pair()
        for _ in range(3):
            self.assertEqual(origin.gets(), GET)
            origin.says(response(b"hi"))
            self.assertEqual(client.gets(), response(b"hi"))
            client.says(GET)
        self.assertEqual(origin.gets(), b"")
        self.assertTrue(origin.ended)
        again = self.origin()
        self.assertEqual(again.gets(), GET)
        again.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))

    def test_so_many_requests_with_large_bodies(self) -> None:
        post = request("POST", "/", body=b"x" * 5000)
        client, origin = self.pair(post)
        for _ in range(3):
            self.assertEqual(origin.gets(), post)
            origin.says(response(b"hi"))
            self.assertEqual(client.gets(), response(b"hi"))
            client.says(post)
        self.assertEqual(origin.gets(), b"")
        self.assertTrue(origin.ended)
        self.origin().says(response(b"hi"))

    def test_so_long(self) -> None:
        client, origin = self.both(keepalive=attrs.evolve(KEPT, requests=100, timeout=60))
        for _ in range(4):
            self.advance(24)
            origin.says(response(b"hi"))
            self.assertEqual(client.gets(), response(b"hi"))
            client.says(GET)
            self.assertEqual(origin.gets(), GET)
        self.advance(5)
        origin.says(response(b"hi"))
        client.gets()
        origin.gets()
        self.assertTrue(origin.ended)
        self.assert_idle(0)

    def test_idle_for_so_long(self) -> None:
        self.start(keepalive=attrs.evolve(KEPT, connections=4))
        first, second = self.ask(2)
        first.says(response(b"hi"))
        self.advance(10)
        second.says(response(b"hi"))
        self.advance(24.9)
        self.assertEqual(self.upstream.statistics().idle, 2)
        self.advance(0.2)
        self.assertEqual(self.upstream.statistics().idle, 1)
        first.gets()
        self.assertTrue(first.ended)
        self.advance(10)
        self.assertEqual(self.upstream.statistics().idle, 0)

    def test_used_before_its_time_is_up(self) -> None:
        client, origin = self.both()
        for _ in range(2):
            origin.says(response(b"hi"))
            self.assertEqual(client.gets(), response(b"hi"))
            self.advance(30)
            client.says(GET)
            self.assertEqual(origin.gets(), GET)
        origin.says(response(b"hi"))

    def test_the_server_closes_an_idle_one(self) -> None:
        client, origin = self.both()
        origin.says(response(b"hi"))
        client.gets()
        origin.close()
        self.assert_idle(0)
        found = self.upstream.statistics()
        self.assertEqual((found.lost, found.idle), (1, 0))
        client.says(GET)
        origin = self.origin()
        self.assertEqual(origin.gets(), GET)
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))
        self.assertEqual(self.complaints(), [])

    def test_the_server_breaks_off_an_idle_one(self) -> None:
        client, origin = self.both()
        origin.says(response(b"hi"))
        client.gets()
        origin.break_off()
        self.assert_idle(0)
        self.assertEqual(self.upstream.statistics().lost, 1)
        self.assertEqual(self.complaints(), [])

    def test_all_are_closed(self) -> None:
        client, origin = self.both()
        origin.says(response(b"hi"))
        client.gets()
        self.upstream.close()
        origin.gets()
        self.assertTrue(origin.ended)
        self.assert_idle(0)

    def test_nothing_is_kept_of_a_server_that_was_removed(self) -> None:
        """Even if it is asked once more, because its last connection turned out to be closed."""
        client, origin = self.both()
        origin.says(response(b"hi"))
        client.gets()
        client.says(GET)
        origin.gets()
        server, *_ = self.group.servers
        self.group.replace([])
        origin.close()
        again = self.origin()
        self.assertEqual(again.gets(), GET)
        again.says(response(b"ho"))
        self.assertEqual(client.gets(), response(b"ho"))
        again.gets()
        self.assertTrue(again.ended)
        kept, _ = self.upstream._stacks, self.group.replace([server])
        self.assertEqual(kept, {})

    def test_each_server_has_its_own(self) -> None:
        self.start(servers=TWO)
        client = self.client()
        origins = {}
        for name in TWO * 2:
            client.says(GET)
            if name not in origins:
                origins[name] = self.origin(name)
            self.assertEqual(origins[name].gets(), GET)
            origins[name].says(response(name.encode()))
            self.assertEqual(client.gets(), response(name.encode()))
        self.assertEqual(self.upstream.statistics().opened, 2)
        self.assert_idle(2)


class StaleRules(HttpCase):
    """A connection that the server has closed while it was idle, and nobody had noticed."""

    def answered(self) -> tuple[Any, Any]:
        """A client that has its response, and the origin, whose connection is idle now."""
        client = self.client()
        client.says(GET)
        origin = self.origin()
        origin.gets()
        origin.says(response(b"hi"))
        client.gets()
        return client, origin

    def stale(self, first: bytes, how: str = "close", **changes: Any) -> Any:
        """A client whose second request goes to such a one, which it learns after it was sent."""
        self.start(**changes)
        client, origin = self.answered()
        client.says(first)
        self.assertNotEqual(origin.gets(), b"")
        getattr(origin, how)()
        return client

    def test_an_idempotent_request_is_repeated_once(self) -> None:
        for how in ("close", "break_off"):
            client = self.stale(GET, how)
            again = self.origin()
            self.assertEqual(again.gets(), GET)
            again.says(response(b"ho"))
            self.assertEqual(client.gets(), response(b"ho"))
            self.assertEqual(self.journal.lines[-1], '"GET / HTTP/1.1" 200 2 origin:80, origin:80 -, 200 1 -')
            self.assertEqual(self.complaints(), [])
            self.assertEqual(self.proxy.statistics().retries, 1)
            self.assert_idle(1)
            break

    def test_with_its_body(self) -> None:
        put = request("PUT", "/", body=b"12345")
        client = self.stale(put)
        again = self.origin()
        self.assertEqual(again.gets(), put)
        again.says(response(b"ho"))
        self.assertEqual(client.gets(), response(b"ho"))

    def test_with_one_from_its_file(self) -> None:
        put = request("PUT", "/", body=b"x" * 5000)
        client = self.stale(put)
        again = self.origin()
        self.assertEqual(again.gets(), put)
        again.says(response(b"ho"))
        self.assertEqual(client.gets(), response(b"ho"))

    def test_not_with_one_that_is_gone(self) -> None:
        client = self.stale(request("PUT", "/", body=b"x" * 5000), request_buffering=False)
        self.assertEqual(parsed(client.gets()).status, "502 Bad Gateway")
        self.assert_idle(0)

    def test_others_are_not(self) -> None:
        for method in ("POST", "PATCH", "BREW"):
            client = self.stale(request(method))
            self.assertEqual(parsed(client.gets()).status, "502 Bad Gateway")
            self.assert_idle(0)
            break

    def test_nor_for_ever(self) -> None:
        """By a new connection, and once."""
        client = self.stale(GET)
        again = self.origin()
        again.gets()
        again.close()
        self.assertEqual(parsed(client.gets()).status, "502 Bad Gateway")
        self.assert_idle(0)
        self.assertEqual(len(self.complaints()), 1)

    def test_nor_when_something_came(self) -> None:
        self.start()
        client = self.client()
        client.says(GET)
        origin = self.origin()
        origin.says(response(b"hi"))
        client.gets()
        client.says(GET)
        origin.says(b"HTT")
        origin.close()
        self.assertEqual(parsed(client.gets()).status, "502 Bad Gateway")
        self.assert_idle(0)


class NextServerRules(HttpCase):
    servers = TWO

    def test_a_server_that_breaks_off(self) -> None:
        self.start()
        client = self.client()
        client.says(GET)
        first = self.origin("one:80")
        first.gets()
        first.close()
        second = self.origin("two:80")
        self.assertEqual(second.gets(), GET)
        second.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))
        self.assert_log('"GET / HTTP/1.1" 200 2 one:80, two:80 -, 200 1 -')
        (told,) = self.complaints()
        self.assertIn("upstream: closed the connection before it answered", told)
        self.assertIn("upstream: one:80", told)
        self.assert_idle(1)

    def test_every_server_once(self) -> None:
        self.start()
        client = self.client()
        client.says(GET)
        for name in TWO:
            origin = self.origin(name)
            origin.gets()
            origin.close()
        self.assertEqual(parsed(client.gets()).status, "502 Bad Gateway")
        self.assertRegex(self.journal.lines[0], '^"GET / HTTP/1.1" 502 .* one:80, two:80 -, - 1 upstream: ')
        self.assert_idle(0)

    def test_so_often_and_no_more(self) -> None:
        self.start(next_upstream=NextUpstream(tries=1))
        client = self.client()
        client.says(GET)
        origin = self.origin("one:80")
        origin.gets()
        origin.close()
        self.assertEqual(parsed(client.gets()).status, "502 Bad Gateway")
        self.assert_idle(0)

    def test_no_request_that_may_not_be_repeated(self) -> None:
        self.start()
        client = self.client()
        client.says(request("POST", "/", body=b"12345"))
        origin = self.origin("one:80")
        origin.gets()
        origin.close()
        self.assertEqual(parsed(client.gets()).status, "502 Bad Gateway")
        self.assert_idle(0)

    def test_not_after_an_interim_response(self) -> None:
        self.start()
        client = self.client()
        client.says(GET)
        origin = self.origin("one:80")
        origin.says(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        origin.close()
        self.assertEqual(client.gets().split()[1], b"103")
        self.assert_idle(0)
        self.assertEqual(self.journal.lines[0].split()[3], "502")

    def test_an_answer_that_is_wrong_is_an_answer(self) -> None:
        self.start()
        client = self.client()
        client.says(GET)
        self.origin("one:80").says(b"nonsense\r\n\r\n")
        self.assertEqual(parsed(client.gets()).status, "502 Bad Gateway")
        self.assert_idle(0)


class TimeoutRules(HttpCase):
    def test_no_answer(self) -> None:
        client, origin = self.both()
        self.advance(29.9)
        self.assertEqual(client.gets(), b"")
        self.advance(0.2)
        self.assertEqual(parsed(client.gets()).status, "504 Gateway Timeout")
        origin.gets()
        self.assertTrue(origin.reset)
        self.assert_idle(0)
        (told,) = self.complaints()
        self.assertIn("upstream: read timeout of 30 s expired while waiting for its response, client: ", told)
        self.assertIn("upstream: origin:80", told)

    def test_half_a_head(self) -> None:
        client, origin = self.both()
        self.advance(20)
        origin.says(b"HTTP/1.1 200")
        self.advance(20)
        self.assertEqual(client.gets(), b"")
        self.advance(10.1)
        self.assertEqual(parsed(client.gets()).status, "504 Gateway Timeout")
        self.assert_idle(0)

    def test_the_time_counts_from_the_end_of_the_request(self) -> None:
        self.settings = attrs.evolve(SETTINGS, request_buffering=False)
        client, origin = self.pair(request("POST", "/", "Content-Length: 10"))
        for _ in range(5):
            self.advance(11)
            client.says(b"12")
        self.advance(29)
        self.assertEqual(client.gets(), b"")
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))
        self.assert_idle(1)


class PoolMemoryTests(PoolRules, MemoryCase):
    pass


class PoolSocketTests(PoolRules, SocketCase):
    pass


class StaleMemoryTests(StaleRules, MemoryCase):
    pass


class StaleSocketTests(StaleRules, SocketCase):
    def spoken(self, first: bytes, said: bytes) -> Any:
        """A client's C{first} comes in one turn with what the idle connection says, or its end. The client and the first origin."""
        client, origin = self.answered()
        client.peer.write(first)
        if said:
            origin.peer.write(said)
        else:
            origin.peer.close()
        return client, origin

    def assert_asked_again(self, first: bytes, said: bytes) -> None:
        client, origin = self.spoken(first, said)
        again = self.origin()
        self.assertEqual(again.gets(), first)
        if said:
            self.assertEqual(origin.gets(), b"")
        again.says(response(b"right"))
        self.assertEqual(client.gets(), response(b"right"))
        self.assertEqual(self.complaints(), [])
        self.upstream.close()

    def test_what_was_said_before_it_was_asked_answers_nothing(self) -> None:
        """So the request goes to another connection, whatever its method: nobody has seen it."""
        self.start(request_body_buffer_size=20_000)
        for first in (GET, request("POST", "/", body=b"12345"), request("POST", "/", body=b"x" * 17_000)):
            for said in (response(b"wrong"), response(b"", "Connection: close", status="408 Request Timeout"), b""):
                self.assert_asked_again(first, said)

    def test_nor_does_it_what_is_streamed(self) -> None:
        self.start(request_buffering=False)
        for said in (response(b"wrong"), b""):
            self.assert_asked_again(request("POST", "/", body=b"x" * 900), said)
            self.assert_asked_again(request("POST", "/", body=b"x" * 5000), said)

    def test_one_that_always_speaks_first_is_not_asked_for_ever(self) -> None:
        self.start()
        client, _origin = self.spoken(request("POST", "/", body=b"12345"), response(b"wrong"))
        again = self.origin()
        again.gets()
        again.close()
        self.assertEqual(parsed(client.gets()).status, "502 Bad Gateway")
        self.assert_idle(0)


class AnswersWhoeverConnectsTests(SocketCase):
    """A server that answers whoever connects: its answer is one event with the connection."""

    def answered(self, said: bytes, first: bytes, ends: bool) -> Any:
        origins = []

        def connect_and_hear(connection: UpstreamConnection) -> None:
            CONNECT(connection)
            sock = self.listeners["origin:80"].accept()[0]
            sock.sendall(said)
            if ends:
                sock.shutdown(socket.SHUT_WR)
            origins.append(SocketSide(self, sock))
            self.sides += origins

        self.patch(UpstreamConnection, "connect", connect_and_hear)
        client = self.client()
        client.says(first)
        self.assertTrue(origins[0].gets())
        return client

    def test_its_answer_is_found(self) -> None:
        self.start()
        busy = response(b"busy", status="503 Service Unavailable")
        for first in (GET, request("POST", "/", body=b"x" * 5000)):
            for ends in (False, True):
                client = self.answered(busy, first, ends)
                self.assertEqual(client.gets(), busy)
                self.upstream.close()

    def test_so_is_an_end_without_one(self) -> None:
        self.start()
        client = self.answered(b"", GET, True)
        self.assertEqual(parsed(client.gets()).status, "502 Bad Gateway")


class NextServerMemoryTests(NextServerRules, MemoryCase):
    pass


class NextServerSocketTests(NextServerRules, SocketCase):
    pass


class TimeoutMemoryTests(TimeoutRules, MemoryCase):
    pass


class TimeoutSocketTests(TimeoutRules, SocketCase):
    pass


class ConnectMemoryTests(MemoryCase):
    """Connecting, which takes no time on loopback sockets."""

    def asked(self, first: bytes = GET, **changes: Any) -> Any:
        self.start(**changes)
        client = self.client()
        client.says(first)
        return client

    def test_refused(self) -> None:
        client = self.asked()
        self.refuse()
        self.assertEqual(parsed(client.gets()).status, "502 Bad Gateway")
        self.assert_idle(0)
        self.assertEqual(self.upstream.statistics().failed, 1)
        (told,) = self.complaints()
        self.assertRegex(told, "^upstream: connect\\(\\) failed: Connection was refused.*, upstream: origin:80, ")

    def test_the_next_server_is_asked(self) -> None:
        """Whatever the request: nothing of it was sent."""
        post = request("POST", "/", body=b"12345")
        client = self.asked(post, servers=TWO)
        self.refuse("one:80")
        origin = self.origin("two:80")
        self.assertEqual(origin.gets(), post)
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))
        self.assert_log('"POST / HTTP/1.1" 200 2 one:80, two:80 -, 200 1 -')
        self.assert_idle(1)

    def test_with_a_body_on_disk(self) -> None:
        post = request("POST", "/", body=b"x" * 50_000)
        client = self.asked(post, servers=TWO)
        self.refuse("one:80")
        origin = self.origin("two:80")
        self.assertEqual(origin.gets(), post)
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))
        self.assert_idle(1)

    def test_all_refuse(self) -> None:
        client = self.asked(servers=TWO)
        self.refuse("one:80")
        self.refuse("two:80")
        self.assertEqual(parsed(client.gets()).status, "502 Bad Gateway")
        self.assert_idle(0)
        self.assertEqual(len(self.complaints()), 2)

    def test_a_body_that_nobody_takes(self) -> None:
        client = self.asked(request("POST", "/", body=b"x" * 50_000))
        self.refuse()
        self.assertEqual(parsed(client.gets()).status, "502 Bad Gateway")
        self.assert_idle(0)
        self.assertEqual(self.spill.fds, [])

    def test_connecting_takes_too_long(self) -> None:
        client = self.asked(servers=TWO)
        self.advance(9.9)
        self.assertEqual(len(self.attempts), 1)
        self.advance(0.2)
        self.assertTrue(self.attempts.pop(0).cancelled)
        self.assertEqual(self.attempts[0].server, "two:80")
        self.advance(10.1)
        self.assertTrue(self.attempts.pop(0).cancelled)
        self.assertEqual(parsed(client.gets()).status, "504 Gateway Timeout")
        self.assert_idle(0)
        self.assertIn("upstream: connect timeout of 10 s expired, client", self.complaints()[0])
        self.assertRegex(
            self.journal.lines[0], '^"GET / HTTP/1.1" 504 .* one:80, two:80 -, - 1 upstream: connect timeout'
        )

    def test_the_client_goes_meanwhile(self) -> None:
        client = self.asked()
        client.break_off()
        self.assertTrue(self.attempts.pop(0).cancelled)
        self.assert_idle(0, clients=0)

    def test_what_takes_how_long(self) -> None:
        line = "$upstream_connect_time $upstream_header_time $upstream_response_time $request_time"
        client = self.asked(servers=TWO, line=line)
        self.advance(1)
        self.refuse("one:80")
        self.advance(2)
        origin = self.origin("two:80")
        self.advance(3)
        origin.says(response(b"hello")[:-1])
        self.advance(4)
        origin.says(b"o")
        client.gets()
        self.assert_log("-, 2.000 -, 5.000 1.000, 9.000 10.000")


del PoolRules, StaleRules, NextServerRules, TimeoutRules
