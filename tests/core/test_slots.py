"""Tags: an event finds the registration it belongs to, and no other."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.core.slots import NO_TAG, SLOT_MASK, Registration, SlotTable


def owner(table: SlotTable, tag: int) -> Registration | None:
    """Whom an event with C{tag} is for, looked up as the reactor does."""
    entry = table.slots[tag & SLOT_MASK]
    return entry if entry.tag == tag else None


class SlotTests(SynchronousTestCase):
    def test_a_registration_has_no_tag_at_first(self) -> None:
        entry = Registration()
        self.assertEqual((entry.tag, entry.events, entry.posted), (NO_TAG, 0, False))

    def test_an_event_finds_its_owner(self) -> None:
        table = SlotTable()
        first, second = Registration(), Registration()
        tags = [table.take(first), table.take(second)]
        self.assertEqual([first.tag, second.tag], tags)
        self.assertEqual([owner(table, tag) for tag in tags], [first, second])
        self.assertEqual((len(table), list(table)), (2, [first, second]))

    def test_old_events_are_dropped(self) -> None:
        table = SlotTable()
        entry = Registration()
        tag = table.take(entry)
        table.give_back(entry)
        self.assertIsNone(owner(table, tag))
        self.assertEqual((entry.tag, len(table), list(table)), (NO_TAG, 0, []))

    def reuse(self, times: int) -> None:
        """The slot changes hands so often within one batch of events."""
        table = SlotTable()
        entries = [Registration() for _ in range(times + 1)]
        tags = []
        for entry in entries:
            tags.append(table.take(entry))
            if entry is not entries[-1]:
                table.give_back(entry)
        self.assertEqual(len({tag & SLOT_MASK for tag in tags}), 1, "it was not one slot")
        self.assertEqual(len(set(tags)), times + 1)
        self.assertEqual([owner(table, tag) for tag in tags], [None] * times + [entries[-1]])

    def test_slot_reused_once(self) -> None:
        self.reuse(1)

    def test_slot_reused_twice(self) -> None:
        """Where one instance bit fails."""
        self.reuse(2)

    def test_slot_reused_three_times(self) -> None:
        self.reuse(3)

    def test_slot_reused_a_thousand_times(self) -> None:
        self.reuse(1000)

    def test_the_same_registration_again_gets_another_tag(self) -> None:
        table = SlotTable()
        entry = Registration()
        old = table.take(entry)
        table.give_back(entry)
        new = table.take(entry)
        self.assertNotEqual(old, new)
        self.assertEqual((owner(table, old), owner(table, new)), (None, entry))

    def test_other_slots_do_not_notice(self) -> None:
        table = SlotTable()
        entries = [Registration() for _ in range(3)]
        tags = [table.take(entry) for entry in entries]
        table.give_back(entries[1])
        newcomer = Registration()
        new = table.take(newcomer)
        self.assertEqual(new & SLOT_MASK, tags[1] & SLOT_MASK)
        self.assertEqual([owner(table, tag) for tag in tags], [entries[0], None, entries[2]])
        self.assertEqual(list(table), [entries[0], newcomer, entries[2]])

    def test_free_slots_are_used_before_new_ones(self) -> None:
        table = SlotTable()
        for _ in range(100):
            entries = [Registration() for _ in range(5)]
            for entry in entries:
                table.take(entry)
            for entry in entries:
                table.give_back(entry)
        self.assertEqual((len(table.slots), len(table)), (5, 0))

    def test_giving_back_twice_does_nothing(self) -> None:
        """Above all, it does not free the slot of its next owner."""
        table = SlotTable()
        entry, newcomer = Registration(), Registration()
        table.take(entry)
        table.give_back(entry)
        tag = table.take(newcomer)
        table.give_back(entry)
        self.assertEqual((owner(table, tag), len(table)), (newcomer, 1))

    def test_giving_back_what_was_never_taken_does_nothing(self) -> None:
        table = SlotTable()
        table.give_back(Registration())
        self.assertEqual(len(table), 0)

    def test_the_table_may_change_while_it_is_gone_through(self) -> None:
        table = SlotTable()
        entries = [Registration() for _ in range(4)]
        for entry in entries:
            table.take(entry)
        for entry in table:
            table.give_back(entry)
        self.assertEqual(len(table), 0)

    def test_tags_fit_signed_64_bits(self) -> None:
        table = SlotTable()
        entry = Registration()
        for _ in range(1000):
            self.assertTrue(0 <= table.take(entry) < 1 << 63)
            table.give_back(entry)

    def test_no_tag_is_no_slots_tag(self) -> None:
        table = SlotTable()
        tags = [table.take(Registration()) for _ in range(10)]
        self.assertNotIn(NO_TAG, tags)
