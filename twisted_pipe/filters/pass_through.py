"""The filter that does nothing, so that what it costs is what any filter costs at least."""

from __future__ import annotations

from typing import ClassVar

from twisted_pipe.filters.base import PipeFilter
from twisted_pipe.interfaces import FilterGenerator

__all__ = ["PassThrough"]


class PassThrough(PipeFilter):
    """Hands every chunk on untouched, from a generator, as most filters do."""

    any_coding: ClassVar[bool] = True
    keeps_bytes: ClassVar[bool] = True

    def received(self, data: memoryview) -> FilterGenerator:
        yield data
