"""What the filter does, found as a user's configuration would find it."""

from __future__ import annotations

from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.interfaces import FilterContext, IPipeFilterFactory


class Rot13Tests(SynchronousTestCase):
    def turned(self, text: bytes, **options: str) -> bytes:
        [plugin] = [each for each in getPlugins(IPipeFilterFactory) if each.name == "rot13"]
        built = plugin.configure(options).build(FilterContext())
        [out] = built.received(memoryview(text))
        assert isinstance(out, bytes)
        return out

    def test_letters_turn_half_round(self) -> None:
        self.assertEqual(self.turned(b"Hello, World 7"), b"Uryyb, Jbeyq 7")

    def test_shift(self) -> None:
        self.assertEqual(self.turned(b"xyz XYZ", shift="3"), b"abc ABC")

    def test_bad_shift_is_refused(self) -> None:
        error = self.assertRaises(ValueError, self.turned, b"", shift="26")
        self.assertIn("filter rot13: shift: '26': how far to turn each letter, 0 to 25", str(error))
