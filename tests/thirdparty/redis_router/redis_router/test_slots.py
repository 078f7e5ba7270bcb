"""Where keys are."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from redis_router.slots import SLOTS, SlotMap, slot_of


class SlotTests(SynchronousTestCase):
    def test_as_redis_cluster_says(self) -> None:
        """What C{CLUSTER KEYSLOT} answers; the last is the check value of this CRC in the specification."""
        known = {b"": 0, b"foo": 12182, b"bar": 5061, b"somekey": 11058, b"foo{hash_tag}": 2515, b"123456789": 0x31C3}
        self.assertEqual({key: slot_of(key) for key in known}, known)

    def test_hash_tags(self) -> None:
        """The examples of the specification."""
        self.assertEqual(slot_of(b"{user1000}.following"), slot_of(b"user1000"))
        self.assertEqual(slot_of(b"foo{{bar}}zap"), slot_of(b"{bar"))
        self.assertEqual(slot_of(b"foo{bar}{zap}"), slot_of(b"bar"))
        self.assertNotEqual(slot_of(b"foo{}{bar}"), slot_of(b"bar"))
        self.assertNotEqual(slot_of(b"foo{bar"), slot_of(b"bar"))
        self.assertNotEqual(slot_of(b"}foo{bar}"), slot_of(b"}foo"))


class MapTests(SynchronousTestCase):
    def test_even(self) -> None:
        for count in (1, 2, 3, 7):
            sizes = Counter(SlotMap(range(count))._table)
            self.assertEqual(sum(sizes.values()), SLOTS)
            self.assertEqual(len(sizes), count)
            self.assertTrue(max(sizes.values()) - min(sizes.values()) <= 1, sizes)

    def test_in_order(self) -> None:
        slots = SlotMap("abc")
        self.assertEqual([slots.server_of([key]) for key in (b"", b"bar", b"somekey", b"foo")], ["a", "a", "c", "c"])

    def test_several_keys(self) -> None:
        slots = SlotMap("ab")
        self.assertEqual(slots.server_of([]), "a")
        self.assertEqual(slots.server_of([b"foo", b"somekey"]), "b")
        self.assertIsNone(slots.server_of([b"foo", b"bar"]))
