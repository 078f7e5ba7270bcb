"""The filter that does nothing."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.filters.discovery import all_filters, find_filter, parse_filter_spec
from twisted_pipe.filters.pass_through import PassThrough
from twisted_pipe.interfaces import FilterContext


class PassThroughTests(SynchronousTestCase):
    def test_hands_on_what_it_was_lent(self) -> None:
        """The same object: nothing is copied, nothing is cut."""
        lent = memoryview(bytes(range(256))).toreadonly()
        [out] = PassThrough(FilterContext()).received(lent)
        self.assertIs(out, lent)

    def test_adds_nothing_at_either_end(self) -> None:
        each = PassThrough(FilterContext())
        self.assertEqual([*each.started(), *each.ended()], [])
        each.stopped(None)

    def test_is_bundled_as_pass(self) -> None:
        self.assertEqual(find_filter("pass").name, "pass")
        self.assertIn("pass", [each.name for each in all_filters()])
        self.assertIsInstance(parse_filter_spec("pass").build(FilterContext()), PassThrough)
