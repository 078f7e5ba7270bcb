"""
What a filter is made of: a class, its options, and the plugin that names it.

The class does the work, one instance for one direction of one connection. Its options are fields declared with L{option}.
The plugin is what a drop-in holds; it knows only where the class lives, so that drop-ins stay light, and imports it when a
configuration first asks for it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any, cast

import attrs
from twisted.plugin import IPlugin
from zope.interface import implementer

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.options import (
    COMMON_OPTIONS,
    Option,
    at_least,
    between,
    one_of,
    option,
    options_of,
    text_of,
)
from twisted_pipe.interfaces import FilterContext, FilterOutput, IPipeFilter, IPipeFilterFactory, OnFailure

__all__ = [
    "NAME_RULE",
    "ConfiguredFilter",
    "FilterPlugin",
    "PipeFilter",
    "at_least",
    "between",
    "is_filter_name",
    "nearest",
    "one_line",
    "one_of",
    "option",
]

NAME_RULE = "a filter's name is lower case letters, digits and dashes, no dash first"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_PATH = re.compile(r"\w+(\.\w+)*:\w+")


@implementer(IPipeFilter)
@attrs.define
class PipeFilter:
    """
    A filter that passes everything through: the base of the others, which override what they need.

    A subclass with options is decorated with C{@attrs.define} and declares each with L{option}; one without needs nothing.

    @ivar context: where this filter stands.
    """

    context: FilterContext

    def started(self) -> FilterOutput:
        return ()

    def received(self, data: memoryview) -> FilterOutput:
        return (data,)

    def ended(self) -> FilterOutput:
        return ()

    def stopped(self, reason: BaseException | None) -> None:
        pass


@implementer(IPipeFilterFactory)
@attrs.frozen
class ConfiguredFilter:
    """
    A plugin whose class is imported and whose options are parsed: what connections build filters from.

    @ivar plugin: where it came from.
    @ivar filter_class: what L{build} instantiates.
    @ivar values: the options that were given, as pairs of name and parsed value; the class has the defaults of the others.
    @ivar on_failure: what the failure of one of its filters does.
    @ivar timeout: seconds that one of its filters may wait for one Deferred, 0 for ever.
    """

    plugin: FilterPlugin
    filter_class: Callable[..., Any]
    values: tuple[tuple[str, Any], ...] = ()
    on_failure: OnFailure = COMMON_OPTIONS["on_failure"].default
    timeout: float = COMMON_OPTIONS["filter_timeout"].default

    @property
    def name(self) -> str:
        return self.plugin.name

    @property
    def summary(self) -> str:
        return self.plugin.summary

    def configure(self, options: Mapping[str, Any]) -> ConfiguredFilter:
        """The same filter with C{options} instead of those it has."""
        return self.plugin.configure(options)

    def build(self, context: FilterContext) -> IPipeFilter:
        return cast(IPipeFilter, self.filter_class(context, **dict(self.values)))


@implementer(IPlugin, IPipeFilterFactory)
@attrs.frozen
class FilterPlugin:
    """
    A filter by name, as a drop-in declares it.

    @ivar name: by which configuration finds it: lower case letters, digits and dashes.
    @ivar summary: one line for C{--help}.
    @ivar path: C{"package.module:Class"}, imported when it is first configured or built.
    @raise BadConfiguration: when name or path is not of that form.
    """

    name: str = attrs.field()
    summary: str
    path: str = attrs.field()

    @name.validator
    def _check_name(self, field: attrs.Attribute[str], value: object) -> None:
        if not is_filter_name(value):
            raise BadConfiguration("filter name", value, NAME_RULE)

    @path.validator
    def _check_path(self, field: attrs.Attribute[str], value: str) -> None:
        if not _PATH.fullmatch(value):
            raise BadConfiguration(f"filter {self.name}", value, 'must be "package.module:Class"')

    @property
    def on_failure(self) -> OnFailure:
        """What it is by default."""
        return cast(OnFailure, COMMON_OPTIONS["on_failure"].default)

    @property
    def timeout(self) -> float:
        """What it is by default."""
        return cast(float, COMMON_OPTIONS["filter_timeout"].default)

    def configure(self, options: Mapping[str, Any]) -> ConfiguredFilter:
        """
        Take options, and the defaults of the others.

        @raise BadConfiguration: for an option that is unknown, missing or does not parse, and for a class that cannot be
            imported or built.
        """
        filter_class = self.load()
        declared = options_of(filter_class)
        known = {**declared, **COMMON_OPTIONS}
        for name, value in options.items():
            if name not in known:
                raise BadConfiguration(self._called(name), value, f"no such option{nearest(name, known, 'Options')}")
        for name, described in declared.items():
            if described.required and name not in options:
                raise BadConfiguration(self._called(name), None, f"has to be given: {described.help}")
        values = {name: self._parse(name, known[name], value) for name, value in options.items()}
        common = {name: values.pop(name, described.default) for name, described in COMMON_OPTIONS.items()}
        try:
            inspect.signature(filter_class).bind(None, **values)
        except TypeError as error:
            raise BadConfiguration(f"filter {self.name}", self.path, f"cannot be built: {error}") from error
        return ConfiguredFilter(
            self, filter_class, tuple(values.items()), common["on_failure"], common["filter_timeout"]
        )

    def build(self, context: FilterContext) -> IPipeFilter:
        """A filter with all defaults."""
        return self.configure({}).build(context)

    def _called(self, name: str) -> str:
        return f"filter {self.name}: {name}"

    def _parse(self, name: str, described: Option, value: object) -> Any:
        text = text_of(self._called(name), value)
        try:
            return described.parse(self._called(name), text)
        except BadConfiguration:
            raise
        except Exception as error:
            expected = f"{described.help} ({one_line(error)})"
            raise BadConfiguration(self._called(name), text, expected) from error

    def load(self) -> type[Any]:
        """
        The class.

        @raise BadConfiguration: it cannot be imported, or is no filter.
        """
        module, _, attribute = self.path.partition(":")
        try:
            loaded = getattr(import_module(module), attribute)
        except Exception as error:
            expected = f"cannot be imported: {one_line(error)}"
            raise BadConfiguration(f"filter {self.name}", self.path, expected) from error
        if not (isinstance(loaded, type) and IPipeFilter.implementedBy(loaded)):
            raise BadConfiguration(f"filter {self.name}", self.path, "must be a class that implements IPipeFilter")
        # What attrs has not collected it leaves lying in the class, where it would be taken for the option's value.
        if any(isinstance(value, type(attrs.field())) for value in vars(loaded).values()):
            raise BadConfiguration(f"filter {self.name}", self.path, "declares options but lacks @attrs.define")
        for name in COMMON_OPTIONS:
            if name in options_of(loaded):
                raise BadConfiguration(f"filter {self.name}", self.path, f"declares {name}, which every filter has")
        return loaded


def is_filter_name(value: object) -> bool:
    """Whether a filter may be called that: see L{NAME_RULE}."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def nearest(name: str, known: Iterable[str], plural: str) -> str:
    """The rest of a "no such" sentence: C{'; did you mean "rate"? Options: rate, burst'}."""
    names = list(known)
    close = get_close_matches(name.lower(), names, n=1)
    guess = f'; did you mean "{close[0]}"?' if close else "."
    return f"{guess} {plural}: {', '.join(names) or 'none'}"


def one_line(error: BaseException) -> str:
    """An error of somebody else's code, in one line of ours."""
    return " ".join(f"{type(error).__name__}: {error}".split())
