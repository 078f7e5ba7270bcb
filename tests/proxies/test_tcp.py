from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable
from itertools import permutations
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import Engine, MemoryTransport, Peer, WatchedSpill
from twisted_pipe.errors import FilterFailed
from twisted_pipe.filters.base import PipeFilter
from twisted_pipe.interfaces import Direction, FilterContext, OnFailure
from twisted_pipe.limits import PipeLimits
from twisted_pipe.net import bare
from twisted_pipe.net.connections import NoRoom
from twisted_pipe.net.driver import slab_pool
from twisted_pipe.proxies.context import ProxyContext
from twisted_pipe.proxies.settings import ProxySettings
from twisted_pipe.proxies.stream_routes import StreamRoute, StreamRoutes
from twisted_pipe.proxies.tcp import TcpProxyFactory
from twisted_pipe.upstream.balancer import BalancerPlugin
from twisted_pipe.upstream.group import UpstreamGroup, UpstreamServer
from twisted_pipe.upstream.waiting_line import QueueSettings

SIZE = 8192
LIMITS = PipeLimits(buffers=4, buffer_size=SIZE, max_temp_file_size=1 << 20, read_timeout=30, send_timeout=30)
#: So that it is seen that every connection is given back.
COUNTING = BalancerPlugin("counting", "", "twisted_pipe.upstream.least_connections:LeastConnections")
SETTINGS = ProxySettings(limits=LIMITS, connect_timeout=10, idle_timeout=100, lingering_timeout=5)


class FakeEndpoint:
    """
    @ivar attempts: the factory and the Deferred of each connection that was asked for.
    @ivar cancelled: how many were given up.
    @ivar at_once: called for each attempt; what it returns is the answer.
    """

    def __init__(self) -> None:
        self.attempts: list[tuple[Any, Deferred[Any]]] = []
        self.cancelled = 0
        self.at_once: Callable[[Any], Deferred[Any]] | None = None

    def connect(self, factory: Any) -> Deferred[Any]:
        answer: Deferred[Any] = Deferred(self._cancel) if self.at_once is None else self.at_once(factory)
        self.attempts.append((factory, answer))
        return answer

    def _cancel(self, answer: object) -> None:
        self.cancelled += 1


def timers_left(clock: Any, factory: TcpProxyFactory) -> list[Any]:
    """The delayed calls that are still there although all sessions are over; that of the watch goes with the factory."""
    left = [call for call in clock.getDelayedCalls() if call.func != factory.watch._look]
    factory.shutdown()
    return left or list(clock.getDelayedCalls())


class ProxyCase(SynchronousTestCase):
    """
    @ivar client_name: how a client reads in the log.
    """

    settings = SETTINGS
    client_name = "127.0.0.1:4321"

    def setUp(self) -> None:
        self.engine = Engine(self)
        path = self.mktemp()
        os.mkdir(path)
        self.spill = WatchedSpill(path)
        self.endpoint = FakeEndpoint()
        self.factory = self.make(self.settings)
        self.registered = self.engine.statistics.registered
        self.slabs = slab_pool(SIZE).statistics().in_use

    def make(self, settings: ProxySettings) -> TcpProxyFactory:
        group = UpstreamGroup([UpstreamServer("origin:80", self.endpoint)], COUNTING)
        return TcpProxyFactory(ProxyContext(group, settings, self.spill, self.engine.reactor))

    def connect(self) -> Peer:
        """A client of the proxy."""
        _transport, peer = self.engine.connect(self.factory.buildProtocol(None))  # type: ignore[arg-type]
        return peer

    def accept(self) -> Peer:
        """The upstream of the oldest client that waits for one."""
        factory, answer = self.endpoint.attempts.pop(0)
        ours, peer = self.engine.pair()
        protocol = factory.buildProtocol(None)
        self.engine.adopt(ours, protocol)
        answer.callback(protocol)
        self.engine.settle()
        return peer

    def session(self, settings: ProxySettings | None = None) -> tuple[Peer, Peer]:
        if settings is not None:
            self.factory = self.make(settings)
        client = self.connect()
        return client, self.accept()

    def fill(self, peer: Peer, data: bytes) -> int:
        """As much of C{data} as goes in while nobody takes it out, and nobody waits for that."""
        sent = stalls = 0
        while sent < len(data) and stalls < 2:
            now = peer.write(data[sent:])
            sent += now
            self.engine.settle()
            stalls = 0 if now else stalls + 1
            if stalls:
                self.engine.lose_patience()
        self.engine.lose_patience()
        return sent

    def drain(self, peer: Peer) -> bytes:
        data = b""
        while True:
            self.engine.settle()
            more = peer.read()
            data += more
            if not more:
                return data

    def assert_over(self) -> None:
        """No session, and nothing left of one."""
        self.engine.advance(0.2)
        self.assertEqual(self.factory.sessions, set())
        self.assertEqual(self.factory.statistics().active, 0)
        self.assertEqual([peer.active for peer in self.factory.context.group.peers], [0])
        self.assertEqual(self.engine.statistics.registered, self.registered)
        self.assertEqual(timers_left(self.engine.reactor, self.factory), [])
        self.assertEqual(slab_pool(SIZE).statistics().in_use, self.slabs)
        self.assertEqual(self.spill.fds, [])

    def last_line(self, logs: list[Any]) -> str:
        return str(formatEvent(logs[-1]))


class SessionTests(ProxyCase):
    cancelled = 1  # connecting, when the service is shut down

    def test_both_directions(self) -> None:
        client, server = self.session()
        client.write(b"question")
        self.engine.turn()
        self.assertEqual(server.read(), b"question")
        server.write(b"answer")
        self.engine.turn()
        self.assertEqual(client.read(), b"answer")
        self.assertEqual(self.factory.statistics().active, 1)

    def test_bytes_before_the_upstream_is_there(self) -> None:
        client = self.connect()
        client.write(b"early")
        self.engine.settle()
        server = self.accept()
        self.assertEqual(server.read(), b"early")

    def test_a_client_that_has_ended_before(self) -> None:
        client = self.connect()
        client.write(b"all I have")
        client.half_close()
        self.engine.settle()
        server = self.accept()
        self.assertEqual(server.read(), b"all I have")
        self.assertTrue(server.ended)
        server.write(b"answer")
        server.close()
        self.engine.settle()
        self.assertEqual(client.read(), b"answer")
        self.assertTrue(client.ended)
        self.assert_over()

    def test_client_half_closes(self) -> None:
        """It still gets its answer."""
        client, server = self.session()
        client.write(b"question")
        client.half_close()
        self.engine.settle()
        self.assertEqual(server.read(), b"question")
        self.assertTrue(server.ended)
        server.write(b"answer")
        self.engine.settle()
        self.assertEqual(client.read(), b"answer")
        server.close()
        self.engine.settle()
        client.read()
        self.assertTrue(client.ended)
        self.assert_over()

    def test_upstream_half_closes(self) -> None:
        """It still gets the rest of the request."""
        client, server = self.session()
        server.write(b"early answer")
        server.half_close()
        self.engine.settle()
        self.assertEqual(client.read(), b"early answer")
        self.assertTrue(client.ended)
        client.write(b"rest")
        self.engine.settle()
        self.assertEqual(server.read(), b"rest")
        client.close()
        self.engine.settle()
        server.read()
        self.assertTrue(server.ended)
        self.assert_over()

    def test_every_order_of_ends(self) -> None:
        for order in permutations(["client half", "server half", "client close", "server close"]):
            client, server = self.session()
            client.write(b"question")
            server.write(b"answer")
            self.engine.settle()
            closed = set()
            for what in order:
                who, how = what.split()
                if who in closed:
                    continue
                peer = client if who == "client" else server
                if how == "half":
                    peer.half_close()
                else:
                    closed.add(who)
                    peer.read()
                    peer.close()
                self.engine.settle()
            self.engine.advance(1)
            self.engine.clock.advance(6)
            self.engine.settle()
            self.assertEqual(self.factory.sessions, set(), order)
            self.assert_over()

    def test_every_order_of_resets(self) -> None:
        """Closed with unread bytes, at once and one after the other."""
        for order in permutations(["client", "server"]):
            for apart in (True, False):
                client, server = self.session()
                client.write(b"question")
                server.write(b"answer")
                self.engine.settle()
                for who in order:
                    (client if who == "client" else server).close()
                    if apart:
                        self.engine.settle()
                self.engine.settle()
                self.engine.advance(6, 1)
                self.assert_over()

    def test_a_slow_client_does_not_hold_the_upstream(self) -> None:
        """Its connection is let go as soon as its response is here."""
        client, server = self.session()
        client.half_close()
        data = os.urandom(600 << 10)
        self.assertEqual(self.fill(server, data), len(data))
        server.half_close()
        self.engine.settle()
        server.read()
        self.assertTrue(server.ended)
        self.assertEqual(self.engine.statistics.registered, self.registered + 1, "only the client's is left")
        self.assertEqual(self.drain(client), data)
        self.assertTrue(client.ended)
        self.assert_over()
        self.assertTrue(self.factory.statistics().bytes_spilled > 0)

    def test_upstream_reset(self) -> None:
        """The client gets what was received, then an unclean end."""
        client, server = self.session()
        client.write(b"never read")
        data = os.urandom(600 << 10)
        self.assertEqual(self.fill(server, data), len(data))
        server.close()
        self.engine.settle()
        got = self.drain(client)
        self.assertEqual(got, data)
        self.engine.advance(1)
        self.assert_over()

    def test_client_reset(self) -> None:
        client, server = self.session()
        self.fill(server, bytes(600 << 10))
        client.close()
        self.engine.settle()
        server.read()
        self.assertTrue(server.ended or server.reset)
        self.assert_over()

    def test_statistics(self) -> None:
        client, server = self.session(attrs.evolve(SETTINGS, access_log=True))
        client.write(b"question")
        server.write(b"an answer")
        self.engine.settle()
        statistics = self.factory.statistics()
        self.assertEqual((statistics.accepted, statistics.active, statistics.bytes_to_clients), (1, 1, 0))
        with capturedLogs() as logs:
            client.read(), server.read()
            client.half_close()
            server.half_close()
            self.engine.settle()
        self.assert_over()
        statistics = self.factory.statistics()
        self.assertEqual(
            (statistics.accepted, statistics.active, statistics.bytes_to_clients, statistics.bytes_to_upstreams),
            (1, 0, 9, 8),
        )
        line = self.last_line(logs)
        self.assertTrue(line.startswith(f"{self.client_name} -> origin:80: close after 0.000 s"), line)
        self.assertTrue(line.endswith("9 B to the client, 8 B to the upstream: finished"), line)

    def test_access_log(self) -> None:
        """A line for each session that begins and for each that ends well, but only for who wants them."""
        for wanted in (False, True):
            with capturedLogs() as logs:
                client, server = self.session(attrs.evolve(SETTINGS, access_log=wanted))
                for peer in (client, server):
                    peer.half_close()
                self.engine.settle()
                self.assert_over()
            lines = [str(formatEvent(event)).partition(" -> origin:80: ")[2] for event in logs]
            ends = "close after 0.000 s: 0 B to the client, 0 B to the upstream: finished"
            self.assertEqual(lines, ["open", ends] if wanted else [])

    def test_repr(self) -> None:
        """A relay each way, until a downstream is slow."""
        _client, server = self.session()
        (session,) = self.factory.sessions
        start = f"<TcpSession {self.client_name} -> origin:80 response="
        relays = repr(session)
        self.assertTrue(relays.startswith(f"{start}<Relay armed 0 bytes> request=<Relay armed"), relays)
        self.fill(server, bytes(600 << 10))
        self.assertTrue(repr(session).startswith(f"{start}<EventPipe"), repr(session))

    def test_sessions_do_not_mix(self) -> None:
        pairs = [self.session() for _ in range(5)]
        for number, (client, server) in enumerate(pairs):
            client.write(b"q%d" % number)
            server.write(b"a%d" % number)
        self.engine.settle()
        for number, (client, server) in enumerate(pairs):
            self.assertEqual((server.read(), client.read()), (b"q%d" % number, b"a%d" % number))

    def test_an_idle_session_does_not_spin(self) -> None:
        self.session()
        before = self.engine.statistics
        self.engine.turn(20)
        after = self.engine.statistics
        self.assertEqual((after.events, after.posted), (before.events, before.posted))

    def test_shutdown(self) -> None:
        client, server = self.session()
        waiting = self.connect()
        self.fill(server, bytes(600 << 10))
        self.factory.shutdown()
        self.engine.settle()
        self.assertEqual(self.endpoint.cancelled, self.cancelled)
        for peer in (client, server, waiting):
            self.drain(peer)
            self.assertTrue(peer.ended or peer.reset)
        self.assert_over()
        self.factory.shutdown()

    def test_shutdown_stops_the_groups_of_routes(self) -> None:
        servers = [UpstreamServer(name, self.endpoint) for name in ("a:80", "b:80")]
        group = UpstreamGroup(servers, clock=self.engine.reactor)
        routes = StreamRoutes([StreamRoute(group=group, names=("a.example",))])
        self.factory = self.make(attrs.evolve(self.settings, routes=routes))
        group.failed(group.peers[0])  # so it rests, until a timer ends that
        self.assertEqual(len(self.engine.reactor.getDelayedCalls()), 1)
        self.factory.shutdown()
        self.assertEqual(list(self.engine.reactor.getDelayedCalls()), [])


class ConnectingTests(ProxyCase):
    def test_refused(self) -> None:
        client = self.connect()
        with capturedLogs() as logs:
            self.endpoint.attempts[0][1].errback(ConnectionRefusedError())
            self.engine.settle()
        client.read()
        self.assertTrue(client.ended)
        self.assert_over()
        statistics = self.factory.statistics()
        self.assertEqual((statistics.accepted, statistics.connect_failures), (1, 1))
        self.assertIn(
            "upstream origin:80 cannot be reached: Connection was refused by other side", self.last_line(logs)
        )

    def test_when_no_server_is_up_the_group_says_so_once(self) -> None:
        """Not each session, unless each of them is logged."""
        for access_log in (False, True):
            self.factory = self.make(attrs.evolve(self.settings, access_log=access_log))
            self.factory.context.group.mark(self.factory.context.group.peers[0], healthy=False)
            with capturedLogs() as logs:
                for _ in range(3):
                    client = self.connect()
                    self.engine.settle()
                    self.assertEqual((client.read(), client.ended), (b"", True))
            lines = [str(formatEvent(event)) for event in logs]
            self.assertEqual(len(lines), 3 if access_log else 0)
            self.assertTrue(all("no server is up" in line for line in lines), lines)
            self.assertEqual(self.factory.statistics().connect_failures, 3)
            self.assert_over()

    def test_that_all_servers_are_busy_is_each_session_s_own_news(self) -> None:
        servers = [UpstreamServer("origin:80", self.endpoint, max_conns=1)]
        group = UpstreamGroup(servers, COUNTING, clock=self.engine.reactor, queue=QueueSettings(size=0))
        self.factory = TcpProxyFactory(ProxyContext(group, self.settings, self.spill, self.engine.reactor))
        self.connect()
        with capturedLogs() as logs:
            for _ in range(2):
                self.connect()
                self.engine.settle()
        self.assertEqual(len(logs), 2)
        self.assertIn("all servers are busy, and 0 wait already", self.last_line(logs))

    def test_another_error(self) -> None:
        self.connect()
        with capturedLogs() as logs:
            self.endpoint.attempts[0][1].errback(ValueError("what a name"))
            self.engine.settle()
        self.assertIn("cannot be reached: ValueError: what a name", self.last_line(logs))
        self.assert_over()

    def test_fails_at_once(self) -> None:
        """As C{HostnameEndpoint} does with a name that can be none."""
        self.endpoint.at_once = lambda factory: fail(ValueError("invalid hostname"))
        client = self.connect()
        self.engine.settle()
        self.assertEqual(self.flushLoggedErrors(), [])
        client.read()
        self.assertTrue(client.ended)
        self.assert_over()
        self.assertEqual(self.factory.statistics().connect_failures, 1)

    def test_raises(self) -> None:
        """An endpoint that raises instead of failing costs one session, nothing else."""

        def boom(factory: Any) -> Deferred[Any]:
            raise ZeroDivisionError("boom")

        self.endpoint.at_once = boom
        client = None
        with contextlib.suppress(ZeroDivisionError):
            client = self.connect()
        self.engine.settle()
        self.flushLoggedErrors(ZeroDivisionError)
        if client is not None:
            client.read()
        self.assertEqual(self.factory.sessions, set())

    def test_connects_at_once(self) -> None:
        """As endpoints in memory do."""
        peers: list[Peer] = []

        def now(factory: Any) -> Deferred[Any]:
            ours, peer = self.engine.pair()
            peers.append(peer)
            protocol = factory.buildProtocol(None)
            self.engine.adopt(ours, protocol)
            return succeed(protocol)

        self.endpoint.at_once = now
        client = self.connect()
        client.write(b"hello")
        self.engine.settle()
        self.assertEqual(peers[0].read(), b"hello")

    def test_timeout(self) -> None:
        client = self.connect()
        with capturedLogs() as logs:
            self.engine.advance(9.9)
            self.assertEqual(self.endpoint.cancelled, 0)
            self.engine.advance(0.2)
        self.assertEqual(self.endpoint.cancelled, 1)
        client.read()
        self.assertTrue(client.ended)
        self.assertIn("cannot be reached: no connection within 10.0 s", self.last_line(logs))
        self.assert_over()

    def test_no_timeout(self) -> None:
        self.factory = self.make(attrs.evolve(SETTINGS, connect_timeout=0))
        self.connect()
        self.engine.clock.advance(10**6)
        self.engine.settle()
        self.assertEqual(self.endpoint.cancelled, 0)
        self.factory.shutdown()
        self.engine.settle()
        self.assert_over()

    def test_aborted_while_connecting(self) -> None:
        self.connect()
        (session,) = self.factory.sessions
        self.factory.shutdown()
        self.engine.settle()
        self.assertEqual(self.endpoint.cancelled, 1)
        self.assert_over()
        self.assertIn("closed>", repr(session))

    def test_client_is_lost_while_connecting(self) -> None:
        """As a transport that is not read tells it when it is lost all the same."""
        transport = MemoryTransport()
        end = self.factory.buildProtocol(None)
        end.makeConnection(transport)
        transport.disconnected = True
        end.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.endpoint.cancelled, 1)
        self.assertEqual(self.factory.sessions, set())
        self.assertEqual(timers_left(self.engine.reactor, self.factory), [])
        self.assertEqual(self.factory.statistics().connect_failures, 0)

    def test_an_upstream_that_comes_after_all(self) -> None:
        """Cancelling came too late: the connection is there, and nobody wants it."""
        answer: Deferred[Any] = Deferred(lambda _: None)
        answer.errback = lambda *_: None  # type: ignore[method-assign,assignment]
        self.endpoint.at_once = lambda factory: answer
        transport = MemoryTransport()
        end = self.factory.buildProtocol(None)
        end.makeConnection(transport)
        end.connectionLost(Failure(ConnectionLost()))
        del answer.errback
        upstream = MemoryTransport()
        protocol = self.endpoint.attempts[0][0].buildProtocol(None)
        protocol.makeConnection(upstream)
        answer.callback(protocol)
        self.assertEqual(upstream.ends, ["abort"])
        self.assertEqual(self.factory.sessions, set())


class TimeTests(ProxyCase):
    def test_idle(self) -> None:
        """The time runs from the last byte, either way."""
        for who in ("client", "server"):
            client, server = self.session(attrs.evolve(SETTINGS, limits=attrs.evolve(LIMITS, read_timeout=0)))
            self.engine.advance(60, 1)
            (client if who == "client" else server).write(b"x")
            self.engine.settle()
            with capturedLogs() as logs:
                self.engine.advance(99, 1)
                self.assertEqual(len(self.factory.sessions), 1)
                self.engine.advance(2, 1)
            self.assertEqual(len(self.factory.sessions), 0, who)
            self.assertIn("idle timeout of 100 s expired", self.last_line(logs))
            for peer in (client, server):
                self.drain(peer)
                self.assertTrue(peer.ended or peer.reset)
            self.assert_over()

    def test_never_idle(self) -> None:
        settings = attrs.evolve(SETTINGS, limits=attrs.evolve(LIMITS, read_timeout=0), idle_timeout=0)
        self.session(settings)
        self.engine.clock.advance(10**6)
        self.engine.settle()
        self.assertEqual(len(self.factory.sessions), 1)

    def test_a_silent_client_is_no_read_timeout(self) -> None:
        """A client may be silent for as long as the session is not idle; an upstream may not."""
        client, server = self.session()
        for _ in range(8):
            self.engine.advance(29, 1)
            server.write(b"x")
            self.engine.settle()
        self.assertEqual(len(self.factory.sessions), 1)
        self.assertEqual(client.read(), b"x" * 8)

    def test_read_timeout(self) -> None:
        client, server = self.session()
        with capturedLogs() as logs:
            self.engine.advance(31, 1)
        self.assertIn("upstream: read timeout of 30 s expired", self.last_line(logs))
        for peer in (client, server):
            peer.read()
            self.assertTrue(peer.ended or peer.reset)
        self.assert_over()

    def test_send_timeout(self) -> None:
        client, server = self.session(attrs.evolve(SETTINGS, limits=attrs.evolve(LIMITS, read_timeout=0)))
        self.fill(server, bytes(600 << 10))
        with capturedLogs() as logs:
            self.engine.advance(31, 1)
        self.assertIn("client: send timeout of 30 s expired", " ".join(str(formatEvent(event)) for event in logs))
        server.read()
        self.assertTrue(server.ended or server.reset)
        self.drain(client)
        self.assert_over()

    def test_lingering(self) -> None:
        """The upstream has ended and the client is silent: the upstream's connection goes, after a while."""
        client, server = self.session()
        server.write(b"answer")
        server.half_close()
        self.engine.settle()
        self.engine.advance(4, 1)
        self.assertEqual(len(self.factory.sessions), 1)
        client.write(b"wait")
        self.engine.settle()
        self.engine.advance(4, 1)
        self.assertEqual(len(self.factory.sessions), 1)
        self.engine.advance(2, 1)
        self.assertEqual(len(self.factory.sessions), 0)
        self.assertEqual(server.read(), b"wait")
        self.assertTrue(server.ended)
        self.assertEqual(client.read(), b"answer")
        self.assertTrue(client.ended)
        self.assert_over()

    def test_no_lingering(self) -> None:
        client, server = self.session(attrs.evolve(SETTINGS, lingering_timeout=0))
        server.write(b"answer")
        server.half_close()
        self.engine.settle()
        self.assertEqual(client.read(), b"answer")
        self.assertTrue(client.ended)
        self.assert_over()

    def test_lingering_with_a_slow_client(self) -> None:
        """The upstream's connection goes; the client gets the rest in its own time."""
        client, server = self.session()
        data = os.urandom(600 << 10)
        self.fill(server, data)
        server.half_close()
        self.engine.settle()
        self.engine.advance(6, 1)
        server.read()
        self.assertTrue(server.ended)
        self.assertEqual(len(self.factory.sessions), 1)
        self.assertEqual(self.drain(client), data)
        self.assertTrue(client.ended)
        self.assert_over()

    def test_rate_holds_for_the_response_only(self) -> None:
        client, server = self.session(attrs.evolve(SETTINGS, limits=attrs.evolve(LIMITS, limit_rate=10_000)))
        client.write(bytes(100_000))
        self.engine.settle()
        self.assertEqual(len(server.read()), 100_000)
        server.write(bytes(100_000))
        got = 0
        for _ in range(5):
            self.engine.advance(1)
            got += len(client.read())
        self.assertTrue(abs(got - 50_000) <= 1000, got)


class Shout(PipeFilter):
    def received(self, data: memoryview) -> Any:
        yield bytes(data).upper()


class FilterFactory:
    """A plugin that builds what it is told, and remembers for whom."""

    name = "fake"
    on_failure = OnFailure.ABORT
    timeout = 0.0

    def __init__(self, build: Callable[[FilterContext], Any]) -> None:
        self.contexts: list[FilterContext] = []
        self._build = build

    def build(self, context: FilterContext) -> Any:
        self.contexts.append(context)
        return self._build(context)


class FilterTests(ProxyCase):
    client_port: int | None = 4321

    def test_each_direction_has_its_own(self) -> None:
        response, request = FilterFactory(Shout), FilterFactory(PipeFilter)
        client, server = self.session(attrs.evolve(SETTINGS, response_filters=(response,), request_filters=(request,)))
        client.write(b"question")
        server.write(b"answer")
        self.engine.settle()
        self.assertEqual((server.read(), client.read()), (b"question", b"ANSWER"))
        (context,) = response.contexts
        self.assertEqual((context.direction, context.clock), (Direction.RESPONSE, self.engine.reactor))
        ports = [getattr(address, "port", None) for address in (context.client, context.upstream)]
        self.assertEqual(ports, [self.client_port] * 2)
        self.assertEqual(request.contexts[0].direction, Direction.REQUEST)

    def test_cannot_be_built(self) -> None:
        def boom(context: FilterContext) -> Any:
            raise ZeroDivisionError("boom")

        client, server = self.session(attrs.evolve(SETTINGS, response_filters=(FilterFactory(boom),)))
        [failure] = self.flushLoggedErrors(FilterFailed)
        self.assertEqual(str(failure.value), "filter 'fake': ZeroDivisionError: boom")
        for peer in (client, server):
            peer.read()
            self.assertTrue(peer.ended or peer.reset)
        self.assert_over()

    def test_fails(self) -> None:
        """Either direction's failure ends both, uncleanly, and says which filter it was."""

        class Fails(PipeFilter):
            def received(self, data: memoryview) -> Any:
                raise ZeroDivisionError("boom")

        for field in ("response_filters", "request_filters"):
            client, server = self.session(attrs.evolve(SETTINGS, **{field: (FilterFactory(Fails),)}))
            with capturedLogs() as logs:
                (server if field == "response_filters" else client).write(b"x")
                self.engine.settle()
            self.assertIn("filter 'fake': ZeroDivisionError: boom", self.last_line(logs))
            for peer in (client, server):
                peer.read()
                self.assertTrue(peer.ended or peer.reset)
            self.assert_over()


class BareCase(ProxyCase):
    """
    Nothing but sockets: the client is handed over by the listener, the upstream is a listening UNIX socket.

    @ivar listener: that of the upstream.
    """

    client_name = "unix"

    def setUp(self) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.listener.close)
        self.listener.bind("")  # an abstract name, any that is free
        self.listener.listen()
        self.listener.setblocking(False)
        self.address: Any = os.fsdecode(self.listener.getsockname())
        ProxyCase.setUp(self)

    def make(self, settings: ProxySettings) -> TcpProxyFactory:
        group = UpstreamGroup([UpstreamServer("origin:80", self.endpoint, self.address)], COUNTING)
        return TcpProxyFactory(ProxyContext(group, settings, self.spill, self.engine.reactor))

    def connect(self) -> Peer:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        peer = Peer(theirs)
        self.addCleanup(peer.close)
        self.factory.socket_accepted(ours)
        return peer

    def accept(self) -> Peer:
        peer = Peer(self.listener.accept()[0])
        self.addCleanup(peer.close)
        self.engine.settle()
        return peer

    def assert_over(self) -> None:
        self.assertEqual(self.endpoint.attempts, [], "it is the address that counts")
        super().assert_over()


class BareSessionTests(BareCase, SessionTests):
    cancelled = 0


class BareTimeTests(BareCase, TimeTests):
    pass


class BareFilterTests(BareCase, FilterTests):
    client_port = None


class BareConnectingTests(BareCase):
    def test_refused(self) -> None:
        self.listener.close()
        with capturedLogs() as logs:
            client = self.connect()
            self.engine.settle()
        client.read()
        self.assertTrue(client.ended)
        self.assertIn("upstream origin:80 cannot be reached: Connection refused", self.last_line(logs))
        self.assert_over()
        self.assertEqual(self.factory.statistics().connect_failures, 1)

    def full(self) -> None:
        """From now on the upstream is a TCP socket that nobody can connect to: whoever tries, waits."""
        self.listener.close()
        self.listener = socket.socket()
        self.addCleanup(self.listener.close)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(0)
        self.address = self.listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            self.addCleanup(each.close)
            each.setblocking(False)
            each.connect_ex(self.address)
        self.factory = self.make(self.settings)

    def test_refused_by_tcp(self) -> None:
        """Which says so later, by an event."""
        self.full()
        self.listener.close()
        with capturedLogs() as logs:
            client = self.connect()
            self.engine.settle()
        client.read()
        self.assertTrue(client.ended)
        self.assertIn("upstream origin:80 cannot be reached: Connection refused", self.last_line(logs))
        self.assert_over()
        self.assertEqual(self.factory.statistics().connect_failures, 1)

    def test_timeout(self) -> None:
        self.full()
        client = self.connect()
        with capturedLogs() as logs:
            self.engine.advance(9.9)
            self.assertEqual(len(self.factory.sessions), 1)
            self.engine.advance(0.2)
        self.assertEqual(len(self.factory.sessions), 0)
        client.read()
        self.assertTrue(client.ended)
        self.assertIn("cannot be reached: no connection within 10.0 s", self.last_line(logs))
        self.assert_over()
        self.assertEqual(self.factory.statistics().connect_failures, 1)

    def test_aborted_while_connecting(self) -> None:
        self.full()
        client = self.connect()
        self.engine.settle()
        (session,) = self.factory.sessions
        self.factory.shutdown()
        self.engine.settle()
        client.read()
        self.assertTrue(client.ended or client.reset)
        self.assert_over()
        self.assertIn("closed>", repr(session))

    def test_closed_to_make_room_while_connecting(self) -> None:
        """C{worker_connections} closes a client that is idle for long: its session must not outlive it."""
        self.full()
        client = self.connect()
        self.engine.advance(2)
        connections = self.engine.reactor.connections
        connections.limit = self.engine.statistics.registered
        connections.make()
        self.assertEqual(self.engine.statistics.drained, 1)
        self.engine.settle()
        client.read()
        self.assertTrue(client.ended)
        self.assert_over()

    def test_whoever_has_just_come_is_not_idle(self) -> None:
        """Not even before the first event."""
        self.engine.advance(10, 1)
        self.connect()
        connections = self.engine.reactor.connections
        connections.limit = self.engine.statistics.registered
        self.assertRaises(NoRoom, connections.make)
        self.assertEqual(self.engine.statistics.drained, 0)

    def test_no_descriptor(self) -> None:
        """For the upstream's socket: that session is lost, and the client told."""

        def exhausted(*_: object) -> Any:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        self.patch(bare.socket, "SocketType", exhausted)
        with capturedLogs() as logs:
            client = self.connect()
            self.engine.settle()
        client.read()
        self.assertTrue(client.ended)
        self.assertIn("upstream origin:80 cannot be reached: Too many open files", self.last_line(logs))
        self.assert_over()


class MemoryTests(SynchronousTestCase):
    """Transports of another reactor."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.endpoint = FakeEndpoint()
        path = self.mktemp()
        os.mkdir(path)
        group = UpstreamGroup([UpstreamServer("origin:80", self.endpoint)], COUNTING)
        self.factory = TcpProxyFactory(ProxyContext(group, SETTINGS, WatchedSpill(path), self.clock))
        self.client, self.upstream = MemoryTransport(), MemoryTransport()
        self.client_end = self.factory.buildProtocol(None)
        self.client_end.makeConnection(self.client)

    def accept(self) -> None:
        factory, answer = self.endpoint.attempts[0]
        self.upstream_end = factory.buildProtocol(None)
        self.upstream_end.makeConnection(self.upstream)
        answer.callback(self.upstream_end)

    def go(self) -> None:
        """Both transports, as they were told to."""
        self.client.disconnected = self.upstream.disconnected = True
        self.clock.advance(1)

    def test_both_directions(self) -> None:
        self.accept()
        self.assertEqual((self.client.producerState, self.upstream.producerState), ("producing", "producing"))
        self.client_end.dataReceived(b"question")
        self.upstream_end.dataReceived(b"answer")
        self.assertEqual((self.upstream.value(), self.client.value()), (b"question", b"answer"))

    def test_early_bytes_and_an_early_end(self) -> None:
        self.client_end.dataReceived(b"question")
        self.client_end.readConnectionLost()
        self.accept()
        self.assertEqual(self.upstream.value(), b"question")
        self.assertEqual(self.upstream.ends, ["half"])
        self.upstream_end.dataReceived(b"answer")
        self.upstream_end.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.client.value(), b"answer")
        self.assertEqual(self.factory.sessions, set())
        self.go()
        self.assertEqual(timers_left(self.clock, self.factory), [])

    def test_client_is_lost(self) -> None:
        self.accept()
        self.client.producer.stopProducing()  # type: ignore[union-attr]
        self.client_end.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.factory.sessions, set())
        self.assertTrue(self.upstream.ends)
        self.assertEqual(timers_left(self.clock, self.factory), [])

    def test_upstream_is_lost(self) -> None:
        self.accept()
        self.upstream_end.dataReceived(b"half an ans")
        self.upstream.producer.stopProducing()  # type: ignore[union-attr]
        self.upstream_end.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.client.value(), b"half an ans")
        self.clock.advance(6)
        self.assertEqual(self.factory.sessions, set())
        self.assertTrue(self.client.ends)
        self.go()
        self.assertEqual(timers_left(self.clock, self.factory), [])

    def test_transports_that_do_not_go_by_themselves(self) -> None:
        """When their session has ended cleanly nobody else waits for them."""
        self.accept()
        self.upstream_end.dataReceived(b"answer")
        self.upstream_end.readConnectionLost()
        self.client_end.readConnectionLost()
        self.assertEqual(self.factory.sessions, set())
        self.assertEqual((self.client.ends[-1], self.upstream.ends[-1]), ("lose", "lose"))
        self.clock.pump([1] * 31)
        self.assertEqual((self.client.ends[-1], self.upstream.ends[-1]), ("abort", "abort"))
        self.assertEqual(timers_left(self.clock, self.factory), [])

    def test_cancelled_connection_is_no_noise(self) -> None:
        self.factory.shutdown()
        self.assertEqual(self.flushLoggedErrors(CancelledError), [])
        self.assertEqual(self.factory.sessions, set())
