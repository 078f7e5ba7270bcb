"""C{twisted-pipe} as an HTTP proxy between real components: nginx and a Twisted web server behind it, curl and wrk before it."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest
import pytest_twisted
from conftest import MIB, Origin, Running
from http_proxy import HttpProxy, http_proxy
from programs import free_port, peer, wait_until
from twisted.internet.threads import deferToThread

from twisted_pipe.limits import DEFAULT_LIMITS

GIB = 1024 * MIB
#: Longer than a busy disk takes for 1 GiB.
SETTINGS = 'client_send_timeout = "10m"'
ROUTES = """
[[servers.routes]]
prefix = "/streamed/"
uri = "/put/"
proxy = "app"
request_buffering = false

[[servers.routes]]
prefix = "/hasty/"
uri = "/"
proxy = "app"
client_send_timeout = "3s"
"""

#: What Twisted's web server serves: files of a directory, and C{/echo}, which gives back what it got.
SITE = """
import sys

from twisted.internet import endpoints, reactor
from twisted.web import resource, server, static


class Echo(resource.Resource):
    isLeaf = True

    def render_POST(self, request):
        request.setHeader(b"X-Expect", (request.getHeader(b"expect") or "none").encode())
        return request.content.read()

    def render_GET(self, request):
        for _ in range(50):
            request.write(b"part of it, " * 100)  # chunked
        return b"the end"


root = static.File(sys.argv[2])
root.putChild(b"echo", Echo())
endpoints.serverFromString(reactor, f"tcp:{sys.argv[1]}:interface=127.0.0.1").listen(server.Site(root))
reactor.callWhenRunning(print, "ready", flush=True)
reactor.run()
"""


@attrs.frozen
class Bench:
    """A proxy in front of a web server that serves the files of a directory."""

    proxy: HttpProxy
    root: Path

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.proxy.port}{path}"

    def curl(self, path: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        command = [peer("curl"), "-sS", "--max-time", "120", *arguments, self.url(path)]
        return subprocess.run(command, capture_output=True, check=check)

    def file(self, name: str, data: bytes) -> None:
        (self.root / name).write_bytes(data)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A Twisted web server: its port, and the directory that it serves."""
    directory = tmp_path_factory.mktemp("twisted-web")
    (directory / "www").mkdir()
    (directory / "site.py").write_text(SITE)
    port = free_port()
    command = [sys.executable, str(directory / "site.py"), str(port), str(directory / "www")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield port, directory / "www"
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module", params=["nginx", "twisted"])
def bench(
    request: pytest.FixtureRequest,
    origin: Origin,
    web: tuple[int, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Bench]:
    """The same in front of either."""
    port, root = (origin.port, origin.root) if request.param == "nginx" else web
    with http_proxy(tmp_path_factory.mktemp("proxy"), port, SETTINGS) as proxy:
        yield Bench(proxy, root)


@pytest.fixture(scope="module")
def before_twisted(web: tuple[int, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with http_proxy(tmp_path_factory.mktemp("before-twisted"), web[0], SETTINGS) as proxy:
        yield Bench(proxy, web[1])


@pytest.fixture(scope="module")
def before_nginx(origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with http_proxy(tmp_path_factory.mktemp("before-nginx"), origin.port, SETTINGS, ROUTES) as proxy:
        yield Bench(proxy, origin.root)


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


# curl


@pytest_twisted.ensureDeferred
async def test_files(bench: Bench, tmp_path: Path) -> None:
    """Whole files, their heads, and ranges of them, one after the other on one connection each; HTTP/1.0 too."""
    data = os.urandom(3 * MIB)

    def get() -> None:
        bench.file("file", data)
        for version in ("--http1.1", "--http1.0"):
            assert bench.curl("/file", version).stdout == data
            assert bench.curl("/file", version, "--range", "1000000-2000000").stdout == data[1_000_000:2_000_001]
        head = bench.curl("/file", "--head").stdout
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert re.search(rb"\r\nContent-Length: 3145728\r\n", head, re.IGNORECASE)
        outputs = [tmp_path / f"got{number}" for number in range(5)]
        many = [each for path in outputs[1:] for each in ("-o", str(path), bench.url("/file"))]
        got = bench.curl("/file", *many, "-o", str(outputs[0]), "-v")
        assert {md5(path.read_bytes()) for path in outputs} == {md5(data)}
        assert got.stderr.count(b"Re-using existing connection") == 4, got.stderr

    await deferToThread(get)
    await deferToThread(bench.proxy.check_clean)


@pytest_twisted.ensureDeferred
async def test_conditional_requests_and_errors(bench: Bench) -> None:
    """304, 404 and 416 are the origin's, and leave the connections usable."""

    def ask() -> None:
        bench.file("cond", b"x" * 100)
        date = re.search(rb"last-modified: ([^\r]*)\r\n", bench.curl("/cond", "--head").stdout, re.IGNORECASE)
        assert date is not None
        for arguments, status in (
            (("-H", f"If-Modified-Since: {date[1].decode()}"), b"304"),
            (("--range", "1000-2000"), b"416"),
            ((), b"200"),
        ):
            got = bench.curl("/cond", *arguments, "-o", "/dev/null", "-w", "%{http_code}")
            assert got.stdout == status, (arguments, got.stdout)
        assert bench.curl("/nowhere", "-o", "/dev/null", "-w", "%{http_code}").stdout == b"404"

    await deferToThread(ask)
    await deferToThread(bench.proxy.check_clean)


@pytest.mark.parametrize("route", ["put", "streamed"])
@pytest_twisted.ensureDeferred
async def test_uploads(route: str, before_nginx: Bench, tmp_path: Path) -> None:
    """By length, by chunks, with C{Expect: 100-continue} and without: every byte stands in nginx's file."""
    data = os.urandom(30 * MIB)
    (tmp_path / "body").write_bytes(data)
    location = before_nginx.root / "put"

    def put() -> None:
        for number, arguments in enumerate(
            (
                (),
                ("-H", "Transfer-Encoding: chunked"),
                ("-H", "Expect: 100-continue"),
                ("-H", "Expect: 100-continue", "-H", "Transfer-Encoding: chunked"),
                ("-H", "Expect:"),
            )
        ):
            began = time.monotonic()
            path = f"/{route}/body{number}"
            got = before_nginx.curl(path, "-T", str(tmp_path / "body"), *arguments, "-w", "%{http_code}")
            assert got.stdout[-3:] in (b"201", b"204"), (path, got.stdout)
            assert time.monotonic() - began < 40  # timeouts are 60 s
            assert md5((location / f"body{number}").read_bytes()) == md5(data)
            (location / f"body{number}").unlink()

    await deferToThread(put)
    await deferToThread(before_nginx.proxy.check_clean)


@pytest_twisted.ensureDeferred
async def test_posts_to_twisted(before_twisted: Bench, tmp_path: Path) -> None:
    """What is posted comes back; curl is told to go on before it sends a large body, and the upstream is not asked to tell so."""
    data = os.urandom(5 * MIB)
    (tmp_path / "body").write_bytes(data)

    def post() -> None:
        for arguments in ((), ("-H", "Transfer-Encoding: chunked"), ("-H", "Expect: 100-continue")):
            began = time.monotonic()
            got = before_twisted.curl("/echo", "--data-binary", f"@{tmp_path / 'body'}", *arguments, "-v")
            assert got.stdout == data
            assert b"< X-Expect: none" in got.stderr
            # curl waits for a second, and then sends without having been told
            assert time.monotonic() - began < 1 or b"100 Continue" in got.stderr
        got = before_twisted.curl("/echo", "--data-binary", f"@{tmp_path / 'body'}", "-H", "Expect: 100-continue", "-v")
        assert b"< HTTP/1.1 100 Continue" in got.stderr
        chunked = before_twisted.curl("/echo", "-v")
        assert chunked.stdout == b"part of it, " * 5000 + b"the end"

    await deferToThread(post)
    await deferToThread(before_twisted.proxy.check_clean)


@pytest.mark.parametrize("limit", ["", "500m"])
@pytest_twisted.ensureDeferred
async def test_1_gib(limit: str, before_nginx: Bench) -> None:
    """A sparse file of 1 GiB to /dev/null, as fast as it goes and at a rate: memory stays within the buffers."""

    def download() -> float:
        proxy = before_nginx.proxy
        with (before_nginx.root / "sparse").open("wb") as file:
            file.truncate(GIB)
        before = most = proxy.memory()
        arguments = ["--limit-rate", limit] if limit else []
        command = [peer("curl"), "-sS", "--max-time", "180", "-o", "/dev/null", "-w", "%{size_download}", *arguments]
        process = subprocess.Popen([*command, before_nginx.url("/sparse")], stdout=subprocess.PIPE)
        while process.poll() is None:
            most = max(most, proxy.memory())
            time.sleep(0.02)
        out, _ = process.communicate()
        assert (process.returncode, out) == (0, str(GIB).encode())
        (before_nginx.root / "sparse").unlink()
        return (most - before) / MIB

    grown = await deferToThread(download)
    print(f"1 GiB {limit}: memory grew by {grown:.2f} MiB")
    assert grown < DEFAULT_LIMITS.memory / MIB + 4
    await deferToThread(before_nginx.proxy.check_clean)


@pytest_twisted.ensureDeferred
async def test_a_client_that_never_reads_1_gib(before_nginx: Bench) -> None:
    """It waits on disk; memory stays within 4 MiB of the buffers; nginx is let go; when the client leaves, so does the file."""

    def stall() -> tuple[float, float]:
        proxy = before_nginx.proxy
        with (before_nginx.root / "sparse").open("wb") as file:
            file.truncate(GIB)
        before = most = proxy.memory()
        with socket.create_connection(("127.0.0.1", proxy.port)) as client:
            client.sendall(b"GET /sparse?name=never HTTP/1.1\r\nHost: x\r\n\r\n")
            began = time.monotonic()
            while proxy.spill_files() < GIB - 32 * MIB or not proxy.has_taken_all():
                most = max(most, proxy.memory())
                assert time.monotonic() - began < 240, f"only {proxy.spill_files()} bytes on disk"
                time.sleep(0.02)
            filled = time.monotonic() - began
        line = proxy.find_line("never")
        assert line["spilled"] > GIB - 32 * MIB
        assert "client" in line["error"], line
        (before_nginx.root / "sparse").unlink()
        return (most - before) / MIB, filled

    grown, filled = await deferToThread(stall)
    print(f"1 GiB that nobody reads: memory grew by {grown:.2f} MiB, on disk after {filled:.2f} s")
    assert grown < DEFAULT_LIMITS.memory / MIB + 4
    await deferToThread(before_nginx.proxy.check_clean)


@pytest_twisted.ensureDeferred
async def test_a_client_whose_time_is_up(before_nginx: Bench) -> None:
    """C{client_send_timeout} begins when it takes nothing, however much of the response is still to be written to the disk."""

    def stall() -> None:
        proxy = before_nginx.proxy
        with (before_nginx.root / "sparse").open("wb") as file:
            file.truncate(64 * MIB)
        with socket.create_connection(("127.0.0.1", proxy.port)) as client:
            client.sendall(b"GET /hasty/sparse?name=hasty HTTP/1.1\r\nHost: x\r\n\r\n")
            line = proxy.find_line("hasty", 20)
        assert line["spilled"] > 0
        assert "send timeout" in line["error"], line
        (before_nginx.root / "sparse").unlink()

    await deferToThread(stall)
    await deferToThread(before_nginx.proxy.check_clean)


# wrk


@pytest_twisted.ensureDeferred
async def test_wrk(bench: Bench) -> None:
    """Thousands of requests on kept connections: each is answered, each has its line, and few connections reach the origin."""

    def load() -> tuple[int, int]:
        bench.file("1k", b"k" * 1024)
        bench.file("64k", b"k" * 65536)
        before = len(bench.proxy.lines())
        counted = 0
        for path in ("/1k", "/64k"):
            out = subprocess.run(
                [peer("wrk"), "-t1", "-c16", "-d1s", "--timeout=30s", bench.url(path)],
                capture_output=True,
                check=True,
                text=True,
            ).stdout
            assert "Socket errors" not in out, out
            assert "Non-2xx" not in out, out
            found = re.search(r"(\d+) requests in", out)
            assert found is not None
            counted += int(found[1])
            assert bench.proxy.pipe.connections_to(bench.proxy.origin) <= 32 + 16
        wait_until(lambda: len(bench.proxy.lines()) - before >= counted, 5, "all lines")
        lines = bench.proxy.lines()[before:]
        assert {line["status"] for line in lines} <= {200, 499}
        return counted, len(lines)

    counted, logged = await deferToThread(load)
    print(f"wrk got {counted} answers, {logged} lines")
    assert counted <= logged <= counted + 32  # it leaves in the middle of some
    await deferToThread(bench.proxy.check_clean)


# The quick form


@pytest_twisted.ensureDeferred
async def test_quick_form(origin: Origin, start_pipe: Callable[..., Running]) -> None:
    """C{--protocol http --upstream http://HOST:PORT}, and its access log on stdout."""
    digest = await deferToThread(origin.file, "quick", MIB)
    pipe = start_pipe("--protocol", "http", "--upstream", f"http://127.0.0.1:{origin.port}")

    def get() -> bytes:
        command = [peer("curl"), "-sS", f"http://127.0.0.1:{pipe.port}/quick", "-A", "me"]
        return subprocess.run(command, capture_output=True, check=True).stdout

    assert md5(await deferToThread(get)) == digest
    await deferToThread(wait_until, lambda: '"GET /quick HTTP/1.1" 200 1048576 "-" "me"' in pipe.log, 5, "the log line")
