"""The example: a whole filter in one method."""

from __future__ import annotations

from twisted_pipe.filters.base import PipeFilter
from twisted_pipe.interfaces import FilterOutput

__all__ = ["Upper"]


class Upper(PipeFilter):
    """Upper-cases ASCII letters; every other byte passes as it is."""

    def received(self, data: memoryview) -> FilterOutput:
        return (bytes(data).upper(),)
