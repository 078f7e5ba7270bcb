"""
A filter, as a key of the configuration file gives it: C{"gzip:level=6"}, as on the command line, or a table,
C{{ name = "gzip", level = 6, types = ["text/*"] }}, whose other keys are the filter's options.
"""

from __future__ import annotations

from typing import Annotated, Any

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.discovery import FILTERS
from twisted_pipe.filters.messages.discovery import MESSAGE_FILTERS
from twisted_pipe.interfaces import IMessageFilterFactory, IPipeFilterFactory
from twisted_pipe.plugin.discovery import PluginKind
from twisted_pipe.service.config.problems import Below
from twisted_pipe.service.config.values import MediaType, kind_of, table_or_text

__all__ = ["FilterGiven", "HttpFilter", "MessageFilterGiven", "StreamFilter"]


@attrs.frozen
class FilterGiven:
    """
    @ivar factory: configured.
    @ivar types: media types whose bodies pass it; None when not given.
    """

    factory: IPipeFilterFactory
    types: tuple[str, ...] | None = None


def _stream_filter(value: object) -> FilterGiven:
    """Raises as L{_configured}."""
    return FilterGiven(_configured(FILTERS, value))


def _message_filter(value: object) -> IMessageFilterFactory:
    """Likewise."""
    found: IMessageFilterFactory = _configured(MESSAGE_FILTERS, value)
    return found


def _configured(kind: PluginKind, value: object) -> Any:
    """
    @raise BadConfiguration: the text is wrong.
    @raise Below: one of the table's keys is.
    """
    if isinstance(value, str):
        return kind.parse(value)
    if not isinstance(value, dict):
        raise ValueError('must be "NAME[:key=value...]" or a table with a name')
    options = dict(value)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise Below(("name",), f"must be the name of a {kind.noun}")
    try:
        return kind.find(name).configure(options)
    except BadConfiguration as error:
        option = error.name.rpartition(": ")[2]
        named = option in options or error.value is None  # which is one that is missing
        raise Below((option if named else "name",), error.expected) from error


def _http_filter(value: object) -> FilterGiven:
    """The same, for some media types only."""
    if not isinstance(value, dict) or "types" not in value:
        return _stream_filter(value)
    options = dict(value)
    given = options.pop("types")
    types = tuple(_media_type(place, each) for place, each in enumerate(given if isinstance(given, list) else [given]))
    return FilterGiven(_stream_filter(options).factory, types)


def _media_type(place: int, value: object) -> str:
    kind = kind_of(MediaType)
    assert kind is not None
    try:
        text: str = kind.parse(value)
    except ValueError as error:
        raise Below(("types", place), str(error)) from error
    return text.lower()


StreamFilter = Annotated[
    FilterGiven,
    table_or_text(
        "FILTER",
        _stream_filter,
        'a filter with options: `"gzip:level=6"` or `{ name = "gzip", level = 6 }` ([which there are](plugins.md))',
    ),
]
HttpFilter = Annotated[
    FilterGiven,
    table_or_text(
        "FILTER for media types",
        _http_filter,
        "a FILTER, as a table also with `types`, media types whose bodies pass it: "
        '`{ name = "gzip", types = ["text/*", "application/json"] }`; default: all, or what can be compressed for a filter '
        "that compresses",
    ),
]
MessageFilterGiven = Annotated[
    IMessageFilterFactory,
    table_or_text(
        "MESSAGE FILTER",
        _message_filter,
        'a message filter with options: `"request-id"` or `{ name = "basic-auth", file = "users" }` '
        "([which there are](plugins.md))",
    ),
]
