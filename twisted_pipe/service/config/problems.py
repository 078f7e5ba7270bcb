"""
What is wrong with a configuration file: all of it, a line each.

A line says file, key, value as it stands there, and what would be right: C{pipe.toml: servers[0].read_timeout: 'soon': a time…}
"""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.service.config.keys import Path

__all__ = ["MISSING", "BadFile", "Below", "Problems", "Skip", "dotted", "said_by"]

T = TypeVar("T")

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_PLUGIN = re.compile(
    r"(?:message filter|filter|balancer|protocol|resolver|check) (.+)"
)  # the names of errors of plugins' options
#: Stands for what is not in the file.
MISSING = object()


class BadFile(Exception):
    """
    A configuration that cannot be.

    @ivar lines: what is wrong, in the order of the file.
    """

    def __init__(self, lines: list[str]) -> None:
        super().__init__(lines)
        self.lines = lines

    def __str__(self) -> str:
        return "\n".join(self.lines)


class Below(ValueError):
    """
    Something below a value is wrong.

    @ivar path: where, from the value on.
    @ivar expected: what would be right.
    """

    def __init__(self, path: Path, expected: str) -> None:
        super().__init__(path, expected)
        self.path = path
        self.expected = expected


class Skip(Exception):
    """What is wrong here has been said; what depends on it is left out."""


@attrs.frozen
class _Problem:
    path: Path
    expected: str


@attrs.define
class Problems:
    """
    Collects what is wrong.

    @ivar file: its name, as the user gave it.
    @ivar document: what stands in it.
    """

    file: str
    document: Mapping[str, Any]
    _found: list[_Problem] = attrs.field(factory=list, init=False)

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, path: Path, expected: str) -> None:
        """Once, however often it is found."""
        problem = _Problem(self.locate(path)[0], expected)
        if problem not in self._found:
            self._found.append(problem)

    def checked(self, path: Path, make: Callable[..., T], *arguments: Any) -> T:
        """
        What C{make} returns.

        @param path: what is wrong if it raises L{BadConfiguration}.
        @raise Skip: it does.
        """
        try:
            return make(*arguments)
        except BadConfiguration as error:
            self.add(path, said_by(error))
            raise Skip from error

    def attempt(self, make: Callable[..., T], *arguments: Any) -> T | None:
        """What C{make} returns, None if it raises L{Skip}: so that what is beside it is checked as well."""
        try:
            return make(*arguments)
        except Skip:
            return None

    def exactly_one(self, table: Path, names: Sequence[str]) -> None:
        """Say so if a table has none of these keys, or several."""
        given = [name for name in names if self.given((*table, name))]
        if not given:
            self.add(table, f"must have one of {', '.join(names)}")
        for name in given[1:]:
            self.add((*table, name), f"must be left out: {given[0]} is given")

    def name_of(self, path: Path) -> str:
        """What errors found later call a key of the file."""
        return f"{self.file}: {dotted(self.locate(path)[0])}"

    def given(self, path: Path) -> bool:
        """Whether the file says something there, right or wrong."""
        return self.locate(path)[1] is not MISSING

    def check(self) -> None:
        """
        @raise BadFile: there are problems.
        """
        if self._found:
            raise BadFile(self.lines())

    def lines(self) -> list[str]:
        """A line each, in the order of the file."""
        ordered = sorted(self._found, key=lambda problem: self._order(problem.path))
        return [self._line(problem) for problem in ordered]

    def _line(self, problem: _Problem) -> str:
        value = self.locate(problem.path)[1]
        parts = [self.file, dotted(problem.path), _shown(value), problem.expected]
        return ": ".join(part for part in parts if part).replace("\n", " ")

    def locate(self, path: Path) -> tuple[Path, Any]:
        """
        The part of C{path} that is in the file (text may stand for a table, and one item for a list), and what stands there.
        """
        node: Any = self.document
        known: list[str | int] = []
        for step in path:
            if isinstance(step, int):
                if isinstance(node, list):
                    node = node[step]
                    known.append(step)
            elif not isinstance(node, Mapping):
                break
            else:
                known.append(step)
                node = node.get(step, MISSING)
                if node is MISSING:
                    break
        return tuple(known), node

    def _order(self, path: Path) -> tuple[int, ...]:
        """For sorting: the places of the keys in their tables; what is missing comes last in its table."""
        node: Any = self.document
        order = []
        for step in path:
            if isinstance(step, int):
                order.append(step)
                node = node[step]
            else:
                keys = list(node)
                order.append(keys.index(step) if step in keys else len(keys))
                node = node.get(step)
        return tuple(order)


def said_by(error: BadConfiguration) -> str:
    """What would be right, with what the error of a plugin tells beyond the key: C{"gzip: level: 'x': must be..."}."""
    plugin = _PLUGIN.fullmatch(error.name)
    return f"{plugin[1]}: {error.value!r}: {error.expected}" if plugin else error.expected


def dotted(path: Path) -> str:
    """C{servers[0].request_headers.set."X-Name"}, as in TOML."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += "." * bool(text) + (step if _BARE.fullmatch(step) else json.dumps(step))
    return text


_short = reprlib.Repr()
_short.maxstring = _short.maxother = 100


def _shown(value: object) -> str:
    """A value of the file, as it is written there, or nearly."""
    if value is MISSING:
        return "missing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return ""
    return _short.repr(value)
