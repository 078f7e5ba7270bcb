"""
Both ends of WebSocket, by the C{websockets} package: C{python websocket_peer.py serve PORT}, C{... SCENARIO URL}.

A scenario fails by an exception; its exit status and stderr tell.
"""

from __future__ import annotations

import asyncio
import hashlib
import http
import os
import sys
from typing import Any

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

MIB = 1024 * 1024
SIZES = (0, 1, 125, 126, 65535, 65536, MIB)
CROWD = 200
ROUNDS = 20


# the server


async def _echo(connection: Any) -> None:
    if connection.request.path.startswith("/bye"):
        await connection.close(4001, "enough")
        return
    try:
        async for message in connection:
            if message == "fragments, please":
                await connection.send([message[:5], message[5:6], message[6:]])
            else:
                await connection.send(message)
    except ConnectionClosed:
        pass


def _look(connection: Any, request: Any) -> Any:
    if request.path.startswith("/refused"):
        return connection.respond(http.HTTPStatus.FORBIDDEN, "not you\n")
    return None


async def _serve(port: int) -> None:
    async with serve(_echo, "127.0.0.1", port, max_size=None, process_request=_look) as server:
        await server.serve_forever()


# clients


def _opened(url: str, **options: Any) -> Any:
    return connect(url, max_size=None, proxy=None, open_timeout=60, **options)


async def messages(url: str) -> None:
    """Of every size, in one frame and in several, both ways; with compression and without."""
    for compression in ("deflate", None):
        async with _opened(url, compression=compression) as connection:
            for size in SIZES:
                for message in (os.urandom(size), "x" * size):
                    await connection.send(message)
                    got = await connection.recv()
                    assert got == message, (size, compression)
            parts = [os.urandom(1000) for _ in range(50)]
            await connection.send(parts)
            assert await connection.recv() == b"".join(parts)
            await connection.send("fragments, please")
            assert await connection.recv() == "fragments, please"
            await (await connection.ping())


async def both_ways(url: str) -> None:
    """16 MiB each way at the same time, nobody waiting for an answer."""
    sent, got = hashlib.sha256(), hashlib.sha256()
    async with _opened(url, compression=None, write_limit=MIB) as connection:

        async def say() -> None:
            for _ in range(64):
                part = os.urandom(MIB // 4)
                sent.update(part)
                await connection.send(part)

        speaking = asyncio.create_task(say())
        for _ in range(64):
            got.update(await connection.recv())
        await speaking
    assert sent.digest() == got.digest()


async def crowd(url: str) -> None:
    """Many, at the same time."""

    async def one(number: int) -> None:
        async with _opened(url) as connection:
            for count in range(ROUNDS):
                message = f"{number} {count} " + "x" * (number * 7)
                await connection.send(message)
                assert await connection.recv() == message

    await asyncio.gather(*(one(number) for number in range(CROWD)))


async def closed_by_the_server(url: str) -> None:
    """Its code and reason arrive."""
    async with _opened(url) as connection:
        try:
            await connection.recv()
        except ConnectionClosed as error:
            assert error.rcvd is not None and (error.rcvd.code, error.rcvd.reason) == (4001, "enough"), error
        else:
            raise AssertionError("it was not closed")


async def refused(url: str) -> None:
    """The server's own answer arrives."""
    try:
        async with _opened(url):
            raise AssertionError("it was not refused")
    except InvalidStatus as error:
        assert error.response.status_code == 403, error
        assert error.response.body == b"not you\n", error.response.body


SCENARIOS = {each.__name__: each for each in (messages, both_ways, crowd, closed_by_the_server, refused)}

if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(_serve(int(sys.argv[2])))
    else:
        asyncio.run(asyncio.wait_for(SCENARIOS[sys.argv[1]](sys.argv[2]), 60))
