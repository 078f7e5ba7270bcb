"""What filters take as text beside L{twisted_pipe.plugin.escapes}."""

from __future__ import annotations

import re

import attrs

from twisted_pipe.plugin.escapes import encode, parse_bytes

__all__ = ["encode", "parse_bytes", "parse_pattern_replacement", "parse_possibly_empty"]

_HEX = re.compile(rb"\\(x[0-9A-Fa-f]{2}|.)", re.DOTALL)


def parse_pattern_replacement(text: str) -> bytes:
    r"""
    The template that Python's C{re} takes as replacement; the only escape that it does not know itself is C{\xNN}.
    """
    return _HEX.sub(_for_re, encode(text))


def _for_re(match: re.Match[bytes]) -> bytes:
    escape = match[1]
    if len(escape) == 1:
        return match[0]
    return bytes.fromhex(escape[1:].decode("ascii")).replace(b"\\", rb"\\")


@attrs.frozen
class _PossiblyEmpty:
    kind = "TEXT"

    def __call__(self, name: str, text: str) -> str:
        return text


#: Any text, none included: a parse function for C{option}.
parse_possibly_empty = _PossiblyEmpty()
