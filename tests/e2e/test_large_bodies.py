"""A large PUT whose first server dies: the next one gets all of it, from the proxy's file, and little memory is used."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import pytest_twisted
from conftest import MIB
from http_clients import ScriptedOrigin
from http_origin import content
from http_proxy import HttpProxy, http_proxy
from programs import peer
from twisted.internet.threads import deferToThread

SIZE = 48 * MIB
ROUTES = """
[[servers.routes]]
prefix = "/two/"
proxy = "two"

[[servers.routes]]
prefix = "/streamed/"
proxy = "two"
request_buffering = false

[upstreams.two]
servers = [{{ address = "127.0.0.1:{bad}", max_fails = 0 }}, {{ address = "127.0.0.1:{good}", backup = true }}]
"""


@contextmanager
def dying_server(reads: int) -> Iterator[int]:
    """A server that resets each connection when it has read so many bytes; the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                connection, _ = listener.accept()
                with connection:
                    left = reads
                    while left > 0 and (data := connection.recv(min(left, 1 << 16))):
                        left -= len(data)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def put(proxy: HttpProxy, file: Path, target: str, *arguments: str) -> tuple[int, bytes]:
    """Status and body."""
    url = f"http://127.0.0.1:{proxy.port}{target}"
    command = [peer("curl"), "-sS", "--max-time", "60", "-w", "%{stderr}%{http_code}", "-T", str(file), *arguments, url]
    found = subprocess.run(command, capture_output=True, check=False)
    assert found.returncode == 0, found.stderr
    return int(found.stderr), found.stdout


@pytest.mark.parametrize("reads", [0, 3 * MIB, SIZE])
@pytest_twisted.ensureDeferred
async def test_the_next_server_gets_all_of_it(reads: int, tmp_path: Path) -> None:
    """Whether it has read nothing, a part, or nearly everything."""
    file = tmp_path / "body"
    with file.open("wb") as out:
        at = 0
        while at < SIZE:
            at += out.write(content(at, min(SIZE - at, 65536)))
    origin = ScriptedOrigin.start()

    def check(proxy: HttpProxy) -> None:
        before = proxy.memory()
        whole = {"framing": "length", "length": SIZE, "right": True}
        assert put(proxy, file, "/two/upload?name=length") == (200, json.dumps(whole).encode())
        line = proxy.find_line("length")
        assert line["upstream_status"] == [None, 200] and line["spilled"] == SIZE, line
        status, body = put(proxy, file, "/two/upload?name=chunked", "-H", "Transfer-Encoding: chunked")
        assert (status, json.loads(body)) == (200, {**whole, "framing": "chunked"})
        if reads:  # else the reset may come before a byte was sent, and then they may go on
            assert put(proxy, file, "/two/upload?name=post", "-X", "POST")[0] == 502
            assert put(proxy, file, "/streamed/upload?name=streamed")[0] == 502
        assert proxy.memory() - before < 8 * MIB
        proxy.check_clean()

    try:
        with dying_server(reads) as bad:
            routes = ROUTES.format(bad=bad, good=origin.port)
            with http_proxy(tmp_path / "proxy", origin.port, "", routes) as proxy:
                await deferToThread(check, proxy)
    finally:
        origin.stop()
