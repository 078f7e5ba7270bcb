"""WebSocket through C{twisted-pipe}, on both reactors, with the C{websockets} package on both ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_proxy import HttpProxy, http_proxy
from programs import free_port, running_server, wait_until

pytest.importorskip("websockets")

PEER = [sys.executable, str(Path(__file__).with_name("websocket_peer.py"))]
CROWD = 200

ROUTES = """
[[servers.routes]]
prefix = "/filtered/"
proxy = "app"
upgrade_filters = ["hexdump"]
upgrade_request_filters = ["throttle:rate=10m"]
"""


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = free_port()
    with running_server([*PEER, "serve", str(port)], port, log=tmp_path_factory.mktemp("peer") / "log"):
        yield port


@pytest.fixture(scope="module", params=["", "epoll"], ids=["epollet", "epoll"])
def proxy(origin: int, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpProxy]:
    with http_proxy(tmp_path_factory.mktemp("websocket"), origin, routes=ROUTES, reactor=request.param) as running:
        yield running


def run(proxy: HttpProxy, scenario: str, path: str = "/") -> None:
    """
    @raise AssertionError: it failed.
    """
    url = f"ws://127.0.0.1:{proxy.port}{path}"
    done = subprocess.run([*PEER, scenario, url], capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr[-3000:] + proxy.pipe.log[-3000:]


def test_messages(proxy: HttpProxy) -> None:
    run(proxy, "messages", "/?name=messages")
    line = proxy.find_line("messages")
    assert line["status"] == 101
    assert int(line["bytes"]) > 2 * 1024 * 1024
    proxy.check_clean()


def test_both_ways_at_once(proxy: HttpProxy) -> None:
    run(proxy, "both_ways")
    proxy.check_clean()


def test_a_crowd(proxy: HttpProxy) -> None:
    before = len(proxy.lines())
    run(proxy, "crowd")
    wait_until(lambda: len(proxy.lines()) == before + CROWD, 10, "a log line of each")
    assert {(line["status"], line["error"]) for line in proxy.lines()[before:]} == {(101, None)}
    proxy.check_clean()


def test_the_server_closes(proxy: HttpProxy) -> None:
    run(proxy, "closed_by_the_server", "/bye")
    proxy.check_clean()


def test_the_server_refuses(proxy: HttpProxy) -> None:
    run(proxy, "refused", "/refused?name=refused")
    assert proxy.find_line("refused")["status"] == 403
    proxy.check_clean()


def test_byte_filters_take_part(proxy: HttpProxy) -> None:
    run(proxy, "messages", "/filtered/")
    assert "101" in {str(line["status"]) for line in proxy.lines()}
    proxy.check_clean()
