"""An id for each request, and whose own is taken."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.messages.discovery import MESSAGE_FILTERS
from twisted_pipe.testing import MessageHarness, check_message_filter

MADE = b"0123456789abcdef0123456789abcdef"


def request(value: bytes | None = None, name: bytes = b"X-Request-ID") -> bytes:
    field = b"" if value is None else b"%b: %b\r\n" % (name, value)
    return b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % field


class RequestIdTests(SynchronousTestCase):
    def ids(
        self, options: str, data: bytes, client: str = "192.0.2.7"
    ) -> tuple[bytes | None, bytes | None, bytes | None]:
        """What the upstream, the client, and the log are told."""
        exchange = MessageHarness(f"request-id{options}").request(data, client=client).respond()
        assert exchange.upstream_gets is not None and exchange.client_gets is not None
        name = "X-Request-ID"
        logged = exchange.facts.request_id.encode()
        return exchange.upstream_gets.headers.get(name), exchange.client_gets.headers.get(name), logged

    def test_everybody_is_told_the_same(self) -> None:
        self.assertEqual(self.ids("", request()), (MADE, MADE, MADE))

    def test_a_clients_own_is_lost(self) -> None:
        self.assertEqual(self.ids("", request(b"theirs")), (MADE, MADE, MADE))

    def test_that_of_who_is_trusted_is_taken(self) -> None:
        for trusted, client in (
            ("*", "192.0.2.7"),
            ("192.0.2.0/24", "192.0.2.7"),
            ("10.0.0.1,192.0.2.7", "192.0.2.7"),
            (r"2001\:db8\:\:/32", "2001:db8::7"),
            ("192.0.2.7", "::ffff:192.0.2.7"),
            (r"unix\:", "unix:"),
        ):
            got = self.ids(f":trusted={trusted}", request(b"theirs-1"), client)
            self.assertEqual(got, (b"theirs-1",) * 3, (trusted, client))

    def test_that_of_others_is_not(self) -> None:
        for trusted, client in (("10.0.0.0/8", "192.0.2.7"), ("10.0.0.0/8", "unix:"), (r"unix\:", "192.0.2.7")):
            self.assertEqual(self.ids(f":trusted={trusted}", request(b"theirs"), client)[0], MADE)

    def test_nor_one_that_could_be_anything(self) -> None:
        for value in (b"", b"a b", b'"', b"\xe4", b"x" * 129, b"a,b", b"$x"):
            self.assertEqual(self.ids(":trusted=*", request(value)), (MADE,) * 3, value)

    def test_of_several_the_first_is_asked_and_one_is_left(self) -> None:
        data = request(b"one").replace(b"\r\n\r\n", b"\r\nx-request-id: two\r\n\r\n")
        self.assertEqual(self.ids(":trusted=*", data), (b"one",) * 3)

    def test_so_is_what_a_server_could_take_for_it(self) -> None:
        exchange = MessageHarness("request-id:trusted=*").request(request(b"theirs", b"X_Request_Id"))
        assert exchange.upstream_gets is not None
        self.assertEqual([value for name, value in exchange.upstream_gets.headers if name != b"Host"], [MADE])

    def test_the_upstreams_own_is_replaced(self) -> None:
        exchange = MessageHarness("request-id").request()
        exchange.respond(b"HTTP/1.1 200 OK\r\nX-Request-ID: a\r\nX-Request-ID: b\r\n\r\n")
        assert exchange.client_gets is not None
        self.assertEqual(exchange.client_gets.headers.get_all("x-request-id"), [MADE])

    def test_the_client_need_not_be_told(self) -> None:
        self.assertEqual(self.ids(":to_client=off", request()), (MADE, None, MADE))

    def test_another_field(self) -> None:
        exchange = MessageHarness("request-id:header=X-Trace").request()
        assert exchange.upstream_gets is not None
        self.assertEqual(exchange.upstream_gets.headers.get("x-trace"), MADE)

    def test_options_that_cannot_be(self) -> None:
        for options in ("header=Content-Length", "header=a b", "header=", "trusted=somebody", "trusted=10.0.0.1/8"):
            self.assertRaises(BadConfiguration, MESSAGE_FILTERS.parse, f"request-id:{options}")

    def test_it_keeps_the_contract(self) -> None:
        check_message_filter("request-id:trusted=*")
