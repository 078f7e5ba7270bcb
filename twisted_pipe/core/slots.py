"""
Tags: how an event finds the one registration it belongs to, and no other.

epoll hands back 64 bits that were given at registration. Here they are C{generation << 32 | slot}. A slot is reused, its
generation is not, so an event of an earlier owner never equals the tag of the present one, however often the slot changed
hands within one batch. (nginx keeps one bit and fails after two reuses; a lookup by descriptor number fails after one, and
also when the number was closed and reopened behind the reactor's back.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["NO_TAG", "SLOT_MASK", "Registration", "SlotTable"]

NO_TAG = -1
SLOT_MASK = 0xFFFFFFFF
_GENERATION_STEP = 1 << 32
_GENERATION_END = 1 << 63  # tags stay positive when read as signed 64 bit


class Registration:
    """
    What a tag stands for.

    @ivar tag: the present tag, L{NO_TAG} while not in a table.
    @ivar events: the epoll events seen and not yet handled.
    @ivar posted: whether it stands in a queue (it is in at most one, once).
    @ivar relay: who takes its bytes past all queues, None for nobody.
    """

    __slots__ = ("events", "posted", "relay", "tag")

    def __init__(self) -> None:
        self.tag = NO_TAG
        self.events = 0
        self.posted = False
        self.relay: Any = None


class SlotTable:
    """
    The registrations by slot.

    @ivar slots: indexed by C{tag & SLOT_MASK}; the reactor reads it directly, an entry is live if its C{tag} equals the
        event's. A free slot holds a registration without a tag.
    """

    __slots__ = ("_free", "_next", "slots")

    def __init__(self) -> None:
        self.slots: list[Registration] = []
        self._next: list[int] = []  # the tag that each slot's next owner gets
        self._free: list[int] = []

    def __len__(self) -> int:
        """How many slots are taken."""
        return len(self.slots) - len(self._free)

    def __iter__(self) -> Iterator[Registration]:
        """The live registrations; the table may change meanwhile."""
        return iter([entry for entry in self.slots if entry.tag != NO_TAG])

    def take(self, registration: Registration) -> int:
        """Give C{registration} a slot and return its tag."""
        if self._free:
            slot = self._free.pop()
            self.slots[slot] = registration
        else:
            slot = len(self.slots)
            self.slots.append(registration)
            self._next.append(slot)
        registration.tag = tag = self._next[slot]
        self._next[slot] = (tag + _GENERATION_STEP) % _GENERATION_END
        return tag

    def give_back(self, registration: Registration) -> None:
        """Free the slot of C{registration}: from now on its tag is nobody's. A no-op if it has none."""
        tag = registration.tag
        if tag == NO_TAG:
            return
        registration.tag = NO_TAG
        slot = tag & SLOT_MASK
        self.slots[slot] = _NOBODY
        self._free.append(slot)


_NOBODY = Registration()
