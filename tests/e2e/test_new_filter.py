"""C{twisted-pipe new-filter}: what it writes, installed with pip, is a filter like any other."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest_twisted
from conftest import COMMAND, TWISTD, Running
from twisted.internet.threads import deferToThread

Start = Callable[..., Running]


def run(command: list[str], cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, cwd=cwd, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done
    return done.stdout


@pytest_twisted.ensureDeferred
async def test_installed(start_pipe: Start, tmp_path: Path) -> None:
    """Found by its name, described, and at work in a real transfer."""
    await deferToThread(run, [*COMMAND, "new-filter", "my-lines", "--directory", "source"], tmp_path)
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), "./source"]
    await deferToThread(run, install, tmp_path)
    path = os.pathsep.join(filter(None, [str(target), os.environ.get("PYTHONPATH", "")]))

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
