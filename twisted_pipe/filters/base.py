"""
What a filter is made of: a class, its options, and the plugin that names it.

The class does the work, one instance for one direction of one connection. Its options are fields declared with L{option}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

import attrs
from twisted.plugin import IPlugin
from zope.interface import implementer

from twisted_pipe.interfaces import FilterContext, FilterOutput, IPipeFilter, IPipeFilterFactory, OnFailure
from twisted_pipe.plugin.declared import ConfiguredPlugin, DeclaredPlugin
from twisted_pipe.plugin.options import Option, at_least, between, one_of, option
from twisted_pipe.units import parse_duration

__all__ = [
    "ConfiguredFilter",
    "FilterPlugin",
    "PipeFilter",
    "at_least",
    "between",
    "failure_options",
    "one_of",
    "option",
]


def _parse_on_failure(name: str, text: str) -> OnFailure:
    """Of the common option C{on_failure}."""
    return OnFailure(one_of(*map(str, OnFailure))(name, text))


def failure_options(on_failure: str, filter_timeout: str) -> dict[str, Option]:
    """The options that every filter has, of bytes or of messages, with what they mean for its kind."""
    return {
        "on_failure": Option(
            parse=_parse_on_failure, kind="|".join(map(str, OnFailure)), default=OnFailure.ABORT, help=on_failure
        ),
        "filter_timeout": Option(parse=parse_duration, default=60.0, help=filter_timeout, unit="seconds"),
    }


_COMMON_OPTIONS = failure_options(
    "when the filter fails, end the connection, or go on without it if it has not put out anything",
    "how long it may wait for one Deferred; 0: for ever",
)


@implementer(IPipeFilter)
@attrs.define
class PipeFilter:
    """
    A filter that passes everything through: the base of the others, which override what they need.

    A subclass with options is decorated with C{@attrs.define} and declares each with L{option}; one without needs nothing.

    @cvar judges_options: whether one is built as soon as it is configured, so that what its constructor refuses is refused then:
        options that make no sense together. It raises C{BadConfiguration} with the option's bare name, and knows no context yet.
    @cvar content_coding: for bodies of HTTP: the coding that it produces, as C{Content-Encoding} names it; empty for none.
    @cvar decoded_coding: likewise the coding that it takes off.
    @cvar any_coding: whether it is for coded bodies as well, and for parts, because it does not look at what the bytes say.
    @cvar keeps_bytes: whether it puts out what it is given, byte for byte: then a body's length, entity tag and digests stay.
        One that says so and puts out more or less has failed.
    @ivar context: where this filter stands.
    """

    judges_options: ClassVar[bool] = False
    content_coding: ClassVar[str] = ""
    decoded_coding: ClassVar[str] = ""
    any_coding: ClassVar[bool] = False
    keeps_bytes: ClassVar[bool] = False

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
class ConfiguredFilter(ConfiguredPlugin):
    """
    What connections build filters from.

    @ivar on_failure: what the failure of one of its filters does.
    @ivar filter_timeout: seconds that one of its filters may wait for one Deferred, 0 for ever.
    """

    on_failure: OnFailure = _COMMON_OPTIONS["on_failure"].default
    filter_timeout: float = _COMMON_OPTIONS["filter_timeout"].default

    @property
    def timeout(self) -> float:
        """The same."""
        return self.filter_timeout

    def build(self, argument: FilterContext) -> IPipeFilter:
        """For a connection: what the class raises is a failure of that, and the log tells it as it is."""
        built: IPipeFilter = self.instance(argument)
        return built


@implementer(IPlugin, IPipeFilterFactory)
@attrs.frozen
class FilterPlugin(DeclaredPlugin):
    """A filter by name, as a drop-in declares it."""

    noun: ClassVar[str] = "filter"
    product: ClassVar[Any] = IPipeFilter
    common: ClassVar[Mapping[str, Option]] = _COMMON_OPTIONS
    configured: ClassVar[Any] = ConfiguredFilter

    def make(
        self, loaded: type[Any], values: tuple[tuple[str, Any], ...], common: Mapping[str, Any]
    ) -> ConfiguredFilter:
        """See L{PipeFilter.judges_options}."""
        configured = ConfiguredFilter(self, loaded, values, **common)
        if getattr(loaded, "judges_options", False):
            configured.build(FilterContext())
        return configured

    @property
    def on_failure(self) -> OnFailure:
        """What it is by default."""
        return cast(OnFailure, self.common["on_failure"].default)

    @property
    def timeout(self) -> float:
        """What it is by default."""
        return cast(float, self.common["filter_timeout"].default)
