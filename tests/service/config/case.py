"""What the tests of configuration files have in common."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.proxies.http_settings import ProxyTo, Route
from twisted_pipe.service.config.compile import compile_file
from twisted_pipe.service.config.problems import BadFile
from twisted_pipe.service.configuration import PipeConfiguration
from twisted_pipe.service.http_server import HttpServer
from twisted_pipe.service.stream_server import StreamServer

#: A server that is right; a test adds what it is about.
SERVER = """
[[servers]]
listen = "tcp:8080"
"""
ROUTE = """
[[servers.routes]]
prefix = "/"
proxy = "127.0.0.1:9000"
"""


class ConfigCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = os.path.abspath(self.mktemp())
        os.mkdir(self.folder)
        self.reactor: Any = MemoryReactorClock()

    def path(self, name: str) -> str:
        """Of a file beside the configuration."""
        return os.path.join(self.folder, name)

    def write(self, text: str | bytes, name: str = "pipe.toml") -> str:
        with open(self.path(name), "wb") as file:
            file.write(text.encode() if isinstance(text, str) else text)
        return self.path(name)

    def configured(self, text: str) -> PipeConfiguration:
        return compile_file(self.write(text), self.reactor)

    def mistakes(self, text: str | bytes) -> list[str]:
        """The lines, without the name of the file, which begins each."""
        path = self.write(text)
        error = self.assertRaises(BadFile, compile_file, path, self.reactor)
        for line in error.lines:
            self.assertTrue(line.startswith(f"{path}: "), line)
            self.assertNotIn("\n", line)
        return [line.removeprefix(f"{path}: ") for line in error.lines]

    def http(self, text: str) -> HttpServer:
        """The one server, which speaks http."""
        (server,) = self.configured(text).servers
        assert isinstance(server, HttpServer)
        return server

    def stream(self, text: str) -> StreamServer:
        """The one server, which does not."""
        (server,) = self.configured(text).servers
        assert isinstance(server, StreamServer)
        return server

    def route(self, text: str, path: bytes = b"/", host: bytes = b"") -> Route:
        """What is done with a request for C{path} at that server."""
        found, _ = self.http(text).sites.find(host).routes.find(path)
        assert found is not None
        return found

    def target(self, text: str, path: bytes = b"/") -> tuple[list[str], bytes | None]:
        """The servers it is passed on to, and what replaces the prefix."""
        action = self.route(text, path).action
        assert isinstance(action, ProxyTo)
        return [server.name for server in action.upstream.group.servers], action.uri
