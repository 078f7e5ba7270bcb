"""
Cross-origin requests of browsers: the CORS protocol (https://fetch.spec.whatwg.org/#http-cors-protocol).

A browser asks before it lets a page of one origin send to another what a plain form could not (a preflight: OPTIONS with
Access-Control-Request-Method), and looks at the response before it shows it to the page. Both are answered here; the upstream needs
know nothing of it, and what it says itself of the matter is left out: two such fields are refused by browsers.

An origin that is not allowed is not told so in words: without the fields the browser keeps the response from the page. Who is not
a browser does as it likes; this is no access control.
"""

from __future__ import annotations

import re

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.messages.base import MessageFilter, option
from twisted_pipe.filters.messages.option_values import parse_field_names, parse_list
from twisted_pipe.messages.headers import Headers
from twisted_pipe.messages.reply import Reply
from twisted_pipe.messages.request import RequestMessage
from twisted_pipe.messages.response import ResponseMessage
from twisted_pipe.units import parse_duration, parse_flag

__all__ = ["Cors"]

Regex = re.Pattern[str]
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[a-z0-9._~\[\]-][a-z0-9._~:\[\]-]*|null")
_DEFAULT_PORT = re.compile(r"http://.*:80|https://.*:443", re.IGNORECASE)
_OURS = (
    b"Access-Control-Allow-Origin",
    b"Access-Control-Allow-Credentials",
    b"Access-Control-Expose-Headers",
    b"Access-Control-Allow-Methods",
    b"Access-Control-Allow-Headers",
    b"Access-Control-Max-Age",
)


@attrs.frozen
class _Regex:
    kind = "REGEX"

    def __call__(self, name: str, text: str) -> Regex | None:
        if not text:
            return None
        try:
            return re.compile(text)
        except re.error as error:
            raise BadConfiguration(name, text, f"a regular expression: {error}") from error


_parse_regex = _Regex()


@attrs.define
class Cors(MessageFilter):
    """
    Lets pages of other origins use what is here, and answers what browsers ask before (preflights).

    @ivar origins: which: C{https://app.example.org}, exactly as browsers send them: lower case, without a default port; C{*} for
        all. An asterisk inside one is no wildcard: see C{origin_regex}.
    @ivar origin_regex: and those that this regular expression matches from end to end.
    @ivar methods: which methods they may use; C{*} for all. Default C{GET,HEAD,POST}.
    @ivar headers: which header fields they may send besides those that a form could; C{*} for all. Default none.
    @ivar expose: which fields of responses pages may read. Default none, but for the usual ones.
    @ivar credentials: whether browsers may send cookies and the like, and show what comes back. Default off.
    @ivar max_age: seconds that a browser may remember the answer to a preflight. Default 10 minutes.
    """

    origins: tuple[str, ...] = option(
        parse_list, default=(), help="origins, such as https://app.example.org; * for all"
    )
    origin_regex: Regex | None = option(  # noqa: RUF009 (it makes a field)
        _parse_regex, default=None, help="what other origins match, whole"
    )
    methods: tuple[str, ...] = option(
        parse_list, default=("GET", "HEAD", "POST"), help="methods that pages may use; * for all"
    )
    headers: tuple[str, ...] = option(parse_list, default=(), help="header fields that pages may send; * for all")
    expose: tuple[str, ...] = option(parse_field_names, default=(), help="fields of responses that pages may read")
    credentials: bool = option(parse_flag, default=False, help="with cookies and the like")
    max_age: float = option(
        parse_duration, default=600.0, help="a browser may remember the answer to a preflight", unit="seconds"
    )

    def __attrs_post_init__(self) -> None:
        if not self.origins and self.origin_regex is None:
            raise BadConfiguration("origins", "", "must be given, or origin_regex: which origins are allowed")
        for each in self.origins:
            if each != "*":
                _check_origin(each)
        if self.credentials:
            self._check_credentials()

    def _check_credentials(self) -> None:
        """
        @raise BadConfiguration: pages of anybody would have them; or an asterisk is meant that is none with them.
        """
        for everybody in ("*", "null"):  # null is what a page in a sandboxed frame of anybody's has
            if everybody in self.origins:
                expected = f"must be off with origins = {everybody}: any page could act for your users"
                raise BadConfiguration("credentials", "on", expected)
        if "*" in self.expose:
            raise BadConfiguration("expose", "*", "must name the fields: with credentials * is the name of one")

    def request(self, request: RequestMessage) -> Reply | None:
        asked = request.headers.get(b"access-control-request-method")
        if request.method != b"OPTIONS" or asked is None or b"origin" not in request.headers:
            return None
        fields = Headers([])
        origin = self._allowed(request)
        if origin is not None:
            self._allow(fields, origin)
            # with credentials an asterisk would be the name of one
            fields.set(b"Access-Control-Allow-Methods", asked if "*" in self.methods else ", ".join(self.methods))
            wanted = request.headers.get(b"access-control-request-headers")
            names = wanted if "*" in self.headers else ", ".join(self.headers)
            if names:
                fields.set(b"Access-Control-Allow-Headers", names)
            fields.set(b"Access-Control-Max-Age", f"{self.max_age:.0f}")
        for name in (b"Origin", b"Access-Control-Request-Method", b"Access-Control-Request-Headers"):
            fields.vary(name)
        return Reply(204, fields)

    def response(self, response: ResponseMessage) -> None:
        fields = response.headers
        for name in _OURS:
            if name in fields:
                fields.remove(name)
        if not self._for_everybody:
            fields.vary(b"Origin")
        origin = self._allowed(response.request)
        if origin is not None:
            self._allow(fields, origin)
            if self.expose:
                fields.set(b"Access-Control-Expose-Headers", ", ".join(self.expose))

    @property
    def _for_everybody(self) -> bool:
        return "*" in self.origins

    def _allowed(self, request: RequestMessage) -> bytes | None:
        """
        The origin, as the response is to name it; None if it is not allowed, or none is said and that matters. Who names none gets
        the same asterisk as everybody: a cache may give that response to a page of another origin.
        """
        if self._for_everybody:
            return b"*"
        origin = request.headers.get(b"origin")
        if origin is None:
            return None
        text = origin.decode("latin-1")
        regex = self.origin_regex
        return origin if text in self.origins or (regex is not None and regex.fullmatch(text)) else None

    def _allow(self, fields: Headers, origin: bytes) -> None:
        fields.set(b"Access-Control-Allow-Origin", origin)
        if self.credentials:
            fields.set(b"Access-Control-Allow-Credentials", "true")


def _check_origin(text: str) -> None:
    """
    @raise BadConfiguration: no browser sends that.
    """
    if "*" in text:
        expected = (
            r"an origin has no * inside: for subdomains use origin_regex, such as https://[a-z0-9-]+\.example\.org"
        )
    elif _DEFAULT_PORT.fullmatch(text):
        expected = "browsers leave out the default ports, http's 80 and https's 443: leave it out, too"
    elif not _ORIGIN.fullmatch(text):
        expected = "an origin is scheme://host[:port], lower case, in ASCII (xn--...), without a path; or *"
    else:
        return
    raise BadConfiguration("origins", text, expected)
