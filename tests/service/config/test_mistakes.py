"""What is said of a file that is wrong: every mistake, a line each, with what would be right."""

from __future__ import annotations

import os

from tests.service.config.case import ROUTE, SERVER, ConfigCase
from twisted_pipe.service.config.compile import compile_file
from twisted_pipe.service.config.problems import BadFile

ROUTE_TO_X = """
[[servers.routes]]
prefix = "/x"
refuse = 404
"""
TWELVE = """
spil_quota = "1g"

[defaults.http]
proxy_read_timeout = "5s"
client_body_timeout = "soon"

[upstreams.app]
servers = [{ address = "127.0.0.1:9000", weight = 0 }, "127.0.0.1:99999"]
balance = "roundrobin"

[[servers]]
listen = ["tcp:8080", "tcp:http:80:x"]
[[servers.routes]]
prefix = "/"
proxy = "ap"
buffers = "8 16k"
busy_size = "1k"
[[servers.routes]]
prefix = "/"
refuse = 200
[[servers.routes]]
prefix = "/x"
answer = { body = "$hots" }
"""


class EveryMistakeTests(ConfigCase):
    def test_twelve(self) -> None:
        """Of the shape, of names, of what fits together: all in one go, in the order of the file."""
        lines = self.mistakes(TWELVE)
        self.assertEqual(len(lines), 12)
        self.assertEqual(
            [line.partition(": ")[0] for line in lines],
            [
                "spil_quota",
                "defaults.http.proxy_read_timeout",
                "defaults.http.client_body_timeout",
                "upstreams.app.servers[0].weight",
                "upstreams.app.servers[1]",
                "upstreams.app.balance",
                "servers[0].listen[1]",
                "servers[0].routes[0].proxy",
                "servers[0].routes[0].busy_size",
                "servers[0].routes[1].prefix",
                "servers[0].routes[1].refuse",
                "servers[0].routes[2].answer.body",
            ],
        )

    def test_what_is_wrong_hides_nothing(self) -> None:
        """A server without an address is checked further; a wrong action is still the action."""
        lines = self.mistakes(
            '[[servers]]\n[[servers.routes]]\nprefix = "/"\nproxy = 5\nuri = "/x"\nread_timeout = "x"\n'
        )
        self.assertEqual(
            [line.partition(": ")[0] for line in lines],
            ["servers[0].routes[0].proxy", "servers[0].routes[0].read_timeout", "servers[0].listen"],
        )

    def test_a_group_that_is_wrong_is_still_known(self) -> None:
        text = '[upstreams.app]\nservers = 5\n[[servers]]\nlisten = "tcp:1"\nprotocol = "tcp"\nproxy = "app"\n'
        self.assertEqual(
            self.mistakes(text), ["upstreams.app.servers: 5: must be a table, or its address alone, in quotes"]
        )

    def test_once(self) -> None:
        """What several routes inherit is wrong once, where it stands."""
        text = '[defaults.http]\nbusy_size = "1k"\n' + SERVER + ROUTE + ROUTE.replace('"/"', '"/x"')
        self.assertEqual(
            self.mistakes(text), ["defaults.http.busy_size: '1k': must be at least one buffer (32768 bytes)"]
        )


class FileTests(ConfigCase):
    def test_not_there(self) -> None:
        path = self.path("missing.toml")
        error = self.assertRaises(BadFile, compile_file, path, self.reactor)
        self.assertEqual(str(error), f"{path}: cannot be read: no such file or directory")
        error = self.assertRaises(BadFile, compile_file, self.folder, self.reactor)
        self.assertEqual(str(error), f"{self.folder}: cannot be read: is a directory")

    def test_no_toml(self) -> None:
        self.assertEqual(self.mistakes("a = 1\nb = = 2\n"), ["line 2, column 5: no TOML: Invalid value"])
        self.assertEqual(self.mistakes("a = "), ["end of document: no TOML: Invalid value"])
        self.assertEqual(self.mistakes("a = 1\na = 2\n"), ["line 2, column 6: no TOML: Cannot overwrite a value"])

    def test_no_text(self) -> None:
        self.assertEqual(self.mistakes(b"a = '\xff'"), ["byte 6: must be UTF-8"])

    def test_mark_of_an_editor(self) -> None:
        """A byte order mark at the beginning says nothing."""
        self.assertEqual(len(self.configured("\ufeff" + SERVER + ROUTE).servers), 1)
        self.assertEqual(self.mistakes(b"\xef\xbb\xbfa = '\xff'"), ["byte 9: must be UTF-8"])

    def test_empty(self) -> None:
        self.assertEqual(
            self.mistakes(""), ['servers: missing: must hold a server: [[servers]] with listen = ["tcp:8080"]']
        )

    def test_line_ends_in_values(self) -> None:
        """They make no lines of their own."""
        self.assertEqual(
            self.mistakes('pid_file = """x\n/y"""\n' + SERVER + ROUTE),
            ["pid_file: 'x\\n/y': must be in a directory that exists"],
        )


class KeyTests(ConfigCase):
    def unknown(self, line: str, table: str = "") -> str:
        (found,) = self.mistakes(f"{table}\n{line}\n{SERVER}{ROUTE}")
        return found

    def test_nearest(self) -> None:
        self.assertEqual(self.unknown("pidfile = 'x'"), "pidfile: 'x': no such key; did you mean \"pid_file\"?")

    def test_name_of_nginx(self) -> None:
        self.assertEqual(
            self.unknown("proxy_busy_buffers_size = '64k'", "[defaults.http]"),
            "defaults.http.proxy_busy_buffers_size: '64k': no such key; did you mean \"busy_size\"?",
        )

    def test_elsewhere(self) -> None:
        self.assertEqual(
            self.unknown("keepalive = 5", "[defaults.http]"),
            "defaults.http.keepalive: 5: no such key here; it belongs in [upstreams.NAME]",
        )
        self.assertEqual(
            self.unknown("spill_quota = 5", "[defaults.tcp]"),
            ("defaults.tcp.spill_quota: 5: no such key here; it belongs at the top"),
        )

    def test_far_from_all(self) -> None:
        self.assertEqual(self.unknown("qqqq = 1", "[defaults]"), "defaults.qqqq: 1: no such key. Keys here: http, tcp")

    def test_of_http_in_a_server_that_speaks_tcp(self) -> None:
        text = '[[servers]]\nlisten = "tcp:1"\nprotocol = "tcp"\nproxy = "127.0.0.1:1"\ndefault = true\n'
        self.assertEqual(
            self.mistakes(text),
            ["servers[0].default: true: no such key here; it belongs in [[servers]] that speak http"],
        )

    def test_quoted(self) -> None:
        self.assertIn('"a.b\\n": 1: no such key', self.unknown('"a.b\\n" = 1'))

    def test_a_misspelt_key_is_not_missing_too(self) -> None:
        (line,) = self.mistakes('[[servers]]\nlissten = "tcp:1"\n' + ROUTE)
        self.assertEqual(line, "servers[0].lissten: 'tcp:1': no such key; did you mean \"listen\"?")


class ValueTests(ConfigCase):
    def wrong(self, key: str, *values: str, table: str = "[defaults.http]") -> str:
        """What is said of these values, all of which are wrong in the same way."""
        said = set()
        for value in values:
            (line,) = self.mistakes(f"{table}\n{key} = {value}\n{SERVER}{ROUTE}")
            path = f"{table[1:-1]}.{key}".lstrip(".")
            self.assertTrue(line.startswith(f"{path}: "), line)
            said.add(line.split(": ", 2)[2])
        self.assertEqual(len(said), 1, said)
        return said.pop()

    def test_sizes(self) -> None:
        rule = "a size: a whole number of bytes, or with k, m or g (16k, 1g)"
        self.assertEqual(self.wrong("busy_size", '"1t"', '"x"', "-1", "1.5", '" "'), rule)
        self.assertEqual(self.wrong("busy_size", "true", "[1]", "1979-05-27"), 'a size: 16384, or text such as "16k"')
        self.assertEqual(self.wrong("busy_size", '""'), "must not be empty")

    def test_times(self) -> None:
        self.assertEqual(
            self.wrong("read_timeout", '"1y"', '"-1"'),
            "a time: a number of seconds, or with ms, s, m, h or d (250ms, 10m)",
        )
        rule = 'a time: a number of seconds, or text such as "250ms" or "10m"'
        self.assertEqual(self.wrong("read_timeout", "-1", "nan", "-0.5", "true", "[]"), rule)
        self.assertEqual(self.wrong("read_timeout", "1e9", "inf", '"99999999d"'), "must be less than 1000000000 s")

    def test_buffers(self) -> None:
        rule = 'must be a number and a size: "8 32k"'
        self.assertEqual(self.wrong("buffers", '"8"', "8", '"8 x"', '"x 8k"', '"8 8k 8"'), rule)
        self.assertEqual(self.wrong("buffers", '"1 32k"'), "must be at least 2")
        self.assertEqual(self.wrong("buffers", '"8 0"'), "must be at least 1")

    def test_counts(self) -> None:
        self.assertEqual(
            self.wrong("client_max_headers", "0", "-1", '"5"', "true", "1.0"), "must be a whole number, 1 or more"
        )
        self.assertEqual(self.wrong("next_upstream_tries", "-1", '"5"'), "must be a whole number, 0 or more")

    def test_flags(self) -> None:
        self.assertEqual(self.wrong("buffering", '"on"', "1", "[]"), "must be true or false, without quotes")

    def test_choices(self) -> None:
        self.assertEqual(self.wrong("bare_lf", '"yes"', "true"), "must be one of 'reject', 'accept'")
        self.assertIn("must be one of 'error', 'timeout'", self.wrong("next_upstream", '"http_501"'))
        self.assertIn("or off alone", self.wrong("next_upstream", '["error", "off"]'))
        self.assertIn("never passed on", self.wrong("upgrade", '"h2c"', '"TLS"'))
        self.assertIn("the name of a protocol", self.wrong("upgrade", '"a b"'))
        self.assertEqual(self.wrong("forwarded", '"on"', "5"), "must be one of 'x-forwarded', 'rfc7239', 'both', 'off'")

    def test_tables(self) -> None:
        self.assertEqual(self.wrong("request_headers", "5", '"x"', "[]"), "must be a table")
        self.assertEqual(self.wrong("request_headers.set", "5"), "must be a table")
        self.assertEqual(self.wrong("access_log", "5"), "must be a table, or its path alone, in quotes")

    def test_headers(self) -> None:
        self.assertEqual(
            self.wrong("request_headers.set.X", "5", '"a\\nb"'),
            ("must be text of one line, in which $ begins a variable"),
        )
        self.assertEqual(self.wrong('request_headers.set."X Y"', '"a"'), "must be the name of a header field")
        self.assertEqual(self.wrong("request_headers.remove", '"X:"'), "must be the name of a header field")
        self.assertIn(
            "there is no variable $hots: the nearest is $host",
            self.wrong("response_headers.add.X", '"$hots"').replace('"', "").replace("'", ""),
        )

    def test_what_frames_a_body_is_no_field_to_be_set(self) -> None:
        for table in ("request_headers.set", "response_headers.add"):
            for name in ("Content-Length", "transfer-encoding", "EXPECT", "Trailer"):
                (line,) = self.mistakes(f'[defaults.http]\n{table}.{name} = "5"\n{SERVER}{ROUTE}{ROUTE_TO_X}')
                where = f"defaults.http.{table}.{name}: '5': "
                self.assertEqual(line, f"{where}must be left out, or empty: it is the proxy's, which frames the body")

    def test_but_it_may_be_said_that_there_is_none(self) -> None:
        """As in nginx's proxy_set_header Content-Length ""."""
        self.route(SERVER + 'request_headers.set = { Content-Length = "", Connection = "close" }\n' + ROUTE)

    def test_header_in_a_list(self) -> None:
        (line,) = self.mistakes(f'[defaults.http]\nrequest_headers.add.X = ["a", 5]\n{SERVER}{ROUTE}')
        self.assertTrue(line.startswith("defaults.http.request_headers.add.X[1]: 5: must be text"), line)

    def test_filters(self) -> None:
        self.assertIn('no such filter; did you mean "gzip"? Known: ', self.wrong("filters", '"gzp"'))
        self.assertEqual(self.wrong("filters", '"gzip:level=10"'), "gzip: level: '10': must be from 1 to 9")
        self.assertEqual(self.wrong("filters", "5"), 'must be "NAME[:key=value...]" or a table with a name')
        for filters, line in (
            ('[{ name = "gzip", level = 10 }]', "filters[0].level: 10: must be from 1 to 9"),
            ('["upper", { name = "gzip", x = 1 }]', "filters[1].x: 1: no such option. Options: "),
            ("[{ level = 1 }]", "filters[0].name: missing: must be the name of a filter"),
            ('[{ name = "gzip", types = ["a/b", "text"] }]', "filters[0].types[1]: 'text': must be a media type: "),
            ('{ name = "gzip", types = 5 }', "filters.types: 5: must be a media type: "),
        ):
            (found,) = self.mistakes(f"[defaults.http]\nfilters = {filters}\n{SERVER}{ROUTE}")
            self.assertTrue(found.startswith(f"defaults.http.{line}"), found)

    def test_media_types_are_not_for_tcp(self) -> None:
        (line,) = self.mistakes('[defaults.tcp]\nfilters = [{ name = "gzip", types = "text/html" }]\n' + SERVER + ROUTE)
        self.assertTrue(line.startswith("defaults.tcp.filters[0].types: 'text/html': no such option"), line)

    def test_bounds_that_do_not_fit(self) -> None:
        """All of them, where each was said."""
        text = (
            '[defaults.http]\nbuffers = "8 16k"\ntemp_file_write_size = "1k"\n'
            + SERVER
            + 'max_temp_file_size = "1k"\n'
            + ROUTE
            + 'busy_size = "1m"\n'
        )
        self.assertEqual(
            self.mistakes(text),
            [
                "defaults.http.temp_file_write_size: '1k': must be at least one buffer (16384 bytes)",
                "servers[0].max_temp_file_size: '1k': must be 0 (never spill) or at least one buffer (16384 bytes)",
                "servers[0].routes[0].busy_size: '1m': must leave one buffer to read into: at most 114688 bytes",
            ],
        )


class ProcessTests(ConfigCase):
    def wrong(self, line: str) -> str:
        (found,) = self.mistakes(f"{line}\n{SERVER}{ROUTE}")
        return found

    def test_temp_path(self) -> None:
        self.assertEqual(
            self.wrong('temp_path = "nowhere"'),
            "temp_path: 'nowhere': does not exist; an existing, writable directory is needed",
        )

    def test_pid_file(self) -> None:
        self.assertEqual(
            self.wrong('pid_file = "no/such/pid"'), "pid_file: 'no/such/pid': must be in a directory that exists"
        )
        self.assertEqual(self.wrong('pid_file = "."'), "pid_file: '.': must be a file, and is a directory")

    def test_worker_connections(self) -> None:
        self.assertEqual(
            self.wrong("worker_connections = 100"),
            "worker_connections: 100: must be left out on this reactor: only epollet can (twistd --reactor=epollet)",
        )

    def test_access_log(self) -> None:
        rule = "servers[0].routes[0].access_log: "
        self.assertEqual(self.wrong_log('"no/log"'), f"{rule}'no/log': must be in a directory that exists")
        self.assertEqual(self.wrong_log('"."'), f"{rule}'.': must be a file, and is a directory")
        self.assertEqual(
            self.wrong_log("[{}]"),
            'servers[0].routes[0].access_log[0].path: missing: must be a file, such as "access.log"',
        )
        self.assertIn('must be "combined", "json" or a template', self.wrong_log('{ path = "x", format = "combind" }'))
        self.assertFalse(os.path.exists(self.path("x")))

    def wrong_log(self, value: str) -> str:
        (line,) = self.mistakes(f"{SERVER}{ROUTE}access_log = {value}\n")
        return line
