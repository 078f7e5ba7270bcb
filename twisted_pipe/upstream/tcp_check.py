"""Whether a server takes connections, and says what it should."""

# ruff: noqa: RUF009 (what option() makes is a field)

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from zope.interface import implementer

from twisted_pipe.errors import BadConfiguration, CheckFailed
from twisted_pipe.interfaces import IHealthCheck
from twisted_pipe.plugin.escapes import encode, parse_bytes
from twisted_pipe.plugin.options import option

__all__ = ["MAX_ANSWER", "TcpCheck", "parse_pattern", "shown"]

MAX_ANSWER = 16 * 1024  # bytes of an answer that are looked at
_SHOWN = 60


def parse_pattern(name: str, text: str) -> re.Pattern[bytes]:
    """
    A regular expression of Python's, for bytes.

    @param name: the option, for the error.
    @raise BadConfiguration: it is none.
    """
    try:
        return re.compile(encode(text))
    except (re.error, RecursionError, OverflowError) as error:
        raise BadConfiguration(name, text, f"must be a regular expression of Python's: {error}") from error


parse_pattern.kind = "REGEX"  # type: ignore[attr-defined]


@implementer(IHealthCheck)
@attrs.define(eq=False)
class TcpCheck:
    """
    Connects, with TLS if the group has it. With expect or match something has to come, too: within the first 16 KiB.

    @ivar connect: connects to a server.
    """

    connect: Callable[[Any], Deferred[Any]]
    send: bytes = option(parse_bytes, default=b"", help=r"what is sent; with escapes: \n \r \t \0 \xNN \\")
    expect: bytes = option(parse_bytes, default=b"", help="what has to come; with escapes likewise")
    match: re.Pattern[bytes] | None = option(parse_pattern, default=None, help="or a regular expression for what comes")
    _wanted: re.Pattern[bytes] | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        if self.expect and self.match is not None:
            raise BadConfiguration(
                "match", self.match.pattern.decode("utf-8", "replace"), "must be left out: expect is given"
            )
        if len(self.expect) > MAX_ANSWER:
            raise BadConfiguration("expect", f"{len(self.expect)} bytes", f"must be at most {MAX_ANSWER} bytes")
        self._wanted = re.compile(re.escape(self.expect)) if self.expect else self.match

    def check(self, server: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(self._check(server))

    async def _check(self, server: Any) -> None:
        stream = await self.connect(server)
        try:
            if self.send:
                stream.send(self.send)
            if self._wanted is not None:
                await _answered(stream, self._wanted)
        finally:
            stream.close()


async def _answered(stream: Any, wanted: re.Pattern[bytes]) -> None:
    """
    Wait for what is wanted.

    @raise CheckFailed: it does not come before the end, or not in the first 16 KiB.
    """
    answer = b""
    while not wanted.search(answer):
        data = await stream.receive()
        if not data:
            raise CheckFailed(f"it ends with {shown(answer)}" if answer else "it ends without a word")
        answer += data[: MAX_ANSWER - len(answer)]
        if len(answer) == MAX_ANSWER and not wanted.search(answer):
            raise CheckFailed(f"what is wanted is not in its first {MAX_ANSWER} bytes, {shown(answer)}")


def shown(data: bytes) -> str:
    """The beginning of what a server has said, for the log."""
    return repr(data[:_SHOWN])[1:] + ("…" if len(data) > _SHOWN else "")
