"""What the filter does, found by its name as a configuration would find it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.testing import FilterHarness, check_filter


class SampleClassTests(SynchronousTestCase):
    def test_every_line(self) -> None:
        self.assertEqual(FilterHarness("sample-name").run(b"one\ntwo\n"), b"> one\n> two\n")

    def test_cut_anywhere(self) -> None:
        harness = FilterHarness("sample-name")
        self.assertEqual(harness.feed(b"o").take(), b"> o")
        self.assertEqual(harness.feed(b"ne\n").take(), b"ne\n")
        self.assertEqual(harness.feed(b"two").end().take(), b"> two")

    def test_options(self) -> None:
        self.assertEqual(FilterHarness("sample-name:prefix=#").run(b"one"), b"#one")
        error = self.assertRaises(BadConfiguration, FilterHarness, "sample-name:prefix=")
        self.assertEqual(str(error), "filter sample-name: prefix: '': must not be empty")

    def test_contract(self) -> None:
        """However the stream is cut, and wherever it breaks off."""
        check_filter("sample-name", [(b"one\ntwo", b"> one\n> two"), b"", b"\n\n", bytes(range(256)) * 2])
