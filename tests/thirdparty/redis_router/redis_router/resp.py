"""
The Redis protocol (RESP), as far as a router needs it: commands taken apart, replies told from one another.

Neither knows anything of connections. Both take their bytes in any pieces, with the same result, in linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = [
    "Command",
    "CommandParser",
    "ProtocolError",
    "ReplyError",
    "ReplyFramer",
    "encode_bulk",
    "encode_command",
    "encode_error",
]

#: The bytes that are passed on, and the command's name and arguments.
Command = tuple[bytes, list[bytes]]

_CRLF = b"\r\n"
_ASTERISK, _DOLLAR = b"*$"
_ARRAY = re.compile(rb"\*(0|[1-9]\d{0,9})\r\n")
_BULK = re.compile(rb"\$(0|[1-9]\d{0,9})\r\n")
_LONGEST_HEADER = 13  # bytes that these match at most
_LONGEST_LINE = 65536  # of an inline command, as in Redis
_QUOTING = re.compile(rb"[\"'\0]")

_LENGTH = re.compile(rb"-1|0|[1-9]\d{0,17}")
_LONGEST_LENGTH = 24  # bytes of a header that is more than its length
_ONE_LINE = frozenset(b"+-:_,#(")
_STRINGS = frozenset(b"$=!")
_AGGREGATES = {byte: 2 if byte in b"%|" else 1 for byte in b"*~>%|"}  # values for each of their length
_ASIDES = frozenset(b"|>")  # what comes before a reply, or a part of one, and is not it
_DEEPEST = 128


class ProtocolError(Exception):
    """What a client sent is no command; where the next would begin cannot be told."""


class ReplyError(Exception):
    """What a server sent is no reply."""


def encode_bulk(value: bytes) -> bytes:
    """A bulk string."""
    return b"$%d\r\n%b\r\n" % (len(value), value)


def encode_command(args: Iterable[bytes]) -> bytes:
    """A command as clients send it."""
    values = [encode_bulk(each) for each in args]
    return b"*%d\r\n%b" % (len(values), b"".join(values))


def encode_error(text: str) -> bytes:
    """An error reply; C{text} begins with its code."""
    return b"-%b\r\n" % " ".join(text.split()).encode()


class CommandParser:
    """
    Takes a client's stream apart into commands: arrays of bulk strings, or lines of words.

    Strict: what it takes for one command no server takes for two. It holds at most C{max_command} bytes of a command that has not
    come whole, and what else was fed with it.
    """

    __slots__ = ("_args", "_at", "_buffer", "_left", "_length", "_searched", "_start", "max_arguments", "max_command")

    def __init__(self, max_command: int = 1024 * 1024, max_arguments: int = 16384) -> None:
        """
        @param max_command: bytes of one command.
        @param max_arguments: their count, with the command's name.
        """
        self.max_command = max_command
        self.max_arguments = max_arguments
        self._buffer = bytearray()
        self._start = 0  # where the command begins that is being taken apart
        self._at = 0  # how far that is
        self._searched = 0  # how far there is no end of an inline command
        self._left = 0  # its arguments that are still to come
        self._length = -1  # of the next, once its header was read
        self._args: list[bytes] = []

    @property
    def held(self) -> int:
        """Bytes that were fed and are part of no command yet."""
        return len(self._buffer) - self._start

    def feed(self, data: bytes) -> None:
        """More of the stream."""
        del self._buffer[: self._start]
        self._at -= self._start
        self._searched = max(self._searched - self._start, 0)
        self._start = 0
        self._buffer += data

    def next(self) -> Command | None:
        """
        The next command, None if it has not come whole. What is passed on of an inline command is the array it stands for.

        @raise ProtocolError: it is none, or too large. There is no next one.
        """
        buffer = self._buffer
        while not self._left:
            if self._start == len(buffer):
                return None
            if buffer[self._start] != _ASTERISK:
                words = self._line()
                if words:
                    return encode_command(words), words
                if words is None:
                    return None
            else:
                count = self._header(_ARRAY, _ASTERISK, "invalid multibulk length")
                if count is None:
                    return None
                if count > self.max_arguments:
                    raise ProtocolError(f"more than {self.max_arguments} arguments")
                self._left = count
                if not count:  # Redis does not answer it
                    self._start = self._at
        while self._left:
            if not self._argument():
                return None
        raw = bytes(buffer[self._start : self._at])
        self._start = self._at
        args, self._args = self._args, []
        return raw, args

    def _argument(self) -> bool:
        """Take the next argument, if it has come whole."""
        buffer = self._buffer
        length = self._length
        if length < 0:
            announced = self._header(_BULK, _DOLLAR, "invalid bulk length")
            if announced is None:
                return False
            length = self._length = announced
            if self._at - self._start + length + len(_CRLF) > self.max_command:
                raise ProtocolError(f"more than {self.max_command} bytes")
        stop = self._at + length
        if len(buffer) < stop + len(_CRLF):
            return False
        if not buffer.startswith(_CRLF, stop):
            raise ProtocolError("expected the end of a bulk string")
        self._args.append(bytes(buffer[self._at : stop]))
        self._at = stop + len(_CRLF)
        self._length = -1
        self._left -= 1
        return True

    def _header(self, pattern: re.Pattern[bytes], kind: int, problem: str) -> int | None:
        """The number in the header that begins here, None if that has not come whole."""
        match = pattern.match(self._buffer, self._at)
        if match is not None:
            self._at = match.end()
            return int(match[1])
        begun = self._buffer[self._at : self._at + _LONGEST_HEADER]
        if begun and begun[0] != kind:
            raise ProtocolError(f"expected '{chr(kind)}', got {chr(begun[0])!a}")
        if b"\n" in begun or len(begun) == _LONGEST_HEADER:
            raise ProtocolError(problem)
        return None

    def _line(self) -> list[bytes] | None:
        """The words of the inline command that begins here, None if its line has not come whole."""
        buffer = self._buffer
        stop = buffer.find(b"\n", max(self._start, self._searched))
        self._searched = len(buffer) if stop < 0 else 0
        if (stop if stop >= 0 else len(buffer)) - self._start > min(_LONGEST_LINE, self.max_command):
            raise ProtocolError("too big inline request")
        if stop < 0:
            return None
        line = bytes(buffer[self._start : stop])
        self._start = self._at = stop + 1
        if _QUOTING.search(line):
            raise ProtocolError("quotes in an inline command are not supported")
        return line.split()


class ReplyFramer:
    """
    Finds where the replies in a server's stream end (RESP2 and RESP3). It keeps nothing of it but the beginning of a header that
    was cut.

    What comes aside of a reply, attributes and pushes, belongs to the reply that follows.
    """

    __slots__ = ("_crlf", "_header", "_open", "_skip")

    def __init__(self) -> None:
        self._header = b""  # the beginning of a line
        self._skip = 0  # bytes of a string that are still to come
        self._crlf = b""  # and then this
        self._open = [1]  # values still to come: of the reply, of the aggregate in it, of the aggregate in that, ...

    def scan(self, data: bytes, start: int, count: int) -> tuple[int, int]:
        """
        Go on from C{data[start]} to the end of the C{count}th reply, or of C{data}, or of what makes sense.

        @return: how far that is, and how many replies have ended.
        @raise ReplyError: what begins or goes on at C{start} is no reply.
        """
        at, size, ended = start, len(data), 0
        while at < size and ended < count:
            if self._skip:
                step = min(self._skip, size - at)
                self._skip -= step
                at += step
                continue
            stop = at + len(self._crlf) if self._crlf else data.find(b"\n", at) + 1 or size
            try:
                ended += self._read(data[at:stop])
            except ReplyError:
                if at == start:
                    raise
                break
            at = min(stop, size)
        return at, ended

    def _read(self, part: bytes) -> bool:
        """What follows a string, or a line, or the beginning of one of them. Returns whether a reply ended with it."""
        if self._crlf:
            if not self._crlf.startswith(part):
                raise ReplyError(f"{part!r} instead of the end of a string")
            self._crlf = self._crlf[len(part) :]
            return not self._crlf and self._value_ended()
        line = self._header + part
        if not part.endswith(b"\n"):
            self._header = self._shortened(line)
            return False
        self._header = b""
        return self._read_header(line)

    def _read_header(self, line: bytes) -> bool:
        """A line that begins a value. Returns whether a reply ended with it."""
        kind = line[0]
        if not line.endswith(_CRLF):
            raise ReplyError(f"{line[-40:]!r} has no end")
        if kind in _ONE_LINE:
            return self._value_ended()
        number = line[1 : -len(_CRLF)]
        if not _LENGTH.fullmatch(number):
            raise ReplyError(f"{line[:40]!r} begins no reply")
        length = int(number)
        if kind in _STRINGS and length >= 0:
            self._skip, self._crlf = length, _CRLF
            return False
        if kind in _AGGREGATES and length >= 0:
            if kind in _ASIDES:
                self._open[-1] += 1  # it counts as a value, and one more comes
            return self._aggregate(length * _AGGREGATES[kind])
        if kind in b"$*":  # RESP2's nulls
            return self._value_ended()
        raise ReplyError(f"{line[:40]!r} begins no reply")

    def _aggregate(self, values: int) -> bool:
        if not values:
            return self._value_ended()
        if len(self._open) > _DEEPEST:
            raise ReplyError(f"a reply is nested more than {_DEEPEST} deep")
        self._open.append(values)
        return False

    def _value_ended(self) -> bool:
        """Returns whether the reply ended with it."""
        still_open = self._open
        while True:
            still_open[-1] -= 1
            if still_open[-1]:
                return False
            if len(still_open) == 1:
                still_open[0] = 1
                return True
            still_open.pop()

    @staticmethod
    def _shortened(line: bytes) -> bytes:
        """What has to be known of the beginning of a line when its end comes."""
        if line[0] in _ONE_LINE:
            return line[:1] + line[1:][-1:]
        if len(line) > _LONGEST_LENGTH:
            raise ReplyError(f"{line[:40]!r} begins no reply")
        return line
