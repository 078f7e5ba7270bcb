"""The server with the fewest connections for its weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from zope.interface import implementer

from twisted_pipe.interfaces import IUpstreamBalancer

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LeastConnections"]


@implementer(IUpstreamBalancer)
@attrs.define(eq=False)
class LeastConnections:
    """
    The next connection goes to the server that has the fewest now, divided by its weight; among equals, to the one that has
    waited longest (nginx C{least_conn}).

    @ivar servers: the order in which they begin.
    """

    servers: Sequence[Any]
    _open: dict[int, int] = attrs.field(init=False)  # connections, by place; the one that was picked last stands last

    def __attrs_post_init__(self) -> None:
        self._open = dict.fromkeys(range(len(self.servers)), 0)

    def pick(self, key: bytes | None) -> Any:
        place = min(self._open, key=self._load)
        self._open[place] = self._open.pop(place) + 1
        return self.servers[place]

    def release(self, server: Any) -> None:
        place = next(place for place, each in enumerate(self.servers) if each is server)
        self._open[place] -= 1

    def _load(self, place: int) -> float:
        load: float = self._open[place] / self.servers[place].weight
        return load

    def statistics(self) -> dict[str, Any]:
        """Open connections, by the servers' names."""
        return {self.servers[place].name: count for place, count in sorted(self._open.items())}
