"""
The side of an exchange that its servers see: who is asked, and what becomes of that until the head of a response is here.

Other servers are the business of L{twisted_pipe.proxies.attempts}, as long as nothing of a response has been passed on. A request
is sent once more to the same one if its connection had been kept alive and was closed meanwhile, and if it is idempotent (RFC 9110,
section 9.2.2).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.python.failure import Failure

from twisted_pipe.errors import PipeError, Side, TimedOut
from twisted_pipe.http.head import BadMessage, Framing, ResponseHead, parse_response
from twisted_pipe.http.upgrade import check_change
from twisted_pipe.proxies.attempts import Attempts
from twisted_pipe.proxies.exchange_record import ExchangeRecord
from twisted_pipe.proxies.http_settings import HttpSettings, Route
from twisted_pipe.proxies.http_upstream import HttpUpstream
from twisted_pipe.proxies.message_filters import FilteredMessages
from twisted_pipe.proxies.next_upstream import IDEMPOTENT, Setback
from twisted_pipe.proxies.request_body import RequestBody
from twisted_pipe.proxies.request_head import request_head
from twisted_pipe.proxies.upstream_connection import UpstreamConnection
from twisted_pipe.upstream.peer import Peer

__all__ = ["UpstreamSide"]

_MOST_INTERIM = 16  # responses before the response: more is an upstream gone mad
_NO_BODY, _BY_LENGTH = Framing.NONE, Framing.LENGTH
_SMALL = 16 * 1024  # bytes of a body that is given a moment to be whole


class UpstreamSide(ExchangeRecord):
    """
    An C{UpstreamUser}.

    @ivar settings: of its route.
    @ivar connection_up: to the server that is being asked.
    @ivar body: the request's; None if it has none.
    @ivar upgrade: the protocols that the server is offered instead of HTTP.
    @ivar filtered: the route's message filters at work; None if it has none.
    @ivar lost: why the connection broke off of which a response's beginning is here.
    """

    settings: HttpSettings
    lost = ""
    body: RequestBody | None = None
    connection_up: UpstreamConnection | None = None
    upgrade: tuple[bytes, ...] = ()
    filtered: FilteredMessages | None = None
    _attempts: Attempts | None = None
    _buffer = b""  # of a response's head
    _closed = False
    _interim = 0
    _progress = 0.0
    _route: Route
    _peer: Peer | None = None
    _upstream: HttpUpstream
    _answering: object = None  # what passes a response on

    # the side of the client

    def refuse(self, status: int, why: str, side: Side = Side.UPSTREAM, told: bool = False) -> None:
        """Answer by an error."""
        raise NotImplementedError

    def mistaken(self, why: str, failure: Failure | None = None) -> None:
        """A mistake of ours is logged, and ends the exchange."""
        raise NotImplementedError

    def complain(self, why: str, side: Side = Side.UPSTREAM) -> None:
        """A line in the error log."""
        raise NotImplementedError

    def upstream_took(self, connection: UpstreamConnection, rest: bytes) -> None:
        """UpstreamUser: its kernel did not take all of it at once."""
        raise NotImplementedError

    def _pass_on(self, response: ResponseHead, data: bytes | memoryview, now: float) -> None:
        """C{data} is the response from its head on."""
        raise NotImplementedError

    def _answer(self, response: ResponseHead, body: bytes | memoryview) -> None:
        """Pass the response on, as far as it has come."""
        raise NotImplementedError

    # asking

    def _ask(self, now: float) -> None:
        """Ask a server."""
        key_of = self._upstream.key_of
        peer = self._upstream.pick(None if key_of is None else key_of(self))
        if peer is None:
            self._more_attempts(now).find()
        else:
            self.ask(peer, now)

    def _more_attempts(self, now: float) -> Attempts:
        if self._attempts is None:
            self._attempts = Attempts(self, self._upstream, now)
        return self._attempts

    def ask(self, peer: Peer, now: float, fresh: bool = False) -> None:
        """
        Ask C{peer}, which the group has given, by a connection that stands if there is one.

        @param fresh: by a new one in any case.
        """
        upstream = self._upstream
        self._peer = peer
        self.server = peer.name
        self.began = now
        version = upstream.proxy_protocol
        if version is None:
            connection = upstream.connection(peer, self, fresh)
        else:
            connection = upstream.prefaced_connection(peer, self, self.client.proxy_header(version), fresh)
        self.connection_up = connection
        if not connection.open:
            connection.connect()
            return
        self.connected = now
        head = self.head
        if head.forwarded_by is self._route:
            # the hot path: what _send would come to for a request like the one before it
            connection.send(b"%b %b HTTP/1.1\r\n%b" % (head.method, head.origin_target, head.forwarded))
        else:
            self._send(connection)

    def upstream_opened(self, connection: UpstreamConnection) -> None:
        """UpstreamUser: it stands."""
        self.connected = self.client.proxy.clock.seconds()
        try:
            self._send(connection)
        except Exception:
            self.mistaken("the request could not be sent")

    def upstream_refused(self, connection: UpstreamConnection, why: str) -> None:
        """UpstreamUser: it could not be made. Nothing was sent, so another server may be asked."""
        self._attempt_failed(Setback.ERROR, f"connect() failed: {why}", sent=False, own_fault=connection.own_fault)

    def _send(self, connection: UpstreamConnection) -> None:
        """The request's head, and its body if that is in memory; a larger one follows by its pipe."""
        head = request_head(self, self._route, connection.server)
        body = self.body
        if body is not None and body.pipe is not None:
            if connection.spoke_first:
                connection.close()
                self._ask_afresh()
            else:
                body.deliver_to(connection, head)
            return
        connection.send(head, b"" if body is None else body.content)

    # the response's head

    def upstream_received(self, data: bytes | memoryview, now: float) -> None:
        """UpstreamUser: bytes of the response's head, and perhaps of its body."""
        if not data:
            self._upstream_ended()
            return
        self.upstream_bytes_received += len(data)
        try:
            if self._buffer:
                data = self._buffer + data
                if self.response is not None:
                    self._rest_received(data, now)
                    return
            # a head is looked for in the first part only of what is much, and has not been copied
            text = data if type(data) is bytes else bytes(data[: self.settings.header_buffer_size + 1])
            response = parse_response(text, self.head.method, self.settings.head_limits)
            while response is not None and response.status < 200:
                if response.status == 101:
                    check_change(response, self.upgrade)
                    break
                text = data = bytes(data[response.size :])
                self._pass_interim(response, text)
                if self._closed:
                    return
                response = parse_response(text, self.head.method, self.settings.head_limits) if text else None
            if response is None:
                self._buffer = bytes(data)
                self._progress = now
                return
            self._buffer = b""
            self.answered = now
            self.response = response
            self.status = response.status
            if response.status >= 400 and response.status in self.settings.next_upstream.statuses:
                if self._asks_another(response, len(data), now):
                    return
            elif self._peer is not None and self._peer.suspect:
                self._upstream.group.succeeded(self._peer)
            if response.framing is _BY_LENGTH and response.length <= _SMALL and self._is_awaited(response, data, now):
                self._buffer = bytes(data)
            else:
                self._pass_on(response, data, now)
        except BadMessage as error:
            self._abort_upstream()
            self._attempt_failed(Setback.INVALID_HEADER, f"its response is wrong: {error.why}")
        except Exception:
            self.mistaken("the response could not be passed on")

    def _upstream_ended(self) -> None:
        connection = self.connection_up
        assert connection is not None
        if self.response is not None:
            connection.source.readable = True  # who passes it on has to find its end, too
            self.moment_is_over()
            return
        connection.close()
        self.upstream_lost("closed the connection" if not self._buffer else "closed the connection in its head")

    def _pass_interim(self, response: ResponseHead, rest: bytes) -> None:
        """
        RFC 9110, section 15.2: interim responses are passed on, but for C{100}, which we have seen to. A client that is found to be
        gone ends the exchange.

        @param rest: what came behind it.
        """
        self._interim += 1
        self._buffer = rest
        if self._interim > _MOST_INTERIM:
            raise BadMessage(502, f"there are more than {_MOST_INTERIM} interim responses")
        if response.status != 100 and self.head.minor:
            self.client.interim(b"\r\n".join([response.line, *response.lines, b"", b""]))

    # A small response is given a moment to be whole. Servers often send head and body by two calls, and passing on each by one of
    # our own would cost both of us twice.

    def _is_awaited(self, response: ResponseHead, data: bytes | memoryview, now: float) -> bool:
        """Whether some of it has yet to come, and may."""
        connection = self.connection_up
        if (
            len(data) >= response.size + response.length
            or response.accelerated
            or connection is None
            or connection.source is None
            or not (self.settings.plain_response and self.settings.limits.buffering)
        ):
            return False
        self.client.proxy.moments.begin(self, now)
        return True

    def _rest_received(self, data: bytes, now: float) -> None:
        response = self.response
        assert response is not None
        if len(data) < response.size + response.length:
            self._buffer = data
            return
        self.client.proxy.moments.end(self)
        self._buffer = b""
        self._pass_on(response, data, now)

    def moment_is_over(self) -> None:
        """What there is of a small response goes out; the rest follows when it comes."""
        response, data = self.response, self._buffer
        if response is not None and data and not self._closed:
            self.client.proxy.moments.end(self)
            self._buffer = b""
            try:
                self._answer(response, data[response.size :])
            except Exception:
                self.mistaken("the response could not be passed on")

    # the end of an attempt

    def response_received(self, clean: bool) -> None:
        """All of the response is in, however much of it has yet to be delivered."""
        connection = self.connection_up
        if connection is not None:
            connection.listen()
        self._response_in(clean, self.client.proxy.clock.seconds())

    def _response_in(self, clean: bool, now: float) -> None:
        """
        The upstream has no more to do for this request.

        @param clean: whether nothing came behind the response.
        """
        self.received = now
        connection, self.connection_up = self.connection_up, None
        response = self.response
        if connection is None or response is None:
            return
        if not clean:
            self.complain("upstream: more came than its response has bytes")
        sent = self.body is None or self.body.sent
        if clean and response.keep_alive and sent:
            connection.upstream.give_back(connection, now)
        elif sent:
            connection.close()
        else:
            if self.body is not None:
                self.body.stop_sending()
            connection.abort()
        self._release_server()  # whoever waits for that finds the connection

    def _release_server(self) -> None:
        peer, self._peer = self._peer, None
        if peer is not None:
            self._upstream.release(peer)

    def keep_place(self) -> Callable[[], object]:
        """
        The request goes on at its server without this exchange.

        @return: releases the server, and has to be called once.
        """
        peer, self._peer = self._peer, None
        assert peer is not None
        return partial(self._upstream.release, peer)

    def _abort_upstream(self) -> None:
        connection, self.connection_up = self.connection_up, None
        if connection is not None:
            connection.abort()

    def _drop_upstream(self) -> None:
        """Nobody wants the response, nor what a message filter has to say of it."""
        if self.filtered is not None:
            self.filtered.stop()
        if self._attempts is not None:
            self._attempts.stop()
        if self._buffer:
            self._buffer = b""  # nothing of it goes out any more, though its moment may not be over
            self.client.proxy.moments.end(self)
        self._abort_upstream()
        if self.body is not None:
            self.body.stop()
        self._release_server()

    # another one

    def upstream_lost(self, why: str) -> None:
        """UpstreamUser: the connection broke off before the response began. It is closed."""
        if self.response is not None:
            self.lost = why
            self.moment_is_over()
            return
        connection, self.connection_up = self.connection_up, None
        reused = connection is not None and connection.requests > 1
        may_repeat = self.head.method in IDEMPOTENT or (connection is not None and connection.unsent)
        if reused and may_repeat and not self._buffer and self._peer is not None and self.repeatable:
            self._ask_afresh()
        else:
            self._attempt_failed(Setback.ERROR, f"{why} before it answered")

    def _ask_afresh(self) -> None:
        """Its connection was closed while it was idle, or useless, and nobody had noticed: no fault of the server's."""
        assert self._peer is not None
        self.note_attempt()
        try:
            self.ask(self._peer, self.client.proxy.clock.seconds(), fresh=True)
        except Exception:
            self.mistaken("the server could not be asked afresh")

    @property
    def _pondered(self) -> bool:
        """Whether a message filter has the request, or the response, and waits for something."""
        return self.filtered is not None and self.filtered.waiting

    def request_broke(self, error: PipeError) -> None:
        """
        The server takes no more of the request. It may have answered before that, so its connection is still read: that will tell.
        """
        if isinstance(error, TimedOut) and not (self._closed or self._pondered) and self._answering is None:
            self._abort_upstream()
            self._attempt_failed(Setback.TIMEOUT, str(error))

    @property
    def repeatable(self) -> bool:
        """Whether the request can be sent once more: its body is here, and the client has seen nothing of a response."""
        return not self._interim and (self.body is None or self.body.replayable)

    def _attempt_failed(self, setback: Setback, why: str, sent: bool = True, own_fault: bool = False) -> None:
        """
        @param sent: whether the server may have seen something of the request.
        @param own_fault: whether the server is not to be blamed.
        """
        self.connection_up = None
        peer, self._peer = self._peer, None
        if peer is None:
            return
        try:
            self._more_attempts(self.began).failed(peer, setback, why, sent, own_fault)
        except Exception:
            self.mistaken("no other server could be asked")

    def _asks_another(self, response: ResponseHead, came: int, now: float) -> bool:
        """
        Whether another server is asked because of the status of C{response}.

        @param came: how many bytes of that are here.
        """
        peer = self._peer
        assert peer is not None
        setback = self.settings.next_upstream.statuses[response.status]
        other = self._more_attempts(now).instead(peer, setback)
        if other is None:
            return False
        if response.framing in (_NO_BODY, _BY_LENGTH) and came == response.size + response.length:
            self._response_in(True, now)
        else:
            self._abort_upstream()
            self._release_server()
        self.note_attempt()
        self.ask(other, now)
        return True

    def note_attempt(self) -> None:
        """The current attempt is over, and another one follows."""
        self.received = self.received or self.client.proxy.clock.seconds()
        self.attempts = (*self.attempts, self.current)
        self.connected = self.answered = self.received = 0.0
        self.response, self.status, self._buffer = None, 0, b""
        if self.body is not None:
            self.body.rewind()
