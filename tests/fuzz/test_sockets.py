"""
Streams on real sockets (L{tests.fuzz.streams}): whichever way they go, the same arrives.

150 seeds by default; C{TWISTED_PIPE_FUZZ_SOCKET_SEEDS} asks for another number, C{TWISTED_PIPE_FUZZ_SOCKET_FIRST} for another
first seed.
"""

from __future__ import annotations

import os
from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.mutations import FOUND_AT, SOCKET_MUTATIONS, copied_modules, mutated_modules, real_modules
from tests.fuzz.streams import WAYS, Facts, live
from tests.fuzz.test_pipe import NO_MUTATIONS

SEEDS = int(os.environ.get("TWISTED_PIPE_FUZZ_SOCKET_SEEDS", "150"))
FIRST = int(os.environ.get("TWISTED_PIPE_FUZZ_SOCKET_FIRST", "0"))
MUTATION_SEEDS = 400


class SocketFuzzTests(SynchronousTestCase):
    """
    Each seed is lived by each way.

    Seen to fail for each mutation of C{SOCKET_MUTATIONS}, which L{SocketMutationTests} applies one by one.
    """

    def setUp(self) -> None:
        self.path = self.mktemp()
        os.mkdir(self.path)

    def live(self, way: str) -> list[Facts]:
        return [live(seed, way, self.path, real_modules()) for seed in range(FIRST, FIRST + SEEDS)]

    def often(self, facts: list[Facts], **least: int) -> None:
        """Of a hundred lives, in so many at least it happened."""
        for name, count in least.items():
            found = sum(bool(getattr(fact, name)) for fact in facts)
            self.assertTrue(100 * found >= count * len(facts), f"{name}: {found} of {len(facts)}")

    def test_fast(self) -> None:
        """Most streams pass by the pipe, large ones through the kernel; what a slow client does not take goes through the pipe."""
        facts = self.live("fast")
        self.often(facts, relayed=40, spliced=20, spilled=8, mixed=8, broken=5)
        self.often(facts, headed=20, measured=20, chunked=10, late=10)
        self.often([fact for fact in facts if fact.measured], relayed=40, spliced=20)

    def test_general(self) -> None:
        facts = self.live("general")
        self.often(facts, spilled=8, broken=5)
        self.assertEqual(sum(fact.relayed + fact.spliced for fact in facts), 0)

    def test_session(self) -> None:
        facts = self.live("session")
        self.often(facts, relayed=50, spliced=25, spilled=8, mixed=8, broken=5)


class SocketMutationTests(SynchronousTestCase):
    """Each mutation of the fast path is found within C{MUTATION_SEEDS} seeds, on one way or the other."""

    skip = NO_MUTATIONS

    def setUp(self) -> None:
        self.path = self.mktemp()
        os.mkdir(self.path)

    def test_none(self) -> None:
        """It is the mutation that is found, and not that the modules are made anew."""
        modules = copied_modules()
        lives = [(seed, way) for seed in range(SEEDS) for way in WAYS]
        self.assertEqual([(seed, way) for seed, way in lives if self.dies(seed, way, modules)], [])

    def dies(self, seed: int, way: str, modules: dict[str, ModuleType]) -> bool:
        """Whether the mutation is noticed."""
        try:
            live(seed, way, self.path, modules)
        except Exception:  # Broken, or the mutation made nonsense of the code: found either way
            return True
        finally:
            logged = self.flushLoggedErrors()
        return bool(logged)


def _test_of(name: str) -> None:
    def test(self: SocketMutationTests) -> None:
        modules = mutated_modules(name)
        seeds = (FOUND_AT.get(name, 0), *range(MUTATION_SEEDS))
        if any(self.dies(seed, way, modules) for seed in seeds for way in ("fast", "session")):
            return
        self.fail(f"the mutation {name!r} lived through {MUTATION_SEEDS} seeds")

    test.__doc__ = f"The mutation {name!r} is found."
    setattr(SocketMutationTests, "test_" + name.replace(" ", "_").replace("-", "_").replace(",", ""), test)


for _name in SOCKET_MUTATIONS:
    _test_of(_name)
