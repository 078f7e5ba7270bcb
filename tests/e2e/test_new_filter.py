"""C{twisted-pipe new-filter}: what it writes, installed with pip, is a filter like any other."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import pytest_twisted
from configured import configured
from conftest import COMMAND, TWISTD, Running
from programs import free_port
from twisted.internet.threads import deferToThread

Start = Callable[..., Running]


def run(command: list[str], cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, cwd=cwd, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done
    return done.stdout


def installed(folder: Path, *arguments: str) -> str:
    """The package of C{my-lines}, written to C{source} and installed with pip. What PYTHONPATH then is."""
    run([*COMMAND, "new-filter", "my-lines", "--directory", "source", *arguments], folder)
    target = folder / "site"
    run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), "./source"], folder)
    return os.pathsep.join(filter(None, [str(target), os.environ.get("PYTHONPATH", "")]))


@pytest_twisted.ensureDeferred
async def test_installed(start_pipe: Start, tmp_path: Path) -> None:
    """Found by its name, described, and at work in a real transfer."""
    path = await deferToThread(installed, tmp_path)
    described = await deferToThread(lambda: run([*TWISTD, "pipe", "--help-filters"], tmp_path, PYTHONPATH=path))
    assert "my-lines: Puts a prefix before every line.\n    from my_lines_filter 1.0.0, " in described
    assert "    prefix=TEXT: what to put before every line [default: > ]" in described
    assert "Unusable" not in described

    with socket.create_server(("127.0.0.1", 0)) as upstream:
        upstream.settimeout(10)
        pipe = start_pipe(
            *("--upstream", f"127.0.0.1:{upstream.getsockname()[1]}", "--filter", "my-lines:prefix=#"),
            env={"PYTHONPATH": path},
        )

        def fetch() -> bytes:
            with socket.create_connection(("127.0.0.1", pipe.port), 10) as client:
                with upstream.accept()[0] as connection:
                    for piece in (b"on", b"e\ntwo\n"):
                        connection.sendall(piece)
                        assert client.recv(100, socket.MSG_PEEK)
                return b"".join(iter(lambda: client.recv(100), b""))

        assert await deferToThread(fetch) == b"#one\n#two\n"


@pytest_twisted.ensureDeferred
async def test_installed_message_filter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by its name, described, tested where it is installed, and at work as its README configures it."""
    path = await deferToThread(installed, tmp_path, "--message")
    described = await deferToThread(
        lambda: run([*TWISTD, "pipe", "--help-filter", "my-lines"], tmp_path, PYTHONPATH=path)
    )
    assert described.startswith("my-lines: Hides what lies below a path, and what upstreams say of themselves.\n")
    assert "\nfrom my_lines_filter 1.0.0, " in described
    assert '\nmessage_filters = ["my-lines[:key=value...]"]\n    path=TEXT: ' in described
    tested = await deferToThread(
        lambda: run([sys.executable, "-m", "twisted.trial", "my_lines_filter"], tmp_path, PYTHONPATH=path)
    )
    assert "PASSED (successes=5)" in tested

    listing = (tmp_path / "source" / "README.md").read_text().partition("```toml\n")[2].partition("```")[0]
    port = free_port()
    monkeypatch.setenv("PYTHONPATH", path)

    def fetched() -> list[bytes]:
        with socket.create_server(("127.0.0.1", 0)) as upstream:
            upstream.settimeout(10)
            ports = {"9000": upstream.getsockname()[1], "8080": port}
            text = re.sub("9000|8080", lambda found: str(ports[found[0]]), listing)
            with configured(tmp_path, text, port) as pipe:
                hidden = asked(pipe.port, b"/%70rivate/a")
                with ThreadPoolExecutor(1) as client:
                    got = client.submit(asked, pipe.port, b"/a")
                    with upstream.accept()[0] as connection:
                        connection.recv(9999)
                        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Powered-By: a\r\nContent-Length: 2\r\n\r\nhi")
                        return [hidden, got.result(10)]

    hidden, shown = await deferToThread(fetched)
    assert hidden.startswith(b"HTTP/1.1 404 ")
    assert shown.startswith(b"HTTP/1.1 200 ")
    assert shown.endswith(b"hi")
    assert b"X-Powered-By" not in shown


def asked(port: int, target: bytes) -> bytes:
    """The whole response."""
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % target)
        return b"".join(iter(lambda: client.recv(9999), b""))
