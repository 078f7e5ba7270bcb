"""The same key, the same server; tests/e2e/test_balancers.py compares them with a running nginx."""

from __future__ import annotations

from collections import Counter
from itertools import count, islice
from typing import Any
from zlib import crc32

import attrs
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.upstream.balancing import group_of, names, peers_of, servers
from twisted_pipe.upstream import ketama
from twisted_pipe.upstream.balancer import BALANCERS
from twisted_pipe.upstream.group import UpstreamGroup
from twisted_pipe.upstream.ketama import Ring, points_of

KEYS = [b"/path/%d" % number for number in range(5000)]
RING = "hash:key=$request_uri:consistent=on"
LINE = "hash:key=$request_uri"


def found(group: UpstreamGroup) -> list[str]:
    """Whose each key is."""
    return [names([group.pick(key)]) for key in KEYS]


class HashRules:
    """What holds for both kinds."""

    balance: str
    spread: float  # how unequal shares may be

    def group(self, *weights: int, **parameters: Any) -> UpstreamGroup:
        return group_of(*weights, balance=self.balance, **parameters)

    def test_the_same_key_the_same_server(self: Any) -> None:
        self.assertEqual(found(self.group(1, 2, 3)), found(self.group(1, 2, 3)))

    def test_shares_by_weight(self: Any) -> None:
        counts = Counter(found(self.group(1, 2, 5)))
        for name, share in (("a", 1 / 8), ("b", 2 / 8), ("c", 5 / 8)):
            self.assertApproximates(counts[name] / len(KEYS) / share, 1, self.spread)

    def test_what_the_key_is_made_of(self: Any) -> None:
        self.assertEqual(self.group(1).key, "$request_uri")

    def test_without_a_key_in_turn(self: Any) -> None:
        group = self.group(1, 1)
        for key in (None, b""):
            self.assertEqual(names(group.pick(key) for _ in range(4)), "abab")

    def test_only_its_own_keys_move_while_a_server_is_out(self: Any) -> None:
        group = self.group(1, 1, 1, 1)
        before = found(group)
        group.mark(group.peers[1], False)
        during = found(group)
        for was, now in zip(before, during, strict=True):
            self.assertTrue(now == was or (was == "b" and now != "b"), (was, now))
        moved = Counter(now for was, now in zip(before, during, strict=True) if was == "b")
        self.assertEqual(set(moved), {"a", "c", "d"})  # all others share them
        group.mark(group.peers[1], True)
        self.assertEqual(found(group), before)

    def test_a_slow_start_moves_no_key(self: Any) -> None:
        clock = Clock()
        group = self.group(1, 1, slow_start=100, clock=clock)
        before = found(group)
        group.mark(group.peers[0], False)
        group.mark(group.peers[0], True)
        self.assertEqual(group.peers[0].share, 1)
        self.assertEqual(found(group), before)

    def test_a_key_that_was_tried_has_a_second_server(self: Any) -> None:
        group = self.group(1, 1, 1)
        for key in KEYS[:100]:
            first = group.pick(key)
            second = group.pick(key, (first,))
            self.assertIsNot(first, second)
            self.assertIs(group.pick(key, (first,)), second)


class LineTests(HashRules, SynchronousTestCase):
    balance, spread = LINE, 0.1

    def test_what_nginx_chooses(self) -> None:
        """Recorded from nginx 1.22.1: hash $arg_key, weights 5, 1 and 2."""
        group = self.group(5, 1, 2)
        chosen = names(group.pick(key) for key in (b"a", b"b", b"hello", b"/index.html", b"10.0.0.7", b"x" * 100))
        self.assertEqual(chosen, "ccaabc")


class RingTests(HashRules, SynchronousTestCase):
    balance, spread = RING, 0.25

    def test_what_nginx_chooses(self) -> None:
        """Recorded from nginx 1.22.1: hash $arg_key consistent."""
        named = [
            attrs.evolve(server, name=f"127.0.0.1:{port}")
            for server, port in zip(servers(3), (9001, 9002, 9003), strict=True)
        ]
        group = UpstreamGroup(named, BALANCERS.parse(RING), clock=Clock())
        keys = (b"a", b"b", b"hello", b"/index.html", b"10.0.0.7", b"x" * 100)
        self.assertEqual("".join("abc"[int(group.pick(key).name[-1]) - 1] for key in keys), "ababcb")  # type: ignore[union-attr]

    def test_a_server_that_leaves_takes_only_its_own_keys_with_it(self) -> None:
        for number_of_servers in (2, 5, 10, 30):
            names_ = [f"10.0.0.{number}:80" for number in range(number_of_servers)]
            all_, without = [
                UpstreamGroup(
                    [attrs.evolve(servers(1)[0], name=name) for name in chosen], BALANCERS.parse(RING), clock=Clock()
                )
                for chosen in (names_, names_[1:])
            ]
            moved = 0
            for key in KEYS:
                was, now = all_.pick(key).name, without.pick(key).name  # type: ignore[union-attr]
                if was != now:
                    self.assertEqual(was, names_[0])
                    moved += 1
            self.assertTrue(moved <= len(KEYS) * (1 / number_of_servers + 0.05), (number_of_servers, moved))

    def test_a_server_that_comes_takes_its_share(self) -> None:
        names_ = [f"10.0.0.{number}:80" for number in range(10)]
        before, after = [
            UpstreamGroup(
                [attrs.evolve(servers(1)[0], name=name) for name in chosen], BALANCERS.parse(RING), clock=Clock()
            )
            for chosen in (names_[:9], names_)
        ]
        moved = [
            now
            for key in KEYS
            if (now := after.pick(key).name) != before.pick(key).name  # type: ignore[union-attr]
        ]
        self.assertEqual(set(moved), {names_[9]})
        self.assertApproximates(len(moved) / len(KEYS), 1 / 10, 0.05)

    def test_behind_the_last_point_is_the_first(self) -> None:
        ring = Ring(peers_of(1, 1, 1))
        points = sorted((point, name) for name in "abc" for point in points_of(name, 1))
        (before, _), (last, owner) = points[-2:]
        following = [name for _, name in points[:3]]
        behind = next(key for number in count() if crc32(key := b"%d" % number) > last)
        at_last = next(key for number in count() if before < crc32(key := b"%d" % number) <= last)
        self.assertEqual(names(islice(ring.owners(behind), 3)), "".join(following))
        self.assertEqual(names(islice(ring.owners(at_last), 4)), "".join([owner, *following]))
        for key in (behind, at_last):
            self.assertIs(ring.owner(key), next(ring.owners(key)))

    def test_the_order_of_the_servers_does_not_matter(self) -> None:
        group = self.group(1, 1, 1)
        before = found(group)
        group.replace(reversed(group.servers))
        self.assertEqual(found(group), before)

    def test_points(self) -> None:
        """CRC-32 of HOST NUL PORT and the point before."""
        first = crc32(b"10.0.1.1\x0011211" + bytes(4))
        second = crc32(b"10.0.1.1\x0011211" + first.to_bytes(4, "little"))
        self.assertEqual(list(points_of("10.0.1.1:11211", 1))[:2], [first, second])
        self.assertEqual(len(list(points_of("10.0.1.1:11211", 3))), 480)
        for name, hashed in (
            ("unix:/run/a:1", b"/run/a:1\x00"),
            ("[::1]:80", b"[::1]\x0080"),
            ("host", b"host\x00"),
            ("9000", b"9000\x00"),
        ):
            self.assertEqual(next(points_of(name, 1)), crc32(hashed + bytes(4)), name)

    def test_weights_that_would_take_too_many_points(self) -> None:
        """They become coarser; nobody is left out."""
        self.patch(ketama, "_MOST_WEIGHT", 20)
        ring = Ring(peers_of(65535, 1, 32768))
        self.assertEqual(len(ring), 160 * (13 + 1 + 6))

    def test_statistics(self) -> None:
        self.assertEqual(self.group(1, 2).statistics().choices, {"points": 480})
