"""
The bounds of one event pipe.

One frozen object, checked when it is built, so that no impossible combination reaches a connection. The names are nginx's;
the cross-checks are those of C{ngx_http_upstream} (a configuration that nginx refuses is refused here).
"""

from __future__ import annotations

import attrs

from twisted_pipe.errors import BadConfiguration

__all__ = ["DEFAULT_LIMITS", "GIB", "KIB", "MIB", "PipeLimits"]

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

#: Larger values are typing errors, not wishes: a pipe's memory is num * size.
MAX_PIPE_MEMORY = 64 * GIB
MAX_BUFFERS = 65536
MAX_NUMBER = 2**62  # more bytes than any disk has, and still a number that time can be told with


def _at_least(least: int) -> attrs._ValidatorType[int]:
    def check(limits: PipeLimits, field: attrs.Attribute[int], value: int) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise BadConfiguration(field.name, value, "must be a whole number")
        if value < least:
            raise BadConfiguration(field.name, value, f"must be at least {least}")
        if value > MAX_NUMBER:
            raise BadConfiguration(field.name, value, f"must be at most {MAX_NUMBER}")

    return check


def _timeout(limits: PipeLimits, field: attrs.Attribute[float], value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 10**9:
        raise BadConfiguration(field.name, value, "must be a number of seconds, 0 for no timeout")


def _yes_or_no(limits: PipeLimits, field: attrs.Attribute[bool], value: bool) -> None:
    if not isinstance(value, bool):
        raise BadConfiguration(field.name, value, "must be True or False")


@attrs.frozen(kw_only=True)
class PipeLimits:
    """
    How much one pipe may hold, where, and for how long.

    @ivar buffers: how many buffers (nginx C{proxy_buffers}, the number). Default 8, at least 2.
    @ivar buffer_size: bytes of one buffer (nginx C{proxy_buffers}, the size). Default 32 KiB.
    @ivar busy_size: bytes that may be handed to the client at once (nginx C{proxy_busy_buffers_size}); a buffer counts
        whole however few of its bytes are unsent. At least one buffer, at most C{buffers - 1}, which is the default.
    @ivar buffering: whether to read ahead of a slow client at all (nginx C{proxy_buffering}). When off, one buffer is
        used and nothing is spilled.
    @ivar max_temp_file_size: bytes that may wait on disk at any one time, 0 to never spill. Default 1 GiB. Unlike
        nginx's it bounds what is outstanding, not what was ever written: what was sent is given back to the disk.
    @ivar temp_file_write_size: bytes of one write to the file. Default two buffers; at least one.
    @ivar limit_rate: bytes per second read from the upstream, 0 for no limit (nginx C{proxy_limit_rate}). What came with a head
        goes on at once; it counts, too.
    @ivar limit_rate_after: bytes before that limit begins (nginx C{limit_rate_after}). Default 0.
    @ivar read_timeout: seconds the upstream may be silent while the pipe waits for it; 0 for ever. Default 60.
    @ivar send_timeout: seconds between two successful writes to a client that has bytes waiting; 0 for ever. Default 60.
    @ivar idle_timeout: seconds in which no byte comes or goes, then the pipe ends; 0 for ever, the default. It does not run while
        the pipe itself waits (for its rate, a filter, the disk).
    @ivar total_timeout: seconds the whole pipe may take; 0 for ever, the default.
    """

    buffers: int = attrs.field(default=8, validator=_at_least(2))
    buffer_size: int = attrs.field(default=32 * KIB, validator=_at_least(1))
    busy_size: int = attrs.field(validator=_at_least(1))
    buffering: bool = attrs.field(default=True, validator=_yes_or_no)
    max_temp_file_size: int = attrs.field(default=GIB, validator=_at_least(0))
    temp_file_write_size: int = attrs.field(validator=_at_least(1))
    limit_rate: int = attrs.field(default=0, validator=_at_least(0))
    limit_rate_after: int = attrs.field(default=0, validator=_at_least(0))
    read_timeout: float = attrs.field(default=60.0, validator=_timeout)
    send_timeout: float = attrs.field(default=60.0, validator=_timeout)
    idle_timeout: float = attrs.field(default=0.0, validator=_timeout)
    total_timeout: float = attrs.field(default=0.0, validator=_timeout)

    @busy_size.default
    def _busy_size_default(self) -> int:
        try:
            return max(self.buffers - 1, 1) * self.buffer_size
        except TypeError:
            return 1  # the validators refuse what is no number

    @temp_file_write_size.default
    def _temp_file_write_size_default(self) -> int:
        try:
            return 2 * self.buffer_size
        except TypeError:
            return 1

    def __attrs_post_init__(self) -> None:
        """The cross-checks, each of which names the field to change."""
        size = self.buffer_size
        if self.buffers > MAX_BUFFERS:
            raise BadConfiguration("buffers", self.buffers, f"at most {MAX_BUFFERS} buffers")
        if self.buffers * size > MAX_PIPE_MEMORY:
            raise BadConfiguration("buffer_size", size, f"{self.buffers} buffers of it exceed {MAX_PIPE_MEMORY} bytes")
        if self.busy_size < size:
            raise BadConfiguration("busy_size", self.busy_size, f"must be at least one buffer ({size} bytes)")
        if self.busy_size > (self.buffers - 1) * size:
            raise BadConfiguration(
                "busy_size",
                self.busy_size,
                f"must leave one buffer to read into: at most {(self.buffers - 1) * size} bytes",
            )
        if self.temp_file_write_size < size:
            raise BadConfiguration(
                "temp_file_write_size", self.temp_file_write_size, f"must be at least one buffer ({size} bytes)"
            )
        if 0 < self.max_temp_file_size < size:
            raise BadConfiguration(
                "max_temp_file_size",
                self.max_temp_file_size,
                f"must be 0 (never spill) or at least one buffer ({size} bytes)",
            )

    @property
    def slabs(self) -> int:
        """How many buffers a pipe may really hold: one when buffering is off."""
        return self.buffers if self.buffering else 1

    @property
    def memory(self) -> int:
        """Bytes of all buffers together; also the bound on what filters have put out and nobody has taken."""
        return self.slabs * self.buffer_size

    @property
    def file_size(self) -> int:
        """Bytes that may be on disk: none when buffering is off."""
        return self.max_temp_file_size if self.buffering else 0


DEFAULT_LIMITS = PipeLimits()
