"""C{twisted-pipe --config}."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import Running, launch

__all__ = ["configured"]


@contextmanager
def configured(directory: Path, text: str, port: int, reactor: str = "") -> Iterator[Running]:
    """
    @param directory: for the file and the log.
    @param text: the file.
    @param port: the one that it says to listen on first.
    @param reactor: of C{twistd}; else it is C{twisted-pipe}, on its own.
    """
    file = directory / "pipe.toml"
    file.write_text(text)
    running = launch(directory, port, "--config", str(file), log_file=directory / "pipe.log", reactor=reactor)
    try:
        yield running
    finally:
        running.stop()
