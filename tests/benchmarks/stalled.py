"""
What a stalled client costs: C{python tests/benchmarks/stalled.py [--stall SECONDS] [--size MIB] [PEER...]}.

A client asks for 400 MiB, takes 1 MiB, stalls for 20 s, and takes the rest, through one proxy after the other: nginx with its
proxied HTTP and with its stream module, Twisted's C{ReverseProxyResource} and C{portforward}, and C{twistd pipe}, with and
without a disk. While it stalls it is looked how much memory the proxy (and its children) takes that it did not take before, how
much its temporary files have on disk, and how long it holds its upstream: until the upstream has got rid of all, and until the
connection between them is closed. Then whether every byte arrives.

nginx is left out if it is not installed (C{apt-get install nginx-full}).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import random
import re
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
from commands import NGINX, QUIETLY, TWISTD, program
from peers import free_port
from usage import anonymous_kib

MIB = 1024 * 1024
#: The body is this over and over. Its length is odd, so that no part of a body looks like another.
BLOCK = random.Random(0).randbytes(MIB + 7)
TWICE = BLOCK * 2
TAKEN_AT_ONCE = MIB
_START, _STOP, _PATIENCE = 15, 5, 60

NGINX_HTTP = """
daemon off; worker_processes 1; pid {scratch}/nginx.pid; error_log {scratch}/error.log crit;
events {{ worker_connections 100; }}
http {{ access_log off; client_body_temp_path {scratch}/body; proxy_temp_path {scratch}/proxy;
    fastcgi_temp_path {scratch}/fastcgi; uwsgi_temp_path {scratch}/uwsgi; scgi_temp_path {scratch}/scgi;
    server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{upstream}; }} }} }}
"""
REVERSE_PROXY = """
from twisted.internet import epollreactor
epollreactor.install()
from twisted.internet import reactor
from twisted.web.proxy import ReverseProxyResource
from twisted.web.server import Site
reactor.listenTCP({port}, Site(ReverseProxyResource("127.0.0.1", {upstream}, b"")), interface="127.0.0.1")
reactor.run()
"""


def nginx(template: str) -> Callable[[int, int, Path], list[str]]:
    """The command for nginx with this configuration."""

    def command(port: int, upstream: int, scratch: Path) -> list[str]:
        config = scratch / "nginx.conf"
        module = next(iter(Path("/usr/lib/nginx/modules").glob("ngx_stream_module.so")), None)
        load = f"load_module {module};" if module else ""
        values = {"port": port, "upstream": upstream, "scratch": scratch, "module": load, "ssl": "", "certificate": ""}
        config.write_text(template.format(**values))
        return [program("nginx") or "nginx", "-c", str(config)]

    return command


def pipe(*arguments: str) -> Callable[[int, int, Path], list[str]]:
    """The command for C{twistd pipe}."""

    def command(port: int, upstream: int, scratch: Path) -> list[str]:
        where = ["--listen", f"tcp:{port}:interface=127.0.0.1", "--upstream", f"tcp:127.0.0.1:{upstream}"]
        return [*TWISTD, "--reactor=epollet", *QUIETLY, "pipe", *where, *arguments]

    return command


def portforward(port: int, upstream: int, scratch: Path) -> list[str]:
    """The command for Twisted's own."""
    where = ["--port", f"tcp:{port}:interface=127.0.0.1", "--host", "127.0.0.1", "--dest_port", str(upstream)]
    return [*TWISTD, "--reactor=epoll", *QUIETLY, "portforward", *where]


def reverse_proxy(port: int, upstream: int, scratch: Path) -> list[str]:
    """The command for Twisted's HTTP proxy."""
    return [sys.executable, "-c", REVERSE_PROXY.format(port=port, upstream=upstream)]


#: name -> what to start, from its port, that of its upstream, and a directory of its own
PEERS: dict[str, Callable[[int, int, Path], list[str]]] = {
    "nginx http": nginx(NGINX_HTTP),
    "nginx stream": nginx(NGINX),
    "ReverseProxyResource": reverse_proxy,
    "portforward (epoll)": portforward,
    "twistd pipe": pipe(),
    "pipe, no disk": pipe("--max-temp-file-size", "0"),
}


@attrs.define
class Held:
    """
    What the upstream saw of one request, in seconds from its beginning; None for what has not happened.

    @ivar rid: when it had written everything.
    @ivar closed: when the proxy had closed the connection.
    """

    rid: float | None = None
    closed: float | None = None


class Upstream:
    """
    An HTTP server: the path is the number of bytes of the answer, after which it ends its side and waits for the other's end.

    @ivar held: of each request, in order.
    """

    def __init__(self) -> None:
        self.held: list[Held] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        began = time.monotonic()
        with connection, contextlib.suppress(OSError):
            request = b""
            while b"\r\n\r\n" not in request:
                part = connection.recv(65536)
                if not part:  # somebody has looked whether the proxy listens
                    return
                request += part
            held = Held()
            self.held.append(held)
            try:
                size = int(request.split()[1].lstrip(b"/"))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % size)
                at = 0
                while at < size:
                    part = content(at, min(256 * 1024, size - at))
                    connection.sendall(part)
                    at += len(part)
                held.rid = time.monotonic() - began
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
            finally:
                held.closed = time.monotonic() - began


def content(at: int, count: int) -> bytes:
    """C{count} bytes of a body, at most a MiB, from C{at}."""
    start = at % len(BLOCK)
    return TWICE[start : start + count]


def disk_bytes(pid: int) -> int:
    """What the nameless files that C{pid} and its children have open take on disk."""
    total = 0
    for each in (pid, *children(pid)):
        for fd in Path(f"/proc/{each}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(fd)
                if stat.S_ISREG(status.st_mode) and status.st_nlink == 0:
                    total += status.st_blocks * 512
    return total


def children(pid: int) -> list[int]:
    """Those that C{pid} has started."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Answer:
    """A response that is taken bit by bit, every byte looked at."""

    def __init__(self, port: int, size: int) -> None:
        self._size = size
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE)
        self._socket.sendall(b"GET /%d HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % size)
        self._came = 0
        self.problem = ""
        head = b""
        while b"\r\n\r\n" not in head:
            part = self._socket.recv(4096)
            if not part:
                raise RuntimeError("no answer")
            head += part
        if not re.search(rb"(?i)^content-length: *%d\r$" % size, head, re.MULTILINE):
            raise RuntimeError(f"another answer: {head!r}")
        self._check(head.partition(b"\r\n\r\n")[2])

    def _check(self, part: bytes) -> None:
        if part != content(self._came, len(part)):
            self.problem = self.problem or f"wrong bytes after {self._came}"
        self._came += len(part)

    def take(self, most: int) -> None:
        """So many bytes more, or to the end."""
        until = min(self._came + most, self._size)
        try:
            while self._came < until:
                part = self._socket.recv(min(256 * 1024, until - self._came))
                if not part:
                    self.problem = self.problem or f"ended after {self._came / MIB:.1f} MiB"
                    return
                self._check(part)
        except OSError as error:
            self.problem = self.problem or f"{error} after {self._came / MIB:.1f} MiB"

    def close(self) -> None:
        self._socket.close()


@attrs.frozen
class Cost:
    """
    @ivar memory: KiB that it took more than before.
    @ivar disk: bytes of temporary files.
    @ivar rid: seconds after which the upstream was rid of all, None if that was not before the client went on.
    @ivar closed: seconds after which its connection was closed, likewise.
    @ivar problem: what was wrong with what the client got, if anything.
    """

    memory: int
    disk: int
    rid: float | None
    closed: float | None
    problem: str


def measure(name: str, size: int, stall: float) -> Cost:
    """One proxy and one stalled client."""
    upstream = Upstream()
    with running(PEERS[name], upstream.port) as (pid, port):
        first = Answer(port, 8192)  # what any first request costs does not count
        first.take(8192)
        first.close()
        time.sleep(0.5)
        before, memory, disk = anonymous_kib(pid), 0, 0
        answer = Answer(port, size)
        answer.take(TAKEN_AT_ONCE)
        until = time.monotonic() + stall
        while time.monotonic() < until:
            memory = max(memory, anonymous_kib(pid) - before)
            disk = max(disk, disk_bytes(pid))
            time.sleep(0.05)
        held = attrs.evolve(upstream.held[-1])  # as it is now
        answer.take(size)
        memory = max(memory, anonymous_kib(pid) - before)
        answer.close()
    return Cost(memory, disk, held.rid, held.closed, answer.problem)


@contextmanager
def running(command: Callable[[int, int, Path], list[str]], upstream: int) -> Iterator[tuple[int, int]]:
    """Its process id and port, while it runs. Its temporary files are where it puts them by itself, or in C{/var/tmp}."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        os.chmod(directory, 0o755)  # nginx's worker is another user
        port = free_port()
        process = subprocess.Popen(
            command(port, upstream, Path(directory)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=directory,
        )
        try:
            deadline = time.monotonic() + _START
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"did not start: {process.args!r}")
                time.sleep(0.05)
            time.sleep(0.3)
            yield process.pid, port
        finally:
            process.terminate()
            try:
                process.wait(_STOP)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(_STOP)


def seconds(value: float | None) -> str:
    return "the whole time" if value is None else f"{value:.1f} s"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python tests/benchmarks/stalled.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"default all: {', '.join(map(repr, PEERS))}")
    parser.add_argument("--stall", type=float, default=20, help="seconds that the client stalls [default: 20]")
    parser.add_argument("--size", type=int, default=400, help="MiB of the answer [default: 400]")
    options = parser.parse_args()
    for name in options.peers:
        if name not in PEERS:
            parser.error(f"{name!r} is no peer; peers are {', '.join(map(repr, PEERS))}")
    if options.stall < 1 or options.size < 2:
        parser.error("--stall must be at least 1, and --size at least 2")
    version = platform.python_version()
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, Linux {platform.release()}, Python {version}")
    print(f"\n{options.size} MiB; the client takes 1 MiB and stalls for {options.stall:g} s\n")
    print(f"{'':22}{'memory':>12}{'disk':>12}{'upstream rid':>17}{'closed':>17}   then the client")
    wrong = 0
    for name in options.peers or PEERS:
        if name.startswith("nginx") and program("nginx") is None:
            print(f"{name:22}is not installed")
            continue
        try:
            cost = measure(name, options.size * MIB, options.stall)
        except RuntimeError as error:
            print(f"{name:22}{error}")
            wrong += 1
            continue
        wrong += bool(cost.problem)
        print(
            f"{name:22}{cost.memory / 1024:>8.1f} MiB{cost.disk / MIB:>8.0f} MiB{seconds(cost.rid):>17}"
            f"{seconds(cost.closed):>17}   {cost.problem or 'gets every byte'}",
            flush=True,
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
