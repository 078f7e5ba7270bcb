"""The programs that are measured, each behind the same front: started on loopback, stopped by its process id."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import attrs
from certificate import write_certificate
from commands import Place, command, program

__all__ = ["ECHO_PEERS", "FILTER_PEERS", "PROXY_PEERS", "TLS_PEERS", "Peer", "free_port", "started"]

#: Seconds in which a program has to accept its first connection, and then those in which it has to stop.
_START, _STOP = 15, 5


@attrs.frozen
class Peer:
    """
    @ivar name: for the table.
    @ivar kind: which program: see L{command}.
    @ivar needs: a program or C{py:module} it cannot do without.
    @ivar tls: whether it speaks TLS to its clients.
    """

    name: str
    kind: str
    needs: str = ""
    tls: bool = False

    @property
    def installed(self) -> bool:
        if self.tls and find_spec("trustme") is None:
            return False
        if self.needs.startswith("py:"):
            return find_spec(self.needs[3:]) is not None
        return not self.needs or program(self.needs) is not None


_NGINX = Peer("nginx stream", "nginx", "nginx")
_HAPROXY = Peer("HAProxy", "haproxy", "haproxy")
_PIPE = Peer("twistd pipe", "pipe")
_UVLOOP = Peer("uvloop", "uvloop", "py:uvloop")
_PORTFORWARD = Peer("portforward (epoll)", "portforward")

PROXY_PEERS = [_NGINX, _HAPROXY, _PIPE, _UVLOOP, _PORTFORWARD]
#: Ours with the filter that does nothing; the others, which have no filters, as they are.
FILTER_PEERS = [_NGINX, _HAPROXY, Peer("pipe --filter pass", "pipe+pass"), _UVLOOP, _PORTFORWARD]
TLS_PEERS = [attrs.evolve(peer, tls=True) for peer in (_NGINX, _HAPROXY, _PIPE, _UVLOOP)]
ECHO_PEERS = [
    Peer("epoll", "echo-epoll"),
    Peer("epollet", "echo-epollet"),
    Peer("asyncio+uvloop", "echo-uvloop", "py:uvloop"),
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def started(peer: Peer, upstream: int) -> Iterator[tuple[int, int]]:
    """
    Its process id and port, while it runs.

    @param upstream: the port that proxies pass on to.
    """
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)  # nginx's worker is another user
        scratch = Path(directory)
        pem = scratch / "server.pem" if peer.tls else None
        if pem is not None:
            write_certificate(pem)
        place = Place(free_port(), upstream, scratch, pem)
        words = command(peer.kind, place)
        said = scratch / "stderr"
        with said.open("wb") as errors:
            process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=errors, cwd=directory)
        try:
            if not _accepts(process, place.port):
                complaint = said.read_text(errors="replace")[-1000:]
                raise RuntimeError(f"{peer.name} did not start: {' '.join(words)}\n{complaint}")
            time.sleep(0.2)
            yield process.pid, place.port
        finally:
            process.terminate()
            try:
                process.wait(_STOP)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(_STOP)


def _accepts(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the process accepts connections. False if it has ended, or does not in time."""
    deadline = time.monotonic() + _START
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.05)
    return False
