from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.http.forwarding import ForwardedStyle, Forwarder, without
from twisted_pipe.http.head import RequestHead, parse_request

CLIENT = b"192.0.2.7"
FRESH = b"GET / HTTP/1.1\r\nHost: a:80\r\nAccept: x\r\n\r\n"
SEEN = (
    b"GET / HTTP/1.0\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1, 2.2.2.2\r\nX-Forwarded-Proto: https\r\nAccept: x\r\n"
    b"x-forwarded-for: 3.3.3.3\r\nX-Forwarded-Host: b\r\nForwarded: for=1.1.1.1\r\nVia: 1.1 first\r\n\r\n"
)


def head(data: bytes) -> RequestHead:
    found = parse_request(data)
    assert found is not None
    return found


def forwarder(style: ForwardedStyle, via: bytes = b"us", client: bytes = CLIENT) -> Forwarder:
    return Forwarder(style, via, client, b"http")


def lines(made: Forwarder, data: bytes) -> list[bytes]:
    """As they are sent: some stand together in one."""
    return b"\r\n".join(made.lines(head(data))).split(b"\r\n")


class DroppedTests(SynchronousTestCase):
    def test_what_connection_names_is_not_continued(self) -> None:
        data = SEEN.replace(b"HTTP/1.0\r\n", b"HTTP/1.1\r\nConnection: X-Forwarded-For, Forwarded, via\r\n")
        for style in (ForwardedStyle.X_FORWARDED, ForwardedStyle.BOTH):
            found = lines(forwarder(style), data)
            self.assertIn(b"X-Forwarded-For: 192.0.2.7", found)
            self.assertIn(b"Via: 1.1 us", found)
        self.assertIn(b'Forwarded: for=192.0.2.7;host="a";proto=http', found)


class FirstProxyTests(SynchronousTestCase):
    """Of requests that no other proxy has seen."""

    def test_x_forwarded(self) -> None:
        self.assertEqual(
            lines(forwarder(ForwardedStyle.X_FORWARDED), FRESH),
            [
                b"Accept: x",
                b"X-Forwarded-Host: a:80",
                b"X-Forwarded-For: 192.0.2.7",
                b"X-Forwarded-Proto: http",
                b"Via: 1.1 us",
            ],
        )

    def test_via_says_by_which_version_it_was_received(self) -> None:
        """RFC 9110, section 7.6.3."""
        for style in ForwardedStyle:
            found = lines(forwarder(style), FRESH.replace(b"HTTP/1.1", b"HTTP/1.0"))
            self.assertEqual([line for line in found if line.startswith(b"Via")], [b"Via: 1.0 us"])

    def test_forwarded(self) -> None:
        self.assertEqual(
            lines(forwarder(ForwardedStyle.RFC7239), FRESH),
            [b"Accept: x", b'Forwarded: for=192.0.2.7;host="a:80";proto=http', b"Via: 1.1 us"],
        )

    def test_both(self) -> None:
        names = [line.partition(b":")[0] for line in lines(forwarder(ForwardedStyle.BOTH), FRESH)]
        wanted = [b"Accept", b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"Forwarded", b"Via"]
        self.assertEqual(names, wanted)

    def test_nothing(self) -> None:
        self.assertEqual(lines(forwarder(ForwardedStyle.OFF, b""), FRESH), [b"Accept: x"])

    def test_without_via(self) -> None:
        for style in ForwardedStyle:
            self.assertNotIn(b"Via", b"".join(lines(forwarder(style, b""), FRESH)))

    def test_ipv6_and_unix_clients(self) -> None:
        """RFC 7239, section 6."""
        for client, node in ((b"::1", b'"[::1]"'), (b"unix", b"_unix"), (b"", b"unknown")):
            found = lines(forwarder(ForwardedStyle.RFC7239, b"", client), FRESH)[-1]
            self.assertEqual(found, b"Forwarded: for=" + node + b';host="a:80";proto=http')


class NextProxyTests(SynchronousTestCase):
    """Of requests that others have passed on."""

    def test_what_they_say_is_continued_and_what_is_ours_replaced(self) -> None:
        self.assertEqual(
            lines(forwarder(ForwardedStyle.X_FORWARDED), SEEN),
            [
                b"Accept: x",
                b"Forwarded: for=1.1.1.1",
                b"X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 192.0.2.7",
                b"X-Forwarded-Proto: http",
                b"X-Forwarded-Host: a",
                b"Via: 1.1 first, 1.0 us",
            ],
        )

    def test_what_a_server_would_take_for_the_same_is_not_passed_on(self) -> None:
        """CGI reads C{_} and C{-} alike. It is not continued either: nobody but a client that lies writes it so."""
        lying = (
            b"GET / HTTP/1.1\r\nHost: a:80\r\nX_Forwarded_For: 6.6.6.6\r\nx-forwarded_proto: https\r\nX_FORWARDED-HOST: evil\r\n"
            b"Accept: x\r\n\r\n"
        )
        made = forwarder(ForwardedStyle.X_FORWARDED)
        self.assertEqual(sorted(lines(made, lying)), sorted(lines(made, FRESH)))

    def test_the_family_that_is_not_written_is_passed_on(self) -> None:
        found = lines(forwarder(ForwardedStyle.RFC7239), SEEN)
        self.assertIn(b"X-Forwarded-For: 1.1.1.1, 2.2.2.2", found)
        self.assertIn(b"x-forwarded-for: 3.3.3.3", found)
        self.assertIn(b'Forwarded: for=1.1.1.1, for=192.0.2.7;host="a";proto=http', found)

    def test_nothing_is_touched(self) -> None:
        made = forwarder(ForwardedStyle.OFF, b"")
        self.assertEqual(made.lines(head(SEEN)), head(SEEN).lines)

    def test_both_continue_both(self) -> None:
        found = lines(forwarder(ForwardedStyle.BOTH), SEEN)
        self.assertEqual(len([line for line in found if line.lower().startswith(b"x-forwarded-for:")]), 1)
        self.assertEqual(len([line for line in found if line.lower().startswith(b"forwarded:")]), 1)
        self.assertEqual(len([line for line in found if line.lower().startswith(b"via:")]), 1)


class BlockTests(SynchronousTestCase):
    def test_it_is_host_the_lines_and_the_end(self) -> None:
        for data in (FRESH, SEEN):
            for style in ForwardedStyle:
                made, request = forwarder(style), head(data)
                wanted = b"\r\n".join([b"Host: " + (request.host_value or b""), *made.lines(request), b"", b""])
                self.assertEqual(made.block(request), wanted)
                self.assertEqual(made.block(request), wanted)

    def test_another_forwarder_makes_another_one(self) -> None:
        request = head(FRESH)
        first = forwarder(ForwardedStyle.X_FORWARDED).block(request)
        other = forwarder(ForwardedStyle.X_FORWARDED, client=b"192.0.2.8").block(request)
        self.assertEqual(other, first.replace(CLIENT, b"192.0.2.8"))

    def test_that_of_the_next_request(self) -> None:
        """Whose fields are the same, or not."""
        made, first = forwarder(ForwardedStyle.X_FORWARDED), head(FRESH)
        block = made.block(first)
        second = parse_request(FRESH.replace(b"GET / ", b"GET /b "), before=first)
        assert second is not None
        self.assertEqual(made.block(second), block)
        third = parse_request(FRESH.replace(b"Host: a", b"Host: b"), before=first)
        assert third is not None
        self.assertEqual(made.block(third), block.replace(b"a:80", b"b:80"))


class WithoutTests(SynchronousTestCase):
    def test_names_have_no_case_and_are_whole(self) -> None:
        found = without([b"Via: x", b"VIA:y", b"Via-X: z", b"X: via:"], frozenset({b"via"}))
        self.assertEqual(found, [b"Via-X: z", b"X: via:"])
