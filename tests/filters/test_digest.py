"""What has passed, in a line of the log."""

from __future__ import annotations

import hashlib
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.logger import LogEvent, capturedLogs, eventAsText
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import MemoryTransport, PipeCase, errors_of
from twisted_pipe.errors import BadConfiguration, UpstreamFailed
from twisted_pipe.filters.digest import Count, Digest
from twisted_pipe.filters.discovery import find_filter
from twisted_pipe.interfaces import Direction, FilterContext
from twisted_pipe.testing import FilterHarness, check_filter

CONTEXT = FilterContext(direction=Direction.REQUEST, connection="192.0.2.1:4000 -> 192.0.2.2:80")
KEYS = ("connection", "direction", "bytes", "chunks", "seconds", "complete", "reason")


def text_of(event: LogEvent) -> str:
    return eventAsText(event, includeTimestamp=False, includeSystem=False)


class LogCase(SynchronousTestCase):
    def logged(
        self, factory: Any, *chunks: bytes, reason: Exception | None = None, context: FilterContext = CONTEXT
    ) -> LogEvent:
        """The one event of a life in which these chunks pass, a quarter of a second after each."""
        with capturedLogs() as events:
            harness = FilterHarness(factory, context=context)
            for chunk in chunks:
                harness.feed(chunk).advance(0.25)
            if reason is None:
                harness.end()
            self.assertEqual(events, [])
            self.assertEqual(harness.take(), b"".join(chunks))
            harness.stop(reason)
        [event] = events
        return event


class CountTests(LogCase):
    def test_one_line_at_the_end(self) -> None:
        event = self.logged(Count, b"x" * 12_000, b"y" * 300, b"z" * 45)
        self.assertEqual(text_of(event), "192.0.2.1:4000 -> 192.0.2.2:80, request: 12,345 bytes in 3 chunks, 0.750 s")
        values = ("192.0.2.1:4000 -> 192.0.2.2:80", "request", 12_345, 3, 0.75, True, None)
        self.assertEqual({key: event[key] for key in KEYS}, dict(zip(KEYS, values, strict=True)))

    def test_broken_off(self) -> None:
        event = self.logged(Count, b"abc", reason=UpstreamFailed("connection reset"))
        self.assertEqual(
            text_of(event),
            "192.0.2.1:4000 -> 192.0.2.2:80, request: 3 bytes in 1 chunks, 0.250 s; broke off: connection reset",
        )
        self.assertEqual((event["complete"], event["reason"]), (False, "connection reset"))

    def test_nothing_came(self) -> None:
        self.assertIn(": 0 bytes in 0 chunks, 0.000 s", text_of(self.logged(Count)))

    def test_without_a_connection_or_a_clock(self) -> None:
        count = Count(FilterContext())
        with capturedLogs() as events:
            self.assertEqual(list(count.started()), [])
            count.stopped(None)
        self.assertEqual(text_of(events[0]), "-, response: 0 bytes in 0 chunks, 0.000 s")

    def test_stopped_before_it_was_started(self) -> None:
        clock = Clock()
        clock.advance(1_700_000_000)
        count = Count(FilterContext(clock=clock))
        clock.advance(2)
        with capturedLogs() as events:
            count.stopped(UpstreamFailed("refused"))
        self.assertEqual(text_of(events[0]), "-, response: 0 bytes in 0 chunks, 2.000 s; broke off: refused")

    def test_braces_are_only_text(self) -> None:
        context = FilterContext(connection="{bytes}")
        self.assertIn("{bytes}, response: 1 bytes", text_of(self.logged(Count, b"x", context=context)))
        event = self.logged(Count, b"x", reason=ValueError("{chunks}"))
        self.assertTrue(text_of(event).endswith("; broke off: {chunks}"), event)

    def test_laws(self) -> None:
        data = bytes(range(256)) * 200
        check_filter(find_filter("count").configure({}), [(data, data)])

    def test_hands_on_what_it_was_lent(self) -> None:
        lent = memoryview(b"abc")
        for each in (Count(CONTEXT), Digest(CONTEXT)):
            [out] = each.received(lent)
            self.assertIs(out, lent)


class DigestTests(LogCase):
    def test_every_algorithm(self) -> None:
        data = bytes(range(256)) * 100
        for name in ("blake2b", "md5", "sha1", "sha256", "sha3_512", "sha512"):
            plugin = find_filter("digest").configure({"algorithm": name})
            event = self.logged(plugin, data[:1000], data[1000:])
            digest = hashlib.new(name, data, usedforsecurity=False).hexdigest()
            self.assertEqual((event["algorithm"], event["digest"]), (name, digest))
            self.assertTrue(
                text_of(event).endswith(f": 25,600 bytes in 2 chunks, 0.500 s; {name}={digest}"), text_of(event)
            )

    def test_of_nothing(self) -> None:
        self.assertEqual(self.logged(Digest)["digest"], hashlib.sha256().hexdigest())

    def test_broken_off(self) -> None:
        event = self.logged(Digest, b"abc", reason=UpstreamFailed("connection reset"))
        self.assertEqual((event["complete"], event["digest"]), (False, hashlib.sha256(b"abc").hexdigest()))
        self.assertTrue(
            text_of(event).endswith(f"; sha256={event['digest']}; broke off: connection reset"), text_of(event)
        )

    def test_laws(self) -> None:
        data = bytes(range(256)) * 200
        check_filter(find_filter("digest").configure({}), [(data, data)])

    def test_refused(self) -> None:
        error = self.assertRaises(BadConfiguration, find_filter("digest").configure, {"algorithm": "crc"})
        self.assertIn("filter digest: algorithm: 'crc': must be blake2b or blake2s or md5 or", str(error))
        self.assertNotIn("shake", str(error))


class PipeTests(PipeCase):
    """What a pipe that ends, and one that breaks, tells its filters."""

    def test_clean_and_broken(self) -> None:
        for lost in (False, True):
            upstream, downstream = MemoryTransport(), MemoryTransport()
            with capturedLogs() as events:
                pipe = self.pipe(upstream, downstream, [Digest(CONTEXT)])
                pipe.write(b"abc")
                if lost:
                    pipe.upstream_lost(Failure(ConnectionLost()))
                else:
                    pipe.upstream_ended()
            self.assertEqual(downstream.value(), b"abc")
            [event] = [event for event in events if "digest" in event]
            self.assertEqual((event["complete"], event["bytes"]), (not lost, 3))
            self.assertEqual(errors_of(self.outcome(pipe))[0], "upstream" if lost else "None")
