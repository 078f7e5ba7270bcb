"""Connections that change their protocol."""

from __future__ import annotations

import socket
from typing import Any

import attrs
from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from tests.proxies.http_case import LIMITS, SETTINGS, HttpCase, MemoryCase, SocketCase, template
from tests.proxies.http_messages import THEIR_DATE, request, response
from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.discovery import FILTERS
from twisted_pipe.proxies.http_settings import HeadChanges, HttpSettings
from twisted_pipe.proxies.upgrade_settings import UpgradeSettings

ASKED = request("GET", "/", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x")
PASSED = request("GET", "/", "Sec-WebSocket-Key: x", "Connection: Upgrade", "Upgrade: websocket")
LINE = '"$request" $status $body_bytes_sent $request_length $upstream_status $upstream_bytes_received $error'


def changes(*lines: str, to: str = "websocket") -> bytes:
    """An origin's C{101}, and what the client gets of it."""
    head = ["HTTP/1.1 101 Switching Protocols", THEIR_DATE.decode(), *lines, "Connection: Upgrade", f"Upgrade: {to}"]
    return "\r\n".join([*head, "", ""]).encode()


CHANGED = changes("Sec-WebSocket-Accept: y")


class UpgradeRules(HttpCase):
    def asked(self, first: bytes = ASKED, **more: Any) -> tuple[Any, Any]:
        """A client that has asked, and the origin that has read that."""
        more.setdefault("line", LINE)
        client, origin = self.pair(first, **more)
        self.assertEqual(origin.gets(), PASSED)
        return client, origin

    def changed(self, **more: Any) -> tuple[Any, Any]:
        """The same; both speak the other protocol."""
        client, origin = self.asked(**more)
        origin.says(CHANGED)
        self.assertEqual(client.gets(), CHANGED)
        return client, origin

    def assert_ended(self, log: str) -> None:
        """Nothing is left; and the line in the access log is this, but for the request, what came with heads and the error."""
        self.settle()
        self.assertEqual([repr(each) for each in self.proxy.clients], [])
        self.assertEqual(self.upstream.statistics().idle, 0)
        self.assertEqual(self.journal.lines, [f'"GET / HTTP/1.1" 101 {log}'])

    def counts(self, down: int, up: int) -> str:
        """Of a line in the log: bytes to the client, with the heads, and to the server."""
        return f"{down} {len(ASKED) + up} 101 {len(CHANGED) + down} -"

    # the request

    def test_the_upgrade_is_passed_on(self) -> None:
        self.asked()

    def test_only_of_protocols_that_are_allowed(self) -> None:
        _client, origin = self.pair(request("GET", "/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"))
        self.assertEqual(origin.gets(), request())

    def test_not_if_the_route_allows_none(self) -> None:
        _client, origin = self.pair(ASKED, upgrade=UpgradeSettings(protocols=frozenset()))
        self.assertEqual(origin.gets(), request("GET", "/", "Sec-WebSocket-Key: x"))

    def test_not_of_http_1_0(self) -> None:
        _client, origin = self.pair(ASKED.replace(b"HTTP/1.1", b"HTTP/1.0"))
        self.assertEqual(origin.gets(), request("GET", "/", "Sec-WebSocket-Key: x"))

    def test_not_of_a_request_with_a_body(self) -> None:
        lines = ("Connection: Upgrade", "Upgrade: websocket")
        _client, origin = self.pair(request("POST", "/", *lines, body=b"hello"))
        self.assertEqual(origin.gets(), request("POST", "/", body=b"hello"))

    def test_a_route_that_sets_the_fields_as_for_nginx(self) -> None:
        fields = tuple((name, template(value)) for name, value in ((b"Upgrade", "$http_upgrade"), (b"Connection", "x")))
        self.asked(request_headers=HeadChanges(set=fields))

    # the change

    def test_both_get_what_the_other_says(self) -> None:
        client, origin = self.changed()
        for count in range(3):
            client.says(b"ping %d" % count)
            self.assertEqual(origin.gets(), b"ping %d" % count)
            origin.says(b"pong %d" % count)
            self.assertEqual(client.gets(), b"pong %d" % count)
        origin.half_close()
        self.assertEqual(client.gets(), b"")
        self.assertTrue(client.ended)
        client.close()
        self.assert_ended(self.counts(18, 18))
        self.assertEqual(self.complaints(), [])

    def test_a_balancer_that_raises_when_it_ends(self) -> None:
        """Is logged, and keeps nobody waiting."""
        client, origin = self.changed()
        release = self.upstream.release

        def raises(peer: Any) -> None:
            release(peer)
            raise ZeroDivisionError

        self.upstream.release = raises  # type: ignore[method-assign]
        origin.close()
        client.close()
        self.settle()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(list(self.proxy.clients), [])
        self.assertEqual(len(self.journal.lines), 1)

    def test_what_comes_behind_either_head_is_first(self) -> None:
        client, origin = self.asked(ASKED + b"early")
        origin.says(CHANGED + b"frame")
        self.assertEqual(client.gets(), CHANGED + b"frame")
        self.assertEqual(origin.gets(), b"early")
        origin.says(b"1")
        client.says(b"2")
        self.assertEqual((client.gets(), origin.gets()), (b"1", b"2"))
        client.half_close()
        origin.close()
        self.assert_ended(self.counts(6, 6))

    def test_what_the_client_says_while_it_waits(self) -> None:
        client, origin = self.asked()
        client.says(b"early")
        self.assertEqual(origin.gets(), b"")
        origin.says(CHANGED)
        self.assertEqual((client.gets(), origin.gets()), (CHANGED, b"early"))

    def test_a_head_in_pieces(self) -> None:
        client, origin = self.asked()
        origin.says(CHANGED[:30])
        origin.says(CHANGED[30:-1])
        self.assertEqual(client.gets(), b"")
        origin.says(CHANGED[-1:] + b"x")
        self.assertEqual(client.gets(), CHANGED + b"x")

    def test_behind_an_interim_response(self) -> None:
        client, origin = self.asked()
        hints = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        origin.says(hints + CHANGED + b"x")
        self.assertEqual(client.gets(), hints + CHANGED + b"x")

    def test_on_connections_that_have_carried_others(self) -> None:
        client, origin = self.both()
        origin.says(response(b"hi"))
        client.gets()
        client.says(ASKED)
        self.assertEqual(origin.gets(), PASSED)
        origin.says(CHANGED)
        client.gets()
        client.says(b"ping")
        self.assertEqual(origin.gets(), b"ping")
        client.half_close()
        origin.close()
        self.assert_over_and_none_kept()

    def assert_over_and_none_kept(self) -> None:
        self.settle()
        self.assertEqual([repr(each) for each in self.proxy.clients], [])
        self.assertEqual(self.upstream.statistics().idle, 0)

    def test_fields_of_the_response_are_changed_as_of_any(self) -> None:
        client, origin = self.asked(
            response_headers=HeadChanges(remove=frozenset({b"date"}), add=((b"X-A", template("$status")),), always=True)
        )
        origin.says(CHANGED)
        self.assertEqual(
            client.gets(),
            b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: y\r\nX-A: 101\r\n"
            b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        )

    def test_much_both_ways(self) -> None:
        client, origin = self.changed()
        for speaker, listener in ((client, origin), (origin, client)):
            data = bytes(range(256)) * 1000
            got = b""
            for start in range(0, len(data), 50_000):
                speaker.says(data[start : start + 50_000])
                got += listener.gets()
            while len(got) < len(data):
                more = listener.gets()
                self.assertTrue(more, f"{len(got)} of {len(data)} bytes came")
                got += more
            self.assertEqual(got, data)

    def test_a_client_that_has_ended_does_not_wait_for_a_silent_server(self) -> None:
        """One that knows of that by the end of its own reading has ended before."""
        client, origin = self.changed()
        client.half_close()
        origin.gets()
        if not origin.ended:
            self.advance(4.9)
            self.assertEqual(len(self.proxy.clients), 1)
            self.advance(0.2)
        origin.gets()
        self.assertTrue(origin.ended)
        origin.close()
        self.assert_ended(self.counts(0, 0))

    # it is not changed

    def test_another_response_is_a_response(self) -> None:
        client, origin = self.asked()
        refusal = response(b"no", status="426 Upgrade Required")
        origin.says(refusal)
        self.assertEqual(client.gets(), refusal)
        client.says(request())
        self.assertEqual(origin.gets(), request())
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))
        self.assert_idle(1)

    def test_a_response_that_requires_another_protocol_says_which(self) -> None:
        """RFC 9110, section 15.5.22. Nobody has to have offered one."""
        required = ("Connection: Upgrade", "Upgrade: websocket")
        client, origin = self.pair()
        for framing, body in (("Content-Length: 2", b"no"), ("Transfer-Encoding: chunked", b"2\r\nno\r\n0\r\n\r\n")):
            origin.gets()
            origin.says(response(body, framing, *required, status="426 Upgrade Required", length=False))
            head, _, got = client.gets().partition(b"\r\n\r\n")
            self.assertEqual(got, b"no")
            self.assertEqual(
                [line.decode() for line in head.split(b"\r\n") if line.startswith((b"Conn", b"Upg"))], [*required]
            )
            client.says(request())
        origin.gets()
        origin.says(response(b"hi", *required))
        self.assertEqual(client.gets(), response(b"hi"))  # which only mentions it
        self.assert_idle(1)

    def test_then_what_came_behind_the_request_is_the_next_one(self) -> None:
        client, origin = self.asked(ASKED + request())
        origin.says(response(b"no", status="403 Forbidden"))
        self.assertEqual(origin.gets(), request())
        origin.says(response(b"hi"))
        self.assertTrue(client.gets().endswith(b"\r\n\r\nhi"))
        self.assert_idle(1)

    def refused(self, answer: bytes, first: bytes = ASKED, **more: Any) -> str:
        """An origin's C{answer} is none: the client gets 502. What is logged."""
        client, origin = self.both(first, **more)
        origin.says(answer)
        self.assertTrue(client.gets().startswith(b"HTTP/1.1 502 "))
        self.assertTrue(origin.gets() == b"" and (origin.ended or origin.reset))
        (complaint,) = self.complaints()
        return complaint.partition(", client")[0]

    def test_a_change_that_was_not_asked_for(self) -> None:
        why = "upstream: its response is wrong: it changes the protocol, which was not asked for"
        self.assertEqual(self.refused(CHANGED, request()), why)

    def test_a_change_that_was_asked_for_and_not_allowed(self) -> None:
        why = self.refused(CHANGED, upgrade=UpgradeSettings(protocols=frozenset({b"irc"})))
        self.assertEqual(why, "upstream: its response is wrong: it changes the protocol, which was not asked for")

    def test_a_change_to_something_else(self) -> None:
        self.assertIn("it changes to b'h2c', which was not offered", self.refused(changes(to="h2c")))

    def test_the_server_closes_instead(self) -> None:
        """The request is idempotent; but there is no other server."""
        client, origin = self.asked()
        origin.close()
        self.assertTrue(client.gets().startswith(b"HTTP/1.1 502 "))

    # ends

    def test_a_server_that_breaks_off(self) -> None:
        client, origin = self.changed()
        origin.says(b"half a fra")
        self.assertEqual(client.gets(), b"half a fra")
        origin.break_off()
        self.advance(1)
        client.gets()
        self.assertTrue(client.reset or client.ended)  # where there are no resets: tests in memory
        self.settle()
        self.assertEqual(len(self.proxy.clients), 0)
        (complaint,) = self.complaints()
        self.assertTrue(complaint.startswith("upstream: "), complaint)
        self.assertEqual(self.levels(), [LogLevel.error])
        self.assertIn(" 101 10 ", self.journal.lines[0])

    def test_a_client_that_breaks_off(self) -> None:
        client, origin = self.changed()
        client.says(b"hello")
        self.assertEqual(origin.gets(), b"hello")
        client.break_off()
        self.settle()
        origin.gets()
        self.assertTrue(origin.reset)
        (complaint,) = self.complaints()
        self.assertTrue(complaint.startswith("client: "), complaint)
        self.assertEqual(self.levels(), [LogLevel.info])
        self.settle()
        self.assertEqual(len(self.proxy.clients), 0)
        self.assertIn(f" 101 0 {len(ASKED) + 5} ", self.journal.lines[0])

    def test_a_client_that_goes_while_it_waits(self) -> None:
        client, origin = self.asked()
        client.break_off()
        self.settle()
        self.assertTrue(origin.gets() == b"" and (origin.ended or origin.reset))
        self.assertIn('" 499 ', self.journal.lines[0])

    def test_the_service_stops(self) -> None:
        _client, origin = self.changed()
        self.proxy.shutdown()
        self.settle()
        self.assertTrue(origin.gets() == b"" and (origin.ended or origin.reset))
        self.assertEqual(len(self.journal.lines), 1)
        self.assertIn("the service stops", self.journal.lines[0])

    # timeouts

    def test_silence_is_no_timeout_of_http(self) -> None:
        client, origin = self.changed()
        self.advance(3000)
        origin.says(b"x")
        self.assertEqual(client.gets(), b"x")

    def test_idle_for_too_long(self) -> None:
        client, origin = self.changed(upgrade=UpgradeSettings(timeout=50))
        self.advance(49)
        client.says(b"ping")  # a byte either way counts
        self.assertEqual(origin.gets(), b"ping")
        self.advance(49)
        self.assertFalse(origin.gets() or origin.ended or origin.reset)
        self.advance(1.5)
        origin.gets()
        self.assertTrue(origin.ended or origin.reset)
        (complaint,) = self.complaints()
        self.assertTrue(complaint.startswith("idle timeout of 50 s expired, client"), complaint)

    def test_never_idle(self) -> None:
        client, origin = self.changed(upgrade=UpgradeSettings(timeout=0))
        self.advance(100_000)
        client.says(b"ping")
        self.assertEqual(origin.gets(), b"ping")

    # filters

    def test_byte_filters_take_part_behind_the_head(self) -> None:
        upgrade = UpgradeSettings(
            response_filters=(FILTERS.find("upper"),),
            request_filters=(FILTERS.find("replace-bytes").configure({"find": "a", "replace": "b"}),),
        )
        client, origin = self.asked(upgrade=upgrade)
        origin.says(CHANGED + b"first ")
        self.assertEqual(client.gets(), CHANGED + b"FIRST ")
        origin.says(b"second")
        self.assertEqual(client.gets(), b"SECOND")
        client.says(b"anagram")
        self.assertEqual(origin.gets(), b"bnbgrbm")

    def test_a_rate_holds(self) -> None:
        limits = attrs.evolve(LIMITS, limit_rate=1000)
        client, origin = self.changed(limits=limits)
        origin.says(b"x" * 3000)
        got = len(client.gets())
        self.assertLess(got, 2000)
        self.advance(5)
        self.assertEqual(got + len(client.gets()), 3000)


class HalfRules(UpgradeRules):
    """On connections that have halves."""

    def test_a_client_that_half_closes_still_gets_everything(self) -> None:
        client, origin = self.changed()
        client.says(b"bye")
        client.half_close()
        self.assertEqual(origin.gets(), b"bye")
        self.assertTrue(origin.ended)
        origin.says(b"and so on")
        self.assertEqual(client.gets(), b"and so on")
        self.assertFalse(client.ended)
        origin.close()
        self.assertEqual(client.gets(), b"")
        self.assertTrue(client.ended and not client.reset)
        self.assert_ended(self.counts(9, 3))

    def test_a_server_that_half_closes_still_gets_everything(self) -> None:
        client, origin = self.changed()
        origin.says(b"bye")
        origin.half_close()
        self.assertEqual(client.gets(), b"bye")
        self.assertTrue(client.ended)
        client.says(b"and so on")
        self.assertEqual(origin.gets(), b"and so on")
        client.close()
        self.assert_ended(self.counts(3, 9))

    def test_a_server_that_has_ended_does_not_wait_for_a_silent_client(self) -> None:
        client, origin = self.changed()
        origin.half_close()
        self.assertEqual(client.gets(), b"")
        self.advance(4.9)
        self.assertFalse(origin.gets() or origin.ended)
        self.advance(0.2)
        self.assert_ended(self.counts(0, 0))


class UpgradeMemoryTests(HalfRules, MemoryCase):
    def test_a_slow_client_holds_the_server_back(self) -> None:
        """Nothing goes to disk."""
        client, origin = self.changed(settings=attrs.evolve(SETTINGS, upgrade=UpgradeSettings(timeout=0)))
        client.stalls()
        data = b"x" * 1_000_000
        origin.says(data)
        self.assertGreater(len(origin.inbox), 800_000)
        self.assertEqual(self.spill.fds, [])
        client.room = 1 << 30
        client.gets()


class UpgradeTransportTlsTests(UpgradeRules, MemoryCase):
    """The client comes by TLS, which has no halves."""

    tls = True


class UpgradeSocketTests(HalfRules, SocketCase):
    def said_at_once(self, passed: bytes, **more: Any) -> None:
        """The kernel tells of both in one batch, and once: who reads the client from then on has to be told by us."""
        client, origin = self.asked(**more)
        origin.peer.write(CHANGED)
        client.peer.write(b"early")
        self.assertEqual((client.gets(), origin.gets()), (CHANGED, passed))

    def test_what_the_client_says_in_the_same_moment_goes_by_the_relay(self) -> None:
        self.said_at_once(b"early")

    def test_or_by_the_pipe(self) -> None:
        self.said_at_once(b"EARLY", upgrade=UpgradeSettings(request_filters=(FILTERS.find("upper"),)))

    def test_plain_ones_are_relayed(self) -> None:
        self.changed()
        (client,) = self.proxy.clients
        self.assertRegex(repr(client._exchange._answering), "response=<Relay armed .* request=<Relay armed ")

    def test_a_slow_client_holds_the_server_back(self) -> None:
        """Nothing goes to disk, and every byte arrives."""
        client, origin = self.changed()
        origin.peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        data = bytes(range(256)) * 8_000
        origin.says(data)
        self.advance(1)
        self.assertTrue(origin.unsaid)
        self.assertEqual(self.spill.fds, [])
        got = b""
        while len(got) < len(data):
            got += client.gets()
            origin.says(b"")
            self.advance(0.1)
        self.assertEqual(got, data)

    def test_a_client_that_takes_nothing_is_given_up(self) -> None:
        client, origin = self.changed()
        origin.says(b"x" * 2_000_000)
        self.advance(24)
        self.assertEqual(len(self.journal.lines), 0)
        self.advance(3)
        self.assertIn("client: send timeout of 25 s expired", self.journal.lines[0])
        origin.unsaid = b""
        client.close()


class SettingsTests(SynchronousTestCase):
    def test_websocket_and_nothing_else_by_default(self) -> None:
        self.assertEqual(HttpSettings().upgrade.protocols, {b"websocket"})

    def test_names_are_compared_in_lower_case(self) -> None:
        self.assertEqual(UpgradeSettings(protocols=frozenset({b"IRC"})).protocols, {b"irc"})

    def test_what_carries_requests_is_never_passed_on(self) -> None:
        for name in (b"h2c", b"H2C", b"h2", b"TLS", b"HTTP"):
            error = self.assertRaises(BadConfiguration, UpgradeSettings, protocols=frozenset({name}))
            self.assertIn("never passed on", str(error))

    def test_what_is_no_name(self) -> None:
        for name in (b"", b"web socket", b"irc/6.9", b"a,b", b"\xe4"):
            error = self.assertRaises(BadConfiguration, UpgradeSettings, protocols=frozenset({name}))
            self.assertIn("without its version", str(error))

    def test_nothing_is_spilled_and_silence_is_allowed(self) -> None:
        tunnel = attrs.evolve(SETTINGS, limits=LIMITS).tunnel
        self.assertEqual([tunnel.response.max_temp_file_size, tunnel.request.max_temp_file_size], [0, 0])
        self.assertEqual([tunnel.response.read_timeout, tunnel.request.read_timeout], [0, 0])
        self.assertEqual([tunnel.response.send_timeout, tunnel.request.send_timeout], [25, 20])


del UpgradeRules, HalfRules
