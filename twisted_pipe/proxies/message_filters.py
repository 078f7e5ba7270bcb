"""
The message filters of a route, on one exchange: what they see of it, and what becomes of what they say.

While one waits, nothing is read: what the client sends behind its head stays in its kernel, and so does what the server sends
behind the part of its response that has come with the head.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from twisted.python.failure import Failure

from twisted_pipe.errors import FilterFailed
from twisted_pipe.filters.messages.run import MessageRun
from twisted_pipe.http.filtered_head import body_length, filtered_head, shown_fields
from twisted_pipe.http.head import Framing, ResponseHead
from twisted_pipe.http.status import status_line
from twisted_pipe.http.target import normal_path
from twisted_pipe.http.variables import Getter, find_variable
from twisted_pipe.messages.reply import Reply
from twisted_pipe.messages.request import RequestMessage
from twisted_pipe.messages.response import ResponseMessage
from twisted_pipe.plugin.declared import DeclaredPlugin
from twisted_pipe.proxies.answers import Page, reply_page

if TYPE_CHECKING:
    from twisted_pipe.interfaces import IPipeFilterFactory
    from twisted_pipe.proxies.exchange import Exchange
    from twisted_pipe.proxies.http_settings import Route

__all__ = ["FilteredMessages"]


class FilteredMessages:
    """
    For one exchange.

    @ivar retargeted: whether a filter has changed what the request asks for, so that the route does not.
    @ivar upstream: the name of the upstream that one has chosen, None for the route's.
    @ivar request_filters: byte filters for the request's body that they want; C{response_filters} for the response's.
    """

    __slots__ = (
        "_exchange",
        "_held",
        "_lines",
        "_message",
        "_run",
        "request_filters",
        "response_filters",
        "retargeted",
        "upstream",
    )

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        clock = exchange.client.proxy.clock
        self._run = MessageRun(exchange.settings.message_filters, clock, self._bypassed, self._mistaken)
        self._message: RequestMessage = self._request_message()
        self._lines = self._message.headers.lines  # those that the exchange has
        self._held = False  # the server's connection
        self.retargeted = False
        self.upstream: str | None = None
        self.request_filters: tuple[IPipeFilterFactory, ...] = ()
        self.response_filters: tuple[IPipeFilterFactory, ...] = ()

    def __repr__(self) -> str:
        return f"<FilteredMessages {self._run!r}>"

    @property
    def waiting(self) -> bool:
        """Whether a filter waits for something."""
        return self._run.waiting

    @property
    def wants_response(self) -> bool:
        """Whether a filter has yet to see the response."""
        return self._run.wants_response

    def stop(self) -> None:
        """The exchange is over, or what is waited for is not wanted any more."""
        self._run.stop()

    def variable(self, name: str) -> bytes | None:
        """See L{twisted_pipe.messages.message.Message.variable}."""
        exchange = self._exchange
        captures = exchange.captures
        return _getter(name, () if captures is None else tuple(captures))(exchange)

    # the request

    def _request_message(self) -> RequestMessage:
        exchange = self._exchange
        head = exchange.head
        return RequestMessage(
            exchange,
            head.method,
            head.origin_target,
            shown_fields(head),
            body_length=body_length(head),
            upgrade=head.upgrade,
            variable=self.variable,
            upstreams=exchange.settings.upstreams,
        )

    def request(self, route: Route | None, rest: bytes) -> None:
        """
        Ask them about the request; then it goes on as C{route} says, or is answered.

        @param rest: what came behind its head.
        """

        def done(outcome: Reply | FilterFailed | None) -> None:
            self._message.freeze("the request has gone on: it cannot be changed any more")
            exchange = self._exchange
            if outcome is None:
                exchange.follow(route, rest)
            elif isinstance(outcome, Reply):
                exchange.answer(reply_page(outcome, exchange), rest)
            else:
                exchange.turn_away(500, outcome.describe(), rest)

        self._run.request(self._message, self._take_request, done)

    def _take_request(self, message: RequestMessage) -> None:
        """A filter has let it go on: have the exchange as it wants it."""
        exchange = self._exchange
        self.request_filters = _configured(message.body_filters)
        head = exchange.head
        if message.target != head.origin_target or message.headers.lines is not self._lines:
            changed = filtered_head(head, message)
            self._lines = message.headers.lines
            exchange.head = changed
            if changed.path != head.path:
                exchange.uri = normal_path(changed.path)
        self.retargeted = message.retargeted
        self.upstream = message.upstream
        exchange.filter_variables = message.variables
        if message.chosen_id:
            exchange.name_request(message.chosen_id)

    # the response

    def response(self, response: ResponseHead, lines: list[bytes], body: bytes | memoryview) -> None:
        """
        Ask them about the upstream's response; then it is passed on, or another one is.

        @param lines: its fields.
        @param body: what came of it with its head.
        """
        exchange = self._exchange
        length = response.length if response.framing in (Framing.LENGTH, Framing.NONE) else None
        message = ResponseMessage(
            self._message,
            response.status,
            lines,
            body_length=length,
            upstream=exchange.server,
            variable=self.variable,
        )
        parts = [body]

        def done(outcome: Reply | FilterFailed | None) -> None:
            message.freeze("the response has been sent: it cannot be changed any more")
            self._release()
            if outcome is None:
                line = response.line if message.status == response.status else status_line(message.status)
                exchange.status = message.status
                exchange.deliver(response, line, message.headers.lines, parts[0])
            elif isinstance(outcome, Reply):
                exchange.replace_response(reply_page(outcome, exchange))
            else:
                exchange.refuse(500, outcome.describe())

        self._run.response(message, self._take_response, done)
        if self._run.waiting:
            parts[0] = bytes(body)  # it was lent
            self._hold()

    def _take_response(self, message: ResponseMessage) -> None:
        self.response_filters = _configured(message.body_filters)

    def page(self, page: Page) -> None:
        """Ask them about a response of our own; then it is sent."""
        exchange = self._exchange
        message = ResponseMessage(
            self._message,
            page.status,
            page.lines,
            body_length=len(page.body),
            own=True,
            upstream=exchange.server,
            variable=self.variable,
        )

        def done(outcome: Reply | FilterFailed | None) -> None:
            message.freeze("the response has been sent: it cannot be changed any more")
            if outcome is None:
                exchange.send_page(Page(message.status, message.headers.lines, page.body))
            elif isinstance(outcome, Reply):
                exchange.send_page(reply_page(outcome, exchange))
            else:
                exchange.refuse(500, outcome.describe())

        self._run.response(message, _nothing, done)

    def _hold(self) -> None:
        """Read nothing from the server."""
        connection = self._exchange.connection_up
        if connection is not None and connection.open:
            self._held = True
            connection.hold()

    def _release(self) -> None:
        connection = self._exchange.connection_up
        if self._held and connection is not None and connection.open:
            connection.listen()
        self._held = False

    def _mistaken(self, failure: Failure) -> None:
        self._exchange.mistaken("what follows message filters has failed", failure)

    def _bypassed(self, failure: FilterFailed) -> None:
        self._exchange.complain(f"bypassed: {failure.describe()}")


@lru_cache(maxsize=256)
def _getter(name: str, captures: tuple[str, ...]) -> Getter:
    found = find_variable(name, captures)
    if found is None:
        raise ValueError(f"there is no variable ${name}")
    return found.getter


def _configured(filters: tuple[IPipeFilterFactory, ...]) -> tuple[IPipeFilterFactory, ...]:
    """
    With the defaults of their options, where they are as they were found.

    @raise twisted_pipe.errors.BadConfiguration: one has an option that has to be given.
    """
    return tuple(each.configure({}) if isinstance(each, DeclaredPlugin) else each for each in filters)


def _nothing(_: object) -> None:
    pass
