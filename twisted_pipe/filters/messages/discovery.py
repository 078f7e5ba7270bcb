"""The message filters that are installed."""

from __future__ import annotations

from twisted_pipe.filters.messages.base import MessageFilterPlugin
from twisted_pipe.interfaces import IMessageFilterFactory
from twisted_pipe.plugin.discovery import PluginKind

__all__ = ["MESSAGE_FILTERS"]

MESSAGE_FILTERS = PluginKind(IMessageFilterFactory, MessageFilterPlugin)
