"""How options are parsed, and what they say of themselves."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.plugin.options import Option, at_least, between, one_of
from twisted_pipe.units import parse_count, parse_duration, parse_flag, parse_size, parse_text


class ParseTests(SynchronousTestCase):
    def refused(self, parse: Any, text: str) -> str:
        return str(self.assertRaises(BadConfiguration, parse, "x", text))

    def test_at_least(self) -> None:
        parse = at_least(2, parse_count)
        self.assertEqual(parse("x", "2"), 2)
        self.assertEqual(self.refused(parse, "1"), "x: '1': must be at least 2")
        self.assertIn("a whole number", self.refused(parse, "one"))

    def test_between(self) -> None:
        parse = between(1, 9, parse_count)
        self.assertEqual([parse("x", "1"), parse("x", "9")], [1, 9])
        for wrong in ("0", "10"):
            self.assertEqual(self.refused(parse, wrong), f"x: '{wrong}': must be from 1 to 9")

    def test_one_of(self) -> None:
        parse = one_of("fast", "small")
        self.assertEqual(parse("x", "small"), "small")
        self.assertEqual(self.refused(parse, "large"), "x: 'large': must be fast or small")

    def test_flag(self) -> None:
        self.assertEqual([parse_flag("x", "on"), parse_flag("x", "off")], [True, False])
        self.assertEqual(self.refused(parse_flag, "yes"), "x: 'yes': must be on or off")

    def test_text(self) -> None:
        self.assertEqual(parse_text("x", " a b "), " a b ")
        self.assertEqual(self.refused(parse_text, ""), "x: '': must not be empty")


class KindTests(SynchronousTestCase):
    def test_is_told_by_what_parses(self) -> None:
        def own(name: str, text: str) -> Any:
            return text

        kinds = {
            parse_size: "SIZE",
            parse_duration: "TIME",
            parse_count: "NUMBER",
            parse_flag: "on|off",
            parse_text: "TEXT",
            at_least(1, parse_size): "SIZE of at least 1",
            between(1, 9, parse_count): "NUMBER from 1 to 9",
            one_of("a", "b"): "a|b",
            own: "VALUE",
        }
        for parse, kind in kinds.items():
            self.assertEqual(Option(parse=parse, default=None, help="").kind, kind)

    def test_may_be_said(self) -> None:
        self.assertEqual(Option(parse=parse_text, default=None, help="", kind="PATTERN").kind, "PATTERN")
