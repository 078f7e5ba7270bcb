"""C{--config} and C{--test}: what is printed, with which status, and what else may be said beside them."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from twisted.internet.testing import MemoryReactorClock

from tests.net.fakes import Engine
from tests.service.config.case import ROUTE, SERVER, ConfigCase
from twisted_pipe.proxies.tcp import TcpProxyFactory
from twisted_pipe.service.configuration import PipeConfiguration
from twisted_pipe.service.maker import makeService
from twisted_pipe.service.options import PipeOptions
from twisted_pipe.service.pipe_service import PipeService
from twisted_pipe.service.refusal import one_line_errors


class ConfigOptionTests(ConfigCase):
    def options(self, text: str, *arguments: str) -> PipeOptions:
        options = PipeOptions()
        options.parseOptions(["--config", self.write(text), *arguments])
        return options

    def said(self, options: PipeOptions) -> tuple[Any, str]:
        """How the process ends: what is printed to stderr or the status, and what is printed to stdout."""
        stdout = io.StringIO()
        self.patch(sys, "stdout", stdout)
        with self.assertRaises(SystemExit) as caught:
            makeService(options)
        return caught.exception.code, stdout.getvalue()

    def test_service(self) -> None:
        self.assertIsInstance(makeService(self.options(SERVER + ROUTE)), PipeService)

    def test_right(self) -> None:
        options = self.options(SERVER + 'access_log = "a.log"\n' + ROUTE, "--test")
        self.assertEqual(self.said(options), (0, f"{self.path('pipe.toml')}: configuration is right\n"))
        self.assertEqual(os.listdir(self.folder), ["pipe.toml"])

    def test_wrong(self) -> None:
        """With and without --test: a line for each mistake, and no other word. A text as status is printed, and is status 1."""
        for arguments in ((), ("--test",)):
            code, stdout = self.said(self.options("x = 1\n" + SERVER + ROUTE.replace("9000", "x"), *arguments))
            first, second = code.splitlines()
            self.assertTrue(first.startswith(f"{self.path('pipe.toml')}: x: 1: no such key"), first)
            self.assertTrue(second.startswith(f"{self.path('pipe.toml')}: servers[0].routes[0].proxy: "), second)
            self.assertEqual(stdout, "")

    def test_a_protocol_that_cannot_be_built(self) -> None:
        """With and without --test, the same."""

        def fail(self: object, *arguments: object) -> None:
            raise LookupError("no model")

        self.patch(TcpProxyFactory, "__init__", fail)
        text = '[[servers]]\nlisten = "tcp:1"\nprotocol = "tcp"\nproxy = "127.0.0.1:2"\n'
        for arguments in ((), ("--test",)):
            code, stdout = self.said(self.options(text, *arguments))
            path = "twisted_pipe.proxies.tcp:TcpProxyFactory"
            self.assertEqual(code, f"twistd pipe: protocol tcp: {path!r}: cannot be built: LookupError: no model")
            self.assertEqual(stdout, "")

    def test_of_a_command_line(self) -> None:
        options = PipeOptions()
        options.parseOptions(["--listen", "1", "--upstream", "2", "--test"])
        self.assertEqual(self.said(options), (0, "command line: configuration is right\n"))

    def refused(self, *arguments: str) -> str:
        options = self.options(SERVER + ROUTE, *arguments)
        with self.assertRaises(SystemExit) as caught, one_line_errors():
            options.configuration(self.reactor)
        return str(caught.exception.code)

    def test_nothing_else_says_what_is_done(self) -> None:
        """Not even what is the default, or abbreviated."""
        for arguments, name, value in (
            (("--listen", "8080"), "--listen", "'8080'"),
            (("--upstream", "8080"), "--upstream", "'8080'"),
            (("--buffers=8 32k",), "--buffers", "'8 32k'"),
            (("--buffering", "on"), "--buffering", "'on'"),
            (("--max-temp", "1g"), "--max-temp-file-size", "'1g'"),
            (("--protocol", "http"), "--protocol", "'http'"),
            (("--demo",), "--demo", "1"),
        ):
            self.assertEqual(
                self.refused(*arguments),
                f"twistd pipe: {name}: {value}: must be left out: --config {self.path('pipe.toml')} says what is done",
            )

    def test_what_may_be_said_beside_it(self) -> None:
        reactor = Engine(self).reactor
        pid = self.path("other.pid")
        options = self.options('pid_file = "a.pid"\n' + SERVER + ROUTE, "--debug-events", "--pid-file", pid)
        found: PipeConfiguration = options.configuration(reactor)
        assert found.pid_file is not None
        self.assertEqual((found.debug_events, found.pid_file.path), (True, pid))
        self.assertIn("only epollet can", self.refused("--debug-events"))


class ManyServersTests(ConfigCase):
    TEXT = (
        '[[servers]]\nlisten = ["tcp:1", "tcp:2"]\naccess_log = "a.log"\n'
        + ROUTE
        + '[[servers]]\nlisten = "tcp:3"\nprotocol = "tcp"\nproxy = "a:1"\n[[servers]]\nlisten = "tcp:4"\n'
        + ROUTE
    )

    def service(self, text: str) -> PipeService:
        service = PipeService(self.configured(text), self.reactor)
        self.addCleanup(service.stopService)
        return service

    def test_each_has_its_protocol(self) -> None:
        service = self.service('pid_file = "a.pid"\n' + self.TEXT)
        self.assertFalse(os.path.exists(self.path("a.pid")))
        service.privilegedStartService()
        http, other, tcp = service.protocols
        self.assertEqual(
            [(each[0], each[1]) for each in self.reactor.tcpServers], [(1, http), (2, http), (4, other), (3, tcp)]
        )
        self.assertTrue(os.path.exists(self.path("a.pid")))
        self.assertEqual([each.active for each in service.statistics().servers], [0, 0, 0])

    def test_all_stop_together(self) -> None:
        service = self.service(self.TEXT)
        stopped: list[Any] = []
        for each in service.protocols:
            self.patch(each, "shutdown", lambda each=each: stopped.append(each))
        for upstream in service.configuration.upstreams:
            self.patch(upstream, "close", lambda upstream=upstream: stopped.append(upstream))
        service.privilegedStartService()
        service.startService()
        service.stopService()
        self.assertEqual(stopped, [*service.protocols, *service.configuration.upstreams])
        self.assertEqual(len(service.configuration.upstreams), 1)
        self.assertFalse(service.logs)

    def test_log_that_cannot_be_opened(self) -> None:
        """It was right when it was checked."""
        configuration = self.configured(self.TEXT)
        os.mkdir(self.path("a.log"))
        with self.assertRaises(SystemExit) as caught, one_line_errors():
            PipeService(configuration, MemoryReactorClock())
        self.assertEqual(
            caught.exception.code,
            f"twistd pipe: {self.path('pipe.toml')}: servers[0].access_log: {self.path('a.log')!r}: "
            "must be a file to append to: Is a directory",
        )
