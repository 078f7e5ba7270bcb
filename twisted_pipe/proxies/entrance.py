"""
What happens between accepting a connection and the proxy: the PROXY header, then TLS.

An L{Entrance} stands before a proxy at one listener; a proxy may have several, as many as listeners that differ. A connection that
it does not let in is closed, with one line in the log that says why. The steps are the same on bare sockets (L{BareArrival}) and
on Twisted transports (L{TransportArrival}).
"""

from __future__ import annotations

import socket
from typing import Any

import attrs
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from twisted_pipe.net.port import ISocketFactory
from twisted_pipe.proxies.arrivals import NOT_TRUSTED, BareArrival, TransportArrival
from twisted_pipe.proxies.trusted_proxies import ProxyProtocolIn
from twisted_pipe.tls.server import ServerTls
from twisted_pipe.units import format_address

__all__ = ["Entrance", "EntranceStatistics"]

_log = Logger()


@attrs.frozen(kw_only=True)
class EntranceStatistics:
    """
    @ivar arriving: connections that are here now.
    @ivar refused: those that were not let in since the start.
    """

    arriving: int
    refused: int


@implementer(ISocketFactory)
class Entrance(ServerFactory):
    """
    Listen with it instead of with the proxy.

    @ivar factory: the proxy: an C{IProtocolFactory}; with C{wire_accepted} if it takes bare sockets.
    @ivar proxy_protocol: whether connections begin with a PROXY header, and from whom one is believed; None for no header.
    @ivar tls: whether they speak TLS, and how; None for plain ones.
    @ivar handshake_timeout: seconds for the handshake (nginx stream C{ssl_handshake_timeout}); 0 for ever.
    @ivar arriving: who is here.
    """

    noisy = False

    def __init__(
        self,
        factory: Any,
        clock: Any,
        *,
        proxy_protocol: ProxyProtocolIn | None = None,
        tls: ServerTls | None = None,
        handshake_timeout: float = 60.0,
    ) -> None:
        self.factory = factory
        self.clock = clock
        self.proxy_protocol = proxy_protocol
        self.tls = tls
        self.handshake_timeout = handshake_timeout
        self.arriving: set[BareArrival | TransportArrival] = set()
        self._refused = 0
        self._tls_factory: Any = None
        if tls is not None:
            self._tls_factory = TLSMemoryBIOFactory(tls, False, ServerFactory(), clock)  # only makes protocols

    def __repr__(self) -> str:
        steps = [name for name, step in (("PROXY", self.proxy_protocol), ("TLS", self.tls)) if step is not None]
        return f"<Entrance {' '.join(steps)} to {self.factory!r}>"

    @property
    def takes_sockets(self) -> bool:
        """Whether it takes bare sockets: as the proxy does."""
        return ISocketFactory.providedBy(self.factory) and bool(self.factory.takes_sockets)

    def socket_accepted(self, sock: socket.SocketType, peer: bytes) -> None:
        """A client of one of the C{epollet} reactor's own listeners."""
        BareArrival(self, sock, peer).begin()

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """A client of any other listener."""
        if self.proxy_protocol is not None and not self.proxy_protocol.trusts(addr):
            self.refuse(addr, NOT_TRUSTED)
            return None
        return TransportArrival(self, addr).first_protocol()

    def tls_protocol(self, inner: Protocol) -> Protocol:
        """What speaks TLS before C{inner} on a transport."""
        return self._tls_factory.protocol(self._tls_factory, inner)  # type: ignore[no-any-return]

    def refuse(self, address: Any, why: str) -> None:
        """A connection from C{address} is not let in."""
        self._refused += 1
        _log.info("client {client}: refused: {why}", client=format_address(address), why=why)

    def statistics(self) -> EntranceStatistics:
        """Counts."""
        return EntranceStatistics(arriving=len(self.arriving), refused=self._refused)

    def shutdown(self) -> None:
        """Close all who have not got further."""
        for arrival in list(self.arriving):
            arrival.abort()
