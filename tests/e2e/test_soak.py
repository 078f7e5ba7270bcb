"""
Hundreds of transfers at once, most of them in trouble, through three C{twisted-pipe}; then nothing may be left of them.

C{TWISTED_PIPE_SOAK=full} for 300 transfers of up to 64 MiB, in two minutes at most; else 100 of up to 8 MiB.
C{TWISTED_PIPE_SOAK_SEED} for other ones. C{pytest -s} shows the figures.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from conftest import MIB, Running
from processes import anonymous_memory, nameless_files, threads
from programs import wait_until
from twisted.internet.threads import deferToThread

from twisted_pipe.net.splice import KEPT

Start = Callable[..., Running]

FULL = os.environ.get("TWISTED_PIPE_SOAK") == "full"
SEED = int(os.environ.get("TWISTED_PIPE_SOAK_SEED", "0"))
COUNT, LARGEST = (300, 64 * MIB) if FULL else (100, 8 * MIB)
#: Seconds for a round.
LIMIT = 120
#: What each proxy may keep after its first round: free slabs (8 MiB of each size) and the interpreter's own.
KEEPS = 24 * MIB
#: How much more that may be after another round of the same.
GROWS = 4 * MIB

#: Spills without an end in sight; spills into a file that soon is full, and used in a circle; and has a filter look at all of it.
PROXIES = (
    ["--buffers", "8 32k"],
    ["--buffers", "4 16k", "--max-temp-file-size", "1m"],
    ["--buffers", "8 32k", "--filter", "pass", "--request-filter", "pass"],
)


class Peers:
    """C{soak.py}: the clients and the upstream."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("soak.py")), str(COUNT), str(LARGEST)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.port = int(self._answer(60))

    def begin(self, pipes: list[Running]) -> None:
        """Tell it where the proxies are."""
        self._say(" ".join(str(pipe.port) for pipe in pipes))

    def round(self, seed: int) -> dict[str, Any]:
        """One round of transfers."""
        self._say(str(seed))
        result: dict[str, Any] = json.loads(self._answer(LIMIT))
        return result

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(60)

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")

    def _answer(self, seconds: float) -> str:
        output = self._process.stdout
        assert output is not None
        ready, _, _ = select.select([output], [], [], seconds)
        assert ready, f"no answer within {seconds} s"
        return output.readline()


@pytest.fixture
def peers() -> Iterator[Peers]:
    running = Peers()
    yield running
    running.stop()


def at_rest(pipe: Running, descriptors: int) -> bool:
    return pipe.descriptors() <= descriptors and not nameless_files(pipe.process.pid)


@pytest_twisted.ensureDeferred
async def test_soak(start_pipe: Start, peers: Peers) -> None:
    """
    Random sizes, stalls, resets and half-closes on either side: each byte in its place, no clean end of what is not whole, and
    then no descriptor, spill file, thread or growing memory.
    """
    pipes = [start_pipe("--upstream", f"tcp:127.0.0.1:{peers.port}", *arguments) for arguments in PROXIES]
    pids = [pipe.process.pid for pipe in pipes]
    peers.begin(pipes)
    descriptors = [pipe.descriptors() + 2 * KEPT for pipe in pipes]
    base = [threads(pid) for pid in pids]
    memory = [[anonymous_memory(pid) for pid in pids]]
    for number in (2 * SEED, 2 * SEED + 1):
        result = await deferToThread(peers.round, number)
        print(f"round {number}: {result['bytes'] / MIB:.0f} MiB in {result['seconds']:.1f} s: {result['seen']}")
        assert not result["wrong"], "\n".join(result["wrong"])
        for pipe, most in zip(pipes, descriptors, strict=True):
            # a session whose upstream has ended waits for its silent client for --lingering-timeout, 5 s
            await deferToThread(wait_until, lambda pipe=pipe, most=most: at_rest(pipe, most), 15, "coming to rest")
        # a slow disk has started some of --temp-file-threads, 2; they stay for the next time
        assert all(0 <= threads(pid) - before <= 2 for pid, before in zip(pids, base, strict=True))
        time.sleep(0.2)
        memory.append([anonymous_memory(pid) for pid in pids])
    before, first, second = memory
    print(f"memory of each proxy, MiB: {[[round(each / MIB, 1) for each in row] for row in memory]}")
    for kind in ("clean", "client resets", "client closes", "upstream resets", "in turn", "at once", "client stalls"):
        assert result["seen"].get(kind, 0) >= 3, (kind, result["seen"])
    for pipe in pipes:
        assert "Traceback" not in pipe.log and "Unhandled" not in pipe.log
        print(f"{pipe.log.count('spill started')} spilled, {pipe.log.count('close after')} closed")
        assert "spill started" in pipe.log
    assert [kept - bare for kept, bare in zip(first, before, strict=True) if kept - bare > KEEPS] == []
    assert [more - kept for more, kept in zip(second, first, strict=True) if more - kept > GROWS] == []
