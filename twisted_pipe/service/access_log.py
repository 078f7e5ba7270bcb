"""
Where requests are logged, and the files that are opened for it: each once, however many servers write to it.

The files are opened when the service is made, not when its configuration is read: checking one opens nothing.
"""

from __future__ import annotations

import os
from typing import Any

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.http.log_format import LogFormat
from twisted_pipe.net.log_file import LogFile

__all__ = ["STANDARD", "AccessLogPlace", "LogFiles", "check_log_path"]

STANDARD = ("-", "stdout", "stderr")  #: what is no path but an open file of the process


@attrs.frozen
class AccessLogPlace:
    """
    @ivar path: absolute, or one of L{STANDARD}.
    @ivar form: of its lines.
    @ivar option: where the configuration says so, for errors.
    """

    path: str
    form: LogFormat
    option: str = attrs.field(eq=False)


@attrs.define
class LogFiles:
    """
    @ivar clock: the reactor.
    """

    clock: Any
    _files: dict[str, LogFile] = attrs.field(factory=dict, init=False)

    def open(self, place: AccessLogPlace) -> LogFile:
        """
        @raise BadConfiguration: it cannot be opened.
        """
        if place.path not in self._files:
            self._files[place.path] = LogFile(place.path, self.clock, place.option)
        return self._files[place.path]

    def start(self) -> None:
        """
        Go on after L{close}. Files that are open stay so.

        @raise BadConfiguration: one cannot be opened.
        """
        for file in self._files.values():
            file.start()

    def reopen(self) -> None:
        """Go on with new files of the same names: those there were have been moved away."""
        for file in self._files.values():
            file.reopen()

    def close(self) -> None:
        """Write what waits, and close them."""
        for file in self._files.values():
            file.close()

    def __bool__(self) -> bool:
        """Whether any is open."""
        return any(file.is_open for file in self._files.values())


def check_log_path(path: str) -> None:
    """
    Find out early what would make opening it fail.

    @raise BadConfiguration: there cannot be such a file, or it cannot be written to.
    """
    if path in STANDARD:
        return
    folder = os.path.dirname(path)
    if os.path.isdir(path):
        raise BadConfiguration("access_log", path, "must be a file, and is a directory")
    if not os.path.isdir(folder):
        raise BadConfiguration("access_log", path, "must be in a directory that exists")
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise BadConfiguration("access_log", path, "must be a file that can be written to")
