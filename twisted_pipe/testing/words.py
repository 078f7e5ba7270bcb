"""How transcripts and failures put things."""

from __future__ import annotations

from collections.abc import Sequence

from twisted_pipe.interfaces import BytesLike

__all__ = ["around", "sized", "tail"]

_SHOWN = 40
_LINES = 40


def sized(data: BytesLike) -> str:
    """C{"5 bytes b'hello'"}; of much, only how it begins."""
    shown = repr(bytes(data[:_SHOWN]))
    return f"{len(data)} bytes {shown}{'…' if len(data) > _SHOWN else ''}"


def around(data: bytes, place: int) -> str:
    """What stands in C{data} at C{place}, with a little of what comes before and after it."""
    start, end = max(place - _SHOWN // 2, 0), place + _SHOWN // 2
    return f"{'…' if start else ''}{data[start:end]!r}{'…' if end < len(data) else ''}"


def tail(lines: Sequence[str]) -> str:
    """The last lines of a transcript."""
    left_out = len(lines) - _LINES
    shown = [f"({left_out} lines before)", *lines[-_LINES:]] if left_out > 0 else lines
    return "".join(f"\n  {line}" for line in shown)
