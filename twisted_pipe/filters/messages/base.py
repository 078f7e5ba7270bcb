"""
What a message filter is made of: a class, its options, and the plugin that names it.

As with byte filters, the class does the work and its options are fields declared with L{option}. Unlike those, one instance serves
all exchanges of its place in the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

import attrs
from twisted.plugin import IPlugin
from zope.interface import implementer

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.base import failure_options
from twisted_pipe.interfaces import IMessageFilter, IMessageFilterFactory, MessageContext, MessageOutput, OnFailure
from twisted_pipe.messages.request import RequestMessage
from twisted_pipe.messages.response import ResponseMessage
from twisted_pipe.plugin.declared import ConfiguredPlugin, DeclaredPlugin
from twisted_pipe.plugin.options import Option, at_least, between, one_of, option

__all__ = ["ConfiguredMessageFilter", "MessageFilter", "MessageFilterPlugin", "at_least", "between", "one_of", "option"]

_COMMON_OPTIONS = failure_options(
    "when the filter fails, answer 500, or let the message go on as if the filter had not seen it",
    "how long it may wait for what it does about one message; 0: for ever",
)

_NO_BYPASS = "must be abort: this filter protects what is behind it, and one that is bypassed lets everybody in"


@implementer(IMessageFilter)
@attrs.define
class MessageFilter:
    """
    A filter that lets everything go on: the base of the others, which override what they need.

    A subclass with options is decorated with C{@attrs.define} and declares each with L{option}; one without needs nothing. It
    checks what its options say together, and reads its files, in C{__attrs_post_init__}, and raises
    L{BadConfiguration<twisted_pipe.errors.BadConfiguration>} with an option's bare name.

    @cvar protects: whether it decides who may have what. Such a one cannot be bypassed when it fails: C{on_failure=bypass} is
        refused when the configuration is read. Default C{False}.
    @ivar context: where this filter stands.
    """

    protects: ClassVar[bool] = False

    context: MessageContext

    def request(self, request: RequestMessage) -> MessageOutput:
        return None

    def response(self, response: ResponseMessage) -> MessageOutput:
        return None


@implementer(IMessageFilterFactory)
@attrs.frozen
class ConfiguredMessageFilter(ConfiguredPlugin):
    """
    What is built once for each place of the configuration.

    @ivar on_failure: what its failure does.
    @ivar filter_timeout: seconds that it may take for one message, 0 for ever.
    """

    on_failure: OnFailure = _COMMON_OPTIONS["on_failure"].default
    filter_timeout: float = _COMMON_OPTIONS["filter_timeout"].default

    @property
    def timeout(self) -> float:
        """The same."""
        return self.filter_timeout

    def build(self, argument: MessageContext) -> IMessageFilter:
        """
        @raise BadConfiguration: it does not take its options, or raises anything else; named as everywhere, with the filter's name.
        """
        with self.plugin.refusing():
            if self.on_failure is OnFailure.BYPASS and getattr(self.plugin_class, "protects", False):
                raise BadConfiguration("on_failure", str(self.on_failure), _NO_BYPASS)
            built: IMessageFilter = self.instance(argument)
            return built


@implementer(IPlugin, IMessageFilterFactory)
@attrs.frozen
class MessageFilterPlugin(DeclaredPlugin):
    """A message filter by name, as a drop-in declares it."""

    noun: ClassVar[str] = "message filter"
    product: ClassVar[Any] = IMessageFilter
    common: ClassVar[Mapping[str, Option]] = _COMMON_OPTIONS
    configured: ClassVar[Any] = ConfiguredMessageFilter

    @property
    def on_failure(self) -> OnFailure:
        """What it is by default."""
        return cast(OnFailure, self.common["on_failure"].default)

    @property
    def timeout(self) -> float:
        """What it is by default."""
        return cast(float, self.common["filter_timeout"].default)
