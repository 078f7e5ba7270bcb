"""A filter class, its options, and the plugin that names it."""

from __future__ import annotations

import pickle
import sys

import attrs
from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.base import FilterPlugin, PipeFilter, at_least, option
from twisted_pipe.interfaces import FilterContext, FilterOutput, IPipeFilter, IPipeFilterFactory, OnFailure
from twisted_pipe.plugin.declared import nearest, one_line
from twisted_pipe.plugin.options import options_of, text_of
from twisted_pipe.units import parse_count, parse_size


def parse_choice(name: str, text: str) -> str:
    return {"yes": "y", "no": "n"}[text]


@attrs.define
class Full(PipeFilter):
    """Every kind of option: with and without a default, after a mandatory one, and one whose parser is careless."""

    size: int = option(at_least(1, parse_size), default=4096, help="the size", unit="bytes")
    rate: int = option(parse_size, help="the rate", unit="bytes/s")
    choice: str = option(parse_choice, default="y", help="yes or no")
    _seen: int = attrs.field(default=0, init=False)


class Plain(PipeFilter):
    """No options, no decorator."""


class Forgotten(PipeFilter):
    """Options without the decorator that collects them."""

    size: int = option(parse_size, default=1, help="the size")


@attrs.define
class Demanding(PipeFilter):
    """A field that no option fills."""

    wanted: int


@implementer(IPipeFilter)
class FromScratch:
    """Nothing inherited."""

    def __init__(self, context: FilterContext) -> None:
        self.context = context

    def started(self) -> FilterOutput:
        return (b"<",)

    def received(self, data: memoryview) -> FilterOutput:
        return (data,)

    def ended(self) -> FilterOutput:
        return (b">",)

    def stopped(self, reason: BaseException | None) -> None:
        pass


not_a_class = 5


class NotAFilter:
    pass


def plugin(name: str) -> FilterPlugin:
    return FilterPlugin("sample", "A sample.", f"{__name__}:{name}")


class PipeFilterTests(SynchronousTestCase):
    def test_passes_everything_through(self) -> None:
        one = PipeFilter(FilterContext())
        data = memoryview(b"abc")
        self.assertTrue(verifyObject(IPipeFilter, one))
        self.assertEqual(list(one.started()), [])
        [item] = one.received(data)
        self.assertIs(item, data)
        self.assertEqual(list(one.ended()), [])
        one.stopped(None)

    def test_subclass_needs_no_decorator(self) -> None:
        context = FilterContext()
        self.assertIs(Plain(context).context, context)


class OptionTests(SynchronousTestCase):
    def test_declared_options_in_order(self) -> None:
        declared = options_of(Full)
        self.assertEqual(list(declared), ["size", "rate", "choice"])
        self.assertEqual([each.required for each in declared.values()], [False, True, False])
        self.assertEqual(
            (declared["size"].default, declared["size"].help, declared["size"].unit), (4096, "the size", "bytes")
        )
        self.assertEqual(declared["choice"].unit, "")

    def test_classes_without_options(self) -> None:
        self.assertEqual(options_of(Plain), {})
        self.assertEqual(options_of(FromScratch), {})

    def test_at_least(self) -> None:
        parse = at_least(2, parse_count)
        self.assertEqual(parse("n", "2"), 2)
        error = self.assertRaises(BadConfiguration, parse, "n", "1")
        self.assertEqual(str(error), "n: '1': must be at least 2")


class ConfigureTests(SynchronousTestCase):
    def refused(self, name: str, **options: str) -> str:
        error = self.assertRaises(BadConfiguration, plugin(name).configure, options)
        self.assertNotIn("\n", str(error))
        return str(error)

    def test_values_are_parsed_and_the_others_default(self) -> None:
        built = plugin("Full").configure({"rate": "100k", "choice": "no"}).build(FilterContext())
        self.assertEqual(built, Full(FilterContext(), rate=102400, choice="n", size=4096))

    def test_context_reaches_the_filter(self) -> None:
        context = FilterContext(client="c")
        built = plugin("Plain").build(context)
        assert isinstance(built, Plain)
        self.assertIs(built.context, context)

    def test_each_build_is_a_new_filter(self) -> None:
        factory = plugin("Plain").configure({})
        self.assertIsNot(factory.build(FilterContext()), factory.build(FilterContext()))

    def test_unconfigured_is_all_defaults(self) -> None:
        self.assertIsInstance(plugin("Plain").build(FilterContext()), Plain)

    def test_unconfigured_lacks_what_is_required(self) -> None:
        error = self.assertRaises(BadConfiguration, plugin("Full").build, FilterContext())
        self.assertEqual(error.name, "filter sample: rate")

    def test_missing_option(self) -> None:
        self.assertEqual(self.refused("Full"), "filter sample: rate: None: has to be given: the rate")

    def test_values_of_a_configuration_file(self) -> None:
        """Numbers and booleans mean what their text means."""
        typed = plugin("Full").configure({"rate": 1000, "size": 5})
        self.assertEqual(typed, plugin("Full").configure({"rate": "1000", "size": "5"}))
        self.assertEqual([text_of("x", value) for value in (True, False, 1.5, "on")], ["on", "off", "1.5", "on"])
        self.assertEqual(plugin("Full").configure({"rate": 1, "filter_timeout": 2.5}).timeout, 2.5)
        self.assertEqual(
            self.refused("Full", rate=[1]), "filter sample: rate: [1]: must be text, a number, or true or false"
        )

    def test_common_options(self) -> None:
        factory = plugin("Full").configure({"rate": "1", "on_failure": "bypass", "filter_timeout": "10s"})
        self.assertEqual((factory.on_failure, factory.timeout), (OnFailure.BYPASS, 10.0))
        self.assertEqual((plugin("Plain").on_failure, plugin("Plain").timeout), (OnFailure.ABORT, 60.0))
        self.assertEqual(
            self.refused("Plain", on_failure="ignore"),
            "filter sample: on_failure: 'ignore': must be abort or bypass",
        )

    def test_unknown_option_suggests_the_nearest(self) -> None:
        self.assertEqual(
            self.refused("Full", rte="1"),
            "filter sample: rte: '1': no such option; did you mean \"rate\"? "
            "Options: size, rate, choice, on_failure, filter_timeout",
        )

    def test_unknown_option_like_none(self) -> None:
        self.assertEqual(
            self.refused("Full", xyzzy="1"),
            "filter sample: xyzzy: '1': no such option. Options: size, rate, choice, on_failure, filter_timeout",
        )

    def test_unknown_option_where_there_are_none(self) -> None:
        self.assertEqual(
            self.refused("Plain", a="1"), "filter sample: a: '1': no such option. Options: on_failure, filter_timeout"
        )

    def test_private_fields_and_the_context_are_no_options(self) -> None:
        for name in ("seen", "_seen", "context"):
            self.assertIn("no such option", self.refused("Full", rate="1", **{name: "1"}))

    def test_value_that_does_not_parse(self) -> None:
        self.assertEqual(
            self.refused("Full", rate="fast"),
            "filter sample: rate: 'fast': a size: a whole number of bytes, or with k, m or g (16k, 1g)",
        )
        self.assertEqual(self.refused("Full", rate="1", size="0"), "filter sample: size: '0': must be at least 1")

    def test_careless_parser(self) -> None:
        self.assertEqual(
            self.refused("Full", rate="1", choice="may\nbe"),
            "filter sample: choice: 'may\\nbe': yes or no (KeyError: 'may\\nbe')",
        )

    def test_filter_that_inherits_nothing(self) -> None:
        built = plugin("FromScratch").build(FilterContext())
        self.assertEqual(list(built.started()) + list(built.ended()), [b"<", b">"])

    def test_decorator_forgotten(self) -> None:
        self.assertIn("declares options but lacks @attrs.define", self.refused("Forgotten"))

    def test_field_that_no_option_fills(self) -> None:
        self.assertIn("cannot be built: missing a required argument: 'wanted'", self.refused("Demanding"))

    def test_not_a_filter(self) -> None:
        for name in ("not_a_class", "NotAFilter"):
            self.assertIn("must be a class that implements IPipeFilter", self.refused(name))

    def test_class_that_is_not_there(self) -> None:
        self.assertIn(f"'{__name__}:Missing': cannot be imported: AttributeError: ", self.refused("Missing"))

    def test_module_that_is_not_there(self) -> None:
        bad = FilterPlugin("sample", "A sample.", "no_such_module_here:Filter")
        error = self.assertRaises(BadConfiguration, bad.configure, {})
        self.assertEqual(
            str(error),
            "filter sample: 'no_such_module_here:Filter': cannot be imported: "
            "ModuleNotFoundError: No module named 'no_such_module_here'",
        )
        self.assertIsInstance(error.__cause__, ModuleNotFoundError)

    def test_configured_again_starts_from_the_defaults(self) -> None:
        first = plugin("Full").configure({"rate": "1", "size": "5"})
        self.assertEqual(first.configure({"rate": "2"}), plugin("Full").configure({"rate": "2"}))

    def test_configuration_is_a_frozen_value(self) -> None:
        one, same = (plugin("Full").configure({"rate": "1"}) for _ in range(2))
        self.assertEqual(one, same)
        self.assertEqual(hash(one), hash(same))
        self.assertNotEqual(one, plugin("Full").configure({"rate": "2"}))
        self.assertRaises(attrs.exceptions.FrozenInstanceError, setattr, one, "values", ())

    def test_configured_is_a_factory_of_the_same_name(self) -> None:
        factory = plugin("Plain").configure({})
        self.assertTrue(verifyObject(IPipeFilterFactory, factory))
        self.assertEqual((factory.name, factory.summary), ("sample", "A sample."))


class FilterPluginTests(SynchronousTestCase):
    def test_is_a_plugin_and_a_factory(self) -> None:
        self.assertTrue(verifyObject(IPlugin, plugin("Plain")))
        self.assertTrue(verifyObject(IPipeFilterFactory, plugin("Plain")))

    def test_class_is_imported_when_asked_for(self) -> None:
        module = "twisted_pipe.filters.upper"
        loaded = sys.modules.pop(module, None)
        if loaded is not None:
            self.addCleanup(sys.modules.__setitem__, module, loaded)
        lazy = FilterPlugin("upper", "", f"{module}:Upper")
        self.assertNotIn(module, sys.modules)
        lazy.build(FilterContext())
        self.assertIn(module, sys.modules)

    def test_names(self) -> None:
        for good in ("a", "gzip", "http-2", "7bit"):
            self.assertEqual(FilterPlugin(good, "", "m:C").name, good)
        for bad in ("", "Upper", "a_b", "a b", "a:b", "-a", "é", "a\n", None):
            error = self.assertRaises(BadConfiguration, FilterPlugin, bad, "", "m:C")
            self.assertEqual((error.name, error.value), ("filter name", bad))

    def test_paths(self) -> None:
        for bad in ("", "m", "m.C", "m:", ":C", "m:C:D", "m..n:C", "m:C "):
            error = self.assertRaises(BadConfiguration, FilterPlugin, "a", "", bad)
            self.assertEqual(str(error), f'filter a: {bad!r}: must be "package.module:Class"')

    def test_survives_a_pickle(self) -> None:
        configured = plugin("Full").configure({"rate": "1"})
        self.assertEqual(pickle.loads(pickle.dumps(configured)), configured)


class WordingTests(SynchronousTestCase):
    def test_nearest_ignores_case(self) -> None:
        self.assertEqual(nearest("UPER", ["hex", "upper"], "Known"), '; did you mean "upper"? Known: hex, upper')

    def test_one_line(self) -> None:
        self.assertEqual(one_line(ValueError("a\n  b")), "ValueError: a b")
