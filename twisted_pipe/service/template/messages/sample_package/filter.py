"""The filter."""

from __future__ import annotations

from typing import ClassVar

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.messages.base import MessageFilter, option
from twisted_pipe.messages.reply import Reply
from twisted_pipe.messages.request import RequestMessage
from twisted_pipe.messages.response import ResponseMessage
from twisted_pipe.units import parse_text

__all__ = ["SampleClass"]


@attrs.define
class SampleClass(MessageFilter):
    """
    Hides what lies below a path, and what upstreams say of themselves.

    @ivar path: what begins with it is not found. Default C{/private/}.
    """

    #: It decides who may have what: if it fails, nobody is let in.
    protects: ClassVar[bool] = True

    path: str = option(parse_text, default="/private/", help="what begins with it is not found")

    def __attrs_post_init__(self) -> None:
        if not self.path.startswith("/"):
            raise BadConfiguration("path", self.path, "must begin with /")

    # One filter serves all requests: what belongs to one of them is kept in the message, never in the filter.

    def request(self, request: RequestMessage) -> Reply | None:
        # The URI is decoded and normalised: /%70rivate/ and /a/../private/ are the same.
        return Reply(404) if request.uri.startswith(self.path.encode()) else None

    def response(self, response: ResponseMessage) -> None:
        response.headers.remove("X-Powered-By")
