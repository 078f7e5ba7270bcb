"""
The transcripts of HTTP that are played on bare sockets, once more with TLS on both sides: nobody may see a difference.

Each C{...SocketTests} of the modules below is found by its name and played again.
"""

from __future__ import annotations

from collections.abc import Callable
from unittest import SkipTest

from tests.proxies import (
    test_attempts,
    test_drain,
    test_exchange,
    test_http_bad_input,
    test_http_client,
    test_http_coding,
    test_http_upstream,
    test_request_body,
    test_response_body,
    test_upgrade,
)
from tests.proxies.http_case import SocketCase
from tests.proxies.http_messages import request, response
from tests.proxies.tls_case import TlsWires
from twisted_pipe.http.forwarding import ForwardedStyle

_PLAYED = (
    test_attempts,
    test_drain,
    test_exchange,
    test_http_bad_input,
    test_http_client,
    test_http_coding,
    test_http_upstream,
    test_request_body,
    test_response_body,
    test_upgrade,
)

#: Tests that have to be different, or that TLS cannot play.
_NOT_PLAYED = {
    "test_a_client_that_half_closes_still_gets_everything": "TLS has no halves",
    "test_a_server_that_half_closes_still_gets_everything": "TLS has no halves",
    "test_a_server_that_has_ended_does_not_wait_for_a_silent_client": "TLS has no halves",
    "test_a_mistake_of_ours_is_no_server_s": "the reset meets the test's own handshake",
    "test_who_is_served": "the scheme is another",
    "test_who_was_served_before": "the scheme is another",
    "test_the_same_by_the_standard": "the scheme is another",
    "test_nothing_more_is_read_than_may_be_kept": "acknowledging records takes real time; see tests.net.test_tls_socket",
    "ResponseSocketTests.test_byte_by_byte": "the kernel has not acknowledged the last of so many records when it is asked",
}


class SchemeTests(TlsWires):
    def test_the_origin_is_told_of_the_client_s_scheme(self) -> None:
        self.start(forwarded=ForwardedStyle.X_FORWARDED)
        client = self.client()
        client.says(request())
        origin = self.origin()
        self.assertIn(b"X-Forwarded-Proto: https", origin.gets().split(b"\r\n"))
        origin.says(response(b"hi"))
        self.assertEqual(client.gets(), response(b"hi"))
        self.assert_idle(1)

    def test_an_idle_connection_that_is_cut_off(self) -> None:
        """Most clients go without a close_notify. While nothing is under way that is no failure."""
        client, origin = self.both()
        origin.says(response(b"hi"))
        client.gets()
        client.peer.cut_off()
        origin.peer.cut_off()
        self.assert_idle(0, clients=0)
        self.assertEqual(self.complaints(), [])

    def test_a_response_that_is_cut_off(self) -> None:
        """Without a length, only a close_notify tells its end."""
        client, origin = self.both()
        origin.says(response(b"half", length=False))
        origin.peer.cut_off()
        client.gets()
        self.assertTrue(client.reset)
        self.assert_log('"GET / HTTP/1.1" 200 9 origin:80 200 0 upstream: cut off without close_notify')


def _skipped(why: str) -> Callable[[TlsWires], None]:
    def test(self: TlsWires) -> None:
        raise SkipTest(why)

    return test


def _played_again(found: type, name: str) -> type:
    """The same tests by TLS."""
    members = {}
    for key, why in _NOT_PLAYED.items():
        kind, _, test = key.rpartition(".")
        if kind in ("", found.__name__) and hasattr(found, test):
            members[test] = _skipped(why)
    return type(name, (TlsWires, found), {"__module__": __name__, "__doc__": found.__doc__, **members})


for _module in _PLAYED:
    for _name, _found in list(vars(_module).items()):
        if isinstance(_found, type) and issubclass(_found, SocketCase) and _name.endswith("SocketTests"):
            _again = _name.replace("Socket", "Tls")
            globals()[_again] = _played_again(_found, _again)
del _found
