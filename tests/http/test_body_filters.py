"""What a client accepts, and which types a filter is for. The rest is told by L{tests.proxies.test_http_coding}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.filters.base import PipeFilter
from twisted_pipe.filters.discovery import parse_filter_spec
from twisted_pipe.http.body_filters import _coding, accepts_coding, matches_type


class AcceptsTests(SynchronousTestCase):
    """RFC 9110, section 12.5.3."""

    def accepts(self, *accepted: bytes | None) -> None:
        for each in accepted:
            self.assertTrue(accepts_coding(each, b"gzip"), each)

    def refuses(self, *accepted: bytes | None) -> None:
        for each in accepted:
            self.assertFalse(accepts_coding(each, b"gzip"), each)

    def test_examples_of_the_rfc(self) -> None:
        self.accepts(b"compress, gzip", b"*", b"compress;q=0.5, gzip;q=1.0", b"gzip;q=1.0, identity; q=0.5, *;q=0")
        self.refuses(b"")

    def test_nothing_is_accepted_that_was_not_named(self) -> None:
        """Without the field anything would be; but clients that do not send it are those that know no coding."""
        self.refuses(None, b"br", b"identity", b"gzipped", b"xgzip", b"gzip2, br")

    def test_neither_case_nor_space_matters(self) -> None:
        self.accepts(b"GZip", b" gzip ", b"br,gzip", b"br ,\tgzip\t;\tQ=0.1", b",,gzip,,")

    def test_a_weight_of_zero_refuses(self) -> None:
        self.refuses(b"gzip;q=0", b"gzip;q=0.", b"gzip; q=0.000", b"gzip ;q=0.0", b"br, GZIP;Q=0", b"gzip;x=y;q=0;z")

    def test_any_other_weight_does_not(self) -> None:
        self.accepts(
            b"gzip;q=0.001", b"gzip;q=1", b"gzip;q=0.9", b"gzip;q=1.000", b"gzip;xq=0", b"gzip;q=", b"gzip;q=0.0001"
        )

    def test_a_name_counts_more_than_the_asterisk(self) -> None:
        self.accepts(b"*;q=0, gzip", b"gzip, *;q=0")
        self.refuses(b"*, gzip;q=0", b"gzip;q=0, *", b"*;q=0", b"br, *;q=0.0")

    def test_the_old_name(self) -> None:
        """RFC 9110, section 8.4.1.3: x-gzip is gzip."""
        self.accepts(b"x-gzip")
        self.refuses(b"x-gzip;q=0, *")
        self.assertFalse(accepts_coding(b"x-br", b"br"))


class TypeTests(SynchronousTestCase):
    def test_whole_types_and_ranges(self) -> None:
        for types, media_type, wanted in (
            (("text/html",), "text/html", True),
            (("text/html",), "text/htm", False),
            (("text/html",), "text/html5", False),
            (("text/*",), "text/plain", True),
            (("text/*",), "text", False),
            (("text/*",), "texts/plain", False),
            (("*/*",), "anything/at-all", True),
            (("*/*",), "", True),
            (("text/*",), "", False),
            ((), "text/html", False),
            (("image/png", "text/*"), "text/css", True),
            (("image/png", "text/*"), "image/gif", False),
        ):
            self.assertIs(matches_type(types, media_type), wanted, (types, media_type))


class DeclaredTests(SynchronousTestCase):
    def test_the_bundled_filters_say_what_they_do(self) -> None:
        """However they were configured."""
        for spec, produced, removed in (
            ("gzip", b"gzip", b""),
            ("gzip:level=9", b"gzip", b""),
            ("zstd", b"zstd", b""),
            ("brotli:quality=1", b"br", b""),
            ("gunzip", b"", b"gzip"),
            ("unzstd:window_log_max=20", b"", b"zstd"),
            ("unbrotli", b"", b"br"),
            ("upper", b"", b""),
        ):
            factory = parse_filter_spec(spec)
            found = (_coding(factory, "content_coding"), _coding(factory, "decoded_coding"))
            self.assertEqual(found, (produced, removed), spec)

    def test_others_code_nothing(self) -> None:
        self.assertEqual((PipeFilter.content_coding, PipeFilter.decoded_coding), ("", ""))
