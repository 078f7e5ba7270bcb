"""What servers say of themselves in the log when they start."""

from __future__ import annotations

from twisted_pipe.limits import PipeLimits
from twisted_pipe.net.spillfile import SpillDirectory
from twisted_pipe.units import format_duration, format_size

__all__ = ["describe_limits", "shown_time"]


def describe_limits(limits: PipeLimits, spill: SpillDirectory) -> list[str]:
    """The bounds of a pipe, in people's units."""
    if not limits.buffering:
        said = [f"no buffering: one buffer of {format_size(limits.buffer_size)}"]
    else:
        size = limits.file_size
        said = [
            f"{limits.buffers} buffers of {format_size(limits.buffer_size)}",
            f"busy size {format_size(limits.busy_size)}",
            f"spill up to {format_size(size)} in {spill.path}" if size else "no spill",
        ]
    if limits.limit_rate:
        said.append(f"at most {format_size(limits.limit_rate)}/s")
    return said


def shown_time(seconds: float) -> str:
    """A timeout, in people's units."""
    return format_duration(seconds) if seconds else "off"
