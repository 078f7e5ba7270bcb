"""Twisted's C{ssl:} endpoints speak our TLS."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ServerEndpoint
from twisted.internet.testing import MemoryReactorClock

from tests.tls.case import TlsCase, authority, key_pem
from twisted_pipe.errors import BadConfiguration
from twisted_pipe.service.endpoints import Listener, parse_listener
from twisted_pipe.tls.facts import TlsFacts


class SslEndpointTests(TlsCase):
    def setUp(self) -> None:
        super().setUp()
        self.issued = authority().issue_cert("a.example")
        self.both = self.write("both.pem", self.issued.private_key_and_cert_chain_pem.bytes())
        self.pem = self.write("a.pem", self.issued.cert_chain_pems[0].bytes())
        self.key = self.write("a.key", self.issued.private_key_pem.bytes())

    def parsed(self, text: str, **options: Any) -> Listener:
        return parse_listener(MemoryReactorClock(), text, **options)

    def test_its_certificate(self) -> None:
        for text in (
            f"ssl:8443:privateKey={self.both}:certKey={self.both}:interface=127.0.0.1",
            f"ssl:8443:privateKey={self.both}",
            f"ssl:port=8443:certKey={self.pem}:privateKey={self.key}:extraCertChain={self.ca()}",
        ):
            tls = self.parsed(text).entrance.tls
            assert tls is not None
            self.assertEqual(self.seen(self.meet(self.client(), tls)), "a.example")

    def test_it_is_tcp_below(self) -> None:
        listener = self.parsed(f"ssl:8443:privateKey={self.both}:interface=127.0.0.1:backlog=7")
        endpoint: Any = listener.endpoint
        self.assertIsInstance(endpoint, TCP4ServerEndpoint)
        self.assertEqual((endpoint._port, endpoint._interface, endpoint._backlog), (8443, "127.0.0.1", 7))
        self.assertEqual(listener.place, self.parsed("127.0.0.1:8443").place)

    def test_a_colon_in_a_path(self) -> None:
        odd = self.write("a:b\\c.pem", self.issued.private_key_and_cert_chain_pem.bytes())
        quoted = odd.replace("\\", "\\\\").replace(":", "\\:")
        tls = self.parsed(f"ssl:8443:privateKey={quoted}").entrance.tls
        assert tls is not None
        self.assertEqual(tls.files, (odd,))

    def test_a_daemon_changes_its_directory(self) -> None:
        """So the files are found again where they were."""
        tls = self.parsed(
            f"ssl:8443:privateKey={os.path.relpath(self.key)}:certKey={os.path.relpath(self.pem)}"
        ).entrance.tls
        assert tls is not None
        self.assertEqual(set(tls.files), {os.path.abspath(self.key), os.path.abspath(self.pem)})

    def test_alpn(self) -> None:
        tls = self.parsed(f"ssl:8443:privateKey={self.both}", alpn=(b"http/1.1",)).entrance.tls
        assert tls is not None
        ends = self.meet(self.client(alpn=(b"h2", b"http/1.1")), tls)
        self.assertEqual(TlsFacts(ends.server).alpn, "http/1.1")
        tls = self.parsed(f"ssl:8443:privateKey={self.both}").entrance.tls
        assert tls is not None
        self.assertTrue(self.meet(self.client(alpn=(b"h2",)), tls).fine)

    def test_what_only_twisted_has_is_left_to_it(self) -> None:
        listener = self.parsed(f"ssl:8443:privateKey={self.both}:sslmethod=TLS_METHOD")
        self.assertIsInstance(listener.endpoint, SSL4ServerEndpoint)
        self.assertIsNone(listener.entrance.tls)

    def test_mistakes(self) -> None:
        locked = self.write("locked.pem", self.issued.cert_chain_pems[0].bytes() + key_pem(self.issued, b"x"))
        for path in ("/nowhere.pem", locked, self.pem):
            error = self.assertRaises(BadConfiguration, self.parsed, f"ssl:8443:privateKey={path}")
            self.assertEqual(error.name, "--listen")
            self.assertNotIn("Traceback", str(error))

    def test_other_endpoints_have_no_tls(self) -> None:
        self.assertIsNone(self.parsed("8443").entrance.tls)
