r"""
Single bytes for single bytes, wherever they stand.

C{find} and C{replace} are of equal length: the first byte of one becomes the first of the other, and so on. Each is text with the
escapes of L{twisted_pipe.plugin.escapes}, C{\n}, C{\r}, C{\t}, C{\0}, C{\xNN} and C{\\}, or hexadecimal digits after C{0x}
(text that itself begins so is written C{\x30x})::

    --filter 'replace-bytes:find=abc:replace=xyz'
    --filter 'replace-bytes:find=0x0d00:replace=0x0a20'
"""

from __future__ import annotations

from typing import ClassVar

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.base import PipeFilter, option
from twisted_pipe.filters.escapes import parse_bytes
from twisted_pipe.interfaces import FilterOutput

__all__ = ["ReplaceBytes"]


@attrs.frozen
class _ByteList:
    kind = "TEXT|0xHEX"

    def __call__(self, name: str, text: str) -> bytes:
        if text in ("", "0x"):
            raise BadConfiguration(name, text, "must not be empty")
        if not text.startswith("0x"):
            return parse_bytes(name, text)
        try:
            return bytes.fromhex(text[2:])
        except ValueError:
            raise BadConfiguration(name, text, "after 0x come hexadecimal digits, two for each byte") from None


@attrs.define
class ReplaceBytes(PipeFilter):
    r"""
    Replaces single bytes by others, as a table says.

    C{find} and C{replace} are the two rows of that table, each text with the escapes C{\n \r \t \0 \xNN \\}, or hexadecimal
    digits after C{0x}. Nothing is held back.

    @ivar find: the bytes that are replaced; have to be given.
    @ivar replace: what each of them becomes; as many.
    """

    judges_options: ClassVar[bool] = True

    find: bytes = option(_ByteList(), help="the bytes to replace, each one only once")
    replace: bytes = option(_ByteList(), help="what each of them becomes; as many")
    _table: bytes = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if len(set(self.find)) < len(self.find):
            raise BadConfiguration("find", self.find, "has a byte twice, which cannot become two things")
        if len(self.find) != len(self.replace):
            raise BadConfiguration("replace", self.replace, f"must be as long as find, {len(self.find)} bytes")
        self._table = bytes.maketrans(self.find, self.replace)

    def received(self, data: memoryview) -> FilterOutput:
        return (bytes(data).translate(self._table),)
