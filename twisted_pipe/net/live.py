"""What all pipes of the process hold, while they live."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from twisted_pipe.net.driver import EventPipe

__all__ = ["LivePipes", "live_pipes", "statistics"]

live_pipes: set[EventPipe] = set()  #: a pipe enters when it starts and leaves when it ends


@attrs.frozen(kw_only=True)
class LivePipes:
    """
    All event pipes of the process that have not ended. (Ways of the TCP proxy that bytes only pass through are relays, not pipes.)

    @ivar count: how many.
    @ivar blocked: how many have an upstream that is not read because no buffer is free.
    @ivar memory_bytes: what waits in memory.
    @ivar disk_bytes: what waits on disk.
    @ivar bytes_in: what they have received so far.
    @ivar bytes_out: what they have delivered so far.
    """

    count: int
    blocked: int
    memory_bytes: int
    disk_bytes: int
    bytes_in: int
    bytes_out: int


def statistics() -> LivePipes:
    """What they hold now."""
    pipes = list(live_pipes)
    return LivePipes(
        count=len(pipes),
        blocked=sum(pipe.upstream_blocked for pipe in pipes),
        memory_bytes=sum(pipe.memory_bytes for pipe in pipes),
        disk_bytes=sum(pipe.disk_bytes for pipe in pipes),
        bytes_in=sum(pipe.bytes_in for pipe in pipes),
        bytes_out=sum(pipe.bytes_out for pipe in pipes),
    )
