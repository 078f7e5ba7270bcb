"""When another server is asked, which one, and what the first one's failure is told to."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Mapping
from typing import Any

import attrs
from twisted.internet.error import ConnectBindError
from twisted.trial.unittest import SynchronousTestCase

from tests.proxies.http_case import LIMITS, HttpCase, MemoryCase, SocketCase
from tests.proxies.http_messages import parsed, request, response
from twisted_pipe.errors import BadConfiguration, DiskFailed
from twisted_pipe.net.spiller import Spiller
from twisted_pipe.proxies import upstream_side
from twisted_pipe.proxies.next_upstream import NextUpstream, Setback
from twisted_pipe.upstream.peer import PeerState
from twisted_pipe.upstream.waiting_line import QueueSettings

GET = request()
POST = request("POST", "/", body=b"12345")
GOOD = response(b"hi")
BUSY = response(b"busy", status="503 Service Unavailable")
THREE = ("one:80", "two:80", "three:80")
LINE = "$status $upstream_addr $upstream_status $retries"


def after(*words: str, tries: int = 0, timeout: float = 0.0) -> NextUpstream:
    return NextUpstream.of_words(words, tries, timeout)


class AttemptCase(HttpCase):
    servers = THREE[:2]

    def ask(self, first: bytes = GET, *words: str, **changes: Any) -> tuple[Any, Any]:
        """A client that has asked, and the first server, which has read that. C{words}: when the next one is asked."""
        if words:
            changes["next_upstream"] = after(*words)
        changes.setdefault("line", LINE)
        self.start(**changes)
        client = self.client()
        client.says(first)
        origin = self.origin(self.servers[0])
        self.assertEqual(origin.gets(), first)
        return client, origin

    def assert_next(self, client: Any, first: bytes = GET, server: str = "two:80") -> Any:
        """It is asked, and its response is passed on."""
        origin = self.origin(server)
        self.assertEqual(origin.gets(), first)
        origin.says(GOOD)
        self.assertEqual(client.gets(), GOOD)
        return origin

    def assert_status(self, client: Any, status: int) -> None:
        """It is answered so, with nobody else being asked."""
        self.assertEqual(parsed(client.gets()).status[:3], str(status))
        self.assertEqual(self.proxy.statistics().retries, 0)

    def states(self) -> list[PeerState]:
        return [peer.state for peer in self.group.peers]


class ConditionRules(AttemptCase):
    """After what the next server is asked."""

    def test_an_error(self) -> None:
        client, origin = self.ask(GET, "error")
        origin.close()
        self.assert_next(client)
        self.assert_log("200 one:80, two:80 -, 200 1")

    def test_an_error_in_the_middle_of_the_head(self) -> None:
        client, origin = self.ask()
        origin.says(b"HTTP/1.1 200 OK\r\nContent-")
        origin.close()
        self.assert_next(client)

    def test_a_reset(self) -> None:
        client, origin = self.ask()
        origin.break_off()
        self.assert_next(client)

    def test_no_error(self) -> None:
        client, origin = self.ask(GET, "timeout")
        origin.close()
        self.assert_status(client, 502)

    def test_a_timeout(self) -> None:
        client, origin = self.ask(GET, "timeout")
        self.advance(30.1)
        self.assert_next(client)
        origin.gets()
        self.assertTrue(origin.reset)

    def test_addresses_that_take_turns_are_asked_once_each(self) -> None:
        client, _origin = self.ask(GET, "timeout")
        first, second = (peer.server for peer in self.group.peers)
        self.group.replace([second])
        self.advance(30.1)
        self.assertEqual(self.origin("two:80").gets(), GET)
        self.group.replace([first])
        self.advance(30.1)
        self.assertEqual(parsed(client.gets()).status[:3], "504")
        self.assertEqual(self.proxy.statistics().retries, 1)
        self.group.replace([first, second])

    def test_no_timeout(self) -> None:
        client, _origin = self.ask(GET, "error")
        self.advance(30.1)
        self.assert_status(client, 504)

    def test_what_is_no_response(self) -> None:
        client, origin = self.ask(GET, "invalid_header")
        origin.says(b"nonsense\r\n\r\n")
        self.assert_next(client)

    def test_that_is_no_error(self) -> None:
        client, origin = self.ask()
        origin.says(b"nonsense\r\n\r\n")
        self.assert_status(client, 502)

    def status(self, status: int) -> None:
        client, origin = self.ask(GET, f"http_{status}")
        origin.says(response(b"no", status=f"{status} No"))
        self.assert_next(client)
        self.assert_log(f"200 one:80, two:80 {status}, 200 1")
        self.assert_idle(2)

    def test_a_status_of_a_server_in_trouble(self) -> None:
        self.status(500)

    def test_a_status_of_a_server_that_is_busy(self) -> None:
        self.status(503)

    def test_a_status_that_says_too_many(self) -> None:
        self.status(429)

    def test_a_status_that_is_no_failure(self) -> None:
        self.status(404)

    def test_another_status(self) -> None:
        client, origin = self.ask(GET, "http_502", "http_404")
        origin.says(BUSY)
        self.assertEqual(client.gets(), BUSY)
        self.assert_log("503 one:80 503 0")

    def test_the_last_server_s_is_passed_on(self) -> None:
        client, origin = self.ask(GET, "http_503")
        origin.says(BUSY)
        second = self.origin("two:80")
        second.gets()
        second.says(BUSY)
        self.assertEqual(client.gets(), BUSY)
        self.assert_log("503 one:80, two:80 503, 503 1")
        self.assert_idle(2)

    def test_a_connection_of_which_the_response_is_not_whole_is_not_kept(self) -> None:
        client, origin = self.ask(GET, "http_503")
        origin.says(BUSY[:-1])
        self.assert_next(client)
        self.assertTrue(origin.gets() == b"" and (origin.ended or origin.reset))
        self.assert_idle(1)

    def test_nothing_at_all(self) -> None:
        client, origin = self.ask(GET, "off")
        origin.close()
        self.assert_status(client, 502)

    def test_not_when_the_head_was_passed_on(self) -> None:
        client, origin = self.ask()
        origin.says(response(b"x" * 30_000)[:-1])
        origin.close()
        self.assertTrue(client.gets().startswith(b"HTTP/1.1 200 "))
        self.assertEqual(self.proxy.statistics().retries, 0)

    def test_not_if_it_was_sent_and_must_not_be_sent_twice(self) -> None:
        client, origin = self.ask(POST, "error", "http_503")
        origin.close()
        self.assert_status(client, 502)
        client.says(POST)
        origin = self.origin("two:80")
        origin.gets()
        origin.says(BUSY)
        self.assertEqual(client.gets(), BUSY)

    def test_unless_told_so(self) -> None:
        client, origin = self.ask(POST, "error", "non_idempotent")
        origin.close()
        self.assert_next(client, POST)

    def test_a_body_of_which_some_was_sent_is_sent_again_whole(self) -> None:
        big = request("PUT", "/", body=b"x" * 900)
        client, origin = self.ask(big)
        origin.close()
        self.assert_next(client, big)


class LargeBodyRules(AttemptCase):
    """One that is larger than what is kept in memory goes by a pipe, or by a file if it may be sent more than once."""

    servers = THREE
    put = request("PUT", "/", body=bytes(range(256)) * 80)

    def test_it_is_sent_again_from_its_file(self) -> None:
        client, origin = self.ask(self.put)
        origin.close()
        second = self.origin("two:80")
        self.assertEqual(second.gets(), self.put)
        second.break_off()
        self.assert_next(client, self.put, "three:80")
        self.assert_log("200 one:80, two:80, three:80 -, -, 200 2")

    def test_the_one_before_did_not_read_it(self) -> None:
        """What it left unread is not missing for the next."""
        self.start()
        client = self.client()
        client.says(self.put)
        origin = self.origin("one:80")
        self.settle()
        origin.break_off()
        self.assert_next(client, self.put)

    def test_the_one_before_had_answered(self) -> None:
        client, origin = self.ask(self.put, "http_503")
        origin.says(BUSY)
        self.assert_next(client, self.put)
        self.assert_idle(2)

    def test_the_one_before_could_not_be_connected_to(self) -> None:
        self.start()
        self.group.failed(self.group.peers[0], "for a while")
        client = self.client()
        client.says(self.put)
        self.assert_next(client, self.put)

    def test_a_connection_that_had_been_kept(self) -> None:
        """Closed by the server while it was idle: the same one is asked once more."""
        client, origin = self.ask(GET)
        origin.says(GOOD)
        self.assertEqual(client.gets(), GOOD)
        for peer in self.group.peers[1:]:
            self.group.mark(peer, False)
        client.says(self.put)
        self.assertEqual(origin.gets(), self.put)
        origin.close()
        self.assert_next(client, self.put, "one:80")

    def test_in_chunks(self) -> None:
        """What the servers get is framed anew, and the same each time."""
        chunks = b"".join(b"3e8\r\n%b\r\n" % (b"%d" % number * 1000) for number in range(7)) + b"0\r\n\r\n"
        self.start()
        client = self.client()
        client.says(b"PUT / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks[:5000])
        self.settle()
        client.says(chunks[5000:])
        origin = self.origin("one:80")
        got = origin.gets()
        self.assertIn(b"\r\nTransfer-Encoding: chunked\r\n", got)
        self.assertIn(b"6" * 1000, got)
        origin.close()
        self.assert_next(client, got)

    def test_the_next_request_comes_after_it(self) -> None:
        self.start()
        client = self.client()
        client.says(self.put + GET)
        origin = self.origin("one:80")
        self.assertEqual(origin.gets(), self.put)
        origin.close()
        self.assert_next(client, self.put)
        self.assert_next(client, GET, "three:80")

    def test_it_is_on_disk_as_long_as_it_may_be_wanted(self) -> None:
        client, origin = self.ask(self.put)
        self.assertEqual((len(self.spill.fds), self.spill.quota.used), (1, 20480))
        origin.says(GOOD)
        self.assertEqual(client.gets(), GOOD)
        self.assertEqual((self.spill.fds, self.spill.quota.used), ([], 0))

    def test_nor_longer_than_its_client(self) -> None:
        client, _origin = self.ask(self.put)
        client.break_off()
        self.settle()
        self.assertEqual((self.spill.fds, self.spill.quota.used), ([], 0))

    def test_its_file_cannot_be_read(self) -> None:
        """That is no server's fault, and no other one would get it, either."""
        self.assert_unreadable(self.put)

    def test_nor_what_was_spilled_of_one_that_is_not_kept(self) -> None:
        self.assert_unreadable(request("POST", "/", body=b"x" * 100_000))

    def assert_unreadable(self, asked: bytes) -> None:
        def fail(*arguments: object) -> int:
            raise DiskFailed(os.strerror(errno.EIO))

        self.patch(Spiller, "send", fail)
        self.start()
        client = self.client()
        client.says(asked)
        with contextlib.suppress(ConnectionResetError):  # in the middle of a TLS handshake
            self.origin("one:80")
        self.assertEqual(parsed(client.gets()).status, "500 Internal Server Error")
        self.assertRegex(self.complaints()[0], "^disk: .*Input/output error")
        self.assertEqual(self.states(), [PeerState.UP] * 3)
        self.assertEqual((self.spill.fds, self.spill.quota.used), ([], 0))

    def test_responses_that_are_not_buffered(self) -> None:
        """That says nothing of requests."""
        client, origin = self.ask(
            self.put, limits=attrs.evolve(LIMITS, buffering=False), request_limits=attrs.evolve(LIMITS, buffering=False)
        )
        origin.close()
        self.assert_next(client, self.put)

    def test_one_that_must_not_be_sent_twice_is_not_kept(self) -> None:
        client, origin = self.ask(request("POST", "/", body=b"x" * 1500))
        self.assertEqual(self.spill.fds, [])
        origin.close()
        self.assert_status(client, 502)

    def test_unless_told_so(self) -> None:
        post = request("POST", "/", body=b"x" * 5000)
        client, origin = self.ask(post, "error", "non_idempotent")
        origin.close()
        self.assert_next(client, post)

    def test_not_one_that_is_streamed(self) -> None:
        """What was sent of it is not here any more."""
        client, origin = self.ask(self.put, request_buffering=False)
        origin.close()
        self.assert_status(client, 502)

    def test_not_one_that_is_larger_than_the_file_may_be(self) -> None:
        client, origin = self.ask(self.put, request_limits=attrs.evolve(LIMITS, max_temp_file_size=16384))
        origin.close()
        self.assert_status(client, 502)

    def test_not_one_that_may_not_be_on_disk(self) -> None:
        client, origin = self.ask(self.put, request_limits=attrs.evolve(LIMITS, max_temp_file_size=0))
        origin.close()
        self.assert_status(client, 502)

    def test_not_one_for_which_the_disk_is_full(self) -> None:
        self.spill.quota.limit = 10_000
        client, origin = self.ask(self.put)
        origin.close()
        self.assert_status(client, 502)


class LimitRules(AttemptCase):
    """How many, and for how long."""

    servers = THREE
    parameters: Mapping[str, Any] = {"max_fails": 0}

    def fail(self, *names: str) -> None:  # type: ignore[override]
        for name in names:
            origin = self.origin(name)
            origin.gets()
            origin.close()

    def test_each_once(self) -> None:
        self.start(line=LINE)
        client = self.client()
        client.says(GET)
        self.fail(*THREE)
        self.assertEqual(parsed(client.gets()).status, "502 Bad Gateway")
        self.assert_log("502 one:80, two:80, three:80 -, -, - 2")

    def test_so_many(self) -> None:
        self.start(line=LINE, next_upstream=after("error", tries=2))
        client = self.client()
        client.says(GET)
        self.fail(*THREE[:2])
        self.assertEqual(parsed(client.gets()).status, "502 Bad Gateway")
        self.assert_log("502 one:80, two:80 -, - 1")

    def test_for_so_long(self) -> None:
        self.start(line=LINE, next_upstream=after("error", timeout=10))
        client = self.client()
        client.says(GET)
        self.advance(6)
        self.fail("one:80")
        second = self.origin("two:80")
        second.gets()
        self.advance(5)
        second.close()
        self.assertEqual(parsed(client.gets()).status, "502 Bad Gateway")

    def test_what_the_last_one_did_is_told(self) -> None:
        self.start(line=LINE)
        client = self.client()
        client.says(GET)
        self.fail(*THREE[:2])
        self.origin("three:80")
        self.advance(30.1)
        self.assertEqual(parsed(client.gets()).status, "504 Gateway Timeout")


class HealthRules(AttemptCase):
    """What is told to the group."""

    def test_what_speaks_against_a_server(self) -> None:
        client, origin = self.ask()
        origin.close()
        second = self.assert_next(client)
        self.assertEqual(self.states(), [PeerState.RESTING, PeerState.UP])
        for _ in range(3):
            client.says(GET)
            self.assertEqual(second.gets(), GET)
            second.says(GOOD)
            self.assertEqual(client.gets(), GOOD)

    def test_even_if_nobody_else_is_asked(self) -> None:
        _client, origin = self.ask(GET, "off")
        origin.close()
        self.settle()
        self.assertEqual(self.states(), [PeerState.RESTING, PeerState.UP])

    def test_a_status_if_it_is_a_reason_to_ask_the_next(self) -> None:
        client, origin = self.ask(GET, "http_503")
        origin.says(BUSY)
        self.assert_next(client)
        self.assertEqual(self.states(), [PeerState.RESTING, PeerState.UP])

    def test_and_only_then(self) -> None:
        client, origin = self.ask()
        origin.says(BUSY)
        client.gets()
        self.assertEqual(self.states(), [PeerState.UP, PeerState.UP])

    def test_what_is_not_there_is_no_failure(self) -> None:
        client, origin = self.ask(GET, "http_404")
        origin.says(response(b"no", status="404 Not Found"))
        self.assert_next(client)
        self.assertEqual(self.states(), [PeerState.UP, PeerState.UP])

    def test_a_kept_connection_that_was_closed_is_no_failure(self) -> None:
        client, origin = self.ask()
        origin.says(GOOD)
        client.gets()
        client.says(GET)
        self.assert_next(client)
        client.says(GET)
        self.assertEqual(origin.gets(), GET)
        origin.close()
        self.assert_next(client, server="one:80")
        self.assertEqual(self.states(), [PeerState.UP, PeerState.UP])

    def test_a_server_that_has_recovered(self) -> None:
        client, origin = self.ask()
        origin.close()
        two = self.assert_next(client)
        self.advance(10.1)
        self.assertEqual(self.states(), [PeerState.TRIAL, PeerState.UP])
        clients = [client, self.client()]  # one for each server, whichever is first
        for each in clients:
            each.says(GET)
        for origin in (self.origin("one:80"), two):
            self.assertEqual(origin.gets(), GET)
            origin.says(GOOD)
        self.assertEqual([each.gets() for each in clients], [GOOD, GOOD])
        self.assertEqual(self.states(), [PeerState.UP, PeerState.UP])

    def test_no_server_is_up(self) -> None:
        """Which the group says once, and nobody for each request."""
        self.parameters = {"down": True}
        self.start(line=LINE + " $error")
        client = self.client()
        for _ in range(3):
            client.says(GET)
            self.assertEqual(parsed(client.gets()).status, "502 Bad Gateway")
        self.assertEqual(self.complaints(), [])
        self.assert_log(*["502 - - 0 upstream: no server is up"] * 3)

    def test_a_mistake_of_ours_is_no_server_s(self) -> None:
        def mistaken(*_: object) -> bytes:
            raise ValueError("nobody has thought of that")

        self.patch(upstream_side, "request_head", mistaken)
        self.start(line=LINE)
        client = self.client()
        client.says(GET)
        self.origin("one:80")
        self.assert_status(client, 500)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual([peer.failed for peer in self.group.peers], [0, 0])
        self.assert_idle(0, clients=0)


class QueueRules(AttemptCase):
    """Who waits when all are busy."""

    servers = THREE[:1]
    parameters: Mapping[str, Any] = {"max_conns": 1}
    queue = QueueSettings(size=1, timeout=7)

    def two(self) -> tuple[Any, Any, Any]:
        """The first client, which is served by C{origin}, and a second one, which waits."""
        first, origin = self.ask()
        second = self.client()
        second.says(GET)
        self.assertEqual(second.gets(), b"")
        return first, origin, second

    def test_the_next_place_is_theirs(self) -> None:
        first, origin, second = self.two()
        origin.says(GOOD)
        self.assertEqual(first.gets(), GOOD)
        self.assertEqual(origin.gets(), GET)
        origin.says(GOOD)
        self.assertEqual(second.gets(), GOOD)
        self.assert_log(*["200 one:80 200 0"] * 2)
        self.assert_idle(1, clients=2)

    def test_not_for_ever(self) -> None:
        _first, _origin, second = self.two()
        self.advance(7.1)
        self.assertEqual(parsed(second.gets()).status, "503 Service Unavailable")
        self.assertEqual(self.complaints(), [])

    def test_not_too_many(self) -> None:
        self.two()
        third = self.client()
        third.says(GET)
        self.assertEqual(parsed(third.gets()).status, "503 Service Unavailable")
        self.assertEqual(self.complaints(), [])

    def test_who_goes_away_leaves_the_queue(self) -> None:
        _first, _origin, second = self.two()
        self.assertEqual(self.group.statistics().waiting, 1)
        second.break_off()
        self.settle()
        self.assertEqual(self.group.statistics().waiting, 0)

    def test_with_their_bodies(self) -> None:
        _first, origin, second = self.two()
        third_first = request("POST", "/", body=b"x" * 5000)
        second.break_off()
        third = self.client()
        third.says(third_first)
        origin.says(GOOD)
        self.assertEqual(origin.gets(), third_first)
        origin.says(GOOD)
        self.assertEqual(third.gets(), GOOD)


class FullServerRules(AttemptCase):
    """A failure when all others are busy."""

    parameters: Mapping[str, Any] = {"max_conns": 1}

    def test_the_next_one_is_waited_for(self) -> None:
        first, one = self.ask()
        second = self.client()
        second.says(GET)
        two = self.origin("two:80")
        self.assertEqual(two.gets(), GET)
        one.close()
        self.assertEqual(first.gets(), b"")
        two.says(GOOD)
        self.assertEqual(second.gets(), GOOD)
        self.assertEqual(two.gets(), GET)
        two.says(GOOD)
        self.assertEqual(first.gets(), GOOD)
        self.assert_log("200 two:80 200 0", "200 one:80, two:80 -, 200 1")


class ManyMemoryTests(AttemptCase, MemoryCase):
    servers = tuple(f"s{number}:80" for number in range(400))

    def test_hundreds_that_cannot_be_reached(self) -> None:
        """One after the other, not one within the other."""
        for each in self.servers:
            self.assertTrue(each)
        self.start(line="$status $retries")
        client = self.client()
        client.says(GET)
        while self.attempts:
            self.refuse()
        self.assertEqual(parsed(client.gets()).status, "502 Bad Gateway")
        self.assert_log("502 399")


class OwnFaultTests(AttemptCase, MemoryCase):
    servers = THREE

    def test_no_server_is_blamed_for_what_we_have_none_of(self) -> None:
        self.start(line="$status $retries")
        client = self.client()
        client.says(GET)
        for server in THREE:
            self.refuse(server, ConnectBindError(errno.EMFILE, "Too many open files"))
        self.assertEqual(parsed(client.gets()).status, "502 Bad Gateway")
        self.assertEqual(self.states(), [PeerState.UP] * 3)
        self.assert_log("502 2")


class SettingsTests(SynchronousTestCase):
    def test_by_default_errors_and_timeouts(self) -> None:
        self.assertEqual(NextUpstream(), after("error", "timeout"))

    def test_off(self) -> None:
        self.assertEqual(after("off"), after())

    def test_words_that_are_none(self) -> None:
        for words in (("errors",), ("error", "off"), ("http_501",)):
            error = self.assertRaises(BadConfiguration, after, *words)
            self.assertIn("next_upstream", str(error))

    def test_what_the_client_is_told(self) -> None:
        told = {each.value: each.status for each in Setback}
        self.assertEqual(
            [told["error"], told["timeout"], told["invalid_header"], told["http_429"]], [502, 504, 502, 429]
        )

    def test_what_speaks_against_a_server(self) -> None:
        innocent = [each.value for each in Setback if not each.is_failure]
        self.assertEqual(innocent, ["http_403", "http_404"])


class ConditionMemoryTests(ConditionRules, MemoryCase):
    pass


class ConditionSocketTests(ConditionRules, SocketCase):
    pass


class LargeBodyMemoryTests(LargeBodyRules, MemoryCase):
    pass


class LargeBodySocketTests(LargeBodyRules, SocketCase):
    pass


class LimitMemoryTests(LimitRules, MemoryCase):
    pass


class LimitSocketTests(LimitRules, SocketCase):
    pass


class HealthMemoryTests(HealthRules, MemoryCase):
    pass


class HealthSocketTests(HealthRules, SocketCase):
    pass


class QueueMemoryTests(QueueRules, MemoryCase):
    pass


class QueueSocketTests(QueueRules, SocketCase):
    pass


class FullServerMemoryTests(FullServerRules, MemoryCase):
    pass


class FullServerSocketTests(FullServerRules, SocketCase):
    pass


del AttemptCase, ConditionRules, LargeBodyRules, LimitRules, HealthRules, QueueRules, FullServerRules
