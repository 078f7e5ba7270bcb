"""
The framing of an upstream's message, seen by the pipe (nginx C{input_filter}).

What is received is not always the stream: in the chunked coding sizes stand between its bytes, and the message tells its own end.
A decoder takes that away in place, in the memory that was just received into and before anybody else has seen it. So nothing is
copied twice, the end of the message is known as soon as it has come, and chunks of a single byte are packed like any other bytes.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["BodyDecoder"]


class BodyDecoder(Protocol):
    """
    Of one message. It keeps no view of what it was given.

    @ivar decoded: bytes of the body so far.
    @ivar surplus: how many bytes of the last view came behind the end of the message; they are its last ones, unchanged.
    """

    @property
    def decoded(self) -> int: ...

    @property
    def surplus(self) -> int: ...

    @property
    def finished(self) -> bool:
        """Whether the message has ended, within what was decoded."""

    def decode(self, view: memoryview) -> int:
        """
        Move the bytes of the body to the start of C{view}.

        @param view: what was received, 1 byte or more, writable.
        @return: how many they are.
        @raise ValueError: the framing is broken; the text says how. The bytes before the fault are in their place, and counted in
            C{decoded}.
        """

    def at_end(self) -> str | None:
        """What is missing if the stream ends now (C{"the rest of a chunk"}), None if nothing is."""
