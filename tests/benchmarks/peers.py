"""
The programs that are measured, each behind the same front: started on loopback, stopped by its process id, its CPU time read.

CPU time comes from C{/proc/PID/task/*/schedstat} (nanoseconds on a processor, exact), children included.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

__all__ = ["ECHO_PEERS", "PROXY_PEERS", "Peer", "cpu_seconds", "free_port", "started"]

HERE = Path(__file__).parent

NGINX = """
daemon off; worker_processes 1; pid {scratch}/nginx.pid; error_log {scratch}/error.log crit;
{module}
events {{ worker_connections 12000; }}
stream {{ access_log off; server {{ listen 127.0.0.1:{port} backlog=4096; proxy_buffer_size 64k; tcp_nodelay on;
    proxy_pass 127.0.0.1:{upstream}; }} }}
"""
HAPROXY = """
global
    nbthread 1
    maxconn 4000
defaults
    mode tcp
    timeout connect 5s
    timeout client 1m
    timeout server 1m
listen bench
    bind 127.0.0.1:{port}
    server one 127.0.0.1:{upstream}
"""


@attrs.frozen
class Peer:
    """
    @ivar name: for the table.
    @ivar kind: what L{command} builds.
    @ivar needs: a program or module it cannot do without.
    """

    name: str
    kind: str
    needs: str = ""

    @property
    def installed(self) -> bool:
        if not self.needs:
            return True
        if self.needs.startswith("py:"):
            return subprocess.call([sys.executable, "-c", f"import {self.needs[3:]}"], stderr=subprocess.DEVNULL) == 0
        return _program(self.needs) is not None

    def command(self, port: int, upstream: int, scratch: Path) -> list[str]:
        twistd = [
            sys.executable,
            "-c",
            "from twisted.scripts.twistd import run; run()",
            "--pidfile=",
            "-n",
            "-l",
            "/dev/null",
        ]
        at = f"tcp:{port}:interface=127.0.0.1:backlog=4096"
        if self.kind == "nginx":
            config = scratch / "nginx.conf"
            module = next(iter(Path("/usr/lib/nginx/modules").glob("ngx_stream_module.so")), None)
            load = f"load_module {module};" if module else ""
            config.write_text(NGINX.format(port=port, upstream=upstream, scratch=scratch, module=load))
            return [_program("nginx") or "nginx", "-c", str(config)]
        if self.kind == "haproxy":
            config = scratch / "haproxy.cfg"
            config.write_text(HAPROXY.format(port=port, upstream=upstream))
            return [_program("haproxy") or "haproxy", "-db", "-f", str(config)]
        if self.kind == "portforward":
            arguments = ["portforward", "--port", at, "--host", "127.0.0.1", "--dest_port", str(upstream)]
            return [*twistd[:3], "--reactor=epoll", *twistd[3:], *arguments]
        if self.kind.startswith("pipe"):
            filters = ["--filter", "pass"] if self.kind == "pipe+filter" else []
            arguments = [
                "pipe",
                "--listen",
                at,
                "--upstream",
                f"tcp:127.0.0.1:{upstream}",
                "--buffers",
                "8 64k",
                *filters,
            ]
            return [*twistd[:3], "--reactor=epollet", *twistd[3:], *arguments]
        if self.kind == "uvloop":
            return [sys.executable, str(HERE / "uvloop_peers.py"), str(port), str(upstream)]
        if self.kind.startswith("echo-"):
            return [sys.executable, str(HERE / "echo_server.py"), self.kind.partition("-")[2], str(port)]
        raise ValueError(self.kind)


PROXY_PEERS = [
    Peer("nginx stream", "nginx", "nginx"),
    Peer("HAProxy", "haproxy", "haproxy"),
    Peer("twistd pipe", "pipe"),
    Peer("uvloop", "uvloop", "py:uvloop"),
    Peer("portforward (epoll)", "portforward"),
]
ECHO_PEERS = [
    Peer("epoll", "echo-epoll"),
    Peer("epollet", "echo-epollet"),
    Peer("asyncio+uvloop", "uvloop", "py:uvloop"),
]


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _descendants(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from _descendants(int(child))


def cpu_seconds(pid: int) -> float:
    """What C{pid} and its children have used."""
    total = 0
    for each in _descendants(pid):
        for task in Path(f"/proc/{each}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


@contextmanager
def started(peer: Peer, upstream: int = 0) -> Iterator[tuple[int, int]]:
    """Its process id and port, while it runs."""
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        command = peer.command(port, upstream, Path(directory))
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=directory)
        try:
            deadline = time.monotonic() + 15
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{peer.name} did not start: {' '.join(command)}")
                time.sleep(0.05)
            time.sleep(0.2)
            yield process.pid, port
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
