"""Tests of twisted_pipe.proxies.request_head; what else it says is in test_exchange."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.proxies.http_case import MemoryCase
from tests.proxies.http_messages import request, response
from twisted_pipe.proxies.request_head import _host_of
from twisted_pipe.upstream.group import UpstreamServer


class HostTests(SynchronousTestCase):
    """C{pass_host = false}: the server's own."""

    def assert_host(self, name: str, address: Any, host: bytes) -> None:
        self.assertEqual(_host_of(UpstreamServer(name, None, address)), host)

    def test_addresses(self) -> None:
        self.assert_host("tcp:127.0.0.1:9000", ("127.0.0.1", 9000), b"127.0.0.1:9000")
        self.assert_host("tcp:127.0.0.1:9000:timeout=3", ("127.0.0.1", 9000), b"127.0.0.1:9000")
        self.assert_host("[::1]:9000", ("::1", 9000, 0, 0), b"[::1]:9000")
        self.assert_host("tcp6:\\:\\:1:9000", ("::1", 9000, 0, 0), b"[::1]:9000")

    def test_names(self) -> None:
        self.assert_host("app.internal:9000", None, b"app.internal:9000")
        self.assert_host("tcp:app.internal:9000", None, b"app.internal:9000")

    def test_what_has_no_host(self) -> None:
        self.assert_host("unix:/run/app.sock", "/run/app.sock", b"localhost")
        self.assert_host("systemd:domain=INET:index=0", None, b"localhost")


class PassHostTests(MemoryCase):
    def test_the_server_s_own_host(self) -> None:
        _client, origin = self.pair(request(), pass_host=False)
        self.assertIn(b"\r\nHost: origin:80\r\n", origin.gets())
        origin.says(response(b""))
