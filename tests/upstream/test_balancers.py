"""Balancers as plugins: found, configured, built; and what holds for all of them."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.upstream.balancing import group_of, peers_of, servers
from twisted_pipe.errors import BadConfiguration
from twisted_pipe.interfaces import IUpstreamBalancer, IUpstreamBalancerFactory
from twisted_pipe.plugin.options import at_least, option
from twisted_pipe.units import parse_count
from twisted_pipe.upstream.balancer import BALANCERS, BalancerPlugin
from twisted_pipe.upstream.group import UpstreamGroup

SERVERS = servers(3)
BUNDLED = ("hash", "ip-hash", "least-connections", "random", "round-robin")
ALL = ("hash:key=$uri", "hash:key=$uri:consistent=on", *BUNDLED[1:])


@implementer(IUpstreamBalancer)
@attrs.define(eq=False)
class Sticky:
    """The same server so many times."""

    key = "$host"

    peers: Any
    times: int = option(at_least(1, parse_count), default=2, help="how often")
    picked: list[bytes | None] = attrs.field(init=False, factory=list)

    def update(self, peers: Any) -> None:
        self.peers = peers

    def pick(self, key: bytes | None, tried: Any) -> Any:
        self.picked.append(key)
        return self.peers[(len(self.picked) - 1) // self.times % len(self.peers)]

    def release(self, peer: Any) -> None:
        pass

    def statistics(self) -> Any:
        return {"picked": self.picked}


STICKY = BalancerPlugin("sticky", "The same server twice.", f"{__name__}:Sticky")


class PluginTests(SynchronousTestCase):
    def test_all_are_found(self) -> None:
        self.assertEqual(tuple(each.name for each in BALANCERS.all()), BUNDLED)
        for said in ALL:
            plugin = BALANCERS.parse(said)
            self.assertTrue(verifyObject(IUpstreamBalancerFactory, plugin))
            self.assertTrue(verifyObject(IUpstreamBalancer, plugin.build(peers_of(1, 1))))

    def test_options(self) -> None:
        group = UpstreamGroup(SERVERS, STICKY.configure({"times": 3}))
        self.assertEqual([group.pick(b"key").name for _ in range(4)], ["a", "a", "a", "b"])  # type: ignore[union-attr]
        self.assertEqual(group.statistics().choices, {"picked": [b"key"] * 4})
        self.assertEqual(group.key, "$host")

    def test_defaults(self) -> None:
        self.assertEqual(STICKY.configure({"times": "3"}).configure({}).build(SERVERS).times, 2)

    def test_errors(self) -> None:
        error = self.assertRaises(BadConfiguration, STICKY.configure, {"times": 0})
        self.assertEqual(str(error), "balancer sticky: times: '0': must be at least 1")
        error = self.assertRaises(BadConfiguration, BALANCERS.parse, "roundrobin")
        self.assertIn('no such balancer; did you mean "round-robin"?', str(error))
        error = self.assertRaises(BadConfiguration, BALANCERS.parse, "hash")
        self.assertIn("balancer hash: key: None: has to be given", str(error))
        error = self.assertRaises(BadConfiguration, BalancerPlugin("x", "", f"{__name__}:SERVERS").configure, {})
        self.assertIn("must be a class that implements IUpstreamBalancer", str(error))


class EveryBalancerTests(SynchronousTestCase):
    """What the group relies on."""

    def test_nobody_is_no_error(self) -> None:
        for said in ALL:
            balancer = BALANCERS.parse(said).build([])
            for key in (None, b"", b"key"):
                self.assertIsNone(balancer.pick(key, ()), said)
            balancer.update([])
            self.assertIsNone(balancer.pick(b"key", ()), said)
            repr(balancer), balancer.statistics()

    def test_one(self) -> None:
        for said in ALL:
            group = group_of(3, balance=said)
            for key in (None, b"", b"10.0.0.1"):
                self.assertIs(group.pick(key), group.peers[0], said)

    def test_only_who_is_available_and_not_tried(self) -> None:
        for said in ALL:
            group = group_of(5, 1, 3, 1, balance=said, max_conns=40)
            a, b, c, d = group.peers
            group.mark(b, False)
            for number in range(40):
                key = b"10.0.%d.1" % number
                self.assertIs(group.pick(key, (a, c)), d, said)
            self.assertIsNone(group.pick(b"10.0.0.1", (a, c)), said)  # it is full
            group.release(d)
            self.assertIs(group.pick(b"10.0.0.1", (c, a, b)), d, said)
            found = {group.pick(b"10.0.%d.1" % number) for number in range(60)}
            self.assertTrue(found <= {a, c}, said)

    def test_everybody_is_found_however_few_can_be_had(self) -> None:
        """Also the one of a hundred whose weight is the least."""
        for said in ALL:
            group = UpstreamGroup(
                [
                    attrs.evolve(SERVERS[0], name=f"s{number}", weight=1 if number == 50 else 100)
                    for number in range(100)
                ],
                BALANCERS.parse(said),
            )
            tried = [peer for peer in group.peers if peer.name != "s50"]
            for number in range(20):
                self.assertIs(group.pick(b"10.0.%d.1" % number, tried), group.peers[50], said)

    def test_who_comes_back_is_chosen_again(self) -> None:
        for said in ALL:
            group = group_of(1, 1, balance=said)
            for peer in group.peers:
                group.mark(peer, False)
                self.assertEqual({group.pick(b"10.0.%d.1" % number) for number in range(50)} & {peer}, set(), said)
                group.mark(peer, True)
            found = {group.pick(b"10.0.%d.1" % number) for number in range(50)}
            self.assertEqual(found, set(group.peers), said)

    def test_a_connection_may_end_after_its_server_is_out(self) -> None:
        for said in ALL:
            group = group_of(1, 1, balance=said)
            held = [group.pick(b"10.0.%d.1" % number) for number in range(50)]
            for peer in group.peers:
                group.mark(peer, False)
            group.replace(servers(1))
            for each in held:
                group.release(each)  # type: ignore[arg-type]
            self.assertEqual([peer.active for peer in set(held)], [0, 0])  # type: ignore[union-attr]
