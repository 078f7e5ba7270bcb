"""
The HTTP reverse proxies that are measured: one process each, kept alive on both sides, a line of access log for each request.

nginx is there twice: with the buffers it has by default (8 of 4 KiB for a response, 16 KiB for a request's body, which otherwise
goes to a file), and with as much memory as ours has by default.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs
from certificate import write_certificate
from commands import HERE, QUIETLY, TWISTD, program
from peers import Peer
from stalled import running

__all__ = [
    "AIOHTTP",
    "HAPROXY",
    "NGINX",
    "NGINX_BUFFERS",
    "NGINX_TLS",
    "PIPE",
    "PIPE_TLS",
    "REVERSE_PROXY",
    "Proxy",
    "started",
]

NGINX = Peer("nginx", "nginx", "nginx")
NGINX_BUFFERS = Peer("nginx, 8 32k", "nginx+buffers", "nginx")
HAPROXY = Peer("HAProxy", "haproxy", "haproxy")
PIPE = Peer("twistd pipe", "pipe")
AIOHTTP = Peer("aiohttp + uvloop", "aiohttp", "py:aiohttp")
REVERSE_PROXY = Peer("ReverseProxyResource", "twisted")
#: TLS to clients, with the same certificate's kind and OpenSSL's own choice of a cipher.
NGINX_TLS = Peer("nginx, TLS", "nginx+tls", "nginx", tls=True)
PIPE_TLS = Peer("twistd pipe, TLS", "pipe+tls", tls=True)

#: The shell becomes the program (its process id stays), with these as its standard output and error.
_REDIRECTED = 'out=$1 said=$2; shift 2; exec "$@" >"$out" 2>"$said"'
#: Key and certificate, beside the log.
_PEM = "server.pem"
#: Seconds for the last lines of an access log to be written.
_FLUSHED = 5

_NGINX = """
daemon off; worker_processes 1; pid {scratch}/nginx.pid; error_log {scratch}/error.log crit;
events {{ worker_connections 4096; }}
http {{
    access_log {log} combined; sendfile on; tcp_nodelay on; {buffers}
    client_body_temp_path {scratch}/body; proxy_temp_path {scratch}/proxy;
    fastcgi_temp_path {scratch}/fastcgi; uwsgi_temp_path {scratch}/uwsgi; scgi_temp_path {scratch}/scgi;
    upstream origin {{ server 127.0.0.1:{upstream}; keepalive 64; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096 {ssl};
        location /websocket {{
            proxy_pass http://origin; proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
        location / {{
            proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
"""
_BUFFERS = "proxy_buffers 8 32k; proxy_buffer_size 32k; client_body_buffer_size 256k;"
_CERTIFICATE = "ssl_certificate {pem}; ssl_certificate_key {pem}; ssl_protocols TLSv1.2 TLSv1.3;"
_PIPE_TLS = """
temp_path = "{scratch}"
pid_file = "{scratch}/pipe.pid"
[defaults.http]
access_log = {{ path = "{log}", format = "combined" }}
[upstreams.origin]
servers = ["127.0.0.1:{upstream}"]
keepalive = 64
[[servers]]
listen = {{ address = "127.0.0.1:{port}", backlog = 4096 }}
tls = {{ certificate = "{pem}" }}
[[servers.routes]]
prefix = "/"
proxy = "origin"
"""
_HAPROXY = """
global
    nbthread 1
    maxconn 4000
    log stdout format raw local0 info
defaults
    mode http
    log global
    option httplog
    option forwardfor
    http-reuse always
    timeout connect 5s
    timeout client 10m
    timeout server 10m
listen bench
    bind 127.0.0.1:{port}
    server origin 127.0.0.1:{upstream}
"""


@attrs.frozen
class Proxy:
    """
    One that runs.

    @ivar pid: of its process.
    @ivar port: on which it listens, on 127.0.0.1.
    @ivar log: its access log.
    """

    pid: int
    port: int
    log: Path

    def check_log(self, requests: int) -> None:
        """
        Wait for the access log to have a line for each request, at least.

        @raise RuntimeError: it has not. What a proxy does not log it is not paid for.
        """
        deadline = time.monotonic() + _FLUSHED
        while (lines := self._lines()) < requests:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.log} has {lines} lines for {requests} requests")
            time.sleep(0.05)

    def _lines(self) -> int:
        return self.log.read_bytes().count(b"\n")


@contextmanager
def started(peer: Peer, upstream: int) -> Iterator[Proxy]:
    """
    A proxy, while it runs.

    @param upstream: the port of the origin.
    @raise RuntimeError: it did not start; with what it said on stderr.
    """
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory, ExitStack() as stack:
        os.chmod(directory, 0o755)  # nginx's worker is another user
        said, log = Path(directory, "stderr"), Path(directory, "access.log")
        if peer.tls:
            write_certificate(Path(directory, _PEM))

        def command(port: int, upstream: int, scratch: Path) -> list[str]:
            words = _COMMANDS[peer.kind](port, upstream, scratch, log)
            out = str(log) if peer is HAPROXY else "/dev/null"
            return ["sh", "-c", _REDIRECTED, "sh", out, str(said), *words]

        try:
            pid, port = stack.enter_context(running(command, upstream))
        except RuntimeError as error:
            complaint = said.read_text(errors="replace")[-1000:]
            raise RuntimeError(f"{peer.name} {error}\n{complaint}") from None
        yield Proxy(pid, port, log)


def _nginx(more: str, ssl: str = "") -> Callable[[int, int, Path, Path], list[str]]:
    def command(port: int, upstream: int, scratch: Path, log: Path) -> list[str]:
        config = scratch / "nginx.conf"
        pem = log.parent / _PEM
        config.write_text(
            _NGINX.format(port=port, upstream=upstream, scratch=scratch, log=log, buffers=more.format(pem=pem), ssl=ssl)
        )
        return [program("nginx") or "nginx", "-c", str(config)]

    return command


def _haproxy(port: int, upstream: int, scratch: Path, log: Path) -> list[str]:
    """Its log goes to its standard output: it writes none to a file by itself."""
    config = scratch / "haproxy.cfg"
    config.write_text(_HAPROXY.format(port=port, upstream=upstream))
    return [program("haproxy") or "haproxy", "-db", "-f", str(config)]


def _pipe(port: int, upstream: int, scratch: Path, log: Path) -> list[str]:
    where = ["--listen", f"tcp:{port}:interface=127.0.0.1:backlog=4096", "--upstream", f"http://127.0.0.1:{upstream}"]
    words = ["--protocol", "http", *where, "--access-log", str(log)]
    return [*TWISTD, "--reactor=epollet", *QUIETLY, "pipe", *words]


def _pipe_tls(port: int, upstream: int, scratch: Path, log: Path) -> list[str]:
    config = scratch / "pipe.toml"
    config.write_text(_PIPE_TLS.format(port=port, upstream=upstream, scratch=scratch, log=log, pem=log.parent / _PEM))
    return [*TWISTD, "--reactor=epollet", *QUIETLY, "pipe", "--config", str(config)]


def _web(framework: str) -> Callable[[int, int, Path, Path], list[str]]:
    def command(port: int, upstream: int, scratch: Path, log: Path) -> list[str]:
        return [sys.executable, str(HERE / "web_peers.py"), framework, str(port), str(upstream), str(log)]

    return command


#: kind of a peer -> what to start, from its port, that of the origin, a directory of its own, and its access log
_COMMANDS: dict[str, Callable[[int, int, Path, Path], list[str]]] = {
    "nginx": _nginx(""),
    "nginx+buffers": _nginx(_BUFFERS),
    "nginx+tls": _nginx(_CERTIFICATE, "ssl"),
    "haproxy": _haproxy,
    "pipe": _pipe,
    "pipe+tls": _pipe_tls,
    "aiohttp": _web("aiohttp"),
    "twisted": _web("twisted"),
}
