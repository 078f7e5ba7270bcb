"""How an HTTP proxy is measured, once, in a process of its own: what it computes, whom it holds up, the memory it takes."""

from __future__ import annotations

import time

import attrs
from http_load import Load, Target, exchange, slow_clients, stalled_client, wrk
from http_origin import KIB, MIB, sized
from http_peers import Proxy, started
from measure import Measured
from peers import Peer
from stalled import Watch
from usage import cpu_seconds

__all__ = ["ALLOWED", "BEGINNING", "SLOW", "SLOW_SIZE", "STALLED", "beside_slow", "cpu", "memory"]

#: Seconds of work that do not count, before those that do.
_WARM = 0.3
_WARM_TLS = 1.0  # with handshakes
#: Clients that take slowly, bytes of what each asks for, and bytes a second that each takes.
SLOW, SLOW_SIZE, _SLOW_RATE = 16, 100 * MIB, 256 * KIB
#: Seconds that begin with the slow clients, in which a proxy may take from the origin all that they are slow to take.
BEGINNING = 3.0
#: It has done so when it computes less than this part of so many seconds; that is waited for so long, at most.
_REST_PART, _REST, _REST_LATEST = 0.1, 0.25, 20.0
#: What a stalled client asks for, what it takes of that, and the seconds that it stalls, in all of which memory is looked at.
STALLED, _TAKEN, _STALL = 1024 * MIB, MIB, 4.0
#: MiB that a stalled client may cost beyond the buffers that are configured for it.
ALLOWED = 4

_SMALL = Target(sized(KIB), KIB)


def cpu(peer: Peer, origin: int, seconds: float, *, target: Target) -> Measured:
    """CPU time for each request, in microseconds."""
    with started(peer, origin) as proxy:
        _check(proxy, origin, target)
        warm = wrk(proxy.port, target, _WARM_TLS if target.tls else _WARM)
        before = cpu_seconds(proxy.pid)
        load = wrk(proxy.port, target, seconds)
        used = cpu_seconds(proxy.pid) - before
        proxy.check_log(warm.requests + load.requests)
    return Measured(used / load.requests * 1e6)


def beside_slow(peer: Peer, origin: int, seconds: float, *, from_start: bool) -> Measured:
    """
    Microseconds in which one request of 1 KiB is served beside L{SLOW} slow clients; compared with the same alone.

    @param from_start: whether to measure the first L{BEGINNING} seconds of the slow clients. Else it is waited until the proxy
        has read ahead of them as far as it does.
    """

    def each(load: Load) -> float:
        return load.seconds / load.requests * 1e6

    with started(peer, origin) as proxy:
        _check(proxy, origin, _SMALL)
        wrk(proxy.port, _SMALL, _WARM)
        alone = wrk(proxy.port, _SMALL, seconds)
        with slow_clients(proxy.port, sized(SLOW_SIZE), SLOW, _SLOW_RATE):
            if not from_start:
                _await_rest(proxy.pid)
            beside = wrk(proxy.port, _SMALL, BEGINNING if from_start else seconds)
    return Measured(each(beside), each(alone))


def _await_rest(pid: int) -> None:
    """
    Wait until a process has next to nothing to do.

    @raise RuntimeError: it always has.
    """
    deadline = time.monotonic() + _REST_LATEST
    while time.monotonic() < deadline:
        before = cpu_seconds(pid)
        time.sleep(_REST)
        if cpu_seconds(pid) - before < _REST * _REST_PART:
            return
    raise RuntimeError(f"process {pid} is busy with {SLOW} slow clients after {_REST_LATEST:g} s")


def memory(peer: Peer, origin: int, seconds: float, *, size: int, buffers: float) -> Measured:
    """
    MiB of memory that a proxy takes more, at most, while a client stalls; compared with what it may: L{ALLOWED} and its buffers.

    @param size: bytes of the response.
    @param buffers: MiB that are configured for one response.
    """
    with started(peer, origin) as proxy:
        _check(proxy, origin, Target(sized(MIB), MIB))  # what any first request costs does not count
        watch = Watch(proxy.pid)
        try:
            with stalled_client(proxy.port, sized(size), _TAKEN):
                time.sleep(_STALL)
        finally:
            watch.stop()
    return Measured(watch.memory / 1024, ALLOWED + buffers)


def _check(proxy: Proxy, origin: int, target: Target) -> None:
    """
    It passes on what it should.

    @raise RuntimeError: a body is not the same at both ends.
    """
    body = exchange(proxy.port, target)
    whole = int(body) > target.posted if target.posted else body == exchange(origin, attrs.evolve(target, tls=False))
    if not whole:
        raise RuntimeError(f"{target.method} {target.path} is another through the proxy: {body[:100]!r}")
