"""
The life of one request and its response, whatever the wire on either side.

A route is found; the body is taken in (L{twisted_pipe.proxies.request_body}); a server is asked, another one if that is allowed;
its response is passed on (L{twisted_pipe.proxies.response_body}), or we answer ourselves (L{twisted_pipe.proxies.answers}). The
client's connection is told of the end once, by C{finished}, and the connection to the upstream is given back as soon as the
response is in.

A request is repeated (RFC 9110, section 9.2.2) if nothing of a response has come, its body is still here, and it may be: nothing
of it was sent, or its method is idempotent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_pipe.errors import PipeError, TimedOut
from twisted_pipe.http.head import BadMessage, Framing, RequestHead, ResponseHead, parse_response
from twisted_pipe.http.status import CLIENT_CLOSED_REQUEST
from twisted_pipe.http.target import BadTarget, normal_path
from twisted_pipe.proxies.answers import Page, answer_page, error_answer, redirect_page
from twisted_pipe.proxies.drain import Drain
from twisted_pipe.proxies.exchange_record import ExchangeRecord
from twisted_pipe.proxies.head_changes import change_response
from twisted_pipe.proxies.http_settings import Answer, HttpSettings, ProxyTo, Redirect, Route
from twisted_pipe.proxies.http_upstream import HttpUpstream
from twisted_pipe.proxies.request_body import RequestBody
from twisted_pipe.proxies.request_head import request_head
from twisted_pipe.proxies.response_body import ResponseBody
from twisted_pipe.proxies.upstream_connection import UpstreamConnection
from twisted_pipe.proxies.watch import NEVER
from twisted_pipe.upstream.group import UpstreamServer

if TYPE_CHECKING:
    from twisted_pipe.proxies.http_client import HttpClient

__all__ = ["Exchange"]

_IDEMPOTENT = frozenset({b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"TRACE"})
_MOST_INTERIM = 16  # responses before the response: more is an upstream gone mad
_NO_BODY, _BY_LENGTH = Framing.NONE, Framing.LENGTH
_SMALL = 16 * 1024  # bytes of a body that is given a moment to be whole


class Exchange(ExchangeRecord):
    """
    An C{UpstreamUser}.

    @ivar settings: of its route.
    @ivar connection_up: to the server that is being asked.
    @ivar body: the request's; None if it has none.
    """

    settings: HttpSettings
    lost = ""  # why the connection broke off of which a response's beginning is here
    body: RequestBody | None = None
    connection_up: UpstreamConnection | None = None
    _answering: ResponseBody | None = None  # an upstream's response that is being passed on
    _buffer = b""  # of a response's head
    _closed = False
    _interim = 0
    _progress = 0.0
    _route: Route
    _server: UpstreamServer | None = None
    _upstream: HttpUpstream

    def __init__(self, client: HttpClient, head: RequestHead | None, now: float) -> None:
        self.client = client
        self.head = head
        self.started = now
        self.connection_requests = client.requests
        self.settings = client.proxy.default_settings

    def __repr__(self) -> str:
        return f"<Exchange {self.request_line!r} {self.server or 'nowhere'} {self.status}>"

    # the request

    def begin(self, rest: bytes) -> None:
        """
        The head is here.

        @param rest: what came behind it.
        """
        head: RequestHead = self.head
        client = self.client
        site = client.proxy.sites.find(head.host)
        self.site = site.name
        try:
            self.uri = uri = normal_path(head.path)
        except BadTarget as error:
            client.keep = False  # as of any request that is malformed
            self._turn_away(400, f"client: {error}", rest)
            return
        route, self.captures = site.routes.find(uri)
        if route is None and uri == b"*":
            route, self.captures = site.routes.find(b"/")  # OPTIONS * is about the server as a whole
        if route is None:
            self.settings = site.settings
            self._turn_away(404, "client: there is no route for its path", rest)
            return
        self._route = route
        settings = self.settings = route.settings
        action = route.action
        if not isinstance(action, ProxyTo):
            self._answer_by_ourselves(action, rest)
            return
        self._upstream = action.upstream
        if head.framing is _NO_BODY or not head.has_body:
            client.pending = rest
            self._ask(self.started)
            return
        most = settings.client_max_body_size
        if most and head.length > most:
            self._turn_away(413, f"client: its body of {head.length} bytes is larger than {most}", rest)
            return
        self.body = RequestBody(self, settings)
        self.body.begin(rest)

    def _turn_away(self, status: int, why: str, rest: bytes) -> None:
        """Answer by an error without having looked at the body."""
        self.client.pending = rest if self.head is not None and not self.head.has_body else b""
        self.refuse(status, why)

    def _answer_by_ourselves(self, action: Answer | Redirect, rest: bytes) -> None:
        self.client.pending = rest if not self.head.has_body else b""
        if isinstance(action, Redirect):
            self._send_page(redirect_page(action, self))
        elif action.body is None and action.status >= 300:
            self._send_page(error_answer(action.status, self))
        else:
            self._send_page(answer_page(action, self))

    def body_received(self, data: bytes) -> None:
        """More of the body that is kept in memory; C{b""} for the client's end."""
        assert self.body is not None
        self.body.received(data)

    def body_ready(self) -> None:
        """The body is here, or as much as has to be before a server is asked."""
        if not self._closed:
            self._ask(self.client.proxy.clock.seconds())

    def body_timed_out(self) -> None:
        """The client is too slow with its body."""
        self.refuse(408, "client: its body did not come in time")

    def body_failed(self, status: int, why: str) -> None:
        """The body cannot be had, or must not be."""
        self._drop_upstream()
        if self.header_bytes or self._answering is not None:
            self._fail_response(why)
        else:
            self.refuse(status, why)

    # a server

    def _ask(self, now: float, fresh: bool = False) -> None:
        """Ask the next server, by a connection that stands if there is one."""
        upstream = self._upstream
        server = self._server
        if server is None:
            server = self._server = upstream.pick(None)
        self.server = server.name
        self.began = now
        connection = self.connection_up = upstream.connection(server, self, fresh)
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
        self._send(connection)

    def upstream_refused(self, connection: UpstreamConnection, why: str) -> None:
        """UpstreamUser: it could not be made. Nothing was sent, so another server may be asked."""
        self._attempt_failed(502, f"connect() failed: {why}", sent=False)

    def _send(self, connection: UpstreamConnection) -> None:
        """The request's head, and its body if that is in memory; a larger one follows by its pipe."""
        head = request_head(self, self._route, connection.server)
        body = self.body
        if body is not None and body.pipe is not None:
            body.deliver_to(connection, head)
            return
        connection.send(head, b"" if body is None else body.content)

    def upstream_took(self, connection: UpstreamConnection, rest: bytes) -> None:
        """UpstreamUser: its kernel did not take all of it at once."""
        if self.body is None:
            self.body = RequestBody(self, self.settings)
        self.body.send_rest(connection, rest)

    # the response

    def upstream_received(self, data: bytes | memoryview, now: float) -> None:
        """UpstreamUser: bytes of the response's head, and perhaps of its body."""
        if not data:
            connection = self.connection_up
            assert connection is not None
            if self.response is not None:
                connection.source.readable = True  # who passes it on has to find its end, too
                self.moment_is_over()
                return
            connection.close()
            self.upstream_lost("closed the connection" if not self._buffer else "closed the connection in its head")
            return
        self.upstream_bytes_received += len(data)
        if self._buffer:
            data = self._buffer + data
            if self.response is not None:
                self._rest_received(data, now)
                return
        # a head is looked for in the first part only of what is much, and has not been copied
        text = data if type(data) is bytes else bytes(data[: self.settings.header_buffer_size + 1])
        try:
            response = parse_response(text, self.head.method, self.settings.head_limits)
            while response is not None and response.status < 200:
                self._pass_interim(response)
                text = data = bytes(data[response.size :])
                response = parse_response(text, self.head.method, self.settings.head_limits) if text else None
        except BadMessage as error:
            self._buffer = b"-"  # something came: it is not to be repeated
            self._abort_upstream()
            self._attempt_failed(502, f"its response is wrong: {error.why}", sent=True, answered=True)
            return
        if response is None:
            self._buffer = bytes(data)
            self._progress = now
            return
        self._buffer = b""
        self.answered = now
        self.response = response
        self.status = response.status
        if response.framing is _BY_LENGTH and response.length <= _SMALL and self._is_awaited(response, data, now):
            self._buffer = bytes(data)
        else:
            self._pass_on(response, data, now)

    def _pass_on(self, response: ResponseHead, data: bytes | memoryview, now: float) -> None:
        """C{data} is the response from its head on."""
        size = response.size
        if response.framing is _BY_LENGTH and len(data) == size + response.length and self.settings.plain_response:
            # all of it, and nothing to be changed: the hot path
            self._response_in(True, now)
            self.sent_lines = lines = self._plain_lines(response)
            self.client.respond(response.line, lines, response.content_length, data[size:], now)
        else:
            self._answer(response, data[size:], now)

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
            self._answer(response, data[response.size :], self.client.proxy.clock.seconds())

    def _plain_lines(self, response: ResponseHead) -> list[bytes]:
        """Its fields, of which none is to be changed."""
        lines = response.lines
        return lines if response.dated else [*lines, self.client.proxy.date_line()]

    def _pass_interim(self, response: ResponseHead) -> None:
        """RFC 9110, section 15.2: interim responses are passed on, but for C{100}, which we have seen to."""
        self._interim += 1
        if response.status == 101:
            raise BadMessage(502, "it changes the protocol, which was not asked for")
        if self._interim > _MOST_INTERIM:
            raise BadMessage(502, f"there are more than {_MOST_INTERIM} interim responses")
        if response.status != 100 and self.head.minor:
            self.client.interim(b"\r\n".join([response.line, *response.lines, b"", b""]))

    def _answer(self, response: ResponseHead, body: bytes | memoryview, now: float) -> None:
        """Pass the response on."""
        settings = self.settings
        if settings.intercept_errors and response.status in settings.error_pages:
            self._abort_upstream()
            self._send_page(error_answer(response.status, self))
            return
        line, lines = response.line, self._plain_lines(response)
        if settings.response_headers:
            lines = change_response(lines, settings.response_headers, self)
        if response.framing is _NO_BODY:
            self._response_in(not body, now)
            self.send_whole(line, lines, response.content_length, b"", now)
        else:
            self._answering = answering = ResponseBody(self, response)
            answering.begin(line, lines, body)

    def send_whole(
        self, line: bytes, lines: list[bytes], length: bytes | None, body: bytes | memoryview, now: float
    ) -> None:
        """Answer with all of a response at once. C{length} is the value of C{Content-Length}, None for none."""
        self.sent_lines = lines
        client = self.client
        if self.body is not None and not self.body.whole:
            client.keep = False
        client.respond(line, lines, length, body, now)

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
            self._complain("upstream: more came than its response has bytes")
        self._release_server()
        sent = self.body is None or self.body.sent
        if clean and response.keep_alive and sent:
            connection.upstream.give_back(connection, now)
        elif sent:
            connection.close()
        else:
            if self.body is not None:
                self.body.stop()
            connection.abort()

    # failures

    def upstream_lost(self, why: str) -> None:
        """UpstreamUser: the connection broke off before the response began. It is closed."""
        if self.response is not None:
            self.lost = why
            self.moment_is_over()
            return
        connection, self.connection_up = self.connection_up, None
        reused = connection is not None and connection.requests > 1
        nothing_came = not self._buffer and not self._interim
        repeatable = nothing_came and self.head.method in _IDEMPOTENT and self._body_is_here
        if repeatable and reused:
            # it was closed while it was idle, and nobody had noticed: no fault of the server's
            self._note_attempt()
            self._ask(self.client.proxy.clock.seconds(), fresh=True)
            return
        self._attempt_failed(502, f"{why} before it answered", sent=True, answered=not nothing_came)

    def request_broke(self, error: PipeError) -> None:
        """
        The server takes no more of the request. It may have answered before that, so its connection is still read: that will tell.
        """
        if isinstance(error, TimedOut) and not self._closed and self._answering is None:
            self._abort_upstream()
            self._attempt_failed(504, str(error), sent=True, answered=True)

    @property
    def _body_is_here(self) -> bool:
        return self.body is None or self.body.replayable

    def _attempt_failed(self, status: int, why: str, sent: bool, answered: bool = False) -> None:
        """
        @param sent: whether the server may have seen something of the request.
        @param answered: whether something of a response came.
        """
        upstream = self._upstream
        self.connection_up = None
        self._complain(f"upstream: {why}")
        self._release_server()
        most = self.settings.tries or len(upstream.group.servers)
        allowed = not answered and (not sent or self.head.method in _IDEMPOTENT) and self._body_is_here
        if allowed and len(self.attempts) + 1 < most:
            self._note_attempt()
            self._ask(self.client.proxy.clock.seconds())
            return
        self.received = self.client.proxy.clock.seconds()
        self.refuse(status, f"upstream: {why}", told=True)

    def _note_attempt(self) -> None:
        """The current attempt is over, and another one follows."""
        self.received = self.client.proxy.clock.seconds()
        self.attempts = (*self.attempts, self.current)
        self.connected = self.answered = self.received = 0.0

    def _release_server(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            self._upstream.release(server)

    def _abort_upstream(self) -> None:
        connection, self.connection_up = self.connection_up, None
        if connection is not None:
            connection.abort()

    def _drop_upstream(self) -> None:
        """Nobody wants the response."""
        self._abort_upstream()
        self._release_server()
        if self.body is not None:
            self.body.stop()

    def refuse(self, status: int, why: str, told: bool = False) -> None:
        """Answer by an error. What of the request has not been read will not be."""
        if not told:
            self._complain(why)
        self.error = self.error or why
        self._drop_upstream()
        if self.head is None or (self.head.has_body and (self.body is None or not self.body.whole)):
            self.client.keep = False
        self.client.stop_waiting()
        self._send_page(error_answer(status, self))

    def _send_page(self, page: Page) -> None:
        self.status = page.status
        self._answering = None
        if self.head is not None and self.head.has_body and self.body is None:
            self.client.keep = False
        lines = page.lines
        if self.settings.response_headers:
            lines = change_response(lines, self.settings.response_headers, self)
        body = b"" if self.method == b"HEAD" else page.body
        length = b"%d" % len(page.body) if page.has_body else None
        self.send_whole(page.line, lines, length, body, self.client.proxy.clock.seconds())

    def response_failed(self, error: PipeError) -> None:
        """A response that was being passed on broke off."""
        self._fail_response(error.describe("upstream", "client"))

    def _fail_response(self, why: str) -> None:
        self._complain(why)
        self.error = self.error or why
        self._drop_upstream()
        self._finish(True, self.client.proxy.clock.seconds())

    def _complain(self, why: str) -> None:
        self.client.proxy.complain(self, why)

    # the client

    def client_lost(self, why: str) -> None:
        """The client's connection broke off."""
        if self._closed:
            return
        answering = self._answering
        self.client.proxy.moments.end(self)
        self.error = self.error or f"client: {why}"
        if not self.header_bytes:
            self.status = CLIENT_CLOSED_REQUEST
        self._complain(f"client: {why}")
        self._closed = True
        if answering is not None:
            answering.stop()
        elif self.settings.ignore_client_abort:
            self._leave_response_alone()
        self._drop_upstream()
        self.ended = self.client.proxy.clock.seconds()
        self.client.finished(unread=True, broken=True, now=self.ended)

    def _leave_response_alone(self) -> None:
        """The server goes on with a request that it has, though nobody waits for the response."""
        connection = self.connection_up
        if connection is not None and connection.open and (self.body is None or self.body.sent):
            self.connection_up = None
            Drain(connection, None, method=self.method, begun=self._buffer)

    def delivered(self, count: int, now: float) -> None:
        """The client's kernel has the whole response, which C{send_whole} has sent."""
        self.bytes_sent = count
        if (
            self.body is None
            and self._server is None
            and not self._closed
            and self.head
            and self.head.framing is _NO_BODY
        ):
            # the hot path: what _finish would come to
            self._closed = True
            self.ended = now
            self.client.finished(False, False, now)
        else:
            self._finish(False, now)

    def response_delivered(self) -> None:
        """The same of one that was passed on bit by bit."""
        self._finish(False, self.client.proxy.clock.seconds())

    def _finish(self, broken: bool, now: float) -> None:
        if self._closed:
            return
        self._closed = True
        self.ended = now
        if self._server is not None:
            self._release_server()
        body = self.body
        if body is None:
            unread = self.head is None or (self.head.framing is not _NO_BODY and self.head.has_body)
        else:
            unread = not body.whole
            if unread:
                body.stop()
        self.client.finished(unread, broken, now)

    # Watched, by the client's connection

    def due(self) -> float:
        """When a timeout comes if nothing moves. Pipes have their own."""
        if self._answering is not None:
            return self._answering.due()
        connection = self.connection_up
        if connection is None:
            return NEVER
        if not connection.open:
            return self.began + (self.settings.connect_timeout or NEVER)
        if self.body is not None and not self.body.over:
            return NEVER  # its pipe sees to it
        since = max(self.connected, self._progress, self.body.sent_at if self.body is not None else 0.0)
        return since + (self.settings.limits.read_timeout or NEVER)

    def expire(self) -> None:
        """Do what is due."""
        if self._answering is not None:
            self._answering.expire()
            return
        connection = self.connection_up
        if connection is None:
            return
        settings = self.settings
        opened = connection.open
        self._abort_upstream()
        if opened:
            why = f"read timeout of {settings.limits.read_timeout:g} s expired while waiting for its response"
            self._attempt_failed(504, why, sent=True, answered=True)
        else:
            why = f"connect timeout of {settings.connect_timeout:g} s expired"
            self._attempt_failed(504, why, sent=False)
