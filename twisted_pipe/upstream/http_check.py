"""Whether a server answers an HTTP request as it should."""

# ruff: noqa: RUF009 (what option() makes is a field)

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import attrs
from httptools import HttpParserError, HttpResponseParser
from twisted.internet.defer import Deferred
from zope.interface import implementer

from twisted_pipe.errors import BadConfiguration, CheckFailed
from twisted_pipe.interfaces import IHealthCheck
from twisted_pipe.plugin.options import option
from twisted_pipe.upstream.tcp_check import parse_pattern, shown

__all__ = ["MAX_BODY", "MAX_HEAD", "HttpCheck", "parse_statuses"]

MAX_HEAD = 32 * 1024  # bytes of a response before its body
MAX_BODY = 64 * 1024  # bytes of a body that are looked at
_HIGHEST = 599


@attrs.frozen
class Statuses:
    """
    Some status codes.

    @ivar ranges: of codes, both ends included.
    """

    ranges: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        return ",".join(str(least) if least == most else f"{least}-{most}" for least, most in self.ranges)

    def __contains__(self, status: int) -> bool:
        return any(least <= status <= most for least, most in self.ranges)


def parse_statuses(name: str, text: str) -> Statuses:
    """
    Status codes and ranges of them, C{"200-299,304"}.

    @param name: the option, for the error.
    @raise BadConfiguration: it is something else.
    """
    found: list[tuple[int, int]] = []
    for part in text.replace(",", " ").split():
        match = re.fullmatch(r"(\d{3})(?:-(\d{3}))?", part, re.ASCII)
        if match is None or not 200 <= int(match[1]) <= int(match[2] or match[1]) <= _HIGHEST:
            found.clear()
            break
        found.append((int(match[1]), int(match[2] or match[1])))
    if not found:
        raise BadConfiguration(name, text, "must be status codes from 200 to 599, such as 200-399 or 200,204")
    return Statuses(tuple(found))


parse_statuses.kind = "STATUS[-STATUS],…"  # type: ignore[attr-defined]


@attrs.frozen
class _Words:
    """A parse function for C{option}: text of one form."""

    pattern: str
    rule: str
    kind: str

    def __call__(self, name: str, text: str) -> str:
        if not re.fullmatch(self.pattern, text):
            raise BadConfiguration(name, text, self.rule)
        return text


_path = _Words(r"/[!-~]*", "must begin with / and be ASCII without spaces", "PATH")
_method = _Words(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", "must be a method", "METHOD")
_host = _Words(r"[!-~]+", "must be a host, perhaps with a port", "HOST")


@implementer(IHealthCheck)
@attrs.define(eq=False)
class HttpCheck:
    """
    Sends one HTTP/1.1 request on a connection of its own, over TLS if the group has it. The response has to have one of the
    statuses; with body, the first 64 KiB of its body have to match, too. Without, its body is not waited for.

    @ivar connect: connects to a server.
    """

    connect: Callable[[Any], Deferred[Any]]
    path: str = option(_path, default="/", help="what is asked for")
    method: str = option(_method, default="GET", help="how")
    host: str = option(_host, default="", help="the Host of the request; by default the server's address")
    status: Statuses = option(parse_statuses, default=Statuses(((200, 399),)), help="which answers are right")
    body: re.Pattern[bytes] | None = option(parse_pattern, default=None, help="a regular expression for the body")

    def __attrs_post_init__(self) -> None:
        if self.body is not None and self.method == "HEAD":
            raise BadConfiguration("body", self.body.pattern.decode("utf-8", "replace"), "must be left out with HEAD")

    def check(self, server: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(self._check(server))

    async def _check(self, server: Any) -> None:
        stream = await self.connect(server)
        try:
            stream.send(self._request(server))
            response = _Response(self.body is not None)
            while not response.known:
                data = await stream.receive()
                if not data:
                    break
                response.received(data)
            self._judge(response)
        finally:
            stream.close()

    def _request(self, server: Any) -> bytes:
        host = self.host or ("localhost" if isinstance(server.address, str) else server.name)
        lines = (
            f"{self.method} {self.path} HTTP/1.1",
            f"Host: {host}",
            "User-Agent: twisted_pipe health check",
            "Accept: */*",
            "Connection: close",
        )
        return "".join(f"{line}\r\n" for line in (*lines, "")).encode("ascii", "replace")

    def _judge(self, response: _Response) -> None:
        """
        @raise CheckFailed: it is not what it should be.
        """
        if not response.status:
            raise CheckFailed("it ends before the head of its response does")
        if response.status not in self.status:
            raise CheckFailed(f"status {response.status}")
        if self.body is not None and not self.body.search(response.body):
            raise CheckFailed(f"its body does not match, {shown(bytes(response.body))}")


class _Response:
    """
    As much of a response as is wanted.

    @ivar status: 0 until its head is known.
    @ivar body: its first 64 KiB, without the framing.
    @ivar known: whether the rest does not matter.
    """

    def __init__(self, wants_body: bool) -> None:
        self.status = 0
        self.body = bytearray()
        self.known = False
        self._wants_body = wants_body
        self._head = 0
        self._parser = HttpResponseParser(self)

    def received(self, data: bytes) -> None:
        """
        @raise CheckFailed: it is no HTTP, or its head is too long.
        """
        if not self.status:
            self._head += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            if not self.known:
                raise CheckFailed(f"no HTTP: {' '.join(str(error).split())}, {shown(data)}") from error
        if not self.status and self._head > MAX_HEAD:
            raise CheckFailed(f"the head of its response is longer than {MAX_HEAD} bytes")

    # what the parser calls

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200:
            self.status = status
            self.known = not self._wants_body

    def on_body(self, data: bytes) -> None:
        self.body += data[: MAX_BODY - len(self.body)]
        self.known = self.known or len(self.body) == MAX_BODY

    def on_message_complete(self) -> None:
        self.known = bool(self.status)
