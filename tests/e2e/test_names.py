"""C{twisted-pipe} in front of servers that it knows by name only, with a real nameserver."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from signal import SIGTERM

import attrs
import pytest
import pytest_twisted
from dns_server import NameServer, a, in_reactor, name_server, srv
from http_clients import Client
from http_proxy import HttpProxy, http_proxy
from named_origin import NamedOrigin, ask, named_origins, share
from programs import free_port, wait_until
from twisted.internet.threads import deferToThread
from twisted.names import dns


@attrs.frozen
class Bench:
    """A proxy of C{app.test}, whose servers are C{origins}."""

    proxy: HttpProxy
    names: NameServer
    origins: list[NamedOrigin]

    def ask(self, path: str = "/on/") -> str:
        return ask(self.proxy.port, path)

    def log(self, text: str) -> int:
        """How many lines of the log have it."""
        return self.proxy.pipe.log.count(text)

    def set(self, *hosts: str, ttl: int = 1) -> None:
        self.names.set("app.test", dns.A, *(a("app.test", host, ttl) for host in hosts))


@contextmanager
def bench(
    directory: Path,
    count: int = 2,
    reactor: str = "",
    ttl: int = 1,
    resolver: str = "dns",
    address: str = "",
    options: str = "",
) -> Iterator[Bench]:
    """C{app.test} is the first of the origins."""
    with named_origins(count) as origins, name_server() as names:
        names.set("app.test", dns.A, a("app.test", origins[0].host, ttl))
        resolve = f'resolve = "{resolver}:nameserver=127.0.0.1#{names.port}:min_valid=200ms{options}"'
        with http_proxy(
            directory / "pipe", address or f"app.test:{origins[0].port}", upstream=resolve, reactor=reactor
        ) as proxy:
            yield Bench(proxy, names, origins)
            proxy.check_alive()


@pytest.mark.parametrize("reactor", ["", "epoll"])
@pytest_twisted.ensureDeferred
async def test_a_name_that_stands_for_others(reactor: str, tmp_path: Path) -> None:
    """Requests go where the name points, after its TTL; no request fails; connections to the old server are closed."""

    def change() -> None:
        with bench(tmp_path, 3, reactor) as it:
            assert it.ask() == str(it.origins[0])
            assert it.origins[0].connections == 1
            it.set(it.origins[1].host)
            wait_until(lambda: it.ask() == str(it.origins[1]), 5, "the change of the address")
            wait_until(lambda: not it.origins[0].connections, 5, "the end of idle connections to the old address")
            before = it.origins[0].requests
            assert share(it.proxy.port, 50) == {str(it.origins[1]): 50}
            assert it.origins[0].requests == before
            it.set(*(origin.host for origin in it.origins))
            wait_until(lambda: len(share(it.proxy.port, 9)) == 3, 5, "all three addresses")
            assert set(share(it.proxy.port, 9).values()) == {3}

    await deferToThread(change)


@pytest_twisted.ensureDeferred
async def test_the_ttl_is_honoured(tmp_path: Path) -> None:
    def count() -> None:
        with bench(tmp_path, ttl=1) as it:
            it.names.zone.negative_ttl = 300  # that there is no AAAA holds for long, too
            wait_until(lambda: it.names.count("app.test", dns.A) >= 2, 5, "a second question")
            begin, first = time.monotonic(), it.names.count("app.test", dns.A)
            time.sleep(3)
            asked = it.names.count("app.test", dns.A) - first
            assert 2 <= asked <= time.monotonic() - begin + 1, asked
            it.set(it.origins[0].host, ttl=300)
            last = it.names.count("app.test", dns.A)
            wait_until(lambda: it.names.count("app.test", dns.A) > last, 5, "a question with the long answer")
            first = it.names.count("app.test", dns.A)
            it.set(it.origins[1].host, ttl=300)
            time.sleep(2)
            assert it.names.count("app.test", dns.A) == first
            assert it.ask() == str(it.origins[0])
            assert it.names.count("app.test", dns.AAAA) >= 1

    await deferToThread(count)


@pytest_twisted.ensureDeferred
async def test_a_nameserver_that_dies(tmp_path: Path) -> None:
    """What was known stays, for as long as it is dead, and one line says so."""

    def die() -> None:
        with bench(tmp_path) as it:
            assert it.ask() == str(it.origins[0])
            in_reactor(it.names.stop)
            wait_until(lambda: it.log("cannot be looked up, stays with 1 server"), 10, "a line")
            for _ in range(20):
                assert share(it.proxy.port, 5) == {str(it.origins[0]): 5}
                time.sleep(0.1)
            assert it.log("cannot be looked up") == 1
            it.set(it.origins[1].host)
            in_reactor(lambda: it.names.start(tcp=False))
            wait_until(lambda: it.ask() == str(it.origins[1]), 20, "the new address")
            assert it.log("can be looked up again") == 1

    await deferToThread(die)


@pytest_twisted.ensureDeferred
async def test_a_nameserver_that_is_silent_at_the_start(tmp_path: Path) -> None:
    """The service starts; a request waits for the first look-up, and gets 502 when it fails. All is well as soon as it answers."""

    def silence() -> None:
        with named_origins(1) as (origin,), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            port = silent.getsockname()[1]
            resolve = f'resolve = "dns:nameserver=127.0.0.1#{port}:timeout=4s"'
            begin = time.monotonic()
            with http_proxy(tmp_path / "pipe", f"app.test:{origin.port}", upstream=resolve) as proxy:
                answer = ask(proxy.port)
                assert answer == "502"
                assert 1 < time.monotonic() - begin < 60
                begin = time.monotonic()
                assert ask(proxy.port) == "502"
                assert time.monotonic() - begin < 3, "it waited, though nothing is to be waited for"
                assert proxy.pipe.log.count("cannot be looked up, no server is known: no answer within 4 s") == 1
                silent.close()
                names = NameServer(port)
                names.set("app.test", dns.A, a("app.test", origin.host, 1))
                in_reactor(lambda: names.start(tcp=False))
                try:
                    wait_until(lambda: ask(proxy.port) == str(origin), 15, "an answer")
                finally:
                    in_reactor(names.stop)
                begin = time.monotonic()
            assert time.monotonic() - begin < 10

    await deferToThread(silence)


@pytest_twisted.ensureDeferred
async def test_a_request_that_comes_before_the_first_answer(tmp_path: Path) -> None:
    """It waits, and is served; so is a connection that is passed on as it is."""

    def early() -> None:
        port = free_port()
        stream = f'[[servers]]\nprotocol = "tcp"\nlisten = "127.0.0.1:{port}"\nproxy = "app"'
        with named_origins(1) as (origin,), name_server() as names, ThreadPoolExecutor(2) as clients:
            names.zone.delay = 1.0
            names.set("app.test", dns.A, a("app.test", origin.host, 1))
            resolve = f'resolve = "dns:nameserver=127.0.0.1#{names.port}"'
            with http_proxy(tmp_path / "pipe", f"app.test:{origin.port}", upstream=resolve, routes=stream) as proxy:
                assert list(clients.map(ask, (proxy.port, port))) == [str(origin)] * 2

    await deferToThread(early)


@pytest_twisted.ensureDeferred
async def test_what_is_under_way_on_a_removed_address_ends_well(tmp_path: Path) -> None:
    def drain() -> None:
        with bench(tmp_path) as it, Client(it.proxy.port) as client:
            client.ask("/slow")
            wait_until(lambda: it.origins[0].requests == 1, 5, "the request")
            it.set(it.origins[1].host)
            wait_until(lambda: it.ask() == str(it.origins[1]), 3, "the change of the address")
            it.origins[0].go_on.set()
            head = client.head()
            assert client.body(head).decode() == str(it.origins[0])
            wait_until(lambda: not it.origins[0].connections, 5, "the end of the connection")

    await deferToThread(drain)


@pytest_twisted.ensureDeferred
async def test_a_name_that_is_taken_away(tmp_path: Path) -> None:
    """No such name is an answer: there is no server any more."""

    def remove() -> None:
        with bench(tmp_path) as it:
            assert it.ask() == str(it.origins[0])
            it.names.zone.records.clear()
            wait_until(lambda: it.ask() == "502", 5, "no server")
            it.set(it.origins[1].host)
            wait_until(lambda: it.ask() == str(it.origins[1]), 5, "a server")

    await deferToThread(remove)


@pytest_twisted.ensureDeferred
async def test_an_answer_that_does_not_fit_into_a_datagram(tmp_path: Path) -> None:
    """It is asked for over TCP."""

    def large() -> None:
        with bench(tmp_path, 3, options=":max_servers=40") as it:
            it.set(*(f"127.0.1.{number}" for number in range(1, 101)), *(origin.host for origin in it.origins))
            wait_until(
                lambda: it.log("it stands for 103 servers, of which max_servers, 40, are used"), 5, "103 servers"
            )
            assert set(share(it.proxy.port, 6)) <= {*map(str, it.origins), "502"}

    await deferToThread(large)


@pytest_twisted.ensureDeferred
async def test_services(tmp_path: Path) -> None:
    """SRV: ports and weights, backups, and targets that are told beside the answer or have to be asked for."""

    def services() -> None:
        service = "_http._tcp.app.test"
        with bench(tmp_path, 3, resolver="srv", address=service) as it:
            first, second, third = it.origins
            it.names.set("one.test", dns.A, a("one.test", first.host, 1))
            it.names.set("two.test", dns.A, a("two.test", second.host, 1))
            it.names.set("three.test", dns.A, a("three.test", third.host, 1))
            records = [
                srv(service, 10, 30, first.port, "one.test", 1),
                srv(service, 10, 10, second.port, "two.test", 1),
                srv(service, 20, 10, third.port, "three.test", 1),
            ]
            it.names.set(service, dns.SRV, *records)
            wait_until(lambda: it.ask() != "502", 5, "the service")
            assert share(it.proxy.port, 40) == {str(first): 30, str(second): 10}
            it.names.zone.additional = [a("one.test", first.host, 1), a("three.test", third.host, 1)]
            asked = it.names.count("one.test", dns.A)
            time.sleep(1.5)
            assert it.names.count("one.test", dns.A) <= asked + 1
            it.names.set(service, dns.SRV, records[2])
            wait_until(lambda: it.ask() == str(third), 5, "the backup alone")

    await deferToThread(services)


@pytest_twisted.ensureDeferred
async def test_it_stops_at_once_while_it_asks(tmp_path: Path) -> None:
    def stop() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            resolve = f'resolve = "dns:nameserver=127.0.0.1#{silent.getsockname()[1]}:timeout=60s"'
            with http_proxy(tmp_path / "pipe", "app.test:80", upstream=resolve) as proxy:
                begin = time.monotonic()
                assert proxy.pipe.stop() in (0, -SIGTERM)
                assert time.monotonic() - begin < 20
                proxy_log = proxy.pipe.log
            assert "Traceback" not in proxy_log
            assert "cannot be looked up" not in proxy_log

    await deferToThread(stop)
