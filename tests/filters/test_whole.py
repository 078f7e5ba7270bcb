"""Filters that need all of a stream at once."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import FilterFailed
from twisted_pipe.filters.whole import TooLong, WholeFilter
from twisted_pipe.testing import FilterHarness, check_filter


class Redacted(WholeFilter):
    """Takes the password out of a document."""

    max_length = 100

    def whole_received(self, data: bytes) -> bytes | None:
        if not data:
            return None
        document = json.loads(data)
        document.pop("password", None)
        return json.dumps(document).encode()


class Framed(WholeFilter):
    def whole_received(self, data: bytes) -> Any:
        yield b"<"
        yield data
        yield b">"


class Asked(WholeFilter):
    async def whole_received(self, data: bytes) -> bytes:  # type: ignore[override]
        await deferLater(self.context.clock, 1)
        return data.upper()


class WholeFilterTests(SynchronousTestCase):
    def test_it_gets_all_of_a_stream_however_it_is_cut(self) -> None:
        text = b'{"password": "x", "a": 1}'
        check_filter(Redacted, [(text, b'{"a": 1}'), b'{"password": "x"}', b""])

    def test_nothing_goes_out_before_the_end(self) -> None:
        harness = FilterHarness(Redacted).feed(b'{"a": 1').feed(b"}")
        self.assertEqual(harness.take(), b"")
        self.assertEqual(harness.end().take(), b'{"a": 1}')

    def test_it_passes_by_default(self) -> None:
        check_filter(WholeFilter, [(b"abc", b"abc"), b""])

    def test_it_may_be_a_generator_or_wait(self) -> None:
        check_filter(Framed, [(b"abc", b"<abc>")])
        check_filter(Asked, [(b"abc", b"ABC")])

    def test_what_it_keeps_is_bounded(self) -> None:
        self.assertEqual(FilterHarness(WholeFilterOf100).run(b"a" * 60, b"a" * 40), b"a" * 100)
        error = self.assertRaises(FilterFailed, FilterHarness(WholeFilterOf100).run, b"a" * 60, b"a" * 41)
        self.assertIsInstance(error.problem, TooLong)
        self.assertEqual(str(error.problem), "there are more than 100 bytes, and it needs all of them at once")

    def test_what_it_makes_has_to_be_output(self) -> None:
        class Wrong(WholeFilter):
            def whole_received(self, data: bytes) -> Any:
                return [5]

        self.assertIn("yielded int", str(self.assertRaises(FilterFailed, FilterHarness(Wrong).run, b"a")))

    def test_a_broken_off_stream_is_none(self) -> None:
        seen: list[bytes] = []

        class Seeing(WholeFilter):
            def whole_received(self, data: bytes) -> Any:
                seen.append(data)
                return Deferred()

        FilterHarness(Seeing).feed(b"abc").stop()
        self.assertEqual(seen, [])


class WholeFilterOf100(WholeFilter):
    max_length = 100
