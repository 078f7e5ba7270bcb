"""What requests and responses have in common, as message filters see them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
from zope.interface import implementer

from twisted_pipe.interfaces import FilterContext, IPipeFilter, IPipeFilterFactory, OnFailure
from twisted_pipe.messages.headers import Headers

__all__ = ["BodyFilter", "Message"]


@implementer(IPipeFilterFactory)
@attrs.frozen
class BodyFilter:
    """
    A byte filter for one body, of what makes it.

    @ivar name: for errors and logs.
    @ivar plugin_class: a filter class, or another function of the context.
    """

    name: str
    plugin_class: Callable[[FilterContext], Any] = attrs.field()
    on_failure: OnFailure = OnFailure.ABORT
    timeout: float = 60.0
    summary: str = ""

    @plugin_class.validator
    def _check_what_makes_it(self, _: object, value: object) -> None:
        if not callable(value):
            expected = "a byte filter's class, its plugin or another function of the context is needed"
            raise TypeError(f"{expected}, to make one for each body: {value!r:.60}")

    def configure(self, options: Mapping[str, Any]) -> BodyFilter:
        """It has no options: itself."""
        return self

    def build(self, context: FilterContext) -> IPipeFilter:
        made: IPipeFilter = self.plugin_class(context)
        return made


class Message:
    """
    The base of both.

    @ivar headers: its end-to-end fields.
    @ivar body_length: bytes of its body, 0 for none; None if that is not known yet.
    @ivar body_filters: what L{filter_body} has got, in order.
    """

    __slots__ = ("_variable", "body_filters", "body_length", "headers")

    def __init__(self, headers: list[bytes], body_length: int | None, variable: Callable[[str], bytes | None]) -> None:
        """
        @param headers: C{name: value} each.
        @param variable: see L{variable}.
        """
        self.headers = Headers(headers)
        self.body_length = body_length
        self.body_filters: tuple[IPipeFilterFactory, ...] = ()
        self._variable = variable

    def variable(self, name: str) -> bytes | None:
        """
        What a template would put for C{$name}: a variable, or what the route's regular expression has captured.

        @return: None if there is nothing of the kind now.
        @raise ValueError: there is no such variable.
        """
        return self._variable(name)

    def filter_body(self, filter: IPipeFilterFactory | Callable[[FilterContext], Any], name: str = "") -> None:
        """
        Have the body pass a byte filter, behind those that are asked for already and before those that are configured.
        C{Content-Length} and framing follow.

        @param filter: a plugin, configured; or a filter class, or another function of the context. What a class declares (a coding,
            C{keeps_bytes}) is not known of a function's filters.
        @param name: for errors and logs; a plugin has its own.
        @raise ValueError: it is too late.
        @raise TypeError: it is nothing of the kind: a filter that is made already, or a plugin's name.
        """
        self._check_open()
        if not IPipeFilterFactory.providedBy(filter):
            filter = BodyFilter(name or getattr(filter, "__name__", "filter"), filter)
        self.body_filters = (*self.body_filters, filter)

    def freeze(self, why: str) -> None:
        """
        Refuse changes from here on.

        @param why: what is told to who tries.
        """
        self.headers.frozen = why

    def _check_open(self) -> None:
        if self.headers.frozen:
            raise ValueError(self.headers.frozen)

    # what a filter has changed can be taken back, if it fails and is bypassed

    def saved(self) -> tuple[Any, ...]:
        """All that can be changed."""
        return (self.headers.lines, self.body_filters)

    def restore(self, state: tuple[Any, ...]) -> None:
        """Be as when L{saved} was called."""
        self.headers.lines, self.body_filters = state
