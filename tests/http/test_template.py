"""Text with variables in it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.http.test_variables import Facts
from twisted_pipe.errors import BadConfiguration
from twisted_pipe.http.template import Template

FACTS = Facts(captures={"1": b"one", "2": b"two", "id": b"7"}, request_headers={b"a": b"100%b $host"})
CAPTURES = ("1", "2", "id")
RENDERED = {
    "": b"",
    "plain 100 %s %b %%": b"plain 100 %s %b %%",
    "caf\xe9 $host": b"caf\xc3\xa9 example.test",
    "$host": b"example.test",
    "https://$host$request_uri": b"https://example.test/a%20b?x=1&y=2",
    "${host}s $host-x$host.y": b"example.tests example.test-xexample.test.y",
    "100% of $host": b"100% of example.test",
    "$1 ${2} $10 $id": b"one two one0 7",
    "[$http_b]": b"[]",
    "$http_a": b"100%b $host",
    "$uri$is_args$args": b"/a b?x=1&y=2",
    "$dollar${dollar}{host}": b"$${host}",
}
WRONG = {
    "$": "has a lone $ at position 0: $name is a variable, ${dollar} is a dollar sign",
    "a$$host": "has a lone $ at position 1",
    "costs 5$": "has a lone $ at position 7",
    "$-": "has a lone $ at position 0",
    "${host": "has a lone $ at position 0",
    "${}": "has a lone $ at position 0",
    "${ host }": "has a lone $ at position 0",
    "$0": "has a lone $ at position 0",
    "$\xe9": "has a lone $ at position 0",
    "$remote_adr": "there is no variable $remote_adr: the nearest is $remote_addr",
    "${hostt}": "there is no variable $hostt: the nearest is $host",
    "$hostname_": "there is no variable $hostname_: the nearest is $hostname",
    "$zzzzzz": "there is no variable $zzzzzz",
    "$3": "there is no capture $3: only what a regular expression of this route captures can be used",
    "$idd": "there is no variable $idd: the nearest is $id",
}


class RenderTests(SynchronousTestCase):
    def test_values_stand_between_what_is_literal(self) -> None:
        for text, expected in RENDERED.items():
            template = Template.compile("location", text, CAPTURES)
            self.assertEqual((template.render(FACTS), template.text), (expected, text))

    def test_without_a_variable_it_is_literal(self) -> None:
        cases = {"": b"", "a % b": b"a % b", "5 ${dollar}": b"5 $", "$host": None, "$is_args": None}
        self.assertEqual({text: Template.compile("body", text).literal for text in cases}, cases)

    def test_what_escapes_sees_values_only_and_none_of_our_own_making(self) -> None:
        seen: list[bytes] = []

        def escape(value: bytes) -> bytes:
            seen.append(value)
            return value.upper()

        template = Template.compile("log", "a $host $status $http_b", escape=escape, missing=b"-")
        self.assertEqual((template.render(FACTS), seen), (b"a EXAMPLE.TEST 200 -", [b"example.test"]))

    def test_an_empty_value_is_not_missing(self) -> None:
        template = Template.compile("log", "[$http_a] [$http_b]", missing=b"-")
        self.assertEqual(template.render(Facts(request_headers={b"a": b""})), b"[] [-]")

    def test_arguments_of_the_command_line_keep_their_bytes(self) -> None:
        self.assertEqual(Template.compile("x", b"\xff".decode("utf-8", "surrogateescape")).literal, b"\xff")

    def test_templates_of_the_same_text_are_equal(self) -> None:
        self.assertEqual(Template.compile("x", "$host"), Template.compile("y", "$host"))
        self.assertNotEqual(Template.compile("x", "$host"), Template.compile("x", "$uri"))
        self.assertEqual(repr(Template.compile("x", "$host")), "Template(text='$host', literal=None)")


class WrongTests(SynchronousTestCase):
    def test_each_mistake_names_the_option_the_text_and_what_would_be_right(self) -> None:
        for text, expected in WRONG.items():
            error = self.assertRaises(BadConfiguration, Template.compile, "routes[0].location", text, CAPTURES)
            self.assertEqual((error.name, error.value), ("routes[0].location", text))
            self.assertTrue(error.expected.startswith(expected), error.expected)

    def test_a_capture_is_unknown_where_nothing_is_captured(self) -> None:
        self.assertRaises(BadConfiguration, Template.compile, "x", "$1")

    def test_a_capture_called_like_a_variable_is_refused_where_it_is_used(self) -> None:
        error = self.assertRaises(BadConfiguration, Template.compile, "x", "$host", ("host",))
        self.assertEqual(error.expected, "$host is a variable: the capture of that name must have another")
        self.assertRaises(BadConfiguration, Template.compile, "x", "$arg_a", ("arg_a",))
        Template.compile("x", "$uri", ("host",))


class HeaderTests(SynchronousTestCase):
    def header(self, text: str, value: bytes) -> bytes:
        return Template.compile("set", text).render_header(Facts(request_headers={b"a": value}))

    def test_ordinary_values_are_not_touched(self) -> None:
        self.assertEqual(self.header("x=$http_a; y", b"a\tb \xc3\xa9\xff"), b"x=a\tb \xc3\xa9\xff; y")

    def test_control_characters_become_spaces(self) -> None:
        hostile = b"x\r\nSet-Cookie: a=b\r\n\r\n<html>\x00\x7f\x1fz"
        self.assertEqual(self.header("a$http_a", hostile), b"ax  Set-Cookie: a=b    <html>   z")

    def test_those_of_the_configuration_too(self) -> None:
        self.assertEqual(self.header("a\r\nb", b""), b"a  b")

    def test_no_space_stands_at_its_ends(self) -> None:
        self.assertEqual(self.header(" $http_a\t", b"\r\nx \n"), b"x")

    @settings(max_examples=200)
    @given(st.binary(max_size=40))
    def test_whatever_is_sent_the_field_goes_on(self, value: bytes) -> None:
        sent = self.header("v=$http_a", value)
        self.assertFalse(set(sent) & (set(range(32)) - {9} | {127}))
        self.assertTrue(sent.startswith(b"v="))
