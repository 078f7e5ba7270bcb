"""A preface for tests: a digit, and so many bytes."""

from __future__ import annotations

import attrs

from twisted_pipe.errors import BadPreface


@attrs.frozen
class Counted:
    """
    @ivar text: what it says.
    @ivar taken: its bytes.
    """

    text: bytes
    taken: int


@attrs.frozen
class CountedParser:
    """
    @ivar most: as every parser's.
    @ivar takes: whether its bytes are taken from the stream.
    """

    most: int = 8
    takes: bool = True

    def parse(self, seen: bytes) -> Counted | None:
        if not seen[:1].isdigit():
            raise BadPreface("it begins with no digit")
        end = 1 + int(seen[:1])
        if len(seen) < end:
            return None
        return Counted(seen[1:end], end if self.takes else 0)
