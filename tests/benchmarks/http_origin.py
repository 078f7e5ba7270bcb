"""
The origin that HTTP proxies are measured in front of: nginx, one worker, which keeps every connection.

A path is a file's size: C{/1k} to C{/1g}, in memory; the large ones are holes. C{/taken} takes a request's body to its last byte
before it answers with the number of bytes that the request had, head included. (C{return} by itself answers when it has the head,
and a proxy that is answered before it has sent everything closes the connection.)
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from commands import program
from stalled import running

__all__ = ["KIB", "MIB", "TAKEN", "serving_http", "sized"]

KIB, MIB = 1024, 1024 * 1024
TAKEN = "/taken"
#: Files up to this size are random bytes, so that what a proxy passes on can be compared.
_RANDOM = MIB
_SIZES = {"1k": KIB, "64k": 64 * KIB, "1m": MIB, "100m": 100 * MIB, "256m": 256 * MIB, "1g": 1024 * MIB}

_NGINX = """
daemon off; worker_processes 1; pid {scratch}/nginx.pid; error_log {scratch}/error.log crit;
events {{ worker_connections 4096; }}
http {{
    access_log off; sendfile on; tcp_nodelay on; default_type application/octet-stream;
    keepalive_timeout 1h; keepalive_requests 1000000000; open_file_cache max=100; open_file_cache_valid 1h;
    client_max_body_size 2m; client_body_buffer_size 2m;
    client_body_temp_path {scratch}/body; proxy_temp_path {scratch}/proxy;
    fastcgi_temp_path {scratch}/fastcgi; uwsgi_temp_path {scratch}/uwsgi; scgi_temp_path {scratch}/scgi;
    upstream counted {{ server unix:{scratch}/counted; keepalive 64; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096; root {files};
        location = /taken {{
            proxy_pass http://counted; proxy_http_version 1.1; proxy_method GET; proxy_pass_request_body off;
            proxy_set_header Connection ""; proxy_set_header Content-Length ""; proxy_set_header X-Taken $request_length;
        }}
    }}
    server {{ listen unix:{scratch}/counted; location / {{ return 200 $http_x_taken; }} }}
}}
"""


def sized(size: int) -> str:
    """
    The path of a file.

    @param size: in bytes, one of those that there are.
    """
    return next(f"/{name}" for name, each in _SIZES.items() if each == size)


@contextmanager
def serving_http() -> Iterator[int]:
    """The port of the origin, while it runs."""
    nginx = program("nginx")
    if nginx is None or program("wrk") is None:
        raise SystemExit("HTTP is measured in front of nginx, by wrk: apt-get install nginx-full wrk")
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=memory) as directory:
        os.chmod(directory, 0o755)  # nginx's worker is another user
        files = Path(directory)
        _write(files)

        def command(port: int, upstream: int, scratch: Path) -> list[str]:
            config = scratch / "nginx.conf"
            config.write_text(_NGINX.format(port=port, scratch=scratch, files=files))
            return [nginx, "-c", str(config)]

        with running(command, 0) as (_, port):
            yield port


def _write(files: Path) -> None:
    for name, size in _SIZES.items():
        with (files / name).open("wb") as file:
            if size <= _RANDOM:
                file.write(random.Random(size).randbytes(size))
            else:
                file.truncate(size)
