"""What each variable says, compared with what nginx 1.22.1 writes for the same request."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

import attrs
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.http.facts import ExchangeFacts, TlsFacts
from twisted_pipe.http.tls_variables import TLS_VARIABLES
from twisted_pipe.http.variables import (
    VARIABLES,
    VOCABULARY,
    Variable,
    VariableFamily,
    basic_user,
    find_variable,
    local_second,
)
from twisted_pipe.preface.proxy_header import ProxyHeader

#: 22 November 2026, 09:00:00 UTC.
NINE = 1795338000


@attrs.frozen(kw_only=True)
class Facts:
    """An exchange as the proxy knows it: a small one that went well, unless told otherwise."""

    client_host: str = "192.0.2.7"
    client_port: int = 40123
    server_host: str = "198.51.100.1"
    server_port: int = 8080
    direct_host: str = "192.0.2.7"
    direct_port: int = 40123
    proxied: ProxyHeader | None = None
    tls: TlsFacts | None = None
    hostname: str = "edge1"
    pid: int = 4711
    scheme: str = "http"
    method: bytes = b"GET"
    target: bytes = b"/a%20b?x=1&y=2"
    request_line: bytes = b"GET /a%20b?x=1&y=2 HTTP/1.1"
    host: bytes = b"example.test"
    minor: int = 1
    uri: bytes = b"/a b"
    args: bytes = b"x=1&y=2"
    captures: Mapping[str, bytes] | None = None
    request_length: int = 99
    connection: int = 17
    connection_requests: int = 3
    request_id: str = "0123456789abcdef" * 2
    site: str = "site.test"
    status: int = 200
    body_bytes_sent: int = 1024
    bytes_sent: int = 1200
    bytes_spilled: int = 0
    retries: int = 0
    started: float = NINE + 0.25
    ended: float = NINE + 0.5
    upstream_addrs: Sequence[str] = ()
    upstream_statuses: Sequence[int] = ()
    upstream_connect_times: Sequence[float | None] = ()
    upstream_header_times: Sequence[float | None] = ()
    upstream_response_times: Sequence[float | None] = ()
    upstream_bytes_received: int = 0
    error: str = ""
    request_headers: Mapping[bytes, bytes] = {}
    response_headers: Mapping[bytes, bytes] = {}
    upstream_headers: Mapping[bytes, bytes] = {}

    @property
    def log_headers(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        headers = self.request_headers
        return headers.get(b"authorization"), headers.get(b"referer"), headers.get(b"user-agent")

    def request_header(self, name: bytes) -> bytes | None:
        return self.request_headers.get(name)

    def response_header(self, name: bytes) -> bytes | None:
        return self.response_headers.get(name)

    def upstream_header(self, name: bytes) -> bytes | None:
        return self.upstream_headers.get(name)


#: The second of three servers answered, the first could not be reached, the second sent no head.
RETRIED = Facts(
    upstream_addrs=("127.0.0.1:1", "unix:/run/app.sock", "127.0.0.1:3"),
    upstream_statuses=(0, 504, 200),
    upstream_connect_times=(None, 0.0004, 0.001),
    upstream_header_times=(None, None, 0.0156),
    upstream_response_times=(0.0, 60.001, 1.5),
    upstream_bytes_received=4096,
    retries=2,
    bytes_spilled=65536,
)
#: Nothing could be read.
GARBAGE = Facts(
    method=b"",
    target=b"",
    request_line=b"\x16\x03\x01",
    host=b"",
    minor=0,
    uri=b"",
    args=b"",
    status=400,
    error="no head",
)
EXPECTED = {
    "remote_addr": b"192.0.2.7",
    "remote_port": b"40123",
    "remote_user": None,
    "server_addr": b"198.51.100.1",
    "server_port": b"8080",
    "realip_remote_addr": b"192.0.2.7",
    "realip_remote_port": b"40123",
    "proxy_protocol_addr": None,
    "proxy_protocol_port": None,
    "proxy_protocol_server_addr": None,
    "proxy_protocol_server_port": None,
    **{variable.name: None for variable in TLS_VARIABLES},
    "server_name": b"site.test",
    "server_protocol": b"HTTP/1.1",
    "hostname": b"edge1",
    "pid": b"4711",
    "scheme": b"http",
    "connection": b"17",
    "connection_requests": b"3",
    "request": b"GET /a%20b?x=1&y=2 HTTP/1.1",
    "request_method": b"GET",
    "request_uri": b"/a%20b?x=1&y=2",
    "uri": b"/a b",
    "args": b"x=1&y=2",
    "query_string": b"x=1&y=2",
    "is_args": b"?",
    "host": b"example.test",
    "request_length": b"99",
    "request_id": b"0123456789abcdef0123456789abcdef",
    "request_time": b"0.250",
    "status": b"200",
    "body_bytes_sent": b"1024",
    "bytes_sent": b"1200",
    "spilled_bytes": b"0",
    "retries": b"0",
    "error": None,
    "upstream_addr": None,
    "upstream_status": None,
    "upstream_connect_time": None,
    "upstream_header_time": None,
    "upstream_response_time": None,
    "upstream_bytes_received": None,
    "time_local": b"22/Nov/2026:09:00:00 +0000",
    "time_iso8601": b"2026-11-22T09:00:00+00:00",
    "msec": b"1795338000.500",
    "dollar": b"$",
}
OF_RETRIED = {
    "upstream_addr": b"127.0.0.1:1, unix:/run/app.sock, 127.0.0.1:3",
    "upstream_status": b"-, 504, 200",
    "upstream_connect_time": b"-, 0.000, 0.001",
    "upstream_header_time": b"-, -, 0.016",
    "upstream_response_time": b"0.000, 60.001, 1.500",
    "upstream_bytes_received": b"4096",
    "spilled_bytes": b"65536",
    "retries": b"2",
}
OF_GARBAGE = {
    "request": b"\x16\x03\x01",
    "request_method": None,
    "request_uri": None,
    "uri": None,
    "server_protocol": None,
    "args": None,
    "is_args": b"",
    "host": b"site.test",
    "status": b"400",
    "error": b"no head",
}
USERS = {
    b"Basic YWxhZGRpbjpvcGVu": b"aladdin",
    b"basic  YWxhZGRpbjpvcGVu \t": b"aladdin",
    b"Basic YTpiCg": b"a",  # padding is missing
    b"Basic YTpiCg==": b"a",
    b"Basic YTpiOmM=": b"a",  # the password is b:c
    b"Basic CgoiOng=": b'\n\n"',
    b"Basic OnB3": None,  # no name
    b"Basic YWxhZGRpbg==": None,  # no colon
    b"Basic YWxhZ": None,  # half a byte
    b"Basic YTpi\n": None,
    b"Basic YTpi!": None,
    b"Basic !!!!": None,
    b"Basic": None,
    b"Basic ": None,
    b"BasicYTpi": None,
    b"Bearer YTpi": None,
    b"": None,
}
COOKIES = {
    b"ab=1": b"1",
    b"q=1; AB = v w ; ab=2": b"v w ",
    b'xab=1;ab="q"': b'"q"',
    b"ab=1; ab=2": b"1",
    b"ab=a=b": b"a=b",
    b"q; ab=": b"",
    b"q=ab=1": None,
    b"abc=1": None,
    b"ab": None,
    b"": None,
}
ARGUMENTS = {
    b"ab=1&AB=2": b"1",
    b"xab=1&Ab=%20b&": b"%20b",
    b"q=ab=1&ab=": b"",
    b"ab": None,
    b"abc=1": None,
    b"x?ab=1": None,
    b"": None,
}


def value_of(name: str, facts: ExchangeFacts, captures: Sequence[str] = ()) -> bytes | None:
    variable = find_variable(name, captures)
    assert variable is not None, name
    return variable.getter(facts)


class ZoneCase(SynchronousTestCase):
    """The local time is UTC unless told otherwise."""

    def setUp(self) -> None:
        before = os.environ.get("TZ")
        self.addCleanup(self.zone, before)
        self.zone("UTC")

    def zone(self, name: str | None) -> None:
        if name is None:
            os.environ.pop("TZ", None)
        else:
            os.environ["TZ"] = name
        time.tzset()
        local_second.cache_clear()


class ValueTests(ZoneCase):
    def check(self, expected: Mapping[str, bytes | None], facts: ExchangeFacts) -> None:
        self.assertEqual({name: value_of(name, facts) for name in expected}, expected)

    def test_each_says_what_nginx_says(self) -> None:
        self.check(EXPECTED, Facts())

    def test_the_expectations_are_complete(self) -> None:
        self.assertEqual(set(EXPECTED), {entry.name for entry in VARIABLES if isinstance(entry, Variable)})

    def test_of_several_servers_each_has_its_place_in_the_list(self) -> None:
        self.check(OF_RETRIED, RETRIED)

    def test_of_a_request_that_could_not_be_read_most_is_missing(self) -> None:
        self.check(OF_GARBAGE, GARBAGE)

    def test_what_has_no_port_says_nothing(self) -> None:
        self.check({"remote_port": None, "server_port": None}, Facts(client_port=0, server_port=0))

    def test_while_it_goes_on_its_time_is_when_it_started(self) -> None:
        facts = Facts(ended=0.0, status=0)
        self.check({"msec": b"1795338000.250", "request_time": b"0.000", "status": b"000"}, facts)
        self.check({"time_local": EXPECTED["time_local"]}, facts)

    def test_a_clock_that_was_set_back_gives_no_negative_time(self) -> None:
        self.check({"request_time": b"0.000"}, Facts(started=NINE, ended=NINE - 3600.0))

    def test_text_of_any_kind_has_bytes(self) -> None:
        self.check({"error": b"caf\xc3\xa9 \\udcff"}, Facts(error="caf\xe9 \udcff"))

    def test_plain_values_need_no_escaping(self) -> None:
        plain = [entry for entry in VARIABLES if isinstance(entry, Variable) and entry.plain]
        for facts in (Facts(), RETRIED, GARBAGE):
            for variable in plain:
                self.assertRegex(variable.getter(facts) or b"", rb"\A[A-Za-z0-9 $,./:+-]*\Z", variable.name)


class FamilyTests(SynchronousTestCase):
    def test_a_header_is_named_in_lower_case_with_underscores(self) -> None:
        facts = Facts(
            request_headers={b"x-real-ip": b"1"},
            response_headers={b"x-real-ip": b"2"},
            upstream_headers={b"x-real-ip": b"3"},
        )
        names = ("http_x_real_ip", "http_X_Real_IP", "sent_http_x_real_ip", "upstream_http_x_real_ip")
        self.assertEqual([value_of(name, facts) for name in names], [b"1", b"1", b"2", b"3"])

    def test_a_header_that_is_not_there_is_missing_and_an_empty_one_is_not(self) -> None:
        facts = Facts(request_headers={b"a": b""})
        self.assertEqual((value_of("http_a", facts), value_of("http_b", facts)), (b"", None))

    def test_cookies(self) -> None:
        for header, value in COOKIES.items():
            self.assertEqual(value_of("cookie_ab", Facts(request_headers={b"cookie": header})), value, header)
        self.assertIsNone(value_of("cookie_ab", Facts()))

    def test_arguments(self) -> None:
        for args, value in ARGUMENTS.items():
            self.assertEqual(value_of("arg_ab", Facts(args=args)), value, args)

    def test_users(self) -> None:
        for header, user in USERS.items():
            self.assertEqual(basic_user(header), user, header)
            self.assertEqual(value_of("remote_user", Facts(request_headers={b"authorization": header})), user)

    def test_captures(self) -> None:
        facts = Facts(captures={"1": b"one", "name": b"two"})
        self.assertEqual(
            [value_of(name, facts, ("1", "name", "2")) for name in ("1", "name", "2")], [b"one", b"two", None]
        )
        self.assertIsNone(value_of("1", Facts(), ("1",)))


class FindTests(SynchronousTestCase):
    def test_what_there_is_not(self) -> None:
        for name in ("", "1", "nothing", "http_", "http", "HOST", "arg_", "sent_http_"):
            self.assertIsNone(find_variable(name), name)

    def test_the_nearest_name(self) -> None:
        cases = {
            "remote_adr": "remote_addr",
            "Host": "host",
            "upstream_adress": "upstream_addr",
            "htp_user_agent": "http_user_agent",
            "cooky_session": "cookie_session",
            "zzzzzz": None,
        }
        self.assertEqual({name: VOCABULARY.nearest(name) for name in cases}, cases)
        self.assertEqual(VOCABULARY.nearest("artikel", ("article",)), "article")

    def test_the_table_has_all_that_a_reference_page_needs(self) -> None:
        names = [entry.name for entry in VARIABLES]
        self.assertEqual(len(set(names)), len(names))
        families = [entry.name for entry in VARIABLES if isinstance(entry, VariableFamily)]
        self.assertEqual(
            families,
            [
                "proxy_protocol_tlv_NAME",
                "http_NAME",
                "sent_http_NAME",
                "upstream_http_NAME",
                "filter_NAME",
                "cookie_NAME",
                "arg_NAME",
            ],
        )
        for entry in VARIABLES:
            self.assertTrue(entry.summary.endswith("."), entry.name)


class LocalTimeTests(ZoneCase):
    def test_the_zone_is_the_one_of_the_machine_at_that_time(self) -> None:
        self.zone("Europe/Berlin")
        self.assertEqual(local_second(NINE).common, "22/Nov/2026:10:00:00 +0100")
        self.assertEqual(local_second(1784710800).common, "22/Jul/2026:11:00:00 +0200")
        self.assertEqual(local_second(NINE).iso8601, "2026-11-22T10:00:00+01:00")

    def test_west_of_greenwich_and_half_hours(self) -> None:
        self.zone("America/St_Johns")
        self.assertEqual(local_second(NINE).common, "22/Nov/2026:05:30:00 -0330")

    def test_a_second_is_made_once(self) -> None:
        self.assertIs(local_second(NINE), local_second(NINE))
        self.assertNotEqual(local_second(NINE), local_second(NINE + 1))
