"""nginx: one process for a test, and all that it writes in one directory, which is its prefix."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from programs import peer, running_server, start_server

__all__ = ["http_block", "running_nginx", "start_nginx"]

#: Stands last: C{load_module} is refused behind C{events}.
SETTINGS = """
daemon off;
worker_processes 1;
pid nginx.pid;
error_log error.log;
events { worker_connections 2048; }
"""
HTTP_SETTINGS = """
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
"""


def http_block(text: str) -> str:
    """
    @param text: the servers, and what else is said of all of them.
    """
    return f"http {{{HTTP_SETTINGS}{text}\n}}\n"


def start_nginx(directory: Path, text: str, *ports: int) -> subprocess.Popen[bytes]:
    """
    @param directory: of this nginx alone; made if it is not there.
    @param text: its blocks, see L{http_block}, and directives of its outermost context.
    @param ports: of 127.0.0.1, all of which have to accept.
    @raise AssertionError: it does not start, with what it said.
    """
    return start_server(_command(directory, text), *ports, log=directory / "nginx.log")


@contextmanager
def running_nginx(directory: Path, text: str, *ports: int) -> Iterator[None]:
    """L{start_nginx}, and SIGTERM at the end."""
    with running_server(_command(directory, text), *ports, log=directory / "nginx.log"):
        yield


def _command(directory: Path, text: str) -> list[str]:
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "nginx.conf"
    user = "user root;" if os.getuid() == 0 else ""  # its worker has to read pytest's private directory
    config.write_text(f"{text}\n{user}{SETTINGS}")
    return [peer("nginx"), "-c", str(config), "-p", str(directory), "-e", str(directory / "error.log")]
