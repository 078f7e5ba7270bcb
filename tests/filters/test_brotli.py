"""Compression with brotli."""

from __future__ import annotations

import sys
from unittest import mock

import brotli

from tests.filters import compression
from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters import unbrotli
from twisted_pipe.filters.brotli import Brotli
from twisted_pipe.filters.discovery import find_filter
from twisted_pipe.interfaces import FilterContext


class BrotliTests(compression.CompressCase):
    name = "brotli"
    tool = "brotli"
    refused = [
        ({"quality": "12"}, "quality: '12': must be from 0 to 11"),
        ({"quality": "-1"}, "quality: '-1': a whole number"),
        ({"lgwin": "9"}, "lgwin: '9': must be from 10 to 24"),
        ({"lgwin": "25"}, "lgwin: '25': must be from 10 to 24"),
        ({"flush": "yes"}, "flush: 'yes': must be on or off"),
    ]

    def whole(self, data: bytes) -> bytes:
        plain: bytes = brotli.decompress(data)
        return plain

    def so_far(self, data: bytes) -> bytes:
        stream = brotli.Decompressor()
        plain: bytes = stream.process(data)
        while piece := stream.process(b""):  # it may stop at any time
            plain += piece
        return plain

    def strengths(self) -> tuple[dict[str, str], dict[str, str]]:
        return {"quality": "0"}, {"quality": "11", "lgwin": "24"}

    def test_defaults(self) -> None:
        self.assertEqual(self.make(), Brotli(FilterContext(), quality=5, lgwin=19, flush=True))

    def test_without_the_library(self) -> None:
        assert unbrotli  # both have been imported
        for name in ("brotli", "unbrotli"):
            with mock.patch.dict(sys.modules, {"brotli": None}):
                del sys.modules[f"twisted_pipe.filters.{name}"]
                error = self.assertRaises(BadConfiguration, find_filter(name).configure, {})
            self.assertIn("cannot be imported: ImportError: it needs the package brotli", str(error))
            self.assertTrue(str(error).endswith(": pip install twisted_pipe[brotli]"), error)
            self.assertNotIn("\n", str(error))

    def test_library_that_is_too_old(self) -> None:
        old = mock.Mock(Decompressor=object, __version__="1.1.0")
        with mock.patch.dict(sys.modules, {"brotli": old}):
            del sys.modules["twisted_pipe.filters.unbrotli"]
            error = self.assertRaises(BadConfiguration, find_filter("unbrotli").configure, {})
        said = "ImportError: it needs the package brotli, 1.2 or later: pip install twisted_pipe[brotli]"
        self.assertTrue(str(error).endswith(said), error)
