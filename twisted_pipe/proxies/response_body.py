"""
The body of one response, on its way from the server to the client.

Without filters and with a known length it goes from socket to socket (L{Relay}) as long as the client keeps up. Otherwise it goes
through a pipe, which reads ahead of a slow client, into memory and then to disk; the server's connection is given back as soon as
everything is in. A body that breaks off never ends cleanly toward the client.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import attrs
from twisted.python.failure import Failure

from twisted_pipe.errors import (
    BadConfiguration,
    Cancelled,
    FilterFailed,
    PipeError,
    Side,
    TimedOut,
    UpstreamFailed,
)
from twisted_pipe.http.chunked import ChunkedDecoder
from twisted_pipe.http.head import Framing, ResponseHead
from twisted_pipe.limits import PipeLimits
from twisted_pipe.net.driver import EventPipe
from twisted_pipe.net.outcome import PipeOutcome
from twisted_pipe.net.relay import Relay
from twisted_pipe.proxies.body_framing import chunked_filter, measured_filter
from twisted_pipe.proxies.drain import Drain
from twisted_pipe.proxies.head_changes import passed_trailers
from twisted_pipe.proxies.http_filters import Chosen, choose_filters
from twisted_pipe.proxies.upstream_connection import UpstreamConnection
from twisted_pipe.proxies.watch import NEVER
from twisted_pipe.units import parse_size

if TYPE_CHECKING:
    from twisted_pipe.interfaces import NamedFilter
    from twisted_pipe.proxies.exchange import Exchange

__all__ = ["ResponseBody"]

_EVENTS = b"text/event-stream"


class ResponseBody:
    """A C{RelayOwner}."""

    __slots__ = ("_connection", "_decoder", "_exchange", "_length", "_limits", "_mover", "_response", "_sent")

    def __init__(self, exchange: Exchange, response: ResponseHead) -> None:
        assert exchange.connection_up is not None
        self._exchange = exchange
        self._response = response
        self._connection: UpstreamConnection = exchange.connection_up
        self._decoder: ChunkedDecoder | None = None
        self._limits: PipeLimits = exchange.settings.limits
        self._mover: Relay | EventPipe | None = None
        self._sent = 0  # bytes that the client got from movers before this one
        self._length = 0  # bytes that the pipe is to move

    def __repr__(self) -> str:
        return f"<ResponseBody {self._response.framing.value} {self._mover!r}>"

    def begin(self, line: bytes, lines: list[bytes], body: bytes | memoryview) -> None:
        """
        @param lines: the fields that the client is to get, without C{Content-Length}.
        @param body: what has come already, as it came.
        """
        exchange, response = self._exchange, self._response
        try:
            chosen = choose_filters(exchange, response, lines)
        except FilterFailed as error:
            exchange.refuse(500, error.describe())
            return
        filters, lines = chosen.filters, chosen.lines
        if response.framing is Framing.LENGTH and not filters and len(body) >= response.length:
            exchange.response_received(clean=len(body) == response.length)
            now = exchange.client.proxy.clock.seconds()
            exchange.send_whole(line, lines, response.content_length, body[: response.length], now)
            return
        if response.framing is Framing.CHUNKED:
            if not filters and self._answer_at_once(line, lines, body):
                return
            self._decoder = ChunkedDecoder(bare_lf=self._exchange.settings.bare_lf)
        if response.accelerated:
            self._limits = _accelerated(self._limits, response, exchange)
        if (response.get(b"content-type") or b"").lower().startswith(_EVENTS):
            self._limits = attrs.evolve(self._limits, buffering=False)
        self._start(line, body, chosen)

    def _start(self, line: bytes, body: bytes | memoryview, chosen: Chosen) -> None:
        exchange, response, client = self._exchange, self._response, self._exchange.client
        filters, lines = chosen.filters, chosen.lines
        length = response.content_length if response.framing is Framing.LENGTH and chosen.keep_bytes else None
        chunked = length is None and exchange.minor == 1
        if chunked:
            passes = passed_trailers(exchange.settings.response_headers, bytes.lower, not chosen.keep_bytes)
            filters.append(chunked_filter(self._decoder, passes))
        elif length is not None and filters:
            filters.append(measured_filter(response.length))
        if (length is None and not chunked) or (exchange.body is not None and not exchange.body.whole):
            client.keep = False
        head = client.encode(line, lines, length, chunked)
        exchange.sent_lines = lines
        exchange.header_bytes = len(head)
        sockets = client.source is not None and self._connection.source is not None and self._connection.open
        if length is not None and sockets and not (filters or self._limits.limit_rate):
            self._send_first(head, body)
        else:
            self._pipe(filters, head, body, response.length if response.framing is Framing.LENGTH else None)

    def _answer_at_once(self, line: bytes, lines: list[bytes], body: bytes | memoryview) -> bool:
        """Whether all chunks are here: the response then goes out with its length, in one piece."""
        decoder = ChunkedDecoder(bare_lf=self._exchange.settings.bare_lf)
        raw = bytearray(body)
        with memoryview(raw) as view:
            try:
                count = decoder.decode(view)
            except ValueError:
                return False  # the pipe delivers what came before that, and says so
            if not decoder.finished or decoder.trailers:
                return False
            content = bytes(view[:count])
        self._exchange.response_received(clean=not decoder.surplus)
        exchange = self._exchange
        exchange.send_whole(line, lines, b"%d" % count, content, exchange.client.proxy.clock.seconds())
        return True

    # from socket to socket

    def _send_first(self, head: bytes, body: bytes | memoryview) -> None:
        """Head and first bytes in one call; then a relay, if the client took them."""
        client = self._exchange.client
        left = self._response.length - len(body)
        size = len(head) + len(body)
        try:
            sent = client.source.socket.sendmsg((head, body))
        except BlockingIOError:
            sent = 0
        except OSError as error:
            client.source.send_failed(error)
            self._client_lost(error.strerror or str(error), left)
            return
        self._sent = self._exchange.bytes_sent = sent
        if sent < size:
            client.source.writable = False
            self._pipe([], (head + body)[sent:], b"", left)
            return
        source = self._connection.source
        relay = Relay(source, client.source, self, self._limits.memory, client.proxy.clock.seconds(), left)
        self._mover = relay
        source.reader = relay
        relay.arm()
        if source.readable:
            relay.socket_ready()

    def relay_blocked(self, relay: Relay, rest: bytes) -> None:
        """RelayOwner: the client is slow."""
        self._count(relay)
        self._connection.source.reader = None
        assert relay.left is not None
        self._exchange.upstream_bytes_received += len(rest)
        self._pipe([], rest, b"", relay.left - len(rest))

    def relay_ended(self, relay: Relay, error: OSError | None) -> None:
        """RelayOwner: everything came, or the server broke off."""
        self._count(relay)
        exchange = self._exchange
        self._connection.listen()
        if not relay.left:
            try:
                exchange.response_received(clean=True)
                exchange.response_delivered()
            except Exception:
                exchange.mistaken("the response could not be ended")
            return
        why = f"ended {relay.left} bytes before its announced length"
        self._fail(UpstreamFailed(why if error is None else error.strerror or str(error)))

    def relay_broken(self, relay: Relay, error: OSError, lost: int) -> None:
        """RelayOwner: the client is gone."""
        self._count(relay)
        self._exchange.upstream_bytes_received += lost
        left = (relay.left or 0) - lost
        self._client_lost(error.strerror or str(error), left)

    def relay_lost(self, relay: Relay, reason: Failure) -> None:
        """RelayOwner: somebody else closed the server's connection."""
        self._count(relay)
        self._fail(UpstreamFailed(reason.getErrorMessage()))

    def _count(self, relay: Relay) -> None:
        self._mover = None
        self._sent += relay.moved
        self._exchange.bytes_sent = self._sent
        self._exchange.upstream_bytes_received += relay.moved

    # through a pipe

    def _pipe(self, filters: list[NamedFilter], head: bytes, body: bytes | memoryview, length: int | None) -> None:
        exchange, connection, client = self._exchange, self._connection, self._exchange.client
        if connection.source is not None:
            connection.source.relay = None
        self._length = length or 0
        lost = exchange.lost
        first = bytes(body)
        if connection.source is None and not lost:
            first += connection.wire.take_early()  # what came while message filters had the response
        ended = connection.source is None and connection.wire.ended_early and connection.wire.gone
        pipe = self._mover = EventPipe(
            None if lost or ended else connection.wire.transport,
            client.transport,
            filters,
            self._limits,
            clock=client.proxy.clock,
            spill=client.proxy.spill,
            head=head,
            preread=first,
            length=length,
            decoder=self._decoder,
            keep_open=True,
            name=f"{client.name} (response)",
        )
        if lost:
            pipe.upstream_lost(Failure(ConnectionError(lost)))  # it has what came before that
        elif connection.source is None:
            connection.wire.feed(pipe)
        exchange.upstream_bytes_received -= len(body)  # the pipe counts them, too
        mistaken = partial(exchange.mistaken, "the response could not be passed on")
        pipe.received.addCallback(self._received, pipe).addErrback(mistaken)
        pipe.done.addCallback(self._done, pipe).addErrback(mistaken)

    def _received(self, _: None, pipe: EventPipe) -> None:
        """Nothing more is read from the server."""
        if pipe.upstream_whole:
            if self._connection.source is None:
                self._connection.wire.release()
            self._exchange.response_received(clean=not (pipe.surplus or pipe.take_unread()))

    def _done(self, outcome: PipeOutcome, pipe: EventPipe) -> None:
        exchange = self._exchange
        self._mover = None
        exchange.bytes_sent = self._sent + outcome.bytes_out
        exchange.bytes_spilled += outcome.bytes_spilled
        exchange.upstream_bytes_received += outcome.bytes_in
        error = outcome.error
        if error is None:
            exchange.response_delivered()
        elif error.side is Side.DOWNSTREAM:
            self._client_lost(str(error), self._left(outcome.bytes_in), pipe.unread)
        elif error.side is Side.FILTER and not exchange.bytes_sent:
            exchange.refuse(500, error.describe())
        elif not isinstance(error, Cancelled):
            self._fail(error)

    def _left(self, received: int) -> int:
        """How much the server has yet to send, when the pipe has C{received} so many bytes."""
        return max(self._length - received, 0)

    # ends

    def _client_lost(self, why: str, left: int, unread: bytes = b"") -> None:
        self._leave_alone(left, unread)
        self._exchange.client_lost(why)

    def _leave_alone(self, left: int, unread: bytes = b"") -> None:
        """
        The client is gone, and perhaps the server is not to notice that.

        @param left: bytes that nobody has read yet.
        @param unread: these of them that have come.
        """
        exchange = self._exchange
        connection = exchange.connection_up
        # else it waits for the rest of the request, and would take the next one for that
        sent = exchange.body is None or exchange.body.sent
        if exchange.settings.ignore_client_abort and sent and connection is not None and connection.open:
            exchange.connection_up = None
            if unread:
                connection.wire.early = unread + connection.wire.early
            Drain(connection, self._response, exchange.keep_place(), left, self._decoder)

    def _fail(self, error: PipeError) -> None:
        self._exchange.response_failed(error)

    def stop(self) -> None:
        """Nobody wants it any more."""
        mover, self._mover = self._mover, None
        if isinstance(mover, EventPipe):
            mover.abandon(Cancelled("the exchange is over"))
            self._leave_alone(self._left(mover.bytes_in), mover.unread)
        elif mover is not None:
            left = (mover.left or 0) - len(mover.stop())
            mover.source.reader = None
            self._count(mover)
            self._leave_alone(left)

    # timeouts of a relay; a pipe has its own

    def due(self) -> float:
        """See C{Watched}."""
        mover = self._mover
        if not isinstance(mover, Relay):
            return NEVER
        return mover.last_progress + (self._limits.read_timeout or NEVER)

    def expire(self) -> None:
        """It is due."""
        mover = self._mover
        if isinstance(mover, Relay):
            mover.stop()
            mover.source.reader = None
            self._count(mover)
            self._fail(TimedOut(Side.UPSTREAM, "read timeout", self._limits.read_timeout))


def _accelerated(limits: PipeLimits, response: ResponseHead, exchange: Exchange) -> PipeLimits:
    """C{limits} as the server wants them: C{X-Accel-Buffering}, C{X-Accel-Limit-Rate}."""
    buffering = (response.get(b"x-accel-buffering") or b"").lower()
    if buffering in (b"yes", b"no"):
        limits = attrs.evolve(limits, buffering=buffering == b"yes")
    rate = response.get(b"x-accel-limit-rate")
    if rate is not None:
        text = rate.decode("latin-1")
        try:
            limits = attrs.evolve(limits, limit_rate=parse_size("", text))
        except BadConfiguration as error:
            exchange.complain(f"upstream: X-Accel-Limit-Rate: {text!r}: {error.expected}")
    return limits
