"""Balancers: which server is next, how they are found, and that each connection is given back."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.interfaces import IUpstreamBalancer, IUpstreamBalancerFactory
from twisted_pipe.plugin.options import at_least, option
from twisted_pipe.units import parse_count
from twisted_pipe.upstream.balancer import BALANCERS, BalancerPlugin
from twisted_pipe.upstream.group import UpstreamGroup, UpstreamServer

SERVERS = [UpstreamServer(name, object()) for name in ("a:1", "b:2", "c:3")]


@implementer(IUpstreamBalancer)
@attrs.define(eq=False)
class Sticky:
    """The same server so many times."""

    servers: Any
    times: int = option(at_least(1, parse_count), default=2, help="how often")
    picked: list[bytes | None] = attrs.field(init=False, factory=list)

    def pick(self, key: bytes | None) -> Any:
        self.picked.append(key)
        return self.servers[(len(self.picked) - 1) // self.times % len(self.servers)]

    def release(self, server: Any) -> None:
        pass

    def statistics(self) -> Any:
        return {"picked": self.picked}


STICKY = BalancerPlugin("sticky", "The same server twice.", f"{__name__}:Sticky")


class BundledTests(SynchronousTestCase):
    def picks(self, name: str, count: int) -> list[str]:
        group = UpstreamGroup(SERVERS, BALANCERS.find(name))
        return [group.pick().name for _ in range(count)]

    def test_all_are_found(self) -> None:
        names = [each.name for each in BALANCERS.all()]
        self.assertEqual(names, ["least-connections", "round-robin"])
        for name in names:
            plugin = BALANCERS.find(name)
            self.assertTrue(verifyObject(IUpstreamBalancerFactory, plugin))
            self.assertTrue(verifyObject(IUpstreamBalancerFactory, plugin.configure({})))
            self.assertTrue(verifyObject(IUpstreamBalancer, plugin.build(SERVERS)))

    def test_round_robin(self) -> None:
        self.assertEqual(self.picks("round-robin", 5), ["a:1", "b:2", "c:3", "a:1", "b:2"])

    def weighted(self, name: str, *weights: int) -> UpstreamGroup:
        servers = [UpstreamServer(letter, None, weight=weight) for letter, weight in zip("abcd", weights, strict=False)]
        return UpstreamGroup(servers, BALANCERS.find(name))

    def test_round_robin_by_weight(self) -> None:
        """Smooth: nobody gets all of its share in a row. The orders are those of nginx."""
        for weights, order in (
            ((5, 1, 1), "aabacaaaabacaa"),
            ((1, 2), "babbab"),
            ((2, 1), "abaaba"),
            ((3, 1), "aabaaaba"),
            ((1, 1, 2), "cabccabc"),
            ((2, 2), "abab"),
            ((7,), "aaa"),
        ):
            group = self.weighted("round-robin", *weights)
            self.assertEqual("".join(group.pick().name for _ in order), order, weights)

    def test_least_connections_by_weight(self) -> None:
        """A server of weight 3 holds three for the other's one."""
        group = self.weighted("least-connections", 3, 1)
        for _ in range(40):
            group.pick()
        self.assertEqual(group.statistics(), {"a": 30, "b": 10})

    def test_least_connections_without_any_end(self) -> None:
        self.assertEqual(self.picks("least-connections", 5), ["a:1", "b:2", "c:3", "a:1", "b:2"])

    def test_least_connections(self) -> None:
        group = UpstreamGroup(SERVERS, BALANCERS.find("least-connections"))
        first, second, _ = (group.pick() for _ in range(3))
        group.release(second)
        self.assertEqual(group.pick().name, "b:2")
        group.release(first)
        group.release(second)
        self.assertEqual(group.statistics(), {"a:1": 0, "b:2": 0, "c:3": 1})
        self.assertEqual([group.pick().name for _ in range(4)], ["a:1", "b:2", "c:3", "a:1"])

    def test_least_connections_of_servers_that_are_equal(self) -> None:
        twins = [UpstreamServer("a:1", None), UpstreamServer("a:1", None)]
        group = UpstreamGroup(twins, BALANCERS.find("least-connections"))
        one, other = group.pick(), group.pick()
        self.assertIsNot(one, other)
        group.release(other)
        self.assertIs(group.pick(), other)


class PluginTests(SynchronousTestCase):
    def test_options(self) -> None:
        group = UpstreamGroup(SERVERS, STICKY.configure({"times": 3}))
        self.assertEqual([group.pick(b"key").name for _ in range(4)], ["a:1", "a:1", "a:1", "b:2"])
        self.assertEqual(group.statistics(), {"picked": [b"key"] * 4})

    def test_defaults(self) -> None:
        group = UpstreamGroup(SERVERS, STICKY)
        self.assertEqual([group.pick().name for _ in range(3)], ["a:1", "a:1", "b:2"])

    def test_configured_again(self) -> None:
        self.assertEqual(STICKY.configure({"times": "3"}).configure({}).build(SERVERS).times, 2)

    def test_errors(self) -> None:
        error = self.assertRaises(BadConfiguration, STICKY.configure, {"times": 0})
        self.assertEqual(str(error), "balancer sticky: times: '0': must be at least 1")
        error = self.assertRaises(BadConfiguration, BALANCERS.parse, "roundrobin")
        self.assertIn('no such balancer; did you mean "round-robin"?', str(error))
        error = self.assertRaises(BadConfiguration, BalancerPlugin("x", "", f"{__name__}:SERVERS").configure, {})
        self.assertIn("must be a class that implements IUpstreamBalancer", str(error))
