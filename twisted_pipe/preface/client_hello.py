"""
What a TLS client says first, in the clear: whom it wants to talk to, and what it can speak.

The message C{ClientHello} (RFC 8446, section 4.1.2; of TLS 1.2, RFC 5246, section 7.4.1.2) comes in one record or in several (RFC
8446, section 5.1). Of its extensions server_name (RFC 6066, section 3), ALPN (RFC 7301, section 3.1) and supported_versions (RFC
8446, section 4.2.1) are read. Values that stand there only so that servers get used to unknown ones (GREASE, RFC 8701) are left
out.

It says nothing of a client that hides its hello (ECH) but the name in front.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from struct import unpack
from typing import Any

import attrs

from twisted_pipe.errors import BadConfiguration, BadPreface

__all__ = ["ClientHello", "ClientHelloParser", "read_client_hello"]

_HANDSHAKE = 22
_CLIENT_HELLO = 1
_RECORD_HEAD, _MESSAGE_HEAD = 5, 4
_LONGEST_RECORD = 1 << 14
# A record for each byte would make whoever waits for the rest walk through thousands for each byte that comes.
_MOST_RECORDS = 64
_LONGEST_HEADS = _MOST_RECORDS * _RECORD_HEAD + _MESSAGE_HEAD

_SERVER_NAME, _ALPN, _SUPPORTED_VERSIONS = 0, 16, 43
_HOST_NAME = 0
_HOST = re.compile(rb"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?")
_LONGEST_HOST = 255
_VERSION_NAMES = {0x0300: "SSLv3", 0x0301: "TLSv1", 0x0302: "TLSv1.1", 0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}
_SHOWN = 16
_TOO_LONG = "a length within its ClientHello goes beyond what it is in"


@attrs.frozen
class ClientHello:
    """
    @ivar server_name: in lower case, without a dot at its end; empty if none was said.
    @ivar alpn: the protocols it can speak, as C{(b"h2", b"http/1.1")}, its favourite first; empty if none was said.
    @ivar versions: of TLS, as C{(0x0304, 0x0303)}, its favourite first.
    """

    server_name: str = ""
    alpn: tuple[bytes, ...] = ()
    versions: tuple[int, ...] = ()

    @property
    def taken(self) -> int:
        """Nothing: it is part of the stream."""
        return 0

    @property
    def version(self) -> str:
        """The name of the newest version it can speak, as C{"TLSv1.3"}."""
        newest = max(self.versions, default=0)
        return _VERSION_NAMES.get(newest, f"{newest:#06x}")


@attrs.frozen
class ClientHelloParser:
    """
    @ivar longest: bytes a C{ClientHello} may have, the heads of its records not counted; 512 at least. Default 16 KiB (nginx
        C{preread_buffer_size}).
    """

    longest: int = attrs.field(default=1 << 14)

    @longest.validator
    def _check(self, _: Any, longest: int) -> None:
        if longest < 512:
            raise BadConfiguration("longest", longest, "a ClientHello has hardly less than 512 bytes")

    @property
    def most(self) -> int:
        """See L{twisted_pipe.preface.parser.PrefaceParser}."""
        return self.longest + _LONGEST_HEADS

    def parse(self, seen: bytes) -> ClientHello | None:
        """See L{twisted_pipe.preface.parser.PrefaceParser}."""
        message = bytearray()
        for fragment in _fragments(seen):
            message += fragment
            if len(message) < _MESSAGE_HEAD:
                continue
            length = _message_length(message)
            if length > self.longest:
                raise BadPreface(f"its ClientHello has {length} bytes, at most {self.longest} are taken")
            if len(message) >= _MESSAGE_HEAD + length:
                return read_client_hello(bytes(message[_MESSAGE_HEAD : _MESSAGE_HEAD + length]))
        return None


def _fragments(seen: bytes) -> Iterator[bytes]:
    """
    What the handshake records at the beginning of C{seen} hold, the last as far as it is there.

    @raise BadPreface: they are none.
    """
    at = count = 0
    while at < len(seen):
        if seen[at] != _HANDSHAKE or seen[at + 1 : at + 2] not in (b"\3", b""):
            where = "no TLS: it begins" if not at else "no TLS handshake: its next record begins"
            raise BadPreface(f"{where} with {seen[at : at + _SHOWN]!r}")
        head = seen[at : at + _RECORD_HEAD]
        if len(head) < _RECORD_HEAD:
            return
        length = int.from_bytes(head[3:], "big")
        if not 0 < length <= _LONGEST_RECORD:
            raise BadPreface(f"no TLS: a record of {length} bytes, there are 1 to {_LONGEST_RECORD}")
        count += 1
        if count > _MOST_RECORDS:
            raise BadPreface(f"its ClientHello is cut into more than {_MOST_RECORDS} records")
        at += _RECORD_HEAD
        yield seen[at : at + length]
        at += length


def _message_length(message: bytearray) -> int:
    if message[0] != _CLIENT_HELLO:
        raise BadPreface(f"its handshake begins with a message of type {message[0]}, not with a ClientHello (1)")
    return int.from_bytes(message[1:_MESSAGE_HEAD], "big")


class _Vector:
    """What is left of a piece of a message."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        """The next C{count} bytes."""
        end = self._at + count
        if end > len(self._data):
            raise BadPreface(_TOO_LONG)
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def number(self, size: int) -> int:
        """The next number, of C{size} bytes."""
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> _Vector:
        """The next vector, whose length has C{size} bytes."""
        return _Vector(self.opaque(size))

    def opaque(self, size: int) -> bytes:
        """As L{vector}, its bytes."""
        return self.take(self.number(size))


def read_client_hello(body: bytes) -> ClientHello:
    """
    Understand a C{ClientHello}.

    @param body: without the message's type and length.
    @raise BadPreface: it is none.
    """
    hello = _Vector(body)
    legacy_version = hello.number(2)
    hello.take(32)  # random
    hello.opaque(1)  # session id
    hello.opaque(2)  # cipher suites
    hello.opaque(1)  # compression methods
    extensions = _extensions(hello.opaque(2)) if hello else {}
    if hello:
        raise BadPreface("its ClientHello has bytes behind its extensions")
    return ClientHello(
        _server_name(extensions.get(_SERVER_NAME)),
        _protocols(extensions.get(_ALPN)),
        _versions(extensions.get(_SUPPORTED_VERSIONS)) or (legacy_version,),
    )


def _extensions(data: bytes) -> dict[int, bytes]:
    """All of them, by number. There are a dozen or two, so this is done without a L{_Vector}."""
    found: dict[int, bytes] = {}
    at, end = 0, len(data)
    while at < end:
        value = at + 4
        if value > end:
            raise BadPreface(_TOO_LONG)
        kind, length = unpack("!HH", data[at:value])
        at = value + length
        if at > end:
            raise BadPreface(_TOO_LONG)
        if kind in found:
            raise BadPreface(f"its ClientHello has the extension {kind} twice")
        found[kind] = data[value:at]
    return found


def _server_name(extension: bytes | None) -> str:
    if extension is None:
        return ""
    name = None
    for names in _only_vector(extension, 2, "server_name"):
        kind, value = names.number(1), names.opaque(2)
        if kind == _HOST_NAME:
            if name is not None:
                raise BadPreface("its ClientHello has two host names")
            name = value
    if name is None:
        return ""
    if len(name) > _LONGEST_HOST or not _HOST.fullmatch(name):
        raise BadPreface(f"{name[:_LONGEST_HOST]!r} is no host name")
    return name.decode("ascii").lower().removesuffix(".")


def _protocols(extension: bytes | None) -> tuple[bytes, ...]:
    if extension is None:
        return ()
    names = [names.opaque(1) for names in _only_vector(extension, 2, "ALPN")]
    return tuple(name for name in names if not (len(name) == 2 and _is_grease(int.from_bytes(name, "big"))))


def _versions(extension: bytes | None) -> tuple[int, ...]:
    if extension is None:
        return ()
    versions = [versions.number(2) for versions in _only_vector(extension, 1, "supported_versions")]
    return tuple(version for version in versions if not _is_grease(version))


def _only_vector(extension: bytes, size: int, name: str) -> Iterator[_Vector]:
    """The one vector that an extension is, as often as there is something left in it."""
    outer = _Vector(extension)
    inner = outer.vector(size)
    if outer or not inner:
        raise BadPreface(f"its extension {name} is {'empty' if not inner else 'longer than its list'}")
    while inner:
        yield inner


def _is_grease(value: int) -> bool:
    """0x0A0A, 0x1A1A … 0xFAFA."""
    return value & 0x0F0F == 0x0A0A and value >> 8 == value & 0xFF
