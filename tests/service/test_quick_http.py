"""C{--protocol http}: what the other options mean then."""

from __future__ import annotations

import os

from tests.service.test_options import OptionsCase
from twisted_pipe.limits import KIB, MIB
from twisted_pipe.proxies.http_settings import HttpSettings, ProxyTo
from twisted_pipe.service.http_server import HttpServer

HTTP = ("--protocol", "http", "--listen", "tcp:8080")
PLACES = (*HTTP, "--upstream", "http://127.0.0.1:9000")


class QuickHttpTests(OptionsCase):
    def http(self, *arguments: str, places: tuple[str, ...] = PLACES) -> HttpServer:
        (server,) = self.configured(*arguments, places=places).servers
        assert isinstance(server, HttpServer)
        return server

    def found(self, *arguments: str, places: tuple[str, ...] = PLACES) -> HttpSettings:
        """The settings of its route."""
        route, _ = self.http(*arguments, places=places).sites.find(b"").routes.find(b"/any")
        assert route is not None
        return route.settings

    def servers(self, *upstreams: str) -> list[str]:
        places = (*HTTP, *(word for upstream in upstreams for word in ("--upstream", upstream)))
        configuration = self.configured(places=places)
        (server,) = configuration.servers
        assert isinstance(server, HttpServer)
        route, _ = server.sites.find(b"any").routes.find(b"/any")
        assert route is not None and isinstance(route.action, ProxyTo)
        self.assertIsNone(route.action.uri)
        self.assertEqual(configuration.upstreams, (route.action.upstream,))
        return [each.name for each in route.action.upstream.group.servers]

    def test_upstreams(self) -> None:
        for text, name in (
            ("http://127.0.0.1:9000", "127.0.0.1:9000"),
            ("http://127.0.0.1:9000/", "127.0.0.1:9000"),
            ("http://example.org", "example.org:80"),
            ("127.0.0.1:9000", "127.0.0.1:9000"),
            ("unix:/run/app.sock", "unix:/run/app.sock"),
            ("http://unix:/run/app.sock", "unix:/run/app.sock"),
            ("9000", "9000"),
            ("https://example.org", "example.org:443"),
        ):
            self.assertEqual(self.servers(text), [name])
        self.assertEqual(self.servers("http://a:1", "http://b"), ["a:1", "b:80"])

    def test_upstreams_that_cannot_be(self) -> None:
        for text, line in (
            ("ftp://a:1", "must be http:// or https://HOST:PORT/URI, "),
            ("http://a:1/x", "must have no path: what replaces one is said in a file (--config)"),
            ("http://a:99999", "99999 is no port; "),
        ):
            said = self.refused(places=(*HTTP, "--upstream", text))
            self.assertTrue(said.startswith("--upstream: "), said)
            self.assertIn(line, said)

    def test_defaults(self) -> None:
        """Those of a configuration file."""
        found = self.found()
        self.assertEqual(found, HttpSettings(request_limits=found.request_limits, logs=()))
        self.assertEqual(found.limits.read_timeout, 60)
        server = self.http()
        self.assertEqual((server.logs, server.client.lingering_timeout, server.spills), ((), 5, True))

    def test_settings(self) -> None:
        found = self.found(
            *("--buffers", "4 8k", "--limit-rate", "1m", "--upload-rate", "64k", "--read-timeout", "0"),
            *("--send-timeout", "7", "--connect-timeout", "1", "--filter", "upper", "--request-filter", "hexdump"),
        )
        self.assertEqual((found.limits.buffers, found.limits.buffer_size, found.limits.limit_rate), (4, 8 * KIB, MIB))
        self.assertEqual((found.limits.read_timeout, found.limits.send_timeout, found.send_timeout), (0, 7, 7))
        self.assertEqual((found.connect_timeout, found.request_limits.limit_rate), (1, 64 * KIB))
        self.assertEqual([each.factory.name for each in found.response_filters], ["upper"])
        self.assertEqual([each.factory.name for each in found.request_filters], ["hexdump"])
        self.assertEqual(self.http("--lingering-timeout", "1").client.lingering_timeout, 1)
        self.assertFalse(self.http("--max-temp-file-size", "0").spills)

    def test_access_log(self) -> None:
        path = os.path.abspath(self.mktemp())
        for value, paths in (("off", []), ("on", ["stdout"]), ("-", ["-"]), ("stderr", ["stderr"]), (path, [path])):
            logs = self.http("--access-log", value).logs
            self.assertEqual([(each.path, each.form.text) for each in logs], [(each, "combined") for each in paths])
            self.assertEqual(bool(self.found("--access-log", value).logs), bool(paths))
        self.assertFalse(os.path.exists(path))
        self.assertEqual(
            self.refused("--access-log", "/no/such/log", places=PLACES),
            "--access-log: '/no/such/log': must be in a directory that exists",
        )

    def test_what_means_nothing(self) -> None:
        self.assertEqual(
            self.refused("--idle-timeout", "10m", places=PLACES),
            "--idle-timeout: '10m': must be left out: it is for tcp; http has --read-timeout",
        )
        self.assertEqual(
            self.refused("--demo", places=("--protocol", "http")),
            "--protocol: 'http': must be left out: the demo looks at what TCP carries",
        )

    def test_bounds_that_do_not_fit(self) -> None:
        self.assertEqual(
            self.refused("--busy-size", "1k", places=PLACES),
            "--busy-size: '1k': must be at least one buffer (32768 bytes)",
        )

    def test_says_what_it_does(self) -> None:
        configuration = self.configured("--upstream", "b:1", places=PLACES)
        (server,) = configuration.servers
        said = server.describe(configuration.spill)
        self.assertEqual(
            said, f"passes http on to 127.0.0.1:9000, b:1 by round-robin; spill in {configuration.spill.path}"
        )
