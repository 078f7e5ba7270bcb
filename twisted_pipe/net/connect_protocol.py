"""Connections by Twisted endpoints, with what may come before a stream: a PROXY header, TLS."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Protocol
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_pipe.net.closing import abort
from twisted_pipe.net.quiet import QuietFactory

__all__ = ["connect_protocol"]


def connect_protocol(
    endpoint: Any, make: Callable[[], Any], clock: Any = None, tls: Any = None, preface: bytes = b""
) -> Deferred[Any]:
    """
    Connect by a Twisted endpoint.

    @param make: makes the C{IProtocol}, which is connected when everything stands, TLS included.
    @param clock: the reactor; only TLS needs it.
    @param tls: an C{IOpenSSLClientConnectionCreator}, to speak TLS on the connection; None to leave it plain.
    @param preface: sent first, before C{tls}; to an endpoint that speaks TLS by itself, within that.
    @return: fires with the protocol; fails as the endpoint does, or as the handshake. May be cancelled.
    """
    if tls is None and not preface:
        plain: Deferred[Any] = maybeDeferred(endpoint.connect, QuietFactory.forProtocol(make))
        return plain
    standing: Deferred[Any] = Deferred(lambda _: give_up())
    last = _Usher(make, standing)
    factory: Any = QuietFactory.forProtocol(lambda: last)
    if tls is None:
        last.preface = preface
    else:
        factory = TLSMemoryBIOFactory(tls, True, factory, clock)
        factory.protocol = partial(_TlsBehind, preface)
    reaching = maybeDeferred(endpoint.connect, factory)

    def give_up() -> None:
        last.given_up = True
        reaching.cancel()
        if last.transport is not None:
            abort(last.transport)

    reaching.addErrback(lambda failure: None if standing.called else standing.errback(failure))
    return standing


@implementer(IHandshakeListener)
class _Usher(Protocol):
    """
    Has the connection until it stands, and then gives its place to the protocol that it is for.

    @ivar preface: sent first, where there is no TLS to wait for; None to wait.
    @ivar given_up: whether nobody wants the connection any more.
    """

    preface: bytes | None = None
    given_up = False

    def __init__(self, make: Callable[[], Any], standing: Deferred[Any]) -> None:
        self._make = make
        self._standing = standing

    def connectionMade(self) -> None:
        transport: Any = self.transport
        if self.preface is not None:
            transport.write(self.preface)
            protocol = self._make()
            if isinstance(transport, ProtocolWrapper):  # of an endpoint that speaks TLS by itself
                transport.wrappedProtocol = protocol
            else:
                transport.protocol = protocol
            self._hand_over(protocol)

    def handshakeCompleted(self) -> None:
        transport: Any = self.transport
        if not (self.given_up or self._standing.called):
            protocol = transport.wrappedProtocol = self._make()
            self._hand_over(protocol)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        if not (self.given_up or self._standing.called):
            self._standing.errback(reason)

    def _hand_over(self, protocol: Any) -> None:
        protocol.makeConnection(self.transport)
        self._standing.callback(protocol)


class _TlsBehind(BufferingTLSTransport):
    """TLS behind what has to come before it."""

    def __init__(self, preface: bytes, *arguments: Any) -> None:
        self._preface = preface
        BufferingTLSTransport.__init__(self, *arguments)

    def makeConnection(self, transport: Any) -> None:
        if self._preface:
            transport.write(self._preface)
        BufferingTLSTransport.makeConnection(self, transport)
