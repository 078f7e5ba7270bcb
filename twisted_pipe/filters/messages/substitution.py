r"""
Search and replace in the bodies of responses of some types (nginx C{sub_filter}).

The work is the byte filter C{substitute}'s (L{twisted_pipe.filters.substitute}): this one decides on which bodies it is done. The
upstream is asked for the plain text: C{Accept-Encoding: identity}; what comes with gzip all the same is unzipped first. Of a
part of a body (C{Range}) nobody can tell what stands in it, so the whole is asked for.

What the client gets can still be compressed, by C{filters}::

    message_filters = [{ name = "substitution", find = "http://internal", replace = "https://www.example.com" }]
    filters = ["gzip"]
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.base import FilterPlugin
from twisted_pipe.filters.escapes import parse_possibly_empty
from twisted_pipe.filters.messages.base import MessageFilter, at_least, option
from twisted_pipe.filters.messages.option_values import parse_list
from twisted_pipe.filters.substitute import Substitute
from twisted_pipe.messages.request import RequestMessage
from twisted_pipe.messages.response import ResponseMessage
from twisted_pipe.units import parse_count, parse_flag, parse_size, parse_text

__all__ = ["Substitution"]

_SUBSTITUTE = FilterPlugin("substitute", "", f"{Substitute.__module__}:Substitute")
_GUNZIP = FilterPlugin("gunzip", "", "twisted_pipe.filters.gunzip:Gunzip").configure({})
_GZIP = (b"gzip", b"x-gzip")
_OF_PARTS = (b"Range", b"If-Range")


@attrs.define
class Substitution(MessageFilter):
    r"""
    Replaces text in responses of some types, or what a regular expression matches.

    Escapes in both texts: C{\n \r \t \0 \xNN \\}. Options are those of the byte filter C{substitute}, and C{types}.

    @ivar find: what is replaced; has to be given.
    @ivar replace: what takes its place. Default: nothing.
    @ivar types: media types of the bodies, such as C{text/html,text/*}. Default C{text/html}.
    @ivar regex: whether C{find} is a regular expression. Default off.
    @ivar ignore_case: whether ASCII letters match in either case. Default off.
    @ivar look_behind: bytes of the longest match of a regular expression that is sure to be found. Default 4 KiB.
    @ivar max: the first how many matches of each body are replaced. Default 0: all.
    """

    find: str = option(parse_text, help=r"what to replace; with escapes: \n \r \t \0 \xNN \\")
    replace: str = option(parse_possibly_empty, default="", help="what takes its place; with escapes likewise")
    types: tuple[str, ...] = option(parse_list, default=("text/html",), help="media types: text/html,text/*")
    regex: bool = option(
        parse_flag, default=False, help=r"find is a regular expression, replace may have \1 or \g<name>"
    )
    ignore_case: bool = option(parse_flag, default=False, help="ASCII letters match in either case")
    look_behind: int = option(
        at_least(1, parse_size),
        default=4096,
        help="of a regular expression, the longest match that is sure to be found",
        unit="bytes",
    )
    max: int = option(parse_count, default=0, help="replace only so many; 0: all")
    _byte_filter: Any = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        options = {
            name: getattr(self, name) for name in ("find", "replace", "regex", "ignore_case", "look_behind", "max")
        }
        try:
            self._byte_filter = _SUBSTITUTE.configure(options)
        except BadConfiguration as error:
            raise BadConfiguration(error.name.rpartition(": ")[2], error.value, error.expected) from error

    def request(self, request: RequestMessage) -> None:
        request.headers.set(b"Accept-Encoding", "identity")
        for name in _OF_PARTS:
            request.headers.remove(name)

    def response(self, response: ResponseMessage) -> None:
        if response.own or not self._is_for(response):
            return
        coding = (response.headers.get(b"content-encoding") or b"").lower()
        if coding in _GZIP:
            response.filter_body(_GUNZIP)
        response.filter_body(self._byte_filter)
        response.headers.remove(b"Accept-Ranges")

    def _is_for(self, response: ResponseMessage) -> bool:
        given = response.headers.get(b"content-type") or b""
        media_type = given.partition(b";")[0].strip(b" \t").lower().decode("latin-1")
        return any(fnmatchcase(media_type, each) for each in self.types)
