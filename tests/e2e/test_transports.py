"""
The same pipe on every reactor and every transport: real C{twistd --reactor=R pipe} processes, real sockets on both sides.

And what holds on all of them: rates, the quota of the disk, its threads, the idle timeout. C{pytest -s} shows the figures.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from conftest import MIB, Running
from processes import anonymous_memory, cpu_seconds, nameless_files, threads
from programs import free_port, wait_until
from test_tls import certificate
from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread

from twisted_pipe.limits import DEFAULT_LIMITS, KIB

Start = Callable[..., Running]

#: What is downloaded and uploaded: more than the kernel takes for clients like ours.
BODY = os.urandom(24 * MIB)
LARGE, UPLOAD, SMALL = len(BODY), 8 * MIB, 100
STALL = 0.8  # seconds, at least
#: The share of a CPU that is nothing.
QUIET = 0.3
#: A session has two pipes.
BUFFERS = 2 * DEFAULT_LIMITS.memory
#: Bytes a client's kernel takes before it is full; doubled by Linux.
WINDOW = 64 * KIB
#: Seconds that nothing may take longer than, on a loaded machine too.
PATIENCE = 60


def md5(data: bytes | memoryview) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


# Transports


@attrs.frozen
class Place:
    """
    Where something listens, and how it is spoken to.

    @ivar address: of the socket; a path is a UNIX one's.
    @ivar client: how to connect to it with TLS, None for plain sockets.
    @ivar server: how to accept, likewise.
    """

    address: tuple[str, int] | str
    client: ssl.SSLContext | None = None
    server: ssl.SSLContext | None = None

    @property
    def family(self) -> socket.AddressFamily:
        return socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET

    def connect(self) -> socket.socket:
        """A client whose kernel takes little ahead of it."""
        plain = socket.socket(self.family)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
        plain.settimeout(PATIENCE)
        plain.connect(self.address)
        if self.client is None:
            return plain
        # an end without TLS's own is an error
        return self.client.wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False)

    def listen(self) -> socket.socket:
        listener = socket.socket(self.family)
        listener.bind(self.address)
        listener.listen(16)
        listener.settimeout(PATIENCE)
        return listener


@attrs.frozen
class Sides:
    """
    Both sides of a pipe on one transport.

    @ivar clients: where clients find it.
    @ivar origin: where it finds the origin.
    @ivar arguments: what tells it so.
    """

    clients: Place
    origin: Place
    arguments: list[str]


#: What the two sides of a pipe speak: with clients, with the origin. C{ssl} does not ask an origin who it is.
TRANSPORTS = {
    "tcp": ("tcp", "tcp"),
    "tls": ("tls", "tls"),
    "unix": ("unix", "unix"),
    "ssl": ("tls", "ssl"),
    "tls to tcp": ("tls", "tcp"),
    "tcp to tls": ("tcp", "tls"),
}
#: Whose directions end apart on both sides.
HALF_CLOSES = ("tcp", "unix")


def tls_contexts(directory: Path) -> tuple[ssl.SSLContext, ssl.SSLContext, str]:
    """A client's, a server's (its certificate and key are in C{both.pem}), and what an C{--upstream} says to trust it."""
    both = directory / "both.pem"
    client, server = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        import trustme
    except ImportError:  # a certificate that nobody can check
        certificate(both)
        client.check_hostname = False
        client.verify_mode = ssl.CERT_NONE
        roots = ""
    else:
        authority = trustme.CA()
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(both))
        authority.cert_pem.write_to_path(str(directory / "authority.pem"))
        authority.configure_trust(client)
        roots = f":trustRoots={directory}"
    server.load_cert_chain(both)
    return client, server, roots


def sides(transport: str, directory: Path) -> Sides:
    """Two places that nothing else uses."""
    facing, behind = TRANSPORTS[transport]
    client, server, roots = tls_contexts(directory)
    if facing == "unix":
        clients = Place(str(directory / "pipe"))
        listen = f"unix:{clients.address}"
    else:
        clients = Place(("127.0.0.1", free_port()), client=client if facing == "tls" else None)
        listen = f"{clients.address[1]}:interface=127.0.0.1"
        key = f"{directory}/both.pem"
        listen = f"ssl:{listen}:privateKey={key}:certKey={key}" if facing == "tls" else f"tcp:{listen}"
    if behind == "unix":
        origin = Place(str(directory / "origin"))
        upstream = f"unix:{origin.address}"
    else:
        origin = Place(("127.0.0.1", free_port()), server=None if behind == "tcp" else server)
        if behind == "tls" and not roots:
            behind = "ssl"
        upstream = f"{behind}:127.0.0.1:{origin.address[1]}{roots if behind == 'tls' else ''}"
    return Sides(clients, origin, ["--listen", listen, "--upstream", upstream])


# The origin


@attrs.define
class Exchange:
    """
    What the origin saw of one connection.

    @ivar asked: its first line.
    @ivar arrivals: what came after it: when, and how much with it.
    @ivar problem: what the origin met, None for nothing.
    @ivar over: set when the pipe has let go of the connection.
    """

    asked: str = ""
    arrivals: list[tuple[float, int]] = attrs.Factory(list)
    problem: BaseException | None = None
    over: threading.Event = attrs.Factory(threading.Event)


class Origin:
    """
    Answers what a connection's first line asks for, each in a thread of its own::

        get COUNT      the first COUNT bytes of BODY
        pour           BODY over and over
        put COUNT      takes COUNT bytes, slowly at first, and answers with their MD5
        all            takes everything up to the end, and only then answers, with its MD5 and BODY
        hush           says nothing

    @ivar exchanges: its connections, oldest first.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._listener = place.listen()
        self.exchanges: list[Exchange] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._stopped = False
        self._threads[0].start()

    def exchange(self, asked: str) -> Exchange:
        """The one connection that asked for this."""
        wait_until(lambda: any(each.asked == asked for each in self.exchanges), PATIENCE, f"the question {asked!r}")
        (found,) = (each for each in self.exchanges if each.asked == asked)
        return found

    def stop(self) -> None:
        self._stopped = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        self._listener.close()
        for each in self._threads:
            each.join(PATIENCE)

    def _accept(self) -> None:
        while not self._stopped:
            try:
                plain = self._listener.accept()[0]
            except OSError:
                continue
            exchange = Exchange()
            self.exchanges.append(exchange)
            serving = threading.Thread(target=self._serve, args=(plain, exchange), daemon=True)
            self._threads.append(serving)
            serving.start()

    def _serve(self, plain: socket.socket, exchange: Exchange) -> None:
        connection = plain
        try:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
            plain.settimeout(PATIENCE)
            if self._place.server is not None:
                connection = self._place.server.wrap_socket(plain, server_side=True, suppress_ragged_eofs=False)
            self._answer(connection, exchange)
            self._end(connection)
        except (OSError, EOFError, AssertionError) as error:
            exchange.problem = error
        finally:
            connection.close()
            exchange.over.set()

    def _answer(self, connection: socket.socket, exchange: Exchange) -> None:
        line = b""
        while not line.endswith(b"\n"):
            line += _some(connection.recv(1))
        verb, *count = line.decode().split()[:2]
        exchange.asked = line.decode().strip()
        if verb == "get":
            connection.sendall(memoryview(BODY)[: int(count[0])])
        elif verb == "pour":
            while True:
                connection.sendall(BODY)
        elif verb == "put":
            time.sleep(0.3)
            digest = hashlib.md5(usedforsecurity=False)
            left = int(count[0])
            while left:
                part = _some(connection.recv(min(left, 65536)))
                digest.update(part)
                left -= len(part)
                exchange.arrivals.append((time.monotonic(), int(count[0]) - left))
            connection.sendall(digest.hexdigest().encode())
        elif verb == "all":
            connection.sendall(md5(receive_all(connection)).encode() + BODY)
        else:
            assert verb == "hush", line
            assert not connection.recv(1)

    def _end(self, connection: socket.socket) -> None:
        """Say that this was all, then wait for the pipe to let go."""
        if isinstance(connection, ssl.SSLSocket):
            connection.unwrap()
        else:
            connection.shutdown(socket.SHUT_WR)
            assert not connection.recv(1), "more than was asked for"


def _some(data: bytes) -> bytes:
    if not data:
        raise EOFError("the connection has ended too early")
    return data


def receive_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(MIB), b""))


@pytest.fixture
def directory() -> Iterator[Path]:
    """A short name: those of UNIX sockets are at most 107 characters."""
    with tempfile.TemporaryDirectory(prefix="pipe") as name:
        yield Path(name)


@pytest.fixture
def start_origin() -> Iterator[Callable[[Place], Origin]]:
    """Origins that are stopped at the end of the test. Asked for before C{start_pipe}, they outlive it."""
    started: list[Origin] = []

    def start(place: Place) -> Origin:
        started.append(Origin(place))
        return started[-1]

    yield start
    for each in started:
        each.stop()


@attrs.frozen
class Bench:
    """
    A pipe between an origin and clients.

    @ivar pipe: the process.
    @ivar clients: where to connect to it.
    @ivar origin: what is behind it.
    """

    pipe: Running
    clients: Place
    origin: Origin

    def ask(self, question: str) -> socket.socket:
        """A client that has asked and reads nothing yet."""
        client = self.clients.connect()
        client.sendall(question.encode() + b"\n")
        return client

    def get(self, count: int) -> bytes:
        with self.ask(f"get {count}") as client:
            return receive_all(client)

    def put(self, body: bytes) -> str:
        """Upload it; the MD5 of what has arrived."""
        with self.ask(f"put {len(body)}") as client:
            client.sendall(body)
            return receive_all(client).decode()


@pytest.fixture
def bench(start_origin: Callable[[Place], Origin], start_pipe: Start, directory: Path) -> Callable[..., Bench]:
    """C{bench("--buffers", "4 16k", ..., reactor="epoll", transport="unix")}."""

    def make(*arguments: str, reactor: str = "epollet", transport: str = "tcp", **more: Any) -> Bench:
        both = sides(transport, directory)
        origin = start_origin(both.origin)
        pipe = start_pipe(*both.arguments, *arguments, reactor=reactor, **more)
        return Bench(pipe, both.clients, origin)

    return make


def healthy(bench: Bench) -> None:
    """It lives, and nothing unforeseen has happened to it."""
    assert bench.pipe.process.poll() is None
    assert "Traceback" not in bench.pipe.log, bench.pipe.log


# Every reactor, every transport


@attrs.define
class Stalled:
    """
    What was seen of a pipe while its client took nothing, and then everything.

    @ivar growth: bytes of memory more than before, at most, during the stall.
    @ivar resumed: the same, afterwards.
    @ivar disk: bytes on disk, at most.
    @ivar let_go: seconds until the upstream was.
    @ivar busy: the share of a CPU it took while there was nothing to do.
    @ivar digest: of what the client got.
    """

    growth: int = 0
    resumed: int = 0
    disk: int = 0
    let_go: float = 0.0
    busy: float = 0.0
    digest: str = ""


def stall(bench: Bench, seconds: float = STALL) -> Stalled:
    """Ask for all of BODY, read nothing for some seconds and until the upstream was let go, then read it."""
    seen, pid = Stalled(), bench.pipe.process.pid
    before, began = anonymous_memory(pid), time.monotonic()
    with bench.ask(f"get {LARGE}") as client:
        exchange = bench.origin.exchange(f"get {LARGE}")

        def look() -> bool:
            seen.growth = max(seen.growth, anonymous_memory(pid) - before)
            seen.disk = max(seen.disk, sum(nameless_files(pid)))
            return exchange.over.is_set()

        wait_until(look, PATIENCE, "letting the upstream go")
        assert exchange.problem is None, exchange.problem
        seen.let_go = time.monotonic() - began
        seen.busy = 1.0
        for _ in range(5):  # what the machine under ours takes counts as computing
            computed, rest = cpu_seconds(pid), max(began + seconds - time.monotonic(), 0.3)
            time.sleep(rest)
            seen.busy = min(seen.busy, (cpu_seconds(pid) - computed) / rest)
            if seen.busy < QUIET:
                break
        look()
        digest = hashlib.md5(usedforsecurity=False)
        while part := client.recv(MIB):
            digest.update(part)
            seen.resumed = max(seen.resumed, anonymous_memory(pid) - before)
        seen.digest = digest.hexdigest()
    return seen


def half_close(bench: Bench) -> bytes:
    """The answer to a client that says all it has to say and then ends its side."""
    with bench.ask("all") as client:
        client.sendall(BODY[:MIB])
        client.shutdown(socket.SHUT_WR)
        return receive_all(client)


CELLS = [(reactor, each) for reactor in ("epollet", "epoll", "asyncio", "select") for each in ("tcp", "tls", "unix")]
CELLS += [("epollet", each) for each in ("ssl", "tls to tcp", "tcp to tls")]


@pytest.mark.parametrize(("reactor", "transport"), CELLS)
@pytest_twisted.ensureDeferred
async def test_transport(reactor: str, transport: str, bench: Callable[..., Bench]) -> None:
    """
    A client that stalls costs disk, not memory, and not the upstream; uploads and half-closes arrive as they are.
    """
    it = bench("--lingering-timeout", "200ms", reactor=reactor, transport=transport)
    assert await deferToThread(it.get, SMALL) == BODY[:SMALL]  # what any first session costs
    seen = await deferToThread(stall, it)
    print(
        f"{reactor}, {transport}: memory grew by {seen.growth / MIB:.2f} MiB while it stalled, {seen.resumed / MIB:.2f} MiB then;"
        f" {seen.disk / MIB:.1f} MiB on disk; upstream let go after {seen.let_go:.2f} s; {seen.busy:.1%} of a CPU at rest"
    )
    assert seen.digest == md5(BODY)
    assert seen.growth <= BUFFERS + 8 * MIB
    assert seen.resumed <= BUFFERS + 8 * MIB
    assert seen.disk > LARGE - 8 * MIB  # the rest is the kernel's
    assert seen.busy < QUIET
    assert it.pipe.log.count("spill started") == 1
    assert await deferToThread(it.put, BODY[-UPLOAD:]) == md5(BODY[-UPLOAD:])
    sessions = 3
    if transport in HALF_CLOSES:
        answer = await deferToThread(half_close, it)
        assert answer == md5(BODY[:MIB]).encode() + BODY
        sessions += 1
    await deferToThread(
        wait_until, lambda: it.pipe.log.count(": close after ") == sessions, 5, "the end of all sessions"
    )
    assert it.pipe.log.count(": finished") == sessions, it.pipe.log
    assert [each.problem for each in it.origin.exchanges] == [None] * sessions
    assert not nameless_files(it.pipe.process.pid)
    healthy(it)


def say_more(bench: Bench) -> bytes:
    """What a client gets that says something once the upstream has gone, and only then begins to read."""
    with bench.ask(f"get {LARGE}") as client:
        assert bench.origin.exchange(f"get {LARGE}").over.wait(PATIENCE)
        for _ in range(3):
            time.sleep(0.1)
            client.sendall(b"and another thing")
        return receive_all(client)


@pytest.mark.parametrize(("reactor", "transport"), [*CELLS[:2], ("epoll", "tcp"), ("asyncio", "unix")])
@pytest_twisted.ensureDeferred
async def test_client_that_says_more(reactor: str, transport: str, bench: Callable[..., Bench]) -> None:
    """It is nobody's any more, and costs the client nothing of what waits for it."""
    it = bench("--lingering-timeout", "200ms", reactor=reactor, transport=transport)
    assert await deferToThread(say_more, it) == BODY
    await deferToThread(wait_until, lambda: ": close after " in it.pipe.log, 5, "the end of the session")
    assert ": finished" in it.pipe.log, it.pipe.log
    healthy(it)


# Rates

RATE = 2 * MIB
#: A client's first packets may wait for each other.
SETTLED = 0.5
#: How often a rate is measured until it is exact: a machine that halts for a moment is no defect.
TRIES = 3


def arrivals(client: socket.socket, seconds: float) -> list[tuple[float, int]]:
    """When bytes come, and how many with them; for so long, or to the end."""
    came, total, until = [], 0, time.monotonic() + seconds
    while (now := time.monotonic()) < until and (part := client.recv(MIB)):
        now, total = time.monotonic(), total + len(part)
        came.append((now, total))
    return came


def rate(came: list[tuple[float, int]], seconds: float) -> float:
    """Bytes a second in a window of so many, once it has settled."""
    begin = came[0][0] + SETTLED if came else 0
    window = [each for each in came if begin <= each[0] <= begin + seconds]
    if not window:
        print(f"nothing came in the {seconds} s that count")
        return 0.0
    (first, before), (last, after) = window[0], window[-1]
    if last - first <= 0.9 * seconds:
        print(f"{after - before} bytes came in {last - first:.3f} s")
        return 0.0
    return (after - before) / (last - first)


def exact(got: float, allowed: float) -> bool:
    """To a tenth."""
    return 0.9 < got / allowed < 1.1


def burst(came: list[tuple[float, int]], began: float, allowed: int) -> float:
    """By how many seconds it was ever ahead of its rate."""
    return max(total / allowed - (now - began) for now, total in came)


@pytest_twisted.ensureDeferred
async def test_limit_rate(bench: Callable[..., Bench]) -> None:
    """Each of two connections gets its rate, exact to a tenth, from the beginning: nobody gets a second's worth at once."""

    def pour(it: Bench, label: str) -> tuple[float, float]:
        began = time.monotonic()
        with it.ask(f"pour {label}") as client:
            came = arrivals(client, SETTLED + 4.2)
        return rate(came, 4), burst(came, began, RATE)

    reactors = ("epollet", "epoll")
    benches = [bench("--limit-rate", "2m", reactor=reactor) for reactor in reactors]
    for more in range(TRIES):
        labels = [f"{label}{more}" for label in "ab"]
        seen = await gatherResults([deferToThread(pour, it, label) for it in benches for label in labels])
        for reactor, (got, ahead) in zip([each for each in reactors for _ in labels], seen, strict=True):
            print(f"{reactor}: {got / RATE:.2%} of the rate over 4 s; ahead of it by {ahead * 1000:.0f} ms at most")
            assert ahead < 0.1
        if all(exact(got, RATE) for got, _ in seen):
            break
    assert all(exact(got, RATE) for got, _ in seen)
    for it in benches:
        healthy(it)


@pytest_twisted.ensureDeferred
async def test_rates_that_begin_later_and_of_uploads(bench: Callable[..., Bench]) -> None:
    """C{--limit-rate-after}: its bytes come at once, the rest at the rate. C{--upload-rate}: of what clients send only."""
    free = 4 * MIB

    def late(label: int) -> tuple[float, float]:
        began = time.monotonic()
        with later.ask(f"pour {label}") as client:
            came = arrivals(client, SETTLED + 2.5)
        at_once = next(now for now, total in came if total >= free) - began
        return at_once, rate([each for each in came if each[0] >= began + at_once], 1.5)

    def upload(label: int) -> tuple[float, float]:
        began = time.monotonic()
        assert uploads.get(LARGE) == BODY
        took, size = time.monotonic() - began, 5 * MIB + label  # by which this one is found
        arrived = uploads.put(BODY[:size])
        assert arrived == md5(BODY[:size])
        return took, rate(uploads.origin.exchange(f"put {size}").arrivals, 1.5)

    later = bench("--limit-rate", "1m", "--limit-rate-after", "4m")
    uploads = bench("--upload-rate", "2m")
    for more in range(TRIES):
        (at_once, then), (download, up) = await gatherResults([deferToThread(each, more) for each in (late, upload)])
        print(
            f"4 MiB after {at_once:.2f} s, then {then / MIB:.2%} of the rate; 24 MiB down in {download:.2f} s, {up / RATE:.2%} up"
        )
        if at_once < 2 and exact(then, MIB) and download < 6 and exact(up, RATE):
            break
    assert at_once < 2  # at the rate it would take 4
    assert download < 6  # at the rate it would take 12
    assert exact(then, MIB)
    assert exact(up, RATE)
    for it in (later, uploads):
        healthy(it)


# The disk

QUOTA = 8 * MIB


def digest_later(client: socket.socket) -> str:
    with client:
        return md5(receive_all(client))


@pytest_twisted.ensureDeferred
async def test_spill_quota(bench: Callable[..., Bench]) -> None:
    """Two clients that stall share it: together they have no more on disk, and lose nothing of what waits elsewhere."""
    it = bench("--spill-quota", "8m")
    pid = it.pipe.process.pid

    def look() -> tuple[list[int], list[socket.socket]]:
        clients = [it.ask(f"get {LARGE} {label}") for label in "ab"]
        seen, until = [], time.monotonic() + STALL
        while time.monotonic() < until or max(seen) < QUOTA - MIB:
            seen.append(sum(nameless_files(pid)))
            assert time.monotonic() < until + PATIENCE, "the quota is not used"
            time.sleep(0.01)
        return seen, clients

    seen, clients = await deferToThread(look)
    print(f"two stalled clients: {max(seen) / MIB:.2f} MiB on disk of a quota of {QUOTA / MIB:.0f} MiB")
    assert max(seen) <= QUOTA + DEFAULT_LIMITS.temp_file_write_size
    got = await gatherResults([deferToThread(digest_later, client) for client in clients])
    assert got == [md5(BODY)] * 2
    assert it.pipe.log.count("spill started") == 2
    healthy(it)


#: What every Python runs at its start, if it finds it.
SLOW_DISK = """
import os, time

def pwritev(*arguments, write=os.pwritev):
    time.sleep(0.008)
    return write(*arguments)

os.pwritev = pwritev
"""


@pytest_twisted.ensureDeferred
async def test_temp_file_threads(bench: Callable[..., Bench], tmp_path: Path) -> None:
    """A slow disk is written to by as many threads as there may be, or by none; either way every byte arrives."""
    (tmp_path / "sitecustomize.py").write_text(SLOW_DISK)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH", "")]))

    def stalled(it: Bench) -> tuple[int, int]:
        """How many threads it had before, and while it spilled."""
        before = threads(it.pipe.process.pid)
        clients = [it.ask(f"get {UPLOAD} {label}") for label in "abc"]
        for label in "abc":
            wait_until(it.origin.exchange(f"get {UPLOAD} {label}").over.is_set, PATIENCE, "letting the upstream go")
        meanwhile = threads(it.pipe.process.pid)
        assert [digest_later(client) for client in clients] == [md5(BODY[:UPLOAD])] * 3
        return before, meanwhile

    benches = [
        bench("--temp-file-threads", count, "--lingering-timeout", "200ms", env={"PYTHONPATH": path}) for count in "20"
    ]
    two, none = await gatherResults([deferToThread(stalled, it) for it in benches])
    assert two == (1, 3)
    assert none == (1, 1)
    for it in benches:
        assert it.pipe.log.count("spill started") == 3
        healthy(it)


# What is logged


@pytest_twisted.ensureDeferred
async def test_debug_events(bench: Callable[..., Bench]) -> None:
    """The engine's events, in nginx's words."""
    it = bench("--debug-events", reactor="epollet")
    assert await deferToThread(it.get, LARGE) == BODY
    told = re.findall(r"epoll: fd:\d+ ev:[0-9A-F]{4} d:[0-9A-F]{16} ", it.pipe.log)
    assert len(told) > 4
    healthy(it)


# Timeouts


@pytest_twisted.ensureDeferred
async def test_idle_timeout(bench: Callable[..., Bench]) -> None:
    """It ends a session in which nobody says anything, and none that is only slow."""

    def silence(it: Bench) -> float:
        began = time.monotonic()
        with it.ask("hush") as client, contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
        return time.monotonic() - began

    def slowness(it: Bench) -> float:
        began = time.monotonic()
        assert it.get(3 * MIB // 4) == BODY[: 3 * MIB // 4]
        return time.monotonic() - began

    reactors = ("epollet", "asyncio")
    benches = [bench("--idle-timeout", "1s", "--limit-rate", "256k", reactor=reactor) for reactor in reactors]
    seen = await gatherResults([deferToThread(what, it) for it in benches for what in (silence, slowness)])
    for reactor, silent, slow in zip(reactors, seen[::2], seen[1::2], strict=True):
        print(
            f"{reactor}: a silent session ended after {silent:.2f} s, a slow one when it was done, after {slow:.2f} s"
        )
        assert 0.9 < silent < 15
        assert slow > 2.5
    for it in benches:
        assert it.pipe.log.count(": idle timeout of 1 s expired") == 1, it.pipe.log
        healthy(it)
