"""
A file that lines are appended to: the access log.

Lines are collected and written together: a system call for each would cost more than the line. What is collected is bounded, in
bytes and in lines, and is written after L{DELAY} seconds at the latest. Who wants a line to be there before something else happens
calls L{LogFile.flush}.

A log is not worth a request. What cannot be written (a full disk, a reader that has gone) is lost and counted, and one line of the
error log says so, and one when it goes on.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.limits import KIB

__all__ = ["DELAY", "MAX_BYTES", "MAX_LINES", "LogFile", "LogStatistics"]

DELAY = 0.02  #: seconds that a line waits for others at most
MAX_BYTES = 64 * KIB  #: that wait at most
MAX_LINES = 1024  #: that wait at most

_STANDARD = {"-": 1, "stdout": 1, "stderr": 2}
_MODE = 0o640
#: With O_APPEND, processes that write to the same file do not write over each other's lines. O_NONBLOCK is for FIFOs.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK

_log = Logger()


@attrs.frozen(kw_only=True)
class LogStatistics:
    """
    @ivar lines: written whole.
    @ivar bytes: written.
    @ivar lost: lines that could not be written, or not whole.
    @ivar reopened: how many times.
    """

    lines: int
    bytes: int
    lost: int
    reopened: int


class LogFile:
    """
    Nothing here raises once the file is open, but L{start} when it was closed.

    The path may be C{"-"} or C{"stdout"}, or C{"stderr"}. It may be a FIFO that has a reader; nobody waits for that, and lines it
    has no room for are lost. But for a slow disk, and for the reader of our standard output, the whole process waits, as nginx
    does: what is collected is written in the reactor's thread.

    @ivar path: absolute, because a daemon changes its directory; or one of these names.
    """

    def __init__(self, path: str, clock: IReactorTime, name_of_option: str = "access_log") -> None:
        """
        Open the file, or make it, readable by its group (mode 0640).

        @param clock: the reactor.
        @param name_of_option: where C{path} stands, for the error.
        @raise BadConfiguration: when it cannot be opened.
        """
        self._name_of_option = name_of_option
        self._standard = _STANDARD.get(path)
        self.path = path if self._standard else os.path.abspath(path)
        self._clock = clock
        self._lines: list[bytes] = []
        self._size = 0  # of these
        self._flushing: IDelayedCall | None = None
        self._torn = False  # the file ends within a line
        self._lost_now = 0  # since it last went well
        self._written_lines = self._written_bytes = self._lost = self._reopened = 0
        self._descriptor: int | None = None  # None: closed
        self.start()

    def __repr__(self) -> str:
        state = f"{len(self._lines)} lines wait" if self.is_open else "closed"
        return f"<LogFile {self.path}, {state}, {self._written_lines} written, {self._lost} lost>"

    @property
    def is_open(self) -> bool:
        return self._descriptor is not None

    def statistics(self) -> LogStatistics:
        """What became of the lines so far. Those that wait are not in it."""
        return LogStatistics(
            lines=self._written_lines, bytes=self._written_bytes, lost=self._lost, reopened=self._reopened
        )

    def start(self) -> None:
        """
        Go on after L{close}. Nothing happens if the file is open.

        @raise BadConfiguration: it cannot be opened.
        """
        if self.is_open:
            return
        try:
            self._descriptor = self._open()
        except OSError as error:
            said = f"must be a file to append to: {error.strerror}"
            raise BadConfiguration(self._name_of_option, self.path, said) from error

    def write(self, line: bytes) -> None:
        """
        Append a line, soon.

        @param line: with its newline.
        """
        if self._descriptor is None:
            self._lost += 1
            return
        self._lines.append(line)
        self._size += len(line)
        if self._size >= MAX_BYTES or len(self._lines) >= MAX_LINES:
            self.flush()
        elif self._flushing is None:
            self._flushing = self._clock.callLater(DELAY, self._flush_late)

    def flush(self) -> None:
        """Write what waits. (The delayed call is left alone: finding nothing costs less than moving it.)"""
        if not self._lines or self._descriptor is None:
            return
        lines, self._lines = self._lines, []
        self._size = 0
        data = b"".join(lines)
        self._append(self._descriptor, b"\n" + data if self._torn else data, len(lines))

    def reopen(self) -> None:
        """Write what waits to the old file, and go on with a new one of that name. If there can be none, go on with the old one."""
        self.flush()
        if self._descriptor is None or self._standard:
            return
        try:
            fresh = self._open()
        except OSError as error:
            _log.error("{path}: cannot be reopened, the old file is kept: {why}", path=self.path, why=error.strerror)
            return
        _keep_mode(self._descriptor, fresh)
        self._close(self._descriptor)
        self._descriptor = fresh
        self._torn = self._torn and os.fstat(fresh).st_size > 0  # the same file, if it was not renamed
        self._reopened += 1

    def close(self) -> None:
        """Write what waits, and close the file. What is written after that is lost."""
        self.flush()
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if self._descriptor is not None:
            self._close(self._descriptor)
            self._descriptor = None

    def _flush_late(self) -> None:
        self._flushing = None
        self.flush()

    def _open(self) -> int:
        return self._standard or os.open(self.path, _FLAGS, _MODE)

    def _close(self, descriptor: int) -> None:
        if self._standard:
            return
        try:
            os.close(descriptor)
        except OSError as error:
            _log.error("{path}: closing: {why}", path=self.path, why=error.strerror)

    def _append(self, descriptor: int, data: bytes, lines: int) -> None:
        """Write C{data}, in which there are so many C{lines}, as far as it can be written."""
        at = 0
        lost = 0
        try:
            while at < len(data):
                at += os.write(descriptor, data[at:] if at else data)
        except OSError as error:
            lost = min(lines, data.count(b"\n", at))  # the one that ends a torn line is none of them
            self._failed(error)
        if at:
            self._torn = data[at - 1] != ord("\n")
        self._written_bytes += at
        self._written_lines += lines - lost
        self._lost += lost
        self._lost_now += lost
        if not lost and self._lost_now:
            _log.info("{path}: written again, {lost} lines were lost", path=self.path, lost=self._lost_now)
            self._lost_now = 0

    def _failed(self, error: OSError) -> None:
        if not self._lost_now:
            _log.error("{path}: lines of the log are lost: {why}", path=self.path, why=error.strerror)


def _keep_mode(old: int, fresh: int) -> None:
    """
    Of a file that was renamed and made anew, whoever could read it can: a daemon's mask would take that away. One that somebody
    else has made, and may have written to, is his.
    """
    now = os.fstat(fresh)
    if stat.S_ISREG(now.st_mode) and not now.st_size:
        with suppress(OSError):  # it is another user's
            os.fchmod(fresh, stat.S_IMODE(os.fstat(old).st_mode))
