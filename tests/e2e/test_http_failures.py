"""
C{twisted-pipe} as an HTTP proxy when something goes wrong: an origin that breaks off, is silent, is killed or is not there; a
client that half-closes, is silent or leaves. What is not whole never looks whole.
"""

from __future__ import annotations

import itertools
import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_twisted
from conftest import MIB
from http_bench import HttpBench, http_bench
from http_clients import Broken, Client, ScriptedOrigin
from http_origin import content
from http_proxy import http_proxy
from programs import peer, wait_until
from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread

SETTINGS = """
client_header_timeout = "4s"
client_body_timeout = "4s"
keepalive_timeout = "5s"
lingering_timeout = "5s"
"""
ROUTES = """
[[servers.routes]]
prefix = "/dead/"
proxy = "127.0.0.1:1"

[[servers.routes]]
prefix = "/hasty/on/"
proxy = "app"
read_timeout = "2s"

[[servers.routes]]
prefix = "/hasty/off/"
proxy = "app"
buffering = false
request_buffering = false
read_timeout = "2s"

[[servers.routes]]
prefix = "/spare/"
proxy = "spare"

[[servers.routes]]
prefix = "/small/"
proxy = "app"
client_max_body_size = "100k"

[upstreams.spare]
servers = ["127.0.0.1:1", "127.0.0.1:ORIGIN", "127.0.0.1:ORIGIN"]
"""
STOPS = (0, 1, 40_000, 3 * MIB)  # bytes of a body after which it breaks off
TRUNCATED = (18, 56)  # curl: a part only; the connection was reset


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpBench]:
    with http_bench(tmp_path_factory.mktemp("failures"), SETTINGS, ROUTES) as it:
        yield it


def curl(bench: HttpBench, target: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    url = f"http://127.0.0.1:{bench.proxy.port}{target}"
    return subprocess.run([peer("curl"), "-sS", "--max-time", "60", *arguments, url], capture_output=True, check=False)


def whole(size: int) -> bytes:
    """A body of that many bytes."""
    return b"".join(content(at, min(size - at, 65536)) for at in range(0, size, 65536))


# Origins


@pytest.mark.parametrize("end", ["close", "reset", "silence"])
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest_twisted.ensureDeferred
async def test_a_truncated_response_is_seen_to_be(framing: str, end: str, bench: HttpBench) -> None:
    """curl gets every byte that came, says that some are missing, and the log says why."""
    if framing == "close" and end == "close":
        pytest.skip("that is how such responses end")

    def truncated() -> None:
        for route, stop in itertools.product(("on", "off"), (0, 3 * MIB) if end == "silence" else STOPS):
            name = f"truncated-{framing}-{end}-{route}-{stop}"
            query = f"size={4 * MIB}&framing={framing}&stop={stop}&end={end}&name={name}"
            got = curl(bench, f"{'/hasty' if end == 'silence' else ''}/{route}/?{query}")
            assert got.returncode in TRUNCATED, (name, got.returncode, got.stderr)
            assert got.stdout == whole(stop), f"{name}: {len(got.stdout)} bytes"
            line = bench.proxy.find_line(name)
            assert (line["status"], line["upstream_status"]) == (200, [200])
            assert "upstream" in (line["error"] or ""), line

    await deferToThread(truncated)
    await deferToThread(bench.proxy.check_clean)


@pytest_twisted.ensureDeferred
async def test_http_10_clients_get_a_reset(bench: HttpBench) -> None:
    """An end of the connection would be a clean end to them."""

    def truncated() -> None:
        for framing, end in (("chunked", "close"), ("close", "reset"), ("length", "close")):
            got = curl(bench, f"/on/?size={4 * MIB}&framing={framing}&stop=30000&end={end}", "--http1.0")
            assert got.returncode in TRUNCATED, (framing, got.returncode, got.stderr)
            assert got.stdout == whole(30_000)

    await deferToThread(truncated)


@pytest_twisted.ensureDeferred
async def test_an_origin_that_is_killed(tmp_path: Path) -> None:
    """What it had sent arrives, then an unclean end; after that 502, and all is well when it is back."""

    def kill() -> None:
        origin = ScriptedOrigin.start()
        with http_proxy(tmp_path / "pipe", origin.port) as proxy:
            with Client(proxy.port) as client:
                client.ask(f"/on/?size={100 * MIB}&pause=0.01")
                parts = client.parts(client.head())
                next(parts)
                origin.stop()
                with pytest.raises((Broken, ConnectionResetError)):
                    for _ in parts:
                        pass
            with Client(proxy.port) as client:
                client.ask("/on/?name=after")
                head = client.head()
                assert head.status == 502
                assert b"502" in client.body(head)
            assert "connect() failed" in proxy.find_line("after")["error"]
            proxy.check_clean()

    await deferToThread(kill)


@pytest_twisted.ensureDeferred
async def test_a_kept_connection_that_the_origin_closed(tmp_path: Path) -> None:
    """The next request gets a new one, though it comes at the very moment."""
    path = str(tmp_path / "origin.sock")

    def restart() -> None:
        origin = ScriptedOrigin.start(path)
        with http_proxy(tmp_path / "pipe", f"unix:{path}") as proxy, Client(proxy.port) as client:
            for _ in range(5):
                client.ask("/on/?size=5")
                assert client.check_body(client.head()) == 5
                origin.stop()
                Path(path).unlink()
                origin = ScriptedOrigin.start(path)
            client.ask("/on/?size=5")
            assert client.check_body(client.head()) == 5
            origin.stop()
            proxy.check_alive()

    await deferToThread(restart)


@pytest_twisted.ensureDeferred
async def test_an_origin_that_hangs_up(bench: HttpBench) -> None:
    """It closes after each response, though it has not said so: whoever asks next does not notice."""

    def ask() -> None:
        with bench.client() as client:
            for number in range(300):
                framing = ("length", "chunked")[number % 2]
                client.ask(f"/on/?size={number}&framing={framing}&hangup=1")
                head = client.head()
                assert head.status == 200, number
                assert client.check_body(head) == number

    await gatherResults([deferToThread(ask) for _ in range(4)])
    await deferToThread(bench.proxy.check_clean)


@pytest_twisted.ensureDeferred
async def test_an_origin_that_is_not_there(bench: HttpBench) -> None:
    """502 at once, with a line that names it; with another server behind it, that one answers."""

    def retries() -> list[int]:
        return [line["retries"] for line in bench.proxy.lines() if "name=spare" in line["uri"]]

    def absent() -> None:
        began = time.monotonic()
        with bench.client() as client:
            for _ in range(3):
                client.ask("/dead/?name=dead")
                head = client.head()
                assert head.status == 502
                client.body(head)
            assert time.monotonic() - began < 10  # to connect may take 60 s
            line = bench.proxy.find_line("dead")
            assert (line["upstream_addr"], line["upstream_status"]) == (["127.0.0.1:1"], [None])
            assert "upstream: connect() failed: Connection refused" in bench.proxy.pipe.log
            for _ in range(4):
                client.ask("/spare/?size=7&name=spare")
                assert client.check_body(client.head()) == 7
        wait_until(lambda: len(retries()) == 4, 10, "a line of each")
        assert set(retries()) == {0, 1}

    await deferToThread(absent)
    await deferToThread(bench.proxy.check_clean)


@pytest_twisted.ensureDeferred
async def test_an_origin_that_is_silent(bench: HttpBench) -> None:
    """504 after the read timeout, and its connection is closed."""

    def silent() -> None:
        for method in ("GET", "HEAD"):
            with bench.client() as client:
                began = time.monotonic()
                client.ask(f"/hasty/on/?wait=15&name=silent-{method}", method)
                head = client.head()
                assert head.status == 504
                assert 1.9 < time.monotonic() - began < 15
                assert "read timeout" in bench.proxy.find_line(f"silent-{method}")["error"]
        used = {bench.connection_of(f"silent-{method}") for method in ("GET", "HEAD")}
        with bench.client() as client:
            for number in range(3):
                client.ask(f"/on/?size=1&name=spoken-{number}")
                assert client.check_body(client.head()) == 1
                assert bench.connection_of(f"spoken-{number}") not in used

    await deferToThread(silent)
    await deferToThread(bench.proxy.check_clean)


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest_twisted.ensureDeferred
async def test_an_origin_that_answers_early(framing: str, bench: HttpBench) -> None:
    """It does not read the request, answers and closes: its answer arrives, not a 502."""

    def early() -> None:
        for route, size in itertools.product(("on", "off"), (1, 100_000, 20 * MIB)):
            name = f"early-{framing}-{route}-{size}"
            with bench.client() as client:
                with suppress(BrokenPipeError, ConnectionResetError):  # nobody wants the rest
                    client.upload(f"/{route}/?early=1&name={name}", size, 9000 if framing == "chunked" else 0)
                head = client.head()
                assert (head.status, client.body(head)) == (403, b"early"), name
            line = bench.proxy.find_line(name)
            assert (line["status"], line["upstream_status"]) == (403, [403]), line

    await deferToThread(early)
    await deferToThread(bench.proxy.check_clean)


# Clients


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest_twisted.ensureDeferred
async def test_a_client_that_half_closes(framing: str, bench: HttpBench) -> None:
    """It has said all: its response comes, whole, small or large, at once or later, and the connection ends after it."""

    def half_close() -> None:
        for route, size, wait in itertools.product(("on", "off"), (0, 100, MIB, 30 * MIB), (0, 0.2)):
            with bench.client() as client:
                client.ask(f"/{route}/?size={size}&framing={framing}&wait={wait}")
                client.sock.shutdown(socket.SHUT_WR)
                assert client.check_body(client.head()) == size
                assert client.ended()

    await deferToThread(half_close)
    await deferToThread(bench.proxy.check_clean)


@pytest_twisted.ensureDeferred
async def test_clients_that_say_nothing_more(bench: HttpBench) -> None:
    """No head, half a head, half a body, no second request: each has its time; then 408, or just the end."""

    def silent() -> None:
        began = time.monotonic()
        clients = {name: bench.client() for name in ("nothing", "head", "body", "large body", "idle")}
        clients["head"].sock.sendall(b"GET /on/ HT")
        clients["body"].ask("/on/upload", "POST", "Content-Length: 100\r\n")
        clients["body"].sock.sendall(b"x" * 10)
        clients["large body"].ask("/off/upload", "POST", "Content-Length: 100000\r\n")
        clients["large body"].sock.sendall(b"x" * 10)
        clients["idle"].ask("/on/?size=3")
        assert clients["idle"].check_body(clients["idle"].head()) == 3
        for name in ("head", "body", "large body"):
            head = clients[name].head()
            assert head.status == 408, name
            assert head.get("connection") == "close"
            assert time.monotonic() - began < 15  # the defaults are 60 s
            clients[name].body(head)
        for name, client in clients.items():
            with client:
                assert client.ended(), name
        assert 3.9 < time.monotonic() - began < 20

    await deferToThread(silent)
    await deferToThread(bench.proxy.check_clean)


@pytest_twisted.ensureDeferred
async def test_clients_that_leave_while_they_upload(bench: HttpBench) -> None:
    """The origin sees no whole request; nothing stays behind."""

    def leave() -> None:
        for route, size, fields in itertools.product(
            ("on", "off"),
            (100, 40_000, 10 * MIB),
            (f"Content-Length: {50 * MIB}\r\n", "Transfer-Encoding: chunked\r\n"),
        ):
            name = f"leave-{route}-{size}-{fields[0]}"
            client = bench.client()
            client.ask(f"/{route}/upload?name={name}", "POST", fields)
            data = whole(size)
            client.sock.sendall(b"%x\r\n%b\r\n" % (size, data) if fields[0] == "T" else data)
            wait_until(bench.proxy.has_heard_all, 10, "its reading all of it")  # a reset drops the rest
            client.leave()
            line = bench.proxy.find_line(name)
            assert line["status"] == 499, line
            assert not bench.origin.request(name).get("done")
            if route == "on":
                assert not bench.origin.request(name), name

    await deferToThread(leave)
    await deferToThread(bench.proxy.check_clean)


@pytest_twisted.ensureDeferred
async def test_clients_that_end_in_the_middle_of_a_body(bench: HttpBench) -> None:
    """Half-closing is no end of a request that announced more: the origin does not take it for whole."""

    def end() -> None:
        for route, size, fields in itertools.product(
            ("on", "off"), (100, 10 * MIB), (f"Content-Length: {50 * MIB}\r\n", "Transfer-Encoding: chunked\r\n")
        ):
            name = f"end-{route}-{size}-{fields[0]}"
            with bench.client() as client:
                client.ask(f"/{route}/upload?name={name}", "POST", fields)
                data = whole(size)
                client.sock.sendall(b"%x\r\n%b\r\n" % (size, data) if fields[0] == "T" else data)
                client.sock.shutdown(socket.SHUT_WR)
                line = bench.proxy.find_line(name)
                assert line["status"] in (400, 499), line
                assert line["error"], line
                assert not bench.origin.request(name).get("done")

    await deferToThread(end)
    await deferToThread(bench.proxy.check_clean)


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest_twisted.ensureDeferred
async def test_bodies_that_are_too_large(framing: str, bench: HttpBench) -> None:
    """413, and the origin hears nothing of it."""

    def upload() -> None:
        for size in (150_000, 20 * MIB):
            name = f"large-{framing}-{size}"
            with bench.client() as client:
                with suppress(BrokenPipeError, ConnectionResetError):  # nobody wants the rest
                    client.upload(f"/small/upload?name={name}", size, 9000 if framing == "chunked" else 0)
                head = client.head()
                assert head.status == 413, name
                assert head.get("connection") == "close"
            assert bench.proxy.find_line(name)["status"] == 413
            assert not bench.origin.request(name)
        with bench.client() as client:
            client.upload(f"/small/upload?name=small-{framing}", 100 * 1024, 9000 if framing == "chunked" else 0)
            head = client.head()
            assert json.loads(client.body(head))["right"] is True

    await deferToThread(upload)
    await deferToThread(bench.proxy.check_clean)


# What is sent bit by bit


@pytest.mark.parametrize("framing", ["chunked", "close"])
@pytest_twisted.ensureDeferred
async def test_events_arrive_when_they_happen(framing: str, bench: HttpBench) -> None:
    """Each within 100 ms, though the route reads ahead. What is late in one of three runs only, the machine was late with."""

    def listen() -> list[float]:
        late, seen = [], b""
        with bench.client() as client:
            client.ask(f"/on/?events=12&pause=0.1&framing={framing}")
            for part in client.parts(client.head()):
                now = time.monotonic()
                seen += part
                *events, seen = seen.split(b"\n\n")
                late += [now - float(event.partition(b"data: ")[2]) for event in events]
        return late

    runs: list[list[float]] = []
    while len(runs) < 3 and (not runs or max(runs[-1]) >= 0.1):
        runs.append(await deferToThread(listen))
        assert len(runs[-1]) == 12
    late = max(map(min, zip(*runs, strict=True)))
    print(f"{framing}: {late * 1000:.1f} ms late at most")
    assert late < 0.1


# Logs


@pytest_twisted.ensureDeferred
async def test_log_lines(bench: HttpBench) -> None:
    """One a request, in nginx's combined form and as JSON; written when the connection ends; nothing can be put into them."""

    def ask() -> None:
        with bench.client() as client:
            client.ask(
                "/on/?size=5&name=logged",
                fields='User-Agent: me "quoted"\r\nReferer: http://x/\r\nConnection: close\r\n',
            )
            assert client.check_body(client.head()) == 5
            assert client.ended()
        log = bench.proxy.directory / "access.log"
        wait_until(lambda: "name=logged" in log.read_text(), 5, "its line")
        (line,) = [line for line in log.read_text().splitlines() if "name=logged" in line]
        pattern = (
            r'127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "GET /on/\?size=5&name=logged HTTP/1\.1" 200 5'
            r' "http://x/" "me \\x22quoted\\x22"'
        )
        assert re.fullmatch(pattern, line), line
        found = bench.proxy.find_line("logged")
        assert found["bytes"] > found["body_bytes"] == 5
        assert (found["method"], found["protocol"], found["remote_addr"]) == ("GET", "HTTP/1.1", "127.0.0.1")
        assert found["upstream_addr"] == [f"127.0.0.1:{bench.origin.port}"]
        assert len(found["upstream_header_time"]) == 1

    await deferToThread(ask)
