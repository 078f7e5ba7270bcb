"""
Sizes and times as people write them: C{16k}, C{1g}, C{250ms}, C{10m}.

The suffixes are nginx's: k, m, g are powers of 1024; ms, s, m, h, d are times, a bare number is seconds.
"""

from __future__ import annotations

import re
from typing import Any

from twisted_pipe.errors import BadConfiguration

__all__ = [
    "format_address",
    "format_duration",
    "format_size",
    "in_one_line",
    "parse_count",
    "parse_duration",
    "parse_flag",
    "parse_size",
    "parse_text",
]

_SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_TIMES = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d{1,18})([kmg]?)b?", re.ASCII | re.IGNORECASE)
_TIME = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(ms|[smhd])?", re.ASCII | re.IGNORECASE)


def parse_size(name: str, text: str) -> int:
    """
    Bytes in C{text}: C{"0"}, C{"512"}, C{"16k"}, C{"1g"}.

    @param name: the option, for the error.
    @raise BadConfiguration: when it is not such a size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise BadConfiguration(name, text, "a size: a whole number of bytes, or with k, m or g (16k, 1g)")
    return int(match[1]) * _SIZES[match[2].lower()]


def parse_duration(name: str, text: str) -> float:
    """
    Seconds in C{text}: C{"60"}, C{"250ms"}, C{"1.5s"}, C{"10m"}, C{"1h"}.

    @param name: the option, for the error.
    @raise BadConfiguration: when it is not such a time.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise BadConfiguration(name, text, "a time: a number of seconds, or with ms, s, m, h or d (250ms, 10m)")
    return float(match[1]) * _TIMES[(match[2] or "").lower()]


def parse_count(name: str, text: str) -> int:
    """A whole number that is not negative; the same errors as L{parse_size}."""
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise BadConfiguration(name, text, "a whole number")
    return int(text)


def parse_flag(name: str, text: str) -> bool:
    """C{"on"} or C{"off"}; the same errors as L{parse_size}."""
    if text not in ("on", "off"):
        raise BadConfiguration(name, text, "must be on or off")
    return text == "on"


def parse_text(name: str, text: str) -> str:
    """Any text that is not empty; the same errors as L{parse_size}."""
    if not text:
        raise BadConfiguration(name, text, "must not be empty")
    return text


def format_size(count: int) -> str:
    """C{count} bytes for people: C{"512 B"}, C{"64.0 KiB"}, C{"1.5 GiB"}."""
    if count < 1024:
        return f"{count} B"
    value = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        if round(value, 1) < 1024:
            return f"{value:.1f} {unit}"
    return f"{value / 1024:.1f} TiB"


def format_duration(seconds: float) -> str:
    """Seconds for people: C{"0.250 s"}, C{"12.0 s"}, C{"3 m 05 s"}."""
    if seconds < 10:
        return f"{seconds:.3f} s"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} m {int(seconds) % 60:02d} s"


def format_address(address: Any) -> str:
    """An C{IAddress} for people: C{"10.0.0.7:53422"}, C{"[::1]:80"}, C{"unix:/run/app.sock"}, C{"unix"} for one without a name."""
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is None:
        name = getattr(address, "name", None)
        # anybody may bind a socket to any path, and a PROXY header may name one
        return f"unix:{in_one_line(name.decode(errors='replace'))}" if isinstance(name, bytes) and name else "unix"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def in_one_line(text: str) -> str:
    """Text of somebody else's, for logs and terminals: what is not printable as C{\\xNN}."""
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in text)
