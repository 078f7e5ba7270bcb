"""Which protocols are offered, and which change is believed."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.http.head import BadMessage, parse_request, parse_response
from twisted_pipe.http.upgrade import check_change, name_of, offered

WEBSOCKET = frozenset({b"websocket"})


def request(*lines: str, minor: int = 1) -> bytes:
    return "\r\n".join([f"GET / HTTP/1.{minor}", "Host: a", *lines, "", ""]).encode()


class OfferedTests(SynchronousTestCase):
    def offered(self, *lines: str, allowed: frozenset[bytes] = WEBSOCKET, minor: int = 1) -> tuple[bytes, ...]:
        head = parse_request(request(*lines, minor=minor))
        assert head is not None
        return offered(head, allowed)

    def test_what_is_allowed_is_offered_as_it_was_written(self) -> None:
        self.assertEqual(self.offered("Connection: Upgrade", "Upgrade: WebSocket"), (b"WebSocket",))

    def test_its_version_too(self) -> None:
        self.assertEqual(self.offered("Connection: upgrade", "Upgrade: websocket/13"), (b"websocket/13",))

    def test_nothing_else_of_a_list_is(self) -> None:
        got = self.offered("Connection: keep-alive, Upgrade", "Upgrade: h2c, websocket ,, irc/6.9")
        self.assertEqual(got, (b"websocket",))

    def test_several_fields_are_one_list(self) -> None:
        lines = ("Connection: Upgrade", "Upgrade: irc", "Upgrade: websocket")
        self.assertEqual(self.offered(*lines, allowed=frozenset({b"irc", b"websocket"})), (b"irc", b"websocket"))

    def test_nothing_is_if_nothing_is_allowed(self) -> None:
        self.assertEqual(self.offered("Connection: Upgrade", "Upgrade: websocket", allowed=frozenset()), ())

    def test_the_field_alone_does_not_count(self) -> None:
        self.assertEqual(self.offered("Connection: close", "Upgrade: websocket"), ())

    def test_http_1_0_cannot_ask(self) -> None:
        self.assertEqual(self.offered("Connection: Upgrade", "Upgrade: websocket", minor=0), ())

    def test_a_request_with_a_body_cannot_either(self) -> None:
        for line in ("Content-Length: 1", "Transfer-Encoding: chunked"):
            self.assertEqual(self.offered("Connection: Upgrade", "Upgrade: websocket", line), (), line)

    def test_an_empty_body_is_none(self) -> None:
        self.assertEqual(
            self.offered("Connection: Upgrade", "Upgrade: websocket", "Content-Length: 0"), (b"websocket",)
        )


class ChangeTests(SynchronousTestCase):
    def refusal(self, *lines: str, asked: tuple[bytes, ...] = (b"websocket",)) -> str:
        """Why the change is refused, empty if it is not."""
        head = parse_response("\r\n".join(["HTTP/1.1 101 Switching Protocols", *lines, "", ""]).encode())
        assert head is not None
        try:
            check_change(head, asked)
        except BadMessage as error:
            self.assertEqual(error.status, 502)
            return error.why
        return ""

    def test_to_what_was_asked_for(self) -> None:
        self.assertEqual(self.refusal("Connection: upgrade", "Upgrade: WEBSOCKET"), "")

    def test_to_another_version_of_it(self) -> None:
        self.assertEqual(self.refusal("Connection: upgrade", "Upgrade: websocket", asked=(b"websocket/13",)), "")

    def test_to_nothing_that_was_asked_for(self) -> None:
        why = self.refusal("Connection: upgrade", "Upgrade: websocket", asked=())
        self.assertEqual(why, "it changes the protocol, which was not asked for")

    def test_to_something_else(self) -> None:
        why = self.refusal("Connection: upgrade", "Upgrade: h2c")
        self.assertEqual(why, "it changes to b'h2c', which was not offered")

    def test_to_something_else_besides(self) -> None:
        self.assertIn("not offered", self.refusal("Connection: upgrade", "Upgrade: websocket, h2c"))

    def test_to_an_empty_list(self) -> None:
        self.assertIn("not offered", self.refusal("Connection: upgrade", "Upgrade: ,"))

    def test_without_saying_to_what(self) -> None:
        why = "it changes the protocol without Upgrade, or without naming that in Connection"
        self.assertEqual(self.refusal("Connection: upgrade"), why)
        self.assertEqual(self.refusal("Upgrade: websocket"), why)


class NameTests(SynchronousTestCase):
    def test_without_version_in_lower_case(self) -> None:
        self.assertEqual([name_of(each) for each in (b"IRC/6.9", b"WebSocket")], [b"irc", b"websocket"])
