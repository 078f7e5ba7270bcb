"""Filters that put out what they are given: what is said of the body stays, and is true all the same."""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.internet.task import deferLater

from tests.proxies.http_case import HttpCase, MemoryCase, SocketCase
from tests.proxies.http_messages import chunks, request, response, unchunked
from twisted_pipe.filters.base import ConfiguredFilter, FilterPlugin, PipeFilter
from twisted_pipe.filters.discovery import parse_filter_spec
from twisted_pipe.http.body_filters import FilterUse

LINES = ('ETag: "x"', "Accept-Ranges: bytes", "Repr-Digest: y")
KEEPING = ("count", "digest", "hexdump", "pass", "tee:path=/dev/null", "throttle:rate=10m:burst=10m")


def uses(*specs: str) -> tuple[FilterUse, ...]:
    return tuple(FilterUse(factory=parse_filter_spec(spec)) for spec in specs)


class Kept(PipeFilter):
    """Puts out what it is given."""

    keeps_bytes: ClassVar[bool] = True


class More(Kept):
    """Says so, and does not."""

    def received(self, data: memoryview) -> Any:
        return (data, b"+")


class Late(Kept):
    def ended(self) -> Any:
        return (b"more",)


class Less(Kept):
    def received(self, data: memoryview) -> Any:
        return (data[:-1],)


class Refused(Kept):
    """Says at the end that it was wrong, as one that asks a verifier would."""

    def ended(self) -> Any:
        yield deferLater(self.context.clock, 1)
        raise ValueError("it is forged")


def used(made: type[PipeFilter]) -> tuple[FilterUse, ...]:
    plugin = FilterPlugin(made.__name__.lower(), "", "tests.proxies.test_http_kept_bytes:Kept")
    return (FilterUse(factory=ConfiguredFilter(plugin, made)),)


class ResponseRules(HttpCase):
    def test_a_response_is_as_it_came(self) -> None:
        body = b"abc" * 1000
        client, origin = self.both(response_filters=uses(*KEEPING))
        origin.says(response(body, *LINES))
        self.settle()
        self.assertEqual(client.gets(), response(body, *LINES))
        self.assert_idle(1)

    def test_so_is_one_without_a_byte(self) -> None:
        client, origin = self.both(response_filters=used(Kept))
        origin.says(response(b"", *LINES))
        self.assertEqual(client.gets(), response(b"", *LINES))
        self.assert_idle(1)

    def test_one_that_does_not_keep_them_is_enough(self) -> None:
        client, origin = self.both(response_filters=uses("count", "upper"))
        origin.says(response(b"abc", *LINES))
        head, _, body = client.gets().partition(b"\r\n\r\n")
        self.assertEqual(unchunked(body), (b"ABC", b"\r\n"))
        self.assertIn(b'ETag: W/"x"', head)

    def test_the_answer_to_head_is_as_it_came(self) -> None:
        client, origin = self.both(request("HEAD"), response_filters=uses("count"))
        answered = response(b"abc", *LINES)[:-3]
        origin.says(answered)
        self.assertEqual(client.gets(), answered)

    def test_trailers_speak_of_the_same_bytes(self) -> None:
        client, origin = self.both(response_filters=uses("count"))
        origin.says(response(b"", "Transfer-Encoding: chunked", length=False))
        origin.says(chunks(b"abc", trailers=b"Repr-Digest: y\r\n"))
        got = client.gets().partition(b"\r\n\r\n")[2]
        self.assertEqual(unchunked(got), (b"abc", b"Repr-Digest: y\r\n\r\n"))

    def test_an_old_client_is_told_the_length(self) -> None:
        client, origin = self.both(
            request("GET", "/", "Connection: keep-alive", minor=0), response_filters=uses("count")
        )
        origin.says(response(b"abc"))
        self.assertIn(b"\r\nContent-Length: 3\r\n", client.gets())
        self.assert_idle(1)

    def test_more_than_was_announced_is_not_sent(self) -> None:
        body, complaint = self.broken_off(More)
        self.assertEqual(body, b"abc+")
        self.assertIn("filter 'length': ValueError: filters that keep bytes have put out more than the 6", complaint)

    def test_nor_at_the_end(self) -> None:
        body, complaint = self.broken_off(Late)
        self.assertIn(body, (b"abc", b"abcde"))
        self.assertIn("filter 'length': ValueError: filters that keep bytes have put out more than the 6", complaint)

    def test_less_has_no_end(self) -> None:
        body, complaint = self.broken_off(Less)
        self.assertIn(body, (b"ab", b"abde"))
        self.assertIn("filter 'length': ValueError: filters that keep bytes have put out 4 of the 6", complaint)

    def test_nor_has_one_that_is_refused_at_the_end(self) -> None:
        body, complaint = self.broken_off(Refused)
        self.assertEqual(body, b"abcde")
        self.assertIn("filter 'refused': ValueError: it is forged", complaint)

    def broken_off(self, made: type[PipeFilter]) -> tuple[bytes, str]:
        """What a client got of abcdef that had begun before it came to its end, and the line in the log."""
        self.start(response_filters=used(made))
        client = self.client()
        client.says(request())
        origin = self.origin()
        origin.gets()
        origin.says(response(b"abcdef")[:-3])
        got = client.gets()
        origin.says(b"def")
        got += client.gets()
        self.advance(1)
        got += client.gets()
        self.assertTrue(client.ended or client.reset)
        self.assertIn(b"\r\nContent-Length: 6\r\n", got)
        return got.partition(b"\r\n\r\n")[2], self.complaints()[-1]


class ResponseMemoryTests(ResponseRules, MemoryCase):
    pass


class ResponseSocketTests(ResponseRules, SocketCase):
    pass


del ResponseRules


class RequestRules(HttpCase):
    def check_length(self, buffering: bool) -> None:
        asked = request("POST", "/", "Repr-Digest: y", body=b"abc" * 1000)
        client, origin = self.pair(asked, request_filters=uses("count"), request_buffering=buffering)
        self.assertEqual(origin.gets(), asked)
        origin.says(response(b"good"))
        self.assertEqual(client.gets(), response(b"good"))
        self.assert_idle(1)

    def test_a_request_keeps_its_length(self) -> None:
        """Not every server takes chunks."""
        self.check_length(buffering=True)

    def test_one_that_is_passed_on_as_it_comes_too(self) -> None:
        self.check_length(buffering=False)

    def test_one_that_comes_in_chunks_goes_on_in_chunks(self) -> None:
        asked = request("POST", "/", "Transfer-Encoding: chunked") + chunks(b"ab", trailers=b"Repr-Digest: y\r\n")
        client, origin = self.pair(asked, request_filters=uses("count"))
        self.assertEqual(unchunked(origin.gets().partition(b"\r\n\r\n")[2]), (b"ab", b"Repr-Digest: y\r\n\r\n"))
        origin.says(response(b"good"))
        self.assertEqual(client.gets(), response(b"good"))

    def test_more_or_less_is_500(self) -> None:
        self.start(request_filters=used(More))
        client = self.client()
        client.says(request("POST", "/", body=b"abc"))
        self.assertTrue(client.gets().startswith(b"HTTP/1.1 500 "))
        self.assertIn("filter 'length': ValueError: filters that keep bytes", self.complaints()[-1])


class RequestMemoryTests(RequestRules, MemoryCase):
    pass


class RequestSocketTests(RequestRules, SocketCase):
    pass


del RequestRules
