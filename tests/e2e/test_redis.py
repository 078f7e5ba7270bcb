"""
A third party's protocol, installed with pip, in front of real Redis servers: C{tests/thirdparty/redis_router}.

C{pytest -s} shows the figures.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from conftest import MIB, Running
from processes import anonymous_memory
from programs import free_port, peer, start_server, wait_until
from twisted.internet.threads import deferToThread

from twisted_pipe.limits import DEFAULT_LIMITS

Start = Callable[..., Running]
PACKAGE = Path(__file__).parent.parent / "thirdparty" / "redis_router"


class RedisError(Exception):
    """A server's error reply."""


class Redis:
    """A client that does as it is told, one blocking call after the other."""

    def __init__(self, port: int, window: int = 0) -> None:
        """
        @param window: bytes that its kernel takes for it, 0 for as many as usual.
        """
        self.socket = socket.socket()
        if window:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        self.socket.settimeout(20)
        self.socket.connect(("127.0.0.1", port))
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> Redis:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.socket.close()

    def send(self, *commands: str) -> None:
        """Each in words; all in one write."""
        self.socket.sendall(b"".join(encode(each) for each in commands))

    def receive(self) -> Any:
        """
        The next reply, an error as an exception object.

        @raise EOFError: there is none.
        """
        line = self._file.readline()
        if not line:
            raise EOFError
        kind, rest = line[:1], line[1:-2]
        if kind == b"*":
            return [self.receive() for _ in range(int(rest))]
        if kind == b"$":
            return None if rest == b"-1" else self._file.read(int(rest) + 2)[:-2]
        if kind == b"-":
            return RedisError(rest.decode())
        return int(rest) if kind == b":" else rest

    def ask(self, command: str) -> Any:
        self.send(command)
        return self.receive()


def encode(command: str) -> bytes:
    words = [word.encode() for word in command.split()]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def place_of(key: str) -> int:
    """Which of two servers has it: the half of Redis Cluster's slots; the CRC bit by bit, as the specification has it."""
    crc = 0
    for byte in key.encode():
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (0x1021 if crc & 0x8000 else 0)) & 0xFFFF
    return crc % 16384 // 8192


def key_of(place: int, name: str = "key") -> str:
    """A key that the server at C{place} has."""
    return next(key for key in (f"{name}:{number}" for number in range(1000)) if place_of(key) == place)


@attrs.define
class Server:
    """A real one, that keeps nothing on disk."""

    directory: Path
    port: int = attrs.field(factory=free_port)
    process: Any = None

    def start(self) -> None:
        settings = {"port": self.port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": self.directory}
        words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        self.process = start_server([peer("redis-server"), *words], self.port, log=self.directory / f"{self.port}.log")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(60)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[Server]]:
    """Two."""
    pair = [Server(tmp_path), Server(tmp_path)]
    try:
        for each in pair:
            each.start()
        yield pair
    finally:
        for each in pair:
            if each.process is not None:
                each.kill()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the package is installed, as a PYTHONPATH."""
    target, source = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("source")
    # Building leaves a build/ behind, which the next build would take up.
    shutil.copytree(PACKAGE, source, dirs_exist_ok=True)
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), str(source)]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return os.pathsep.join(filter(None, [str(target), os.environ.get("PYTHONPATH", "")]))


@pytest.fixture
def start_router(start_pipe: Start, servers: list[Server], site: str) -> Start:
    """C{start_router(...)}: C{twisted-pipe --protocol redis} in front of both servers."""
    upstreams = [word for server in servers for word in ("--upstream", f"127.0.0.1:{server.port}")]

    def start(*arguments: str, reactor: str = "") -> Running:
        return start_pipe("--protocol", "redis", *upstreams, *arguments, env={"PYTHONPATH": site}, reactor=reactor)

    return start


@pytest_twisted.ensureDeferred
async def test_its_own_tests(site: str, tmp_path: Path) -> None:
    """Those of the package, as it is installed."""
    trial = [sys.executable, "-m", "twisted.trial", "redis_router"]
    done = await deferToThread(
        subprocess.run, trial, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": site}
    )
    assert done.returncode == 0, done.stdout


@pytest_twisted.ensureDeferred
async def test_keys_are_where_the_slots_say(servers: list[Server], start_router: Start) -> None:
    router = start_router()

    def exchange() -> None:
        values = {f"user:{number}": f"value{number}" for number in range(500)}
        with Redis(router.port) as client:
            for key, value in values.items():
                assert client.ask(f"SET {key} {value}") == b"OK"
            assert [client.ask(f"GET {key}") for key in values] == [value.encode() for value in values.values()]
        for place, server in enumerate(servers):
            mine = {key: value.encode() for key, value in values.items() if place_of(key) == place}
            assert 200 < len(mine) < 300
            with Redis(server.port) as direct:
                assert direct.ask("DBSIZE") == len(mine)
                assert {key: direct.ask(f"GET {key}") for key in mine} == mine

    await deferToThread(exchange)
    assert "Traceback" not in router.log


@pytest.mark.parametrize("reactor", ["epollet", "epoll", "asyncio"])
@pytest_twisted.ensureDeferred
async def test_pipelining(reactor: str, start_router: Start) -> None:
    """1,000 commands in one write, for both servers in turn and for none: the replies come in their order."""
    router = start_router(reactor=reactor)
    keys = [key_of(0), key_of(1)]

    def exchange() -> list[Any]:
        with Redis(router.port) as client:
            client.send(
                *[f"ECHO {number}" if number % 5 == 4 else f"INCR {keys[number % 3 % 2]}" for number in range(1000)]
            )
            client.socket.shutdown(socket.SHUT_WR)
            replies = [client.receive() for _ in range(1000)]
            with pytest.raises(EOFError):
                client.receive()
            return replies

    counts, expected = [0, 0], []
    for number in range(1000):
        if number % 5 == 4:
            expected.append(b"%d" % number)
        else:
            counts[number % 3 % 2] += 1
            expected.append(counts[number % 3 % 2])  # type: ignore[arg-type]
    assert await deferToThread(exchange) == expected


@pytest_twisted.ensureDeferred
async def test_refusals(start_router: Start) -> None:
    router = start_router()

    def exchange() -> list[Any]:
        with Redis(router.port) as client:
            both = f"{key_of(0)} {key_of(1)}"
            tagged = " ".join(f"{{{key_of(1)}}}{number}" for number in range(5))
            replies = [
                client.ask(each) for each in (f"MGET {both}", f"MGET {tagged}", "MULTI", f"BLPOP {both} 0", "PING")
            ]
            client.socket.sendall(b"*1\r\n:1\r\n")
            replies.append(client.receive())
            with pytest.raises(EOFError):
                client.receive()
            return replies

    assert list(map(str, await deferToThread(exchange))) == [
        "CROSSSLOT Keys in request don't hash to the same server",
        str([None] * 5),
        "ERR MULTI is not supported by redis_router",
        "ERR BLPOP is not supported by redis_router",
        str(b"PONG"),
        "ERR Protocol error: expected '$', got ':'",
    ]


LARGE = 32 * MIB


@pytest_twisted.ensureDeferred
async def test_large_value_and_a_client_that_stalls(servers: list[Server], start_router: Start) -> None:
    """It costs disk and not memory, and another client's commands do not wait for it."""
    router = start_router()
    value = os.urandom(LARGE)
    keys = [key_of(0), key_of(1)]

    def exchange() -> tuple[bytes, int, float]:
        with socket.create_connection(("127.0.0.1", servers[0].port)) as direct:
            direct.sendall(
                b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(keys[0]), keys[0].encode(), LARGE, value)
            )
            assert direct.recv(5) == b"+OK\r\n"
        with Redis(router.port, window=65536) as client, Redis(router.port) as other:
            assert (client.ask("PING"), other.ask(f"SET {keys[1]} 7")) == (b"PONG", b"OK")
            before = most = anonymous_memory(router.process.pid)
            client.send(f"GET {keys[0]}", f"GET {keys[1]}")
            began = time.monotonic()
            slowest = 0.0
            while time.monotonic() < began + 1 or ("spill started" not in router.log and time.monotonic() < began + 30):
                asked = time.monotonic()
                assert other.ask(f"GET {keys[1]}") == b"7"
                slowest = max(slowest, time.monotonic() - asked)
                most = max(most, anonymous_memory(router.process.pid))
            got = client.receive()
            assert client.receive() == b"7"
            return hashlib.md5(got, usedforsecurity=False).digest(), most - before, slowest

    digest, growth, slowest = await deferToThread(exchange)
    print(f"memory grew by {growth / MIB:.1f} MiB; the other client waited for at most {slowest * 1000:.0f} ms")
    assert digest == hashlib.md5(value, usedforsecurity=False).digest()
    # two clients, each with a response and up to two requests
    assert growth < 6 * DEFAULT_LIMITS.memory + 4 * MIB
    assert "spill started" in router.log


@pytest_twisted.ensureDeferred
async def test_redis_benchmark(servers: list[Server], start_router: Start) -> None:
    """Redis's own tool, 50 clients with 16 commands under way each, has nothing to complain about."""
    router = start_router()

    def measure(port: int) -> dict[str, float]:
        options = ["-P", "16", "-n", "20000", "-t", "ping,set,get,incr", "-q", "-r", "10000"]
        command = [peer("redis-benchmark"), "-p", str(port), *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
        assert "rror" not in done.stdout + done.stderr, done.stdout + done.stderr
        rates = re.findall(r"(\w+)[^:\r\n]*: ([\d.]+) requests per second", done.stdout)
        return {name: float(rate) for name, rate in rates}

    direct = await deferToThread(measure, servers[0].port)
    routed = await deferToThread(measure, router.port)
    for name, rate in routed.items():
        print(f"{name}: {rate:.0f} commands/s, {direct[name]:.0f} without the router")
    assert {"PING_INLINE", "SET", "GET", "INCR"} <= set(routed)
    assert min(routed.values()) > 100
    assert "Traceback" not in router.log


@pytest_twisted.ensureDeferred
async def test_a_server_that_dies(servers: list[Server], start_router: Start) -> None:
    """Its keys cannot be had, the other's can; when it is back, all is well again."""
    router = start_router()
    here, there = key_of(0), key_of(1)

    def exchange() -> None:
        gone = f"127.0.0.1:{servers[1].port}"
        with Redis(router.port) as client, Redis(router.port) as owed:
            # both have their connections to both servers
            assert [each.ask(f"SET {key} 1") for each in (client, owed) for key in (here, there)] == [b"OK"] * 4
            servers[1].process.send_signal(signal.SIGSTOP)
            owed.send(f"GET {here}", f"GET {there}", f"GET {here}")
            assert owed.receive() == b"1"
            servers[1].kill()
            # a reply was owed: no clean end
            with pytest.raises(ConnectionResetError):
                owed.receive()
            wait_until(lambda: f"upstream: {gone}: " in router.log, 5, "the line in the log")
            assert ", with 1 reply outstanding" in router.log
            # none was: the connection goes on
            client.send(f"GET {here}", f"GET {there}", f"GET {here}")
            first, problem, last = (client.receive() for _ in range(3))
            assert (first, last) == (b"1", b"1")
            assert str(problem).startswith(f"ERR upstream {gone} cannot be reached: Connection was refused"), problem
            servers[1].start()
            wait_until(lambda: client.ask(f"GET {there}") is None, 5, "its return")

    await deferToThread(exchange)
    assert "Traceback" not in router.log


@pytest_twisted.ensureDeferred
async def test_filters(servers: list[Server], start_router: Start) -> None:
    """They see each client's replies as one stream, and its commands for each server as another."""
    router = start_router("--filter", "upper", "--request-filter", "hexdump")
    keys = [key_of(0), key_of(1)]

    def exchange() -> list[Any]:
        with Redis(router.port) as client:
            return [client.ask(f"{name} {key} value") for name in ("SET", "APPEND", "GETSET") for key in keys]

    assert await deferToThread(exchange) == [b"OK", b"OK", 10, 10, b"VALUEVALUE", b"VALUEVALUE"]
    for key, server in zip(keys, servers, strict=True):
        assert re.search(
            rf"request, client 127\.0\.0\.1:\d+, upstream 127\.0\.0\.1:{server.port}: \d+ bytes at 0", router.log
        )
        assert key in router.log


@pytest_twisted.ensureDeferred
async def test_options(start_router: Start, servers: list[Server]) -> None:
    """A limit that is reached is the end of that client."""
    router = start_router("--protocol", "redis:max_command=1k:max_pending=2")

    def exchange() -> Any:
        with Redis(router.port) as client:
            client.send(*["PING"] * 10, f"SET key {'x' * 2000}")
            return [client.receive() for _ in range(11)]

    *pongs, refusal = await deferToThread(exchange)
    assert pongs == [b"PONG"] * 10
    assert str(refusal) == "ERR Protocol error: more than 1024 bytes"
