"""What C{--help-filters} and C{--help-filter NAME} print: read from the filters themselves."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.base import FilterPlugin
from twisted_pipe.filters.discovery import all_filters, find_filter, origin_of, unusable
from twisted_pipe.filters.options import COMMON_OPTIONS, Option, options_of
from twisted_pipe.interfaces import IPipeFilterFactory
from twisted_pipe.units import format_size

__all__ = ["describe_filter", "describe_filters", "summary_of"]

_WIDTH = 100
_MARKUP = re.compile(r"[A-Z]\{([^{}]*)\}")
_FIELD = re.compile(r"@i?var\s+\w+:.*?(?=\n@|\n\n|\Z)", re.DOTALL)
_LARGE = 1024


def describe_filters() -> str:
    """Every filter that is installed: where it comes from, its options with kinds, units and defaults; then what is unusable."""
    lines: list[str] = []
    for factory in all_filters():
        lines += [f"{factory.name}: {summary_of(factory)}", f"    from {origin_of(factory)}"]
        lines += [f"    {line}" for line in _options(factory)]
        lines.append("")
    lines += ["Every filter:", *(f"    {line}" for line in _described(COMMON_OPTIONS)), ""]
    lines += [f"Unusable: {problem}" for problem in unusable()]
    return "\n".join(lines).rstrip()


def describe_filter(name: str) -> str:
    """
    One filter: what it does, its options, where it comes from.

    @raise BadConfiguration: there is none of that name.
    """
    factory = find_filter(name)
    text = ""
    if isinstance(factory, FilterPlugin):
        text = _plain(inspect.getdoc(factory.load()) or "")
    lines = [f"{factory.name}: {summary_of(factory)}", f"from {origin_of(factory)}", ""]
    lines += [text, ""] if text else []
    options = [f"    {line}" for line in (*_options(factory), *_described(COMMON_OPTIONS))]
    return "\n".join([*lines, f"--filter {factory.name}[:key=value...]", *options])


def summary_of(factory: IPipeFilterFactory) -> str:
    """One line about it: its own, or the first of its class's documentation."""
    if factory.summary or not isinstance(factory, FilterPlugin):
        return str(factory.summary)
    try:
        text = _plain(inspect.getdoc(factory.load()) or "")
    except BadConfiguration as error:
        return error.expected
    return " ".join(text.partition("\n\n")[0].split())


def _plain(text: str) -> str:
    """A docstring as people read it: the fields, which the options repeat, and the markup are left out."""
    return _MARKUP.sub(r"\1", _FIELD.sub("", text)).strip()


def _options(factory: IPipeFilterFactory) -> Iterator[str]:
    if not isinstance(factory, FilterPlugin):
        return
    try:
        declared = options_of(factory.load())
    except BadConfiguration as error:
        yield error.expected
        return
    yield from _described(declared)


def _described(options: dict[str, Option]) -> Iterator[str]:
    for name, each in options.items():
        value = each.kind + (f" ({each.unit})" if each.unit else "")
        default = "has to be given" if each.required else f"default: {_default(each)}"
        text = f"{name}={value}: {each.help} [{default}]"
        yield from textwrap.wrap(text, _WIDTH, subsequent_indent="    ", break_on_hyphens=False)


def _default(option: Option) -> str:
    value = option.default
    if isinstance(value, bool):
        return "on" if value else "off"
    if option.kind.startswith("SIZE") and isinstance(value, int) and value >= _LARGE:
        return format_size(value)
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value in ("", None) else str(value)
