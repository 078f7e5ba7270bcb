"""
Writing a spill file in the reactor's thread or handing each write to another: C{python tests/benchmarks/disk.py [DIRECTORY]}.

Prints the CPU time of the process per write of 64 KiB (the default C{temp_file_write_size}), for both, and the longest single
write, during which an inline writer keeps every other connection waiting. The default of C{--temp-file-threads} rests on it.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import react

from twisted_pipe.net.diskthreads import DiskThreads
from twisted_pipe.net.spillfile import SpillDirectory

WRITES = 2000
PARTS = [bytes(32 * 1024)] * 2
ROUNDS = 5


async def one_round(threads: DiskThreads | None, directory: SpillDirectory) -> tuple[float, float]:
    """CPU microseconds a write, and the longest write in milliseconds."""
    file = directory.open(1 << 30)
    longest = 0.0
    before = time.process_time()
    for number in range(WRITES):
        start = time.perf_counter()
        offset = number * 65536
        if threads is None:
            file.write(offset, PARTS)
        else:
            file.prepare(offset)
            await threads.run(file.write, offset, PARTS)
        longest = max(longest, time.perf_counter() - start)
    cpu = time.process_time() - before
    file.close()
    return cpu / WRITES * 1e6, longest * 1e3


async def compare(reactor: Any, path: str | None) -> None:
    """Both, in turn."""
    directory = SpillDirectory(path)
    threads = DiskThreads(reactor, 2)
    found: dict[str, list[tuple[float, float]]] = {"inline": [], "in a thread": []}
    try:
        for _ in range(ROUNDS):
            for name, means in (("inline", None), ("in a thread", threads)):
                found[name].append(await one_round(means, directory))
    finally:
        threads.stop()
    print(f"{directory.path}: {WRITES} writes of 64 KiB, median of {ROUNDS}")
    for name, rounds in found.items():
        cpu, longest = (statistics.median(values) for values in zip(*rounds, strict=True))
        print(f"  {name:12} {cpu:7.1f} us CPU a write, longest {longest:.2f} ms")


def main(reactor: Any, *paths: str) -> Deferred[None]:
    return ensureDeferred(compare(reactor, paths[0] if paths else None))


if __name__ == "__main__":
    from twisted_pipe.net.reactor import install

    install()
    react(main, sys.argv[1:])
