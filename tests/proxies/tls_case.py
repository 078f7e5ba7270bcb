"""The wires of L{tests.proxies.http_case.SocketCase}, and its doors, with TLS on both sides of the proxy."""

from __future__ import annotations

import socket
from typing import Any

from OpenSSL import SSL
from twisted.internet.protocol import ServerFactory
from zope.interface import implementer

from tests.net.tls_peer import TlsPeer, ask, serve
from tests.proxies.http_case import SocketCase
from tests.proxies.http_wires import SocketSide
from twisted_pipe.net.port import ISocketFactory
from twisted_pipe.net.tls_handshake import why_refused
from twisted_pipe.net.tls_socket import TlsSocket
from twisted_pipe.upstream.connect_settings import ConnectSettings


class ToServers:
    """What C{ConnectSettings.tls} has to be, without certificates."""

    def connection(self, sock: Any, server: Any) -> SSL.Connection:
        return ask(sock)

    def problem_of(self, connection: SSL.Connection, server: Any) -> None:
        """It is believed."""

    def remember(self, connection: SSL.Connection) -> None:
        """Its sessions are not."""

    def explain(self, error: BaseException) -> str:
        assert isinstance(error, Exception)
        return why_refused(error)


@implementer(ISocketFactory)
class Door(ServerFactory):
    """Lets clients in to a proxy by TLS."""

    noisy = False
    takes_sockets = True

    def __init__(self, proxy: Any) -> None:
        self.proxy = proxy

    def socket_accepted(self, sock: socket.SocketType, peer: bytes) -> None:
        wire = TlsSocket(self.proxy.clock, sock, True, peer)

        def done(why: str | None) -> None:
            assert why is None, why
            self.proxy.wire_accepted(wire)

        wire.handshake(serve, done)


class TlsSide(SocketSide):
    """The test's end of a connection, in plaintext."""

    peer: TlsPeer

    def __init__(self, case: SocketCase, sock: socket.socket, connection: SSL.Connection) -> None:
        SocketSide.__init__(self, case, sock)
        self.peer = TlsPeer(sock, connection)
        for _ in range(10):
            self.peer.shake()
            case.settle()
        assert self.peer.shaken, "no handshake"

    def break_off(self) -> None:
        self.peer.break_off()
        self.case.settle()


class TlsWires(SocketCase):
    """Comes before a C{SocketCase} among the bases of a class."""

    connect = ConnectSettings(tls=ToServers())

    def started(self) -> None:
        self.ports.append(self.clock.listenTCP(0, Door(self.proxy), interface="127.0.0.1"))
        self.ports[0].socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        self.settle()
        self.registered = self.engine.statistics.registered

    def settle(self) -> None:
        SocketCase.settle(self)
        for side in self.sides:
            if isinstance(side, TlsSide):
                side.peer.acknowledge()
        SocketCase.settle(self)

    def client(self) -> TlsSide:
        plain = SocketCase.client(self)
        return self._secured(plain, ask(None))

    def origin(self, server: str | None = None) -> TlsSide:
        plain = SocketCase.origin(self, server)
        return self._secured(plain, serve(None))

    def _secured(self, plain: SocketSide, connection: SSL.Connection) -> TlsSide:
        self.sides.remove(plain)
        side = TlsSide(self, plain.peer.socket, connection)
        self.sides.append(side)
        return side
