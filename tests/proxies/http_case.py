"""
An HTTP proxy between a client and an origin that are the test's, so that a test reads as a transcript: the client says, the origin
gets, the origin says, the client gets.

The same transcripts are played on transports in memory (L{MemoryCase}) and on loopback sockets under a private C{epollet} reactor
(L{SocketCase}). After each test the client goes, time passes, and nothing may be left.
"""

from __future__ import annotations

import gc
import os
import select
import socket
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import WatchedSpill
from tests.net.loopback import Loopback
from tests.proxies.http_messages import NOW, request
from tests.proxies.http_wires import Attempt, Endpoint, Journal, Line, SocketSide
from twisted_pipe.http.forwarding import ForwardedStyle
from twisted_pipe.http.log_format import log_format
from twisted_pipe.http.routing import RouteTable, SiteTable
from twisted_pipe.http.template import Template
from twisted_pipe.limits import PipeLimits
from twisted_pipe.net.driver import slab_pool
from twisted_pipe.net.splice import pipes
from twisted_pipe.proxies.http import AccessLog, HttpProxy
from twisted_pipe.proxies.http_settings import ClientSettings, HttpSettings, ProxyTo, Route, Site
from twisted_pipe.proxies.http_upstream import HttpUpstream, KeepaliveSettings
from twisted_pipe.upstream.balancer import BalancerPlugin
from twisted_pipe.upstream.connect_settings import ConnectSettings
from twisted_pipe.upstream.group import UpstreamGroup, UpstreamServer
from twisted_pipe.upstream.waiting_line import QueueSettings

SIZE = 4096
LIMITS = PipeLimits(buffers=4, buffer_size=SIZE, max_temp_file_size=1 << 20, read_timeout=30, send_timeout=25)
#: Origins are told of nobody, which keeps transcripts short.
SETTINGS = HttpSettings(
    limits=LIMITS,
    request_limits=LIMITS,
    connect_timeout=10,
    send_timeout=20,
    request_body_buffer_size=1000,
    client_max_body_size=1 << 20,
    forwarded=ForwardedStyle.OFF,
    via=b"",
)
CLIENT = ClientSettings(header_timeout=10, body_timeout=12, keepalive_timeout=40, lingering_timeout=5)
LINE = '"$request" $status $body_bytes_sent $upstream_addr $upstream_status $retries $error'
#: So that it is seen that every server is let go.
COUNTING = BalancerPlugin("counting", "", "twisted_pipe.upstream.least_connections:LeastConnections")


def template(text: str) -> Template:
    return Template.compile("test", text)


class HttpCase(SynchronousTestCase):
    """
    @ivar clock: everybody's.
    @ivar proxy: made by L{serve}.
    @ivar upstream: its only one, likewise.
    @ivar journal: its access log.
    """

    settings = SETTINGS
    client_settings = CLIENT
    keepalive = KeepaliveSettings(connections=4, timeout=35, requests=1000, time=3600)
    servers: tuple[str, ...] = ("origin:80",)
    connect = ConnectSettings()
    queue = QueueSettings()
    parameters: Mapping[str, Any] = {}  # of each server
    proxy: HttpProxy
    upstream: HttpUpstream

    def setUp(self) -> None:
        self.journal = Journal()
        self.logged: list[LogEvent] = []
        globalLogPublisher.addObserver(self.logged.append)  # type: ignore[arg-type]
        self.addCleanup(globalLogPublisher.removeObserver, self.logged.append)  # type: ignore[arg-type]
        path = self.mktemp()
        os.mkdir(path)
        self.spill = WatchedSpill(path)
        self.clock: Any = self.make_clock()
        self.slabs = slab_pool(SIZE).statistics().in_use
        self.group: Any = None

    # what differs

    def make_clock(self) -> Any:
        raise NotImplementedError

    def make_servers(self) -> list[UpstreamServer]:
        raise NotImplementedError

    def client(self) -> Any:
        """Connect one."""
        raise NotImplementedError

    def origin(self, server: str | None = None) -> Any:
        """What the origin gets of the oldest connection that the proxy makes to it."""
        raise NotImplementedError

    def settle(self) -> None:
        """Until nothing happens any more."""
        raise NotImplementedError

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        raise NotImplementedError

    # what they share

    def start(
        self,
        settings: HttpSettings | None = None,
        *,
        client: ClientSettings | None = None,
        keepalive: KeepaliveSettings | None = None,
        routes: Callable[[HttpUpstream, HttpSettings], RouteTable[Route]] | None = None,
        line: str = LINE,
        servers: tuple[str, ...] | None = None,
        **changes: Any,
    ) -> HttpProxy:
        """
        Make the proxy.

        @param settings: of its routes; C{changes} to the case's own.
        @param routes: makes them; all is passed on otherwise.
        @param line: of the access log.
        """
        settings = attrs.evolve(settings or self.settings, **changes)
        self.servers = servers or self.servers
        configured = [attrs.evolve(each, **self.parameters) for each in self.make_servers()]
        self.group = UpstreamGroup(configured, COUNTING, clock=self.clock, queue=self.queue, connect=self.connect)
        self.upstream = HttpUpstream(self.group, self.clock, keepalive or self.keepalive)
        table = (routes or _all_to)(self.upstream, settings)
        sites: SiteTable[Site] = SiteTable([((), Site(name="site", routes=table, settings=settings))])
        log: Any = AccessLog(log_format(line), self.journal)  # type: ignore[arg-type]
        self.proxy = HttpProxy(sites, self.clock, self.spill, client or self.client_settings, [log])
        self.addCleanup(self.check_over)
        self.started()
        return self.proxy

    def started(self) -> None:
        """The proxy is made."""

    def pair(self, first: bytes = request(), **changes: Any) -> tuple[Any, Any]:
        """A client that has sent C{first}, and the origin that got it; what it got has to be asked for."""
        self.start(**changes)
        client = self.client()
        client.says(first)
        return client, self.origin()

    def both(self, first: bytes = request(), **changes: Any) -> tuple[Any, Any]:
        """The same; the origin has read what it got."""
        client, origin = self.pair(first, **changes)
        origin.gets()
        return client, origin

    def complaints(self) -> list[str]:
        """Lines of the error log."""
        return [
            str(formatEvent(event)) for event in self.logged if event["log_namespace"] == "twisted_pipe.proxies.http"
        ]

    def levels(self) -> list[LogLevel]:
        """How grave these are."""
        return [event["log_level"] for event in self.logged if event["log_namespace"] == "twisted_pipe.proxies.http"]

    def assert_log(self, *lines: str) -> None:
        """The access log."""
        self.assertEqual(self.journal.lines, list(lines))

    def assert_idle(self, upstreams: int, clients: int = 1) -> None:
        """Nothing goes on: so many connections wait for the next request."""
        self.settle()
        self.assertEqual(self.upstream.statistics().idle, upstreams)
        self.assertEqual([repr(each) for each in self.proxy.clients if each.state.value != "idle"], [])
        self.assertEqual(len(self.proxy.clients), clients)
        self.assertEqual([(peer.name, peer.active) for peer in self.group.peers], [(name, 0) for name in self.servers])

    def go(self) -> None:
        """The clients go."""
        raise NotImplementedError

    def check_over(self) -> None:
        """No client, and nothing left of one; then no upstream connection."""
        self.go()
        self.settle()
        self.advance(0.1)
        self.advance(6)
        self.advance(31)
        self.assertEqual([repr(client) for client in self.proxy.clients], [])
        self.assertEqual([(peer.name, peer.active) for peer in self.group.peers], [(name, 0) for name in self.servers])
        self.upstream.close()
        self.proxy.watch.stop()
        self.settle()
        self.assertEqual([str(call) for call in self.clock.getDelayedCalls()], [])
        self.assertEqual(self.upstream.statistics().idle, 0)
        self.assertEqual(slab_pool(SIZE).statistics().in_use, self.slabs, "slabs leaked")
        self.assertEqual(self.spill.fds, [], "a spill file was not closed")
        self.assertEqual(self.spill.quota.used, 0, "a place on disk was not given back")
        self.assertEqual(len(self.journal.lines), self.proxy.totals.requests)


def _all_to(upstream: HttpUpstream, settings: HttpSettings) -> RouteTable[Route]:
    return RouteTable(prefixes={b"/": Route(action=ProxyTo(upstream=upstream), settings=settings, prefix=b"/")})


class MemoryCase(HttpCase):
    """
    On transports in memory.

    @ivar attempts: connections that the proxy has asked for and not got.
    @ivar lines: all connections.
    """

    tls = False

    def make_clock(self) -> Any:
        clock = Clock()
        clock.advance(NOW)
        self.attempts: list[Attempt] = []
        self.lines: list[Line] = []
        self.clients: list[Line] = []
        return clock

    def make_servers(self) -> list[UpstreamServer]:
        return [UpstreamServer(name, Endpoint(self, name)) for name in self.servers]

    def client(self, room: int = 1 << 30) -> Line:
        line = Line(self, self.proxy.buildProtocol(None), room, self.tls)
        self.clients.append(line)
        self.settle()
        return line

    def origin(self, server: str | None = None, room: int = 1 << 30) -> Line:
        self.settle()
        attempt = self.attempts.pop(0)
        if server is not None:
            self.assertEqual(attempt.server, server)
        protocol = attempt.factory.buildProtocol(None)
        line = Line(self, protocol, room)
        attempt.answer.callback(protocol)
        self.settle()
        return line

    def refuse(self, server: str | None = None, why: Exception | None = None) -> None:
        """The oldest connection that is asked for cannot be made."""
        attempt = self.attempts.pop(0)
        if server is not None:
            self.assertEqual(attempt.server, server)
        attempt.answer.errback(Failure(why or ConnectionRefusedError()))
        self.settle()

    def settle(self) -> None:
        for _ in range(100_000):
            if not sum(line.turn() for line in self.lines):
                due = [call for call in self.clock.getDelayedCalls() if call.getTime() <= self.clock.seconds()]
                if not due:
                    return
                self.clock.advance(0)
        raise AssertionError("it does not come to rest")

    def advance(self, seconds: float) -> None:
        end = self.clock.seconds() + seconds
        self.settle()
        while self.clock.seconds() < end:
            times = [call.getTime() for call in self.clock.getDelayedCalls()]
            self.clock.advance(max(min([end, *times]) - self.clock.seconds(), 0))
            self.settle()

    def go(self) -> None:
        for line in self.clients:
            if not line.over:
                line.gets()
                line.lose(ConnectionDone())

    def check_over(self) -> None:
        HttpCase.check_over(self)
        self.assertEqual([attempt for attempt in self.attempts if not attempt.cancelled], [])
        self.assertEqual([line for line in self.lines if not line.over], [])


class SocketCase(HttpCase):
    """On loopback sockets: the proxy's are bare."""

    def make_clock(self) -> Any:
        gc.collect()
        self.engine = Loopback(self)
        self.engine.clock.advance(NOW)
        self.engine.turn()
        self.listeners: dict[str, socket.socket] = {}
        self.sides: list[SocketSide] = []
        self.ports: list[Any] = []
        self.addCleanup(self._close)
        return self.engine.reactor

    def make_servers(self) -> list[UpstreamServer]:
        for name in self.servers:
            listener = self.listeners[name] = socket.socket()
            # What it accepts inherits this: else the kernel would take MiBs for an origin that does not read.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 262144)
            listener.bind(("127.0.0.1", 0))
            listener.listen()
        return [UpstreamServer(name, None, self.listeners[name].getsockname()) for name in self.servers]

    def started(self) -> None:
        self.ports.append(self.clock.listenTCP(0, self.proxy, interface="127.0.0.1"))
        self.ports[0].socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        self.settle()
        self.registered = self.engine.statistics.registered

    def client(self) -> SocketSide:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        sock.connect(("127.0.0.1", self.ports[0].getHost().port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.settle()
        self.sides.append(SocketSide(self, sock))
        return self.sides[-1]

    def origin(self, server: str | None = None) -> SocketSide:
        self.settle()
        listener = self.listeners[server or self.servers[0]]
        if not select.select([listener], [], [], 5)[0]:
            raise AssertionError("nobody has connected to the origin")
        sock = listener.accept()[0]
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sides.append(SocketSide(self, sock))
        self.settle()
        return self.sides[-1]

    def settle(self) -> None:
        self.engine.settle()

    def advance(self, seconds: float) -> None:
        end = self.engine.clock.seconds() + seconds
        self.settle()
        while self.engine.clock.seconds() < end:
            times = [call.getTime() for call in self.clock.getDelayedCalls()]
            self.engine.clock.advance(max(min([end, *times]) - self.engine.clock.seconds(), 0))
            self.settle()

    def go(self) -> None:
        for side in self.sides:
            side.close()

    def check_over(self) -> None:
        HttpCase.check_over(self)
        self.assertEqual(self.engine.statistics.registered, self.registered)
        self.assertEqual(pipes.lent, 0, "a kernel pipe was not given back")

    def _close(self) -> None:
        for port in self.ports:
            port.stopListening()
        for side in self.sides:
            side.peer.close()
        for listener in self.listeners.values():
            listener.close()
        while pipes._free:
            pipes._free.pop().close()
        self.settle()
