"""
How configuration finds a filter by its name.

A filter is declared in a drop-in of C{twisted.plugins}, or as an entry point C{twisted_pipe.filters} of an installed package:
C{NAME = package.module:Class}.

Twisted logs a drop-in that fails to import and goes on without it. For somebody who configured a filter of that drop-in this
would read "no such filter"; so a name that is not found is answered with everything that kept a filter from being one.
"""

from __future__ import annotations

import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module, metadata
from types import ModuleType

import twisted.plugins
from twisted.plugin import IPlugin, getPlugins
from zope.interface import Invalid
from zope.interface.verify import verifyObject

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.base import NAME_RULE, FilterPlugin, is_filter_name, nearest, one_line
from twisted_pipe.interfaces import IPipeFilterFactory

__all__ = ["ENTRY_POINTS", "all_filters", "find_filter", "origin_of", "parse_filter_spec", "unusable"]

ENTRY_POINTS = "twisted_pipe.filters"


def all_filters() -> list[IPipeFilterFactory]:
    """
    The filters that are installed, by name. Two of the same name are both in it; L{find_filter} refuses to choose.

    What a drop-in offers as a filter but is none (L{find_filter} says why) is left out.
    """
    found: list[IPipeFilterFactory] = []
    for factory in getPlugins(IPipeFilterFactory):
        if _fault(factory) is None and not any(factory is other for other in found):
            found.append(factory)
    declared = {(each.name, getattr(each, "path", None)) for each in found}
    found += [
        FilterPlugin(entry.name, "", entry.value)
        for entry in _entry_points()
        if _entry_fault(entry) is None
        and (entry.name, entry.value) not in declared  # a package may declare its filter both ways
    ]
    return sorted(found, key=lambda factory: str(factory.name))


def find_filter(name: str) -> IPipeFilterFactory:
    """
    The filter of that name, with the defaults of its options.

    @raise BadConfiguration: when there is none, with the nearest name and the drop-ins that failed to import, any of which
        may hold it; or when there are two, with where each was declared.
    """
    filters = all_filters()
    named = [factory for factory in filters if factory.name == name]
    if len(named) > 1:
        origins = " and ".join(origin_of(factory) for factory in named)
        raise BadConfiguration("filter", name, f"two filters have this name: {origins}; uninstall one")
    if not named:
        expected = f"no such filter{nearest(name, dict.fromkeys(str(each.name) for each in filters), 'Known')}"
        problems = "; ".join(unusable())
        raise BadConfiguration("filter", name, f"{expected}. Unusable: {problems}" if problems else expected)
    return named[0]


def parse_filter_spec(text: str) -> IPipeFilterFactory:
    r"""
    A filter with its options, as C{NAME[:key=value[:key=value...]]}.

    In a value, C{\:} is a colon and C{\\} a backslash; any other backslash stands for itself.

    @raise BadConfiguration: when it is not of that form, or the filter or its options are not right.
    """
    name, *parts = _split(text)
    factory = find_filter(name)
    options: dict[str, str] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not (key and equals):
            raise BadConfiguration(f"filter {name}", part, "an option is key=value; a colon in a value is \\:")
        if key in options:
            raise BadConfiguration(f"filter {name}: {key}", value, "is given twice")
        options[key] = value
    return factory.configure(options)


def _split(text: str) -> list[str]:
    parts = [""]
    for token in re.findall(r"\\[\\:]|.", text, re.DOTALL):
        if token == ":":
            parts.append("")
        else:
            parts[-1] += token[-1]
    return parts


def _fault(factory: object) -> str | None:
    """Why what calls itself a filter factory cannot be used as one."""
    try:
        verifyObject(IPipeFilterFactory, factory)
    except Invalid as error:
        return one_line(error)
    name = getattr(factory, "name", None)
    return None if is_filter_name(name) else f"{name!r}: {NAME_RULE}"


def origin_of(factory: object) -> str:
    """Where a filter comes from: its package, and the drop-in (with the name it has there) or the entry point that declares it."""
    path = getattr(factory, "path", "")
    for module, value in sorted(sys.modules.items()):
        if module.startswith("twisted.plugins."):
            for name, each in vars(value).items():
                if each is factory:
                    return f"{_package_of(path)}{module}.{name}"
    if any((entry.name, entry.value) == (getattr(factory, "name", ""), path) for entry in _entry_points()):
        return f"{_package_of(path)}entry point {path}"
    return repr(factory)


def _package_of(path: str) -> str:
    """The installed package that holds C{"package.module:Class"}, with its version."""
    packages = metadata.packages_distributions().get(path.partition(":")[0].partition(".")[0])
    return f"{packages[0]} {metadata.version(packages[0])}, " if packages else ""


def unusable() -> Iterator[str]:
    """
    What keeps filters that somebody has declared from being found, a sentence for each. Imports all drop-ins, so only for the help
    and for an error that ends the start-up.
    """
    for dropin in pkgutil.iter_modules(twisted.plugins.__path__, "twisted.plugins."):
        try:
            module = _load(dropin.name)
        except BadConfiguration as error:
            yield f"{error.value} ({error.expected})"
            continue
        for name, value in vars(module).items():
            if IPipeFilterFactory.providedBy(value):
                fault = _fault(value) if IPlugin.providedBy(value) else "does not provide IPlugin"
                if fault is not None:
                    yield f"{dropin.name}.{name} ({fault})"
    for entry in _entry_points():
        fault = _entry_fault(entry)
        if fault is not None:
            yield f"entry point {entry.name} = {entry.value} ({fault})"


def _entry_points() -> Iterable[metadata.EntryPoint]:
    return metadata.entry_points(group=ENTRY_POINTS)


def _entry_fault(entry: metadata.EntryPoint) -> str | None:
    """Why an entry point declares no filter."""
    try:
        FilterPlugin(entry.name, "", entry.value)
    except BadConfiguration as error:
        return error.expected
    return None


def _load(dropin: str) -> ModuleType:
    try:
        return import_module(dropin)
    except (Exception, SystemExit) as error:
        raise BadConfiguration("plugin drop-in", dropin, f"cannot be imported: {one_line(error)}") from error
