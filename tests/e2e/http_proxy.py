"""C{twisted-pipe --config} as an HTTP proxy in front of one server, and what a test asks of it when it is done."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
from configured import configured
from conftest import Running
from processes import all_read, anonymous_memory, cpu_seconds, nameless_files
from programs import free_port, wait_until

from twisted_pipe.net.splice import KEPT

#: C{/on/} reads ahead, of responses and of requests; C{/off/} does neither.
CONFIGURATION = """
temp_path = "{directory}/spill"

[upstreams.app]
servers = ["{origin}"]
{upstream}

[[servers]]
listen = ["127.0.0.1:{port}"]
access_log = [{{ path = "access.json", format = "json" }}, "access.log"]
client_max_body_size = 0
{settings}

[[servers.routes]]
prefix = "/"
proxy = "app"

[[servers.routes]]
prefix = "/off/"
proxy = "app"
buffering = false
request_buffering = false
{routes}
"""


@attrs.define
class HttpProxy:
    """
    @ivar pipe: the process.
    @ivar directory: where it works.
    @ivar origin: the port of the server behind it, 0 for none that is TCP.
    @ivar at_rest: descriptors that it has open when it has nothing to do, without connections to the server.
    """

    pipe: Running
    directory: Path
    origin: int
    at_rest: int = 0

    @property
    def port(self) -> int:
        return self.pipe.port

    @property
    def pid(self) -> int:
        return self.pipe.process.pid

    # logs

    def lines(self) -> list[dict[str, Any]]:
        """The access log."""
        whole, _, _ = (self.directory / "access.json").read_text().rpartition("\n")  # the rest is being written
        return [json.loads(line) for line in whole.splitlines()]

    def find_line(self, name: str, seconds: float = 10) -> dict[str, Any]:
        """The last line of the request with C{name=} this in its query; waits for it, C{seconds} at most."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = [line for line in self.lines() if f"name={name}&" in (line["uri"] or "") + "&"]
            return bool(found)

        wait_until(look, seconds, f"a log line of {name}")
        return found[-1]

    # what it holds

    def memory(self) -> int:
        return anonymous_memory(self.pid)

    def clients(self) -> int:
        """Connections of clients that are not closed."""
        inodes = {target[8:-1] for target in self._open_files() if target.startswith("socket:[")}
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        here = [row for row in rows if row[9] in inodes and int(row[1].rpartition(":")[2], 16) == self.port]
        return sum(row[3] != "0A" for row in here)  # 0A listens

    def _open_files(self) -> Iterator[str]:
        for fd in Path(f"/proc/{self.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                yield os.readlink(fd)

    def has_taken_all(self) -> bool:
        """Whether nothing of what the server has sent waits in the kernel."""
        return all_read(self.origin)

    def has_heard_all(self) -> bool:
        """The same of what clients have sent."""
        return all_read(self.port)

    def spill_files(self) -> int:
        """Bytes on disk."""
        return sum(nameless_files(self.pid))

    def left_behind(self) -> list[str]:
        """What is still there though nothing goes on; nothing, if all is well."""
        idle = self.pipe.connections_to(self.origin) if self.origin else 0
        more = self.pipe.descriptors() - idle - self.at_rest - 2 * KEPT
        found = {
            f"{self.clients()} connections of clients": self.clients(),
            f"{self.spill_files()} bytes on disk": nameless_files(self.pid),
            f"{os.listdir(self.directory / 'spill')} in the temp path": os.listdir(self.directory / "spill"),
            f"{more} descriptors": more > 0,
        }
        return [what for what, there in found.items() if there]

    def check_clean(self) -> None:
        """
        Once all clients are gone: nothing stays behind, nothing is computed, and nothing unforeseen happened.

        @raise AssertionError: else.
        """
        try:
            wait_until(lambda: not self.left_behind(), 10, "the end of everything")
        except AssertionError as error:
            raise AssertionError(f"left behind: {self.left_behind()}\n{self.pipe.log[-3000:]}") from error
        wait_until(self.rests, 2, "that it computes nothing, having nothing to do")
        self.check_alive()

    def rests(self) -> bool:
        """Whether it computes nothing for a moment. What the machine under ours takes counts as computing, so look twice."""
        before = cpu_seconds(self.pid)
        time.sleep(0.3)
        return cpu_seconds(self.pid) - before < 0.1

    def check_alive(self) -> None:
        assert self.pipe.process.poll() is None, self.pipe.log[-3000:]
        assert "Traceback" not in self.pipe.log, self.pipe.log[-5000:]
        assert "Unhandled" not in self.pipe.log, self.pipe.log[-5000:]


@contextmanager
def http_proxy(
    directory: Path, origin: int | str, settings: str = "", routes: str = "", upstream: str = "", reactor: str = ""
) -> Iterator[HttpProxy]:
    """
    @param origin: a port of this machine, or an address.
    @param settings: more lines of the server; C{routes} more routes; C{upstream} more lines of the upstream.
    @param reactor: of C{twistd}; else it is C{twisted-pipe}, on its own.
    """
    port = free_port()
    (directory / "spill").mkdir(parents=True)
    text = CONFIGURATION.format(
        directory=directory,
        origin=f"127.0.0.1:{origin}" if isinstance(origin, int) else origin,
        port=port,
        settings=settings,
        routes=routes,
        upstream=upstream,
    )
    with configured(directory, text, port, reactor) as running:
        yield HttpProxy(running, directory, origin if isinstance(origin, int) else 0, running.descriptors())
