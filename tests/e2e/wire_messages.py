"""HTTP/1 messages as they were on a wire, brought to what two proxies have to agree on."""

from __future__ import annotations

import gzip
import re

import attrs

__all__ = ["ORIGIN", "Message", "alike", "read_message"]

#: What is not compared: the proxies' own names and clocks, and how the connection is spoken of.
_OWN = (b"server:", b"date:", b"connection:", b"keep-alive:")
_FRAMING = (b"content-length:", b"transfer-encoding:")
#: Nor are the fields of which pages may have one or another.
_OF_PAGES = (b"content-type:", b"allow:")
#: What the server behind both proxies calls itself in all of its responses.
ORIGIN = b"it"


@attrs.frozen
class Message:
    """
    @ivar line: the first one.
    @ivar fields: in lower case and in order of their names, but for those of the framing.
    @ivar body: as it is meant; empty if it broke off.
    @ivar whole: whether it did not.
    @ivar by: C{Server}.
    """

    line: bytes
    fields: tuple[bytes, ...]
    body: bytes
    whole: bool = True
    by: bytes = attrs.field(default=b"", eq=False)

    @property
    def status(self) -> int:
        return int(self.line.split()[1])


def read_message(data: bytes, bodiless: bool, request: bool = False) -> tuple[Message, bytes]:
    """The first message of C{data}, and what is behind it."""
    if not (request or data.startswith(b"HTTP/1.")):
        return Message(b"", (), data, by=ORIGIN), b""  # as nginx passes on what it takes for HTTP/0.9
    head, end, rest = data.partition(b"\r\n\r\n")
    assert end, data
    line, *fields = head.split(b"\r\n")
    pairs = [(name.lower() + b":", value.strip()) for name, _, value in (each.partition(b":") for each in fields)]
    kept = tuple(sorted(name + value for name, value in pairs if name not in (*_OWN, *_FRAMING)))
    framing = dict(pair for pair in pairs if pair[0] in _FRAMING)
    status = b"" if request else line.split()[1]
    whole, body = True, b""
    if bodiless or status[:1] == b"1" or status in (b"204", b"304"):
        pass
    elif b"transfer-encoding:" in framing:
        body, rest, whole = _dechunked(rest)
    elif b"content-length:" in framing or request:
        length = int(framing.get(b"content-length:", b"0"))
        whole = len(rest) >= length
        body, rest = rest[:length], rest[length:]
    else:
        body, rest = rest, b""
    return Message(line.strip(), kept, body if whole else b"", whole, dict(pairs).get(b"server:", b"")), rest


def _dechunked(data: bytes) -> tuple[bytes, bytes, bool]:
    """A body, what is behind it, and whether its last chunk came."""
    body = b""
    while found := re.match(rb"([0-9a-fA-F]+)[^\r\n]*\r\n", data):
        size, data = int(found[1], 16), data[found.end() :]
        if not size:
            end = re.match(rb"(?:[^\r\n]+\r\n)*\r\n", data)
            return (body, data[end.end() :], True) if end else (body, b"", False)
        body, data = body + data[:size], data[size + 2 :]
    return body, b"", False


def alike(message: Message) -> Message:
    """Without what two proxies say differently of the same: the look of their pages, and of compressed bytes."""
    if message.by != ORIGIN:
        kept = tuple(each for each in message.fields if not each.startswith(_OF_PAGES))
        body = b"a page" if message.body.rstrip().endswith(b"</html>") else message.body
        return Message(b"HTTP/1.1 %d" % message.status, kept, body)
    if b"content-encoding:gzip" in message.fields and message.body:
        return attrs.evolve(message, body=gzip.decompress(message.body))
    return message
