"""
Three origins, one of which is killed and started again every second, under load: no idempotent request may fail, and of the others
no more than were under way at a server when it was killed.

C{TWISTED_PIPE_FLAPPING=60} is the long version: so many seconds.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
from http_proxy import http_proxy
from nginx import http_block, start_nginx
from programs import free_port, peer

SECONDS = int(os.environ.get("TWISTED_PIPE_FLAPPING", "10"))
GETS, POSTS = 16, 4  # connections of each kind
DOWN = 0.4  # seconds of each second that the killed one is not there

#: One process, so that killing it kills all of it. Its answers take a moment, so that some are always under way.
NGINX = "master_process off; " + http_block("""
    keepalive_requests 1000000;
    server { listen 127.0.0.1:PORT reuseport; location / { return 200 "PORT"; } }
""")
LUA = """
wrk.method = "{method}"
wrk.body = {body}
function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format('\\nsummary {{"requests": %d, "errors": %d, "statuses": %d}}\\n',
        summary.requests, e.connect + e.read + e.write + e.timeout, e.status))
end
"""


@attrs.define
class FlappingOrigin:
    """An nginx that can be killed."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        text = NGINX.replace("PORT", str(self.port))
        self.process = start_nginx(self.directory / str(self.port), text, self.port)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(60)


@contextmanager
def origins(directory: Path) -> Iterator[list[FlappingOrigin]]:
    found = [FlappingOrigin(directory, free_port()) for _ in range(3)]
    try:
        for each in found:
            each.start()
        yield found
    finally:
        for each in found:
            each.kill()


@contextmanager
def load(directory: Path, port: int, method: str, connections: int) -> Iterator[subprocess.Popen[str]]:
    """wrk, for as long as the origins flap."""
    script = directory / f"{method}.lua"
    script.write_text(LUA.format(method=method, body='"a=b"' if method == "POST" else "nil"))
    words = [peer("wrk"), "-t1", f"-c{connections}", f"-d{SECONDS}s", "--timeout=30s", "-s", str(script)]
    process = subprocess.Popen([*words, f"http://127.0.0.1:{port}/all/"], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait(60)


def summary(process: subprocess.Popen[str]) -> dict[str, int]:
    said, _ = process.communicate(timeout=120)
    line = next(line for line in said.splitlines() if line.startswith("summary "))
    found: dict[str, int] = json.loads(line.partition(" ")[2])
    return found


def flap(servers: list[FlappingOrigin], until: float) -> int:
    """Returns how many were killed."""
    for kills, server in enumerate(itertools.cycle(servers)):
        began = time.monotonic()
        if began + 1 > until:
            return kills
        server.kill()
        time.sleep(DOWN)
        server.start()
        time.sleep(max(began + 1 - time.monotonic(), 0))
    raise AssertionError


def test_flapping(tmp_path: Path) -> None:
    (tmp_path / "proxy").mkdir()
    with origins(tmp_path) as servers:
        more = "".join(f'"127.0.0.1:{each.port}", ' for each in servers[1:])
        routes = f'[upstreams.all]\nservers = ["127.0.0.1:{servers[0].port}", {more}]\n'
        routes += '[[servers.routes]]\nprefix = "/all/"\nproxy = "all"\n'
        with http_proxy(tmp_path / "proxy", servers[0].port, routes=routes) as proxy:
            with load(tmp_path, proxy.port, "GET", GETS) as gets, load(tmp_path, proxy.port, "POST", POSTS) as posts:
                kills = flap(servers, time.monotonic() + SECONDS)
                got, posted = summary(gets), summary(posts)
            proxy.check_alive()
            log = proxy.pipe.log
            retried = sum(line["retries"] > 0 for line in proxy.lines())
    print(f"{kills} kills, {retried} retries; GET {got}, POST {posted}")
    assert kills >= SECONDS // 2  # where an nginx takes long to start, there are fewer
    assert got["requests"] > 1000 * SECONDS / 10, got
    assert (got["errors"], got["statuses"]) == (0, 0), (got, log[-3000:])
    assert retried, "nothing was under way when a server was killed"
    assert posted["errors"] == 0, posted
    assert posted["statuses"] <= kills * POSTS, (posted, kills)
