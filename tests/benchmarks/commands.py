"""The command line and the configuration file of each program that is measured, by its kind; see L{command}."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import attrs
from usage import file_limit

__all__ = ["Place", "command", "program"]

HERE = Path(__file__).parent

NGINX = """
daemon off; worker_processes 1; pid {scratch}/nginx.pid; error_log {scratch}/error.log crit;
{module}
events {{ worker_connections 12000; }}
stream {{ access_log off; server {{ listen 127.0.0.1:{port} {ssl} backlog=4096; proxy_buffer_size 64k; tcp_nodelay on;
    {certificate}
    proxy_pass 127.0.0.1:{upstream}; }} }}
"""
PIPE_TLS = """
temp_path = "{scratch}"
pid_file = "{scratch}/pipe.pid"
[[servers]]
protocol = "tcp"
listen = {{ address = "127.0.0.1:{port}", backlog = 4096 }}
proxy = "127.0.0.1:{upstream}"
buffers = "8 64k"
tls = {{ certificate = "{pem}" }}
"""
HAPROXY = """
global
    nbthread 1
    maxconn {connections}
defaults
    mode tcp
    timeout connect 5s
    timeout client 1m
    timeout server 1m
listen bench
    bind 127.0.0.1:{port} {ssl}
    server one 127.0.0.1:{upstream}
"""
TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
QUIETLY = ["--pidfile=", "-n", "-l", "/dev/null"]


@attrs.frozen
class Place:
    """
    Where a program runs.

    @ivar port: on which it listens, on 127.0.0.1.
    @ivar upstream: the port it passes on to, if it is a proxy.
    @ivar scratch: an empty directory of its own.
    @ivar pem: key and certificate if it is to speak TLS to its clients, else None.
    """

    port: int
    upstream: int
    scratch: Path
    pem: Path | None


def program(name: str) -> str | None:
    """Where a program is; some are only where root looks."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def command(kind: str, place: Place) -> list[str]:
    """
    What to start.

    @param kind: C{nginx}, C{haproxy}, C{uvloop}, C{portforward}, C{pipe} or C{pipe+pass} (with that filter), which are
        proxies; C{echo-uvloop} or C{echo-REACTOR}, which are echo servers.
    """
    if kind == "nginx":
        return _nginx(place)
    if kind == "haproxy":
        return _haproxy(place)
    if kind == "uvloop":
        tls = [str(place.pem)] if place.pem else []
        return [sys.executable, str(HERE / "uvloop_peers.py"), str(place.port), str(place.upstream), *tls]
    if kind == "echo-uvloop":
        return [sys.executable, str(HERE / "uvloop_peers.py"), str(place.port), "0"]
    if kind.startswith("echo-"):
        return [sys.executable, str(HERE / "echo_server.py"), kind.partition("-")[2], str(place.port)]
    if kind == "portforward":
        to = ["--host", "127.0.0.1", "--dest_port", str(place.upstream)]
        return [*TWISTD, "--reactor=epoll", *QUIETLY, "portforward", "--port", _endpoint(place), *to]
    if kind == "pipe" and place.pem:
        return _configured(place)
    if kind in ("pipe", "pipe+pass"):
        to = ["--upstream", f"tcp:127.0.0.1:{place.upstream}", "--buffers", "8 64k"]
        filters = ["--filter", "pass"] if kind == "pipe+pass" else []
        return [*TWISTD, "--reactor=epollet", *QUIETLY, "pipe", "--listen", _endpoint(place), *to, *filters]
    raise ValueError(kind)


def _configured(place: Place) -> list[str]:
    """Ours with TLS, which only its configuration file knows to speak on its own sockets."""
    config = place.scratch / "pipe.toml"
    config.write_text(PIPE_TLS.format(port=place.port, upstream=place.upstream, scratch=place.scratch, pem=place.pem))
    return [*TWISTD, "--reactor=epollet", *QUIETLY, "pipe", "--config", str(config)]


def _endpoint(place: Place) -> str:
    """Twisted's word for where to listen."""
    kind, tls = ("ssl", f":privateKey={place.pem}:certKey={place.pem}") if place.pem else ("tcp", "")
    return f"{kind}:{place.port}{tls}:interface=127.0.0.1:backlog=4096"


def _nginx(place: Place) -> list[str]:
    config = place.scratch / "nginx.conf"
    module = next(iter(Path("/usr/lib/nginx/modules").glob("ngx_stream_module.so")), None)
    config.write_text(
        NGINX.format(
            port=place.port,
            upstream=place.upstream,
            scratch=place.scratch,
            module=f"load_module {module};" if module else "",
            ssl="ssl" if place.pem else "",
            certificate=f"ssl_certificate {place.pem}; ssl_certificate_key {place.pem};" if place.pem else "",
        )
    )
    return [program("nginx") or "nginx", "-c", str(config)]


def _haproxy(place: Place) -> list[str]:
    config = place.scratch / "haproxy.cfg"
    ssl = f"ssl crt {place.pem}" if place.pem else ""
    connections = min(4000, (file_limit() - 100) // 2)  # it will not start if it might run out of files
    config.write_text(HAPROXY.format(port=place.port, upstream=place.upstream, connections=connections, ssl=ssl))
    return [program("haproxy") or "haproxy", "-db", "-f", str(config)]
