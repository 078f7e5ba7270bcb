"""How a protocol is declared, configured and found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

import attrs
from twisted.plugin import IPlugin
from zope.interface import implementer

from twisted_pipe.interfaces import IPipeProtocol, IPipeProtocolFactory
from twisted_pipe.plugin.declared import ConfiguredPlugin, DeclaredPlugin
from twisted_pipe.plugin.discovery import PluginKind

__all__ = ["PROTOCOLS", "TCP", "ConfiguredProtocol", "ProtocolPlugin"]


@implementer(IPipeProtocolFactory)
@attrs.frozen
class ConfiguredProtocol(ConfiguredPlugin):
    """What services build their protocols from."""

    def configure(self, options: Mapping[str, Any]) -> ConfiguredProtocol:
        """The same protocol with C{options} instead of those it has."""
        return cast(ProtocolPlugin, self.plugin).configure(options)

    def build(self, context: Any) -> IPipeProtocol:
        return cast(IPipeProtocol, self.make(context))


@implementer(IPlugin, IPipeProtocolFactory)
@attrs.frozen
class ProtocolPlugin(DeclaredPlugin):
    """
    A protocol by name, as a drop-in declares it. Its class is built with a L{twisted_pipe.proxies.context.ProxyContext} and its
    options.
    """

    noun: ClassVar[str] = "protocol"
    product: ClassVar[Any] = IPipeProtocol

    def configure(self, options: Mapping[str, Any]) -> ConfiguredProtocol:
        """
        Take options, and the defaults of the others.

        @raise BadConfiguration: for an option that is unknown, missing or does not parse, and for a class that cannot be
            imported or built.
        """
        loaded = self.load()
        return ConfiguredProtocol(self, loaded, tuple(self.parse(loaded, options)[0].items()))

    def build(self, context: Any) -> IPipeProtocol:
        """One with all defaults."""
        return self.configure({}).build(context)


PROTOCOLS = PluginKind(IPipeProtocolFactory, ProtocolPlugin)
TCP = ProtocolPlugin(
    "tcp",
    "Passes on what client and upstream say, whatever it is.",
    "twisted_pipe.proxies.tcp:TcpProxyFactory",
)
