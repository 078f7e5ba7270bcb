"""What holds where several tables may say it: a key given nearer wins whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.limits import PipeLimits
from twisted_pipe.service.config.keys import Path, Table
from twisted_pipe.service.config.problems import Problems, Skip

__all__ = ["Layers", "pipe_limits"]


@attrs.frozen
class Layers:
    """
    @ivar tables: the nearest first: route, server, defaults.
    """

    tables: tuple[Table, ...]

    def get(self, name: str) -> Any:
        """The value of a key; None if none of them has it."""
        return next((value for _, value in self._all(name)), None)

    def where(self, name: str) -> Path:
        """Where that value stands; where it would, if none has it."""
        table = next((table for table, _ in self._all(name)), self.tables[0])
        return (*table.where, name)

    def fields(self, names: Mapping[str, str]) -> dict[str, Any]:
        """
        Values for the fields of an object, of those that are given.

        @param names: the key of each field.
        """
        return {field: value for field, name in names.items() if (value := self.get(name)) is not None}

    def _all(self, name: str) -> list[tuple[Table, Any]]:
        found = [(table, getattr(table, name, None)) for table in self.tables]
        return [(table, value) for table, value in found if value is not None]


#: The key of each field of L{PipeLimits} that has one of its own.
_LIMITS = {
    name: name
    for name in (
        "buffering",
        "busy_size",
        "max_temp_file_size",
        "temp_file_write_size",
        "limit_rate",
        "limit_rate_after",
        "read_timeout",
    )
}


def pipe_limits(layers: Layers, problems: Problems, send_timeout: str, defaults: PipeLimits) -> PipeLimits:
    """
    The bounds toward a client. All that do not fit each other are reported.

    @param send_timeout: the key of that.
    @param defaults: of what is not given; of its sizes only that of the buffers counts, for the others follow it.
    @raise Skip: they do not fit.
    """
    names = {**_LIMITS, "send_timeout": send_timeout}
    values = {"read_timeout": defaults.read_timeout, **layers.fields(names)}
    count, size = layers.get("buffers") or (defaults.buffers, defaults.buffer_size)
    names |= {"buffers": "buffers", "buffer_size": "buffers"}
    wrong = False
    while True:
        try:
            limits = PipeLimits(buffers=count, buffer_size=size, **values)
            break
        except BadConfiguration as error:
            problems.add(layers.where(names[error.name]), error.expected)
            wrong = True
            if values.pop(error.name, None) is None:
                raise Skip from error
    if wrong:
        raise Skip
    return limits
