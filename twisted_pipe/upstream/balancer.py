"""How a balancer is declared, configured and found."""

from __future__ import annotations

from typing import Any, ClassVar

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


@implementer(IPlugin, IUpstreamBalancerFactory)
@attrs.frozen
class BalancerPlugin(DeclaredPlugin):
    """A balancer by name, as a drop-in declares it. Its class is built with the peers, a sequence, and its options."""

    noun: ClassVar[str] = "balancer"
    product: ClassVar[Any] = IUpstreamBalancer
    configured: ClassVar[Any] = ConfiguredBalancer


BALANCERS = PluginKind(IUpstreamBalancerFactory, BalancerPlugin)
