# mask_long.py
import re

import attrs

from twisted_pipe.filters.base import PipeFilter, at_least, option
from twisted_pipe.units import parse_count

DIGITS = b"0123456789"
DIGITS_AT_THE_END = re.compile(rb"[0-9]*\Z")


@attrs.define
class MaskLong(PipeFilter):
    """
    Puts stars in the place of numbers of so many digits or more.

    @ivar least: digits of the shortest number that is masked. Default 12.
    """

    least: int = option(at_least(1, parse_count), default=12, help="digits of the shortest number that is masked")
    _kept: bytes = attrs.field(default=b"", init=False)  # digits at the end, too few so far
    _inside: bool = attrs.field(default=False, init=False)  # the last that was put out was a star

    def received(self, data):
        text = self._kept + bytes(data)
        end = DIGITS_AT_THE_END.search(text).start()
        if end:
            yield self._masked(text[:end])
            self._inside = False
        self._kept = text[end:]
        if self._inside or len(self._kept) >= self.least:
            yield b"*" * len(self._kept)
            self._inside, self._kept = True, b""

    def ended(self):
        yield self._kept

    def _masked(self, text):
        rest = text.lstrip(DIGITS) if self._inside else text
        stars = b"*" * (len(text) - len(rest))
        return stars + re.sub(rb"[0-9]{%d,}" % self.least, lambda number: b"*" * len(number[0]), rest)
