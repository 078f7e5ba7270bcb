"""The cases of HTTP: what is measured, of whom, and what ours has to keep to."""

from __future__ import annotations

from functools import partial

from cases import Case
from http_load import Target
from http_measure import ALLOWED, BEGINNING, SLOW, SLOW_SIZE, STALLED, beside_slow, cpu, memory
from http_origin import KIB, MIB, TAKEN, sized
from http_peers import AIOHTTP, HAPROXY, NGINX, NGINX_BUFFERS, NGINX_TLS, PIPE, PIPE_TLS, REVERSE_PROXY
from measure import Measured
from outcome import Bar
from peers import Peer

__all__ = ["HTTP_CASES"]

_PEERS = [NGINX, NGINX_BUFFERS, HAPROXY, PIPE, AIOHTTP, REVERSE_PROXY]
_POSTED = 64 * KIB

#: What a peer's buffers for one response come to, in MiB, where it has any.
_RESPONSE_BUFFERS = {NGINX: 36 / 1024, PIPE: 256 / 1024}
#: It keeps in memory all that a client does not take, and more: it is asked for less, so that the machine survives.
_LESS = 256 * MIB
_ALLOWED = f"{ALLOWED} MiB and its buffers"
_ALONE = "itself alone"


def _get(size: int, name: str, *bars: Bar) -> Case:
    return Case(
        title=f"HTTP, GET {name}",
        peers=_PEERS,
        unit="CPU, us a request",
        measure=partial(cpu, target=Target(sized(size), size)),
        bars=list(bars),
    )


def _get_tls(size: int, name: str, *bars: Bar) -> Case:
    return Case(
        title=f"HTTPS, GET {name}",
        peers=[NGINX_TLS, PIPE_TLS],
        unit="CPU, us a request",
        measure=partial(cpu, target=Target(sized(size), size, tls=True)),
        bars=list(bars),
    )


def _slow(name: str, from_start: bool, *bars: Bar) -> Case:
    return Case(
        title=f"HTTP, GET 1 KiB beside {SLOW} slow clients of {SLOW_SIZE // MIB} MiB{name}",
        peers=[NGINX, HAPROXY, PIPE, AIOHTTP],
        unit="time, us a request; 1.25 x is 80 % of the rate",
        measure=partial(beside_slow, from_start=from_start),
        bars=list(bars),
        against=_ALONE,
    )


def _stalled(peer: Peer, origin: int, seconds: float) -> Measured:
    size = _LESS if peer is REVERSE_PROXY else STALLED
    return memory(peer, origin, seconds, size=size, buffers=_RESPONSE_BUFFERS.get(peer, 0))


HTTP_CASES: dict[str, Case] = {
    "1k": _get(
        KIB,
        "1 KiB",
        Bar(PIPE.name, 1.6, NGINX.name),
        Bar(PIPE.name, 0.333, AIOHTTP.name),
        Bar(PIPE.name, 0.1, REVERSE_PROXY.name),
    ),
    "64k": _get(64 * KIB, "64 KiB", Bar(PIPE.name, 0.6, NGINX.name)),
    "1m": _get(MIB, "1 MiB", Bar(PIPE.name, 0.4, NGINX.name)),
    "post": Case(
        title="HTTP, POST 64 KiB",
        peers=_PEERS,
        unit="CPU, us a request",
        measure=partial(cpu, target=Target(TAKEN, 1, posted=_POSTED)),
        bars=[Bar(PIPE.name, 1.2, NGINX.name)],
    ),
    "https": _get_tls(KIB, "1 KiB", Bar(PIPE_TLS.name, 2.5, NGINX_TLS.name)),
    "https-1m": _get_tls(MIB, "1 MiB", Bar(PIPE_TLS.name, 1.5, NGINX_TLS.name)),
    "slow": _slow("", False, Bar(PIPE.name, 1.25, _ALONE)),
    "slow-start": _slow(f", their first {BEGINNING:g} s", True),
    "stalled": Case(
        title=f"HTTP, memory for a stalled client of 1 GiB ({REVERSE_PROXY.name}: of {_LESS // MIB} MiB)",
        peers=[NGINX, PIPE, REVERSE_PROXY],
        unit="MiB",
        measure=_stalled,
        bars=[Bar(PIPE.name, 1, _ALLOWED)],
        against=_ALLOWED,
    ),
}
