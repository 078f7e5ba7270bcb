"""Which server has a key, by the rules of Redis Cluster."""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

__all__ = ["SLOTS", "SlotMap", "slot_of"]

SLOTS = 16384

_Server = TypeVar("_Server")


def slot_of(key: bytes) -> int:
    """
    The slot of a key, as C{CLUSTER KEYSLOT} says it: its CRC16, or that of what stands between its first opening brace and the next
    closing one, if anything does. So keys that share such a tag are on the same server.
    """
    begin = key.find(b"{") + 1
    if begin:
        end = key.find(b"}", begin)
        if end > begin:
            key = key[begin:end]
    return crc_hqx(key, 0) % SLOTS


class SlotMap(Generic[_Server]):
    """The slots, divided evenly among servers: the first has the lowest."""

    def __init__(self, servers: Sequence[_Server]) -> None:
        """
        @param servers: one or more. Whoever changes their number or order moves keys.
        """
        self.servers = tuple(servers)
        self._table = [self.servers[slot * len(servers) // SLOTS] for slot in range(SLOTS)]

    def server_of(self, keys: Iterable[bytes]) -> _Server | None:
        """The one server that has all of C{keys}, None if they are on several; without any key, the first server."""
        found = None
        for key in keys:
            server = self._table[slot_of(key)]
            if found is not None and server is not found:
                return None
            found = server
        return self.servers[0] if found is None else found
