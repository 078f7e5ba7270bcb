"""
C{twisted-pipe} as an HTTP proxy for many at once: a crowd of clients of which each does something else, on every reactor, with TCP
and UNIX sockets toward the origin. What each does follows from its seed.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import attrs
import pytest
import pytest_twisted
from conftest import MIB
from http_clients import FAST, SLOW, Broken, Client, Pace, ScriptedOrigin
from http_proxy import HttpProxy, http_proxy
from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread

CROWD = 16  # clients at once
FULL = os.environ.get("TWISTED_PIPE_SOAK") == "full"
CONNECTIONS = 200 if FULL else 12  # of each, one after the other
LARGEST = 20 * MIB
SMALL = 4  # the power that makes most of them small
MANNERS = ["fast"] * 6 + ["slow", "stalling", "half-closing", "leaving", "closing"]
PACES = {"slow": SLOW, "stalling": Pace(window=16 * 1024)}
LAST_ONES = ("half-closing", "leaving", "closing")


@attrs.frozen
class Plan:
    """
    One exchange.

    @ivar target: of the request.
    @ivar size: bytes of the response's body, or of the request's if it is an upload.
    @ivar chunk: of the request's body; 0 for a length.
    @ivar upload: whether the request has a body.
    @ivar whole: whether the origin gives all of its response.
    @ivar manner: what the client is like.
    """

    target: str
    size: int
    chunk: int
    upload: bool
    whole: bool
    manner: str

    @classmethod
    def of(cls, rng: random.Random) -> Plan:
        size = int(LARGEST * rng.random() ** SMALL)
        route = rng.choice(["on", "off"])
        manner = rng.choice(MANNERS)
        if rng.random() < 0.3:
            chunk = rng.choice([0, 1000, 70_000])
            return cls(f"/{route}/upload", size, chunk, True, True, manner)
        framing = rng.choice(["length", "chunked", "close"])
        query = f"size={size}&framing={framing}&chunk={rng.choice([100, 8192, 50000])}"
        # UNIX sockets know no reset: there is no wrong end of what ends with the connection
        whole = rng.random() < 0.9 or size < 2 or framing == "close"
        if not whole:
            query += f"&stop={rng.randrange(size)}&end=reset"
        if rng.random() < 0.1:
            query += "&wait=0.05"
        if rng.random() < 0.1:
            query += f"&buffering={rng.choice(['no', 'yes'])}"
        return cls(f"/{route}/?{query}", size, 0, False, whole, manner)


def carry_out(client: Client, plan: Plan) -> str:
    """
    One exchange.

    @return: how it ended: C{whole}; C{broken}, by the origin; or C{left}, by the client.
    """
    if plan.upload:
        with suppress(BrokenPipeError, ConnectionResetError):
            client.upload(plan.target, plan.size, plan.chunk)
    else:
        client.ask(plan.target)
    if plan.manner == "half-closing":
        client.sock.shutdown(socket.SHUT_WR)
    elif plan.manner == "stalling":
        time.sleep(0.3)
    elif plan.manner in LAST_ONES:
        if plan.size % 2:
            client.head()
        if plan.manner == "leaving":
            client.leave()
        return "left"
    head = client.head()
    assert head.status == 200, (plan, head)
    if plan.upload:
        body = client.body(head)
        assert b'"right": true' in body and b'"length": %d' % plan.size in body, (plan, body)
        return "whole"
    try:
        assert client.check_body(head) == plan.size, plan
    except (Broken, ConnectionResetError):
        assert not plan.whole, plan
        return "broken"
    assert plan.whole, plan
    return "whole"


def one_of_the_crowd(port: int, seed: int) -> Counter[str]:
    """Connections one after the other, with a few exchanges on each. How they ended."""
    rng = random.Random(seed)
    ends: Counter[str] = Counter()
    for _ in range(CONNECTIONS):
        plans = [Plan.of(rng) for _ in range(rng.randint(1, 8))]
        with Client(port, PACES.get(plans[0].manner, FAST)) as client:
            for plan in plans:
                end = carry_out(client, plan)
                ends[end] += 1
                if end != "whole" or plan.manner in LAST_ONES:
                    break
    return ends


@pytest.fixture
def bench(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[HttpProxy, ScriptedOrigin]]:
    """
    C{REACTOR transport}: the proxy, and its origin.

    An address is connected to by a bare socket on C{epollet}; what needs looking up, by a transport.
    """
    reactor, transport = request.param.split()
    directory: Path = tmp_path_factory.mktemp("crowd")
    path = str(directory / "origin.sock")
    with ExitStack() as stack:
        origin = ScriptedOrigin.start(path)
        stack.callback(origin.stop)
        servers: dict[str, int | str] = {"tcp": origin.port, "name": f"localhost:{origin.port}", "unix": f"unix:{path}"}
        proxy = stack.enter_context(
            http_proxy(directory / "pipe", servers[transport], reactor="" if reactor == "epollet" else reactor)
        )
        yield proxy, origin


@pytest.mark.parametrize(
    "bench", ["epollet tcp", "epollet name", "epollet unix", "epoll tcp", "asyncio tcp", "select unix"], indirect=True
)
@pytest_twisted.ensureDeferred
async def test_crowd(bench: tuple[HttpProxy, ScriptedOrigin], request: pytest.FixtureRequest) -> None:
    """Each gets every byte that is its own; what is whole ends so, what is not does not; nothing stays behind."""
    proxy, origin = bench
    seed = int(os.environ.get("TWISTED_PIPE_SEED", "1"))
    began = time.monotonic()
    ends = await gatherResults(
        [deferToThread(one_of_the_crowd, proxy.port, seed * 1000 + number) for number in range(CROWD)]
    )
    total = sum(ends, Counter())
    print(f"{request.node.name}: {dict(total)} in {time.monotonic() - began:.1f} s")
    assert total["whole"] > CROWD * CONNECTIONS
    seen = origin.seen()
    assert not any(each["late"] for each in seen["requests"])
    assert seen["accepted"] < len(seen["requests"]), "no connection was used again"
    await deferToThread(proxy.check_clean)
