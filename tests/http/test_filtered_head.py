"""Heads of requests as message filters have changed them: what is sent, and what stays as it was."""

from __future__ import annotations

from hypothesis import given
from twisted.trial.unittest import SynchronousTestCase

from tests.messages.test_headers import CHANGES
from tests.messages.test_request import Facts
from twisted_pipe.http.filtered_head import body_length, filtered_head, shown_fields
from twisted_pipe.http.forwarding import ForwardedStyle, Forwarder
from twisted_pipe.http.head import RequestHead, parse_request
from twisted_pipe.http.target import BadTarget
from twisted_pipe.messages.request import RequestMessage

POST = (
    b"POST /a?b HTTP/1.1\r\nHost: a.test:81\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nCookie: a\r\n"
    b"User-Agent: theirs\r\nX-Forwarded-For: 10.9.8.7\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
)


def parsed(data: bytes = POST) -> RequestHead:
    head = parse_request(data)
    assert head is not None
    return head


def message(head: RequestHead) -> RequestMessage:
    lines = shown_fields(head)
    return RequestMessage(Facts(), head.method, head.origin_target, lines, variable=lambda name: None)


class ShownTests(SynchronousTestCase):
    def test_end_to_end_fields_with_the_host(self) -> None:
        self.assertEqual(
            shown_fields(parsed()),
            [b"Host: a.test:81", b"Cookie: a", b"User-Agent: theirs", b"X-Forwarded-For: 10.9.8.7"],
        )

    def test_no_host_is_none(self) -> None:
        self.assertEqual(shown_fields(parsed(b"GET / HTTP/1.0\r\nA: b\r\n\r\n")), [b"A: b"])

    def test_the_authority_of_a_target_is_the_host(self) -> None:
        self.assertEqual(shown_fields(parsed(b"GET http://b.test/ HTTP/1.1\r\nHost: x\r\n\r\n")), [b"Host: b.test"])

    def test_bytes_of_the_body(self) -> None:
        for field, length in ((b"Content-Length: 3", 3), (b"Content-Length: 0", 0), (b"A: b", 0)):
            self.assertEqual(body_length(parsed(b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % field)), length)
        self.assertIsNone(body_length(parsed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")))


class ChangedTests(SynchronousTestCase):
    def test_the_clients_own_head_is_not_touched(self) -> None:
        head = parsed(b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n")
        head.forwarded, head.forwarded_by = b"kept", self
        before = {name: getattr(head, name) for name in ("lines", "all_lines", "origin_target", "host_value", "block")}
        wanted = message(head)
        wanted.headers.set("A", "c")
        wanted.target = b"/x"
        changed = filtered_head(head, wanted)
        self.assertEqual(before, {name: getattr(head, name) for name in before})
        self.assertIs(changed.asked, head)
        self.assertIs(filtered_head(changed, wanted).asked, head)
        self.assertEqual((head.forwarded, head.forwarded_by), (b"kept", self))
        self.assertEqual((changed.forwarded, changed.forwarded_by, changed.block), (b"", None, b""))

    def test_what_frames_the_body_stays(self) -> None:
        head = parsed()
        changed = filtered_head(head, message(head))
        self.assertEqual((changed.length, changed.framing, changed.method), (3, head.framing, b"POST"))
        self.assertTrue(changed.expects_continue)
        self.assertEqual(changed.get(b"content-length"), b"3")
        self.assertEqual(changed.get(b"connection"), b"keep-alive, x-hop")

    def test_what_the_log_says_stays(self) -> None:
        head = parsed()
        wanted = message(head)
        wanted.target = b"/x"
        wanted.headers.set("User-Agent", "ours")
        changed = filtered_head(head, wanted)
        self.assertEqual((changed.line, changed.raw_target, changed.user_agent), (head.line, b"/a?b", b"theirs"))
        self.assertEqual((changed.origin_target, changed.path, changed.query), (b"/x", b"/x", None))
        self.assertEqual(changed.get(b"user-agent"), b"ours")

    def test_marks_of_proxies_are_those_that_are_left(self) -> None:
        head = parsed()
        wanted = message(head)
        wanted.headers.remove("X-Forwarded-For")
        changed = filtered_head(head, wanted)
        self.assertFalse(changed.has_forwarded)
        forwarder = Forwarder(ForwardedStyle.X_FORWARDED, b"", b"192.0.2.7", b"http")
        self.assertNotIn(b"10.9.8.7", b"".join(forwarder.lines(changed)))
        wanted.headers.set("Via", "1.1 other")
        self.assertTrue(filtered_head(head, wanted).has_forwarded)

    def test_what_connection_names_does_not_come_back(self) -> None:
        """Filters have not seen it, so none could take it away or put another in its place."""
        head = parsed(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x-user, X-Forwarded-For\r\nX-User: admin\r\nVia: 1.1 x\r\n"
            b"X-Forwarded-For: 10.9.8.7\r\nTE: trailers\r\n\r\n"
        )
        wanted = message(head)
        wanted.headers.remove("X-Forwarded-For")
        wanted.headers.set("X-User", "bob")
        for _ in range(2):
            head = filtered_head(head, wanted)
            self.assertEqual(head.get_list(b"x-user"), b"bob")
            self.assertIsNone(head.get(b"x-forwarded-for"))
            self.assertEqual((head.get(b"te"), head.get(b"via"), head.get(b"host")), (b"trailers", b"1.1 x", b"a"))
            forwarder = Forwarder(ForwardedStyle.X_FORWARDED, b"", b"192.0.2.7", b"http")
            self.assertIn(b"X-Forwarded-For: 192.0.2.7", forwarder.lines(head))

    def test_the_host_is_another_one_or_none(self) -> None:
        head = parsed()
        wanted = message(head)
        wanted.headers.set("Host", "b.test")
        self.assertEqual(filtered_head(head, wanted).host_value, b"b.test")
        wanted.headers.remove("Host")
        self.assertEqual(filtered_head(head, wanted).host_value, b"")
        self.assertEqual(filtered_head(head, wanted).host, b"a.test")

    def test_hosts_that_cannot_be(self) -> None:
        for value in ("a b", "a:99999", "user@a", "a/b"):
            wanted = message(parsed())
            wanted.headers.set("Host", value)
            self.assertRaises(BadTarget, filtered_head, parsed(), wanted)
        wanted = message(parsed())
        wanted.headers.add("Host", "b.test")
        self.assertRaises(ValueError, filtered_head, parsed(), wanted)

    def test_a_path_that_climbs_out_cannot_be(self) -> None:
        wanted = message(parsed())
        wanted.target = b"/a/../../b"
        self.assertRaises(BadTarget, filtered_head, parsed(), wanted)

    @given(CHANGES)
    def test_whatever_is_changed_it_is_a_head_with_the_same_framing(
        self, changes: list[tuple[str, bytes, bytes]]
    ) -> None:
        head = parsed()
        wanted = message(head)
        for what, name, value in changes:
            arguments = (name,) if what == "remove" else (name, value)
            getattr(wanted.headers, what)(*arguments)
        changed = filtered_head(head, wanted)
        sent = [
            b"POST /a?b HTTP/1.1",
            b"Host: " + (changed.host_value or b""),
            *changed.lines,
            b"Content-Length: 3",
            b"",
            b"",
        ]
        read = parsed(b"\r\n".join(sent))
        self.assertEqual((read.length, read.method, read.host_value), (3, b"POST", b"a.test:81"))
        self.assertEqual(read.lines, changed.lines)
        self.assertEqual([b"Host: a.test:81", *read.lines], wanted.headers.lines)
