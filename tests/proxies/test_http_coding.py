"""Filters on the bodies of HTTP: who gets them, what the heads say of them, and how a body ends that one has failed on."""

from __future__ import annotations

import gzip
import zlib
from typing import Any, ClassVar

import attrs
from backports import zstd

from tests.proxies.http_case import HttpCase, MemoryCase, SocketCase
from tests.proxies.http_messages import THEIR_DATE, chunks, request, response, unchunked
from twisted_pipe.filters.base import ConfiguredFilter, FilterPlugin, PipeFilter
from twisted_pipe.filters.discovery import parse_filter_spec
from twisted_pipe.http.body_filters import FilterUse
from twisted_pipe.http.head import Framing, ResponseHead, parse_response
from twisted_pipe.interfaces import Direction, FilterContext, OnFailure
from twisted_pipe.proxies.http import HttpProxy
from twisted_pipe.proxies.http_settings import HttpSettings

TEXT = b"All work and no play makes Jack a dull boy.\n" * 50
HTML = "Content-Type: text/html; charset=utf-8"
ACCEPTED = request("GET", "/", "Accept-Encoding: gzip, br")


def use(spec: str, *types: str) -> FilterUse:
    return FilterUse(factory=parse_filter_spec(spec), types=types)


def uses(*specs: str) -> tuple[FilterUse, ...]:
    return tuple(use(spec) for spec in specs)


@attrs.define
class Breaking(PipeFilter):
    """Fails at the second piece, or when it is built, started, or ended."""

    fails: ClassVar[str] = ""
    built: ClassVar[list[Any]] = []

    def __attrs_post_init__(self) -> None:
        self.built.append(self.context)
        self._fail("built")

    def _fail(self, where: str) -> None:
        if self.fails == where:
            raise RuntimeError(f"failed when {where}")

    def started(self) -> Any:
        self._fail("started")
        return ()

    def received(self, data: memoryview) -> Any:
        self._fail("received")
        if b"!" in bytes(data):
            self._fail("at a mark")
        return (bytes(data),)

    def ended(self) -> Any:
        self._fail("ended")
        return ()


class BreakingCoder(Breaking):
    """The same, and codes."""

    content_coding: ClassVar[str] = "gzip"


def breaking(fails: str, cls: type[Breaking] = Breaking, on_failure: OnFailure = OnFailure.ABORT) -> FilterUse:
    """A use of a filter that fails there."""
    made = type(cls.__name__, (cls,), {"fails": fails, "built": []})
    plugin = FilterPlugin("breaking", "", "tests.proxies.test_http_coding:Breaking")
    return FilterUse(factory=ConfiguredFilter(plugin, made, on_failure=on_failure), types=("*/*",))


def parsed(data: bytes) -> tuple[ResponseHead, bytes]:
    """The head of C{data}, and what follows it."""
    head = parse_response(data)
    assert head is not None, data
    return head, data[head.size :]


class CodingCase(HttpCase):
    def answer(
        self, answered: bytes, asked: bytes = ACCEPTED, ended: bool = False, **settings: Any
    ) -> tuple[ResponseHead, bytes]:
        """Head and body, as they were sent to a client that C{asked} a server that C{answered}."""
        client, origin = self.both(asked, **settings)
        origin.says(answered)
        if ended:
            origin.half_close()
        self.client_line, self.origin_line = client, origin
        return parsed(client.gets())

    def start(self, settings: HttpSettings | None = None, **changes: Any) -> HttpProxy:
        """As many proxies as a test likes, one after the other."""
        if "proxy" in vars(self):
            self.check_over()
            self.journal.lines.clear()
            self.logged.clear()
            if isinstance(self, SocketCase):
                self.ports.pop().stopListening()
                self.sides.clear()
                for listener in self.listeners.values():
                    listener.close()
                self.settle()
        return HttpCase.start(self, settings, **changes)

    def plain(self, body: bytes) -> bytes:
        """A whole gzip stream in a whole chunked body."""
        content, rest = unchunked(body)
        self.assertEqual(rest, b"\r\n")
        return gzip.decompress(content)


class CompressionRules(CodingCase):
    def test_a_body_is_compressed_for_who_accepts_it(self) -> None:
        for spec in ("gzip", "gzip:level=1"):
            head, body = self.answer(response(TEXT, HTML, 'ETag: "x"'), response_filters=uses(spec))
            lines = [THEIR_DATE, HTML.encode(), b'ETag: W/"x"', b"Vary: Accept-Encoding", b"Content-Encoding: gzip"]
            self.assertEqual(head.lines, lines)
            self.assertEqual(head.framing.value, "chunked")
            self.assertIsNone(head.content_length)
            self.assertEqual(self.plain(body), TEXT)
            self.assertLess(len(body), len(TEXT) // 4)

    def test_the_other_codings(self) -> None:
        for spec, coding, read in (("zstd", "zstd", zstd.decompress), ("brotli", "br", None)):
            asked = request("GET", "/", f"Accept-Encoding: {coding}")
            head, body = self.answer(response(TEXT, HTML), asked, response_filters=uses(spec))
            self.assertEqual(head.get(b"content-encoding"), coding.encode())
            content, _ = unchunked(body)
            if read is None:
                import brotli  # type: ignore[import-untyped]

                read = brotli.decompress
            self.assertEqual(read(content), TEXT)

    def test_who_does_not_accept_it_gets_it_as_it_is(self) -> None:
        """Caches are told that others get something else."""
        for accepted in (
            "Accept: */*",
            "Accept-Encoding: br",
            "Accept-Encoding: gzip;q=0",
            "Accept-Encoding: identity",
        ):
            asked = request("GET", "/", accepted)
            head, body = self.answer(response(TEXT, HTML, 'ETag: "x"'), asked, response_filters=uses("gzip"))
            self.assertEqual(head.lines, [THEIR_DATE, HTML.encode(), b'ETag: "x"', b"Vary: Accept-Encoding"])
            self.assertEqual((head.content_length, body), (b"%d" % len(TEXT), TEXT))

    def test_the_first_of_several_that_is_accepted(self) -> None:
        filters = uses("zstd", "gzip")
        head, _body = self.answer(response(TEXT, HTML), response_filters=filters)
        self.assertEqual(head.get_list(b"content-encoding"), b"gzip")
        self.assertEqual(head.get_list(b"vary"), b"Accept-Encoding")
        asked = request("GET", "/", "Accept-Encoding: gzip, zstd")
        head, _body = self.answer(response(TEXT, HTML), asked, response_filters=filters)
        self.assertEqual(head.get_list(b"content-encoding"), b"zstd")
        self.assertEqual(head.get_list(b"vary"), b"Accept-Encoding")

    def test_only_what_can_be_compressed_is_by_default(self) -> None:
        for media_type, coding in (
            ("text/plain", b"gzip"),
            ("TEXT/HTML;charset=utf-8", b"gzip"),
            ("application/json", b"gzip"),
            ("image/svg+xml", b"gzip"),
            ("image/png", None),
            ("application/octet-stream", None),
            ("", None),
        ):
            head, _body = self.answer(response(TEXT, f"Content-Type: {media_type}"), response_filters=uses("gzip"))
            self.assertEqual(head.get(b"content-encoding"), coding, media_type)
            self.assertEqual(head.get(b"vary"), coding and b"Accept-Encoding", media_type)

    def test_types_that_are_given_replace_these(self) -> None:
        filters = (use("gzip", "image/*", "application/x"),)
        for media_type, coding in (("image/png", b"gzip"), ("application/x", b"gzip"), ("text/html", None)):
            head, _body = self.answer(response(TEXT, f"Content-Type: {media_type}"), response_filters=filters)
            self.assertEqual(head.get(b"content-encoding"), coding, media_type)

    def test_other_filters_are_for_every_type(self) -> None:
        head, body = self.answer(response(b"abc"), response_filters=uses("upper"))
        self.assertEqual(head.lines, [THEIR_DATE])
        self.assertEqual(unchunked(body), (b"ABC", b"\r\n"))

    def test_what_does_not_look_at_bytes_is_for_coded_bodies_too(self) -> None:
        answered = response(b"abc", HTML, "Content-Encoding: br")
        blind = ConfiguredFilter(
            FilterPlugin("blind", "", "tests.proxies.test_http_coding:Breaking"),
            type("Blind", (PipeFilter,), {"any_coding": True}),
        )
        for factory, chunked in ((blind, True), (parse_filter_spec("upper"), False)):
            head, body = self.answer(answered, response_filters=(FilterUse(factory=factory),))
            self.assertEqual(head.framing is Framing.CHUNKED, chunked, factory.name)
            self.assertIn(b"abc", body)
        self.answer(answered, response_filters=uses("count"))
        self.assertEqual([event["bytes"] for event in self.logged if "chunks" in event], [3])

    def test_what_is_compressed_is_not_compressed_again(self) -> None:
        for coding in ("gzip", "br", "x-gzip", "identity, gzip"):
            answered = response(b"abc", HTML, f"Content-Encoding: {coding}")
            head, body = self.answer(answered, response_filters=uses("gzip", "upper"))
            self.assertEqual(head.get_list(b"content-encoding"), coding.encode())
            self.assertEqual(body, b"abc")
            self.assertNotIn(b"Vary: Accept-Encoding", head.lines)

    def test_one_coding_is_enough(self) -> None:
        asked = request("GET", "/", "Accept-Encoding: gzip, zstd")
        head, body = self.answer(response(TEXT, HTML), asked, response_filters=uses("gzip", "zstd", "gzip"))
        self.assertEqual(head.get_list(b"content-encoding"), b"gzip")
        self.assertEqual(self.plain(body), TEXT)

    def test_no_transform_is_obeyed(self) -> None:
        for control in ("no-transform", "public, No-Transform, max-age=5"):
            answered = response(TEXT, HTML, f"Cache-Control: {control}")
            head, body = self.answer(answered, response_filters=uses("gzip"))
            self.assertEqual((head.get(b"content-encoding"), body), (None, TEXT))

    def test_parts_are_left_alone(self) -> None:
        """They are no text that could be coded, and their lengths and ranges are those of the whole."""
        for status in ("206 Partial Content", "204 No Content"):
            body = b"abc" if status.startswith("206") else b""
            lines = (HTML, 'ETag: "x"', "Accept-Ranges: bytes")
            answered = response(body, *lines, status=status, length=bool(body))
            head, got = self.answer(answered, response_filters=uses("gzip", "upper"))
            self.assertEqual((head.lines, got), ([THEIR_DATE, *(line.encode() for line in lines)], body))

    def test_but_by_what_does_not_look_at_bytes(self) -> None:
        """A part is as good for it as the whole: else a client could escape it by asking for a range."""
        lines = (HTML, "Content-Range: bytes 0-2/3")
        answered = response(b"abc", *lines, status="206 Partial Content")
        head, body = self.answer(answered, response_filters=uses("gzip", "count", "upper"))
        self.assertEqual((head.status, head.lines), (206, [THEIR_DATE, *(line.encode() for line in lines)]))
        self.assertEqual(body, b"abc")
        self.assertEqual([event["bytes"] for event in self.logged if "chunks" in event], [3])

    def test_a_range_is_no_faster(self) -> None:
        answered = response(TEXT, "Content-Range: bytes 0-2199/2200", status="206 Partial Content")
        _, body = self.answer(answered, response_filters=uses("throttle:rate=1000"))
        self.assertLess(len(body), 200)
        self.advance(3)
        self.assertEqual(body + self.client_line.gets(), TEXT)

    def test_what_codes_is_not_for_parts_whatever_else_it_says(self) -> None:
        made = type("AnyCoder", (PipeFilter,), {"any_coding": True, "content_coding": "gzip"})
        plugin = FilterPlugin("any", "", "tests.proxies.test_http_coding:Breaking")
        used = FilterUse(factory=ConfiguredFilter(plugin, made), types=("*/*",))
        answered = response(b"abc", "Content-Range: bytes 0-2/3", status="206 Partial Content")
        head, body = self.answer(answered, response_filters=(used,))
        self.assertEqual((head.get(b"content-encoding"), body), (None, b"abc"))

    def test_what_holds_for_the_original_bytes_only_is_dropped(self) -> None:
        lines = (
            "Accept-Ranges: bytes",
            "Content-MD5: x",
            "Digest: x",
            "Repr-Digest: x",
            "Content-Digest: x",
            'ETag: W/"y"',
        )
        head, _body = self.answer(response(TEXT, HTML, *lines), response_filters=uses("gzip"))
        kept = [THEIR_DATE, HTML.encode(), b'ETag: W/"y"', b"Vary: Accept-Encoding", b"Content-Encoding: gzip"]
        self.assertEqual(head.lines, kept)

    def test_nor_do_trailers_say_it(self) -> None:
        """With the bytes as they were, they do."""
        lines = b"Digest: a\r\nContent-Digest: b\r\nRepr-Digest: c\r\nETag: d\r\n"
        answered = response(b"", HTML, "Transfer-Encoding: chunked", length=False) + chunks(b"a", trailers=lines)
        _, body = self.answer(answered, response_filters=uses("upper"))
        self.assertEqual(unchunked(body), (b"A", b"\r\n"))
        _, body = self.answer(answered)
        self.assertEqual(unchunked(body), (b"a", lines + b"\r\n"))

    def test_vary_is_said_once(self) -> None:
        for vary in ("Accept-Encoding", "Cookie, accept-encoding", "*"):
            head, _body = self.answer(response(TEXT, HTML, f"Vary: {vary}"), response_filters=uses("gzip"))
            self.assertEqual(head.get_list(b"vary"), vary.encode())
        head, _body = self.answer(response(TEXT, HTML, "Vary: Cookie"), response_filters=uses("gzip"))
        self.assertEqual(head.get_list(b"vary"), b"Cookie, Accept-Encoding")

    def test_every_framing_of_the_server(self) -> None:
        head_only = response(b"", HTML, length=False).removesuffix(b"\r\n")
        for answered, ended in (
            (response(TEXT, HTML), False),
            (head_only + b"Transfer-Encoding: chunked\r\n\r\n" + chunks(TEXT[:100], TEXT[100:]), False),
            (head_only + b"\r\n" + TEXT, True),
        ):
            head, body = self.answer(answered, ended=ended, response_filters=uses("gzip"))
            self.assertEqual(head.get(b"content-encoding"), b"gzip")
            self.assertEqual(self.plain(body), TEXT)
            self.assert_idle(int(not ended))

    def test_an_empty_body(self) -> None:
        head, body = self.answer(response(b"", HTML), response_filters=uses("gzip"))
        self.assertEqual(head.get(b"content-encoding"), b"gzip")
        self.assertEqual(self.plain(body), b"")

    def test_an_old_client_is_told_the_end_by_the_end_of_the_connection(self) -> None:
        asked = request("GET", "/", "Accept-Encoding: gzip", "Connection: keep-alive", minor=0)
        head, body = self.answer(response(TEXT, HTML), asked, response_filters=uses("gzip"))
        self.assertEqual((head.framing.value, head.get(b"connection")), ("close", b"close"))
        self.assertEqual(gzip.decompress(body), TEXT)
        self.assertTrue(self.client_line.ended)

    def test_the_connections_go_on(self) -> None:
        """Of both sides."""
        client, origin = self.both(ACCEPTED, response_filters=uses("gzip"))
        for text in (TEXT, b"", TEXT[:7]):
            origin.says(response(text, HTML))
            self.assertEqual(self.plain(parsed(client.gets())[1]), text)
            self.assert_idle(1)
            client.says(ACCEPTED)
            origin.gets()
        origin.says(response(b"end"))
        self.assertEqual(client.gets(), response(b"end"))

    def test_what_comes_behind_a_body_that_no_filter_is_for_is_not_passed_on(self) -> None:
        """Nor is the server's connection used again."""
        answered = response(b"abc", "Content-Type: image/png")
        client, origin = self.both(ACCEPTED, response_filters=uses("gzip"))
        origin.says(answered + response(b"poison"))
        self.assertEqual(client.gets(), answered)
        self.assert_idle(0)

    def test_a_body_that_no_filter_is_for_goes_on_as_it_came(self) -> None:
        lines = ("Content-Type: image/png", "Accept-Ranges: bytes", 'ETag: "x"')
        client, origin = self.both(ACCEPTED, response_filters=uses("gzip"))
        answered = response(TEXT, *lines)
        origin.says(answered[:-1000])
        origin.says(answered[-1000:])
        self.assertEqual(client.gets(), answered)
        self.assert_idle(1)

    def test_events_are_not_held_back(self) -> None:
        """Each is there as soon as the server has sent it."""
        client, origin = self.both(ACCEPTED, response_filters=uses("gzip"))
        head = response(b"", "Content-Type: text/event-stream", length=False)
        origin.says(head.removesuffix(b"\r\n") + b"Transfer-Encoding: chunked\r\n\r\n")
        stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
        found, rest = parsed(client.gets())
        self.assertEqual(found.get(b"content-encoding"), b"gzip")
        stream.decompress(unchunked(rest)[0])
        for number in range(3):
            event = b"data: %d\n\n" % number
            origin.says(b"%x\r\n%b\r\n" % (len(event), event))
            content, end = unchunked(client.gets())
            self.assertEqual((stream.decompress(content), end), (event, None))
        origin.says(b"0\r\n\r\n")
        content, end = unchunked(client.gets())
        self.assertEqual((stream.decompress(content), end, stream.eof), (b"", b"\r\n", True))


class CompressionMemoryTests(CompressionRules, MemoryCase):
    pass


class CompressionSocketTests(CompressionRules, SocketCase):
    pass


del CompressionRules


class ChainRules(CodingCase):
    def test_decompress_substitute_compress(self) -> None:
        filters = uses("gunzip", "substitute:find=Jack:replace=Wendy", "gzip")
        answered = response(gzip.compress(TEXT), HTML, "Content-Encoding: gzip", 'ETag: "x"')
        head, body = self.answer(answered, response_filters=filters)
        self.assertEqual(head.get_list(b"content-encoding"), b"gzip")
        self.assertEqual(self.plain(body), TEXT.replace(b"Jack", b"Wendy"))
        head, body = self.answer(answered, request(), response_filters=filters)
        self.assertEqual(head.lines, [THEIR_DATE, HTML.encode(), b'ETag: W/"x"', b"Vary: Accept-Encoding"])
        self.assertEqual(unchunked(body)[0], TEXT.replace(b"Jack", b"Wendy"))

    def test_the_same_of_a_plain_body(self) -> None:
        """What would decompress is left out."""
        filters = uses("gunzip", "substitute:find=Jack:replace=Wendy", "gzip")
        head, body = self.answer(response(TEXT, HTML), response_filters=filters)
        self.assertEqual(head.get_list(b"content-encoding"), b"gzip")
        self.assertEqual(self.plain(body), TEXT.replace(b"Jack", b"Wendy"))

    def test_what_is_empty_is_no_coded_stream_that_breaks_off(self) -> None:
        """Servers say of redirects and errors what they say of pages."""
        lines = (HTML, "Location: /there")
        for coding, name in (("gzip", "gunzip"), ("br", "unbrotli"), ("zstd", "unzstd")):
            answered = response(b"", *lines, f"Content-Encoding: {coding}", status="302 Found")
            head, body = self.answer(answered, response_filters=uses(name))
            self.assertEqual(head.lines, [THEIR_DATE, *(line.encode() for line in lines)])
            self.assertEqual((head.status, unchunked(body)), (302, (b"", b"\r\n")))
            self.assert_idle(1)

    def test_what_cannot_be_decompressed_is_not_searched(self) -> None:
        answered = response(b"Jack", HTML, "Content-Encoding: br")
        head, body = self.answer(answered, response_filters=uses("gunzip", "substitute:find=Jack:replace=Wendy"))
        self.assertEqual((head.get(b"content-encoding"), body), (b"br", b"Jack"))

    def test_the_last_coding_is_taken_off(self) -> None:
        answered = response(gzip.compress(b"coded"), HTML, "Content-Encoding: br", "Content-Encoding: X-Gzip")
        head, body = self.answer(answered, response_filters=uses("gunzip"))
        self.assertEqual(head.get_list(b"content-encoding"), b"br")
        self.assertEqual(unchunked(body)[0], b"coded")

    def test_no_transform_leaves_codings_on(self) -> None:
        answered = response(b"abc", HTML, "Content-Encoding: gzip", "Cache-Control: no-transform")
        head, body = self.answer(answered, response_filters=uses("gunzip", "upper", "gzip"))
        self.assertEqual((head.get(b"content-encoding"), body), (b"gzip", b"abc"))

    def test_a_filter_knows_the_heads(self) -> None:
        used = breaking("never")
        self.answer(response(b"abc", "X-Said: by the origin"), request("GET", "/who"), response_filters=(used,))
        (context,) = used.factory.plugin_class.built  # type: ignore[attr-defined]
        assert isinstance(context, FilterContext)
        self.assertIs(context.direction, Direction.RESPONSE)
        self.assertEqual(context.request.raw_target, b"/who")
        self.assertEqual(context.response.get(b"x-said"), b"by the origin")
        self.assertEqual((context.client.host, context.local.host), ("127.0.0.1", "127.0.0.1"))
        self.assertIsNotNone(context.upstream)
        self.assertRegex(context.connection, r"^127\.0\.0\.1:\d+ -> origin:80$")
        self.assertIs(context.clock, self.clock)


class ChainMemoryTests(ChainRules, MemoryCase):
    pass


class ChainSocketTests(ChainRules, SocketCase):
    pass


del ChainRules


class FailureRules(CodingCase):
    def test_a_body_that_a_filter_fails_on_has_no_end(self) -> None:
        """What was sent before it has failed is all there is."""
        for fails, last in (("at a mark", b"d!"), ("ended", b"def")):
            client, origin = self.both(request(), response_filters=(breaking(fails),))
            origin.says(response(b"abcdef")[:-3])
            origin.says(last)
            head, body = parsed(client.gets())
            self.assertEqual(head.status, 200)
            self.assertEqual(unchunked(body), (b"abc", None))
            self.assertTrue(client.ended or client.reset)
            origin.gets()
            self.assertEqual(origin.reset, fails != "ended", "a response that is in is nothing to break off")
            self.assertIn(f"filter 'breaking': RuntimeError: failed when {fails}", self.complaints()[0])
            self.assertIn('"GET / HTTP/1.1" 200 ', self.journal.lines[0])

    def test_an_old_client_s_too(self) -> None:
        client, origin = self.both(request(minor=0), response_filters=(breaking("ended"),))
        origin.says(response(b"abc")[:-1])
        origin.says(b"c")
        head, body = parsed(client.gets())
        self.assertEqual((head.framing.value, body), ("close", b"ab"))
        self.assertEqual(len(self.complaints()), 1)

    def test_one_that_cannot_be_built_is_500(self) -> None:
        """Nothing was sent yet. The server is not waited for."""
        client, origin = self.both(request(), response_filters=(*uses("upper"), breaking("built")))
        origin.says(response(b"abcdef")[:-3])
        head, body = parsed(client.gets())
        self.assertEqual((head.status, head.content_length), (500, b"%d" % len(body)))
        origin.gets()
        self.assertTrue(origin.reset or origin.ended)
        self.assertIn("filter 'breaking': RuntimeError: failed when built", self.complaints()[0])
        self.assert_idle(0)

    def test_one_that_fails_before_anything_was_sent_is_500(self) -> None:
        for fails in ("started", "received", "ended"):
            head, body = self.answer(response(b"abc"), request(), response_filters=(breaking(fails),))
            self.assertEqual((head.status, head.content_length), (500, b"%d" % len(body)), fails)
            self.assertEqual(len(self.complaints()), 1)

    def test_one_that_may_be_bypassed_is(self) -> None:
        for fails in ("built", "started", "received"):
            filters = (breaking(fails, on_failure=OnFailure.BYPASS), *uses("upper"))
            _head, body = self.answer(response(b"abc"), request(), response_filters=filters)
            self.assertEqual(unchunked(body), (b"ABC", b"\r\n"), fails)

    def test_one_that_codes_is_never_bypassed(self) -> None:
        """The head has said what the body is."""
        for fails in ("built", "received"):
            filters = (breaking(fails, BreakingCoder, OnFailure.BYPASS),)
            head, _body = self.answer(response(b"abc"), response_filters=filters)
            self.assertEqual((head.status, head.get(b"content-encoding")), (500, None))

    def test_damaged_data_is_no_clean_end(self) -> None:
        coded = gzip.compress(TEXT)
        answered = response(coded[:-8] + bytes(8), HTML, "Content-Encoding: gzip")
        client, origin = self.both(ACCEPTED, response_filters=uses("gunzip"))
        origin.says(answered[:-8])
        origin.says(answered[-8:])
        head, body = parsed(client.gets())
        self.assertNotIn(b"content-encoding", [line.partition(b":")[0].lower() for line in head.lines])
        content, rest = unchunked(body)
        self.assertTrue(TEXT.startswith(content))
        self.assertIsNone(rest)

    def test_a_server_that_breaks_off_is_no_clean_end(self) -> None:
        client, origin = self.both(ACCEPTED, response_filters=uses("gzip"))
        origin.says(response(TEXT, HTML)[:-10])
        origin.half_close()
        _head, body = parsed(client.gets())
        content, rest = unchunked(body)
        stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self.assertEqual((stream.decompress(content), stream.eof, rest), (TEXT[:-10], False, None))
        self.assertTrue(client.ended or client.reset)

    def test_a_client_that_goes_stops_it(self) -> None:
        used = breaking("never")
        client, origin = self.both(request(), response_filters=(used,))
        origin.says(response(TEXT)[:-10])
        client.gets()
        client.break_off()
        origin.gets()
        self.assertTrue(origin.reset or origin.ended)


class FailureMemoryTests(FailureRules, MemoryCase):
    pass


class FailureSocketTests(FailureRules, SocketCase):
    pass


del FailureRules


class UploadRules(CodingCase):
    def upload(self, body: bytes, *lines: str, **settings: Any) -> tuple[Any, Any, bytes, bytes]:
        """The client, the origin, and the head and the body that the origin got."""
        client, origin = self.pair(request("POST", "/", *lines, body=body), **settings)
        head, _, got = origin.gets().partition(b"\r\n\r\n")
        return client, origin, head, got

    def test_a_request_s_body_passes_filters(self) -> None:
        """Its length is not known any more."""
        for buffering in (True, False):
            client, origin, head, got = self.upload(b"abc", request_filters=uses("upper"), request_buffering=buffering)
            self.assertEqual(head, b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked")
            self.assertEqual(unchunked(got), (b"ABC", b"\r\n"))
            origin.says(response(b"good"))
            self.assertEqual(client.gets(), response(b"good"))
            self.assert_idle(1)

    def test_what_comes_in_chunks_goes_on_in_chunks(self) -> None:
        asked = request("POST", "/", "Transfer-Encoding: chunked") + chunks(b"ab", b"c", trailers=b"X: y\r\n")
        client, origin = self.pair(asked, request_filters=uses("upper"))
        got = origin.gets().partition(b"\r\n\r\n")[2]
        self.assertEqual(unchunked(got), (b"ABC", b"X: y\r\n\r\n"))
        origin.says(response(b"good"))
        self.assertEqual(client.gets(), response(b"good"))

    def test_trailers_say_nothing_of_bytes_that_were_changed(self) -> None:
        lines = b"Digest: a\r\nContent-Digest: b\r\nRepr-Digest: c\r\nETag: d\r\n"
        asked = request("POST", "/", "Transfer-Encoding: chunked") + chunks(b"a", trailers=lines + b"X: y\r\n")
        _client, origin = self.pair(asked, request_filters=uses("upper"))
        got = origin.gets().partition(b"\r\n\r\n")[2]
        self.assertEqual(unchunked(got), (b"A", b"X: y\r\n\r\n"))
        origin.says(response())

    def test_a_large_one(self) -> None:
        body = b"abc" * 30_000
        client, origin = self.pair(request("POST", "/", body=body), request_filters=uses("upper"))
        self.assertEqual(unchunked(origin.gets().partition(b"\r\n\r\n")[2]), (body.upper(), b"\r\n"))
        origin.says(response(b"good"))
        self.assertEqual(client.gets(), response(b"good"))

    def test_codings_are_taken_off_and_put_on_and_told(self) -> None:
        coded = gzip.compress(TEXT)
        _, origin, head, got = self.upload(coded, "Content-Encoding: gzip", HTML, request_filters=uses("gunzip"))
        self.assertNotIn(b"Content-Encoding", head)
        self.assertEqual(unchunked(got)[0], TEXT)
        origin.says(response())
        _, origin, head, got = self.upload(TEXT, HTML, "Digest: x", request_filters=uses("gzip"))
        self.assertIn(b"Content-Encoding: gzip", head)
        self.assertNotIn(b"Digest", head)
        self.assertNotIn(b"Vary", head)
        self.assertEqual(gzip.decompress(unchunked(got)[0]), TEXT)
        origin.says(response())

    def test_the_next_request_is_not_told_of_it(self) -> None:
        asked = request("POST", "/", HTML, body=b"abc")
        client, origin = self.pair(asked, request_filters=uses("gzip"))
        first = origin.gets().partition(b"\r\n\r\n")[0]
        self.assertEqual(first.count(b"Content-Encoding: gzip"), 1)
        for _ in range(2):
            origin.says(response(b"good"))
            self.assertEqual(client.gets(), response(b"good"))
            client.says(asked)
            self.assertEqual(origin.gets().partition(b"\r\n\r\n")[0], first)
        origin.says(response(b"good"))
        client.says(request())
        self.assertNotIn(b"Content-Encoding", origin.gets())
        origin.says(response())

    def test_only_of_the_types_that_are_given(self) -> None:
        filters = (use("upper", "text/*"),)
        _, origin, head, got = self.upload(b"abc", "Content-Type: image/png", request_filters=filters)
        self.assertTrue(head.endswith(b"\r\nContent-Length: 3"))
        self.assertEqual(got, b"abc")
        origin.says(response())

    def test_a_request_without_a_body_passes_none(self) -> None:
        used = breaking("built")
        client, origin = self.both(request(), request_filters=(used,))
        origin.says(response(b"good"))
        self.assertEqual(client.gets(), response(b"good"))

    def test_a_failure_is_500_and_the_server_gets_no_end(self) -> None:
        for buffering in (True, False):
            self.start(request_filters=(breaking("at a mark"),), request_buffering=buffering)
            client = self.client()
            client.says(request("POST", "/", body=b"abc!e")[:-2])
            origin = None if buffering else self.origin()
            passed = b"" if origin is None else origin.gets()
            client.says(b"!e")
            self.assertEqual(parsed(client.gets())[0].status, 500)
            if origin is not None:
                passed += origin.gets()
                self.assertEqual(unchunked(passed.partition(b"\r\n\r\n")[2]), (b"abc", None))
                self.assertTrue(origin.reset)
            self.assertIn("filter 'breaking': RuntimeError: failed when at a mark", self.complaints()[-1])

    def test_one_that_cannot_be_built_is_500(self) -> None:
        self.start(request_filters=(breaking("built"),))
        client = self.client()
        client.says(request("POST", "/", body=b"abc"))
        self.assertEqual(parsed(client.gets())[0].status, 500)

    def test_a_filter_knows_the_request(self) -> None:
        used = breaking("never")
        _, origin, _, _ = self.upload(b"abc", "X-Said: by the client", request_filters=(used,))
        (context,) = used.factory.plugin_class.built  # type: ignore[attr-defined]
        self.assertIs(context.direction, Direction.REQUEST)
        self.assertEqual(context.request.get(b"x-said"), b"by the client")
        self.assertIsNone(context.response)
        origin.says(response())


class UploadMemoryTests(UploadRules, MemoryCase):
    pass


class UploadSocketTests(UploadRules, SocketCase):
    pass


del UploadRules, CodingCase
