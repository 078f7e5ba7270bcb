"""
One connection at an L{Entrance<twisted_pipe.proxies.entrance.Entrance>}: on a bare socket, and on a Twisted transport.

Both go the same way: is its PROXY header to be believed, and what does it say; the TLS handshake; then the proxy has it.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_pipe.errors import PipeError, Side, TimedOut
from twisted_pipe.net.bare import BareSocket
from twisted_pipe.net.closing import abort
from twisted_pipe.net.deadline import Deadline
from twisted_pipe.net.preface_protocol import PrefaceProtocol
from twisted_pipe.net.preface_reader import PrefaceReader
from twisted_pipe.net.proxied_transport import ProxiedTransport
from twisted_pipe.net.tls_socket import TlsSocket
from twisted_pipe.preface.proxy_header import ProxyHeader
from twisted_pipe.tls.problems import explain

if TYPE_CHECKING:
    from twisted_pipe.proxies.entrance import Entrance

__all__ = ["NOT_TRUSTED", "BareArrival", "TransportArrival"]

NOT_TRUSTED = "PROXY protocol: it is none of the trusted proxies"


class BareArrival:
    """On a bare socket of the C{epollet} reactor."""

    __slots__ = ("_deadline", "_entrance", "_reader", "bare")

    def __init__(self, entrance: Entrance, sock: socket.SocketType, peer: bytes) -> None:
        kind = BareSocket if entrance.tls is None else TlsSocket
        self._entrance = entrance
        self._reader: PrefaceReader | None = None
        self._deadline: Deadline | None = None
        self.bare = kind(entrance.clock, sock, True, peer)
        entrance.arriving.add(self)

    def __repr__(self) -> str:
        return f"<BareArrival {self.bare!r}>"

    def begin(self) -> None:
        """The first step; the others come with events."""
        settings, bare = self._entrance.proxy_protocol, self.bare
        if settings is None:
            self._secure()
        elif settings.trusts(bare.getDirectPeer()):
            reader = self._reader = PrefaceReader(
                bare, settings.parser, settings.timeout, self._header_read, self._header_wrong
            )
            reader.begin()
        else:
            self._refuse(NOT_TRUSTED)

    def _header_read(self, header: ProxyHeader) -> None:
        self._reader = None
        self.bare.proxied = header
        self._secure()

    def _header_wrong(self, error: PipeError) -> None:
        self._reader = None
        self._refuse(f"PROXY protocol: {error}")

    def _secure(self) -> None:
        entrance, bare = self._entrance, self.bare
        if entrance.tls is None:
            self._arrived()
            return
        assert isinstance(bare, TlsSocket)
        deadline = self._deadline = Deadline(entrance.clock, entrance.handshake_timeout, self._timed_out)
        deadline.restart(entrance.clock.seconds())
        make: Any = entrance.tls.connection
        bare.handshake(make, self._shaken, explain)

    def _shaken(self, why: str | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if why is None:
            self._arrived()
        else:
            self._refuse(f"TLS: {why}")

    def _timed_out(self) -> None:
        self._refuse(f"TLS: {TimedOut(Side.DOWNSTREAM, 'handshake timeout', self._entrance.handshake_timeout)}")

    def _arrived(self) -> None:
        self._entrance.arriving.discard(self)
        bare = self.bare
        self._entrance.factory.wire_accepted(bare)
        if bare.open and bare.readable:
            bare.reactor.loop.post(bare)  # what came behind the header is no event any more

    def _refuse(self, why: str) -> None:
        self._entrance.refuse(self.bare.getPeer(), why)
        self.abort()

    def abort(self) -> None:
        """Close it at once."""
        self._entrance.arriving.discard(self)
        if self._reader is not None:
            self._reader.cancel()
        if self._deadline is not None:
            self._deadline.cancel()
        self.bare.close()


@implementer(IHandshakeListener)
class TransportArrival(Protocol):
    """
    On a Twisted transport. It is the protocol behind TLS until the handshake is over, then gives its place to the proxy's.
    """

    def __init__(self, entrance: Entrance, address: Any) -> None:
        self._entrance = entrance
        self._address = address
        self._over = False
        self._reader: PrefaceProtocol | None = None
        self._deadline = Deadline(entrance.clock, entrance.handshake_timeout, self._timed_out)

    def __repr__(self) -> str:
        return f"<TransportArrival {self._address}>"

    def first_protocol(self) -> Protocol | None:
        """What the transport is connected to first."""
        entrance, settings = self._entrance, self._entrance.proxy_protocol
        if settings is None:
            return self._secure(self._address)
        entrance.arriving.add(self)
        reader = self._reader = PrefaceProtocol(
            entrance.clock, settings.parser, settings.timeout, self._header_read, self._header_wrong
        )
        return reader

    def _header_read(self, end: PrefaceProtocol, header: ProxyHeader) -> None:
        self._reader = None
        transport = ProxiedTransport(end.transport, header)
        self._address = transport.getPeer()
        protocol = self._secure(self._address)
        if protocol is None:
            abort(end.transport)
        else:
            end.hand_over(protocol, transport)

    def _header_wrong(self, end: PrefaceProtocol, error: PipeError) -> None:
        self._refuse(f"PROXY protocol: {error}")

    def _secure(self, address: Any) -> Protocol | None:
        entrance = self._entrance
        if entrance.tls is None:
            entrance.arriving.discard(self)
            return entrance.factory.buildProtocol(address)  # type: ignore[no-any-return]
        entrance.arriving.add(self)
        return entrance.tls_protocol(self)

    def connectionMade(self) -> None:
        self._deadline.restart(self._entrance.clock.seconds())

    def handshakeCompleted(self) -> None:
        if self._over:
            return
        self._leave()
        transport: Any = self.transport
        protocol = self._entrance.factory.buildProtocol(self._address)
        if protocol is None:
            abort(transport)
            return
        transport.wrappedProtocol = protocol
        protocol.makeConnection(transport)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        if not self._over:
            assert reason.value is not None
            self._refuse(f"TLS: {explain(reason.value)}")

    def _timed_out(self) -> None:
        self._refuse(f"TLS: {TimedOut(Side.DOWNSTREAM, 'handshake timeout', self._entrance.handshake_timeout)}")

    def _leave(self) -> None:
        self._over = True
        self._deadline.cancel()
        self._entrance.arriving.discard(self)

    def _refuse(self, why: str) -> None:
        self._entrance.refuse(self._address, why)
        self.abort()

    def abort(self) -> None:
        """Close it at once."""
        self._leave()
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            abort(reader.transport)
        elif self.transport is not None:
            abort(self.transport)
