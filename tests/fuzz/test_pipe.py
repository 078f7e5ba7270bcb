"""
The pure pipe against the hostile driver (L{tests.fuzz.hostile}), and proof that this finds mistakes.

2,000 seeds by default; C{TWISTED_PIPE_FUZZ_SEEDS} asks for another number, C{TWISTED_PIPE_FUZZ_FIRST} for another first seed.
"""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.hostile import Life
from tests.fuzz.mutations import FOUND_AT, MUTATIONS, mutated_pipe
from twisted_pipe.core.file_use import FileUse

SEEDS = int(os.environ.get("TWISTED_PIPE_FUZZ_SEEDS", "2000"))
FIRST = int(os.environ.get("TWISTED_PIPE_FUZZ_FIRST", "0"))
MUTATION_SEEDS = 3000
#: Mutations say something of the tests, which one run is enough for (C{TWISTED_PIPE_MUTATIONS=off} in the others).
NO_MUTATIONS = "told to leave out mutations" if os.environ.get("TWISTED_PIPE_MUTATIONS") == "off" else None


class HostileDriverTests(SynchronousTestCase):
    """
    No seed loses, repeats or reorders a byte, leaks a buffer or exceeds a bound.

    Seen to fail for each mutation of L{tests.fuzz.mutations}, which L{MutationTests} applies one by one.
    """

    def test_seeds(self) -> None:
        for seed in range(FIRST, FIRST + SEEDS):
            Life(seed).live()

    def test_every_kind_of_life_is_lived(self) -> None:
        """The seeds reach what they are there for: spills, ring wraps, filters that wait, each kind of end."""
        seen: dict[str, int] = {}
        for seed in range(500):
            life = Life(seed)
            life.live()
            pipe = life.pipe
            facts = {
                "spilled": pipe.bytes_spilled > 0,
                "spilled more than the file holds": pipe.bytes_spilled > life.limits.file_size > 0,
                "filtered": bool(life.filters),
                "waited": any(pipe_filter.waits for pipe_filter in life.filters),
                "surplus": pipe.surplus > 0,
                "unbuffered": not life.limits.buffering,
                "stored": pipe.stored,
                "stored without the client": pipe.stored and pipe.error is not None,
                "stored up to a point": life.use.takes_all and not pipe.disk.use.takes_all,
                "stored, and taken": life.took and len(life.whole) > 0,
                "stored to be taken, but came to be delivered": (
                    life.use is FileUse.REPLAY and life.connected and len(life.out) > 0
                ),
                "wrote in a thread": life.threads and pipe.bytes_spilled > 0,
                "shared a quota": life.quota.limit > 0 and pipe.bytes_spilled > 0,
                "was passed by": life.passed > 0,
                "was passed by, of a known length": life.passed > 0 and life.known,
                "headed": bool(life.head),
                "framed": life.framed and pipe.error is None,
                "framed, with surplus": life.framed and pipe.surplus > 0,
                "framed wrongly": life.wrong and "a digit was to come" in str(pipe.error),
                "began late": life.came_late and life.connected,
                "began late, being full": life.was_full and pipe.error is None,
                "began never": not life.connected,
                f"ended {type(pipe.error).__name__}": True,
            }
            for fact, true in facts.items():
                seen[fact] = seen.get(fact, 0) + true
        for fact in (*facts, "ended NoneType", "ended UpstreamFailed", "ended DownstreamFailed", "ended FilterFailed"):
            self.assertGreaterEqual(seen.get(fact, 0), 5, f"{fact}: {seen}")


class MutationTests(SynchronousTestCase):
    """Each mutation of the policy is found within C{MUTATION_SEEDS} lives."""

    skip = NO_MUTATIONS


def _dies(life: Life) -> bool:
    try:
        life.live()
    except Exception:  # Broken, or the mutation made nonsense of the code: found either way
        return True
    return False


def _test_of(name: str) -> None:
    def test(self: MutationTests) -> None:
        pipe_class, steps = mutated_pipe(name)
        if any(_dies(Life(seed, pipe_class, steps)) for seed in (FOUND_AT.get(name, 0), *range(MUTATION_SEEDS))):
            return
        self.fail(f"the mutation {name!r} lived through {MUTATION_SEEDS} seeds")

    test.__doc__ = f"The mutation {name!r} is found."
    setattr(MutationTests, "test_" + name.replace(" ", "_").replace("-", "_"), test)


for _name in MUTATIONS:
    _test_of(_name)
