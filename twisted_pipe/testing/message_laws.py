"""
The contract of a message filter, as laws that a filter either keeps or breaks.

One object serves all exchanges, many of which are under way at a time, and any of which may break off whenever the filter waits. So
each message is played alone, among others, and breaking off at each wait; what is left then is what the filter has kept of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import attrs
from twisted.internet.task import Clock

from twisted_pipe.filters.messages.discovery import MESSAGE_FILTERS
from twisted_pipe.http.head import parse_request, parse_response
from twisted_pipe.interfaces import IMessageFilterFactory, MessageContext
from twisted_pipe.testing.messages import REQUEST, RESPONSE, MessageHarness, Played, PlayedExchange

__all__ = ["check_message_filter"]

_MOST_WAITS = 64
_REQUESTS = (
    REQUEST,
    b"POST /form?a=b HTTP/1.1\r\nHost: example.org\r\nContent-Length: 3\r\n\r\na=b",
    b"PUT /%C3%A4 HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HEAD / HTTP/1.0\r\n\r\n",
    b"OPTIONS / HTTP/1.1\r\nHost: example.org\r\nOrigin: https://a.example\r\nAccess-Control-Request-Method: PUT\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: [::1]:8080\r\nAuthorization: Basic \xff\r\nCookie: a=\x80\r\nCookie: b\r\nX-Request-ID: \xe4\r\n\r\n",
)
_RESPONSES = (
    RESPONSE,
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n',
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n",
    b"HTTP/1.0 500 \xe4\r\nContent-Type: \xff\r\n\r\nwhy",
)


def check_message_filter(
    factory: Any,
    requests: Iterable[bytes] = (),
    responses: Iterable[bytes] = (),
    *,
    context: MessageContext | None = None,
    upstreams: Collection[str] = (),
) -> int:
    """
    Prove that a message filter keeps the contract, by many exchanges with a C{Clock} of their own:

      - it fails for none of them, whatever a client or an upstream may send;
      - what it makes of a message is a message with the same framing to whoever reads it;
      - it does the same with a request, the names of fields and the status, whether others are under way or not;
      - a client may go whenever it waits: then nothing of it is left on the clock, and it serves others as before;
      - pages of the proxy's own may come in place of the response, and while it waits.

    @param factory: what makes a filter, as L{MessageHarness} takes it; not a filter.
    @param requests: that it has something to do with, whole, besides the usual ones. Time passes where it waits.
    @param responses: likewise.
    @param context: what it is told of where it stands.
    @param upstreams: names that it may choose.
    @return: how often it has waited.
    @raise AssertionError: which law it breaks.
    @raise TypeError: C{factory} is a filter.
    """
    if hasattr(factory, "response") and not isinstance(factory, type):
        raise TypeError(
            "each check has a filter of its own: its class, its plugin or another function of the context is needed"
        )
    if isinstance(factory, str):
        factory = MESSAGE_FILTERS.parse(factory)
    asked, answers = (*requests, *_REQUESTS), (*responses, *_RESPONSES)
    check = _Check(factory, context or MessageContext(), upstreams, asked, answers)
    check.each_alone()
    check.among_others()
    check.broken_off()
    return check.waits


@attrs.define
class _Check:
    factory: Any
    context: MessageContext
    upstreams: Collection[str]
    requests: tuple[bytes, ...]
    responses: tuple[bytes, ...]
    waits: int = 0

    def each_alone(self) -> None:
        """Every request with every response, and with a page of ours."""
        for request in self.requests:
            for response in self.responses:
                self._life(self._new(), request, response)
            page = self._new()
            exchange = page.request(request)
            self._settle(exchange)
            if exchange.client_gets is None:
                exchange.fail(502)
                self._settle(exchange)
            self._judge(exchange, request)

    def among_others(self) -> None:
        """All at a time, in one filter: the same comes of each."""
        alone = [_shape(self._life(self._new(), request, RESPONSE)) for request in self.requests]
        harness = self._new()
        exchanges = [harness.request(request) for request in self.requests]
        for exchange in exchanges:
            self._settle(exchange)
        for exchange in reversed(exchanges):
            if exchange.client_gets is None:
                exchange.respond()
        for exchange in exchanges:
            self._settle(exchange)
        for request, exchange, shape in zip(self.requests, exchanges, alone, strict=True):
            if _shape(exchange) != shape:
                raise self._broken(request, f"it comes to {_shape(exchange)} among others, and alone to {shape}")

    def broken_off(self) -> None:
        """The client goes at each moment at which it waits; then another one comes."""
        for request in self.requests:
            for moment in range(_MOST_WAITS):
                harness = self._new()
                if not self._break_off(harness, request, moment):
                    break
                self._life(harness, request, RESPONSE)

    def _break_off(self, harness: MessageHarness, request: bytes, moment: int) -> bool:
        """Whether it has waited so many times, and one more."""
        before = len(harness.clock.getDelayedCalls())
        exchange = harness.request(request)
        for _ in range(moment):
            if not exchange.waiting:
                break
            self._pass_time(exchange)
        if not exchange.waiting and exchange.client_gets is None:
            exchange.respond()
        if not exchange.waiting:
            return False
        exchange.go_away()
        if len(harness.clock.getDelayedCalls()) > before:
            raise self._broken(request, "what it waits for goes on when its client has gone")
        return True

    def _new(self) -> MessageHarness:
        context = attrs.evolve(self.context, clock=Clock())
        return MessageHarness(self.factory, context=context, upstreams=self.upstreams)

    def _life(self, harness: MessageHarness, request: bytes, response: bytes) -> PlayedExchange:
        exchange = harness.request(request)
        self._settle(exchange)
        if exchange.client_gets is None:
            exchange.respond(response)
            self._settle(exchange)
        self._judge(exchange, request)
        return exchange

    def _settle(self, exchange: PlayedExchange) -> None:
        while exchange.waiting:
            self.waits += 1
            self._pass_time(exchange)

    def _pass_time(self, exchange: PlayedExchange) -> None:
        """To the next moment at which something is due."""
        exchange.next_moment()

    def _judge(self, exchange: PlayedExchange, request: bytes) -> None:
        if exchange.failure is not None or exchange.bypassed:
            raise self._broken(request, f"it fails: {exchange.failure or exchange.bypassed[0]}")
        if exchange.upstream_gets is not None:
            self._judge_framing(exchange.upstream_gets, request)
        if exchange.client_gets is None:
            raise self._broken(request, "its client gets nothing")
        if parse_response(exchange.client_gets.head) is None:
            raise self._broken(request, f"its response cannot be read: {exchange.client_gets.head!r}")

    def _judge_framing(self, played: Played, request: bytes) -> None:
        asked = parse_request(request)
        assert asked is not None
        head = played.head if asked.minor else played.head.replace(b"HTTP/1.1", b"HTTP/1.0", 1)
        found = parse_request(head)
        if found is None or found.has_body or found.method != asked.method:
            raise self._broken(request, f"it makes another message of it: {played.head!r}")

    def _broken(self, request: bytes, what: str) -> AssertionError:
        name = (
            self.factory.name
            if IMessageFilterFactory.providedBy(self.factory)
            else getattr(self.factory, "__name__", "")
        )
        return AssertionError(f"{name}: {what}\nrequest: {request!r}")


def _shape(exchange: PlayedExchange) -> tuple[object, ...]:
    """What is the same for equal requests, though not every value is."""
    shape: list[object] = []
    for played in (exchange.upstream_gets, exchange.client_gets):
        shape += [None] if played is None else [played.line, sorted(name for name, _ in played.headers)]
    return tuple(shape)
