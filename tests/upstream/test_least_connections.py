from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.upstream.balancing import group_of, picks
from twisted_pipe.upstream.group import UpstreamGroup
from twisted_pipe.upstream.peer import Peer


def least(*weights: int, **parameters: Any) -> UpstreamGroup:
    return group_of(*weights, balance="least-connections", **parameters)


class LeastConnectionsTests(SynchronousTestCase):
    def test_by_weight(self) -> None:
        """A server of weight 3 holds three for the other's one."""
        group = least(3, 1)
        picks(group, 40)
        self.assertEqual(group.statistics().choices, {"a": 30, "b": 10})

    def test_without_any_end(self) -> None:
        self.assertEqual(picks(least(1, 1, 1), 5), "abcab")

    def test_the_one_with_the_fewest(self) -> None:
        group = least(1, 1, 1)
        a, b, _ = group.peers
        picks(group, 3)
        group.release(b)
        self.assertEqual(picks(group, 1), "b")
        group.release(a)
        group.release(b)
        self.assertEqual([peer.active for peer in group.peers], [0, 0, 1])
        self.assertEqual(picks(group, 4), "abca")

    def test_idle_ones_are_asked_in_turn(self) -> None:
        """Connections that are over before the next begins: they all have none, always."""
        for weights, order in (((1, 1, 1), "abcabcabc"), ((2, 1), "abaabaab")):
            group, found = least(*weights), ""
            for _ in order:
                peer = group.pick()
                assert peer is not None
                found += peer.name
                group.release(peer)
            self.assertEqual(Counter(found[:6]), Counter(order[:6]), weights)
            self.assertEqual(found[:3], found[3:6])

    def test_who_was_not_chosen_for_long_gets_one_turn_for_it(self) -> None:
        """Not all that it has missed."""
        group = least(1, 1)
        a, b = group.peers
        held = [group.pick(tried=(a,)) for _ in range(5)]  # b is slow
        for _ in range(100):
            group.release(group.pick())  # type: ignore[arg-type]
        for peer in held:
            group.release(peer)  # type: ignore[arg-type]
        found = []
        for _ in range(20):
            found.append(group.pick())
            group.release(found[-1])  # type: ignore[arg-type]
        self.assertTrue(9 <= found.count(b) <= 11, found)

    def test_servers_that_are_equal_are_told_apart(self) -> None:
        group = least(1, 1)
        group.replace([group.servers[0]] * 2)
        one, other = group.pick(), group.pick()
        self.assertIsNot(one, other)
        group.release(other)  # type: ignore[arg-type]
        self.assertIs(group.pick(), other)

    def test_full_ones_come_back(self) -> None:
        group = least(3, 1, max_conns=2)
        a, b = group.peers
        self.assertEqual(sorted(picks(group, 4)), ["a", "a", "b", "b"])
        self.assertIsNone(group.pick())
        for peer in (b, a, a, b):
            group.release(peer)
            self.assertIs(group.pick(), peer)

    def test_a_server_that_was_tried_keeps_its_place(self) -> None:
        group = least(1, 1, 1)
        a, b, _ = group.peers
        self.assertEqual(picks(group, 1, tried=[a, b]), "c")
        self.assertEqual(picks(group, 2), "ab")

    def test_another_weight_is_another_load(self) -> None:
        group = least(1, 1)
        a, _ = group.peers
        picks(group, 10)
        a.share = 1
        group._update(backup=False)
        self.assertEqual(picks(group, 20), "b" * 20)
        a.share = 10
        group._update(backup=False)
        self.assertEqual(picks(group, 20), "a" * 20)

    def test_who_is_asked_instead_is_next_in_turn_too(self) -> None:
        """The best one has failed for this request, and is the best for the next one again."""
        group = least(4, 1, 1, max_fails=0)
        a = group.peers[0]
        asked = ""
        for _ in range(8):
            first = group.pick()
            if first is a:
                group.release(a)
                first = group.pick(tried=[a])
            assert first is not None
            asked += first.name
            group.release(first)
        self.assertEqual(Counter(asked), {"b": 4, "c": 4}, asked)

    def test_rows_that_are_empty_are_dropped(self) -> None:
        group = least(1, 1)
        balancer: Any = group._first
        held = [group.pick() for _ in range(2000)]
        for peer in held:
            group.release(peer)  # type: ignore[arg-type]
            self.assertEqual(len(balancer._rows), len(balancer._loads))
            self.assertTrue(len(balancer._rows) <= 2 * 2 + 65)
        self.assertEqual(picks(group, 4), "abab")

    def test_it_does_not_grow(self) -> None:
        """However many connections begin and end."""
        group = least(1, 2, 3, 4)
        balancer: Any = group._first
        held: list[Peer] = []
        for number in range(5000):
            held += [group.pick() for _ in range(1 + number % 7)]  # type: ignore[misc]
            while len(held) > number % 13:
                group.release(held.pop(number % len(held)))
        self.assertTrue(len(balancer._rows) == len(balancer._loads) <= 2 * 4 + 65, len(balancer._rows))

    @given(
        st.lists(st.integers(1, 9), min_size=1, max_size=6),
        st.integers(0, 3),
        st.lists(st.tuples(st.sampled_from("pprrtm"), st.integers(0, 5)), max_size=60),
    )
    def test_none_has_fewer(self, weights: list[int], most: int, steps: list[tuple[str, int]]) -> None:
        """Beside a model that looks at all of them each time."""
        group = least(*weights, max_conns=most)
        held: list[Peer] = []
        for step, number in steps:
            peer = group.peers[number % len(weights)]
            if step == "r":
                if held:
                    group.release(held.pop(number % len(held)))
                continue
            if step == "m":
                group.mark(peer, not peer.usable)
                continue
            tried = (peer,) if step == "t" else ()
            allowed = [each for each in group.peers if each.available and each not in tried]
            fewest = min((each.active / each.weight for each in allowed), default=None)
            before = {each: each.active / each.weight for each in group.peers}
            found = group.pick(tried=tried)
            self.assertEqual(found is None, fewest is None)
            if found is not None:
                self.assertIn(found, allowed)
                self.assertEqual(before[found], fewest)
                held.append(found)
