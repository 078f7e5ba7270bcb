"""Sizes and times as people write them."""

from __future__ import annotations

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.units import format_address, format_duration, format_size, parse_count, parse_duration, parse_size

#: The last three are a digit, a square and a Kelvin sign, which some would take for 1, 2 and k.
NOT_NUMBERS = ["", " ", "x", "-1", "+1", "1e3", "0x10", "1_000", "1,5", "1 2", "None", "\u0661", "\u00b2", "\u212a"]


class SizeTests(SynchronousTestCase):
    def test_bytes(self) -> None:
        self.assertEqual([parse_size("s", text) for text in ("0", "1", "512", "007")], [0, 1, 512, 7])

    def test_suffixes_are_powers_of_1024(self) -> None:
        sizes = {"16k": 16 << 10, "16K": 16 << 10, "3m": 3 << 20, "1g": 1 << 30, "1G": 1 << 30}
        self.assertEqual({text: parse_size("s", text) for text in sizes}, sizes)

    def test_the_b_may_be_said(self) -> None:
        self.assertEqual([parse_size("s", text) for text in ("16kb", "16KB", "5b")], [16 << 10, 16 << 10, 5])

    def test_space_around_is_nothing(self) -> None:
        self.assertEqual(parse_size("s", " 16k\n"), 16 << 10)

    def test_anything_else_is_refused(self) -> None:
        for text in [*NOT_NUMBERS, "1.5k", "16 k", "k", "16t", "16kk", "16ki", "16bk", "16\u212a", "1" * 19]:
            error = self.assertRaises(BadConfiguration, parse_size, "proxy_buffers", text)
            self.assertEqual((error.name, error.value), ("proxy_buffers", text))
            self.assertIn("(16k, 1g)", str(error))


class DurationTests(SynchronousTestCase):
    def test_a_bare_number_is_seconds(self) -> None:
        self.assertEqual([parse_duration("t", text) for text in ("0", "60", "1.5")], [0.0, 60.0, 1.5])

    def test_suffixes(self) -> None:
        times = {"250ms": 0.25, "1.5s": 1.5, "10m": 600.0, "1h": 3600.0, "2d": 172800.0, "5MS": 0.005, "5M": 300.0}
        self.assertEqual({text: parse_duration("t", text) for text in times}, times)

    def test_space_around_is_nothing(self) -> None:
        self.assertEqual(parse_duration("t", " 10m "), 600.0)

    def test_anything_else_is_refused(self) -> None:
        for text in [*NOT_NUMBERS, ".5", "5.", "1..5", "10 m", "1h30m", "5w", "inf", "nan", "1" * 10, "0.1234567"]:
            error = self.assertRaises(BadConfiguration, parse_duration, "read_timeout", text)
            self.assertEqual((error.name, error.value), ("read_timeout", text))
            self.assertIn("(250ms, 10m)", str(error))


class CountTests(SynchronousTestCase):
    def test_whole_numbers(self) -> None:
        self.assertEqual([parse_count("n", text) for text in ("0", "8", "007", "9" * 18)], [0, 8, 7, 10**18 - 1])

    def test_anything_else_is_refused(self) -> None:
        for text in [*NOT_NUMBERS, "1.5", "8k", "1" * 19]:
            error = self.assertRaises(BadConfiguration, parse_count, "buffers", text)
            self.assertEqual((error.name, error.value), ("buffers", text))
            self.assertIn("whole number", str(error))


class FormatTests(SynchronousTestCase):
    def test_sizes(self) -> None:
        sizes = {
            0: "0 B",
            1023: "1023 B",
            1024: "1.0 KiB",
            1536: "1.5 KiB",
            64 << 10: "64.0 KiB",
            1 << 20: "1.0 MiB",
            3 << 29: "1.5 GiB",
            1 << 40: "1.0 TiB",
            5 << 50: "5120.0 TiB",
        }
        self.assertEqual({count: format_size(count) for count in sizes}, sizes)

    def test_a_byte_less_than_the_next_unit(self) -> None:
        """Nobody says 1024 KiB."""
        self.assertEqual(format_size((1 << 20) - 1), "1.0 MiB")
        self.assertEqual(format_size((1 << 30) - 1), "1.0 GiB")

    def test_addresses(self) -> None:
        """A path may have any bytes, and makes no lines of its own, nor speaks to a terminal."""
        addresses: list[tuple[object, str]] = [
            (IPv4Address("TCP", "192.0.2.7", 80), "192.0.2.7:80"),
            (IPv6Address("TCP", "::1", 80), "[::1]:80"),
            (UNIXAddress("/run/\u00e4pp.sock"), "unix:/run/\u00e4pp.sock"),
            (UNIXAddress(b"\0abstract"), "unix:\\x00abstract"),
            (UNIXAddress(b"/x\n2026 [-] all is well\x1b[2J\xff"), "unix:/x\\x0a2026 [-] all is well\\x1b[2J\ufffd"),
            (UNIXAddress(None), "unix"),
        ]
        self.assertEqual([format_address(each) for each, _ in addresses], [text for _, text in addresses])

    def test_durations(self) -> None:
        times = {0: "0.000 s", 0.25: "0.250 s", 9.5: "9.500 s", 12: "12.0 s", 119.5: "119.5 s", 185: "3 m 05 s"}
        self.assertEqual({seconds: format_duration(seconds) for seconds in times}, times)
        self.assertEqual([format_duration(120), format_duration(3600.9)], ["2 m 00 s", "60 m 00 s"])
