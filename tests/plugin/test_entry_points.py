"""Plugins that packages declare as entry points."""

from __future__ import annotations

import sys
from pathlib import Path

import twisted.plugins
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.discovery import FILTERS, find_filter, parse_filter_spec
from twisted_pipe.filters.messages.discovery import MESSAGE_FILTERS
from twisted_pipe.filters.upper import Upper
from twisted_pipe.interfaces import FilterContext
from twisted_pipe.plugin.manual import describe_all, describe_one, summaries

MODULE = '''
import attrs
from twisted_pipe.filters.base import PipeFilter, option
from twisted_pipe.units import parse_size

@attrs.define
class Shout(PipeFilter):
    """
    Is loud.

    Very C{loud}, as L{Upper} is.

    @ivar size: how loud.
    """

    size: int = option(parse_size, default=65536, help="how loud", unit="bytes")
'''


class EntryPointCase(SynchronousTestCase):
    def install(self, entries: str, name: str = "shouting") -> None:
        """A package with these entry points and the module C{shouting_module}."""
        site = Path(self.mktemp()).absolute()
        info = site / f"{name}-1.5.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
        (info / "top_level.txt").write_text("shouting_module\n")
        (info / "entry_points.txt").write_text(f"[twisted_pipe.filters]\n{entries}\n")
        (site / "shouting_module.py").write_text(MODULE)
        self.patch(sys, "path", [*sys.path, str(site)])
        self.addCleanup(sys.modules.pop, "shouting_module", None)

    def refused(self, name: str) -> str:
        error: BadConfiguration = self.assertRaises(BadConfiguration, find_filter, name)
        return error.expected


class FindTests(EntryPointCase):
    def test_found(self) -> None:
        self.install("shout = shouting_module:Shout")
        built = parse_filter_spec("shout:size=5").build(FilterContext())
        self.assertEqual((type(built).__name__, built.size), ("Shout", 5))  # type: ignore[attr-defined]
        self.assertNotIn("shouting_module", [each.name for each in FILTERS.all()])

    def test_is_imported_only_when_it_is_used(self) -> None:
        self.install("shout = shouting_module:Shout")
        find_filter("shout")
        self.assertNotIn("shouting_module", sys.modules)

    def test_declared_both_ways_is_one(self) -> None:
        self.install("upper = twisted_pipe.filters.upper:Upper")
        self.assertIsInstance(find_filter("upper").build(FilterContext()), Upper)
        self.assertEqual([each.name for each in FILTERS.all()].count("upper"), 1)

    def test_the_name_of_another(self) -> None:
        self.install("upper = shouting_module:Shout")
        said = self.refused("upper")
        self.assertIn("two filters have this name: ", said)
        self.assertIn("twisted.plugins.twisted_pipe_filters.upper", said)
        self.assertIn("shouting 1.5, entry point shouting_module:Shout", said)

    def test_a_name_that_is_none(self) -> None:
        self.install("Sho ut = shouting_module:Shout")
        self.assertIn(
            "entry point Sho ut = shouting_module:Shout (a filter's name is lower case", self.refused("shout")
        )

    def test_a_path_that_is_none(self) -> None:
        self.install("shout = shouting_module")
        said = self.refused("shout")
        self.assertIn('entry point shout = shouting_module (must be "package.module:Class")', said)

    def test_a_module_that_is_missing(self) -> None:
        self.install("shout = no_module_of_this_name:Shout")
        error = self.assertRaises(BadConfiguration, parse_filter_spec, "shout")
        self.assertIn("cannot be imported: ModuleNotFoundError", str(error))


class ManualTests(EntryPointCase):
    def test_all(self) -> None:
        self.install("shout = shouting_module:Shout\nquiet = no_module_of_this_name:Quiet\nWrong = x:Y")
        entries = describe_all(FILTERS).split("\n\n")
        self.assertIn(
            "shout: Is loud.\n"
            "    from shouting 1.5, entry point shouting_module:Shout\n"
            "    size=SIZE (bytes): how loud [default: 64.0 KiB]",
            entries,
        )
        [quiet] = [entry for entry in entries if entry.startswith("quiet: ")]
        self.assertIn("cannot be imported: ModuleNotFoundError", quiet)
        [throttle] = [entry for entry in entries if entry.startswith("throttle: ")]
        self.assertIn(
            "rate=SIZE of at least 1 (bytes/s): the most to pass on, such as 100k [has to be given]", throttle
        )
        self.assertTrue(entries[-2].startswith("Every filter:\n    on_failure=abort|bypass: "), entries[-2])
        self.assertIn("filter_timeout=TIME (seconds)", entries[-2])
        self.assertTrue(entries[-1].startswith("Unusable: entry point Wrong = x:Y ("), entries[-1])
        self.assertEqual([line for line in describe_all(FILTERS).splitlines() if len(line) > 160], [])

    def test_one(self) -> None:
        self.install("shout = shouting_module:Shout")
        lines = describe_one({FILTERS: "--filter {}"}, "shout").splitlines()
        self.assertEqual(
            lines[:8],
            [
                "shout: Is loud.",
                "from shouting 1.5, entry point shouting_module:Shout",
                "",
                "Is loud.",
                "",
                "Very loud, as Upper is.",
                "",
                "--filter shout[:key=value...]",
            ],
        )
        self.assertEqual(lines[8], "    size=SIZE (bytes): how loud [default: 64.0 KiB]")
        self.assertTrue(lines[9].startswith("    on_failure=abort|bypass: "), lines)

    def test_none_of_that_name(self) -> None:
        error = self.assertRaises(BadConfiguration, describe_one, {FILTERS: "--filter {}"}, "uper")
        self.assertIn('did you mean "upper"?', str(error))

    def test_what_is_of_two_kinds_is_told_of_both(self) -> None:
        self.install("cors = shouting_module:Shout")
        both = describe_one({FILTERS: "--filter {}", MESSAGE_FILTERS: 'message_filters = ["{}"]'}, "cors")
        byte, message = both.split("\n\ncors: ")
        self.assertTrue(byte.startswith("cors: Is loud.\n"), byte)
        self.assertIn("\n--filter cors[:key=value...]\n    size=SIZE", byte)
        self.assertIn('\nmessage_filters = ["cors[:key=value...]"]\n    origins=', message)

    def test_no_name_of_either_kind(self) -> None:
        broken = Path(self.mktemp()).absolute()
        broken.mkdir()
        (broken / "broken_dropin.py").write_text("1 / 0")
        self.patch(twisted.plugins, "__path__", [*twisted.plugins.__path__, str(broken)])
        usages = {FILTERS: "--filter {}", MESSAGE_FILTERS: 'message_filters = ["{}"]'}
        error: BadConfiguration = self.assertRaises(BadConfiguration, describe_one, usages, "substitut")
        self.assertEqual((error.name, error.value), ("filter", "substitut"))
        byte, message = error.expected.split("; no such message filter; ")
        self.assertTrue(byte.startswith('no such filter; did you mean "substitute"? Filters: '), byte)
        self.assertTrue(message.startswith('did you mean "substitution"? Message filters: auth-request, '), message)
        self.assertIn(". Unusable: twisted.plugins.broken_dropin (cannot be imported: ZeroDivisionError", message)
        self.assertEqual(error.expected.count("broken_dropin"), 1)
        self.flushLoggedErrors(ZeroDivisionError)

    def test_a_name_that_two_have(self) -> None:
        self.install("upper = shouting_module:Shout")
        error: BadConfiguration = self.assertRaises(BadConfiguration, describe_one, {FILTERS: "{}"}, "upper")
        self.assertIn("two filters have this name: ", error.expected)

    def test_summaries(self) -> None:
        self.install("shout = shouting_module:Shout")
        lines = summaries(FILTERS).splitlines()
        self.assertIn("  shout           Is loud.", lines)
        self.assertIn("  upper           Upper-cases ASCII letters: the example.", lines)
