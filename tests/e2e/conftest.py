"""
Real processes for the end-to-end tests: nginx as the origin, C{twisted-pipe} in front of it, both on free loopback ports.

The tests themselves run inside a started C{epollet} reactor (pytest-twisted). What blocks runs in a thread.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest
import pytest_twisted
from nginx import http_block, running_nginx
from programs import free_port, wait_until

from twisted_pipe.net import reactor as epollet

MIB = 1024 * 1024


def _install_epollet() -> None:
    pytest_twisted._install_reactor(reactor_installer=epollet.install, reactor_type=epollet.EpollETReactor)


pytest_twisted.reactor_installers["default"] = _install_epollet


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
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
            raise


COMMAND = [sys.executable, "-c", "from twisted_pipe.service.run import main; main()"]
TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]


def launch(
    directory: Path,
    port: int,
    *arguments: str,
    log_file: Path,
    reactor: str = "",
    env: dict[str, str] | None = None,
) -> Running:
    """
    C{twisted-pipe}, when it listens.

    @param directory: where it works.
    @param port: the one that C{arguments} say to listen on first.
    @param log_file: where all that it says goes, behind what is there.
    @param reactor: of C{twistd pipe}; else it is C{twisted-pipe}, on its own.
    @raise AssertionError: it ended, with its log; or did not listen in time.
    """
    command = [*TWISTD, f"--reactor={reactor}", "--pidfile=", "-n", "pipe"] if reactor else COMMAND
    with log_file.open("ab") as log:
        began = log.tell()
        process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env={**os.environ, **(env or {})},
        )
    running = Running(process, port, log_file)

    def has_said_so() -> bool:
        return b"listening on" in log_file.read_bytes()[began:] or process.poll() is not None

    try:
        # not by connecting: that would be a session of its own, with an upstream connection
        wait_until(has_said_so, 20, f"listening of {arguments}")
        assert process.poll() is None, running.log
    except BaseException:
        running.stop()
        raise
    return running


@pytest.fixture
def start_pipe(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """
    C{start_pipe("--upstream", "...", ...)}: C{twisted-pipe} listening on a free port, stopped at the end of the test.

    With C{reactor=}, C{twistd pipe} on that one.
    """
    started: list[Running] = []

    def start(*arguments: str, env: dict[str, str] | None = None, reactor: str = "") -> Running:
        port = free_port()
        listen = ("--access-log=on", "--listen", f"tcp:{port}:interface=127.0.0.1")
        log_file = tmp_path / f"pipe{len(started)}.log"
        running = launch(tmp_path, port, *listen, *arguments, log_file=log_file, reactor=reactor, env=env)
        started.append(running)
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


SERVER = """
    sendfile on;
    server {{
        listen 127.0.0.1:{port};
        root {root};
        client_max_body_size 2g;
        location /put/ {{ dav_methods PUT; create_full_put_path on; }}
    }}
"""


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    """nginx serving C{origin.root}, and taking PUTs below /put/."""
    directory, port = tmp_path_factory.mktemp("nginx"), free_port()
    root = directory / "www"
    (root / "put").mkdir(parents=True)
    with running_nginx(directory, http_block(SERVER.format(port=port, root=root)), port):
        yield Origin(port, root)
