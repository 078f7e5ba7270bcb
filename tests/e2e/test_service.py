"""C{twisted-pipe} as its users meet it: bad input, the demo, the daemon, third-party filters, other reactors."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_twisted
from conftest import COMMAND, Origin, Running
from programs import free_port, peer, wait_until
from twisted.internet.threads import deferToThread

Start = Callable[..., Running]
HERE = Path(__file__).parent
ROT13 = HERE.parent / "thirdparty" / "rot13_filter"


def run(arguments: list[str], cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=120, cwd=cwd, env={**os.environ, **more}
    )


BAD_INPUT = {
    "unknown filter": (["--filter", "uper"], ["--filter", "uper", "upper"]),
    "bad size": (["--busy-size", "1x"], ["--busy-size", "1x", "size"]),
    "bad time": (["--idle-timeout", "soon"], ["--idle-timeout", "soon"]),
    "impossible buffers": (["--buffers", "2 4k", "--busy-size", "8k"], ["--busy-size", "4096"]),
    "too few buffers": (["--buffers", "1 4k"], ["--buffers", "at least 2"]),
    "no such temp path": (["--temp-path", "/nowhere/at/all"], ["--temp-path", "/nowhere/at/all"]),
    "bad endpoint": (["--upstream", "tcp:127.0.0.1:http:x:y"], ["--upstream", "tcp:127.0.0.1:http:x:y"]),
    "bad port": (["--upstream", "127.0.0.1:99999"], ["--upstream", "99999"]),
    "unknown option": (["--bufers", "8 4k"], ["bufers"]),
    "bad rate of a filter": (["--filter", "throttle:rate=fast"], ["--filter", "rate", "fast"]),
}


@pytest.mark.parametrize("case", BAD_INPUT)
@pytest_twisted.ensureDeferred
async def test_bad_input_is_one_line(case: str, tmp_path: Path) -> None:
    """One line that names the option, the value and what would be right; exit status 1; nothing started."""
    arguments, names = BAD_INPUT[case]
    port = free_port()
    full = ["--listen", f"tcp:{port}:interface=127.0.0.1", "--upstream", "127.0.0.1:9", *arguments]
    done = await deferToThread(run, full, tmp_path)
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for name in names:
        assert name in done.stderr


@pytest_twisted.ensureDeferred
async def test_port_in_use(tmp_path: Path) -> None:
    """One line, status 1, no traceback, no pid file."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        listen = f"tcp:{holder.getsockname()[1]}:interface=127.0.0.1"
        pid_file = tmp_path / "pid"
        arguments = ["--listen", listen, "--upstream", "127.0.0.1:9", "--pid-file", str(pid_file)]
        done = await deferToThread(run, arguments, tmp_path)
    assert done.returncode == 1
    assert listen in done.stderr and "in use" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert not pid_file.exists()


@pytest_twisted.ensureDeferred
async def test_broken_plugin_module_is_named(tmp_path: Path) -> None:
    """A filter that is configured and not found: the error says which drop-in could not be imported, and why."""
    drop_ins = tmp_path / "extra" / "twisted" / "plugins"
    drop_ins.mkdir(parents=True)
    (drop_ins / "mine_dropin.py").write_text("import a_module_that_is_not_there\n")
    arguments = ["--listen", str(free_port()), "--upstream", "127.0.0.1:9", "--filter", "mine"]
    done = await deferToThread(lambda: run(arguments, tmp_path, PYTHONPATH=_path(tmp_path / "extra")))
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "mine" in last and "mine_dropin" in last and "a_module_that_is_not_there" in last


def _path(first: Path) -> str:
    return os.pathsep.join(filter(None, [str(first), os.environ.get("PYTHONPATH", "")]))


OPTIONS = [
    *("listen", "upstream", "protocol", "filter", "request-filter", "buffering", "buffers", "busy-size", "temp-path"),
    *("max-temp-file-size", "temp-file-write-size", "limit-rate", "connect-timeout", "read-timeout", "send-timeout"),
    *("idle-timeout", "lingering-timeout", "pid-file", "demo", "access-log", "worker-connections", "debug-events"),
]


@pytest_twisted.ensureDeferred
async def test_help_states_units_and_defaults(tmp_path: Path) -> None:
    done = await deferToThread(run, ["--help"], tmp_path)
    assert done.returncode == 0
    for option in OPTIONS:
        assert f"--{option}" in done.stdout
    for default in ("8 32k", "1g", "60s", "10m"):
        assert default in done.stdout, default


@pytest_twisted.ensureDeferred
async def test_third_party_filter(start_pipe: Start, tmp_path: Path) -> None:
    """A separate distribution, installed with pip, is found by name and works."""
    target, source = tmp_path / "site", tmp_path / "source"
    shutil.copytree(ROT13, source)  # building leaves a build/ behind, which the next build would take up
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), str(source)]
    done = await deferToThread(subprocess.run, install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    with socket.create_server(("127.0.0.1", 0)) as upstream:
        upstream.settimeout(10)
        pipe = start_pipe(
            "--upstream",
            f"127.0.0.1:{upstream.getsockname()[1]}",
            "--filter",
            "rot13",
            "--request-filter",
            "upper",
            env={"PYTHONPATH": _path(target)},
        )

        def exchange() -> tuple[bytes, bytes]:
            with socket.create_connection(("127.0.0.1", pipe.port)) as client:
                client.settimeout(10)
                connection = upstream.accept()[0]
                with connection:
                    client.sendall(b"question")
                    connection.settimeout(10)
                    asked = connection.recv(100)
                    connection.sendall(b"Hello, World")
                return asked, client.recv(100)

        asked, answered = await deferToThread(exchange)
    assert asked == b"QUESTION"
    assert answered == b"Uryyb, Jbeyq"


@pytest_twisted.ensureDeferred
async def test_demo(tmp_path: Path) -> None:
    """It says what to curl, curl gets upper-case text, and its slow client spills and then gets every byte."""
    curl = peer("curl")
    log = tmp_path / "demo.log"
    port = free_port()
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*COMMAND, "--demo", "--listen", f"tcp:{port}:interface=127.0.0.1"],
            stdout=sink,
            stderr=subprocess.STDOUT,
            cwd=tmp_path,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    try:

        def look() -> tuple[str, str]:
            wait_until(lambda: re.search(r"curl \S*http://\S+", log.read_text()), 15, "what to curl")
            url = re.search(r"(http://\S+?/lines/\w+)", log.read_text())
            assert url is not None, log.read_text()
            got = subprocess.run([curl, "-sS", url[1]], capture_output=True, check=True, timeout=60).stdout
            wait_until(lambda: "spill started" in log.read_text(), 20, "the spill of the slow client")
            wait_until(lambda: "every one right" in log.read_text(), 40, "the end of the slow client")
            return url[1], got.decode()

        url, text = await deferToThread(look)
        assert text and text == text.upper() and text != text.lower(), url
        assert "Traceback" not in log.read_text()
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) is not None


@pytest_twisted.ensureDeferred
async def test_daemon_writes_its_pid(origin: Origin, tmp_path: Path) -> None:
    """C{twistd --reactor=epollet pipe} as a daemon: the pid file holds the pid of who listens, and goes with it."""
    expected = origin.file("small", 100_000)
    port, pid_file = free_port(), tmp_path / "pipe.pid"
    twistd = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
    options = ["--reactor=epollet", "--pidfile=", f"--logfile={tmp_path}/log", f"--rundir={tmp_path}"]
    arguments = [
        "--listen",
        f"tcp:{port}:interface=127.0.0.1",
        "--upstream",
        origin.upstream,
        "--pid-file",
        str(pid_file),
    ]
    done = await deferToThread(
        subprocess.run, [*twistd, *options, "pipe", *arguments], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    await deferToThread(wait_until, pid_file.exists, 10, "the pid file")
    pid = int(pid_file.read_text())
    try:
        import hashlib
        import urllib.request

        def get() -> bytes:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/small", timeout=10) as answer:
                body: bytes = answer.read()
                return body

        body = await deferToThread(get)
        assert hashlib.md5(body, usedforsecurity=False).hexdigest() == expected
    finally:
        os.kill(pid, signal.SIGTERM)
    await deferToThread(wait_until, lambda: not pid_file.exists(), 10, "the removal of the pid file")


@pytest.mark.parametrize("reactor", ["epoll", "asyncio", "select"])
@pytest_twisted.ensureDeferred
async def test_other_reactors(reactor: str, origin: Origin, start_pipe: Start) -> None:
    """The same pipe through Twisted's producers and consumers, a stalling client with its spill included."""
    import hashlib

    size = 30_000_000
    expected = await deferToThread(origin.file, "30m", size)
    pipe = start_pipe("--upstream", origin.upstream, reactor=reactor)

    def get() -> str:
        with socket.create_connection(("127.0.0.1", pipe.port)) as client:
            client.settimeout(20)
            client.sendall(b"GET /30m HTTP/1.0\r\n\r\n")
            wait_until(lambda: "spill started" in pipe.log, 10, "the spill")
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        return hashlib.md5(answer.partition(b"\r\n\r\n")[2], usedforsecurity=False).hexdigest()

    assert await deferToThread(get) == expected
    assert "spill started" in pipe.log
    assert "Traceback" not in pipe.log
