"""Servers that speak http: what holds where, what is done with a request, and what is said when it cannot be."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from tests.service.config.case import ROUTE, SERVER, ConfigCase
from twisted_pipe.http.forwarding import ForwardedStyle
from twisted_pipe.http.target import normal_path
from twisted_pipe.limits import KIB, MIB
from twisted_pipe.proxies.http_settings import Answer, ClientSettings, HttpSettings, ProxyTo, Redirect
from twisted_pipe.proxies.next_upstream import NextUpstream, Setback
from twisted_pipe.service.http_server import HttpServer


class InheritanceTests(ConfigCase):
    def timeouts(self, defaults: str, server: str, route: str) -> tuple[float, float, float]:
        """C{read_timeout} of the route, of the server, and of another server."""
        other = '[[servers]]\nlisten = "tcp:8080"\nnames = "other"\n'
        text = f"[defaults.http]\n{defaults}\n{SERVER}\n{server}\n{ROUTE}\n{route}\n{other}{ROUTE}"
        sites = self.http(text).sites
        found, _ = sites.find(b"").routes.find(b"/")
        assert found is not None
        return (
            found.settings.limits.read_timeout,
            sites.find(b"").settings.limits.read_timeout,
            sites.find(b"other").settings.limits.read_timeout,
        )

    def test_the_nearest_counts(self) -> None:
        key = "read_timeout = "
        self.assertEqual(self.timeouts("", "", ""), (60, 60, 60))
        self.assertEqual(self.timeouts(key + "1", "", ""), (1, 1, 1))
        self.assertEqual(self.timeouts(key + "1", key + "2", ""), (2, 2, 1))
        self.assertEqual(self.timeouts(key + "1", key + "2", key + "3"), (3, 2, 1))
        self.assertEqual(self.timeouts(key + "1", key + "2", key + "0"), (0, 2, 1))

    def test_a_key_wins_whole(self) -> None:
        """Tables and lists are not merged."""
        server = SERVER + 'filters = ["upper", "gzip"]\nrequest_headers = { set = { A = "1" }, remove = "B" }\n'
        settings = self.route(server + ROUTE + 'filters = "hexdump"\nrequest_headers.add.C = "2"\n').settings
        self.assertEqual([each.factory.name for each in settings.response_filters], ["hexdump"])
        self.assertEqual((settings.request_headers.set, settings.request_headers.remove), ((), frozenset()))
        self.assertEqual([name for name, _ in settings.request_headers.add], [b"C"])
        settings = self.route(server + ROUTE + "filters = []\n").settings
        self.assertEqual(settings.response_filters, ())
        self.assertEqual(len(settings.request_headers.set), 1)

    def test_a_route_that_says_nothing_shares_its_server_s_settings(self) -> None:
        site = self.http(SERVER + "next_upstream_tries = 3\n" + ROUTE).sites.find(b"")
        found, _ = site.routes.find(b"/")
        assert found is not None
        self.assertIs(found.settings, site.settings)


class SettingsTests(ConfigCase):
    def settings(self, lines: str) -> HttpSettings:
        return self.route(SERVER + ROUTE + lines).settings

    def test_defaults(self) -> None:
        found = self.settings("")
        self.assertEqual(found.request_limits.read_timeout, 0)
        self.assertEqual(found, HttpSettings(request_limits=found.request_limits, logs=()))

    def test_bounds(self) -> None:
        found = self.settings(
            'buffers = "4 8k"\nbusy_size = 16384\nmax_temp_file_size = "10m"\ntemp_file_write_size = "8k"\n'
            'limit_rate = "1m"\nlimit_rate_after = "2m"\nupload_rate = "64k"\nbuffering = false\n'
            'read_timeout = "5s"\nsend_timeout = 6\nclient_send_timeout = "7s"\nconnect_timeout = "250ms"\n'
        )
        limits, request = found.limits, found.request_limits
        self.assertEqual((limits.buffers, limits.buffer_size, limits.busy_size), (4, 8 * KIB, 16 * KIB))
        self.assertEqual((limits.max_temp_file_size, limits.temp_file_write_size), (10 * MIB, 8 * KIB))
        self.assertEqual((limits.limit_rate, limits.limit_rate_after, limits.buffering), (MIB, 2 * MIB, False))
        self.assertEqual((limits.read_timeout, found.send_timeout, limits.send_timeout), (5, 6, 7))
        self.assertEqual((found.connect_timeout, request.limit_rate, request.limit_rate_after), (0.25, 64 * KIB, 0))

    def test_others(self) -> None:
        found = self.settings(
            'buffer_size = "4k"\nrequest_buffering = false\nrequest_body_buffer_size = "1k"\nclient_max_body_size = 0\n'
            'ignore_client_abort = true\npass_host = false\nforwarded = "both"\nvia = ""\nintercept_errors = true\n'
        )
        self.assertEqual((found.header_buffer_size, found.request_buffering), (4 * KIB, False))
        self.assertEqual((found.request_body_buffer_size, found.client_max_body_size), (KIB, 0))
        self.assertEqual((found.ignore_client_abort, found.pass_host, found.via), (True, False, b""))
        self.assertEqual((found.forwarded, found.intercept_errors), (ForwardedStyle.BOTH, True))

    def test_another_server(self) -> None:
        found = self.settings(
            'next_upstream = ["error", "http_503", "non_idempotent"]\nnext_upstream_tries = 3\nnext_upstream_timeout = "9s"\n'
        )
        setbacks = frozenset({Setback.ERROR, Setback.HTTP_503})
        wanted = NextUpstream(setbacks=setbacks, non_idempotent=True, tries=3, timeout=9.0)
        self.assertEqual(found.next_upstream, wanted)
        self.assertEqual(self.settings("next_upstream_tries = 2\n").next_upstream, NextUpstream(tries=2))

    def test_no_other_server(self) -> None:
        for off in ('"off"', "[]"):
            self.assertEqual(self.settings(f"next_upstream = {off}\n").next_upstream.setbacks, frozenset(), off)

    def test_other_protocols(self) -> None:
        found = self.settings(
            'upgrade = ["WebSocket", "irc"]\nupgrade_timeout = "5m"\nupgrade_filters = ["upper"]\n'
            'upgrade_request_filters = ["hexdump"]\n'
        ).upgrade
        self.assertEqual((found.protocols, found.timeout), ({b"websocket", b"irc"}, 300))
        self.assertEqual([each.name for each in found.response_filters], ["upper"])
        self.assertEqual([each.name for each in found.request_filters], ["hexdump"])

    def test_no_other_protocols(self) -> None:
        self.assertEqual(self.settings("upgrade = []\n").upgrade.protocols, frozenset())

    def test_headers(self) -> None:
        found = self.settings(
            'request_headers = { set = { Host = "$host" }, add = { X = ["1", "2"] }, remove = ["Cookie"] }\n'
            'response_headers = { set = { A = "" }, always = true }\n'
        )
        request, response = found.request_headers, found.response_headers
        self.assertEqual([(name, each.text) for name, each in request.set], [(b"Host", "$host")])
        self.assertEqual([(name, each.text) for name, each in request.add], [(b"X", "1"), (b"X", "2")])
        self.assertEqual((request.remove, request.always), (frozenset({b"cookie"}), False))
        self.assertEqual((response.set[0][1].literal, response.always), (b"", True))

    def test_filters(self) -> None:
        found = self.settings(
            'filters = ["upper", { name = "gzip", level = 9, types = ["text/*", "Application/JSON"] }]\n'
            'request_filters = "hexdump"\n'
        )
        upper, gzip = found.response_filters
        self.assertEqual((upper.factory.name, upper.types), ("upper", ()))
        self.assertEqual((gzip.factory.name, gzip.types), ("gzip", ("text/*", "application/json")))
        configured: Any = gzip.factory
        self.assertEqual(dict(configured.values), {"level": 9})
        self.assertEqual([each.factory.name for each in found.request_filters], ["hexdump"])

    def test_error_pages(self) -> None:
        self.write("<h1>Sorry</h1>", "50x.html")
        pages = self.settings(
            'error_pages = [{ statuses = [502, 504], file = "50x.html", status = 503 }, '
            '{ statuses = 404, body = "no", content_type = "text/plain" }]\n'
        ).error_pages
        self.assertEqual(sorted(pages), [404, 502, 504])
        self.assertEqual((pages[502].body, pages[502].status), (b"<h1>Sorry</h1>", 503))
        self.assertEqual((pages[404].body, pages[404].content_type), (b"no", b"text/plain"))

    def test_error_pages_that_cannot_be(self) -> None:
        path = "servers[0].routes[0].error_pages"
        for pages, line in (
            ('[{ statuses = 404, file = "x" }]', f"{path}[0].file: 'x': must be a file that can be read: "),
            ("[{ statuses = 404 }]", f"{path}[0]: must have one of body, file"),
            ('[{ statuses = 404, body = "", file = "x" }]', f"{path}[0].file: 'x': must be left out: body is given"),
            ('[{ body = "" }]', f"{path}[0].statuses: missing: must say for which statuses, such as [502, 504]"),
            (
                '[{ statuses = 404, body = "" }, { statuses = [403, 404], body = "" }]',
                f"{path}[1].statuses: [403, 404]: 404 has a page already",
            ),
        ):
            (found,) = self.mistakes(f"{SERVER}{ROUTE}error_pages = {pages}\n")
            self.assertTrue(found.startswith(line), found)


class RouteTests(ConfigCase):
    def test_precedence(self) -> None:
        """As it is built: exact, final prefix, regular expression, prefix."""
        text = SERVER + "".join(
            f"[[servers.routes]]\n{match}\nrefuse = {status}\n"
            for match, status in (
                ('prefix = "/"', 400),
                ('prefix = "/img/"\nfinal = true', 401),
                ('regex = "\\\\.png$"', 402),
                ('regex = "\\\\.GIF$"\nignore_case = true', 403),
                ('exact = "/a.png"', 404),
            )
        )
        for path, status in ((b"/x", 400), (b"/img/b.png", 401), (b"/b.png", 402), (b"/b.gif", 403), (b"/a.png", 404)):
            action = self.route(text, path).action
            self.assertEqual(action, Answer(status=status), path)

    def test_actions(self) -> None:
        answer = self.route(
            SERVER + '[[servers.routes]]\nprefix = "/"\nanswer = { body = "x\\n$host", status = 201 }\n'
        )
        assert isinstance(answer.action, Answer) and answer.action.body is not None
        self.assertEqual((answer.action.status, answer.action.body.text), (201, "x\n$host"))
        for redirect, status in (('"/x$1"', 302), ('{ location = "/x$1", status = 308 }', 308)):
            found = self.route(f"{SERVER}[[servers.routes]]\nregex = '^/(.)'\nredirect = {redirect}\n", b"/abc")
            assert isinstance(found.action, Redirect)
            self.assertEqual((found.action.location.text, found.action.status), ("/x$1", status))
            self.assertEqual(found.prefix, b"")

    def test_captures(self) -> None:
        """Numbers and names, in all templates of the route, its headers too; of no other route."""
        text = (
            SERVER
            + "[[servers.routes]]\nregex = '^/(?P<name>.)(.)'\nrefuse = 404\nresponse_headers.set.X = \"$name$2\"\n"
        )
        self.assertEqual(self.route(text, b"/ab").settings.response_headers.set[0][1].text, "$name$2")
        (line,) = self.mistakes(text.replace("$2", "$3"))
        self.assertTrue(line.startswith("servers[0].routes[0].response_headers.set.X: '$name$3': "), line)
        lines = self.mistakes(SERVER + 'response_headers.set.X = "$name"\n' + ROUTE)
        self.assertEqual(len(lines), 1)

    def test_alternatives(self) -> None:
        for keys, lines in (
            ('prefix = "/"', ["servers[0].routes[0]: must have one of proxy, answer, redirect, refuse"]),
            ("refuse = 404", ["servers[0].routes[0]: must have one of exact, prefix, regex"]),
            (
                'prefix = "/"\nexact = "/"\nrefuse = 404\nredirect = "x"',
                [
                    "servers[0].routes[0].prefix: '/': must be left out: exact is given",
                    "servers[0].routes[0].refuse: 404: must be left out: redirect is given",
                ],
            ),
        ):
            self.assertEqual(self.mistakes(f"{SERVER}[[servers.routes]]\n{keys}\n"), lines)

    def test_what_goes_together(self) -> None:
        for keys, line in (
            (
                'exact = "/"\nfinal = true\nrefuse = 404',
                "final: true: must be left out: it says something about prefix, ",
            ),
            (
                'prefix = "/"\nignore_case = true\nrefuse = 404',
                "ignore_case: true: must be left out: it says something about",
            ),
            (
                'prefix = "/"\nuri = "/"\nrefuse = 404',
                "uri: '/': must be left out: it says something about proxy, which",
            ),
            ('regex = "x"\nuri = "/"\nproxy = "a:1"', "uri: '/': must be left out: with regex there is no prefix"),
            ('regex = "x"\nproxy = "http://a:1/x"', "proxy: 'http://a:1/x': must be without '/x': with regex there is"),
            ('prefix = "/"\nuri = "/"\nproxy = "http://a:1/x"', "uri: '/': must be left out: proxy has '/x'"),
            ('prefix = "//"\nrefuse = 404', "prefix: '//': must have no '//', '/./' or '/../': normal paths have none"),
            (
                'regex = "("\nrefuse = 404',
                "regex: '(': must be a regular expression of Python's: missing ), unterminated",
            ),
        ):
            (found,) = self.mistakes(f"{SERVER}[[servers.routes]]\n{keys}\n")
            self.assertTrue(found.startswith(f"servers[0].routes[0].{line}"), found)

    def test_a_path_stands_there_as_it_is_decoded(self) -> None:
        for path in ("/my files/", "/caf\u00e9/", "/100%", "/a%2", '/"'):
            for key in ("exact", "prefix"):
                text = f"{SERVER}[[servers.routes]]\n{key} = '{path}'\nrefuse = 403\n"
                sent = quote(path, safe="/").encode()
                self.assertEqual(self.route(text, normal_path(sent)).action, Answer(status=403))

    def test_what_no_decoded_path_could_be_is_refused(self) -> None:
        """It would never be matched; who refuses something by it would not notice."""
        for path, right in (
            ("/my%20files/", "must be as it is when decoded: '/my files/'"),
            ("/caf%C3%a9", "must be as it is when decoded: '/caf\u00e9'"),
            ("/x?y", "must be a path that begins with /"),
            ("/x#y", "must be a path that begins with /"),
            ("/x\\ty", "must be a path that begins with /"),
            ("x", "must be a path that begins with /"),
        ):
            for key in ("exact", "prefix"):
                (line,) = self.mistakes(f'{SERVER}[[servers.routes]]\n{key} = "{path}"\nrefuse = 403\n')
                self.assertIn(f": {right}", line)
                self.assertTrue(line.startswith(f"servers[0].routes[0].{key}: "), line)

    def test_a_uri_is_sent_as_it_stands_there(self) -> None:
        text = f"{SERVER}[[servers.routes]]\nprefix = '/my files/'\nproxy = 'a:1'\nuri = '%s'\n"
        self.assertEqual(self.target(text % "/their%20files/", b"/my files/x")[1], b"/their%20files/")
        (line,) = self.mistakes(text % "/their files/")
        self.assertIn("without spaces", line)

    def test_twice(self) -> None:
        for first, second, key in (
            ('exact = "/x"', 'exact = "/x"', "exact: '/x'"),
            ('prefix = "/x"', 'prefix = "/x"\nfinal = true', "prefix: '/x'"),
            ('regex = "x"', 'regex = "x"\nignore_case = false', "regex: 'x'"),
        ):
            text = f"{SERVER}[[servers.routes]]\n{first}\nrefuse = 404\n[[servers.routes]]\n{second}\nrefuse = 404\n"
            self.assertEqual(
                self.mistakes(text), [f"servers[0].routes[1].{key}: must be given once: servers[0].routes[0] has it"]
            )

    def test_what_looks_alike(self) -> None:
        text = (
            SERVER
            + '[[servers.routes]]\nexact = "/x"\nrefuse = 401\n[[servers.routes]]\nprefix = "/x"\nrefuse = 402\n'
            + '[[servers.routes]]\nregex = "/x"\nrefuse = 403\n[[servers.routes]]\nregex = "/x"\nignore_case = true\nrefuse = 404\n'
        )
        self.assertEqual(self.route(text, b"/x").action, Answer(status=401))


class ProxyTests(ConfigCase):
    def proxied(self, proxy: str, keys: str = "") -> tuple[list[str], bytes | None]:
        upstream = '[upstreams.app]\nservers = ["127.0.0.1:1", "127.0.0.1:2"]\n'
        return self.target(f'{upstream}{SERVER}[[servers.routes]]\nprefix = "/"\nproxy = "{proxy}"\n{keys}\n')

    def test_names_and_addresses(self) -> None:
        app = ["127.0.0.1:1", "127.0.0.1:2"]
        for proxy, servers, uri in (
            ("app", app, None),
            ("http://app", app, None),
            ("http://app/", app, b"/"),
            ("http://app/x/y", app, b"/x/y"),
            ("127.0.0.1:9000", ["127.0.0.1:9000"], None),
            ("http://127.0.0.1:9000", ["127.0.0.1:9000"], None),
            ("http://127.0.0.1:9000/x", ["127.0.0.1:9000"], b"/x"),
            ("http://example.org", ["example.org:80"], None),
            ("http://[::1]/x", ["[::1]:80"], b"/x"),
            ("unix:/run/a.sock", ["unix:/run/a.sock"], None),
            ("http://unix:/run/a.sock:/x", ["unix:/run/a.sock"], b"/x"),
            ("9000", ["9000"], None),
        ):
            self.assertEqual(self.proxied(proxy), (servers, uri), proxy)
        self.assertEqual(self.proxied("app", 'uri = "/x"'), (app, b"/x"))

    def test_what_cannot_be(self) -> None:
        for proxy, line in (
            ("ap", 'no such upstream; did you mean "app"? Known: app; or an address: must be HOST:PORT, '),
            (
                "ftp://a:1",
                "must be http:// or https://HOST:PORT/URI, http://unix:/PATH:/URI, HOST:PORT or unix:/PATH: no other sch",
            ),
            (
                "http://",
                "must be http:// or https://HOST:PORT/URI, http://unix:/PATH:/URI, HOST:PORT or unix:/PATH, without user",
            ),
            ("http://a@b:1", "must be http:// or https://HOST:PORT/URI"),
            ("http://b:1/x?y", "must be http:// or https://HOST:PORT/URI"),
            ("127.0.0.1:99999", "99999 is no port; must be HOST:PORT, "),
            ("http://127.0.0.1:0/x", "0 is no port; must be HOST:PORT, "),
        ):
            upstream = '[upstreams.app]\nservers = ["127.0.0.1:1"]\n'
            (found,) = self.mistakes(f'{upstream}{SERVER}[[servers.routes]]\nprefix = "/"\nproxy = "{proxy}"\n')
            self.assertTrue(found.startswith(f"servers[0].routes[0].proxy: '{proxy}': {line}"), found)

    def test_one_upstream_for_all_who_name_it(self) -> None:
        text = SERVER + "".join(
            f'[[servers.routes]]\nprefix = "{prefix}"\nproxy = "{proxy}"\n'
            for prefix, proxy in (("/", "a:1"), ("/x", "http://a:1"), ("/y", "http://a:1/y"), ("/z", "b:1"))
        )
        routes = self.http(text).sites.find(b"").routes
        actions = [routes.find(path)[0] for path in (b"/", b"/x", b"/y", b"/z")]
        upstreams = [each.action.upstream for each in actions if each and isinstance(each.action, ProxyTo)]
        self.assertEqual([each is upstreams[0] for each in upstreams], [True, True, True, False])
        self.assertEqual(len(self.configured(text).upstreams), 2)


class UpstreamTests(ConfigCase):
    def test_group(self) -> None:
        text = (
            '[upstreams.app]\nservers = [{ address = "127.0.0.1:1", weight = 2 }, "unix:/run/b"]\n'
            'balance = "least-connections"\nkeepalive = 5\nkeepalive_timeout = "10s"\nkeepalive_requests = 7\n'
            'keepalive_time = "1m"\n'
        )
        action = self.route(text + SERVER + '[[servers.routes]]\nprefix = "/"\nproxy = "app"\n').action
        assert isinstance(action, ProxyTo)
        upstream = action.upstream
        self.assertEqual(
            [(each.name, each.weight) for each in upstream.group.servers], [("127.0.0.1:1", 2), ("unix:/run/b", 1)]
        )
        self.assertEqual([each.address for each in upstream.group.servers], [("127.0.0.1", 1), "/run/b"])
        self.assertEqual(upstream.group.balancer, "least-connections")
        keepalive = upstream.keepalive
        self.assertEqual((keepalive.connections, keepalive.timeout), (5, 10))
        self.assertEqual((keepalive.requests, keepalive.time), (7, 60))

    def test_nobody_uses_it(self) -> None:
        """Its mistakes are told all the same."""
        lines = self.mistakes('[upstreams.x]\nservers = ["a"]\nbalance = "x"\n[upstreams.y]\n' + SERVER + ROUTE)
        self.assertEqual(
            [line.partition(": ")[0] for line in lines],
            ["upstreams.x.servers[0]", "upstreams.x.balance", "upstreams.y.servers"],
        )

    def test_shared_with_tcp(self) -> None:
        text = '[upstreams.app]\nservers = "127.0.0.1:1"\n' + SERVER + ROUTE.replace("127.0.0.1:9000", "app")
        http, stream = self.configured(
            text + '[[servers]]\nlisten = "tcp:2"\nprotocol = "tcp"\nproxy = "app"\n'
        ).servers
        found: Any = http.sites.find(b"").routes.find(b"/")[0]  # type: ignore[attr-defined]
        self.assertIs(found.action.upstream.group, stream.group)  # type: ignore[attr-defined]


class ClientTests(ConfigCase):
    def test_settings(self) -> None:
        text = (
            'client_header_buffer_size = "4k"\nclient_max_headers = 5\nclient_header_timeout = 1\n'
            "client_body_timeout = 2\nkeepalive_timeout = 3\nkeepalive_requests = 4\nkeepalive_time = 5\n"
            'lingering_timeout = 6\nbare_lf = "accept"\n'
        )
        expected = ClientSettings(
            header_buffer_size=4 * KIB,
            max_headers=5,
            header_timeout=1,
            body_timeout=2,
            keepalive_timeout=3,
            keepalive_requests=4,
            keepalive_time=5,
            lingering_timeout=6,
            bare_lf=True,
        )
        self.assertEqual(self.http(SERVER + text + ROUTE).client, expected)
        self.assertEqual(self.http(f"[defaults.http]\n{text}{SERVER}{ROUTE}").client, expected)
        self.assertEqual(self.http(SERVER + 'bare_lf = "reject"\n' + ROUTE).client, ClientSettings())

    def test_of_one_address(self) -> None:
        """They hold before a server is chosen: the default server says them."""
        other = SERVER + 'names = "b"\n'
        (line,) = self.mistakes(SERVER + ROUTE + other + "client_header_timeout = 5\n" + ROUTE)
        self.assertEqual(
            line,
            "servers[1].client_header_timeout: 5: must be said in servers[0], the default server of tcp:8080: it holds before "
            "a server is chosen",
        )
        self.http(SERVER + "client_header_timeout = 5\n" + ROUTE + other + "client_header_timeout = '5s'\n" + ROUTE)
        self.http(SERVER + ROUTE + other + "default = true\nclient_header_timeout = 5\n" + ROUTE)


class AddressTests(ConfigCase):
    def server(self, listen: str, names: str = "[]", more: str = "") -> str:
        return f"[[servers]]\nlisten = {listen}\nnames = {names}\n{more}\n{ROUTE}"

    def test_virtual_servers(self) -> None:
        """Found by name; the first, or the one that says so, is for all others."""
        text = self.server('"tcp:1"', '["a", "*.a"]') + self.server('"1"', '"b"', "default = true")
        (server,) = self.configured(text).servers
        assert isinstance(server, HttpServer)
        self.assertEqual([server.sites.find(host).name for host in (b"a", b"x.a", b"b", b"c")], ["a", "a", "b", "b"])
        self.assertEqual([listener.text for listener in server.listeners], ["tcp:1"])

    def test_several_addresses(self) -> None:
        """Listeners of the same servers share a proxy; others have one of their own, with the same sites."""
        text = self.server('["tcp:1", "tcp:2", "tcp:3"]', '"a"') + self.server('["tcp:3"]', '"b"')
        first, second = self.configured(text).servers
        assert isinstance(first, HttpServer) and isinstance(second, HttpServer)
        self.assertEqual([each.text for each in first.listeners], ["tcp:1", "tcp:2"])
        self.assertEqual([each.text for each in second.listeners], ["tcp:3"])
        self.assertIs(first.sites.find(b"a"), second.sites.find(b"a"))
        self.assertEqual(first.sites.find(b"b").name, "a")

    def test_names(self) -> None:
        rule = "must be a name that no other server on the address has"
        for first, second, line in (
            ('["a", "b"]', '["c", "B"]', f"names[1]: 'B': {rule}"),
            ('"*.a"', '[".a"]', f"names[0]: '.a': {rule}"),
            ("[]", "[]", f"names: []: {rule}"),
            ('["a"]', '["x", "x"]', f"names[1]: 'x': {rule}"),
        ):
            (found,) = self.mistakes(self.server('"tcp:1"', first) + self.server('"tcp:1"', second))
            self.assertEqual(found, f"servers[1].{line}")
        self.configured(self.server('"tcp:1"', '"a"') + self.server('"tcp:2"', '"a"'))

    def test_names_that_cannot_be(self) -> None:
        for name in ("a:80", "a b", "http://a", "~(", "a.*.b", "*", ""):
            lines = self.mistakes(self.server('"tcp:1"', f'["{name}"]'))
            self.assertEqual(len(lines), 1, lines)
            self.assertTrue(lines[0].startswith(f"servers[0].names[0]: '{name}': must "), lines)

    def test_two_defaults(self) -> None:
        text = self.server('"tcp:1"', '"a"', "default = true") + self.server('"tcp:1"', '"b"', "default = true")
        self.assertEqual(
            self.mistakes(text), ["servers[1].default: true: must be said once for an address: servers[0] says it"]
        )

    def test_who_shares(self) -> None:
        stream = '[[servers]]\nlisten = "tcp:1"\nprotocol = "tcp"\nproxy = "a:1"\n'
        rule = "must be another address: servers[0] listens there, and not both speak http"
        for text in (stream + stream, stream + self.server('"tcp:1"')):
            self.assertEqual(self.mistakes(text)[0], f"servers[1].listen: 'tcp:1': {rule}")
        self.assertEqual(
            self.mistakes(self.server('["tcp:1", "*:1"]')), ["servers[0].listen[1]: '*:1': must be given once"]
        )

    def test_what_is_no_address(self) -> None:
        (line,) = self.mistakes(self.server('["tcp:1", "tcp:99999"]'))
        self.assertTrue(line.startswith("servers[0].listen[1]: 'tcp:99999': 99999 is no port; must be PORT, "), line)


class LogTests(ConfigCase):
    def test_places(self) -> None:
        text = 'access_log = ["a.log", { path = "b.log", format = "json" }, "off", "stdout"]\n'
        server = self.http(
            SERVER + text + ROUTE + '[[servers.routes]]\nprefix = "/x"\nrefuse = 404\naccess_log = "off"\n'
        )
        self.assertEqual(
            [(each.path, each.form.text) for each in server.logs],
            [(self.path("a.log"), "combined"), (self.path("b.log"), "json"), ("stdout", "combined")],
        )
        routes = server.sites.find(b"").routes
        logged = [bool(found.settings.logs) for found, _ in (routes.find(b"/"), routes.find(b"/x")) if found]
        self.assertEqual(logged, [True, False])

    def test_of_one_address(self) -> None:
        """Each of its servers, and each route, has logs of its own."""
        other = SERVER + 'names = "b"\n'
        server = self.http(SERVER + 'access_log = "a"\n' + ROUTE + other + 'access_log = "b"\n' + ROUTE)
        self.assertEqual([each.path for each in server.logs], [self.path("a"), self.path("b")])
        for host, path in ((b"a", "a"), (b"b", "b")):
            (log,) = server.sites.find(host).settings.logs
            self.assertEqual(log.path, self.path(path))
