"""Filters some of whose options can only be judged together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.base import ConfiguredFilter, FilterPlugin
from twisted_pipe.interfaces import FilterContext

__all__ = ["CheckedFilterPlugin"]


@attrs.frozen
class CheckedFilterPlugin(FilterPlugin):
    """
    A L{FilterPlugin} that builds a filter as soon as it is configured, so that what the class refuses is refused then, and not
    when the first connection comes.

    The class raises L{BadConfiguration} with the bare name of the option.
    """

    def configure(self, options: Mapping[str, Any]) -> ConfiguredFilter:
        configured = FilterPlugin.configure(self, options)
        try:
            configured.build(FilterContext())
        except BadConfiguration as error:
            raise BadConfiguration(self._called(error.name), error.value, error.expected) from error
        return configured
