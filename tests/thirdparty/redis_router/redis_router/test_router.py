"""The router without sockets: clients and servers are string transports."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.plugin import getPlugins
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from redis_router.protocol import RedisRouter
from redis_router.resp import CommandParser, encode_bulk, encode_command
from redis_router.slots import SlotMap
from twisted_pipe.errors import FilterFailed
from twisted_pipe.filters.discovery import find_filter
from twisted_pipe.interfaces import IPipeProtocol, IPipeProtocolFactory, OnFailure
from twisted_pipe.limits import PipeLimits
from twisted_pipe.net.spillfile import SpillDirectory
from twisted_pipe.proxies.context import ProxyContext
from twisted_pipe.proxies.settings import ProxySettings
from twisted_pipe.upstream.group import UpstreamGroup, UpstreamServer

#: By the servers that have them, of two.
A, B = b"bar", b"foo"


class Connection(StringTransport):
    """One end of a connection: what its protocol writes is taken, and what it is sent it gets when it wants to."""

    producer: Any

    def __init__(self, protocol: Any) -> None:
        super().__init__(IPv4Address("TCP", "10.0.0.1", 6379), IPv4Address("TCP", "10.0.0.7", 40001), lenient=True)
        self.protocol = protocol
        self.most_at_once = 0
        protocol.makeConnection(self)

    @property
    def paused(self) -> bool:
        return self.producerState == "paused"

    def taken(self) -> bytes:
        """What was written since the last call."""
        value: bytes = self.value()
        self.clear()
        return value

    def lose(self, reason: Exception | None = None) -> None:
        """The other end is gone."""
        if self.connected:
            self.connected = False
            if self.producer is not None:
                self.producer.stopProducing()
            self.protocol.connectionLost(Failure(reason or ConnectionDone()))


class Endpoint:
    """
    A server. It connects when it is told to, or at once.

    @ivar fails: why it does not connect.
    """

    def __init__(self) -> None:
        self.waiting: list[tuple[Any, Deferred[Any]]] = []
        self.connections: list[Connection] = []
        self.at_once = True
        self.fails: Exception | None = None

    def connect(self, factory: Any) -> Deferred[Any]:
        connecting: Deferred[Any] = Deferred()
        self.waiting.append((factory, connecting))
        if self.at_once:
            self.answer()
        return connecting

    def answer(self) -> None:
        factory, connecting = self.waiting.pop(0)
        if self.fails is not None:
            connecting.errback(self.fails)
            return
        protocol = factory.buildProtocol(None)
        self.connections.append(Connection(protocol))
        connecting.callback(protocol)

    @property
    def link(self) -> Connection:
        """The connection to it that was made last."""
        return self.connections[-1]

    def says(self, data: bytes) -> None:
        self.link.protocol.dataReceived(data)


class RouterCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.endpoints = [Endpoint(), Endpoint()]
        self.a, self.b = self.endpoints
        self.router = self.make()

    def make(self, options: dict[str, Any] | None = None, **settings: Any) -> RedisRouter:
        """Found as a user's configuration would find it."""
        names = ["a:1", "b:2", "c:3"]
        group = UpstreamGroup([UpstreamServer(*each) for each in zip(names, self.endpoints)])  # noqa: B905
        context = ProxyContext(group, ProxySettings(**settings), SpillDirectory(), self.clock)
        [plugin] = [each for each in getPlugins(IPipeProtocolFactory) if each.name == "redis"]
        router: Any = plugin.configure(options or {}).build(context)
        assert isinstance(router, RedisRouter)
        self.addCleanup(router.shutdown)
        return router

    def client(self) -> Connection:
        return Connection(self.router.buildProtocol(None))

    def say(self, client: Connection, *commands: str) -> None:
        """Each in words."""
        client.protocol.dataReceived(b"".join(encode_command(each.encode().split()) for each in commands))

    def assert_over(self, client: Connection, clean: bool) -> None:
        self.assertEqual((client.disconnecting, client.disconnected), (True, not clean))
        self.assertEqual(self.router.statistics().clients, 0)
        for endpoint in self.endpoints:
            for link in endpoint.connections:
                self.assertTrue(link.disconnecting or not link.connected)
        self.assertEqual([server.connections for server in self.router.statistics().servers], [0] * len(self.endpoints))
        self.clock.advance(100)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class RoutingTests(RouterCase):
    def test_it_is_a_protocol(self) -> None:
        self.assertTrue(verifyObject(IPipeProtocol, self.router))
        self.assertTrue(verifyObject(IHalfCloseableProtocol, self.client().protocol))

    def test_by_key(self) -> None:
        client = self.client()
        self.say(client, "SET bar 1", "get foo", "GET bar")
        self.assertEqual(self.a.link.taken(), encode_command([b"SET", A, b"1"]) + encode_command([b"GET", A]))
        self.assertEqual(self.b.link.taken(), encode_command([b"get", B]))

    def test_in_order(self) -> None:
        client = self.client()
        self.say(client, "GET bar", "GET foo", "GET foo", "GET bar", "PING", "GET foo")
        self.b.says(b":2\r\n:3\r\n:5\r")
        self.assertEqual(client.taken(), b"")
        self.a.says(b"*2\r\n$1\r\n1\r\n")
        self.assertEqual(client.taken(), b"*2\r\n$1\r\n1\r\n", "as much of it as has come")
        self.a.says(b":1\r\n:4")
        self.assertEqual(client.taken(), b":1\r\n:2\r\n:3\r\n:4")
        self.a.says(b"\r\n")
        self.assertEqual(client.taken(), b"\r\n+PONG\r\n:5\r")
        self.b.says(b"\n")
        self.assertEqual(client.taken(), b"\n")

    def test_local(self) -> None:
        client = self.client()
        client.protocol.dataReceived(b"PING\r\nPING hello\r\nECHO a\r\nECHO\r\n")
        errors = b"-ERR wrong number of arguments for 'echo' command\r\n"
        self.assertEqual(client.taken(), b"+PONG\r\n$5\r\nhello\r\n$1\r\na\r\n" + errors)
        self.assertEqual(self.a.connections + self.b.connections, [])

    def test_several_keys(self) -> None:
        client = self.client()
        crossslot = b"-CROSSSLOT Keys in request don't hash to the same server\r\n"
        for text in (
            "MGET bar foo",
            "DEL bar foo",
            "MSET bar 1 foo 2",
            "RENAME bar foo",
            "EVAL x 2 bar foo",
            "BITOP or bar foo",
        ):
            self.say(client, text)
            self.assertEqual(client.taken(), crossslot, text)
        for text in (
            "MGET foo foo{foo}",
            "MSET foo bar {foo}2 bar",
            "EVAL x 1 foo bar",
            "ZUNIONSTORE foo 1 {foo}1 bar",
            "ZUNION 1 foo bar",
            "BITOP bar foo foo",
            "OBJECT bar foo",
            "SINTER foo",
            "EVAL x 0",
            "EVAL x many foo",
            "GET",
            "CONFIG GET save",
            "dbsize",
        ):
            self.say(client, text)
            self.assertEqual(client.taken(), b"", text)
            [taken] = [link.taken() for each in self.endpoints for link in each.connections if link.value()]
            self.assertEqual(taken, encode_command(text.encode().split()))
            (self.b if "foo" in text and "many" not in text else self.a).says(b"+OK\r\n")
            self.assertEqual(client.taken(), b"+OK\r\n", text)

    def test_unsupported(self) -> None:
        client = self.client()
        for name in ["MULTI", "SUBSCRIBE", "BLPOP", "MONITOR", "SELECT", "HELLO", "CLIENT"]:
            self.say(client, f"{name.lower()} bar")
            self.assertEqual(client.taken(), f"-ERR {name} is not supported by redis_router\r\n".encode())

    def test_one_server(self) -> None:
        self.endpoints = [Endpoint()]
        self.router = self.make()
        self.say(self.client(), "MGET bar foo")
        self.assertEqual(self.endpoints[0].link.taken(), encode_command([b"MGET", A, B]))

    def test_statistics(self) -> None:
        client = self.client()
        self.say(client, "GET bar", "GET bar", "GET foo", "PING")
        told = self.router.statistics()
        self.assertEqual((told.accepted, told.clients, told.commands), (1, 1, 4))
        self.assertEqual(
            [(each.name, each.commands, each.connections) for each in told.servers], [("a:1", 2, 1), ("b:2", 1, 1)]
        )


class EndTests(RouterCase):
    def test_quit(self) -> None:
        """Replies before it are waited for, and what comes after it is not done."""
        client = self.client()
        self.say(client, "GET bar", "QUIT", "GET bar")
        self.assertFalse(client.disconnecting)
        self.assertTrue(client.paused)
        self.a.says(b":1\r\n")
        self.assertEqual(client.taken(), b":1\r\n+OK\r\n")
        self.assertEqual(self.a.link.taken().count(b"GET"), 1)
        self.assert_over(client, clean=True)

    def test_half_close(self) -> None:
        client = self.client()
        self.say(client, "GET bar", "GET foo")
        client.protocol.readConnectionLost()
        self.a.says(b":1\r\n")
        self.assertFalse(client.disconnecting)
        self.b.says(b":2\r\n")
        self.assertEqual(client.taken(), b":1\r\n:2\r\n")
        self.assert_over(client, clean=True)

    def test_half_close_while_connecting(self) -> None:
        self.a.at_once = False
        client = self.client()
        self.say(client, "GET bar", "GET bar")
        client.protocol.readConnectionLost()
        self.a.answer()
        self.a.says(b":1\r\n:2\r\n")
        self.assertEqual(client.taken(), b":1\r\n:2\r\n")
        self.assert_over(client, clean=True)

    def test_half_close_of_nothing(self) -> None:
        client = self.client()
        client.protocol.readConnectionLost()
        self.assert_over(client, clean=True)

    def test_client_lost(self) -> None:
        client = self.client()
        self.say(client, "GET bar", "GET foo")
        self.b.says(b":2\r\n")
        client.lose(ConnectionLost())
        self.assertTrue(self.a.link.disconnected, "aborted, because it owes a reply")
        self.assertEqual(self.router.statistics().clients, 0)
        self.b.says(b":3\r\n")  # too late

    def test_client_lost_while_connecting(self) -> None:
        self.a.at_once = False
        client = self.client()
        self.say(client, "GET bar")
        client.lose()
        [(_, connecting)] = self.a.waiting
        self.assertTrue(connecting.called)
        self.assertEqual(self.router.statistics().clients, 0)
        self.assertEqual(self.router.statistics().servers[0].connect_failures, 0)

    def test_protocol_error(self) -> None:
        client = self.client()
        self.say(client, "GET bar")
        client.protocol.dataReceived(b"*1\r\n+PING\r\n")
        self.a.says(b":1\r\n")
        self.assertEqual(client.taken(), b":1\r\n-ERR Protocol error: expected '$', got '+'\r\n")
        self.assert_over(client, clean=True)

    def test_too_large(self) -> None:
        self.router = self.make({"max_command": "1k"})
        client = self.client()
        client.protocol.dataReceived(b"*3\r\n$3\r\nSET\r\n$3\r\nbar\r\n$1024\r\n")
        self.assertEqual(client.taken(), b"-ERR Protocol error: more than 1024 bytes\r\n")
        self.assert_over(client, clean=True)

    def test_web_browser(self) -> None:
        client = self.client()
        client.protocol.dataReceived(b"POST / HTTP/1.1\r\nHost: a\r\n\r\nSET bar 1\r\n")
        self.assertEqual(client.taken(), b"-ERR Protocol error: POST is no command\r\n")
        self.assert_over(client, clean=True)
        self.assertEqual(self.a.connections, [])

    def test_shutdown(self) -> None:
        client = self.client()
        self.say(client, "GET bar")
        self.router.shutdown()
        self.assert_over(client, clean=False)

    def test_filter_fails(self) -> None:
        class Broken:
            name = "broken"
            on_failure = OnFailure.ABORT

            def build(self, context: Any) -> Any:
                raise ValueError("it is broken")

        settings: list[dict[str, Any]] = [{"response_filters": (Broken(),)}, {"request_filters": (Broken(),)}]
        for each in settings:
            self.router = self.make(**each)
            client = self.client()
            if not client.disconnecting:
                self.say(client, "GET bar")
            self.assert_over(client, clean=False)
            self.assertEqual(len(self.flushLoggedErrors(FilterFailed)), 1)


class ServerTests(RouterCase):
    def test_lost_while_it_owes(self) -> None:
        """The client gets what came before, and no clean end."""
        client = self.client()
        self.say(client, "GET foo", "GET bar", "GET foo")
        self.a.says(b"$5\r\nab")
        self.a.link.lose(ConnectionLost())
        self.assertFalse(client.disconnecting)
        self.b.says(b":1\r\n")
        self.assertEqual(client.taken(), b":1\r\n$5\r\nab")
        self.assert_over(client, clean=False)
        self.assertEqual(self.router.statistics().servers[0].losses, 1)

    def test_lost_after_it_has_answered(self) -> None:
        """What it said before it went is still good."""
        client = self.client()
        self.say(client, "GET foo", "GET bar")
        self.a.says(b":2\r\n")
        self.a.link.lose(ConnectionLost())
        self.b.says(b":1\r\n")
        self.assertEqual(client.taken(), b":1\r\n:2\r\n")
        self.assertFalse(client.disconnecting)

    def test_connects_again(self) -> None:
        client = self.client()
        for number in range(3):
            self.say(client, "GET bar")
            self.a.says(b":1\r\n")
            self.assertEqual(client.taken(), b":1\r\n")
            self.assertEqual(len(self.a.connections), number + 1)
            self.a.link.lose()
        self.assertFalse(client.disconnecting)

    def test_cannot_be_reached(self) -> None:
        """The reply says so, in its place; it is not tried again for a second."""
        self.b.fails = ConnectionRefusedError(111, "Connection refused")
        client = self.client()
        self.say(client, "GET bar", "GET foo", "GET foo", "GET bar")
        self.a.says(b":1\r\n:4\r\n")
        error = (
            b"-ERR upstream b:2 cannot be reached: Connection was refused by other side: 111: Connection refused\r\n"
        )
        self.assertEqual(client.taken(), b":1\r\n" + 2 * error + b":4\r\n")
        self.assertEqual(self.router.statistics().servers[1].connect_failures, 1)
        self.b.fails = None
        self.say(client, "GET foo")
        self.assertEqual(client.taken(), error)
        self.clock.advance(1.1)
        self.say(client, "GET foo")
        self.b.says(b":5\r\n")
        self.assertEqual(client.taken(), b":5\r\n")

    def test_does_not_connect_in_time(self) -> None:
        self.router = self.make(connect_timeout=7)
        self.a.at_once = False
        client = self.client()
        self.say(client, "GET bar", "GET foo")
        self.assertTrue(client.paused)
        self.clock.advance(7.1)
        self.assertEqual(client.taken(), b"-ERR upstream a:1 cannot be reached: no connection within 7.000 s\r\n")
        self.assertFalse(client.paused)
        self.b.says(b":2\r\n")
        self.assertEqual(client.taken(), b":2\r\n")

    def test_says_what_nobody_asked_for(self) -> None:
        client = self.client()
        self.say(client, "GET bar")
        self.a.says(b":1\r\n:2\r\n")
        self.assertEqual(client.taken(), b":1\r\n")
        self.assertTrue(self.a.link.disconnecting)
        self.say(client, "GET bar")
        self.a.says(b":3\r\n")
        self.assertEqual(client.taken(), b":3\r\n")
        self.assertEqual(len(self.a.connections), 2)

    def test_says_what_is_no_reply(self) -> None:
        client = self.client()
        self.say(client, "GET bar")
        self.say(client, "GET bar")
        self.a.says(b":1\r\nHTTP/1.1 400 Bad Request\r\n")
        self.assertEqual(client.taken(), b":1\r\n")
        self.assert_over(client, clean=False)

    def test_says_nothing(self) -> None:
        """The read timeout is for servers that owe a reply, not for clients that ask nothing."""
        self.router = self.make(limits=PipeLimits(read_timeout=5), idle_timeout=1000)
        client = self.client()
        self.clock.pump([1] * 20)
        self.say(client, "GET bar")
        self.clock.pump([1] * 4)
        self.a.says(b":1\r\n")
        self.clock.pump([1] * 20)
        self.assertFalse(client.disconnecting)
        self.say(client, "GET bar")
        self.clock.pump([1] * 6)
        self.assert_over(client, clean=False)

    def test_client_says_nothing(self) -> None:
        self.router = self.make(idle_timeout=10)
        client = self.client()
        self.clock.pump([1] * 8)
        self.say(client, "PING")
        self.clock.pump([1] * 8)
        self.assertFalse(client.disconnecting)
        self.clock.pump([1] * 8)
        self.assert_over(client, clean=False)

    def test_takes_nothing(self) -> None:
        """A server that takes no commands for C{send_timeout} is given up."""
        self.router = self.make(limits=PipeLimits(send_timeout=5, read_timeout=0), idle_timeout=0)
        client = self.client()
        self.say(client, "GET bar")
        self.a.link.producer.pauseProducing()
        self.say(client, "GET bar")
        self.clock.pump([1] * 6)
        self.assert_over(client, clean=False)


class PressureTests(RouterCase):
    def test_a_server_whose_turn_it_is_not(self) -> None:
        client = self.client()
        self.say(client, "GET foo", "GET bar")
        self.a.says(b"$100\r\n" + bytes(10))
        self.assertTrue(self.a.link.paused)
        self.assertFalse(self.b.link.paused)
        self.b.says(b":1\r\n")
        self.assertFalse(self.a.link.paused)
        self.assertEqual(client.taken(), b":1\r\n$100\r\n" + bytes(10))

    def test_a_client_that_takes_nothing(self) -> None:
        """The servers wait once the pipe is full, and go on when it is not."""
        self.router = self.make(limits=PipeLimits(buffers=2, buffer_size=1000, max_temp_file_size=0, read_timeout=0))
        client = self.client()
        self.say(client, "GET bar", "GET foo")
        client.producer.pauseProducing()
        self.a.says(b"$100000\r\n" + bytes(5000))
        self.assertTrue(self.a.link.paused)
        self.assertTrue(self.b.link.paused)
        client.producer.resumeProducing()
        self.assertFalse(self.a.link.paused)
        self.assertFalse(self.b.link.paused)
        self.assertEqual(len(client.taken()), 5009)

    def test_a_server_that_takes_nothing(self) -> None:
        self.router = self.make(limits=PipeLimits(buffers=2, buffer_size=1000, max_temp_file_size=0))
        client = self.client()
        self.say(client, "GET bar")
        self.a.link.producer.pauseProducing()
        value = "x" * 900
        self.say(client, *[f"SET bar {value}"] * 5)
        self.assertTrue(client.paused)
        self.a.link.producer.resumeProducing()
        self.assertFalse(client.paused)
        self.assertEqual(self.a.link.taken().count(value.encode()), 5)

    def test_connecting(self) -> None:
        """The client waits meanwhile; no command overtakes another."""
        self.a.at_once = False
        client = self.client()
        self.say(client, "GET bar", "GET foo", "GET bar")
        self.assertTrue(client.paused)
        self.assertEqual(self.b.connections, [])
        self.a.answer()
        self.assertFalse(client.paused)
        self.assertEqual(self.a.link.taken(), 2 * encode_command([b"GET", A]))
        self.assertEqual(self.b.link.taken(), encode_command([b"GET", B]))

    def test_commands_without_reply(self) -> None:
        self.router = self.make({"max_pending": "3"})
        client = self.client()
        self.say(client, *["GET bar"] * 5)
        self.assertTrue(client.paused)
        self.assertEqual(self.a.link.taken(), 3 * encode_command([b"GET", A]))
        self.a.says(b":1\r\n:2\r\n")
        self.assertEqual(self.a.link.taken(), 2 * encode_command([b"GET", A]))
        self.assertTrue(client.paused)
        self.a.says(b":3\r\n")
        self.assertFalse(client.paused)
        self.assertEqual(client.taken(), b":1\r\n:2\r\n:3\r\n")

    def test_answers_of_its_own(self) -> None:
        """They take memory until it is their turn."""
        self.router = self.make({"max_command": "1k"})
        client = self.client()
        self.say(client, "GET bar", *["ECHO " + "x" * 500] * 100)
        self.assertTrue(client.paused)
        self.assertEqual(client.protocol._count, 4)
        self.a.says(b":1\r\n")
        self.assertEqual(client.taken().count(b"x" * 500), 100)
        self.assertFalse(client.paused)

    def test_filters(self) -> None:
        upper = (find_filter("upper"),)
        self.router = self.make(response_filters=upper, request_filters=upper)
        client = self.client()
        self.say(client, "get bar", "get foo")
        self.assertEqual(self.a.link.taken(), encode_command([b"GET", b"BAR"]))
        self.b.says(b"$3\r\nfoo\r\n")
        self.a.says(b"$3\r\nbar\r\n")
        self.assertEqual(client.taken(), b"$3\r\nBAR\r\n$3\r\nFOO\r\n")


class _Life:
    """A client that asks, and servers that echo, in small steps in an order that chance decides."""

    _SIZES = (0, 1, 10, 100, 3000)

    def __init__(self, case: RouterCase, chance: random.Random) -> None:
        self.case = case
        self.chance = chance
        self.client = case.client()
        self.asks = bytearray()
        self.expected = bytearray()
        self.got = bytearray()
        self.steps = 0
        self._parsers: dict[Connection, CommandParser] = {}
        self._replies: dict[Connection, bytearray] = {}
        slots = SlotMap(case.endpoints)
        for number in range(chance.randrange(1, 60)):
            key, value = b"%d" % chance.randrange(20), b"%d," % number * chance.choice(self._SIZES)
            kind = chance.randrange(10)
            if kind == 0:
                self.asks += b"PING\r\n"
                self.expected += b"+PONG\r\n"
            elif kind == 1 and slots.server_of([key, b"1"]) is None:
                self.asks += encode_command([b"MGET", key, b"1"])
                self.expected += b"-CROSSSLOT Keys in request don't hash to the same server\r\n"
            else:
                self.asks += encode_command([b"GET", key, value])
                self.expected += self.reply_to([b"GET", key, value])

    @staticmethod
    def reply_to(args: list[bytes]) -> bytes:
        return b"*2\r\n%b*1\r\n%b" % (encode_bulk(args[1]), encode_bulk(args[2]))

    def step(self) -> None:
        """One small thing."""
        self.steps += 1
        links = [link for each in self.case.endpoints for link in each.connections]
        things: list[Callable[[], object]] = [self.ask, self.take]
        things += [each.answer for each in self.case.endpoints if each.waiting]
        for link in links:
            things += [lambda link=link: self.work(link), lambda link=link: self.reply(link)]  # type: ignore[misc]
        self.chance.choice(things)()
        for link in links:
            assert link.protocol.held <= link.most_at_once, "more than one read is held"
        assert self.client.protocol._count <= self.case.router.max_pending, "too many commands are pending"

    def ask(self) -> None:
        if self.asks and not self.client.paused:
            size = self.chance.choice((1, 10, 1000, 10_000))
            part = bytes(self.asks[:size])
            del self.asks[:size]
            self.client.protocol.dataReceived(part)
            if not self.asks and self.chance.randrange(2):
                self.client.protocol.readConnectionLost()

    def take(self) -> None:
        self.got += self.client.taken()
        producer = self.client.producer
        if producer is not None:
            self.chance.choice((producer.pauseProducing, producer.resumeProducing))()

    def work(self, link: Connection) -> None:
        """A server reads commands."""
        parser = self._parsers.setdefault(link, CommandParser())
        parser.feed(link.taken())
        while (command := parser.next()) is not None:
            self._replies.setdefault(link, bytearray()).extend(self.reply_to(command[1]))
        producer = link.producer
        if producer is not None:
            self.chance.choice((producer.pauseProducing, producer.resumeProducing))()

    def reply(self, link: Connection) -> None:
        """A server sends some of its replies, if they are read."""
        replies = self._replies.get(link)
        if replies and not link.paused:
            size = self.chance.choice((1, 10, 1000, 65536))
            part = bytes(replies[:size])
            del replies[:size]
            link.most_at_once = max(link.most_at_once, len(part))
            link.protocol.dataReceived(part)


class RandomTests(RouterCase):
    def test_lives(self) -> None:
        for seed in range(80):
            chance = random.Random(seed)
            self.endpoints = [Endpoint() for _ in range(chance.randrange(1, 4))]
            for endpoint in self.endpoints:
                endpoint.at_once = bool(chance.randrange(2))
            limits = PipeLimits(
                buffers=chance.choice((2, 4)),
                buffer_size=chance.choice((16, 1000, 32768)),
                max_temp_file_size=chance.choice((0, 0, 1 << 20)),
                read_timeout=0,
                send_timeout=0,
            )
            self.router = self.make({"max_pending": chance.choice((1, 5, 1000))}, limits=limits)
            life = _Life(self, chance)
            while len(life.got) < len(life.expected) and life.steps < 200_000:
                life.step()
            self.assertTrue(
                life.got == life.expected, f"seed {seed}: {len(life.got)} of {len(life.expected)} bytes came"
            )
            self.assertEqual(life.client.protocol._count, 0)
            self.assertFalse(life.client.disconnected)
            self.router.shutdown()
