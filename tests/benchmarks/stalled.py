"""
What a stalled client costs: C{python tests/benchmarks/stalled.py [--clients N] [--stall SECONDS] [--size MIB] [PEER...]}.

A client (or C{N}, each on its own connection) asks for 400 MiB, takes 1 MiB, stalls for 20 s, and takes the rest, through one
proxy after the other: nginx with its proxied HTTP and with its stream module, Twisted's C{ReverseProxyResource} and
C{portforward}, and C{twistd pipe}, with and without a disk. It is looked how much memory the proxy (and its children) takes that
it did not take before, at most while the client stalls and at most until the end; how much its temporary files have on disk; how
much the upstream has sent when the client goes on; and how long the proxy holds it: until it has sent all, and until the
connection between them is closed. Then whether every byte arrives, and the end.

Memory is what the processes have allocated themselves. What the kernel holds for their sockets and kernel pipes is not in it, nor
is the cache of a file on disk. A process that has just started has some memory left over, which one client may fit into: what each
costs is told by several. What an upstream has sent it has given to its own kernel.

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
import twisted
from commands import NGINX, QUIETLY, TWISTD, program
from peers import free_port
from usage import anonymous_kib, descendants

MIB = 1024 * 1024
#: The body is this over and over. Its length is a prime, so that no two buffers of a body look the same.
BLOCK = random.Random(0).randbytes(MIB + 7)
TWICE = BLOCK * 2
TAKEN_AT_ONCE = MIB
#: Seconds between two looks at the proxy. A look at a large process takes milliseconds.
_LOOK = 0.01
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
    What the upstream saw of one request, in seconds from when it had the connection; None for what has not happened.

    @ivar sent: the bytes of the body that it has written.
    @ivar rid: when it had written everything.
    @ivar closed: when the proxy had closed the connection.
    """

    sent: int = 0
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
                while held.sent < size:
                    held.sent += connection.send(content(held.sent, min(256 * 1024, size - held.sent)))
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
    sizes = {}
    for each in descendants(pid):
        for fd in Path(f"/proc/{each}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(fd)
                if stat.S_ISREG(status.st_mode) and status.st_nlink == 0:
                    sizes[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(sizes.values())


class Watch:
    """
    Looks at a proxy again and again, in a thread, until it is told to stop.

    @ivar memory: the most KiB that it has taken beyond those at the beginning.
    @ivar disk: the most bytes of temporary files.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before = anonymous_kib(pid)
        self.memory = self.disk = 0
        self._error: OSError | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        try:
            while not self._over.wait(_LOOK):
                self.memory = max(self.memory, anonymous_kib(self._pid) - self._before)
                self.disk = max(self.disk, disk_bytes(self._pid))
        except OSError as error:  # it, or a child of it, is gone
            self._error = error

    def stop(self) -> None:
        """
        The end of it.

        @raise RuntimeError: it could not look all the time.
        """
        self._over.set()
        self._thread.join()
        if self._error is not None:
            raise RuntimeError(f"could not be watched to the end: {self._error}")


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

    def end(self) -> None:
        """After the last byte comes the end, and nothing else."""
        try:
            if not self.problem and self._socket.recv(1):
                self.problem = "more than there is"
        except OSError as error:
            self.problem = f"{error} instead of the end"
        self._socket.close()


@attrs.frozen
class Cost:
    """
    @ivar memory: KiB that it took more than before, at most while the clients stalled.
    @ivar peak: the same until they had everything.
    @ivar disk: bytes of temporary files, at most.
    @ivar held: what the upstream had seen when the clients went on: the bytes of all requests, the times of the last.
    @ivar problem: what was wrong with what a client got, if anything.
    """

    memory: int
    peak: int
    disk: int
    held: Held
    problem: str


def together(requests: list[Held]) -> Held:
    """What they sent in all, and the latest that happened to one; None if it has not happened to every one."""

    def last(times: list[float | None]) -> float | None:
        happened = [each for each in times if each is not None]
        return max(happened) if len(happened) == len(times) else None

    sent = sum(each.sent for each in requests)
    return Held(sent, last([each.rid for each in requests]), last([each.closed for each in requests]))


def measure(name: str, clients: int, size: int, stall: float) -> Cost:
    """One proxy and its stalled clients."""
    upstream = Upstream()
    with running(PEERS[name], upstream.port) as (pid, port):
        first = Answer(port, 8192)  # what any first request costs does not count
        first.take(8192)
        first.end()
        time.sleep(0.5)
        watch = Watch(pid)
        try:
            answers = []
            for _ in range(clients):
                answers.append(Answer(port, size))
                answers[-1].take(TAKEN_AT_ONCE)
            time.sleep(stall)
            memory, held = watch.memory, together(upstream.held[-clients:])
            for answer in answers:
                answer.take(size)
                answer.end()
        finally:
            watch.stop()
    return Cost(memory, watch.memory, watch.disk, held, next((each.problem for each in answers if each.problem), ""))


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


def nginx_version() -> str:
    """As it says it, e.g. C{nginx/1.22.1}."""
    path = program("nginx")
    if path is None:
        return "no nginx"
    return subprocess.run([path, "-v"], stderr=subprocess.PIPE, text=True, check=True).stderr.split()[-1]


def seconds(value: float | None) -> str:
    return "not yet" if value is None else f"{value:.1f} s"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python tests/benchmarks/stalled.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"default all: {', '.join(map(repr, PEERS))}")
    parser.add_argument("--clients", type=int, default=1, help="how many stall at the same time [default: 1]")
    parser.add_argument("--stall", type=float, default=20, help="seconds that the client stalls [default: 20]")
    parser.add_argument("--size", type=int, default=400, help="MiB of the answer [default: 400]")
    options = parser.parse_args()
    for name in options.peers:
        if name not in PEERS:
            parser.error(f"{name!r} is no peer; peers are {', '.join(map(repr, PEERS))}")
    if options.stall < 1 or options.size < 2 or options.clients < 1:
        parser.error("--stall and --clients must be at least 1, and --size at least 2")
    version = platform.python_version()
    print(
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()},"
        f" Python {version}, Twisted {twisted.__version__}, {nginx_version()}"
    )
    who = "the client takes 1 MiB and stalls"
    if options.clients > 1:
        who = f"{options.clients} clients take 1 MiB each and stall"
    print(f"\n{options.size} MiB; {who} for {options.stall:g} s\n")
    print(f"{'':22}{'memory':>11}{'to the end':>12}{'disk':>9}{'upstream sent':>15}{'rid':>9}{'closed':>9}   then")
    wrong = 0
    for name in options.peers or PEERS:
        if name.startswith("nginx") and program("nginx") is None:
            print(f"{name:22}is not installed")
            continue
        try:
            cost = measure(name, options.clients, options.size * MIB, options.stall)
        except (RuntimeError, OSError) as error:
            print(f"{name:22}{error}")
            wrong += 1
            continue
        wrong += bool(cost.problem)
        print(
            f"{name:22}{cost.memory / 1024:>7.1f} MiB{cost.peak / 1024:>8.1f} MiB{cost.disk / MIB:>5.0f} MiB"
            f"{cost.held.sent / MIB:>11.0f} MiB{seconds(cost.held.rid):>9}{seconds(cost.held.closed):>9}"
            f"   {cost.problem or 'gets every byte'}",
            flush=True,
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
