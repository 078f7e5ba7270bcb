"""What a service tells of itself: of each server, group, name and health check."""

from __future__ import annotations

from twisted.internet.testing import MemoryReactorClock

from tests.service.config.case import ConfigCase
from tests.upstream.resolving import FakeResolver
from twisted_pipe.service.pipe_service import PipeService
from twisted_pipe.service.statistics import GroupStatistics
from twisted_pipe.upstream.name_watch import NameState
from twisted_pipe.upstream.static_resolver import StaticResolver

TEXT = """
[upstreams.app]
servers = ["app.test:80", "192.0.2.1:80"]
resolve = "static"
health = "tcp"

[upstreams.plain]
servers = ["192.0.2.2:80"]

[upstreams.unused]
servers = ["192.0.2.3:80"]
health = "tcp"

[[servers]]
listen = "tcp:1"

[[servers.routes]]
prefix = "/"
proxy = "app"

[[servers]]
listen = "tcp:2"
protocol = "tcp"
proxy = "plain"
"""


class StatisticsTests(ConfigCase):
    def setUp(self) -> None:
        super().setUp()
        self.reactor = MemoryReactorClock()
        self.resolver = FakeResolver()
        self.patch(StaticResolver, "resolve", lambda _, address: self.resolver.resolve(address))
        self.service = PipeService(self.configured(TEXT), self.reactor)
        self.addCleanup(self.service.stopService)

    def groups(self) -> dict[str, GroupStatistics]:
        return {each.group.name: each for each in self.service.statistics().groups}

    def test_servers_in_their_order(self) -> None:
        http, tcp = self.service.statistics().servers
        self.assertEqual((type(http).__name__, type(tcp).__name__), ("HttpProxyStatistics", "TcpProxyStatistics"))

    def test_every_group_even_one_that_is_only_checked(self) -> None:
        groups = self.groups()
        self.assertEqual(set(groups), {"app", "plain", "unused"})
        self.assertEqual(groups["plain"].connections, None)
        self.assertEqual((groups["plain"].names, groups["plain"].checks), ((), ()))
        connections = groups["app"].connections
        assert connections is not None
        self.assertEqual(connections.opened, 0)

    def test_names_and_checks_of_a_group(self) -> None:
        self.service.startService()
        self.resolver.answer("10.0.0.1:80", "10.0.0.2:80")
        app = self.groups()["app"]
        (name,) = app.names
        self.assertEqual((name.address, name.state, name.lookups), ("app.test:80", NameState.KNOWN, 1))
        servers = ["10.0.0.1:80", "10.0.0.2:80", "192.0.2.1:80"]
        self.assertEqual([each.name for each in app.group.peers], servers)
        self.assertEqual([(each.server, each.healthy) for each in app.checks], [(each, True) for each in servers])
