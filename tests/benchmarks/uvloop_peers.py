"""
asyncio on uvloop, for comparison: C{uvloop_peers.py PORT UPSTREAM [PEM]}.

An echo server if UPSTREAM is 0, else a TCP proxy. With PEM (key and certificate) it speaks TLS to its clients.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from typing import Any

import uvloop

PORT, UPSTREAM = int(sys.argv[1]), int(sys.argv[2])


class Echo(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Side(asyncio.Protocol):
    """One side of a proxied connection, with asyncio's flow control."""

    def __init__(self, other: Side | None = None) -> None:
        self.other = other
        self.transport: Any = None
        self.early: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        if self.other is None:
            self.connecting = asyncio.ensure_future(self.connect())

    async def connect(self) -> None:
        _, self.other = await asyncio.get_running_loop().create_connection(lambda: Side(self), "127.0.0.1", UPSTREAM)
        self.other.transport.writelines(self.early)

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            self.other.transport.write(data)
        else:
            self.early.append(data)

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


async def main() -> None:
    loop = asyncio.get_running_loop()
    tls = None
    if len(sys.argv) > 3:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(sys.argv[3])
    server = await loop.create_server(Side if UPSTREAM else Echo, "127.0.0.1", PORT, backlog=4096, ssl=tls)
    await server.serve_forever()


uvloop.run(main())
