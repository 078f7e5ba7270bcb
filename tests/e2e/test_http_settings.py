"""C{twisted-pipe} as an HTTP proxy: settings of routes that only show on the wire, with time and many bytes."""

from __future__ import annotations

import json
import signal
import time
import zlib
from collections.abc import Iterator

import pytest
import pytest_twisted
from conftest import MIB
from http_bench import HttpBench, http_bench
from http_clients import Pace
from http_origin import content
from programs import wait_until
from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread

UPSTREAM = "keepalive = 4\nkeepalive_timeout = 5"
ROUTES = """
[[servers.routes]]
prefix = "/slow/"
proxy = "app"
limit_rate = "2m"

[[servers.routes]]
prefix = "/gzip/"
proxy = "app"
filters = [{ name = "gzip", types = ["application/*"] }]

[[servers.routes]]
prefix = "/through/"
proxy = "app"
filters = ["pass"]

[[servers.routes]]
prefix = "/finish/"
proxy = "app"
ignore_client_abort = true

[[servers.routes]]
prefix = "/memory/"
proxy = "app"
request_body_buffer_size = "40m"
send_timeout = "2s"

[[servers.routes]]
prefix = "/dry/"
proxy = "app"
max_temp_file_size = 0

[[servers.routes]]
prefix = "/bounded/"
proxy = "bounded"

[upstreams.bounded]
servers = ["127.0.0.1:ORIGIN"]
keepalive = 4
keepalive_requests = 50
keepalive_timeout = 5
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpBench]:
    with http_bench(tmp_path_factory.mktemp("settings"), "keepalive_requests = 200", ROUTES, UPSTREAM) as it:
        yield it


def seconds_for(bench: HttpBench, target: str, size: int) -> float:
    with bench.client() as client:
        began = time.monotonic()
        client.ask(target)
        assert client.check_body(client.head()) == size
        return time.monotonic() - began


@pytest_twisted.ensureDeferred
async def test_rates(bench: HttpBench) -> None:
    """
    C{limit_rate}, and what an upstream asks for; a kept connection does not inherit one. Nobody is early; who is late each time is
    not late because of the machine.
    """
    size = 3 * MIB
    plan = {
        f"/slow/?size={size}": 1.5,
        f"/slow/?size={size}&framing=chunked": 1.5,
        f"/on/?size={size}&rate=2m": 1.5,
        f"/off/?size={size}&framing=close&rate=2m": 1.5,
        f"/slow/?size={size}&rate=0": 0.0,
    }
    fastest = dict.fromkeys(plan, 60.0)
    for _ in range(3):
        took = await gatherResults([deferToThread(seconds_for, bench, target, size) for target in plan])
        fastest = {target: min(fastest[target], seconds) for target, seconds in zip(plan, took, strict=True)}
        if all(fastest[target] < expected * 1.1 + 0.4 for target, expected in plan.items()):
            break
    for target, expected in plan.items():
        assert expected * 0.9 - 0.1 < fastest[target] < expected * 1.1 + 0.4, (target, fastest[target])
    # each kept connection has had its turn
    unlimited = [await deferToThread(seconds_for, bench, f"/on/?size={size}", size) for _ in range(8)]
    assert sorted(unlimited)[5] < 1, unlimited
    await deferToThread(bench.proxy.check_clean)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest_twisted.ensureDeferred
async def test_filters(framing: str, bench: HttpBench) -> None:
    """Framing is ours: what a filter changes goes out in chunks, or to the end of the connection."""

    def get() -> None:
        for size in (0, 1, 1000, 32 * 1024, 5 * MIB):
            expected = b"".join(content(at, min(size - at, 65536)) for at in range(0, size, 65536))
            for minor in (1, 0):
                with bench.client() as client:
                    client.ask(f"/gzip/?size={size}&framing={framing}", fields="Accept-Encoding: gzip\r\n", minor=minor)
                    head = client.head()
                    body = client.body(head)
                    if head.get("content-encoding") == "gzip":
                        assert head.framing == ("chunked" if minor else "close")
                        body = zlib.decompress(body, 31)
                    else:
                        assert size == 0
                    assert body == expected
                with bench.client() as client:
                    client.ask(f"/through/?size={size}&framing={framing}", minor=minor)
                    assert client.check_body(client.head()) == size

    await deferToThread(get)
    await deferToThread(bench.proxy.check_clean)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest_twisted.ensureDeferred
async def test_ignore_client_abort(framing: str, bench: HttpBench) -> None:
    """The origin gives its whole response though nobody reads it, and its connection is used again."""

    def leave() -> None:
        for size, wait in ((10, 0.2), (30 * MIB, 0.2), (30 * MIB, 0)):
            name = f"finish-{framing}-{size}-{wait}"
            client = bench.client()
            client.ask(f"/finish/?size={size}&framing={framing}&wait={wait}&name={name}")
            if wait:
                wait_until(lambda: bench.origin.request(name), 5, "the request")  # noqa: B023
            else:
                next(client.parts(client.head()))
            client.leave()
            wait_until(lambda: bench.origin.request(name)["done"], 10, "the whole response")  # noqa: B023
            wait_until(bench.proxy.has_taken_all, 5, "taking all of it")
            time.sleep(0.05)
            with bench.client() as other:
                other.ask(f"/on/?size=1&name=after-{name}")
                assert other.check_body(other.head()) == 1
            again = bench.connection_of(f"after-{name}") == bench.connection_of(name)
            assert again == (framing != "close")

    await deferToThread(leave)
    await deferToThread(bench.proxy.check_clean)


@pytest_twisted.ensureDeferred
async def test_a_body_in_memory_that_the_kernel_does_not_take_at_once(bench: HttpBench) -> None:
    """It goes out bit by bit; to an origin that does not read for too long it is 504."""

    def upload() -> None:
        for size, chunk, deaf in ((30 * MIB, 0, 0.3), (30 * MIB, 70_000, 0.3), (39 * MIB, 0, 0)):
            with bench.client() as client:
                client.upload(f"/memory/upload?deaf={deaf}&name=memory", size, chunk)
                head = client.head()
                assert head.status == 200
                assert json.loads(client.body(head)) == {"framing": "length", "length": size, "right": True}
        with bench.client() as client:
            client.upload("/memory/upload?deaf=20&name=deaf", 39 * MIB)
            head = client.head()
            assert head.status == 504
            client.body(head)
            assert "send timeout" in bench.proxy.find_line("deaf")["error"]
            client.ask("/on/?size=1")
            assert client.check_body(client.head()) == 1

    await deferToThread(upload)
    await deferToThread(bench.proxy.check_clean)


@pytest_twisted.ensureDeferred
async def test_an_upload_at_the_origin_s_pace(bench: HttpBench) -> None:
    """Without request buffering the client waits for the origin, and nothing of it stays with us."""

    def upload() -> None:
        for chunk in (0, 9000):
            with bench.client() as client:
                before, began = bench.proxy.memory(), time.monotonic()
                client.upload(f"/off/upload?deaf=0.5&name=pace-{chunk}", 60 * MIB, chunk)
                assert time.monotonic() - began > 0.4
                head = client.head()
                assert json.loads(client.body(head))["right"] is True
                assert bench.proxy.memory() - before < 4 * MIB
            assert bench.proxy.find_line(f"pace-{chunk}")["spilled"] == 0

    await deferToThread(upload)
    await deferToThread(bench.proxy.check_clean)


@pytest_twisted.ensureDeferred
async def test_without_a_disk(bench: HttpBench) -> None:
    """A stalled client holds the origin up, and then gets everything."""

    def stall() -> None:
        for framing in ("length", "chunked", "close"):
            with bench.client(Pace(window=16 * 1024)) as client:
                name = f"dry-{framing}"
                client.ask(f"/dry/?size={100 * MIB}&framing={framing}&name={name}")
                wait_until(lambda: bench.origin.request(name), 5, "the request")  # noqa: B023
                time.sleep(0.3)
                assert not bench.origin.request(name)["done"]
                assert client.check_body(client.head()) == 100 * MIB
            assert bench.proxy.find_line(name)["spilled"] == 0

    await deferToThread(stall)
    await deferToThread(bench.proxy.check_clean)


@pytest_twisted.ensureDeferred
async def test_kept_connections_have_bounds(bench: HttpBench) -> None:
    """The client's after 200 requests; the upstream's after 50 requests, after five seconds, and not more than four."""

    def many() -> None:
        wait_until(
            lambda: not bench.proxy.pipe.connections_to(bench.origin.port), 10, "the end of those of other tests"
        )
        with bench.client() as client:
            for number in range(200):
                client.ask(f"/bounded/?size=1&name=bound-{number}")
                head = client.head()
                assert client.check_body(head) == 1
                assert head.get("connection") == ("close" if number == 199 else None)
            assert client.ended()
        used = [bench.connection_of(f"bound-{number}") for number in range(200)]
        assert max(used.count(each) for each in set(used)) <= 50
        assert len(set(used)) <= 8
        clients = [bench.client() for _ in range(8)]
        for client in clients:
            client.ask("/bounded/?size=1&wait=0.2")
        for client in clients:
            with client:
                assert client.check_body(client.head()) == 1
        assert bench.proxy.pipe.connections_to(bench.origin.port) <= 4
        wait_until(lambda: bench.proxy.pipe.connections_to(bench.origin.port) == 0, 10, "closing idle connections")

    await deferToThread(many)
    await deferToThread(bench.proxy.check_clean)


@pytest_twisted.ensureDeferred
async def test_early_hints_and_trailers(bench: HttpBench) -> None:
    """103 goes before the response, to who speaks HTTP/1.1; trailers go behind it."""

    def ask() -> None:
        with bench.client() as client:
            client.ask("/on/?size=10&hints=2")
            for _ in range(2):
                hint = client.head()
                assert (hint.status, hint.get("link")) == (103, "</style.css>")
            assert client.check_body(client.head()) == 10
            for size in (10, 100_000):
                client.ask(f"/on/?size={size}&framing=chunked&trailer=behind")
                assert client.check_body(client.head()) == size
                assert client.trailers == [b"X-Trailer: behind"]
        with bench.client() as client:
            client.ask("/on/?size=10&hints=2", minor=0)
            head = client.head()
            assert head.status == 200
            assert client.check_body(head) == 10

    await deferToThread(ask)
    await deferToThread(bench.proxy.check_clean)


@pytest_twisted.ensureDeferred
async def test_memory_does_not_grow(bench: HttpBench) -> None:
    """After thousands of requests of all kinds there is no more of it than after hundreds."""

    def many(count: int) -> None:
        for number in range(count):
            with bench.client() as client:
                for framing in ("length", "chunked", "close"):
                    client.ask(f"/on/?size={number * 997 % 200_000}&framing={framing}")
                    client.check_body(client.head())
                client.upload("/off/upload", number * 997 % 200_000, 9000 * (number % 2))
                client.body(client.head())
                client.ask("/on/?size=100000&wait=0.001" if number % 5 else "/on/?size=1")
                if number % 3 == 0:
                    client.leave()

    await deferToThread(many, 150)
    before = bench.proxy.memory()
    await deferToThread(many, 500)
    grown = bench.proxy.memory() - before
    print(f"memory grew by {grown / MIB:.2f} MiB in 2500 requests")
    assert grown < MIB
    await deferToThread(bench.proxy.check_clean)


@pytest_twisted.ensureDeferred
async def test_log_files_are_opened_anew(bench: HttpBench) -> None:
    """SIGUSR1, after somebody has moved them away; no line is lost."""

    def rotate() -> None:
        log = bench.proxy.directory / "access.json"
        with bench.client() as client:
            client.ask("/on/?size=1&name=before")
            assert client.check_body(client.head()) == 1
            bench.proxy.find_line("before")
            old = log.rename(bench.proxy.directory / "old.json")
            bench.proxy.pipe.process.send_signal(signal.SIGUSR1)
            wait_until(log.exists, 5, "the new file")
            client.ask("/on/?size=1&name=behind")
            assert client.check_body(client.head()) == 1
            bench.proxy.find_line("behind")
        assert "name=before" in old.read_text()
        assert "name=behind" not in old.read_text()

    await deferToThread(rotate)
    await deferToThread(bench.proxy.check_clean)
