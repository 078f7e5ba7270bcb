from __future__ import annotations

import errno
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectBindError, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.net.fakes import MemoryTransport
from twisted_pipe.proxies.upstream_search import ANY_SERVER, NextServer, UpstreamSearch
from twisted_pipe.proxies.watch import NEVER
from twisted_pipe.upstream.group import UpstreamGroup, UpstreamServer
from twisted_pipe.upstream.waiting_line import QueueSettings


class Endpoint:
    """Connects when it is told to."""

    def __init__(self) -> None:
        self.factory: Any = None
        self.connecting: Any = None
        self.cancelled = 0

    def connect(self, factory: Any) -> Deferred[Any]:
        def cancel(_: Any) -> None:
            self.cancelled += 1

        self.factory, self.connecting = factory, Deferred(cancel)
        return self.connecting

    def open(self) -> None:
        protocol = self.factory.buildProtocol(None)
        protocol.makeConnection(MemoryTransport())
        self.connecting.callback(protocol)

    def refuse(self, why: Exception | None = None) -> None:
        self.connecting.errback(why or ConnectionRefusedError())


class SearchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.endpoints = [Endpoint() for _ in range(3)]
        self.told: list[Any] = []
        self.group = self.make_group()

    def make_group(self, **each: Any) -> UpstreamGroup:
        servers = [UpstreamServer(name, endpoint, **each) for name, endpoint in zip("abc", self.endpoints, strict=True)]
        return UpstreamGroup(servers, clock=self.clock, queue=QueueSettings(size=1, timeout=10.0))

    def begin(self, next_server: NextServer = ANY_SERVER) -> UpstreamSearch:
        search = UpstreamSearch(
            self.clock,
            self.group,
            lambda wire, peer: self.told.append(peer.name),
            self.told.append,
            timeout=5.0,
            next_server=next_server,
        )
        search.begin()
        return search

    @property
    def active(self) -> list[int]:
        return [peer.active for peer in self.group.peers]

    def test_the_first_that_is_asked(self) -> None:
        search = self.begin()
        self.assertEqual((self.active, search.due()), ([1, 0, 0], 5.0))
        self.endpoints[0].open()
        self.assertEqual((self.told, self.active), (["a"], [1, 0, 0]), "whoever is told has it, and releases it")
        self.assertEqual(search.due(), NEVER)

    def test_the_next_one_if_one_cannot_be_reached(self) -> None:
        search = self.begin()
        self.endpoints[0].refuse()
        assert search.peer is not None
        self.assertEqual((self.told, self.active, search.peer.name), ([], [0, 1, 0], "b"))
        self.endpoints[1].open()
        self.assertEqual((self.told, self.active), (["b"], [0, 1, 0]))
        self.assertEqual([peer.failed for peer in self.group.peers], [1, 0, 0])

    def test_each_once(self) -> None:
        self.begin()
        for endpoint in self.endpoints:
            self.assertEqual(self.told, [])
            endpoint.refuse()
        self.assertEqual(
            (self.told, self.active),
            (["upstream c cannot be reached: Connection was refused by other side"], [0, 0, 0]),
        )

    def test_no_server_is_blamed_for_what_we_have_none_of(self) -> None:
        """Else all would rest when the connections that hold our descriptors are over."""
        self.begin()
        for endpoint in self.endpoints:
            endpoint.refuse(ConnectBindError(errno.EMFILE, "Too many open files"))
        self.assertEqual(([peer.failed for peer in self.group.peers], self.active), ([0, 0, 0], [0, 0, 0]))
        self.assertEqual((self.group.live, len(self.told)), (3, 1))
        self.assertIn("Too many open files", self.told[0])

    def test_so_many_tries(self) -> None:
        self.begin(NextServer(tries=2))
        self.endpoints[0].refuse()
        self.endpoints[1].refuse()
        self.assertEqual(len(self.told), 1)
        self.assertIn("upstream b cannot be reached", self.told[0])

    def test_so_long(self) -> None:
        self.begin(NextServer(timeout=3.0))
        self.clock.advance(2.9)
        self.endpoints[0].refuse()
        self.clock.advance(0.1)
        self.endpoints[1].refuse()
        self.assertIn("upstream b cannot be reached", self.told[0])

    def test_each_attempt_has_the_whole_timeout(self) -> None:
        search = self.begin()
        self.clock.advance(5.0)
        search.expire()
        self.assertEqual((self.endpoints[0].cancelled, search.due()), (1, 10.0))
        search = self.begin(NextServer(tries=1))
        self.clock.advance(5.0)
        search.expire()
        self.assertEqual(self.told, ["upstream c cannot be reached: no connection within 5.000 s"])

    def test_waits_while_all_are_full(self) -> None:
        self.group = self.make_group(max_conns=1)
        peers = [self.group.pick() for _ in range(3)]
        search = self.begin()
        self.assertEqual((self.told, search.due()), ([], NEVER))
        assert peers[2] is not None
        self.group.release(peers[2])
        assert search.peer is not None
        self.assertEqual(search.peer.name, "c")
        self.endpoints[2].open()
        self.assertEqual(self.told, ["c"])

    def test_who_waits_does_not_get_a_server_that_has_just_failed(self) -> None:
        self.group = self.make_group(max_conns=1)
        self.begin()
        peers = [self.group.pick(), self.group.pick()]
        waiting: list[Any] = []
        self.group.wait().addCallback(waiting.append)
        self.endpoints[0].refuse()
        self.assertEqual((waiting, self.active), ([], [0, 1, 1]))
        assert peers[0] is not None
        self.group.release(peers[0])
        self.assertEqual(waiting, [peers[0]])

    def test_nobody_may_wait(self) -> None:
        self.group = self.make_group(max_conns=1)
        for _ in range(3):
            self.group.pick()
        self.begin()
        search = self.begin()
        self.assertEqual(self.told, ["upstream a: all servers are busy, and 1 wait already"])
        self.assertFalse(search.told, "the group does not log it")
        self.clock.advance(10.0)
        self.assertRegex(self.told[1], r"\Aupstream a: all servers were busy for 10(\.0)? s\Z")

    def test_no_server_is_up(self) -> None:
        self.group = self.make_group(down=True)
        search = self.begin()
        self.assertEqual(self.told, ["upstream a: no server is up"])
        self.assertTrue(search.told, "by the group, once")

    def test_the_last_server_that_is_up_fails(self) -> None:
        """That it cannot be reached is this search's own news, although no server is up then."""
        self.group = UpstreamGroup([UpstreamServer("a", self.endpoints[0])], clock=self.clock)
        search = self.begin()
        self.group.mark(self.group.peers[0], healthy=False)
        self.endpoints[0].refuse()
        self.assertEqual(self.told, ["upstream a cannot be reached: Connection was refused by other side"])
        self.assertFalse(search.told)

    def test_cancelled(self) -> None:
        search = self.begin()
        search.cancel()
        search.cancel()
        self.assertEqual((self.endpoints[0].cancelled, self.active), (1, [0, 0, 0]))
        self.group = self.make_group(max_conns=1)
        peers = [self.group.pick() for _ in range(3)]
        self.begin().cancel()
        assert peers[0] is not None
        self.group.release(peers[0])
        self.assertEqual((self.told, self.active), ([], [0, 1, 1]))

    def test_many_that_fail_at_once(self) -> None:
        """Addresses to which there is no way: nobody recurses as deep as there are servers."""

        class Refusing:
            def connect(self, factory: Any) -> Deferred[Any]:
                raise ConnectionRefusedError

        servers = [UpstreamServer(str(number), Refusing()) for number in range(400)]
        self.group = UpstreamGroup(servers, clock=self.clock)
        self.begin()
        self.assertEqual(self.told, ["upstream 399 cannot be reached: Connection was refused by other side"])

    def test_its_settings_are_values(self) -> None:
        self.assertEqual(attrs.evolve(ANY_SERVER, tries=1), NextServer(tries=1))
