"""What C{PipeLimits} and C{upload_rate} mean for sessions of the TCP proxy, whose ways begin on the fast path."""

from __future__ import annotations

from typing import Any

import attrs

from tests.net.fakes import Peer
from tests.proxies.bare_case import LIMITS, PATIENT, SETTINGS, BareCase
from twisted_pipe.proxies.settings import ProxySettings

RATE = 100_000


class RateTests(BareCase):
    def rated(self, down: int, up: int) -> ProxySettings:
        return attrs.evolve(PATIENT, limits=attrs.evolve(PATIENT.limits, limit_rate=down), upload_rate=up)

    def move(self, source: Peer, sink: Peer, seconds: float = 5) -> float:
        """Bytes a second while the source sends all it may."""
        got = 0
        for _ in range(round(seconds / 0.01)):
            source.write(bytes(20_000))
            self.engine.clock.advance(0.01)
            self.engine.turn(3)
            got += len(sink.read())
        return got / seconds

    def assert_rate(self, source: Peer, sink: Peer) -> None:
        found = self.move(source, sink)
        self.assertTrue(abs(found - RATE) <= RATE * 0.03, f"{found} instead of {RATE}")

    def test_down(self) -> None:
        client, server = self.pair(self.rated(RATE, 0))
        self.assert_rate(server, client)
        self.assertTrue(self.move(client, server, 0.5) > 5 * RATE)

    def test_up(self) -> None:
        client, server = self.pair(self.rated(0, RATE))
        self.assert_rate(client, server)
        self.assertTrue(self.move(server, client, 0.5) > 5 * RATE)


class TimeoutTests(BareCase):
    def limited(self, **limits: Any) -> ProxySettings:
        return attrs.evolve(SETTINGS, limits=attrs.evolve(LIMITS, read_timeout=0, **limits), idle_timeout=0)

    def test_total_timeout(self) -> None:
        """However the bytes go through."""
        client, server = self.pair(self.limited(total_timeout=20))
        for _ in range(3):
            self.engine.advance(5, 1)
            server.write(b"x")
            self.settle_until(client.read)
        self.engine.advance(6, 1)
        self.assert_over()

    def test_idle_timeout_of_the_limits(self) -> None:
        self.pair(self.limited(idle_timeout=20))
        self.engine.advance(21, 1)
        self.assert_over()
