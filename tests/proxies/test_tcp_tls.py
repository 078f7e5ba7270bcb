"""Sessions of the TCP proxy with TLS on both sides, on the C{epollet} reactor's own sockets."""

from __future__ import annotations

import os
from typing import Any

import attrs
from twisted.logger import globalLogPublisher

from tests.net.tls_peer import TlsPeer, ask, serve
from tests.proxies.bare_case import LIMITS, SETTINGS, BareCase
from tests.proxies.tls_case import Door, ToServers
from twisted_pipe.net.relay import Relay
from twisted_pipe.proxies.context import ProxyContext
from twisted_pipe.proxies.settings import ProxySettings
from twisted_pipe.proxies.tcp import TcpProxyFactory
from twisted_pipe.upstream.connect_settings import ConnectSettings
from twisted_pipe.upstream.group import UpstreamGroup, UpstreamServer

_IN_MEMORY = attrs.evolve(SETTINGS, limits=attrs.evolve(LIMITS, max_temp_file_size=0))


class TlsSessionTests(BareCase):
    def setUp(self) -> None:
        BareCase.setUp(self)
        self.logged: list[Any] = []
        globalLogPublisher.addObserver(self.logged.append)  # type: ignore[arg-type]
        self.addCleanup(globalLogPublisher.removeObserver, self.logged.append)  # type: ignore[arg-type]

    def begin(self, settings: ProxySettings, address: Any = None) -> None:
        for port in self.ports:
            port.stopListening()
        server = UpstreamServer("origin:80", None, address or self.origin.getsockname())
        group = UpstreamGroup([server], clock=self.engine.reactor, connect=ConnectSettings(tls=ToServers()))
        self.factory = TcpProxyFactory(ProxyContext(group, settings, self.spill, self.engine.reactor))
        self.ports = [self.engine.reactor.listenTCP(0, Door(self.factory), interface="127.0.0.1")]
        self.engine.settle()
        self.registered = self.engine.statistics.registered

    def both(self, settings: ProxySettings | None = None) -> tuple[TlsPeer, TlsPeer]:
        """A client and its upstream, whose handshakes are over."""
        if settings is not None:
            self.begin(settings)
        client = TlsPeer(self.connect().socket, ask(None))
        self.shake(client)
        upstream = TlsPeer(self.accept().socket, serve(None))
        self.shake(upstream)
        self.engine.settle()
        return client, upstream

    def shake(self, peer: TlsPeer) -> None:
        self.settle_until(peer.shake)
        self.engine.settle()

    def reasons(self) -> list[str]:
        """Why sessions have ended otherwise than they should."""
        return [str(event["why"]) for event in self.logged if "why" in event]

    def read_to_the_end(self, peer: TlsPeer) -> bytes:
        found = bytearray()

        def over() -> bool:
            found.extend(peer.read())
            return peer.ended or peer.reset

        self.settle_until(over)
        return bytes(found)

    def carry(self, sender: TlsPeer, taker: TlsPeer, data: bytes) -> bytes:
        sent, found = 0, bytearray()

        def over() -> bool:
            nonlocal sent
            sent += sender.write(data[sent:])
            self.engine.settle()
            found.extend(taker.read())
            return len(found) >= len(data)

        self.settle_until(over)
        return bytes(found)

    def test_both_ways(self) -> None:
        client, upstream = self.both()
        for sender, taker in ((client, upstream), (upstream, client)):
            for data in (b"x", os.urandom(100), os.urandom(1_000_000)):
                self.assertEqual(self.carry(sender, taker, data), data)

    def test_ends(self) -> None:
        """A client that has said everything gets the rest of its answer; an upstream's end is the end of both connections."""
        client, upstream = self.both()
        client.write(b"question")
        client.half_close()
        self.engine.settle()
        self.assertEqual((upstream.read(), upstream.ended), (b"question", False))
        upstream.write(b"answer")
        upstream.half_close()
        self.assertEqual((self.read_to_the_end(client), client.ended), (b"answer", True))
        self.assertEqual((self.read_to_the_end(upstream), upstream.ended), (b"", True))
        self.assertEqual(self.reasons(), [])
        self.assert_over()

    def test_it_passes_by_a_relay(self) -> None:
        client, upstream = self.both()
        self.carry(client, upstream, b"x")
        movers = [way.mover for way in self.ways()]
        self.assertEqual([type(mover) for mover in movers], [Relay, Relay])
        client.close()
        upstream.close()
        self.assert_over()

    def ways(self) -> list[Any]:
        tunnel: Any = self.session._tunnel
        return [tunnel.response, tunnel.request]

    def test_a_stalled_client_holds_the_upstream_back(self) -> None:
        client, upstream = self.both(_IN_MEMORY)
        data = os.urandom(30_000_000)
        sent = self.pour(upstream, data)
        self.assertTrue(sent < 16_000_000, sent)
        found = bytearray()

        def over() -> bool:
            nonlocal sent
            sent += upstream.write(data[sent:])
            self.engine.settle()
            found.extend(client.read())
            return len(found) >= len(data)

        self.settle_until(over)
        self.assertEqual(bytes(found), data)

    def test_a_stalled_upstream_holds_the_client_back(self) -> None:
        client, upstream = self.both(_IN_MEMORY)
        data = os.urandom(30_000_000)
        sent = self.pour(client, data)
        self.assertTrue(sent < 16_000_000, sent)
        before = self.engine.statistics
        self.engine.turn(20)
        after = self.engine.statistics
        self.assertEqual((after.events, after.posted), (before.events, before.posted))
        upstream.break_off()
        self.read_to_the_end(client)
        self.assert_over()

    def test_a_spilled_response(self) -> None:
        client, upstream = self.both()
        data = os.urandom(8_000_000)
        sent = self.pour(upstream, data)
        self.assertEqual(sent, len(data))
        upstream.half_close()
        self.engine.advance(0.1)
        self.assertEqual(self.read_to_the_end(client), data)
        self.assertTrue(client.ended)
        client.close()
        self.assert_over()

    def test_an_upstream_that_is_cut_off(self) -> None:
        client, upstream = self.both()
        upstream.write(b"half")
        upstream.cut_off()
        self.engine.settle()
        self.assertEqual(self.reasons(), ["upstream: cut off without close_notify"])

        def over() -> bool:
            self.engine.advance(0.1)
            self.assertIn(client.read(), (b"half", b""))
            return client.reset

        self.settle_until(over)
        self.assertFalse(client.ended or client.cut)
        self.assert_over()

    def test_a_client_that_vanishes(self) -> None:
        client, upstream = self.both()
        client.write(b"half")
        client.break_off()
        self.read_to_the_end(upstream)
        self.assertFalse(upstream.ended)
        self.assert_over()
