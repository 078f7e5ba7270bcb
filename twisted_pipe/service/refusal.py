"""
How a start that cannot be ends: one line that says why, exit status 1, no traceback and nothing started.

What is wrong with the options is found before twistd becomes a daemon; there L{one_line_errors} is enough. What only
binding finds comes after it, when stdout and stderr go to the log, or nowhere: that is what L{CannotStart} is for.

The endpoint of a plugin may fail to listen when the reactor runs already, which stops the reactor then. The line is told all the
same, and C{twisted-pipe} exits with 1; but C{twistd} exits with 0, as whenever its reactor was stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from twisted.logger import Logger
from twisted.python.usage import UsageError

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.service.config.problems import BadFile

__all__ = ["PROGRAM", "CannotStart", "one_line_errors", "reason_of"]

PROGRAM = "twistd pipe"

_log = Logger()


@contextmanager
def one_line_errors() -> Iterator[None]:
    """
    Turn what is wrong with the options into the process's end: Python prints the line to stderr and exits with 1. A configuration
    file has a line for each mistake, which begins with its name.
    """
    try:
        yield
    except BadFile as error:
        raise SystemExit(str(error)) from None
    except (BadConfiguration, UsageError) as error:
        raise SystemExit(_line(error)) from None


class CannotStart(SystemExit, Exception):
    """
    The end of a start after twistd has taken over the process. Its text is the line.

    As an C{Exception} it makes twistd remove its own pid file and tell a daemon's parent, which prints the text; as a
    C{SystemExit} it then ends the process without a traceback. C{sys.stderr} is the log by now: the line goes to the
    real one.

    @cvar told: the last one that was told in this process; None if none was.
    @ivar line: what to tell.
    """

    told: ClassVar[CannotStart | None] = None

    # The parent gets 100 bytes, which the module's name would fill.
    __module__ = "builtins"

    def __init__(self, problem: BadConfiguration) -> None:
        super().__init__(1)
        self.line = _line(problem)

    def __str__(self) -> str:
        return self.line

    def tell(self) -> CannotStart:
        """Write the line to the log and to the process's stderr."""
        CannotStart.told = self
        _log.critical("{line}", line=self.line)
        if sys.__stderr__ is not None:
            print(self.line, file=sys.__stderr__, flush=True)
        return self


def reason_of(error: BaseException) -> str:
    """Why something failed, in people's words: what the system says where it was the system."""
    cause = getattr(error, "socketError", error)
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return " ".join(str(cause).split()) or type(cause).__name__


def _line(error: BaseException) -> str:
    return f"{PROGRAM}: {error}".replace("\n", " ")
