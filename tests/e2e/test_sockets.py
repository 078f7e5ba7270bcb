"""What the configuration says of sockets, as the kernel has it: UNIX sockets on both sides, local addresses, keep-alive, modes."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_twisted
from configured import configured
from conftest import Origin, Running
from programs import free_port, peer, wait_until
from twisted.internet.threads import deferToThread

REACTORS = pytest.mark.parametrize("reactor", ["epollet", "epoll", "asyncio"])
CONFIGURATION = """
[[servers]]
listen = [
    {{ address = "127.0.0.1:{port}", socket_keepalive = "50s:10s:3", user_timeout = "7s", backlog = 77 }},
    {{ address = "unix:{directory}/http.sock", mode = "0600" }},
]
[[servers.routes]]
prefix = "/"
proxy = "web"
[[servers.routes]]
prefix = "/around/"
proxy = "http://unix:{directory}/http.sock:/"

[[servers]]
protocol = "tcp"
listen = {{ address = "unix:{directory}/tcp.sock", mode = "0660", owner = ":nogroup" }}
proxy = "unix:{directory}/http.sock"

[upstreams.web]
servers = "127.0.0.1:{origin}"
bind = "127.0.0.7"
socket_keepalive = "40s:9s:2"
user_timeout = "5s"
"""


class Listening:
    """An origin that keeps its connections, answers each head with a body of two bytes, and knows where they came from."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.seen: list[str] = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                connection, address = self._listener.accept()
            except OSError:
                return
            self.seen.append(address[0])
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            while connection.recv(65536).endswith(b"\r\n\r\n"):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

    def close(self) -> None:
        self._listener.close()


@contextmanager
def proxied(directory: Path, reactor: str = "") -> Iterator[tuple[Running, Listening]]:
    origin, port = Listening(), free_port()
    text = CONFIGURATION.format(directory=directory, port=port, origin=origin.port)
    with configured(directory, text, port, "" if reactor == "epollet" else reactor) as pipe:
        yield pipe, origin
    origin.close()


def ask(address: tuple[str, int] | str, target: str = "/") -> socket.socket:
    """A client that has had its answer, whose connection stands."""
    client = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    client.settimeout(10)
    client.connect(address)
    client.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    got = b""
    while not got.endswith(b"\r\n\r\nhi"):
        part = client.recv(65536)
        assert part, got
        got += part
    return client


def timers(pid: int, *ports: int) -> dict[int, str]:
    """What C{ss} says of the timers of the connections a process has, by the port of either end that is of C{ports}."""
    shown = subprocess.run(
        [peer("ss"), "-Htnpo", "state", "established"], capture_output=True, text=True, check=True
    ).stdout
    found = {}
    for line in shown.splitlines():
        if f"pid={pid}," in line:
            for port in ports:
                if f":{port} " in line:
                    found[port] = line.partition("timer:")[2]
    return found


@REACTORS
@pytest_twisted.ensureDeferred
async def test_tcp(tmp_path: Path, reactor: str) -> None:
    """Connections come from the address that was said, and both sides are asked for signs of life."""

    def try_it() -> None:
        with proxied(tmp_path, reactor) as (pipe, origin), ask(("127.0.0.1", pipe.port)):
            assert origin.seen == ["127.0.0.7"]
            found: dict[int, str] = {}

            def all_is_acknowledged() -> bool:
                found.update(timers(pipe.process.pid, pipe.port, origin.port))
                return not any("(on," in each for each in found.values())

            wait_until(all_is_acknowledged, 1, "the acknowledgement of what was sent")
            for port, least, most in ((pipe.port, 30, 50), (origin.port, 20, 40)):
                match = re.match(r"\(keepalive,(\d+)(?:\.\d+)?sec,0\)", found[port])
                assert match and least <= int(match[1]) <= most, (port, found)
            shown = subprocess.run([peer("ss"), "-Hltn", f"sport = {pipe.port}"], capture_output=True, text=True).stdout
            assert shown.split()[2] == "77", shown
            assert "Traceback" not in pipe.log

    await deferToThread(try_it)


@REACTORS
@pytest_twisted.ensureDeferred
async def test_unix(tmp_path: Path, reactor: str) -> None:
    """From a UNIX socket to a UNIX socket to TCP, for tcp and for http; their files are those they are said to be, and go."""
    http, tcp = tmp_path / "http.sock", tmp_path / "tcp.sock"

    def try_it() -> None:
        with proxied(tmp_path, reactor) as (pipe, origin):
            assert [stat.S_IMODE(each.stat().st_mode) for each in (http, tcp)] == [0o600, 0o660]
            if os.getuid() == 0:
                assert tcp.group() == "nogroup"
            for address, target in (
                (str(http), "/"),
                (str(tcp), "/"),
                (("127.0.0.1", pipe.port), "/around/x"),
                (str(tcp), "/around/x"),
            ):
                ask(address, target).close()
            assert set(origin.seen) == {"127.0.0.7"}
            assert "Traceback" not in pipe.log
        assert not http.exists() and not tcp.exists()

    await deferToThread(try_it)


@pytest_twisted.ensureDeferred
async def test_what_a_killed_process_leaves_is_no_hindrance(tmp_path: Path) -> None:
    """Its sockets and their locks are there; the next one starts, and says so."""
    sock = str(tmp_path / "http.sock")

    def try_it() -> None:
        with proxied(tmp_path) as (pipe, _):
            pipe.process.send_signal(signal.SIGKILL)
            pipe.process.wait(60)
            assert os.path.lexists(sock) and os.path.lexists(f"{sock}.lock")
        # a lock names a process; in a container the next one may have its number
        os.unlink(f"{sock}.lock")
        os.symlink(str(os.getpid()), f"{sock}.lock")
        (tmp_path / "pipe.log").unlink()
        with proxied(tmp_path) as (pipe, _):
            ask(sock).close()
            assert f"{sock}: removed: a socket that nobody listened on" in pipe.log

    await deferToThread(try_it)


@pytest_twisted.ensureDeferred
async def test_a_socket_that_is_listened_on_stays(tmp_path: Path) -> None:
    """A second process says that it is taken and ends; the first goes on."""
    second = tmp_path / "second"
    second.mkdir()

    def try_it() -> None:
        with proxied(tmp_path) as (pipe, _):
            text = CONFIGURATION.format(directory=tmp_path, port=free_port(), origin=1)
            with pytest.raises(AssertionError) as caught, configured(second, text, 0):
                pass
            assert "http.sock" in str(caught.value)
            assert "Traceback" not in str(caught.value)
            ask(str(tmp_path / "http.sock")).close()
            assert pipe.process.poll() is None

    await deferToThread(try_it)


@pytest_twisted.ensureDeferred
async def test_an_address_that_is_not_ours(tmp_path: Path, origin: Origin) -> None:
    """C{bind}: that is known when the first connection is made; then the log says so, and the client gets 502."""
    port = free_port()
    text = CONFIGURATION.format(directory=tmp_path, port=port, origin=origin.port).replace("127.0.0.7", "192.0.2.1")

    def try_it() -> None:
        with configured(tmp_path, text, port) as pipe:
            done = subprocess.run([peer("curl"), "-si", f"http://127.0.0.1:{port}/"], capture_output=True, text=True)
            assert done.stdout.startswith("HTTP/1.1 502 "), done.stdout
            told = "cannot be bound to 192.0.2.1: Cannot assign requested address"
            wait_until(lambda: told in pipe.log, 5, "the line in the log")

    await deferToThread(try_it)


@pytest_twisted.ensureDeferred
async def test_two_processes_share_a_port(tmp_path: Path, origin: Origin) -> None:
    """C{reuse_port}: the kernel gives each of them some of a hundred connections."""
    port = free_port()
    text = f"""
        [[servers]]
        protocol = "tcp"
        listen = {{ address = "127.0.0.1:{port}", reuse_port = true }}
        proxy = "127.0.0.1:{origin.port}"
        log_sessions = true
    """
    directories = [tmp_path / "one", tmp_path / "two"]
    for each in directories:
        each.mkdir()

    def try_it() -> None:
        with configured(directories[0], text, port) as one, configured(directories[1], text, port) as two:
            for _ in range(100):
                with socket.create_connection(("127.0.0.1", port)) as client:
                    client.sendall(b"GET /nothing HTTP/1.0\r\n\r\n")
                    assert client.recv(100).startswith(b"HTTP/1.1 404")
            wait_until(lambda: one.log.count(": open") + two.log.count(": open") == 100, 5, "the log lines")
            assert min(one.log.count(": open"), two.log.count(": open")) > 10

    await deferToThread(try_it)


CHAIN = """
[[servers]]
protocol = "tcp"
listen = ["127.0.0.1:{port}", "unix:{directory}/front.sock"]
proxy = "behind"

[upstreams.behind]
servers = "unix:{directory}/behind.sock"
send_proxy_protocol = "{version}"

[[servers]]
listen = {{ address = "unix:{directory}/behind.sock", proxy_protocol = {{ trusted = "unix:" }} }}
[[servers.routes]]
prefix = "/"
answer = {{ body = "for $remote_addr" }}
"""


@REACTORS
@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest_twisted.ensureDeferred
async def test_proxy_protocol_over_unix_sockets(tmp_path: Path, reactor: str, version: str) -> None:
    """A client's address arrives behind a UNIX socket; a client without one has none there, either."""
    port = free_port()
    text = CHAIN.format(directory=tmp_path, port=port, version=version)

    def answer(address: tuple[str, int] | str) -> bytes:
        with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as client:
            client.settimeout(10)
            client.connect(address)
            client.sendall(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
            got = b"".join(iter(lambda: client.recv(65536), b""))
        return got.partition(b"\r\n\r\n")[2]

    def try_it() -> None:
        with configured(tmp_path, text, port, "" if reactor == "epollet" else reactor) as pipe:
            assert answer(("127.0.0.1", port)) == b"for 127.0.0.1"
            assert answer(str(tmp_path / "front.sock")) == b"for unix:"
            assert "Traceback" not in pipe.log

    await deferToThread(try_it)
