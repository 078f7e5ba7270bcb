"""
The driver on real sockets, by the fast path and by the general one: random writes, reads, stalls and ends.

A pipe without filters passes bytes by (L{twisted_pipe.net.pump}) while nothing waits; a rate limit that nothing reaches keeps it
on the general path. Both have to deliver the same stream, spills and all.
"""

from __future__ import annotations

import os
import random
import socket

from tests.net.fakes import Engine, PipeCase, WatchedSpill
from twisted_pipe.limits import PipeLimits

SEEDS = int(os.environ.get("TWISTED_PIPE_FUZZ_SOCKET_SEEDS", "150"))
NO_LIMIT = 10**12


class SocketFuzzTests(PipeCase):
    """Each seed is lived twice: past the pipe where possible, and through it."""

    def setUp(self) -> None:
        PipeCase.setUp(self)
        path = self.mktemp()
        os.mkdir(path)
        self.spill = WatchedSpill(path)

    def live(self, seed: int, limit_rate: int) -> tuple[bool, bool]:
        """Whether it spilled, and whether it was passed by."""
        rng = random.Random(seed)
        engine = Engine(self)
        self.clock = engine.reactor  # type: ignore[assignment]
        up, server = engine.connect()
        down, client = engine.connect()
        down.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, rng.choice([4096, 65536]))
        engine.settle()
        size = rng.choice([100, 4096])
        limits = PipeLimits(
            buffers=rng.randint(2, 4),
            buffer_size=size,
            max_temp_file_size=rng.choice([0, 50_000, 1 << 30]),
            limit_rate=limit_rate,
        )
        stream = rng.randbytes(rng.choice([0, 1, 5000, 300_000]))
        pipe = self.pipe(up, down, (), limits, name=f"seed {seed}")
        patient = rng.random() < 0.5  # the end comes only when everything has arrived: nothing else wakes the pipe
        got, sent, most = bytearray(), 0, 5000
        while not (client.ended or client.reset):
            most -= 1
            self.assertTrue(most, f"seed {seed}: no end in sight: {pipe!r}")
            if sent < len(stream) and rng.random() < 0.7:
                sent += server.write(stream[sent : sent + rng.choice([1, 64, size, 10 * size, 100_000])])
            elif sent == len(stream) and not server.ended and (len(got) == sent if patient else rng.random() < 0.3):
                server.ended = True
                server.half_close()
            if rng.random() < 0.6:
                got += client.read(rng.choice([1, 1000, 1 << 20]))
            engine.turn(rng.randint(1, 3))
            if rng.random() < 0.05:
                engine.clock.advance(0.05)
        self.assertEqual(bytes(got), stream, f"seed {seed}: {len(got)} of {len(stream)} bytes")
        engine.settle()
        outcome = self.outcome(pipe)
        self.assertEqual((outcome.bytes_in, outcome.bytes_out), (len(stream), len(stream)), f"seed {seed}")
        self.assertTrue(outcome.clean, f"seed {seed}: {outcome}")
        return outcome.bytes_spilled > 0, outcome.peak_memory < outcome.bytes_in

    def test_both_ways_deliver_the_same(self) -> None:
        spilled = passed_by = 0
        for seed in range(SEEDS):
            for limit_rate in (0, NO_LIMIT):
                facts = self.live(seed, limit_rate)
                spilled += facts[0]
                passed_by += facts[1] and not limit_rate
        self.assertTrue(
            spilled > SEEDS // 5 and passed_by > SEEDS // 5, f"{spilled} spilled, {passed_by} were passed by"
        )
