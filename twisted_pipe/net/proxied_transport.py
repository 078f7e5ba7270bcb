"""
A transport whose ends are those that a PROXY header has named: for connections that are no bare sockets.

A L{twisted_pipe.net.bare.BareSocket} knows its header itself.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from zope.interface import directlyProvides, providedBy

from twisted_pipe.preface.addresses import Address, InetAddress
from twisted_pipe.preface.proxy_header import ProxyHeader

__all__ = ["ProxiedTransport", "twisted_address"]


class ProxiedTransport:
    """
    The transport below, but for who is at its ends.

    @ivar proxied: the header.
    """

    def __init__(self, transport: Any, header: ProxyHeader) -> None:
        self._transport = transport
        self.proxied = header
        directlyProvides(self, providedBy(transport))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def __repr__(self) -> str:
        return f"<ProxiedTransport {self.getPeer()} by {self._transport!r}>"

    def getPeer(self) -> Any:
        """The client, if the header names it."""
        source = self.proxied.source
        return self._transport.getPeer() if source is None else twisted_address(source)

    def getDirectPeer(self) -> Any:
        """The address of the other end of this connection, whatever the header says."""
        return self._transport.getPeer()

    def getHost(self) -> Any:
        """What the client has connected to, if the header names it."""
        destination = self.proxied.destination
        return self._transport.getHost() if destination is None else twisted_address(destination)


def twisted_address(address: Address) -> Any:
    """An address of a header as an C{IAddress}."""
    if isinstance(address, InetAddress):
        kind = IPv4Address if address.ip.version == 4 else IPv6Address
        return kind("TCP", address.host, address.port)
    return UNIXAddress(address.path)
