"""
The shape of the configuration file as JSON Schema (draft 2020-12), for editors. It is written to C{schema.json} beside this file by
C{python docs/reference/generate.py}.

What a schema cannot say (which names there are, what fits together) only C{--test} says.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, get_args

from twisted_pipe.service.config.keys import Key, Table, annotation_of, item_of, keys_of
from twisted_pipe.service.config.model import ConfigurationFile, ServerTable
from twisted_pipe.service.config.places import places_of
from twisted_pipe.service.config.values import kind_of

__all__ = ["json_schema", "schema_text"]


def json_schema() -> dict[str, Any]:
    """The schema."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The configuration file of twisted_pipe",
        **_table(ConfigurationFile),
        "$defs": {
            each.__name__: _table(each) for each in places_of(ConfigurationFile) if each is not ConfigurationFile
        },
    }


def schema_text() -> str:
    """The schema, as it is shipped."""
    return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"


def _table(table: type[Table]) -> dict[str, Any]:
    keys = keys_of(table)
    schema: dict[str, Any] = {
        "description": _one_line(table.__doc__ or ""),
        "type": "object",
        "additionalProperties": False,
        "properties": {
            name: {"description": _description(described), **_value(annotation_of(table, name))}
            for name, described in keys.items()
        },
    }
    required = [name for name, described in keys.items() if described.required]
    if required:
        schema["required"] = required
    if table.alternatives:
        schema["allOf"] = [{"oneOf": [{"required": [name]} for name in names]} for names in table.alternatives]
    return schema


def _value(annotation: Any) -> dict[str, Any]:
    kind = kind_of(annotation)
    if kind is not None:
        return dict(kind.schema)
    if annotation == ServerTable:
        http, stream = (_reference(each) for each in get_args(ServerTable))
        return {"if": {"properties": {"protocol": {"const": "http"}}}, "then": http, "else": stream}
    held = item_of(annotation)
    if held is None:
        return _reference(annotation)
    if held[0] is Sequence:
        item = _value(held[1])
        return {"anyOf": [{"type": "array", "items": item}, item]}
    name, inner = held[1]
    named = kind_of(name)
    names = {"propertyNames": dict(named.schema)} if named is not None else {}
    return {"type": "object", **names, "additionalProperties": _value(inner)}


def _reference(table: type[Table]) -> dict[str, Any]:
    reference = {"$ref": f"#/$defs/{table.__name__}"}
    if not table.shorthand:
        return reference
    return {"anyOf": [_value(annotation_of(table, table.shorthand)), reference]}


def _description(described: Key) -> str:
    parts = [described.help]
    if described.default:
        parts.append(f"Default: {described.default}.")
    if described.nginx:
        parts.append(f"nginx: {described.nginx}.")
    return " ".join(parts)


def _one_line(text: str) -> str:
    return " ".join(text.replace("C{", "").replace("}", "").split())
