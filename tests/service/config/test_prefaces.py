"""What a configuration file says of PROXY headers, and of routes by what clients say of TLS."""

from __future__ import annotations

from ipaddress import ip_network

import attrs

from tests.service.config.case import ROUTE, ConfigCase
from twisted_pipe.preface.client_hello import ClientHello, ClientHelloParser
from twisted_pipe.preface.proxy_header import Version
from twisted_pipe.preface.proxy_protocol import ProxyHeaderParser
from twisted_pipe.proxies.stream_routes import StreamRoutes
from twisted_pipe.proxies.trusted_proxies import ProxyProtocolIn
from twisted_pipe.proxies.upstream_search import ANY_SERVER, NextServer
from twisted_pipe.service.config import model, model_listen
from twisted_pipe.service.config.keys import keys_of

STREAM = """
[[servers]]
protocol = "tcp"
listen = "8443"
proxy = "127.0.0.1:9000"
"""


class ProxyProtocolTests(ConfigCase):
    def proxied(self, said: str) -> ProxyProtocolIn | None:
        (listener,) = self.http(f"[[servers]]\nlisten = {{ address = '8080', {said} }}\n{ROUTE}").listeners
        return listener.entrance.proxy_protocol

    def refused(self, said: str) -> list[str]:
        return self.mistakes(f"[[servers]]\nlisten = {{ address = '8080', proxy_protocol = {said} }}\n{ROUTE}")

    def test_none(self) -> None:
        self.assertIsNone(self.proxied("backlog = 5"))

    def test_trusted(self) -> None:
        networks = tuple(map(ip_network, ("10.0.0.0/8", "2001:db8::7")))
        self.assertEqual(
            self.proxied('proxy_protocol = { trusted = ["10.0.0.0/8", "2001:db8::7", "unix:"] }'),
            ProxyProtocolIn(networks=networks, unix=True),
        )

    def test_bounds(self) -> None:
        self.assertEqual(
            self.proxied('proxy_protocol = { trusted = "127.0.0.1", timeout = "3s", max_size = "1k" }'),
            ProxyProtocolIn(networks=(ip_network("127.0.0.1"),), timeout=3.0, parser=ProxyHeaderParser(1024)),
        )

    def test_of_a_server_that_speaks_tcp(self) -> None:
        text = STREAM.replace('"8443"', '{ address = "8443", proxy_protocol = { trusted = "unix:" } }')
        (listener,) = self.stream(text).listeners
        self.assertEqual(listener.entrance.proxy_protocol, ProxyProtocolIn(networks=(), unix=True))

    def test_nobody_trusted(self) -> None:
        (line,) = self.refused("{}")
        self.assertIn("must say which proxies are believed", line)

    def test_no_network(self) -> None:
        for network in ("10.0.0.1/8", "example.org", "10.0.0", "/8"):
            (line,) = self.refused(f'{{ trusted = ["{network}"] }}')
            self.assertIn("must be an address, a network such as 10.0.0.0/8", line)

    def test_no_size(self) -> None:
        for size in (106, 65552):
            (line,) = self.refused(f'{{ trusted = "unix:", max_size = {size} }}')
            self.assertEqual(
                line,
                f"servers[0].listen.proxy_protocol.max_size: {size}: a PROXY header has 107 to 65551 bytes",
            )

    def test_servers_that_share_an_address_say_the_same(self) -> None:
        def server(said: str) -> str:
            return f"[[servers]]\nlisten = {{ address = '8080'{said} }}\n{ROUTE}"

        same, other = (f', proxy_protocol = {{ trusted = "{network}" }}' for network in ("10.0.0.0/8", "unix:"))
        for first, second in ((same, same), (same, ""), ("", same)):
            (listener,) = self.http(server(first) + server(second).replace("listen", "names = 'b'\nlisten")).listeners
            self.assertIsNotNone(listener.entrance.proxy_protocol)
        (line,) = self.mistakes(server(same) + server(other).replace("listen", "names = 'b'\nlisten"))
        self.assertIn("must be the same for all servers there", line)

    def test_the_defaults_are_what_the_reference_says(self) -> None:
        keys = keys_of(model_listen.ProxyProtocolTable)
        self.assertEqual(keys["timeout"].default, '"30s"')
        self.assertEqual(attrs.fields(ProxyProtocolIn).timeout.default, 30.0)
        self.assertEqual((keys["max_size"].default, ProxyHeaderParser().most), ('"4k"', 4096))

    def test_sent(self) -> None:
        text = STREAM.replace("127.0.0.1:9000", "app") + '[upstreams.app]\nservers = "127.0.0.1:9000"\n'
        for said, version in (("v1", Version.TEXT), ("v2", Version.BINARY)):
            group = self.stream(f'{text}send_proxy_protocol = "{said}"\n').group
            assert group is not None
            self.assertIs(group.connect.proxy_protocol, version)
        group = self.stream(text).group
        assert group is not None
        self.assertIsNone(group.connect.proxy_protocol)
        (line,) = self.mistakes(f"{text}send_proxy_protocol = 2\n")
        self.assertIn("upstreams.app.send_proxy_protocol: 2: ", line)

    def test_not_sent_by_an_endpoint_that_begins_tls(self) -> None:
        for endpoint in ("tls:origin.test:443", "SSL:origin.test:443"):
            servers = f'servers = ["127.0.0.1:9", "{endpoint}"]'
            text = f"{STREAM.replace('127.0.0.1:9000', 'app')}[upstreams.app]\n{servers}\n"
            self.stream(text)
            (line,) = self.mistakes(f"{text}send_proxy_protocol = 'v1'\n")
            rule = "must be left out: {} begins TLS by itself, and the header comes before TLS; a table tls does both"
            self.assertEqual(line, f"upstreams.app.send_proxy_protocol: 'v1': {rule.format(endpoint)}")


class RoutesTests(ConfigCase):
    def routes(self, said: str, more: str = "") -> StreamRoutes:
        found = self.stream(f"{STREAM}{more}\n{said}").settings.routes
        assert found is not None
        return found

    def test_by_name_and_protocol(self) -> None:
        routes = self.routes(
            """
            routes = [
                { names = ["a.example", "*.b.example"], proxy = "127.0.0.1:1" },
                { alpn = ["h2", "h3"], proxy = "127.0.0.1:2" },
                { names = "~^x", alpn = "imap", proxy = "unix:/run/imap" },
            ]
            """
        )
        for name, alpn, server in (
            ("a.example", b"", "127.0.0.1:1"),
            ("x.b.example", b"", "127.0.0.1:1"),
            ("c.example", b"h3", "127.0.0.1:2"),
            ("xa", b"imap", "unix:/run/imap"),
            ("xa", b"h2", "127.0.0.1:2"),
            ("xa", b"", None),
        ):
            group = routes.find(ClientHello(name, (alpn,)))
            self.assertEqual(None if group is None else group.servers[0].name, server, name)

    def test_to_a_group_by_name(self) -> None:
        routes = self.routes('routes = [{ names = "a", proxy = "app" }]\n[upstreams.app]\nservers = "127.0.0.1:9"\n')
        group = routes.find(ClientHello("a"))
        assert group is not None
        self.assertEqual(group.name, "app")

    def test_bounds(self) -> None:
        routes = 'routes = [{ names = "a", proxy = "127.0.0.1:1" }]'
        self.assertEqual((self.routes(routes).timeout, self.routes(routes).parser), (30.0, ClientHelloParser()))
        found = self.routes(routes, 'preread_timeout = "5s"\npreread_size = "4k"')
        self.assertEqual((found.timeout, found.parser), (5.0, ClientHelloParser(4096)))
        (line,) = self.mistakes(f"{STREAM}preread_size = 100\n{routes}")
        self.assertIn("servers[0].preread_size: 100: a ClientHello has hardly less than 512 bytes", line)

    def test_bounds_for_a_key(self) -> None:
        """A balancer may want to know what the client says of TLS: without routes, too."""
        text = STREAM.replace("127.0.0.1:9000", "app")
        upstream = '\n[upstreams.app]\nservers = ["127.0.0.1:9", "127.0.0.1:8"]\nbalance = "hash:key={}"\n'
        of_hello = upstream.format("$ssl_preread_server_name")
        found = self.stream(f'{text}preread_timeout = "5s"\npreread_size = "4k"{of_hello}').settings.routes
        assert found is not None
        self.assertEqual((found.timeout, found.parser, list(found)), (5.0, ClientHelloParser(4096), []))
        (line,) = self.mistakes(f"{text}preread_size = 100{of_hello}")
        self.assertIn("servers[0].preread_size: 100: a ClientHello has hardly less than 512 bytes", line)
        of_address = upstream.format("$remote_addr")
        self.assertIsNone(self.stream(f'{text}preread_timeout = "5s"{of_address}').settings.routes)

    def test_what_is_said_at_the_start(self) -> None:
        """Where routes lead to, if there are any."""
        spill = self.configured(STREAM).spill
        routed = self.stream(f'{STREAM}routes = [{{ names = "a", proxy = "127.0.0.1:1" }}]\n')
        self.assertIn("; by what clients say of TLS to 127.0.0.1:1;", routed.describe(spill))
        upstream = '[upstreams.app]\nservers = "127.0.0.1:9"\nbalance = "hash:key=$ssl_preread_server_name"\n'
        keyed = self.stream(STREAM.replace("127.0.0.1:9000", "app") + upstream)
        self.assertNotIn("by what clients say", keyed.describe(spill))

    def test_none(self) -> None:
        self.assertIsNone(self.stream(STREAM).settings.routes)

    def test_mistakes(self) -> None:
        for route, said in (
            ('{ names = "a" }', "must say where to pass them on to"),
            ('{ proxy = "127.0.0.1:1" }', "a route must have names or alpn"),
            ('{ names = "a b", proxy = "127.0.0.1:1" }', "must be a host without a port"),
            ('{ names = "a..b", proxy = "127.0.0.1:1" }', "must be a host name without a port"),
            ('{ names = "~(", proxy = "127.0.0.1:1" }', "must be a regular expression"),
            ('{ alpn = "h 2", proxy = "127.0.0.1:1" }', "must be the name of a protocol"),
            ('{ names = "a", proxy = "nobody" }', "no such upstream"),
            (
                '{ names = "a", proxy = "127.0.0.1:1" }, { names = "A", proxy = "127.0.0.1:2" }',
                "must be a name of one route only",
            ),
        ):
            (line,) = self.mistakes(f"{STREAM}routes = [{route}]\n")
            self.assertIn(said, line)
            self.assertTrue(line.startswith("servers[0].routes"), line)

    def test_of_another_protocol(self) -> None:
        text = STREAM.replace('"tcp"', '"redis-router"') + 'routes = [{ names = "a", proxy = "127.0.0.1:1" }]\n'
        lines = self.mistakes(text)
        self.assertTrue(any("redis-router" in line or "must be left out" in line for line in lines), lines)

    def test_keys_of_balancers(self) -> None:
        upstream = '[upstreams.app]\nservers = "127.0.0.1:9"\nbalance = "hash:key={}"\n'
        text = STREAM + 'routes = [{ names = "a", proxy = "app" }]\n'
        self.stream(text + upstream.format("$ssl_preread_server_name"))
        (line,) = self.mistakes(text + upstream.format("$uri"))
        self.assertIn("there is no variable $uri", line)
        self.assertTrue(line.startswith("upstreams.app.balance"), line)


class NextServerTests(ConfigCase):
    def test_tries_and_timeout(self) -> None:
        self.assertEqual(self.stream(STREAM).settings.next_server, ANY_SERVER)
        said = 'next_upstream_tries = 2\nnext_upstream_timeout = "3s"\n'
        self.assertEqual(self.stream(STREAM + said).settings.next_server, NextServer(tries=2, timeout=3.0))
        keys = keys_of(model.StreamKeys)
        self.assertEqual([keys[f"next_upstream_{name}"].default for name in ("tries", "timeout")], ["0", "0"])
