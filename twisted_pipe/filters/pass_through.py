"""The filter that does nothing, so that what it costs is what any filter costs at least."""

from __future__ import annotations

from twisted_pipe.filters.base import PipeFilter
from twisted_pipe.interfaces import FilterGenerator

__all__ = ["PassThrough"]


class PassThrough(PipeFilter):
    """Hands every chunk on untouched, from a generator, as most filters do."""

    def received(self, data: memoryview) -> FilterGenerator:
        yield data
