"""C{twisted-pipe} in front of a real nginx: what goes through, and what a slow client costs."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest_twisted
from conftest import MIB, Origin, Running
from processes import all_read
from programs import peer, wait_until
from twisted.internet.defer import DeferredList, gatherResults
from twisted.internet.threads import deferToThread

from twisted_pipe.net.splice import KEPT

Start = Callable[..., Running]


def curl(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([peer("curl"), "-sS", "--max-time", "120", *arguments], capture_output=True, check=True)


def download(url: str, target: Path) -> str:
    """The md5 of what curl got."""
    curl("-o", str(target), url)
    digest = hashlib.md5(usedforsecurity=False)
    with target.open("rb") as source:
        while part := source.read(MIB):
            digest.update(part)
    target.unlink()
    return digest.hexdigest()


@pytest_twisted.ensureDeferred
async def test_download_of_1_gib(origin: Origin, start_pipe: Start, tmp_path: Path) -> None:
    """curl gets 1 GiB with the right checksum."""
    expected = await deferToThread(origin.file, "1g", 1024 * MIB)
    pipe = start_pipe("--upstream", origin.upstream)
    got = await deferToThread(download, f"http://127.0.0.1:{pipe.port}/1g", tmp_path / "got")
    (origin.root / "1g").unlink()
    assert got == expected
    await deferToThread(wait_until, lambda: "close after" in pipe.log, 5, "the close line")
    assert ": finished" in pipe.log


@pytest_twisted.ensureDeferred
async def test_200_parallel_connections(origin: Origin, start_pipe: Start, tmp_path: Path) -> None:
    """200 clients at once, each with the right bytes, and no descriptor left over."""
    expected = origin.file("1m", MIB)
    pipe = start_pipe("--upstream", origin.upstream)
    before = pipe.descriptors()
    gate = threading.Barrier(20)

    def some() -> list[str]:
        """10 connections that all stand before the first is used."""
        sockets = [socket.create_connection(("127.0.0.1", pipe.port)) for _ in range(10)]
        gate.wait(30)
        digests = []
        for each in sockets:
            each.sendall(b"GET /1m HTTP/1.0\r\n\r\n")
        for each in sockets:
            each.settimeout(60)
            answer = b"".join(iter(lambda each=each: each.recv(65536), b""))  # type: ignore[misc]
            digests.append(hashlib.md5(answer.partition(b"\r\n\r\n")[2], usedforsecurity=False).hexdigest())
            each.close()
        return digests

    from twisted.internet import reactor

    reactor.suggestThreadPoolSize(24)  # type: ignore[attr-defined]
    results = await gatherResults([deferToThread(some) for _ in range(20)])
    assert [digest for digests in results for digest in digests] == [expected] * 200
    await deferToThread(wait_until, lambda: pipe.log.count("close after") == 200, 10, "the close lines")
    assert pipe.log.count(": finished") == 200
    await deferToThread(
        wait_until, lambda: pipe.descriptors() <= before + 2 * KEPT, 10, "the return of all descriptors"
    )


@pytest_twisted.ensureDeferred
async def test_upload(origin: Origin, start_pipe: Start, tmp_path: Path) -> None:
    """100 MiB from curl arrive byte for byte."""
    body = os.urandom(100 * MIB)
    (tmp_path / "body").write_bytes(body)
    pipe = start_pipe("--upstream", origin.upstream)
    url = f"http://127.0.0.1:{pipe.port}/put/body"
    await deferToThread(curl, "-T", str(tmp_path / "body"), url)
    assert (origin.root / "put" / "body").read_bytes() == body
    (origin.root / "put" / "body").unlink()


STALL = 8.0
LINGERING = "2s"  # an upstream that has ended is kept for a silent client
SIZE = 400 * MIB


def stalled_client(pipe: Running, origin: Origin, spills: bool) -> dict[str, Any]:
    """
    Ask for 400 MiB, stall, then read it all. What was seen meanwhile.

    @param spills: then it stalls until the upstream is let go, for three minutes at most.
    """
    seen: dict[str, Any] = {"growth": 0, "upstream closed after": None}
    before = pipe.memory()
    with socket.create_connection(("127.0.0.1", pipe.port)) as client:
        client.sendall(b"GET /400m HTTP/1.0\r\n\r\n")
        began = time.monotonic()
        wait_until(lambda: pipe.connections_to(origin.port) == 1, 5, "the connection to the upstream")
        while (passed := time.monotonic() - began) < (180 if spills and not seen["upstream closed after"] else STALL):
            seen["growth"] = max(seen["growth"], pipe.memory() - before)
            if seen["upstream closed after"] is None and pipe.connections_to(origin.port) == 0:
                seen["upstream closed after"] = passed
            time.sleep(0.1)
        seen["upstream connections at resume"] = pipe.connections_to(origin.port)
        client.settimeout(60)
        digest, count = hashlib.md5(usedforsecurity=False), 0
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(65536)
        part = head.partition(b"\r\n\r\n")[2]
        while part:
            digest.update(part)
            count += len(part)
            part = client.recv(MIB)
        seen["growth"] = max(seen["growth"], pipe.memory() - before)
    return {**seen, "md5": digest.hexdigest(), "count": count}


@pytest_twisted.ensureDeferred
async def test_stalled_client_spills_and_releases_the_upstream(
    origin: Origin, start_pipe: Start, record_property: Callable[[str, object], None]
) -> None:
    """A client that stalls costs disk, not memory and not the upstream; then it gets every byte."""
    expected = await deferToThread(origin.file, "400m", SIZE)
    pipe = start_pipe("--upstream", origin.upstream, "--lingering-timeout", LINGERING)
    seen = await deferToThread(stalled_client, pipe, origin, True)
    print(
        f"spilling: memory grew by {seen['growth'] / MIB:.1f} MiB, upstream closed after {seen['upstream closed after']} s"
    )
    assert (seen["md5"], seen["count"]) == (expected, SIZE)
    assert seen["growth"] < 24 * MIB
    assert seen["upstream closed after"] is not None
    await deferToThread(wait_until, lambda: "close after" in pipe.log, 5, "the close line")
    assert pipe.log.count("spill started") == 1
    assert ": finished" in pipe.log


@pytest_twisted.ensureDeferred
async def test_stalled_client_without_spilling_pauses_the_upstream(origin: Origin, start_pipe: Start) -> None:
    """The same with C{--max-temp-file-size 0}: the upstream waits, nothing goes to disk, and every byte arrives."""
    expected = await deferToThread(origin.file, "400m", SIZE)
    pipe = start_pipe("--upstream", origin.upstream, "--lingering-timeout", LINGERING, "--max-temp-file-size", "0")
    seen = await deferToThread(stalled_client, pipe, origin, False)
    (origin.root / "400m").unlink()
    print(f"back-pressure: memory grew by {seen['growth'] / MIB:.1f} MiB")
    assert (seen["md5"], seen["count"]) == (expected, SIZE)
    assert seen["growth"] < 24 * MIB
    assert seen["upstream connections at resume"] == 1
    assert "spill" not in pipe.log.partition(": open")[2]


@pytest_twisted.ensureDeferred
async def test_upstream_refused(start_pipe: Start) -> None:
    """The client is closed at once, the log says which server, and the service lives on."""
    pipe = start_pipe("--upstream", "tcp:127.0.0.1:1")

    def try_it() -> tuple[bytes, float]:
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", pipe.port)) as client:
            client.settimeout(30)
            return client.recv(100), time.monotonic() - began

    for _ in range(2):
        got, seconds = await deferToThread(try_it)
        assert got == b""
        assert seconds < 20  # to connect may take 60 s
    assert "upstream tcp:127.0.0.1:1 cannot be reached" in pipe.log
    assert "Traceback" not in pipe.log
    assert pipe.process.poll() is None


class HalfClosing:
    """An origin with one connection, whose script is a function of its socket."""

    def __init__(self, script: Callable[[socket.socket], object]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(20)
        self.port = self._listener.getsockname()[1]
        self._script = script
        self.result: Any = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with self._listener, self._listener.accept()[0] as connection:
            connection.settimeout(20)
            self.result = self._script(connection)

    def join(self) -> Any:
        self._thread.join(25)
        return self.result


def receive_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest_twisted.ensureDeferred
async def test_client_half_close_is_not_an_abort(start_pipe: Start) -> None:
    """A client that has said all and half-closes gets its whole answer, which the upstream begins only then."""

    def script(connection: socket.socket) -> bytes:
        request = receive_all(connection)
        time.sleep(0.5)
        connection.sendall(b"answer to " + request[:5] + b"." * (2 * MIB))
        return request

    upstream = HalfClosing(script)
    pipe = start_pipe("--upstream", f"tcp:127.0.0.1:{upstream.port}")

    def client() -> bytes:
        with socket.create_connection(("127.0.0.1", pipe.port)) as connection:
            connection.settimeout(20)
            connection.sendall(b"hello" * 1000)
            connection.shutdown(socket.SHUT_WR)
            return receive_all(connection)

    answer = await deferToThread(client)
    assert answer == b"answer to hello" + b"." * (2 * MIB)
    assert await deferToThread(upstream.join) == b"hello" * 1000


@pytest_twisted.ensureDeferred
async def test_upstream_half_close_lets_the_client_finish(start_pipe: Start) -> None:
    """An upstream that ends its side first still gets the rest of what the client sends."""

    def script(connection: socket.socket) -> bytes:
        connection.sendall(b"bye")
        connection.shutdown(socket.SHUT_WR)
        return receive_all(connection)

    upstream = HalfClosing(script)
    pipe = start_pipe("--upstream", f"tcp:127.0.0.1:{upstream.port}")

    def client() -> bytes:
        with socket.create_connection(("127.0.0.1", pipe.port)) as connection:
            connection.settimeout(20)
            answer = receive_all(connection)
            time.sleep(0.3)
            connection.sendall(b"late" * 100_000)
            return answer

    assert await deferToThread(client) == b"bye"
    assert await deferToThread(upstream.join) == b"late" * 100_000


@pytest_twisted.ensureDeferred
async def test_upstream_reset_delivers_what_was_received(start_pipe: Start) -> None:
    """1 MiB, then a reset: a client that stalls gets all of it, and then no clean end."""
    import struct

    body = os.urandom(6 * MIB)
    sent = threading.Event()

    def script(connection: socket.socket) -> None:
        connection.sendall(body)
        wait_until(lambda: all_read(connection.getsockname()[1]), 20, "its reading all")  # a reset would drop the rest
        time.sleep(0.2)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sent.set()

    upstream = HalfClosing(script)
    pipe = start_pipe("--upstream", f"tcp:127.0.0.1:{upstream.port}")

    def client() -> tuple[bytes, str]:
        with socket.create_connection(("127.0.0.1", pipe.port)) as connection:
            connection.settimeout(20)
            sent.wait(20)
            time.sleep(1)
            got = b""
            try:
                while part := connection.recv(65536):
                    got += part
            except ConnectionResetError:
                return got, "reset"
            return got, "clean end"

    got, end = await deferToThread(client)
    assert len(got) == len(body) and got == body
    assert end == "reset"
    await deferToThread(upstream.join)
    await deferToThread(wait_until, lambda: "close after" in pipe.log, 5, "the close line")
    assert "upstream: " in pipe.log.partition("close after")[2]


@pytest_twisted.ensureDeferred
async def test_many_clients_come_and_go(origin: Origin, start_pipe: Start) -> None:
    """Clients that vanish in the middle leave nothing behind."""
    origin.file("8m", 8 * MIB)
    pipe = start_pipe("--upstream", origin.upstream)
    before = pipe.descriptors()

    def rude() -> None:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", pipe.port)) as client:
                client.sendall(b"GET /8m HTTP/1.0\r\n\r\n")
                client.recv(1000)

    await DeferredList([deferToThread(rude) for _ in range(5)], fireOnOneErrback=True)
    await deferToThread(
        wait_until, lambda: pipe.descriptors() <= before + 2 * KEPT, 10, "the return of all descriptors"
    )
    assert "Traceback" not in pipe.log
