"""
What every key of the configuration file says of itself, and what all tables have in common.

The model's classes are read by what parses the file, by what writes the JSON Schema and by what writes the reference; all of
them ask L{keys_of}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Union, get_args, get_origin

import attrs

__all__ = ["Key", "Path", "Table", "annotation_of", "item_of", "key", "keys_of"]

#: Where something stands in a file: names of keys, and places in lists.
Path = tuple[Union[str, int], ...]


@attrs.frozen(kw_only=True)
class Key:
    """
    @ivar help: one line, for the reference.
    @ivar default: what holds when it is not given, as it would be written, or in words.
    @ivar nginx: what nginx calls it, empty if it has nothing of the kind.
    @ivar unit: of the value, for the reference, where its kind does not say.
    @ivar required: what has to be given, for the error when it is not; empty if it may be left out.
    """

    help: str
    default: str = ""
    nginx: str = ""
    unit: str = ""
    required: str = ""


def key(
    help: str, *, default: str = "", nginx: str = "", unit: str = "", required: str = "", absent: Any = None
) -> Any:
    """
    A key of a table, as a field of its class.

    @param absent: the field's value when the key is not given: None says that it is inherited, or that its default holds.
    """
    described = Key(help=help, default=default, nginx=nginx, unit=unit, required=required)
    return attrs.field(default=absent, metadata={Key: described})


@attrs.frozen(kw_only=True)
class Table:
    """
    The base of the tables.

    @cvar shorthand: the key that text in the table's place stands for; empty if it has to be a table.
    @cvar alternatives: groups of keys, of each of which exactly one is given.
    @ivar where: where it stands in the file.
    """

    shorthand: ClassVar[str] = ""
    alternatives: ClassVar[Sequence[Sequence[str]]] = ()

    where: Path = attrs.field(default=(), eq=False, repr=False)


def keys_of(table: type[Any]) -> dict[str, Key]:
    """The keys of a table, by name, in the order of declaration."""
    return {field.name: field.metadata[Key] for field in attrs.fields(table) if Key in field.metadata}


def annotation_of(table: type[Any], name: str) -> Any:
    """What the value of a key has to be, without C{| None}."""
    attrs.resolve_types(table)
    annotation = getattr(attrs.fields(table), name).type
    if get_origin(annotation) is Union or type(annotation).__name__ == "UnionType":
        (annotation,) = (each for each in get_args(annotation) if each is not type(None))
    return annotation


def item_of(annotation: Any) -> tuple[Any, Any] | None:
    """C{Sequence} or C{Mapping}, and what is in it; None for anything else."""
    origin = get_origin(annotation)
    if origin is Sequence:
        return Sequence, get_args(annotation)[0]
    if origin is Mapping:
        return Mapping, get_args(annotation)
    return None
