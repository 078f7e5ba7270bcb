"""A request, as message filters see and change it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

from twisted_pipe.messages.headers import FieldText
from twisted_pipe.messages.message import Message

__all__ = ["RequestMessage"]

#: The bytes that L{twisted_pipe.http.target} lets pass, percent signs only before two hexadecimal digits.
_TARGET = re.compile(rb"(?:[\x21\x22\x24\x26-\x7e\x80-\xff]|%[0-9A-Fa-f]{2})*")
_VARIABLE = re.compile(r"[a-z0-9_]+")
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,200}")


class RequestMessage(Message):
    """
    A request on its way to the upstream, before a server was chosen and anything of its body was read.

    What is read is what the filters before this one have made of it; L{variable} reads what the client has sent of it, and what
    these filters have changed.

    @ivar facts: what is known of the exchange (a C{twisted_pipe.http.facts.ExchangeFacts}).
    @ivar upgrade: the protocol that the client would like to change to (C{websocket}), None for none.
    @ivar variables: what L{set_variable} has set, by name.
    @ivar retargeted: whether C{target} was changed.
    """

    __slots__ = (
        "_method",
        "_request_id",
        "_target",
        "_upstream",
        "_upstreams",
        "facts",
        "retargeted",
        "upgrade",
        "variables",
    )

    def __init__(
        self,
        facts: Any,
        method: bytes,
        target: bytes,
        headers: list[bytes],
        *,
        body_length: int | None = 0,
        upgrade: bytes | None = None,
        variable: Callable[[str], bytes | None],
        upstreams: Collection[str] = (),
    ) -> None:
        """
        @param upstreams: the names that C{upstream} may have.
        """
        Message.__init__(self, headers, body_length, variable)
        self.facts = facts
        self._method = method
        self.upgrade = upgrade
        self.variables: dict[str, bytes] = {}
        self.retargeted = False
        self._target = target
        self._upstream: str | None = None
        self._upstreams = upstreams
        self._request_id = ""

    def __repr__(self) -> str:
        return f"<RequestMessage {self.method!r} {self._target!r}>"

    # whose it is

    @property
    def client(self) -> str:
        """The client's address, without port; C{"unix:"} for one without."""
        return str(self.facts.client_host)

    @property
    def scheme(self) -> str:
        """C{http} or C{https}."""
        return str(self.facts.scheme)

    @property
    def host(self) -> bytes:
        """Who was asked: lower case, without port; may be empty."""
        found: bytes = self.facts.host
        return found

    @property
    def uri(self) -> bytes:
        """The path, decoded and normalised, as routes are found by: what access is decided by."""
        found: bytes = self.facts.uri
        return found

    @property
    def tls(self) -> Any:
        """What is known of the client's TLS (C{TlsFacts}), None without TLS, or if it is not ours."""
        return getattr(self.facts, "tls", None)

    # what it asks for

    @property
    def method(self) -> bytes:
        """As it was sent. It cannot be changed: the response is framed by it."""
        return self._method

    @property
    def target(self) -> bytes:
        """
        Path and query, as the upstream gets them. Changing it does not look for another route; and the route's own C{uri} is not
        put in place of anything in a target that was changed (as after nginx's C{rewrite}).
        """
        return self._target

    @target.setter
    def target(self, target: FieldText) -> None:
        """
        @raise ValueError: it is no path with a query, escaped as it has to be; or it is too late.
        """
        self._check_open()
        raw = target.encode() if isinstance(target, str) else target
        if raw[:1] != b"/" or not _TARGET.fullmatch(raw):
            raise ValueError(f"a target is a path from /, perhaps a query, escaped, without a fragment: {raw[:60]!r}")
        self._target = raw
        self.retargeted = True

    @property
    def path(self) -> bytes:
        """That of the target, escaped as it is."""
        return self._target.partition(b"?")[0]

    @path.setter
    def path(self, path: bytes) -> None:
        """Raises as C{target}; without a query in it."""
        if b"?" in path:
            raise ValueError(f"a path has no '?': {path[:60]!r}")
        query = self.query
        self.target = path if query is None else b"%b?%b" % (path, query)

    @property
    def query(self) -> bytes | None:
        """That of the target, without its question mark; None if there is none."""
        _, mark, query = self._target.partition(b"?")
        return query if mark else None

    @query.setter
    def query(self, query: bytes | None) -> None:
        """Raises as C{target}."""
        self.target = self.path if query is None else b"%b?%b" % (self.path, query)

    # where it goes

    @property
    def upstream(self) -> str | None:
        """The name of the upstream that a filter has chosen; None: as the route says."""
        return self._upstream

    @upstream.setter
    def upstream(self, name: str) -> None:
        """
        @raise ValueError: there is no upstream of that name; or it is too late.
        """
        self._check_open()
        if name not in self._upstreams:
            raise ValueError(f"no such upstream: {name!r}; known: {', '.join(sorted(self._upstreams)) or 'none'}")
        self._upstream = name

    # what templates and logs read

    @property
    def request_id(self) -> str:
        """C{$request_id}: 32 hexadecimal digits, unless a filter says otherwise."""
        return self._request_id or str(self.facts.request_id)

    @request_id.setter
    def request_id(self, text: str) -> None:
        """
        @raise ValueError: it is not 1 to 200 visible ASCII characters; or it is too late.
        """
        self._check_open()
        if not _REQUEST_ID.fullmatch(text):
            raise ValueError(f"a request's id is 1 to 200 visible ASCII characters: {text[:60]!r}")
        self._request_id = text

    def set_variable(self, name: str, value: FieldText) -> None:
        """
        Have templates and logs say C{value} for C{$filter_NAME}.

        @param name: lower case letters, digits, and C{_}.
        @raise ValueError: that is not its name; or it is too late.
        """
        self._check_open()
        if not _VARIABLE.fullmatch(name):
            raise ValueError(f"a variable's name is lower case letters, digits and _: {name!r:.60}")
        self.variables = {**self.variables, name: value.encode() if isinstance(value, str) else value}

    @property
    def chosen_id(self) -> str:
        """The id that a filter has said, C{""} if none has."""
        return self._request_id

    def saved(self) -> tuple[Any, ...]:
        own = (self._target, self.retargeted, self._upstream, self._request_id, self.variables)
        return (Message.saved(self), own)

    def restore(self, state: tuple[Any, ...]) -> None:
        common, own = state
        Message.restore(self, common)
        self._target, self.retargeted, self._upstream, self._request_id, self.variables = own
