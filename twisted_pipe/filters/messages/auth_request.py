"""
Authorisation by somebody else: an HTTP service is asked about each request (nginx C{auth_request}).

The service gets the request's head by C{GET}, without the body, and where it was going: C{X-Original-Method}, C{X-Original-URI},
C{X-Original-Host}, C{X-Forwarded-For}, C{X-Forwarded-Proto}. What it answers:

  - 2xx: the request goes on; fields of the answer named in C{set} are set on it, and those of the client's own are lost, with
    those that a server could take for them (C{X_User} for C{X-User});
  - 401 and 403: so is the client answered, with C{WWW-Authenticate} and what C{pass_back} names;
  - anything else, or nothing in time: 500, and a line in the log.

Connections to the service are kept alive. Its body is not read further than the connection needs to be of use, and no
longer than C{timeout}.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers as WebHeaders

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.messages.base import MessageFilter, at_least, option
from twisted_pipe.filters.messages.option_values import parse_field_names
from twisted_pipe.filters.messages.service_agent import service_agent
from twisted_pipe.messages.headers import alike
from twisted_pipe.messages.reply import Reply
from twisted_pipe.messages.request import RequestMessage
from twisted_pipe.units import parse_count, parse_duration, parse_text

__all__ = ["AuthRequest", "AuthServiceFailed"]

_URL = re.compile(r"https?://[^/?#\s@]+(/[^#\s]*)?")
_REFUSALS = frozenset({401, 403})
_MOST_BODY = 64 * 1024  # bytes of an answer's body that are read to keep its connection
#: What says something of a body, a part of one, or a coding, of which the answer is to have none.
_NOT_SENT = frozenset(
    {
        b"accept-encoding",
        b"content-encoding",
        b"content-type",
        b"host",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"range",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-original-host",
        b"x-original-method",
        b"x-original-uri",
    }
)


class AuthServiceFailed(Exception):
    """The service has not said whether a request may go on; the text says what it did instead."""


@attrs.define
class AuthRequest(MessageFilter):
    """
    Lets a request go on if an HTTP service says so.

    @ivar url: of the service. Has to be given.
    @ivar set: fields of the service's answer that are set on the request, such as C{X-User}. A client cannot set them itself.
        Default none.
    @ivar pass_back: fields of a refusal that the client gets besides C{WWW-Authenticate}. Default
        C{Set-Cookie}.
    @ivar timeout: seconds for the answer's head, and again for its body, which nobody waits for. Default 10.
    @ivar keepalive: connections to the service that may be idle; 0: each serves one question. Default 8.
    @ivar most: questions that may be open at a time; more are answered 503. Default 256.
    """

    protects: ClassVar[bool] = True

    url: str = option(parse_text, help="of the service: http:// or https://")
    set: tuple[str, ...] = option(
        parse_field_names, default=(), help="fields of its answer that are set on the request, never by the client"
    )
    pass_back: tuple[str, ...] = option(
        parse_field_names,
        default=("Set-Cookie",),
        help="fields of a refusal that the client gets, besides WWW-Authenticate",
    )
    timeout: float = option(parse_duration, default=10.0, help="for its answer", unit="seconds")
    keepalive: int = option(parse_count, default=8, help="connections to it that may be idle; 0: none")
    most: int = option(at_least(1, parse_count), default=256, help="questions that may be open at a time")
    _agent: Any = attrs.field(init=False, default=None, eq=False, repr=False)
    _open: int = attrs.field(init=False, default=0, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if not _URL.fullmatch(self.url):
            raise BadConfiguration("url", self.url, "must be http://HOST[:PORT][/PATH] or the same with https")
        if not self.timeout:
            raise BadConfiguration("timeout", self.timeout, "must be more than 0")

    async def request(self, request: RequestMessage) -> Reply | None:
        for name in self.set:
            request.headers.remove_alike(name)
        if self._open >= self.most:
            return Reply(503, {b"Retry-After": "1"})
        self._open += 1
        try:
            answer = await self._ask(request)
        finally:
            self._open -= 1
        status: int = answer.code
        if 200 <= status < 300:
            for name in self.set:
                for value in answer.headers.getRawHeaders(name.encode(), ()):
                    request.headers.add(name, value)
            return None
        if status in _REFUSALS:
            return Reply(status, _fields(answer, (b"WWW-Authenticate", *(name.encode() for name in self.pass_back))))
        raise AuthServiceFailed(f"{self.url} answered {status}; 2xx, 401 or 403 is expected")

    async def _ask(self, request: RequestMessage) -> Any:
        asking: Deferred[Any] = self._get_agent().request(b"GET", self.url.encode(), _question(request))
        asking.addTimeout(self.timeout, self.context.clock)
        try:
            answer = await asking
        except DeferredTimeout as error:
            raise AuthServiceFailed(f"{self.url} has not answered within {self.timeout:g} s") from error
        except Exception as error:
            raise AuthServiceFailed(f"{self.url} cannot be asked: {_reason(error)}") from error
        answer.deliverBody(_Discarding(self.context.clock, self.timeout))
        return answer

    def _get_agent(self) -> Any:
        if self._agent is None:
            self._agent = service_agent(self.context.clock, self.timeout, self.keepalive)
        return self._agent


class _Discarding(Protocol):
    """Reads an answer's body, so that its connection can be used again; not for ever."""

    def __init__(self, clock: Any, timeout: float) -> None:
        """
        @param timeout: seconds that it may take.
        """
        self._left = _MOST_BODY
        self._expiry = clock.callLater(timeout, self._close)

    def dataReceived(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            self._close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._expiry.active():
            self._expiry.cancel()

    def _close(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            transport.stopProducing()  # with TLS, loseConnection would wait for the service to say goodbye


def _question(request: RequestMessage) -> WebHeaders:
    fields = WebHeaders({})
    for name, value in request.headers:
        if alike(name) not in _NOT_SENT:
            fields.addRawHeader(name, value)
    for name, value in (
        (b"X-Original-Method", request.method),
        (b"X-Original-URI", request.target),
        (b"X-Original-Host", request.headers.get(b"host") or b""),
        (b"X-Forwarded-For", request.client.encode()),
        (b"X-Forwarded-Proto", request.scheme.encode()),
    ):
        fields.addRawHeader(name, value)
    return fields


def _fields(answer: Any, names: tuple[bytes, ...]) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name in names for value in answer.headers.getRawHeaders(name, ())]


def _reason(error: BaseException) -> str:
    """What twisted.web wraps, in one line."""
    reasons = getattr(error, "reasons", None)
    if reasons:
        return "; ".join(str(each.value) or type(each.value).__name__ for each in reasons)
    return str(error) or type(error).__name__
