"""
The life of one request and its response, whatever the wire on either side.

A route is found; the body is taken in (L{twisted_pipe.proxies.request_body}); a server is asked, another one if that is allowed;
its response is passed on (L{twisted_pipe.proxies.response_body}), or we answer ourselves (L{twisted_pipe.proxies.answers}). The
client's connection is told of the end once, by C{finished}, and the connection to the upstream is given back as soon as the
response is in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_pipe.errors import PipeError, Side
from twisted_pipe.http.head import Framing, RequestHead, ResponseHead
from twisted_pipe.http.status import CLIENT_CLOSED_REQUEST
from twisted_pipe.http.target import BadTarget, normal_path
from twisted_pipe.http.upgrade import offered
from twisted_pipe.proxies.answers import Page, answer_page, error_answer, intercepted_page, redirect_page, upgrade_lines
from twisted_pipe.proxies.drain import Drain
from twisted_pipe.proxies.head_changes import change_response
from twisted_pipe.proxies.http_filters import unbuilt_filters
from twisted_pipe.proxies.http_settings import Answer, ProxyTo, Redirect, Route
from twisted_pipe.proxies.message_filters import FilteredMessages
from twisted_pipe.proxies.next_upstream import Setback
from twisted_pipe.proxies.request_body import RequestBody
from twisted_pipe.proxies.response_body import ResponseBody
from twisted_pipe.proxies.upgrade import Upgraded
from twisted_pipe.proxies.upstream_connection import UpstreamConnection
from twisted_pipe.proxies.upstream_side import UpstreamSide
from twisted_pipe.proxies.watch import NEVER

if TYPE_CHECKING:
    from twisted_pipe.proxies.http_client import HttpClient

__all__ = ["Exchange"]

_log = Logger()

_NO_BODY, _BY_LENGTH = Framing.NONE, Framing.LENGTH


class Exchange(UpstreamSide):
    """
    The side of the client: its request, and what it is answered. What is asked of servers is L{UpstreamSide}.
    """

    _answering: ResponseBody | Upgraded | None = None  # an upstream's response that is being passed on

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
        tls = client.facts.tls
        if tls is not None and not tls.serves(head.host):
            self.settings = site.settings
            why = "client: its TLS asked for another server, which asks other certificates of clients"
            self.turn_away(421, why, rest, Side.DOWNSTREAM)
            return
        try:
            self.uri = uri = normal_path(head.path)
        except BadTarget as error:
            client.keep = False  # as of any request that is malformed
            self.turn_away(400, f"client: {error}", rest, Side.DOWNSTREAM)
            return
        route, self.captures = site.routes.find(uri)
        if route is None and uri == b"*":
            route, self.captures = site.routes.find(b"/")  # OPTIONS * is about the server as a whole
        if route is None:
            self.settings = site.settings
        else:
            self._route = route
            self.settings = route.settings
        if self.settings.message_filters:
            self.filtered = FilteredMessages(self)
            self.filtered.request(route, rest)  # which comes back by "follow", or by an answer
        else:
            self.follow(route, rest)

    def follow(self, route: Route | None, rest: bytes) -> None:
        """
        The request is as the server is to get it: do what its route says.

        @param rest: what came behind its head.
        """
        if route is None:
            self.turn_away(404, "client: there is no route for its path", rest, Side.DOWNSTREAM)
            return
        head, client, settings = self.head, self.client, self.settings
        action = route.action
        if self.filtered is not None and self.filtered.upstream is not None:
            action = ProxyTo(upstream=settings.upstreams[self.filtered.upstream])
        if not isinstance(action, ProxyTo):
            self._answer_by_ourselves(action, rest)
            return
        self._upstream = action.upstream
        if head.upgrade is not None:
            self.upgrade = offered(head, settings.upgrade.protocols)
        if head.framing is _NO_BODY or not head.has_body:
            client.pending = rest
            self._ask(self.started)
            return
        most = settings.client_max_body_size
        if most and head.length > most:
            self.turn_away(413, f"client: its body of {head.length} bytes is larger than {most}", rest, Side.DOWNSTREAM)
            return
        self.body = RequestBody(self, settings)
        self.body.begin(rest)

    def turn_away(self, status: int, why: str, rest: bytes, side: Side = Side.UPSTREAM) -> None:
        """Answer by an error without having looked at the body."""
        self.client.pending = rest if self.head is not None and not self.head.has_body else b""
        self.refuse(status, why, side)

    def _answer_by_ourselves(self, action: Answer | Redirect, rest: bytes) -> None:
        if isinstance(action, Redirect):
            page = redirect_page(action, self)
        elif action.body is None and action.status >= 300:
            page = error_answer(action.status, self)
        else:
            page = answer_page(action, self)
        self.answer(page, rest)

    def answer(self, page: Page, rest: bytes) -> None:
        """Answer by C{page}, without having looked at the body."""
        self.client.pending = rest if not self.head.has_body else b""
        self.send_page(page)

    def body_received(self, data: bytes) -> None:
        """More of the body that is kept in memory; C{b""} for the client's end."""
        assert self.body is not None
        try:
            self.body.received(data)
        except Exception:
            self.mistaken("the request's body could not be taken in")

    def body_ready(self) -> None:
        """The body is here, or as much as has to be before a server is asked."""
        if self._closed:
            return
        try:
            self._ask(self.client.proxy.clock.seconds())
        except Exception:
            self.mistaken("the request could not be sent")

    def body_timed_out(self) -> None:
        """The client is too slow with its body."""
        self.refuse(408, "client: its body did not come in time", Side.DOWNSTREAM)

    def body_failed(self, status: int, why: str, side: Side = Side.DOWNSTREAM) -> None:
        """
        The body cannot be had, or must not be.

        @param side: whose fault it is; the client's if it is nobody else's.
        """
        self._drop_upstream()
        if self.header_bytes or self._answering is not None:
            self.broke_off(why, side)
        else:
            self.refuse(status, why, side)

    # a server

    def upstream_took(self, connection: UpstreamConnection, rest: bytes) -> None:
        """UpstreamUser: its kernel did not take all of it at once."""
        if self.body is None:
            self.body = RequestBody(self, self.settings)
        self.body.send_rest(connection, rest)

    # the response

    def _pass_on(self, response: ResponseHead, data: bytes | memoryview, now: float) -> None:
        """C{data} is the response from its head on."""
        size = response.size
        plain = self.settings.plain_response and response.status != 426
        if plain and response.framing is _BY_LENGTH and len(data) == size + response.length:
            # all of it, and nothing to be changed: the hot path
            self._response_in(True, now)
            self.sent_lines = lines = self._plain_lines(response)
            self.client.respond(response.line, lines, response.content_length, data[size:], now)
        else:
            self._answer(response, data[size:])

    def _plain_lines(self, response: ResponseHead) -> list[bytes]:
        """Its fields, of which none is to be changed."""
        lines = response.lines
        return lines if response.dated else [*lines, self.client.proxy.date_line()]

    def replace_response(self, page: Page) -> None:
        """Answer by C{page} instead of the server's response, whose rest is not received."""
        self._drop_upstream()
        self.send_page(page)

    def _answer(self, response: ResponseHead, body: bytes | memoryview) -> None:
        """The response is passed on, unless it is replaced, or filters have a say in it."""
        settings = self.settings
        if settings.intercept_errors and response.status in settings.error_pages:
            self.replace_response(intercepted_page(response, self))
            return
        lines = self._plain_lines(response)
        if self.filtered is not None and self.filtered.wants_response:
            self.filtered.response(response, lines, body)  # which comes back by "deliver", or by another response
        else:
            self.deliver(response, response.line, lines, body)

    def deliver(self, response: ResponseHead, line: bytes, lines: list[bytes], body: bytes | memoryview) -> None:
        """
        Pass the response on.

        @param line: its first line; C{lines} its fields, as the client is to get them, but for what the route changes.
        @param body: what came of it with its head.
        """
        now = self.client.proxy.clock.seconds()
        settings = self.settings
        if settings.response_headers:
            lines = change_response(lines, settings.response_headers, self)
        if self.status == 426:
            lines = [*lines, *upgrade_lines(response)]
        if response.status == 101:
            self._change_protocol(response, line, lines, bytes(body))
        elif response.framing is _NO_BODY:
            self._response_in(not body, now)
            length = response.content_length
            if settings.response_filters or self.filtered is not None:
                # they do nothing to what is not there, but it is spoken of
                chosen = unbuilt_filters(self, response, lines)
                # a 304 does not say what message filters go by
                known = chosen.keep_bytes and (self.filtered is None or response.status != 304)
                lines, length = chosen.lines, length if known else None
            self.send_whole(line, lines, length, b"", now)
        else:
            self._answering = answering = ResponseBody(self, response)
            answering.begin(line, lines, body)

    def _change_protocol(self, response: ResponseHead, line: bytes, lines: list[bytes], rest: bytes) -> None:
        if self.status != 101:  # a filter does not want it
            self.replace_response(error_answer(self.status, self))
            return
        self._answering = answering = Upgraded(self, response)
        answering.begin(line, lines, rest)

    def send_whole(
        self, line: bytes, lines: list[bytes], length: bytes | None, body: bytes | memoryview, now: float
    ) -> None:
        """Answer with all of a response at once. C{length} is the value of C{Content-Length}, None for none."""
        self.sent_lines = lines
        client = self.client
        if self.body is not None and not self.body.whole:
            client.keep = False
        client.respond(line, lines, length, body, now)

    # answers of our own, and failures

    def refuse(self, status: int, why: str, side: Side = Side.UPSTREAM, told: bool = False) -> None:
        """
        Answer by an error. What of the request has not been read will not be.

        @param side: whose fault it is.
        @param told: whether the log says so already.
        """
        if not told:
            self.complain(why, side)
        self.error = self.error or why
        self._drop_upstream()
        if self.head is None or (self.head.has_body and (self.body is None or not self.body.whole)):
            self.client.keep = False
        self.client.stop_waiting()
        self.send_page(error_answer(status, self))

    def send_page(self, page: Page) -> None:
        """Answer by C{page}."""
        self.status = page.status
        self._answering = None
        if self.filtered is not None and self.filtered.wants_response:
            self.filtered.page(page)  # which comes back, changed
            return
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
        self.broke_off(error.describe("upstream", "client"), error.side)

    def broke_off(self, why: str, side: Side, broken: bool = True, told: bool = False) -> None:
        """
        What was being passed on did.

        @param side: whose fault it is.
        @param broken: whether the client has to notice that.
        @param told: whether the log says so already.
        """
        if not told:
            self.complain(why, side)
        self.error = self.error or why
        self._drop_upstream()
        self._finish(broken, self.client.proxy.clock.seconds())

    def mistaken(self, why: str, failure: Failure | None = None) -> None:
        """
        A mistake of ours, or of a plugin's, for which neither side is to be blamed: the one place where they end. It is logged with
        its traceback. The client gets a page of 500 if it has got nothing yet, else an unclean end; no other request can follow.

        Whoever is called by the loop for a connection, by a Deferred or by a delayed call brings here what is raised: they would
        end the wrong connection, or none.

        @param failure: default the exception that is being handled.
        """
        client = self.client
        failure = failure or Failure()
        _log.failure("{client}: {why}", failure, client=client.name, why=why)
        self.error = self.error or why
        client.keep = False
        try:
            if self._closed:
                client.fail(self, failure)
            elif self.header_bytes:
                answering, self._answering = self._answering, None
                if answering is not None:
                    answering.stop()
                self.broke_off(why, Side.CALLER, told=True)
            else:
                self.refuse(500, why, Side.CALLER, told=True)
        except Exception:
            _log.failure("{client}: nor could the client be told of that", client=client.name)
            client.socket_lost(failure)

    def complain(self, why: str, side: Side = Side.UPSTREAM) -> None:
        """
        A line in the error log.

        @param side: whose fault it is.
        """
        self.client.proxy.complain(self, why, side)

    # the client

    def client_lost(self, why: str) -> None:
        """The client's connection broke off."""
        if self._closed:
            return
        answering = self._answering
        self.error = self.error or f"client: {why}"
        if not self.header_bytes:
            self.status = CLIENT_CLOSED_REQUEST
        self.complain(f"client: {why}", Side.DOWNSTREAM)
        self._closed = True
        self.ended = self.client.proxy.clock.seconds()
        try:
            if answering is not None:
                answering.stop()
            elif self.settings.ignore_client_abort and not self._pondered:
                self._leave_response_alone()
            self._drop_upstream()
        except Exception:
            self.mistaken("what was asked could not be given up")
        self.client.finished(unread=True, broken=True, now=self.ended)

    def _leave_response_alone(self) -> None:
        """The server goes on with a request that it has, though nobody waits for the response."""
        connection = self.connection_up
        if connection is not None and connection.open and (self.body is None or self.body.sent):
            self.connection_up = None
            drain = Drain(connection, None, self.keep_place(), method=self.method)
            if self._buffer:  # perhaps all of it
                drain.upstream_received(self._buffer, self.client.proxy.clock.seconds())

    def delivered(self, count: int, now: float) -> None:
        """The client's kernel has the whole response, which C{send_whole} has sent."""
        self.bytes_sent = count
        if (
            self.body is None
            and self._peer is None
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
        body = self.body
        if body is None:
            unread = self.head is None or (self.head.framing is not _NO_BODY and self.head.has_body)
        else:
            unread = not body.whole
            body.stop()
        if self._peer is not None:
            self._release_server()
        self.client.finished(unread, broken, now)

    # Watched, by the client's connection

    def due(self) -> float:
        """When a timeout comes if nothing moves. Pipes have their own."""
        if self._answering is not None:
            return self._answering.due()
        if self._pondered:
            return NEVER  # the filter has its own timeout
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
            self._attempt_failed(Setback.TIMEOUT, why)
        else:
            why = f"connect timeout of {settings.connect_timeout:g} s expired"
            self._attempt_failed(Setback.TIMEOUT, why, sent=False)
