"""What tests on real sockets stand on: an engine with TCP pairs, bare sockets, and the owner of a relay."""

from __future__ import annotations

import select
import socket
from typing import Any

from twisted.internet.protocol import ClientFactory, Protocol, ServerFactory
from twisted.python.failure import Failure

from tests.net.fakes import Engine, Peer, Recorder
from twisted_pipe.net.bare import BareSocket
from twisted_pipe.net.relay import Relay


class Loopback(Engine):
    """An L{Engine} with TCP over 127.0.0.1."""

    def settle(self, most: int = 1000) -> int:
        """As L{Engine.settle}, and one turn more: what went out at the end of the last is seen in the next."""
        count = Engine.settle(self, most)
        while more := Engine.settle(self, most):
            count += more
        return count

    def tcp_pair(self, family: int = socket.AF_INET) -> tuple[socket.socket, Peer]:
        """A connected TCP socket for us and one for the test."""
        with socket.socket(family) as listener:
            listener.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
            listener.listen()
            theirs = socket.create_connection(listener.getsockname()[:2])
            ours, _ = listener.accept()
        ours.setblocking(False)
        self._peers += [theirs, ours]
        return ours, Peer(theirs)

    def bare(self, tcp: bool = False, buffer: int = 0) -> tuple[BareSocket, Peer]:
        """
        A bare socket and what is at its other end.

        @param buffer: bytes of its kernel send buffer; 0 for the system's own.
        """
        ours, peer = self.tcp_pair() if tcp else self.pair()
        if buffer:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        return BareSocket(self.reactor, ours, accepted=True), peer

    def tcp(self, protocol: Protocol | None = None) -> tuple[Any, Peer]:
        """A Twisted transport over TCP, by way of a listener of its own, and what is at its other end."""
        protocol = protocol if protocol is not None else Recorder()
        port = self.listen(lambda: protocol)
        peer = self.client(port)
        self.settle()
        port.stopListening()
        self.settle()
        return protocol.transport, peer

    def listen(self, make: Any) -> Any:
        """A listener whose protocols C{make} makes."""
        factory = ServerFactory()
        factory.noisy = False
        factory.buildProtocol = lambda address: make()  # type: ignore[method-assign]
        return self.reactor.listenTCP(0, factory, interface="127.0.0.1")

    def client(self, port: Any) -> Peer:
        """A client of a listener."""
        sock = socket.create_connection(("127.0.0.1", port.getHost().port))
        self._peers.append(sock)
        return Peer(sock)

    def connected(self, port: Any, protocol: Protocol) -> None:
        """Have C{protocol} connected to a listener."""
        self.reactor.connectTCP("127.0.0.1", port.getHost().port, client_factory(protocol))
        self.settle()

    def take(self, peer: Peer, count: int) -> bytes:
        """
        C{count} bytes that are on their way to C{peer}. TCP may keep some back until it is told of room: they are waited for.

        @raise AssertionError: they do not come.
        """
        found = bytearray()
        while len(found) < count:
            self.settle()
            found += peer.read(count - len(found))
            if peer.ended or peer.reset:
                break
            if len(found) < count and not self._await(peer):
                break
        if len(found) != count:
            raise AssertionError(f"{count} bytes were expected, {len(found)} came: {peer.ended=} {peer.reset=}")
        return bytes(found)

    def _await(self, peer: Peer) -> bool:
        """Whether something comes, to C{peer} or to the reactor, within seconds."""
        return bool(select.select([peer.socket, self.reactor.loop._epoll._fd], [], [], 5.0)[0])

    def end_of(self, peer: Peer) -> bytes:
        """All that comes to C{peer} until the stream ends or is broken off."""
        found = bytearray()
        while not (peer.ended or peer.reset):
            self.settle()
            found += peer.read()
            if not (peer.ended or peer.reset) and not self._await(peer):
                raise AssertionError(f"{len(found)} bytes came, and no end")
        return bytes(found)

    def free_port(self) -> int:
        """A port where nobody is, and nobody else can be while the test runs."""
        bound = socket.socket()
        bound.bind(("127.0.0.1", 0))
        self._peers.append(bound)
        number: int = bound.getsockname()[1]
        return number


def client_factory(protocol: Protocol) -> ClientFactory:
    """A factory of that one."""
    factory = ClientFactory()
    factory.noisy = False
    factory.buildProtocol = lambda address: protocol  # type: ignore[method-assign]
    return factory


class RelayRecorder:
    """A C{RelayOwner} that remembers. Names of what it was told, and with what, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def relay_blocked(self, relay: Relay, rest: bytes) -> None:
        self.told.append(("blocked", rest, relay.armed))

    def relay_ended(self, relay: Relay, error: OSError | None) -> None:
        self.told.append(("ended", None if error is None else error.errno, relay.armed))

    def relay_broken(self, relay: Relay, error: OSError, lost: int) -> None:
        self.told.append(("broken", error.errno, lost, relay.armed))

    def relay_lost(self, relay: Relay, reason: Failure) -> None:
        self.told.append(("lost", reason.type, relay.armed))
