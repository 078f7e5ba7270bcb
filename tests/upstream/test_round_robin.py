from __future__ import annotations

from collections import Counter
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.upstream.balancing import group_of, names, peers_of, picks
from twisted_pipe.upstream import round_robin
from twisted_pipe.upstream.peer import Peer
from twisted_pipe.upstream.round_robin import RoundRobin

WEIGHTS = st.lists(st.integers(1, 12), min_size=1, max_size=6)


def turns(balancer: RoundRobin, count: int) -> str:
    return names(balancer.pick(None, ()) for _ in range(count))


def nginx(weights: list[int], count: int) -> str:
    """Its rule, as it stands: everybody earns, the richest pays."""
    earned, order = [0] * len(weights), ""
    for _ in range(count):
        earned = [each + weight for each, weight in zip(earned, weights, strict=True)]
        richest = max(range(len(weights)), key=lambda place: (earned[place], -place))
        earned[richest] -= sum(weights)
        order += "abcdef"[richest]
    return order


class RoundRobinTests(SynchronousTestCase):
    def test_in_turn(self) -> None:
        self.assertEqual(turns(RoundRobin(peers_of(1, 1, 1)), 7), "abcabca")

    def test_by_weight(self) -> None:
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
            self.assertEqual(turns(RoundRobin(peers_of(*weights)), len(order)), order, weights)

    @given(WEIGHTS)
    def test_the_order_of_nginx(self, weights: list[int]) -> None:
        """From memory, too."""
        count = 3 * sum(weights) + 1
        self.assertEqual(turns(RoundRobin(peers_of(*weights)), count), nginx(weights, count))

    def test_periods_that_are_too_long_are_not_remembered(self) -> None:
        balancer = RoundRobin(peers_of(5, 1, 1))
        self.assertEqual(turns(balancer, 15), "aabacaaaabacaaa")
        self.assertEqual(balancer.statistics(), {"remembered": 7})
        with mock.patch.object(round_robin, "_LONGEST", 6):
            balancer = RoundRobin(peers_of(5, 1, 1))
            self.assertEqual(turns(balancer, 15), "aabacaaaabacaaa")
            self.assertEqual(balancer.statistics(), {"remembered": 0})

    def test_the_turns_of_the_others_go_on_when_one_leaves(self) -> None:
        peers = peers_of(1, 1, 1, 1)
        for before in range(8):
            balancer = RoundRobin(peers)
            last = turns(balancer, before)[-1:]
            balancer.update([peer for peer in peers if peer.name != "b"])
            following = {"": "a", "a": "c", "b": "c", "c": "d", "d": "a"}[last]
            self.assertEqual(turns(balancer, 1), following, f"after {before}")

    @given(WEIGHTS, st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2**6 - 1)), max_size=5))
    def test_fair_whoever_came_and_went(self, weights: list[int], changes: list[tuple[int, int]]) -> None:
        """After a few periods the shares are exact, and remembered."""
        peers = peers_of(*weights)
        balancer = RoundRobin(peers)
        for count, mask in changes:
            turns(balancer, count)
            balancer.update([peer for place, peer in enumerate(peers) if not mask >> place & 1])
        balancer.update(peers)
        turns(balancer, 4 * sum(weights))
        found = Counter(turns(balancer, 10 * sum(weights)))
        self.assertEqual([found[peer.name] for peer in peers], [10 * weight for weight in weights])
        self.assertTrue(balancer.statistics()["remembered"])

    def test_a_period_that_does_not_lead_back_is_not_remembered(self) -> None:
        peers = peers_of(1, 3, 3)
        balancer = RoundRobin(peers)
        turns(balancer, 4)
        balancer.update([peers[0], peers[2]])
        balancer.update(peers)
        self.assertEqual(turns(balancer, 21), "cbcbcbc" + 2 * "abcbcbc")

    def test_nobody_is_asked_for_long_because_its_weight_was_large(self) -> None:
        peers = peers_of(1000, 1000)
        balancer = RoundRobin(peers)
        turns(balancer, 1)
        for peer in peers:
            peer.share = 1
        balancer.update(peers)
        self.assertEqual(Counter(turns(balancer, 20)), {"a": 10, "b": 10})

    def test_who_cannot_be_had_loses_its_turn(self) -> None:
        group = group_of(1, 1, 1, max_conns=2)
        b = group.peers[1]
        self.assertEqual(picks(group, 4), "abca")  # a is full
        self.assertEqual(picks(group, 2), "bc")
        self.assertEqual(picks(group, 1), "-")
        group.release(b)
        self.assertEqual(picks(group, 2), "b-")

    def test_who_was_tried_loses_its_turn(self) -> None:
        group = group_of(1, 1, 1)
        a, b, _ = group.peers
        self.assertEqual([picks(group, 1, tried=[a, b]), picks(group, 3)], ["c", "abc"])

    def test_a_turn_that_is_taken_by_another_is_not_taken_from_it(self) -> None:
        """Of the other two both get what they would have got anyway, and half of the missing one's."""
        peers: list[Peer] = peers_of(1, 1, 1)
        balancer = RoundRobin(peers)
        peers[0].available = False
        self.assertEqual(turns(balancer, 6), "bcbcbc")

    def test_the_turns_of_a_large_weight_are_shared_by_weight(self) -> None:
        """It is full, or was tried, and hardly any turn is of another one: nobody gets all that it would have got."""
        for weights, shares in (
            ((10, 1, 1), (600, 600)),
            ((100, 1, 1, 1), (400, 400, 400)),
            ((100, 3, 2, 1), (600, 400, 200)),
        ):
            peers = peers_of(*weights)
            balancer = RoundRobin(peers)
            found = Counter(names(balancer.pick(None, peers[:1]) for _ in range(1200)))
            expected = Counter(dict(zip("bcd", shares, strict=False)))
            self.assertLessEqual(sum((found - expected).values()), 2, (weights, found))
