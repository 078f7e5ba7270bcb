"""
The heads that we send: a request toward an upstream, a response toward a client.

What was received stays as it was, but for the fields of one connection, which are ours (L{twisted_pipe.http.head} has left them
out), and for what tells an upstream whom it serves: C{X-Forwarded-For}, C{Forwarded} (RFC 7239) and C{Via} (RFC 9110, section
7.6.3).
"""

from __future__ import annotations

import enum

import attrs

from twisted_pipe.http.fields import X_FORWARDED
from twisted_pipe.http.head import RequestHead

__all__ = ["ForwardedStyle", "Forwarder", "without"]


class ForwardedStyle(enum.Enum):
    """How an upstream is told whom it serves."""

    X_FORWARDED = "x-forwarded"  #: C{X-Forwarded-For}, C{-Proto}, C{-Host}
    RFC7239 = "rfc7239"  #: C{Forwarded}
    BOTH = "both"
    OFF = "off"


@attrs.frozen
class Forwarder:
    """
    Tells an upstream about one client.

    C{X-Forwarded-For}, C{Forwarded} and C{Via} are continued, so their left ends are only as good as the client's word;
    C{X-Forwarded-Proto} and C{-Host} are replaced. Of the two families the one that is not written is passed on as it came.

    @ivar style: which fields are written.
    @ivar via: our name in C{Via}; empty for no C{Via}.
    @ivar client: the client's address, without a port; C{unix} for one of a UNIX socket.
    @ivar scheme: C{http} or C{https}.
    """

    style: ForwardedStyle
    via: bytes
    client: bytes
    scheme: bytes
    #: lines for a request of HTTP/1.1 that no proxy has seen before, but for those with its host: C{name: value}, joined by CRLF
    _plain: bytes = attrs.field(init=False)

    @_plain.default
    def _plain_lines(self) -> bytes:
        lines = []
        if self.says_x_forwarded:
            lines += [b"X-Forwarded-For: " + self.client, b"X-Forwarded-Proto: " + self.scheme]
        if self.via:
            lines.append(b"Via: 1.1 " + self.via)
        return b"\r\n".join(lines)

    @property
    def says_x_forwarded(self) -> bool:
        return self.style in (ForwardedStyle.X_FORWARDED, ForwardedStyle.BOTH)

    @property
    def says_forwarded(self) -> bool:
        return self.style in (ForwardedStyle.RFC7239, ForwardedStyle.BOTH)

    def block(self, request: RequestHead) -> bytes:
        """C{Host}, L{lines} and the empty line: what follows the first line of a request without a body, if nothing is changed."""
        return b"\r\n".join([b"Host: " + (request.host_value or b""), *self.lines(request), b"", b""])

    def lines(self, request: RequestHead) -> list[bytes]:
        """The end-to-end fields of C{request} and ours: C{name: value} each."""
        if self.style is ForwardedStyle.X_FORWARDED and not request.has_forwarded and request.minor:
            return [*request.lines, b"X-Forwarded-Host: " + (request.host_value or b""), self._plain]
        return self._continued(request)

    def _continued(self, request: RequestHead) -> list[bytes]:
        lines = request.lines
        added = []
        if self.says_x_forwarded:
            chain = _continued(lines, b"x-forwarded-for", self.client)
            lines = without(lines, X_FORWARDED)
            added = [
                b"X-Forwarded-For: " + chain,
                b"X-Forwarded-Proto: " + self.scheme,
                b"X-Forwarded-Host: " + (request.host_value or b""),
            ]
        if self.says_forwarded:
            added.append(b"Forwarded: " + _continued(lines, b"forwarded", self._element(request)))
            lines = without(lines, frozenset({b"forwarded"}))
        if self.via:
            mine = b"1.%d %b" % (request.minor, self.via)
            added.append(b"Via: " + _continued(lines, b"via", mine))
            lines = without(lines, frozenset({b"via"}))
        return lines + added

    def _element(self, request: RequestHead) -> bytes:
        """
        RFC 7239, section 4: IPv6 addresses and what has a colon are quoted. What is neither an address nor C{unknown} begins with
        an underscore (section 6.3).
        """
        client = b'"[%b]"' % self.client if b":" in self.client else self.client
        if client == b"unix":
            client = b"_unix"
        parts = [b"for=" + (client or b"unknown"), b"proto=" + self.scheme]
        if request.host_value:
            parts.insert(1, b'host="%b"' % request.host_value)
        return b";".join(parts)


def _continued(lines: list[bytes], name: bytes, last: bytes) -> bytes:
    """The values of all fields C{name} of C{lines}, and C{last}. (What C{Connection} names is not among them: RFC 9110, 7.6.1.)"""
    split = (line.partition(b":") for line in lines)
    return b", ".join([*(value.strip(b" \t") for found, _, value in split if found.lower() == name), last])


def without(lines: list[bytes], names: frozenset[bytes]) -> list[bytes]:
    """C{lines} but for the fields of C{names}, which are in lower case."""
    return [line for line in lines if line[: line.find(b":")].lower() not in names]
