"""Compression with gzip."""

from __future__ import annotations

import gzip
import zlib

from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from tests.filters import compression
from tests.filters.compression import SHORT
from tests.net.fakes import MemoryTransport, PipeCase
from twisted_pipe.filters.gzip import Gzip
from twisted_pipe.interfaces import FilterContext, NamedFilter


def so_far(data: bytes) -> bytes:
    """The plain text of the beginning of a stream."""
    return zlib.decompressobj(31).decompress(data)


class GzipTests(compression.CompressCase):
    name = "gzip"
    tool = "gzip"
    refused = [
        ({"level": "0"}, "level: '0': must be from 1 to 9"),
        ({"level": "10"}, "level: '10': must be from 1 to 9"),
        ({"level": "best"}, "level: 'best': a whole number"),
        ({"flush": "maybe"}, "flush: 'maybe': must be on or off"),
    ]

    def whole(self, data: bytes) -> bytes:
        return gzip.decompress(data)

    def so_far(self, data: bytes) -> bytes:
        return so_far(data)

    def strengths(self) -> tuple[dict[str, str], dict[str, str]]:
        return {"level": "1"}, {"level": "9"}

    def test_defaults(self) -> None:
        self.assertEqual(self.make(), Gzip(FilterContext(), level=6, flush=True))


class PipeTests(PipeCase):
    """In a pipe."""

    def test_what_came_is_sent_on_at_once(self) -> None:
        client = MemoryTransport()
        pipe = self.pipe(MemoryTransport(), client, [NamedFilter("gzip", Gzip(FilterContext()))])
        for count, line in enumerate([b"event: 1\n\n", b"event: 2\n\n", SHORT], 1):
            pipe.write(line)
            self.assertEqual(so_far(client.value()).count(b"event"), min(count, 2))
        self.assertTrue(so_far(client.value()).endswith(SHORT))
        pipe.upstream_ended()
        self.assertTrue(self.outcome(pipe).clean)
        self.assertEqual(gzip.decompress(client.value()), b"event: 1\n\nevent: 2\n\n" + SHORT)

    def test_an_upstream_that_breaks_off_leaves_no_whole_stream(self) -> None:
        client = MemoryTransport()
        pipe = self.pipe(MemoryTransport(), client, [NamedFilter("gzip", Gzip(FilterContext()))])
        pipe.write(SHORT)
        pipe.upstream_lost(Failure(ConnectionLost()))
        self.assertFalse(self.outcome(pipe).clean)
        self.assertEqual(so_far(client.value()), SHORT)
        self.assertRaises(EOFError, gzip.decompress, client.value())
