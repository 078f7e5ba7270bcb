"""What C{--help-filters}, C{--help-filter NAME} and their like print: read from the plugins themselves."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.plugin.declared import DeclaredPlugin, nearest
from twisted_pipe.plugin.discovery import PluginKind
from twisted_pipe.plugin.options import Option, options_of
from twisted_pipe.units import format_size

__all__ = ["describe_all", "describe_one", "summaries"]

_WIDTH = 100
_NAMES = 16
_MARKUP = re.compile(r"[A-Z]\{([^{}]*)\}")
_FIELD = re.compile(r"@[ic]?var\s+\w+:.*?(?=\n@|\n\n|\Z)", re.DOTALL)
_LARGE = 1024
_MILLION = 1_000_000


def summaries(kind: PluginKind) -> str:
    """A line for each that is installed."""
    found = list(kind.all())
    width = max([_NAMES, *(len(each.name) + 1 for each in found)])
    return "".join(f"  {each.name:<{width}}{_summary_of(each)}\n" for each in found)


def describe_all(kind: PluginKind) -> str:
    """Each that is installed: where it comes from, its options with kinds, units and defaults; then what is unusable."""
    lines: list[str] = []
    for plugin in kind.all():
        lines += [f"{plugin.name}: {_summary_of(plugin)}", f"    from {kind.origin_of(plugin)}"]
        lines += [f"    {line}" for line in _options(plugin)]
        lines.append("")
    if kind.declared.common:
        lines += [f"Every {kind.noun}:", *(f"    {line}" for line in _described(kind.declared.common)), ""]
    lines += [f"Unusable: {problem}" for problem in kind.unusable()]
    return "\n".join(lines).rstrip()


def describe_one(usages: Mapping[PluginKind, str], name: str) -> str:
    """
    What has that name: what it does, its options, where it comes from. If several kinds have one, all of them.

    @param usages: the kinds, and how one is configured, with C{{}} for its name and options: C{"--filter {}"}.
    @raise BadConfiguration: no kind has one of that name, or one has two.
    """
    found = [kind for kind in usages if any(each.name == name for each in kind.all())]
    if not found:
        raise _unknown(usages, name)
    return "\n\n".join(_in_full(kind, kind.find(name), usages[kind]) for kind in found)


def _unknown(kinds: Iterable[PluginKind], name: str) -> BadConfiguration:
    """With the nearest name of each kind, and what keeps others from having a name."""
    expected = "; ".join(
        f"no such {kind.noun}{nearest(name, dict.fromkeys(each.name for each in kind.all()), f'{kind.noun.capitalize()}s')}"
        for kind in kinds
    )
    problems = dict.fromkeys(problem for kind in kinds for problem in kind.unusable())
    more = f". Unusable: {'; '.join(problems)}" if problems else ""
    return BadConfiguration("filter", name, f"{expected}{more}")


def _in_full(kind: PluginKind, plugin: Any, usage: str) -> str:
    lines = [f"{plugin.name}: {_summary_of(plugin)}", f"from {kind.origin_of(plugin)}", ""]
    if isinstance(plugin, DeclaredPlugin):
        lines += [_plain(inspect.getdoc(plugin.load()) or ""), ""]
    options = [f"    {line}" for line in (*_options(plugin), *_described(kind.declared.common))]
    return "\n".join([*lines, usage.format(f"{plugin.name}[:key=value...]"), *options])


def _summary_of(plugin: Any) -> str:
    """One line about it: its own, or the first of its class's documentation."""
    if plugin.summary or not isinstance(plugin, DeclaredPlugin):
        return str(plugin.summary)
    try:
        text = _plain(inspect.getdoc(plugin.load()) or "")
    except BadConfiguration as error:
        return error.expected
    return " ".join(text.partition("\n\n")[0].split())


def _plain(text: str) -> str:
    """A docstring as people read it: the fields, which the options repeat, and the markup are left out."""
    return _MARKUP.sub(r"\1", _FIELD.sub("", text)).strip()


def _options(plugin: Any) -> Iterator[str]:
    if not isinstance(plugin, DeclaredPlugin):
        return
    try:
        declared = options_of(plugin.load())
    except BadConfiguration as error:
        yield error.expected
        return
    yield from _described(declared)


def _described(options: Mapping[str, Option]) -> Iterator[str]:
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
        return f"{value:g}" if value < _MILLION else f"{value:.0f}"
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return "none" if value in ("", b"", None) else str(value)
