"""How a balancer is declared, configured and found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import attrs
from twisted.plugin import IPlugin
from zope.interface import implementer

from twisted_pipe.interfaces import IUpstreamBalancer, IUpstreamBalancerFactory
from twisted_pipe.plugin.declared import ConfiguredPlugin, DeclaredPlugin
from twisted_pipe.plugin.discovery import PluginKind

__all__ = ["BALANCERS", "BalancerPlugin", "ConfiguredBalancer"]


@implementer(IUpstreamBalancerFactory)
@attrs.frozen
class ConfiguredBalancer(ConfiguredPlugin):
    """What groups build their balancers from."""

    def configure(self, options: Mapping[str, Any]) -> ConfiguredBalancer:
        """The same balancer with C{options} instead of those it has."""
        return cast(BalancerPlugin, self.plugin).configure(options)

    def build(self, servers: Sequence[Any]) -> IUpstreamBalancer:
        return cast(IUpstreamBalancer, self.make(servers))


@implementer(IPlugin, IUpstreamBalancerFactory)
@attrs.frozen
class BalancerPlugin(DeclaredPlugin):
    """A balancer by name, as a drop-in declares it. Its class is built with the servers, a sequence, and its options."""

    noun: ClassVar[str] = "balancer"
    product: ClassVar[Any] = IUpstreamBalancer

    def configure(self, options: Mapping[str, Any]) -> ConfiguredBalancer:
        """
        Take options, and the defaults of the others.

        @raise BadConfiguration: for an option that is unknown, missing or does not parse, and for a class that cannot be
            imported or built.
        """
        loaded = self.load()
        return ConfiguredBalancer(self, loaded, tuple(self.parse(loaded, options)[0].items()))

    def build(self, servers: Sequence[Any]) -> IUpstreamBalancer:
        """One with all defaults."""
        return self.configure({}).build(servers)


BALANCERS = PluginKind(IUpstreamBalancerFactory, BalancerPlugin)
