"""What a parsed head says (L{twisted_pipe.http.head} parses it)."""

from __future__ import annotations

import enum

import attrs

from twisted_pipe.http.target import Target

__all__ = ["BadMessage", "Field", "Framing", "Head", "HeadLimits", "RequestHead", "ResponseHead"]

Field = tuple[bytes, bytes]


class BadMessage(Exception):
    """
    A message that is refused.

    @ivar status: what a client is answered; of an upstream's message 502.
    @ivar why: for the log.
    """

    def __init__(self, status: int, why: str) -> None:
        super().__init__(status, why)
        self.status = status
        self.why = why

    def __str__(self) -> str:
        return self.why


class Framing(enum.Enum):
    """How the end of a body is told (RFC 9112, section 6.3)."""

    NONE = "none"  #: there is no body
    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"  #: by the end of the connection


_NONE, _LENGTH = Framing.NONE, Framing.LENGTH


@attrs.frozen
class HeadLimits:
    """
    @ivar size: bytes of a head.
    @ivar fields: how many it may have.
    @ivar bare_lf: whether a line may end with a bare LF.
    """

    size: int = 32768
    fields: int = 100
    bare_lf: bool = False


class Head:
    """
    What requests and responses have in common. Most say little of what they could: what a head does not say stays with its class.

    @ivar line: the first line.
    @ivar all_lines: all fields as they were sent, C{name: value}.
    @ivar lines: the end-to-end ones of these, but for C{Content-Length} (and, of requests, C{Host}).
    @ivar minor: of the version: 0 or 1.
    @ivar framing: of the body.
    @ivar length: bytes of the body, if the framing is C{LENGTH}; else 0.
    @ivar keep_alive: whether the sender can go on with the connection.
    @ivar size: bytes of the head, with the empty line and one that came before it.
    @ivar content_length: the value of C{Content-Length}, even if there is no body (C{HEAD}, 304); None if there is none.
    @ivar transfer: that of C{Transfer-Encoding}.
    @ivar connection: that of C{Connection}, of several joined.
    @ivar upgrade: that of C{Upgrade}, of several joined, if C{Connection} names it.
    """

    line: bytes
    all_lines: list[bytes]
    lines: list[bytes]
    size: int
    minor = 1
    framing = Framing.NONE
    length = 0
    keep_alive = True
    content_length: bytes | None = None
    transfer: bytes | None = None
    connection: bytes | None = None
    upgrade: bytes | None = None

    @property
    def has_body(self) -> bool:
        """Whether a byte of body, or its end, is still to come."""
        return self.framing is not _NONE and (self.length > 0 or self.framing is not _LENGTH)

    @property
    def headers(self) -> list[Field]:
        """Names and values of all fields, as they were sent."""
        split = (line.partition(b":") for line in self.all_lines)
        return [(name, value.strip(b" \t")) for name, _, value in split]

    def get(self, name: bytes) -> bytes | None:
        """The value of field C{name} (lower case); of several the first, None if there is none."""
        size = len(name)
        for line in self.all_lines:
            if line[size : size + 1] == b":" and line[:size].lower() == name:
                return line[size + 1 :].strip(b" \t")
        return None

    def get_list(self, name: bytes) -> bytes | None:
        """The values of all fields C{name} (lower case), joined by commas; None if there is none."""
        values = [value for found, value in self.headers if found.lower() == name]
        return b", ".join(values) if values else None


class RequestHead(Head):
    """
    @ivar method: as it was sent.
    @ivar raw_target: as it was sent.
    @ivar path: of the target, as it was sent.
    @ivar query: of the target, without its question mark; None if there is none.
    @ivar origin_target: what is passed on: the target's origin form (L{Target.raw}).
    @ivar authority: that of an absolute target, else None.
    @ivar host: who was asked, in lower case and without a port, for choosing a site; empty if nobody was named.
    @ivar host_value: the same as it is passed on: C{Host}'s value, or the authority of an absolute target; None if there is none.
    @ivar expect: the value of C{Expect}.
    @ivar expects_continue: whether the client waits for C{100 Continue} before it sends the body.
    @ivar has_forwarded: whether proxies before us have left their marks (C{X-Forwarded-For}, C{Forwarded}, C{Via} …).
    @ivar referer: the value of C{Referer}; C{user_agent} that of C{User-Agent}, C{authorization} that of C{Authorization}. These
        are for the log.
    @ivar block: the fields as they came, from the end of the first line to the end of the head; empty if they need not be
        compared with those of the next request.
    @ivar asked: the request as the client has sent it, if this is what message filters have made of it; else None.
    @ivar forwarded: for the use of who passes it on: what follows the first line of the request that is sent; the same as long as
        the fields are, and C{forwarded_by}, the route.
    """

    method: bytes
    raw_target: bytes
    path: bytes
    origin_target: bytes
    query: bytes | None = None
    authority: bytes | None = None
    host = b""
    host_value: bytes | None = None
    expect: bytes | None = None
    expects_continue = False
    has_forwarded = False
    referer: bytes | None = None
    user_agent: bytes | None = None
    authorization: bytes | None = None
    block = b""
    asked: RequestHead | None = None
    forwarded = b""
    forwarded_by: object = None

    def repeat(self, before: RequestHead) -> None:
        """Have the fields of C{before}, which has a C{block}: so no body, no authority in its target, and version 1.1."""
        self.block = before.block
        self.all_lines = before.all_lines
        self.lines = before.lines
        self.host = before.host
        self.host_value = before.host_value
        self.keep_alive = before.keep_alive
        self.connection = before.connection
        self.upgrade = before.upgrade
        self.content_length = before.content_length
        self.has_forwarded = before.has_forwarded
        self.user_agent = before.user_agent
        self.referer = before.referer
        self.authorization = before.authorization
        self.forwarded = before.forwarded
        self.forwarded_by = before.forwarded_by

    @property
    def target(self) -> Target:
        """The target, taken apart."""
        return Target(self.origin_target, self.path, self.query, self.authority)

    def __repr__(self) -> str:
        return f"<RequestHead {self.line!r} {self.framing.value}>"


class ResponseHead(Head):
    """
    @ivar line: the first line, with our version in place of the server's.
    @ivar status: 100 to 999.
    @ivar dated: whether it has a C{Date}.
    @ivar accelerated: whether it has a word for its proxy (C{X-Accel-...}), which is not among C{lines}.
    """

    status: int
    dated = False
    accelerated = False

    def __repr__(self) -> str:
        return f"<ResponseHead {self.line!r} {self.framing.value}>"
