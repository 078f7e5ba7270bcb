"""
The rest of a response that nobody waits for any more (nginx C{proxy_ignore_client_abort}): received to its end, so that the
server is not disturbed, and dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted_pipe.http.chunked import ChunkedDecoder
from twisted_pipe.http.head import BadMessage, Framing, ResponseHead, parse_response
from twisted_pipe.net.deadline import Deadline

if TYPE_CHECKING:
    from twisted_pipe.proxies.upstream_connection import UpstreamConnection

__all__ = ["Drain"]

_PATIENCE = 60.0  # seconds without a byte


class Drain:
    """An C{UpstreamUser}. As long as it goes on the server is as busy as with any other request."""

    def __init__(
        self,
        connection: UpstreamConnection,
        response: ResponseHead | None,
        release: Callable[[], object],
        left: int = 0,
        decoder: ChunkedDecoder | None = None,
        method: bytes = b"GET",
    ) -> None:
        """
        @param response: its head, None if that has yet to come.
        @param release: called once, at the end, however it comes: the server's place is free.
        @param left: bytes of a body of known length that have yet to come.
        @param decoder: of a chunked one, as far as it got.
        @param method: of the request.
        """
        self._connection = connection
        self._response = response
        self._release: Callable[[], object] | None = release
        self._left = left
        self._decoder = decoder
        self._method = method
        self._buffer = b""
        clock = connection.upstream.clock
        self._deadline = Deadline(clock, _PATIENCE, self._give_up)
        self._deadline.restart(clock.seconds())
        connection.user = self
        connection.listen()
        if response is not None and response.framing is Framing.LENGTH and left <= 0:
            self._end(response.keep_alive)
        elif connection.wire.readable:
            clock.callLater(0, self._go_on)

    def __repr__(self) -> str:
        return f"<Drain {self._connection!r} {self._left} bytes left>"

    def _go_on(self) -> None:
        if self._connection.user is self:
            self._connection.socket_ready()

    def upstream_opened(self, connection: UpstreamConnection) -> None:
        """Not called: it stands."""

    def upstream_refused(self, connection: UpstreamConnection, why: str) -> None:
        """Not called, either."""

    def upstream_took(self, connection: UpstreamConnection, rest: bytes) -> None:
        """The client was lost in the turn that sends the request, and the server has a part of it only: nothing can follow that."""
        self._give_up()

    def upstream_lost(self, why: str) -> None:
        """The server broke off; nobody else is there to be told."""
        self._leave()

    def upstream_received(self, data: bytes | memoryview, now: float) -> None:
        """More of it, or its end."""
        self._deadline.restart(now)
        if not data:
            self._end(False)
            return
        if self._response is None:
            data = self._read_head(bytes(data))
            if self._response is None:
                return
        try:
            self._take(self._response, data)
        except ValueError:
            self._end(False)

    def _read_head(self, data: bytes) -> bytes:
        data = self._buffer + data
        try:
            head = parse_response(data, self._method)
            while head is not None and head.status < 200:
                data = data[head.size :]
                head = parse_response(data, self._method)
        except BadMessage:
            self._end(False)
            return b""
        self._buffer = data
        if head is None:
            return b""
        self._response, self._left = head, head.length
        if head.framing is Framing.CHUNKED:
            self._decoder = ChunkedDecoder()
        return data[head.size :]

    def _take(self, response: ResponseHead, data: bytes | memoryview) -> None:
        """
        @raise ValueError: its chunks are none.
        """
        if self._decoder is not None:
            with memoryview(bytearray(data)) as view:
                self._decoder.decode(view)
            if self._decoder.finished:
                self._end(response.keep_alive and not self._decoder.surplus)
        elif response.framing is not Framing.CLOSE:
            self._left -= len(data)
            if self._left <= 0:
                self._end(response.keep_alive and self._left == 0)

    def _end(self, reusable: bool) -> None:
        connection = self._connection
        if connection.user is self:
            if reusable:
                connection.upstream.give_back(connection, connection.upstream.clock.seconds())
            else:
                connection.close()
        self._leave()

    def _give_up(self) -> None:
        self._connection.abort()
        self._leave()

    def _leave(self) -> None:
        """The connection is somebody else's, or gone. Whoever waits for the server finds it."""
        self._deadline.cancel()
        release, self._release = self._release, None
        if release is not None:
            release()
