"""Files that are right: the issue's and the reference's, and what the process does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.net.fakes import Engine
from tests.service.config.case import ROUTE, SERVER, ConfigCase
from twisted_pipe.limits import GIB, KIB, MIB
from twisted_pipe.net.spillfile import default_temp_path
from twisted_pipe.proxies.http_settings import ProxyTo
from twisted_pipe.proxies.settings import ProxySettings
from twisted_pipe.service.config.stream_servers import STREAM_LIMITS
from twisted_pipe.service.http_server import HttpServer
from twisted_pipe.service.stream_server import StreamServer

#: What the project's plan asks for, with the upstream it names.
EXAMPLE = """
[upstreams.app]
keepalive = 32
servers = [{ address = "127.0.0.1:9000", weight = 2 }, { address = "unix:/run/app.sock" }]

[[servers]]
listen = ["tcp:8080"]
names = ["example.test", "*.example.test"]
[[servers.routes]]
prefix = "/"
proxy = "app"
buffers = "8 16k"
max_temp_file_size = "1g"
filters = ["gzip:level=6"]

[[servers]]
listen = ["tcp:5433"]
protocol = "tcp"
proxy = "db"

[upstreams.db]
servers = ["127.0.0.1:5432"]
"""


class ExampleTests(ConfigCase):
    def test_of_the_plan(self) -> None:
        http, stream = self.configured(EXAMPLE).servers
        assert isinstance(http, HttpServer) and isinstance(stream, StreamServer)
        route, _ = http.sites.find(b"www.example.test").routes.find(b"/x")
        assert route is not None and isinstance(route.action, ProxyTo)
        limits = route.settings.limits
        self.assertEqual((limits.buffers, limits.buffer_size, limits.max_temp_file_size), (8, 16 * KIB, GIB))
        self.assertEqual([each.factory.name for each in route.settings.response_filters], ["gzip"])
        upstream = route.action.upstream
        self.assertEqual(
            [upstream.group.pick().name for _ in range(3)], ["127.0.0.1:9000", "unix:/run/app.sock", "127.0.0.1:9000"]
        )
        assert stream.group is not None
        self.assertEqual([each.name for each in stream.group.servers], ["127.0.0.1:5432"])
        self.assertEqual([each.text for each in stream.listeners], ["tcp:5433"])

    def test_of_the_plan_as_it_stands(self) -> None:
        """It names an upstream that it does not have."""
        (line,) = self.mistakes(EXAMPLE.partition("[upstreams.db]")[0])
        self.assertTrue(line.startswith("servers[1].proxy: 'db': no such upstream. Known: app; or an address: "), line)

    def test_of_the_reference(self) -> None:
        text = (Path(__file__).parents[3] / "docs" / "reference" / "pipe.toml").read_text()
        http, stream = self.configured(text.replace("/run/pipe.pid", "pipe.pid")).servers
        assert isinstance(http, HttpServer)
        self.assertEqual([http.sites.find(host).name for host in (b"example.test", b"other")], ["example.test", ""])
        self.assertEqual(stream.settings.idle_timeout, 3600)  # type: ignore[attr-defined]


class ProcessTests(ConfigCase):
    def test_defaults(self) -> None:
        found = self.configured(SERVER + ROUTE)
        self.assertEqual((found.pid_file, found.worker_connections, found.debug_events), (None, 0, False))
        self.assertEqual((found.spill.path, found.spill.quota.limit), (default_temp_path(), 0))
        assert found.spill.threads is not None
        self.assertEqual(found.spill.threads.count, 2)

    def test_paths_are_relative_to_the_file(self) -> None:
        os.mkdir(self.path("spill"))
        found = self.configured('temp_path = "spill"\npid_file = "a.pid"\n' + SERVER + ROUTE)
        self.assertEqual(found.spill.path, self.path("spill"))
        assert found.pid_file is not None
        self.assertEqual(found.pid_file.path, self.path("a.pid"))
        self.assertEqual(found.pid_file.option, f"{self.path('pipe.toml')}: pid_file")

    def test_absolute_paths(self) -> None:
        self.assertEqual(self.configured('temp_path = "/tmp"\n' + SERVER + ROUTE).spill.path, "/tmp")

    def test_disk(self) -> None:
        found = self.configured('spill_quota = "1g"\ntemp_file_threads = 0\n' + SERVER + ROUTE).spill
        assert found.threads is not None
        self.assertEqual((found.quota.limit, found.threads.count), (GIB, 0))

    def test_worker_connections(self) -> None:
        self.reactor = Engine(self).reactor
        self.assertEqual(self.configured("worker_connections = 100\n" + SERVER + ROUTE).worker_connections, 100)

    def test_nothing_is_opened(self) -> None:
        self.configured('pid_file = "a.pid"\n' + SERVER + 'access_log = "a.log"\n' + ROUTE)
        self.assertEqual(os.listdir(self.folder), ["pipe.toml"])
        self.assertEqual(self.reactor.tcpServers, [])

    def test_listeners_say_where_they_stand(self) -> None:
        (server,) = self.configured('[[servers]]\nlisten = ["tcp:1", "tcp:2"]\n' + ROUTE).servers
        self.assertEqual(
            [each.option for each in server.listeners],
            [f"{self.path('pipe.toml')}: servers[0].listen[{place}]" for place in (0, 1)],
        )


class StreamTests(ConfigCase):
    SERVER = '[[servers]]\nlisten = "tcp:1"\nprotocol = "tcp"\nproxy = "a:1"\n'

    def test_defaults(self) -> None:
        """Those of the command line."""
        self.assertEqual(self.stream(self.SERVER).settings, ProxySettings(limits=STREAM_LIMITS))

    def test_settings(self) -> None:
        text = (
            'buffers = "4 8k"\nlimit_rate = "1m"\nupload_rate = "64k"\nread_timeout = 1\nsend_timeout = 2\n'
            'idle_timeout = 3\nlingering_timeout = 4\nconnect_timeout = 5\nlog_sessions = true\nfilters = "upper"\n'
            'request_filters = ["hexdump"]\n'
        )
        for server in (self.SERVER + text, f"[defaults.tcp]\n{text}{self.SERVER}"):
            found = self.stream(server).settings
            limits = found.limits
            self.assertEqual((limits.buffers, limits.buffer_size, limits.limit_rate), (4, 8 * KIB, MIB))
            self.assertEqual((limits.read_timeout, limits.send_timeout, found.upload_rate), (1, 2, 64 * KIB))
            self.assertEqual((found.idle_timeout, found.lingering_timeout, found.connect_timeout), (3, 4, 5))
            self.assertTrue(found.access_log)
            self.assertEqual([each.name for each in found.response_filters], ["upper"])
            self.assertEqual([each.name for each in found.request_filters], ["hexdump"])

    def test_defaults_of_http_are_not_for_tcp(self) -> None:
        found = self.stream("[defaults.http]\nread_timeout = 5\n" + self.SERVER)
        self.assertEqual(found.settings.limits.read_timeout, 0)

    def test_protocol(self) -> None:
        self.assertEqual(self.stream(self.SERVER).protocol.name, "tcp")
        for protocol, line in (
            ("htp", 'no such protocol; did you mean "http"? Known: http, tcp'),
            ("tcp:x=1", "x: '1': no such option. Options: none"),
        ):
            (found,) = self.mistakes(self.SERVER.replace('protocol = "tcp"', f'protocol = "{protocol}"'))
            self.assertTrue(found.startswith("servers[0].protocol: "), found)
            self.assertTrue(found.endswith(line), found)

    def test_proxy(self) -> None:
        (line,) = self.mistakes(self.SERVER.replace('"a:1"', '"http://a:1"'))
        self.assertTrue(line.startswith("servers[0].proxy: 'http://a:1': "), line)
        (line,) = self.mistakes(self.SERVER.replace('proxy = "a:1"\n', ""))
        self.assertTrue(line.startswith("servers[0].proxy: missing: must say where to pass them on to"), line)

    def test_endpoints_leave_the_timeout_to_us(self) -> None:
        group: Any = self.stream(self.SERVER + "connect_timeout = '5m'\n").group
        self.assertNoResult(group.pick().server.endpoint.connect(None))
