"""The cases of PostgreSQL, with its own load tool: directly, and through each proxy."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from cases import Case
from measure import Measured
from peers import PROXY_PEERS, Peer, free_port, started

sys.path.append(str(Path(__file__).resolve().parent.parent / "e2e"))
from postgres_cluster import Cluster, cluster

__all__ = ["POSTGRES_CASES", "serving_postgres"]

#: The database without anything before it.
DIRECT = Peer("direct", "direct")
_PEERS = [DIRECT, *(peer for peer in PROXY_PEERS if peer.kind in ("nginx", "haproxy", "pipe"))]
_CLIENTS = 8
_SCALE = 5  # 100,000 accounts each

_running: list[Cluster] = []


@contextmanager
def serving_postgres() -> Iterator[int]:
    """The port of a database with C{pgbench}'s tables, while it runs."""
    with cluster(free_port()) as database:
        database.pgbench("127.0.0.1", database.port, "-i", "-q", "-s", str(_SCALE))
        _running.append(database)
        yield database.port


def _transactions(peer: Peer, upstream: int, seconds: float, *, options: tuple[str, ...]) -> Measured:
    """Microseconds for a transaction of all clients together."""
    (database,) = _running
    options = ("-n", "-c", str(_CLIENTS), "-j", "2", "-T", str(max(1, round(seconds))), *options)
    if peer is DIRECT:
        return _measured(database, upstream, options)
    with started(peer, upstream) as (_, port):
        return _measured(database, port, options)


def _measured(database: Cluster, port: int, options: tuple[str, ...]) -> Measured:
    done = database.pgbench("127.0.0.1", port, *options)
    assert done is not None and not done.failed, done
    return Measured(1e6 / done.rate)


def _case(name: str, *options: str) -> Case:
    return Case(
        title=f"PostgreSQL, pgbench, {name}, {_CLIENTS} clients, which share the machine with it",
        peers=_PEERS,
        unit="time, us a transaction",
        measure=partial(_transactions, options=options),
    )


POSTGRES_CASES: dict[str, Case] = {
    "select": _case("one SELECT", "-S"),
    "tpcb": _case("TPC-B: five statements and a COMMIT"),
    "connect": _case("one SELECT on a connection of its own", "-S", "-C"),
}
