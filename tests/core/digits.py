"""
A framing for tests, as small as can be: C{b"3abc2de0"} is the message C{b"abcde"}.

A digit, so many bytes, the next digit; C{0} ends the message. What is no digit where one is due is broken.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Digits", "framed"]


class Digits:
    """
    A C{BodyDecoder}.

    @ivar views: how long what it was given was.
    """

    def __init__(self) -> None:
        self.decoded = self.surplus = 0
        self.finished = False
        self.views: list[int] = []
        self._left = 0

    def decode(self, view: memoryview) -> int:
        if view.readonly or not len(view) or self.finished:
            raise AssertionError(f"{len(view)} bytes to decode, {view.readonly=} {self.finished=}")
        self.views.append(len(view))
        to = 0
        for at, byte in enumerate(bytes(view)):
            if self._left:
                view[to] = byte
                to += 1
                self.decoded += 1
                self._left -= 1
            elif not 48 <= byte < 58:
                view[to : at + 1] = b"\xbb" * (at + 1 - to)  # of no use to anybody
                raise ValueError(f"a digit was to come, and not {chr(byte)!r}")
            elif byte == 48:
                self.finished = True
                self.surplus = len(view) - at - 1
                view[to : at + 1] = b"\xbb" * (at + 1 - to)
                break
            else:
                self._left = byte - 48
        return to

    def at_end(self) -> str | None:
        if self._left:
            return f"{self._left} bytes of a piece"
        return None if self.finished else "a digit"


def framed(data: bytes, sizes: Callable[[], int] = lambda: 9) -> bytes:
    """C{data} as a message, in pieces of C{sizes()} bytes, 1 to 9."""
    parts: list[bytes] = []
    at = 0
    while at < len(data):
        piece = data[at : at + sizes()]
        parts += [b"%d" % len(piece), piece]
        at += len(piece)
    return b"".join([*parts, b"0"])
