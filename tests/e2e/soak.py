"""
The clients and the upstream of L{test_soak}, in a process of their own: C{soak.py COUNT LARGEST}.

Its first line of output is the port of the upstream; the first line of input, the ports of the proxies in front of it. Then each
line of input is the seed of a round of C{COUNT} simultaneous transfers, through the proxies in turn, answered by a line of JSON:
what happened, and what was wrong.

What a transfer is like follows from its seed. Every byte in either direction is compared with the one that was sent; an end is
clean only for what is complete.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import json
import random
import resource
import socket
import struct
import sys
import termios
import time
from collections import Counter
from collections.abc import Sequence

import attrs

MIB = 1024 * 1024
PART = 256 * 1024
#: What all streams are cut from. Its length is odd, so that no part of a stream looks like another.
BLOCK = random.Random(0).randbytes(MIB + 7)
TWICE = BLOCK * 2
HEAD = struct.Struct("!Q")
PATIENCE = 60.0
LONGEST_STALL = 2.0
#: The power that makes most of them smaller than half of the largest.
SMALL = 2
BROKEN = ["client resets", "client closes", "upstream resets", "early answer"]


class Vanish(Exception):
    """The peer has had enough."""


class Wrong(Exception):
    """What must not happen."""


@attrs.define
class Tally:
    """
    @ivar came: bytes that arrived.
    """

    came: int = 0


@attrs.frozen
class Way:
    """
    One direction.

    @ivar size: its bytes.
    @ivar start: where in L{BLOCK} it begins.
    @ivar sender_stalls: bytes after which the sender waits, and for how many seconds.
    @ivar taker_stalls: the same for who takes them.
    """

    size: int
    start: int
    sender_stalls: dict[int, float]
    taker_stalls: dict[int, float]


@attrs.frozen
class Plan:
    """
    One transfer.

    @ivar response: to the client.
    @ivar request: to the upstream.
    @ivar in_turn: whether the upstream answers only when the client has ended its side; else both talk at once.
    @ivar ending: C{clean}; or who breaks it off: C{client resets}, C{client closes}, C{upstream resets}; or C{early answer}: an
        upstream that gives all of its answer, and then closes without having read all of the request.
    @ivar ends_at: bytes of the response after which that happens.
    @ivar buffer: the client's receive buffer, 0 for the system's.
    """

    response: Way
    request: Way
    in_turn: bool
    ending: str
    ends_at: int
    buffer: int

    @classmethod
    def of(cls, seed: int, largest: int) -> Plan:
        rng = random.Random(seed)
        response = _way(rng, int(largest * rng.random() ** SMALL))
        request = _way(rng, int(largest / 4 * rng.random() ** SMALL) if rng.random() < 0.5 else 0)
        ending = rng.choice(["clean"] * 16 + BROKEN * 2)
        return cls(
            response=response,
            request=request,
            in_turn=ending != "early answer" and rng.random() < 0.3,
            ending=ending if response.size > 1 else "clean",
            ends_at=rng.randrange(max(response.size - 1, 1)),
            buffer=rng.choice([0, 0, 4096, 65536]),
        )


def _way(rng: random.Random, size: int) -> Way:
    def stalls(likely: float) -> dict[int, float]:
        if rng.random() > likely:
            return {}
        places = [rng.choice([0, rng.randrange(size + 1)]) for _ in range(rng.randint(1, 3))]
        return {at: rng.uniform(0.05, LONGEST_STALL) for at in places}

    return Way(size, rng.randrange(len(BLOCK)), stalls(0.2), stalls(0.4))


def content(way: Way, at: int, most: int) -> bytes:
    """At most C{most} bytes of C{way} from C{at}, and not beyond its next stall."""
    start = (way.start + at) % len(BLOCK)
    return TWICE[start : start + min(most, way.size - at, PART)]


async def send(sock: socket.socket, way: Way, vanish_at: int = -1) -> None:
    """All of it, and the end."""
    loop = asyncio.get_running_loop()
    marks = sorted({*way.sender_stalls, *([vanish_at] if vanish_at >= 0 else [])})
    at = 0
    while True:
        if at in way.sender_stalls:
            await asyncio.sleep(way.sender_stalls[at])
        if at == vanish_at:
            raise Vanish
        if at == way.size:
            break
        stop = next((mark for mark in marks if mark > at), way.size)
        part = content(way, at, stop - at)
        await asyncio.wait_for(loop.sock_sendall(sock, part), PATIENCE)
        at += len(part)
        await asyncio.sleep(0)
    sock.shutdown(socket.SHUT_WR)


async def take(sock: socket.socket, way: Way, tally: Tally, vanish_at: int = -1) -> None:
    """Everything up to the end."""
    loop = asyncio.get_running_loop()
    marks = sorted({*way.taker_stalls, *([vanish_at] if vanish_at >= 0 else [])})
    while True:
        at = tally.came
        if at in way.taker_stalls:
            await asyncio.sleep(way.taker_stalls[at])
        if at == vanish_at:
            raise Vanish
        stop = next((mark for mark in marks if mark > at), at + PART)
        part = await asyncio.wait_for(loop.sock_recv(sock, min(stop - at, PART)), PATIENCE)
        if not part:
            return
        if at + len(part) > way.size or part != content(way, at, len(part)):
            raise Wrong(f"wrong bytes between {at} and {at + len(part)} of {way.size}")
        tally.came += len(part)
        await asyncio.sleep(0)


async def delivered(sock: socket.socket) -> None:
    """Until the other end has it all: what is closed while something waits to be read drops the rest of what it was to send."""
    unsent = array.array("i", [1])
    until = time.monotonic() + PATIENCE
    while unsent[0] and time.monotonic() < until:
        await asyncio.sleep(0.05)
        fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, unsent)


async def both(one: asyncio.Task[object], other: asyncio.Task[object]) -> None:
    """Until both are done, or the first has failed; then the other is given up."""
    try:
        await asyncio.gather(one, other)
    finally:
        for task in (one, other):
            task.cancel()
        await asyncio.gather(one, other, return_exceptions=True)


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Soak:
    """
    @ivar seen: how many transfers of each kind there were, and how they ended.
    @ivar wrong: what should not have happened.
    @ivar bytes: that arrived, either way.
    """

    def __init__(self, ports: Sequence[int], count: int, largest: int) -> None:
        self.ports = ports
        self.count = count
        self.largest = largest
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.bytes = 0
        self._upstreams: set[asyncio.Task[None]] = set()

    # the upstream

    async def serve(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(listener)
            task = asyncio.create_task(self.upstream(sock))
            self._upstreams.add(task)
            task.add_done_callback(self._upstream_done)

    def _upstream_done(self, task: asyncio.Task[None]) -> None:
        self._upstreams.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.wrong.append(f"the upstream failed: {task.exception()!r}")

    async def upstream(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with sock:
            sock.setblocking(False)
            head = b""
            with contextlib.suppress(ConnectionError):
                while len(head) < HEAD.size:
                    part = await asyncio.wait_for(loop.sock_recv(sock, HEAD.size - len(head)), PATIENCE)
                    if not part:
                        break
                    head += part
            if len(head) < HEAD.size:
                self.seen["upstream: gone before it said anything"] += 1
                return
            seed = HEAD.unpack(head)[0]
            plan = Plan.of(seed, self.largest)
            vanish_at = plan.ends_at if plan.ending == "upstream resets" else -1
            tally = Tally()

            async def take_request() -> None:
                await take(sock, plan.request, tally)
                if tally.came < plan.request.size and plan.ending != "client closes":
                    raise Wrong("a clean end of a part of the request")

            try:
                if plan.in_turn:
                    await take_request()
                    await send(sock, plan.response, vanish_at)
                elif plan.ending == "early answer":
                    await send(sock, plan.response)
                    await delivered(sock)
                else:
                    await both(
                        asyncio.create_task(take_request()),
                        asyncio.create_task(send(sock, plan.response, vanish_at)),
                    )
                self.seen["upstream: all done"] += 1
            except Vanish:
                reset(sock)
            except (Wrong, asyncio.TimeoutError) as error:
                self.wrong.append(f"upstream of {seed}: {error!r} after {tally.came} bytes: {plan}")
            except OSError as error:
                if plan.ending == "clean":
                    self.wrong.append(f"upstream of {seed}: {error!r} after {tally.came} bytes: {plan}")
                self.seen["upstream: broken off"] += 1
            self.bytes += tally.came

    # the clients

    async def client(self, seed: int, port: int) -> None:
        loop = asyncio.get_running_loop()
        plan = Plan.of(seed, self.largest)
        self.seen[plan.ending] += 1
        self.seen["in turn" if plan.in_turn else "at once"] += 1
        self.seen["client stalls"] += bool(plan.response.taker_stalls)
        vanish_at = plan.ends_at if plan.ending in ("client resets", "client closes") else -1
        with socket.socket() as sock:
            sock.setblocking(False)
            if plan.buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, plan.buffer)
            tally = Tally()

            async def take_response() -> None:
                await take(sock, plan.response, tally, vanish_at)
                if tally.came < plan.response.size:
                    raise Wrong("a clean end of a part of the response")

            try:
                await asyncio.wait_for(loop.sock_connect(sock, ("127.0.0.1", port)), PATIENCE)
                await loop.sock_sendall(sock, HEAD.pack(seed))
                if plan.in_turn:
                    await send(sock, plan.request)
                    await take_response()
                elif plan.ending in ("upstream resets", "early answer"):
                    # all that came can be read, whatever becomes of what is sent
                    sending = asyncio.create_task(send(sock, plan.request))
                    try:
                        await take_response()
                    except Wrong:
                        # Linux tells of a reset once: to who sends, and then there seems to be a clean end
                        if sending.done():
                            sending.result()
                        raise
                    finally:
                        sending.cancel()
                        await asyncio.gather(sending, return_exceptions=True)
                else:
                    await both(asyncio.create_task(send(sock, plan.request)), asyncio.create_task(take_response()))
                if plan.ending == "upstream resets":
                    raise Wrong("all of what the upstream broke off")
                self.seen["client: all done"] += 1
            except Vanish:
                if plan.ending == "client resets":
                    reset(sock)
            except (Wrong, asyncio.TimeoutError) as error:
                self.wrong.append(f"client of {seed}, port {port}: {error!r} after {tally.came} bytes: {plan}")
            except OSError as error:
                if plan.ending != "upstream resets":
                    self.wrong.append(f"client of {seed}, port {port}: {error!r} after {tally.came} bytes: {plan}")
                self.seen["client: broken off"] += 1
            self.bytes += tally.came

    async def round(self, seed: int) -> dict[str, object]:
        began = time.monotonic()
        self.seen, self.wrong, self.bytes = Counter(), [], 0
        seeds = range(seed * self.count, (seed + 1) * self.count)
        await asyncio.gather(*(self.client(each, self.ports[each % len(self.ports)]) for each in seeds))
        if self._upstreams:
            _, late = await asyncio.wait(self._upstreams, timeout=PATIENCE)
            self.wrong += [f"the upstream still waits: {task}" for task in late]
        return {
            "seen": dict(sorted(self.seen.items())),
            "wrong": self.wrong,
            "bytes": self.bytes,
            "seconds": time.monotonic() - began,
        }


async def main(count: int, largest: int) -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        listener.setblocking(False)
        print(listener.getsockname()[1], flush=True)
        ports = [int(word) for word in (await loop.run_in_executor(None, sys.stdin.readline)).split()]
        soak = Soak(ports, count, largest)
        serving = asyncio.create_task(soak.serve(listener))
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            print(json.dumps(await soak.round(int(line))), flush=True)
        serving.cancel()


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
