"""
A plugin as it is declared: a name, and where the class lives that does the work.

A drop-in stays light that way: it is imported whenever anybody looks for plugins of any kind. The class is imported when a
configuration first asks for it; its options are fields declared with L{twisted_pipe.plugin.options.option}.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from typing import Any, ClassVar

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.plugin.options import Option, options_of, text_of

__all__ = ["ConfiguredPlugin", "DeclaredPlugin", "is_plugin_name", "name_rule", "nearest", "one_line"]

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_PATH = re.compile(r"\w+(\.\w+)*:\w+")


@attrs.frozen
class DeclaredPlugin:
    """
    The base of the kinds of plugin.

    @cvar noun: what the kind is called, for errors: C{"filter"}.
    @cvar product: the interface that the class implements.
    @cvar common: the options that every plugin of this kind has.
    @cvar configured: what L{configure} makes; it has a field for each of the common options.
    @ivar name: by which configuration finds it: lower case letters, digits and dashes.
    @ivar summary: one line for C{--help}.
    @ivar path: C{"package.module:Class"}, imported when it is first configured or built.
    @raise BadConfiguration: when name or path is not of that form.
    """

    noun: ClassVar[str]
    product: ClassVar[Any]
    common: ClassVar[Mapping[str, Option]] = {}
    configured: ClassVar[Callable[..., Any]]

    name: str = attrs.field()
    summary: str
    path: str = attrs.field()

    @name.validator
    def _check_name(self, field: attrs.Attribute[str], value: object) -> None:
        if not is_plugin_name(value):
            raise BadConfiguration(f"{self.noun} name", value, name_rule(self.noun))

    @path.validator
    def _check_path(self, field: attrs.Attribute[str], value: str) -> None:
        if not _PATH.fullmatch(value):
            raise BadConfiguration(f"{self.noun} {self.name}", value, 'must be "package.module:Class"')

    def configure(self, options: Mapping[str, Any]) -> Any:
        """
        Take options, and the defaults of the others.

        @raise BadConfiguration: for an option that is unknown, missing or does not parse, and for a class that cannot be
            imported or built.
        """
        loaded = self.load()
        values, common = self._parse_all(loaded, options)
        with self.refusing():
            return self.make(loaded, tuple(values.items()), common)

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """
        Whatever the class raises when it is built is an error of its configuration.

        @raise BadConfiguration: with the plugin's name, before the option's bare name if the class has named one.
        """
        try:
            yield
        except BadConfiguration as error:
            raise BadConfiguration(self._called(error.name), error.value, error.expected) from error
        except Exception as error:
            raise self._unfit(f"cannot be built: {one_line(error)}") from error

    def make(self, loaded: type[Any], values: tuple[tuple[str, Any], ...], common: Mapping[str, Any]) -> Any:
        """
        For a kind to override: the configured plugin, of options that are right each by itself. It may raise what the class
        raises.

        @raise BadConfiguration: they make no sense together; with an option's bare name.
        """
        return self.configured(self, loaded, values, **common)

    def build(self, argument: Any) -> Any:
        """One with all defaults."""
        return self.configure({}).build(argument)

    def load(self) -> type[Any]:
        """
        The class.

        @raise BadConfiguration: it cannot be imported, or does not implement the interface.
        """
        module, _, attribute = self.path.partition(":")
        try:
            loaded = getattr(import_module(module), attribute)
        except Exception as error:
            raise self._unfit(f"cannot be imported: {one_line(error)}") from error
        if not (isinstance(loaded, type) and self.product.implementedBy(loaded)):
            raise self._unfit(f"must be a class that implements {self.product.getName()}")
        # What attrs has not collected it leaves lying in the class, where it would be taken for the option's value.
        if any(isinstance(value, type(attrs.field())) for value in vars(loaded).values()):
            raise self._unfit("declares options but lacks @attrs.define")
        for name in self.common:
            if name in options_of(loaded):
                raise self._unfit(f"declares {name}, which every {self.noun} has")
        return loaded

    def _parse_all(self, loaded: type[Any], options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """
        Read options that were given as text, numbers or booleans.

        @return: those of the class, without defaults, for it has them; and the common ones, all of them.
        @raise BadConfiguration: for an option that is unknown, missing or does not parse, and for a class that cannot be built.
        """
        declared = options_of(loaded)
        known = {**declared, **self.common}
        for name, value in options.items():
            if name not in known:
                raise BadConfiguration(self._called(name), value, f"no such option{nearest(name, known, 'Options')}")
        for name, described in declared.items():
            if described.required and name not in options:
                raise BadConfiguration(self._called(name), None, f"has to be given: {described.help}")
        values = {name: self._parse(name, known[name], value) for name, value in options.items()}
        common = {name: values.pop(name, described.default) for name, described in self.common.items()}
        try:
            inspect.signature(loaded).bind(None, **values)
        except TypeError as error:
            raise self._unfit(f"cannot be built: {error}") from error
        return values, common

    def _called(self, name: str) -> str:
        return f"{self.noun} {self.name}: {name}"

    def _unfit(self, expected: str) -> BadConfiguration:
        return BadConfiguration(f"{self.noun} {self.name}", self.path, expected)

    def _parse(self, name: str, described: Option, value: object) -> Any:
        text = text_of(self._called(name), value)
        try:
            return described.parse(self._called(name), text)
        except BadConfiguration:
            raise
        except Exception as error:
            expected = f"{described.help} ({one_line(error)})"
            raise BadConfiguration(self._called(name), text, expected) from error


@attrs.frozen
class ConfiguredPlugin:
    """
    A plugin whose class is imported and whose options are parsed. The base of the kinds.

    @ivar plugin: where it came from.
    @ivar plugin_class: what is instantiated.
    @ivar values: the options that were given, as pairs of name and parsed value; the class has the defaults of the others.
    """

    plugin: DeclaredPlugin
    plugin_class: Callable[..., Any]
    values: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        return self.plugin.name

    @property
    def summary(self) -> str:
        return self.plugin.summary

    def configure(self, options: Mapping[str, Any]) -> Any:
        """The same plugin with C{options} instead of those it has."""
        return self.plugin.configure(options)

    def build(self, argument: Any) -> Any:
        """
        An instance, which gets C{argument} and the options.

        @raise BadConfiguration: it cannot be built. What the class calls wrong itself is raised as it is.
        """
        try:
            return self.instance(argument)
        except BadConfiguration:
            raise
        except Exception as error:
            raise self.plugin._unfit(f"cannot be built: {one_line(error)}") from error

    def instance(self, argument: Any) -> Any:
        """The same, for a caller who knows what to do with whatever the class raises."""
        return self.plugin_class(argument, **dict(self.values))


def name_rule(noun: str) -> str:
    """What the name of a plugin has to be."""
    return f"a {noun}'s name is lower case letters, digits and dashes, no dash first"


def is_plugin_name(value: object) -> bool:
    """Whether a plugin may be called that: see L{name_rule}."""
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
