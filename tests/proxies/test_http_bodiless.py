"""
What is said of a body that is not there, by the answer to HEAD and by 304: it is what GET gets, so what filters would make of
it.
"""

from __future__ import annotations

from typing import Any

from tests.proxies.http_case import HttpCase, MemoryCase, SocketCase
from tests.proxies.http_messages import THEIR_DATE, parsed, request, response
from twisted_pipe.filters.discovery import parse_filter_spec
from twisted_pipe.filters.messages.base import MessageFilter
from twisted_pipe.http.body_filters import FilterUse
from twisted_pipe.interfaces import MessageContext, NamedFilter
from twisted_pipe.messages.response import ResponseMessage

HTML = "Content-Type: text/html"
LENGTH = b"Content-Length: 500"


def uses(*specs: str) -> dict[str, Any]:
    return {"response_filters": tuple(FilterUse(factory=parse_filter_spec(spec)) for spec in specs)}


class Uppered(MessageFilter):
    def response(self, response: ResponseMessage) -> None:
        if (response.headers.get("Content-Type") or b"").startswith(b"text/html"):
            response.filter_body(parse_filter_spec("upper"))


UPPERED = {"message_filters": (NamedFilter("uppered", Uppered(MessageContext())),)}


class BodilessCase(HttpCase):
    sides_open: Any = None

    def fields(self, asked: bytes, answered: bytes, **settings: Any) -> list[bytes]:
        """What the client gets, without C{Date}. With C{settings} of the first request."""
        if self.sides_open is None:
            self.sides_open = self.both(asked, **settings)
            client, origin = self.sides_open
        else:
            client, origin = self.sides_open
            client.says(asked)
            origin.gets()
        origin.says(answered)
        got = parsed(client.gets())
        self.assertEqual(got.body, b"")
        self.assert_idle(1)
        return [line for line in got.fields if line != THEIR_DATE]


class HeadRules(BodilessCase):
    """RFC 9110, sections 8.6 and 9.3.2: a length that GET would not have must not be said."""

    def head(self, *lines: str, asked: str = "gzip", status: str = "200 OK", **settings: Any) -> list[bytes]:
        answered = response(b"x" * 500, *lines, status=status).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        return self.fields(request("HEAD", "/", f"Accept-Encoding: {asked}"), answered, **settings)

    def test_it_is_told_of_a_coding(self) -> None:
        got = self.head(HTML, 'ETag: "x"', "Accept-Ranges: bytes", **uses("gzip"))
        wanted = [HTML.encode(), b'ETag: W/"x"', b"Vary: Accept-Encoding", b"Content-Encoding: gzip"]
        self.assertEqual(got, wanted)

    def test_and_that_there_might_be_one(self) -> None:
        got = self.head(HTML, asked="br", **uses("gzip"))
        self.assertEqual(got, [HTML.encode(), b"Vary: Accept-Encoding", b"Content-Length: 500"])

    def test_what_changes_bytes_may_change_how_many(self) -> None:
        self.assertEqual(self.head('ETag: "x"', **uses("upper")), [b'ETag: W/"x"'])

    def test_what_message_filters_ask_for_too(self) -> None:
        self.assertEqual(self.head(HTML, 'ETag: "x"', **UPPERED), [HTML.encode(), b'ETag: W/"x"'])

    def test_where_no_filter_is_for_it_it_is_as_it_came(self) -> None:
        lines = ["Content-Type: image/png", 'ETag: "x"', "Accept-Ranges: bytes"]
        wanted = [*(line.encode() for line in lines), b"Content-Length: 500"]
        self.assertEqual(self.head(*lines, **uses("gzip")), wanted)

    def test_so_is_one_of_a_part(self) -> None:
        lines = [HTML, "Content-Range: bytes 0-499/1000"]
        wanted = [*(line.encode() for line in lines), b"Content-Length: 500"]
        self.assertEqual(self.head(*lines, status="206 Partial Content", **uses("gzip", "upper")), wanted)


class HeadMemoryTests(HeadRules, MemoryCase):
    pass


class HeadSocketTests(HeadRules, SocketCase):
    pass


del HeadRules


class NotModifiedRules(BodilessCase):
    """RFC 9110, section 15.4.5: C{ETag} and C{Vary} are those of the 200."""

    def not_modified(self, known: str, *lines: str, **settings: Any) -> list[bytes]:
        asked = request("GET", "/", f"If-None-Match: {known}", "Accept-Encoding: gzip")
        answered = response(b"", 'ETag: "x"', *lines, status="304 Not Modified", length=False)
        return self.fields(asked, answered, **settings)

    def test_a_tag_that_filters_made_weak_is_weak(self) -> None:
        for known in ('W/"x"', '"a", W/"x"', 'W/"a,b",W/"x"'):
            self.assertEqual(self.not_modified(known, **uses("upper")), [b'ETag: W/"x"'], known)

    def test_one_that_the_client_knows_as_strong_is_strong(self) -> None:
        for known in ('"x"', 'W/"x", "x"', "*", 'W/"y"'):
            self.assertEqual(self.not_modified(known, **uses("upper")), [b'ETag: "x"'], known)

    def test_nobody_says_of_which_type_it_is(self) -> None:
        """So a message filter that goes by the type asks for nothing."""
        self.assertEqual(self.not_modified('W/"x"', **UPPERED), [b'ETag: W/"x"'])

    def test_what_may_be_coded_varies(self) -> None:
        self.assertEqual(self.not_modified('"x"', **uses("gzip")), [b'ETag: "x"', b"Vary: Accept-Encoding"])

    def test_but_not_if_it_is_known_to_be_none_of_that(self) -> None:
        for line in ("Content-Type: image/png", "Cache-Control: no-transform", "Content-Encoding: br"):
            self.assertEqual(self.not_modified('"x"', line, **uses("gzip")), [b'ETag: "x"', line.encode()])

    def test_without_filters_it_is_as_it_came(self) -> None:
        self.assertEqual(self.not_modified('W/"x"'), [b'ETag: "x"'])

    def test_a_length_that_its_200_may_not_have_is_not_said(self) -> None:
        """RFC 9110, section 8.6."""
        self.assertNotIn(LENGTH, self.sized(**uses("upper")))

    def test_nor_that_of_what_may_be_coded(self) -> None:
        self.assertNotIn(LENGTH, self.sized(**uses("gzip")))

    def test_nor_where_message_filters_may_ask_for_something(self) -> None:
        self.assertNotIn(LENGTH, self.sized(**UPPERED))

    def test_that_of_what_filters_keep_is(self) -> None:
        self.assertIn(LENGTH, self.sized(**uses("throttle:rate=1m")))

    def test_and_that_of_what_passes_none(self) -> None:
        self.assertIn(LENGTH, self.sized("Content-Type: image/png", **uses("gzip")))

    def sized(self, *lines: str, **settings: Any) -> list[bytes]:
        return self.not_modified('W/"x"', "Content-Length: 500", *lines, **settings)


class NotModifiedMemoryTests(NotModifiedRules, MemoryCase):
    pass


class NotModifiedSocketTests(NotModifiedRules, SocketCase):
    pass


del NotModifiedRules, BodilessCase
