"""
Message filters driven as the proxy drives them, without a socket: the test is the client and the upstream, and reads what each
would get. Time is a C{Clock}'s.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import attrs
from twisted.internet.task import Clock

from twisted_pipe.errors import FilterFailed
from twisted_pipe.filters.messages.discovery import MESSAGE_FILTERS
from twisted_pipe.filters.messages.run import MessageRun
from twisted_pipe.http.body_filters import ChosenFilters, filters_of_request, filters_of_response, uses_of
from twisted_pipe.http.filtered_head import body_length, filtered_head, shown_fields
from twisted_pipe.http.head import Framing, RequestHead, ResponseHead, parse_request, parse_response
from twisted_pipe.http.message import Head
from twisted_pipe.http.status import error_page
from twisted_pipe.http.target import normal_path
from twisted_pipe.http.variables import find_variable
from twisted_pipe.interfaces import (
    Direction,
    FilterContext,
    IMessageFilterFactory,
    MessageContext,
    NamedFilter,
    OnFailure,
)
from twisted_pipe.messages.headers import Headers
from twisted_pipe.messages.reply import Reply
from twisted_pipe.messages.request import RequestMessage
from twisted_pipe.messages.response import ResponseMessage
from twisted_pipe.testing.exchange_facts import PlayedFacts
from twisted_pipe.testing.harness import FilterHarness

__all__ = ["MessageHarness", "Played", "PlayedExchange"]

_NEVER_A_BODY = frozenset({204, 304})
_MOST_MOMENTS = 1_000_000
REQUEST = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"


@attrs.frozen
class Played:
    """
    A message, as its receiver gets it, but for the fields that are the proxy's own.

    @ivar line: the first line.
    @ivar headers: its fields.
    @ivar body: as far as the test has given one.
    """

    line: bytes
    headers: Headers
    body: bytes

    @property
    def status(self) -> int:
        """Of a response."""
        return int(self.line.split(b" ")[1])

    @property
    def target(self) -> bytes:
        """Of a request."""
        return self.line.split(b" ")[1]

    @property
    def head(self) -> bytes:
        """First line, fields and empty line."""
        return b"\r\n".join([self.line, *self.headers.lines, b"", b""])


class MessageHarness:
    """
    Filters in a row, between a client and an upstream that the test plays.

    @ivar filters: the filters, in order, each made once.
    @ivar clock: the time of filters and of their timeouts.
    """

    def __init__(
        self,
        *filters: Any,
        context: MessageContext | None = None,
        clock: Clock | None = None,
        on_failure: OnFailure | None = None,
        timeout: float | None = None,
        upstreams: Collection[str] = (),
    ) -> None:
        """
        @param filters: in order. Each is a filter, a plugin (C{IMessageFilterFactory}), a filter class or other function of the
            context, or text: C{"request-id:to_client=off"}.
        @param context: what they are told of where they stand.
        @param clock: the time; by default the context's, or a new one, which the context then gets.
        @param on_failure: what failures do; by default what the plugin says, or C{ABORT}.
        @param timeout: seconds that one may take for a message, 0 for ever; by default what the plugin says, or 60.
        @param upstreams: names that a filter may choose.
        @raise twisted_pipe.errors.BadConfiguration: one cannot be built.
        """
        if not filters:
            raise TypeError("a filter is needed")
        context = context or MessageContext()
        self.clock: Clock = clock or context.clock or Clock()
        context = attrs.evolve(context, clock=self.clock)
        named = [_named(entry, context) for entry in filters]
        if on_failure is not None:
            named = [attrs.evolve(entry, on_failure=on_failure) for entry in named]
        if timeout is not None:
            named = [attrs.evolve(entry, timeout=timeout) for entry in named]
        self.filters = [entry.filter for entry in named]
        self.upstreams = upstreams
        self._named = named

    def __repr__(self) -> str:
        return f"<MessageHarness {' | '.join(entry.name for entry in self._named)}>"

    def request(
        self,
        data: bytes = REQUEST,
        *,
        client: str = "192.0.2.7",
        scheme: str = "http",
        tls: Any = None,
        captures: Mapping[str, bytes] | None = None,
    ) -> PlayedExchange:
        """
        A client sends a request.

        @param data: its head, with its empty line, and what of its body filters may be tried on.
        @param tls: what is known of the client's TLS.
        @raise twisted_pipe.http.head.BadMessage: it is none.
        """
        head = parse_request(data)
        if head is None:
            raise ValueError("the request's head has no end: an empty line is missing")
        facts = PlayedFacts(
            head,
            client_host=client,
            scheme=scheme,
            tls=tls,
            uri=normal_path(head.path),
            captures=captures,
            started=self.clock.seconds(),
        )
        return PlayedExchange(self, self._named, facts, data[head.size :])

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)


class PlayedExchange:
    """
    One request and its response.

    @ivar upstream_gets: the request as the upstream gets it; None while it is held, and if it is answered otherwise.
    @ivar client_gets: the response as the client gets it; None while there is none.
    @ivar upstream: the name of the upstream that a filter has chosen, None for the route's.
    @ivar failure: how a filter has failed; None if none has.
    @ivar bypassed: failures that changed nothing.
    @ivar facts: what variables read.
    """

    def __init__(self, harness: MessageHarness, filters: list[NamedFilter], facts: PlayedFacts, body: bytes) -> None:
        self.upstream_gets: Played | None = None
        self.client_gets: Played | None = None
        self.upstream: str | None = None
        self.failure: FilterFailed | None = None
        self.bypassed: list[FilterFailed] = []
        self.facts = facts
        self._clock = harness.clock
        self._body = body
        self._gone = False
        self._run = MessageRun(filters, harness.clock, self.bypassed.append)
        head = facts.head
        self._message = RequestMessage(
            facts,
            head.method,
            head.origin_target,
            shown_fields(head),
            body_length=body_length(head),
            upgrade=head.upgrade,
            variable=self.variable,
            upstreams=harness.upstreams,
        )
        self._run.request(self._message, self._take, self._request_done)

    def __repr__(self) -> str:
        return f"<PlayedExchange {self.facts.head!r} {self._run!r}>"

    @property
    def waiting(self) -> bool:
        """Whether a filter waits for something."""
        return self._run.waiting

    def variable(self, name: str) -> bytes | None:
        """
        What a template or a log would put for C{$name}.

        @raise ValueError: there is no such variable.
        """
        found = find_variable(name, self.facts.captures or ())
        if found is None:
            raise ValueError(f"there is no variable ${name}")
        return found.getter(self.facts)

    def wait(self) -> PlayedExchange:
        """
        Let time pass until nothing is waited for.

        @raise AssertionError: no timer is set, so that it would be for ever.
        """
        for _ in range(_MOST_MOMENTS):
            if not self.waiting:
                return self
            self.next_moment()
        raise AssertionError(f"{self!r}: it waits again and again")

    def next_moment(self) -> None:
        """
        Let time pass until something is due.

        @raise AssertionError: no timer is set.
        """
        calls = self._clock.getDelayedCalls()
        if not calls:
            raise AssertionError(f"{self!r}: what it waits for never comes")
        self._clock.rightNow = max(min(call.getTime() for call in calls), self._clock.rightNow)
        self._clock.advance(0)

    def go_away(self) -> None:
        """The client's connection breaks off: what is waited for is cancelled."""
        self._gone = True
        self._run.stop()

    # the request

    def _take(self, message: RequestMessage) -> None:
        facts = self.facts
        head = facts.head
        changed = facts.head = filtered_head(head, message)
        if changed.path != head.path:
            facts.uri = normal_path(changed.path)
        facts.filter_variables = message.variables
        facts.request_id = message.request_id
        self.upstream = message.upstream

    def _request_done(self, outcome: Reply | FilterFailed | None) -> None:
        message = self._message
        message.freeze("the request has gone on: it cannot be changed any more")
        if outcome is None:
            line = b"%b %b HTTP/1.1" % (message.method, message.target)
            head = self.facts.head
            gets = Played(line, message.headers, self._body)
            if head.has_body:  # else the proxy asks no byte filter
                chosen = filters_of_request(uses_of(message.body_filters), head, message.headers.lines)
                gets = self._filtered(Direction.REQUEST, head, gets, chosen)
            self.upstream_gets = gets
        elif isinstance(outcome, Reply):
            self._page(_of_reply(outcome, self.facts.head))
        else:
            self.failure = outcome
            self._page(_of_reply(Reply(500), self.facts.head))

    # the response

    def respond(self, data: bytes = RESPONSE) -> PlayedExchange:
        """
        The upstream answers.

        @param data: a whole response, with or without its body.
        @raise AssertionError: it was not asked, or the client is gone.
        """
        if self.upstream_gets is None or self._gone:
            raise AssertionError(f"{self!r}: the upstream was not asked")
        head = parse_response(data, self.facts.head.method)
        if head is None:
            raise ValueError("the response's head has no end: an empty line is missing")
        self.facts.response = head
        self.facts.status = head.status
        length = head.length if head.framing in (Framing.LENGTH, Framing.NONE) else None
        body = b"" if head.framing is Framing.NONE else data[head.size :]
        message = ResponseMessage(
            self._message, head.status, head.lines, body_length=length, upstream="upstream", variable=self.variable
        )
        self._ask(message, head.line, body, head)
        return self

    def fail(self, status: int = 502) -> PlayedExchange:
        """The proxy answers by an error page of its own: the upstream could not be asked, the request's body was too large …"""
        self._page(_of_reply(Reply(status), self.facts.head))
        return self

    def _page(self, page: Played) -> None:
        message = ResponseMessage(
            self._message, page.status, page.headers.lines, body_length=len(page.body), own=True, variable=self.variable
        )
        self._ask(message, page.line, page.body)

    def _ask(self, message: ResponseMessage, line: bytes, body: bytes, head: ResponseHead | None = None) -> None:
        """
        @param head: the upstream's; None for a page of the proxy's own, which passes no byte filter.
        """
        status = message.status

        def done(outcome: Reply | FilterFailed | None) -> None:
            message.freeze("the response has been sent: it cannot be changed any more")
            if isinstance(outcome, Reply):
                self._page(_of_reply(outcome, self.facts.head))
            elif outcome is not None:
                self.failure = outcome
                self._page(_of_reply(Reply(500), self.facts.head))
            else:
                first = line if message.status == status else b"HTTP/1.1 %d" % message.status
                self.facts.status = message.status
                got = Played(first, message.headers, body)
                if head is not None:
                    uses, lines = uses_of(message.body_filters), message.headers.lines
                    chosen = filters_of_response(uses, head, lines, self.facts.head)
                    got = self._filtered(Direction.RESPONSE, head, got, chosen)
                self.facts.sent_lines = got.headers.lines
                self.client_gets = got

        self._run.response(message, _nothing, done)

    def _filtered(self, direction: Direction, head: Head, message: Played, chosen: ChosenFilters) -> Played:
        """
        C{message} as C{chosen} make it, if it has a body, and the test has given that.

        @param head: as it came.
        """
        body = message.body
        empty = head.framing is Framing.CLOSE or (head.framing is Framing.LENGTH and not head.length)
        if chosen.factories and (body or empty):
            response = self.facts.response if direction is Direction.RESPONSE else None
            context = FilterContext(direction=direction, clock=self._clock, request=self.facts.head, response=response)
            body = FilterHarness(*chosen.factories, context=context).run(body)
        return attrs.evolve(message, headers=Headers(chosen.lines), body=body)


def _named(entry: Any, context: MessageContext) -> NamedFilter:
    if isinstance(entry, str):
        entry = MESSAGE_FILTERS.parse(entry)
    if IMessageFilterFactory.providedBy(entry):
        return NamedFilter(entry.name, entry.build(context), entry.on_failure, entry.timeout)
    if isinstance(entry, type) or not hasattr(entry, "response"):
        entry = entry(context)
    return NamedFilter(type(entry).__name__, entry)


def _of_reply(reply: Reply, head: RequestHead) -> Played:
    body = reply.body
    if body is None:
        body = error_page(reply.status, b"") if reply.status >= 300 and reply.status not in _NEVER_A_BODY else b""
    line = b"HTTP/1.1 %d" % reply.status
    return Played(line, Headers(list(reply.lines)), b"" if head.method == b"HEAD" else body)


def _nothing(_: object) -> None:
    pass
