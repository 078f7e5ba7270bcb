"""
Which site and which route a request is for, in nginx's order of precedence.

Both tables are made once and asked for every request. A longest match is one dictionary lookup for each length that some key has:
what it costs depends on the configuration and never on what a client sends. Regular expressions are those of Python's C{re}, on
bytes; they are tried one after another, and match anywhere unless anchored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Generic, TypeVar, Union
from urllib.parse import unquote

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.http.target import check_host

__all__ = ["Captures", "Found", "RouteTable", "SiteTable"]

T = TypeVar("T")
V = TypeVar("V")

#: What a regular expression's groups matched, by number (C{"1"} to C{"9"}) and by name; empty for those that matched nothing.
Captures = Mapping[str, bytes]
#: A route's value, and its captures; None for what there is not.
Found = tuple[Union[T, None], Union[Captures, None]]

_NO_ROUTES: Mapping[bytes, Any] = MappingProxyType({})
_NOTHING: Found[Any] = (None, None)
_NOT_NORMAL = re.compile(rb"/\.{0,2}/")
_ESCAPE = re.compile(rb"%[0-9A-Fa-f]{2}")


class RouteTable(Generic[T]):
    """
    Routes by path (nginx C{location}). The exact one is taken first. Else the longest prefix is remembered; it is taken if it is
    final. Else the first regular expression that matches is taken, and if none does, the prefix.
    """

    __slots__ = ("_exact", "_lengths", "_patterns", "_prefixes")

    def __init__(
        self,
        *,
        exact: Mapping[bytes, T] = _NO_ROUTES,
        prefixes: Mapping[bytes, T] = _NO_ROUTES,
        final_prefixes: Mapping[bytes, T] = _NO_ROUTES,
        patterns: Sequence[tuple[str, bool, T]] = (),
    ) -> None:
        """
        @param exact: by whole path (C{location = /path}); C{b"*"} is the target of C{OPTIONS *}.
        @param prefixes: by what a path begins with (C{location /path}).
        @param final_prefixes: likewise, and no regular expression is tried after them (C{location ^~ /path}).
        @param patterns: regular expression, whether case is ignored in it (C{location ~*}; else C{location ~}), value.
        @raise BadConfiguration: a path can match nothing, or is not decoded; a prefix or a regular expression is given twice, or
            one is bad.
        """
        for path in exact:
            _check_path("exact", path, allowed=(b"*",))
        for path in (*prefixes, *final_prefixes):
            _check_path("prefix", path)
        for path in final_prefixes:
            if path in prefixes:
                raise BadConfiguration("prefix", path, "must be given once, final or not")
        self._exact: dict[bytes, Found[T]] = {path: (value, None) for path, value in exact.items()}
        self._patterns = _compile_patterns(patterns)
        # with whether it is taken at once
        self._prefixes: dict[bytes, tuple[Found[T], bool]] = {
            **{path: ((value, None), not patterns) for path, value in prefixes.items()},
            **{path: ((value, None), True) for path, value in final_prefixes.items()},
        }
        self._lengths = _descending(self._prefixes)

    def __iter__(self) -> Iterator[T]:
        """Every value."""
        for value, _ in (*self._exact.values(), *(found for found, _ in self._prefixes.values())):
            assert value is not None
            yield value
        yield from (value for _, value in self._patterns)

    def find(self, path: bytes) -> Found[T]:
        """
        @param path: the normal path (L{twisted_pipe.http.target.normal_path}).
        """
        found = self._exact.get(path)
        if found is not None:
            return found
        found = _NOTHING
        for length in self._lengths:
            prefix = self._prefixes.get(path[:length])
            if prefix is not None:
                found, taken = prefix
                if taken:
                    return found
                break
        for pattern, value in self._patterns:
            match = pattern.search(path)
            if match is not None:
                return value, _captures(match)
        return found


class SiteTable(Generic[T]):
    """
    Virtual servers by host (nginx C{server_name}). In this order: the exact name; the longest C{*.name}; the longest C{name.*}; the
    first regular expression that matches; the default site. An asterisk stands for one label or more.

    Values are anything but None.
    """

    __slots__ = (
        "_default",
        "_default_chosen",
        "_exact",
        "_head_lengths",
        "_heads",
        "_only",
        "_patterns",
        "_tail_lengths",
        "_tails",
        "_values",
    )

    def __init__(self, sites: Iterable[tuple[Sequence[str], T]] = ()) -> None:
        """
        @param sites: names and value of each, as for L{add}; the first is the default.
        """
        self._values: list[T] = []
        self._default: T | None = None
        self._default_chosen = False
        self._only = True  # no second site
        self._exact: dict[bytes, T] = {}
        self._tails: dict[bytes, T] = {}  # by what follows the asterisk, dot included
        self._tail_lengths: tuple[int, ...] = ()
        self._heads: dict[bytes, T] = {}  # by what precedes it, dot included
        self._head_lengths: tuple[int, ...] = ()
        self._patterns: dict[bytes, tuple[re.Pattern[bytes], T]] = {}  # by their text
        for names, value in sites:
            self.add(names, value)

    def add(self, names: Sequence[str], value: T, default: bool = False) -> None:
        """
        @param names: host names, in any case and without a port; C{*.name}; C{name.*}; C{.name}, which is both C{name} and
            C{*.name}; C{~} and a regular expression, which ignores case. The empty name is for requests without a host; a site
            without names has it.
        @param default: whether it is for all other hosts. If no site is, the first one is.
        @raise BadConfiguration: a name cannot be, or another site has it; or there are two defaults.
        """
        if default and self._default_chosen:
            raise BadConfiguration("default", True, "must be said of one site only")
        for name in names or ("",):
            self._add_name(name, value)
        self._tail_lengths = _descending(self._tails)
        self._head_lengths = _descending(self._heads)
        self._only = self._default is None
        if default or self._default is None:
            self._default = value
        self._default_chosen |= default
        self._values.append(value)

    def _add_name(self, name: str, value: T) -> None:
        if name.startswith("~"):
            pattern = _compile("names", name, name[1:], True)
            _add_once(self._patterns, name, pattern.pattern, (pattern, value))
        elif name.startswith("*."):
            _add_once(self._tails, name, b"." + _host_name(name, name[2:]), value)
        elif name.endswith(".*"):
            _add_once(self._heads, name, _host_name(name, name[:-2]) + b".", value)
        elif name.startswith("."):
            host = _host_name(name, name[1:])
            _add_once(self._exact, name, host, value)
            _add_once(self._tails, name, b"." + host, value)
        else:
            _add_once(self._exact, name, _host_name(name, name) if name else b"", value)

    def __iter__(self) -> Iterator[T]:
        """Every value, once, in the order in which they were added."""
        return iter(self._values)

    def find(self, host: bytes) -> T:
        """
        @param host: what L{check_host} returned.
        @raise LookupError: there is no site at all.
        """
        if not self._only:
            value = self._named(host)
            if value is not None:
                return value
        if self._default is None:
            raise LookupError("no site was added")
        return self._default

    def _named(self, host: bytes) -> T | None:
        value = self._exact.get(host)
        if value is not None:
            return value
        for length in self._tail_lengths:
            value = self._tails.get(host[-length:])
            if value is not None and len(host) > length:
                return value
        for length in self._head_lengths:
            value = self._heads.get(host[:length])
            if value is not None and len(host) > length:
                return value
        for pattern, value in self._patterns.values():
            if pattern.search(host):
                return value
        return None


def _check_path(name: str, path: bytes, allowed: tuple[bytes, ...] = ()) -> None:
    if path in allowed:
        return
    if not path.startswith(b"/"):
        raise BadConfiguration(name, path, "must begin with '/'")
    if _NOT_NORMAL.search(path):
        raise BadConfiguration(name, path, "must have no '//', '/./' or '/../': normal paths have none")
    if _ESCAPE.search(path):
        raise BadConfiguration(name, path, f"must be as it is when decoded: {unquote(path)!r}")


def _compile_patterns(patterns: Sequence[tuple[str, bool, T]]) -> list[tuple[re.Pattern[bytes], T]]:
    seen: set[tuple[str, bool]] = set()
    compiled = []
    for text, ignore_case, value in patterns:
        if (text, ignore_case) in seen:
            raise BadConfiguration("pattern", text, "must be given once: the second one would never be reached")
        seen.add((text, ignore_case))
        compiled.append((_compile("pattern", text, text, ignore_case), value))
    return compiled


def _compile(name: str, given: str, text: str, ignore_case: bool) -> re.Pattern[bytes]:
    """C{text}, which stands in C{given}."""
    try:
        return re.compile(text.encode(), re.IGNORECASE if ignore_case else 0)
    except (re.error, ValueError, OverflowError, RecursionError) as error:
        hint = " (a named group is (?P<name>...) in Python)" if "?<" in str(error) else ""
        raise BadConfiguration(name, given, f"must be a regular expression of Python's: {error}{hint}") from error


def _captures(match: re.Match[bytes]) -> Captures | None:
    groups = match.groups(b"")
    if not groups:
        return None
    captures = match.groupdict(b"")
    captures.update(zip("123456789", groups, strict=False))
    return captures


def _host_name(name: str, host: str) -> bytes:
    """C{host}, the part of C{name} without asterisk, as it is compared."""
    try:
        text = host.encode().lower()
        if text and b"*" not in text and check_host(text) == text:
            return text
    except ValueError:
        pass  # the error below says what would be right
    right = "a host name without a port, '*.name', 'name.*', '.name' or '~regex'; of international names the Punycode"
    raise BadConfiguration("names", name, f"must be {right}")


def _add_once(table: dict[bytes, V], name: str, key: bytes, value: V) -> None:
    if key in table:
        raise BadConfiguration("names", name, "must be a name of one site only, and given once")
    table[key] = value


def _descending(keys: Iterable[bytes]) -> tuple[int, ...]:
    """The lengths of C{keys}, longest first."""
    return tuple(sorted({len(key) for key in keys}, reverse=True))
