"""One address of an upstream, as it is configured."""

from __future__ import annotations

import math
from typing import Any

import attrs

from twisted_pipe.errors import BadConfiguration

__all__ = ["MAX_WEIGHT", "UpstreamServer"]

MAX_WEIGHT = 65535
_MOST_FAILS = 1000  # as many times are kept for each server
_MOST_SECONDS = 10**9


def _from_to(least: int, most: float) -> attrs._ValidatorType[int]:
    def check(server: UpstreamServer, field: attrs.Attribute[int], value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            range_ = f"from {least}" if most == math.inf else f"from {least} to {most}"
            raise BadConfiguration(field.name, value, f"must be a whole number {range_}")

    return check


def _seconds(server: UpstreamServer, field: attrs.Attribute[float], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < _MOST_SECONDS:
        raise BadConfiguration(field.name, value, "must be a number of seconds, 0 or more")


@attrs.frozen
class UpstreamServer:
    """
    The parameters are those of nginx's C{server} in C{upstream}.

    @ivar name: how the configuration wrote it; for logs, and what consistent hashing hashes.
    @ivar endpoint: an C{IStreamClientEndpoint}.
    @ivar address: the same as a socket address, if nothing but a socket is needed to connect to it: (IPv4, port), (IPv6, port, 0,
        scope), or a path; else None.
    @ivar weight: how many connections it gets beside another's one, from 1 to 65535. Default 1.
    @ivar max_conns: connections or requests it may have at one time; 0, the default, for any number.
    @ivar max_fails: failed attempts within C{fail_timeout} that take it out; 0 never, at most 1000. Default 1.
    @ivar fail_timeout: in how many seconds they count, and for how many it is out. Default 10.
    @ivar slow_start: seconds in which its weight grows to the full one after it was out; 0, the default, for at once.
    @ivar backup: it is asked when none of the others can be.
    @ivar down: it is never asked.
    @ivar host: the host that it was looked up as, which TLS verifies; empty: that of C{name}.
    @raise BadConfiguration: one of them is not within these bounds.
    """

    name: str
    endpoint: Any = attrs.field(repr=False)
    address: Any = attrs.field(default=None, repr=False)
    weight: int = attrs.field(default=1, repr=False, validator=_from_to(1, MAX_WEIGHT))
    max_conns: int = attrs.field(default=0, repr=False, validator=_from_to(0, math.inf))
    max_fails: int = attrs.field(default=1, repr=False, validator=_from_to(0, _MOST_FAILS))
    fail_timeout: float = attrs.field(default=10.0, repr=False, validator=_seconds)
    slow_start: float = attrs.field(default=0.0, repr=False, validator=_seconds)
    backup: bool = attrs.field(default=False, repr=False)
    down: bool = attrs.field(default=False, repr=False)
    host: str = attrs.field(default="", repr=False)
