"""An HTTP proxy in front of a scripted origin, and clients that know how to read: most tests of C{protocol = "http"} have these."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
from http_clients import FAST, Client, Pace, ScriptedOrigin
from http_proxy import HttpProxy, http_proxy

__all__ = ["HttpBench", "http_bench"]


@attrs.frozen
class HttpBench:
    """A proxy in front of an origin."""

    origin: ScriptedOrigin
    proxy: HttpProxy

    def client(self, pace: Pace = FAST) -> Client:
        return Client(self.proxy.port, pace)

    def connection_of(self, name: str) -> int:
        """The number of the upstream connection that carried a request."""
        number: int = self.origin.request(name)["connection"]
        return number

    def ping(self, name: str) -> int:
        """A small request of somebody else; the number of the upstream connection that carried it."""
        with self.client() as client:
            client.ask(f"/on/?size=1&name={name}")
            assert client.check_body(client.head()) == 1
        return self.connection_of(name)


@contextmanager
def http_bench(directory: Path, settings: str = "", routes: str = "", upstream: str = "") -> Iterator[HttpBench]:
    """
    @param routes: more of them, in which C{ORIGIN} stands for the origin's port; the others are those of L{http_proxy}.
    """
    origin = ScriptedOrigin.start()
    try:
        routes = routes.replace("ORIGIN", str(origin.port))
        with http_proxy(directory, origin.port, settings, routes, upstream) as proxy:
            yield HttpBench(origin, proxy)
    finally:
        origin.stop()
