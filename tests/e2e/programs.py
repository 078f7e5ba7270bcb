"""Real programs beside ours: where they are, a port for each, and servers that are started and waited for."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

__all__ = ["accepts", "free_port", "peer", "running_server", "start_server", "wait_until"]


def peer(program: str) -> str:
    """The path of a real component. Skips if it is not installed, fails where it has to be (C{.ci/run})."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        if os.environ.get("TWISTED_PIPE_REQUIRE_PEERS"):
            pytest.fail(f"{program} is not installed")
        pytest.skip(f"{program} is not installed")
    return found


def free_port() -> int:
    """
    One to listen on soon, among those that the kernel gives to no connection by itself: any of the others may meanwhile be the
    local port of a connection, here or of tests that run beside these. They are given out in turn, to all processes of this user:
    who has drawn one and does not listen yet does not meet another who has drawn it, too.
    """
    beyond = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    with open(Path(tempfile.gettempdir(), f"twisted_pipe-ports-{os.getuid()}"), "a+") as last:
        fcntl.flock(last, fcntl.LOCK_EX)
        last.seek(0)
        port = int(last.read() or 0)
        while True:
            port = port + 1 if beyond // 4 <= port + 1 < beyond else beyond // 4
            with socket.socket() as probe, suppress(OSError):  # somebody has it: another one
                probe.bind(("127.0.0.1", port))
                break
        last.truncate(0)
        last.write(str(port))
    return port


#: How many times as long as on a machine with nothing else to do something may take.
PATIENCE = 6


def wait_until(true: Callable[[], object], seconds: float, what: str) -> None:
    """
    Look every 20 ms until it is true. How fast that is, is not what is tested here.

    @param seconds: that it takes at most on a machine with nothing else to do. C{PATIENCE} times that are waited.
    @raise AssertionError: it did not come true.
    """
    deadline = time.monotonic() + PATIENCE * seconds
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {PATIENCE * seconds} s")
        time.sleep(0.02)


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def start_server(command: Sequence[str], *ports: int, log: Path) -> subprocess.Popen[bytes]:
    """
    A server, when it listens.

    @param ports: of 127.0.0.1, all of which have to accept.
    @param log: where all that it says goes, behind what is there.
    @raise AssertionError: it ended, with what it said; or did not listen in time.
    """
    with log.open("ab") as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=log.parent)
    try:
        for port in ports:
            _wait_for(process, port, command[0])
        assert process.poll() is None, log.read_text(errors="replace")
    except BaseException:
        _stop(process)
        raise
    return process


def _wait_for(process: subprocess.Popen[bytes], port: int, program: str) -> None:
    wait_until(lambda: accepts(port) or process.poll() is not None, 20, f"{program}'s listening on {port}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """@raise TimeoutExpired: SIGTERM did not end it; it is killed."""
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)
        raise


@contextmanager
def running_server(command: Sequence[str], *ports: int, log: Path) -> Iterator[None]:
    """L{start_server}, and SIGTERM at the end."""
    process = start_server(command, *ports, log=log)
    try:
        yield
    finally:
        _stop(process)
