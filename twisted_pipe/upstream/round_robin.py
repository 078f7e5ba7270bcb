"""One server after the other."""

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
    Every server gets as many connections as every other, in the order in which they were configured.

    @ivar servers: in that order.
    """

    servers: Sequence[Any]
    _turn: Iterator[Any] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._turn = cycle(self.servers)

    def pick(self, key: bytes | None) -> Any:
        return next(self._turn)

    def release(self, server: Any) -> None:
        """It counts nothing."""

    def statistics(self) -> dict[str, Any]:
        return {}
