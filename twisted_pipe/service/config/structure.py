"""
From the tables of a TOML document to the model, with cattrs: every mistake in the shape of a file is found at once.

Where a value cannot be, it is reported, taken out, and the rest is tried again. So what holds between values is checked as well,
among those that are right. Three liberties are for whoever writes the file: a list of one item may be written without brackets,
some tables as the text of their main key, and any key may be left out as far as the shape goes; which have to be given is asked
at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from types import GenericAlias
from typing import Any

import attrs
from cattrs import Converter
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError
from cattrs.gen import make_dict_structure_fn, override

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.service.config.keys import Path, Table, item_of, keys_of
from twisted_pipe.service.config.model import ConfigurationFile, HttpServerTable, ServerTable, StreamServerTable
from twisted_pipe.service.config.places import places_of
from twisted_pipe.service.config.problems import MISSING, Below, Problems, said_by
from twisted_pipe.service.config.values import kind_of

__all__ = ["structure"]


class _LocatedTable(dict[str, Any]):
    """A table of the document that knows where it stands."""

    where: Path = ()


class _LocatedText(str):
    """Text that knows where it stands, because it may stand for a table."""

    __slots__ = ("where",)

    where: Path


def structure(problems: Problems) -> ConfigurationFile:
    """
    The document of C{problems} as the model. What is wrong is added to them, and not given in the model.
    """
    document = _located(problems.document, ())
    while True:
        try:
            read: ConfigurationFile = _converter.structure(document, ConfigurationFile)
            break
        except ClassValidationError as error:
            faults = list(_faults(error, ()))
            for path, _, expected in faults:
                problems.add(path, expected)
            if not sum(_take_out(document, taken_out) for _, taken_out, _ in faults):
                raise  # a mistake of ours, which would be found for ever
    _check_required(read, problems)
    return read


def _located(value: Any, where: Path) -> Any:
    if isinstance(value, Mapping):
        table = _LocatedTable({name: _located(each, (*where, name)) for name, each in value.items()})
        table.where = where
        return table
    if isinstance(value, list):
        return [_located(each, (*where, place)) for place, each in enumerate(value)]
    if isinstance(value, str):
        text = _LocatedText(value)
        text.where = where
        return text
    return value


def _plain(value: Any) -> Any:
    """What L{_located} was made of."""
    if isinstance(value, _LocatedText):
        return str(value)
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _faults(error: BaseException, where: Path) -> Iterator[tuple[Path, Path, str]]:
    """For each mistake: where it is, what to take out, and what would be right."""
    if isinstance(error, ClassValidationError):
        noted, others = error.group_exceptions()
        for inner, note in noted:
            yield from _faults(inner, (*where, note.name))
        for inner in others:
            yield from _faults(inner, where)
    elif isinstance(error, IterableValidationError):
        for inner, place in error.group_exceptions()[0]:
            yield from _faults(inner, (*where, place.index))
    elif isinstance(error, ForbiddenExtraKeysError):
        for name in error.extra_fields:
            yield (*where, name), (*where, name), _unknown(name, error.cl)
    elif isinstance(error, Below):
        yield (*where, *error.path), where, error.expected
    elif isinstance(error, BadConfiguration):
        yield where, where, said_by(error)
    elif isinstance(error, ValueError):
        yield where, where, str(error)
    else:
        raise error


def _unknown(name: str, table: type[Any]) -> str:
    """What to say of a key that a table does not have."""
    known = keys_of(table)
    near = [each for each, described in known.items() if name in described.nginx.split()[:1]]
    near += get_close_matches(name.lower(), known, n=1)
    elsewhere = [place for each, place in places_of(ConfigurationFile).items() if name in keys_of(each)]
    if elsewhere:
        return f"no such key here; it belongs {' or '.join(dict.fromkeys(elsewhere))}"
    if near:
        return f'no such key; did you mean "{near[0]}"?'
    return f"no such key. Keys here: {', '.join(sorted(known))}"


def _take_out(document: Any, path: Path) -> bool:
    """
    Take what stands at C{path} out of the document; of a list the whole list, because the places of the others would not be
    those in the file any more.

    @return: whether it was still there.
    """
    holder: Any = document
    name: Any = path[0]
    node: Any = document
    for step in path:
        if isinstance(step, int):
            node = node[step] if isinstance(node, list) else node  # or one item, without brackets
        elif not isinstance(node, dict):
            break  # text for a table
        elif step not in node:
            return False  # it went with another one's list
        else:
            holder, name = node, step
            node = node[step]
    del holder[name]
    return True


def _check_required(table: Table, problems: Problems) -> None:
    """Every key that has to be given is, and of alternatives one. A key that is given and wrong has been reported."""
    for names in table.alternatives:
        problems.exactly_one(table.where, names)
    for name, described in keys_of(type(table)).items():
        value = getattr(table, name)
        path = (*table.where, name)
        if described.required and not value and problems.locate(path)[1] in (MISSING, [], {}, ""):
            misspelt = set(problems.locate(table.where)[1]) - set(keys_of(type(table)))
            if not get_close_matches(name, misspelt, n=1):
                problems.add(path, described.required)
        for inner in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else [value]:
            if isinstance(inner, Table):
                _check_required(inner, problems)


def _value_hook(annotation: Any) -> Any:
    kind = kind_of(annotation)
    assert kind is not None
    parse = kind.parse
    return lambda value, _: parse(_plain(value))


def _table_hook(table: Any) -> Any:
    fields = make_dict_structure_fn(table, _converter, _cattrs_forbid_extra_keys=True, where=override(omit=True))

    def hook(value: Any, _: Any) -> Any:
        if table.shorthand and isinstance(value, _LocatedText):
            written = _LocatedTable({table.shorthand: value})
            written.where = value.where
            value = written
        if not isinstance(value, _LocatedTable):
            what = f"a table, or its {table.shorthand} alone, in quotes" if table.shorthand else "a table"
            raise ValueError(f"must be {what}")
        return attrs.evolve(fields(value, table), where=value.where)

    return hook


def _sequence_hook(annotation: Any) -> Any:
    held = item_of(annotation)
    assert held is not None
    items = GenericAlias(list, (held[1],))

    def hook(value: Any, _: Any) -> Any:
        return _converter.structure(value if isinstance(value, list) else [value], items)

    return hook


def _mapping_hook(annotation: Any) -> Any:
    held = item_of(annotation)
    assert held is not None
    items = GenericAlias(dict, held[1])

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("must be a table")
        return _converter.structure(value, items)

    return hook


def _server(value: Any, _: Any) -> Any:
    """What a server may say depends on what it speaks."""
    spoken = value.get("protocol", "http") if isinstance(value, dict) else "http"
    return _converter.structure(value, HttpServerTable if spoken == "http" else StreamServerTable)


def _holds(kind: Any) -> Any:
    def predicate(annotation: Any) -> bool:
        held = item_of(annotation)
        return held is not None and held[0] is kind

    return predicate


_converter: Any = Converter(detailed_validation=True)
_converter.register_structure_hook_factory(lambda each: isinstance(each, type) and issubclass(each, Table), _table_hook)
_converter.register_structure_hook_factory(_holds(Sequence), _sequence_hook)
_converter.register_structure_hook_factory(_holds(Mapping), _mapping_hook)
_converter.register_structure_hook_factory(lambda each: kind_of(each) is not None, _value_hook)
_converter.register_structure_hook_func(lambda each: each == ServerTable, _server)
