"""
The console script C{twisted-pipe ARGS}: C{twistd pipe ARGS} in the foreground, on our own reactor. And C{twisted-pipe new-filter},
which runs nothing.

It is also quieter than twistd where Twisted looks for plugins. That it could not save what it found is of no interest
to who runs a proxy; and a drop-in that cannot be imported is a matter for the log, or for the one line about the filter
that it should have held, not for a traceback on stderr before everything else.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twisted.logger import ILogObserver, LogEvent

__all__ = ["main", "quiet_log"]

_TWISTD = ("twistd", "--reactor=epollet", "--pidfile=", "--logger=twisted_pipe.service.run.quiet_log", "-n", "pipe")
_NOISE = "Unable to write to plugin cache"


def main() -> None:
    """Run until Ctrl-C. twistd installs the reactor itself, so nothing may have imported one before."""
    if sys.argv[1:2] == ["new-filter"]:
        _new_filter(sys.argv[2:])
        return
    # Until the log begins, it keeps everything and prints what is critical to the sys.stderr of when it was imported.
    with redirect_stderr(io.StringIO()):
        from twisted.scripts import twistd

        from twisted_pipe.service.refusal import CannotStart

    sys.argv = [*_TWISTD, *sys.argv[1:]]
    CannotStart.told = None
    with _quiet_end_of_readers():
        twistd.run()
    if CannotStart.told is not None:
        raise SystemExit(1)  # it came when the reactor ran; twistd has no status for that


@contextmanager
def _quiet_end_of_readers() -> Iterator[None]:
    """Whoever reads what is printed may stop, as C{head} does: that ends the process with 1, and without a traceback."""
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes once more when it ends
        raise SystemExit(1) from None


def _new_filter(arguments: list[str]) -> None:
    with redirect_stderr(io.StringIO()):
        from twisted_pipe.service.new_filter import new_filter

    new_filter(arguments)


def quiet_log() -> ILogObserver:
    """twistd's own log in the foreground (text, on stdout), without the noise."""
    from twisted.logger import FilteringLogObserver, PredicateResult, textFileLogObserver

    def is_wanted(event: LogEvent) -> object:
        noise = str(event.get("format", "")).startswith(_NOISE)
        return PredicateResult.no if noise else PredicateResult.maybe

    predicates: list[Any] = [is_wanted]
    return FilteringLogObserver(textFileLogObserver(sys.stdout), predicates)
