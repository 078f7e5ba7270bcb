from __future__ import annotations

from collections import Counter
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tests.upstream.balancing import group_of, names, peers_of
from twisted_pipe.upstream.random_of_two import RandomOfTwo

COUNT = 20_000


def balancer(*weights: int) -> RandomOfTwo:
    return RandomOfTwo(peers_of(*weights), generator=Random(20261122))


class RandomOfTwoTests(SynchronousTestCase):
    def test_the_generator_decides(self) -> None:
        one, other = balancer(1, 1, 1), balancer(1, 1, 1)
        found = [names(each.pick(None, ()) for _ in range(100)) for each in (one, other)]
        self.assertEqual(found[0], found[1])

    def test_each_as_often_if_they_have_as_much_to_do(self) -> None:
        each = balancer(1, 1, 1, 1)
        counts = Counter(names(each.pick(None, ()) for _ in range(COUNT)))
        for name in "abcd":
            self.assertApproximates(counts[name] / COUNT, 1 / 4, 0.02)

    def test_by_weight(self) -> None:
        """
        The first of the two is taken if both have nothing to do: of two servers each is as often the first. Of five, of which one
        weighs as much as the others together, that one is first in half of the draws of two that are not the same.
        """
        each = balancer(3, 1)
        counts = Counter(names(each.pick(None, ()) for _ in range(COUNT)))
        self.assertApproximates(counts["a"] / COUNT, 1 / 2, 0.02)
        each = balancer(4, 1, 1, 1, 1)
        counts = Counter(names(each.pick(None, ()) for _ in range(COUNT)))
        unequal = 1 - (1 / 4 + 4 / 64)
        self.assertApproximates(counts["a"] / COUNT, (1 / 2) * (1 / 2) / unequal, 0.02)

    def test_the_busiest_is_never_taken(self) -> None:
        each = balancer(1, 1, 1)
        each.peers[1].active = 1
        self.assertEqual(Counter(names(each.pick(None, ()) for _ in range(1000)))["b"], 0)

    def test_a_large_weight_carries_more(self) -> None:
        each = balancer(4, 1)
        a, b = each.peers
        a.active, b.active = 7, 2
        self.assertIs(each.pick(None, ()), a)
        a.active = 9
        self.assertIs(each.pick(None, ()), b)

    def test_connections_are_spread_evenly(self) -> None:
        """The point of the second draw: with one the fullest of a hundred would have some 40 more than the mean of 1,000."""
        group = group_of(*[1] * 20, balance="random")
        for _ in range(20 * 500):
            group.pick()
        counts = [peer.active for peer in group.peers]
        self.assertTrue(max(counts) - min(counts) < 12, counts)

    def test_two_that_can_be_had_are_compared(self) -> None:
        each = balancer(1, 1, 1, 1)
        a, b, _, d = each.peers
        a.available = False
        b.active = 5
        found = Counter(names(each.pick(None, (d,)) for _ in range(100)))
        self.assertEqual(found, {"c": 100})
        a.available = True
        found = Counter(names(each.pick(None, (d,)) for _ in range(100)))
        self.assertEqual(set(found), {"a", "c"})

    def test_a_weight_beside_which_another_is_hardly_ever_drawn(self) -> None:
        """Among those that have nothing to do it is chosen by its weight, wherever it stands."""
        for weights in ((1, 1000), (1000, 1)):
            heavy = "ab"[weights.index(1000)]
            each = balancer(*weights)
            self.assertGreater(Counter(names(each.pick(None, ()) for _ in range(1000)))[heavy], 950)

    def test_of_two_that_are_left_both_are_chosen(self) -> None:
        each = balancer(1, 1, 1)
        found = Counter(names(each.pick(None, each.peers[:1]) for _ in range(1000)))
        self.assertApproximates(found["b"], 500, 60)
