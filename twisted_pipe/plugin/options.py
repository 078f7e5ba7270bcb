"""
Options of plugins: declared as fields of the plugin's class, parsed from text.

The text comes from the command line (C{NAME:key=value}) or, with numbers and booleans turned back into text, from a
configuration file: a value means the same wherever it is written. How an option is parsed also says what kind of value it is,
for the help.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.units import parse_count, parse_duration, parse_flag, parse_size, parse_text

__all__ = ["Option", "at_least", "between", "one_of", "option", "options_of", "text_of"]

_T = TypeVar("_T")
_Number = TypeVar("_Number", int, float)
_REQUIRED: Any = attrs.NOTHING
_KINDS: dict[Any, str] = {
    parse_count: "NUMBER",
    parse_duration: "TIME",
    parse_flag: "on|off",
    parse_size: "SIZE",
    parse_text: "TEXT",
}


@attrs.frozen(kw_only=True)
class Option:
    """
    What an option says of itself.

    @ivar parse: takes the option's full name (for its error) and the text; returns the value or raises.
    @ivar default: the value when it is not given; C{attrs.NOTHING} when it has to be.
    @ivar help: one line, for people.
    @ivar unit: of the value: C{"bytes/s"}; empty when it has none.
    @ivar kind: what is to be given, for the help: C{"SIZE"}, C{"on|off"}, C{"NUMBER from 1 to 9"}.
    """

    parse: Callable[[str, str], Any]
    default: Any
    help: str
    unit: str = ""
    kind: str = attrs.field()

    @kind.default
    def _kind_of_what_parses(self) -> str:
        return _kind(self.parse)

    @property
    def required(self) -> bool:
        return self.default is _REQUIRED


def _kind(parse: Any) -> str:
    return _KINDS.get(parse) or getattr(parse, "kind", None) or "VALUE"


def option(parse: Callable[[str, str], _T], *, default: _T = _REQUIRED, help: str, unit: str = "") -> _T:
    """
    An option of a plugin, as a field of its class: C{rate: int = option(parse_size, help="the most to pass on")}.

    @param parse: C{(name, text) -> value}, like the functions of L{twisted_pipe.units}. Whatever it raises becomes
        L{BadConfiguration}; one that it raises itself stays as it is. Its C{kind}, if it has one, stands in the help.
    @param default: the value when it is not given. Without a default the option has to be given.
    """
    described = Option(parse=parse, default=default, help=help, unit=unit)
    return attrs.field(default=default, kw_only=True, metadata={Option: described})


def options_of(plugin_class: type[Any]) -> dict[str, Option]:
    """The options that a class declares, by name, in the order of declaration."""
    fields = attrs.fields(plugin_class) if attrs.has(plugin_class) else ()
    return {field.alias or field.name: field.metadata[Option] for field in fields if Option in field.metadata}


@attrs.frozen
class _Between:
    parse: Callable[[str, str], Any]
    least: Any
    most: Any = None

    @property
    def kind(self) -> str:
        return f"{_kind(self.parse)} {self._range}"

    @property
    def _range(self) -> str:
        return f"of at least {self.least}" if self.most is None else f"from {self.least} to {self.most}"

    def __call__(self, name: str, text: str) -> Any:
        value = self.parse(name, text)
        if value < self.least or (self.most is not None and value > self.most):
            raise BadConfiguration(name, text, f"must be {self._range.removeprefix('of ')}")
        return value


def at_least(least: _Number, parse: Callable[[str, str], _Number]) -> Callable[[str, str], _Number]:
    """A parse function for L{option}: C{parse}, and then nothing below C{least}."""
    return _Between(parse, least)


def between(least: _Number, most: _Number, parse: Callable[[str, str], _Number]) -> Callable[[str, str], _Number]:
    """A parse function for L{option}: C{parse}, and then nothing below C{least} or above C{most}."""
    return _Between(parse, least, most)


@attrs.frozen
class _OneOf:
    choices: tuple[str, ...]

    @property
    def kind(self) -> str:
        return "|".join(self.choices)

    def __call__(self, name: str, text: str) -> str:
        if text not in self.choices:
            raise BadConfiguration(name, text, f"must be {' or '.join(self.choices)}")
        return text


def one_of(*choices: str) -> Callable[[str, str], str]:
    """A parse function for L{option}: one of these words."""
    return _OneOf(choices)


def text_of(name: str, value: object) -> str:
    """
    The text of a value from a configuration file.

    @param name: the option, for the error.
    @raise BadConfiguration: it is a list or a table.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (int, float)):
        return str(value)
    raise BadConfiguration(name, value, "must be text, a number, or true or false")
