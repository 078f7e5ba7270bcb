"""
Real processes for the end-to-end tests: nginx as the origin, C{twisted-pipe} in front of it, both on free loopback ports.

The tests themselves run inside a started C{epollet} reactor (pytest-twisted). What blocks runs in a thread.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import attrs
import pytest
import pytest_twisted

from twisted_pipe.net import reactor as epollet

MIB = 1024 * 1024


def _install_epollet() -> None:
    pytest_twisted._install_reactor(reactor_installer=epollet.install, reactor_type=epollet.EpollETReactor)


pytest_twisted.reactor_installers["default"] = _install_epollet


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
    local port of a connection, here or of tests that run beside these.
    """
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(lowest // 4, lowest)
        with socket.socket() as probe, suppress(OSError):  # somebody has it: another one
            probe.bind(("127.0.0.1", port))
            return port


def wait_until(true: Callable[[], object], seconds: float, what: str) -> None:
    """Look every 20 ms; an assertion error when it did not come true in time."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {seconds} s")
        time.sleep(0.02)


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@attrs.frozen
class Running:
    """A started C{twisted-pipe}."""

    process: subprocess.Popen[bytes]
    port: int
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def memory(self) -> int:
        """Resident bytes."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def connections_to(self, port: int) -> int:
        """Its TCP connections to C{port} that are not closed."""
        inodes = set()
        for fd in Path(f"/proc/{self.process.pid}/fd").iterdir():
            try:
                target = os.readlink(fd)
            except FileNotFoundError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
        count = 0
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes and int(fields[2].rpartition(":")[2], 16) == port:
                count += 1
        return count

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
            raise


COMMAND = [sys.executable, "-c", "from twisted_pipe.service.run import main; main()"]
TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]


@pytest.fixture
def start_pipe(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """
    C{start_pipe("--upstream", "...", ...)}: C{twisted-pipe} listening on a free port, stopped at the end of the test.

    With C{reactor=}, C{twistd pipe} on that one.
    """
    started: list[Running] = []

    def start(*arguments: str, env: dict[str, str] | None = None, reactor: str = "") -> Running:
        port = free_port()
        command = [*TWISTD, f"--reactor={reactor}", "--pidfile=", "-n", "pipe"] if reactor else COMMAND
        log_file = tmp_path / f"pipe{len(started)}.log"
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                [*command, "--access-log=on", "--listen", f"tcp:{port}:interface=127.0.0.1", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=tmp_path,
                env={**os.environ, **(env or {})},
            )
        running = Running(process, port, log_file)
        started.append(running)
        # not by connecting: that would be a session of its own, with an upstream connection
        wait_until(lambda: "listening on" in running.log or process.poll() is not None, 20, f"listening of {arguments}")
        assert process.poll() is None, running.log
        return running

    yield start
    for running in started:
        running.stop()


@attrs.frozen
class Origin:
    """A real nginx."""

    port: int
    root: Path

    @property
    def upstream(self) -> str:
        return f"tcp:127.0.0.1:{self.port}"

    def file(self, name: str, size: int) -> str:
        """A file of random bytes; returns its md5."""
        digest = hashlib.md5(usedforsecurity=False)
        with (self.root / name).open("wb") as target:
            while size:
                part = os.urandom(min(size, 4 * MIB))
                target.write(part)
                digest.update(part)
                size -= len(part)
        return digest.hexdigest()


NGINX = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    sendfile on;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {directory}/www;
        client_max_body_size 2g;
        location /put/ {{ dav_methods PUT; create_full_put_path on; }}
    }}
}}
"""


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    """nginx serving C{origin.root}, and taking PUTs below /put/."""
    program = peer("nginx")
    directory = tmp_path_factory.mktemp("nginx")
    (directory / "www" / "put").mkdir(parents=True)
    port = free_port()
    config = directory / "nginx.conf"
    user = "user root;\n" if os.getuid() == 0 else ""  # its worker has to read pytest's private directory
    config.write_text(user + NGINX.format(directory=directory, port=port))
    process = subprocess.Popen([program, "-c", str(config), "-p", str(directory)], stderr=subprocess.PIPE)
    try:
        wait_until(lambda: accepts(port) or process.poll() is not None, 10, "the start of nginx")
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        yield Origin(port, directory / "www")
    finally:
        process.terminate()
        process.wait(10)
