"""Names and passwords: who is let through, and how often a password is hashed."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.messages.basic_auth import BasicAuth
from twisted_pipe.filters.messages.discovery import MESSAGE_FILTERS
from twisted_pipe.interfaces import MessageContext
from twisted_pipe.testing import MessageHarness, check_message_filter
from twisted_pipe.testing.messages import PlayedExchange

SECRET = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="
OTHER = "$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/"


def request(credentials: bytes | None = b"alice:secret", scheme: bytes = b"Basic") -> bytes:
    field = b"" if credentials is None else b"Authorization: %b %b\r\n" % (scheme, base64.b64encode(credentials))
    return b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % field


@attrs.define
class Threads:
    """What is to be done in a thread: done when the test says so."""

    waiting: list[Any] = attrs.field(factory=list)
    count: int = 0
    at_once: bool = True

    def call(self, function: Any, *arguments: Any) -> Any:
        self.count += 1
        if self.at_once:
            return succeed(function(*arguments))
        done: Deferred[Any] = Deferred()
        self.waiting.append((done, function, arguments))
        return done

    def work(self) -> None:
        waiting, self.waiting = self.waiting, []
        for done, function, arguments in waiting:
            done.callback(function(*arguments))


class BasicAuthCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.write(f"alice:{SECRET}\nbob:{OTHER}\n")
        self.threads = Threads()
        self.clock = Clock()

    def write(self, text: str) -> None:
        path = self.folder / "users"
        path.write_text(text)
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000_000))

    def harness(self, **options: Any) -> MessageHarness:
        context = MessageContext(clock=self.clock, folder=str(self.folder), in_thread=self.threads.call)
        return MessageHarness(BasicAuth(context, file="users", **options), clock=self.clock)

    def status(self, exchange: PlayedExchange) -> int:
        """Of the answer; 200 if the request has gone on."""
        if exchange.upstream_gets is not None:
            return 200
        assert exchange.client_gets is not None
        return exchange.client_gets.status


class CheckTests(BasicAuthCase):
    def test_the_right_ones_are_let_through(self) -> None:
        harness = self.harness()
        for credentials in (b"alice:secret", b"bob:secret"):
            exchange = harness.request(request(credentials))
            self.assertEqual(self.status(exchange), 200)
            self.assertEqual(exchange.variable("remote_user"), credentials[:-7])
            self.assertEqual(exchange.variable("filter_user"), credentials[:-7])

    def test_others_are_asked(self) -> None:
        harness = self.harness(realm="Our house")
        for data in (
            request(None),
            request(b"alice:wrong"),
            request(b"carol:secret"),
            request(b"alice"),
            request(b":secret"),
            request(b"alice:secret", b"Bearer"),
            request(b"alice:" + b"x" * 600),
            request(b"al\nice:secret"),
            b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic ???\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic\r\n\r\n",
            request().replace(b"\r\n\r\n", b"\r\nAuthorization: Basic YWxpY2U6c2VjcmV0\r\n\r\n"),
        ):
            got = harness.request(data).client_gets
            assert got is not None
            self.assertEqual(got.status, 401)
            challenge = b'Basic realm="Our house", charset="UTF-8"'
            self.assertEqual(got.headers.get("www-authenticate"), challenge)

    def test_the_scheme_is_in_any_case_and_its_padding_may_be_missing(self) -> None:
        harness = self.harness()
        self.assertEqual(self.status(harness.request(request(scheme=b"bAsIc"))), 200)
        data = b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic Ym9iOnNlY3JldA\r\n\r\n"
        self.assertEqual(self.status(harness.request(data)), 200)

    def test_a_password_may_have_colons(self) -> None:
        self.write("alice:{SHA}o8UYd5yeYKV48jILjewtFj6GMms=\n")  # of "a:b:"
        import hashlib

        stored = base64.b64encode(hashlib.sha1(b"a:b:").digest()).decode()
        self.write(f"alice:{{SHA}}{stored}\n")
        self.assertEqual(self.status(self.harness().request(request(b"alice:a:b:"))), 200)

    def test_the_upstream_is_told_the_name_by_nobody_else(self) -> None:
        harness = self.harness(user_header="X-User", pass_authorization=False)
        data = request().replace(b"\r\n\r\n", b"\r\nX-User: root\r\nx-user: admin\r\nX_User: root\r\n\r\n")
        got = harness.request(data).upstream_gets
        assert got is not None
        self.assertEqual([value for name, value in got.headers if b"user" in name.lower()], [b"alice"])
        self.assertNotIn("Authorization", got.headers)

    def test_somebody_who_does_not_exist_takes_as_long(self) -> None:
        harness = self.harness()
        harness.request(request(b"carol:secret"))
        self.assertEqual(self.threads.count, 1)

    def test_without_users_nobody_comes_in(self) -> None:
        self.write("")
        self.assertEqual(self.status(self.harness().request(request())), 401)


class MemoryTests(BasicAuthCase):
    def test_what_was_right_is_not_hashed_again(self) -> None:
        harness = self.harness(remember=60.0)
        for _ in range(5):
            self.assertEqual(self.status(harness.request(request())), 200)
        self.assertEqual(self.threads.count, 1)
        self.clock.advance(59)
        harness.request(request())
        self.assertEqual(self.threads.count, 1)
        self.clock.advance(1)
        harness.request(request())
        self.assertEqual(self.threads.count, 2)

    def test_what_was_wrong_is(self) -> None:
        harness = self.harness()
        for _ in range(3):
            self.assertEqual(self.status(harness.request(request(b"alice:wrong"))), 401)
        self.assertEqual(self.threads.count, 3)

    def test_nobody_else_profits_by_it(self) -> None:
        harness = self.harness()
        harness.request(request())
        for credentials in (b"alice:secre", b"alic:esecret", b"bob:secret", b"carol:secret"):
            harness.request(request(credentials))
        self.assertEqual(self.threads.count, 5)

    def test_a_changed_password_counts_soon(self) -> None:
        harness = self.harness()
        harness.request(request())
        self.write("alice:{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=\n")
        self.clock.advance(1.1)
        self.assertEqual(self.status(harness.request(request())), 401)

    def test_who_was_taken_out_is_not_remembered_by_an_equal_hash(self) -> None:
        harness = self.harness()
        harness.request(request())
        self.write(f"bob:{SECRET}\n")
        self.clock.advance(1.1)
        self.assertEqual(self.status(harness.request(request())), 401)

    def test_a_file_that_went_wrong_changes_nothing_and_is_logged(self) -> None:
        harness = self.harness()
        self.write("nonsense\n")
        self.clock.advance(1.1)
        self.assertEqual(self.status(harness.request(request())), 200)

    def test_never_if_told_so(self) -> None:
        harness = self.harness(remember=0.0)
        harness.request(request())
        harness.request(request())
        self.assertEqual(self.threads.count, 2)

    def test_it_is_bounded(self) -> None:
        self.write("".join(f"u{number}:{SECRET}\n" for number in range(4100)))
        harness = self.harness()
        for number in range(4100):
            self.assertEqual(self.status(harness.request(request(b"u%d:secret" % number))), 200)
        self.assertEqual(len(harness.filters[0]._right), 4096)


class ThreadTests(BasicAuthCase):
    def setUp(self) -> None:
        BasicAuthCase.setUp(self)
        self.threads.at_once = False

    def test_a_request_waits_for_the_thread(self) -> None:
        exchange = self.harness().request(request())
        self.assertTrue(exchange.waiting)
        self.threads.work()
        self.assertEqual(self.status(exchange), 200)

    def test_the_same_password_is_hashed_once_for_all_who_wait(self) -> None:
        harness = self.harness()
        exchanges = [harness.request(request()) for _ in range(6)]
        self.assertEqual(self.threads.count, 1)
        exchanges[0].go_away()
        self.threads.work()
        self.assertEqual([self.status(each) for each in exchanges[1:]], [200] * 5)

    def test_only_so_many_wait(self) -> None:
        harness = self.harness(most_checks=2)
        exchanges = [harness.request(request(b"alice:%d" % number)) for number in range(3)]
        self.assertEqual([each.waiting for each in exchanges], [True, True, False])
        self.assertEqual(self.status(exchanges[2]), 503)
        self.threads.work()
        self.assertTrue(harness.request(request(b"alice:4")).waiting)

    def test_hashes_that_python_makes_are_made_one_after_the_other(self) -> None:
        """Several threads of them would be no faster, and the reactor's would wait for each of them."""
        harness = self.harness()
        exchanges = [harness.request(request(b"bob:%d" % number)) for number in range(3)]
        for done in range(3):
            self.assertEqual(len(self.threads.waiting), 1)
            self.threads.work()
            self.assertEqual([each.waiting for each in exchanges].count(False), done + 1)

    def test_others_leave_threads_for_other_work(self) -> None:
        harness = self.harness()
        for number in range(9):
            harness.request(request(b"alice:%d" % number))
        self.assertEqual(len(self.threads.waiting), 4)
        self.threads.work()
        self.assertEqual(len(self.threads.waiting), 4)

    def test_one_that_fails_lets_the_next_have_its_turn(self) -> None:
        harness = self.harness()
        exchanges = [harness.request(request(b"bob:%d" % number)) for number in range(2)]
        [(done, _, _)] = self.threads.waiting
        self.threads.waiting.clear()
        done.errback(MemoryError("no memory"))
        self.assertEqual(self.status(exchanges[0]), 500)
        self.threads.work()
        self.assertEqual(self.status(exchanges[1]), 401)

    def test_what_fails_in_the_thread_is_a_failure(self) -> None:
        exchange = self.harness().request(request())
        [(done, _, _)] = self.threads.waiting
        done.errback(MemoryError("no memory"))
        self.assertIn("no memory", str(exchange.failure))
        self.assertEqual(self.status(exchange), 500)


class OptionTests(BasicAuthCase):
    def test_a_file_that_cannot_be_is_told_at_start_up(self) -> None:
        self.write("alice:plain\n")
        error = self.assertRaises(BadConfiguration, self.harness)
        self.assertEqual(error.name, "file")
        self.assertIn("line 1", error.expected)

    def test_who_may_come_in_is_decided_even_if_it_fails(self) -> None:
        plugin = MESSAGE_FILTERS.parse("basic-auth:file=users:on_failure=bypass")
        error = self.assertRaises(BadConfiguration, plugin.build, MessageContext(folder=str(self.folder)))
        self.assertEqual((error.name, str(error.value)), ("message filter basic-auth: on_failure", "bypass"))
        self.assertTrue(error.expected.startswith("must be abort"), error.expected)

    def test_so_is_a_realm(self) -> None:
        self.assertRaises(BadConfiguration, self.harness, realm='a"b')

    def test_it_keeps_the_contract(self) -> None:
        context = MessageContext(folder=str(self.folder))
        check_message_filter("basic-auth:file=users", [request(), request(b"alice:wrong")], context=context)
