"""What a registration may ask of the reactor that runs it."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Engine"]


class Engine(Protocol):
    """
    @ivar stale_events: events dropped because their connection was gone; registrations that drop one count it.
    """

    stale_events: int

    def post(self, registration: Any) -> None:
        """Run C{registration} in the next turn, once."""

    def disconnect(self, selectable: Any, why: BaseException, in_read: bool) -> None:
        """End C{selectable} because of C{why}, honouring half-close if it was found while reading."""
