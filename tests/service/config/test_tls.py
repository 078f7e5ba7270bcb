"""TLS in the configuration file: what is made of it, and what is said of mistakes."""

from __future__ import annotations

from typing import Any

from tests.service.config.case import ROUTE, ConfigCase
from tests.tls.case import Named, authority, crl_of, key_pem, shake_hands
from twisted_pipe.proxies.http_settings import ProxyTo
from twisted_pipe.service.config import model_tls
from twisted_pipe.service.config.keys import annotation_of, keys_of
from twisted_pipe.service.config.tls import CIPHERS, CLIENT, ENTRANCE, SERVER
from twisted_pipe.service.config.values import kind_of
from twisted_pipe.service.entrance_settings import EntranceSettings
from twisted_pipe.service.http_server import HttpServer
from twisted_pipe.tls.client import ClientTls
from twisted_pipe.tls.server import ServerTls, ServerTlsSettings
from twisted_pipe.tls.settings import CipherSettings, ClientRules, ClientTlsSettings, VerifyClient, Version

STREAM = '[[servers]]\nprotocol = "tcp"\nlisten = "5433"\nproxy = "127.0.0.1:1"\n'


class TlsConfigCase(ConfigCase):
    def setUp(self) -> None:
        super().setUp()
        self.write(authority().cert_pem.bytes(), "ca.pem")
        self.write(crl_of(authority()), "crl.pem")
        for name in ("a", "b"):
            issued = authority().issue_cert(f"{name}.example")
            self.write(issued.cert_chain_pems[0].bytes(), f"{name}.pem")
            self.write(issued.private_key_pem.bytes(), f"{name}.key")
            self.write(issued.private_key_and_cert_chain_pem.bytes(), f"{name}-both.pem")
            self.write(key_pem(issued, b"secret"), f"{name}-locked.key")

    def server(self, name: str, listen: str = '"443"', tls: str = "", more: str = "") -> str:
        given = tls or f'certificate = "{name}.pem"\nkey = "{name}.key"\n'
        return f'[[servers]]\nlisten = {listen}\nnames = "{name}.example"\n{more}[servers.tls]\n{given}\n{ROUTE}'

    def tls_of(self, text: str) -> ServerTls:
        (listener,) = self.http(text).listeners
        assert listener.entrance.tls is not None
        return listener.entrance.tls

    def shown(self, tls: ServerTls, name: str) -> Any:
        """What a client that asks for that name is shown, if it can be verified."""
        client = ClientTls(ClientTlsSettings(trusted_ca=self.path("ca.pem")))
        return shake_hands(client.connection(None, Named(f"{name}:443")), tls.connection())


class ServerTests(TlsConfigCase):
    def test_virtual_servers_of_an_address(self) -> None:
        tls = self.tls_of(self.server("a") + self.server("b"))
        for name in ("a.example", "b.example"):
            self.assertTrue(self.shown(tls, name).fine, name)

    def test_requests_without_a_host_are_for_the_server_without_names(self) -> None:
        """What it asks of its clients is asked of them: else an empty Host would go round it."""
        nameless = self.server("b", tls='certificate = "b-both.pem"\nverify_client = "on"\nclient_ca = "ca.pem"')
        nameless = nameless.replace('names = "b.example"\n', "")
        tls = self.tls_of(self.server("a") + nameless)
        self.assertIs(tls.rules_of("").verify, VerifyClient.ON)
        for host in ("a.example", "nobody.example"):
            self.assertIs(tls.rules_of(host).verify, VerifyClient.OFF, host)

    def test_the_key_may_stand_with_the_certificate(self) -> None:
        self.assertTrue(self.shown(self.tls_of(self.server("a", tls='certificate = "a-both.pem"')), "a.example").fine)

    def test_several_certificates_of_a_server(self) -> None:
        text = self.server("a", tls='certificate = ["a.pem", "b-both.pem"]\nkey = ["a.key", "b.key"]')
        tls = self.tls_of(text)
        self.assertTrue(self.shown(tls, "a.example").fine)
        self.assertTrue(self.shown(tls, "b.example").fine)

    def test_a_name_is_found_as_that_of_a_request_is(self) -> None:
        text = self.server("a") + self.server("b").replace('"b.example"', '["~^x[0-9]+[.]test$", "*.b.test", "b.*"]')
        find = self.tls_of(text).settings.find
        found = [find(name) for name in ("a.example", "x7.test", "y.b.test", "b.org", "other", "c.org")]
        self.assertEqual(found, [0, 1, 1, 1, None, None])

    def test_the_default_server_is_the_default(self) -> None:
        text = self.server("a") + self.server("b", more="default = true\n")
        tls = self.tls_of(text)
        seen: Any = self.shown(tls, "b.example")
        self.assertTrue(seen.fine)
        self.assertTrue(tls.settings.sites[0].certificates[0].certificate.endswith("b.pem"))
        self.assertEqual([tls.settings.find(f"{name}.example") for name in "ba"], [0, 1])

    def test_who_has_no_table_has_that_of_the_default_server(self) -> None:
        text = self.server("a") + f'[[servers]]\nlisten = "443"\nnames = "c.example"\n{ROUTE}'
        tls = self.tls_of(text)
        self.assertEqual(tls.settings.sites[0], tls.settings.sites[1])

    def test_with_and_without(self) -> None:
        """A server with the table speaks TLS wherever it listens, unless told not to there."""
        text = self.server("a", listen='["443", { address = "80", tls = false }, { address = "8443", tls = true }]')
        found = [listener.entrance.tls is not None for listener in self.http(text).listeners]
        self.assertEqual(found, [True, False, True])

    def test_one_context_for_all_addresses_of_the_same_servers(self) -> None:
        first, second = self.http(self.server("a", listen='["443", "8443"]')).listeners
        self.assertIs(first.entrance.tls, second.entrance.tls)

    def ssl(self, name: str = "a", port: int = 8443) -> str:
        """Twisted's endpoint."""
        return f"ssl:{port}:privateKey={self.path(name)}.key:certKey={self.path(name)}.pem"

    def test_an_endpoint_that_speaks_tls(self) -> None:
        tls = self.tls_of(f'[[servers]]\nlisten = "{self.ssl()}"\n{ROUTE}')
        self.assertTrue(self.shown(tls, "a.example").fine)

    def test_its_files_are_relative_to_the_file(self) -> None:
        """And found there when they are loaded anew, wherever the process is then."""
        tls = self.tls_of(f'[[servers]]\nlisten = "ssl:8443:privateKey=a.key:certKey=a.pem"\n{ROUTE}')
        self.assertEqual(set(tls.files), {self.path("a.key"), self.path("a.pem")})

    def test_an_endpoint_that_speaks_tls_is_one_server_s(self) -> None:
        """Else one of them would speak plain text, or with the other's certificate."""
        said = "must not share its address, because of ssl: there; each server needs a table tls instead"
        for first, second in ((self.ssl(), "8443"), ("8443", self.ssl()), (self.ssl(), self.ssl("b"))):
            text = "".join(
                f'[[servers]]\nnames = "{name}.test"\nlisten = "{listen}"\n{ROUTE}'
                for name, listen in (("a", first), ("b", second))
            )
            (line,) = self.mistakes(text)
            self.assertTrue(line.startswith("servers[1].listen: "), line)
            self.assertIn(said, line)

    def test_an_endpoint_that_speaks_tls_and_a_table(self) -> None:
        said = "must not be ssl: where tls is said as well; the address alone, such as tcp:8443, is enough"
        listens = (f'"{self.ssl()}"', f'{{ address = "{self.ssl()}", tls = false }}')
        for text in (
            self.server("a", listen=listens[0]),
            self.server("a", listen=listens[1]),
            f"[[servers]]\nlisten = {listens[1]}\n{ROUTE}",
        ):
            (line,) = self.mistakes(text)
            self.assertIn(said, line)

    def test_http_speaks_http(self) -> None:
        self.assertEqual(self.tls_of(self.server("a")).settings.alpn, (b"http/1.1", b"http/1.0"))

    def test_other_protocols(self) -> None:
        text = f'{STREAM}[servers.tls]\ncertificate = "a-both.pem"\nalpn = ["postgresql"]\nhandshake_timeout = 5\n'
        (listener,) = self.stream(text).listeners
        assert listener.entrance.tls is not None
        self.assertEqual(listener.entrance.tls.settings.alpn, (b"postgresql",))
        self.assertEqual(listener.entrance.handshake_timeout, 5)

    def test_every_setting(self) -> None:
        text = self.server(
            "a",
            tls="""
certificate = "a-both.pem"
min_version = "1.3"
ciphers = "ECDHE-RSA-AES128-GCM-SHA256"
verify_client = "optional"
client_ca = "ca.pem"
client_crl = "crl.pem"
verify_depth = 3
reject_unknown_names = true
session_tickets = false
session_timeout = "10m"
""",
        )
        settings = self.tls_of(text).settings
        self.assertEqual(settings.ciphers.min_version, Version.TLS_1_3)
        self.assertEqual(settings.ciphers.ciphers, "ECDHE-RSA-AES128-GCM-SHA256")
        self.assertEqual(
            (settings.tickets, settings.session_timeout, settings.reject_unknown_names), (False, 600, True)
        )
        rules = ClientRules(
            verify=VerifyClient.OPTIONAL, ca_file=self.path("ca.pem"), crl_file=self.path("crl.pem"), depth=3
        )
        self.assertEqual(settings.sites[0].rules, rules)

    def test_files_are_looked_after(self) -> None:
        upstream = '[upstreams.app]\nservers = "a.example:1"\ntls.trusted_ca = "ca.pem"\n'
        configuration = self.configured(upstream + self.server("a") + self.server("b", listen='"8443"'))
        kinds = [type(each).__name__ for each in configuration.all_tls]
        self.assertEqual(sorted(kinds), ["ClientTls", "ServerTls", "ServerTls"])


class ServerMistakeTests(TlsConfigCase):
    def check(self, text: str, *expected: str) -> None:
        found = self.mistakes(text)
        self.assertEqual(len(found), len(expected), found)
        for line, wanted in zip(found, expected, strict=True):
            self.assertTrue(line.startswith(wanted), line)

    def test_files(self) -> None:
        for tls, line in (
            ('certificate = "no.pem"', "servers[0].tls.certificate: 'no.pem': cannot be read: no such file"),
            ('certificate = "a.pem"', "servers[0].tls.certificate: 'a.pem': must hold a private key in PEM form"),
            ('certificate = "a.key"', "servers[0].tls.certificate: 'a.key': must hold a certificate in PEM form"),
            ('certificate = "a.pem"\nkey = "b.key"', "servers[0].tls.key: 'b.key': must be the key of "),
            (
                'certificate = "a.pem"\nkey = "a-locked.key"',
                "servers[0].tls.key: 'a-locked.key': must be without a passw",
            ),
            (
                'certificate = ["a.pem", "b.pem"]\nkey = "a.key"',
                "servers[0].tls.key: 'a.key': must be as many files as",
            ),
            (
                'certificate = ["a.pem", "b.pem"]\nkey = ["a.key", "x.key"]',
                "servers[0].tls.key[1]: 'x.key': cannot be read: no such file or directory",
            ),
            ('min_version = "1.2"', "servers[0].tls.certificate: missing: must be a file, such as"),
            (
                'certificate = "a-both.pem"\nciphers = "NONE"',
                "servers[0].tls.ciphers: 'NONE': must be a list of ciphers",
            ),
            (
                'certificate = "a-both.pem"\nmin_version = "1.1"',
                "servers[0].tls.min_version: '1.1': must be one of '1.2'",
            ),
            ('certificate = "a-both.pem"\nalpn = "h2"', "servers[0].tls.alpn: 'h2': must be left out: it is http/1.1"),
        ):
            self.check(self.server("a", tls=tls), line)

    def test_certificates_of_clients(self) -> None:
        for tls, lines in (
            (
                'verify_client = "on"',
                ["client_ca: missing: must be a file with the CAs of clients, as verify_client is"],
            ),
            (
                'verify_client = "yes"',
                ["verify_client: 'yes': must be one of 'off', 'on', 'optional', 'optional_no_ca'"],
            ),
            ('client_ca = "ca.pem"', ["client_ca: 'ca.pem': must be left out, or verify_client given"]),
            (
                'verify_client = "on"\nclient_ca = "a.key"',
                ["client_ca: 'a.key': must hold the certificate of a CA in PEM"],
            ),
            (
                'verify_client = "on"\nclient_ca = "ca.pem"\nclient_crl = "ca.pem"',
                ["client_crl: 'ca.pem': must hold a revocation list in PEM form"],
            ),
            (
                'verify_client = "optional_no_ca"\nclient_crl = "crl.pem"',
                ["client_crl: 'crl.pem': must be left out: there is no client_ca"],
            ),
        ):
            text = self.server("a", tls=f'certificate = "a-both.pem"\n{tls}')
            self.check(text, *(f"servers[0].tls.{line}" for line in lines))

    def test_all_at_once(self) -> None:
        text = self.server("a", tls='certificate = "x.pem"') + self.server("b", tls='certificate = "y.pem"')
        self.check(text, "servers[0].tls.certificate: 'x.pem'", "servers[1].tls.certificate: 'y.pem'")

    def test_servers_of_an_address_agree(self) -> None:
        other = 'certificate = "b-both.pem"\nsession_tickets = false\nmin_version = "1.2"'
        text = self.server("a", tls='certificate = "a-both.pem"\nmin_version = "1.2"') + self.server("b", tls=other)
        self.check(text, "servers[1].tls.session_tickets: false: must be said in servers[0].tls, of the default server")

    def test_an_address_has_tls_or_not(self) -> None:
        text = self.server("a") + self.server("b", listen='{ address = "443", tls = false }')
        self.check(text, "servers[1].listen: must be the same for all servers there: servers[0] speaks TLS")

    def test_the_default_server_has_a_certificate(self) -> None:
        text = f'[[servers]]\nlisten = "443"\nnames = "c.example"\n{ROUTE}' + self.server("a")
        self.check(text, "servers[0].tls: missing: must be given: it is the default server of an address where TLS is")

    def test_tls_without_a_table(self) -> None:
        text = f'[[servers]]\nlisten = {{ address = "443", tls = true }}\n{ROUTE}'
        self.check(text, "servers[0].tls: missing: must be given: it is the default server")
        text = STREAM.replace('"5433"', '{ address = "5433", tls = true }')
        self.assertTrue(self.mistakes(text))


class UpstreamTests(TlsConfigCase):
    def tls_to(self, proxy: str, upstreams: str = "") -> Any:
        """What speaks TLS to it."""
        text = f'{upstreams}[[servers]]\nlisten = "80"\n[[servers.routes]]\nprefix = "/"\nproxy = "{proxy}"\n'
        (server,) = self.configured(text).servers
        assert isinstance(server, HttpServer)
        route, _ = server.sites.find(b"").routes.find(b"/")
        assert route is not None
        assert isinstance(route.action, ProxyTo)
        group = route.action.upstream.group
        self.names = [each.name for each in group.servers]
        return group.connect.tls

    def test_by_url(self) -> None:
        for proxy, name in (
            ("https://a.example", "a.example:443"),
            ("HTTPS://a.example:8443/x", "a.example:8443"),
            ("https://[::1]/", "[::1]:443"),
        ):
            self.assertEqual(self.tls_to(proxy).settings, ClientTlsSettings())
            self.assertEqual(self.names, [name])
        self.assertIsNone(self.tls_to("http://a.example"))

    def test_the_same_address_by_both(self) -> None:
        routes = '[[servers.routes]]\nprefix = "{0}"\nproxy = "{1}://a.example:8000"\n'
        text = '[[servers]]\nlisten = "80"\n' + routes.format("/", "http") + routes.format("/x", "https")
        server = self.http(text)
        found: list[Any] = [server.sites.find(b"").routes.find(path)[0] for path in (b"/", b"/x")]
        self.assertEqual([each.action.upstream.group.connect.tls is None for each in found], [True, False])

    def test_by_name(self) -> None:
        group = '[upstreams.app]\nservers = ["a.example:8443", "a.example:8444"]\n[upstreams.app.tls]\n'
        for proxy in ("app", "http://app", "https://app", "https://app/x"):
            self.assertEqual(self.tls_to(proxy, group).settings, ClientTlsSettings())

    def test_every_setting(self) -> None:
        group = """
[upstreams.app]
servers = "unix:/run/app.sock"
[upstreams.app.tls]
trusted_ca = "ca.pem"
crl = "crl.pem"
verify_depth = 1
server_name = "a.example"
certificate = "b.pem"
key = "b.key"
min_version = "1.3"
alpn = ["http/1.1"]
session_reuse = false
"""
        settings = self.tls_to("app", group).settings
        self.assertTrue(settings.verify)
        self.assertEqual((settings.trusted_ca, settings.crl_file), (self.path("ca.pem"), self.path("crl.pem")))
        self.assertEqual((settings.depth, settings.server_name, settings.alpn), (1, "a.example", (b"http/1.1",)))
        self.assertEqual(settings.certificate.key, self.path("b.key"))
        self.assertEqual((settings.ciphers.min_version, settings.reuse_sessions), (Version.TLS_1_3, False))

    def test_mistakes(self) -> None:
        for tls, line in (
            ('trusted_ca = "no.pem"', "trusted_ca: 'no.pem': cannot be read: no such file or directory"),
            ('crl = "crl.pem"', "crl: 'crl.pem': must be left out: there is no trusted_ca"),
            ('certificate = "a.pem"', "certificate: 'a.pem': must hold a private key in PEM form"),
            ('certificate = "a.pem"\nkey = "b.key"', "key: 'b.key': must be the key of "),
            ('key = "b.key"', "key: 'b.key': must be left out: there is no certificate"),
            ('server_name = "https://x"', "server_name: 'https://x': must be the name of a host, or an IP address"),
            ('ciphers = "NONE"', "ciphers: 'NONE': must be a list of ciphers"),
        ):
            (found, *more) = self.mistakes(
                f'[upstreams.app]\nservers = "a:1"\n[upstreams.app.tls]\n{tls}\n{self.server("a")}'
            )
            self.assertEqual(more, [])
            self.assertTrue(found.startswith(f"upstreams.app.tls.{line}"), found)

    def test_a_server_without_a_name(self) -> None:
        group = '[upstreams.app]\nservers = ["a:1", "unix:/run/app.sock"]\n[upstreams.app.tls]\n{}'
        (found,) = self.mistakes(group.format("") + self.server("a"))
        said = (
            "upstreams.app.tls.server_name: missing: must be the name of its certificate: unix:/run/app.sock has none"
        )
        self.assertTrue(found.startswith(said), found)
        self.assertFalse(self.tls_to("app", group.format("verify = false\n")).settings.verify)

    def test_https_to_a_group_that_speaks_none(self) -> None:
        group = '[upstreams.app]\nservers = "a:1"\n'
        text = f'{group}[[servers]]\nlisten = "80"\n[[servers.routes]]\nprefix = "/"\nproxy = "https://app/x"\n'
        (found,) = self.mistakes(text)
        self.assertTrue(
            found.startswith("servers[0].routes[0].proxy: 'https://app/x': must be http://app, or ups"), found
        )


class DefaultTests(TlsConfigCase):
    """What the reference says of a key that is not given is what holds then."""

    def check(self, table: Any, names: Any, settings: Any) -> None:
        for field, name in names.items():
            stated: Any = keys_of(table)[name].default
            if stated.startswith(("the ", "ECDHE")):
                continue
            kind = kind_of(annotation_of(table, name))
            assert kind is not None
            value = getattr(settings, field)
            stated = {"true": True, "false": False}.get(stated, stated)
            if isinstance(stated, str):
                stated = stated[1:-1] if stated.startswith('"') else int(stated)
            self.assertEqual(kind.parse(stated), getattr(value, "value", value), name)

    def test_servers(self) -> None:
        self.check(model_tls.ServerTlsTable, SERVER, ServerTlsSettings(sites=()))
        self.check(model_tls.ServerTlsTable, ENTRANCE, EntranceSettings())
        self.check(model_tls.ServerTlsTable, CIPHERS, CipherSettings())
        self.check(model_tls.ServerTlsTable, {"verify": "verify_client", "depth": "verify_depth"}, ClientRules())

    def test_upstreams(self) -> None:
        self.check(model_tls.UpstreamTlsTable, CLIENT, ClientTlsSettings())
        self.check(model_tls.UpstreamTlsTable, CIPHERS, CipherSettings())
