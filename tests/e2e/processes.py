"""What a running process holds, as Linux tells it in C{/proc}."""

from __future__ import annotations

import os
import stat
from pathlib import Path

__all__ = ["all_read", "anonymous_memory", "cpu_seconds", "nameless_files", "threads"]


def anonymous_memory(pid: int) -> int:
    """Bytes of memory that are of no file: what it allocated and touched."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the kernel does not say")


def all_read(port: int) -> bool:
    """Whether nothing waits in the kernel on TCP connections with C{port} at either end: neither to be sent nor to be read."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    near = [row for row in rows if port in (int(row[each].rpartition(":")[2], 16) for each in (1, 2))]
    return all(row[4] == "00000000:00000000" for row in near if row[3] != "0A")  # 0A listens


def threads(pid: int) -> int:
    """How many it has, its first included."""
    return len(os.listdir(f"/proc/{pid}/task"))


def cpu_seconds(pid: int) -> float:
    """What it has computed, in seconds; exact to a nanosecond."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def nameless_files(pid: int) -> list[int]:
    """The bytes that each open file without a name takes on its disk: the spill files."""
    sizes = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            status = os.stat(f"/proc/{pid}/fd/{fd}")
        except FileNotFoundError:  # closed meanwhile
            continue
        if stat.S_ISREG(status.st_mode) and status.st_nlink == 0:
            sizes.append(status.st_blocks * 512)
    return sizes
