"""The tee to the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.logger import LogEvent, capturedLogs, eventAsText
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.base import FilterPlugin
from twisted_pipe.filters.hexdump import Hexdump, hexdump
from twisted_pipe.interfaces import Direction, FilterContext


class DumpTests(SynchronousTestCase):
    def test_rows(self) -> None:
        self.assertEqual(
            list(hexdump(memoryview(b"GET / HTTP/1.1\r\n\x00\x7f\xff~ "), 32)),
            [
                "00000020  47 45 54 20 2f 20 48 54 54 50 2f 31 2e 31 0d 0a  |GET / HTTP/1.1..|",
                "00000030  00 7f ff 7e 20                                   |...~ |",
            ],
        )

    def test_nothing(self) -> None:
        self.assertEqual(list(hexdump(memoryview(b""))), [])


class HexdumpTests(SynchronousTestCase):
    def logged(self, *chunks: bytes, context: FilterContext | None = None, **options: int) -> Sequence[LogEvent]:
        """What is logged while these chunks pass, which they have to do unchanged."""
        tee = Hexdump(context or FilterContext(), **options)
        with capturedLogs() as events:
            for chunk in chunks:
                lent = memoryview(chunk)
                [out] = tee.received(lent)
                self.assertIs(out, lent)
        return events

    def text(self, *chunks: bytes, **options: Any) -> list[str]:
        """The same as a log file has it, without the time."""
        events = self.logged(*chunks, **options)
        return [eventAsText(event, includeTimestamp=False, includeSystem=False) for event in events]

    def test_a_line_that_says_where_and_then_the_dump(self) -> None:
        context = FilterContext(
            direction=Direction.REQUEST,
            client=IPv4Address("TCP", "192.0.2.1", 4000),
            upstream=IPv6Address("TCP", "2001:db8::1", 80),
        )
        self.assertEqual(
            "\n".join(self.text(b"hello", b"\x00", context=context)).splitlines(),
            [
                "request, client 192.0.2.1:4000, upstream [2001:db8::1]:80: 5 bytes at 0",
                "00000000  68 65 6c 6c 6f                                   |hello|",
                "request, client 192.0.2.1:4000, upstream [2001:db8::1]:80: 1 bytes at 5",
                "00000005  00                                               |.|",
            ],
        )

    def test_other_addresses(self) -> None:
        [line] = self.text(b"x", context=FilterContext(upstream=UNIXAddress("/run/app.sock")))
        self.assertTrue(line.startswith("response, client -, upstream UNIXAddress("), line)
        self.assertIn("/run/app.sock", line)

    def test_braces_are_only_bytes(self) -> None:
        [line] = self.text(b"{direction}")
        self.assertTrue(line.endswith("|{direction}|"), line)

    def test_beginning_of_each_chunk(self) -> None:
        events = self.logged(b"a" * 100, b"b" * 10, bytes=16)
        self.assertEqual([(event["offset"], event["size"]) for event in events], [(0, 100), (100, 10)])
        self.assertEqual([event["dump"].count("61") for event in events], [16, 0])

    def test_defaults(self) -> None:
        [event] = self.logged(bytes(1000))
        self.assertEqual(len(event["dump"].splitlines()), 256 // 16)
        self.assertEqual(len(self.logged(*[bytes(1000)] * 300)), 65536 // 256)

    def test_total_ends_it_and_says_so(self) -> None:
        events = self.logged(b"aaaa", b"bbbb", b"cccc", b"dddd", total=10)
        dumps = [event["dump"].splitlines() for event in events]
        self.assertEqual([len(lines) for lines in dumps], [1, 1, 2])
        self.assertIn("|cc|", dumps[2][0])
        self.assertEqual(dumps[2][1], "(no more of this direction: total=10 is reached)")

    def test_options_as_text(self) -> None:
        plugin = FilterPlugin("hexdump", "", "twisted_pipe.filters.hexdump:Hexdump")
        built = plugin.configure({"bytes": "1k", "total": "1m"}).build(FilterContext())
        self.assertEqual(built, Hexdump(FilterContext(), bytes=1024, total=1 << 20))
        for name in ("bytes", "total"):
            error = self.assertRaises(BadConfiguration, plugin.configure, {name: "0"})
            self.assertEqual(str(error), f"filter hexdump: {name}: '0': must be at least 1")
