"""The filter."""

from __future__ import annotations

from io import BytesIO

import attrs

from twisted_pipe.filters.base import PipeFilter, option
from twisted_pipe.interfaces import FilterGenerator
from twisted_pipe.units import parse_text

__all__ = ["SampleClass"]


@attrs.define
class SampleClass(PipeFilter):
    """
    Puts a prefix before every line.

    @ivar prefix: what to put there. Default C{"> "}.
    """

    prefix: str = option(parse_text, default="> ", help="what to put before every line")
    _within_line: bool = attrs.field(default=False, init=False)

    def received(self, data: memoryview) -> FilterGenerator:
        prefix = self.prefix.encode()
        # The stream is cut anywhere: the first line may be the rest of one, the last only its beginning.
        for line in BytesIO(data):
            yield line if self._within_line else prefix + line
            self._within_line = not line.endswith(b"\n")
