"""
The lives of L{tests.fuzz.streams} whose pipes stand between two TLS sockets: records of all sizes, cut wherever the kernel cuts
them, and a peer's last record that waits for room.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from types import ModuleType
from typing import Any

from OpenSSL import SSL

from tests.fuzz.streams import Life, PipeLife
from tests.net.fakes import Peer
from tests.net.tls_peer import TlsPeer, tls_pair
from tests.net.tls_records import Records, records_of
from twisted_pipe.net import tls_stream

__all__ = ["TLS_WAYS"]


class UpdatingPeer(TlsPeer):
    """Makes its records by hand, and every now and then some with other keys."""

    records: Records
    rng: random.Random

    def write(self, data: bytes) -> int:
        sent = 0
        while sent < len(data) and self.flush():
            for _ in range(self.rng.choice([0, 0, 0, 0, 0, 0, 1, 3])):
                self.outgoing += self.records.key_update(answer=False)
            part = data[sent : sent + self.record]
            self.outgoing += self.records.bytes_of(bytes(part))
            sent += len(part)
        self.flush()
        return sent

    def half_close(self) -> None:
        self.outgoing += self.records.close_notify()
        self._ends = True
        self.flush()

    def close(self) -> None:
        self.half_close()
        self.socket.close()


class TlsPipeLife(PipeLife):
    """Upstream and downstream speak TLS, of either version."""

    peers: list[TlsPeer]
    may_reset = False  # behind a close_notify it is none

    def __init__(self, seed: int, spill: str, modules: dict[str, ModuleType], fast: bool) -> None:
        self.peers = []
        PipeLife.__init__(self, seed, spill, modules, fast)
        if len(self.wire.message) < 10_000 and self.rng.random() < 0.3:
            self.peers[0].record = 1
        self.case.patch(tls_stream, "MOST_CALLS", self.rng.choice([1, 2, 16]))

    def connected(self, accepted: bool) -> tuple[Any, Peer]:
        rng = self.rng
        version = rng.choice([SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
        ours, peer = tls_pair(self.engine, server=accepted, tcp=self.tcp, version=version)
        if version == SSL.TLS1_3_VERSION and rng.random() < 0.3:
            updating = UpdatingPeer(peer.socket, peer.connection)
            updating.shaken, updating.records, updating.rng = True, records_of(peer), rng
            peer = updating
        peer.record = rng.choice([100, 5000, 16384, 16384])
        self.peers.append(peer)
        return ours, peer

    def look_on(self) -> None:
        """Peers carry their records whatever else they do."""
        for peer in self.peers:
            with contextlib.suppress(OSError, SSL.Error):
                peer.flush()
        PipeLife.look_on(self)

    def vanish(self) -> None:
        """When all that counts as sent has left, the close_notify too: the rest of a record is no byte that could arrive."""
        if self.breaker is not self.wire.sender:
            self.breaker.close()
            return
        if not self.wire.ended:
            self.wire.ended = True
            self.breaker.half_close()
        if self.under_way:
            self.vanishes_at += 1
            self.facts.broken = False
        else:
            self.breaker.socket.close()

    def take_the_rest(self) -> None:
        """The last record, and the end, may wait for room."""
        wire, got = self.wire, -1
        while got < len(wire.got):
            got = len(wire.got)
            wire.take()
            self.engine.settle()
        wire.take()

    @property
    def under_way(self) -> bool:
        sender: Any = self.wire.sender
        return bool(sender.outgoing)


#: As L{tests.fuzz.streams.WAYS}.
TLS_WAYS: dict[str, Callable[..., Life]] = {
    "fast": lambda seed, spill, modules: TlsPipeLife(seed, spill, modules, True),
    "general": lambda seed, spill, modules: TlsPipeLife(seed, spill, modules, False),
}
