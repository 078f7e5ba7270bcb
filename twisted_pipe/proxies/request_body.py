"""
The body of one request, on its way from the client to a server.

A small one waits in memory until it is whole, and can be sent again to another server. A larger one goes through a pipe. With
C{request_buffering} that takes in everything, to disk if need be, before a server is asked; without, the server is asked at once
and the client is as slow as the server (nginx C{proxy_request_buffering}). A pipe that can take no more before that does not wait
for it.

If the request may be sent more than once, a larger body goes to a file as a whole, and from there to each server that is asked.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import attrs

from twisted_pipe.errors import Cancelled, FilterFailed, PipeError, Side, TimedOut
from twisted_pipe.http.head import Framing, RequestHead
from twisted_pipe.limits import PipeLimits
from twisted_pipe.messages.headers import alike
from twisted_pipe.net.driver import EventPipe
from twisted_pipe.net.keptfile import KeptFile
from twisted_pipe.net.outcome import PipeOutcome
from twisted_pipe.proxies.body_framing import LimitedDecoder, chunked_filter, measured_filter
from twisted_pipe.proxies.head_changes import passed_trailers
from twisted_pipe.proxies.http_filters import request_filters, wanted_on_request

if TYPE_CHECKING:
    from twisted_pipe.proxies.exchange import Exchange
    from twisted_pipe.proxies.http_settings import HttpSettings
    from twisted_pipe.proxies.upstream_connection import UpstreamConnection

__all__ = ["RequestBody"]

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CRUMB = 4096  # bytes of a body in memory: smaller pieces are joined


class RequestBody:
    """
    @ivar content: all of it, if it is in memory.
    @ivar pipe: what moves it otherwise, to the server or to a file; None before and without.
    @ivar whole: whether the client has sent all of it.
    @ivar sent: whether the server's kernel has all of it.
    @ivar sent_at: when that was, in the clock's seconds.
    """

    def __init__(self, exchange: Exchange, settings: HttpSettings) -> None:
        self._exchange = exchange
        self._settings = settings
        self._parts: list[bytes] = []  # as they came
        self._bodies: list[bytes] = []  # what a decoder found in them
        self._size = 0
        self._decoder: LimitedDecoder | None = None
        self._chunked_out = False
        self._asked = False
        self._begun = False  # to be sent, by the pipe
        self.content = b""
        self.pipe: EventPipe | None = None
        self._file: KeptFile | None = None  # all of it, if it may be sent more than once
        self._sending: EventPipe | None = None  # what the server has to get yet, of the file or of what is in memory
        self.whole = not exchange.head.has_body
        self.sent = True
        self.sent_at = 0.0

    def __repr__(self) -> str:
        where = repr(self.pipe) if self.pipe is not None else f"{len(self.content) or self._size} bytes"
        return f"<RequestBody {where}{' whole' if self.whole else ''}{' sent' if self.sent else ''}>"

    @property
    def replayable(self) -> bool:
        """Whether it can be sent once more, or has not been begun to be sent."""
        return self.pipe is None or self._file is not None or not (self._begun or self.pipe.ended)

    @property
    def framing_line(self) -> bytes:
        """How it is announced to the server."""
        if self._chunked_out:
            return b"Transfer-Encoding: chunked"
        head: RequestHead = self._exchange.head
        return b"Content-Length: %d" % (head.length if self.pipe is not None else len(self.content))

    @property
    def over(self) -> bool:
        """Whether no more of it is being sent, for better or worse."""
        return (self.pipe is None or self.pipe.ended) and self._sending is None

    # receiving

    def begin(self, rest: bytes) -> None:
        """
        @param rest: what came of it with the head, and perhaps of the next request behind it.
        """
        head: RequestHead = self._exchange.head
        settings = self._settings
        if head.expects_continue and not rest:
            self._exchange.client.interim(_CONTINUE)
            if self._exchange.ended:  # the client was found to be gone
                return
        if head.framing is Framing.CHUNKED:
            self._decoder = self._new_decoder()
        fits = head.framing is Framing.CHUNKED or head.length <= settings.request_body_buffer_size
        waits = settings.request_buffering or 0 < head.length <= len(rest)
        if not (fits and waits) or wanted_on_request(self._exchange):
            self._begin_pipe(rest)
            return
        self._exchange.client.wait_for_body()
        if rest:
            self.received(rest)

    def _new_decoder(self) -> LimitedDecoder:
        return LimitedDecoder(self._settings.client_max_body_size, self._exchange.client.proxy.head_limits.bare_lf)

    def received(self, data: bytes) -> None:
        """More of a body that is kept in memory; C{b""} if the client has ended."""
        if not data:
            self._broken_off()
            return
        if self._decoder is not None:
            self._received_chunked(data)
            return
        left = self._exchange.head.length - self._size
        if len(data) > left:
            self._exchange.client.pending = data[left:]
            data = data[:left]
        _keep(self._parts, data)
        self._size += len(data)
        if len(data) == left:
            self._complete()

    def _broken_off(self) -> None:
        """The client sends nothing more; it may still read why that is wrong."""
        why = "it ended in the middle of its request's body"
        if self._exchange.client.gone:
            self._exchange.client_lost(why)
        else:
            self._exchange.refuse(400, f"client: {why}", Side.DOWNSTREAM)

    def _received_chunked(self, data: bytes) -> None:
        decoder = self._decoder
        assert decoder is not None
        raw = bytearray(data)
        with memoryview(raw) as view:
            try:
                count = decoder.decode(view)
            except ValueError as error:
                self._exchange.refuse(413 if decoder.too_large else 400, f"client: {error}", Side.DOWNSTREAM)
                return
            body = bytes(view[:count])
        self._size += count
        _keep(self._bodies, body)
        if decoder.finished:
            if decoder.surplus:
                self._exchange.client.pending = data[-decoder.surplus :]
            self._parts = self._bodies
            self._complete()
            return
        _keep(self._parts, data)
        if self._size > self._settings.request_body_buffer_size:
            self._begin_pipe(b"")

    def _complete(self) -> None:
        self.content = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts = self._bodies = []
        self.whole = True
        exchange = self._exchange
        exchange.body_came(self._size)
        exchange.client.stop_waiting()
        exchange.body_ready()

    # a large one

    def _begin_pipe(self, rest: bytes) -> None:
        exchange, settings = self._exchange, self._settings
        client, head = exchange.client, exchange.head
        client.stop_waiting()
        try:
            chosen = request_filters(exchange)
        except FilterFailed as error:
            exchange.refuse(500, error.describe("client", "upstream"))
            return
        filters, head.lines = chosen.filters, chosen.lines
        self._chunked_out = head.framing is Framing.CHUNKED or not chosen.keep_bytes
        if self._parts:
            # begin anew, with everything that came of it
            rest = b"".join(self._parts) + rest
            self._parts = self._bodies = []
            if self._decoder is not None:
                self._decoder = self._new_decoder()
        if self._chunked_out:
            passes = passed_trailers(
                settings.request_headers, alike, not chosen.keep_bytes, bool(settings.message_filters)
            )
            filters.append(chunked_filter(self._decoder, passes))
        elif filters:
            filters.append(measured_filter(head.length))
        self.sent = False
        client.lend()
        if client.source is None:
            rest += client.wire.take_early()  # what came while message filters had the request
        pipe = self.pipe = EventPipe(
            client.transport,
            None,
            filters,
            _request_limits(settings, client.proxy.client_settings.body_timeout),
            keep_file=settings.request_buffering and settings.next_upstream.repeats(exchange.method),
            clock=client.proxy.clock,
            spill=client.proxy.spill,
            preread=rest,
            length=head.length if self._decoder is None else None,
            decoder=self._decoder,
            keep_open=True,
            name=f"{client.name} (request)",
        )
        if client.source is None:
            client.wire.feed(pipe)
        mistaken = partial(exchange.mistaken, "the request's body could not be passed on")
        pipe.received.addCallback(self._all_received).addErrback(mistaken)
        pipe.wanted.addCallback(self._ask).addErrback(mistaken)
        pipe.done.addCallback(self._pipe_done).addErrback(mistaken)
        if not settings.request_buffering:
            self._ask()

    def _ask(self, _: object = None) -> None:
        """A server is wanted, now that it is here or can wait no longer."""
        if not self._asked and self.pipe is not None and not self.pipe.ended:
            self._asked = True
            self._file = self.pipe.take_file()
            self._exchange.body_ready()

    def _all_received(self, _: None) -> None:
        pipe = self.pipe
        assert pipe is not None
        if pipe.upstream_whole:
            self.whole = True
            self._exchange.body_came(pipe.bytes_in)
            self._exchange.client.pending = pipe.leftover + pipe.take_unread()
            self._exchange.client.listen()

    def deliver_to(self, connection: UpstreamConnection, head: bytes) -> None:
        """Send it behind C{head}, which announces it."""
        assert self.pipe is not None
        self._begun = True
        connection.requests += 1
        if self._file is not None:
            self._send(connection, head, self._file)
        else:
            self.pipe.deliver_to(connection.wire.transport, head=head)

    def send_rest(self, connection: UpstreamConnection, rest: bytes) -> None:
        """The server's kernel did not take all of a request at once: here is the rest of it."""
        self.sent = False
        self._send(connection, rest)

    def _send(self, connection: UpstreamConnection, head: bytes, file: KeptFile | None = None) -> None:
        settings = self._settings
        self._sending = EventPipe(
            None,
            connection.wire.transport,
            (),
            attrs.evolve(settings.request_limits, send_timeout=settings.send_timeout),
            clock=self._exchange.client.proxy.clock,
            head=head,
            length=0,
            file=file,
            keep_open=True,
            name=f"{self._exchange.client.name} (request)",
        )
        mistaken = partial(self._exchange.mistaken, "the request's body could not be sent")
        self._sending.done.addCallback(self._sending_done).addErrback(mistaken)

    def rewind(self) -> None:
        """It is going to be sent once more, or to be begun: it is L{replayable}."""
        if self._sending is not None:
            self._sending.abandon(Cancelled("the request goes to another server"))
        self.sent = self.pipe is None

    def _sending_done(self, outcome: PipeOutcome) -> None:
        self._sending = None
        error = outcome.error
        # without a connection it is only that one's end: its closed socket is a bad descriptor, too
        if error is not None and error.side is Side.DISK and self._exchange.connection_up is not None:
            self._exchange.body_failed(500, error.describe("client", "upstream"), error.side)
        else:
            self._sent(error)

    def _pipe_done(self, outcome: PipeOutcome) -> None:
        self._exchange.bytes_spilled += outcome.bytes_spilled
        if outcome.stored:
            return  # nothing is sent yet
        error = outcome.error
        client = self._exchange.client
        if not self.whole:
            client.keep = False
            client.listen()
        if error is None or error.side in (Side.DOWNSTREAM, Side.CALLER):
            self._sent(error)
        elif self._decoder is not None and self._decoder.too_large:
            self._exchange.body_failed(413, f"client: {error}")
        elif error.side in (Side.FILTER, Side.DISK):
            self._exchange.body_failed(500, error.describe("client", "upstream"), error.side)
        elif isinstance(error, TimedOut):
            self._exchange.body_failed(408, error.describe("client", "upstream"))
        elif client.gone:
            self._exchange.client_lost(str(error))
        else:
            self._exchange.body_failed(400, error.describe("client", "upstream"))

    def _sent(self, error: PipeError | None) -> None:
        """
        The server's kernel has it; or takes no more of it, which is not yet the end: the server may have answered before that.
        """
        self.sent_at = self._exchange.client.proxy.clock.seconds()
        if error is None:
            self.sent = True
        elif not isinstance(error, Cancelled):
            self._exchange.request_broke(error)

    def stop_sending(self) -> None:
        """The server does not want the rest of it."""
        for pipe in (self.pipe, self._sending):
            if pipe is not None and not pipe.ended:
                pipe.abandon(Cancelled("the request is over"))

    def stop(self) -> None:
        """Nobody wants it any more."""
        self.stop_sending()
        if self._file is not None:
            self._file.close()
            self._file = None


def _keep(parts: list[bytes], data: bytes) -> None:
    """Append C{data}. In how many pieces a body comes is the client's choice, and each costs more memory than a byte."""
    if parts and len(parts[-1]) + len(data) <= _CRUMB:
        parts[-1] += data
    else:
        parts.append(data)


def _request_limits(settings: HttpSettings, body_timeout: float) -> PipeLimits:
    limits = settings.request_limits
    return attrs.evolve(
        limits,
        read_timeout=body_timeout,
        send_timeout=settings.send_timeout,
        # whether responses are read ahead of slow clients says nothing of requests
        buffering=limits.buffering or settings.request_buffering,
        # what is streamed waits for its server in the client's hands, not on our disk
        max_temp_file_size=limits.max_temp_file_size if settings.request_buffering else 0,
    )
