"""
A tee to the log: what flows, as a hexdump.

One log event per chunk, with C{direction}, C{client}, C{upstream}, C{offset} (of the chunk in its stream), C{size} and
C{dump} as keys for observers that keep structure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import attrs
from twisted.logger import Logger

from twisted_pipe.filters.base import PipeFilter, at_least, option
from twisted_pipe.interfaces import FilterOutput
from twisted_pipe.units import parse_size

__all__ = ["Hexdump", "hexdump"]

_log = Logger()
_ROW = 16
_VISIBLE = bytes(byte if 0x20 <= byte < 0x7F else ord(".") for byte in range(256))


def hexdump(data: memoryview, offset: int = 0) -> Iterator[str]:
    """
    Lines of 16 bytes: offset, hexadecimal, and what of it is visible ASCII.

    @param offset: of the first byte.
    """
    for start in range(0, len(data), _ROW):
        row = bytes(data[start : start + _ROW])
        yield f"{offset + start:08x}  {row.hex(' '):<{3 * _ROW - 1}}  |{row.translate(_VISIBLE).decode('ascii')}|"


@attrs.define
class Hexdump(PipeFilter):
    """
    Passes everything through and logs how it began.

    @ivar bytes: dumped of each chunk, counted from its first. Default 256.
    @ivar total: dumped of one direction of a connection; after that it only passes through. Default 64 KiB.
    """

    any_coding: ClassVar[bool] = True
    keeps_bytes: ClassVar[bool] = True

    bytes: int = option(at_least(1, parse_size), default=256, help="how much of each chunk to dump", unit="bytes")
    total: int = option(
        at_least(1, parse_size), default=65536, help="how much of one direction of a connection to dump", unit="bytes"
    )
    _offset: int = attrs.field(default=0, init=False)
    _dumped: int = attrs.field(default=0, init=False)

    def received(self, data: memoryview) -> FilterOutput:
        shown = data[: min(self.bytes, self.total - self._dumped)]
        if shown:
            self._dump(shown, len(data))
        self._offset += len(data)
        return (data,)

    def _dump(self, shown: memoryview, size: int) -> None:
        self._dumped += len(shown)
        last = f"\n(no more of this direction: total={self.total} is reached)" if self._dumped == self.total else ""
        _log.info(
            "{direction}, client {client}, upstream {upstream}: {size} bytes at {offset}\n{dump}",
            direction=str(self.context.direction),
            client=_endpoint(self.context.client),
            upstream=_endpoint(self.context.upstream),
            size=size,
            offset=self._offset,
            dump="\n".join(hexdump(shown, self._offset)) + last,
        )


def _endpoint(address: Any) -> str:
    """An C{IAddress} for people: host and port of TCP, else whatever it says of itself; C{-} for none."""
    if address is None:
        return "-"
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is None or port is None:
        return str(address)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
