"""On which bodies text is replaced, and what has to be asked of the upstream for that."""

from __future__ import annotations

import gzip

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.testing import MessageHarness, check_message_filter
from twisted_pipe.testing.messages import Played

SPEC = "substitution:find=old:replace=new"


def response(*lines: str, body: bytes = b"an old text") -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", *lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


class SubstitutionTests(SynchronousTestCase):
    def got(self, data: bytes, spec: str = SPEC) -> Played:
        got = MessageHarness(spec).request().respond(data).client_gets
        assert got is not None
        return got

    def test_text_is_replaced_in_html(self) -> None:
        self.assertEqual(self.got(response("Content-Type: Text/HTML; charset=utf-8")).body, b"an new text")

    def test_other_types_stay_as_they_are(self) -> None:
        for lines in (("Content-Type: text/plain",), ("Content-Type: text/htmlx",), (), ("Content-Type: ",)):
            self.assertEqual(self.got(response(*lines)).body, b"an old text")

    def test_types_are_named(self) -> None:
        spec = SPEC + ":types=text/*,application/json"
        self.assertEqual(self.got(response("Content-Type: text/css"), spec).body, b"an new text")
        self.assertEqual(self.got(response("Content-Type: application/json"), spec).body, b"an new text")
        self.assertEqual(self.got(response("Content-Type: image/png"), spec).body, b"an old text")

    def test_with_a_regular_expression(self) -> None:
        spec = r"substitution:find=(o)(ld):replace=\2\1:regex=on:max=1"
        got = self.got(response("Content-Type: text/html", body=b"old old"), spec)
        self.assertEqual(got.body, b"ldo old")

    def test_the_upstream_is_asked_for_the_plain_whole(self) -> None:
        data = b'GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nRange: bytes=1-2\r\nIf-Range: "a"\r\n\r\n'
        asked = MessageHarness(SPEC).request(data).upstream_gets
        assert asked is not None
        self.assertEqual(asked.headers.lines, [b"Host: a", b"Accept-Encoding: identity"])

    def test_what_comes_zipped_all_the_same_is_unzipped(self) -> None:
        body = gzip.compress(b"an old text")
        got = self.got(response("Content-Type: text/html", "Content-Encoding: gzip", body=body))
        self.assertEqual(got.body, b"an new text")

    def test_no_parts_are_offered_of_what_is_changed(self) -> None:
        self.assertNotIn("accept-ranges", self.got(response("Content-Type: text/html", "Accept-Ranges: bytes")).headers)
        self.assertIn("accept-ranges", self.got(response("Accept-Ranges: bytes")).headers)

    def test_pages_of_our_own_stay(self) -> None:
        got = MessageHarness("substitution:find=Bad:replace=Good").request().fail(502).client_gets
        assert got is not None
        self.assertIn(b"Bad Gateway", got.body)

    def test_options_that_cannot_be_are_named(self) -> None:
        error = self.assertRaises(BadConfiguration, MessageHarness, "substitution:find=(:regex=on")
        self.assertEqual(error.name, "message filter substitution: find")
        self.assertRaises(BadConfiguration, MessageHarness, "substitution")

    def test_it_keeps_the_contract(self) -> None:
        check_message_filter(SPEC, responses=[response("Content-Type: text/html")])
