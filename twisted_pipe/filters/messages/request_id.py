"""
A name for each request, by which it is found in the logs of everybody who has seen it.

It is C{$request_id}: 32 hexadecimal digits, or what a client has sent that is trusted with it: a proxy before us. Of anybody else
it would be a way to write into logs, and to have one's requests confused with other people's.
"""

from __future__ import annotations

import re

import attrs

from twisted_pipe.filters.messages.base import MessageFilter, option
from twisted_pipe.filters.messages.option_values import Networks, parse_field_name, parse_networks
from twisted_pipe.messages.request import RequestMessage
from twisted_pipe.messages.response import ResponseMessage
from twisted_pipe.units import parse_flag

__all__ = ["RequestId"]

_NOBODY = Networks()
_GOOD = re.compile(rb"[A-Za-z0-9._~:=+/@-]{1,128}")


@attrs.define
class RequestId(MessageFilter):
    """
    Gives each request an id, which the upstream and the client are told, and C{$request_id} says.

    @ivar header: the field that says it. Default C{X-Request-ID}.
    @ivar trusted: clients whose own id is taken, if it is 1 to 128 letters, digits and C{. _ ~ : = + / @ -}. Default none.
    @ivar to_client: whether the response has it, too. Default yes.
    """

    header: str = option(parse_field_name, default="X-Request-ID", help="the field that says it")
    trusted: Networks = option(  # noqa: RUF009 (it makes a field)
        parse_networks, default=_NOBODY, help="whose own id is taken: addresses, networks, unix: or * for everybody"
    )
    to_client: bool = option(parse_flag, default=True, help="tell the client, too")

    def request(self, request: RequestMessage) -> None:
        given = request.headers.get(self.header)
        if given is not None and request.client in self.trusted and _GOOD.fullmatch(given):
            request.request_id = given.decode()
        request.headers.remove_alike(self.header)
        request.headers.set(self.header, request.request_id)

    def response(self, response: ResponseMessage) -> None:
        if self.to_client:
            response.headers.set(self.header, response.request.request_id)
