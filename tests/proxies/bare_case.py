"""A TCP proxy on a private reactor, with everything on loopback sockets."""

from __future__ import annotations

import gc
import os
import select
import socket
from typing import Any

import attrs
from twisted.internet import tcp
from twisted.logger import formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import Peer, WatchedSpill, open_fds
from tests.net.loopback import Loopback
from twisted_pipe.limits import PipeLimits
from twisted_pipe.net.driver import slab_pool
from twisted_pipe.net.splice import pipes
from twisted_pipe.proxies.context import ProxyContext
from twisted_pipe.proxies.settings import ProxySettings
from twisted_pipe.proxies.tcp import TcpProxyFactory
from twisted_pipe.upstream.group import UpstreamGroup, UpstreamServer

SIZE = 8192
LIMITS = PipeLimits(buffers=4, buffer_size=SIZE, max_temp_file_size=1 << 24, read_timeout=30, send_timeout=30)
SETTINGS = ProxySettings(limits=LIMITS, connect_timeout=10, idle_timeout=100, lingering_timeout=5)
PATIENT = attrs.evolve(SETTINGS, limits=attrs.evolve(LIMITS, read_timeout=0))


class BareCase(SynchronousTestCase):
    """
    Clients reach the proxy by its listener, and it reaches an origin by its socket address.

    @ivar factory: the proxy.
    @ivar origin: a listening socket.
    """

    settings = SETTINGS

    def setUp(self) -> None:
        gc.collect()  # what other tests have left to the garbage collector is not ours
        _close_free_pipes()
        tcp._reservedFD.reserve()  # type: ignore[no-untyped-call]
        before = len(open_fds())

        def check() -> None:
            self.assertEqual(pipes.lent, 0, "a kernel pipe was not given back")
            _close_free_pipes()
            self.assertEqual(len(open_fds()), before, "descriptors were left open")

        self.addCleanup(check)
        self.slabs = slab_pool(SIZE).statistics().in_use
        self.engine = Loopback(self)
        path = self.mktemp()
        os.mkdir(path)
        self.spill = WatchedSpill(path)
        self.origin = self.make_origin()
        self.factory: Any = None
        self.ports: list[Any] = []
        self.peers: list[Peer] = []
        self.addCleanup(self.close)
        self.begin(self.settings)

    def make_origin(self) -> socket.socket:
        origin = socket.socket()
        origin.bind(("127.0.0.1", 0))
        origin.listen()
        return origin

    def begin(self, settings: ProxySettings, address: Any = None) -> None:
        """Start a proxy with other settings, or another origin, in place of the one before."""
        for port in self.ports:
            port.stopListening()
        server = UpstreamServer("origin:80", None, address or self.origin.getsockname())
        self.group = UpstreamGroup([server], clock=self.engine.reactor)
        self.factory = TcpProxyFactory(ProxyContext(self.group, settings, self.spill, self.engine.reactor))
        self.ports = [self.engine.reactor.listenTCP(0, self.factory, interface="127.0.0.1")]
        self.ports[0].socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)  # what it accepts inherits that
        self.engine.settle()
        self.registered = self.engine.statistics.registered

    def close(self) -> None:
        self.factory.shutdown()
        for port in self.ports:
            port.stopListening()
        for peer in self.peers:
            peer.close()
        self.origin.close()
        self.engine.settle()

    def connect(self) -> Peer:
        """A client, not necessarily accepted yet. Its kernel holds little."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        sock.connect(("127.0.0.1", self.ports[0].getHost().port))
        self.peers.append(Peer(sock))
        return self.peers[-1]

    def accept(self) -> Peer:
        """What the origin gets of the oldest connection made to it."""
        self.engine.settle()
        if not select.select([self.origin], [], [], 5)[0]:
            raise AssertionError("nobody has connected to the origin")
        self.peers.append(Peer(self.origin.accept()[0]))
        self.engine.settle()
        return self.peers[-1]

    def pair(self, settings: ProxySettings | None = None) -> tuple[Peer, Peer]:
        """A client and its upstream."""
        if settings is not None:
            self.begin(settings)
        client = self.connect()
        return client, self.accept()

    @property
    def session(self) -> Any:
        """The only one."""
        (session,) = self.factory.sessions
        return session

    def pour(self, peer: Peer, data: bytes) -> int:
        """As much of C{data} as the proxy takes while nobody takes it out, for a few seconds."""
        sent, stalls = 0, 0
        while sent < len(data) and stalls < 4:
            now = peer.write(data[sent:])
            sent += now
            self.engine.settle()
            if not now and not select.select([], [peer.socket], [], 0.01)[1]:
                stalls += 1
                self.engine.advance(0.5, 0.1)
        return sent

    def settle_until(self, condition: Any) -> None:
        """Sockets of one machine, too, need a moment to tell each other."""
        for _ in range(500):
            self.engine.settle()
            if condition():
                return
            select.select([], [], [], 0.002)
        raise AssertionError("it does not happen")

    def assert_over(self) -> None:
        """No session, and nothing left of one."""
        self.settle_until(lambda: not self.factory.sessions)
        self.engine.advance(0.2)
        self.factory.shutdown()
        statistics = self.factory.statistics()
        self.assertEqual(statistics.active, 0)
        self.assertEqual(self.engine.statistics.registered, self.registered)
        self.assertEqual(self.engine.reactor.getDelayedCalls(), [])
        self.assertEqual(slab_pool(SIZE).statistics().in_use, self.slabs)
        self.assertEqual(self.spill.fds, [])

    def lines(self, logs: list[Any]) -> str:
        return "\n".join(str(formatEvent(event)) for event in logs)


def _close_free_pipes() -> None:
    """Some kernel pipes are kept, which is no leak."""
    while pipes._free:
        pipes._free.pop().close()
