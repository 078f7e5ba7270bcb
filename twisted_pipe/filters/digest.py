"""
What has passed, in one line of the log when it is over: how many bytes, and their digest.

The line comes once for each direction of each connection, whatever became of it; that of a stream that broke off says so. Its keys,
for observers that keep structure: C{connection}, C{direction}, C{bytes}, C{chunks}, C{seconds}, C{complete}, C{reason} (None if
complete), and of a digest C{algorithm} and C{digest}.
"""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar

import attrs
from twisted.logger import Logger

from twisted_pipe.filters.base import PipeFilter, one_of, option
from twisted_pipe.interfaces import FilterOutput

__all__ = ["Count", "Digest"]

_log = Logger()
_COUNTED = "{connection}, {direction}: {bytes:,} bytes in {chunks:,} chunks, {seconds:.3f} s"
_BROKEN_OFF = "; broke off: {reason}"
#: Those of every Python whose digests have a length of their own.
_ALGORITHMS = sorted(name for name in hashlib.algorithms_guaranteed if not name.startswith("shake"))


@attrs.define
class Count(PipeFilter):
    """
    Passes everything on, and logs at the end how many bytes it was.

    The seconds are those from the beginning of this direction to its end. Chunks are what the filter was given: the network, the
    pipe's buffers and the filters before decide how long they are.
    """

    any_coding: ClassVar[bool] = True
    keeps_bytes: ClassVar[bool] = True

    _bytes: int = attrs.field(default=0, init=False)
    _chunks: int = attrs.field(default=0, init=False)
    _began: float = attrs.field(init=False)

    @_began.default
    def _begin(self) -> float:
        return self._now()

    def received(self, data: memoryview) -> FilterOutput:
        self._bytes += len(data)
        self._chunks += 1
        return (data,)

    def stopped(self, reason: BaseException | None) -> None:
        self._say("", reason)

    def _say(self, more: str, reason: BaseException | None, **keys: Any) -> None:
        """
        Log the line.

        @param more: what it says besides, of C{keys}.
        """
        complete = reason is None
        _log.info(
            _COUNTED + more + ("" if complete else _BROKEN_OFF),
            connection=self.context.connection or "-",
            direction=str(self.context.direction),
            bytes=self._bytes,
            chunks=self._chunks,
            seconds=self._now() - self._began,
            complete=complete,
            reason=None if complete else str(reason),
            **keys,
        )

    def _now(self) -> float:
        clock = self.context.clock
        return 0.0 if clock is None else float(clock.seconds())


@attrs.define
class Digest(Count):
    """
    Passes everything on, and logs at the end a digest of it.

    What was put out by then may be less, if the client has left: the digest is of what came.

    @ivar algorithm: default SHA-256.
    """

    algorithm: str = option(one_of(*_ALGORITHMS), default="sha256", help="which digest")
    _hash: Any = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._hash = hashlib.new(self.algorithm, usedforsecurity=False)

    def received(self, data: memoryview) -> FilterOutput:
        self._hash.update(data)
        return Count.received(self, data)

    def stopped(self, reason: BaseException | None) -> None:
        digest = self._hash.hexdigest()
        self._say("; {algorithm}={digest}", reason, algorithm=self.algorithm, digest=digest)
