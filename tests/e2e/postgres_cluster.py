"""
A PostgreSQL of our own: a new cluster in a directory that is removed afterwards, on a port and a UNIX socket. The end-to-end tests
and the benchmarks have it in common.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

__all__ = ["PROGRAMS", "Cluster", "Transactions", "cluster", "program"]

#: What it cannot do without.
PROGRAMS = ("initdb", "postgres", "pg_isready", "psql", "pgbench", "openssl")

#: PostgreSQL refuses to run as root.
ACCOUNT = "nobody"
SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{directory}'
fsync = off
shared_buffers = 32MB
max_connections = 50
logging_collector = off
ssl = on
ssl_cert_file = '{directory}/server.crt'
ssl_key_file = '{directory}/server.key'
"""


def program(name: str) -> str:
    """The path of one of its programs, some of which Debian puts where no PATH leads; the name alone if it is not installed."""
    own = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(own[-1]) if own else name


@attrs.frozen
class Transactions:
    """
    What C{pgbench} says.

    @ivar processed: how many it made.
    @ivar failed: how many came to nothing.
    @ivar rate: how many a second.
    """

    processed: int
    failed: int
    rate: float


@attrs.define
class Cluster:
    """
    @ivar directory: of its UNIX socket and all its files.
    @ivar port: on 127.0.0.1; it is in the name of the socket, too.
    """

    directory: Path
    port: int
    _process: Any = None

    @property
    def socket(self) -> Path:
        return self.directory / f".s.PGSQL.{self.port}"

    def create(self) -> None:
        """As a superuser C{tester}, who needs no password, with a certificate of its own."""
        data = self.directory / "data"
        self._run(
            program("initdb"), "-D", str(data), "-U", "tester", "-A", "trust", "--no-sync", "--locale=C", "-E", "UTF8"
        )
        with (data / "postgresql.conf").open("a") as file:
            file.write(SETTINGS.format(port=self.port, directory=self.directory))
        key, certificate = self.directory / "server.key", self.directory / "server.crt"
        new = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        self._run(program("openssl"), *new, "-keyout", str(key), "-out", str(certificate))

    def start(self) -> None:
        log = (self.directory / "postgres.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [program("postgres"), "-D", str(self.directory / "data")], stdout=log, stderr=log, **self._account()
            )
        ready = [program("pg_isready"), "-q", "-h", str(self.directory), "-p", str(self.port)]
        patience = time.monotonic() + 120
        while subprocess.run(ready).returncode != 0:
            complaint = (self.directory / "postgres.log").read_text()
            assert self._process.poll() is None and time.monotonic() < patience, complaint
            time.sleep(0.05)

    def stop(self) -> None:
        """At once, without the peace of clients."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.directory, **self._account())
        assert done.returncode == 0, done.stdout + done.stderr

    def _account(self) -> dict[str, Any]:
        return {"user": ACCOUNT, "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}

    # its clients

    def psql(self, host: str | Path, port: int, query: str, tls: str = "disable", stdin: bytes | None = None) -> str:
        """
        What a query gives, without a frame.

        @param host: an address, or the directory of a UNIX socket.
        @param tls: libpq's C{sslmode}.
        @raise AssertionError: what C{psql} has to complain about.
        """
        words = [
            program("psql"),
            "-X",
            "-A",
            "-t",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            *self._where(host, port),
            "-c",
            query,
        ]
        done = subprocess.run(words, capture_output=True, input=stdin, timeout=60, env=self._environment(tls))
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().rstrip("\n")

    def pgbench(self, host: str | Path, port: int, *options: str, tls: str = "disable") -> Transactions | None:
        """
        Its own load tool; with C{-i} it makes its tables, and returns None.

        @raise AssertionError: it complains.
        """
        words = [program("pgbench"), *self._where(host, port), *options]
        done = subprocess.run(words, capture_output=True, text=True, timeout=90, env=self._environment(tls))
        assert done.returncode == 0, done.stdout + done.stderr
        if "-i" in options:
            return None
        assert "ERROR" not in done.stderr and "FATAL" not in done.stderr and "aborted" not in done.stderr, done.stderr
        processed = re.search(r"actually processed: (\d+)", done.stdout)
        failed = re.search(r"number of failed transactions: (\d+)", done.stdout)
        rate = re.search(r"^tps = ([\d.]+)", done.stdout, re.MULTILINE)
        assert processed and rate, done.stdout
        return Transactions(int(processed[1]), int(failed[1]) if failed else 0, float(rate[1]))

    def _where(self, host: str | Path, port: int) -> list[str]:
        return ["-h", str(host), "-p", str(port), "-U", "tester", "-d", "postgres"]

    def _environment(self, tls: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return {**kept, "PGSSLMODE": tls, "PGCONNECT_TIMEOUT": "10", "HOME": str(self.directory)}


@contextmanager
def cluster(port: int) -> Iterator[Cluster]:
    """A running one."""
    # below pytest's own directories nobody but their owner may go
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp") as directory:
        os.chmod(directory, 0o755)
        if os.getuid() == 0:
            shutil.chown(directory, ACCOUNT, "nogroup")
        made = Cluster(Path(directory), port)
        try:
            made.create()
            made.start()
            yield made
        finally:
            made.stop()
