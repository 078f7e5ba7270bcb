r"""
Bytes that are written as text, on a command line or in a configuration file.

The text stands for its UTF-8 bytes. In it C{\n}, C{\r}, C{\t} and C{\0} stand for a newline, a carriage return, a tab and the
byte 0, C{\xNN} for the byte with these two hexadecimal digits, and C{\\} for a backslash. Any other backslash is a mistake.

The command line's C{NAME:key=value} has escapes of its own, which come first: there a colon is C{\:}, and the backslash that is
C{\\} here has to be C{\\\\}. The others reach this module as they are.
"""

from __future__ import annotations

import re

from twisted_pipe.errors import BadConfiguration

__all__ = ["encode", "parse_bytes"]

_TOKEN = re.compile(rb"\\x[0-9A-Fa-f]{2}|\\.|[^\\]+|\\", re.DOTALL)
_ESCAPES = {rb"\n": b"\n", rb"\r": b"\r", rb"\t": b"\t", rb"\0": b"\0", rb"\\": b"\\"}


def encode(text: str) -> bytes:
    """The bytes of C{text} as it is: UTF-8, and what the command line had that was not UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def parse_bytes(name: str, text: str) -> bytes:
    """
    The bytes that C{text} stands for.

    @param name: the option, for the error.
    @raise BadConfiguration: a backslash begins none of the escapes.
    """
    return b"".join(_meant(name, text, token) for token in _TOKEN.findall(encode(text)))


parse_bytes.kind = "TEXT"  # type: ignore[attr-defined]


def _meant(name: str, text: str, token: bytes) -> bytes:
    if token in _ESCAPES:
        return _ESCAPES[token]
    if not token.startswith(b"\\"):
        return token
    if len(token) == len(rb"\xNN"):
        return bytes.fromhex(token[2:].decode("ascii"))
    raise BadConfiguration(name, text, r"after a backslash comes n, r, t, 0, \ or xNN, two hexadecimal digits")
