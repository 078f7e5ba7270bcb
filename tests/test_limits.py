"""The bounds of a pipe: nginx's defaults, and no impossible combination."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import BadConfiguration, Side
from twisted_pipe.limits import DEFAULT_LIMITS, GIB, KIB, MIB, PipeLimits


class DefaultTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        self.assertEqual(
            attrs.asdict(DEFAULT_LIMITS),
            {
                "buffers": 8,
                "buffer_size": 32 * KIB,
                "busy_size": 7 * 32 * KIB,
                "buffering": True,
                "max_temp_file_size": GIB,
                "temp_file_write_size": 64 * KIB,
                "limit_rate": 0,
                "limit_rate_after": 0,
                "read_timeout": 60.0,
                "send_timeout": 60.0,
                "idle_timeout": 0.0,
                "total_timeout": 0.0,
            },
        )
        self.assertEqual(DEFAULT_LIMITS, PipeLimits())

    def test_sizes_follow_the_buffer(self) -> None:
        limits = PipeLimits(buffer_size=4 * KIB)
        self.assertEqual((limits.busy_size, limits.temp_file_write_size), (28 * KIB, 8 * KIB))

    def test_two_buffers_leave_one_to_read_into(self) -> None:
        self.assertEqual(PipeLimits(buffers=2, buffer_size=KIB).busy_size, KIB)
        self.assertEqual(PipeLimits(buffers=3, buffer_size=KIB).busy_size, 2 * KIB)

    def test_memory_is_all_buffers(self) -> None:
        limits = PipeLimits(buffers=5, buffer_size=KIB, max_temp_file_size=MIB)
        self.assertEqual((limits.slabs, limits.memory, limits.file_size), (5, 5 * KIB, MIB))

    def test_buffering_off_is_one_buffer_and_no_file(self) -> None:
        limits = PipeLimits(buffers=5, buffer_size=KIB, buffering=False)
        self.assertEqual((limits.slabs, limits.memory, limits.file_size), (1, KIB, 0))

    def test_frozen(self) -> None:
        with self.assertRaises(attrs.exceptions.FrozenInstanceError):
            DEFAULT_LIMITS.buffers = 9  # type: ignore[misc]

    def test_by_keyword_only(self) -> None:
        with self.assertRaises(TypeError):
            PipeLimits(8)  # type: ignore[misc]


class RefusalTests(SynchronousTestCase):
    """Each refusal names the field, the value, and what would be right."""

    def refused(self, name: str, expected: str, **fields: Any) -> None:
        error = self.assertRaises(BadConfiguration, PipeLimits, **fields)
        self.assertEqual(error.name, name)
        self.assertIn(expected, str(error))
        if name in fields:
            self.assertEqual(error.value, fields[name])

    def test_at_least_two_buffers(self) -> None:
        self.refused("buffers", "at least 2", buffers=1, busy_size=1)
        self.refused("buffers", "at least 2", buffers=0)

    def test_at_most_65536_buffers(self) -> None:
        PipeLimits(buffers=65536, buffer_size=1)
        self.refused("buffers", "at most 65536", buffers=65537, buffer_size=1)

    def test_at_most_64_gib_of_buffers(self) -> None:
        PipeLimits(buffers=64, buffer_size=GIB, max_temp_file_size=0)
        self.refused("buffer_size", "64 buffers of it exceed", buffers=64, buffer_size=GIB + 1, max_temp_file_size=0)

    def test_buffers_of_a_byte_or_more(self) -> None:
        PipeLimits(buffer_size=1)
        self.refused("buffer_size", "at least 1", buffer_size=0, busy_size=1)
        self.refused("buffer_size", "at least 1", buffer_size=-4096, busy_size=1)

    def test_busy_size_at_least_one_buffer(self) -> None:
        PipeLimits(buffer_size=4096, busy_size=4096)
        self.refused("busy_size", "at least one buffer (4096 bytes)", buffer_size=4096, busy_size=4095)

    def test_busy_size_leaves_one_buffer_to_read_into(self) -> None:
        PipeLimits(buffers=4, buffer_size=4096, busy_size=3 * 4096)
        self.refused("busy_size", "at most 12288 bytes", buffers=4, buffer_size=4096, busy_size=3 * 4096 + 1)

    def test_temp_file_write_size_at_least_one_buffer(self) -> None:
        PipeLimits(buffer_size=4096, temp_file_write_size=4096)
        self.refused("temp_file_write_size", "one buffer (4096 bytes)", buffer_size=4096, temp_file_write_size=4095)

    def test_max_temp_file_size_is_nothing_or_at_least_one_buffer(self) -> None:
        PipeLimits(buffer_size=4096, max_temp_file_size=0)
        PipeLimits(buffer_size=4096, max_temp_file_size=4096)
        self.refused("max_temp_file_size", "0 (never spill)", buffer_size=4096, max_temp_file_size=4095)
        self.refused("max_temp_file_size", "at least 0", max_temp_file_size=-1)

    def test_rates_are_not_negative(self) -> None:
        PipeLimits(limit_rate=1)
        self.refused("limit_rate", "at least 0", limit_rate=-1)

    def test_timeouts_are_seconds(self) -> None:
        self.assertEqual(PipeLimits(read_timeout=0, send_timeout=0.5).send_timeout, 0.5)
        for name in ("read_timeout", "send_timeout"):
            for value in (-1, 10**9, float("inf"), float("nan"), "60", None, True):
                error = self.assertRaises(BadConfiguration, PipeLimits, **{name: value})
                self.assertEqual((error.name, "0 for no timeout" in str(error)), (name, True))

    def test_numbers_are_whole_numbers(self) -> None:
        for name in ("buffer_size", "busy_size", "max_temp_file_size", "temp_file_write_size", "limit_rate"):
            for value in (4096.0, True, "4k", None):
                fields: dict[str, Any] = {"busy_size": 1, "temp_file_write_size": 1} if name == "buffer_size" else {}
                self.refused(name, "whole number", **{**fields, name: value})

    def test_the_number_of_buffers_is_a_whole_number(self) -> None:
        for value in (8.0, True, "8", None):
            self.refused("buffers", "whole number", buffers=value, busy_size=64 * KIB)

    def test_the_number_of_buffers_is_checked_before_it_is_used(self) -> None:
        """The default of C{busy_size} is computed from it."""
        self.refused("buffers", "whole number", buffers="8")

    def test_buffering_is_on_or_off(self) -> None:
        """C{"off"} is true, and would be taken for on."""
        self.refused("buffering", "", buffering="off")

    def test_no_field_is_negative(self) -> None:
        for name in (field.name for field in attrs.fields(PipeLimits)):
            if name == "buffering":
                continue
            for value in (-1, -(1 << 70)):
                with self.assertRaises(BadConfiguration) as caught:
                    PipeLimits(**{"busy_size": 32 * KIB, "temp_file_write_size": 32 * KIB, name: value})
                self.assertEqual((caught.exception.name, caught.exception.value), (name, value))
                self.assertEqual(caught.exception.side, Side.CONFIGURATION)

    def test_each_field_is_a_number_and_nothing_else(self) -> None:
        """Not what looks like one, nor what only fails when it is computed with."""
        for name in (field.name for field in attrs.fields(PipeLimits)):
            for value in ("16k", "", None, True, [1], float("nan"), float("inf"), 1j):
                if (name, value) == ("buffering", True):
                    continue
                with self.assertRaises(BadConfiguration) as caught:
                    PipeLimits(**{"busy_size": 32 * KIB, "temp_file_write_size": 32 * KIB, name: value})
                self.assertEqual(caught.exception.name, name, value)

    def test_sizes_that_contradict_each_other(self) -> None:
        """Whichever two: one of them is named, and so is the size that it is measured by."""
        self.refused("busy_size", "one buffer (8192 bytes)", buffer_size=8192, busy_size=4096)
        self.refused("busy_size", "at most 8192 bytes", buffers=2, buffer_size=8192, busy_size=16384)
        self.refused("temp_file_write_size", "one buffer (8192 bytes)", buffer_size=8192, temp_file_write_size=1)
        self.refused("max_temp_file_size", "one buffer (8192 bytes)", buffer_size=8192, max_temp_file_size=1)
        self.refused("busy_size", "one buffer", buffer_size=8192, busy_size=1, buffering=False)

    def test_what_is_changed_later_is_checked_again(self) -> None:
        """By C{attrs.evolve}: as setting a rate does, and options that are given beside a profile."""
        for name, value in (("buffers", 1), ("busy_size", 0), ("limit_rate", -5), ("read_timeout", -0.1)):
            with self.assertRaises(BadConfiguration) as caught:
                attrs.evolve(DEFAULT_LIMITS, **{name: value})  # type: ignore[arg-type]
            self.assertEqual((caught.exception.name, caught.exception.value), (name, value))

    def test_absurd_sizes(self) -> None:
        """Of memory: typing errors. (What only bounds, a file or a rate, may be as large as it likes.)"""
        self.refused("buffers", "at most 65536", buffers=1 << 40, buffer_size=1)
        self.refused("buffer_size", "exceed", buffer_size=1 << 56, max_temp_file_size=0)
        self.assertEqual(PipeLimits(max_temp_file_size=1 << 60, limit_rate=1 << 60).file_size, 1 << 60)
        self.refused("limit_rate", f"at most {1 << 62}", limit_rate=10**400)
