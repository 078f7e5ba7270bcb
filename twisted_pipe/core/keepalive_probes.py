"""When TCP asks whether the other end is still there (SO_KEEPALIVE)."""

from __future__ import annotations

import attrs

__all__ = ["KeepaliveProbes"]

# What Linux takes for TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT, tcp(7)
_LONGEST = 32767
_MOST = 127
_RULE = (
    "must be true, false, or idle:interval:count, such as 30s:10s:3; whole seconds up to 32767, at most 127 probes, "
    "and what is left out is the system's"
)


@attrs.frozen
class KeepaliveProbes:
    """
    A connection that is silent for C{idle} is asked; when C{count} questions, C{interval} apart, stay without an answer, it is
    reset.

    Source: nginx C{so_keepalive}; tcp(7).

    @ivar idle: seconds; 0 for the system's (C{net.ipv4.tcp_keepalive_time}, two hours).
    @ivar interval: seconds; 0 for the system's (75).
    @ivar count: 0 for the system's (9).
    """

    idle: int = 0
    interval: int = 0
    count: int = 0

    def __attrs_post_init__(self) -> None:
        """
        @raise ValueError: what would be right.
        """
        if not (0 <= self.idle <= _LONGEST and 0 <= self.interval <= _LONGEST and 0 <= self.count <= _MOST):
            raise ValueError(_RULE)

    @classmethod
    def parse(cls, text: str) -> KeepaliveProbes:
        """
        C{"30s:10s:3"}, of which any part may be left out: C{"1m::"}, C{"::5"}.

        @raise ValueError: what would be right.
        """
        parts = text.split(":")
        if len(parts) != 3:
            raise ValueError(_RULE)
        idle, interval, count = parts
        return cls(_seconds(idle), _seconds(interval), _whole(count))


def _whole(text: str) -> int:
    if text and not (text.isascii() and text.isdigit() and len(text) < 6 and int(text)):
        raise ValueError(_RULE)
    return int(text or 0)


def _seconds(text: str) -> int:
    factor = {"s": 1, "m": 60, "h": 3600}.get(text[-1:].lower())
    return _whole(text) if factor is None else _whole(text[:-1] or "x") * factor
