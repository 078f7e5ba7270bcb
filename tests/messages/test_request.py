"""A request as filters change it."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.http.target import BadTarget, parse_target
from twisted_pipe.messages.request import RequestMessage


class Facts:
    client_host = "192.0.2.7"
    scheme = "https"
    host = b"example.org"
    uri = b"/a b"
    request_id = "0" * 32


def message(target: bytes = b"/a%20b?c=d", **more: Any) -> RequestMessage:
    return RequestMessage(Facts(), b"GET", target, [b"Host: example.org"], variable=lambda name: name.encode(), **more)


class ReadTests(SynchronousTestCase):
    def test_what_it_is(self) -> None:
        request = message(body_length=None, upgrade=b"websocket")
        self.assertEqual(
            (request.method, request.target, request.path, request.query), (b"GET", b"/a%20b?c=d", b"/a%20b", b"c=d")
        )
        self.assertEqual((request.client, request.scheme, request.host), ("192.0.2.7", "https", b"example.org"))
        self.assertEqual((request.uri, request.body_length, request.upgrade), (b"/a b", None, b"websocket"))
        self.assertEqual((request.upstream, request.tls, request.retargeted), (None, None, False))

    def test_no_query_is_not_an_empty_one(self) -> None:
        self.assertIsNone(message(b"/a").query)
        self.assertEqual(message(b"/a?").query, b"")

    def test_variables_are_asked_for_by_name(self) -> None:
        self.assertEqual(message().variable("host"), b"host")

    def test_its_method_cannot_be_changed(self) -> None:
        self.assertRaises(AttributeError, setattr, message(), "method", b"HEAD")


class ChangeTests(SynchronousTestCase):
    def test_a_target_is_changed_whole_or_in_its_parts(self) -> None:
        request = message()
        request.path = b"/x"
        self.assertEqual(request.target, b"/x?c=d")
        request.query = b"e"
        self.assertEqual(request.target, b"/x?e")
        request.query = None
        self.assertEqual(request.target, b"/x")
        request.target = "/y?z"  # type: ignore[assignment]
        self.assertEqual((request.path, request.query, request.retargeted), (b"/y", b"z", True))

    def test_a_target_that_could_end_the_line_or_is_no_path_is_refused(self) -> None:
        request = message()
        for target in (b"", b"a", b"//x y", b"/a\r\nB: c", b"/a#b", b"/%", b"/%4", b"/%g0", b"/\0", b"http://a/", b"*"):
            self.assertRaises(ValueError, setattr, request, "target", target)
        self.assertRaises(ValueError, setattr, request, "path", b"/a?b")
        self.assertEqual((request.target, request.retargeted), (b"/a%20b?c=d", False))

    @given(st.binary(max_size=16))
    @example(b"/%zz")
    def test_what_is_taken_is_a_target_to_the_parser(self, target: bytes) -> None:
        request = message()
        try:
            request.target = target
        except ValueError:
            return
        try:
            found = parse_target(b"GET", target)
        except BadTarget as error:
            raise AssertionError(target) from error
        self.assertEqual((found.raw, found.path, found.query), (target, request.path, request.query))

    def test_an_upstream_has_to_be_known(self) -> None:
        request = message(upstreams={"blue": 1, "green": 2})
        request.upstream = "green"
        self.assertEqual(request.upstream, "green")
        error = self.assertRaises(ValueError, setattr, request, "upstream", "red")
        self.assertEqual(str(error), "no such upstream: 'red'; known: blue, green")

    def test_an_id_is_visible_ascii(self) -> None:
        request = message()
        self.assertEqual(request.request_id, "0" * 32)
        for text in ("", "a b", "a\n", "ä", "x" * 201):
            self.assertRaises(ValueError, setattr, request, "request_id", text)
        request.request_id = "mine"
        self.assertEqual((request.request_id, request.chosen_id), ("mine", "mine"))

    def test_variables_have_names_as_templates_know_them(self) -> None:
        request = message()
        request.set_variable("user_2", "Jürgen")
        self.assertEqual(request.variables, {"user_2": "Jürgen".encode()})
        for name in ("", "User", "a-b", "$a", "a b"):
            self.assertRaises(ValueError, request.set_variable, name, "x")

    def test_frozen_nothing_can_be_changed(self) -> None:
        request = message(upstreams=("blue",))
        request.freeze("too late")
        for change in (
            lambda: request.headers.set("A", "b"),
            lambda: setattr(request, "target", b"/x"),
            lambda: setattr(request, "path", b"/x"),
            lambda: setattr(request, "query", None),
            lambda: setattr(request, "upstream", "blue"),
            lambda: setattr(request, "request_id", "x"),
            lambda: request.set_variable("a", "b"),
            lambda: request.filter_body(lambda context: None),
        ):
            self.assertEqual(str(self.assertRaises(ValueError, change)), "too late")

    def test_what_was_saved_can_be_had_back(self) -> None:
        request = message(upstreams=("blue",))
        saved = request.saved()
        request.headers.set("A", "b")
        request.target = b"/x"
        request.upstream = "blue"
        request.request_id = "x"
        request.set_variable("a", "b")
        request.filter_body(lambda context: None)
        self.assertNotEqual(request.saved(), saved)
        request.restore(saved)
        self.assertEqual(request.saved(), saved)
        self.assertEqual(
            (request.headers.lines, request.target, request.upstream), ([b"Host: example.org"], b"/a%20b?c=d", None)
        )
        self.assertEqual((request.body_filters, request.variables, request.retargeted), ((), {}, False))
