"""
Fields that tell browsers to be careful: Strict-Transport-Security (RFC 6797), X-Content-Type-Options, X-Frame-Options (RFC 7034),
Referrer-Policy, Content-Security-Policy, Permissions-Policy.

What the upstream has said itself stays: it knows its pages. Put this filter first: then the answers of those behind it have these
fields, too.
"""

from __future__ import annotations

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.messages.base import MessageFilter, option
from twisted_pipe.filters.messages.option_values import parse_field_value
from twisted_pipe.messages.response import ResponseMessage
from twisted_pipe.units import parse_duration, parse_flag

__all__ = ["SecurityHeaders"]

_YEAR = 365 * 86400.0


@attrs.define
class SecurityHeaders(MessageFilter):
    """
    Adds fields that make browsers careful. An empty option leaves its field out.

    @ivar hsts: seconds that a browser is to use nothing but https for this host; said over https only. Default a year; 0: not said.
    @ivar hsts_subdomains: whether for its subdomains, too. Default off.
    @ivar content_type_options: C{X-Content-Type-Options}. Default C{nosniff}.
    @ivar frame_options: C{X-Frame-Options}: who may show the page in a frame. Default C{SAMEORIGIN}.
    @ivar referrer_policy: C{Referrer-Policy}. Default C{strict-origin-when-cross-origin}.
    @ivar content_security_policy: C{Content-Security-Policy}. Default empty.
    @ivar permissions_policy: C{Permissions-Policy}. Default empty.
    @ivar override: whether they take the place of the upstream's own. Default off.
    """

    hsts: float = option(
        parse_duration,
        default=_YEAR,
        help="have browsers use only https for so long; said over https; 0: not",
        unit="seconds",
    )
    hsts_subdomains: bool = option(parse_flag, default=False, help="for subdomains, too")
    content_type_options: str = option(parse_field_value, default="nosniff", help="X-Content-Type-Options")
    frame_options: str = option(parse_field_value, default="SAMEORIGIN", help="X-Frame-Options")
    referrer_policy: str = option(parse_field_value, default="strict-origin-when-cross-origin", help="Referrer-Policy")
    content_security_policy: str = option(parse_field_value, default="", help="Content-Security-Policy")
    permissions_policy: str = option(parse_field_value, default="", help="Permissions-Policy")
    override: bool = option(parse_flag, default=False, help="replace what the upstream says itself")
    _fields: list[tuple[bytes, str]] = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.hsts_subdomains and not self.hsts:
            raise BadConfiguration("hsts_subdomains", "on", "makes no sense with hsts = 0")
        self._fields = [
            (name, value)
            for name, value in (
                (b"X-Content-Type-Options", self.content_type_options),
                (b"X-Frame-Options", self.frame_options),
                (b"Referrer-Policy", self.referrer_policy),
                (b"Content-Security-Policy", self.content_security_policy),
                (b"Permissions-Policy", self.permissions_policy),
            )
            if value
        ]

    def response(self, response: ResponseMessage) -> None:
        if self.hsts and response.request.scheme == "https":
            more = "; includeSubDomains" if self.hsts_subdomains else ""
            self._say(response, b"Strict-Transport-Security", f"max-age={self.hsts:.0f}{more}")
        for name, value in self._fields:
            self._say(response, name, value)

    def _say(self, response: ResponseMessage, name: bytes, value: str) -> None:
        if self.override or name not in response.headers:
            response.headers.set(name, value)
