"""What HTTP proxies are loaded with: wrk for the many, plain sockets for the slow and the stalled."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import attrs
from commands import program

__all__ = ["Load", "Target", "exchange", "slow_clients", "stalled_client", "wrk"]

CONNECTIONS = 32
#: Seconds for anything that should be at once.
_PATIENCE = 30
#: How often a second a slow client takes its share.
_TICKS = 16
#: Bytes that the kernel may hold for a slow or stalled client: a slow network has no megabytes under way.
_RECEIVE_BUFFER = 128 * 1024

_LUA = """
wrk.method = "{method}"
if {body} > 0 then wrk.body = string.rep("x", {body}) end  -- an empty one would be announced: Content-Length: 0
function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format(
        '\\nsummary {{"requests": %d, "microseconds": %d, "bytes": %d, "errors": %d, "statuses": %d}}\\n',
        summary.requests, summary.duration, summary.bytes, e.connect + e.read + e.write + e.timeout, e.status))
end
"""


@attrs.frozen
class Target:
    """
    What is asked for.

    @ivar path: of the URL.
    @ivar size: bytes of the response's body, at least.
    @ivar posted: bytes of the request's body; 0 for a GET.
    @ivar tls: whether it is asked for by TLS.
    """

    path: str
    size: int
    posted: int = 0
    tls: bool = False

    @property
    def method(self) -> str:
        return "POST" if self.posted else "GET"

    @property
    def scheme(self) -> str:
        return "https" if self.tls else "http"


@attrs.frozen
class Load:
    """
    What was done.

    @ivar requests: that were answered, whole.
    @ivar seconds: in which they were.
    """

    requests: int
    seconds: float


def exchange(port: int, target: Target) -> bytes:
    """
    One request.

    @return: the body of the response.
    @raise RuntimeError: its status is not 200.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
    if target.tls:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=_PATIENCE, context=ssl._create_unverified_context()
        )
    try:
        connection.request(target.method, target.path, b"x" * target.posted if target.posted else None)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise RuntimeError(f"{target.method} {target.path} was answered with {response.status}")
    return body


def wrk(port: int, target: Target, seconds: float) -> Load:
    """
    L{CONNECTIONS} connections, each of which asks again when it has been answered.

    @param seconds: how long; wrk itself knows whole seconds only, but sums up when it is interrupted.
    @raise RuntimeError: anything went wrong, or responses were shorter than they should be.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_LUA.format(method=target.method, body=target.posted))
        script.flush()
        words = [program("wrk") or "wrk", "-t1", f"-c{CONNECTIONS}", "-d1h", f"--timeout={_PATIENCE}s"]
        process = subprocess.Popen(
            [*words, "-s", script.name, f"{target.scheme}://127.0.0.1:{port}{target.path}"],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            time.sleep(seconds)
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate(timeout=_PATIENCE)
        finally:
            process.kill()
            process.wait()
    return _summary(said, target)


def _summary(said: str, target: Target) -> Load:
    line = next((line for line in said.splitlines() if line.startswith("summary ")), None)
    if line is None:
        raise RuntimeError(f"wrk did not sum up: {said!r}")
    summary = json.loads(line.partition(" ")[2])
    requests = summary["requests"]
    if requests == 0 or summary["errors"] or summary["statuses"] or summary["bytes"] < requests * target.size:
        raise RuntimeError(f"{target.method} {target.path} went wrong: {line}")
    return Load(requests, summary["microseconds"] / 1e6)


def _request(port: int, path: str) -> socket.socket:
    """A connection on which a response has begun to come."""
    connection = socket.socket()
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        connection.settimeout(_PATIENCE)
        connection.connect(("127.0.0.1", port))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        began = connection.recv(4096)
        if not began.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"{path} was answered with {began[:200]!r}")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def stalled_client(port: int, path: str, taken: int) -> Iterator[None]:
    """A client that takes so many bytes and then nothing more, while the context lasts."""
    with _request(port, path) as connection:
        while taken > 0:
            part = connection.recv(min(taken, 65536))
            if not part:
                raise RuntimeError(f"{path} ended early")
            taken -= len(part)
        yield


@contextmanager
def slow_clients(port: int, path: str, number: int, rate: int) -> Iterator[None]:
    """
    Clients that take a long response slowly, in a thread, while the context lasts.

    @param rate: bytes a second, each.
    @raise RuntimeError: one of them got less than half of what it would have taken.
    """
    with ExitStack() as stack:
        clients = [stack.enter_context(_request(port, path)) for _ in range(number)]
        taken = dict.fromkeys(clients, 0)
        over = threading.Event()
        thread = threading.Thread(target=_take_slowly, args=(taken, rate // _TICKS, over), daemon=True)
        began = time.monotonic()
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        wanted = rate * (time.monotonic() - began)
        if min(taken.values()) < wanted / 2:
            raise RuntimeError(f"a slow client got {min(taken.values())} of {wanted:.0f} bytes of {path}")


def _take_slowly(taken: dict[socket.socket, int], share: int, over: threading.Event) -> None:
    """Each takes its share, tick by tick; C{taken} is kept."""
    began = time.monotonic()
    ticks = 0
    while not over.wait(max(0.0, began + ticks / _TICKS - time.monotonic())):
        ticks += 1
        for client in taken:
            with suppress(BlockingIOError, ConnectionResetError):  # after a reset it will have got too little
                taken[client] += len(client.recv(share, socket.MSG_DONTWAIT))
