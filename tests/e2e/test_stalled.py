"""
What clients that take nothing cost C{twisted-pipe}, and the others that do.

C{pytest -s} shows the figures.
"""

from __future__ import annotations

import hashlib
import os
import resource
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest
import pytest_twisted
from conftest import MIB, Origin, Running
from processes import anonymous_memory, cpu_seconds, nameless_files
from programs import wait_until
from twisted.internet.threads import deferToThread

from twisted_pipe.core.buffers import KEEP_BYTES
from twisted_pipe.limits import DEFAULT_LIMITS
from twisted_pipe.net.splice import KEPT

Start = Callable[..., Running]

GIB = 1024 * MIB
#: A session has two pipes.
BUFFERS = 2 * DEFAULT_LIMITS.memory

STALLED = 1000
BODY = 4 * MIB
#: Connections that are opened at once: the listener's queue holds 50.
BATCH = 40
#: What a session costs beside its buffers, in bytes: two sockets, two ways, a pipe and its file take 12 KiB; the rest is for the
#: holes that the heap has after the crowd came in.
SESSION = 24 * 1024
#: Bytes of a fast transfer, and how many of them are measured.
BULK, TRANSFERS = 128 * MIB, 5


def ask(port: int, path: str, segments: int = 0) -> socket.socket:
    """A client that has asked for C{path} and reads nothing yet. C{segments} is its MSS, 0 for the interface's."""
    client = socket.socket()
    if segments:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segments)
    client.settimeout(30)
    client.connect(("127.0.0.1", port))
    client.sendall(f"GET /{path} HTTP/1.0\r\n\r\n".encode())
    return client


def sparse(origin: Origin, name: str, size: int) -> None:
    """A file of zeros that takes no disk."""
    with (origin.root / name).open("wb") as file:
        file.truncate(size)


def growth_while_stalled(pipe: Running, origin: Origin, over: Callable[[], bool], seconds: float) -> tuple[int, int]:
    """
    The most that its anonymous memory grows while a client does not read 1 GiB, and the most bytes it has on disk.

    @param over: whether enough was seen.
    """
    with ask(pipe.port, "8k") as first:  # what any first session costs
        while first.recv(65536):
            pass
    time.sleep(0.5)
    pid = pipe.process.pid
    before, most, disk = anonymous_memory(pid), 0, 0
    with ask(pipe.port, "never-read"):
        until = time.monotonic() + seconds
        while time.monotonic() < until and not over():
            most = max(most, anonymous_memory(pid) - before)
            disk = max(disk, sum(nameless_files(pid)))
            time.sleep(0.05)
        assert over(), f"not within {seconds} s"
        most = max(most, anonymous_memory(pid) - before)
    return most, disk


@pytest_twisted.ensureDeferred
async def test_1_gib_that_nobody_reads(origin: Origin, start_pipe: Start) -> None:
    """It goes to disk; memory stays within 4 MiB of the buffers, and the upstream is let go."""
    sparse(origin, "never-read", GIB)
    sparse(origin, "8k", 8192)
    pipe = start_pipe("--upstream", origin.upstream, "--lingering-timeout", "1s", "--send-timeout", "10m")

    def over() -> bool:
        return sum(nameless_files(pipe.process.pid)) > GIB - 32 * MIB and not pipe.connections_to(origin.port)

    most, disk = await deferToThread(growth_while_stalled, pipe, origin, over, 240)
    print(f"spilling: memory grew by {most / MIB:.2f} MiB, {disk / MIB:.0f} MiB on disk")
    assert most <= BUFFERS + 4 * MIB
    await deferToThread(wait_until, lambda: not nameless_files(pipe.process.pid), 5, "the end of the spill files")
    (origin.root / "never-read").unlink()


@pytest_twisted.ensureDeferred
async def test_1_gib_that_nobody_reads_without_a_disk(origin: Origin, start_pipe: Start) -> None:
    """The upstream waits; memory stays within 4 MiB of the buffers."""
    sparse(origin, "never-read", GIB)
    sparse(origin, "8k", 8192)
    pipe = start_pipe("--upstream", origin.upstream, "--max-temp-file-size", "0")
    began = time.monotonic()
    most, disk = await deferToThread(
        growth_while_stalled,
        pipe,
        origin,
        lambda: time.monotonic() - began > 6 and pipe.connections_to(origin.port) == 1,
        60,
    )
    print(f"back-pressure: memory grew by {most / MIB:.2f} MiB, {disk / MIB:.0f} MiB on disk")
    assert most <= BUFFERS + 4 * MIB
    assert disk == 0
    (origin.root / "never-read").unlink()


@attrs.frozen
class Pace:
    """
    How fast transfers through a proxy are.

    @ivar rate: bytes a second, the median.
    @ivar cpu: seconds that the proxy computes for a MiB, the median.
    """

    rate: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.rate / MIB:.0f} MiB/s, {self.cpu * 1000:.3f} ms of CPU a MiB"


def pace(pipe: Running) -> Pace:
    """Of L{TRANSFERS} fast ones, one after the other."""
    rates, costs = [], []
    buffer = bytearray(MIB)
    for _ in range(TRANSFERS):
        began, computed = time.monotonic(), cpu_seconds(pipe.process.pid)
        with ask(pipe.port, "bulk") as client:
            count = 0
            while got := client.recv_into(buffer):
                count += got
        assert count > BULK
        rates.append(count / (time.monotonic() - began))
        costs.append((cpu_seconds(pipe.process.pid) - computed) / count * MIB)
    return Pace(statistics.median(rates), statistics.median(costs))


def settled(pipe: Running, origin: Origin) -> bool:
    """Whether all that the upstream has to give was taken, and all its connections were let go."""
    if pipe.connections_to(origin.port):
        return False
    before = cpu_seconds(pipe.process.pid)
    time.sleep(0.3)
    return cpu_seconds(pipe.process.pid) - before < 0.1


def stall(pipe: Running, segments: int) -> list[socket.socket]:
    """The clients that read nothing."""
    clients: list[socket.socket] = []
    while len(clients) < STALLED:
        clients += [ask(pipe.port, "body", segments) for _ in range(min(BATCH, STALLED - len(clients)))]
    return clients


def resume(client: socket.socket) -> str:
    """The MD5 of the body it gets now."""
    with client:
        answer = b"".join(iter(lambda: client.recv(MIB), b""))
    return hashlib.md5(answer.partition(b"\r\n\r\n")[2], usedforsecurity=False).hexdigest()


@pytest.fixture
def many_files() -> Iterator[None]:
    """Thousands of descriptors, here and in what is started."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 4 * STALLED + 500
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"{needed} open files are needed, {hard} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed) if soft != resource.RLIM_INFINITY else soft, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def as_fast(meanwhile: Pace, before: Pace) -> bool:
    """Whether stalled clients cost the others nothing."""
    # alone CPU time differs by half from run to run; work for each stalled client would be many times that
    return meanwhile.rate >= 0.8 * before.rate and meanwhile.cpu <= 2 * before.cpu


def crowd(pipe: Running, origin: Origin, segments: int) -> dict[str, Any]:
    """What was seen before, with and after L{STALLED} stalled clients. Others on this machine may make it slower at any time."""
    pid = pipe.process.pid
    pace(pipe)
    before, memory, descriptors = pace(pipe), anonymous_memory(pid), pipe.descriptors()
    clients = stall(pipe, segments)
    try:
        filling = pace(pipe)
        wait_until(lambda: settled(pipe, origin), 60, "the end of the upstream's answers")
        seen = {
            "before": before,
            "filling": filling,
            "growth": anonymous_memory(pid) - memory,
            "disk": nameless_files(pid),
            "descriptors": pipe.descriptors() - descriptors,
            "meanwhile": [pace(pipe)],
        }
        while len(seen["meanwhile"]) < 5 and not as_fast(seen["meanwhile"][-1], before):
            time.sleep(2)
            seen["meanwhile"].append(pace(pipe))
        seen["growth"] = max(seen["growth"], anonymous_memory(pid) - memory)
        seen["digests"] = {resume(client) for client in clients[:: STALLED // 20]}
    finally:
        for at in range(0, len(clients), BATCH):
            for client in clients[at : at + BATCH]:
                client.close()
            time.sleep(
                0.1
            )  # a reset that is lost among a thousand others is told again only when the kernel next probes
    seen["after"] = pace(pipe)
    return seen


@pytest.mark.parametrize(
    "segments",
    [
        pytest.param(1460, id="ethernet"),
        pytest.param(
            0,
            id="loopback",
            # it uses up the kernel's memory for TCP, which is everybody's on the machine
            marks=pytest.mark.skipif(
                os.environ.get("TWISTED_PIPE_SOAK") != "full", reason="TWISTED_PIPE_SOAK=full runs it"
            ),
        ),
    ],
)
@pytest_twisted.ensureDeferred
async def test_1000_stalled_clients(origin: Origin, start_pipe: Start, many_files: None, segments: int) -> None:
    """
    Each has asked for 4 MiB and reads nothing: memory stays within the buffers, descriptors and disk within what they need, and
    fast transfers meanwhile are at least 80 % as fast as without them. Who goes on gets every byte.

    C{ethernet}: with the segments that clients on a network have. C{loopback}: with those of 64 KiB that only this machine's own
    have; the kernel then would take MiBs for each before it says that it is full, and slow down everybody.
    """
    expected = origin.file("body", BODY)
    sparse(origin, "bulk", BULK)
    pipe = start_pipe("--upstream", origin.upstream, "--send-timeout", "20m")
    base = pipe.descriptors()
    seen = await deferToThread(crowd, pipe, origin, segments)
    alone = min(seen["before"], seen["after"], key=lambda each: each.rate)
    meanwhile = max(seen["meanwhile"], key=lambda each: each.rate)
    files = seen["disk"]
    print(
        f"{STALLED} stalled clients: memory grew by {seen['growth'] / MIB:.0f} MiB ({STALLED * BUFFERS / 2 / MIB:.0f} MiB of"
        f" buffers), {seen['descriptors']} descriptors, {len(files)} spill files of {sum(files) / MIB:.0f} MiB\n"
        f"fast transfers before: {seen['before']}; while they fill: {seen['filling']};"
        f" while they stall: {'; '.join(map(str, seen['meanwhile']))}; after: {seen['after']}"
    )
    assert seen["growth"] <= STALLED * (BUFFERS // 2 + SESSION) + KEEP_BYTES
    assert len(files) <= STALLED
    assert sum(files) <= STALLED * BODY
    assert seen["descriptors"] <= 2 * STALLED + 2 * KEPT  # the client and its file; the upstream was let go
    assert seen["digests"] == {expected}
    if segments:
        # else it is the kernel's memory for TCP that is used up, and its limits that slow everybody down: that shows in no CPU time
        assert meanwhile.rate >= 0.8 * alone.rate
    assert min(each.cpu for each in seen["meanwhile"]) <= 2 * max(seen["before"].cpu, seen["after"].cpu)
    await deferToThread(wait_until, lambda: pipe.descriptors() <= base + 2 * KEPT, 60, "the return of all descriptors")
    assert not nameless_files(pipe.process.pid)
    assert "Traceback" not in pipe.log
