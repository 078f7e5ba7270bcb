"""C{resolve} and C{health} of an upstream: what is made of them, and what is said of mistakes."""

from __future__ import annotations

from typing import Any

from tests.service.config.case import ConfigCase
from twisted_pipe.proxies.check_stream import CheckConnector
from twisted_pipe.service.config.background import name_of
from twisted_pipe.upstream.dns_resolver import DnsResolver
from twisted_pipe.upstream.group_names import GroupNames
from twisted_pipe.upstream.health_check import CheckSchedule
from twisted_pipe.upstream.health_checks import HealthChecks
from twisted_pipe.upstream.http_check import HttpCheck
from twisted_pipe.upstream.nameservers import Nameserver
from twisted_pipe.upstream.resolution import Bounds, FoundServer, Resolution

FILE = """
[[servers]]
listen = "tcp:8080"
[[servers.routes]]
prefix = "/"
proxy = "app"

[upstreams.app]
"""


class BackgroundCase(ConfigCase):
    def background(self, text: str) -> tuple[Any, ...]:
        """Of the upstream C{app}."""
        return self.configured(FILE + text).background

    def names(self, text: str) -> GroupNames:
        (names,) = self.background(text)
        assert isinstance(names, GroupNames)
        return names

    def checks(self, text: str) -> HealthChecks:
        (checks,) = self.background(text)
        assert isinstance(checks, HealthChecks)
        return checks


class ResolveTests(BackgroundCase):
    def test_none(self) -> None:
        """Without it the system is asked for each connection."""
        self.assertEqual(self.background('servers = "app.test:80"'), ())

    def test_text_or_table(self) -> None:
        for given in (
            "dns:nameserver=10.0.0.2#5353 10.0.0.3:valid=10s:family=ipv4",
            {"resolver": "dns", "nameserver": "10.0.0.2#5353, 10.0.0.3", "valid": 10, "family": "ipv4"},
        ):
            said = f'"{given}"' if isinstance(given, str) else _inline(given)
            (name,) = self.names(f'servers = "app.test:80"\nresolve = {said}').names
            resolver: Any = name._resolver
            self.assertIsInstance(resolver, DnsResolver)
            self.assertEqual(resolver.nameserver, (Nameserver("10.0.0.2", 5353), Nameserver("10.0.0.3")))
            self.assertEqual((name.address, name._bounds), ("app.test:80", Bounds(valid=10.0)))

    def found(self, text: str, *found: FoundServer) -> list[Any]:
        """The servers of the group when each name stands for these."""
        names = self.names(text)
        for name in names.names:
            name._asking = name._told  # type: ignore[assignment]
            name._told(Resolution(found, None))
        return list(names.group.servers)

    def test_servers_that_are_found_are_as_the_file_says_of_their_name(self) -> None:
        text = """
        servers = ["10.0.0.9:80", { address = "app.test:80", weight = 3, max_conns = 7, backup = false }]
        resolve = "dns"
        """
        fixed, first, second = self.found(text, FoundServer("10.0.0.1", 80), FoundServer("::1", 81, 5, True))
        self.assertEqual((fixed.name, fixed.host), ("10.0.0.9:80", ""))
        self.assertEqual((first.name, first.address, first.host), ("10.0.0.1:80", ("10.0.0.1", 80), "app.test"))
        self.assertEqual((second.name, second.address), ("[::1]:81", ("::1", 81, 0, 0)))
        self.assertEqual((first.weight, first.max_conns, first.backup), (3, 7, False))
        self.assertEqual((second.weight, second.max_conns, second.backup), (5, 7, True))

    def test_the_host_that_a_certificate_has_to_be_for(self) -> None:
        for address, host in (
            ("app.test:80", "app.test"),
            ("_http._tcp.app.test", "app.test"),
            ("app.service.consul", "app.service.consul"),
        ):
            self.assertEqual(name_of(address), host)

    def test_services(self) -> None:
        (name,) = self.names('servers = "_http._tcp.app.test"\nresolve = "srv"').names
        self.assertEqual(name.address, "_http._tcp.app.test")

    def test_mistakes(self) -> None:
        for text, line in (
            (
                'servers = "10.0.0.1:80"\nresolve = "dns"',
                "upstreams.app.resolve: 'dns': must be left out, or a server be given by name: there is none that it looks up; "
                "dns and static take HOST:PORT, srv names such as _http._tcp.example.org",
            ),
            (
                'servers = "app.test:80"\nresolve = "srv"',
                "upstreams.app.resolve: 'srv': must be left out, or a server be given by name: there is none that it looks up; ",
            ),
            (
                'servers = "app.test:80"\nresolve = "dsn"',
                "upstreams.app.resolve: 'dsn': no such resolver; did you mean \"dns\"? Known: dns, srv, static",
            ),
            (
                'servers = "app.test:80"\nresolve = "dns:valid=soon"',
                "upstreams.app.resolve: 'dns:valid=soon': dns: valid: 'soon': a time: a number of seconds, or with ms, "
                "s, m, h or d (250ms, 10m)",
            ),
            (
                'servers = "app.test:80"\nresolve = { resolver = "dns", min_valid = "2h" }',
                "upstreams.app.resolve.resolver: 'dns': max_valid: 3600.0: must be at least min_valid, 7200 s",
            ),
            (
                'servers = "app.test:80"\nresolve = { resolver = "dns", valld = 3 }',
                'upstreams.app.resolve.valld: 3: no such option; did you mean "valid"? Options: nameserver, family, '
                "valid, min_valid, max_valid, timeout, max_servers",
            ),
            (
                'servers = "app.test:80"\nresolve = { name = "dns" }',
                "upstreams.app.resolve.resolver: missing: must be the name of a resolver",
            ),
            (
                'servers = "app.test:80"\nresolve = 5',
                'upstreams.app.resolve: 5: must be "NAME[:key=value...]" or a table with resolver = "NAME"',
            ),
            (
                'servers = "app.test"\nresolve = "dns"',
                "upstreams.app.servers: 'app.test': Unknown endpoint type",
            ),
        ):
            (said,) = self.mistakes(FILE + text)[:1]
            self.assertEqual(said[: len(line)], line)


class HealthTests(BackgroundCase):
    def test_none(self) -> None:
        self.assertEqual(self.background('servers = "10.0.0.1:80"'), ())

    def test_table(self) -> None:
        text = """
        servers = "10.0.0.1:80"
        [upstreams.app.health]
        check = "http"
        path = "/healthz"
        status = 204
        interval = "1s"
        rise = 5
        """
        checks = self.checks(text)
        check: Any = checks._check
        self.assertIsInstance(check, HttpCheck)
        self.assertEqual((check.path, str(check.status)), ("/healthz", "204"))
        self.assertEqual(checks._schedule, CheckSchedule(interval=1.0, rise=5))
        self.assertEqual([each.name for each in checks.group.servers], ["10.0.0.1:80"])

    def test_text(self) -> None:
        self.assertEqual(self.checks('servers = "10.0.0.1:80"\nhealth = "tcp:fall=7"')._schedule.fall, 7)

    def test_beside_names(self) -> None:
        """Both are of one group; names are looked up first."""
        names, checks = self.background('servers = "app.test:80"\nresolve = "dns"\nhealth = "tcp"')
        self.assertIs(names.group, checks.group)

    def test_another_port(self) -> None:
        checks = self.checks('servers = ["10.0.0.1:80", "[::1]:80", "app.test:80"]\nhealth = "tcp:port=81"')
        connector: Any = checks._check.connect  # type: ignore[attr-defined]
        assert isinstance(connector, CheckConnector)
        places = [connector.place(each) for each in checks.group.servers]
        self.assertEqual([each.name for each in places], ["10.0.0.1:80", "[::1]:80", "app.test:80"])
        self.assertEqual([each.address for each in places], [("10.0.0.1", 81), ("::1", 81, 0, 0), None])
        self.assertEqual(places[2].endpoint._port, 81)

    def test_mistakes(self) -> None:
        for text, line in (
            (
                'servers = "unix:/run/x"\nhealth = "tcp:port=81"',
                "upstreams.app.health: 'tcp:port=81': port must be left out: unix:/run/x has none that could be another one",
            ),
            (
                'servers = "10.0.0.1:80"\nhealth = { check = "http", path = "x" }',
                "upstreams.app.health.path: 'x': must begin with / and be ASCII without spaces",
            ),
            (
                'servers = "10.0.0.1:80"\nhealth = { check = "http", method = "HEAD", body = "x" }',
                "upstreams.app.health.body: 'x': must be left out with HEAD",
            ),
            (
                'servers = "10.0.0.1:80"\nhealth = "htpp"',
                "upstreams.app.health: 'htpp': no such check; did you mean \"http\"?",
            ),
            (
                'servers = "10.0.0.1:80"\nhealth = "http:interval=0"',
                "upstreams.app.health: 'http:interval=0': http: interval: 0.0: must be more than 0 s",
            ),
        ):
            (said,) = self.mistakes(FILE + text)
            self.assertEqual(said[: len(line)], line)


def _inline(table: dict[str, Any]) -> str:
    return "{" + ", ".join(f"{key} = {value!r}" for key, value in table.items()).replace("'", '"') + "}"
