"""Responses of our own: error pages, redirects, fixed answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from twisted_pipe.http.forwarding import without
from twisted_pipe.http.status import error_page, status_line

if TYPE_CHECKING:
    from twisted_pipe.http.message import ResponseHead
    from twisted_pipe.messages.reply import Reply
    from twisted_pipe.proxies.exchange import Exchange
    from twisted_pipe.proxies.http_settings import Answer, Redirect

__all__ = ["Page", "answer_page", "error_answer", "intercepted_page", "redirect_page", "reply_page", "upgrade_lines"]

_HTML = b"text/html; charset=utf-8"
_NO_BODY = frozenset({204, 304})
#: Without which a response of that status cannot be (RFC 9110, sections 15.5.2, 15.5.6 and 15.5.8).
_INDISPENSABLE = {401: b"www-authenticate:", 405: b"allow:", 407: b"proxy-authenticate:"}


@attrs.frozen
class Page:
    """
    A whole response.

    @ivar status: its code.
    @ivar lines: its fields, without C{Content-Length}.
    @ivar body: may be empty; it is if its status has none.
    """

    status: int
    lines: list[bytes]
    body: bytes

    @property
    def line(self) -> bytes:
        """The first line."""
        return status_line(self.status)

    @property
    def has_body(self) -> bool:
        """Whether responses of its status may have one (RFC 9110, section 15)."""
        return self.status not in _NO_BODY


def _lines(exchange: Exchange, *more: bytes) -> list[bytes]:
    proxy = exchange.client.proxy
    return [proxy.server_line, proxy.date_line(), *more] if proxy.server_line else [proxy.date_line(), *more]


def _page(exchange: Exchange, status: int, content_type: bytes, body: bytes, *more: bytes) -> Page:
    """
    One without a body, where C{status} has none, has no type either: a cache would take that for the type of what it keeps
    (RFC 9110, section 15.4.5).
    """
    if status in _NO_BODY:
        return Page(status, _lines(exchange, *more), b"")
    return Page(status, _lines(exchange, b"Content-Type: " + content_type, *more), body)


def error_answer(status: int, exchange: Exchange) -> Page:
    """The page of C{status}: the route's own, or ours."""
    page = exchange.settings.error_pages.get(status)
    if page is not None:
        return _page(exchange, page.status or status, page.content_type, page.body)
    more = (b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",) if status == 405 else ()
    return _page(exchange, status, _HTML, error_page(status, exchange.client.proxy.server_name), *more)


def intercepted_page(response: ResponseHead, exchange: Exchange) -> Page:
    """The route's page in the place of a server's C{response}, of which it keeps what a page of its status has to say."""
    page = error_answer(response.status, exchange)
    kept = _indispensable(response) if page.status == response.status else []
    return attrs.evolve(page, lines=[*page.lines, *kept])


def _indispensable(response: ResponseHead) -> list[bytes]:
    if response.status == 426:
        return upgrade_lines(response)
    name = _INDISPENSABLE.get(response.status)
    return [] if name is None else [line for line in response.lines if line.lower().startswith(name)]


def upgrade_lines(response: ResponseHead) -> list[bytes]:
    """What a 426 has to say of the protocol that it requires (RFC 9110, section 15.5.22); the fields are of one connection only."""
    return [] if response.upgrade is None else [b"Connection: Upgrade", b"Upgrade: " + response.upgrade]


def redirect_page(action: Redirect, exchange: Exchange) -> Page:
    """C{action}, for this exchange."""
    location = action.location.render_header(exchange)
    lines = _lines(exchange, b"Content-Type: " + _HTML, b"Location: " + location)
    return Page(action.status, lines, error_page(action.status, exchange.client.proxy.server_name))


def answer_page(action: Answer, exchange: Exchange) -> Page:
    """C{action}, for this exchange."""
    exchange.status = action.status  # which its template may ask for
    body = b"" if action.body is None or action.status in _NO_BODY else action.body.render(exchange)
    lines = _lines(exchange, b"Content-Type: " + action.content_type) if body else _lines(exchange)
    return Page(action.status, lines, body)


def reply_page(reply: Reply, exchange: Exchange) -> Page:
    """What a message filter answers."""
    status = reply.status
    if reply.body is None and status >= 300 and status not in _NO_BODY:
        page = error_answer(status, exchange)
        named = frozenset(line[: line.find(b":")].lower() for line in reply.lines)
        return Page(page.status, [*without(page.lines, named), *reply.lines], page.body)
    return Page(status, _lines(exchange, *reply.lines), reply.body or b"")
