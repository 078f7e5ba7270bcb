"""Lines of the access log: nginx's combined byte for byte, JSON, templates; and that no client writes lines of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.http.test_variables import GARBAGE, RETRIED, Facts, ZoneCase
from twisted_pipe.errors import BadConfiguration
from twisted_pipe.http.log_format import COMBINED, JSON_FIELDS, escape_for_json, escape_for_log, log_format

HEADERS = {b"referer": b"http://a.test/?b=c d", b"user-agent": b"curl/8.5.0 (x; y)"}
#: As nginx 1.22.1 wrote them, the address excepted.
LINES = {
    b'192.0.2.7 - - [22/Nov/2026:09:00:00 +0000] "GET /a%20b?x=1&y=2 HTTP/1.1" 200 1024 "-" "-"\n': Facts(),
    b'192.0.2.7 - - [22/Nov/2026:09:00:00 +0000] "GET /a%20b?x=1&y=2 HTTP/1.1" 200 1024 '
    b'"http://a.test/?b=c d" "curl/8.5.0 (x; y)"\n': Facts(request_headers=HEADERS),
    b'192.0.2.7 - - [22/Nov/2026:09:00:00 +0000] "GET /a%20b?x=1&y=2 HTTP/1.1" 200 1024 '
    b'"" "a\\x22b\\x5Cc\\x01\\x09\\xFF~z"\n': Facts(
        request_headers={b"referer": b"", b"user-agent": b'a"b\\c\x01\t\xff~z'}
    ),
    b'192.0.2.7 - aladdin [22/Nov/2026:09:00:00 +0000] "GET /a%20b?x=1&y=2 HTTP/1.1" 200 1024 "-" "-"\n': Facts(
        request_headers={b"authorization": b"Basic YWxhZGRpbjpvcGVu"}
    ),
    b'192.0.2.7 - - [22/Nov/2026:09:00:00 +0000] "\\x16\\x03\\x01" 400 157 "-" "-"\n': attrs.evolve(
        GARBAGE, body_bytes_sent=157
    ),
    b'192.0.2.7 - - [22/Nov/2026:09:00:00 +0000] "-" 000 0 "-" "-"\n': attrs.evolve(
        GARBAGE, request_line=b"", status=0, body_bytes_sent=0
    ),
}
#: What breaks logs: line ends of all kinds, quotation marks, escapes, what is no UTF-8, and the start of another line.
HOSTILE = (
    b'x" 200 0 "-" "-"\n192.0.2.8 - root [22/Nov/2026:09:00:00 +0000] "GET /',
    b"\r\n\r\n",
    b"\x00\x1b[2J\x7f",
    b'\\x22 \\" "',
    b'"}\n{"status":200}',
    b"\xe2\x80\xa8\xc2\x85\x0b\x0c\x1c\x1e",
    b"\xff\xfe\xed\xa0\x80\xc3",
    b"%b %s $host ${host}",
    b"",
)
FIELDS = st.binary(max_size=30) | st.sampled_from(HOSTILE)
FACTS = st.builds(
    Facts,
    client_host=st.text(max_size=20),
    method=FIELDS,
    target=FIELDS,
    request_line=FIELDS | st.just(b"GET / HTTP/1.1"),
    host=FIELDS,
    uri=FIELDS,
    args=FIELDS,
    site=st.text(max_size=10),
    error=st.text(max_size=10),
    status=st.integers(0, 999),
    body_bytes_sent=st.integers(0, 1 << 62),
    ended=st.just(0.0) | st.floats(0, 4e9),
    upstream_addrs=st.lists(st.text(max_size=10), max_size=3),
    upstream_connect_times=st.lists(st.none() | st.floats(0, 1e6), max_size=3),
    request_headers=st.dictionaries(
        st.sampled_from((b"referer", b"user-agent", b"x-a", b"cookie", b"authorization")),
        FIELDS | st.sampled_from((b"curl/8.5.0", b"Basic CgoiOng=", b"Basic YWxhZGRpbjpvcGVu")),
    ),
)
EVERY_KIND = (
    "combined",
    "json",
    "$http_x_a $uri $error $cookie_a|$remote_user\t$upstream_addr",
    'escape=json {"a":"$http_x_a"}',
)
TEMPLATE = log_format("x" + COMBINED)  # goes no shorter way


class CombinedTests(ZoneCase):
    def test_it_is_what_nginx_writes(self) -> None:
        line = log_format("combined").line
        for expected, facts in LINES.items():
            self.assertEqual(line(facts), expected)

    def test_the_template_says_the_same(self) -> None:
        for expected, facts in LINES.items():
            self.assertEqual(TEMPLATE.line(facts), b"x" + expected)

    @settings(max_examples=400)
    @given(FACTS)
    def test_the_short_way_says_the_same_as_the_template(self, facts: Facts) -> None:
        self.assertEqual(b"x" + log_format("combined").line(facts), TEMPLATE.line(facts))

    def test_each_field_alone_goes_the_long_way_when_it_must(self) -> None:
        for hostile in (*HOSTILE, *(bytes([byte]) for byte in range(256))):
            for name in (b"referer", b"user-agent"):
                self.same(Facts(request_headers={name: hostile}))
            self.same(Facts(request_line=hostile))
            self.same(Facts(client_host=hostile.decode("latin-1")))
        for name in ("\udc80", "\u2028", "[::1]"):
            self.same(Facts(client_host=name))

    def same(self, facts: Facts) -> None:
        self.assertEqual(b"x" + log_format("combined").line(facts), TEMPLATE.line(facts))


class InjectionTests(ZoneCase):
    @settings(max_examples=200)
    @given(FACTS)
    def test_a_line_is_one_line(self, facts: Facts) -> None:
        for text in EVERY_KIND:
            line = log_format(text).line(facts)
            self.assertTrue(line.endswith(b"\n"))
            self.assertIsNone(re.search(rb"[\x00-\x08\x0a-\x1f\x7f-\xff]", line[:-1]), line)
            self.assertEqual(len(line.decode("ascii").splitlines()), 1)

    def test_quotation_marks_are_those_of_the_format(self) -> None:
        for hostile in HOSTILE:
            facts = Facts(request_line=hostile or b"-", request_headers={b"referer": hostile, b"user-agent": hostile})
            self.assertEqual(log_format("combined").line(facts).count(b'"'), 6, hostile)


class EscapeTests(ZoneCase):
    def test_nginx_default(self) -> None:
        every = bytes(range(256))
        untouched = bytes(byte for byte in range(32, 127) if byte not in b'"\\')
        expected = b"".join(b"%c" % byte if byte in untouched else b"\\x%02X" % byte for byte in every)
        self.assertEqual(escape_for_log(every), expected)

    def test_json(self) -> None:
        cases = {
            b"plain": b"plain",
            b'a"b\\c\x01\t\n\x7f': b'a\\"b\\\\c\\u0001\\t\\n\\u007f',
            b"caf\xc3\xa9": b"caf\\u00e9",
            b"\xff": b"\\\\xff",
        }
        self.assertEqual({value: escape_for_json(value) for value in cases}, cases)

    @settings(max_examples=200)
    @given(st.text(max_size=20))
    def test_what_is_utf_8_comes_back_from_json(self, text: str) -> None:
        self.assertEqual(
            json.loads(b'"%b"' % escape_for_json(text.encode("utf-8", "replace"))).encode("utf-8", "replace"),
            text.encode("utf-8", "replace"),
        )


class JsonTests(ZoneCase):
    def line(self, facts: Facts) -> dict[str, Any]:
        line = log_format("json").line(facts)
        return json.loads(line.decode("utf-8"), parse_constant=self.fail)

    def check(self, facts: Facts, expected: Mapping[str, Any]) -> None:
        line = self.line(facts)
        self.assertEqual({name: line[name] for name in expected}, expected)

    def test_all_of_an_ordinary_one(self) -> None:
        expected = {
            "time": "2026-11-22T09:00:00.500+00:00",
            "remote_addr": "192.0.2.7",
            "request_id": "0123456789abcdef0123456789abcdef",
            "host": "example.test",
            "method": "GET",
            "uri": "/a%20b?x=1&y=2",
            "protocol": "HTTP/1.1",
            "status": 200,
            "bytes": 1200,
            "body_bytes": 1024,
            "request_time": 0.25,
            "upstream_addr": [],
            "upstream_status": [],
            "upstream_connect_time": [],
            "upstream_header_time": [],
            "upstream_response_time": [],
            "spilled": 0,
            "retries": 0,
            "referer": "http://a.test/?b=c d",
            "user_agent": "curl/8.5.0 (x; y)",
            "error": None,
        }
        line = self.line(Facts(request_headers=HEADERS))
        self.assertEqual(line, expected)
        self.assertEqual(list(line), list(JSON_FIELDS))

    def test_each_server_tried_has_its_place(self) -> None:
        self.check(
            RETRIED,
            {
                "upstream_addr": ["127.0.0.1:1", "unix:/run/app.sock", "127.0.0.1:3"],
                "upstream_status": [None, 504, 200],
                "upstream_connect_time": [None, 0.0, 0.001],
                "upstream_header_time": [None, None, 0.016],
                "upstream_response_time": [0.0, 60.001, 1.5],
                "spilled": 65536,
                "retries": 2,
            },
        )

    def test_of_what_could_not_be_read_fields_are_null(self) -> None:
        nothing = {"method": None, "uri": None, "protocol": None, "referer": None, "user_agent": None}
        self.check(GARBAGE, {**nothing, "host": "site.test", "status": 400, "error": "no head"})

    def test_milliseconds_are_of_the_same_second(self) -> None:
        self.check(Facts(ended=1795338000.99999), {"time": "2026-11-22T09:00:00.999+00:00"})

    def test_no_time_is_negative(self) -> None:
        self.check(
            Facts(started=5.0, ended=2.0, upstream_connect_times=[-1.0]),
            {"request_time": 0, "upstream_connect_time": [0]},
        )

    @settings(max_examples=200)
    @given(FACTS)
    def test_it_is_valid_whatever_was_sent(self, facts: Facts) -> None:
        self.assertEqual(set(self.line(facts)), set(JSON_FIELDS))
        json.loads(log_format('escape=json {"a":"$http_x_a","b":"$uri","c":"$error"}').line(facts))


class TemplateTests(ZoneCase):
    def test_a_format_of_ones_own(self) -> None:
        line = log_format("caf\xe9\t$remote_addr ${status}x $upstream_status $http_x_a $spilled_bytes").line
        self.assertEqual(line(Facts()), b"caf\xc3\xa9\t192.0.2.7 200x - - 0\n")
        self.assertEqual(
            line(attrs.evolve(RETRIED, request_headers={b"x-a": b'"'})),
            b"caf\xc3\xa9\t192.0.2.7 200x -, 504, 200 \\x22 65536\n",
        )

    def test_the_escape_is_chosen_as_in_nginx(self) -> None:
        facts = Facts(request_headers={b"x-a": b'"'})
        cases = {
            "escape=json [$http_x_a] [$http_x_b]": b'[\\"] []\n',
            "escape=default [$http_x_a] [$http_x_b]": b"[\\x22] [-]\n",
            "[$http_x_a] escape=json": b"[\\x22] escape=json\n",
        }
        self.assertEqual({text: log_format(text).line(facts) for text in cases}, cases)

    def test_equality_and_repr(self) -> None:
        self.assertEqual(log_format("combined"), log_format("combined"))
        self.assertNotEqual(log_format("combined"), log_format("json"))
        self.assertEqual(repr(log_format("json")), "LogFormat(text='json')")


class WrongTests(ZoneCase):
    def test_each_mistake_is_told(self) -> None:
        cases = {
            "": 'must be "combined", "json" or a template with a variable in it',
            "combine": 'must be "combined", "json" or a template with a variable in it',
            "escape=json": 'must be "combined", "json" or a template with a variable in it',
            "$host\n$uri": "a line of a log must not have line ends or other control characters in it",
            "$host\r": "a line of a log must not have line ends or other control characters in it",
            "escape=json\n$host": "a line of a log must not have line ends or other control characters in it",
            "escape=none $host": "escape= must be default or json; without one a client could write lines of its own",
            "$hots": "there is no variable $hots: the nearest is $host",
            "$1": "there is no capture $1: only what a regular expression of this route captures can be used",
        }
        for text, expected in cases.items():
            error = self.assertRaises(BadConfiguration, log_format, text, "logs[0].format")
            self.assertEqual((error.name, error.value, error.expected), ("logs[0].format", text, expected))
