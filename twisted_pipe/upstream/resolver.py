"""How a resolver is declared, configured and found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
from twisted.plugin import IPlugin
from zope.interface import implementer

from twisted_pipe.interfaces import IUpstreamResolver, IUpstreamResolverFactory
from twisted_pipe.plugin.declared import ConfiguredPlugin, DeclaredPlugin
from twisted_pipe.plugin.discovery import PluginKind
from twisted_pipe.plugin.options import Option, between
from twisted_pipe.units import parse_count, parse_duration
from twisted_pipe.upstream.resolution import Bounds

__all__ = ["RESOLVERS", "ConfiguredResolver", "ResolverPlugin"]

_DEFAULTS = Bounds()
_MOST_SERVERS = 65536
_HELP = {
    "valid": "how long an answer holds, whatever it says itself; 0: as it says",
    "min_valid": "how long an answer holds at least, if it says less",
    "max_valid": "how long an answer holds at most, if it says more",
    "timeout": "how long one look-up may take",
}
_COMMON_OPTIONS = {
    name: Option(parse=parse_duration, default=getattr(_DEFAULTS, name), help=help, unit="seconds")
    for name, help in _HELP.items()
} | {
    "max_servers": Option(
        parse=between(1, _MOST_SERVERS, parse_count),
        default=_DEFAULTS.max_servers,
        help="how many servers a name may stand for; what is more in an answer is left out",
    )
}


@implementer(IUpstreamResolverFactory)
@attrs.frozen
class ConfiguredResolver(ConfiguredPlugin):
    """
    What groups build their resolvers from.

    @ivar bounds: how long answers hold, and how many are taken.
    """

    bounds: Bounds = _DEFAULTS


@implementer(IPlugin, IUpstreamResolverFactory)
@attrs.frozen
class ResolverPlugin(DeclaredPlugin):
    """A resolver by name, as a drop-in declares it. Its class is built with the reactor and its options."""

    noun: ClassVar[str] = "resolver"
    product: ClassVar[Any] = IUpstreamResolver
    common: ClassVar[Mapping[str, Option]] = _COMMON_OPTIONS
    configured: ClassVar[Any] = ConfiguredResolver

    def make(
        self, loaded: type[Any], values: tuple[tuple[str, Any], ...], common: Mapping[str, Any]
    ) -> ConfiguredResolver:
        """With bounds that can be met."""
        return ConfiguredResolver(self, loaded, values, Bounds(**common))

    @property
    def bounds(self) -> Bounds:
        """What they are by default."""
        return _DEFAULTS


RESOLVERS = PluginKind(IUpstreamResolverFactory, ResolverPlugin)
