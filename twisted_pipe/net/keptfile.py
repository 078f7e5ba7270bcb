"""
A stream that lies on disk as a whole, and can be delivered any number of times: the large body of a request that may be sent to
another server.

Source: nginx C{client_body_temp_path}: C{proxy_next_upstream} sends the file once more.
"""

from __future__ import annotations

from twisted_pipe.core.disk import SpillQuota
from twisted_pipe.net.spillfile import SpillFile
from twisted_pipe.units import format_size

__all__ = ["KeptFile"]


class KeptFile:
    """
    It has no name. Whoever has taken it from a pipe closes it, and not before the pipes that deliver it have ended.

    @ivar file: open for reading.
    @ivar size: bytes of the stream, which count for the quota of spilled bytes until L{close}.
    """

    __slots__ = ("_quota", "file", "size")

    def __init__(self, file: SpillFile, size: int, quota: SpillQuota) -> None:
        self.file = file
        self.size = size
        self._quota = quota
        quota.used += size

    def __repr__(self) -> str:
        return f"<KeptFile {format_size(self.size)}>"

    def close(self) -> None:
        """Give the space back. A second call does nothing."""
        self._quota.used -= self.size
        self.size = 0
        self.file.close()
