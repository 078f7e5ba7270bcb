"""
What a process has used, its children included, as Linux counts it: processor time and memory; and how many files it may open.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

__all__ = ["anonymous_kib", "cpu_seconds", "descendants", "file_limit", "raise_file_limit"]

#: More files than any case opens; a hard limit may be a billion.
_ENOUGH = 65536


def cpu_seconds(pid: int) -> float:
    """
    What C{pid} and its children have computed, in seconds.

    From C{/proc/PID/task/*/schedstat}: nanoseconds on a processor, exact.
    """
    total = 0
    for each in descendants(pid):
        for task in Path(f"/proc/{each}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def anonymous_kib(pid: int) -> int:
    """
    The memory of C{pid} and its children that is of no file, in KiB: what they allocated and touched.

    From C{/proc/PID/smaps_rollup}. The system's own memory for their sockets is not in it.
    """
    total = 0
    for each in descendants(pid):
        for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines():
            if line.startswith("Anonymous:"):
                total += int(line.split()[1])
    return total


def file_limit() -> int:
    """How many files a process of this user may open, at most."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)


def raise_file_limit() -> None:
    """Let this process, and those that it starts from now on, open as many as L{file_limit} says."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (file_limit(), hard))


def descendants(pid: int) -> Iterator[int]:
    """C{pid}, its children, and theirs."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from descendants(int(child))
