"""
PostgreSQL through C{protocol = "tcp"}: its own load tool, over TCP and UNIX sockets, with and without TLS of its own, which passes
through as it is.

C{pytest -s} shows the figures.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest
import pytest_twisted
from configured import configured
from conftest import MIB, Running
from postgres_cluster import PROGRAMS, Cluster, cluster, program
from programs import free_port, peer, wait_until
from twisted.internet.threads import deferToThread

from twisted_pipe.net.splice import KEPT

HOST = "127.0.0.1"
CONFIGURATION = """
[[servers]]
protocol = "tcp"
listen = "{host}:{{port}}"
proxy = "database"

[[servers]]
protocol = "tcp"
listen = {{{{ address = "unix:{{directory}}/.s.PGSQL.{{port}}", mode = "0600" }}}}
proxy = "unix:{socket}"

[upstreams.database]
servers = ["{host}:{database}"]
socket_keepalive = "30s:10s:3"
user_timeout = "20s"
"""


@attrs.frozen
class Proxied:
    """
    @ivar pipe: with the same port for TCP and in the name of the socket.
    @ivar directory: of its UNIX socket.
    @ivar at_rest: descriptors when it does nothing.
    """

    pipe: Running
    directory: Path
    at_rest: int

    @property
    def socket(self) -> Path:
        return self.directory / f".s.PGSQL.{self.pipe.port}"

    def host(self, way: str) -> str:
        return HOST if way == "tcp" else str(self.directory)

    def check(self) -> None:
        """Nothing of the sessions that are over stays behind."""
        wait_until(lambda: self.pipe.descriptors() <= self.at_rest + 2 * KEPT, 10, "the return of all descriptors")
        assert "Traceback" not in self.pipe.log and "Unhandled" not in self.pipe.log, self.pipe.log[-3000:]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Cluster]:
    for name in PROGRAMS:
        peer(program(name))
    with cluster(free_port()) as running:
        yield running


@pytest.fixture(scope="module")
def proxied(postgres: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    directory = tmp_path_factory.mktemp("pg")
    port = free_port()
    text = CONFIGURATION.format(host=HOST, database=postgres.port, socket=postgres.socket)
    with configured(directory, text.format(port=port, directory=directory), port) as pipe:
        yield Proxied(pipe, directory, pipe.descriptors())


@pytest.mark.parametrize("way", ["tcp", "unix"])
@pytest_twisted.ensureDeferred
async def test_pgbench(postgres: Cluster, proxied: Proxied, way: str) -> None:
    """Each transaction it believes to have made is in the database, and none fails; it is made as often as directly, nearly."""

    def measure() -> None:
        port, host = proxied.pipe.port, proxied.host(way)
        postgres.pgbench(host, port, "-i", "-s", "2", "-q")
        assert postgres.psql(host, port, "SELECT count(*) FROM pgbench_accounts") == "200000"
        ways = {
            "direct": (HOST if way == "tcp" else postgres.directory, postgres.port),
            "through us": (host, port),
        }
        made = 0
        for name, place in ways.items():
            done = postgres.pgbench(*place, "-c", "8", "-j", "2", "-T", "3", "-n")
            assert done is not None
            print(f"{way}, {name}: {done.processed} transactions, {done.failed} failed, {done.rate:.0f}/s")
            assert (done.failed, done.processed > 100) == (0, True)
            made += done.processed
        assert int(postgres.psql(host, port, "SELECT count(*) FROM pgbench_history")) == made
        # what was added to each of three tables is the same
        sums = "SELECT count(DISTINCT s) FROM (" + " UNION ALL ".join(
            f"SELECT sum({column}) AS s FROM pgbench_{table}"
            for table, column in (("accounts", "abalance"), ("tellers", "tbalance"), ("history", "delta"))
        )
        assert postgres.psql(host, port, sums + ") AS sums") == "1"

    await deferToThread(measure)
    await deferToThread(proxied.check)


@pytest_twisted.ensureDeferred
async def test_a_connection_for_each_transaction(postgres: Cluster, proxied: Proxied) -> None:
    """C{pgbench -C}: a hundred sessions of one question each, and a hundred ends."""

    def measure() -> None:
        script = proxied.directory / "one.sql"
        script.write_text("SELECT 1;\n")
        options = ["-C", "-n", "-c", "4", "-t", "25", "-f", str(script)]
        for way in ("tcp", "unix"):
            done = postgres.pgbench(proxied.host(way), proxied.pipe.port, *options)
            assert done is not None and (done.processed, done.failed) == (100, 0)

    await deferToThread(measure)
    await deferToThread(proxied.check)


TLS = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


@pytest_twisted.ensureDeferred
async def test_tls_of_its_own(postgres: Cluster, proxied: Proxied) -> None:
    """Its SSLRequest, the answer and what follows are passed on as they are, whatever the client wants and the server has."""

    def ask(tls: str) -> str:
        return postgres.psql(HOST, proxied.pipe.port, TLS, tls)

    def try_all() -> None:
        assert {tls: ask(tls) for tls in ("disable", "prefer", "require")} == {
            "disable": "f",
            "prefer": "t",
            "require": "t",
        }
        done = postgres.pgbench(HOST, proxied.pipe.port, "-n", "-S", "-c", "4", "-t", "50", tls="require")
        assert done is not None and (done.processed, done.failed) == (200, 0)
        postgres.psql(postgres.directory, postgres.port, "ALTER SYSTEM SET ssl = off")
        postgres.psql(postgres.directory, postgres.port, "SELECT pg_reload_conf()")
        try:
            wait_until(lambda: ask("prefer") == "f", 10, "the end of TLS")
            with pytest.raises(AssertionError, match="server does not support SSL"):
                ask("require")
        finally:
            postgres.psql(postgres.directory, postgres.port, "ALTER SYSTEM RESET ssl")
            postgres.psql(postgres.directory, postgres.port, "SELECT pg_reload_conf()")

    await deferToThread(try_all)
    await deferToThread(proxied.check)


@pytest.mark.parametrize("way", ["tcp", "unix"])
@pytest_twisted.ensureDeferred
async def test_much_in_and_out(postgres: Cluster, proxied: Proxied, way: str) -> None:
    """32 MiB by COPY, in and out again, are the same."""
    rows = b"".join(b"%d\t%s\n" % (number, os.urandom(512).hex().encode()) for number in range(32 * 1024))

    def copy() -> str:
        host, port = proxied.host(way), proxied.pipe.port
        postgres.psql(host, port, "DROP TABLE IF EXISTS much; CREATE TABLE much (id int, text text)")
        postgres.psql(host, port, "COPY much FROM STDIN", stdin=rows)
        return postgres.psql(host, port, "COPY (SELECT * FROM much ORDER BY id) TO STDOUT")

    got = await deferToThread(copy)
    assert len(rows) > 32 * MIB
    assert hashlib.sha256(got.encode() + b"\n").digest() == hashlib.sha256(rows).digest()
    await deferToThread(proxied.check)


class Session:
    """A C{psql} that is asked one thing after the other."""

    def __init__(self, postgres: Cluster, host: str, port: int) -> None:
        words = [program("psql"), "-X", "-A", "-t", "-q", "-h", host, "-p", str(port), "-U", "tester", "-d", "postgres"]
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
            env={**os.environ, "PGSSLMODE": "disable", "HOME": str(postgres.directory)},
        )

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def say(self, query: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(query + "\n")

    def ask(self, query: str) -> str:
        """The first line of the answer."""
        assert self.process.stdout is not None
        self.say(query)
        return self.process.stdout.readline().rstrip("\n")

    def rest(self) -> str:
        """What it says until it ends."""
        return self.process.communicate(timeout=20)[0]


def sleeping(postgres: Cluster, session: Session) -> int:
    """The process that answers it, once that is in the middle of a query."""
    backend = int(session.ask("SELECT pg_backend_pid();"))
    running = f"SELECT count(*) FROM pg_stat_activity WHERE pid = {backend} AND wait_event = 'PgSleep'"
    session.say("SELECT pg_sleep(60);")
    wait_until(lambda: postgres.psql(postgres.directory, postgres.port, running) == "1", 10, "its beginning")
    return backend


@pytest.mark.parametrize("way", ["tcp", "unix"])
@pytest_twisted.ensureDeferred
async def test_cancelling_a_query(postgres: Cluster, proxied: Proxied, way: str) -> None:
    """libpq asks for that on a second connection, to where the first one went: to us."""

    def cancel() -> str:
        with Session(postgres, proxied.host(way), proxied.pipe.port) as session:
            sleeping(postgres, session)
            session.process.send_signal(signal.SIGINT)
            return session.rest()

    assert "canceling statement due to user request" in await deferToThread(cancel)
    await deferToThread(proxied.check)


@pytest.mark.parametrize("way", ["tcp", "unix"])
@pytest_twisted.ensureDeferred
async def test_a_backend_that_is_ended(postgres: Cluster, proxied: Proxied, way: str) -> None:
    """Its last words arrive, and then its end."""

    def end() -> str:
        with Session(postgres, proxied.host(way), proxied.pipe.port) as session:
            backend = session.ask("SELECT pg_backend_pid();")
            postgres.psql(postgres.directory, postgres.port, f"SELECT pg_terminate_backend({backend})")
            session.say("SELECT 1;")
            return session.rest()

    said = await deferToThread(end)
    assert "terminating connection due to administrator command" in said
    assert "server closed the connection unexpectedly" in said
    await deferToThread(proxied.check)


@pytest.mark.parametrize("way", ["tcp", "unix"])
@pytest_twisted.ensureDeferred
async def test_a_backend_that_is_killed(postgres: Cluster, proxied: Proxied, way: str) -> None:
    """In the middle of a query: its client is told at once, and when the database is back, so are all others."""
    seen: list[str] = []

    def kill() -> None:
        with Session(postgres, proxied.host(way), proxied.pipe.port) as session:
            os.kill(sleeping(postgres, session), signal.SIGKILL)
            seen.append(session.rest())
        wait_until(
            lambda: answers(lambda: postgres.psql(proxied.host(way), proxied.pipe.port, "SELECT 7")), 20, "its return"
        )

    await deferToThread(kill)
    assert "server closed the connection unexpectedly" in seen[0]
    await deferToThread(proxied.check)


def answers(ask: Callable[[], str]) -> bool:
    try:
        return ask() == "7"
    except AssertionError:  # it recovers
        return False


@pytest_twisted.ensureDeferred
async def test_the_socket_is_its_owner_s(proxied: Proxied) -> None:
    """C{mode}."""
    assert proxied.socket.stat().st_mode & 0o777 == 0o600
