"""When a request is sent to another server of its group (nginx C{proxy_next_upstream})."""

from __future__ import annotations

import enum
from collections.abc import Sequence

import attrs

from twisted_pipe.errors import BadConfiguration

__all__ = ["IDEMPOTENT", "NextUpstream", "Setback"]

#: Methods of which a second request does no more than the first (RFC 9110, section 9.2.2).
IDEMPOTENT = frozenset({b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"TRACE"})


class Setback(enum.Enum):
    """What an attempt at a server came to, if not to a good response. The values are nginx's words."""

    ERROR = "error"  #: it could not be connected to, or broke off before its response's head was whole
    TIMEOUT = "timeout"  #: the same, for want of time
    INVALID_HEADER = "invalid_header"  #: its response's head is none
    HTTP_500 = "http_500"
    HTTP_502 = "http_502"
    HTTP_503 = "http_503"
    HTTP_504 = "http_504"
    HTTP_403 = "http_403"
    HTTP_404 = "http_404"
    HTTP_429 = "http_429"

    @property
    def response_status(self) -> int:
        """The status that the server answered by; 0 if it did not answer."""
        return int(self.value[5:]) if self.value.startswith("http_") else 0

    @property
    def status(self) -> int:
        """What the client is told if no other server can be asked."""
        return self.response_status or (504 if self is Setback.TIMEOUT else 502)

    @property
    def is_failure(self) -> bool:
        """Whether it speaks against the server (nginx C{max_fails}): that something is forbidden or not there does not."""
        return self not in (Setback.HTTP_403, Setback.HTTP_404)


@attrs.frozen(kw_only=True)
class NextUpstream:
    """
    A request goes to the next server only as long as nothing of a response's head was passed on, and its body can be sent again.

    @ivar setbacks: after which; none for never. Default C{error} and C{timeout}. Those that are failures count for the server's
        health: C{error}, C{timeout} and C{invalid_header} always, a status only if it is one of these.
    @ivar non_idempotent: whether also if the request was sent and a second one may do more than the first. Default no.
    @ivar tries: how many servers are asked at most; 0: each once. Default 0. (nginx C{proxy_next_upstream_tries})
    @ivar timeout: seconds from the first attempt after which no other is begun; 0: any time. Default 0. (nginx
        C{proxy_next_upstream_timeout})
    """

    setbacks: frozenset[Setback] = frozenset({Setback.ERROR, Setback.TIMEOUT})
    non_idempotent: bool = False
    tries: int = 0
    timeout: float = 0.0
    #: by status, of those that are among C{setbacks}
    statuses: dict[int, Setback] = attrs.field(init=False, repr=False, eq=False)

    @statuses.default
    def _by_status(self) -> dict[int, Setback]:
        return {each.response_status: each for each in self.setbacks if each.response_status}

    @classmethod
    def of_words(cls, words: Sequence[str], tries: int = 0, timeout: float = 0.0) -> NextUpstream:
        """
        From nginx's words: those of L{Setback}, C{non_idempotent}; or C{off} alone.

        @raise BadConfiguration: there is another one.
        """
        known = {each.value: each for each in Setback}
        for word in words:
            if word not in known and word != "non_idempotent" and not (word == "off" and len(words) == 1):
                expected = f"must be some of {', '.join(known)}, non_idempotent; or off alone"
                raise BadConfiguration("next_upstream", word, expected)
        return cls(
            setbacks=frozenset(known[word] for word in words if word in known),
            non_idempotent="non_idempotent" in words,
            tries=tries,
            timeout=timeout,
        )

    def repeats(self, method: bytes) -> bool:
        """Whether a request that was sent may be sent once more, to another server or by another connection."""
        return method in IDEMPOTENT or (self.non_idempotent and bool(self.setbacks))

    def allows(self, setback: Setback, method: bytes, sent: bool) -> bool:
        """Whether C{setback} is a reason to ask another server, if the last one may have seen the request (C{sent})."""
        return setback in self.setbacks and (not sent or self.non_idempotent or method in IDEMPOTENT)
