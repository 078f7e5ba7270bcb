"""Where in a configuration file each table of the model may stand, for messages and for the reference."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, get_args

from twisted_pipe.service.config.keys import Table, annotation_of, item_of, keys_of
from twisted_pipe.service.config.model import ServerTable

__all__ = ["places_of"]

_SAME = {"HttpServerTable": " that speak http", "StreamServerTable": " that speak tcp"}


@cache
def places_of(model: type[Table]) -> dict[type[Table], str]:
    """Each table, and where it stands first: C{"in [[servers.routes]]"}, C{"at the top"}."""
    found: dict[type[Table], str] = {model: "at the top"}
    waiting: list[tuple[Any, str, bool]] = [(annotation_of(model, name), name, False) for name in keys_of(model)]
    while waiting:
        annotation, place, is_list = waiting.pop(0)
        held = item_of(annotation)
        if annotation == ServerTable:
            waiting = [(each, place, True) for each in get_args(annotation)] + waiting
        elif held is not None and held[0] is Sequence:
            waiting.append((held[1], place, True))
        elif held is not None:
            waiting.append((held[1][1], f"{place}.NAME", False))
        elif isinstance(annotation, type) and issubclass(annotation, Table) and annotation not in found:
            brackets = f"[[{place}]]" if is_list else f"[{place}]"
            found[annotation] = f"in {brackets}{_SAME.get(annotation.__name__, '')}"
            waiting += [(annotation_of(annotation, name), f"{place}.{name}", False) for name in keys_of(annotation)]
    return found
