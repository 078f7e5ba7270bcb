"""
The pid file of the pipe, which scripts wait for: when it is there, every listener is bound.

It is the pipe's own, and not twistd's C{--pidfile}, which is written before anything is bound.
"""

from __future__ import annotations

import os
import tempfile

import attrs

from twisted_pipe.errors import BadConfiguration

__all__ = ["PidFile"]


@attrs.frozen
class PidFile:
    """
    A file that holds the number of this process, and a newline.

    @ivar path: absolute, because a daemon changes its directory.
    @ivar option: where the configuration says so, for errors.
    """

    path: str
    option: str = "--pid-file"

    def check(self) -> None:
        """
        Find out early what would make L{write} fail.

        @raise BadConfiguration: when there cannot be such a file.
        """
        if os.path.isdir(self.path):
            raise BadConfiguration(self.option, self.path, "must be a file, and is a directory")
        if not os.path.isdir(os.path.dirname(self.path)):
            raise BadConfiguration(self.option, self.path, "must be in a directory that exists")

    def write(self) -> None:
        """
        Put the file there in one step: nobody ever reads half of it.

        @raise OSError: when it cannot be written; then what was there before is there still.
        """
        folder, name = os.path.split(self.path)
        descriptor, fresh = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(b"%d\n" % os.getpid())
                os.fchmod(file.fileno(), 0o644)
            os.rename(fresh, self.path)
        except BaseException:
            os.unlink(fresh)
            raise

    def remove(self) -> None:
        """
        Remove the file, unless by now it is another process's.

        @raise OSError: when it is ours and cannot be removed.
        """
        try:
            with open(self.path, "rb") as file:
                held = file.read(32)
        except OSError:
            return
        if held.strip() == b"%d" % os.getpid():
            os.unlink(self.path)
