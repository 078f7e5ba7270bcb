"""
Streams on TLS sockets (L{tests.fuzz.tls_streams}): what arrives on plain ones arrives on them, with and without the fast path.

100 seeds by default; C{TWISTED_PIPE_FUZZ_SOCKET_SEEDS} and C{..._FIRST} as for L{tests.fuzz.test_sockets}.
"""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.mutations import real_modules
from tests.fuzz.streams import Facts, live
from tests.fuzz.tls_streams import TLS_WAYS

SEEDS = int(os.environ.get("TWISTED_PIPE_FUZZ_SOCKET_SEEDS", "100"))
FIRST = int(os.environ.get("TWISTED_PIPE_FUZZ_SOCKET_FIRST", "0"))


class TlsSocketFuzzTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()
        os.mkdir(self.path)

    def live(self, way: str) -> list[Facts]:
        modules = real_modules()
        return [live(seed, way, self.path, modules, TLS_WAYS) for seed in range(FIRST, FIRST + SEEDS)]

    def often(self, facts: list[Facts], **least: int) -> None:
        """Of a hundred lives, in so many at least it happened."""
        for name, count in least.items():
            found = sum(bool(getattr(fact, name)) for fact in facts)
            self.assertTrue(100 * found >= count * len(facts), f"{name}: {found} of {len(facts)}")

    def test_fast(self) -> None:
        """By the relay, and by the pipe what a slow client does not take; nothing by the kernel alone."""
        facts = self.live("fast")
        self.often(facts, relayed=40, spilled=5, mixed=5, broken=5, measured=20, chunked=10)
        self.assertEqual(sum(fact.spliced for fact in facts), 0)

    def test_general(self) -> None:
        facts = self.live("general")
        self.often(facts, spilled=5, broken=5)
        self.assertEqual(sum(fact.relayed + fact.spliced for fact in facts), 0)
