"""How an upstream's servers are chosen, as the file says it."""

from __future__ import annotations

from tests.service.config.case import ROUTE, SERVER, ConfigCase
from twisted_pipe.proxies.http_settings import ProxyTo
from twisted_pipe.upstream.group import UpstreamGroup

TCP = '[[servers]]\nprotocol = "tcp"\nlisten = "tcp:8080"\nproxy = "app"\n'
HTTP = SERVER + ROUTE.replace("127.0.0.1:9000", "http://app")


def upstream(keys: str = "", server: str = "") -> str:
    return f"""
[upstreams.app]
servers = [{{ address = "127.0.0.1:1"{server} }}, "127.0.0.1:2"]
{keys}
"""


class BalancingTests(ConfigCase):
    def group(self, text: str) -> UpstreamGroup:
        action = self.route(text + HTTP).action
        assert isinstance(action, ProxyTo)
        return action.upstream.group

    def test_defaults(self) -> None:
        group = self.group(upstream())
        self.assertEqual((group.name, group.balancer, group.key), ("app", "round-robin", ""))
        for server in group.servers:
            found = (server.weight, server.max_conns, server.max_fails, server.fail_timeout, server.slow_start)
            self.assertEqual((*found, server.backup, server.down), (1, 0, 1, 10.0, 0.0, False, False))
        self.assertEqual((group._line._settings.size, group._line._settings.timeout), (1024, 60.0))

    def test_of_a_server(self) -> None:
        keys = ', weight = 3, max_conns = 5, max_fails = 2, fail_timeout = "30s", slow_start = "1m", backup = true'
        server, other = self.group(upstream(server=keys)).servers
        found = (server.weight, server.max_conns, server.max_fails, server.fail_timeout, server.slow_start)
        self.assertEqual((*found, server.backup, server.down), (3, 5, 2, 30.0, 60.0, True, False))
        self.assertEqual((other.weight, other.backup), (1, False))
        self.assertTrue(self.group(upstream(server=", down = true")).servers[0].down)

    def test_nothing_is_a_value(self) -> None:
        server, _ = self.group(upstream(server=", max_fails = 0, fail_timeout = 0, max_conns = 0")).servers
        self.assertEqual((server.max_fails, server.fail_timeout, server.max_conns), (0, 0.0, 0))

    def test_queue(self) -> None:
        settings = self.group(upstream('queue = 7\nqueue_timeout = "2s"'))._line._settings
        self.assertEqual((settings.size, settings.timeout), (7, 2.0))
        settings = self.group(upstream("queue = 0\nqueue_timeout = 0"))._line._settings
        self.assertEqual((settings.size, settings.timeout), (0, 0.0))

    def test_balancers(self) -> None:
        for said, key in (
            ("least-connections", ""),
            ("random", ""),
            ("ip-hash", "$remote_addr"),
            ("hash:key=$request_uri", "$request_uri"),
            ("hash:key=${host}$cookie_session:consistent=on", "${host}$cookie_session"),
            (r"hash:key=$scheme\://$host", "$scheme://$host"),
        ):
            group = self.group(upstream(f"balance = '{said}'"))
            self.assertEqual((group.balancer, group.key), (said.partition(":")[0], key))

    def test_mistakes(self) -> None:
        for keys, server, line in (
            ('balance = "hash"', "", "upstreams.app.balance: 'hash': hash: key: None: has to be given"),
            ('balance = "hash:key=$x:consistent=perhaps"', "", "upstreams.app.balance: "),
            ("queue = -1", "", "upstreams.app.queue: -1: "),
            ('queue_timeout = "soon"', "", "upstreams.app.queue_timeout: 'soon': "),
            (
                "",
                ", max_fails = 1001",
                "upstreams.app.servers[0].max_fails: 1001: must be a whole number from 0 to 1000",
            ),
            ("", ", max_conns = -1", "upstreams.app.servers[0].max_conns: -1: "),
            ("", ", fail_timeout = true", "upstreams.app.servers[0].fail_timeout: true: "),
            ("", ', backup = "yes"', "upstreams.app.servers[0].backup: 'yes': "),
        ):
            (found,) = self.mistakes(upstream(keys, server) + HTTP)
            self.assertTrue(found.startswith(line), found)

    def test_a_variable_that_does_not_exist(self) -> None:
        (found,) = self.mistakes(upstream('balance = "hash:key=$request_url"') + HTTP)
        self.assertEqual(
            found,
            "upstreams.app.balance: 'hash:key=$request_url': hash: key: '$request_url': "
            "there is no variable $request_url: the nearest is $request_uri",
        )

    def test_a_variable_of_http_for_tcp(self) -> None:
        """Each where it is used: the same group may be right for http."""
        text = upstream('balance = "hash:key=$request_uri"')
        self.assertEqual(self.group(text).key, "$request_uri")
        (found,) = self.mistakes(text + TCP)
        self.assertTrue(found.startswith("upstreams.app.balance: 'hash:key=$request_uri': "), found)
        self.assertIn("$request_uri", found)
        group = self.stream(upstream('balance = "hash:key=$remote_addr"') + TCP).group
        assert group is not None
        self.assertEqual(group.key, "$remote_addr")
