"""The head of a request as message filters want it. The client's own is not touched: its next request may be read by it."""

from __future__ import annotations

import copy

from twisted_pipe.http.fields import FieldKind, kinds_of
from twisted_pipe.http.message import Framing, RequestHead
from twisted_pipe.http.target import check_host, normal_path
from twisted_pipe.messages.request import RequestMessage

__all__ = ["body_length", "filtered_head", "shown_fields"]

_FORWARDED = int(FieldKind.FORWARDED)
#: What filters are never shown. Any other field that they have not seen was taken off by C{Connection}, and stays off.
_HIDDEN = frozenset(
    int(kind)
    for kind in (
        FieldKind.CONNECTION,
        FieldKind.LENGTH,
        FieldKind.TRANSFER,
        FieldKind.EXPECT,
        FieldKind.HOP,
        FieldKind.UPGRADE,
    )
)


def shown_fields(head: RequestHead) -> list[bytes]:
    """The end-to-end fields of C{head}, as message filters see them: C{Host} first, if it was named."""
    return [b"Host: " + head.host_value, *head.lines] if head.host_value else head.lines


def body_length(head: RequestHead) -> int | None:
    """Bytes of the body that is announced, None if that is not said."""
    return None if head.framing is Framing.CHUNKED else head.length


def filtered_head(head: RequestHead, message: RequestMessage) -> RequestHead:
    """
    C{head} with the target and the fields of C{message}.

    What the log says of a request (its first line, the user, C{Referer}, C{User-Agent}) stays what the client has sent, and so does
    what frames its body.

    @raise ValueError: the target's path, or C{Host}, cannot be.
    """
    found = copy.copy(head)
    found.asked = head.asked or head
    found.block = found.forwarded = b""
    found.forwarded_by = None
    if message.target != head.origin_target:
        normal_path(message.path)
        found.origin_target, found.path, found.query = message.target, message.path, message.query
    lines = message.headers.lines
    hosts = message.headers.get_all(b"host")
    if len(hosts) > 1:
        raise ValueError("there are several Host")
    found.host_value = hosts[0] if hosts else b""
    check_host(found.host_value)
    found.lines = [line for line in lines if line[:5].lower() != b"host:"]
    before = head.all_lines
    hidden = [line for line, kind in zip(before, kinds_of(before), strict=True) if kind in _HIDDEN]
    found.all_lines = [*hidden, *lines]
    found.has_forwarded = _FORWARDED in kinds_of(found.lines)
    return found
