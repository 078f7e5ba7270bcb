r"""
The base of filters for protocols of lines.

A subclass gets whole lines, however they arrived, and says what becomes of each::

    class NoPasswords(LineFilter):
        delimiter = b"\r\n"

        def line_received(self, line):
            if line.startswith(b"PASS "):
                return b"PASS ***"
            return line

Or as a generator, which may yield several lines, and wait::

    class Greylist(LineFilter):
        def line_received(self, line):
            known = yield ask(self.context.client)  # a Deferred
            if known:
                yield line

It takes time in proportion to the length of the stream, whether a line comes at once or byte by byte.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable
from functools import partial
from typing import Any, ClassVar, Union

import attrs
from twisted.internet.defer import Deferred

from twisted_pipe.core.asynchronous import output_of
from twisted_pipe.filters.base import PipeFilter
from twisted_pipe.interfaces import BytesLike, FilterGenerator, Item

__all__ = ["LineFilter", "LineOutput", "LineTooLong"]

_BYTES = (bytes, bytearray, memoryview)
#: Bytes after which output is handed on while there are more lines.
_PIECE = 32 * 1024

#: What becomes of a line.
LineOutput = Union[BytesLike, Iterable[Item], Awaitable[Union[BytesLike, Iterable[BytesLike], None]], None]


class LineTooLong(ValueError):
    """A line is longer than the filter takes."""


@attrs.define
class LineFilter(PipeFilter):
    """
    Cuts the stream into lines, and puts together again what L{line_received} makes of them.

    @cvar delimiter: what ends a line.
    @cvar max_length: bytes of a line without its delimiter. A longer one is an error, L{LineTooLong}, and so bounds what is kept.
    """

    delimiter: ClassVar[bytes] = b"\n"
    max_length: ClassVar[int] = 64 * 1024
    _partial: bytearray = attrs.field(factory=bytearray, init=False)

    def line_received(self, line: bytes) -> LineOutput:
        """
        What becomes of a line. By default it passes.

        @param line: without its delimiter.
        @return: the line that takes its place; or None for none; or an iterable, such as a generator, of lines and of Deferreds,
            which suspend the pipe. C{async def} will do as well. Delimiters are added: after each line, but not after the last of a
            stream that ended without one.
        """
        return line

    def received(self, data: memoryview) -> FilterGenerator:
        output = bytearray()
        for line in self._cut(data):
            self._check(line)
            result = self.line_received(line)
            if type(result) is bytes:
                output += result
                output += self.delimiter
            elif result is not None:
                yield from self._several(result, output, True)
            if len(output) >= _PIECE:
                yield output
                output = bytearray()
        if output:
            yield output
        if len(self._partial) >= self.max_length + len(self.delimiter):
            self._check(self._partial)

    def ended(self) -> FilterGenerator:
        line, self._partial = bytes(self._partial), bytearray()
        if line:
            self._check(line)
            output = bytearray()
            result = self.line_received(line)
            if result is not None:
                yield from self._several(result, output, False)
            yield output

    def _cut(self, data: memoryview) -> list[bytes]:
        """The lines that C{data} completes."""
        partial = self._partial
        if partial:
            # so far there is none in it, but it may end with a part of one
            start = max(len(partial) - len(self.delimiter) + 1, 0)
            partial += data
            if partial.find(self.delimiter, start) < 0:
                return []
        *lines, rest = bytes(partial or data).split(self.delimiter)
        self._partial = bytearray(rest)
        return lines

    def _check(self, line: BytesLike) -> None:
        if len(line) > self.max_length:
            raise LineTooLong(f"a line is longer than {self.max_length:,} bytes: {bytes(line[:40])!r}…")

    def _several(self, result: Any, output: bytearray, ended: bool) -> FilterGenerator:
        """
        Add what became of one line to C{output}, unless it has to be put out before a wait.

        @param ended: whether the line had a delimiter; if not, it and what it became are the last ones, and nothing follows them.
        """
        if isinstance(result, _BYTES) or hasattr(result, "addCallbacks"):
            result = (result,)
        items: Any = output_of(result) or iter(result)
        advance: Callable[[], Any] = partial(next, items)
        before, after = b"", self.delimiter if ended else b""
        try:
            while True:
                try:
                    item = advance()
                except StopIteration:
                    break
                advance = partial(next, items)
                if isinstance(item, _BYTES):
                    output += before
                    output += item
                    output += after
                    before = b"" if ended else self.delimiter
                    if len(output) < _PIECE:
                        continue
                if output:
                    try:
                        yield bytes(output)
                    except GeneratorExit:
                        _give_up(item)
                        raise
                    output.clear()
                if not isinstance(item, _BYTES):
                    advance = yield from _wait(item, items, advance)
        finally:
            if hasattr(items, "close"):
                items.close()


def _wait(item: Any, items: Any, advance: Callable[[], Any]) -> Generator[Any, Any, Callable[[], Any]]:
    """Suspend the pipe by C{item}; how to go on then with the C{items} that it is one of."""
    try:
        reply = yield item
    except Exception as error:
        if not hasattr(items, "throw"):
            raise
        return partial(items.throw, error)
    if hasattr(items, "send"):
        return partial(items.send, reply)
    return (lambda: reply) if isinstance(reply, _BYTES) else advance


def _give_up(item: Any) -> None:
    """Nobody will wait for C{item}, if it is something to wait for."""
    if hasattr(item, "close"):
        item.close()  # a coroutine that has not begun
    elif not isinstance(item, _BYTES):
        waiting = Deferred.fromCoroutine(_wait_for(item))
        waiting.addErrback(lambda failure: None)
        waiting.cancel()


async def _wait_for(item: Any) -> Any:
    return await item
