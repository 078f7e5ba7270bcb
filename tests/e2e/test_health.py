"""C{twisted-pipe} checks real servers, and asks those that are well."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import pytest_twisted
from http_proxy import http_proxy
from named_origin import NamedOrigin, ask, named_origins, share
from programs import wait_until
from twisted.internet.threads import deferToThread

CHECK = 'health = { check = "http", path = "/healthz", interval = "100ms", jitter = "20ms", timeout = "10s" }'


def members(origins: list[NamedOrigin]) -> str:
    """C{http_proxy} writes one server, in quotes."""
    return '", "'.join(map(str, origins))


@pytest.mark.parametrize("reactor", ["", "epoll"])
@pytest_twisted.ensureDeferred
async def test_a_server_that_is_unwell_is_not_asked(reactor: str, tmp_path: Path) -> None:
    """Nor does a request fail: its checks say so before requests could. One line for each change, none for a check."""

    def unwell() -> None:
        with named_origins(3) as origins:
            first, second, third = origins
            with http_proxy(tmp_path / "pipe", members(origins), upstream=CHECK, reactor=reactor) as proxy:
                assert share(proxy.port, 9) == {str(each): 3 for each in origins}
                second.healthy = False
                unhealthy = f"{second} is unhealthy, and not asked: status 503"
                wait_until(lambda: unhealthy in proxy.pipe.log, 5, "the line")
                assert share(proxy.port, 10) == {str(first): 5, str(third): 5}
                second.healthy = True
                healthy = f"{second} is healthy: 2 checks in a row were passed"
                wait_until(lambda: healthy in proxy.pipe.log, 5, "the line")
                assert share(proxy.port, 9) == {str(each): 3 for each in origins}
                before, began = first.checks, time.monotonic()
                time.sleep(1)
                asked, passed = first.checks - before, time.monotonic() - began
                assert 2 <= asked <= passed / 0.1 + 2, (asked, passed)  # one may have been late, and one is under way
                assert proxy.pipe.log.count("is healthy:") == proxy.pipe.log.count("is unhealthy,") == 1
                proxy.check_alive()
            time.sleep(0.5)  # one may still be under way here
            before = first.checks
            time.sleep(0.5)
            assert first.checks == before, "it is checked though the service has stopped"

    await deferToThread(unwell)


@pytest_twisted.ensureDeferred
async def test_a_server_that_is_dead_and_comes_back(tmp_path: Path) -> None:
    def die() -> None:
        with named_origins(2) as origins:
            first, second = origins
            with http_proxy(tmp_path / "pipe", members(origins), upstream=CHECK) as proxy:
                first.stop()
                wait_until(
                    lambda: f"{first} is unhealthy, and not asked: Connection refused" in proxy.pipe.log, 5, "a line"
                )
                assert share(proxy.port, 10) == {str(second): 10}
                first.start()
                wait_until(lambda: f"{first} is healthy" in proxy.pipe.log, 5, "a line")
                assert share(proxy.port, 10) == {str(first): 5, str(second): 5}

    await deferToThread(die)


@pytest_twisted.ensureDeferred
async def test_nobody_is_well(tmp_path: Path) -> None:
    """502, at once, and a line that says so once."""

    def nobody() -> None:
        with named_origins(2) as origins, http_proxy(tmp_path / "pipe", members(origins), upstream=CHECK) as proxy:
            for each in origins:
                each.healthy = False
            wait_until(lambda: ask(proxy.port) == "502", 5, "502")
            begin = time.monotonic()
            assert share(proxy.port, 50) == {"502": 50}
            assert time.monotonic() - begin < 30
            assert proxy.pipe.log.count("no server is up") == 1
            origins[1].healthy = True
            wait_until(lambda: ask(proxy.port) == str(origins[1]), 5, "an answer")

    await deferToThread(nobody)


@pytest_twisted.ensureDeferred
async def test_not_asked_before_its_first_check(tmp_path: Path) -> None:
    def first_check() -> None:
        with named_origins(2) as origins:
            origins[0].healthy = False
            check = CHECK.replace("}", ', initially = "unhealthy" }')
            with http_proxy(tmp_path / "pipe", members(origins), upstream=check) as proxy:
                wait_until(lambda: ask(proxy.port) == str(origins[1]), 5, "the other one")
                assert share(proxy.port, 20) == {str(origins[1]): 20}
                assert origins[0].requests == 0

    await deferToThread(first_check)


@pytest_twisted.ensureDeferred
async def test_a_check_of_another_port(tmp_path: Path) -> None:
    """By tcp, as the text of a command line would have it."""

    def other_port() -> None:
        with named_origins(2) as origins:
            beside = [NamedOrigin(each.host, 0) for each in origins[:1]]
            beside[0].start()
            beside += [NamedOrigin(origins[1].host, beside[0].port)]
            check = rf'health = "tcp:port={beside[0].port}:interval=100ms:send=GET / HTTP/1.0\\r\\n\\r\\n:match=^HTTP/1.. 200"'
            with http_proxy(tmp_path / "pipe", members(origins), upstream=check) as proxy:
                wait_until(lambda: f"{origins[1]} is unhealthy" in proxy.pipe.log, 5, "a line")
                assert share(proxy.port, 10) == {str(origins[0]): 10}
                wait_until(lambda: beside[0].requests > 2, 5, "checks at the other port")
                beside[1].start()
                wait_until(lambda: f"{origins[1]} is healthy" in proxy.pipe.log, 5, "a line")
            for each in beside:
                each.stop()

    await deferToThread(other_port)
