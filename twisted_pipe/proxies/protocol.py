"""How a protocol is declared, configured and found."""

from __future__ import annotations

from typing import Any, ClassVar

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


@implementer(IPlugin, IPipeProtocolFactory)
@attrs.frozen
class ProtocolPlugin(DeclaredPlugin):
    """
    A protocol by name, as a drop-in declares it. Its class is built with a L{twisted_pipe.proxies.context.ProxyContext} and its
    options.
    """

    noun: ClassVar[str] = "protocol"
    product: ClassVar[Any] = IPipeProtocol
    configured: ClassVar[Any] = ConfiguredProtocol


PROTOCOLS = PluginKind(IPipeProtocolFactory, ProtocolPlugin)
TCP = ProtocolPlugin(
    "tcp",
    "Passes on what client and upstream say, whatever it is.",
    "twisted_pipe.proxies.tcp:TcpProxyFactory",
)
