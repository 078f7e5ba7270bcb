"""The filters that are installed."""

from __future__ import annotations

from typing import cast

from twisted_pipe.filters.base import FilterPlugin
from twisted_pipe.interfaces import IPipeFilterFactory
from twisted_pipe.plugin.discovery import PluginKind

__all__ = ["FILTERS", "all_filters", "find_filter", "parse_filter_spec"]

FILTERS = PluginKind(IPipeFilterFactory, FilterPlugin)


def all_filters() -> list[IPipeFilterFactory]:
    """L{PluginKind.all} of them."""
    return FILTERS.all()


def find_filter(name: str) -> IPipeFilterFactory:
    """L{PluginKind.find} among them."""
    return cast(IPipeFilterFactory, FILTERS.find(name))


def parse_filter_spec(text: str) -> IPipeFilterFactory:
    """L{PluginKind.parse}: C{NAME[:key=value...]}."""
    return cast(IPipeFilterFactory, FILTERS.parse(text))
