"""Status codes, what they are called, and the page of our own that goes with them."""

from __future__ import annotations

from http import HTTPStatus

__all__ = ["CLIENT_CLOSED_REQUEST", "error_page", "reason", "status_line"]

#: nginx's, for the log only: the client has gone before it was answered.
CLIENT_CLOSED_REQUEST = 499

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
_REASONS.update({413: b"Content Too Large", 414: b"URI Too Long", CLIENT_CLOSED_REQUEST: b"Client Closed Request"})
_PAGE = b"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>%(status)d %(reason)b</title></head>
<body><h1>%(status)d %(reason)b</h1><p>%(server)b</p></body>
</html>
"""


def reason(status: int) -> bytes:
    """What C{status} is called; empty if it has no name."""
    return _REASONS.get(status, b"")


def status_line(status: int) -> bytes:
    """The first line of a response: C{b"HTTP/1.1 404 Not Found"}."""
    return b"HTTP/1.1 %d %b" % (status, reason(status))


def error_page(status: int, server: bytes) -> bytes:
    """
    A page in HTML that says nothing but what happened.

    @param server: who says so; empty for nobody.
    """
    return _PAGE % {b"status": status, b"reason": reason(status), b"server": server}
