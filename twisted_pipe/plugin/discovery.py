"""
How configuration finds a plugin by its name.

A plugin is declared in a drop-in of C{twisted.plugins}, or as an entry point of an installed package:
C{NAME = package.module:Class} in the group C{twisted_pipe.filters} (or of another kind).

Twisted logs a drop-in that fails to import and goes on without it. For somebody who configured a filter of that drop-in this
would read "no such filter"; so a name that is not found is answered with everything that kept a plugin from being one.
"""

from __future__ import annotations

import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module, metadata
from types import ModuleType
from typing import Any

import attrs
import twisted.plugins
from twisted.plugin import IPlugin, getPlugins
from zope.interface import Invalid
from zope.interface.verify import verifyObject

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.plugin.declared import DeclaredPlugin, is_plugin_name, name_rule, nearest, one_line

__all__ = ["PluginKind"]


@attrs.frozen
class PluginKind:
    """
    One kind of plugin, and those of it that are installed.

    @ivar interface: what they provide; it has C{name}, C{summary} and C{configure(options)}.
    @ivar declared: what is made of an entry point.
    """

    interface: Any
    declared: type[DeclaredPlugin]

    @property
    def noun(self) -> str:
        return self.declared.noun

    @property
    def entry_points(self) -> str:
        """The group of entry points that declare them."""
        return f"twisted_pipe.{self.noun.replace(' ', '_')}s"

    def all(self) -> list[Any]:
        """
        Those that are installed, by name. Two of the same name are both in it; L{find} refuses to choose.

        What is declared as one but is none (L{unusable} says why) is left out.
        """
        found: list[Any] = []
        for plugin in getPlugins(self.interface):
            if self._fault(plugin) is None and not any(plugin is other for other in found):
                found.append(plugin)
        known = {(each.name, getattr(each, "path", None)) for each in found}
        found += [
            self.declared(entry.name, "", entry.value)
            for entry in self._entry_points()
            if self._entry_fault(entry) is None
            and (entry.name, entry.value) not in known  # or it is declared both ways
        ]
        return sorted(found, key=lambda plugin: str(plugin.name))

    def find(self, name: str) -> Any:
        """
        The plugin of that name, with the defaults of its options.

        @raise BadConfiguration: when there is none, with the nearest name and the drop-ins that failed to import, any of which
            may hold it; or when there are two, with where each was declared.
        """
        plugins = self.all()
        named = [plugin for plugin in plugins if plugin.name == name]
        if len(named) > 1:
            origins = " and ".join(self.origin_of(plugin) for plugin in named)
            raise BadConfiguration(self.noun, name, f"two {self.noun}s have this name: {origins}; uninstall one")
        if not named:
            known = nearest(name, dict.fromkeys(str(each.name) for each in plugins), "Known")
            problems = "; ".join(self.unusable())
            expected = f"no such {self.noun}{known}"
            raise BadConfiguration(self.noun, name, f"{expected}. Unusable: {problems}" if problems else expected)
        return named[0]

    def parse(self, text: str) -> Any:
        r"""
        A plugin with its options, as C{NAME[:key=value[:key=value...]]}.

        In a value, C{\:} is a colon and C{\\} a backslash; any other backslash stands for itself.

        @raise BadConfiguration: when it is not of that form, or the plugin or its options are not right.
        """
        name, *parts = _split(text)
        plugin = self.find(name)
        options: dict[str, str] = {}
        for part in parts:
            key, equals, value = part.partition("=")
            if not (key and equals):
                rule = "an option is key=value; a colon in a value is \\:"
                raise BadConfiguration(f"{self.noun} {name}", part, rule)
            if key in options:
                raise BadConfiguration(f"{self.noun} {name}: {key}", value, "is given twice")
            options[key] = value
        return plugin.configure(options)

    def origin_of(self, plugin: object) -> str:
        """Where it comes from: its package, and the drop-in (with the name it has there) or the entry point that declares it."""
        path = getattr(plugin, "path", "")
        for module, value in sorted(sys.modules.items()):
            if module.startswith("twisted.plugins."):
                for name, each in vars(value).items():
                    if each is plugin:
                        return f"{_package_of(path)}{module}.{name}"
        if any((entry.name, entry.value) == (getattr(plugin, "name", ""), path) for entry in self._entry_points()):
            return f"{_package_of(path)}entry point {path}"
        return repr(plugin)

    def unusable(self) -> Iterator[str]:
        """
        What keeps plugins that somebody has declared from being found, a sentence for each. Imports all drop-ins, so only for the
        help and for an error that ends the start-up.
        """
        for dropin in pkgutil.iter_modules(twisted.plugins.__path__, "twisted.plugins."):
            try:
                module = _load(dropin.name)
            except BadConfiguration as error:
                yield f"{error.value} ({error.expected})"
                continue
            for name, value in vars(module).items():
                if self.interface.providedBy(value):
                    fault = self._fault(value) if IPlugin.providedBy(value) else "does not provide IPlugin"
                    if fault is not None:
                        yield f"{dropin.name}.{name} ({fault})"
        for entry in self._entry_points():
            fault = self._entry_fault(entry)
            if fault is not None:
                yield f"entry point {entry.name} = {entry.value} ({fault})"

    def _fault(self, plugin: object) -> str | None:
        """Why what calls itself a plugin cannot be used as one."""
        try:
            verifyObject(self.interface, plugin)
        except Invalid as error:
            return one_line(error)
        name = getattr(plugin, "name", None)
        return None if is_plugin_name(name) else f"{name!r}: {name_rule(self.noun)}"

    def _entry_points(self) -> Iterable[metadata.EntryPoint]:
        return metadata.entry_points(group=self.entry_points)

    def _entry_fault(self, entry: metadata.EntryPoint) -> str | None:
        """Why an entry point declares no plugin."""
        try:
            self.declared(entry.name, "", entry.value)
        except BadConfiguration as error:
            return error.expected
        return None


def _split(text: str) -> list[str]:
    parts = [""]
    for token in re.findall(r"\\[\\:]|.", text, re.DOTALL):
        if token == ":":
            parts.append("")
        else:
            parts[-1] += token[-1]
    return parts


def _package_of(path: str) -> str:
    """The installed package that holds C{"package.module:Class"}, with its version."""
    packages = metadata.packages_distributions().get(path.partition(":")[0].partition(".")[0])
    return f"{packages[0]} {metadata.version(packages[0])}, " if packages else ""


def _load(dropin: str) -> ModuleType:
    try:
        return import_module(dropin)
    except (Exception, SystemExit) as error:
        raise BadConfiguration("plugin drop-in", dropin, f"cannot be imported: {one_line(error)}") from error
