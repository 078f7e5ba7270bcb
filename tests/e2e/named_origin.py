"""Web servers on several addresses of this machine, in threads of the test, each of which says which one it is."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from http_clients import PATIENCE, Client

__all__ = ["NamedOrigin", "ask", "named_origins", "share"]


class NamedOrigin:
    """
    Answers with its address. C{/healthz} is 200 or 503; C{/slow} waits for C{go_on} between the two halves of its body.

    @ivar host: the address it listens on; C{port} its port.
    @ivar healthy: what C{/healthz} says.
    @ivar requests: how many it got, without those of C{/healthz}; C{checks} of these.
    @ivar connections: how many are open now.
    @ivar go_on: set it to let C{/slow} end.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.healthy = True
        self.requests = self.checks = self.connections = 0
        self.go_on = threading.Event()
        self._server: ThreadingHTTPServer | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def start(self) -> None:
        origin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle(self) -> None:
                origin.connections += 1
                try:
                    super().handle()
                except ConnectionError:
                    pass
                finally:
                    origin.connections -= 1

            def do_GET(self) -> None:
                check = self.path == "/healthz"
                body = str(origin).encode()
                if check:
                    origin.checks += 1
                else:
                    origin.requests += 1
                self.send_response(503 if check and not origin.healthy else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[:4])
                if self.path == "/slow":
                    origin.go_on.wait(PATIENCE)
                self.wfile.write(body[4:])

            def log_message(self, format: str, *args: Any) -> None:
                pass

        server = self._server = ThreadingHTTPServer((self.host, self.port), Handler, bind_and_activate=False)
        server.daemon_threads = True
        server.block_on_close = False
        server.server_bind()
        server.server_activate()
        self.port = server.server_port
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """It takes no connections any more. Those that it has go on."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()


@contextmanager
def named_origins(count: int) -> Iterator[list[NamedOrigin]]:
    """On 127.0.0.1, 127.0.0.2 …, all on the same port."""
    origins = [NamedOrigin("127.0.0.1", 0)]
    try:
        origins[0].start()
        for number in range(2, count + 1):
            origins.append(NamedOrigin(f"127.0.0.{number}", origins[0].port))
            origins[-1].start()
        yield origins
    finally:
        for origin in origins:
            origin.stop()


def ask(port: int, path: str = "/on/") -> str:
    """The address of the server that answers, or the status if it is not 200."""
    with Client(port) as client:
        client.ask(path)
        head = client.head()
        body = client.body(head).decode()
        return body if head.status == 200 else str(head.status)


def share(port: int, count: int) -> Counter[str]:
    """Who answers so many requests, on one connection."""
    with Client(port) as client:
        answers = Counter[str]()
        for _ in range(count):
            client.ask("/on/")
            head = client.head()
            body = client.body(head).decode()
            answers[body if head.status == 200 else str(head.status)] += 1
        return answers
