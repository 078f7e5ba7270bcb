from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.upstream.group import UpstreamGroup, UpstreamServer


class UpstreamGroupTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.servers = [UpstreamServer(name, object()) for name in ("a:1", "b:2", "c:3")]

    def test_in_turn(self) -> None:
        group = UpstreamGroup(self.servers)
        self.assertEqual([group.pick().name for _ in range(7)], ["a:1", "b:2", "c:3", "a:1", "b:2", "c:3", "a:1"])

    def test_one(self) -> None:
        group = UpstreamGroup(self.servers[:1])
        self.assertEqual([group.pick() for _ in range(3)], self.servers[:1] * 3)

    def test_none(self) -> None:
        error = self.assertRaises(BadConfiguration, UpstreamGroup, [])
        self.assertEqual(str(error), "upstream: '': at least one server is needed")

    def test_groups_are_independent(self) -> None:
        first, second = UpstreamGroup(self.servers), UpstreamGroup(self.servers)
        first.pick()
        self.assertEqual(second.pick().name, "a:1")

    def test_the_list_may_change_afterwards(self) -> None:
        group = UpstreamGroup(self.servers)
        self.servers.clear()
        self.assertEqual([group.pick().name for _ in range(4)], ["a:1", "b:2", "c:3", "a:1"])

    def test_weight(self) -> None:
        self.assertEqual(UpstreamServer("a:1", None).weight, 1)
        self.assertEqual(UpstreamServer("a:1", None, weight=65535).weight, 65535)
        for wrong in (0, -1, 65536, 1.5, True, "2"):
            error = self.assertRaises(BadConfiguration, UpstreamServer, "a:1", None, weight=wrong)
            self.assertEqual(str(error), f"weight: {wrong!r}: must be a whole number from 1 to 65535")

    def test_balancer(self) -> None:
        self.assertEqual(UpstreamGroup(self.servers).balancer, "round-robin")

    def test_repr(self) -> None:
        self.assertEqual(repr(UpstreamGroup(self.servers)), "<UpstreamGroup a:1, b:2, c:3>")
        self.assertEqual(repr(self.servers[0]), "UpstreamServer(name='a:1')")
