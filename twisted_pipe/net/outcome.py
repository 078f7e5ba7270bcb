"""How a pipe ended, for those who waited for it."""

from __future__ import annotations

import attrs

from twisted_pipe.errors import PipeError, Side

__all__ = ["PipeOutcome"]


@attrs.frozen(kw_only=True)
class PipeOutcome:
    """
    @ivar bytes_in: received from the upstream.
    @ivar bytes_out: taken by the downstream (by its kernel socket, or by the transport), the head included.
    @ivar bytes_spilled: written to disk, in all.
    @ivar peak_memory: the most bytes of memory held at once.
    @ivar surplus: bytes received beyond the announced length, or the message: they were not delivered.
    @ivar seconds: from start to end.
    @ivar stored: whether the whole stream is in the file where it was to be stored, or which was taken.
    @ivar error: None after a clean end, else why not; its C{side} says whose fault it was.
    """

    bytes_in: int
    bytes_out: int
    bytes_spilled: int
    peak_memory: int
    surplus: int
    seconds: float
    error: PipeError | None
    stored: bool = False

    @property
    def clean(self) -> bool:
        """Whether everything was delivered and the end passed on."""
        return self.error is None

    @property
    def side(self) -> Side | None:
        """Whose fault it was."""
        return None if self.error is None else self.error.side

    def __str__(self) -> str:
        return "finished" if self.error is None else self.error.describe()
