"""
One server after the other, by weight.

Weights are honoured smoothly, as by nginx: with 5, 1 and 1 the first server gets five of seven connections, but not five in a row
(a a b a c a a). At each turn every server earns its weight, the richest is chosen and pays for all of them; among equals the first.
"""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Any

import attrs
from zope.interface import implementer

from twisted_pipe.interfaces import IUpstreamBalancer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["RoundRobin"]


@implementer(IUpstreamBalancer)
@attrs.define(eq=False)
class RoundRobin:
    """
    Every server gets connections in proportion to its weight; with equal weights, in the order in which they were configured.

    @ivar servers: in that order.
    """

    servers: Sequence[Any]
    _turn: Iterator[Any] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        weights = [server.weight for server in self.servers]
        self._turn = cycle(self.servers) if len(set(weights)) == 1 else _smooth(self.servers, weights)

    def pick(self, key: bytes | None) -> Any:
        return next(self._turn)

    def release(self, server: Any) -> None:
        """It counts nothing."""

    def statistics(self) -> dict[str, Any]:
        return {}


def _smooth(servers: Sequence[Any], weights: Sequence[int]) -> Iterator[Any]:
    """The servers in turn, for ever."""
    total = sum(weights)
    earned = [0] * len(weights)
    while True:
        earned = [each + weight for each, weight in zip(earned, weights, strict=True)]
        richest = earned.index(max(earned))
        earned[richest] -= total
        yield servers[richest]
