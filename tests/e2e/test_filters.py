"""Bundled filters between real programs."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import pytest_twisted
from conftest import Running
from nginx import http_block, running_nginx
from programs import free_port, wait_until
from twisted.internet.threads import deferToThread

Start = Callable[..., Running]

SERVER = """
    server {{
        listen 127.0.0.1:{port} proxy_protocol;
        return 200 "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port";
    }}
"""


@pytest.fixture
def told_by_proxy(tmp_path: Path) -> Iterator[int]:
    """The port of an nginx that wants a PROXY protocol header, and answers with what it has learnt from it."""
    port = free_port()
    with running_nginx(tmp_path / "nginx", http_block(SERVER.format(port=port)), port):
        yield port


def ask(client: socket.socket) -> str:
    """The body of the answer that C{client} gets."""
    client.settimeout(20)
    client.sendall(b"GET / HTTP/1.0\r\n\r\n")
    answer = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), answer
    return body.decode()


def ask_by_tcp(*address: object) -> tuple[str, str]:
    """What nginx says, and what is true."""
    with socket.create_connection(address) as client:  # type: ignore[arg-type]
        source, target = client.getsockname(), client.getpeername()
        return ask(client), f"{source[0]} {source[1]} {target[0]} {target[1]}"


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("reactor", ["epollet", "asyncio"])
async def test_proxy_protocol(told_by_proxy: int, start_pipe: Start, version: int, reactor: str) -> None:
    """nginx learns the addresses of IPv4 and IPv6 clients; one of a UNIX socket has none that it could use."""
    port6, path = free_port(), "pipe.socket"
    listeners = ["--listen", f"unix:{path}"]
    if has_ipv6():
        listeners += ["--listen", f"tcp6:{port6}:interface=\\:\\:1"]
    pipe = start_pipe(
        *listeners,
        *("--upstream", f"tcp:127.0.0.1:{told_by_proxy}"),
        *("--request-filter", f"proxy-protocol:version={version}"),
        reactor="" if reactor == "epollet" else reactor,
    )
    said, true = await deferToThread(ask_by_tcp, "127.0.0.1", pipe.port)
    assert said == true
    if has_ipv6():
        said, true = await deferToThread(ask_by_tcp, "::1", port6)
        assert said == true

    def by_unix() -> str:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(pipe.log_file.parent / path))
            return ask(client)

    assert (await deferToThread(by_unix)).strip() == ""
    assert "Traceback" not in pipe.log


@pytest_twisted.ensureDeferred
async def test_proxy_protocol_of_the_response(told_by_proxy: int, start_pipe: Start) -> None:
    """It is said where it belongs; the client gets nothing, and the service lives on."""
    pipe = start_pipe("--upstream", f"tcp:127.0.0.1:{told_by_proxy}", "--filter", "proxy-protocol")

    def got() -> bytes:
        with socket.create_connection(("127.0.0.1", pipe.port)) as client:
            client.settimeout(20)
            try:
                return client.recv(1000)
            except ConnectionResetError:
                return b""

    for _ in range(2):
        assert await deferToThread(got) == b""
    await deferToThread(wait_until, lambda: pipe.log.count("close after") == 2, 5, "the close lines")
    assert pipe.log.count("filter 'proxy-protocol': ") == 2
    assert "belongs in --request-filter" in pipe.log
    assert pipe.process.poll() is None
