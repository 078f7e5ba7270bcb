"""C{twisted-pipe --config}."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import COMMAND, TWISTD, Running, wait_until

__all__ = ["configured"]


@contextmanager
def configured(directory: Path, text: str, port: int, reactor: str = "") -> Iterator[Running]:
    """
    @param directory: for the file and the log.
    @param text: the file.
    @param port: the one that it says to listen on first.
    @param reactor: of C{twistd}; else it is C{twisted-pipe}, on its own.
    """
    file, log_file = directory / "pipe.toml", directory / "pipe.log"
    file.write_text(text)
    command = [*TWISTD, f"--reactor={reactor}", "--pidfile=", "-n", "pipe"] if reactor else COMMAND
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            [*command, "--config", str(file)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=directory
        )
    running = Running(process, port, log_file)
    try:
        wait_until(lambda: "listening on" in running.log or process.poll() is not None, 20, "listening")
        assert process.poll() is None, running.log
        yield running
    finally:
        running.stop()
