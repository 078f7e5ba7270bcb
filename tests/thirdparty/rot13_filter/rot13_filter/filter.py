"""The filter."""

from __future__ import annotations

from string import ascii_lowercase, ascii_uppercase

import attrs

from twisted_pipe.filters.base import PipeFilter, option
from twisted_pipe.interfaces import FilterOutput

__all__ = ["Rot13"]


def parse_shift(name: str, text: str) -> int:
    shift = int(text)
    if not 0 <= shift < 26:
        raise ValueError("must be 0 to 25")
    return shift


@attrs.define
class Rot13(PipeFilter):
    """
    Turns ASCII letters round the alphabet.

    @ivar shift: by how many letters. Default 13.
    """

    shift: int = option(parse_shift, default=13, help="how far to turn each letter, 0 to 25", unit="letters")
    _table: bytes = attrs.field(init=False, repr=False)

    @_table.default
    def _make_table(self) -> bytes:
        turned = (letters[self.shift :] + letters[: self.shift] for letters in (ascii_lowercase, ascii_uppercase))
        return bytes.maketrans((ascii_lowercase + ascii_uppercase).encode(), "".join(turned).encode())

    def received(self, data: memoryview) -> FilterOutput:
        return (bytes(data).translate(self._table),)
