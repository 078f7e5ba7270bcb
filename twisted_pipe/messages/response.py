"""A response, as message filters see and change it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted_pipe.interfaces import FilterContext, IPipeFilterFactory
from twisted_pipe.messages.message import Message
from twisted_pipe.messages.request import RequestMessage

__all__ = ["ResponseMessage"]

_LEAST, _MOST = 200, 599
_CHANGED = 101  # the protocol: what follows is no body
_WITHOUT_BODY = frozenset({_CHANGED, 204, 304})


class ResponseMessage(Message):
    """
    A response on its way to the client, before anything of it was sent.

    @ivar request: what it answers, as the last filter has left it.
    @ivar own: whether it is a page of the proxy's own (an error, a redirect, the answer of a route or of a filter); C{False}: the
        upstream's.
    @ivar upstream: the name of the server that was asked last, empty if none was.
    """

    __slots__ = ("_status", "own", "request", "upstream")

    def __init__(
        self,
        request: RequestMessage,
        status: int,
        headers: list[bytes],
        *,
        body_length: int | None = None,
        own: bool = False,
        upstream: str = "",
        variable: Callable[[str], bytes | None],
    ) -> None:
        Message.__init__(self, headers, body_length, variable)
        self.request = request
        self.own = own
        self.upstream = upstream
        self._status = status

    def __repr__(self) -> str:
        return f"<ResponseMessage {self._status} to {self.request!r}>"

    def filter_body(self, filter: IPipeFilterFactory | Callable[[FilterContext], Any], name: str = "") -> None:
        """
        As of every message. One without a body passes none: the head of the answer to HEAD says what they would make of it.

        @raise ValueError: it is the proxy's own: a L{Reply<twisted_pipe.messages.reply.Reply>} says what its body is; or it is too
            late.
        """
        if self.own:
            raise ValueError("a page of the proxy's own passes no byte filter; return a Reply")
        Message.filter_body(self, filter, name)

    @property
    def status(self) -> int:
        return self._status

    @status.setter
    def status(self, status: int) -> None:
        """
        @raise ValueError: it is not from 200 to 599, or has no body where the response has one, or the other way round; or it is
            too late.
        """
        self._check_open()
        if not isinstance(status, int) or not _LEAST <= status <= _MOST:
            raise ValueError(f"a status is from {_LEAST} to {_MOST}: {status!r}")
        if self._status == _CHANGED or (status in _WITHOUT_BODY) is not (self._status in _WITHOUT_BODY):
            raise ValueError(f"{self._status} cannot become {status}: what follows it is another thing; return a Reply")
        self._status = status

    def saved(self) -> tuple[Any, ...]:
        return (Message.saved(self), self._status)

    def restore(self, state: tuple[Any, ...]) -> None:
        common, self._status = state
        Message.restore(self, common)
