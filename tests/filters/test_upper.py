"""The example filter."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.filters.upper import Upper
from twisted_pipe.interfaces import FilterContext


class UpperTests(SynchronousTestCase):
    def test_ascii_letters_only(self) -> None:
        everything = bytes(range(256))
        [out] = Upper(FilterContext()).received(memoryview(everything))
        self.assertEqual(out, bytes(byte - 32 if ord("a") <= byte <= ord("z") else byte for byte in everything))

    def test_keeps_nothing_that_was_lent(self) -> None:
        lent = bytearray(b"abc")
        [out] = Upper(FilterContext()).received(memoryview(lent).toreadonly())
        lent[:] = b"xyz"
        self.assertEqual(out, b"ABC")
