"""
A copy of what flows, in a file.

C{path} may hold C{{direction}}, C{{client}} (host and port), C{{time}} (of the beginning, in UTC: C{20261122T061016Z}) and
C{{number}} (from 1 on, in this process), so that every direction of every connection has a file of its own. If it holds none that
tells them apart, they share one: then no chunk is cut by another's, but the file does not say whose a chunk is.

Bytes are collected, up to C{buffer} for each direction of each connection, and appended by one C{write}; so the file is open
only for moments, takes no descriptor of an idle connection, and may be moved away at any time. What is left is written when the
stream ends, or breaks off.

Writing blocks the reactor, and so all connections, for as long as the disk takes. This is not for a disk that may stall.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from contextlib import suppress
from typing import Any, ClassVar

import attrs
from twisted.logger import Logger

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.base import PipeFilter, one_of, option
from twisted_pipe.interfaces import FilterContext, FilterOutput
from twisted_pipe.units import parse_count, parse_size, parse_text

__all__ = ["Tee"]

_log = Logger()
_PLACES = ("direction", "client", "time", "number")
_PLACE = re.compile(r"\{(\w+)\}")
_NOT_IN_NAMES = re.compile(r"[^0-9A-Za-z.:_-]+")
# Not blocking, because opening a FIFO that nobody reads would.
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
_numbers = itertools.count(1)


@attrs.frozen
class _Path:
    kind = "PATH"

    def __call__(self, name: str, text: str) -> str:
        path = parse_text(name, text)
        rest = _PLACE.sub(lambda match: "" if match[1] in _PLACES else match[0], path)
        if "{" in rest or "}" in rest or "\0" in rest:
            known = ", ".join(f"{{{place}}}" for place in _PLACES)
            raise BadConfiguration(name, text, f"a path; what may stand in braces is {known}")
        return path


@attrs.define
class Tee(PipeFilter):
    """
    Passes everything on, and appends a copy of it to a file, which is created for its owner alone (mode 0600).

    A file that has grown to C{max_size} is renamed to C{path.1}, that before to C{path.2}, and so on; what would become
    C{path.keep+1} is deleted. No file is larger, unless a single chunk is.

    What cannot be written is logged, once, and from then on nothing more is copied; the stream goes on, unless C{on_error=abort}.
    The file is written by the reactor's thread: a slow disk slows down every connection.

    @ivar path: of the file; may hold {direction}, {client}, {time} and {number}. Has to be given.
    @ivar max_size: bytes of a file. Default 0: any number.
    @ivar keep: how many files of C{max_size} are kept besides the newest. Default 5.
    @ivar buffer: bytes that are collected before they are written. Default 64 KiB; 0 writes each chunk at once.
    @ivar on_error: what happens when the file cannot be written: C{pass} (default) or C{abort}.
    """

    any_coding: ClassVar[bool] = True
    keeps_bytes: ClassVar[bool] = True

    path: str = option(_Path(), help="the file; may hold {direction}, {client}, {time} and {number}")
    max_size: int = option(parse_size, default=0, help="rename a file before it is larger; 0: never", unit="bytes")
    keep: int = option(parse_count, default=5, help="how many renamed files to keep")
    buffer: int = option(parse_size, default=65536, help="what to collect before it is written", unit="bytes")
    on_error: str = option(
        one_of("pass", "abort"), default="pass", help="go on without the copy, or end the connection"
    )
    _file: str = attrs.field(default="", init=False)
    _waiting: bytearray = attrs.field(factory=bytearray, init=False)
    _failed: bool = attrs.field(default=False, init=False)

    def started(self) -> FilterOutput:
        self._file = _expand(self.path, self.context)
        return ()

    def received(self, data: memoryview) -> FilterOutput:
        if not self._failed:
            if self.max_size and len(self._waiting) + len(data) > self.max_size:
                self._write()
            self._waiting += data
            if len(self._waiting) >= self.buffer:
                self._write()
        return (data,)

    def ended(self) -> FilterOutput:
        self._write()
        return ()

    def stopped(self, reason: BaseException | None) -> None:
        with suppress(OSError):  # it was logged
            self._write()

    def _write(self) -> None:
        """
        Write what was collected.

        @raise OSError: it cannot be written, and that is to end the connection.
        """
        data, self._waiting = self._waiting, bytearray()
        if not data or self._failed:
            return
        try:
            _append(self._file, data, self.max_size, self.keep)
        except OSError as error:
            self._failed = True
            _log.error(
                "{connection}, {direction}: cannot copy to {path}: {error}",
                connection=self.context.connection or "-",
                direction=str(self.context.direction),
                path=self._file,
                error=str(error),  # not itself: it keeps the frames, and with them what was lent
            )
            if self.on_error == "abort":
                raise


def _expand(path: str, context: FilterContext) -> str:
    values = {
        "direction": str(context.direction),
        "client": _NOT_IN_NAMES.sub("_", _name_of(context.client)),
        "time": time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()),
        "number": str(next(_numbers)),
    }
    return _PLACE.sub(lambda match: values[match[1]], path)


def _name_of(address: Any) -> str:
    """An C{IAddress} as a part of a file's name."""
    if address is None:
        return "unknown"
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    return str(address) if host is None or port is None else f"{host}-{port}"


def _append(path: str, data: bytearray, max_size: int, keep: int) -> None:
    """
    Append C{data} by one write, which the system does not mix with another one.

    @param max_size: rotate if it would be larger; 0: never.
    """
    fd = os.open(path, _APPEND, 0o600)
    try:
        size = os.fstat(fd).st_size
        if max_size and size and size + len(data) > max_size:
            _rotate(path, keep)
            os.close(fd)
            fd = os.open(path, _APPEND, 0o600)
        rest = memoryview(data)
        while rest:  # the disk is full, if it takes more than one
            rest = rest[os.write(fd, rest) :]
    finally:
        os.close(fd)


def _rotate(path: str, keep: int) -> None:
    """C{path} becomes C{path.1}, that C{path.2}, and so on; with nothing to keep it is deleted."""
    if not keep:
        os.unlink(path)
        return
    for number in range(keep - 1, 0, -1):
        with suppress(FileNotFoundError):
            os.replace(f"{path}.{number}", f"{path}.{number + 1}")
    os.replace(path, f"{path}.1")
