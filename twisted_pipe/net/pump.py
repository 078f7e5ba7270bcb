"""
The fast path: from socket to socket, past the pipe.

While a pipe without filters is empty and its downstream takes bytes, its policy has only one answer: read, write. L{Pump.run}
does just that, without asking, in memory that all pumps share. As soon as the downstream takes less than it was offered, the
rest is put into the pipe; the end, an error, and everything else is left to the pipe, too. A round trip of 64 bytes costs half of
what it costs by the general path, and both deliver the same (C{tests/net/test_pump.py}).
"""

from __future__ import annotations

from collections.abc import Callable

from twisted_pipe.core.pipe import Pipe
from twisted_pipe.errors import DownstreamFailed, UpstreamFailed
from twisted_pipe.net.edge import EdgeSocket

__all__ = ["Pump"]

_BUDGET = 256 * 1024  # bytes before the other sockets have their turn

_scratch: dict[int, memoryview] = {}


class Pump:
    """For one pipe, between two edge-triggered sockets."""

    __slots__ = ("_downstream", "_moved", "_pipe", "_upstream", "_view")

    def __init__(
        self, pipe: Pipe, upstream: EdgeSocket, downstream: EdgeSocket, moved: Callable[[], object], size: int
    ) -> None:
        """
        @param moved: called after bytes went through and nothing waits.
        @param size: bytes to read at once, the C{buffer_size}.
        """
        self._pipe = pipe
        self._upstream = upstream
        self._downstream = downstream
        self._moved = moved
        view = _scratch.get(size)
        if view is None:
            view = _scratch[size] = memoryview(bytearray(size))
        self._view = view

    def run(self) -> bool:
        """
        Move bytes while both sockets are ready and the budget lasts. The pipe must be empty.

        @return: whether that was all there was to do; else the pipe has to be asked.
        """
        pipe, upstream, downstream, view = self._pipe, self._upstream, self._downstream, self._view
        budget = _BUDGET
        while upstream.readable and downstream.writable and budget > 0:
            try:
                got = upstream.recv_into(view)
            except OSError as error:
                # here and not by the pipe: the kernel tells an error once
                pipe.did_fail(UpstreamFailed(error.strerror or str(error)))
                return False
            if got <= 0:
                if got == 0:
                    pipe.did_end()
                    return False
                break
            part = view[:got]
            try:
                sent = downstream.send_view(part)
            except OSError as error:
                pipe.passed_by(0, part)
                pipe.did_break(DownstreamFailed(error.strerror or str(error)))
                return False
            pipe.passed_by(sent, part[sent:])
            if sent < got:
                return False
            budget -= got
        if budget == _BUDGET:
            return False
        self._moved()
        if upstream.readable:
            if not downstream.writable:
                return False
            upstream.transport.reactor.post(upstream)
        return True
