"""What a variable of templates and log formats is, and how it is found by its name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Union

import attrs

from twisted_pipe.http.facts import ExchangeFacts

__all__ = ["Getter", "Variable", "VariableFamily", "Vocabulary"]


Getter = Callable[[ExchangeFacts], Union[bytes, None]]


@attrs.frozen
class Variable:
    """
    @ivar name: without the dollar.
    @ivar summary: one sentence, for the reference.
    @ivar getter: its value, or None.
    @ivar plain: whether its values are of our own making, digits and the like, so that no escaping changes them.
    """

    name: str
    summary: str
    getter: Getter
    plain: bool = False


@attrs.frozen
class VariableFamily:
    """
    Variables whose names begin alike and end with what they look up.

    @ivar prefix: C{"http_"}.
    @ivar summary: one sentence, for the reference.
    @ivar getter_of: the getter of the variable with this NAME; None if there can be none.
    """

    prefix: str
    summary: str
    getter_of: Callable[[str], Union[Getter, None]]

    @property
    def name(self) -> str:
        """How the reference calls it: C{"http_NAME"}."""
        return self.prefix + "NAME"


class Vocabulary:
    """
    The variables that a template may have.

    What is captured by a regular expression counts, too, and is named where it is made.
    """

    def __init__(self, entries: Iterable[Variable | VariableFamily]) -> None:
        self._entries = tuple(entries)
        self._fixed = {entry.name: entry for entry in self._entries if isinstance(entry, Variable)}
        self._families = tuple(entry for entry in self._entries if isinstance(entry, VariableFamily))

    def __iter__(self) -> Iterator[Variable | VariableFamily]:
        return iter(self._entries)

    def find(self, name: str, captures: Collection[str] = ()) -> Variable | None:
        """
        The variable, or the capture, of that name.

        @param name: without the dollar.
        @param captures: names, and numbers, of what can be captured.
        @return: None if there is none.
        """
        if name in captures:
            return Variable(name, "What the route's regular expression captured.", _capture(name))
        if name in self._fixed:
            return self._fixed[name]
        for family in self._families:
            if name.startswith(family.prefix) and name != family.prefix:
                getter = family.getter_of(name[len(family.prefix) :])
                return None if getter is None else Variable(name, family.summary, getter)
        return None

    def nearest(self, name: str, captures: Collection[str] = ()) -> str | None:
        """The name that is most like C{name}, for who mistyped it; None if none is."""
        rest = name.partition("_")[2]
        fixed = [*self._fixed, *captures]
        members = [family.prefix + rest for family in self._families if rest and family.getter_of(rest) is not None]
        close = difflib.get_close_matches
        # members are made from the name itself and always look like it, so what there is comes first
        found = close(name.lower(), fixed, n=1, cutoff=0.75) or close(name.lower(), fixed + members, n=1)
        return found[0] if found else None


def _capture(name: str) -> Getter:
    return lambda facts: facts.captures.get(name) if facts.captures else None
