"""The C{Date} of a message: RFC 9110, section 5.6.7."""

from __future__ import annotations

from datetime import datetime, timezone

__all__ = ["http_date"]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_last = (-1, b"")  # the second that was asked for last: nearly always the same again


def http_date(seconds: float) -> bytes:
    """
    The date as HTTP writes it, whatever the locale: C{b"Sun, 06 Nov 1994 08:49:37 GMT"}.

    @param seconds: since the epoch.
    """
    global _last
    second = int(seconds)
    if _last[0] != second:
        at = datetime.fromtimestamp(second, timezone.utc)
        text = f"{_DAYS[at.weekday()]}, {at:%d} {_MONTHS[at.month - 1]} {at.year:04d} {at:%H:%M:%S} GMT"
        _last = (second, text.encode())
    return _last[1]
