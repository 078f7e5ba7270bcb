"""What the constructors of plugins raise is told as what is wrong with the file."""

from __future__ import annotations

import os
from typing import Any

from tests.service.config.case import ROUTE, SERVER, ConfigCase
from twisted_pipe.filters.messages.request_id import RequestId
from twisted_pipe.upstream.dns_resolver import DnsResolver
from twisted_pipe.upstream.least_connections import LeastConnections
from twisted_pipe.upstream.tcp_check import TcpCheck

GROUP = SERVER + ROUTE.replace("127.0.0.1:9000", "http://app") + '[upstreams.app]\nservers = "app.test:80"\n'


class ConstructorTests(ConfigCase):
    def fails(self, cls: type[Any]) -> None:
        def post_init(*_: object, **__: object) -> None:
            os.stat("/nowhere/at/all")

        self.patch(cls, "__init__", post_init)

    def test_each_names_its_key(self) -> None:
        said = "cannot be built: FileNotFoundError: [Errno 2] No such file or directory: '/nowhere/at/all'"
        for cls, text, key in (
            (RequestId, SERVER + 'message_filters = "request-id"\n' + ROUTE, "servers[0].message_filters"),
            (
                RequestId,
                SERVER + 'message_filters = [{ name = "request-id" }]\n' + ROUTE,
                "servers[0].message_filters[0]",
            ),
            (DnsResolver, GROUP + 'resolve = "dns"\n', "upstreams.app.resolve"),
            (LeastConnections, GROUP + 'balance = "least-connections"\n', "upstreams.app.balance"),
            (TcpCheck, GROUP + 'health = "tcp"\n', "upstreams.app.health"),
        ):
            self.fails(cls)
            (line,) = self.mistakes(text)
            self.assertTrue(line.startswith(f"{key}: "), line)
            self.assertIn(said, line)

    def test_of_a_check_that_needs_its_connections(self) -> None:
        """It is built without any when it is configured, which may go well."""
        made: Any = TcpCheck.__init__

        def init(self: TcpCheck, connect: Any, **options: Any) -> None:
            made(self, connect, **options)
            if connect is not None:
                raise OSError("no")

        self.patch(TcpCheck, "__init__", init)
        (line,) = self.mistakes(GROUP + 'health = "tcp"\n')
        self.assertTrue(line.startswith("upstreams.app.health: 'tcp': "), line)
        self.assertIn("cannot be built: OSError: no", line)
