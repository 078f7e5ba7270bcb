"""What the bundled checks send, what they take for an answer, and how much of it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.upstream.checking import FakeConnector, FakeStream
from twisted_pipe.errors import CheckFailed
from twisted_pipe.upstream.group import UpstreamServer
from twisted_pipe.upstream.health_check import CHECKS
from twisted_pipe.upstream.http_check import MAX_BODY, MAX_HEAD
from twisted_pipe.upstream.tcp_check import MAX_ANSWER

SERVER = UpstreamServer("10.0.0.1:8080", None, ("10.0.0.1", 8080))


class CheckCase(SynchronousTestCase):
    def begin(self, text: str, server: UpstreamServer = SERVER) -> tuple[Deferred[Any], FakeStream]:
        connector = FakeConnector()
        checking = CHECKS.parse(text).build(connector).check(server)
        (stream,) = connector.streams
        return checking, stream

    def result(self, text: str, *said: bytes | CheckFailed) -> str:
        """Empty if the check is passed, else why not."""
        checking, stream = self.begin(text)
        stream.say(*said)
        self.assertFalse(stream.open, "it was not closed")
        results: list[Any] = []
        checking.addBoth(results.append)
        (result,) = results
        if result is None:
            return ""
        result.trap(CheckFailed)
        return str(result.value)

    def check_any_cut(self, text: str, said: bytes, expected: str) -> None:
        for cut in range(len(said) + 1):
            self.assertEqual(
                self.result(text, *(part for part in (said[:cut], said[cut:]) if part), b""), expected, cut
            )
        self.assertEqual(self.result(text, *(bytes([each]) for each in said), b""), expected)

    def check_cancelled(self, text: str) -> None:
        checking, stream = self.begin(text)
        self.assertTrue(stream.reads)
        checking.cancel()
        self.failureResultOf(checking)
        self.assertFalse(stream.open)


class TcpTests(CheckCase):
    def test_connecting_is_enough(self) -> None:
        checking, stream = self.begin("tcp")
        self.assertEqual((self.successResultOf(checking), stream.sent, stream.open), (None, b"", False))

    def test_bytes_are_sent_and_looked_for(self) -> None:
        text = r"tcp:send=PING\r\n:expect=+PONG\r\n"
        checking, stream = self.begin(text)
        self.assertEqual(stream.sent, b"PING\r\n")
        checking.cancel()
        self.failureResultOf(checking)
        self.check_any_cut(text, b"hello\r\n+PONG\r\n", "")
        self.check_any_cut(text, b"-ERR\r\n", r"it ends with '-ERR\r\n'")
        self.assertEqual(self.result(text, b""), "it ends without a word")

    def test_it_does_not_wait_for_the_end(self) -> None:
        checking, stream = self.begin("tcp:expect=220")
        stream.say(b"220 mail.test")
        self.successResultOf(checking)
        self.assertFalse(stream.open)

    def test_a_regular_expression(self) -> None:
        self.check_any_cut(r"tcp:match=^SSH-[12]\.", b"SSH-2.0-x", "")
        self.check_any_cut(r"tcp:match=^SSH-[12]\.", b"xSSH-2.0", "it ends with 'xSSH-2.0'")

    def test_what_is_expected_is_no_regular_expression(self) -> None:
        self.assertEqual(self.result("tcp:expect=a.c", b"abc", b""), "it ends with 'abc'")

    def test_an_answer_is_bounded(self) -> None:
        checking, stream = self.begin("tcp:expect=y")
        for _ in range(MAX_ANSWER // 1024 - 1):
            stream.say(b"x" * 1024)
        self.assertNoResult(checking)
        stream.say(b"x" * 1024 + b"y")
        error = self.failureResultOf(checking, CheckFailed).value
        self.assertEqual(str(error), f"what is wanted is not in its first 16384 bytes, '{'x' * 60}'…")

    def test_broken_off(self) -> None:
        self.assertEqual(self.result("tcp:expect=x", CheckFailed("reset")), "reset")

    def test_cancelled(self) -> None:
        self.check_cancelled("tcp:expect=x")


class HttpTests(CheckCase):
    def test_the_request(self) -> None:
        _, stream = self.begin("http:path=/healthz?x=1:host=app.test:method=HEAD")
        lines = stream.sent.split(b"\r\n")
        self.assertEqual(lines[:2], [b"HEAD /healthz?x=1 HTTP/1.1", b"Host: app.test"])
        self.assertIn(b"Connection: close", lines)
        self.assertEqual(lines[-2:], [b"", b""])

    def test_the_host_is_the_address_if_nothing_is_said(self) -> None:
        _, stream = self.begin("http")
        self.assertEqual(stream.sent.split(b"\r\n")[:2], [b"GET / HTTP/1.1", b"Host: 10.0.0.1:8080"])
        _, stream = self.begin("http", UpstreamServer("unix:/run/x", None, "/run/x"))
        self.assertIn(b"\r\nHost: localhost\r\n", stream.sent)

    def test_statuses(self) -> None:
        for given, right, wrong in (
            ("", (200, 204, 302, 399), (400, 404, 500, 503)),
            (":status=200-299,304", (200, 299, 304), (300, 303, 305)),
            (":status=404", (404,), (200, 403)),
        ):
            for status in (*right, *wrong):
                expected = "" if status in right else f"status {status}"
                self.assertEqual(self.result(f"http{given}", b"HTTP/1.1 %d X\r\n\r\n" % status), expected)

    def test_any_cut(self) -> None:
        self.check_any_cut("http", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "")
        self.check_any_cut("http", b"HTTP/1.0 503 No\r\n\r\nno", "status 503")
        self.check_any_cut(
            "http", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", ""
        )
        self.check_any_cut("http:body=^ok$", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "")
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\n\r\n"
        self.check_any_cut("http:body=^ok$", chunked, "")
        self.check_any_cut("http:body=^ok$", b"HTTP/1.0 200 OK\r\n\r\nok", "")
        self.check_any_cut("http:body=^ok$", b"HTTP/1.0 200 OK\r\n\r\nkaputt", "its body does not match, 'kaputt'")

    def test_the_body_is_only_waited_for_if_it_is_wanted(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
        self.assertEqual(self.result("http", head), "")
        checking, stream = self.begin("http:body=x")
        stream.say(head, b"x")
        self.assertNoResult(checking)
        stream.say(b"y" * 999)
        self.successResultOf(checking)

    def test_no_http(self) -> None:
        self.assertRegex(self.result("http", b"SSH-2.0-OpenSSH\r\n"), "^no HTTP: .*, 'SSH-2.0-OpenSSH.*")
        self.assertEqual(self.result("http", b""), "it ends before the head of its response does")
        self.assertEqual(
            self.result("http", b"HTTP/1.1 200 OK\r\n", b""), "it ends before the head of its response does"
        )

    def test_a_head_is_bounded(self) -> None:
        for endless in (b"A: " + b"b" * 100 + b"\r\n", b"x" * 100):
            checking, stream = self.begin("http")
            stream.say(b"HTTP/1.1 200 OK\r\n")
            sent = 0
            while stream.open:
                stream.say(endless)
                sent += len(endless)
                self.assertLess(sent, 2 * MAX_HEAD)
            self.failureResultOf(checking, CheckFailed)

    def test_interim_responses_are_bounded(self) -> None:
        checking, stream = self.begin("http")
        for _ in range(MAX_HEAD // 20):
            if stream.open:
                stream.say(b"HTTP/1.1 100 C\r\n\r\n" * 2)
        self.failureResultOf(checking, CheckFailed)

    def test_a_body_is_bounded(self) -> None:
        text = "http:body=y"
        said = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (MAX_BODY - 1)
        self.assertEqual(self.result(text, said, b"y" * 10), "")
        self.assertIn("its body does not match", self.result(text, said, b"x", b"y"))

    def test_what_comes_behind_the_response_does_not_matter(self) -> None:
        self.assertEqual(self.result("http:body=ok", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\0\0garbage"), "")

    def test_broken_off(self) -> None:
        self.assertEqual(self.result("http", b"HTTP/1.1", CheckFailed("reset")), "reset")

    def test_cancelled(self) -> None:
        self.check_cancelled("http")
