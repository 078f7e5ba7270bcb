"""
C{twisted-pipe} as an HTTP proxy: how the origin frames a body, whether it is read ahead, how the client reads, and how large it is.

Of each of these: every byte, the right framing, connections kept alive or not as promised, and nothing that stays behind.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest
import pytest_twisted
from conftest import MIB
from http_bench import HttpBench, http_bench
from http_clients import FAST, SLOW, STALLING, Client, Pace
from http_origin import PART, content
from programs import wait_until
from twisted.internet.threads import deferToThread

from twisted_pipe.limits import DEFAULT_LIMITS
from twisted_pipe.proxies.http_settings import HttpSettings

BUFFER = DEFAULT_LIMITS.buffer_size
KEPT_IN_MEMORY = HttpSettings().request_body_buffer_size
HUGE = 100 * MIB
SIZES = (0, 1, BUFFER - 1, BUFFER, BUFFER + 1, MIB, HUGE)
#: Bytes that the kernel takes between an origin and a client that reads nothing, at most.
KERNEL = sum(int(Path(f"/proc/sys/net/ipv4/tcp_{kind}").read_text().split()[2]) for kind in ("rmem", "wmem", "wmem"))
#: What a proxy's memory may grow by while a client is slow: the buffers of an exchange, and what an allocator keeps.
GROWTH = 2 * DEFAULT_LIMITS.memory + 4 * MIB


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpBench]:
    with http_bench(tmp_path_factory.mktemp("matrix")) as it:
        it.ping("warm")
        yield it


@attrs.frozen
class Case:
    """
    Some cells of the matrix: those of all sizes.

    @ivar framing: the origin's.
    @ivar route: C{on} or C{off}, for buffering.
    @ivar manner: the client's.
    """

    framing: str
    route: str
    manner: str

    def name(self, size: int) -> str:
        return f"{self.framing}-{self.route}-{self.manner}-{size}"

    def target(self, size: int, more: str = "") -> str:
        return f"/{self.route}/?size={size}&framing={self.framing}&name={self.name(size)}{more}"


def check_framing(case: Case, framing: str) -> None:
    """A length stays one. Chunks that are all here may become one; an end of the connection becomes chunks."""
    allowed = {"length": ("length",), "chunked": ("chunked", "length"), "close": ("chunked",)}
    assert framing in allowed[case.framing], f"{case.framing} became {framing}"


def check_reuse(case: Case, bench: HttpBench) -> None:
    """One connection for all, or one for each."""
    used = [bench.connection_of(case.name(size)) for size in SIZES]
    assert len(set(used)) == (len(SIZES) if case.framing == "close" else 1), used
    assert not any(each["late"] for each in bench.origin.seen()["requests"])


def check_log(case: Case, bench: HttpBench, size: int) -> None:
    line = bench.proxy.find_line(case.name(size))
    assert (line["status"], line["upstream_status"], line["error"]) == (200, [200], None), line
    assert line["body_bytes"] == size if case.framing == "length" else line["body_bytes"] >= size, line
    if case.route == "off":
        assert line["spilled"] == 0


def read_all(case: Case, bench: HttpBench, pace: Pace) -> None:
    """One client, one connection, all sizes."""
    with bench.client(pace) as client:
        for size in SIZES:
            before = most = bench.proxy.memory()
            looked = time.monotonic()

            def look() -> None:
                nonlocal most, looked
                if time.monotonic() > looked + 0.1:
                    most, looked = max(most, bench.proxy.memory()), time.monotonic()

            client.watching = look
            client.ask(case.target(size))
            head = client.head()
            check_framing(case, head.framing)
            assert client.check_body(head) == size
            assert client.more == b""
            assert most - before <= GROWTH, f"memory grew by {(most - before) / MIB:.1f} MiB for {size} bytes"
    for size in SIZES:
        check_log(case, bench, size)
    check_reuse(case, bench)


def fast(case: Case, bench: HttpBench) -> None:
    read_all(case, bench, FAST)


def slow(case: Case, bench: HttpBench) -> None:
    read_all(case, bench, SLOW)


def stalled(case: Case, bench: HttpBench) -> None:
    """The client reads nothing until the origin has nothing more to do, or can do nothing more."""
    with bench.client(STALLING) as client:
        for size in SIZES:
            before, name = bench.proxy.memory(), case.name(size)
            client.ask(case.target(size))
            wait_until(lambda: bench.origin.request(name), 10, "the request")  # noqa: B023
            if case.route == "on" or size < HUGE:
                wait_until(lambda: bench.origin.request(name)["done"], 20, "the end of the response")  # noqa: B023
                wait_until(bench.proxy.has_taken_all, 10, "taking all of it")
                time.sleep(0.02)
                other = bench.ping(f"beside-{name}")
                assert (other == bench.connection_of(name)) == (case.framing != "close")
            else:
                time.sleep(0.3)
                seen = bench.origin.request(name)
                assert not seen["done"] and seen["sent"] < KERNEL
            grown = bench.proxy.memory() - before
            assert grown <= GROWTH, f"memory grew by {grown / MIB:.1f} MiB for {size} bytes"
            head = client.head()
            check_framing(case, head.framing)
            assert client.check_body(head) == size
    for size in SIZES:
        check_log(case, bench, size)
    if case.route == "on":
        assert bench.proxy.find_line(case.name(HUGE))["spilled"] > HUGE - KERNEL


def gone(case: Case, bench: HttpBench) -> None:
    """
    The client vanishes: while the origin thinks, or in the midst of the response. Then the upstream connection is closed, and
    never used again.
    """
    for size in SIZES:
        name = case.name(size)
        client = bench.client()
        if size < MIB:
            client.ask(case.target(size, "&wait=5"))
            wait_until(lambda: bench.origin.request(name), 10, "the request")  # noqa: B023
            client.leave()
            assert bench.proxy.find_line(name)["status"] == 499
        else:
            client.ask(case.target(size, "&pause=0.2"))
            next(client.parts(client.head()))
            client.leave()
            assert "client" in (bench.proxy.find_line(name)["error"] or ""), bench.proxy.find_line(name)
            wait_until(lambda: bench.origin.request(name)["problem"], 10, "the end at the origin")  # noqa: B023
            assert bench.origin.request(name)["sent"] < size
        assert bench.ping(f"after-{name}") != bench.connection_of(name)


@pytest.mark.parametrize("manner", [fast, slow, stalled, gone], ids=lambda each: each.__name__)
@pytest.mark.parametrize("route", ["on", "off"])
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest_twisted.ensureDeferred
async def test_response(framing: str, route: str, manner: Callable[[Case, HttpBench], None], bench: HttpBench) -> None:
    """Every byte, framed as it has to be; the upstream is let go as soon as it can be; nothing stays behind."""
    case = Case(framing, route, manner.__name__)
    began = time.monotonic()
    await deferToThread(manner, case, bench)
    print(f"{case}: {time.monotonic() - began:.2f} s")
    await deferToThread(bench.proxy.check_clean)


def check_upload(client: Client, framings: tuple[str, ...], size: int) -> None:
    """The origin got it, framed so."""
    head = client.head()
    assert head.status == 200, client.body(head)
    got = json.loads(client.body(head))
    assert got.pop("framing") in framings
    assert got == {"length": size, "right": True}


UPLOADS = (*SIZES[:-1], KEPT_IN_MEMORY - 1, KEPT_IN_MEMORY, KEPT_IN_MEMORY + 1, HUGE)


@pytest.mark.parametrize("route", ["on", "off"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest_twisted.ensureDeferred
async def test_request(framing: str, route: str, bench: HttpBench) -> None:
    """Bodies of requests, on one connection: every byte arrives, nothing of it stays in memory or on disk."""

    def upload_all() -> None:
        with bench.client() as client:
            for size in UPLOADS:
                before = bench.proxy.memory()
                name = f"upload-{framing}-{route}-{size}"
                client.upload(f"/{route}/upload?name={name}", size, 9000 if framing == "chunked" else 0)
                # chunks that are all in memory go out with a length
                joined = framing == "chunked" and route == "on" and size < 2 * KEPT_IN_MEMORY
                check_upload(client, ("length", "chunked") if joined else (framing,), size)
                grown = bench.proxy.memory() - before
                assert grown <= GROWTH, f"memory grew by {grown / MIB:.1f} MiB for {size} bytes"
                line = bench.proxy.find_line(name)
                assert (line["status"], line["error"]) == (200, None), line
                if route == "off" or size <= KEPT_IN_MEMORY:
                    assert line["spilled"] == 0
                elif size == HUGE:
                    assert line["spilled"] > HUGE - MIB

    began = time.monotonic()
    await deferToThread(upload_all)
    print(f"{framing}, {route}: {time.monotonic() - began:.2f} s")
    await deferToThread(bench.proxy.check_clean)


@pytest_twisted.ensureDeferred
async def test_sizes_around_every_bound(bench: HttpBench) -> None:
    """A byte less and a byte more than what is read, joined or kept at once."""

    def all_of_them() -> None:
        with bench.client() as client:
            for framing in ("length", "chunked", "close"):
                for route in ("on", "off"):
                    for bound in (8, 16, 64, 128, 224, 256, 512):
                        for size in range(bound * 1024 - 160, bound * 1024 + 2, 53):
                            client.ask(f"/{route}/?size={size}&framing={framing}&chunk=16381")
                            assert client.check_body(client.head()) == size

    await deferToThread(all_of_them)
    await deferToThread(bench.proxy.check_clean)


@pytest_twisted.ensureDeferred
async def test_pipelined_requests(bench: HttpBench) -> None:
    """Asked all at once, answered one after the other."""
    sizes = [0, 1, BUFFER, 5 * BUFFER, 3, MIB, 0, 17]

    def pipelined() -> None:
        for route, framing in itertools.product(("on", "off"), ("length", "chunked", "close")):
            with bench.client() as client:
                lines = (f"GET /{route}/?size={size}&framing={framing} HTTP/1.1" for size in sizes)
                client.sock.sendall("".join(f"{line}\r\nHost: x\r\n\r\n" for line in lines).encode())
                assert [client.check_body(client.head()) for _ in sizes] == sizes

    await deferToThread(pipelined)
    await deferToThread(bench.proxy.check_clean)


@pytest_twisted.ensureDeferred
async def test_pipelined_uploads(bench: HttpBench) -> None:
    """Where a body ends and the next request begins, whether it is kept in memory or passes a pipe."""
    sizes = [0, 10, KEPT_IN_MEMORY - 1, KEPT_IN_MEMORY + 1, 5, 200_000, 3, MIB, 1]

    def request(route: str, chunk: int, size: int) -> bytes:
        body = b"".join(content(at, min(size - at, PART)) for at in range(0, size, PART))
        parts = [body[at : at + chunk] for at in range(0, size, chunk)] if chunk else []
        framing = "Transfer-Encoding: chunked" if chunk else f"Content-Length: {size}"
        head = f"POST /{route}/upload HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode()
        if not chunk:
            return head + body
        return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"

    def pipelined() -> None:
        for route, chunk in itertools.product(("on", "off"), (0, 7000, 60_000)):
            with bench.client() as client:
                client.sock.sendall(b"".join(request(route, chunk, size) for size in sizes))
                for size in sizes:
                    got = json.loads(client.body(client.head()))
                    assert (got["length"], got["right"]) == (size, True)

    await deferToThread(pipelined)
    await deferToThread(bench.proxy.check_clean)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest_twisted.ensureDeferred
async def test_http_10_clients(framing: str, bench: HttpBench) -> None:
    """No chunks for them: a length, or the end of the connection."""

    def old() -> None:
        for route, size in itertools.product(("on", "off"), SIZES[:-1]):
            with bench.client() as client:
                client.ask(f"/{route}/?size={size}&framing={framing}", minor=0)
                head = client.head()
                assert head.framing in (("length",) if framing == "length" else ("close", "length"))
                assert client.check_body(head) == size
                assert client.ended()

    await deferToThread(old)
    await deferToThread(bench.proxy.check_clean)


@pytest_twisted.ensureDeferred
async def test_head_and_responses_without_a_body(bench: HttpBench) -> None:
    """HEAD, 204 and 304 have none whatever their heads say; the next response follows at once."""

    def without() -> None:
        with bench.client() as client:
            for framing in ("length", "chunked", "close"):
                for method, status in (("HEAD", 200), ("GET", 204), ("GET", 304)):
                    size = 0 if status == 204 else 1000
                    if status == 204 and framing != "close":
                        continue  # such a head is wrong
                    client.ask(f"/on/?size={size}&framing={framing}&status={status}", method)
                    head = client.head()
                    assert head.status == status
                    assert head.get("content-length") == ("1000" if framing == "length" else None)
                    client.ask("/on/?size=1")
                    assert client.check_body(client.head()) == 1

    await deferToThread(without)
    await deferToThread(bench.proxy.check_clean)


@pytest.mark.parametrize(
    "target", ["size=10&close=1", "size=10&framing=chunked&close=1", "size=300000&close=1", "size=10&surplus=3"]
)
@pytest_twisted.ensureDeferred
async def test_connections_that_are_not_kept(target: str, bench: HttpBench) -> None:
    """An upstream that announces the end of its connection, or sends more than its response has, is not asked on it again."""

    def twice() -> None:
        for number in range(2):
            name = f"end-{target.replace('&', '-').replace('=', '-')}-{number}"
            with bench.client() as client:
                client.ask(f"/on/?{target}&name={name}")
                head = client.head()
                assert client.check_body(head) == int(target.split("&")[0][5:])
                assert head.get("connection") is None, "what concerns that connection is not passed on"
            assert bench.ping(f"after-{name}") != bench.connection_of(name)

    await deferToThread(twice)
    assert not any(each["late"] for each in bench.origin.seen()["requests"])
    await deferToThread(bench.proxy.check_clean)
