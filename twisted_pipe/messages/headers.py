"""
The header fields of a message, as its filters see and change them.

The end-to-end ones, in order, byte for byte as they came. What frames the body or concerns one connection (RFC 9110, section
7.6.1) is the proxy's: it is not here and cannot be set. A name or a value that would break a line, and with it the message, is
refused where it is given (RFC 9110, sections 5.1 and 5.5), so a filter can put in what a client has sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Union

__all__ = ["FRAMING", "FieldText", "Fields", "Headers", "alike", "field_line", "without_alike"]

#: A name or a value; text is sent as UTF-8.
FieldText = Union[bytes, str]
#: Names and values, of which one name may be there several times.
Fields = Union[Mapping[bytes, FieldText], Mapping[str, FieldText], Iterable[tuple[FieldText, FieldText]]]

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
#: Names of what frames a body, lower case: two of them on the wire could be two framings.
FRAMING = frozenset({b"content-length", b"transfer-encoding", b"expect", b"trailer"})
_CONNECTION = frozenset({b"connection", b"upgrade", b"keep-alive", b"proxy-connection", b"te", b"http2-settings"})

#: Lower case, and a dash for a low line.
_ALIKE = bytes(ord("-") if byte == ord("_") else byte for byte in bytes(range(256)).lower())


def field_line(name: FieldText, value: FieldText) -> bytes:
    """
    C{name: value}, without the white space around C{value}.

    @raise ValueError: the name is no token, the value has a control character, or the field is the proxy's own.
    """
    raw = _name(name)
    text = _bytes(value).strip(b" \t")
    if not _VALUE.fullmatch(text):
        raise ValueError(f"the value of {raw.decode()} has a control character: {text[:60]!r}")
    return b"%b: %b" % (raw, text)


def alike(name: bytes) -> bytes:
    """
    What all names have in common that a server may take for C{name}: one that hands fields on as variables has C{HTTP_X_USER} for
    C{X-User} and for C{X_User} (CGI, RFC 3875, section 4.1.18; so WSGI, FastCGI, PHP).
    """
    return name.translate(_ALIKE)


def without_alike(lines: list[bytes], names: frozenset[bytes]) -> list[bytes]:
    """C{lines} but for those whose names are L{alike} one of C{names}, which are what L{alike} makes of them."""
    return [line for line in lines if line[: line.find(b":")].translate(_ALIKE) not in names]


@lru_cache(maxsize=512)
def _all_alike(name: FieldText) -> frozenset[bytes]:
    """For L{without_alike}. Raises as L{field_line}."""
    _name(alike(_bytes(name)))
    return frozenset({alike(_bytes(name))})


@lru_cache(maxsize=512)
def _start(name: FieldText) -> bytes:
    """What lines of that field begin with, in lower case."""
    return _bytes(name).lower() + b":"


@lru_cache(maxsize=512)
def _name(name: FieldText) -> bytes:
    raw = _bytes(name)
    if not _NAME.fullmatch(raw):
        raise ValueError(f"a field's name is letters, digits and some signs, without space: {raw[:60]!r}")
    lower = raw.lower()
    if lower in FRAMING:
        raise ValueError(f"{raw.decode()} is the proxy's, which frames the body")
    if lower in _CONNECTION:
        raise ValueError(f"{raw.decode()} is the proxy's: it concerns one connection only")
    return raw


def _bytes(text: FieldText) -> bytes:
    if isinstance(text, str):
        return text.encode()
    if isinstance(text, bytes):
        return text
    raise TypeError(f"must be bytes or text: {text!r:.60}")


class Headers:
    """
    Fields in order. Names are given in any case, as bytes or text; values that are read are bytes.

    @ivar lines: C{name: value} each. A new list with each change: who has kept one has kept what was.
    @ivar frozen: why nothing can be changed any more; empty as long as it can.
    """

    __slots__ = ("frozen", "lines")

    def __init__(self, lines: list[bytes]) -> None:
        self.lines = lines
        self.frozen = ""

    def __repr__(self) -> str:
        return f"<Headers {self.lines!r}>"

    def __len__(self) -> int:
        return len(self.lines)

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        """Names, as they are spelt, and values."""
        for line in self.lines:
            name, _, value = line.partition(b":")
            yield name, value.strip(b" \t")

    def __contains__(self, name: FieldText) -> bool:
        return self.get(name) is not None

    def get(self, name: FieldText) -> bytes | None:
        """The value of the first field C{name}; None if there is none."""
        start = _start(name)
        size = len(start)
        for line in self.lines:
            if line[:size].lower() == start:
                return line[size:].strip(b" \t")
        return None

    def get_all(self, name: FieldText) -> list[bytes]:
        """The values of all fields C{name}, in order."""
        start = _start(name)
        size = len(start)
        return [line[size:].strip(b" \t") for line in self.lines if line[:size].lower() == start]

    def set(self, name: FieldText, value: FieldText) -> None:
        """
        One field C{name}, where the first of that name was, or last.

        @raise ValueError: see L{field_line}; or it is too late.
        """
        line = field_line(name, value)
        start = _start(name)
        size = len(start)
        lines = self.lines
        places = [place for place, each in enumerate(lines) if each[:size].lower() == start]
        if places:
            kept = [each for each in lines if each[:size].lower() != start]
            kept.insert(places[0], line)
        else:
            kept = [*lines, line]
        self._change(kept)

    def add(self, name: FieldText, value: FieldText) -> None:
        """One more field C{name}, last. Raises as L{set}."""
        self._change([*self.lines, field_line(name, value)])

    def remove(self, name: FieldText) -> None:
        """No field C{name}. Raises as L{set}."""
        _name(name)
        start = _start(name)
        size = len(start)
        self._change([each for each in self.lines if each[:size].lower() != start])

    def remove_alike(self, name: FieldText) -> None:
        """
        No field that a server may take for C{name}: C{X_User} for C{X-User}, in any case. For fields of a request by which a
        server is told what a client must not say itself. Raises as L{set}.
        """
        self._change(without_alike(self.lines, _all_alike(name)))

    def vary(self, name: FieldText) -> None:
        """Say in C{Vary} that the response depends on the request's field C{name} (RFC 9110, section 12.5.5)."""
        named = [part.strip(b" \t").lower() for value in self.get_all(b"vary") for part in value.split(b",")]
        if b"*" not in named and _bytes(name).lower() not in named:
            self.add(b"Vary", name)

    def _change(self, lines: list[bytes]) -> None:
        if self.frozen:
            raise ValueError(self.frozen)
        self.lines = lines
