"""How a filter is found by name, and what is said when it is not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import attrs
import twisted.plugins
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.base import ConfiguredFilter, PipeFilter, option
from twisted_pipe.filters.discovery import all_filters, find_filter, parse_filter_spec
from twisted_pipe.filters.hexdump import Hexdump
from twisted_pipe.filters.upper import Upper
from twisted_pipe.interfaces import FilterContext, IPipeFilterFactory

GOOD = """
    from twisted_pipe.filters.base import FilterPlugin
    {name} = FilterPlugin("{name}", "A sample.", "twisted_pipe.filters.{name}:{cls}")
"""
UPPER = GOOD.format(name="upper", cls="Upper")
HEXDUMP = GOOD.format(name="hexdump", cls="Hexdump")
THROTTLE = GOOD.format(name="throttle", cls="Throttle")


def as_it_is(name: str, text: str) -> str:
    return text


@attrs.define
class Echo(PipeFilter):
    """Options of any text."""

    a: str = option(as_it_is, default="", help="any text")
    b: str = option(as_it_is, default="", help="any text")


class DropinCase(SynchronousTestCase):
    """A plugin package of this test's own drop-ins."""

    def install(self, **dropins: str) -> None:
        """Write drop-ins as C{sample_NAME}, none of which outlives the test."""
        folder = Path(self.mktemp()).absolute() / "twisted" / "plugins"
        folder.mkdir(parents=True)
        self.patch(twisted.plugins, "__path__", [str(folder)])
        for name, source in dropins.items():
            (folder / f"sample_{name}.py").write_text(dedent(source))
            self.addCleanup(sys.modules.pop, f"twisted.plugins.sample_{name}", None)

    def not_found(self, name: str) -> str:
        error: BadConfiguration = self.assertRaises(BadConfiguration, find_filter, name)
        self.assertEqual((error.name, error.value), ("filter", name))
        self.assertNotIn("\n", str(error))
        return error.expected


class BundledTests(SynchronousTestCase):
    def test_all_are_found(self) -> None:
        for name in ("hexdump", "throttle", "upper"):
            self.assertEqual(find_filter(name).name, name)
            self.assertIn(name, [each.name for each in all_filters()])

    def test_dropin_is_light(self) -> None:
        """Neither a reactor nor a filter's own module is imported to know its name."""
        script = dedent("""
            import sys, twisted.plugins.twisted_pipe_filters
            heavy = ("twisted.internet.reactor", "twisted.internet.base", "twisted_pipe.filters.throttle", "twisted_pipe.net")
            print([name for name in heavy if name in sys.modules])
        """)
        said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        self.assertEqual(said.stdout, "[]\n")


class FindTests(DropinCase):
    def test_found(self) -> None:
        self.install(a=UPPER)
        found = find_filter("upper")
        self.assertTrue(IPipeFilterFactory.providedBy(found))
        self.assertIsInstance(found.build(FilterContext()), Upper)

    def test_all_in_the_order_of_names(self) -> None:
        self.install(a=UPPER, b=THROTTLE + HEXDUMP)
        self.assertEqual([each.name for each in all_filters()], ["hexdump", "throttle", "upper"])

    def test_found_again_from_the_cache(self) -> None:
        self.install(a=UPPER)
        first = find_filter("upper")
        self.assertIs(find_filter("upper"), first)

    def test_unknown_with_the_nearest(self) -> None:
        self.install(a=UPPER, b=HEXDUMP)
        self.assertEqual(self.not_found("Uper"), 'no such filter; did you mean "upper"? Known: hexdump, upper')

    def test_unknown_like_none(self) -> None:
        self.install(a=UPPER)
        self.assertEqual(self.not_found("gzip"), "no such filter. Known: upper")

    def test_none_at_all(self) -> None:
        self.install()
        self.assertEqual(all_filters(), [])
        self.assertEqual(self.not_found(""), "no such filter. Known: none")

    def test_two_of_one_name(self) -> None:
        self.install(a=UPPER, b=UPPER.replace("upper =", "shout ="), c=HEXDUMP)
        said = re.sub(r"twisted_pipe [\d.]+, ", "", self.not_found("upper"))  # the package, where it is installed
        self.assertEqual(
            said,
            "two filters have this name: twisted.plugins.sample_a.upper and twisted.plugins.sample_b.shout; uninstall one",
        )
        self.assertEqual([each.name for each in all_filters()], ["hexdump", "upper", "upper"])
        self.assertEqual(find_filter("hexdump").name, "hexdump")

    def test_one_filter_under_two_names_of_a_module_is_one(self) -> None:
        self.install(a=dedent(UPPER) + "again = upper\n", b="from twisted.plugins.sample_a import upper\n")
        self.assertEqual([each.name for each in all_filters()], ["upper"])
        self.assertEqual(find_filter("upper").name, "upper")


class BrokenDropinTests(DropinCase):
    def test_not_found_names_the_failed_import(self) -> None:
        self.install(a=UPPER, b="import no_such_module_here\n")
        self.assertEqual(
            self.not_found("gzip"),
            "no such filter. Known: upper. Unusable: twisted.plugins.sample_b (cannot be imported: "
            "ModuleNotFoundError: No module named 'no_such_module_here')",
        )
        self.assertEqual(len(self.flushLoggedErrors(ModuleNotFoundError)), 1)

    def test_every_kind_of_failure(self) -> None:
        self.install(a="def :\n", b="raise SystemExit(3)\n", c="1 / 0\n")
        said = self.not_found("gzip")
        self.assertIn("twisted.plugins.sample_a (cannot be imported: SyntaxError: ", said)
        self.assertIn("twisted.plugins.sample_b (cannot be imported: SystemExit: 3)", said)
        self.assertIn("twisted.plugins.sample_c (cannot be imported: ZeroDivisionError: division by zero)", said)
        self.flushLoggedErrors()

    def test_the_others_are_still_found(self) -> None:
        self.install(a=UPPER, b="import no_such_module_here\n")
        self.assertEqual(find_filter("upper").name, "upper")
        self.flushLoggedErrors(ModuleNotFoundError)

    def test_dropin_that_the_cache_still_remembers(self) -> None:
        """Twisted answers from its cache although the module has come to fail on import since."""
        self.install(a=UPPER, b=HEXDUMP)
        find_filter("hexdump")
        del sys.modules["twisted.plugins.sample_b"]
        [folder] = twisted.plugins.__path__
        (Path(folder) / "sample_b.py").write_text("import no_such_module_here\n")
        self.assertIn("sample_b (cannot be imported: ModuleNotFoundError", self.not_found("hexdump"))
        self.flushLoggedErrors(ModuleNotFoundError)

    def test_name_that_breaks_the_rule(self) -> None:
        self.install(a=UPPER.replace('"upper"', '"Upper"'))
        self.assertIn(
            "sample_a (cannot be imported: BadConfiguration: filter name: 'Upper': a filter's name is lower case",
            self.not_found("Upper"),
        )
        self.flushLoggedErrors(BadConfiguration)

    def test_what_only_claims_to_be_a_filter(self) -> None:
        source = """
            from twisted.plugin import IPlugin
            from zope.interface import implementer
            from twisted_pipe.filters.base import FilterPlugin
            from twisted_pipe.interfaces import IPipeFilterFactory, OnFailure

            class Half:
                name, summary, on_failure, timeout = "half", "", OnFailure.ABORT, 0
                def build(self, context): pass

            class Whole(Half):
                name = "Who le"
                def configure(self, options): pass

            half = implementer(IPlugin, IPipeFilterFactory)(Half)()
            whole = implementer(IPlugin, IPipeFilterFactory)(Whole)()
            configured = FilterPlugin("upper", "", "twisted_pipe.filters.upper:Upper").configure({})
        """
        self.install(a=source)
        self.assertEqual(all_filters(), [])
        said = self.not_found("half")
        self.assertRegex(said, r"sample_a\.half \(.*configure")
        self.assertIn("sample_a.whole ('Who le': a filter's name is", said)
        self.assertIn("sample_a.configured (does not provide IPlugin)", said)

    def test_filter_whose_class_fails_to_import(self) -> None:
        self.install(a=UPPER.replace("filters.upper:", "filters.no_such_module_here:"))
        error = self.assertRaises(BadConfiguration, parse_filter_spec, "upper")
        self.assertEqual(
            str(error),
            "filter upper: 'twisted_pipe.filters.no_such_module_here:Upper': cannot be imported: "
            "ModuleNotFoundError: No module named 'twisted_pipe.filters.no_such_module_here'",
        )


class SpecTests(DropinCase):
    def setUp(self) -> None:
        source = """
            from twisted_pipe.filters.base import FilterPlugin
            echo = FilterPlugin("echo", "", "tests.filters.test_discovery:Echo")
        """
        self.install(a=HEXDUMP, b=source)

    def values(self, text: str) -> dict[str, object]:
        configured = parse_filter_spec(text)
        assert isinstance(configured, ConfiguredFilter)
        return dict(configured.values)

    def refused(self, text: str) -> str:
        return str(self.assertRaises(BadConfiguration, parse_filter_spec, text))

    def test_name_alone(self) -> None:
        self.assertEqual(self.values("hexdump"), {})

    def test_options(self) -> None:
        self.assertEqual(self.values("hexdump:bytes=16:total=1k"), {"bytes": 16, "total": 1024})
        built = parse_filter_spec("hexdump:bytes=16").build(FilterContext())
        self.assertEqual(built, Hexdump(FilterContext(), bytes=16))

    def test_escapes(self) -> None:
        for written, meant in [
            (r"a\:b", "a:b"),
            (r"\:\:", "::"),
            (r"a\\", "a\\"),
            (r"\\\:", "\\:"),
            (r"\d+\n", r"\d+\n"),
            ("a=b=c", "a=b=c"),
            ("", ""),
            ("two\nlines", "two\nlines"),
        ]:
            self.assertEqual(self.values(f"echo:a={written}:b=x"), {"a": meant, "b": "x"})

    def test_not_of_the_form(self) -> None:
        for part in ("", "bytes", "=5"):
            self.assertEqual(
                self.refused(f"hexdump:{part}"),
                f"filter hexdump: {part!r}: an option is key=value; a colon in a value is \\:",
            )

    def test_option_twice(self) -> None:
        self.assertEqual(self.refused("hexdump:bytes=1:bytes=2"), "filter hexdump: bytes: '2': is given twice")

    def test_errors_of_the_parts(self) -> None:
        self.assertIn("filter: 'hexdmp': no such filter; did you mean \"hexdump\"?", self.refused("hexdmp:bytes=1"))
        self.assertIn("filter: '': no such filter", self.refused(""))
        self.assertIn(
            "filter hexdump: byte: '1': no such option; did you mean \"bytes\"?", self.refused("hexdump:byte=1")
        )
        self.assertIn("filter hexdump: bytes: 'x': a size", self.refused("hexdump:bytes=x"))
