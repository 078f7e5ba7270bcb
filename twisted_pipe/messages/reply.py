"""An answer of a message filter's own."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from twisted_pipe.messages.headers import Fields, field_line

__all__ = ["Reply"]

_LEAST, _MOST = 200, 599
_WITHOUT_BODY = frozenset({204, 304})


def _lines(fields: Fields) -> tuple[bytes, ...]:
    pairs = fields.items() if isinstance(fields, Mapping) else fields
    return tuple(field_line(name, value) for name, value in pairs)


@attrs.frozen
class Reply:
    """
    What a client gets instead of what it asked for, or instead of the upstream's response.

    C{Date}, C{Server} and what frames the body are the proxy's.

    @ivar status: 200 to 599.
    @ivar lines: its fields, given as pairs or a mapping: C{Reply(401, {"WWW-Authenticate": "Basic"})}.
    @ivar body: None for the page of the status, if it is an error or a redirect, and for nothing otherwise.
    @raise ValueError: a status or a field that cannot be; or a body with a status that has none.
    """

    status: int = attrs.field()
    lines: tuple[bytes, ...] = attrs.field(default=(), converter=_lines)
    body: bytes | None = attrs.field(default=None)

    @status.validator
    def _check_status(self, _: object, status: object) -> None:
        if not isinstance(status, int) or not _LEAST <= status <= _MOST:
            raise ValueError(f"a reply's status is from {_LEAST} to {_MOST}: {status!r}")

    @body.validator
    def _check_body(self, _: object, body: object) -> None:
        if not isinstance(body, (bytes, type(None))):
            raise TypeError(f"a reply's body is bytes: {body!r:.60}")
        if body and self.status in _WITHOUT_BODY:
            raise ValueError(f"a response with status {self.status} has no body")
