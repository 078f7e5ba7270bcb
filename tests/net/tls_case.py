"""What tests of TLS sockets share."""

from __future__ import annotations

import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.net.loopback import Loopback
from tests.net.test_edge import Owner
from tests.net.tls_peer import SMALL, TlsPeer, tls_pair
from twisted_pipe.net.tls_socket import TlsSocket


class TlsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.engine = Loopback(self)
        self.engine.settle()
        self.registered = self.engine.statistics.registered

    def pair(self, **how: Any) -> tuple[TlsSocket, TlsPeer]:
        return tls_pair(self.engine, **how)

    def full(self, **how: Any) -> tuple[TlsSocket, TlsPeer, bytes]:
        """One whose kernel takes no more, and what it has taken until then."""
        ours, peer = self.pair(buffer=SMALL, **how)
        sent = bytearray()
        while ours.writable:
            part = os.urandom(30_000)
            sent += part[: ours.send([part])]
        return ours, peer, bytes(sent)

    def reading(self, ours: TlsSocket) -> list[bytes]:
        """What its reader gets, from now on."""
        found: list[bytes] = []

        def read() -> None:
            buffer = bytearray(100)
            while (count := ours.recv_into(memoryview(buffer))) > 0:
                found.append(bytes(buffer[:count]))

        ours.reader = Owner(ours, read)
        return found

    def received(self, peer: TlsPeer, count: int) -> bytes:
        """What comes to C{peer}, with turns of the reactor between."""
        found = b""
        for _ in range(10_000):
            found += peer.read(3000)
            self.engine.settle()
            if len(found) >= count or peer.ended or peer.reset:
                break
        return found

    def assert_at_rest(self, turns: int = 20) -> None:
        """No event, nothing posted: nobody is woken up."""
        self.engine.settle()
        before = self.engine.statistics
        self.engine.turn(turns)
        after = self.engine.statistics
        self.assertEqual((after.events, after.posted, after.queued), (before.events, before.posted, 0))
