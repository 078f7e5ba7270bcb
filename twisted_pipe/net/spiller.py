"""
What a pipe does with its file: write to it, send from it, keep it or throw it away.

The policy says when (L{twisted_pipe.core.pipe}), this does it: inline, or in a thread while the disk is slow
(L{twisted_pipe.net.diskthreads}). A write under way outlives the pipe: its file is closed when it is done, and its memory is not
used again before.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, Union

from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_pipe.core.disk import UNLIMITED
from twisted_pipe.core.pipe import Pipe
from twisted_pipe.net.keptfile import KeptFile
from twisted_pipe.net.sink import Sink
from twisted_pipe.net.spillfile import SpillDirectory, SpillFile
from twisted_pipe.net.storefile import StoreFile
from twisted_pipe.units import format_size

__all__ = ["Spiller"]

_log = Logger()


class Spiller:
    """
    @ivar file: None before the first write, and when all that was in it has been sent and it need not be kept.
    @ivar pending: whether a write is under way in a thread.
    """

    __slots__ = ("_ended", "_go_on", "_lent", "_owner", "_pipe", "_store", "directory", "file", "pending")

    def __init__(
        self,
        pipe: Pipe,
        directory: SpillDirectory,
        store: str | None,
        lent: KeptFile | None,
        owner: Any,
        go_on: Callable[[], object],
    ) -> None:
        """
        @param store: where the whole stream is to be, if the file is for that.
        @param lent: what holds the stream; it stays its owner's.
        @param owner: whose C{name} stands in the log.
        @param go_on: called when a write in a thread is done.
        """
        self.directory = directory
        self.file: Union[SpillFile, StoreFile, None] = None if lent is None else lent.file
        self.pending = False
        self._ended = False
        self._lent = lent is not None
        self._pipe = pipe
        self._store = store
        self._owner = owner
        self._go_on = go_on

    def write(self) -> int:
        """SPILL. Returns how many bytes were written; 0 also if a thread does it."""
        pipe, threads = self._pipe, self.directory.threads
        parts = pipe.spill_batch()
        try:
            if self.file is None:
                self.file = self.directory.open(pipe.disk.piece) if self._store is None else StoreFile(self._store)
            if threads is not None and threads.wanted:
                self.file.prepare(pipe.disk.write_offset)  # here: descriptors are opened and closed in one thread only
                self.pending = True
                pipe.spill_begun()
                writing = threads.run(self.file.write, pipe.disk.write_offset, parts)
                writing.addCallbacks(self._written, self._write_failed)
                return 0
            before = threads.clock() if threads is not None else 0.0
            written = self.file.write(pipe.disk.write_offset, parts)
            if threads is not None:
                threads.took(threads.clock() - before)
        except OSError as error:
            self._failed(error)
            return 0
        self._did_write(written)
        return written

    def _did_write(self, count: int) -> None:
        pipe = self._pipe
        if not pipe.bytes_spilled and not pipe.disk.use.takes_all and not pipe.waits_for_downstream:
            _log.info(
                "{pipe.name}: spill started: {held} wait for a slow client, the rest goes to {directory.path}",
                pipe=self._owner,
                held=format_size(pipe.memory_bytes),
                directory=self.directory,
            )
        pipe.did_spill(count)

    def _failed(self, error: OSError) -> None:
        self._pipe.spill_failed()
        self._give_back()
        self.directory.failures += 1
        what = "spill failed, going on without (the upstream waits for the client)"
        if self._store is not None:
            what = "storing failed, going on without"
        _log.error(
            "{pipe.name}: {what}: {path}: {why}",
            pipe=self._owner,
            what=what,
            path=self._store or self.directory.path,
            why=error.strerror or str(error),
        )

    def _written(self, count: int) -> None:
        self.pending = False
        if self._ended:
            self.close()
            return
        self._did_write(count)
        self._go_on()

    def _write_failed(self, failure: Failure) -> None:
        self.pending = False
        if self._ended:
            self.close()
            return
        error = failure.value
        self._failed(error if isinstance(error, OSError) else OSError(errno.EIO, str(error)))
        self._go_on()

    def send(self, sink: Sink) -> int:
        """
        SEND_FILE. Returns how many bytes were taken.

        @raise OSError: the downstream is lost.
        @raise twisted_pipe.errors.DiskFailed: the file does not give back what it took.
        """
        file, pipe = self.file, self._pipe
        assert file is not None
        offset, count = pipe.file_range(sink.file_part)
        sent = sink.send_file(file, offset, count)
        pipe.did_send_file(sent)
        self._give_back()
        return sent

    def _give_back(self) -> None:
        """What of a spill was sent needs no place any more."""
        file, disk = self.file, self._pipe.disk
        if file is None or disk.use.keeps or self.pending:
            return
        if disk.outstanding:
            file.forget(disk.read_offset)
        else:
            # The next spill gets a new file: the socket may still be sending from the pages of this one.
            file.close()
            self.file = None

    def keep(self) -> bool:
        """The stream is whole: put the file in its place. Returns whether that went well."""
        try:
            if self.file is None:
                self.file = StoreFile(self._store or "")  # an empty stream is stored, too
            self.file.keep()  # type: ignore[union-attr]
        except OSError as error:
            self._failed(error)
            return False
        return True

    def take(self) -> KeptFile:
        """
        The file of a pipe that is whole on disk is the caller's.

        @raise OSError: nothing had been written, and no file can be made.
        """
        file = self.file if self.file is not None else self.directory.open(UNLIMITED)
        assert isinstance(file, SpillFile)
        self.file = None
        return KeptFile(file, self._pipe.disk.outstanding, self.directory.quota)

    def close(self) -> None:
        """The pipe is over: close the file, or when the write under way is done."""
        self._ended = True
        if self.file is not None and not self.pending and not self._lent:
            self.file.close()
            self.file = None
